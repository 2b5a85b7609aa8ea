/* SPDX-License-Identifier: Apache-2.0
 *
 * meta — what a replica remembers beside its data: how far it has applied, the
 * range's clock and versions, the descriptor, the Raft configuration. Kept in
 * memory, written with the data of one memtable when that is frozen, and in
 * every snapshot.
 *
 *   on disk, under the local key 0x00 | replica id u64be | 'm':
 *     u8 format = 1, or 2 if there is anything to remember of merges, or 3 with seams
 *     u64 applied_index, applied_term, time_ms, last_version, safe_version,
 *         retention_ms, floor_ms, history_hash, conf_index      little-endian
 *     varint-prefixed bytes: descriptor, Raft configuration, sessions; format 2 and
 *         3: merges; format 3: seams
 *
 * The checksum is that of what carries it (engine block, snapshot chunk).
 *
 * Units      *_ms are milliseconds of range time; versions as in storage.md:
 *            44 bits of milliseconds, 20 bits of counter.
 * Ownership  a meta owns its descriptor, configuration and sessions.
 * Invariants (M1) applied_index and applied_term are not 0, conf_index is at most
 *            applied_index.
 *            (M2) time_ms <= RANGE_TIME_MAX and safe_version <= last_version + 1.
 *            (M3) this replica need not be in the descriptor: a removed one still
 *            applies up to its end.
 * Limits     RANGE_CONF_MAX, SESSIONS_BYTES_MAX, RANGE_META_MAX bytes.
 */
#ifndef RANGE_META_H_
#define RANGE_META_H_

#include "range/descriptor.h"
#include "range/merges.h"
#include "range/seams.h"
#include "range/sessions.h"

#define RANGE_TIME_MAX ((UINT64_C(1) << 44) - 1)
#define RANGE_RETENTION_MS_MAX (UINT64_C(30) * 24 * 3600 * 1000)
enum {
    RANGE_VERSION_COUNTER_BITS = 20,
    RANGE_CONF_MAX = 16 << 10, /* bytes of Raft configuration */
    RANGE_META_MAX = SESSIONS_BYTES_MAX + RANGE_CONF_MAX + RANGE_DESCRIPTOR_MAX + MERGES_LEN_MAX +
                     SEAMS_LEN_MAX + 144,
    RANGE_LOCAL_KEY_LEN = 10,
    RANGE_RETENTION_MS_DEFAULT = 10 * 60 * 1000,
};

struct range_meta {
    uint64_t applied_index;
    uint64_t applied_term;
    uint64_t time_ms;      /* greatest stamp applied */
    uint64_t last_version; /* greatest version given */
    uint64_t safe_version; /* reads below it are refused, history below it may go */
    uint64_t retention_ms; /* how far the safe point stays behind time_ms */
    uint64_t floor_ms;     /* sessions: nothing unknown from before is applied */
    uint64_t history_hash; /* over everything applied so far, alike on all replicas */
    uint64_t conf_index;   /* where the Raft configuration was committed */
    struct range_descriptor descriptor;
    struct buf conf; /* opaque to this room */
    struct sessions sessions;
    struct merges merges;
    struct seams seams; /* each at most at last_version, and before the range's end */
};

/* Empty, owning nothing. */
void range_meta_init(struct range_meta *meta);
void range_meta_fini(struct range_meta *meta);

/* Deep copy into an initialised, empty `meta`. ERR_NOMEM. */
int range_meta_copy(struct range_meta *meta, const struct range_meta *from);

/* Append it. */
void range_meta_encode(const struct range_meta *meta, struct buf *out);

/* The whole of `in` is one meta record; `ret_meta` is initialised and empty
 * before, the caller's to fini after. ERR_CORRUPT, ERR_UNSUPPORTED (a newer
 * format), ERR_NOMEM; untouched on error. */
int range_meta_decode(struct slice in, struct range_meta *ret_meta, struct err *err);

/* Assert M1 and M2. */
void range_meta_check(const struct range_meta *meta);

/* ---- local keys ----------------------------------------------------------- */

/* Where the meta record of this replica stands. */
void range_meta_key(uint64_t replica_id, uint8_t out[RANGE_LOCAL_KEY_LEN]);

/* Is this a meta record's key, and whose? */
bool range_meta_key_parse(struct slice key, uint64_t *ret_replica_id);

/* The same of the word that a replica is gone (tombstone.h). */
void range_gone_key(uint64_t replica_id, uint8_t out[RANGE_LOCAL_KEY_LEN]);
bool range_gone_key_parse(struct slice key, uint64_t *ret_replica_id);

/* Everything local of this replica: [0x00 | id, 0x00 | id + 1). `buf` is memory
 * for both keys. */
struct range_span range_local_span(uint64_t replica_id, uint8_t buf[2 * RANGE_LOCAL_KEY_LEN]);

#endif
