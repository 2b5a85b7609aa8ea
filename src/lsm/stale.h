/* SPDX-License-Identifier: Apache-2.0
 *
 * stale — from when on how much of a table is garbage, told by the table itself.
 *
 * What gc.h would drop of a table follows from two numbers of the owner that grow: the safe
 * version and the range time. So a table notes, while it is made, for each tenth of its records
 * the safe version (the range time) at which so many are garbage:
 *
 *   hidden[i]    (i + 1) tenths of the records are hidden by newer ones of the same table, or
 *                are deletes, once the safe version is there
 *   expired[i]   (i + 1) tenths, none of them counted above, have expired once the range time is
 *
 * STALE_NEVER where there are not so many. Both are made of a sample of STALE_SAMPLE records,
 * drawn without regard to their order: right to some hundredths. What had gone when the table was
 * made, by the safe version and range time of then, is not in it; what could not go then (a delete
 * above other levels, a value of a version that was not yet safe) does not count as having become
 * garbage since: so what a compaction makes does not ask for another one.
 *
 * On disk    a block of its own that no handle names (table_format.h):
 *            1 varint | made_safe varint | made_ms varint |
 *            hidden varint × STALE_PARTS | expired varint × STALE_PARTS
 */
#ifndef LSM_STALE_H_
#define LSM_STALE_H_

#include "base/base.h"
#include "base/buf.h"

enum { STALE_PARTS = 10, STALE_SAMPLE = 512, STALE_PERMILLE = 1000 / STALE_PARTS };
#define STALE_NEVER UINT64_MAX

struct stale {
    uint64_t hidden[STALE_PARTS]; /* ascending, as the next */
    uint64_t expired[STALE_PARTS];
    uint64_t made_safe, made_ms; /* what gc.h went by when the table was made; 0: by nothing */
};

/* Nothing ever is. */
void stale_init(struct stale *stale);

/* Permille of the records that have become garbage since it was made, a multiple of
 * STALE_PERMILLE and at most 1000. */
uint64_t stale_share(const struct stale *stale, uint64_t safe_version, uint64_t range_time_ms);

/* The least safe version (range time) at which the share is `permille` by it alone;
 * STALE_NEVER. */
uint64_t stale_safe_at(const struct stale *stale, uint64_t permille);
uint64_t stale_ms_at(const struct stale *stale, uint64_t permille);

/* Append; and back. Of a format that is not known here nothing is taken, nor what a later build
 * may append: it is a hint, and the table is whole without it. ERR_CORRUPT. */
void stale_encode(const struct stale *stale, struct buf *out);
int stale_decode(struct slice raw, struct stale *ret_stale);

/* ---- noting ------------------------------------------------------------- */

struct stale_draw {
    uint64_t lot; /* by which it was drawn */
    uint64_t at;
};

struct stale_sample {
    uint64_t seen;
    uint64_t mask; /* kept is whose lot has none of these bits */
    uint32_t count;
    struct stale_draw draws[STALE_SAMPLE];
};

/* Zeroed, nothing was noted. */
struct stale_notes {
    struct stale_sample hidden, expired;
};

/* A record that is garbage when the safe version (the range time) is `at`. */
void stale_note_hidden(struct stale_notes *notes, uint64_t at);
void stale_note_expiring(struct stale_notes *notes, uint64_t at_ms);

/* Of a table of `records`. */
void stale_of(struct stale_notes *notes, uint64_t records, struct stale *ret_stale);

#endif
