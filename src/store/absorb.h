/* SPDX-License-Identifier: Apache-2.0
 *
 * absorb — a replica that another range takes in: by COMMIT_MERGE in that one's log, or
 * with a snapshot that covers what it has (ranges.md, Merge).
 *
 *   COMMIT_MERGE to be applied ─▶ the right stands still ─▶ it is applied up to the frozen
 *     index from its own log ─▶ the left takes over its span ─▶ its end goes into the same
 *     memtable as the left's new meta ─▶ flushed: its log is forgotten ─▶ freed
 *
 *   snapshot complete ─▶ all that it swallows stand still ─▶ ONE edit takes them out and the
 *     new state in ─▶ their logs are forgotten, they are freed
 *
 * Invariants (B1) a replica of a range that was merged into X leaves by X's COMMIT_MERGE, or
 *            whole in the edit that installs X's snapshot; for another range's snapshot, or
 *            because somebody says that its range is over, only on a store where no replica
 *            of X has that merge still before it.
 *            (B2) nothing of a right range is lost before the left's state with its data is
 *            durable: a crash in between does the merge again.
 */
#ifndef STORE_ABSORB_H_
#define STORE_ABSORB_H_

#include "range/merge.h"
#include "range/snapshot.h"
#include "store/replica.h"

/* Apply COMMIT_MERGE to `left`. ERR_BUSY: the right is not there yet, again in a while;
 * else as range_apply_commit(). */
int absorb_apply(struct replica *left, uint64_t index, uint64_t term,
                 const struct range_admin *admin, int *ret_status, struct err *err);

/* Has a replica of `into_range` here still to apply the merge that gave it `span_epoch`? */
bool absorb_is_awaited(const struct store *store, uint64_t into_range, uint64_t span_epoch);

/* May the snapshot that is staged at `r` take the place of every other replica that it
 * meets? If not, it waits. */
bool absorb_may_install(const struct replica *r);

/* Does a range here have some of the span of what is staged at `r` that is younger than that, so
 * was split from it since? Then it never takes that one's place: the leader has a newer state. */
bool absorb_is_overtaken(const struct replica *r);

/* Those stand still from now on, and who did so for a merge that was refused goes on.
 * absorb_may_install() was true. */
void absorb_begin_install(struct replica *r);

/* Is nothing of them on its way any more? */
bool absorb_is_quiet(const struct replica *r);

/* Add their end to the install's edit. ERR_NOMEM. */
int absorb_put_install(const struct replica *r, struct range_install *install);

/* It is durable: they are gone; or it failed: they go on. */
void absorb_end_install(struct replica *r, bool is_durable);

/* `by` leaves this store, and takes in nothing any more: those that stand still for it go on. */
void absorb_release(const struct replica *by);

/* The turn of one that is being taken in. It may be freed. */
void absorb_turn(struct replica *r);

/* From the engine: what belongs to those that were merged away. */
void absorb_on_freeze(struct store *store, uint64_t freeze, struct lsm_batch *batch);
void absorb_on_unfreeze(struct store *store, uint64_t freeze);
void absorb_on_flushed(struct store *store, uint64_t freeze);

/* Was this replica merged away, and its end is not durable yet? */
bool absorb_is_ending(const struct store *store, uint64_t replica_id);

/* Has the end of one waited for long to be frozen, since little is written? A flush is due then. */
bool absorb_wants_flush(const struct store *store);

/* At teardown. */
void absorb_free(struct store *store);

#endif
