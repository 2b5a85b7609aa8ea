/* SPDX-License-Identifier: Apache-2.0
 *
 * log — log lines: one line, one event, key=value. The level is tested before
 * anything is formatted. Only store, server, client and mains log; library rooms
 * return errors.
 *
 *   LOG_INFO(logger, "leader_elected", "range=%llu term=%llu", range, term);
 *
 * Ownership  a logger is its owner's; `sink` borrows the line during the call.
 * Threads    a logger belongs to one loop; the sink of a process must be safe.
 * Limits     a line is cut at LOG_LINE_MAX - 1 bytes; control characters, which may be in what
 *            others have sent, come out as '?': nobody forges a line, or moves a cursor.
 */
#ifndef BASE_LOG_H_
#define BASE_LOG_H_

#include "base/base.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };
enum { LOG_LINE_MAX = 1024 };

/* `line` is "event key=value …" without time, level or newline: the sink adds
 * what it knows. */
typedef void (*log_sink)(void *data, enum log_level level, const char *line);

struct logger {
    enum log_level level; /* lines below it are not formatted */
    log_sink sink;        /* NULL drops everything */
    void *data;           /* for the sink */
};

/* Use the macros. `logger` may be NULL. */
void log_write(const struct logger *logger, enum log_level level, const char *event,
               const char *fmt, ...) PRINTF_LIKE(4, 5);

/* "debug", "info", "warn", "error", "off". */
const char *log_level_name(enum log_level level);

/* 0 and *ret_level, or ERR_INVALID. */
int log_level_parse(const char *text, enum log_level *ret_level);

#define LOG_AT(logger, lvl, ...)                                                                   \
    do {                                                                                           \
        if ((logger) != NULL && (lvl) >= (logger)->level)                                          \
            log_write((logger), (lvl), __VA_ARGS__);                                               \
    } while (0)
#define LOG_DEBUG(logger, ...) LOG_AT(logger, LOG_LEVEL_DEBUG, __VA_ARGS__)
#define LOG_INFO(logger, ...) LOG_AT(logger, LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_WARN(logger, ...) LOG_AT(logger, LOG_LEVEL_WARN, __VA_ARGS__)
#define LOG_ERROR(logger, ...) LOG_AT(logger, LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
