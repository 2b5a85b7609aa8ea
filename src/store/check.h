/* SPDX-License-Identifier: Apache-2.0
 *
 * check — the replica's part in `range check`: digests (range/digest.h) that an entry
 * of the log asked for, taken in the background, and kept for whoever asks.
 *
 *   CHECK_START ─▶ leader: an entry ─▶ committed ─▶ applied on every replica at one
 *     index ─▶ check_begin(): view, then steps on a lane at a bounded rate ─▶ DONE
 *   CHECK_RESULT{index} ─▶ any store: how far its replica is, or the sums
 *
 *   RUNNING ──▶ DONE
 *      ├──▶ FAILED   damage at rest; too slow; a later check came; memory is out
 *      └──▶ (gone)   the replica's end
 *
 * A replica takes no part in what it replays at start up to the log's hint, nor in what
 * a snapshot jumps over: it says MISSING, and whoever asked names it.
 *
 * Ownership  the replica owns its checks.
 * Invariants (K1) at most one runs; the latest wins. (K2) what is kept is in order of
 *            index.
 * Limits     CHECKS_KEPT results; one view held for at most CHECK_TIME_MAX_US;
 *            store_options.check_bytes_per_s, of all checks of the store together, which also
 *            rest together.
 */
#ifndef STORE_CHECK_H_
#define STORE_CHECK_H_

#include "range/digest.h"
#include "store/replica.h"
#include "wire/response.h"

enum { CHECKS_KEPT = 4 };
#define CHECK_TIME_MAX_US (UINT64_C(3600) * 1000 * 1000)

/* The entry applied a moment ago asked for a digest. */
void check_begin(struct replica *r);

/* Does one run? Those that are over, kept for whoever asks, keep nobody from ending or sleeping. */
bool check_is_running(const struct replica *r);

/* Give up what runs: the replica ends. From outside the digest's callback. */
void check_stop(struct replica *r);

/* After env_stop(). */
void check_free(struct replica *r);

/* CHECK_START and CHECK_RESULT. */
void check_on_request(struct store *store, struct answer_to *to, const struct request *request);

/* The entry that CHECK_START proposed is applied. */
void check_answer_started(struct replica *r, const struct answer_to *to);

#endif
