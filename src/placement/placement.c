/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver's life, and its turns. A tick, in order: stores that fell silent, operators
 * whose time is over, ranges of which there is news, some ranges in turn, and, if no range
 * waits for its safety, the schedulers.
 */
#include "placement/placement.h"

#include <stdlib.h>

#include "base/plant.h"
#include "placement/placement_internal.h"

enum { QUIET_AFTER_MS = 10000 };

struct placement *placement_new(const struct placement_options *options)
{
    ASSERT(options->term > 0);
    struct placement *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->opt = *options;
    p->now_ms = p->begun_ms = options->now_ms;
    rng_init(&p->rng, options->seed);
    settings_init(&p->settings);
    map_init(&p->stores);
    map_init(&p->ranges);
    map_init(&p->ended_at);
    map_init(&p->ops_by_id);
    list_init(&p->checks);
    list_init(&p->ops);
    list_init(&p->sends);
    for (int kind = 0; kind < PLACEMENT_IDS_NR; kind++) {
        uint64_t least = kind == PLACEMENT_IDS_KEYSPACE ? KEYSPACE_NAMED_FIRST : 1;
        uint64_t first = MAX(options->first_id[kind], least);
        p->ids[kind] = (struct pl_ids){.next = first, .limit = first, .want = first};
    }
    if (pl_rows_init(p) != 0) {
        free(p);
        return NULL;
    }
    return p;
}

void placement_free(struct placement *p)
{
    uint32_t cursor = 0;
    if (p == NULL)
        return;
    for (struct list *link; (link = list_pop_front(&p->ops)) != NULL;)
        pl_op_discard(p, list_entry(link, struct pl_op, in_all));
    for (struct pl_range *r; (r = map_next(&p->ranges, &cursor, NULL)) != NULL;)
        pl_range_free(r);
    for (uint32_t i = 0; i < p->store_count; i++)
        pl_store_free(p->by_id[i]);
    map_fini(&p->stores);
    map_fini(&p->ranges);
    map_fini(&p->ended_at);
    map_fini(&p->ops_by_id);
    pl_rows_fini(p);
    free(p->keyspaces);
    free(p->ended);
    free(p->past);
    free(p);
}

void placement_loaded(struct placement *p, uint64_t now_ms)
{
    ASSERT(!p->is_loaded);
    p->now_ms = MAX(p->now_ms, now_ms);
    p->is_loaded = true;
    for (uint32_t i = 0; i < p->store_count; i++)
        p->by_id[i]->heard_ms = p->now_ms;
    pl_stores_levels(p);
    pl_nodes_count(p);
    for (int kind = 0; kind < PLACEMENT_IDS_NR; kind++)
        pl_ids_take(p, (enum placement_ids)kind, 0, NULL); /* have a block before it is needed */
}

bool placement_is_broken(const struct placement *p)
{
    return p->is_broken;
}

/* ---- a turn ------------------------------------------------------------------------------ */

static void recheck_all(struct placement *p)
{
    uint32_t cursor = 0;
    for (struct pl_range *r; (r = map_next(&p->ranges, &cursor, NULL)) != NULL;)
        pl_range_recheck(p, r);
}

/* Those that must wait for a limit stand in line again, behind the others. */
static void run_checks(struct placement *p)
{
    uint32_t count = MIN(p->check_count, PL_TICK_CHECKS_MAX);
    p->checks_waiting = 0;
    while (count-- > 0) {
        struct list *link = list_pop_front(&p->checks);
        if (link == NULL)
            return;
        struct pl_range *r = list_entry(link, struct pl_range, in_checks);
        p->check_count--;
        if (pl_check_range(p, r)) {
            p->checks_waiting++;
            pl_range_recheck(p, r);
        } else if (r->op == NULL && !pl_retain_range(p, r)) {
            pl_shape_range(p, r);
        }
    }
}

/* Time alone changes things, too: a few ranges in turn, all of them in a while. */
static void run_scan(struct placement *p)
{
    uint32_t count = MIN(p->ranges.count, PL_TICK_SCAN_MAX);
    while (count-- > 0) {
        struct pl_range *r = map_next(&p->ranges, &p->scan_at, NULL);
        if (r == NULL) {
            p->scan_at = 0;
            return;
        }
        if (list_is_linked(&r->in_checks))
            continue;
        if (pl_check_range(p, r))
            pl_range_recheck(p, r);
        else if (r->op == NULL && !pl_retain_range(p, r))
            pl_shape_range(p, r);
    }
}

void placement_tick(struct placement *p, uint64_t now_ms)
{
    p->now_ms = MAX(p->now_ms, now_ms);
    if (!p->is_loaded || (p->is_broken && !PLANTED(broken_goes_on)))
        return;
    pl_stores_tick(p);
    if (p->is_store_set_new) {
        p->is_store_set_new = false;
        pl_nodes_count(p);
        recheck_all(p);
    }
    pl_ops_tick(p);
    run_checks(p);
    run_scan(p);
    pl_keyspaces_tick(p);
    if (p->checks_waiting == 0)
        pl_balance(p);
}

