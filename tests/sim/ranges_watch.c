/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/ranges_watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "client/watch.h"
#include "ranges.h"
#include "wire/keyspace.h"

enum { VALUES_MAX = 1 << 16, KEY_TEXT = 8, WATCHERS = 3, KEYS_SEEN_MAX = 256 };

enum fate { FATE_NONE, FATE_OPEN, FATE_ACKED, FATE_REFUSED };

struct value {
    enum fate fate;
    uint32_t keyspace;
    char key[KEY_TEXT];
    bool is_told[WATCHERS];
};

struct one {
    struct ranges_watch *all;
    int id;
    uint32_t keyspace;        /* 0: of plain keys; else they stand behind slots */
    const char *first, *last; /* what it watches */
    struct client_watch *watch;
    struct progress place;
    struct env_timer timer;
    bool is_paused;
    struct {
        char key[KEY_TEXT];
        uint64_t version;
    } seen[KEYS_SEEN_MAX]; /* the last of each key */
    size_t seen_count;
};

struct ranges_watch {
    struct sim *sim;
    struct sim_node *node;
    struct client *client;
    struct rng rng;
    bool is_calm;
    struct one list[WATCHERS];
    struct value *values; /* owned; by number */
    uint64_t told, pieces_max;
    char why[200];
};

static void blame(struct ranges_watch *all, const char *what, const struct one *at,
                  const struct change *c)
{
    if (all->why[0] == 0)
        snprintf(all->why, sizeof all->why, "watcher %d: %s: %.*s at %llu.%llu '%.*s'", at->id,
                 what, (int)c->key.len, (const char *)c->key.data,
                 (unsigned long long)(c->version >> 20), (unsigned long long)(c->version & 0xfffff),
                 (int)MIN(c->value.len, (size_t)20), (const char *)c->value.data);
}

/* As it is without a slot. */
static struct slice name_of(const struct one *at, const struct change *c)
{
    return at->keyspace == 0 || c->key.len < KEYSPACE_SLOT_LEN
               ? c->key
               : slice_of(c->key.data + KEYSPACE_SLOT_LEN, c->key.len - KEYSPACE_SLOT_LEN);
}

static bool watches(const struct one *at, uint32_t keyspace, struct slice key)
{
    return at->keyspace == keyspace && slice_compare(slice_str(at->first), key) <= 0 &&
           (at->last[0] == 0 || slice_compare(key, slice_str(at->last)) < 0);
}

static bool is_in_order(struct one *at, const struct change *c)
{
    size_t i = 0;
    struct slice name = name_of(at, c);
    while (i < at->seen_count && !slice_equal(slice_str(at->seen[i].key), name))
        i++;
    if (i == at->seen_count) {
        ASSERT(i < KEYS_SEEN_MAX && name.len < KEY_TEXT);
        memcpy(at->seen[i].key, name.data, name.len);
        at->seen_count++;
    }
    bool is_later = c->version > at->seen[i].version;
    at->seen[i].version = c->version;
    return is_later;
}

static void on_change(struct one *at, const struct change *c)
{
    struct ranges_watch *all = at->all;
    struct slice name = name_of(at, c);
    char text[24];
    if (at->keyspace != 0 && name.len > 0 && name.data[0] == 't')
        return; /* of ranges_sweep.c */
    if (at->keyspace == 0 && ranges_twice_is_key(name))
        return;
    snprintf(text, sizeof text, "%.*s", (int)c->value.len, (const char *)c->value.data);
    uint64_t number = strtoull(text, NULL, 10);
    struct value *v = number < VALUES_MAX ? &all->values[number] : NULL;
    all->told++;
    if (v == NULL || v->fate == FATE_NONE || !slice_equal(slice_str(v->key), name_of(at, c)))
        blame(all, "a value from nowhere", at, c);
    else if (v->fate == FATE_REFUSED)
        blame(all, "a value that was refused", at, c);
    else if (v->is_told[at->id])
        blame(all, "told twice", at, c);
    else if (!watches(at, v->keyspace, name_of(at, c)))
        blame(all, "not what it watches", at, c);
    else if (!is_in_order(at, c))
        blame(all, "out of order", at, c);
    else
        v->is_told[at->id] = true;
}

static void on_page(struct client_watch *watch, void *data, const struct client_watch_page *page)
{
    struct one *at = data;
    struct ranges_watch *all = at->all;
    (void)watch;
    if (page->status != 0) {
        snprintf(all->why, sizeof all->why, "watcher %d ends: %s %.*s", at->id,
                 err_name(page->status), (int)page->text.len, (const char *)page->text.data);
        return;
    }
    struct unpack u = unpack_of(page->page->changes.raw);
    for (uint32_t i = 0; i < page->page->changes.count; i++) {
        struct change change;
        change_next(&u, &change);
        on_change(at, &change);
    }
    if (progress_page(&at->place, page->start, page->end, page->page) != 0)
        snprintf(all->why, sizeof all->why, "watcher %d cannot note down where it is", at->id);
    all->pieces_max = MAX(all->pieces_max, (uint64_t)at->place.count);
}

static void open_watch(struct one *at, struct slice token)
{
    struct client_watch_options options = {
        .keyspace = at->keyspace,
        .start = slice_str(at->first),
        .end = slice_str(at->last),
        .token = token,
        .polls_max = 1 + (uint32_t)rng_below(&at->all->rng, 8),
        .page_bytes = CLIENT_WATCH_PAGE_MIN,
        .wait_ms = 1 + (uint32_t)rng_below(&at->all->rng, 3000),
        .page_cb = on_page,
        .data = at,
    };
    int rv = client_watch_open(at->all->client, &options, &at->watch, NULL);
    ASSERT(rv == 0);
    at->is_paused = false;
}

