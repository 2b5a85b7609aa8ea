/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast_stats.h — what the client itself did: a part of holdfast.h, which includes it.
 */
#ifndef HOLDFAST_STATS_H_
#define HOLDFAST_STATS_H_

#include "holdfast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what the client itself did ---------------------------------------------------------- */

struct hf_client_stats {
    size_t size;           /* sizeof, set by the caller */
    uint64_t submitted;    /* operations accepted */
    uint64_t done;         /* ended in HF_OK */
    uint64_t failed;       /* ended in a definite error */
    uint64_t undetermined; /* ended in HF_ERR_UNDETERMINED */
    uint64_t busy;         /* not accepted: a bound was met */
    uint64_t sendings;     /* requests sent, repeats included */
    uint64_t not_leader;   /* refusals because another one leads */
    uint64_t pushed_back;  /* refusals because the store was busy */
    uint64_t connects;
    uint64_t disconnects;
    uint64_t bytes_out;
    uint64_t bytes_in;
    uint64_t in_flight; /* now */
};

/* A copy of the counters, as of a moment ago; where the log of an embedded store asks, as of the
 * last call that began or ended. */
void hf_client_stats(struct hf_client *client, struct hf_client_stats *ret_stats);

/* What is counted apart. Numbers never change; there may be more. */
enum hf_op_kind {
    HF_OP_GET = 0,
    HF_OP_MULTI_GET = 1,
    HF_OP_SCAN = 2, /* a page, also of those that hf_scan_next() asks for */
    HF_OP_PUT = 3,
    HF_OP_DELETE = 4,
    HF_OP_CAS = 5, /* every put with a condition */
    HF_OP_INCREMENT = 6,
    HF_OP_APPEND = 7,
    HF_OP_GET_AND_SET = 8,
    HF_OP_BATCH = 9,
    HF_OP_DELETE_RANGE = 10, /* a step */
    HF_OP_RESOLVE = 11,
    HF_OP_CLUSTER = 12, /* hf_keyspace_open(), and what asks about the cluster or tells it */
    HF_OP_KINDS = 13
};

/* "get"; NULL: there is no such kind. */
const char *hf_op_kind_name(int kind);

/* How operations of one kind ended since hf_open(), and how long they took: from when one was
 * accepted to when its result was there, with every repeat, whatever it came to. Those that were
 * not accepted are not in it. A latency is at most 0.8 % above the true one. */
struct hf_op_stats {
    size_t size;          /* sizeof, set by the caller */
    uint64_t count;       /* that ended */
    uint64_t errors;      /* of them, not in HF_OK (HF_ERR_NOT_FOUND is one, too) */
    uint64_t by_code[32]; /* at -code how many ended so; at 0 those in HF_OK, at 31 those in
                             codes that this library does not know */
    uint64_t latency_us_min;
    uint64_t latency_us_mean;
    uint64_t latency_us_p50;
    uint64_t latency_us_p90;
    uint64_t latency_us_p99;
    uint64_t latency_us_p999;
    uint64_t latency_us_max;
};

/* HF_ERR_INVALID: no such kind. */
int hf_client_op_stats(struct hf_client *client, int kind, struct hf_op_stats *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
