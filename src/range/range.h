/* SPDX-License-Identifier: Apache-2.0
 *
 * range — the replicated state machine of one replica: committed entries in, in
 * order; engine records and results out. Pure of consensus and network: it is
 * told what was committed, and the same entries give the same state, versions
 * and results on every replica, whatever its memtables, caches and restarts.
 *
 *   leader: entry_builder ─▶ consensus ─▶ committed ─┐
 *                                                    ▼
 *   range_apply() ── decode, judge, do ──▶ lsm_write() ──▶ meta in memory ──▶ sink
 *        │ ERR_WOULD_BLOCK                                   │
 *        ▼                                                   ▼ on_freeze
 *   range_prefetch() ─▶ cb ─▶ range_apply() again      meta record ──▶ on_flushed
 *
 * Units      indexes and terms are Raft's; *_ms are range time; versions are
 *            44 bits of milliseconds and 20 of counter. Keys handed in by clients
 *            are user keys; on disk they stand as 0x02 | keyspace u32be | key.
 * Ownership  a range borrows env and lsm for its whole life and owns its meta.
 * Threads    the loop, all of it.
 * Errors     0 or ERR_*. What a client's command does wrong is a result, never an
 *            error of apply. An error of apply other than ERR_WOULD_BLOCK, ERR_BUSY
 *            and ERR_NOMEM means that this replica must not go on (damage at rest,
 *            or an entry of a later format). Each leaves the state as it was.
 * Invariants (R1) the meta, and the engine's records in the span, are those of one
 *            index, always: applied_index.
 *            (R2) last_version grows with each COMMAND entry, and
 *            last_version >> 20 >= time_ms once one was applied.
 *            (R3) flushed_index <= applied_index, and it is the one captured at a
 *            freeze that is durable.
 *            (R4) apply reads nothing but log and state: no clock, no randomness.
 * Limits     an entry reads or makes at most RANGE_ENTRY_WORK_MAX bytes of values;
 *            commands beyond get ERR_BUSY. A command returns at most
 *            RANGE_RESULT_MAX bytes of values, else ERR_TOO_LARGE. Commands are
 *            judged by command_limits_default, which must not differ between the
 *            replicas of a cluster.
 * Teardown   env_stop(), then range_read_fini(), range_snapshot_free() and
 *            range_install_free() on what there is, then range_free(). While the
 *            env runs: range_free() only when range_is_busy() is false.
 */
#ifndef RANGE_RANGE_H_
#define RANGE_RANGE_H_

#include "lsm/lsm.h"
#include "range/entry.h"
#include "range/meta.h"
#include "wire/command.h"
#include "wire/descriptor.h"

struct env;
struct range;

#define RANGE_ENTRY_WORK_MAX ((size_t)64 << 20)
#define RANGE_RESULT_MAX ((size_t)16 << 20)
enum {
    RANGE_BIRTH_INDEX = 10, /* "applied" on all replicas of a new range alike … */
    RANGE_BIRTH_TERM = 5,   /* … in this term, with an empty log (consensus.md, Life cycle) */
    RANGE_FREEZES_MAX = 4,  /* told apart while not durable; beyond, two count as one */
    RANGE_USER_KEY_PREFIX = DESCRIPTOR_PREFIX_LEN, /* bytes that stand before a user key on disk */
};

/* Reserved: what stands in this keyspace is for ranges, not for clients. */
#define RANGE_KEYSPACE_RESERVED UINT32_MAX

/* What placement keeps in range 1: on disk below all user keys, as 0x01 | keyspace | key. */
#define RANGE_KEYSPACE_SYSTEM (UINT32_MAX - 1)

/* ---- birth, life, end ------------------------------------------------------ */

/* What a bootstrap or a split says about a new range. */
struct range_birth {
    uint64_t range_id;
    struct range_epoch epoch;
    struct range_span span;
    const struct range_replica *replicas;
    size_t replica_count;
    uint64_t index;        /* RANGE_BIRTH_INDEX */
    uint64_t term;         /* RANGE_BIRTH_TERM */
    uint64_t time_ms;      /* where range time starts; alike on all replicas */
    struct slice conf;     /* Raft configuration as of `index`; opaque */
    uint64_t retention_ms; /* how long old versions can be read; 0: 10 min */
};

