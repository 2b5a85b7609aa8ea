/* SPDX-License-Identifier: Apache-2.0 */
#include "range/feed.h"

#include <stdlib.h>

#include "base/plant.h"
#include "range/range_internal.h"

enum { FEED_FIRST = 64, ITEM_OVERHEAD = 64 /* item, its place, the allocator's */ };

struct feed {
    struct feed_budget *budget; /* borrowed */
    struct buf start, end;      /* the span whose changes it has seen */
    uint64_t floor;
    size_t bytes;             /* counted in the budget too */
    struct feed_item **items; /* a ring; owned */
    size_t room;              /* a power of two */
    size_t first;             /* grows for ever; its place is first % room */
    size_t count;
};

static size_t item_bytes(const struct feed_item *item)
{
    return ITEM_OVERHEAD + item->key_len + item->value_len;
}

static struct feed_item **place(const struct feed *feed, size_t i)
{
    return &feed->items[(feed->first + i) & (feed->room - 1)];
}

static void take_out_first(struct feed *feed)
{
    struct feed_item *item = *place(feed, 0);
    ASSERT(feed->count > 0 && feed->bytes >= item_bytes(item));
    feed->bytes -= item_bytes(item);
    feed->budget->bytes -= item_bytes(item);
    feed->first++;
    feed->count--;
    free(item);
}

/* The oldest version goes, whole. */
static void drop_oldest(struct feed *feed)
{
    uint64_t version = (*place(feed, 0))->version;
    while (feed->count > 0 && (*place(feed, 0))->version == version)
        take_out_first(feed);
    feed->floor = MAX(feed->floor, version);
}

static void drop_all(struct feed *feed, uint64_t floor)
{
    while (feed->count > 0)
        take_out_first(feed);
    feed->floor = floor;
}

/* Everything is forgotten up to `floor`, and the span is that of now. */
static void restart(struct range *range, uint64_t floor)
{
    struct feed *feed = range->feed;
    struct range_span span = range_descriptor_span(&range->meta.descriptor);
    drop_all(feed, floor);
    buf_clear(&feed->start);
    buf_clear(&feed->end);
    buf_append_slice(&feed->start, span.start);
    buf_append_slice(&feed->end, span.end);
}

/* A range that has grown (a merge) has changes that were not seen here; what a split took
 * away does no harm. */
static bool has_seen_all(const struct range *range)
{
    const struct feed *feed = range->feed;
    struct range_span span = range_descriptor_span(&range->meta.descriptor);
    return !feed->start.failed && !feed->end.failed &&
           slice_compare(buf_slice(&feed->start), span.start) <= 0 &&
           slice_compare(span.end, buf_slice(&feed->end)) <= 0;
}

int range_feed_open(struct range *range, struct feed_budget *budget)
{
    if (range->feed != NULL)
        return 0;
    struct feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL)
        return ERR_NOMEM;
    feed->items = calloc(FEED_FIRST, sizeof(*feed->items));
    if (feed->items == NULL) {
        free(feed);
        return ERR_NOMEM;
    }
    feed->budget = budget;
    feed->room = FEED_FIRST;
    buf_init(&feed->start, RANGE_KEY_MAX);
    buf_init(&feed->end, RANGE_KEY_MAX);
    range->feed = feed;
    restart(range, range->meta.last_version);
    return 0;
}

void range_feed_close(struct range *range)
{
    struct feed *feed = range->feed;
    if (feed == NULL)
        return;
    drop_all(feed, 0);
    ASSERT(feed->bytes == 0);
    buf_fini(&feed->start);
    buf_fini(&feed->end);
    free(feed->items);
    free(feed);
    range->feed = NULL;
}

bool range_feed_is_open(const struct range *range)
{
    return range->feed != NULL;
}

void feed_restart(struct range *range)
{
    if (range->feed != NULL)
        restart(range, range->meta.last_version);
}

