/* SPDX-License-Identifier: Apache-2.0
 *
 * raftlog — the one Raft log of a store: entries, hard state and a commit hint of
 * every group (replica) on it, made durable by group commit.
 *
 *   raftlog_append() ─▶ open batch ─end of turn─▶ write + sync ─▶ callbacks
 *        (visible at once)   one in flight; what arrives meanwhile is the next
 *
 *   oldest ─▶ [segment][segment] … [segment being written][spare] ◀─ zero-filled ahead
 *      └─ what still lives here is copied to the head, then the file is used again
 *   (while batches are large, files are made without zeroes: that would be as much to write again)
 *
 * Units      bytes; indexes and terms as in Raft, the first index is 1.
 * Ownership  the log borrows `env` for its life. Data given to raftlog_append() is
 *            copied before it returns; the write itself belongs to the caller and
 *            stays in place until its callback. Data handed out by raftlog_get()
 *            is borrowed until control returns to the loop.
 * Threads    everything on the loop of `env`. Opening, raftlog_each() and
 *            raftlog_dump() block, and the end of a turn whose one write `may_block`;
 *            nothing else does.
 * Errors     0 or a negative ERR_*; messages name file and offset. A failed write
 *            or sync ends the process (env_fatal): nothing tries again. A full disk
 *            is met while the next segment is prepared, never in a write:
 *            raftlog_room() shrinks, and grows again by itself.
 * Invariants (G1) callbacks run in the order of the appends, each after its bytes
 *            and all before them are synced. (G2) the hint of a group on disk never
 *            names an entry that is not before it, or with it, on disk. (G3) a
 *            segment goes only when every live entry, hard state and base of it is
 *            synced in later ones. (G4) at each crash point a reopen finds all that
 *            was acknowledged, and beyond that a prefix of what was appended.
 *            (G5) damage is told apart from a torn end, named, never served.
 * Limits     RAFTLOG_RECORD_MAX bytes in one append; `limit_bytes` of files; a
 *            caller appends only while raftlog_room() is enough.
 * Teardown   env_stop(), then raftlog_free().
 */
#ifndef RAFTLOG_RAFTLOG_H_
#define RAFTLOG_RAFTLOG_H_

#include "base/base.h"
#include "base/err.h"
#include "base/list.h"
#include "env/env.h"

struct raftlog;

enum {
    RAFTLOG_SEGMENT_MIN = 4 << 10,  /* bytes */
    RAFTLOG_SEGMENT_MAX = 1 << 30,  /* bytes */
    RAFTLOG_RECORD_MAX = 256 << 20, /* bytes of one append with all its overhead */
    RAFTLOG_OVERHEAD = 104,         /* bytes on disk over the data of an append of one entry */
    RAFTLOG_ENTRY_OVERHEAD = 32,    /* … and for each further entry, padding included */
};

/* What the owner hears, on the loop, never from inside a call. Each may be NULL. */
struct raftlog_callbacks {
    /* raftlog_room() has grown after it was short, or raftlog_is_over_budget() changed. */
    void (*on_room)(void *data);
    /* Reading back found damage in `group`, of a disk that was fine at open: what could
     * not be read is not served, the rest works on, but the replica must be replaced:
     * until its group is removed no old segment goes. */
    void (*on_damage)(void *data, uint64_t group, const char *text);
    /* Something of `group` keeps an old segment, the disk has failed to read it for half a minute,
     * and the log is over its budget or refuses room. True: take it for damage. False (or NULL):
     * it is tried on, and asked about again; there is no other copy, or it may be compacted yet. */
    bool (*may_give_up)(void *data, uint64_t group);
};

struct raftlog_options {
    size_t segment_bytes;   /* of one segment file; 64 MiB */
    uint64_t budget_bytes;  /* of all files; beyond it the owner should flush; 1 GiB */
    uint64_t limit_bytes;   /* no more files are made beyond this, but for one into which
                               old segments are emptied and what raftlog_has_room_beyond()
                               says; 2 × budget */
    size_t cache_bytes;     /* recent records kept in memory; 64 MiB */
    size_t batch_bytes_max; /* of one write; 1 MiB */
    uint64_t retry_us;      /* between tries to prepare a segment on a full disk; 200 ms */
    size_t ahead_bytes;     /* the next file is begun when no more than this is left in the
                               present one, or raftlog_has_room() said no; SIZE_MAX: at once */
    bool no_zeroing;        /* new files get their room and no zeroes: half the writing while the
                             * log grows, but a sync there commits metadata, too; for those
                             * who do not wait for syncs */
    bool no_rewrite;        /* never copy what lives in old segments: for an owner of one
                             * group, whose oldest entries go first anyway, and for tests */
    struct raftlog_callbacks callbacks;
    void *data; /* for the callbacks */
};

