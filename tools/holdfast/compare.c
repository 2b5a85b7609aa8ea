/* SPDX-License-Identifier: Apache-2.0 */
#include "compare.h"

static bool sum_equal(const uint64_t a[2], const uint64_t b[2])
{
    return a[0] == b[0] && a[1] == b[1];
}

unsigned compare_checks(const struct hf_check *a, const struct hf_check *b)
{
    unsigned differ = 0;
    ASSERT(a->state == HF_CHECK_DONE && b->state == HF_CHECK_DONE);
    ASSERT(a->index == b->index);
    if (a->term != b->term)
        differ |= COMPARE_TERM;
    if (a->history != b->history)
        differ |= COMPARE_HISTORY;
    if (a->meta != b->meta || a->range_time_ms != b->range_time_ms || a->version != b->version)
        differ |= COMPARE_META;
    if (!sum_equal(a->sum, b->sum) || a->keys != b->keys || a->bytes != b->bytes)
        differ |= COMPARE_KEYS;
    return differ;
}

/* The first check that is alike with the i-th. */
static size_t first_alike(const struct hf_check *const *checks, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (checks[k] != NULL && compare_checks(checks[k], checks[i]) == 0)
            return k;
    }
    return i;
}

size_t compare_groups(const struct hf_check *const *checks, size_t count, size_t *ret_groups)
{
    size_t first[COMPARE_REPLICAS_MAX]; /* of whoever is alike */
    size_t sizes[COMPARE_REPLICAS_MAX] = {0};
    size_t groups = 0;
    ASSERT(count <= COMPARE_REPLICAS_MAX);
    for (size_t i = 0; i < count; i++) {
        ret_groups[i] = SIZE_MAX;
        if (checks[i] == NULL)
            continue;
        first[i] = first_alike(checks, i);
        sizes[first[i]]++;
    }
    for (;; groups++) {
        size_t best = count;
        for (size_t i = 0; i < count; i++) {
            if (sizes[i] > 0 && (best == count || sizes[i] > sizes[best]))
                best = i;
        }
        if (best == count)
            return groups;
        sizes[best] = 0;
        for (size_t i = 0; i < count; i++) {
            if (checks[i] != NULL && first[i] == best)
                ret_groups[i] = groups;
        }
    }
}

/* ---- stretches -------------------------------------------------------------------- */

static int compare_ends(const struct hf_check_part *a, const struct hf_check_part *b)
{
    if (a->is_last || b->is_last)
        return (a->is_last ? 1 : 0) - (b->is_last ? 1 : 0);
    if (a->keyspace != b->keyspace)
        return a->keyspace < b->keyspace ? -1 : 1;
    return slice_compare(slice_of(a->last.data, a->last.len), slice_of(b->last.data, b->last.len));
}

struct tally {
    uint64_t keys;
    uint64_t sum[2];
};

static void tally_add(struct tally *t, const struct hf_check_part *part)
{
    t->keys += part->keys;
    t->sum[0] += part->sum[0];
    t->sum[1] += part->sum[1];
}

/* Note that what lies between `after` and `last` differs. */
static size_t note(struct compare_stretch *stretches, size_t count, size_t max,
                   const struct compare_stretch *one)
{
    bool goes_on = count > 0 && count <= max && one->after != NULL &&
                   compare_ends(stretches[count - 1].last, one->after) == 0;
    if (goes_on) {
        struct compare_stretch *before = &stretches[count - 1];
        before->last = one->last;
        before->keys_a += one->keys_a;
        before->keys_b += one->keys_b;
        return count;
    }
    if (count < max)
        stretches[count] = *one;
    return count + 1;
}

size_t compare_stretches(const struct hf_check *a, const struct hf_check *b,
                         struct compare_stretch *ret_stretches, size_t max)
{
    const struct hf_check_part *after = NULL;
    struct tally x = {0}, y = {0};
    size_t count = 0;
    size_t i = 0, k = 0;
    while (i < a->part_count && k < b->part_count) {
        const struct hf_check_part *p = &a->parts[i];
        const struct hf_check_part *q = &b->parts[k];
        int order = compare_ends(p, q);
        if (order <= 0) {
            tally_add(&x, p);
            i++;
        }
        if (order >= 0) {
            tally_add(&y, q);
            k++;
        }
        if (order != 0)
            continue;
        struct compare_stretch one = {after, p, x.keys, y.keys};
        if (x.keys != y.keys || !sum_equal(x.sum, y.sum))
            count = note(ret_stretches, count, max, &one);
        after = p;
        x = y = (struct tally){0};
    }
    return count;
}
