/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "client/lib/lib_internal.h"

struct hf_scan {
    struct hf_client *client; /* borrowed */
    struct hf_span span;      /* start and end point into the bounds below */
    struct hf_call call;
    struct hf_call first;   /* as the caller gave it: each range begins so */
    uint64_t version;       /* of the last page */
    uint8_t *start;         /* owned: what is still to be read, or the whole */
    uint8_t *end;           /* owned */
    struct hf_result *page; /* owned; NULL before the first and after a failure */
    size_t next;            /* item of the page */
    bool is_over;           /* the last page was read */
    char message[160];
};

/* Replace an owned bound by a copy of `to`. */
static int bound_set(uint8_t **bound, struct hf_bytes *place, struct hf_bytes to)
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
    int rv = bound_set(&scan->start, &scan->span.start, prefix);
    if (rv == 0)
        rv = bound_set(&scan->end, &scan->span.end, prefix);
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
    hf_span_init(&scan->span);
    if (span == NULL)
        return 0;
    if (span->size < sizeof *span || !bytes_are_fine(span->start) || !bytes_are_fine(span->end) ||
        !bytes_are_fine(span->prefix))
        return HF_ERR_INVALID;
    scan->span = *span;
    if (span->prefix.len > 0)
        return prefix_set(scan, span->prefix);
    int rv = bound_set(&scan->start, &scan->span.start, span->start);
    return rv != 0 ? rv : bound_set(&scan->end, &scan->span.end, span->end);
}

int hf_scan_new(struct hf_client *client, const struct hf_span *span, const struct hf_call *call,
                struct hf_scan **ret_scan)
{
    if (client == NULL || ret_scan == NULL || (call != NULL && call->size < sizeof *call))
        return HF_ERR_INVALID;
    struct hf_scan *scan = calloc(1, sizeof *scan);
    if (scan == NULL)
        return HF_ERR_NOMEM;
    scan->client = client;
    hf_call_init(&scan->call);
    if (call != NULL)
        scan->call = *call;
    scan->first = scan->call;
    int rv = span_set(scan, span);
    if (rv != 0) {
        hf_scan_free(scan);
        return rv;
    }
    *ret_scan = scan;
    return HF_OK;
}

/* After a page: go on where it ended, at its version; in another range, at that one's. */
static int scan_advance(struct hf_scan *scan)
{
    const struct hf_result *page = scan->page;
    scan->version = page->version;
    scan->call = scan->first;
    if (!page->is_range_end) {
        scan->call.consistency = HF_AT;
        scan->call.at_version = page->version;
    }
    if (!page->has_more) {
        scan->is_over = true;
        return 0;
    }
    if (scan->span.reverse)
        return bound_set(&scan->end, &scan->span.end, page->cursor);
    return bound_set(&scan->start, &scan->span.start, page->cursor);
}

static int scan_fetch(struct hf_scan *scan)
{
    hf_result_free(scan->page);
    scan->page = NULL;
    scan->next = 0;
    struct hf_result *page = NULL;
    int rv = hf_scan_page(scan->client, &scan->span, &scan->call, &page);
    if (rv != 0 || page == NULL) {
        rv = rv != 0 ? rv : HF_ERR_NOMEM;
        snprintf(scan->message, sizeof scan->message, "%s",
                 page != NULL ? page->message : hf_strerror(rv));
        hf_result_free(page);
        return rv;
    }
    scan->page = page;
    return scan_advance(scan);
}

int hf_scan_next(struct hf_scan *scan, struct hf_item *ret_item)
{
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
    return scan->message;
}

uint64_t hf_scan_version(const struct hf_scan *scan)
{
    return scan->version;
}

void hf_scan_free(struct hf_scan *scan)
{
    if (scan == NULL)
        return;
    hf_result_free(scan->page);
    free(scan->start);
    free(scan->end);
    free(scan);
}
