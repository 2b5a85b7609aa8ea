/* SPDX-License-Identifier: Apache-2.0
 *
 * err — the one error idiom: 0 or a negative code from this list, and, where a
 * person will read it, a message filled once and wrapped by one prefix a level
 * ("open store: load manifest 'MANIFEST-7': record 12 at 4096: bad crc").
 *
 * Ownership  struct err is the caller's, usually on its stack, zeroed.
 * Errors     expected outcomes (not found, busy, short) carry no message.
 *            Every function here accepts err == NULL.
 * Limits     a message is cut at ERR_MSG_MAX - 1 bytes.
 */
#ifndef BASE_ERR_H_
#define BASE_ERR_H_

#include "base/base.h"

/* The codes are part of the wire protocol (a reply carries one): never renumber,
 * only append. include/holdfast.h mirrors those that a caller can see. */
enum {
    ERR_NOMEM = -1,             /* an allocation failed or a memory bound was met */
    ERR_INVALID = -2,           /* an argument or a message that can never be right */
    ERR_NOT_FOUND = -3,         /* no such key, file, entry */
    ERR_EXISTS = -4,            /* it is there already */
    ERR_SHORT = -5,             /* fewer bytes than needed yet; normal on a stream */
    ERR_CORRUPT = -6,           /* a checksum or structure at rest or on the wire is wrong */
    ERR_IO = -7,                /* the device or the network failed */
    ERR_NO_SPACE = -8,          /* disk full, or the watermark before it */
    ERR_BUSY = -9,              /* a bound was met; try again later */
    ERR_TIMEOUT = -10,          /* the deadline passed before anything took effect */
    ERR_CANCELED = -11,         /* given up by its owner */
    ERR_WOULD_BLOCK = -12,      /* needs I/O and was asked not to do any */
    ERR_NOT_LEADER = -13,       /* definite: this replica did not and will not do it */
    ERR_RANGE_CHANGED = -14,    /* definite: the key is not, or no longer, in this range */
    ERR_CONDITION_FAILED = -15, /* definite: judged at apply and not met */
    ERR_TOO_LARGE = -16,        /* key, value, batch or message over its limit */
    ERR_UNDETERMINED = -17,     /* may or may not have taken effect */
    ERR_UNAVAILABLE = -18,      /* definite: no leader or no majority within the deadline */
    ERR_UNAUTHORIZED = -19,     /* wrong cluster, wrong secret, not allowed */
    ERR_EOF = -20,              /* the stream ended */
    ERR_VERSION_GONE = -21,     /* a read below the safe point */
    ERR_UNSUPPORTED = -22,      /* protocol version, feature or message not known here */
    ERR_LOCKED = -23,           /* another process holds it */
    ERR_OVERFLOW = -24,         /* arithmetic on a counter left its range */
    ERR_NOT_NUMBER = -25,       /* increment of a value that is no decimal integer */
    ERR_STATE = -26,            /* not possible in the present state (say, not bootstrapped) */
    ERR_SESSION_EXPIRED = -27,  /* not in this attempt: too old to tell a repeat from a first */
    ERR_FENCED = -28,           /* definite: it was made sure that it never takes effect */
    ERR_TOO_OLD = -29,          /* definite: the data here are older than the reader allows */
    ERR_LAST = -30,
};

enum { ERR_MSG_MAX = 512 };

struct err {
    int code; /* 0, or the code last set */
    char msg[ERR_MSG_MAX];
};

/* Nothing was set: as zeroed, but the message's room is not cleared, which is worth it where each
 * request has one. */
static inline void err_init(struct err *err)
{
    err->code = 0;
    err->msg[0] = 0;
}

/* Fill `err` (unless NULL) and return `code`, which must be negative. */
int err_set(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put "<prefix>: " in front of the message and return `code`. If nothing was
 * set yet, the message is the code's name. */
int err_wrap(struct err *err, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Set from errno: ENOSPC and EDQUOT become ERR_NO_SPACE, ENOENT ERR_NOT_FOUND,
 * EEXIST ERR_EXISTS, ENOMEM ERR_NOMEM, everything else ERR_IO. */
int err_set_errno(struct err *err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* A code that another process sent, for our own use of it as an error. One that is not of this
 * list, as a later version may say, is ERR_UNAVAILABLE. One that tells a caller how to go on
 * (ERR_SHORT, ERR_WOULD_BLOCK, ERR_EOF) means nothing between processes and would be taken for the
 * word of a function here: ERR_CORRUPT. `code` must be negative. */
int err_from_wire(int code);

/* Stable short name: "NOT_FOUND", or "OK" for 0; "UNKNOWN" for anything else. */
const char *err_name(int code);

#endif
