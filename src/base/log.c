/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

void log_write(const struct logger *logger, enum log_level level, const char *event,
               const char *fmt, ...)
{
    ASSERT(level < LOG_LEVEL_OFF);
    if (logger == NULL || logger->sink == NULL || level < logger->level)
        return;
    char line[LOG_LINE_MAX];
    int n = snprintf(line, sizeof line, "%s ", event);
    ASSERT(n > 0);
    if ((size_t)n < sizeof line) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(line + n, sizeof line - (size_t)n, fmt, args);
        va_end(args);
    }
    for (char *c = line; *c != 0; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    logger->sink(logger->data, level, line);
}

const char *log_level_name(enum log_level level)
{
    ASSERT(level <= LOG_LEVEL_OFF);
    return level_names[level];
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return ERR_INVALID;
}
