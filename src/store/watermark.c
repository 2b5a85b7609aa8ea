/* SPDX-License-Identifier: Apache-2.0 */
#include "store/watermark.h"

static const char *const watermark_names[WATERMARK_NR] = {"ok", "no-replicas", "no-puts",
                                                          "read-only", "full"};

static uint64_t threshold_of(enum watermark mark, const struct watermark_limits *limits)
{
    switch (mark) {
    case WATERMARK_NO_REPLICAS:
        return limits->no_replicas_bytes;
    case WATERMARK_NO_PUTS:
        return limits->no_puts_bytes;
    case WATERMARK_READ_ONLY:
        return limits->read_only_bytes;
    case WATERMARK_FULL:
        return limits->read_only_bytes / 2;
    default:
        return 0;
    }
}

enum watermark watermark_next(enum watermark now, uint64_t free_bytes,
                              const struct watermark_limits *limits)
{
    ASSERT(now < WATERMARK_NR);
    ASSERT(limits->no_replicas_bytes >= limits->no_puts_bytes);
    ASSERT(limits->no_puts_bytes >= limits->read_only_bytes);
    enum watermark mark = WATERMARK_OK;
    for (enum watermark m = WATERMARK_NO_REPLICAS; m < WATERMARK_NR; m++) {
        uint64_t limit = threshold_of(m, limits);
        uint64_t leave = m <= now ? limit + limit / 8 : limit;
        if (free_bytes < leave)
            mark = m;
    }
    return mark;
}

const char *watermark_name(enum watermark mark)
{
    ASSERT(mark < WATERMARK_NR);
    return watermark_names[mark];
}
