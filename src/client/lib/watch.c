/* SPDX-License-Identifier: Apache-2.0
 *
 * A watch, for other threads:
 *
 *   the library's thread                      whoever calls hf_watch_next()
 *   client_watch ─▶ page ─▶ a batch, copied ─▶ ready ─▶ taken: `place` moves on
 *        ▲  paused while ready is full ◀────────────────────┘
 *
 * `place` is how far the caller is, which is what a token tells; the core's own is ahead.
 *
 * In a hashed keyspace keys stand behind their slots, and a sieve (client/sieve.h) leaves out
 * those that were not asked for.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/lib/lib_internal.h"
#include "client/sieve.h"

enum {
    BUFFER_DEFAULT = 4 << 20,
    BATCH_OVERHEAD = 256,
    MESSAGE_MAX = 200,
    SPARE_MS_MIN = 1000, /* of a client whose calls have less */
    SPARE_MS_MAX = 5000, /* or more: trouble is to be heard of soon */
};

/* One allocation with all that it points to. */
struct batch {
    struct hf_watch_batch told; /* what the caller sees: the first member */
    struct list in_ready;
    size_t bytes;
    struct slice start, end; /* what was asked for */
    struct response_watch page;
};

struct hf_watch {
    struct hf_client *client;
    struct client_watch *core; /* the thread's */
    struct client_watch_options options;
    uint32_t slots;      /* one of them stands in front of each key; 0: none does */
    struct sieve sieve;  /* fixed once it is open */
    struct buf keys;     /* owned: bounds and token until the core has them */
    struct list in_list; /* client's watches */
    size_t buffer_bytes;
    bool wants_marks;
    void (*callback)(void *data, struct hf_watch *watch);
    void *data;
    int fd;

    struct env_uv_mutex lock;
    struct env_uv_cond filled;
    struct list ready; /* guarded, and all below: batches */
    size_t ready_bytes;
    bool is_paused;
    bool is_resuming; /* posted */
    bool is_closing;  /* close_core is posted, or about to be: nothing may come behind it */
    bool is_over;
    bool is_closed; /* the core is */
    int code;
    uint64_t oldest;
    char message[MESSAGE_MAX];
    int trouble;         /* why a part of the span is not followed just now; 0: all is */
    uint64_t trouble_us; /* since when; 0: all is */

    struct progress place; /* the caller's */
    uint64_t mark;
    struct buf token;
    char shown[MESSAGE_MAX];
};

void hf_watch_options_init(struct hf_watch_options *options)
{
    *options = (struct hf_watch_options){.size = sizeof *options};
}

/* ---- on the library's thread -------------------------------------------------------------- */

static struct slice copy_to(uint8_t **at, struct slice from)
{
    struct slice copy = slice_of(*at, from.len);
    if (from.len > 0)
        memcpy(*at, from.data, from.len);
    *at += from.len;
    return copy;
}

/* Without what stands in front of it and is no part of it; false: it is none that the caller could
 * name, or was asked for. */
static bool key_told(const struct hf_watch *watch, struct slice stored, struct slice *ret_key)
{
    *ret_key = stored;
    if (watch->slots > 0) {
        if (!keyspace_is_behind_slot(stored, watch->slots))
            return false;
        *ret_key = slice_of(stored.data + KEYSPACE_SLOT_LEN, stored.len - KEYSPACE_SLOT_LEN);
    }
    return sieve_passes(&watch->sieve, *ret_key);
}

static struct batch *batch_new(const struct hf_watch *watch, const struct client_watch_page *page)
{
    const struct response_watch *from = page->page;
    size_t count = from->changes.count;
    size_t heads = sizeof(struct batch) + count * sizeof(struct hf_event);
    size_t room = heads + from->changes.raw.len + page->start.len + page->end.len +
                  from->cursor.len; /* keys and values are shorter than they are encoded */
    struct batch *batch = malloc(room);
    if (batch == NULL)
        return NULL;
    struct hf_event *events = (struct hf_event *)(batch + 1);
    uint8_t *at = (uint8_t *)(events + count);
    *batch = (struct batch){.told = {.events = events, .complete = page->mark},
                            .bytes = room + BATCH_OVERHEAD,
                            .page = *from};
    list_init(&batch->in_ready);
    batch->start = copy_to(&at, page->start);
    batch->end = copy_to(&at, page->end);
    batch->page.cursor = copy_to(&at, from->cursor);
    batch->page.changes = (struct pack_list){0};
    struct unpack u = unpack_of(from->changes.raw);
    for (size_t i = 0; i < count; i++) {
        struct change c;
        change_next(&u, &c);
        struct slice plain;
        if (!key_told(watch, c.key, &plain))
            continue;
        struct slice key = copy_to(&at, plain), value = copy_to(&at, c.value);
        events[batch->told.count++] = (struct hf_event){
            .kind = (int)c.kind,
            .key = hf_bytes(key.data, key.len),
            .value = hf_bytes(value.data, value.len),
            .version = c.version,
            .expires_ms = c.expiry_ms,
        };
    }
    ASSERT(at <= (uint8_t *)batch + room);
    return batch;
}

