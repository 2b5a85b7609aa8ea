/* SPDX-License-Identifier: Apache-2.0
 *
 * command — one atomic unit of change: one or more operations on keys of one
 * range, of which either all happen or none. The client encodes it, the leader
 * copies the bytes unchanged into a log entry, and every replica decodes them
 * again at apply.
 *
 *   client ── command_encode ──▶ WRITE request ──▶ leader: command_decode, judge
 *        ──▶ log entry, same bytes ──▶ apply: command_decode, judge, apply
 *        ──▶ command_result_encode ──▶ response ──▶ command_result_decode
 *
 * Encoding   a msgpack map, keys ascending; defaults are left out.
 *              command {0: format = 1, 1: session, 2: sequence,
 *                       3: lowest_unanswered, 4: first_sent_ms, 5: keyspace,
 *                       6: [op, …]}
 *              op      {0: kind, 1: key, 2: value, 3: delta, 4: ttl_ms,
 *                       5: cond, 6: cond_version, 7: cond_value, 8: flags}
 *            Unlike messages, an unknown key is refused: what one replica skipped
 *            and another applied would make them differ.
 * Ownership  decoded slices are borrowed from the input.
 * Errors     ERR_CORRUPT malformed; ERR_INVALID well formed, but it makes no
 *            sense; ERR_TOO_LARGE over a limit; ERR_UNSUPPORTED a later format.
 * Invariants decoding is a pure function of bytes and limits: the same answer on
 *            every replica. encode(decode(x)) means the same as x.
 * Limits     struct command_limits.
 */
#ifndef WIRE_COMMAND_H_
#define WIRE_COMMAND_H_

#include "base/buf.h"
#include "base/err.h"
#include "wire/pack.h"

enum op_kind {
    OP_PUT = 1,     /* set the value; ttl_ms 0 means it does not expire */
    OP_DELETE,      /* an absent key is fine */
    OP_INCREMENT,   /* add `delta` to a decimal integer; absent counts as 0 */
    OP_APPEND,      /* value at the end of the present one; absent counts as empty */
    OP_GET_AND_SET, /* put, and return what was there */
    OP_CHECK,       /* the condition alone */
    OP_FENCE,       /* alone in a command of a session: if that (session, sequence) was not done
                       here yet it never will be: its result is ERR_FENCED */
    OP_KIND_FIRST = OP_PUT,
    OP_KIND_LAST = OP_FENCE,
};

/* All conditions of a command are judged before any operation is done. */
enum op_cond {
    COND_NONE,
    COND_ABSENT,
    COND_PRESENT,
    COND_VERSION, /* present, at exactly cond_version */
    COND_VALUE,   /* present, with exactly cond_value */
    COND_LAST = COND_VALUE,
};

enum op_flag {
    OP_RETURN_PREVIOUS = 1 << 0, /* the result carries the value before */
    OP_KEEP_TTL = 1 << 1,        /* keep the present expiry; ttl_ms must be 0. INCREMENT
                                    and APPEND without ttl_ms always do */
};
#define OP_FLAGS_ALL ((uint32_t)(OP_RETURN_PREVIOUS | OP_KEEP_TTL))

struct op {
    enum op_kind kind;
    enum op_cond cond;
    uint32_t flags;
    struct slice key;        /* borrowed */
    struct slice value;      /* borrowed; PUT, APPEND, GET_AND_SET */
    int64_t delta;           /* INCREMENT */
    uint64_t ttl_ms;         /* 0: none; not for DELETE and CHECK */
    uint64_t cond_version;   /* COND_VERSION; > 0 */
    struct slice cond_value; /* borrowed; COND_VALUE */
};

struct command {
    uint64_t session;  /* 0: none, the command may not be repeated */
    uint64_t sequence; /* within the session; 0 iff there is none */
    uint64_t lowest_unanswered;
    uint64_t first_sent_ms; /* cluster time of the first sending, not changed by repeats;
                               0: unknown, which only a command of no session may say */
    uint32_t keyspace;
    uint32_t op_count;
    const struct op *ops; /* borrowed */
};

struct command_limits {
    size_t key_max;     /* bytes; keys are never empty */
    size_t value_max;   /* bytes */
    size_t ops_max;     /* operations in a command */
    size_t command_max; /* encoded bytes */
    uint64_t ttl_max_ms;
};

