/* SPDX-License-Identifier: Apache-2.0
 *
 * From a history that is not linearizable to a small one for people:
 *  - the shortest part from the beginning that is wrong already (linearizability is
 *    prefix-closed); what had not returned by then becomes INFO;
 *  - then whatever can be left out, in ever smaller pieces. Only operations are left
 *    out whose absence cannot make a right history wrong: those that change nothing,
 *    and changes that nobody saw.
 */
#include <stdlib.h>

#include "support/lin/lin_internal.h"

enum { TRIES_MAX = 3000 };

/* Do the operations of this key only see values by being equal to them, so that a
 * value that none of them names cannot have helped any? */
static bool sees_by_equality(const struct lin_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct lin_item *it = &items[i];
        if (it->outcome == LIN_MISMATCH || it->kind == LIN_INCREMENT || it->kind == LIN_APPEND ||
            it->op->expect_version != 0)
            return false;
    }
    return true;
}

static void mark_seen(const struct lin_item *items, size_t count, uint8_t *seen)
{
    for (size_t i = 0; i < count; i++) {
        const struct lin_item *it = &items[i];
        if (it->kind == LIN_READ || (it->kind == LIN_SWAP && it->has_result))
            seen[it->result] = 1;
        if (it->kind == LIN_CAS)
            seen[it->expect] = 1;
    }
}

/* What the register holds after a change of this kind, where that is plain. */
static uint32_t value_after(const struct lin_item *it)
{
    return it->kind == LIN_DELETE ? 0 : it->arg;
}

size_t lin_drop_unseen(struct lin_item *items, size_t count, const struct lin_values *values)
{
    if (!sees_by_equality(items, count))
        return count;
    uint8_t *seen = lin_alloc(values->count, 1);
    size_t n = 0;
    mark_seen(items, count, seen);
    for (size_t i = 0; i < count; i++) {
        const struct lin_item *it = &items[i];
        if (it->outcome != LIN_INFO || seen[value_after(it)])
            items[n++] = *it;
    }
    free(seen);
    return n;
}

static bool is_bad(const struct lin_item *items, size_t count, struct lin_values *values,
                   uint64_t states_max)
{
    struct lin_search found;
    struct lin_item *copy = lin_alloc(count, sizeof *copy);
    if (count > 0)
        memcpy(copy, items, count * sizeof *copy);
    size_t n = lin_drop_unseen(copy, count, values);
    lin_search(copy, n, values, states_max, false, &found);
    free(copy);
    return found.verdict == LIN_BAD;
}

static int compare_times(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* What was known at `time`. */
static size_t prefix_at(const struct lin_item *items, size_t count, uint64_t time,
                        struct lin_item *out)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i].invoke > time)
            continue;
        out[n] = items[i];
        if (items[i].outcome != LIN_INFO && items[i].ret > time) {
            if (lin_is_pure(&items[i]))
                continue;
            out[n].outcome = LIN_INFO;
            out[n].version = 0;
        }
        n++;
    }
    return n;
}

static size_t shortest_prefix(struct lin_item *items, size_t count, struct lin_values *values,
                              uint64_t states_max)
{
    uint64_t *times = lin_alloc(count, sizeof *times);
    struct lin_item *part = lin_alloc(count, sizeof *part);
    size_t lo = 0, hi = 0;
    for (size_t i = 0; i < count; i++)
        if (items[i].outcome != LIN_INFO)
            times[hi++] = items[i].ret;
    qsort(times, hi, sizeof *times, compare_times);
    ASSERT(hi > 0);
    hi--;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        size_t n = prefix_at(items, count, times[mid], part);
        if (is_bad(part, n, values, states_max))
            hi = mid;
        else
            lo = mid + 1;
    }
    size_t n = prefix_at(items, count, times[hi], part);
    if (is_bad(part, n, values, states_max)) {
        memcpy(items, part, n * sizeof *items);
        count = n;
    }
    free(times);
    free(part);
    return count;
}

/* May it go without making a right history wrong? `seen` counts what the others see. */
static bool may_go(const struct lin_item *it, bool by_equality, const uint8_t *seen)
{
    return lin_is_pure(it) || (by_equality && !seen[value_after(it)]);
}

/* Leave out what may go of [from, from + len); the count after, kept only if still
 * wrong. */
static size_t without(const struct lin_item *items, size_t count, size_t from, size_t len,
                      struct lin_item *out, struct lin_values *values)
{
    bool by_equality = sees_by_equality(items, count);
    uint8_t *seen = lin_alloc(values->count, 1);
    size_t n = 0;
    mark_seen(items, count, seen);
    for (size_t i = 0; i < count; i++) {
        bool goes = i >= from && i - from < len && may_go(&items[i], by_equality, seen);
        if (!goes)
            out[n++] = items[i];
    }
    free(seen);
    return n;
}

size_t lin_shrink(struct lin_item *items, size_t count, struct lin_values *values,
                  uint64_t states_max)
{
    count = shortest_prefix(items, count, values, states_max);
    struct lin_item *part = lin_alloc(count, sizeof *part);
    int tries = 0;
    bool has_shrunk = true;
    size_t len = count;
    while (len > 0 && tries < TRIES_MAX) {
        has_shrunk = false;
        for (size_t from = 0; from < count && tries < TRIES_MAX;) {
            size_t n = without(items, count, from, len, part, values);
            if (n < count && ++tries > 0 && is_bad(part, n, values, states_max)) {
                memcpy(items, part, n * sizeof *items);
                count = n;
                has_shrunk = true;
            } else {
                from += len;
            }
        }
        if (!(len == 1 && has_shrunk)) /* once more, as long as single ones go */
            len /= 2;
    }
    free(part);
    return count;
}