/* With the lock held. */
static void finish(struct hf_watch *watch, int code, struct slice text)
{
    watch->is_over = true;
    watch->code = code;
    snprintf(watch->message, sizeof watch->message, "%.*s", (int)text.len, (const char *)text.data);
    env_uv_notify_set(watch->fd);
    env_uv_cond_signal(&watch->filled);
}

static void add_ready(struct hf_watch *watch, struct batch *batch)
{
    if (list_is_empty(&watch->ready))
        env_uv_notify_set(watch->fd);
    list_push_back(&watch->ready, &batch->in_ready);
    watch->ready_bytes += batch->bytes;
    env_uv_cond_signal(&watch->filled);
    if (watch->ready_bytes >= watch->buffer_bytes && !watch->is_paused) {
        watch->is_paused = true;
        client_watch_pause(watch->core);
    }
}

static void on_page(struct client_watch *core, void *data, const struct client_watch_page *page)
{
    struct hf_watch *watch = data;
    struct batch *batch = page->status == 0 ? batch_new(watch, page) : NULL;
    env_uv_mutex_lock(&watch->lock);
    if (watch->is_over) { /* one before it was lost, and it would hide that */
        free(batch);
        client_watch_pause(core);
    } else if (batch != NULL) {
        add_ready(watch, batch);
    } else if (page->status != 0) {
        watch->oldest = page->status == ERR_VERSION_GONE ? page->version + 1 : 0;
        finish(watch, page->status, page->text);
    } else {
        finish(watch, HF_ERR_NOMEM, slice_str("out of memory"));
        client_watch_pause(core);
    }
    env_uv_mutex_unlock(&watch->lock);
    if (watch->callback != NULL)
        watch->callback(watch->data, watch);
}

static void on_trouble(struct client_watch *core, void *data,
                       const struct client_watch_trouble *trouble)
{
    struct hf_watch *watch = data;
    (void)core;
    env_uv_mutex_lock(&watch->lock);
    if (!watch->is_over) {
        watch->trouble = trouble->status;
        watch->trouble_us = trouble->since_us;
        snprintf(watch->message, sizeof watch->message, "%s", trouble->text);
    }
    env_uv_mutex_unlock(&watch->lock);
}

static void open_core(void *data)
{
    struct hf_watch *watch = data;
    struct err err = {0};
    int rv = client_watch_open(watch->client->core, &watch->options, &watch->core, &err);
    buf_fini(&watch->keys);
    if (rv == 0)
        return;
    env_uv_mutex_lock(&watch->lock);
    finish(watch, rv, slice_str(err.msg));
    env_uv_mutex_unlock(&watch->lock);
    if (watch->callback != NULL)
        watch->callback(watch->data, watch);
}

static void resume_core(void *data)
{
    struct hf_watch *watch = data;
    env_uv_mutex_lock(&watch->lock);
    bool is_over = watch->is_over;
    watch->is_resuming = false;
    watch->is_paused = false;
    env_uv_mutex_unlock(&watch->lock);
    if (!is_over)
        client_watch_resume(watch->core);
}

static void close_core(void *data)
{
    struct hf_watch *watch = data;
    client_watch_close(watch->core);
    watch->core = NULL;
    env_uv_mutex_lock(&watch->lock);
    watch->is_closed = true;
    if (!watch->is_over)
        finish(watch, HF_ERR_CANCELED, slice_str("the client was closed"));
    env_uv_cond_signal(&watch->filled); /* under the lock: it may be gone right after */
    env_uv_mutex_unlock(&watch->lock);
}

void watches_end(struct hf_client *client)
{
    for (;;) {
        env_uv_mutex_lock(&client->lock);
        struct list *link = list_pop_front(&client->watches);
        env_uv_mutex_unlock(&client->lock);
        if (link == NULL)
            return;
        close_core(list_entry(link, struct hf_watch, in_list));
    }
}

/* ---- opening ------------------------------------------------------------------------------- */

