/* SPDX-License-Identifier: Apache-2.0
 *
 * trace — the events of a run that matter, in virtual time: faults, lives of processes,
 * leadership, what stores say, and, in a file only, each request of a client.
 *
 * The last lines stay in a ring, in memory that a parent shares, so that they are there
 * even if the process of the run dies.
 *
 * Ownership  a trace borrows its ring and its file.
 */
#ifndef TESTS_SIM_TRACE_H_
#define TESTS_SIM_TRACE_H_

#include <stdio.h>

#include "base/base.h"

enum { TRACE_RING_LINES = 40, TRACE_LINE_MAX = 200 };

struct trace_ring {
    uint64_t count; /* lines ever put in */
    char lines[TRACE_RING_LINES][TRACE_LINE_MAX];
};

struct trace {
    struct trace_ring *ring; /* borrowed; NULL: none */
    FILE *file;              /* borrowed; NULL: none */
    bool is_verbose;         /* to stdout too */
};

/* Memory that children share. Never NULL. */
struct trace_ring *trace_ring_new(void);
void trace_ring_free(struct trace_ring *ring);

/* Does anybody want what is too much for the ring? */
bool trace_wants_all(const struct trace *trace);

/* `who` is a node or "" for the world. */
void trace_line(struct trace *trace, uint64_t now_us, const char *who, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Not into the ring: one of very many. */
void trace_detail(struct trace *trace, uint64_t now_us, const char *who, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* The last lines, oldest first, each indented. */
void trace_ring_print(const struct trace_ring *ring, FILE *out);

#endif
