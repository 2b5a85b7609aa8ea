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

uint32_t space_tell(enum watermark mark)
{
    ASSERT(mark < WATERMARK_NR);
    return (uint32_t)mark + 1;
}

enum watermark space_told(uint32_t told)
{
    uint32_t most = (uint32_t)WATERMARK_READ_ONLY + 1;
    return told == 0 ? WATERMARK_OK : (enum watermark)(MIN(told, most) - 1);
}
