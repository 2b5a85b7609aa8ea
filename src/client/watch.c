/* SPDX-License-Identifier: Apache-2.0 */
#include "client/watch.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/client_internal.h"

enum {
    POLLS_DEFAULT = 32,
    PAGE_DEFAULT = 64 << 10,
    WAIT_MS_DEFAULT = 10000,
    WAIT_MS_IN_TURN = 200,  /* of each, when there are more pieces than are asked for */
    WAIT_MS_AT_FIRST = 200, /* while nobody has answered: whether anybody does shows soon */
    SPARE_MS_DEFAULT = 5000,
    FAILURES_SHIFT_MAX = 6, /* pauses grow so often */
    SPARE_SHIFT_MAX = 4,    /* and what a request has to spare so often */
};

/* One request on its way. */
struct poll {
    struct client_op op;
    struct list in_polls;
    struct client_watch *watch;
    uint64_t begun_us;
    uint8_t keys[]; /* start, end */
};

struct client_watch {
    struct client *client; /* borrowed */
    struct client_watch_options options;
    struct progress progress;
    struct list polls;
    uint32_t poll_count;
    size_t next;      /* piece to begin with, in turn */
    size_t next_late; /* likewise, of those that lag */
    bool may_lag;     /* false: no piece does */
    bool is_late_turn;
    struct env_task pump;
    struct env_timer hold; /* active: a request came to nothing, wait */
    uint32_t failures;     /* in a row */
    bool is_paused;
    bool is_over;
    bool is_calling; /* page_cb */
    struct client_watch_stats stats;
    uint64_t lost_us; /* progress_lost_us(), as it was told */
    int lost_status;  /* of the last request that failed */
    char trouble[CLIENT_TEXT_MAX];
};

static void poke(struct client_watch *watch)
{
    if (!watch->is_over && !watch->is_paused && !env_timer_is_active(&watch->hold))
        env_task_post(watch->client->env, &watch->pump);
}

static void poll_free(struct poll *poll)
{
    ASSERT(poll->watch->poll_count > 0);
    list_remove(&poll->in_polls);
    poll->watch->poll_count--;
    free(poll);
}

static void cancel_all(struct client_watch *watch)
{
    while (!list_is_empty(&watch->polls)) {
        struct poll *poll = list_first(&watch->polls, struct poll, in_polls);
        client_cancel(&poll->op);
        poll_free(poll);
    }
}

/* The one place that calls page_cb. */
static void tell(struct client_watch *watch, const struct client_watch_page *page)
{
    watch->is_calling = true;
    watch->options.page_cb(watch, watch->options.data, page);
    watch->is_calling = false;
}

/* A request has failed with `status`, or, if that is 0, one was answered. */
static void tell_trouble(struct client_watch *watch, int status)
{
    uint64_t was_us = watch->lost_us;
    if (status == 0 && was_us == 0)
        return; /* there was none, and there is none now */
    watch->lost_us = progress_lost_us(&watch->progress);
    if (status != 0)
        watch->lost_status = status;
    bool is_lost = watch->lost_us != 0;
    bool is_news = status != 0 || watch->lost_us != was_us; /* also: a younger one is left */
    if (!is_news || watch->options.trouble_cb == NULL)
        return;
    const struct client_watch_trouble trouble = {
        .status = is_lost ? watch->lost_status : 0,
        .since_us = watch->lost_us,
        .text = is_lost ? watch->trouble : "",
    };
    watch->is_calling = true;
    watch->options.trouble_cb(watch, watch->options.data, &trouble);
    watch->is_calling = false;
}

static void end(struct client_watch *watch, int status, struct slice text, uint64_t version)
{
    struct client_watch_page page = {.status = status, .text = text, .version = version};
    watch->is_over = true;
    env_timer_stop(&watch->hold);
    env_task_cancel(&watch->pump);
    cancel_all(watch);
    tell(watch, &page);
}

/* ---- what came back ----------------------------------------------------------------------- */

static void hold_timer(struct env_timer *timer)
{
    poke(timer->data);
}

