/* SPDX-License-Identifier: Apache-2.0
 *
 * lines — lines of the log about what may happen often: so many in a second, and how many there
 * would have been more.
 *
 * Units   microseconds.
 * Threads pure.
 */
#ifndef STORE_LINES_H_
#define STORE_LINES_H_

#include "base/hash.h"

enum { LINES_MAX = 10, LINES_EVERY_US = 1000 * 1000 };

struct lines {
    uint64_t since_us; /* begin of the second */
    uint32_t told;
    uint64_t untold;
};

/* May another be told? *ret_untold: so many were not in the second before, which is to be said
 * first; 0 mostly. */
static inline bool lines_take(struct lines *l, uint64_t now_us, uint64_t *ret_untold)
{
    *ret_untold = 0;
    if (now_us - l->since_us >= LINES_EVERY_US) {
        *ret_untold = l->untold;
        *l = (struct lines){.since_us = now_us};
    }
    if (l->told == LINES_MAX) {
        l->untold++;
        return false;
    }
    l->told++;
    return true;
}

/* One of `count` for the lines that say `text`: a flood of one thing that is said does not hide
 * another. Texts that differ in digits alone say the same; others may share one by chance. */
static inline struct lines *lines_of_text(struct lines *all, size_t count, const char *text)
{
    uint64_t h = 0;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9')
            h = hash_mix(h, (uint8_t)*text);
    }
    return &all[h % count];
}

#endif