static int keep(struct buf *keys, struct hf_bytes from, struct slice *ret)
{
    size_t at = keys->len;
    buf_append(keys, from.data, from.len);
    *ret = slice_of(keys->data + at, from.len);
    return keys->failed ? HF_ERR_NOMEM : 0;
}

/* In a hashed keyspace: one key, or all of them, some of which are told of. */
static int keep_slotted(struct hf_watch *watch, uint32_t slots, const struct hf_watch_options *o)
{
    struct client_watch_options *to = &watch->options;
    uint8_t behind[KEY_WIRE_MAX];
    if (o->start.len > 0 || o->end.len > 0)
        return sieve_set(&watch->sieve, slice_of_bytes(o->start), slice_of_bytes(o->end));
    if (o->prefix.len > KEY_WIRE_MAX)
        return HF_ERR_TOO_LARGE;
    if (o->prefix.len > 0) {
        size_t end_len = progress_prefix_end(slice_of_bytes(o->prefix), behind);
        return sieve_set(&watch->sieve, slice_of_bytes(o->prefix), slice_of(behind, end_len));
    }
    if (o->key.len == 0)
        return 0;
    int rv = slot_key(slots, slice_of_bytes(o->key), &watch->keys, NULL);
    if (rv != 0)
        return rv;
    to->start = buf_slice(&watch->keys);
    size_t len = progress_key_behind(to->start, behind);
    return keep(&watch->keys, hf_bytes(behind, len), &to->end);
}

/* The end of one key, or of all that begin so. */
static int keep_span_of(struct buf *keys, struct hf_bytes key, bool is_prefix, struct slice *start,
                        struct slice *end)
{
    uint8_t behind[KEY_WIRE_MAX];
    if (key.len > KEY_WIRE_MAX)
        return HF_ERR_TOO_LARGE;
    size_t len = is_prefix ? progress_prefix_end(slice_of_bytes(key), behind)
                           : progress_key_behind(slice_of_bytes(key), behind);
    int rv = keep(keys, key, start);
    return rv != 0 ? rv : keep(keys, hf_bytes(behind, len), end);
}

/* A token may tell of bounds first. */
static int keep_token(struct hf_watch *watch, struct slice token)
{
    int rv = sieve_decode(&watch->sieve, &token);
    struct hf_bytes rest = {.data = token.data, .len = token.len};
    return rv != 0 ? rv : keep(&watch->keys, rest, &watch->options.token);
}

static int take_span(struct hf_watch *watch, const struct hf_watch_options *o)
{
    struct client_watch_options *to = &watch->options;
    bool has_bounds = o->start.len > 0 || o->end.len > 0;
    int given = (o->key.len > 0) + (o->prefix.len > 0) + has_bounds;
    if (given > 1 || !bytes_are_fine(o->key) || !bytes_are_fine(o->prefix) ||
        !bytes_are_fine(o->start) || !bytes_are_fine(o->end) || !bytes_are_fine(o->token))
        return HF_ERR_INVALID;
    if (o->start.len > KEY_WIRE_MAX || o->end.len > KEY_WIRE_MAX)
        return HF_ERR_TOO_LARGE;
    size_t room = 2 * KEY_WIRE_MAX + o->token.len; /* slices point into it: it must not move */
    if (buf_reserve(&watch->keys, room) != 0)
        return HF_ERR_NOMEM;
    int rv = 0;
    uint32_t slots = client_slots(watch->client, o->keyspace);
    if (slots > 0 && o->token.len == 0) {
        rv = keep_slotted(watch, slots, o);
    } else if (o->key.len > 0 || o->prefix.len > 0) {
        bool is_prefix = o->key.len == 0;
        rv = keep_span_of(&watch->keys, is_prefix ? o->prefix : o->key, is_prefix, &to->start,
                          &to->end);
    } else {
        rv = keep(&watch->keys, o->start, &to->start);
        if (rv == 0)
            rv = keep(&watch->keys, o->end, &to->end);
    }
    return rv != 0 ? rv : keep_token(watch, slice_of_bytes(o->token));
}

/* Where the caller begins, as the core will. */
static int take_place(struct hf_watch *watch)
{
    const struct client_watch_options *o = &watch->options;
    if (o->token.len > 0) {
        int rv = progress_decode(&watch->place, o->token, NULL);
        if (rv == 0 && o->from_version > 0)
            progress_raise(&watch->place, o->from_version - 1);
        return rv == ERR_CORRUPT || rv == ERR_UNSUPPORTED ? HF_ERR_INVALID : rv;
    }
    return progress_init(&watch->place, o->keyspace, o->start, o->end,
                         o->from_version == 0 ? 0 : o->from_version - 1, o->from_version == 0);
}

