/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/pages.h"
#include "raftlog/internal.h"

void *log_realloc(struct raftlog *log, void *old, size_t len)
{
    void *p = realloc(old, len);
    if (p == NULL)
        env_fatal(log->env, "log '%s': out of memory for %zu bytes", log->dir, len);
    ASSERT(p != NULL);
    return p;
}

uint8_t *log_blocks(struct raftlog *log, size_t len)
{
    size_t whole = (len + ENV_BLOCK - 1) / ENV_BLOCK * ENV_BLOCK;
    uint8_t *p = whole < PAGES_LARGE ? aligned_alloc(ENV_BLOCK, whole) : pages_malloc(whole);
    if (p == NULL)
        env_fatal(log->env, "log '%s': out of memory for %zu bytes", log->dir, whole);
    ASSERT(p != NULL);
    return p;
}

void *log_alloc(struct raftlog *log, size_t len)
{
    void *p = log_realloc(log, NULL, len);
    memset(p, 0, len);
    return p;
}

void log_grow(struct raftlog *log, void *vector_ptr, size_t n, size_t *cap, size_t size)
{
    ASSERT(n <= *cap);
    if (n < *cap)
        return;
    void *vector;
    memcpy(&vector, vector_ptr, sizeof vector);
    *cap = MAX(2 * n, (size_t)8);
    vector = log_realloc(log, vector, *cap * size);
    memcpy(vector_ptr, &vector, sizeof vector);
}

void log_report(struct raftlog *log, const char *fmt, ...)
{
    char line[ERR_MSG_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line - 1, fmt, args);
    va_end(args);
    size_t len = strlen(line);
    if (log->report_len + len + 2 > LOG_REPORT_MAX)
        return;
    log->report = log_realloc(log, log->report, log->report_len + len + 2);
    memcpy(log->report + log->report_len, line, len);
    memcpy(log->report + log->report_len + len, "\n", 2);
    log->report_len += len + 1;
}
