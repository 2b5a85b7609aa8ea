/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/mix.h"

#include "base/rng.h"

/* clang-format off */
static const struct mix mixes[] = {
    {.name = "mixed", .text = "something of all", .draw = 8,
     .scan = 2, .multi_get = 6, .batch = 12, .class = {56, 16, 14, 14}, .read = 40, .cas = 25,
     .list_bytes = 600},
    {.name = "register", .text = "put, get, delete, compare-and-set and swap of single keys",
     .draw = 2, .scan = 1, .class = {100, 0, 0, 0}, .read = 45, .cas = 40, .list_bytes = 600},
    {.name = "set", .text = "tokens added to growing sets, read as a whole", .draw = 1,
     .scan = 1, .multi_get = 2, .class = {4, 96, 0, 0}, .read = 30, .list_bytes = 900,
     .is_set = true},
    {.name = "counter", .text = "increments", .draw = 1,
     .scan = 1, .batch = 10, .class = {4, 0, 96, 0}, .read = 25, .list_bytes = 600},
    {.name = "append", .text = "short lists, appended to and begun anew", .draw = 1,
     .scan = 1, .batch = 10, .class = {8, 92, 0, 0}, .read = 35, .keys_of = {0, 5, 0, 0},
     .list_bytes = 300},
    {.name = "scan", .text = "pages over all keys while they change", .draw = 1,
     .scan = 12, .multi_get = 6, .batch = 20, .class = {70, 10, 10, 10}, .read = 20, .cas = 20,
     .keys_of = {12, 3, 6, 6}, .list_bytes = 200},
    {.name = "batch", .text = "changes and reads of several keys at once", .draw = 1,
     .scan = 3, .multi_get = 27, .batch = 50, .class = {60, 10, 30, 0}, .read = 30, .cas = 25,
     .list_bytes = 300},
    {.name = "ttl", .text = "values that expire", .draw = 1,
     .scan = 2, .multi_get = 6, .class = {8, 0, 0, 92}, .read = 55, .keys_of = {0, 0, 0, 6},
     .list_bytes = 600},
    {.name = "session", .text = "changes that all have a twin: sent twice, from two connections",
     .scan = 1, .batch = 20, .class = {20, 40, 40, 0}, .read = 25, .cas = 20, .list_bytes = 300,
     .all_twins = true},
};
/* clang-format on */

const struct mix *mix_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(mixes); i++)
        if (strcmp(mixes[i].name, name) == 0)
            return &mixes[i];
    return NULL;
}

const struct mix *mix_draw(struct rng *rng)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(mixes); i++)
        sum += mixes[i].draw;
    uint64_t dice = rng_below(rng, sum);
    size_t i = 0;
    for (; dice >= mixes[i].draw; i++)
        dice -= mixes[i].draw;
    return &mixes[i];
}

const struct mix *mix_at(size_t i)
{
    return i < ARRAY_LEN(mixes) ? &mixes[i] : NULL;
}
