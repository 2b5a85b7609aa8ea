/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/watchers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/watch.h"
#include "range/range.h"
#include "sim/workload_internal.h"

enum {
    WATCHERS_MAX = 4,
    CATCH_UP_US = 60 * 1000 * 1000,
    TOKEN_MAX = 1 << 20,
};

struct seen {
    uint32_t key;
    uint64_t version;
};

/* Without a gap: everything above `after` up to `upto` was told. */
struct segment {
    uint64_t after;
    uint64_t upto;
};

struct watcher {
    struct watchers *all;
    uint32_t id;
    const struct cluster_client *at_client;
    struct client_watch *watch; /* NULL: it is down */
    struct progress place;      /* what it has noted down */
    struct env_timer timer;     /* its next whim */
    bool is_paused;
    bool is_gone; /* told that it was too slow */
    bool has_segment;
    uint64_t gone_version;
    char start[16], end[20];
    struct slice from, to;
    bool watches[KEYS_MAX];
    uint64_t last[KEYS_MAX]; /* version of the last change, by key */
    struct seen *seen;       /* owned */
    size_t seen_count, seen_room;
    struct segment *segments; /* owned; the last is the present one */
    size_t segment_count, segment_room;
    uint64_t restarts, cuts, pauses;
};

struct watchers {
    struct cluster *c;
    struct workload *w;
    struct history *history;
    struct rng rng;
    uint32_t count;
    bool is_calm; /* no more whims */
    struct watcher list[WATCHERS_MAX];
};

/* ---- what it is told -------------------------------------------------------------------- */

static void note_seen(struct watcher *at, uint32_t key, uint64_t version)
{
    if (at->seen_count == at->seen_room) {
        at->seen_room = MAX(at->seen_room * 2, (size_t)256);
        at->seen = realloc(at->seen, at->seen_room * sizeof *at->seen);
        ASSERT(at->seen != NULL);
    }
    at->seen[at->seen_count++] = (struct seen){.key = key, .version = version};
}

static void begin_segment(struct watcher *at, uint64_t after)
{
    if (at->segment_count == at->segment_room) {
        at->segment_room = MAX(at->segment_room * 2, (size_t)8);
        at->segments = realloc(at->segments, at->segment_room * sizeof *at->segments);
        ASSERT(at->segments != NULL);
    }
    at->segments[at->segment_count++] = (struct segment){.after = after, .upto = after};
    at->has_segment = true;
}

static void on_change(struct watcher *at, const struct change *change)
{
    struct watchers *all = at->all;
    struct cluster *c = all->c;
    uint32_t key = request_key_by_name(all->w, change->key);
    if (key == KEYS_MAX || !at->watches[key]) {
        cluster_fail(c, "watcher %u is told of %.*s, which it does not watch", at->id,
                     (int)change->key.len, (const char *)change->key.data);
        return;
    }
    if (change->version <= at->last[key]) {
        cluster_fail(
            c, "watcher %u is told of %s at %" PRIu64 ".%" PRIu64 " behind %" PRIu64 ".%" PRIu64,
            at->id, all->w->names[key], change->version >> 20, change->version & 0xfffff,
            at->last[key] >> 20, at->last[key] & 0xfffff);
        return;
    }
    at->last[key] = change->version;
    note_seen(at, key, change->version);
    struct history_op h = {
        .process = 1000 + at->id,
        .key = key,
        .request = ++all->w->next_request,
        .kind = HISTORY_READ,
        .outcome = HISTORY_OK,
        .read_version = change->version,
        .is_past = true,
        .is_change = true,
        .return_us = sim_now_us(c->sim),
    };
    if (change->kind == CHANGE_PUT) {
        h.seen = request_value_text(all->w, key, change->value);
        h.version = change->version;
    }
    history_add(all->history, &h);
    sim_hash_add(c->sim, change->version * 37 + key);
}

static void on_page(struct client_watch *watch, void *data, const struct client_watch_page *page)
{
    struct watcher *at = data;
    struct cluster *c = at->all->c;
    (void)watch;
    if (page->status == ERR_VERSION_GONE) {
        at->is_gone = true;
        at->gone_version = page->version;
        return;
    }
    if (page->status != 0) {
        cluster_fail(c, "watcher %u ends: %s %.*s", at->id, err_name(page->status),
                     (int)page->text.len, (const char *)page->text.data);
        return;
    }
    struct unpack u = unpack_of(page->page->changes.raw);
    for (uint32_t i = 0; i < page->page->changes.count && !c->is_failed; i++) {
        struct change change;
        change_next(&u, &change);
        on_change(at, &change);
    }
    if (progress_page(&at->place, page->start, page->end, page->page) != 0)
        cluster_fail(c, "watcher %u cannot note down where it is", at->id);
    uint64_t mark = progress_mark(&at->place);
    if (mark != page->mark)
        cluster_fail(c, "watcher %u: two marks", at->id);
    if (!at->has_segment)
        begin_segment(at, mark); /* from now on: there is one range, so this is its version */
    struct segment *now = &at->segments[at->segment_count - 1];
    if (mark < now->upto)
        cluster_fail(c, "watcher %u: its mark falls", at->id);
    now->upto = MAX(now->upto, mark);
}