/* [0x02, 0x03): every user key of every keyspace. */
struct range_span range_span_all(void);

/* [0x01, 0x02): the keys of RANGE_KEYSPACE_SYSTEM. */
struct range_span range_span_system(void);

/* The meta of a range born so, for range_meta_put() and range_new(). `ret_meta`
 * is initialised and empty before. ERR_INVALID, ERR_NOMEM. */
int range_birth_meta(const struct range_birth *birth, struct range_meta *ret_meta, struct err *err);

/* Add the meta record of `replica_id` to a batch: the `puts` of the lsm_edit() that
 * makes a birth or an install durable. ERR_NOMEM. */
int range_meta_put(const struct range_meta *meta, uint64_t replica_id, struct lsm_batch *batch);

/* The replica whose durable state is `meta` (copied). ERR_NOMEM. */
int range_new(struct env *env, struct lsm *lsm, uint64_t replica_id, const struct range_meta *meta,
              struct range **ret_range, struct err *err);

/* The right half that an applied split brings: `meta` (copied) becomes durable with the
 * next freeze, together with what the split has made of the left. Until then its
 * flushed index is 0. ERR_NOMEM. */
int range_new_split(struct env *env, struct lsm *lsm, uint64_t replica_id,
                    const struct range_meta *meta, struct range **ret_range, struct err *err);

/* The same from its meta record in the engine; blocking, for start-up. Its applied
 * and flushed index are the durable one; the log behind it is to be replayed.
 * ERR_NOT_FOUND: no such replica here; ERR_CORRUPT, ERR_UNSUPPORTED, ERR_IO. */
int range_load(struct env *env, struct lsm *lsm, uint64_t replica_id, struct range **ret_range,
               struct err *err);

/* Ids of all replicas that have a meta record, ascending; one allocation that the
 * caller free()s (NULL if none). Blocking, for start-up. */
int range_list(struct lsm *lsm, uint64_t **ret_replica_ids, size_t *ret_count, struct err *err);

/* The same of those that are gone, and whose log may still be there (tombstone.h). */
int range_list_gone(struct lsm *lsm, uint64_t **ret_replica_ids, size_t *ret_count,
                    struct err *err);

/* NULL is fine. See Teardown. */
void range_free(struct range *range);

/* Is background work of this range (prefetch, reads, snapshots, install) going on? */
bool range_is_busy(const struct range *range);

/* Give back memory that only apply needs; it comes back with the next entry. */
void range_shrink(struct range *range);

/* ---- where it stands ------------------------------------------------------- */

uint64_t range_replica_id(const struct range *range);

/* Applied index and term, time, versions, descriptor, configuration: all of it, at
 * the applied index. Borrowed until the next call that applies or installs. */
const struct range_meta *range_meta(const struct range *range);

static inline const struct range_descriptor *range_descriptor(const struct range *range)
{
    return &range_meta(range)->descriptor;
}

/* The applied index that is durable in the engine, with its term; 0 while nothing of
 * the range is. */
uint64_t range_flushed_index(const struct range *range);
uint64_t range_flushed_term(const struct range *range);

/* Is there applied state that is in no frozen memtable yet? */
bool range_is_dirty(const struct range *range);

/* The on-disk form of a user key of at most RANGE_KEY_MAX - RANGE_USER_KEY_PREFIX bytes
 * into `out`, which has room for it; its length. */
size_t range_user_key(uint32_t keyspace, struct slice key, uint8_t *out);

/* The first on-disk key behind all user keys of the keyspace, at most
 * RANGE_USER_KEY_PREFIX bytes; its length. */
size_t range_keyspace_end(uint32_t keyspace, uint8_t *out);

/* Whether a user key belongs to the span of now: 0 or ERR_RANGE_CHANGED. A courtesy
 * at propose; it is judged again at apply. */
