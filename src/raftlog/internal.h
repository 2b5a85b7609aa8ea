/* SPDX-License-Identifier: Apache-2.0
 *
 * internal — the memory of a raftlog, for this room alone.
 *
 *   group ─▶ ref, ref, … ─▶ (segment, offset) ─▶ chunk in the cache, or the file
 *
 * Appends are encoded straight into a chunk: the tail of the log as bytes in memory. A
 * batch is a run of one chunk that is written and synced at once. Chunks that are
 * durable stay as the cache until they are the oldest and memory is short.
 *
 * Invariants (I1) a segment's `live` counts equal the refs that point into it. (I2) chunks
 *            stand in log order; only the last grows. (I3) a chunk is evicted only when
 *            all of it is synced, and only from the loop's own calls. (I4) segments are
 *            numbered without gap; all but the last are closed.
 */
#ifndef RAFTLOG_INTERNAL_H_
#define RAFTLOG_INTERNAL_H_

#include "base/list.h"
#include "raftlog/raftlog.h"
#include "raftlog/record.h"

enum {
    LOG_SPARES_MAX = 2,             /* files kept to be used again */
    LOG_IDLE_MAX = 8,               /* memories of chunks kept to be used again */
    LOG_IDLE_SHARE = 8,             /* … part of the cache that they take */
    LOG_BEYOND_FILES = 4,           /* … beside the limit once more: rewriting has begun then */
    LOG_COPY_BYTES_MAX = 256 << 10, /* copied in one step of rewriting */
    LOG_READ_RUN_MAX = 1 << 20,     /* bytes fetched by one file read */
    LOG_READ_GAP_MAX = 4 << 10,     /* bytes worth reading to save a call … */
    LOG_READ_JOIN_MAX = 16 << 10,  /* … before an entry of so many, not before larger ones, … */
    LOG_READ_ROOM = 256 << 10,     /* … and of all that one such call fetches */
    LOG_GAP_MAX = 1 << 12,         /* segments gone between a spare and the newest */
    LOG_REPORT_MAX = 64 << 10,     /* bytes of the damage report */
    LOG_RAW_SHARE = 4,             /* batches of this part of the largest, on average, … */
    LOG_RAW_BATCHES_MIN = 8,       /* … so many at least, let the next file go without zeroes */
    LOG_HERE_BYTES_MAX = 64 << 10, /* written by the loop itself; beyond, the way is the least */
    LOG_START_BYTES_MAX = 64 << 10, /* given to the disk by the loop; beyond, it is work */
    LOG_START_SLOW_US = 10000,      /* a batch that took longer … */
    LOG_START_STUCK_US = 2000,      /* … or a loop that was kept so long by the giving … */
    LOG_START_RESTS = 4,            /* … leaves as many batches to the thread */
};

/* Where one entry stands. */
struct ref {
    uint64_t term;
    uint32_t segment; /* number; 0: a hole, only while recovering */
    uint32_t offset;  /* of the entry's header in the file */
    uint32_t len;     /* of the data */
    uint8_t type;
};

struct group {
    uint64_t id;
    uint64_t term;
    uint64_t vote;
    uint64_t commit; /* as told; >= hint */
    uint64_t hint;   /* in the last record */
    uint64_t base_index;
    uint64_t base_term;
    uint64_t bytes;        /* of its entries, with headers */
    bool is_damaged;       /* something of it could not be read back */
    bool is_lost;          /* so at open: what memory has of it is worth nothing */
    bool is_frozen;        /* hint does not move */
    bool is_born;          /* a record of it is in the log */
    uint32_t last_segment; /* of its last record (hard state) */
    uint32_t mark_segment; /* of its last record with a base; 0: none */
    uint64_t mark_base;    /* that base */
    uint64_t mark_term;    /* recovery: its term */
    /* refs[head .. head + count) are base_index + 1 and on; owned */
    struct ref *refs;
    uint32_t head;
    uint32_t count;
    uint32_t cap;
};

