/* SPDX-License-Identifier: Apache-2.0
 *
 * history — what clients of a cluster saw, read from lines of JSON and judged. Knows
 * nothing of the system that was tested.
 *
 *   {"process":0,"type":"invoke","f":"write","key":"a","value":"1","time":10}
 *   {"process":0,"type":"ok","f":"write","key":"a","value":"1","time":25,"version":7}
 *
 * A process has one operation at a time. "ok": it took effect; "fail": certainly not;
 * "info", or no completion at all: not known, it may take effect at any later time or
 * never, and the process number is never used again. Times are nanoseconds of one
 * clock; completions at one time are concurrent with invocations at the same.
 *
 * f and values (a text or a whole number, null: absent):
 *   read         ok: what was seen
 *   write        the value after             delete   null
 *   cas          [expected, after]; "fail" with "mismatch":true: it met another value,
 *                "seen" if it is known
 *   cas-version  [expected version, after]; the same
 *   swap         the value after; "seen": before
 *   increment    by how much; ok may have "number": after
 *   append       bytes at the end
 *   add          (set) an element; (counter) by how much. Reads: [elements], a number
 * "ttl_ms": a change's value expires then; "left_ms": of what was read, so much was left. How far
 * clocks were off: "ahead_ms", "behind_ms" (judge_ttl.c).
 * Operations with the same "stamp" (a text) are one change that was sent several times;
 * "change" is its version (judge_session.c).
 *   txn, open, transfer, scan, watch   judge_append.c, judge_bank.c, judge_scan.c,
 *                judge_watch.c
 *
 * Ownership  a history owns everything in it.
 * Threads    pure, but for history_load().
 * Errors     ERR_INVALID names the line. Out of memory aborts: this is a test tool.
 * Limits     HISTORY_LINE_MAX bytes a line, HISTORY_NODES_MAX JSON values in it, lists
 *            HISTORY_DEPTH_MAX deep.
 */
#ifndef TESTS_SUPPORT_HISTORY_HISTORY_H_
#define TESTS_SUPPORT_HISTORY_HISTORY_H_

#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { HISTORY_LINE_MAX = 64 << 20, HISTORY_NODES_MAX = 8 << 20, HISTORY_DEPTH_MAX = 4 };
#define HISTORY_SPAN_MAX_MS (UINT64_C(1) << 40)

enum history_value_type { HISTORY_NULL, HISTORY_TEXT, HISTORY_NUMBER, HISTORY_LIST };

struct history_value {
    enum history_value_type type;
    struct slice text;          /* TEXT, and a NUMBER in decimal */
    int64_t number;             /* NUMBER */
    size_t count;               /* LIST */
    struct history_value *list; /* LIST */
};

enum history_outcome { HISTORY_OK, HISTORY_FAIL, HISTORY_INFO };

/* One operation: its invocation and, if there is one, its completion. */
struct history_op {
    int64_t process;
    enum history_outcome outcome;
    struct slice f;
    struct slice key;            /* empty: none was given */
    struct slice stamp;          /* empty: it was sent once */
    struct history_value value;  /* of the invocation */
    struct history_value result; /* of the completion */
    struct history_value seen;
    bool has_seen;
    bool has_number;
    bool is_mismatch;
    int64_t number;
    uint64_t version; /* 0: not known */
    uint64_t change;  /* likewise */
    uint64_t ttl_ms;  /* 0: it does not expire */
    uint64_t left_ms; /* likewise */
    uint64_t ahead_ms;
    uint64_t behind_ms;
    uint64_t invoke_ns;
    uint64_t return_ns; /* UINT64_MAX for INFO */
    uint64_t line;      /* of the invocation, from 1 */
};

struct history {
    struct history_op *ops; /* in order of their invocations' lines */
    size_t count;
    size_t cap;
    struct arena arena;
};

void history_init(struct history *h);
void history_fini(struct history *h);

/* Read the whole of `file`. */
int history_load(struct history *h, FILE *file, struct err *err);

/* For tests: the same from text. */
int history_parse(struct history *h, struct slice text, struct err *err);

/* ---- judges ------------------------------------------------------------------------ */

enum history_verdict { HISTORY_VALID, HISTORY_INVALID, HISTORY_UNKNOWN };

struct history_report {
    enum history_verdict verdict;
    struct buf text; /* lines for people: figures, and what is wrong */
};

void history_report_init(struct history_report *report);
void history_report_fini(struct history_report *report);

/* Each appends to the report and sets its verdict. UNKNOWN: the search was given up, the
 * history has nothing to judge, or an operation that the judge does not know. */

/* Linearizable, key by key (support/lin). */
void history_judge_register(const struct history *h, struct history_report *report);

/* The same without the versions that operations know: for those who do not trust them. */
void history_judge_plain_register(const struct history *h, struct history_report *report);

/* A set, key by key: no acknowledged element lost, none from nowhere, none twice; reads that miss
 * what they should have seen but later ones see are counted as stale. */
void history_judge_set(const struct history *h, struct history_report *report);

/* The same for a linearizable set: stale reads are wrong. */
void history_judge_strict_set(const struct history *h, struct history_report *report);

/* Sessions: a change that is sent more than once happens exactly once if acknowledged, at
 * most once if not known, never if it failed; and all its sendings that have a result have
 * the same (judge_session.c). */
void history_judge_session(const struct history *h, struct history_report *report);

/* Registers whose values expire: linearizable with an end of each, which comes neither early nor
 * late by the clocks, and is for good (judge_ttl.c). */
void history_judge_ttl(const struct history *h, struct history_report *report);

/* Transactions over lists, strictly serializable (judge_append.c, deps.h). */
void history_judge_append(const struct history *h, struct history_report *report);

/* A bank: the sum over all accounts never changes (judge_bank.c). */
void history_judge_bank(const struct history *h, struct history_report *report);

/* Scans see groups of keys whole, and all of them at one moment (judge_scan.c). */
void history_judge_scan(const struct history *h, struct history_report *report);

/* Watchers see every change of a key once and in order (judge_watch.c). */
void history_judge_watch(const struct history *h, struct history_report *report);

/* A counter: every read within the bounds that the additions allow. */
void history_judge_counter(const struct history *h, struct history_report *report);

#endif
