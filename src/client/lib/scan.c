/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "client/lib/scan.h"

int scan_bound(uint8_t **bound, struct hf_bytes *place, struct hf_bytes to)
{
    uint8_t *copy = NULL;
    if (to.len > 0) {
        copy = malloc(to.len);
        if (copy == NULL)
            return HF_ERR_NOMEM;
        memcpy(copy, to.data, to.len);
    }
    free(*bound);
    *bound = copy;
    *place = hf_bytes(copy, to.len);
    return 0;
}

/* A prefix as the span that it stands for. */
static int prefix_set(struct hf_scan *scan, struct hf_bytes prefix)
{
    int rv = scan_bound(&scan->start, &scan->span.start, prefix);
    if (rv == 0)
        rv = scan_bound(&scan->end, &scan->span.end, prefix);
    if (rv != 0)
        return rv;
    size_t len = prefix.len;
    while (len > 0 && scan->end[len - 1] == 0xff)
        len--;
    if (len > 0)
        scan->end[len - 1]++;
    scan->span.end.len = len;
    scan->span.prefix = (struct hf_bytes){0};
    return 0;
}

static int span_set(struct hf_scan *scan, const struct hf_span *span)
{
    scan->span = *span;
    if (MAX(MAX(span->start.len, span->end.len), span->prefix.len) > KEY_WIRE_MAX)
        return HF_ERR_TOO_LARGE;
    if (span->prefix.len > 0)
        return prefix_set(scan, span->prefix);
    int rv = scan_bound(&scan->start, &scan->span.start, span->start);
    return rv != 0 ? rv : scan_bound(&scan->end, &scan->span.end, span->end);
}

/* The whole span, while `span` becomes what is still to be read. */
static int all_new(struct hf_scan *scan)
{
    struct scan_whole *all = calloc(1, sizeof *all);
    if (all == NULL)
        return HF_ERR_NOMEM;
    scan->all = all;
    all->span = scan->span;
    buf_init(&all->position, KEY_WIRE_MAX);
    buf_init(&all->cursor, SCAN_CURSOR_MAX);
    int rv = scan_bound(&all->start, &all->span.start, scan->span.start);
    return rv != 0 ? rv : scan_bound(&all->end, &all->span.end, scan->span.end);
}

/* The slots of the keyspace that the scan is of, whose keys are to be as the caller knows them. */
static int scan_slots(const struct hf_scan *scan, const struct hf_span *span, uint32_t keyspace,
                      uint32_t *ret_slots)
{
    bool is_raw = is_as_stored(span);
    *ret_slots = is_raw ? 0 : client_slots(scan->client, keyspace);
    return is_raw ? 0 : client_may_read(scan->client, keyspace, NULL);
}

/* From its first key on. */
static int scan_begin_new(struct hf_scan *scan, const struct hf_span *span)
{
    uint32_t slots;
    int rv = scan_slots(scan, span, scan->first.keyspace, &slots);
    if (rv == 0)
        rv = span_set(scan, span);
    if (rv == 0)
        rv = all_new(scan);
    return rv == 0 && slots > 0 ? slots_new(scan, slots, NULL, &scan->slots) : rv;
}

/* From where another one stood. The span says how large pages are, the cursor all else. */
static int scan_begin_at(struct hf_scan *scan, const struct hf_span *span)
{
    struct scan_cursor cursor;
    uint32_t slots = 0;
    int rv = scan_cursor_decode(slice_of_bytes(span->cursor), &cursor, NULL);
    if (rv == 0)
        rv = scan_slots(scan, span, cursor.read.keyspace, &slots);
    if (rv != 0)
        return rv;
    if (cursor.slots != slots)
        return HF_ERR_INVALID;
    struct hf_span as_begun = {
        .size = sizeof as_begun,
        .start = {cursor.start.data, cursor.start.len},
        .end = {cursor.end.data, cursor.end.len},
        .reverse = cursor.is_reverse,
        .keys_only = cursor.is_keys_only,
        .as_stored = span->as_stored,
        .limit_keys = span->limit_keys,
        .limit_bytes = span->limit_bytes,
    };
    scan->cluster_id = cursor.cluster_id;
    scan->first.keyspace = cursor.read.keyspace;
    scan->first.consistency = (int)cursor.read.consistency;
    scan->first.max_age_ms = cursor.read.max_age_ms;
    scan->first.at_version = cursor.read.at_version;
    scan->first.any_replica = cursor.read.any_replica;
    rv = span_set(scan, &as_begun);
    if (rv == 0)
        rv = all_new(scan);
    return rv != 0 ? rv : scan_set_place(scan, &cursor);
}

static bool span_is_fine(const struct hf_span *span)
{
    return span->size >= sizeof *span && bytes_are_fine(span->start) && bytes_are_fine(span->end) &&
           bytes_are_fine(span->prefix) && bytes_are_fine(span->cursor);
}