/* What a CLOSE record says of one group. */
struct close_item {
    uint64_t group;
    uint32_t count; /* records */
    uint32_t sum;   /* of their checksums */
};

struct segment {
    uint64_t number;
    uint32_t seed;
    uint32_t file_id;
    struct env_file *file; /* owned; NULL: waits for a spare */
    uint64_t file_size;
    uint32_t capacity; /* what may be used of the file */
    uint32_t len;      /* encoded */
    uint32_t synced;   /* durable; <= len */
    uint32_t chain;    /* over the checksums of its records */
    bool is_closed;    /* CLOSE is encoded */
    bool is_damaged;   /* recovery found damage in it */
    uint32_t pins;     /* reads in flight */
    uint64_t live_count;
    uint64_t live_bytes;
    struct close_item *items; /* sorted by group; owned */
    uint32_t n_items;
    uint32_t cap_items;
    struct list in_dying; /* dropped, pinned */
};

/* A run of the log in memory. */
struct chunk {
    struct segment *segment; /* borrowed while not all synced */
    uint64_t number;         /* of the segment */
    uint32_t start;          /* offset in the file */
    uint32_t len;
    uint32_t cap;
    uint32_t synced;
    uint32_t room;   /* of `memory`; >= cap */
    uint8_t *data;   /* in `memory`, as far behind a block's begin as `start` in the file is */
    uint8_t *memory; /* owned */
};

/* Memory of a chunk that was evicted, for one to come. */
struct idle {
    uint8_t *memory; /* owned */
    uint32_t room;
};

struct batch {
    struct list in_sealed;
    struct chunk *chunk; /* NULL: nothing to write */
    uint32_t from;
    uint32_t to;
    uint64_t number;
    struct list writes; /* raftlog_write.in_batch */
};

struct spare {
    uint32_t file_id;
    struct env_file *file;
    uint64_t size;
};

/* What writing through in whole blocks needs: the block that the last write ended in, which the
 * next one begins in, and one for its end. The flight's, as its file is. */
struct through {
    uint8_t *tail;         /* what stands in the block of `end`; owned; NULL until needed */
    uint8_t *last;         /* the block behind it: the last of a flight */
    struct env_file *file; /* NULL: `tail` is not known; else it is of this file … */
    uint64_t end;          /* … up to here; */
    uint32_t crc;          /* of what of `tail` is before it: the disk has that already */
};

/* The write that is in flight. The disk does a small one on its own; what is large, or what it
 * would not do so, the log's thread writes. */
struct flight {
    struct env_work work;
    struct env_write write;
    bool is_active;
    struct batch *batch;
    struct env_file *file;
    const uint8_t *data;
    uint32_t len;
    uint64_t offset;
    uint64_t file_size;
    uint32_t seed;
    bool has_head;
    struct through through;
    uint32_t rest;    /* as many are not given to the disk: one took long */
    uint64_t sent_us; /* handed to the disk or the lane */
    uint64_t took_us;
    int rv;
    struct err err;
};

/* The segment file that is being made. */
/*   IDLE ─▶ a slice (READ lane) ⇄ a rest, unless the file is wanted soon ─▶ IDLE */
struct prepare {
    struct env_work work;
    struct env_timer rest;
    bool is_active;
    uint64_t batches; /* as counted when the last one was begun */
    uint64_t append_bytes;
    uint32_t file_id;
    struct env_file *file;
    uint64_t size;
    uint64_t at;       /* zeroes are written so far */
    uint64_t room;     /* left in the last segment when it was begun */
    uint64_t slice_us; /* when the slice was begun */
    bool is_raw;       /* with its room, without zeroes */
    char path[ENV_PATH_MAX];
    int rv;       /* of the slice; 1: there is more to do */
    bool is_sync; /* what failed was a sync */
    struct err err;
};

/* A file that is being thrown away. */
struct reap {
    struct list in_reaps;
    struct env_work work;
    struct raftlog *log;
    struct env_file *file; /* owned */
    char path[ENV_PATH_MAX];
};

