/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/value_gc.h"

#include <stdlib.h>

#include "base/plant.h"

enum { SLACK_PERCENT = 2 }; /* emptied beyond what is needed */

struct use {
    const struct piece *file;
    uint64_t live;
    bool is_stuck; /* damage keeps it from being emptied */
};

uint64_t piece_ref_bytes(const struct piece *p, const struct table_ref *ref)
{
    const struct table_props *props = &p->table->props;
    if (!p->is_cut || props->data_bytes == 0 || p->bytes >= props->data_bytes)
        return ref->bytes;
    /* In permille: the product of two counts of bytes might not fit. */
    uint64_t share = p->bytes * 1000 / props->data_bytes;
    return MAX(ref->bytes / 1000 * share + ref->bytes % 1000 * share / 1000, (uint64_t)1);
}

uint64_t piece_value_bytes(const struct piece *p)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->table->props.ref_count; i++)
        bytes += piece_ref_bytes(p, &p->table->props.refs[i]);
    return bytes;
}

static struct use *use_find(struct use *uses, size_t count, uint64_t file)
{
    size_t lo = 0, hi = count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (uses[mid].file->file < file)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < count && uses[lo].file->file == file ? &uses[lo] : NULL;
}

static bool is_bad(const struct piece *p)
{
    return atomic_load_explicit(&p->table->is_bad, memory_order_relaxed);
}

static void use_piece(struct use *uses, size_t count, const struct piece *p)
{
    for (size_t i = 0; i < p->table->props.ref_count; i++) {
        const struct table_ref *ref = &p->table->props.refs[i];
        struct use *use = use_find(uses, count, ref->file);
        if (use == NULL)
            continue;
        use->live = MIN(use->live + piece_ref_bytes(p, ref), use->file->bytes);
        use->is_stuck |= is_bad(p);
    }
}

/* One for each value file of `v`, by number, as `of` uses them; NULL when memory is out. */
static struct use *uses_of(const struct version *v, const struct version *of)
{
    size_t count = v->count[VERSION_VALUES];
    struct use *uses = calloc(MAX(count, (size_t)1), sizeof *uses);
    if (uses == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        uses[i].file = v->at[VERSION_VALUES][i];
        uses[i].is_stuck = is_bad(uses[i].file);
    }
    unsigned level = PLANTED(value_file_gone_early) && v != of ? 1 : 0;
    for (; count > 0 && level < LSM_LEVELS; level++) {
        for (size_t i = 0; i < of->count[level]; i++)
            use_piece(uses, count, of->at[level][i]);
    }
    return uses;
}

int value_usage(const struct version *v, uint64_t *ret_bytes, uint64_t *ret_live)
{
    uint64_t bytes = 0, live = 0;
    struct use *uses = v->count[VERSION_VALUES] > 0 ? uses_of(v, v) : NULL;
    if (uses == NULL && v->count[VERSION_VALUES] > 0)
        return ERR_NOMEM;
    for (size_t i = 0; i < v->count[VERSION_VALUES]; i++) {
        bytes += uses[i].file->bytes;
        live += uses[i].live;
    }
    free(uses);
    *ret_bytes = bytes;
    *ret_live = live;
    return 0;
}

/* Can every table say what it refers to? */
static bool knows_refs(const struct version *v)
{
    for (unsigned level = 0; level < LSM_LEVELS; level++) {
        for (size_t i = 0; i < v->count[level]; i++) {
            if (v->at[level][i]->table->damage[0] != 0)
                return false;
        }
    }
    return true;
}

uint64_t value_garbage_permille(const struct version *v)
{
    uint64_t bytes = 0, garbage = 0;
    size_t count = v->count[VERSION_VALUES];
    struct use *uses = count > 0 && knows_refs(v) ? uses_of(v, v) : NULL;
    for (size_t i = 0; uses != NULL && i < count; i++) {
        bytes += uses[i].file->bytes;
        garbage += uses[i].is_stuck ? 0 : uses[i].file->bytes - uses[i].live;
    }
    free(uses);
    return garbage * 1000 / MAX(bytes, (uint64_t)1);
}

/* ---- victims ------------------------------------------------------------ */

static uint64_t garbage_share(const struct use *use)
{
    uint64_t bytes = MAX(use->file->bytes, (uint64_t)1);
    return (bytes - use->live) * 1000 / bytes;
}

/* Most garbage first. */
static int compare_use(const void *a, const void *b)
{
    const struct use *x = a, *y = b;
    uint64_t gx = garbage_share(x), gy = garbage_share(y);
    if (gx != gy)
        return gx > gy ? -1 : 1;
    return (x->file->file > y->file->file) - (x->file->file < y->file->file);
}

