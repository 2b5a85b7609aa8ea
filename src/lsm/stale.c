/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/stale.h"

#include <stdlib.h>

#include "base/coding.h"
#include "base/err.h"

enum { STALE_FORMAT = 1 };

void stale_init(struct stale *stale)
{
    *stale = (struct stale){0};
    for (size_t i = 0; i < STALE_PARTS; i++)
        stale->hidden[i] = stale->expired[i] = STALE_NEVER;
}

static uint64_t parts_up_to(const uint64_t at[STALE_PARTS], uint64_t now)
{
    uint64_t parts = 0;
    while (parts < STALE_PARTS && at[parts] != STALE_NEVER && at[parts] <= now)
        parts++;
    return parts;
}

/* Of which so many had passed before. */
static uint64_t parts_since(const uint64_t at[STALE_PARTS], uint64_t made, uint64_t now)
{
    uint64_t before = parts_up_to(at, made), parts = parts_up_to(at, now);
    return parts - MIN(before, parts);
}

uint64_t stale_share(const struct stale *stale, uint64_t safe_version, uint64_t range_time_ms)
{
    uint64_t parts = parts_since(stale->hidden, stale->made_safe, safe_version) +
                     parts_since(stale->expired, stale->made_ms, range_time_ms);
    return MIN(parts, (uint64_t)STALE_PARTS) * STALE_PERMILLE;
}

static uint64_t at_share(const uint64_t at[STALE_PARTS], uint64_t made, uint64_t permille)
{
    uint64_t parts = parts_up_to(at, made) + (permille + STALE_PERMILLE - 1) / STALE_PERMILLE;
    ASSERT(permille > 0);
    return parts <= STALE_PARTS ? at[parts - 1] : STALE_NEVER;
}

uint64_t stale_safe_at(const struct stale *stale, uint64_t permille)
{
    return at_share(stale->hidden, stale->made_safe, permille);
}

uint64_t stale_ms_at(const struct stale *stale, uint64_t permille)
{
    return at_share(stale->expired, stale->made_ms, permille);
}

void stale_encode(const struct stale *stale, struct buf *out)
{
    buf_append_varint(out, STALE_FORMAT);
    buf_append_varint(out, stale->made_safe);
    buf_append_varint(out, stale->made_ms);
    for (size_t i = 0; i < STALE_PARTS; i++)
        buf_append_varint(out, stale->hidden[i]);
    for (size_t i = 0; i < STALE_PARTS; i++)
        buf_append_varint(out, stale->expired[i]);
}

static bool read_ascending(struct reader *r, uint64_t out[STALE_PARTS])
{
    for (size_t i = 0; i < STALE_PARTS; i++) {
        out[i] = read_varint(r);
        if (r->bad || (i > 0 && out[i] < out[i - 1]))
            return false;
    }
    return true;
}

int stale_decode(struct slice raw, struct stale *ret_stale)
{
    struct reader r = reader_of(raw);
    struct stale stale;
    uint64_t format = read_varint(&r);
    if (r.bad)
        return ERR_CORRUPT;
    stale_init(ret_stale);
    if (format != STALE_FORMAT)
        return 0;
    stale.made_safe = read_varint(&r);
    stale.made_ms = read_varint(&r);
    if (!read_ascending(&r, stale.hidden) || !read_ascending(&r, stale.expired))
        return ERR_CORRUPT;
    *ret_stale = stale;
    return 0;
}

/* ---- noting --------------------------------------------------------------- */

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit depends on every bit. */
static uint64_t lot_of(uint64_t number)
{
    uint64_t x = number + UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Keep about half of them. */
static void sample_thin(struct stale_sample *s)
{
    uint32_t kept = 0;
    s->mask = s->mask << 1 | 1;
    for (uint32_t i = 0; i < s->count; i++) {
        if ((s->draws[i].lot & s->mask) == 0)
            s->draws[kept++] = s->draws[i];
    }
    s->count = kept;
}

static void sample_add(struct stale_sample *s, uint64_t at)
{
    uint64_t lot = lot_of(s->seen++);
    ASSERT(s->count <= STALE_SAMPLE);
    while (s->count == STALE_SAMPLE)
        sample_thin(s);
    if ((lot & s->mask) == 0)
        s->draws[s->count++] = (struct stale_draw){.lot = lot, .at = at};
}

void stale_note_hidden(struct stale_notes *notes, uint64_t at)
{
    sample_add(&notes->hidden, at);
}

void stale_note_expiring(struct stale_notes *notes, uint64_t at_ms)
{
    sample_add(&notes->expired, at_ms);
}

static int compare_draws(const void *a, const void *b)
{
    uint64_t x = ((const struct stale_draw *)a)->at, y = ((const struct stale_draw *)b)->at;
    return (x > y) - (x < y);
}

static void sample_parts(struct stale_sample *s, uint64_t records, uint64_t out[STALE_PARTS])
{
    qsort(s->draws, s->count, sizeof s->draws[0], compare_draws);
    for (uint64_t i = 0; i < STALE_PARTS; i++) {
        uint64_t want = (records * (i + 1) + STALE_PARTS - 1) / STALE_PARTS; /* of those seen */
        if (want > s->seen || s->count == 0) {
            out[i] = STALE_NEVER;
            continue;
        }
        uint64_t rank = (want * s->count + s->seen - 1) / s->seen; /* the same of those drawn */
        ASSERT(rank > 0 && rank <= s->count);
        out[i] = s->draws[rank - 1].at;
    }
}

void stale_of(struct stale_notes *notes, uint64_t records, struct stale *ret_stale)
{
    ASSERT(notes->hidden.seen + notes->expired.seen <= records);
    sample_parts(&notes->hidden, records, ret_stale->hidden);
    sample_parts(&notes->expired, records, ret_stale->expired);
}
