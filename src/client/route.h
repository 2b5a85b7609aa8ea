/* SPDX-License-Identifier: Apache-2.0
 *
 * route — which range a key belongs to and who leads it, as far as this client
 * knows: a cache of spans that do not overlap, in key order.
 *
 * Units      keys are on-disk keys: 0x02 | keyspace u32be | user key.
 * Ownership  a cache owns copies of the spans; peers are borrowed, and forgotten before they go.
 * Invariants (R1) spans are in order and do not overlap.
 *            (R2) of one range only the newest span that was ever told is kept.
 * Limits     ROUTE_MAX spans; when it is full, new ones replace it all.
 */
#ifndef CLIENT_ROUTE_H_
#define CLIENT_ROUTE_H_

#include "wire/descriptor.h"

struct client_peer;

enum { ROUTE_MAX = 4096, ROUTE_KEY_PREFIX = 5, ROUTE_MEMBERS_MAX = 8 };

struct route {
    uint64_t range_id;
    uint64_t conf_epoch;
    uint64_t span_epoch;
    uint64_t term;                                  /* in which `leader` was told to lead */
    struct client_peer *leader;                     /* NULL: not known */
    struct client_peer *members[ROUTE_MEMBERS_MAX]; /* where its replicas are; some of them */
    uint32_t member_count;
    uint8_t *start; /* owned, with `end` behind it */
    size_t start_len;
    size_t end_len; /* 0: to the last key */
};

struct route_cache {
    struct route *routes; /* owned */
    size_t count;
    size_t cap;
};

/* Accepts zeroes. */
void route_cache_fini(struct route_cache *cache);

/* The on-disk key of a user key; `out` has room for ROUTE_KEY_PREFIX + key.len. */
struct slice route_key(uint32_t keyspace, struct slice key, uint8_t *out);

/* The span that holds `key`, NULL if it is not known. Valid until the next put. */
struct route *route_find(struct route_cache *cache, struct slice key);

/* The span that holds the keys just below `key`, NULL if it is not known. Where it ends at more
 * bytes than a key can have it may end below `key`. */
struct route *route_find_below(struct route_cache *cache, struct slice key);

/* The span of that range, NULL if it is not known. */
struct route *route_find_range(struct route_cache *cache, uint64_t range_id);

/* Take in what a store told. Spans that it overlaps are forgotten, unless what is known
 * of that range is newer, or of any of its keys: for a key, the owner's span epoch only
 * grows, through splits and merges. Then nothing changes. The route, or NULL if it is
 * not kept (older, or no memory). Its leader is kept if the range was known. */
struct route *route_put(struct route_cache *cache, const struct descriptor *descriptor);

/* `peer` leads nothing any more, as far as we know. */
void route_forget_leader(struct route_cache *cache, const struct client_peer *peer);

/* Does any route name it? */
bool route_names(const struct route_cache *cache, const struct client_peer *peer);

/* `peer` will not be there any more: no route names it. */
void route_forget(struct route_cache *cache, const struct client_peer *peer);

/* Assert R1. */
void route_cache_check(const struct route_cache *cache);

#endif
