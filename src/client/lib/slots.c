/* SPDX-License-Identifier: Apache-2.0
 *
 * A scan of a hashed keyspace: one scan per slot, merged in the order of keys. Those that
 * have a key wait in a heap by it; those whose page is used up are fetched, many at once,
 * before the next key is said. Of each slot one page is held, the smaller the more there are.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/lib/scan.h"

enum {
    PAGES_BYTES = 16 << 20, /* of all slots together, as far as values are that small */
    PAGE_BYTES_MIN = 256,
    PAGE_BYTES_MAX = 1 << 20,
    PAGES_KEYS = 1 << 18,
    PAGE_KEYS_MIN = 16,
    FETCHES_MAX = 32, /* at once */
    KEY_LEN_MAX = KEY_WIRE_MAX - KEYSPACE_SLOT_LEN,
};

static const uint8_t first_key[1] = {0}; /* the least that a user key can be */

struct slots {
    struct hf_queue *queue; /* owned */
    struct hf_scan *slots;  /* owned */
    uint32_t *heap;         /* owned: those with a key, the next one first */
    uint32_t *missing;      /* owned: those without a page */
    uint32_t count;
    uint32_t heap_count;
    uint32_t missing_count;
    bool is_reverse;
    bool has_given; /* the heap's first was said last */
};

/* ---- the heap ---------------------------------------------------------------------------- */

static struct slice key_of(const struct hf_scan *scan)
{
    struct hf_bytes key = scan->page->items[scan->next].key;
    ASSERT(key.len > KEYSPACE_SLOT_LEN); /* by the bounds of slot_init() */
    return slice_of((const uint8_t *)key.data + KEYSPACE_SLOT_LEN, key.len - KEYSPACE_SLOT_LEN);
}

/* Does slot a come before slot b? */
static bool is_before(const struct slots *m, uint32_t a, uint32_t b)
{
    int order = slice_compare(key_of(&m->slots[a]), key_of(&m->slots[b]));
    return m->is_reverse ? order > 0 : order < 0;
}

static void swap(struct slots *m, uint32_t i, uint32_t k)
{
    uint32_t at = m->heap[i];
    m->heap[i] = m->heap[k];
    m->heap[k] = at;
}

