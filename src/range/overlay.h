/* SPDX-License-Identifier: Apache-2.0
 *
 * overlay — what an entry is about to write: the commands of one entry see those
 * before them though the engine hears of all of them at once, and a command that
 * stops half way leaves nothing behind.
 *
 *   overlay_put … overlay_put        one command, from a mark on
 *        └── overlay_rollback(mark)  it stopped
 *   records[0 … count)               in order: the batch for the engine
 *
 * Ownership  keys and values are borrowed until overlay_clear().
 * Errors     ERR_NOMEM, with nothing changed.
 * Invariants (O1) a key stands at most once behind the same mark: folded in order.
 *            (O2) a find gives the newest record of the key.
 * Limits     OVERLAY_MAX records.
 */
#ifndef RANGE_OVERLAY_H_
#define RANGE_OVERLAY_H_

#include "base/base.h"

enum { OVERLAY_MAX = 1 << 24 };

struct overlay_record {
    struct slice key; /* as on disk */
    struct slice value;
    uint64_t version;
    uint64_t expiry_ms; /* 0: none */
    bool is_delete;
    uint64_t hash;  /* private */
    uint32_t older; /* private: next in the bucket's chain, plus 1 */
};

struct overlay {
    struct overlay_record *records;
    uint32_t count;
    /* private */
    uint32_t cap;
    uint32_t mark;     /* the present command's records start here */
    uint32_t *buckets; /* newest record of each, plus 1; a power of two of them */
    uint32_t bucket_count;
    uint64_t key[2];
};

/* `key` seeds the table's hash: random, so that nobody can aim at one bucket. */
void overlay_init(struct overlay *overlay, const uint64_t key[2]);

/* Free everything; usable after. */
void overlay_fini(struct overlay *overlay);

/* Forget all records, keep the memory. */
void overlay_clear(struct overlay *overlay);

/* A command begins. */
void overlay_begin(struct overlay *overlay);

/* What the present command wrote never was. */
void overlay_rollback(struct overlay *overlay);

/* The newest record of `key`, NULL if there is none. Valid until the next put. */
const struct overlay_record *overlay_find(const struct overlay *overlay, struct slice key);

/* Did the present command write it (and not one before)? */
static inline bool overlay_is_own(const struct overlay *overlay, const struct overlay_record *r)
{
    return (size_t)(r - overlay->records) >= overlay->mark;
}

/* Write `record` (its private fields do not count), over one of this command. */
int overlay_put(struct overlay *overlay, const struct overlay_record *record);

/* Assert O1 and O2 and the table's structure. */
void overlay_check(const struct overlay *overlay);

#endif