enum rewrite_state {
    REWRITE_IDLE,
    REWRITE_COPY,  /* live entries of the oldest segment are copied to the head */
    REWRITE_READ,  /* … and one run of them is being read */
    REWRITE_TRIM,  /* all is copied; waits until that is synced */
    REWRITE_STUCK, /* a copy could not be read; tried again in a while, or when something changes */
};

struct rewrite {
    enum rewrite_state state;
    uint32_t item;     /* place in the segment's items */
    uint64_t index;    /* copied up to here, in that group */
    bool wants_room;   /* what is left behind the end is not enough for what it is about to write */
    uint64_t pass_end; /* of a crowded log the last segment when it began to be copied; 0: nothing
                          was won or lost since */
    struct raftlog_read read;
    struct raftlog_write barrier;
    struct env_timer again; /* while STUCK by a failed read */
    uint64_t pause_us;      /* that it last waited; 0: no read has failed since one did not */
    uint32_t unread_tries;  /* at one read that the disk failed, while its room was missed: … */
    uint64_t unread_group;  /* … at this one */
    uint64_t unread_first;
    uint64_t unread_last;
    uint64_t unread_since_us;
};

/* Numbers of files and segments that are found. What one process may count on from there fits in a
 * u32, as in the references to entries. */
#define LOG_NUMBER_MAX UINT32_C(4000000000)

struct raftlog {
    struct env *env; /* borrowed */
    struct raftlog_options options;
    char dir[ENV_PATH_MAX];
    uint64_t salt;
    uint64_t first_live; /* oldest segment */
    uint64_t next_batch;
    uint32_t next_file_id;
    uint32_t next_flags; /* of the next segment's head */
    uint32_t prev_len;   /* of the last segment, for the head of the next */
    uint32_t prev_chain;
    uint64_t last_number; /* of the last segment; 0 none */
    uint64_t holes_max;   /* recovery: entries that may be missing for a while: so many the log
                             had room for */
    char *report;         /* of damage; owned, NULL if none */
    size_t report_len;
    uint32_t n_damaged;  /* groups */
    uint64_t damage_all; /* a segment whose losses are not known by group; 0: none */

    struct group **groups; /* sorted by id; owned */
    size_t n_groups;
    size_t cap_groups;
    struct segment **segments; /* by number; owned */
    size_t n_segments;
    size_t cap_segments;
    struct chunk **chunks; /* in log order; owned */
    size_t n_chunks;
    size_t cap_chunks;
    struct spare spares[LOG_SPARES_MAX + 2];
    size_t n_spares;
    struct list dying; /* segments dropped but pinned */
    struct list reads; /* in flight */
    struct list reaps; /* in flight */

    struct batch *open; /* NULL if nothing was appended since the last was sealed */
    struct list sealed; /* batches that wait for the flight */
    struct flight flight;
    struct prepare prepare;
    struct env_timer retry;
    struct rewrite rewrite;
    struct env_task task;
    uint64_t short_cost;  /* raftlog_has_room() said no to it; 0: nobody waits */
    uint64_t beyond_from; /* bytes of files, large ones as usual ones, when room beyond the limit
                             was first asked for since there was some below it; 0: it was not */
    bool wants_beyond;    /* raftlog_has_room_beyond() said no: one file more, whatever the limit */
    bool is_starved;      /* the last preparation of a file failed */
    bool was_over;

    uint64_t sync_worst_us;     /* since raftlog_sync_worst_us() was asked */
    struct raftlog_syncs syncs; /* since raftlog_take_syncs() was asked */
    uint64_t late_us;           /* raftlog_count_late() */
    uint64_t no_file_since_us;  /* the next batch waits for its segment's file; 0: it does not */
    uint64_t cache_bytes;       /* of all chunks */
    struct idle idle[LOG_IDLE_MAX];
    uint32_t n_idle;
    uint64_t idle_bytes;
    struct raftlog_stats stats;
};

/* memory.c */

/* Never NULL: a store without memory for its log cannot go on. */
void *log_alloc(struct raftlog *log, size_t len);
void *log_realloc(struct raftlog *log, void *old, size_t len);

