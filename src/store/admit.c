/* SPDX-License-Identifier: Apache-2.0 */
#include "store/admit.h"

#include <stdlib.h>

#include "store/service.h"
#include "store/store_internal.h"

/* What one connection holds. */
struct holder {
    uint32_t count;
    uint32_t aside; /* of them */
    size_t bytes;
    bool is_gone; /* its connection is */
};

/* A request in line. One allocation with its bytes. */
struct waiter {
    struct fair_item in_line;
    struct answer_to to;
    size_t len;
    uint8_t body[];
};

static void admit_task(struct env_task *task);

void admit_init(struct store *store)
{
    struct admit *a = &store->admit;
    a->held_max = store->opt.requests_held_max;
    a->bytes_max = store->opt.requests_bytes_max;
    a->turn_left = ADMIT_TURN_MAX;
    map_init(&a->holders);
    fair_init(&a->waiting, a->held_max, a->bytes_max);
    env_task_init(&a->task, admit_task, store);
}

static void waiter_free(struct admit *a, struct waiter *w)
{
    fair_remove(&a->waiting, &w->in_line);
    free(w);
}

void admit_free(struct store *store)
{
    struct admit *a = &store->admit;
    uint32_t cursor = 0;
    struct holder *h;
    while (!list_is_empty(&a->waiting.all))
        waiter_free(a, list_first(&a->waiting.all, struct waiter, in_line.in_all));
    fair_fini(&a->waiting);
    while ((h = map_next(&a->holders, &cursor, NULL)) != NULL)
        free(h);
    map_fini(&a->holders);
}

/* ---- holding ----------------------------------------------------------------------- */

static struct holder *holder_of(struct admit *a, uint64_t client)
{
    struct holder *h = map_get(&a->holders, client);
    if (h != NULL)
        return h;
    h = calloc(1, sizeof *h);
    if (h != NULL && map_put(&a->holders, client, h) != 0) {
        free(h);
        return NULL;
    }
    return h;
}

/* Those whom others wait for. */
static uint32_t moving_of(const struct holder *h)
{
    return h->count - h->aside;
}

static uint32_t moving_in_all(const struct admit *a)
{
    return a->held_count - a->aside;
}

/* A connection takes no more than it leaves to others; one that holds nothing gets in as long
 * as there is room at all. */
static bool has_room(const struct admit *a, const struct holder *h, size_t bytes)
{
    uint32_t count_max = a->held_max;
    size_t bytes_max = a->bytes_max;
    if (a->held_count == 0)
        return true;
    if (h->count >= ADMIT_MODEST) { /* the rest is kept for those who hold little */
        count_max -= count_max / 4;
        bytes_max -= bytes_max / 4;
    }
    if (a->held_count >= count_max || a->held_bytes >= bytes_max ||
        bytes > bytes_max - a->held_bytes)
        return false;
    return h->count == 0 ||
           (h->count < count_max - a->held_count && h->bytes + bytes <= bytes_max - a->held_bytes);
}

static void hold(struct admit *a, struct holder *h, struct answer_to *to, size_t bytes)
{
    if (moving_in_all(a) + 1 == RATE_MANY) /* from when they come: answers leave many at once */
        rate_note(&a->done, to->began_us, 0, false);
    to->held_bytes = bytes;
    a->active += moving_of(h) == 0;
    h->count++;
    h->bytes += bytes;
    a->held_count++;
    a->held_bytes += bytes;
}

void admit_note_done(const struct store *store, struct rate *rate, uint32_t count, bool is_empty)
{
    bool tells = is_empty && rate->count + count >= RATE_MANY;
    rate_note(rate, tells ? env_now_us(store->env) : env_turn_us(store->env), count, is_empty);
}

/* From one state to the other, and what follows from that for those who wait. */
static void set_aside(struct store *store, struct answer_to *to, bool is_aside)
{
    struct admit *a = &store->admit;
    if (to->held_bytes == 0 || to->is_aside == is_aside)
        return;
    struct holder *h = map_get(&a->holders, to->client);
    ASSERT(h != NULL && h->count > 0);
    to->is_aside = is_aside;
    bool was_active = moving_of(h) > 0;
    if (is_aside) {
        h->aside++;
        a->aside++;
    } else {
        ASSERT(h->aside > 0 && a->aside > 0);
        h->aside--;
        a->aside--;
    }
    a->active += (uint32_t)(moving_of(h) > 0) - (uint32_t)was_active;
    if (moving_in_all(a) == 0)
        admit_note_done(store, &a->done, 0, true);
    else if (!is_aside && moving_in_all(a) == RATE_MANY)
        rate_note(&a->done, env_turn_us(store->env), 0, false);
}

