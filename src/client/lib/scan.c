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
    hf_span_init(&scan->span);
    if (span == NULL)
        return 0;
    if (span->size < sizeof *span || !bytes_are_fine(span->start) || !bytes_are_fine(span->end) ||
        !bytes_are_fine(span->prefix) || span->cursor.len > 0)
        return HF_ERR_INVALID;
    scan->span = *span;
    if (span->prefix.len > 0)
        return prefix_set(scan, span->prefix);
    int rv = scan_bound(&scan->start, &scan->span.start, span->start);
    return rv != 0 ? rv : scan_bound(&scan->end, &scan->span.end, span->end);
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
    uint32_t slots = client_slots(client, scan->call.keyspace);
    int rv = span_set(scan, span);
    if (rv == 0 && slots > 0)
        rv = slots_new(scan, slots, &scan->slots);
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
        return scan_bound(&scan->end, &scan->span.end, page->cursor);
    return scan_bound(&scan->start, &scan->span.start, page->cursor);
}

int scan_begin(struct hf_scan *scan, struct hf_queue *queue)
{
    const struct hf_then then = {.queue = queue, .data = scan};
    hf_result_free(scan->page);
    scan->page = NULL;
    scan->next = 0;
    int rv = scan_page_plain(scan->client, &scan->span, &scan->call, &then, NULL);
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
    if (code != 0 || page == NULL) {
        code = code != 0 ? code : HF_ERR_NOMEM;
        snprintf(scan->message, sizeof scan->message, "%s",
                 page != NULL ? page->message : hf_strerror(code));
        hf_result_free(page);
        return code;
    }
    scan->page = page;
    return scan_advance(scan);
}

static int scan_fetch(struct hf_scan *scan)
{
    hf_result_free(scan->page);
    scan->page = NULL;
    scan->next = 0;
    struct hf_result *page = NULL;
    int rv = scan_page_plain(scan->client, &scan->span, &scan->call, NULL, &page);
    return scan_take(scan, rv, page);
}

int hf_scan_next(struct hf_scan *scan, struct hf_item *ret_item)
{
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
    return scan->message;
}

uint64_t hf_scan_version(const struct hf_scan *scan)
{
    return scan->version;
}

void scan_fini(struct hf_scan *scan)
{
    slots_free(scan->slots);
    hf_result_free(scan->page);
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
