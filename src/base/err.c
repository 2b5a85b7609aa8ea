/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const err_names[] = {
    [0] = "OK",
    [-ERR_NOMEM] = "NOMEM",
    [-ERR_INVALID] = "INVALID",
    [-ERR_NOT_FOUND] = "NOT_FOUND",
    [-ERR_EXISTS] = "EXISTS",
    [-ERR_SHORT] = "SHORT",
    [-ERR_CORRUPT] = "CORRUPT",
    [-ERR_IO] = "IO",
    [-ERR_NO_SPACE] = "NO_SPACE",
    [-ERR_BUSY] = "BUSY",
    [-ERR_TIMEOUT] = "TIMEOUT",
    [-ERR_CANCELED] = "CANCELED",
    [-ERR_WOULD_BLOCK] = "WOULD_BLOCK",
    [-ERR_NOT_LEADER] = "NOT_LEADER",
    [-ERR_RANGE_CHANGED] = "RANGE_CHANGED",
    [-ERR_CONDITION_FAILED] = "CONDITION_FAILED",
    [-ERR_TOO_LARGE] = "TOO_LARGE",
    [-ERR_UNDETERMINED] = "UNDETERMINED",
    [-ERR_UNAVAILABLE] = "UNAVAILABLE",
    [-ERR_UNAUTHORIZED] = "UNAUTHORIZED",
    [-ERR_EOF] = "EOF",
    [-ERR_VERSION_GONE] = "VERSION_GONE",
    [-ERR_UNSUPPORTED] = "UNSUPPORTED",
    [-ERR_LOCKED] = "LOCKED",
    [-ERR_OVERFLOW] = "OVERFLOW",
    [-ERR_NOT_NUMBER] = "NOT_NUMBER",
    [-ERR_STATE] = "STATE",
    [-ERR_SESSION_EXPIRED] = "SESSION_EXPIRED",
    [-ERR_FENCED] = "FENCED",
    [-ERR_TOO_OLD] = "TOO_OLD",
};

const char *err_name(int code)
{
    if (code > 0 || code <= ERR_LAST)
        return "UNKNOWN";
    return err_names[-code];
}

int err_from_wire(int code)
{
    ASSERT(code < 0);
    switch (code) {
    case ERR_SHORT:
    case ERR_WOULD_BLOCK:
    case ERR_EOF:
        return ERR_CORRUPT;
    default:
        return code > ERR_LAST ? code : ERR_UNAVAILABLE;
    }
}

PRINTF_LIKE(3, 0)
static void err_fill(struct err *err, int code, const char *fmt, va_list args)
{
    ASSERT(code < 0);
    ASSERT(code > ERR_LAST);
    if (err == NULL)
        return;
    err->code = code;
    vsnprintf(err->msg, sizeof err->msg, fmt, args);
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    err_fill(err, code, fmt, args);
    va_end(args);
    return code;
}

int err_wrap(struct err *err, int code, const char *fmt, ...)
{
    ASSERT(code < 0);
    if (err == NULL)
        return code;
    char old[ERR_MSG_MAX];
    snprintf(old, sizeof old, "%s", err->code == 0 ? err_name(code) : err->msg);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    if ((size_t)n < sizeof err->msg)
        snprintf(err->msg + n, sizeof err->msg - (size_t)n, ": %s", old);
    err->code = code;
    return code;
}

static int code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return ERR_NO_SPACE;
    case ENOENT:
        return ERR_NOT_FOUND;
    case EEXIST:
        return ERR_EXISTS;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

int err_set_errno(struct err *err, int errnum, const char *fmt, ...)
{
    int code = code_of_errno(errnum);
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, fmt);
    err_fill(err, code, fmt, args);
    va_end(args);
    char text[128];
    const char *reason = strerror_r(errnum, text, sizeof text);
    size_t n = strlen(err->msg);
    snprintf(err->msg + n, sizeof err->msg - n, ": %s", reason);
    return code;
}
