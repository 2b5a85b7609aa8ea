/* SPDX-License-Identifier: Apache-2.0
 *
 * sessions — what makes a write happen once however often it is sent: for each
 * client session that wrote here lately, the results of its recent commands.
 * Part of the replicated state: a pure function of the log, alike on all replicas.
 *
 *   apply of an entry:  find ─▶ NEW: judged, done, session_stage_add()
 *                        │  └─▶ REPEAT: the stored result, nothing is done
 *                        └────▶ STALE: answered long ago, nothing is done
 *                       … lsm_write() … ─▶ session_stage_commit() ─▶ forget
 *
 * A row is one session: its results in order of sequence, above the greatest
 * "lowest unanswered" that it was told. Rows stand in the order of their last use,
 * which every replica has alike; the oldest go first, and the floor (range_meta)
 * rises to the last use of what goes: a command that is not found here is applied
 * only if it was first sent after the floor (Ongaro's thesis 6.3, with time in
 * place of an explicit expiry entry).
 *
 *   encoded     u32 rows, then each, least recently used first:
 *                 u64 session, lowest, used_ms; u32 results, then each, ascending:
 *                   u64 sequence; u16 length; that many bytes (a command_result)
 *
 * Units      *_ms are range time.
 * Ownership  the table owns its rows; results handed out are borrowed until the next
 *            call that changes the table.
 * Threads    the loop.
 * Errors     ERR_NOMEM, ERR_CORRUPT; everything is as before then.
 * Invariants (S1) rows are in ascending order of used_ms.
 *            (S2) each result's sequence is at least its row's lowest, and above the
 *            sequence before it.
 *            (S3) bytes == the length of the encoding <= SESSIONS_BYTES_MAX.
 *            (S4) memory == what all rows take, with those that are only reserved.
 * Limits     SESSIONS_MAX rows, SESSION_RESULTS_MAX results a row, SESSION_RESULT_MAX
 *            bytes a result, SESSIONS_BYTES_MAX in all.
 */
#ifndef RANGE_SESSIONS_H_
#define RANGE_SESSIONS_H_

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum {
    SESSIONS_MAX = 10000,
    SESSION_RESULTS_MAX = 4096, /* of one session; beyond, ERR_BUSY until it moves its lowest */
    SESSION_RESULT_MAX = 256,   /* bytes; of a larger one only version and status are kept */
    SESSIONS_BYTES_MAX = 3 << 20,
    SESSIONS_HEAD_LEN = 4,            /* bytes of an empty table's encoding */
    SESSION_KEEP_MS = 15 * 60 * 1000, /* the floor is at least this far behind range time */
};

struct session_row;

struct sessions {
    /* private */
    struct session_row *oldest; /* by last use; a table may be moved by assignment */
    struct session_row *newest;
    struct session_row **buckets;
    uint32_t bucket_count; /* a power of two, or 0 */
    uint32_t count;
    size_t bytes;
    size_t memory; /* of rows, their results and the room kept for more */
    uint64_t hash_key[2];
};

enum session_verdict {
    SESSION_NEW,    /* to be judged and done, if it was first sent after the floor */
    SESSION_REPEAT, /* done before: its result is there */
    SESSION_STALE,  /* below the session's lowest unanswered: never to be done */
    SESSION_FULL,   /* no room for one more result of this session */
};

/* An empty table. It allocates nothing until there is a row. */
void sessions_init(struct sessions *table);
void sessions_fini(struct sessions *table);

/* From now on find rows by this key, which outsiders do not know. */
void sessions_set_hash_key(struct sessions *table, const uint64_t hash_key[2]);

/* Deep copy into an initialised, empty table, hash key and all. ERR_NOMEM. */
int sessions_copy(struct sessions *table, const struct sessions *from);

/* Bytes that sessions_encode() appends. */
static inline size_t sessions_len(const struct sessions *table)
{
    return table->bytes;
}

/* Bytes of memory that it takes; 0 once sessions_forget() left no row. In proportion to the
 * encoding, though some ten times that where results are few and short, and not the same on all
 * replicas: what bounds memory asks for this. */
static inline size_t sessions_memory(const struct sessions *table)
{
    return table->memory + table->bucket_count * sizeof table->buckets[0];
}

static inline uint32_t sessions_count(const struct sessions *table)
{
    return table->count;
}

void sessions_encode(const struct sessions *table, struct buf *out);

/* The whole of `in` is one table; `table` is initialised and empty. ERR_CORRUPT,
 * ERR_NOMEM; empty on error. */
int sessions_decode(struct slice in, struct sessions *table, struct err *err);

/* What is known of this command. REPEAT: *ret_result is the encoded result. */
enum session_verdict sessions_find(const struct sessions *table, uint64_t session,
                                   uint64_t sequence, struct slice *ret_result);

/* Is there a row of this session? */
bool sessions_knows(const struct sessions *table, uint64_t session);

/* When the one was used that was not used for longest; 0: there is none. */
uint64_t sessions_oldest_ms(const struct sessions *table);

/* Take in what `from` knows, which is left as it is (a merge). Of a session in both, the
 * greater lowest and last use, and all results above it. `*floor_ms` rises if rows must
 * go. ERR_NOMEM. */
int sessions_unite(struct sessions *table, const struct sessions *from, uint64_t *floor_ms);

/* Let go of all rows last used at or before *floor_ms, and of the oldest while the table
 * is over its bounds, which raises *floor_ms. */
void sessions_forget(struct sessions *table, uint64_t *floor_ms);

/* Assert S1 to S4; for tests and after an install. */
void sessions_check(const struct sessions *table);

/* ---- one entry ------------------------------------------------------------ */

/* What an entry adds: the table stays as it was until the entry's data are in the
 * engine, and yet the entry's later commands see the earlier ones. */
struct session_staged;

enum { SESSION_STAGE_BUCKETS = 64 };

struct session_stage {
    /* private; the memory is the arena's */
    struct arena *arena;
    struct session_staged *buckets[SESSION_STAGE_BUCKETS];
    struct session_staged *first; /* in order of first use */
    struct session_staged **last_link;
};

/* An entry begins; forgets what was staged. `arena` is borrowed until it ends. */
void session_stage_begin(struct session_stage *stage, struct arena *arena);

/* As sessions_find(), in table and stage. */
enum session_verdict session_stage_find(const struct session_stage *stage,
                                        const struct sessions *table, uint64_t session,
                                        uint64_t sequence, struct slice *ret_result);

/* After session_stage_find() said NEW: this command has this encoded result of at most
 * SESSION_RESULT_MAX bytes (copied). ERR_NOMEM. */
int session_stage_add(struct session_stage *stage, uint64_t session, uint64_t sequence,
                      uint64_t lowest, struct slice result);

/* Of this session nothing below `lowest` is asked for any more, though the command that says
 * so found no room (SESSION_FULL): so that there is some when it comes again. ERR_NOMEM. */
int session_stage_lift(struct session_stage *stage, uint64_t session, uint64_t lowest);

/* Get all memory that the commit needs, so that it cannot fail. ERR_NOMEM: the table
 * means what it meant. */
int session_stage_reserve(struct session_stage *stage, struct sessions *table);

/* Forget what was staged, before its arena is reset. */
void session_stage_end(struct session_stage *stage);

/* What is staged, and reserved, becomes part of the table, used at `time_ms`. */
void session_stage_commit(struct session_stage *stage, struct sessions *table, uint64_t time_ms);

static inline bool session_stage_is_empty(const struct session_stage *stage)
{
    return stage->first == NULL;
}

#endif
