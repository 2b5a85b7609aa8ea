/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a scan stands, as a cursor, and from one: of hf_scan_new() and of hf_scan_page().
 *
 * A cursor is taken between two keys. What is left of the page that has the next one is read
 * again, at the page's version; where nothing is left, the next page comes as it would have
 * come.
 */
#include <stdlib.h>

#include "client/lib/scan.h"
#include "client/progress.h"

/* ---- a scan's place ----------------------------------------------------------------------- */

size_t scan_place_behind(struct slice key, bool is_reverse, size_t len_max, uint8_t *out)
{
    ASSERT(key.len > 0 && key.len <= len_max && len_max <= KEY_WIRE_MAX);
    if (!is_reverse && key.len == len_max)
        return progress_prefix_end(key, out);
    memcpy(out, key.data, key.len);
    if (is_reverse)
        return key.len;
    out[key.len] = 0;
    return key.len + 1;
}

static struct slice skipped(struct slice key, size_t skip)
{
    return key.len > skip ? slice_of(key.data + skip, key.len - skip) : (struct slice){0};
}

/* Behind the item of the page that was said last. */
static struct slice behind_item(const struct hf_scan *scan, size_t skip, size_t next,
                                uint8_t *scratch)
{
    bool is_reverse = scan->span.reverse != 0;
    struct slice key = skipped(slice_of_bytes(scan->page->items[next - 1].key), skip);
    return slice_of(scratch, scan_place_behind(key, is_reverse, KEY_WIRE_MAX - skip, scratch));
}

struct scan_part scan_get_part(const struct hf_scan *scan, size_t skip, bool has_given,
                               uint8_t *scratch)
{
    static const struct scan_part over = {.state = SCAN_PART_OVER};
    size_t next = scan->next + has_given;
    bool has_left = scan->page != NULL && next < scan->page->count;
    struct scan_part part = {.state = SCAN_PART_FRESH};
    if (!has_left && scan->is_over)
        return over;
    if (has_left && next > 0) {
        part.place = behind_item(scan, skip, next, scratch);
        if (part.place.len == 0)
            return over; /* it was the last key that there can be */
    } else if (has_left) {
        part.place = skipped(slice_of(scan->begin, scan->begin_len), skip);
    } else {
        part.place =
            skipped(slice_of_bytes(scan->span.reverse ? scan->span.end : scan->span.start), skip);
    }
    if (scan->first.consistency == HF_AT)
        return part; /* all is begun at that version, also by who does not know the cluster yet */
    if (has_left)
        part.version = scan->page->version;
    else if (scan->call.consistency == HF_AT)
        part.version = scan->call.at_version;
    if (part.version > 0)
        part.state = SCAN_PART_AT;
    return part;
}

void scan_set_part(struct hf_scan *scan, const struct scan_part *part)
{
    scan->call = scan->first;
    scan->is_over = part->state == SCAN_PART_OVER;
    if (part->state == SCAN_PART_AT)
        scan_at(&scan->call, part->version);
}

static int set_plain(struct hf_scan *scan, const struct scan_cursor *cursor)
{
    struct reader r = reader_of(cursor->parts);
    struct scan_part part = scan_part_next(&r);
    struct slice place = part.place.len > 0 ? part.place : cursor->position;
    struct hf_bytes to = hf_bytes(place.data, place.len);
    int rv = 0;
    if (place.len > 0 && cursor->is_reverse)
        rv = scan_bound(&scan->end, &scan->span.end, to);
    else if (place.len > 0)
        rv = scan_bound(&scan->start, &scan->span.start, to);
    hf_result_free(scan->page);
    scan->page = NULL;
    scan->next = 0;
    scan_set_part(scan, &part);
    return rv;
}

static int set_slots(struct hf_scan *scan, const struct scan_cursor *cursor)
{
    struct slots *slots = NULL;
    int rv = slots_new(scan, cursor->slots, cursor, &slots);
    if (rv != 0)
        return rv;
    slots_free(scan->slots);
    scan->slots = slots;
    buf_clear(&scan->all->position);
    buf_append_slice(&scan->all->position, cursor->position);
    return scan->all->position.failed ? HF_ERR_NOMEM : 0;
}

