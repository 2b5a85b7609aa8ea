/* SPDX-License-Identifier: Apache-2.0
 *
 * How long ranges keep old versions: each as its keyspace says, or the setting, or as the
 * cluster was founded. A range tells what it does (its own log says so); where that is
 * otherwise an operator of one step has its leader change it.
 *
 * Until a keyspace has ranges of its own, others' keys stand beside its own: of such a range
 * the longest of all times holds, so that nobody's history is shorter than was promised.
 */
#include "base/coding.h"
#include "placement/placement_internal.h"
#include "wire/driver_msg.h"

enum { USER_PREFIX = 0x02, US_PER_MS = 1000 };

static uint64_t default_ms(const struct placement *p)
{
    uint64_t set_us = p->settings.retention_us;
    return set_us != 0 ? set_us / US_PER_MS : p->opt.retention_ms;
}

uint64_t pl_keyspace_retention_ms(const struct placement *p, const struct pl_keyspace *k)
{
    return k->retention_us != 0 ? k->retention_us / US_PER_MS : default_ms(p);
}

/* The keyspace in which an on-disk key of users stands; is it the first of all its keys? */
static uint32_t keyspace_at(struct slice key, bool *ret_is_first)
{
    uint8_t raw[KEYSPACE_PREFIX_LEN] = {0};
    if (key.len > 0)
        memcpy(raw, key.data, MIN(key.len, sizeof raw));
    *ret_is_first = key.len <= KEYSPACE_PREFIX_LEN;
    return get_u32be(raw + 1);
}

/* The first and the last keyspace of which the range has keys, or may get some. False: none. */
static bool keyspaces_of(const struct pl_range *r, uint32_t *ret_first, uint32_t *ret_last)
{
    struct slice end = pl_range_end(r);
    bool is_first;
    *ret_first = keyspace_at(pl_range_start(r), &is_first);
    *ret_last = UINT32_MAX;
    if (r->id == PLACEMENT_SYSTEM_RANGE)
        return false;
    if (end.len == 0 || end.data[0] > USER_PREFIX)
        return true;
    *ret_last = keyspace_at(end, &is_first);
    if (is_first && *ret_last == 0)
        return false;
    *ret_last -= is_first;
    return true;
}

uint64_t pl_range_retention_ms(const struct placement *p, const struct pl_range *r)
{
    uint32_t first;
    uint32_t last;
    if (!keyspaces_of(r, &first, &last))
        return 0;
    uint32_t i = pl_keyspaces_from(p, first);
    if (first == last && i < p->keyspace_count && p->keyspaces[i].id == first)
        return pl_keyspace_retention_ms(p, &p->keyspaces[i]);
    uint64_t most = default_ms(p);
    for (; i < p->keyspace_count && p->keyspaces[i].id <= last; i++)
        most = MAX(most, pl_keyspace_retention_ms(p, &p->keyspaces[i]));
    return most;
}

/* Can all who have to apply it? Whoever was not heard of yet may be of an older version, unless
 * it is lost. */
static bool can_all_retain(const struct pl_range *r)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct pl_store *s = r->members[i].store;
        if (!pl_store_is_dead(s) && s->last.level < STORE_LEVEL_RETAIN)
            return false;
    }
    return true;
}

bool pl_retain_range(struct placement *p, struct pl_range *r)
{
    if (p->settings.paused || r->retention_ms == 0)
        return false;
    uint64_t wanted_ms = pl_range_retention_ms(p, r);
    if (wanted_ms == 0 || wanted_ms == r->retention_ms || !pl_range_is_free(p, r) ||
        !can_all_retain(r))
        return false;
    struct pl_op *op = pl_op_new(p, r, PL_RETAIN);
    if (op == NULL)
        return false;
    op->retention_ms = wanted_ms;
    pl_op_add_step(op, PLACEMENT_RETAIN, 0, NULL);
    pl_op_reason(op, "old versions are to be kept for %llu s, not %llu",
                 (unsigned long long)(wanted_ms / 1000),
                 (unsigned long long)(r->retention_ms / 1000));
    pl_op_start(p, op);
    return true;
}