static void sift_up(struct slots *m, uint32_t i)
{
    for (; i > 0 && is_before(m, m->heap[i], m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(m, i, (i - 1) / 2);
}

static void sift_down(struct slots *m, uint32_t i)
{
    for (;;) {
        uint32_t first = i;
        for (uint32_t k = 2 * i + 1; k <= 2 * i + 2 && k < m->heap_count; k++) {
            if (is_before(m, m->heap[k], m->heap[first]))
                first = k;
        }
        if (first == i)
            return;
        swap(m, i, first);
        i = first;
    }
}

/* A slot has a page, or had one: where does it stand now? */
static void place(struct slots *m, uint32_t slot)
{
    struct hf_scan *scan = &m->slots[slot];
    if (scan->page != NULL && scan->next < scan->page->count) {
        m->heap[m->heap_count++] = slot;
        sift_up(m, m->heap_count - 1);
    } else if (!scan->is_over) {
        m->missing[m->missing_count++] = slot;
    } else {
        hf_result_free(scan->page);
        scan->page = NULL;
    }
}

size_t slots_position(const struct slots *m, const struct hf_scan *whole, uint8_t *out)
{
    const struct buf *position = &whole->all->position;
    if (m->has_given)
        return scan_place_behind(key_of(&m->slots[m->heap[0]]), m->is_reverse, KEY_LEN_MAX, out);
    if (position->len > 0)
        memcpy(out, position->data, position->len);
    return position->len;
}

/* The heap's first was said: on to its next. */
static void step(struct slots *m, struct hf_scan *whole)
{
    struct buf *position = &whole->all->position;
    uint8_t behind[KEY_WIRE_MAX];
    size_t len = slots_position(m, whole, behind);
    buf_clear(position);
    buf_append(position, behind, len);
    uint32_t slot = m->heap[0];
    struct hf_scan *scan = &m->slots[slot];
    m->has_given = false;
    scan->next++;
    if (scan->next < scan->page->count) {
        sift_down(m, 0);
        return;
    }
    m->heap[0] = m->heap[--m->heap_count];
    sift_down(m, 0);
    place(m, slot);
}

/* ---- fetching ------------------------------------------------------------------------------ */

static int take_one(struct slots *m, struct hf_scan *whole)
{
    void *data = NULL;
    int code = 0;
    struct hf_result *page = NULL;
    while (hf_queue_wait(m->queue, 1000, &data, &code, &page) != 1)
        continue; /* each call has a deadline: it comes */
    struct hf_scan *scan = data;
    int rv = scan_take(scan, code, page);
    if (rv != 0)
        memcpy(whole->message, scan->message, sizeof whole->message);
    else
        whole->version = scan->version;
    place(m, (uint32_t)(scan - m->slots));
    return rv;
}

/* Ask for a page of the last one that has none; HF_ERR_BUSY: there is no room for that now. */
static int begin_one(struct slots *m, struct hf_scan *whole)
{
    struct hf_scan *scan = &m->slots[m->missing[m->missing_count - 1]];
    int rv = scan_begin(scan, m->queue);
    if (rv == 0)
        m->missing_count--;
    else
        memcpy(whole->message, scan->message, sizeof whole->message);
    return rv;
}

/* Have a page of each slot that is not at its end. BUSY, be it of this call or of the answer, says
 * nothing while others of this scan are in flight, which may be what there is too much of: no more
 * are begun until one of these is back with a page. */
static int fetch(struct slots *m, struct hf_scan *whole)
{
    uint32_t flying = 0;
    bool is_full = false;
    int rv = 0;
    while (flying > 0 || (m->missing_count > 0 && rv == 0)) {
        bool begins = rv == 0 && !is_full && flying < FETCHES_MAX && m->missing_count > 0;
        int code = begins ? begin_one(m, whole) : take_one(m, whole);
        if (!begins)
            flying--;
        else if (code == 0)
            flying++;
        if (code == HF_ERR_BUSY && flying > 0)
            is_full = true;
        else if (code != 0 && rv == 0)
            rv = code;
        else if (!begins)
            is_full = false;
    }
    return rv;
}

int slots_next(struct slots *m, struct hf_scan *whole, struct hf_item *ret_item)
{
    if (client_is_own_thread(whole->client)) {
        snprintf(whole->message, sizeof whole->message, "%s", hf_strerror(HF_ERR_STATE));
        return HF_ERR_STATE; /* it would wait for itself */
    }
    if (m->has_given)
        step(m, whole);
    int rv = fetch(m, whole);
    if (rv != 0 || m->heap_count == 0)
        return rv;
    const struct hf_scan *scan = &m->slots[m->heap[0]];
    struct slice key = key_of(scan);
    *ret_item = scan->page->items[scan->next];
    ret_item->key = hf_bytes(key.data, key.len);
    m->has_given = true;
    return 1;
}

/* ---- life ---------------------------------------------------------------------------------- */

static uint32_t share(uint32_t asked, uint32_t all, uint32_t slots, uint32_t least, uint32_t most)
{
    uint32_t own = MIN(MAX(all / slots, least), most);
    return asked > 0 ? MIN(asked, own) : own;
}

/* The same span in one slot: of the keys that stand behind it, and nothing else that may be
 * there. */
static int slot_init(struct hf_scan *scan, const struct hf_scan *whole, uint32_t slot,
                     uint32_t slots)
{
    uint8_t key[KEY_WIRE_MAX];
    scan->client = whole->client;
    scan->first = scan->call = whole->first;
    scan->cluster_id = whole->cluster_id;
    scan->span = whole->span;
    scan->span.start = scan->span.end = (struct hf_bytes){0};
    scan->span.limit_bytes =
        share(whole->span.limit_bytes, PAGES_BYTES, slots, PAGE_BYTES_MIN, PAGE_BYTES_MAX);
    scan->span.limit_keys =
        share(whole->span.limit_keys, PAGES_KEYS, slots, PAGE_KEYS_MIN, REQUEST_KEYS_MAX);
    keyspace_put_slot(key, (uint16_t)slot);
    const struct hf_bytes *start = &whole->span.start;
    const struct hf_bytes *end = &whole->span.end;
    if (start->len > KEY_LEN_MAX || end->len > KEY_LEN_MAX)
        return HF_ERR_TOO_LARGE;
    size_t len = KEYSPACE_SLOT_LEN + MAX(start->len, sizeof first_key);
    if (start->len > 0)
        memcpy(key + KEYSPACE_SLOT_LEN, start->data, start->len);
    else
        memcpy(key + KEYSPACE_SLOT_LEN, first_key, sizeof first_key);
    int rv = scan_bound(&scan->start, &scan->span.start, hf_bytes(key, len));
    len = KEYSPACE_SLOT_LEN + end->len;
    if (end->len > 0)
        memcpy(key + KEYSPACE_SLOT_LEN, end->data, end->len);
    else
        len = keyspace_put_slot_end(key, (uint16_t)slot);
    return rv != 0 ? rv : scan_bound(&scan->end, &scan->span.end, hf_bytes(key, len));
}

/* Where a slot stands: by its part of a cursor, whose position is common. */
static int slot_place(struct hf_scan *scan, uint32_t slot, const struct scan_cursor *cursor,
                      const struct scan_part *part)
{
    uint8_t key[KEY_WIRE_MAX];
    struct slice place = part->place.len > 0 ? part->place : cursor->position;
    scan_set_part(scan, part);
    if (place.len > KEY_LEN_MAX)
        return HF_ERR_TOO_LARGE;
    if (place.len == 0)
        return 0; /* where its span begins */
    keyspace_put_slot(key, (uint16_t)slot);
    memcpy(key + KEYSPACE_SLOT_LEN, place.data, place.len);
    struct hf_bytes to = hf_bytes(key, KEYSPACE_SLOT_LEN + place.len);
    return cursor->is_reverse ? scan_bound(&scan->end, &scan->span.end, to)
                              : scan_bound(&scan->start, &scan->span.start, to);
}

static int slots_place(struct slots *m, const struct scan_cursor *cursor)
{
    struct reader r = reader_of(cursor->parts);
    int rv = 0;
    m->missing_count = 0;
    for (uint32_t i = 0; i < m->count && rv == 0; i++) {
        struct scan_part part = scan_part_next(&r);
        rv = slot_place(&m->slots[i], i, cursor, &part);
        if (!m->slots[i].is_over)
            m->missing[m->missing_count++] = i;
    }
    return rv;
}

/* Is that the place of a slot, and not that of the next one, behind its last key? */
static bool is_in_slot(const struct hf_scan *scan, uint32_t slot)
{
    struct hf_bytes place = scan->span.reverse ? scan->span.end : scan->span.start;
    return place.len >= KEYSPACE_SLOT_LEN && keyspace_get_slot(place.data) == slot;
}

void slots_parts(const struct slots *m, const struct scan_cursor *cursor, struct buf *parts)
{
    uint8_t scratch[KEY_WIRE_MAX];
    struct slice common = cursor->position;
    bool is_end = m->has_given && common.len == 0; /* behind the last key that there can be */
    if (common.len == 0)
        common = cursor->is_reverse ? cursor->end : cursor->start;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct hf_scan *scan = &m->slots[i];
        bool has_given = m->has_given && m->heap[0] == i;
        struct scan_part part = scan_get_part(scan, KEYSPACE_SLOT_LEN, has_given, scratch);
        bool has_left = scan->page != NULL && scan->next + has_given < scan->page->count;
        if (!has_left && !is_in_slot(scan, i))
            part.place = (struct slice){0};
        if (!m->is_reverse && slice_equal(part.place, slice_of(first_key, sizeof first_key)))
            part.place = (struct slice){0}; /* where it begins */
        if (!scan_cursor_is_ahead(cursor, part.place, common))
            part.place = (struct slice){0};
        if (is_end)
            part = (struct scan_part){.state = SCAN_PART_OVER};
        scan_part_append(parts, &part);
    }
}

uint32_t slots_count(const struct slots *m)
{
    return m->count;
}

int slots_new(const struct hf_scan *whole, uint32_t slots, const struct scan_cursor *cursor,
              struct slots **ret_slots)
{
    struct slots *m = calloc(1, sizeof *m);
    if (m == NULL)
        return HF_ERR_NOMEM;
    m->count = slots;
    m->is_reverse = whole->span.reverse != 0;
    m->slots = calloc(slots, sizeof *m->slots);
    m->heap = calloc(slots, sizeof *m->heap);
    m->missing = calloc(slots, sizeof *m->missing);
    int rv = m->slots == NULL || m->heap == NULL || m->missing == NULL ? HF_ERR_NOMEM : 0;
    for (uint32_t i = 0; i < slots && rv == 0; i++) {
        rv = slot_init(&m->slots[i], whole, i, slots);
        m->missing[m->missing_count++] = i;
    }
    if (rv == 0 && cursor != NULL)
        rv = slots_place(m, cursor);
    if (rv == 0)
        rv = hf_queue_new(whole->client, &m->queue);
    if (rv != 0) {
        slots_free(m);
        return rv;
    }
    *ret_slots = m;
    return 0;
}

void slots_free(struct slots *m)
{
    if (m == NULL)
        return;
    for (uint32_t i = 0; i < m->count && m->slots != NULL; i++)
        scan_fini(&m->slots[i]);
    int rv = hf_queue_free(m->queue);
    ASSERT(rv == HF_OK);
    free(m->slots);
    free(m->heap);
    free(m->missing);
    free(m);
}