/* The defaults above. */
void raftlog_options_init(struct raftlog_options *options);

/* Open the log in folder `dir`, made if missing, and recover what it holds. Blocks.
 * A torn end is cut off, zeroed and synced. Damage of synced data does not refuse:
 * it marks the groups that lost something (raftlog_group_state()); raftlog_damage()
 * tells where. Refuses with ERR_IO when something cannot be read, ERR_CORRUPT when a
 * whole segment is missing or has an unreadable head, ERR_INVALID for options out of
 * bounds and for a file whose number is too great to count on. A full disk does not refuse:
 * raftlog_room() is 0. */
int raftlog_open(struct raftlog **ret_log, struct env *env, const char *dir,
                 const struct raftlog_options *options, struct err *err);

/* After env_stop(). Frees all memory, closes the files; pending writes and reads
 * are dropped without callback. NULL is fine. */
void raftlog_free(struct raftlog *log);

/* Everything that recovery found damaged, as text ("file at offset: what", one per
 * line); "" if nothing. Owned by the log. If it is not empty, replicas that the owner
 * knows but the log does not are damaged too. */
const char *raftlog_damage(const struct raftlog *log);

/* ---- groups -------------------------------------------------------------- */

struct raftlog_group_state {
    uint64_t term; /* hard state as last appended; 0 if never given */
    uint64_t vote;
    uint64_t hint;        /* replay may go up to here; <= last_index */
    uint64_t base_index;  /* the log holds [base_index + 1, last_index] */
    uint64_t base_term;   /* term of the entry at base_index; 0 if base_index is 0 */
    uint64_t first_index; /* base_index + 1 */
    uint64_t last_index;  /* base_index if it holds nothing */
    uint64_t bytes;       /* of its entries, with overhead */
    bool is_damaged;      /* at open: nothing of it can be relied on, and it must not be
                             appended to; later: see on_damage() */
};

/* The least group id above `after` (0 to begin); false at the end. */
bool raftlog_next_group(const struct raftlog *log, uint64_t after, uint64_t *ret_group);

/* ERR_NOT_FOUND if the log knows nothing of it. */
int raftlog_group_state(const struct raftlog *log, uint64_t group,
                        struct raftlog_group_state *ret_state);

/* ---- appending ----------------------------------------------------------- */

struct raftlog_entry {
    uint64_t term;
    uint8_t type; /* the owner's */
    struct slice data;
};

struct raftlog_write;

/* The write and everything appended before it are durable. Runs exactly once, unless
 * the process ends; the write may be used again from inside. */
typedef void (*raftlog_write_cb)(struct raftlog_write *write);

/* One append = one record: all of it is durable, or nothing. Caller's memory,
 * zeroed, in place until `cb`. What is not asked for stays as it is. A write with
 * no more than group and commit records the hint; one with group 0 writes nothing and
 * is a barrier. */
struct raftlog_write {
    void *data;     /* caller's */
    uint64_t group; /* replica id; made known by its first write */
    bool has_hard_state;
    uint64_t term;
    uint64_t vote;
    /* The log starts anew: everything is gone, the next entry is base_index + 1. */
    bool has_reset;
    uint64_t base_index;
    uint64_t base_term;
    /* With n > 0: everything at and above first_index is gone, then entries stand
     * there. base_index < first_index <= last_index + 1. */
    uint64_t first_index;
    const struct raftlog_entry *entries; /* borrowed during the call */
    uint32_t n;
    uint64_t commit;     /* the commit index as known now; 0: not said */
    raftlog_write_cb cb; /* may be NULL */
    /* The loop has nothing better to do than to wait for it: if it is the only write of
     * its batch, small, and nothing is in flight, the end of the turn writes and syncs it
     * there and then. That spares the way to the log's thread and back. */
    bool may_block;
    /* private */
    struct list in_batch;
};