bool range_feed_reaches(struct range *range, uint64_t after)
{
    if (range->feed == NULL)
        return false;
    if (!has_seen_all(range))
        restart(range, range->meta.last_version);
    return after >= range->feed->floor || PLANTED(watch_feed_has_all);
}

/* ---- adding -------------------------------------------------------------------------- */

static int grow(struct feed *feed)
{
    if (feed->count < feed->room)
        return 0;
    struct feed_item **items = calloc(feed->room * 2, sizeof(*items));
    if (items == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < feed->count; i++)
        items[i] = *place(feed, i);
    free(feed->items);
    feed->items = items;
    feed->room *= 2;
    feed->first = 0;
    return 0;
}

/* Room for so many bytes more, at the cost of what is oldest. False: there is none. */
static bool make_room(struct feed *feed, size_t bytes)
{
    struct feed_budget *budget = feed->budget;
    if (bytes > budget->range_bytes_max)
        return false;
    while (feed->count > 0 && (feed->bytes > budget->range_bytes_max - bytes ||
                               budget->bytes + bytes > budget->bytes_max))
        drop_oldest(feed);
    return feed->bytes <= budget->range_bytes_max - bytes &&
           budget->bytes + bytes <= budget->bytes_max;
}

static int add(struct feed *feed, const struct overlay_record *r)
{
    size_t bytes = r->key.len + r->value.len;
    if (!make_room(feed, ITEM_OVERHEAD + bytes) || r->version <= feed->floor || grow(feed) != 0)
        return ERR_NOMEM;
    struct feed_item *item = malloc(sizeof *item + bytes);
    if (item == NULL)
        return ERR_NOMEM;
    *item = (struct feed_item){
        .version = r->version,
        .expiry_ms = r->expiry_ms,
        .is_delete = r->is_delete,
        .key_len = (uint32_t)r->key.len,
        .value_len = (uint32_t)r->value.len,
    };
    memcpy(item->bytes, r->key.data, r->key.len);
    if (r->value.len > 0)
        memcpy(item->bytes + r->key.len, r->value.data, r->value.len);
    ASSERT(feed->count == 0 || (*place(feed, feed->count - 1))->version <= r->version);
    feed->count++;
    *place(feed, feed->count - 1) = item;
    feed->bytes += item_bytes(item);
    feed->budget->bytes += item_bytes(item);
    return 0;
}

void feed_add(struct range *range, uint64_t last_version, const struct overlay_record *records,
              uint32_t count)
{
    struct feed *feed = range->feed;
    if (feed == NULL)
        return;
    if (!has_seen_all(range))
        restart(range, last_version);
    for (uint32_t i = 0; i < count; i++) {
        const struct overlay_record *r = &records[i];
        if (r->version > feed->floor && add(feed, r) != 0)
            drop_all(feed, r->version); /* of this version nothing can be there whole */
    }
}

/* ---- looking in ------------------------------------------------------------------------- */

void feed_find(const struct feed *feed, uint64_t after, size_t *ret_first, size_t *ret_end)
{
    size_t low = 0, high = feed->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((*place(feed, middle))->version <= after)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_first = low;
    *ret_end = feed->count;
}

const struct feed_item *feed_item_at(const struct feed *feed, size_t i)
{
    ASSERT(i < feed->count);
    return *place(feed, i);
}

void feed_check(const struct range *range)
{
    const struct feed *feed = range->feed;
    if (feed == NULL)
        return;
    ASSERT(feed->bytes <= feed->budget->bytes);
    ASSERT(feed->bytes <= feed->budget->range_bytes_max);
    ASSERT(feed->budget->bytes <= feed->budget->bytes_max);
    ASSERT(feed->count <= feed->room);
    ASSERT(feed->floor <= range->meta.last_version);
    if (feed->count > 0) {
        ASSERT((*place(feed, 0))->version > feed->floor);
        ASSERT((*place(feed, feed->count - 1))->version <= range->meta.last_version);
    }
}
