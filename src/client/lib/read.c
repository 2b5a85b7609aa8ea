/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "client/lib/lib_internal.h"

void hf_span_init(struct hf_span *span)
{
    *span = (struct hf_span){.size = sizeof *span};
}

/* Can it be one? How long it may be depends on its keyspace. */
static int key_check(struct hf_bytes key, struct err *err)
{
    int rv = bytes_check(key, "the key", err);
    return rv == 0 && key.len == 0 ? err_set(err, HF_ERR_INVALID, "the key is empty") : rv;
}

/* ---- get ---------------------------------------------------------------------------- */

static int get(struct hf_client *client, struct hf_bytes key, const struct hf_call *options,
               const struct hf_then *then, struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = key_check(key, &err);
    if (rv == 0)
        rv = call_new(client, REQUEST_GET, options, &call, &err);
    if (rv == 0)
        rv = client_may_read(client, call->op.keyspace, &err);
    if (rv == 0)
        rv = slot_key(call->slots, slice_of_bytes(key), &call->keys, &err);
    if (rv == 0)
        rv = call_set_read(&call->op.request.get.read, options, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->op.request.get.key = buf_slice(&call->keys);
    return call_go(call, then, ret_result);
}

int hf_get(struct hf_client *client, struct hf_bytes key, const struct hf_call *call,
           struct hf_result **ret_result)
{
    return get(client, key, call, NULL, ret_result);
}

int hf_get_async(struct hf_client *client, struct hf_bytes key, const struct hf_call *call,
                 const struct hf_then *then)
{
    return get(client, key, call, somewhere(then), NULL);
}

/* ---- multi-get ------------------------------------------------------------------------ */

static int keys_fill(struct call *call, const struct hf_bytes *keys, size_t count, struct err *err)
{
    struct buf stored; /* as it stands in the keyspace */
    int rv = 0;
    buf_init(&stored, KEY_WIRE_MAX);
    for (size_t i = 0; i < count && rv == 0; i++) {
        rv = key_check(keys[i], err);
        buf_clear(&stored);
        if (rv == 0)
            rv = slot_key(call->slots, slice_of_bytes(keys[i]), &stored, err);
        if (rv == 0)
            request_key_append(&call->data, buf_slice(&stored));
        if (call->data.len > command_limits_default.command_max || call->data.failed)
            rv = err_set(err, HF_ERR_TOO_LARGE, "more than %zu bytes of keys",
                         command_limits_default.command_max);
    }
    buf_fini(&stored);
    return rv;
}

static int multi_get(struct hf_client *client, const struct hf_bytes *keys, size_t count,
                     const struct hf_call *options, const struct hf_then *then,
                     struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    int rv = 0;
    err_init(&err);
    if (keys == NULL || count == 0)
        rv = err_set(&err, HF_ERR_INVALID, "no keys");
    else if (count > REQUEST_KEYS_MAX)
        rv = err_set(&err, HF_ERR_TOO_LARGE, "%zu keys, limit %d", count, REQUEST_KEYS_MAX);
    if (rv == 0)
        rv = call_new(client, REQUEST_MULTI_GET, options, &call, &err);
    if (rv == 0)
        rv = client_may_read(client, call->op.keyspace, &err);
    if (rv == 0)
        rv = keys_fill(call, keys, count, &err);
    if (rv == 0)
        rv = call_set_read(&call->op.request.multi_get.read, options, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->op.request.multi_get.keys =
        (struct pack_list){.count = (uint32_t)count, .raw = buf_slice(&call->data)};
    return call_go(call, then, ret_result);
}

int hf_multi_get(struct hf_client *client, const struct hf_bytes *keys, size_t count,
                 const struct hf_call *call, struct hf_result **ret_result)
{
    return multi_get(client, keys, count, call, NULL, ret_result);
}

int hf_multi_get_async(struct hf_client *client, const struct hf_bytes *keys, size_t count,
                       const struct hf_call *call, const struct hf_then *then)
{
    return multi_get(client, keys, count, call, somewhere(then), NULL);
}

/* ---- scan, a page at a time -------------------------------------------------------------- */

/* The first key that is above all which begin with `prefix`: its last byte that can
 * grow does so, what follows is cut off. Empty if there is none: to the last key. */
static size_t prefix_end(uint8_t *key, size_t len)
{
    while (len > 0 && key[len - 1] == 0xff)
        len--;
    if (len > 0)
        key[len - 1]++;
    return len;
}

/* Copy the bounds of `span` and point the request at them. */
static int span_fill(struct call *call, const struct hf_span *span, struct err *err)
{
    struct request_scan *scan = &call->op.request.scan;
    if (span == NULL)
        return 0;
    if (span->size < sizeof *span)
        return err_set(err, HF_ERR_INVALID, "struct hf_span: no size; see hf_span_init()");
    bool is_prefix = span->prefix.len > 0;
    struct hf_bytes first = is_prefix ? span->prefix : span->start;
    struct hf_bytes second = is_prefix ? span->prefix : span->end;
    int rv = call_keep(call, first, err);
    if (rv == 0)
        rv = call_keep(call, second, err);
    if (rv != 0)
        return rv;
    size_t end_len = second.len;
    if (is_prefix)
        end_len = prefix_end(call->keys.data + first.len, second.len);
    scan->start = slice_of(call->keys.data, first.len);
    scan->end = end_len > 0 ? slice_of(call->keys.data + first.len, end_len) : (struct slice){0};
    scan->is_reverse = span->reverse != 0;
    scan->is_keys_only = span->keys_only != 0;
    scan->limit_keys = span->limit_keys;
    scan->limit_bytes = span->limit_bytes;
    return 0;
}

/* ---- deleting a span, a step at a time ------------------------------------------------------ */

/* Where the step before ended; the keys of the call are its bounds. */
static int keep_cursor(struct call *call, const struct hf_span *span, struct err *err)
{
    if (span == NULL)
        return 0;
    if (!bytes_are_fine(span->cursor) || span->cursor.len > KEY_WIRE_MAX)
        return err_set(err, HF_ERR_INVALID, "the cursor is none of a step of deleting a span");
    buf_append(&call->data, span->cursor.data, span->cursor.len);
    return call->data.failed ? HF_ERR_NOMEM : 0;
}

static int sweep_fill(struct call *call, const struct hf_span *span, struct err *err)
{
    const struct request_scan *scan = &call->op.request.scan;
    if (span != NULL && (span->reverse || span->keys_only || span->limit_bytes > 0))
        return err_set(err, HF_ERR_INVALID,
                       "reverse, keys_only and limit_bytes are for scans, not for deleting");
    int rv = span_fill(call, span, err);
    if (rv == 0)
        rv = keep_cursor(call, span, err);
    if (rv != 0)
        return rv;
    if (scan->end.len > 0 && slice_compare(scan->start, scan->end) > 0)
        return err_set(err, HF_ERR_INVALID, "the span ends before it starts");
    call->sweep = calloc(1, sizeof *call->sweep);
    if (call->sweep == NULL)
        return HF_ERR_NOMEM;
    call->sweep->op = &call->op;
    call->sweep->keyspace = call->op.keyspace;
    call->sweep->slots = is_as_stored(span) ? 0 : call->slots;
    call->sweep->from = buf_slice(&call->data);
    call->sweep->start = scan->start;
    call->sweep->end = scan->end;
    call->sweep->limit_keys = scan->limit_keys;
    return 0;
}

static int delete_range(struct hf_client *client, const struct hf_span *span,
                        const struct hf_call *options, const struct hf_then *then,
                        struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = call_new(client, REQUEST_SCAN, options, &call, &err);
    if (rv == 0 && !is_as_stored(span))
        rv = client_may_write(client, call->op.keyspace, &err);
    if (rv == 0)
        rv = sweep_fill(call, span, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    call->figures_kind = HF_OP_DELETE_RANGE;
    return call_go(call, then, ret_result);
}

int hf_delete_range(struct hf_client *client, const struct hf_span *span,
                    const struct hf_call *call, struct hf_result **ret_result)
{
    return delete_range(client, span, call, NULL, ret_result);
}

int hf_delete_range_async(struct hf_client *client, const struct hf_span *span,
                          const struct hf_call *call, const struct hf_then *then)
{
    return delete_range(client, span, call, somewhere(then), NULL);
}

/* ---- scan -------------------------------------------------------------------------------------
 */

int scan_page_plain(struct hf_client *client, const struct hf_span *span,
                    const struct hf_call *options, uint64_t cluster_id, const struct hf_then *then,
                    struct hf_result **ret_result)
{
    struct call *call = NULL;
    struct err err;
    err_init(&err);
    int rv = call_new(client, REQUEST_SCAN, options, &call, &err);
    if (rv == 0) {
        call->slots = 0;
        call->op.cluster_id = cluster_id;
        rv = span_fill(call, span, &err);
    }
    if (rv == 0)
        rv = call_set_read(&call->op.request.scan.read, options, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    return call_go(call, then, ret_result);
}

/* Are keys of a page those that the caller knows? In a hashed keyspace it would be one of a slot.
 */
static int page_check(struct call *call, const struct hf_span *span, uint32_t keyspace,
                      struct err *err)
{
    call->slots = 0;
    if (is_as_stored(span))
        return 0;
    int rv = client_may_read(call->client, keyspace, err);
    if (rv == 0 && client_slots(call->client, keyspace) > 0)
        rv = err_set(err, HF_ERR_UNSUPPORTED,
                     "pages of a hashed keyspace would be of its slots: hf_scan_new()");
    return rv;
}

/* The first page, or one by bounds and version that the caller kept. */
static int page_fill_first(struct call *call, const struct hf_span *span,
                           const struct hf_call *options, struct err *err)
{
    struct request_scan *scan = &call->op.request.scan;
    int rv = page_check(call, span, call->op.keyspace, err);
    if (rv == 0)
        rv = span_fill(call, span, err);
    if (rv == 0)
        rv = call_set_read(&scan->read, options, err);
    call->page =
        (struct page){.is_told = true, .first = scan->read, .start = scan->start, .end = scan->end};
    return rv;
}

/* The page behind another one. */
static int page_fill_next(struct call *call, const struct hf_span *span, struct err *err)
{
    struct scan_cursor cursor;
    int rv = bytes_check(span->cursor, "the cursor", err);
    if (rv == 0)
        rv = scan_cursor_decode(slice_of_bytes(span->cursor), &cursor, err);
    if (rv == 0 && cursor.slots > 0)
        rv = err_set(err, HF_ERR_UNSUPPORTED, "the cursor is of a scan of slots: hf_scan_new()");
    if (rv == 0)
        rv = page_check(call, span, cursor.read.keyspace, err);
    return rv != 0 ? rv : page_fill_at(call, span, &cursor, err);
}

static int scan_page(struct hf_client *client, const struct hf_span *span,
                     const struct hf_call *options, const struct hf_then *then,
                     struct hf_result **ret_result)
{
    struct call *call = NULL;
    bool is_next = span != NULL && span->size >= sizeof *span && span->cursor.len > 0;
    struct err err;
    err_init(&err);
    int rv = call_new(client, REQUEST_SCAN, options, &call, &err);
    if (rv == 0)
        rv =
            is_next ? page_fill_next(call, span, &err) : page_fill_first(call, span, options, &err);
    if (rv != 0)
        return call_refuse(call, rv, &err, ret_result);
    return call_go(call, then, ret_result);
}

int hf_scan_page(struct hf_client *client, const struct hf_span *span, const struct hf_call *call,
                 struct hf_result **ret_result)
{
    return scan_page(client, span, call, NULL, ret_result);
}

int hf_scan_page_async(struct hf_client *client, const struct hf_span *span,
                       const struct hf_call *call, const struct hf_then *then)
{
    return scan_page(client, span, call, somewhere(then), NULL);
}
