/* SPDX-License-Identifier: Apache-2.0
 *
 * merge — how the leaders of two neighbours bring a merge about (ranges.md, Merge): the
 * left's leader drives, the right's freezes its range and says when all members hold that.
 * The left's log decides. What each entry does is range/merge.h; what COMMIT_MERGE does to
 * the right replica is absorb.h.
 *
 *   left:  PREPARING ──READY──▶ COMMITTING ──applied──▶ over
 *             │ 2 s, refused         │ refused at apply
 *             ▼                      ▼
 *          ABORTING ──applied──▶ over: the right is told, and thaws
 *
 *   right: serving ──PREPARE_MERGE──▶ frozen ──▶ its end, or THAW
 *             frozen for 2 s: it asks everybody; the owner of the key left of its start
 *             says "aborted", if that is in its state, or brings it there
 *
 * If leadership changes meanwhile, the new leader of the left knows nothing of the attempt,
 * and the right asks. Messages may be lost: PREPARE and the questions are repeated.
 */
#ifndef STORE_MERGE_H_
#define STORE_MERGE_H_

#include "range/merge.h"
#include "store/replica.h"
#include "wire/merge_msg.h"

enum {
    MERGE_PATIENCE_US = 2 * 1000 * 1000, /* a range is frozen no longer than this */
    MERGE_REPEAT_US = 100 * 1000,
    MERGE_LETTERS_MAX = 64, /* from a store to itself, in one turn; they are repeated */
};

/* Take a MERGE and answer it when it is decided. */
void merge_on_request(struct replica *r, const struct answer_to *to, const struct request *request);

/* From peers: MSG_MERGE. */
int merge_on_message(struct store *store, uint64_t from_store, struct slice body, struct err *err);

/* Is this range's leader to serve nothing now, because the range is frozen or about to be? */
bool merge_is_freezing(const struct replica *r);

/* Its turn: go on with what it drives, says or asks. */
void merge_turn(struct replica *r);

/* Must it be looked at soon? */
bool merge_is_active(const struct replica *r);

/* Will it have something to do by itself: an outcome to be forgotten once all know it? */
bool merge_has_duty(const struct replica *r);

/* A step is applied here. */
void merge_on_applied(struct replica *r, const struct range_admin *admin, int status);

/* It leads no more, or ends. */
void merge_stop(struct replica *r);

/* After env_stop(). */
void merge_free(struct replica *r);
void merge_free_letters(struct store *store);

/* The task that delivers what a store said to itself. */
void merge_post(struct env_task *task);

/* ---- between the files of it ---------------------------------------------------- */

/* Send to a store, which may be this one; it may be lost. */
void merge_send(struct store *store, uint64_t to_store, const struct merge_msg *msg);

/* To all stores of the cluster. */
void merge_send_all(struct store *store, const struct merge_msg *msg);

/* The left's part of merge_turn(). */
void merge_left_turn(struct replica *r);

/* Take what is meant for the left: READY, REFUSED, ASK, GONE. */
void merge_left_on_message(struct store *store, uint64_t from_store, const struct merge_msg *msg);
/* The right's part of merge_turn(). */
void merge_right_turn(struct replica *r);

/* Take what is meant for the right: PREPARE, ABORTED, GONE_ASK. */
void merge_right_on_message(struct store *store, uint64_t from_store, const struct merge_msg *msg);

/* The left's part of merge_on_applied(). */
void merge_left_on_applied(struct replica *r, const struct range_admin *admin, int status);

/* The left's leader gives up its drive, if there is one. */
void merge_left_stop(struct replica *r);

/* Do all members of the group hold its log up to `index`, as its leader sees it? */
bool merge_all_hold(const struct replica *r, uint64_t index);

#endif
