/* SPDX-License-Identifier: Apache-2.0
 *
 * watermark — what a store still takes on as its disk fills up.
 *
 *   OK ──▶ NO_REPLICAS ──▶ NO_PUTS ──▶ READ_ONLY ──▶ FULL      (free space falls)
 *      ◀──             ◀──         ◀──           ◀──           (each clears by itself)
 *
 * A mark is left only when free space is an eighth above its threshold again, so
 * that a store at the edge does not flap.
 *
 * Units   bytes.
 * Threads pure.
 */
#ifndef STORE_WATERMARK_H_
#define STORE_WATERMARK_H_

#include "base/base.h"

enum watermark {
    WATERMARK_OK,
    WATERMARK_NO_REPLICAS, /* no new replica is taken in */
    WATERMARK_NO_PUTS,     /* writes that grow are refused; deletes go on */
    WATERMARK_READ_ONLY,   /* nothing is proposed but what moves replicas away */
    WATERMARK_FULL,        /* … nor that: half of what READ_ONLY leaves is gone */
    WATERMARK_NR,
};

struct watermark_limits {
    uint64_t no_replicas_bytes; /* free space below which the mark stands */
    uint64_t no_puts_bytes;
    uint64_t read_only_bytes;
};

/* The mark for `free_bytes`, given the one in force. Thresholds must not grow
 * from one mark to the next. */
enum watermark watermark_next(enum watermark now, uint64_t free_bytes,
                              const struct watermark_limits *limits);

/* "ok", "no-replicas", "no-puts", "read-only", "full". */
const char *watermark_name(enum watermark mark);

#endif