static void drop_ready(struct hf_watch *watch)
{
    struct list *link;
    while ((link = list_pop_front(&watch->ready)) != NULL)
        free(list_entry(link, struct batch, in_ready));
    watch->ready_bytes = 0;
}

static void watch_free(struct hf_watch *watch)
{
    drop_ready(watch);
    if (watch->fd >= 0)
        env_uv_notify_close(watch->fd);
    progress_fini(&watch->place);
    buf_fini(&watch->keys);
    sieve_fini(&watch->sieve);
    buf_fini(&watch->token);
    env_uv_cond_fini(&watch->filled);
    env_uv_mutex_fini(&watch->lock);
    free(watch);
}

/* Into the client's list, and on to its thread. */
static int watch_start(struct hf_watch *watch)
{
    struct hf_client *client = watch->client;
    int rv = HF_ERR_STATE;
    env_uv_mutex_lock(&client->lock);
    if (!client->is_closing)
        rv = env_uv_post(client->env, open_core, watch);
    if (rv == 0)
        list_push_back(&client->watches, &watch->in_list);
    env_uv_mutex_unlock(&client->lock);
    return rv;
}

int hf_watch_open(struct hf_client *client, const struct hf_watch_options *options,
                  struct hf_watch **ret_watch)
{
    if (client == NULL || options == NULL || options->size < sizeof *options || ret_watch == NULL)
        return HF_ERR_INVALID;
    struct hf_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return HF_ERR_NOMEM;
    watch->client = client;
    watch->fd = -1;
    env_uv_mutex_init(&watch->lock);
    env_uv_cond_init(&watch->filled);
    list_init(&watch->ready);
    list_init(&watch->in_list);
    buf_init(&watch->keys, PROGRESS_TOKEN_MAX);
    sieve_init(&watch->sieve);
    buf_init(&watch->token, PROGRESS_TOKEN_MAX);
    watch->buffer_bytes = options->buffer_bytes > 0 ? options->buffer_bytes : BUFFER_DEFAULT;
    watch->wants_marks = options->marks != 0;
    watch->callback = options->callback;
    watch->data = options->data;
    watch->options = (struct client_watch_options){
        .keyspace = options->keyspace,
        .from_version = options->from_version,
        .spare_ms = MIN(MAX(client->timeout_ms, (uint32_t)SPARE_MS_MIN), (uint32_t)SPARE_MS_MAX),
        .page_cb = on_page,
        .trouble_cb = on_trouble,
        .data = watch,
    };
    int rv = take_span(watch, options);
    if (rv == 0)
        rv = take_place(watch);
    if (rv == 0)
        rv = client_may_read(client, watch->place.keyspace, NULL);
    if (rv == 0)
        watch->slots = client_slots(client, watch->place.keyspace);
    if (rv == 0 && watch->sieve.is_on && watch->slots == 0)
        rv = HF_ERR_INVALID; /* by a token of another cluster: that keyspace is not hashed here */
    if (rv == 0)
        rv = env_uv_notify_open(&watch->fd, NULL);
    if (rv == 0)
        rv = watch_start(watch);
    if (rv != 0) {
        watch_free(watch);
        return rv;
    }
    *ret_watch = watch;
    return HF_OK;
}

static void set_closing(struct hf_watch *watch, bool is_closing)
{
    env_uv_mutex_lock(&watch->lock);
    watch->is_closing = is_closing;
    env_uv_mutex_unlock(&watch->lock);
}

int hf_watch_close(struct hf_watch *watch)
{
    if (watch == NULL)
        return HF_OK;
    struct hf_client *client = watch->client;
    if (client_is_own_thread(client))
        return HF_ERR_STATE;
    set_closing(watch, true);
    env_uv_mutex_lock(&client->lock);
    bool is_known = list_is_linked(&watch->in_list); /* else the thread has ended it */
    list_remove(&watch->in_list);
    int rv = is_known ? env_uv_post(client->env, close_core, watch) : 0;
    if (rv != 0)
        list_push_back(&client->watches, &watch->in_list);
    env_uv_mutex_unlock(&client->lock);
    if (rv != 0) {
        set_closing(watch, false);
        return rv;
    }
    env_uv_mutex_lock(&watch->lock);
    while (!watch->is_closed)
        env_uv_cond_wait(&watch->filled, &watch->lock);
    env_uv_mutex_unlock(&watch->lock);
    watch_free(watch);
    return HF_OK;
}

/* ---- taking ------------------------------------------------------------------------------- */