static void restart(struct one *at)
{
    struct buf token;
    buf_init(&token, 1 << 20);
    progress_encode(&at->place, &token);
    client_watch_close(at->watch);
    open_watch(at, buf_slice(&token));
    buf_fini(&token);
}

static void on_whim(struct env_timer *timer)
{
    struct one *at = timer->data;
    struct rng *rng = &at->all->rng;
    if (at->is_paused) {
        client_watch_resume(at->watch);
        at->is_paused = false;
    } else if (!at->all->is_calm && ranges_watch_is_ready(at->all) && rng_below(rng, 3) == 0) {
        if (rng_below(rng, 2) == 0) {
            client_watch_pause(at->watch);
            at->is_paused = true;
        } else {
            restart(at);
        }
    }
    env_timer_start(timer, 1000 * (10 + rng_below(rng, 3000)));
}

struct ranges_watch *ranges_watch_new(struct sim *sim, const char *const *endpoints, size_t count,
                                      uint64_t seed, uint32_t hashed)
{
    static const char *const spans[WATCHERS][2] = {{"", ""}, {"k1", "k25"}, {"", ""}};
    struct ranges_watch *all = calloc(1, sizeof *all);
    ASSERT(all != NULL);
    all->sim = sim;
    all->values = calloc(VALUES_MAX, sizeof *all->values);
    ASSERT(all->values != NULL);
    rng_init(&all->rng, seed * 31 + 1);
    all->node = sim_node_new(sim, "watcher");
    struct client_options options = {.endpoints = endpoints, .endpoint_count = count};
    int rv = client_new(sim_node_env(all->node), &options, &all->client, NULL);
    ASSERT(rv == 0);
    for (int i = 0; i < WATCHERS; i++) {
        struct one *at = &all->list[i];
        at->all = all;
        at->id = i;
        at->keyspace = i == 2 ? hashed : 0;
        at->first = spans[i][0];
        at->last = spans[i][1];
        rv = progress_init(&at->place, at->keyspace, slice_str(at->first), slice_str(at->last), 0,
                           true);
        ASSERT(rv == 0);
        env_timer_init(&at->timer, sim_node_env(all->node), on_whim, at);
        env_timer_start(&at->timer, 1000 * (10 + rng_below(&all->rng, 3000)));
        open_watch(at, slice_of(NULL, 0));
    }
    return all;
}

void ranges_watch_free(struct ranges_watch *all)
{
    if (all == NULL)
        return;
    env_stop(sim_node_env(all->node));
    for (int i = 0; i < WATCHERS; i++) {
        client_watch_close(all->list[i].watch);
        progress_fini(&all->list[i].place);
    }
    client_free(all->client);
    free(all->values);
    free(all);
}

/* Each piece has its version: what is written from now on is told. */
bool ranges_watch_is_ready(const struct ranges_watch *all)
{
    bool is_ready = true;
    for (int i = 0; i < WATCHERS; i++) {
        for (size_t k = 0; k < all->list[i].place.count; k++)
            is_ready = is_ready && !all->list[i].place.pieces[k].is_from_now;
    }
    return is_ready;
}

void ranges_watch_asked(struct ranges_watch *all, uint64_t number, uint32_t keyspace,
                        const char *key)
{
    if (all == NULL)
        return;
    ASSERT(number < VALUES_MAX && all->values[number].fate == FATE_NONE);
    struct value *v = &all->values[number];
    v->fate = FATE_OPEN;
    v->keyspace = keyspace;
    snprintf(v->key, sizeof v->key, "%s", key);
}

void ranges_watch_acked(struct ranges_watch *all, uint64_t number)
{
    if (all == NULL)
        return;
    all->values[number].fate = FATE_ACKED;
}

void ranges_watch_refused(struct ranges_watch *all, uint64_t number)
{
    if (all == NULL)
        return;
    struct value *v = &all->values[number];
    v->fate = FATE_REFUSED;
    for (int i = 0; i < WATCHERS; i++) {
        if (v->is_told[i] && all->why[0] == 0)
            snprintf(all->why, sizeof all->why, "watcher %d: value %llu was told, then refused", i,
                     (unsigned long long)number);
    }
}

void ranges_watch_calm(struct ranges_watch *all)
{
    if (all == NULL)
        return;
    all->is_calm = true;
}

bool ranges_watch_is_complete(const struct ranges_watch *all)
{
    if (all == NULL)
        return true;
    for (uint64_t number = 0; number < VALUES_MAX; number++) {
        const struct value *v = &all->values[number];
        for (int i = 0; i < WATCHERS && v->fate == FATE_ACKED; i++) {
            if (watches(&all->list[i], v->keyspace, slice_str(v->key)) && !v->is_told[i])
                return false;
        }
    }
    return true;
}

const char *ranges_watch_verdict(const struct ranges_watch *all)
{
    return all == NULL || all->why[0] == 0 ? NULL : all->why;
}

void ranges_watch_figures(const struct ranges_watch *all, uint64_t *ret_told, uint64_t *ret_pieces)
{
    *ret_told = all == NULL ? 0 : all->told;
    *ret_pieces = all == NULL ? 0 : all->pieces_max;
}
