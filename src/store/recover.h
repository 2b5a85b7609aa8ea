/* SPDX-License-Identifier: Apache-2.0
 *
 * recover — unsafe recovery: ranges whose majority is lost for good go on with the one replica
 * that is left, in this folder. An operator's decision; the store serves nobody meanwhile.
 *
 *   boot ─▶ each log is applied as far as it is known to be committed, as ever
 *        ─▶ (not for a plan) that of each range to be recovered to its end, committed or not
 *        ─▶ what is done, told line by line ─▶ (a plan ends here) new logs, durable
 *        ─▶ one edit of the engine: new metas, tombstones of the old ids
 *        ─▶ done: the folder can be started
 *
 * What was acknowledged and is not in this folder is lost; what nobody acknowledged, but stands
 * in its logs, is there. So that nothing of before can be taken for the new life: terms, epochs
 * and indexes rise by a large step, the last version above all that the lost could have given,
 * the sessions' floor to the clock, and each replica gets an id that nobody had.
 *
 * After a crash it is asked for again: what was applied stays applied, and must not meet the lost
 * stores again. A plan changes nothing. A range that keeps a majority, or has another survivor, is
 * not touched.
 *
 * Threads    the loop.
 * Errors     ERR_STATE with a reason for people: nothing was changed.
 * Limits     STORE_LOST_MAX lost stores.
 */
#ifndef STORE_RECOVER_H_
#define STORE_RECOVER_H_

struct err;
struct store;

/* The folder is open, and its replicas apply what they have: store_options.recover tells the
 * rest. ERR_STATE: there is nothing to recover; ERR_NOMEM. */
int recover_begin(struct store *store, struct err *err);

/* A replica has come to the end of its log. */
void recover_on_replayed(struct store *store);

/* After env_stop(). */
void recover_free(struct store *store);

#endif