/* Nothing that would be of use, but perhaps the next time. */
static void on_failure(struct client_watch *watch, size_t piece, const struct poll *poll,
                       const struct client_result *result)
{
    snprintf(watch->trouble, sizeof watch->trouble, "%s%s%.*s", err_name(result->status),
             result->text.len > 0 ? ": " : "", (int)result->text.len,
             (const char *)result->text.data);
    bool is_slow = poll->op.last_error == 0; /* else nobody took it: more time is of no use */
    progress_release(&watch->progress, piece, poll->begun_us, is_slow);
    watch->stats.failures++;
    watch->failures = MIN(watch->failures + 1, (uint32_t)FAILURES_SHIFT_MAX);
    env_timer_start(&watch->hold, backoff_us(watch->client, watch->failures));
    tell_trouble(watch, result->status);
}

static bool is_final(int status)
{
    switch (status) {
    case ERR_VERSION_GONE:
    case ERR_INVALID:
    case ERR_TOO_LARGE:
    case ERR_UNSUPPORTED:
    case ERR_UNAUTHORIZED:
        return true;
    default:
        return false;
    }
}

static void on_page(struct client_watch *watch, const struct poll *poll,
                    const struct response_watch *page)
{
    const struct request_watch *asked = &poll->op.request.watch;
    int rv = progress_page(&watch->progress, asked->start, asked->end, page);
    if (rv == ERR_INVALID) {
        end(watch, ERR_CORRUPT, slice_str("a store told of more than it was asked for"), 0);
        return;
    }
    if (rv == ERR_TOO_LARGE) {
        end(watch, rv, slice_str("the span lies in too many ranges"), 0);
        return;
    }
    if (rv != 0) {
        end(watch, rv, slice_str("out of memory"), 0);
        return;
    }
    watch->failures = 0;
    watch->may_lag = watch->may_lag || (page->has_more && !page->is_range_end);
    watch->stats.pages++;
    watch->stats.changes += page->changes.count;
    struct client_watch_page told = {
        .start = asked->start,
        .end = asked->end,
        .page = page,
        .mark = progress_mark(&watch->progress),
    };
    tell(watch, &told);
    tell_trouble(watch, 0);
}

static void on_answer(struct client_op *op, const struct client_result *result)
{
    struct poll *poll = op->data;
    struct client_watch *watch = poll->watch;
    const struct response *response = result->response;
    size_t piece = progress_find(&watch->progress, op->request.watch.start);
    ASSERT(!watch->is_over);
    ASSERT(piece < watch->progress.count && watch->progress.pieces[piece].is_busy);
    bool has_page = response != NULL && response->kind == REQUEST_WATCH;
    list_remove(&poll->in_polls);      /* no client_cancel() for this one */
    bool is_answer = response != NULL; /* else it is what the client could not reach */
    if (is_answer && is_final(result->status))
        end(watch, result->status, result->text, has_page ? response->watch.version : 0);
    else if (result->status != 0)
        on_failure(watch, piece, poll, result);
    else if (!has_page)
        end(watch, ERR_CORRUPT, slice_str("a store answered something else"), 0);
    else
        on_page(watch, poll, &response->watch);
    poll_free(poll);
    poke(watch);
}

/* ---- asking --------------------------------------------------------------------------------- */

/* How long a request for a piece waits for a change, where others wait `wait_ms`. */
static uint32_t wait_of(const struct piece *piece, uint32_t wait_ms)
{
    bool is_answered = piece->range_id != 0 && piece->lost_us == 0;
    return is_answered ? wait_ms : MIN(wait_ms, (uint32_t)WAIT_MS_AT_FIRST);
}

/* A page may take longer than it had to spare: it is given more each time, or the piece would never
 * get on. Whether the others get theirs says nothing of it. */
static uint32_t spare_of(const struct client_watch *watch, const struct piece *piece)
{
    uint64_t ms = (uint64_t)watch->options.spare_ms
                  << MIN(piece->failures, (uint32_t)SPARE_SHIFT_MAX);
    return (uint32_t)MIN(ms, (uint64_t)UINT32_MAX / 2);
}