/* ---- settings ------------------------------------------------------------------------------ */

static void on_setting(struct placement *p, uint32_t i)
{
    if (p->is_loaded && !p->is_copy)
        pl_rows_setting(p, i);
    p->is_store_set_new = true; /* have all ranges looked at */
    pl_stores_levels(p);
}

int placement_set(struct placement *p, struct slice name, struct slice value, struct err *err)
{
    uint32_t i = settings_find(name);
    if (i == settings_count())
        return err_set(err, ERR_NOT_FOUND, "no setting '%.*s'", (int)MIN(name.len, 60),
                       (const char *)name.data);
    int rv = settings_set(&p->settings, i, value, err);
    if (rv == 0)
        on_setting(p, i);
    return rv;
}

bool placement_setting(const struct placement *p, uint32_t i, const char **ret_name,
                       struct buf *value, const char **ret_help)
{
    if (i >= settings_count())
        return false;
    *ret_name = settings_name(i);
    *ret_help = settings_help(i);
    settings_get(&p->settings, i, value);
    return true;
}

void placement_pause(struct placement *p, bool is_paused)
{
    p->settings.paused = is_paused;
    on_setting(p, settings_find(slice_str("paused")));
}

/* ---- what it sees -----------------------------------------------------------------------------
 */

bool placement_has_heard_all(const struct placement *p)
{
    return p->is_loaded && pl_stores_reported(p);
}

void placement_counts(const struct placement *p, struct placement_counts *ret_counts)
{
    struct placement_counts *c = ret_counts;
    uint32_t cursor = 0;
    *c = p->sums;
    c->term = p->opt.term;
    c->is_paused = p->settings.paused;
    c->is_quiet = p->is_loaded && pl_stores_reported(p) && p->op_count == 0 &&
                  p->checks_waiting == 0 && p->check_count <= PL_TICK_CHECKS_MAX &&
                  p->now_ms - p->begun_ms >= QUIET_AFTER_MS;
    c->ranges = p->ranges.count;
    c->operators = p->op_count;
    c->stores = c->stores_reported = 0;
    for (uint32_t i = 0; i < p->store_count; i++) {
        c->stores += !p->by_id[i]->is_ghost;
        c->stores_reported += !p->by_id[i]->is_ghost && p->by_id[i]->has_reported;
    }
    for (struct pl_range *r; (r = map_next(&p->ranges, &cursor, NULL)) != NULL;) {
        struct pl_health h = pl_range_health(p, r);
        c->under_replicated += h.healthy < pl_range_wants(p, r);
        c->unavailable += h.healthy <= h.voters / 2;
    }
}

/* ---- invariants
 * ---------------------------------------------------------------------------------- */

static void check_range(const struct placement *p, const struct pl_range *r)
{
    ASSERT(pl_range_get(p, r->id) == r);
    ASSERT(r->member_count <= DESCRIPTOR_MEMBERS_MAX);
    ASSERT(pl_ended_find(p, r->id) == NULL);
    ASSERT(r->leader == 0 || pl_range_leader(r) != NULL);
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct pl_member *m = &r->members[i];
        ASSERT(m->at < m->store->count);
        ASSERT(m->store->ranges[m->at] == r);
        ASSERT(pl_range_on(r, m->store) == m);
    }
    if (r->op != NULL)
        ASSERT(r->op->range == r || r->op->partner == r);
}

static void check_store(const struct pl_store *s)
{
    uint64_t bytes = 0;
    uint32_t leaders = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct pl_member *leader = pl_range_leader(s->ranges[i]);
        bytes += s->ranges[i]->bytes;
        leaders += leader != NULL && leader->store == s;
    }
    ASSERT(s->bytes == bytes);
    ASSERT(s->leaders == leaders);
}

void placement_check(const struct placement *p)
{
    uint32_t cursor = 0;
    uint32_t in_order = 0;
    uint32_t ops = 0;
    const struct pl_range *last = NULL;
    for (struct pl_range *r; (r = map_next(&p->ranges, &cursor, NULL)) != NULL;)
        check_range(p, r);
    for (struct pl_range *r = pl_tree_first(p); r != NULL; r = pl_tree_next(p, r)) {
        if (last != NULL)
            ASSERT(slice_compare(pl_range_start(last), pl_range_start(r)) <= 0);
        last = r;
        in_order++;
    }
    ASSERT(in_order == p->ranges.count);
    for (uint32_t i = 0; i < p->store_count; i++) {
        ASSERT(i == 0 || p->by_id[i - 1]->id < p->by_id[i]->id);
        check_store(p->by_id[i]);
    }
    for (const struct list *it = p->ops.next; it != &p->ops; it = it->next) {
        const struct pl_op *op = list_entry(it, const struct pl_op, in_all);
        ASSERT(op->range->op == op);
        ASSERT(op->partner == NULL || op->partner->op == op);
        ops++;
    }
    ASSERT(ops == p->op_count);
    for (int kind = 0; kind < PLACEMENT_IDS_NR; kind++)
        ASSERT(p->ids[kind].limit <= p->ids[kind].want);
}