int scan_set_place(struct hf_scan *scan, const struct scan_cursor *cursor)
{
    return cursor->slots > 0 ? set_slots(scan, cursor) : set_plain(scan, cursor);
}

/* What a cursor of the scan says; the parts go to `parts`, and the position to `position`, of
 * KEY_WIRE_MAX bytes. */
static int cursor_of(const struct hf_scan *scan, struct buf *parts, uint8_t *position,
                     struct scan_cursor *ret_cursor)
{
    const struct hf_span *span = &scan->all->span;
    uint64_t cluster_id = scan->cluster_id;
    if (cluster_id == 0)
        cluster_id = atomic_load_explicit(&scan->client->cluster_id, memory_order_relaxed);
    struct scan_cursor c = {
        .cluster_id = cluster_id,
        .is_reverse = span->reverse != 0,
        .is_keys_only = span->keys_only != 0,
        .start = slice_of_bytes(span->start),
        .end = slice_of_bytes(span->end),
        .slots = scan->slots != NULL ? slots_count(scan->slots) : 0,
    };
    int rv = call_set_read(&c.read, &scan->first, NULL);
    if (rv != 0)
        return rv;
    if (scan->slots != NULL) {
        c.position = slice_of(position, slots_position(scan->slots, scan, position));
        slots_parts(scan->slots, &c, parts);
    } else {
        struct scan_part part = scan_get_part(scan, 0, false, position);
        if (scan_cursor_is_ahead(&c, part.place, c.is_reverse ? c.end : c.start))
            c.position = part.place; /* else it did not begin */
        part.place = (struct slice){0};
        scan_part_append(parts, &part);
    }
    c.parts = buf_slice(parts);
    *ret_cursor = c;
    return parts->failed ? HF_ERR_TOO_LARGE : 0;
}

int hf_scan_cursor(struct hf_scan *scan, struct hf_bytes *ret_cursor)
{
    uint8_t position[KEY_WIRE_MAX];
    struct scan_cursor cursor;
    struct buf parts;
    if (scan == NULL || ret_cursor == NULL)
        return HF_ERR_INVALID;
    struct buf *out = &scan->all->cursor;
    buf_init(&parts, SCAN_CURSOR_MAX);
    buf_clear(out);
    int rv = cursor_of(scan, &parts, position, &cursor);
    if (rv == 0)
        scan_cursor_encode(&cursor, out);
    if (rv == 0 && out->failed)
        rv = HF_ERR_TOO_LARGE;
    if (rv == 0)
        *ret_cursor = hf_bytes(out->data, out->len);
    buf_fini(&parts);
    return rv;
}

/* The same parts, at no version. */
static void forget_versions(const struct scan_cursor *cursor, struct buf *out)
{
    struct reader r = reader_of(cursor->parts);
    for (uint32_t i = 0; i < scan_cursor_parts(cursor); i++) {
        struct scan_part part = scan_part_next(&r);
        part.version = 0;
        if (part.state == SCAN_PART_AT)
            part.state = SCAN_PART_FRESH;
        scan_part_append(out, &part);
    }
    ASSERT(!r.bad && r.left == 0);
}

int hf_scan_renew(struct hf_scan *scan)
{
    uint8_t position[KEY_WIRE_MAX];
    struct scan_cursor cursor;
    struct buf parts, fresh;
    if (scan == NULL)
        return HF_ERR_INVALID;
    if (scan->first.consistency == HF_AT)
        return HF_ERR_STATE;
    buf_init(&parts, SCAN_CURSOR_MAX);
    buf_init(&fresh, SCAN_CURSOR_MAX);
    int rv = cursor_of(scan, &parts, position, &cursor);
    if (rv == 0) {
        forget_versions(&cursor, &fresh);
        cursor.parts = buf_slice(&fresh);
        rv = fresh.failed ? HF_ERR_NOMEM : scan_set_place(scan, &cursor);
    }
    if (rv == 0)
        scan->message[0] = 0;
    buf_fini(&parts);
    buf_fini(&fresh);
    return rv;
}

void hf_scan_span(const struct hf_scan *scan, struct hf_span *ret_span, uint32_t *ret_keyspace)
{
    if (ret_span != NULL)
        hf_span_init(ret_span);
    if (scan != NULL && ret_span != NULL)
        *ret_span = scan->all->span;
    if (ret_keyspace != NULL)
        *ret_keyspace = scan != NULL ? scan->first.keyspace : 0;
}

