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

/* What only the whole scan has, not those of its slots. */
struct scan_whole {
    struct hf_span span; /* as it was begun; start and end point into these: */
    uint8_t *start;      /* owned */
    uint8_t *end;        /* owned */
    struct buf position; /* hashed: behind the last key that was said (scan_cursor.h) */
    struct buf cursor;   /* of hf_scan_cursor() */
};

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
    uint8_t *begin;         /* owned: where the page begins: its first key, or, downwards, … */
    size_t begin_len;       /* … the key behind it; 0: where the scan does */
    uint64_t cluster_id;    /* of the cursor that it goes on from; 0: whichever */
    struct slots *slots;    /* owned: of a hashed keyspace; no page here then */
    struct scan_whole *all; /* owned; NULL: this is the scan of a slot */
    char message[160];
};

/* Replace an owned bound by a copy of `to`, and point `place` at it. */
int scan_bound(uint8_t **bound, struct hf_bytes *place, struct hf_bytes to);

/* At that version, which a page told, whatever the call said before. */
void scan_at(struct hf_call *call, uint64_t version);

/* Ask for the next page, keys as they are stored; it comes to `queue`, with the scan as data. */
int scan_begin(struct hf_scan *scan, struct hf_queue *queue);

/* What came: the scan's page from now on, or why there is none. 0 without a page: it is to be
 * asked for anew. */
int scan_take(struct hf_scan *scan, int code, struct hf_result *page);

/* Free what it owns; zeroes are fine. */
void scan_fini(struct hf_scan *scan);

/* ---- place.c ------------------------------------------------------------------- */

/* The scan stands where `cursor` says from now on. Its span and `first` are those of the cursor
 * already. HF_ERR_NOMEM, HF_ERR_TOO_LARGE. */
int scan_set_place(struct hf_scan *scan, const struct scan_cursor *cursor);

/* The place of one part, set to the scan that reads it. Its bounds are there already. */
void scan_set_part(struct hf_scan *scan, const struct scan_part *part);

/* Where the scan of a slot, or one without slots, stands: what its part says. Its place, also that
 * at which a scan without slots stands, is without the first `skip` bytes (those of the slot), and
 * may point into `scratch`, of KEY_WIRE_MAX bytes. `has_given`: the next item was said, too. */
struct scan_part scan_get_part(const struct hf_scan *scan, size_t skip, bool has_given,
                               uint8_t *scratch);

/* The place behind a key that was said, among keys of at most `len_max` bytes: its length, written
 * to `out` of KEY_WIRE_MAX bytes; 0: there is none. */
size_t scan_place_behind(struct slice key, bool is_reverse, size_t len_max, uint8_t *out);

/* ---- slots.c ------------------------------------------------------------------- */

/* `whole` says span and call, `cursor` where each slot stands; NULL: none did begin.
 * HF_ERR_TOO_LARGE: a bound that no key behind a slot can have. */
int slots_new(const struct hf_scan *whole, uint32_t slots, const struct scan_cursor *cursor,
              struct slots **ret_slots);
void slots_free(struct slots *slots); /* NULL is fine */

/* As hf_scan_next(); message and version go to `whole`. */
int slots_next(struct slots *slots, struct hf_scan *whole, struct hf_item *ret_item);

uint32_t slots_count(const struct slots *slots);

/* Behind the last key that it said, in the form of a cursor's position, into `out` of KEY_WIRE_MAX
 * bytes: its length; 0: it said none. */
size_t slots_position(const struct slots *slots, const struct hf_scan *whole, uint8_t *out);

/* Append a part for each slot, given the position in `cursor`. */
void slots_parts(const struct slots *slots, const struct scan_cursor *cursor, struct buf *parts);

#endif
