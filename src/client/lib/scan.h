/* SPDX-License-Identifier: Apache-2.0
 *
 * scan — a walk over a span, page by page, and the merge of such walks over the slots of a
 * hashed keyspace.
 *
 * Ownership  a scan owns its bounds, page and merge; the client outlives it.
 * Threads    one at a time, none of the library's own.
 */
#ifndef CLIENT_LIB_SCAN_H_
#define CLIENT_LIB_SCAN_H_

#include "client/lib/lib_internal.h"

struct slots;

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
    struct slots *slots;    /* owned: of a hashed keyspace; no page here then */
    char message[160];
};

/* Replace an owned bound by a copy of `to`, and point `place` at it. */
int scan_bound(uint8_t **bound, struct hf_bytes *place, struct hf_bytes to);

/* Ask for the next page, keys as they are stored; it comes to `queue`, with the scan as data. */
int scan_begin(struct hf_scan *scan, struct hf_queue *queue);

/* What came: the scan's page from now on, or why there is none. 0 without a page: it is to be
 * asked for anew. */
int scan_take(struct hf_scan *scan, int code, struct hf_result *page);

/* Free what it owns; zeroes are fine. */
void scan_fini(struct hf_scan *scan);

/* `whole` says span and call. HF_ERR_TOO_LARGE: a bound that no key behind a slot can have. */
int slots_new(const struct hf_scan *whole, uint32_t slots, struct slots **ret_slots);
void slots_free(struct slots *slots); /* NULL is fine */

/* As hf_scan_next(); message and version go to `whole`. */
int slots_next(struct slots *slots, struct hf_scan *whole, struct hf_item *ret_item);

#endif
