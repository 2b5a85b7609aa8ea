/* SPDX-License-Identifier: Apache-2.0 */
#include "store/space.h"

bool space_suffices(const struct space_voter *voters, uint32_t count, enum watermark mark)
{
    uint32_t able = 0;
    for (uint32_t i = 0; i < count; i++)
        able += voters[i].is_live && voters[i].mark < mark;
    return able > count / 2;
}

enum watermark space_judge(const struct space_voter *voters, uint32_t count)
{
    enum watermark judged = WATERMARK_OK;
    if (!space_suffices(voters, count, WATERMARK_NR))
        return judged; /* there is no majority anyway */
    for (enum watermark mark = WATERMARK_NO_REPLICAS; mark < WATERMARK_NR; mark++) {
        if (!space_suffices(voters, count, mark))
            judged = mark;
    }
    return judged;
}

/* The low byte is a mark, and one; then a bit for a slow disk, and one for damage. */
enum { TOLD_MARK = 0xff, TOLD_SLOW = 0x100, TOLD_DAMAGED = 0x200 };

uint32_t space_tell(enum watermark mark, bool is_slow, bool is_damaged)
{
    ASSERT(mark < WATERMARK_NR);
    return ((uint32_t)mark + 1) | (is_slow ? (uint32_t)TOLD_SLOW : 0) |
           (is_damaged ? (uint32_t)TOLD_DAMAGED : 0);
}

enum watermark space_told(uint32_t told)
{
    uint32_t most = (uint32_t)WATERMARK_NR;
    uint32_t mark = told & TOLD_MARK;
    return mark == 0 ? WATERMARK_OK : (enum watermark)(MIN(mark, most) - 1);
}

bool space_told_damaged(uint32_t told)
{
    return (told & TOLD_DAMAGED) != 0;
}

bool space_told_pace_good(uint32_t told)
{
    return told != 0 && (told & TOLD_SLOW) == 0;
}