/* ---- pages --------------------------------------------------------------------------------- */

static void keep_slice(struct buf *buf, size_t at, size_t len, struct slice *ret)
{
    *ret = len > 0 ? slice_of(buf->data + at, len) : (struct slice){0};
}

/* The page's own bounds into call->keys, those of the whole span into call->data. */
static int keep_bounds(struct call *call, const struct scan_cursor *c, struct slice position,
                       struct err *err)
{
    struct request_scan *scan = &call->op.request.scan;
    bool has_place = position.len > 0;
    struct slice start = has_place && !c->is_reverse ? position : c->start;
    struct slice end = has_place && c->is_reverse ? position : c->end;
    int rv = call_keep(call, hf_bytes(start.data, start.len), err);
    if (rv == 0)
        rv = call_keep(call, hf_bytes(end.data, end.len), err);
    buf_append_slice(&call->data, c->start);
    buf_append_slice(&call->data, c->end);
    if (rv != 0 || call->data.failed)
        return rv != 0 ? rv : HF_ERR_NOMEM;
    keep_slice(&call->keys, 0, start.len, &scan->start);
    keep_slice(&call->keys, start.len, end.len, &scan->end);
    keep_slice(&call->data, 0, c->start.len, &call->page.start);
    keep_slice(&call->data, c->start.len, c->end.len, &call->page.end);
    return 0;
}

int page_fill_at(struct call *call, const struct hf_span *span, const struct scan_cursor *cursor,
                 struct err *err)
{
    struct request_scan *scan = &call->op.request.scan;
    struct reader r = reader_of(cursor->parts);
    struct scan_part part = scan_part_next(&r);
    if (part.state == SCAN_PART_OVER)
        return err_set(err, HF_ERR_STATE, "the scan of that cursor is over");
    int rv = keep_bounds(call, cursor, part.place.len > 0 ? part.place : cursor->position, err);
    if (rv != 0)
        return rv;
    call->op.cluster_id = cursor->cluster_id;
    call->op.keyspace = cursor->read.keyspace;
    scan->is_reverse = cursor->is_reverse;
    scan->is_keys_only = cursor->is_keys_only;
    scan->limit_keys = span->limit_keys;
    scan->limit_bytes = span->limit_bytes;
    scan->read = call->page.first = cursor->read;
    call->page.is_told = true;
    if (part.state == SCAN_PART_FRESH)
        return 0;
    call->page.goes_on = cursor->read.consistency != READ_AT;
    scan->read.consistency = READ_AT;
    scan->read.at_version = part.version;
    scan->read.max_age_ms = 0;
    return 0;
}

void page_cursor_append(struct buf *out, const struct call *call, const struct response_rows *rows)
{
    const struct request_scan *scan = &call->op.request.scan;
    struct scan_part part = {.state = SCAN_PART_FRESH};
    struct buf parts;
    struct scan_cursor c = {
        .cluster_id = client_cluster_id(call->client->core),
        .read = call->page.first,
        .is_reverse = scan->is_reverse,
        .is_keys_only = scan->is_keys_only,
        .start = call->page.start,
        .end = call->page.end,
        .position = rows->cursor,
    };
    if (!rows->is_range_end && rows->version > 0 && c.cluster_id != 0)
        part = (struct scan_part){.state = SCAN_PART_AT, .version = rows->version};
    buf_init(&parts, SCAN_CURSOR_MAX);
    scan_part_append(&parts, &part);
    c.parts = buf_slice(&parts);
    if (parts.failed || rows->cursor.len > KEY_WIRE_MAX)
        out->failed = true; /* without one a caller would begin anew */
    else
        scan_cursor_encode(&c, out);
    buf_fini(&parts);
}

bool page_begins_anew(struct call *call, const struct client_result *answer)
{
    const struct response *response = answer->response;
    bool is_gone = answer->status == ERR_VERSION_GONE && response != NULL &&
                   response->kind == REQUEST_SCAN && response->rows.is_range_end;
    if (!call->page.goes_on || !is_gone)
        return false;
    call->page.goes_on = false;
    call->op.request.scan.read = call->page.first;
    return true;
}