static int compare_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int value_victims_find(const struct version *v, const struct lsm_options *options,
                       struct value_victims *ret_victims)
{
    size_t count = v->count[VERSION_VALUES];
    uint64_t bytes = 0, live = 0, percent = options->value_garbage_percent;
    *ret_victims = (struct value_victims){0};
    if (count == 0)
        return 0;
    struct use *uses = uses_of(v, v);
    if (uses == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        bytes += uses[i].file->bytes;
        live += uses[i].live;
    }
    uint64_t garbage = bytes - live, goal = bytes / 100 * (percent - MIN(percent, SLACK_PERCENT));
    if (garbage > 0 && garbage * 100 >= bytes * percent)
        ret_victims->files = calloc(count, sizeof *ret_victims->files);
    qsort(uses, count, sizeof *uses, compare_use);
    for (size_t i = 0; i < count && ret_victims->files != NULL && garbage > goal; i++) {
        uint64_t of_file = uses[i].file->bytes - uses[i].live;
        if (of_file == 0)
            break;
        garbage -= of_file;
        if (!uses[i].is_stuck)
            ret_victims->files[ret_victims->count++] = uses[i].file->file;
    }
    if (ret_victims->count > 0)
        qsort(ret_victims->files, ret_victims->count, sizeof(uint64_t), compare_number);
    free(uses);
    return 0;
}

int value_victims_copy(struct value_victims *to, const struct value_victims *from)
{
    *to = (struct value_victims){0};
    if (from->count == 0)
        return 0;
    to->files = calloc(from->count, sizeof *to->files);
    if (to->files == NULL)
        return ERR_NOMEM;
    memcpy(to->files, from->files, from->count * sizeof *to->files);
    to->count = from->count;
    return 0;
}

bool value_victims_has(const struct value_victims *victims, uint64_t file)
{
    return victims->count > 0 &&
           bsearch(&file, victims->files, victims->count, sizeof file, compare_number) != NULL;
}

void value_victims_fini(struct value_victims *victims)
{
    free(victims->files);
    *victims = (struct value_victims){0};
}

static uint64_t victim_bytes(const struct piece *p, const struct value_victims *victims)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->table->props.ref_count; i++) {
        const struct table_ref *ref = &p->table->props.refs[i];
        if (value_victims_has(victims, ref->file))
            bytes += piece_ref_bytes(p, ref);
    }
    return bytes;
}

uint64_t value_expected(const struct pick *pick, const struct value_victims *victims)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < pick->input_count; i++) {
        const struct piece *p = pick->inputs[i].piece;
        struct table_ref large = {.bytes = p->table->props.large_bytes};
        bytes += large.bytes > 0 ? piece_ref_bytes(p, &large) : 0;
        bytes += victim_bytes(p, victims);
    }
    return bytes;
}

uint64_t value_pick_bytes(const struct pick *pick, const struct value_victims *victims)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < pick->input_count; i++)
        bytes += pick->inputs[i].piece->bytes + victim_bytes(pick->inputs[i].piece, victims);
    return bytes;
}

/* ---- work --------------------------------------------------------------- */

int pick_values(const struct version *v, const struct lsm_options *options, struct pick *ret_pick)
{
    struct value_victims victims;
    struct piece *best = NULL;
    unsigned best_level = 0;
    uint64_t most = 0;
    int rv = value_victims_find(v, options, &victims);
    if (rv != 0)
        return rv;
    for (unsigned level = 0; victims.count > 0 && level < LSM_LEVELS; level++) {
        for (size_t i = 0; i < v->count[level]; i++) {
            struct piece *p = v->at[level][i];
            uint64_t bytes = is_bad(p) ? 0 : victim_bytes(p, &victims);
            if (bytes == 0 || (bytes <= most && best_level > 0))
                continue;
            most = bytes;
            best = p;
            best_level = level;
        }
    }
    value_victims_fini(&victims);
    if (best == NULL)
        return ERR_NOT_FOUND;
    return best_level == 0 ? pick_level0(v, options, best, ret_pick)
                           : pick_one(best_level, best, ret_pick);
}

int value_sweep(const struct version *before, const struct version *after, struct edit *edit,
                size_t *ret_count)
{
    *ret_count = 0;
    if (before->count[VERSION_VALUES] == 0 || edit->drop_count == 0)
        return 0; /* what drops nothing, as a flush, leaves every reference */
    if (!knows_refs(after))
        return 0;
    struct use *uses = uses_of(before, after);
    int rv = uses == NULL ? ERR_NOMEM : 0;
    for (size_t i = 0; rv == 0 && i < before->count[VERSION_VALUES]; i++) {
        if (uses[i].live > 0)
            continue;
        rv = edit_drop(edit, VERSION_VALUES, uses[i].file->id);
        *ret_count += rv == 0;
    }
    free(uses);
    return rv;
}
