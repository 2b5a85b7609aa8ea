/* SPDX-License-Identifier: Apache-2.0 */
#include "store/replicas.h"

#include <stdlib.h>

#include "store/replica.h"

static struct range_span span_of(const struct replica *r)
{
    return range_descriptor_span(range_descriptor(r->range));
}

void replicas_init(struct replicas *set)
{
    memset(set, 0, sizeof *set);
    map_init(&set->by_id);
    map_init(&set->by_range);
    set->limit = REPLICAS_MAX;
}

void replicas_fini(struct replicas *set)
{
    map_fini(&set->by_id);
    map_fini(&set->by_range);
    free(set->spans);
    memset(set, 0, sizeof *set);
}

uint32_t replicas_count(const struct replicas *set)
{
    return set->by_id.count;
}

/* How many spans start at or below `key`. */
static uint32_t spans_up_to(const struct replicas *set, struct slice key)
{
    uint32_t low = 0;
    uint32_t high = set->span_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (slice_compare(span_of(set->spans[mid]).start, key) <= 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool meets(const struct replica *r, struct range_span span)
{
    return slice_compare(span_of(r).start, span.end) < 0 &&
           slice_compare(span.start, span_of(r).end) < 0;
}

struct replica *replicas_overlap(const struct replicas *set, struct range_span span,
                                 const struct replica *except)
{
    uint32_t at = spans_up_to(set, span.start);
    for (at = at > 0 ? at - 1 : 0; at < set->span_count; at++) {
        struct replica *r = set->spans[at];
        if (r != except && meets(r, span))
            return r;
        if (slice_compare(span_of(r).start, span.end) >= 0)
            break;
    }
    return NULL;
}

static int make_room(struct replicas *set)
{
    if (set->span_count < set->cap)
        return 0;
    uint32_t cap = set->cap == 0 ? 8 : set->cap * 2;
    struct replica **spans = realloc(set->spans, cap * sizeof *spans);
    if (spans == NULL)
        return ERR_NOMEM;
    set->spans = spans;
    set->cap = cap;
    return 0;
}

bool replicas_are_full(const struct replicas *set)
{
    return replicas_count(set) >= set->limit;
}

static int check_add(const struct replicas *set, const struct replica *r, struct err *err)
{
    if (map_get(&set->by_id, r->replica_id) != NULL)
        return err_set(err, ERR_EXISTS, "replica %llu is here already",
                       (unsigned long long)r->replica_id);
    if (map_get(&set->by_range, r->range_id) != NULL)
        return err_set(err, ERR_EXISTS, "a replica of range %llu is here already",
                       (unsigned long long)r->range_id);
    if (r->range == NULL && replicas_are_full(set))
        return err_set(err, ERR_BUSY, "%u replicas are here, the limit", set->limit);
    return 0;
}

static int no_place(const struct replica *r, struct err *err)
{
    return err_set(err, ERR_NOMEM, "a place for replica %llu", (unsigned long long)r->replica_id);
}

int replicas_place(struct replicas *set, struct replica *r, struct err *err)
{
    ASSERT(r->range != NULL);
    ASSERT(map_get(&set->by_id, r->replica_id) == r);
    if (replicas_overlap(set, span_of(r), NULL) != NULL)
        return err_set(err, ERR_EXISTS, "the span of range %llu overlaps that of another",
                       (unsigned long long)r->range_id);
    if (make_room(set) != 0)
        return no_place(r, err);
    uint32_t at = spans_up_to(set, span_of(r).start);
    memmove(&set->spans[at + 1], &set->spans[at], (set->span_count - at) * sizeof set->spans[0]);
    set->spans[at] = r;
    set->span_count++;
    return 0;
}

int replicas_add(struct replicas *set, struct replica *r, struct err *err)
{
    int rv = check_add(set, r, err);
    if (rv != 0)
        return rv;
    if (map_put(&set->by_range, r->range_id, r) != 0)
        return no_place(r, err);
    if (map_put(&set->by_id, r->replica_id, r) != 0)
        rv = no_place(r, err);
    if (rv == 0 && r->range != NULL)
        rv = replicas_place(set, r, err);
    if (rv != 0) {
        map_remove(&set->by_id, r->replica_id);
        map_remove(&set->by_range, r->range_id);
    }
    return rv;
}

void replicas_remove(struct replicas *set, struct replica *r)
{
    uint32_t at = 0;
    ASSERT(map_get(&set->by_id, r->replica_id) == r);
    ASSERT(map_get(&set->by_range, r->range_id) == r);
    while (at < set->span_count && set->spans[at] != r)
        at++;
    if (at < set->span_count) {
        set->span_count--;
        memmove(&set->spans[at], &set->spans[at + 1],
                (set->span_count - at) * sizeof set->spans[0]);
    }
    map_remove(&set->by_id, r->replica_id);
    map_remove(&set->by_range, r->range_id);
}

struct replica *replicas_get(const struct replicas *set, uint64_t replica_id)
{
    return map_get(&set->by_id, replica_id);
}

struct replica *replicas_of_range(const struct replicas *set, uint64_t range_id)
{
    return map_get(&set->by_range, range_id);
}

struct replica *replicas_at_key(const struct replicas *set, struct slice key)
{
    uint32_t at = spans_up_to(set, key);
    if (at == 0 || !range_span_contains(span_of(set->spans[at - 1]), key))
        return NULL;
    return set->spans[at - 1];
}

struct replica *replicas_below_key(const struct replicas *set, struct slice key)
{
    uint32_t at = spans_up_to(set, key);
    if (at > 0 && slice_compare(span_of(set->spans[at - 1]).start, key) == 0)
        at--;
    if (at == 0 || slice_compare(key, span_of(set->spans[at - 1]).end) > 0)
        return NULL;
    return set->spans[at - 1];
}

struct replica *replicas_each(const struct replicas *set, uint32_t *cursor)
{
    return map_next(&set->by_id, cursor, NULL);
}

struct replica *replicas_by_span(const struct replicas *set, uint32_t position)
{
    return position < set->span_count ? set->spans[position] : NULL;
}

void replicas_check(const struct replicas *set)
{
    map_check(&set->by_id);
    map_check(&set->by_range);
    ASSERT(set->by_range.count == replicas_count(set));
    ASSERT(set->span_count <= replicas_count(set));
    ASSERT(set->span_count <= set->cap);
    for (uint32_t i = 0; i < set->span_count; i++) {
        const struct replica *r = set->spans[i];
        ASSERT(r->range != NULL);
        ASSERT(map_get(&set->by_id, r->replica_id) == r);
        ASSERT(map_get(&set->by_range, r->range_id) == r);
        if (i > 0)
            ASSERT(slice_compare(span_of(set->spans[i - 1]).end, span_of(r).start) <= 0);
    }
}