void admit_set_aside(struct store *store, struct answer_to *to)
{
    set_aside(store, to, true);
}

void admit_take_up(struct store *store, struct answer_to *to)
{
    set_aside(store, to, false);
}

bool admit_has_room_aside(const struct store *store, const struct answer_to *to)
{
    const struct admit *a = &store->admit;
    const struct holder *h = map_get(&a->holders, to->client);
    uint32_t count_max = MAX(a->held_max / ADMIT_ASIDE_PART, UINT32_C(1));
    return h == NULL || to->held_bytes == 0 ||
           (a->aside < count_max && h->aside < count_max - a->aside);
}

bool admit_has_aside(const struct store *store, uint64_t client)
{
    const struct holder *h = map_get(&store->admit.holders, client);
    return h != NULL && h->aside > 0;
}

static void let_go(struct admit *a, const struct answer_to *to)
{
    struct holder *h = map_get(&a->holders, to->client);
    ASSERT(h != NULL && h->count > 0 && h->bytes >= to->held_bytes);
    ASSERT(a->held_count > 0 && a->held_bytes >= to->held_bytes);
    bool was_active = moving_of(h) > 0;
    h->count--;
    h->aside -= to->is_aside;
    a->active -= was_active && moving_of(h) == 0;
    h->bytes -= to->held_bytes;
    a->held_count--;
    a->aside -= to->is_aside;
    a->held_bytes -= to->held_bytes;
    if (h->count > 0 || !h->is_gone)
        return;
    map_remove(&a->holders, to->client);
    free(h);
}

bool admit_is_modest(const struct store *store, const struct answer_to *to)
{
    const struct holder *h = map_get(&store->admit.holders, to->client);
    return to->inner != NULL || h == NULL || h->count <= ADMIT_MODEST;
}

void admit_answered(struct store *store, const struct answer_to *to)
{
    struct admit *a = &store->admit;
    if (to->held_bytes == 0)
        return;
    let_go(a, to);
    if (!to->is_aside)
        admit_note_done(store, &a->done, 1, moving_in_all(a) == 0);
}

/* ---- refusing ------------------------------------------------------------------------ */

uint32_t admit_hint_ms(struct store *store, const struct rate *rate, uint64_t ahead,
                       uint64_t deadline_us)
{
    struct admit *a = &store->admit;
    uint64_t now_us = env_turn_us(store->env);
    uint64_t each_us = rate_wait_us(rate, 1);
    if (rate->per_s == 0)
        return STORE_RETRY_MS;
    /* The line is to be half empty by then, so that it never runs out. */
    uint64_t at_us = MAX(a->hinted_us, now_us + rate_wait_us(rate, ahead) / 2) + each_us;
    if (at_us < deadline_us && at_us - now_us < (uint64_t)ADMIT_HINT_MS_MAX * 1000)
        a->hinted_us = at_us;
    return (uint32_t)MIN((at_us - now_us) / 1000 + 1, (uint64_t)ADMIT_HINT_MS_MAX);
}

bool admit_is_too_late(const struct store *store, const struct rate *rate, uint64_t ahead,
                       uint64_t deadline_us)
{
    uint64_t wait_us = rate_wait_us(rate, ahead);
    return ahead >= ADMIT_EARLY_AHEAD_MIN &&
           env_turn_us(store->env) + wait_us + wait_us > deadline_us;
}

/* ---- the line -------------------------------------------------------------------------- */

static bool is_data(const struct request *request)
{
    switch (request->kind) {
    case REQUEST_WRITE:
    case REQUEST_GET:
    case REQUEST_MULTI_GET:
    case REQUEST_SCAN:
        return true;
    default:
        return false;
    }
}

static bool put_in_line(struct admit *a, const struct answer_to *to, struct slice body)
{
    struct waiter *w = malloc(sizeof *w + body.len);
    if (w == NULL)
        return false;
    fair_item_init(&w->in_line);
    w->to = *to;
    w->len = body.len;
    memcpy(w->body, body.data, body.len);
    if (fair_push(&a->waiting, &w->in_line, to->client, body.len) == 0)
        return true;
    free(w);
    return false;
}

