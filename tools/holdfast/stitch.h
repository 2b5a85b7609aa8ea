/* SPDX-License-Identifier: Apache-2.0
 *
 * stitch — ranges that are found one after the other, put together so that they cover the keys
 * once.
 *
 *   stitch_place() ─▶ who has this place? ─▶ stitch_take() ─▶ … until stitch_is_over()
 *                 ▲────────── it does not fit ────┘ └▶ stitch_pop(): the first one is final
 *
 * What is found is no cut in time: meanwhile ranges are split and merged, and a store that is
 * behind tells of ranges that are no more. Of two that overlap the one with the greater span
 * epoch is the newer, so the last ones are held back, and go if a newer one has their keys.
 *
 * Ownership  what is taken is the stitch's, and goes by its `drop`, or out by stitch_pop(); the
 *            keys of a piece are borrowed as long as it is held.
 * Errors     none: what does not fit stays the caller's, who asks again as long as it likes.
 * Limits     STITCH_HELD pieces can still be taken back.
 */
#ifndef TOOLS_HOLDFAST_STITCH_H_
#define TOOLS_HOLDFAST_STITCH_H_

#include "base/base.h"

enum {
    STITCH_HELD = 64,
    STITCH_PLACE_MAX = 4096 + 64, /* bytes of a place */
};

struct stitch_piece {
    struct slice start;
    struct slice end; /* empty: behind all places */
    uint64_t span_epoch;
    void *data;
};

enum stitch_verdict {
    STITCH_FITS,   /* it was taken */
    STITCH_MISFIT, /* it was not: ask at stitch_place(), which may be another one now */
    STITCH_TORN,   /* it was not: it has keys of pieces that are gone, and newer ones */
};

struct stitch {
    /* private */
    void (*drop)(void *data);
    uint8_t prefix; /* of all places … */
    bool holds_none;
    bool has_gone; /* something went out, and cannot be taken back */
    bool is_over;
    bool is_farther; /* than ever before: what was taken last */
    size_t count;
    struct stitch_piece held[STITCH_HELD]; /* in the order of their keys */
    size_t begin_len;                      /* where the first that is held begins … */
    uint8_t begin[STITCH_PLACE_MAX];
    size_t far_len; /* … and as far as it ever came */
    uint8_t far[STITCH_PLACE_MAX];
};

/* For all places that begin with this byte. `holds_none`: what was taken is to be popped at
 * once, and nothing is taken back: the pieces may overlap, but leave nothing out. */
void stitch_init(struct stitch *s, uint8_t prefix, bool holds_none, void (*drop)(void *data));
void stitch_fini(struct stitch *s);

/* Which one is asked for next; not when it is over. Until the next call. */
struct slice stitch_place(const struct stitch *s);

/* Take in what was found at stitch_place(), if it fits. */
enum stitch_verdict stitch_take(struct stitch *s, const struct stitch_piece *found);

/* Does the last one taken reach farther than any before? Else it only fills what was taken back. */
bool stitch_is_farther(const struct stitch *s);

/* The last place is had: what is held is final. */
bool stitch_is_over(const struct stitch *s);

/* What must go out before the next one is taken in, and at the end all; NULL: nothing. It is
 * the caller's from now on. */
void *stitch_pop(struct stitch *s);

#endif
