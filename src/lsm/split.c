/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/split.h"

#include <stdlib.h>

enum { SAMPLES_MAX = 4096 }; /* above it the ends of the pieces must do */

/* So many bytes of one input end about here. */
struct sample {
    struct slice key;
    uint64_t bytes;
};

static int compare_samples(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    return slice_compare(x->key, y->key);
}

/* A sample for each partition of the index that the piece shows, the last one at its end. */
static size_t sample_parts(const struct piece *p, struct sample *out)
{
    const struct table_parts *parts = &p->table->parts;
    size_t n = 0;
    for (size_t i = 0; i < parts->count; i++) {
        const struct table_part *part = &parts->items[i];
        bool is_last = i + 1 == parts->count || slice_compare(part->key, p->hi) >= 0;
        if (slice_compare(part->key, p->lo) < 0)
            continue;
        out[n++] =
            (struct sample){.key = is_last ? p->hi : part->key, .bytes = part->at.data_bytes};
        if (is_last)
            break;
    }
    return n;
}

static int samples_of(const struct pick *pick, struct sample **ret_samples, size_t *ret_count)
{
    size_t most = 0, n = 0;
    for (size_t i = 0; i < pick->input_count; i++)
        most += pick->inputs[i].piece->table->parts.count;
    bool is_fine = most <= SAMPLES_MAX;
    most = is_fine ? most : pick->input_count;
    struct sample *samples = calloc(MAX(most, (size_t)1), sizeof *samples);
    if (samples == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < pick->input_count; i++) {
        const struct piece *p = pick->inputs[i].piece;
        if (is_fine)
            n += sample_parts(p, samples + n);
        else
            samples[n++] = (struct sample){.key = p->hi, .bytes = p->bytes};
    }
    qsort(samples, n, sizeof *samples, compare_samples);
    *ret_samples = samples;
    *ret_count = n;
    return 0;
}

int split_pick(const struct pick *pick, size_t shares_max, uint64_t bytes_min,
               struct split *ret_split)
{
    struct sample *samples = NULL;
    struct split split = {.count = 0};
    size_t count = 0;
    uint64_t total = 0, before = 0, begun = 0;
    *ret_split = split;
    if (shares_max <= 1)
        return 0;
    int rv = samples_of(pick, &samples, &count);
    if (rv != 0)
        return rv;
    for (size_t i = 0; i < count; i++)
        total += samples[i].bytes;
    uint64_t shares = MIN(MIN(shares_max, (size_t)SPLIT_SHARES_MAX), total / MAX(bytes_min, 1));
    struct slice last = pick->lo;
    for (size_t i = 0; i < count && split.count + 1 < shares; i++) {
        struct slice key = samples[i].key;
        before += samples[i].bytes;
        bool is_due = before >= total / shares * (split.count + 1);
        bool is_repeated = i + 1 < count && slice_equal(samples[i + 1].key, key);
        if (!is_due || is_repeated || before - begun < bytes_min || total - before < bytes_min ||
            slice_compare(key, last) <= 0 || slice_compare(key, pick->hi) >= 0)
            continue;
        split.borders[split.count++] = key;
        begun = before;
        last = key;
    }
    free(samples);
    *ret_split = split;
    return 0;
}
