/* SPDX-License-Identifier: Apache-2.0 */
#include "range/overlay.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/hash.h"

enum { OVERLAY_FIRST = 16 };

void overlay_init(struct overlay *overlay, const uint64_t key[2])
{
    *overlay = (struct overlay){.key = {key[0], key[1]}};
}

void overlay_fini(struct overlay *overlay)
{
    free(overlay->records);
    free(overlay->buckets);
    *overlay = (struct overlay){.key = {overlay->key[0], overlay->key[1]}};
}

static uint32_t *bucket_of(const struct overlay *o, uint64_t hash)
{
    ASSERT(o->bucket_count > 0);
    return &o->buckets[hash & (o->bucket_count - 1)];
}

void overlay_clear(struct overlay *overlay)
{
    for (uint32_t i = 0; i < overlay->count; i++)
        *bucket_of(overlay, overlay->records[i].hash) = 0;
    overlay->count = 0;
    overlay->mark = 0;
}

void overlay_begin(struct overlay *overlay)
{
    overlay->mark = overlay->count;
}

void overlay_rollback(struct overlay *overlay)
{
    ASSERT(overlay->mark <= overlay->count);
    while (overlay->count > overlay->mark) {
        const struct overlay_record *r = &overlay->records[--overlay->count];
        uint32_t *bucket = bucket_of(overlay, r->hash);
        ASSERT(*bucket == overlay->count + 1); /* the newest is first in its chain */
        *bucket = r->older;
    }
}

static struct overlay_record *find(const struct overlay *o, uint64_t hash, struct slice key)
{
    if (o->count == 0)
        return NULL;
    for (uint32_t at = *bucket_of(o, hash); at != 0; at = o->records[at - 1].older) {
        ASSERT(at <= o->count);
        struct overlay_record *r = &o->records[at - 1];
        if (r->hash == hash && slice_equal(r->key, key))
            return r;
    }
    return NULL;
}

const struct overlay_record *overlay_find(const struct overlay *overlay, struct slice key)
{
    return find(overlay, hash_keyed(overlay->key, key), key);
}

static void link_record(struct overlay *o, uint32_t index)
{
    uint32_t *bucket = bucket_of(o, o->records[index].hash);
    o->records[index].older = *bucket;
    *bucket = index + 1;
}

/* Room for one record more, with at most one record a bucket on average. */
static int grow(struct overlay *o)
{
    if (o->count < o->cap)
        return 0;
    if (o->cap >= OVERLAY_MAX)
        return ERR_NOMEM;
    uint32_t cap = o->cap == 0 ? OVERLAY_FIRST : o->cap * 2;
    uint32_t *buckets = calloc(cap, sizeof *buckets);
    struct overlay_record *records = realloc(o->records, cap * sizeof *records);
    if (records != NULL)
        o->records = records; /* the old pointer is gone either way */
    if (buckets == NULL || records == NULL) {
        free(buckets);
        return ERR_NOMEM;
    }
    free(o->buckets);
    o->buckets = buckets;
    o->bucket_count = cap;
    o->cap = cap;
    for (uint32_t i = 0; i < o->count; i++)
        link_record(o, i); /* oldest first: the newest ends up in front */
    return 0;
}

int overlay_put(struct overlay *overlay, const struct overlay_record *record)
{
    ASSERT(record->key.len > 0);
    ASSERT(!record->is_delete || record->value.len == 0);
    uint64_t hash = hash_keyed(overlay->key, record->key);
    struct overlay_record *own = find(overlay, hash, record->key);
    if (own != NULL && overlay_is_own(overlay, own)) {
        ASSERT(own->version == record->version);
        uint32_t older = own->older;
        *own = *record;
        own->hash = hash;
        own->older = older;
        return 0;
    }
    int rv = grow(overlay);
    if (rv != 0)
        return rv;
    uint32_t index = overlay->count++;
    overlay->records[index] = *record;
    overlay->records[index].hash = hash;
    link_record(overlay, index);
    return 0;
}

void overlay_check(const struct overlay *overlay)
{
    ASSERT(overlay->mark <= overlay->count);
    ASSERT(overlay->count <= overlay->cap);
    ASSERT((overlay->bucket_count & (overlay->bucket_count - 1)) == 0);
    for (uint32_t i = 0; i < overlay->count; i++) {
        const struct overlay_record *r = &overlay->records[i];
        const struct overlay_record *newest = overlay_find(overlay, r->key);
        ASSERT(newest != NULL);
        ASSERT(newest >= r);
        ASSERT(newest == r || newest->version > r->version);
        ASSERT(r->older <= i);
    }
}