/* How many will be answered before one more of that client: all that moves, if it has its
 * part of that. What was served and has to wait elsewhere (to be confirmed, to be read, for the
 * log) is as much in front of it as what stands in line. */
static uint64_t ahead_of(const struct admit *a, const struct holder *h)
{
    uint64_t own = moving_of(h);
    return MIN((uint64_t)moving_in_all(a), (own + 1) * (a->active + (own == 0)));
}

bool admit_request(struct store *store, struct answer_to *to, const struct request *request,
                   struct slice body)
{
    struct admit *a = &store->admit;
    if (!is_data(request))
        return true;
    struct holder *h = holder_of(a, to->client);
    if (h == NULL || !has_room(a, h, body.len)) {
        a->stats.refused++;
        service_answer_busy(store, to,
                            admit_hint_ms(store, &a->done, moving_in_all(a), to->deadline_us),
                            "the store has too many requests");
        return false;
    }
    uint64_t ahead = ahead_of(a, h);
    if (admit_is_too_late(store, &a->done, ahead, to->deadline_us)) {
        a->stats.refused_late++;
        service_answer_busy(store, to, admit_hint_ms(store, &a->done, ahead, to->deadline_us),
                            "too many requests are ahead of it");
        return false;
    }
    env_task_post(store->env, &a->task); /* begins a turn, or ends this one */
    hold(a, h, to, MAX(body.len, (size_t)1));
    if (a->turn_left > 0 && a->waiting.count == 0) {
        a->turn_left--;
        return true;
    }
    if (!put_in_line(a, to, body)) {
        a->stats.refused++;
        service_answer_status(store, to, ERR_BUSY, "memory is short");
        return false;
    }
    a->stats.waited++;
    return false;
}

/* One that has come to the head of the line. */
static void serve(struct store *store, struct waiter *w)
{
    struct admit *a = &store->admit;
    struct request request;
    fair_remove(&a->waiting, &w->in_line);
    if (answer_is_too_late(&w->to, env_turn_us(store->env))) {
        a->stats.dropped++;
        service_answer_status(store, &w->to, ERR_TIMEOUT,
                              "it was in line too long for its deadline");
    } else {
        int rv = request_decode(slice_of(w->body, w->len), &request, NULL);
        ASSERT(rv == 0); /* the same bytes were accepted when they came */
        a->turn_left--;
        service_serve(store, &w->to, &request, slice_of(w->body, w->len));
    }
    free(w);
}

/* The end of a turn, or of a round of it. */
static void admit_task(struct env_task *task)
{
    struct store *store = task->data;
    struct admit *a = &store->admit;
    a->turn_left = ADMIT_TURN_MAX;
    while (a->turn_left > 0 && a->waiting.count > 0)
        serve(store, container_of(fair_peek(&a->waiting), struct waiter, in_line));
    if (a->waiting.count > 0)
        env_task_post(store->env, &a->task);
}

void admit_on_client_gone(struct store *store, uint64_t client)
{
    struct admit *a = &store->admit;
    struct holder *h = map_get(&a->holders, client);
    if (h == NULL)
        return;
    h->is_gone = true;
    if (h->count == 0) {
        map_remove(&a->holders, client);
        free(h);
        return;
    }
    LIST_FOREACH(it, &a->waiting.all)
    {
        struct waiter *w = list_entry(it, struct waiter, in_line.in_all);
        if (w->to.client != client)
            continue;
        let_go(a, &w->to);
        waiter_free(a, w);
    }
    if (moving_in_all(a) == 0) /* or the time until somebody comes would count as work */
        admit_note_done(store, &a->done, 0, true);
}

void admit_check(const struct store *store)
{
    const struct admit *a = &store->admit;
    const struct holder *h;
    uint32_t cursor = 0;
    uint32_t count = 0;
    uint32_t active = 0;
    uint32_t aside = 0;
    size_t bytes = 0;
    while ((h = map_next(&a->holders, &cursor, NULL)) != NULL) {
        ASSERT(h->aside <= h->count);
        count += h->count;
        aside += h->aside;
        active += moving_of(h) > 0;
        bytes += h->bytes;
    }
    ASSERT(count == a->held_count && bytes == a->held_bytes);
    ASSERT(active == a->active && aside == a->aside);
    ASSERT(a->waiting.count <= moving_in_all(a));
    fair_check(&a->waiting);
}
