/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/trace.h"

#include <stdarg.h>
#include <sys/mman.h>

struct trace_ring *trace_ring_new(void)
{
    struct trace_ring *ring =
        mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(ring != MAP_FAILED);
    return ring;
}

void trace_ring_free(struct trace_ring *ring)
{
    munmap(ring, sizeof *ring);
}

bool trace_wants_all(const struct trace *trace)
{
    return trace->file != NULL || trace->is_verbose;
}

static void put(struct trace *trace, bool is_ringed, const char *line)
{
    if (trace->is_verbose)
        printf("%s\n", line);
    if (trace->file != NULL)
        fprintf(trace->file, "%s\n", line);
    if (trace->ring == NULL || !is_ringed)
        return;
    char *slot = trace->ring->lines[trace->ring->count % TRACE_RING_LINES];
    snprintf(slot, TRACE_LINE_MAX, "%s", line);
    trace->ring->count++;
}

static void PRINTF_LIKE(4, 0)
    format(char *out, uint64_t now_us, const char *who, const char *fmt, va_list args)
{
    int at = snprintf(out, 64, "%12.6f %-6s ", (double)now_us / 1e6, who);
    vsnprintf(out + at, 1024 - (size_t)at, fmt, args);
}

void trace_line(struct trace *trace, uint64_t now_us, const char *who, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    format(line, now_us, who, fmt, args);
    va_end(args);
    put(trace, true, line);
}

void trace_detail(struct trace *trace, uint64_t now_us, const char *who, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    if (!trace_wants_all(trace))
        return;
    va_start(args, fmt);
    format(line, now_us, who, fmt, args);
    va_end(args);
    put(trace, false, line);
}

void trace_ring_print(const struct trace_ring *ring, FILE *out)
{
    uint64_t first = ring->count > TRACE_RING_LINES ? ring->count - TRACE_RING_LINES : 0;
    for (uint64_t i = first; i < ring->count; i++)
        fprintf(out, "  | %.*s\n", TRACE_LINE_MAX - 1, ring->lines[i % TRACE_RING_LINES]);
}
