/* SPDX-License-Identifier: Apache-2.0
 *
 * seams — from where on the versions of a range speak of its keys (ranges.md, Merge). A
 * range that takes in another goes on with one line of versions; of the keys that came
 * with the right range, what was written before stands at versions of the right's line.
 * A version that the left gave before the merge may be below one of these that was
 * acknowledged long before it was given: to read such a key there would miss that write.
 *
 *   left   ──── v ───────────────────┐
 *   right  ── w, acknowledged ── f ──┴── …    v < w: at v there is no w; f: its last version
 *
 * So keys from the right's start on are not read at versions up to f, whoever gave them:
 * a number does not tell of which line it is, and of those up to f some are the right's, at
 * which what the left had written by then may be missing. Part of the meta, so replicated; copied
 * to both halves of a split; gone once the safe point has passed it.
 *
 *   encoded:  u8 count | count times: u64 version | varint-prefixed bytes: key
 *
 * Ownership  seams own their keys, in on-disk form.
 * Invariants (J1) keys and versions both grow strictly: what a seam says holds for all keys
 *            from its own on, up to the range's end.
 * Limits     SEAMS_MAX; a merge beyond raises the last one, which covers its keys, too.
 */
#ifndef RANGE_SEAMS_H_
#define RANGE_SEAMS_H_

#include "base/coding.h"
#include "range/descriptor.h"

enum {
    SEAMS_MAX = 4,
    SEAMS_LEN_MAX = 1 + SEAMS_MAX * (8 + 3 + RANGE_KEY_MAX), /* bytes */
};

struct seam {
    uint64_t version; /* the least at which keys from `key` on may be read; > 0 */
    uint8_t *key;     /* owned */
    size_t key_len;   /* > 0 */
};

struct seams {
    struct seam all[SEAMS_MAX];
    uint32_t count;
};

/* Empty, owning nothing. */
void seams_init(struct seams *j);

/* Accepts zeroes. */
void seams_fini(struct seams *j);

/* Deep copy into `j`, which owns nothing. ERR_NOMEM. */
int seams_copy(struct seams *j, const struct seams *from);

/* The range took in one that starts at `key`, behind all that is known, and all of whose
 * versions were below `version`. ERR_NOMEM. */
int seams_add(struct seams *j, struct slice key, uint64_t version);

/* Nothing is read below `version` any more: forget what only spoke of that. */
void seams_forget_below(struct seams *j, uint64_t version);

/* The range ends at `end` now. */
void seams_cut(struct seams *j, struct slice end);

/* The least version at which `key` may be read; 0: any. */
uint64_t seams_least_at(const struct seams *j, struct slice key);

/* The same of the keys right below `end`. */
uint64_t seams_least_below(const struct seams *j, struct slice end);

/* Where the keys end that may be read at `version`, above `key`, which may; empty: at the
 * range's end. Borrowed. */
struct slice seams_end(const struct seams *j, struct slice key, uint64_t version);

/* Append it. */
void seams_encode(const struct seams *j, struct buf *out);

/* The whole of `in`; `ret` owns nothing before. ERR_CORRUPT, ERR_NOMEM. */
int seams_decode(struct slice in, struct seams *ret, struct err *err);

/* Assert J1 and the limits. */
void seams_check(const struct seams *j);

#endif