static int ask(struct client_watch *watch, size_t i, uint32_t wait_ms)
{
    struct piece *piece = &watch->progress.pieces[i];
    struct slice start = progress_start(&watch->progress, i);
    struct slice stop = progress_end(&watch->progress, i);
    struct poll *poll = calloc(1, sizeof *poll + start.len + stop.len);
    if (poll == NULL)
        return ERR_NOMEM;
    if (start.len > 0)
        memcpy(poll->keys, start.data, start.len);
    if (stop.len > 0)
        memcpy(poll->keys + start.len, stop.data, stop.len);
    uint64_t upto = progress_upto(&watch->progress, i);
    poll->watch = watch;
    poll->begun_us = MAX(env_now_us(watch->client->env), UINT64_C(1));
    list_init(&poll->in_polls);
    poll->op.data = poll;
    poll->op.cb = on_answer;
    poll->op.timeout_ms = wait_ms + spare_of(watch, piece);
    poll->op.request.kind = REQUEST_WATCH;
    poll->op.request.watch = (struct request_watch){
        .keyspace = watch->progress.keyspace,
        .start = slice_of(poll->keys, start.len),
        .end = slice_of(poll->keys + start.len, stop.len),
        .is_from_now = piece->is_from_now,
        .after = piece->is_from_now ? 0 : piece->version,
        .upto = upto,
        .wait_ms = upto > 0 ? 0 : wait_ms,
        .limit_bytes = watch->options.page_bytes,
    };
    int rv = client_submit(watch->client, &poll->op);
    if (rv != 0) {
        free(poll);
        return rv;
    }
    piece->is_busy = true;
    piece->upto = upto;
    list_push_back(&watch->polls, &poll->in_polls);
    watch->poll_count++;
    return 0;
}

/* The next piece in turn of which more is known to be there, and that may be asked for; p->count if
 * there is none. */
static size_t find_late(struct client_watch *watch, bool is_crowded)
{
    const struct progress *p = &watch->progress;
    bool has_late = false;
    for (size_t n = 0; n < p->count && watch->may_lag; n++) {
        size_t i = (watch->next_late + n) % p->count;
        bool is_late = progress_upto(p, i) > 0;
        has_late = has_late || is_late || p->pieces[i].upto > 0;
        if (is_late && progress_may_ask(p, i, is_crowded))
            return i;
    }
    watch->may_lag = has_late;
    return p->count;
}

static size_t find_next(const struct client_watch *watch, bool is_crowded)
{
    const struct progress *p = &watch->progress;
    for (size_t n = 0; n < p->count; n++) {
        size_t i = (watch->next + n) % p->count;
        if (progress_may_ask(p, i, is_crowded))
            return i;
    }
    return p->count;
}

/* Whom to ask, and how long to wait there; p->count: nobody. One that lags has every other request,
 * or a range where much is written would fall ever further behind while others are waited for, of
 * which nothing comes; and those between are not waited at. */
static size_t choose(struct client_watch *watch, bool is_crowded, uint32_t *ret_wait_ms)
{
    const struct progress *p = &watch->progress;
    size_t late = is_crowded ? find_late(watch, is_crowded) : p->count;
    size_t next = find_next(watch, is_crowded);
    bool is_late_turn = late < p->count && (watch->is_late_turn || next == p->count);
    watch->is_late_turn = !is_late_turn;
    *ret_wait_ms = 0;
    if (is_late_turn) {
        watch->next_late = late + 1;
        return late;
    }
    watch->next = next < p->count ? next + 1 : watch->next;
    if (next < p->count && late == p->count)
        *ret_wait_ms = wait_of(&p->pieces[next],
                               is_crowded ? (uint32_t)WAIT_MS_IN_TURN : watch->options.wait_ms);
    return next;
}