/* Key 4,096 bytes, value 8 MiB, 10,000 operations, 16 MiB, TTL 100 years. */
extern const struct command_limits command_limits_default;

enum { COMMAND_OPS_MAX = 10000 }; /* the most that any limits may allow */

/* Is this operation acceptable, in any command? */
int op_check(const struct op *op, const struct command_limits *limits, struct err *err);

/* Is this command acceptable? What encoding asserts and decoding tests. */
int command_check(const struct command *command, const struct command_limits *limits,
                  struct err *err);

/* Append the encoding. The command must pass command_check() but for its encoded
 * size, which is the caller's to test (buf->max, or the request's limit). */
void command_encode(struct buf *buf, const struct command *command);

/* Append one operation alone: how a batch is built up step by step, to be
 * finished by command_encode_ops(). */
void command_encode_op(struct buf *buf, const struct op *op);

/* As command_encode(), with `command->op_count` operations that stand encoded in
 * `ops` instead of command->ops. */
void command_encode_ops(struct buf *buf, const struct command *command, struct slice ops);

/* What stands in a command of a session beside its operations. */
struct command_stamp {
    uint64_t session; /* 0: none */
    uint64_t sequence;
    uint64_t lowest_unanswered;
    uint64_t first_sent_ms;
};

/* Append the encoded command `in`, which is of no session, with this stamp. ERR_CORRUPT:
 * it is no command, or has one. */
int command_restamp(struct buf *buf, struct slice in, const struct command_stamp *stamp);

/* The same in two pieces: what changes goes to `buf`, and *ret_rest, of `in`, stands behind it. */
int command_restamp_head(struct buf *buf, struct slice in, const struct command_stamp *stamp,
                         struct slice *ret_rest);

/* How many operations does it claim, without looking at them? At most what its
 * bytes can hold; 0 if malformed. */
uint32_t command_op_count(struct slice in);

/* In two steps, where room for the operations depends on how many there are: `begin` says what
 * command_op_count() does; if that is not 0, `ops`, with room for so many, is as command_decode().
 */
struct command_decoder {
    struct slice in; /* borrowed */
    struct unpack rest;
    struct command command;
};
uint32_t command_decode_begin(struct slice in, struct command_decoder *ret_decoder);
int command_decode_ops(struct command_decoder *decoder, const struct command_limits *limits,
                       struct op *ops, struct command *ret_command, struct err *err);

/* Decode and check in one pass. `ops` has room for `ops_cap`; more is
 * ERR_TOO_LARGE. On success ret_command->ops == ops. On failure *ret_command is
 * untouched and `ops` holds rubbish. */
int command_decode(struct slice in, const struct command_limits *limits, struct op *ops,
                   size_t ops_cap, struct command *ret_command, struct err *err);

/* ---- results -------------------------------------------------------------- */

struct op_result {
    int status;         /* 0, or why this operation stopped the command */
    bool has_value;     /* `value` is there: the key was (or is) present */
    uint64_t version;   /* of the key after the operation, or, where the condition
                           failed, its present version (0: absent) */
    uint64_t expiry_ms; /* of the key, in range time; 0: none */
    int64_t number;     /* INCREMENT: the new value */
    struct slice value; /* borrowed: the value before (RETURN_PREVIOUS, GET_AND_SET)
                           or the present one (condition failed) */
};

struct command_result {
    int status;         /* 0: all is done; else nothing is */
    uint64_t version;   /* given to all keys of the command; 0 if nothing is done */
    uint32_t failed_op; /* index of the operation that stopped it */
    uint32_t result_count;
    const struct op_result *results; /* borrowed. status 0: one for each operation, or
                                        none when only `version` is known any more;
                                        else one at most, that of failed_op */
};

void command_result_encode(struct buf *buf, const struct command_result *result);

/* How many results does it claim? At most what its bytes can hold. */
uint32_t command_result_count(struct slice in);

/* The version that was given, without looking at the results; 0 if none was, or malformed. */
uint64_t command_result_version(struct slice in);

/* As command_decode(); unknown keys are skipped. Slices are borrowed. */
int command_result_decode(struct slice in, struct op_result *results, size_t results_cap,
                          struct command_result *ret_result, struct err *err);

#endif
