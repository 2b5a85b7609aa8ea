/* SPDX-License-Identifier: Apache-2.0
 *
 * snapshot — one range's applied state as a stream of bytes, and back.
 *
 *   sender                                        receiver
 *   range_snapshot_new(): view + meta ── meta ──▶ range_install_new()
 *   range_snapshot_next() ──cb── chunk ─────────▶ range_install_chunk() ──cb──▶ …
 *        … until is_last                          range_install_finish(): verify,
 *   range_snapshot_free()                           ONE lsm_edit, ──cb──▶ installed
 *
 * The stream is a run of records in key order, version descending, cut into chunks
 * of at most RANGE_CHUNK_MAX bytes anywhere, also inside a record; a last record
 * holds their number and checksum. Every chunk carries its place and a checksum.
 *
 *   chunk   u32 crc32c of the rest | u8 format = 1 | u8 flags (1: last)
 *           | u64 offset in the stream | bytes
 *   record  u8 kind | varint key_len, key | varint version
 *           | put only: varint expiry_ms, varint value_len, value
 *   end     u8 3 | u64 records | u32 crc32c of the stream before this record
 *
 * What is in it: of each key of the span the versions above the safe point, and the
 * newest at or below it unless that is a delete.
 *
 * Ownership  both are heap objects of their maker; chunks handed out are borrowed
 *            until the next call on that object. The sender holds an engine view.
 * Threads    loop; work runs on ENV_LANE_SNAPSHOT.
 * Errors     sender: ERR_CORRUPT, ERR_IO, ERR_NOMEM. Receiver: ERR_CORRUPT (a
 *            chunk is damaged, out of place or of another range), ERR_NO_SPACE,
 *            ERR_IO, ERR_NOMEM, ERR_CANCELED. After an error only free is left;
 *            nothing was changed.
 * Invariants (S1) nothing of the old state is touched before the one edit; a crash
 *            at any point leaves the old state or the new, with its meta.
 *            (S2) chunks are accepted in order, each once; at most one call of an
 *            object is in flight.
 * Limits     RANGE_CHUNK_MAX; a receiver keeps at most one record (a key, a value)
 *            and one chunk in memory.
 */
#ifndef RANGE_SNAPSHOT_H_
#define RANGE_SNAPSHOT_H_

#include "range/range.h"

enum {
    RANGE_CHUNK_MAX = 256 << 10, /* bytes with its head */
    RANGE_CHUNK_HEAD_LEN = 14,
};

/* ---- sender ----------------------------------------------------------------
 *
 *   READY ──next()──▶ READING ──cb──▶ READY … ──cb(is_last)──▶ DONE
 *                        └──error──▶ FAILED, cb(status)
 */
struct range_snapshot;

/* `chunk` is borrowed until the next call. `is_last`: the stream ends with it. */
typedef void (*range_snapshot_cb)(void *data, int status, struct slice chunk, bool is_last,
                                  const struct err *err);

/* Take the view and copy the meta, both of the applied index of now. ERR_NOMEM. */
int range_snapshot_new(struct range *range, struct range_snapshot **ret_snapshot, struct err *err);

/* The encoded meta record, for range_install_new(); what it stands for. */
struct slice range_snapshot_meta(const struct range_snapshot *snapshot);
uint64_t range_snapshot_index(const struct range_snapshot *snapshot);
uint64_t range_snapshot_term(const struct range_snapshot *snapshot);
uint64_t range_snapshot_conf_index(const struct range_snapshot *snapshot);
struct slice range_snapshot_conf(const struct range_snapshot *snapshot);

/* An estimate of the stream's bytes, for progress. */
uint64_t range_snapshot_estimate(const struct range_snapshot *snapshot);

/* Make the next chunk. `cb` runs exactly once, never from inside. Only in READY. */
void range_snapshot_next(struct range_snapshot *snapshot, range_snapshot_cb cb, void *data);

/* Is a call in flight? Then free only after env_stop(). */
bool range_snapshot_is_busy(const struct range_snapshot *snapshot);
void range_snapshot_free(struct range_snapshot *snapshot);

/* ---- receiver ----------------------------------------------------------------
 *
 *   READY ──chunk()──▶ WRITING ──cb──▶ READY … ──cb(last seen)──▶ COMPLETE
 *   COMPLETE ──finish()──▶ SEALING ──▶ EDITING ──cb──▶ INSTALLED
 *   READY, COMPLETE, FAILED ──abort()──▶ ABORTING ──cb──▶ ABORTED
 *   any call ──error──▶ FAILED, cb(status)
 */
struct range_install;

typedef void (*range_install_cb)(void *data, int status, const struct err *err);

/* Begin to take in the state described by `meta` for `replica_id`. `range` is this
 * replica as it stands, or NULL for one that is blank. It serves and may apply on
 * until range_install_finish(), then must not apply. ERR_CORRUPT or ERR_INVALID:
 * the meta is no good, of another range, or not newer than `range`. */
int range_install_new(struct env *env, struct lsm *lsm, uint64_t replica_id, struct range *range,
                      struct slice meta, struct range_install **ret_install, struct err *err);

/* The meta that it brings. */
const struct range_meta *range_install_meta(const struct range_install *install);

/* Take one chunk (copied). `cb` runs exactly once, never from inside; the next
 * chunk may follow from inside it. ERR_BUSY: one is in flight; ERR_STATE: the last
 * has been seen; ERR_CORRUPT: not a chunk of this stream at this place; ERR_NOMEM:
 * no callback then. */
int range_install_chunk(struct range_install *install, struct slice chunk, range_install_cb cb,
                        void *data);

/* Has the last chunk been taken? */
bool range_install_is_complete(const struct range_install *install);

/* What else the edit of the install does: replicas that the state swallows go with it. A
 * span to take out (copied), and the batch of records to put, borrowed. Before finish();
 * range_install_plain() forgets all of it. ERR_NOMEM. */
int range_install_excise(struct range_install *install, struct range_span span);
struct lsm_batch *range_install_puts(struct range_install *install);
void range_install_plain(struct range_install *install);

/* Verify, seal the files and install them with the meta in one edit. With status 0
 * the state is durable, and the `range` that was given now stands there; if none
 * was given, range_new() with range_install_meta() makes it. ERR_STATE: not
 * complete; ERR_BUSY: in flight. */
int range_install_finish(struct range_install *install, range_install_cb cb, void *data);

/* Throw the staged files away (the env still runs). `cb` runs once, then free it. Not
 * from SEALING or EDITING on (ERR_STATE); ERR_BUSY while a chunk is in flight: its
 * callback comes first. */
int range_install_abort(struct range_install *install, range_install_cb cb, void *data);

/* INSTALLED, ABORTED, or after env_stop(). NULL is fine. */
void range_install_free(struct range_install *install);

#endif