/* With the lock held. */
static struct batch *take_ready(struct hf_watch *watch)
{
    struct list *link = list_pop_front(&watch->ready);
    struct batch *batch = link == NULL ? NULL : list_entry(link, struct batch, in_ready);
    if (batch != NULL)
        watch->ready_bytes -= batch->bytes;
    if (batch != NULL && list_is_empty(&watch->ready) && !watch->is_over)
        env_uv_notify_clear(watch->fd);
    /* The callback may be here while another thread closes: whoever posts does it under the lock,
     * so that the core is resumed before it goes, or not at all. */
    bool may_resume = watch->is_paused && !watch->is_resuming && !watch->is_closing;
    if (may_resume && watch->ready_bytes <= watch->buffer_bytes / 2)
        watch->is_resuming = env_uv_post(watch->client->env, resume_core, watch) == 0;
    return batch;
}

/* The caller is where the batch ends. Is it of interest? */
static int pass(struct hf_watch *watch, struct batch *batch, bool *ret_is_told)
{
    int rv = progress_page(&watch->place, batch->start, batch->end, &batch->page);
    bool is_ahead = batch->told.complete > watch->mark;
    watch->mark = MAX(watch->mark, batch->told.complete);
    *ret_is_told = batch->told.count > 0 || (watch->wants_marks && is_ahead);
    return rv;
}

int hf_watch_next(struct hf_watch *watch, uint32_t timeout_ms, struct hf_watch_batch **ret_batch)
{
    if (ret_batch != NULL)
        *ret_batch = NULL;
    if (watch == NULL || ret_batch == NULL)
        return HF_ERR_INVALID;
    if (timeout_ms > 0 && client_is_own_thread(watch->client))
        return HF_ERR_STATE;
    uint64_t deadline_us = env_now_us(watch->client->env) + (uint64_t)timeout_ms * 1000;
    struct batch *batch = NULL;
    bool is_told = false, is_in_time = true;
    int code = 0;
    env_uv_mutex_lock(&watch->lock);
    while (code == 0 && !is_told) {
        if ((batch = take_ready(watch)) != NULL) {
            code = pass(watch, batch, &is_told);
            if (!is_told || code != 0)
                free(batch);
            if (code != 0) { /* it is lost: no other may follow */
                drop_ready(watch);
                finish(watch, code, slice_str(hf_strerror(code)));
            }
        } else if (watch->is_over) {
            code = watch->code;
        } else if (timeout_ms == 0 || !is_in_time) {
            break;
        } else {
            is_in_time = env_uv_cond_wait_until(&watch->filled, &watch->lock, deadline_us);
        }
    }
    env_uv_mutex_unlock(&watch->lock);
    if (code != 0)
        return code;
    if (is_told)
        *ret_batch = &batch->told;
    return is_told;
}

void hf_watch_batch_free(struct hf_watch_batch *batch)
{
    free(batch); /* the first member of what was allocated */
}

int hf_watch_fd(const struct hf_watch *watch)
{
    return watch != NULL ? watch->fd : HF_ERR_INVALID;
}

int hf_watch_token(struct hf_watch *watch, struct hf_bytes *ret_token)
{
    if (watch == NULL || ret_token == NULL)
        return HF_ERR_INVALID;
    buf_clear(&watch->token);
    sieve_encode(&watch->sieve, &watch->token);
    env_uv_mutex_lock(&watch->lock);
    progress_encode(&watch->place, &watch->token);
    env_uv_mutex_unlock(&watch->lock);
    if (watch->token.failed)
        return HF_ERR_NOMEM;
    *ret_token = hf_bytes(watch->token.data, watch->token.len);
    return HF_OK;
}

const char *hf_watch_message(struct hf_watch *watch)
{
    if (watch == NULL)
        return "";
    env_uv_mutex_lock(&watch->lock);
    memcpy(watch->shown, watch->message, sizeof watch->shown);
    env_uv_mutex_unlock(&watch->lock);
    return watch->shown;
}

int hf_watch_trouble(struct hf_watch *watch, uint64_t *ret_ms)
{
    if (watch == NULL)
        return HF_ERR_INVALID;
    env_uv_mutex_lock(&watch->lock);
    int code = watch->is_over ? watch->code : watch->trouble;
    uint64_t since_us = watch->is_over ? 0 : watch->trouble_us;
    env_uv_mutex_unlock(&watch->lock);
    uint64_t now_us = env_now_us(watch->client->env);
    if (ret_ms != NULL)
        *ret_ms = since_us > 0 ? (now_us - MIN(now_us, since_us)) / 1000 : 0;
    return code;
}

uint64_t hf_watch_oldest(const struct hf_watch *watch)
{
    return watch != NULL ? watch->oldest : 0;
}