static void pump(struct env_task *task)
{
    struct client_watch *watch = task->data;
    const struct progress *p = &watch->progress;
    bool is_crowded = p->count > watch->options.polls_max;
    if (watch->is_over || watch->is_paused || env_timer_is_active(&watch->hold))
        return;
    while (watch->poll_count < watch->options.polls_max) {
        uint32_t wait_ms;
        size_t i = choose(watch, is_crowded, &wait_ms);
        if (i == p->count)
            return;
        if (ask(watch, i, wait_ms) != 0) { /* busy, or short of memory: not for long */
            env_timer_start(&watch->hold, backoff_us(watch->client, 1));
            return;
        }
    }
}

/* ---- life ---------------------------------------------------------------------------------------
 */

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value == 0 ? standard : value;
}

static int take_place(struct client_watch *watch, const struct client_watch_options *options,
                      struct err *err)
{
    bool is_from_now = options->from_version == 0;
    int rv = options->token.len > 0 ? progress_decode(&watch->progress, options->token, err) : 0;
    if (rv == 0 && options->token.len > 0 && !is_from_now)
        progress_raise(&watch->progress, options->from_version - 1);
    if (rv != 0 || options->token.len > 0)
        return rv;
    rv = progress_init(&watch->progress, options->keyspace, options->start, options->end,
                       is_from_now ? 0 : options->from_version - 1, is_from_now);
    return rv == 0 ? 0 : err_set(err, rv, "the span to watch");
}

int client_watch_open(struct client *client, const struct client_watch_options *options,
                      struct client_watch **ret_watch, struct err *err)
{
    ASSERT(options->page_cb != NULL);
    struct client_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return err_set(err, ERR_NOMEM, "watch");
    int rv = take_place(watch, options, err);
    if (rv != 0) {
        free(watch);
        return rv;
    }
    struct client_watch_options *o = &watch->options;
    *o = *options;
    o->start = o->end = o->token = slice_of(NULL, 0);
    o->polls_max = MIN(or_default(o->polls_max, POLLS_DEFAULT), (uint32_t)CLIENT_WATCH_POLLS_MAX);
    o->page_bytes = MAX(or_default(o->page_bytes, PAGE_DEFAULT), (uint32_t)CLIENT_WATCH_PAGE_MIN);
    o->wait_ms = or_default(o->wait_ms, WAIT_MS_DEFAULT);
    o->spare_ms = or_default(o->spare_ms, SPARE_MS_DEFAULT);
    watch->client = client;
    watch->may_lag = true; /* a token may be of such a moment */
    list_init(&watch->polls);
    env_task_init(&watch->pump, pump, watch);
    env_timer_init(&watch->hold, client->env, hold_timer, watch);
    poke(watch);
    *ret_watch = watch;
    return 0;
}

void client_watch_close(struct client_watch *watch)
{
    if (watch == NULL)
        return;
    ASSERT(!watch->is_calling);
    env_task_cancel(&watch->pump);
    env_timer_stop(&watch->hold);
    cancel_all(watch);
    progress_fini(&watch->progress);
    free(watch);
}

void client_watch_pause(struct client_watch *watch)
{
    watch->is_paused = true;
}

void client_watch_resume(struct client_watch *watch)
{
    watch->is_paused = false;
    poke(watch);
}

const struct progress *client_watch_progress(const struct client_watch *watch)
{
    return &watch->progress;
}

void client_watch_stats_get(const struct client_watch *watch, struct client_watch_stats *ret_stats)
{
    *ret_stats = watch->stats;
    ret_stats->pieces = watch->progress.count;
    ret_stats->asking = watch->poll_count;
}

const char *client_watch_trouble(const struct client_watch *watch)
{
    return watch->trouble;
}

void client_watch_check(const struct client_watch *watch)
{
    uint32_t busy = 0;
    progress_check(&watch->progress);
    for (size_t i = 0; i < watch->progress.count; i++)
        busy += watch->progress.pieces[i].is_busy;
    ASSERT(watch->poll_count <= watch->options.polls_max);
    ASSERT(watch->is_over || busy == watch->poll_count);
}
