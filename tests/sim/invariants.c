/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold while a run goes on; scenario.c says when each is asked.
 */
#include <stdlib.h>

#include "consensus/consensus.h"
#include "range/range.h"
#include "sim/scenario.h"

enum { HOUR_MS = 3600 * 1000 };

static uint64_t *slot_at(uint64_t **array, uint64_t *cap, uint64_t index)
{
    if (index >= *cap) {
        uint64_t next = MAX(index + 1, *cap == 0 ? 4096 : *cap * 2);
        *array = realloc(*array, next * sizeof **array);
        ASSERT(*array != NULL);
        memset(*array + *cap, 0, (next - *cap) * sizeof **array);
        *cap = next;
    }
    return *array + index;
}

/* Raft §5.2, election safety. */
void holds_one_leader(struct cluster *c, struct cluster_node *n)
{
    struct cons_status s;
    if (!store_cons_status(n->store, STORE_FIRST_RANGE_ID, &s) || s.state != CONS_LEADER)
        return;
    uint64_t term = s.term;
    uint64_t *leader = slot_at(&c->leader_of, &c->leader_cap, term);
    uint64_t id = (uint64_t)(n - c->nodes) + 1;
    if (*leader == 0) {
        *leader = id;
        c->new_leader = (uint32_t)id;
    }
    if (*leader != id)
        cluster_fail(c, "term %llu has %llu and %llu", (unsigned long long)term,
                     (unsigned long long)*leader, (unsigned long long)id);
    if (n->role_seen != term)
        cluster_note(c, n, "leads in term %llu", (unsigned long long)term);
    n->role_seen = term;
}

/* Raft §5.3, state machine safety: who applied the same index has the same past. */
void holds_one_history(struct cluster *c, struct cluster_node *n)
{
    struct range *range = store_range(n->store);
    if (range == NULL)
        return;
    const struct range_meta *meta = range_meta(range);
    uint64_t *hash = slot_at(&c->hash_at, &c->hash_cap, meta->applied_index);
    if (*hash == 0)
        *hash = meta->history_hash;
    if (*hash != meta->history_hash)
        cluster_fail(c, "%s differs at index %llu", n->host,
                     (unsigned long long)meta->applied_index);
}

/* A clock that is hours ahead of the majority's never stamps: range time would stay
 * there for ever. */
void holds_range_time(struct cluster *c, struct cluster_node *n)
{
    struct range *range = store_range(n->store);
    if (!(c->opt.faults & FAULT_HOURS) || range == NULL)
        return;
    const struct range_meta *meta = range_meta(range);
    uint64_t true_ms = env_wall_ms(sim_node_env(c->clients[0].node));
    if (meta->time_ms > true_ms + HOUR_MS / 2)
        cluster_fail(c, "on %s it is %llu s ahead", n->host,
                     (unsigned long long)((meta->time_ms - true_ms) / 1000));
}

/* It may find out, or never meet the spoiled place; what it must not do is to serve
 * after it has. */
void holds_spoiled_silence(struct cluster *c, struct cluster_node *n)
{
    enum store_state state = store_state(n->store);
    if (!n->is_lost && !n->is_wiped)
        return;
    if (state == STORE_RUNNING || state == STORE_REPLAYING)
        cluster_fail(c, "%s does", n->host);
}

void holds_rooms(struct cluster *c, struct cluster_node *n)
{
    (void)c;
    store_check(n->store); /* asserts */
}

void holds_bounds(struct cluster *c, struct cluster_node *n)
{
    struct lsm_stats engine;
    struct store_options o;
    if (store_lsm(n->store) == NULL)
        return;
    cluster_node_options(n, &o);
    lsm_stats(store_lsm(n->store), &engine);
    /* A flush that an operator asks for freezes one more; so does the end of a drain, and
     * a snapshot that is built. */
    if (engine.memtables_frozen > o.lsm.memtables_max + 4)
        cluster_fail(c, "%s has %u frozen memtables, bound %u", n->host, engine.memtables_frozen,
                     o.lsm.memtables_max);
}

static void on_bad(void *data, const char *file, uint64_t offset, const char *text)
{
    struct cluster_node *n = data;
    cluster_fail(n->cluster, "%s: %s at %llu: %s", n->host, file, (unsigned long long)offset, text);
}

/* Every block of every table of a store that nobody spoiled. */
void holds_sound_files(struct cluster *c, struct cluster_node *n)
{
    struct err err = {0};
    if (n->is_rotten || n->is_wiped || store_lsm(n->store) == NULL)
        return;
    struct lsm_view *view = lsm_view_take(store_lsm(n->store));
    ASSERT(view != NULL);
    int rv = lsm_verify(view, on_bad, n, &err);
    lsm_view_unref(view);
    if (rv != 0)
        cluster_fail(c, "%s: %s", n->host, err.msg);
}
