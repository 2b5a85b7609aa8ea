/* SPDX-License-Identifier: Apache-2.0
 *
 * feed — the latest changes of one range in memory, in order of version, for those who
 * watch it: apply adds to it, and who has everything up to some version finds what
 * follows without a look at the engine.
 *
 *          floor            last_version
 *   ─────────┼──────────────────▶
 *   engine   │  items, oldest first; the oldest versions leave at the bound
 *
 * It is a cache: nothing depends on it, and who is behind its floor reads the engine
 * (changes.h), which has the same changes. It exists only while somebody watches.
 *
 * Ownership  the range owns its feed; keys and values are copies. The budget is the
 *            store's, and outlives all feeds.
 * Threads    loop.
 * Invariants (F1) every change of a key of the range with floor < version <=
 *            last_version is among the items, once; and nothing else.
 *            (F2) a version is there whole, or not at all.
 *            (F3) bytes of all feeds <= budget.bytes_max.
 * Limits     budget.range_bytes_max for a range, budget.bytes_max for all: what is
 *            oldest goes; a command larger than that empties the feed. Out of memory
 *            empties it too.
 */
#ifndef RANGE_FEED_H_
#define RANGE_FEED_H_

#include "base/buf.h"
#include "range/descriptor.h"

struct range;
struct feed;
struct overlay_record;

/* What the feeds of one store may take. */
struct feed_budget {
    size_t bytes_max;
    size_t range_bytes_max;
    size_t bytes; /* taken now */
};

struct feed_item {
    uint64_t version;
    uint64_t expiry_ms; /* 0: none */
    bool is_delete;
    uint32_t key_len;
    uint32_t value_len;
    uint8_t bytes[]; /* key as on disk, then value */
};

static inline struct slice feed_item_key(const struct feed_item *item)
{
    return slice_of(item->bytes, item->key_len);
}

static inline struct slice feed_item_value(const struct feed_item *item)
{
    return slice_of(item->bytes + item->key_len, item->value_len);
}

/* Keep the changes of `range` from its applied index on; harmless if that is done
 * already. ERR_NOMEM. */
int range_feed_open(struct range *range, struct feed_budget *budget);

/* Keep them no longer; harmless if they are not kept. */
void range_feed_close(struct range *range);
bool range_feed_is_open(const struct range *range);

/* Does the feed know all changes above `after`? */
bool range_feed_reaches(struct range *range, uint64_t after);

/* ---- for this room ---------------------------------------------------------------- */

/* Items with versions above `after`: [*ret_first, end) of feed_item_at(). Only if it
 * reaches there. */
void feed_find(const struct feed *feed, uint64_t after, size_t *ret_first, size_t *ret_end);
const struct feed_item *feed_item_at(const struct feed *feed, size_t i);

/* An entry was applied, before which `last_version` was the range's: its records, in
 * order. */
void feed_add(struct range *range, uint64_t last_version, const struct overlay_record *records,
              uint32_t count);

/* The state jumped: nothing up to its last version is known. */
void feed_restart(struct range *range);

/* Assert F1's order, and F3. */
void feed_check(const struct range *range);

#endif
