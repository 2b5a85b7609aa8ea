/* SPDX-License-Identifier: Apache-2.0
 *
 * lin — is a recorded history of registers linearizable? Wing & Gong's search
 * (1993) with Lowe's memoisation (2017), key by key (linearizability is local:
 * Herlihy & Wing 1990). Knows nothing of Holdfast.
 *
 *   history ─▶ by key ─▶ search ─▶ fine
 *                          └─▶ shrink ─▶ a counter-example for people
 *
 * A register is absent or holds bytes. Every operation takes effect at one instant
 * between its invocation and its return; one whose outcome is not known at some
 * instant after its invocation, or never. Operations that share an instant are
 * concurrent.
 *
 * Where an operation knows the version of its key, versions must grow along the
 * order of effects and a read must see the version that the write it sees was given:
 * then the search has little left to try.
 *
 * Units      any clock for times, the same for all operations.
 * Ownership  everything in a lin_op is borrowed until lin_check() returns.
 * Threads    pure.
 * Errors     when memory is out it aborts: this is a test tool.
 * Limits     options.states_max; beyond it the verdict is LIN_UNKNOWN. Sets of
 *            operations are remembered by 128-bit fingerprints: a false "not
 *            linearizable" is less likely than a broken processor.
 */
#ifndef TESTS_SUPPORT_LIN_LIN_H_
#define TESTS_SUPPORT_LIN_LIN_H_

#include "base/base.h"
#include "base/buf.h"

enum lin_kind {
    LIN_READ,      /* result: what was seen */
    LIN_WRITE,     /* arg is the value after */
    LIN_DELETE,    /* absent after */
    LIN_CAS,       /* if the value is `expect` then it becomes `arg`; either may be absent */
    LIN_INCREMENT, /* the value, a decimal number or absent, grows by delta; number: after */
    LIN_APPEND,    /* arg at the end of the value (absent: of nothing) */
    LIN_SWAP,      /* as WRITE; result: what was there before */
};

enum lin_outcome {
    LIN_DONE,     /* took effect, and said so */
    LIN_MISMATCH, /* a CAS whose condition was not met, and which changed nothing */
    LIN_INFO,     /* not known */
    LIN_FAILED,   /* certainly did not take effect: left out */
};

struct lin_value {
    bool is_present;
    struct slice bytes;
};

struct lin_op {
    uint32_t process; /* for people */
    uint64_t line;    /* where it was recorded, for people; 0: nowhere */
    enum lin_kind kind;
    enum lin_outcome outcome;
    struct slice key;
    struct lin_value arg;
    struct lin_value expect;
    uint64_t expect_version; /* CAS: if the value is there at this version, whatever it is,
                                in place of `expect`; 0: no such condition */
    int64_t delta;
    bool
        leaves_no_trace; /* INFO and CAS of a value that is written once: so whether it has happened
                            makes no difference to what may follow a state of the register */
    bool has_result;     /* `result` (or `number`) is known; implied for a READ */
    struct lin_value result;
    int64_t number;
    uint64_t version; /* of the key after it, or of what was seen; 0: not known */
    uint64_t invoke;
    uint64_t ret; /* >= invoke; does not count for INFO */
};

struct lin_options {
    uint64_t states_max; /* states of one key to look at; 0: 20 million */
};

enum lin_verdict { LIN_OK, LIN_UNKNOWN, LIN_BAD };

struct lin_report {
    enum lin_verdict verdict; /* of the worst key */
    struct slice key;         /* the first with that verdict; borrowed from the history */
    uint64_t keys;            /* looked at */
    uint64_t states;          /* looked at, over all keys */
    struct buf text;          /* why not, for people; empty if LIN_OK */
};

/* Judge a history in any order. Stops at the first key that is not linearizable. The
 * caller frees the report. `options` may be NULL. */
enum lin_verdict lin_check(const struct lin_op *ops, size_t count,
                           const struct lin_options *options, struct lin_report *ret_report);

void lin_report_fini(struct lin_report *report);

#endif