int range_check_key(const struct range *range, uint32_t keyspace, struct slice key);

/* Was this command of a session done here before? Then *ret_result is its encoded result,
 * borrowed until the next call that applies. It is the last word whoever asks: what it tells
 * of is committed. */
bool range_find_session(const struct range *range, uint64_t session, uint64_t sequence,
                        struct slice *ret_result);

/* ---- apply ----------------------------------------------------------------- */

/* The result of the command at `position` of the entry (0 is the first). Called in
 * order, after the state changed; slices are borrowed until it returns. Must not
 * call the range. */
typedef void (*range_result_cb)(void *data, uint32_t position, const struct command_result *result);

struct range_sink {
    void *data;
    range_result_cb on_result;
};

/* Apply the COMMAND entry at `index`, which must be applied_index + 1. `sink` hears
 * the results; NULL where nobody waits. 0: applied. ERR_WOULD_BLOCK: reads from
 * disk are needed; range_prefetch(), then the same call again. ERR_BUSY: the engine
 * pushes back; the same call again when lsm_stall() says so. ERR_NOMEM: later
 * again. ERR_CORRUPT, ERR_IO, ERR_UNSUPPORTED: see Errors. */
int range_apply(struct range *range, uint64_t index, uint64_t term, struct slice payload,
                const struct range_sink *sink, struct err *err);

/* Did the entry applied last ask for a digest (digest.h)? Then it is taken before
 * anything else is applied: every replica meets the entry at the same index. */
bool range_wants_digest(const struct range *range);

/* Append the encoded command that asks for one. To those who know of no digests it is
 * a condition on a key that nobody can write, so that it changes nothing on any
 * version and may be proposed while versions are mixed. */
void range_digest_command(struct buf *out);

/* Apply an entry that changes no data (a barrier). */
void range_apply_barrier(struct range *range, uint64_t index, uint64_t term);

/* Apply a membership change: the configuration as of `index` and the replicas that
 * it means. epoch.conf grows by one. ERR_INVALID (our own bug or a forged entry),
 * ERR_NOMEM. */
int range_apply_change(struct range *range, uint64_t index, uint64_t term, struct slice conf,
                       const struct range_replica *replicas, size_t replica_count, struct err *err);

/* `status` 0, or why the reads failed (ERR_CORRUPT, ERR_IO, ERR_NOMEM; `err` says
 * where). */
typedef void (*range_prefetch_cb)(void *data, int status, const struct err *err);

/* After range_apply() returned ERR_WOULD_BLOCK: read what it missed on
 * ENV_LANE_READ; `cb` runs exactly once, never from inside, and then the entry is
 * applied again. Nothing else may be applied meanwhile. ERR_NOMEM: no callback. */
int range_prefetch(struct range *range, range_prefetch_cb cb, void *data);

/* ---- durability: the owner of the engine passes these on -------------------- */

/* From lsm's on_freeze: add the meta record if there is anything new, and note what
 * will be durable with memtable `freeze`. */
void range_on_freeze(struct range *range, uint64_t freeze, struct lsm_batch *batch);

/* From lsm's on_unfreeze: memtable `freeze` was not frozen, and is to come again. */
void range_on_unfreeze(struct range *range, uint64_t freeze);

/* From lsm's on_flushed. True if flushed_index grew: the log may be cut. */
bool range_on_flushed(struct range *range, uint64_t freeze);

/* What the engine may forget of this range, by flushed values alone, for
 * lsm_set_gc(). Borrowed until the range changes. The owner adds a span of its own
 * for local keys: [0x00, 0x01) with safe_version UINT64_MAX. */
struct lsm_gc_span range_gc_span(const struct range *range);

/* ---- for tests, the simulator and `range check` ------------------------------ */

/* A hash over meta and the latest unexpired record of each key in the span, at the
 * applied index: equal on all replicas at the same index. Reads everything;
 * blocking. */
int range_hash(struct range *range, uint64_t *ret_hash, struct err *err);

/* Assert all invariants that can be seen from memory. */
void range_check(const struct range *range);

#endif
