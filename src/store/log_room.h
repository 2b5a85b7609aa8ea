/* SPDX-License-Identifier: Apache-2.0
 *
 * log_room — what a replica may put into the log, and what is cut from it.
 *
 * The log of a store has a budget and a limit (raftlog.h). Beyond the budget a flush is forced, for
 * it is cut behind what is flushed. Without room a leader proposes nothing, and a follower takes no
 * entries: both wait for a flush. But what is above what is applied no flush frees:
 *
 *  - Entries of earlier leaders are committed only with one of the leader that is now
 * (Raft, 5.4.2), if they are not to go for it.
 *  - Other groups may hold all of the log with what waits for such an entry somewhere else.
 *
 * So a group of which nothing more can be cut takes one entry beyond the limit once a flush has
 * brought no room, and another when that is flushed, or if that was of an earlier term still. The
 * file for it is there first: a full disk has none, and votes keep their reserve.
 *
 * Threads    loop only.
 * Limits     those of raftlog_has_room_beyond().
 */
#ifndef STORE_LOG_ROOM_H_
#define STORE_LOG_ROOM_H_

#include <stdbool.h>
#include <stdint.h>

struct cons_msg;
struct replica;
struct store;

/* Of a replica: what was counted last, which takes as long as it counts. */
struct log_trailing {
    uint64_t index; /* 0: nothing was */
    uint64_t first_index;
    uint64_t bytes;
    uint32_t count;
};

enum { LOG_FAVOURED_MAX = 4 };

/* Of a store: whose logs are cut later. */
struct log_favoured {
    uint64_t replica_id; /* 0: nobody's */
    uint64_t until_us;
};

/* Now and then: a flush, if the log is beyond its budget. */
void log_room_care(struct store *store);

/* The durable applied index grew: let consensus and log forget what is behind. */
void log_room_compact(struct replica *r);

/* How many entries at and below `index`, up to which all is flushed or will be, are kept for
 * members that lag. All replicas together keep a quarter of the budget, in equal shares, and the
 * few that are favoured a half while there is room: what is kept cannot be flushed away. */
uint32_t log_room_trailing(struct replica *r, uint64_t index);

/* A snapshot of it is on its way. Whoever takes that needs what comes meanwhile, and some time to
 * catch up then: were as much cut as of all others, a busy range among many would need snapshot
 * after snapshot. While a whole one waits there for its span the next ones are refused, but
 * favoured, too: so it lasts as long as that may wait. */
void log_room_favour(struct replica *r);

/* The first entry that consensus is told of, which begins at `applied`. Of a log beyond its budget
 * no more than a flush now would leave: the library takes no snapshot at the index that it begins
 * with (R18), so what it knew of below could be cut only once another entry is applied. */
uint64_t log_room_first_known(struct replica *r, uint64_t applied);

/* May this leader propose an entry with so many bytes? If not, ask again: the log's on_room() wakes
 * the store, but not for what is beyond the limit. */
bool log_room_has(struct replica *r, uint64_t bytes);

/* Entries are appended: what was granted is spent. */
void log_room_take(struct replica *r);

/* How many of the entries of this APPEND, from the first on, may be taken. Those that are here
 * already need no room. */
uint32_t log_room_fits(struct replica *r, const struct cons_msg *msg);

#endif
