/* SPDX-License-Identifier: Apache-2.0
 *
 * f "watch": what has changed below a prefix since the last time.
 *
 *   key     the prefix
 *   value   [milliseconds, token, until]: how long to listen at most; where an earlier
 *           process of the same watcher came to, "" if this is the first; a value to listen
 *           for, "" if any time is enough
 *   answer  "value": [[key, value, version], …], null for a delete; "token": where it came to
 *
 * The watch stays open from operation to operation. What was not answered was not seen: after
 * a failure the next operation begins at its token again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

#ifdef JEPSEN_HAS_WATCH

struct watching {
    struct hf_watch *watch; /* NULL: none is open */
    struct buf token;       /* where `watch` came to */
};

bool watching_is_there(void)
{
    return true;
}

struct watching *watching_new(void)
{
    struct watching *w = calloc(1, sizeof *w);
    if (w != NULL)
        buf_init(&w->token, TEXTS_MAX);
    return w;
}

static void watching_close(struct watching *w)
{
    hf_watch_close(w->watch);
    w->watch = NULL;
}

void watching_free(struct watching *w)
{
    if (w == NULL)
        return;
    watching_close(w);
    buf_fini(&w->token);
    free(w);
}

static void put_hex(struct buf *out, struct hf_bytes bytes)
{
    buf_clear(out);
    for (size_t i = 0; i < bytes.len; i++)
        buf_printf(out, "%02x", ((const uint8_t *)bytes.data)[i]);
}

static struct hf_bytes from_hex(struct op *op, struct hf_bytes hex)
{
    size_t from = op->texts.len;
    for (size_t i = 0; i + 1 < hex.len; i += 2) {
        char pair[3] = {((const char *)hex.data)[i], ((const char *)hex.data)[i + 1], 0};
        buf_append_u8(&op->texts, (uint8_t)strtoul(pair, NULL, 16));
    }
    return hf_bytes(op->texts.data + from, op->texts.len - from);
}

/* Begin, or begin again where the watcher came to. */
static int watching_open(struct op *op, struct hf_bytes hex)
{
    struct watching *w = op->watching;
    struct hf_watch_options options;
    bool is_same = w->watch != NULL &&
                   (hex.len == 0 ||
                    (hex.len == w->token.len && memcmp(hex.data, w->token.data, hex.len) == 0));
    if (is_same)
        return HF_OK;
    watching_close(w);
    hf_watch_options_init(&options);
    if (hex.len > 0)
        options.token = from_hex(op, hex);
    else
        options.prefix = op->key;
    return hf_watch_open(op->hf, &options, &w->watch);
}

/* Writes the events down. True if `until` was among them. */
static bool put_events(struct op *op, const struct hf_watch_batch *batch, struct hf_bytes until)
{
    bool is_seen = false;
    for (size_t i = 0; i < batch->count; i++) {
        const struct hf_event *e = &batch->events[i];
        bool is_put = e->kind == HF_EVENT_PUT;
        json_array_begin(&op->out);
        json_string(&op->out, slice_of(e->key.data, e->key.len));
        if (is_put)
            json_string(&op->out, slice_of(e->value.data, e->value.len));
        else
            json_null(&op->out);
        json_u64(&op->out, e->version);
        json_array_end(&op->out);
        is_seen |= is_put && until.len > 0 && e->value.len == until.len &&
                   memcmp(e->value.data, until.data, until.len) == 0;
    }
    return is_seen;
}

/* Listen until `until_ns`, or until the value was seen. */
static int listen(struct op *op, uint64_t until_ns, struct hf_bytes until)
{
    bool is_seen = false;
    for (uint64_t now = client_now_ns(); now < until_ns && !is_seen; now = client_now_ns()) {
        struct hf_watch_batch *batch = NULL;
        uint32_t left_ms = (uint32_t)((until_ns - now) / 1000000) + 1;
        int rv = hf_watch_next(op->watching->watch, left_ms, &batch);
        if (rv < 0)
            return rv;
        if (rv > 0)
            is_seen = put_events(op, batch, until);
        hf_watch_batch_free(batch);
    }
    return until.len > 0 && !is_seen ? HF_ERR_TIMEOUT : HF_OK;
}

int watching_run(struct op *op)
{
    const struct json_node *ms = client_element(op, op->value, 0);
    struct hf_bytes hex = client_text(op, client_element(op, op->value, 1));
    struct hf_bytes until = client_text(op, client_element(op, op->value, 2));
    struct watching *w = op->watching;
    struct hf_bytes token = {0};
    uint64_t wait_ms = 0;
    if (w == NULL || ms == NULL || json_node_u64(ms, &wait_ms) != 0)
        return -1;
    int code = watching_open(op, hex);
    json_key(&op->out, "value");
    json_array_begin(&op->out);
    if (code == HF_OK)
        code = listen(op, client_now_ns() + wait_ms * 1000000, until);
    json_array_end(&op->out);
    if (code == HF_OK)
        code = hf_watch_token(w->watch, &token);
    if (code == HF_OK) {
        put_hex(&w->token, token);
        json_key(&op->out, "token");
        json_string(&op->out, buf_slice(&w->token));
    }
    client_put_type(op, code, w->watch == NULL ? NULL : hf_watch_message(w->watch));
    if (code != HF_OK)
        watching_close(w);
    return 0;
}

#else

bool watching_is_there(void)
{
    return false;
}

struct watching *watching_new(void)
{
    return NULL;
}

void watching_free(struct watching *w)
{
    (void)w;
}

int watching_run(struct op *op)
{
    (void)op;
    return -1;
}

#endif
