/* SPDX-License-Identifier: Apache-2.0 */
#include "stitch.h"

#include <string.h>

void stitch_init(struct stitch *s, uint8_t prefix, bool holds_none, void (*drop)(void *data))
{
    *s = (struct stitch){.drop = drop, .prefix = prefix, .holds_none = holds_none};
    s->begin[0] = s->far[0] = prefix;
    s->begin_len = s->far_len = 1;
}

static struct stitch_piece *last_of(struct stitch *s)
{
    return s->count == 0 ? NULL : &s->held[s->count - 1];
}

static void drop_last(struct stitch *s)
{
    s->drop(s->held[--s->count].data);
}

void stitch_fini(struct stitch *s)
{
    while (s->count > 0)
        drop_last(s);
}

struct slice stitch_place(const struct stitch *s)
{
    ASSERT(!s->is_over);
    return s->count == 0 ? slice_of(s->begin, s->begin_len) : s->held[s->count - 1].end;
}

/* Has it the place, and more behind it? */
static bool has_place(const struct stitch_piece *piece, struct slice place)
{
    return slice_compare(piece->start, place) <= 0 &&
           (piece->end.len == 0 || slice_compare(place, piece->end) < 0);
}

static bool is_before_end(struct slice place, const struct stitch_piece *piece)
{
    return piece->end.len == 0 || slice_compare(place, piece->end) < 0;
}

/* Those that it has keys of go, if it is newer than all of them. */
static bool make_way(struct stitch *s, const struct stitch_piece *found)
{
    for (const struct stitch_piece *last;
         (last = last_of(s)) != NULL && is_before_end(found->start, last);) {
        if (found->span_epoch <= last->span_epoch)
            return false; /* it is the one that is out of date */
        drop_last(s);
    }
    return true;
}

/* Does it begin where what is held ends? The first one of all may begin before all places. */
static bool fits(struct stitch *s, const struct stitch_piece *found)
{
    struct slice begin = slice_of(s->begin, s->begin_len);
    if (s->count == 0 && (s->holds_none || !s->has_gone))
        return has_place(found, begin);
    return slice_equal(found->start, s->count == 0 ? begin : last_of(s)->end);
}

/* Is all that could go gone, and it still has keys of what went out? */
static bool is_torn(const struct stitch *s, const struct stitch_piece *found)
{
    return s->count == 0 && s->has_gone &&
           slice_compare(found->start, slice_of(s->begin, s->begin_len)) < 0;
}

static void note_reach(struct stitch *s, struct slice end)
{
    s->is_over = end.len == 0 || end.data[0] > s->prefix;
    s->is_farther = s->is_over || slice_compare(end, slice_of(s->far, s->far_len)) > 0;
    if (!s->is_farther || s->is_over)
        return;
    memcpy(s->far, end.data, end.len);
    s->far_len = end.len;
}

enum stitch_verdict stitch_take(struct stitch *s, const struct stitch_piece *found)
{
    ASSERT(!s->is_over && s->count < STITCH_HELD);
    if (found->end.len > STITCH_PLACE_MAX || !has_place(found, stitch_place(s)) ||
        !make_way(s, found))
        return STITCH_MISFIT;
    if (!fits(s, found))
        return is_torn(s, found) ? STITCH_TORN : STITCH_MISFIT;
    s->held[s->count++] = *found;
    note_reach(s, found->end);
    return STITCH_FITS;
}

bool stitch_is_farther(const struct stitch *s)
{
    return s->is_farther;
}

bool stitch_is_over(const struct stitch *s)
{
    return s->is_over;
}

void *stitch_pop(struct stitch *s)
{
    if (s->count == 0 || (s->count < STITCH_HELD && !s->holds_none && !s->is_over))
        return NULL;
    struct stitch_piece first = s->held[0];
    s->has_gone = true;
    if (!s->is_over) { /* it has been measured */
        memcpy(s->begin, first.end.data, first.end.len);
        s->begin_len = first.end.len;
    }
    memmove(&s->held[0], &s->held[1], --s->count * sizeof s->held[0]);
    return first.data;
}
