/* SPDX-License-Identifier: Apache-2.0 */
#include "client/route.h"

#include <stdlib.h>

#include "base/coding.h"

static struct slice route_start(const struct route *route)
{
    return slice_of(route->start, route->start_len);
}

static struct slice route_end(const struct route *route)
{
    return slice_of(route->start + route->start_len, route->end_len);
}

/* Is `key` below the end? An empty end is above every key. */
static bool key_is_below(struct slice key, struct slice end)
{
    return end.len == 0 || slice_compare(key, end) < 0;
}

void route_cache_check(const struct route_cache *cache)
{
    ASSERT(cache->count <= cache->cap && cache->cap <= ROUTE_MAX);
    for (size_t i = 0; i + 1 < cache->count; i++) {
        ASSERT(cache->routes[i].end_len > 0);
        ASSERT(slice_compare(route_end(&cache->routes[i]), route_start(&cache->routes[i + 1])) <=
               0);
    }
}

static void cache_clear(struct route_cache *cache)
{
    for (size_t i = 0; i < cache->count; i++)
        free(cache->routes[i].start);
    cache->count = 0;
}

void route_cache_fini(struct route_cache *cache)
{
    cache_clear(cache);
    free(cache->routes);
    *cache = (struct route_cache){0};
}

struct slice route_key(uint32_t keyspace, struct slice key, uint8_t *out)
{
    out[0] = 0x02;
    put_u32be(out + 1, keyspace);
    if (key.len > 0)
        memcpy(out + ROUTE_KEY_PREFIX, key.data, key.len);
    return slice_of(out, ROUTE_KEY_PREFIX + key.len);
}

/* Index of the first span that ends above `key`. */
static size_t cache_seek(const struct route_cache *cache, struct slice key)
{
    size_t lo = 0;
    size_t hi = cache->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (key_is_below(key, route_end(&cache->routes[mid])))
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

struct route *route_find(struct route_cache *cache, struct slice key)
{
    size_t i = cache_seek(cache, key);
    if (i == cache->count || slice_compare(route_start(&cache->routes[i]), key) > 0)
        return NULL;
    return &cache->routes[i];
}

struct route *route_find_below(struct route_cache *cache, struct slice key)
{
    uint8_t below[DESCRIPTOR_CUT_MAX];
    return route_find(cache, descriptor_key_below(key, below));
}

static void cache_remove(struct route_cache *cache, size_t from, size_t to)
{
    ASSERT(from <= to && to <= cache->count);
    for (size_t i = from; i < to; i++)
        free(cache->routes[i].start);
    memmove(&cache->routes[from], &cache->routes[to], (cache->count - to) * sizeof *cache->routes);
    cache->count -= to - from;
}

/* Room for one more; a full cache starts anew. */
static int cache_grow(struct route_cache *cache)
{
    if (cache->count == ROUTE_MAX)
        cache_clear(cache);
    if (cache->count < cache->cap)
        return 0;
    size_t cap = cache->cap == 0 ? 4 : cache->cap * 2;
    struct route *routes = realloc(cache->routes, cap * sizeof *routes);
    if (routes == NULL)
        return ERR_NOMEM;
    cache->routes = routes;
    cache->cap = cap;
    ASSERT(cache->cap <= ROUTE_MAX);
    return 0;
}

static bool is_older(const struct descriptor *d, const struct route *known)
{
    if (d->span_epoch != known->span_epoch)
        return d->span_epoch < known->span_epoch;
    return d->conf_epoch < known->conf_epoch;
}

/* Fill `route` with copies of what `d` says. */
static int route_fill(struct route *route, const struct descriptor *d)
{
    uint8_t *keys = malloc(d->start.len + d->end.len + 1);
    if (keys == NULL)
        return ERR_NOMEM;
    if (d->start.len > 0)
        memcpy(keys, d->start.data, d->start.len);
    if (d->end.len > 0)
        memcpy(keys + d->start.len, d->end.data, d->end.len);
    *route = (struct route){
        .range_id = d->range_id,
        .conf_epoch = d->conf_epoch,
        .span_epoch = d->span_epoch,
        .start = keys,
        .start_len = d->start.len,
        .end_len = d->end.len,
    };
    return 0;
}

struct route *route_find_range(struct route_cache *cache, uint64_t range_id)
{
    for (size_t i = 0; i < cache->count; i++) {
        if (cache->routes[i].range_id == range_id)
            return &cache->routes[i];
    }
    return NULL;
}

static bool overlaps(const struct route *known, const struct descriptor *d)
{
    return key_is_below(route_start(known), d->end) && key_is_below(d->start, route_end(known));
}

struct route *route_put(struct route_cache *cache, const struct descriptor *descriptor)
{
    struct route route;
    for (size_t i = 0; i < cache->count; i++) {
        const struct route *known = &cache->routes[i];
        if (known->range_id == descriptor->range_id && is_older(descriptor, known))
            return NULL;
        if (overlaps(known, descriptor) && descriptor->span_epoch < known->span_epoch)
            return NULL;
    }
    if (route_fill(&route, descriptor) != 0)
        return NULL;
    for (size_t i = cache->count; i > 0; i--) {
        struct route *known = &cache->routes[i - 1];
        bool is_apart = !overlaps(known, descriptor);
        if (known->range_id == route.range_id) {
            route.leader = known->leader;
            route.term = known->term;
        }
        if (!is_apart || known->range_id == route.range_id)
            cache_remove(cache, i - 1, i);
    }
    if (cache_grow(cache) != 0) {
        free(route.start);
        return NULL;
    }
    size_t at = cache_seek(cache, descriptor->start);
    memmove(&cache->routes[at + 1], &cache->routes[at],
            (cache->count - at) * sizeof *cache->routes);
    cache->routes[at] = route;
    cache->count++;
    const struct route *put = &cache->routes[at];
    ASSERT(at == 0 || slice_compare(route_end(put - 1), route_start(put)) <= 0);
    ASSERT(at + 1 == cache->count || slice_compare(route_end(put), route_start(put + 1)) <= 0);
    return &cache->routes[at];
}

void route_forget_leader(struct route_cache *cache, const struct client_peer *peer)
{
    for (size_t i = 0; i < cache->count; i++) {
        if (cache->routes[i].leader == peer)
            cache->routes[i].leader = NULL;
    }
}

bool route_names(const struct route_cache *cache, const struct client_peer *peer)
{
    for (size_t i = 0; i < cache->count; i++) {
        const struct route *route = &cache->routes[i];
        if (route->leader == peer)
            return true;
        for (uint32_t k = 0; k < route->member_count; k++) {
            if (route->members[k] == peer)
                return true;
        }
    }
    return false;
}

void route_forget(struct route_cache *cache, const struct client_peer *peer)
{
    route_forget_leader(cache, peer);
    for (size_t i = 0; i < cache->count; i++) {
        struct route *route = &cache->routes[i];
        uint32_t left = 0;
        for (uint32_t k = 0; k < route->member_count; k++) {
            if (route->members[k] != peer)
                route->members[left++] = route->members[k];
        }
        route->member_count = left;
    }
}