/* ---- its life ------------------------------------------------------------------------------ */

static void open_watch(struct watcher *at, uint64_t from, struct slice token)
{
    struct rng *rng = &at->all->rng;
    struct client_watch_options options = {
        .start = at->from,
        .end = at->to,
        .from_version = from,
        .token = token,
        .page_bytes = CLIENT_WATCH_PAGE_MIN << rng_below(rng, 4),
        .wait_ms = 1 + (uint32_t)rng_below(rng, 3000),
        .page_cb = on_page,
        .data = at,
    };
    int rv = client_watch_open(at->at_client->client, &options, &at->watch, NULL);
    ASSERT(rv == 0);
    at->is_paused = false;
}

/* It dies, and what it noted down is all that it knows. */
static void reopen(struct watcher *at, uint64_t from)
{
    struct buf token;
    buf_init(&token, TOKEN_MAX);
    progress_encode(&at->place, &token);
    client_watch_close(at->watch);
    open_watch(at, from, buf_slice(&token));
    buf_fini(&token);
}

/* Where history is still kept: what lies before is lost to this watcher. */
static void go_on_behind_gap(struct watcher *at)
{
    uint64_t upto = at->segment_count == 0 ? 0 : at->segments[at->segment_count - 1].upto;
    if (at->gone_version <= upto)
        cluster_fail(at->all->c, "watcher %u is cut without reason", at->id);
    begin_segment(at, at->gone_version);
    reopen(at, at->gone_version + 1);
    progress_raise(&at->place, at->gone_version);
    at->is_gone = false;
    at->cuts++;
}

static void on_whim(struct env_timer *timer)
{
    struct watcher *at = timer->data;
    struct rng *rng = &at->all->rng;
    bool is_calm = at->all->is_calm;
    if (at->is_gone) {
        go_on_behind_gap(at);
    } else if (at->is_paused) {
        client_watch_resume(at->watch);
        at->is_paused = false;
    } else if (!is_calm && rng_chance(rng, 1, 4)) {
        client_watch_pause(at->watch);
        at->is_paused = true;
        at->pauses++;
    } else if (!is_calm && rng_chance(rng, 1, 4)) {
        reopen(at, 0);
        at->restarts++;
    }
    env_timer_start(timer, 1000 * (is_calm ? 200 : rng_between(rng, 10, 3000)));
}

/* One key, some, or all; and since when. */
static void draw_watcher(struct watcher *at)
{
    struct watchers *all = at->all;
    struct workload *w = all->w;
    uint64_t what = rng_below(&all->rng, 4);
    at->from = at->to = slice_of(NULL, 0);
    enum key_class class = KEY_REGISTER;
    for (int tries = 0; tries < 20; tries++) {
        class = (enum key_class)rng_below(&all->rng, KEY_CLASS_NR);
        if (w->keys[class] > 0)
            break;
    }
    if (what < 2 && w->keys[class] > 0) {
        uint32_t key = key_of(class, (uint32_t)rng_below(&all->rng, w->keys[class]));
        snprintf(at->start, sizeof at->start, "%s", w->names[key]);
        at->from = slice_str(at->start);
        snprintf(at->end, sizeof at->end, "%s", w->names[key]);
        if (what == 0)
            at->to = slice_of(at->end, strlen(at->end) + 1); /* with its NUL: the key behind */
    }
    for (uint32_t key = 0; key < KEYS_MAX; key++) {
        struct slice name = slice_str(w->names[key]);
        at->watches[key] = key % KEYS_OF_CLASS_MAX < w->keys[key_class(key)] &&
                           slice_compare(at->from, name) <= 0 &&
                           (at->to.len == 0 || slice_compare(name, at->to) < 0);
    }
}

static void watcher_begin(struct watcher *at)
{
    struct watchers *all = at->all;
    bool from_now = rng_chance(&all->rng, 1, 2);
    draw_watcher(at);
    int rv = progress_init(&at->place, 0, at->from, at->to, 0, from_now);
    ASSERT(rv == 0);
    if (!from_now)
        begin_segment(at, 0);
    env_timer_init(&at->timer, sim_node_env(at->at_client->node), on_whim, at);
    env_timer_start(&at->timer, 1000 * rng_between(&all->rng, 10, 3000));
    open_watch(at, from_now ? 0 : 1, slice_of(NULL, 0));
}

