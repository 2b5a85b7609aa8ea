/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hist.h"

static size_t hist_index(uint64_t value)
{
    ASSERT(value <= HIST_VALUE_MAX);
    if (value < HIST_SUB)
        return (size_t)value;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(value);
    unsigned shift = exponent - HIST_SUB_BITS;
    size_t index = (size_t)(shift + 1) * HIST_SUB + (size_t)((value >> shift) - HIST_SUB);
    ASSERT(index < HIST_BUCKETS);
    return index;
}

/* The greatest value that falls into bucket `index`. */
static uint64_t hist_upper(size_t index)
{
    ASSERT(index < HIST_BUCKETS);
    if (index < HIST_SUB)
        return index;
    unsigned shift = (unsigned)(index / HIST_SUB) - 1;
    uint64_t low = ((uint64_t)(index % HIST_SUB) + HIST_SUB) << shift;
    return low + (UINT64_C(1) << shift) - 1;
}

void hist_init(struct hist *hist)
{
    memset(hist, 0, sizeof *hist);
    hist->min = UINT64_MAX;
}

void hist_add_many(struct hist *hist, uint64_t value, uint64_t times)
{
    if (times == 0)
        return;
    value = MIN(value, HIST_VALUE_MAX);
    hist->buckets[hist_index(value)] += times;
    hist->count += times;
    hist->sum += value * times;
    hist->min = MIN(hist->min, value);
    hist->max = MAX(hist->max, value);
}

void hist_add(struct hist *hist, uint64_t value)
{
    hist_add_many(hist, value, 1);
}

void hist_merge(struct hist *hist, const struct hist *from)
{
    ASSERT(hist != from);
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        hist->buckets[i] += from->buckets[i];
    hist->count += from->count;
    hist->sum += from->sum;
    hist->min = MIN(hist->min, from->min);
    hist->max = MAX(hist->max, from->max);
}

uint64_t hist_quantile(const struct hist *hist, uint32_t part, uint32_t of)
{
    ASSERT(of > 0);
    ASSERT(part <= of);
    if (hist->count == 0)
        return 0;
    /* ceil(count * part / of) without overflow, at least the first */
    uint64_t whole = hist->count / of * part;
    uint64_t rest = (hist->count % of * part + of - 1) / of;
    uint64_t rank = MAX(whole + rest, UINT64_C(1));
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += hist->buckets[i];
        if (seen >= rank)
            return MAX(MIN(hist_upper(i), hist->max), hist->min);
    }
    ASSERT(false); /* (H1) */
    return 0;
}

uint64_t hist_permille(const struct hist *hist, unsigned permille)
{
    return hist_quantile(hist, permille, 1000);
}

uint64_t hist_mean(const struct hist *hist)
{
    return hist->count == 0 ? 0 : hist->sum / hist->count;
}

void hist_check(const struct hist *hist)
{
    uint64_t total = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        total += hist->buckets[i];
    ASSERT(total == hist->count);
    ASSERT(hist->count == 0 || hist->min <= hist->max);
    ASSERT(hist->max <= HIST_VALUE_MAX);
}