int hf_scan_new(struct hf_client *client, const struct hf_span *span, const struct hf_call *call,
                struct hf_scan **ret_scan)
{
    struct hf_span everything;
    hf_span_init(&everything);
    span = span != NULL ? span : &everything;
    if (client == NULL || ret_scan == NULL || !span_is_fine(span) ||
        (call != NULL && call->size < sizeof *call))
        return HF_ERR_INVALID;
    struct hf_scan *scan = calloc(1, sizeof *scan);
    if (scan == NULL)
        return HF_ERR_NOMEM;
    scan->client = client;
    hf_call_init(&scan->first);
    if (call != NULL)
        scan->first = *call;
    scan->call = scan->first;
    int rv = span->cursor.len > 0 ? scan_begin_at(scan, span) : scan_begin_new(scan, span);
    if (rv != 0) {
        hf_scan_free(scan);
        return rv;
    }
    *ret_scan = scan;
    return HF_OK;
}

void scan_at(struct hf_call *call, uint64_t version)
{
    call->consistency = HF_AT;
    call->at_version = version;
    call->max_age_ms = 0;
}

/* After a page: go on where it ended, at its version; in another range, at that one's. */
static int scan_advance(struct hf_scan *scan, struct hf_result *page)
{
    uint8_t **bound = scan->span.reverse ? &scan->end : &scan->start;
    struct hf_bytes *place = scan->span.reverse ? &scan->span.end : &scan->span.start;
    struct hf_bytes next = {0};
    uint8_t *copy = NULL;
    int rv = scan_bound(&copy, &next, page->has_more ? page->cursor : next);
    if (rv != 0)
        return rv;
    free(scan->begin);
    scan->begin = *bound;
    scan->begin_len = place->len;
    *bound = copy;
    *place = next;
    scan->is_over = !page->has_more;
    scan->page = page;
    scan->version = page->version;
    scan->call = scan->first;
    if (!page->is_range_end)
        scan_at(&scan->call, page->version);
    return 0;
}

int scan_begin(struct hf_scan *scan, struct hf_queue *queue)
{
    const struct hf_then then = {.queue = queue, .data = scan};
    hf_result_free(scan->page);
    scan->page = NULL;
    scan->next = 0;
    int rv = scan_page_plain(scan->client, &scan->span, &scan->call, scan->cluster_id, &then, NULL);
    if (rv != 0)
        snprintf(scan->message, sizeof scan->message, "%s", hf_strerror(rv));
    return rv;
}

/* The range took in another one meanwhile, and the scan is in the part that was this other's:
 * its version is of no use there. */
static bool is_of_other(const struct hf_scan *scan, int code, const struct hf_result *page)
{
    bool is_own = scan->call.consistency == HF_AT && scan->first.consistency != HF_AT;
    return code == HF_ERR_VERSION_GONE && is_own && page != NULL && page->is_range_end;
}

int scan_take(struct hf_scan *scan, int code, struct hf_result *page)
{
    if (is_of_other(scan, code, page)) {
        scan->call = scan->first;
        hf_result_free(page);
        return 0;
    }
    if (code == 0)
        code = page != NULL ? scan_advance(scan, page) : HF_ERR_NOMEM;
    if (code == 0)
        return 0;
    snprintf(scan->message, sizeof scan->message, "%s",
             page != NULL && page->code != 0 ? page->message : hf_strerror(code));
    hf_result_free(page);
    return code;
}

static int scan_fetch(struct hf_scan *scan)
{
    hf_result_free(scan->page);
    scan->page = NULL;
    scan->next = 0;
    struct hf_result *page = NULL;
    int rv = scan_page_plain(scan->client, &scan->span, &scan->call, scan->cluster_id, NULL, &page);
    return scan_take(scan, rv, page);
}

int hf_scan_next(struct hf_scan *scan, struct hf_item *ret_item)
{
    if (scan == NULL || ret_item == NULL)
        return HF_ERR_INVALID;
    if (scan->slots != NULL)
        return slots_next(scan->slots, scan, ret_item);
    while (scan->page == NULL || scan->next == scan->page->count) {
        if (scan->is_over)
            return 0;
        int rv = scan_fetch(scan);
        if (rv != 0)
            return rv;
    }
    *ret_item = scan->page->items[scan->next++];
    return 1;
}

const char *hf_scan_message(const struct hf_scan *scan)
{
    return scan != NULL ? scan->message : "";
}

uint64_t hf_scan_version(const struct hf_scan *scan)
{
    return scan != NULL ? scan->version : 0;
}

void scan_fini(struct hf_scan *scan)
{
    struct scan_whole *all = scan->all;
    slots_free(scan->slots);
    if (all != NULL) {
        buf_fini(&all->position);
        buf_fini(&all->cursor);
        free(all->start);
        free(all->end);
        free(all);
    }
    hf_result_free(scan->page);
    free(scan->begin);
    free(scan->start);
    free(scan->end);
    *scan = (struct hf_scan){0};
}

void hf_scan_free(struct hf_scan *scan)
{
    if (scan == NULL)
        return;
    scan_fini(scan);
    free(scan);
}
