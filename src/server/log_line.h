/* SPDX-License-Identifier: Apache-2.0
 *
 * log_line — one line of the log as it leaves the process, as text or as JSON.
 *
 * Threads pure.
 * Limits  LOG_LINE_OUT_MAX bytes with the newline, so that a pipe takes a line whole or not at
 *         all; a message whose escapes make it longer is cut.
 */
#ifndef SERVER_LOG_LINE_H_
#define SERVER_LOG_LINE_H_

#include "base/log.h"
#include "server/config.h"

enum { LOG_LINE_OUT_MAX = 4096 };

struct log_line {
    const char *time;
    enum log_level level;
    uint64_t store_id;
    const char *text; /* "event key=value …" */
};

/* `out` has room for LOG_LINE_OUT_MAX; the bytes of the line, or 0 if memory ran out. */
size_t log_line_format(enum config_log_format format, const struct log_line *line, char *out);

#endif