/* So many bytes or a few more, at the begin of a block. free() it. */
uint8_t *log_blocks(struct raftlog *log, size_t len);

/* Make room for one more of `size` bytes in a vector. */
void log_grow(struct raftlog *log, void *vector_ptr, size_t n, size_t *cap, size_t size);

/* through.c */

/* Begin to write the flight's bytes so that they are durable when f->write completes, and no thread
 * waits for it. ERR_UNSUPPORTED: nothing was begun; through_write() it. */
int through_start(struct raftlog *log, struct flight *f);

/* Write the flight's bytes and make them durable, in the log's thread or instead of it. */
int through_write(struct raftlog *log, struct flight *f);

/* The flight is on the disk, whichever way: what is the block that it ended in? */
void through_note(struct flight *f);
void through_fini(struct through *t);

/* group.c */

/* NULL if the log does not know it. */
struct group *group_find(const struct raftlog *log, uint64_t id);
/* The same, made empty if it is not there. */
struct group *group_obtain(struct raftlog *log, uint64_t id);
/* Take it out of the log, with its entries, and free it. */
void group_drop(struct raftlog *log, struct group *g);
/* Its memory alone. NULL is fine. */
void group_free(struct group *g);
/* Index of the last entry; of the base if there is none. */
uint64_t group_last(const struct group *g);
/* Note that it lost something for good. Again is fine. */
void group_set_damaged(struct raftlog *log, struct group *g);

/* The ref of `index`, NULL if the log does not hold it. */
struct ref *group_ref(const struct group *g, uint64_t index);
void group_push(struct raftlog *log, struct group *g, const struct ref *ref);

/* Point `index` somewhere else. */
void group_move(struct raftlog *log, struct group *g, uint64_t index, const struct ref *ref);
void group_truncate(struct raftlog *log, struct group *g, uint64_t first);
void group_compact(struct raftlog *log, struct group *g, uint64_t first_kept);
void group_reset(struct raftlog *log, struct group *g, uint64_t base_index, uint64_t base_term);

/* The hint that a record appended now carries. */
uint64_t group_next_hint(const struct group *g);

static inline uint64_t ref_bytes(const struct ref *ref)
{
    return (uint64_t)ENTRY_LEN + ref->len;
}

/* segment.c */

/* By number; NULL if it is not live. */
struct segment *segment_find(const struct raftlog *log, uint64_t number);
/* The newest; NULL without any. */
struct segment *segment_last(const struct raftlog *log);
/* A new last one, without a file yet. */
struct segment *segment_add(struct raftlog *log, uint64_t number);
/* Its memory alone; no file is touched. */
void segment_free(struct segment *s);
/* A record of `group` went into it: for its CLOSE record. */
void segment_note(struct raftlog *log, struct segment *s, uint64_t group, uint32_t crc);
/* What its CLOSE record says of the group; NULL if nothing. */
const struct close_item *segment_item(const struct segment *s, uint64_t group);

/* Bytes of the CLOSE record that it would need now; with one group more. */
uint64_t segment_close_len(const struct segment *s, uint32_t more);
void segment_path(const struct raftlog *log, uint32_t file_id, char *out);

/* "00000017.raftlog" is file 17, "123456789.raftlog" is one of more digits. */
bool segment_name_parse(const char *name, uint32_t *ret_id);
void segment_pin(struct segment *s);
void segment_unpin(struct raftlog *log, struct segment *s);

/* Is the file of a segment that is out of the log, not counted any more, worth keeping? Not
 * beyond the limit: there the owner would have no room in it, nor anywhere else. */
bool segment_is_useful(const struct raftlog *log, uint64_t file_size);

/* Take the oldest segment out of the log and use its file again. */
void segment_drop_oldest(struct raftlog *log);

/* Give a waiting segment its file; false if there is no spare. */
bool segment_bind(struct raftlog *log, struct segment *s);

/* Bytes of the files of the log's segments, whether they are made yet or not. */
uint64_t segments_file_bytes(const struct raftlog *log);