struct watchers *watchers_new(struct cluster *c, struct workload *w, struct history *history)
{
    struct watchers *all = calloc(1, sizeof *all);
    ASSERT(all != NULL);
    all->c = c;
    all->w = w;
    all->history = history;
    rng_init(&all->rng, c->opt.seed * 7919 + 5);
    /* Some runs have none, and are as they would be without. */
    all->count =
        rng_chance(&all->rng, 1, 3) ? 0 : (uint32_t)rng_between(&all->rng, 1, WATCHERS_MAX);
    if (c->opt.is_sleepy) /* what is watched does not sleep */
        all->count = 0;
    for (uint32_t i = 0; i < all->count; i++) {
        struct watcher *at = &all->list[i];
        at->all = all;
        at->id = i;
        at->at_client = &c->clients[rng_below(&all->rng, c->opt.instances)];
        watcher_begin(at);
    }
    return all;
}

void watchers_free(struct watchers *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        struct watcher *at = &all->list[i];
        env_timer_stop(&at->timer);
        client_watch_close(at->watch);
        progress_fini(&at->place);
        free(at->seen);
        free(at->segments);
    }
    free(all);
}

/* ---- the end ----------------------------------------------------------------------------- */

static uint64_t last_version(const struct cluster *c)
{
    uint64_t last = 0;
    for (uint32_t i = 0; i < c->opt.nodes; i++) {
        const struct cluster_node *n = &c->nodes[i];
        if (cluster_node_runs(n) && store_range(n->store) != NULL)
            last = MAX(last, range_meta(store_range(n->store))->last_version);
    }
    return last;
}

bool watchers_catch_up(struct watchers *all)
{
    struct cluster *c = all->c;
    uint64_t want = last_version(c);
    uint64_t until = sim_now_us(c->sim) + CATCH_UP_US;
    all->is_calm = true;
    for (uint32_t i = 0; i < all->count; i++) {
        struct watcher *at = &all->list[i];
        while (!c->is_failed && (at->is_gone || progress_mark(&at->place) < want)) {
            if (sim_now_us(c->sim) >= until)
                cluster_fail(c,
                             "watcher %u does not catch up: %" PRIu64 ".%" PRIu64 " of %" PRIu64
                             ".%" PRIu64 ", %s",
                             at->id, progress_mark(&at->place) >> 20,
                             progress_mark(&at->place) & 0xfffff, want >> 20, want & 0xfffff,
                             client_watch_trouble(at->watch));
            cluster_run_until(c, sim_now_us(c->sim) + 100000);
        }
        client_watch_check(at->watch);
    }
    return !c->is_failed;
}

static int by_key_and_version(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->version > y->version) - (x->version < y->version);
}

/* Does it say to know all about that version? */
static bool claims(const struct watcher *at, uint32_t key, uint64_t version)
{
    bool is_in = false;
    for (size_t i = 0; i < at->segment_count; i++)
        is_in = is_in || (version > at->segments[i].after && version <= at->segments[i].upto);
    return is_in && at->watches[key];
}

static bool has_seen(const struct watcher *at, uint32_t key, uint64_t version)
{
    struct seen what = {.key = key, .version = version};
    return bsearch(&what, at->seen, at->seen_count, sizeof what, by_key_and_version) != NULL;
}

static void judge_one(struct watchers *all, const struct watcher *at)
{
    struct cluster *c = all->c;
    for (size_t i = 0; i < all->history->count && !c->is_failed; i++) {
        const struct history_op *op = &all->history->ops[i];
        bool is_done = op->outcome == HISTORY_OK || op->outcome == HISTORY_PENDING;
        if (op->kind == HISTORY_READ || !is_done || op->version == 0)
            continue;
        if (claims(at, op->key, op->version) && !has_seen(at, op->key, op->version))
            cluster_fail(c, "watcher %u was not told of %s at %" PRIu64 ".%" PRIu64, at->id,
                         all->w->names[op->key], op->version >> 20, op->version & 0xfffff);
    }
    for (uint32_t k = 0; k < all->count; k++) {
        const struct watcher *other = &all->list[k];
        for (size_t i = 0; i < other->seen_count && !c->is_failed; i++) {
            const struct seen *s = &other->seen[i];
            if (claims(at, s->key, s->version) && !has_seen(at, s->key, s->version))
                cluster_fail(c, "watcher %u was not told what %u was: %s at %" PRIu64 ".%" PRIu64,
                             at->id, k, all->w->names[s->key], s->version >> 20,
                             s->version & 0xfffff);
        }
    }
}

void watchers_judge(struct watchers *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->list[i].seen_count == 0)
            continue;
        qsort(all->list[i].seen, all->list[i].seen_count, sizeof(struct seen), by_key_and_version);
    }
    for (uint32_t i = 0; i < all->count && !all->c->is_failed; i++)
        judge_one(all, &all->list[i]);
}

void watchers_count(const struct watchers *all, struct cover *cover)
{
    for (uint32_t i = 0; i < all->count; i++) {
        const struct watcher *at = &all->list[i];
        cover_add(cover, "watch: change told", at->seen_count);
        cover_add(cover, "watch: restarted", at->restarts);
        cover_add(cover, "watch: too slow", at->cuts);
        cover_add(cover, "watch: paused", at->pauses);
    }
}
