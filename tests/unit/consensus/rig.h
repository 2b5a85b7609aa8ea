/* SPDX-License-Identifier: Apache-2.0
 *
 * rig — one group member driven by hand: peers' messages are written in a line, what
 * it sends is kept, its disk acknowledges when told.
 *
 * Peers are replicas 1..9 on stores 101..109. A group is born at index 10, term 5, on
 * voters {1, 2, 3} unless said otherwise. Time starts at 1000 ms; the election timeout
 * is 100 ms, the heartbeat 20 ms, pre-vote off.
 */
#ifndef TESTS_UNIT_CONSENSUS_RIG_H_
#define TESTS_UNIT_CONSENSUS_RIG_H_

#include "consensus/member.h"

enum { RIG_SENT_MAX = 4096, RIG_ET = 100, RIG_HB = 20, RIG_BORN = 10, RIG_TERM = 5 };

struct rig {
    struct member m;
    uint64_t now;
    struct cons_msg sent[RIG_SENT_MAX];
    uint32_t n_sent;
};

struct rig_entry {
    uint64_t term;
    const char *config; /* NULL: a command; else as rig_config() */
};

/* "1V 2V 3L": voters and learners; "3S" is a spare (the library's role 2). */
struct cons_config rig_config(const char *text);

/* Member `id`, nothing on disk, not started. */
void rig_init(struct rig *r, uint64_t id, uint64_t guards_off);

/* Born of `config` (NULL: "1V 2V 3V") at index 10, term 5, with hard state (term, vote);
 * `n` entries of `term_of_entries` behind. Then started, all writes on disk. */
void rig_open(struct rig *r, uint64_t id, uint64_t guards_off, const char *config, uint64_t term,
              uint64_t vote, uint32_t n, uint64_t term_of_entries);
void rig_close(struct rig *r);

/* Forget what was sent. */
void rig_clear(struct rig *r);

/* The last message of that type sent to `to` (0: anyone); NULL if none. */
const struct cons_msg *rig_last(const struct rig *r, enum cons_msg_type type, uint64_t to);
uint32_t rig_count(const struct rig *r, enum cons_msg_type type);

/* Messages from a peer; what consensus_receive() returned. */
int rig_append(struct rig *r, uint64_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
               uint64_t commit, const struct rig_entry *entries, uint32_t n);
int rig_append_result(struct rig *r, uint64_t from, uint64_t term, uint64_t rejected,
                      uint64_t last);
int rig_vote(struct rig *r, uint64_t from, uint64_t term, uint64_t last, uint64_t last_term);
int rig_vote_result(struct rig *r, uint64_t from, uint64_t term, bool granted);
int rig_snapshot(struct rig *r, uint64_t from, uint64_t term, uint64_t index, uint64_t index_term,
                 const char *config);
int rig_timeout_now(struct rig *r, uint64_t from, uint64_t term, uint64_t last, uint64_t last_term);
int rig_probe_result(struct rig *r, uint64_t from, uint64_t term, uint64_t number);

/* A message of `type` from `from` in `term`, all else zero. */
struct cons_msg rig_msg(const struct rig *r, enum cons_msg_type type, uint64_t from, uint64_t term);
int rig_receive(struct rig *r, const struct cons_msg *msg);

void rig_persist(struct rig *r);                 /* everything is on disk */
void rig_tick(struct rig *r, uint64_t ms);       /* time passes, then tick */
uint64_t rig_propose(struct rig *r, uint32_t n); /* first index, 0 if refused */

/* Stand for election and win with the vote of `voter`; everything persisted. */
void rig_lead(struct rig *r, uint64_t voter);

/* Member 1 of `config` (as in rig_open(), with 2 and 3) leads term 6: the barrier at 11 is
 * committed and applied, and 3 has been heard of, too. Nothing is kept of what was sent. */
void rig_open_leader(struct rig *r, uint64_t guards_off, const char *config);

/* `peer` says that it has everything; commit follows; all applied. */
void rig_settle(struct rig *r, uint64_t peer);

/* Run members that speak to each other for `ms`, everything durable at once; stop when
 * one leads. True if one does. */
bool rig_elect(struct rig *const *rigs, uint32_t n, uint64_t ms);

#endif