/* Bytes of all files. */
uint64_t log_file_bytes(const struct raftlog *log);

/* spare.c */

/* No spare, none being made. */
void spare_init(struct raftlog *log);
/* Close and forget those that wait; at the end of the log. */
void spare_stop(struct raftlog *log);

/* Start making one if one is wanted. */
void spare_kick(struct raftlog *log);

/* At open: make one now, in place. 0 or what failed. */
int spare_make(struct raftlog *log, struct err *err);
void spare_put(struct raftlog *log, uint32_t file_id, struct env_file *file, uint64_t size);
void spare_reap(struct raftlog *log, uint32_t file_id, struct env_file *file);

/* append.c */

/* Encode a record of the log or of a group without a caller's write. */
struct record_spec {
    enum record_type type;
    uint8_t flags;
    struct group *group; /* NULL for the log's own */
    uint64_t first_index;
    const struct raftlog_entry *entries;
    uint32_t n;
    const uint64_t *sources; /* of a COPY */
};
void append_record(struct raftlog *log, const struct record_spec *spec);
/* Close the last segment, so that the next record begins another. */
void append_close(struct raftlog *log);
struct batch *append_open_batch(struct raftlog *log);
void append_write(struct raftlog *log, struct raftlog_write *write);

/* writer.c */

/* Nothing in flight. */
void writer_init(struct raftlog *log);
/* Frees the open batch and those that wait. */
void writer_fini(struct raftlog *log);

/* No more into the open batch. */
void writer_seal(struct raftlog *log);

/* Have the end of this turn look after everything. */
void writer_post(struct raftlog *log);

/* cache.c */

/* The bytes [offset, offset + len) of a segment if they are in memory, else NULL. */
const uint8_t *cache_find(const struct raftlog *log, uint64_t number, uint32_t offset,
                          uint32_t len);
uint32_t cache_chunk_cap(const struct raftlog *log); /* of one as it is usually made */
struct chunk *cache_last(const struct raftlog *log);
struct chunk *cache_add(struct raftlog *log, struct segment *s, uint32_t cap);
void cache_evict(struct raftlog *log);
void cache_fini(struct raftlog *log);

/* read.c */

/* The refs that a started read was planned with. */
const struct ref *read_refs(const struct raftlog_read *read);
void read_damage(struct raftlog *log, uint64_t group, const char *text);

/* raftlog.c */

/* Room as it is, also where raftlog_room() keeps it from the owner: beyond limit_bytes there
 * is one file for what is rewritten. */
uint64_t log_room(const struct raftlog *log);
/* What an empty file takes, beyond its reserve. */
uint64_t log_file_room(const struct raftlog *log);

/* rewrite.c */

/* Nothing to rewrite. */
void rewrite_init(struct raftlog *log);
void rewrite_stop(struct raftlog *log);
/* At the end of a turn: begin to copy forward what lives in the oldest segment if that is due,
 * or go on with it. */
void rewrite_step(struct raftlog *log);

/* Something lives no longer, or a group is gone: try again what was stuck. */
void rewrite_wake(struct raftlog *log);

/* The owner wrote into the file of a large entry: what was copied in vain may not be now. */
void rewrite_note_large(struct raftlog *log);

/* recover.c */

/* At open: index every segment of the folder. 0, or ERR_CORRUPT, ERR_IO, ERR_NOMEM with what
 * and where. */
int recover(struct raftlog *log, struct err *err);

/* replay.c */

/* A good record of segment `s` at `offset`, whose bytes are `in`. */
void replay_record(struct raftlog *log, struct segment *s, uint32_t offset,
                   const struct record *record, struct slice in);

/* All records are in: bases, holes, hints, live counts. */
void replay_finish(struct raftlog *log);

/* Every group known now lost something, and so did those that turn up without their
 * birth. */
void replay_damage_all(struct raftlog *log, struct segment *s);

/* A line for raftlog_damage(). */
void log_report(struct raftlog *log, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