/* Entries and state are visible at return, durable when `cb` runs (never from
 * inside). Cannot fail: beyond raftlog_room() it waits in memory for space. The group must
 * not have been found damaged at open. */
void raftlog_append(struct raftlog *log, struct raftlog_write *write);

/* Bytes on disk that an append of `n` entries with `data_len` bytes in sum takes at most. */
static inline uint64_t raftlog_append_cost(uint32_t n, uint64_t data_len)
{
    return (uint64_t)RAFTLOG_OVERHEAD + (uint64_t)n * RAFTLOG_ENTRY_OVERHEAD + data_len;
}

/* Bytes that can surely still be appended, from files that exist. Hard states and the
 * log's own records have a reserve beyond it. */
uint64_t raftlog_room(const struct raftlog *log);

/* May an append of `cost` bytes (raftlog_append_cost()) be made now? One that is larger
 * than a segment is let in when a whole segment is free. After false, on_room() tells
 * when the answer changes. */
bool raftlog_has_room(struct raftlog *log, uint64_t cost);

/* The same beyond the limit, for what alone can make room again: as much as the limit once more,
 * and a few files, of which one for a large entry counts as a usual one. A file is made for it
 * first, so a full disk says no, and hard states keep their reserve: ask again. No while something
 * here is damaged: nothing is freed then. */
bool raftlog_has_room_beyond(struct raftlog *log, uint64_t cost);

/* Did the last attempt to make a file for the log fail? Then no room is on its way but
 * what another attempt or a compaction brings: the disk is full. Without it, a lack of
 * room means that files are not made as fast as they are filled, and waiting helps. */
bool raftlog_is_starved(const struct raftlog *log);

/* The commit index of `group` is known to be `commit`: the next record of the group
 * carries it as its hint (bounded by what the log holds). */
void raftlog_note_commit(struct raftlog *log, uint64_t group, uint64_t commit);

/* Record the hint of each group whose noted commit is ahead of it (before a stop:
 * follow it with a barrier). */
void raftlog_append_hints(struct raftlog *log);

/* While a snapshot install is in flight the hint does not move. A reset thaws it. */
void raftlog_freeze_hint(struct raftlog *log, uint64_t group, bool frozen);

/* Entries below `first_kept` are not needed any more. first_kept - 1 becomes the
 * base; it must not be above last_index. Nothing happens if they are gone already.
 * Not durable by itself: after a restart the log may hold more. */
void raftlog_compact(struct raftlog *log, uint64_t group, uint64_t first_kept);

/* Forget the group: call it after its end is durable in the engine. Harmless for an
 * unknown one. */
void raftlog_remove_group(struct raftlog *log, uint64_t group);

/* ---- reading ------------------------------------------------------------- */

/* Term of the entry at `index`, or of the base. ERR_NOT_FOUND. Never blocks. */
int raftlog_term(const struct raftlog *log, uint64_t group, uint64_t index, uint64_t *ret_term);

/* How many of the entries at and below `index` take `bytes` at most together, with overhead,
 * the newest first. As long as it has to count; all of them are not. */
uint64_t raftlog_trailing(const struct raftlog *log, uint64_t group, uint64_t index,
                          uint64_t bytes);

/* The entry at `index`, its data borrowed until control returns to the loop.
 * ERR_WOULD_BLOCK: use raftlog_read(); ERR_NOT_FOUND: not in the log. */
int raftlog_get(struct raftlog *log, uint64_t group, uint64_t index,
                struct raftlog_entry *ret_entry);

struct raftlog_read;

/* Runs exactly once per started read, never from inside; the result is the read's
 * until raftlog_read_fini(), or until it is started again. */
typedef void (*raftlog_read_cb)(struct raftlog_read *read);

/* A read of [first, last] off the loop. Caller's memory, zeroed, in place until `cb`. */
struct raftlog_read {
    void *data; /* caller's */
    uint64_t group;
    uint64_t first;
    uint64_t last;
    size_t bytes_max; /* stop before the entry that takes the data over it; the first is
                         always read */
    raftlog_read_cb cb;
    /* result */
    int status; /* 0, ERR_IO, ERR_CORRUPT, ERR_NOMEM */
    struct err err;
    struct raftlog_entry *entries; /* of first, first + 1, … as they stood at the start */
    uint32_t n;
    /* private */
    struct raftlog *log;
    struct env_work work;
    void *plan;
    struct list in_reads;
};

