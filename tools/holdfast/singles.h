/* SPDX-License-Identifier: Apache-2.0
 *
 * singles — records that are put one by one, many of them under way at once: those of a batch
 * that would cross from one range to another, as nearly every batch of a hashed keyspace would.
 *
 *   keep ─▶ keep ─▶ … ─▶ put: those that are not in yet ─▶ HF_OK ─▶ clear
 *                         ▲                                 │ a failure
 *                         └────────── again, if that helps ◀┘
 *
 * Ownership  records are copied; the client is borrowed and outlives this.
 * Invariants (N1) of records with the same key one is put when the one before is in: the last one
 *            wins. (N2) one that is in is not put again. (N3) after a failure none is begun, and
 *            singles_put() returns when nothing is under way.
 * Limits     SINGLES_MAX records, SINGLES_BYTES_MAX bytes; SINGLES_AT_ONCE under way.
 */
#ifndef TOOLS_HOLDFAST_SINGLES_H_
#define TOOLS_HOLDFAST_SINGLES_H_

#include "base/buf.h"
#include "holdfast.h"

enum {
    SINGLES_MAX = 1000,
    SINGLES_BYTES_MAX = 16 << 20, /* a batch, and a value of the largest size behind it */
    SINGLES_AT_ONCE = 128,
};

struct single {
    size_t at;     /* in `kept` */
    uint32_t hash; /* of its key */
    bool is_in;
    bool is_under_way;
};

/* What became of a change whose outcome is not known, with its token in *result, which may be
 * replaced: HF_ERR_UNDETERMINED if nobody can tell. */
typedef int (*singles_settle)(void *data, struct hf_result **result);

struct singles {
    struct hf_client *client;
    struct hf_queue *queue;
    struct buf kept; /* of each record TTL, lengths, key and value */
    size_t count;
    size_t under_way;
    struct single records[SINGLES_MAX];
};

/* An hf_code. */
int singles_init(struct singles *s, struct hf_client *client);
void singles_fini(struct singles *s); /* accepts zeroes */

/* One more, behind the others; false: out of memory. */
bool singles_keep(struct singles *s, struct slice key, struct slice value, uint64_t ttl_ms);

/* Forget them all. */
void singles_clear(struct singles *s);

/* Put those that are not in. An hf_code; HF_ERR_UNDETERMINED before any other: then one of them may
 * be in, and must not be put again. *ret_result has the words of a failure; it may be NULL, and is
 * the caller's to free. */
int singles_put(struct singles *s, const struct hf_call *call, singles_settle settle, void *data,
                struct hf_result **ret_result);

#endif