/* Start it. Segments are pinned, so truncation and compaction do not disturb it.
 * ERR_NOT_FOUND if [first, last] is not in the log, ERR_NOMEM; then cb never runs. */
int raftlog_read(struct raftlog *log, struct raftlog_read *read);

/* Free the result. Not while it is active; accepts a zeroed one. After raftlog_free()
 * it frees an unfinished one too. */
void raftlog_read_fini(struct raftlog_read *read);

/* Return 0 to go on, anything else to stop with it. Data is borrowed during the call. */
typedef int (*raftlog_each_cb)(void *data, uint64_t index, const struct raftlog_entry *entry);

/* Every entry of [first, last] that the log holds, in order, from memory or disk.
 * Blocks; for start-up. The data of entries that are not of type `only_type` is not read
 * and not given (empty); 0 reads all. */
int raftlog_each(struct raftlog *log, uint64_t group, uint64_t first, uint64_t last,
                 uint8_t only_type, raftlog_each_cb cb, void *data, struct err *err);

/* ---- budget, figures, inspection ------------------------------------------ */

/* The files together are larger than the budget: compact the groups of
 * raftlog_pins(), which needs a flush. */
bool raftlog_is_over_budget(const struct raftlog *log);

struct raftlog_pin {
    uint64_t group;
    uint64_t bytes;   /* of entries that the log holds for it */
    uint64_t segment; /* the oldest that they are in */
};

/* Up to `max` groups that keep the oldest segments, worst first. */
size_t raftlog_pins(const struct raftlog *log, struct raftlog_pin *ret_pins, size_t max);

struct raftlog_stats {
    uint64_t file_bytes; /* of all segment files, spares too */
    uint64_t live_bytes; /* of entries that are still needed */
    uint64_t segments;   /* in use */
    uint64_t spares;
    uint64_t groups;
    uint64_t cache_bytes;
    uint64_t pending_bytes; /* appended, not yet durable */
    uint64_t appends;       /* since open, as all below */
    uint64_t append_bytes;
    uint64_t batches; /* = writes = syncs */
    uint64_t batch_bytes_max;
    uint64_t sync_us_sum; /* of write and sync of a batch, until the loop hears of it */
    uint64_t sync_us_max;
    uint64_t rewritten_bytes;
    uint64_t segments_dropped;
    uint64_t prepare_failures; /* say, disk full */
};

void raftlog_stats(const struct raftlog *log, struct raftlog_stats *ret_stats);

/* The longest that a batch took to become durable, or waited for the file of a new segment,
 * since the last call, as the loop sees it; what is still under way counts with its age. 0 for
 * none. */
uint64_t raftlog_sync_worst_us(struct raftlog *log);

/* The batches that became durable since the last call, each from when it was sent off until the
 * loop heard of it; and one that is still under way, once it is late. */
struct raftlog_syncs {
    uint64_t count;
    uint64_t late; /* that took longer than raftlog_count_late() had said */
    uint64_t sum_us;
};
struct raftlog_syncs raftlog_take_syncs(struct raftlog *log);

/* What takes longer from now on is late; 0 at first. */
void raftlog_count_late(struct raftlog *log, uint64_t late_us);

/* Assert all invariants of the memory. Slow: for tests. */
void raftlog_check(const struct raftlog *log);

/* One record as raftlog_dump() found it; `text` is a line about it (damage too, then
 * is_damage). */
struct raftlog_dump_record {
    const char *file;
    uint64_t segment;
    uint64_t offset;
    uint64_t group;
    bool is_damage;
    const char *text;
};

typedef int (*raftlog_dump_cb)(void *data, const struct raftlog_dump_record *record);

/* Show every record in `dir`, segment by segment. Reads only; the log must not be open
 * for writing elsewhere if the result is to make sense. */
int raftlog_dump(struct env *env, const char *dir, raftlog_dump_cb cb, void *data, struct err *err);

#endif
