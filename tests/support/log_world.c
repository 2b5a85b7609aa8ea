/* SPDX-License-Identifier: Apache-2.0 */
#include "support/log_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"

void log_world_options_init(struct log_world_options *options, uint64_t seed)
{
    *options = (struct log_world_options){.seed = seed, .len_max = 200, .big_percent = 3};
    raftlog_options_init(&options->log);
    options->log.segment_bytes = 4096;
    options->log.budget_bytes = 64 << 10;
    options->log.limit_bytes = 256 << 10;
    options->log.cache_bytes = 8 << 10;
    options->log.batch_bytes_max = 2048;
}

void model_entry_bytes(const struct model_entry *entry, uint8_t *out)
{
    struct rng rng;
    rng_init(&rng, entry->seed);
    if (entry->len > 0)
        rng_fill(&rng, out, entry->len);
}

/* ---- the model ------------------------------------------------------------- */

static uint64_t model_last(const struct model_group *g)
{
    return g->reset_base + g->n;
}

static const struct model_entry *model_at(const struct model_group *g, uint64_t index)
{
    assert_true(index > g->reset_base && index <= model_last(g));
    return &g->entries[index - g->reset_base - 1];
}

static void model_write(struct model_group *g, const struct op *op)
{
    const struct raftlog_write *w = &op->write;
    if (!g->exists)
        memset(g, 0, offsetof(struct model_group, entries));
    g->exists = true;
    if (w->has_hard_state) {
        g->term = w->term;
        g->vote = w->vote;
    }
    if (w->has_reset) {
        g->reset_base = g->base = g->hint = g->commit = w->base_index;
        g->reset_term = w->base_term;
        g->n = 0;
        g->is_frozen = false;
    }
    if (w->n > 0) {
        g->n = (uint32_t)(w->first_index - g->reset_base - 1);
        for (uint32_t i = 0; i < w->n; i++)
            g->entries[g->n++] = op->entries[i];
    }
    g->commit = MAX(g->commit, w->commit);
    if (!g->is_frozen)
        g->hint = MAX(g->hint, MIN(g->commit, model_last(g)));
}

static void model_apply(struct model *m, const struct op *op)
{
    struct model_group *g = &m->groups[op->write.group - 1];
    switch (op->kind) {
    case OP_WRITE:
        model_write(g, op);
        break;
    case OP_REMOVE:
        g->exists = false;
        break;
    case OP_COMPACT:
        g->base = op->arg - 1;
        break;
    case OP_COMMIT:
        g->commit = MAX(g->commit, op->arg);
        break;
    case OP_FREEZE:
        g->is_frozen = op->arg != 0;
        break;
    }
}

/* ---- comparing ------------------------------------------------------------- */

struct compare {
    const struct model_group *group;
    char *why;
    size_t why_len;
    uint64_t next;
};

static int compare_entry(void *data, uint64_t index, const struct raftlog_entry *entry)
{
    struct compare *c = data;
    const struct model_entry *want = model_at(c->group, index);
    uint8_t bytes[WORLD_LEN_MAX];
    assert_true(want->len <= sizeof bytes);
    model_entry_bytes(want, bytes);
    bool same = index == c->next && entry->term == want->term && entry->type == want->type &&
                slice_equal(entry->data, slice_of(bytes, want->len));
    c->next++;
    if (same)
        return 0;
    snprintf(c->why, c->why_len, "entry %llu differs", (unsigned long long)index);
    return 1;
}

/* `now` is the model after all operations: it bounds what is not durable by itself. */
static bool group_matches(struct raftlog *log, uint64_t id, const struct model_group *g,
                          const struct model_group *now, char *why, size_t why_len)
{
    struct raftlog_group_state s;
    int rv = raftlog_group_state(log, id, &s);
    if (rv == ERR_NOT_FOUND || !g->exists) {
        snprintf(why, why_len, "group %llu exists %d want %d", (unsigned long long)id, rv == 0,
                 g->exists);
        return rv == ERR_NOT_FOUND && !g->exists;
    }
    /* Removed and begun anew since: then `now` says nothing about this life. */
    bool same_life = now->exists && now->reset_base == g->reset_base;
    uint64_t base_max = same_life ? MAX(now->base, g->base) : g->base;
    uint64_t commit_max = same_life ? MAX(now->commit, g->commit) : UINT64_MAX;
    uint64_t hint_max = MAX(g->hint, MIN(commit_max, model_last(g)));
    bool same = !s.is_damaged && s.term == g->term && s.vote == g->vote &&
                s.last_index == model_last(g) && s.hint >= MIN(g->hint, hint_max) &&
                s.hint <= MAX(hint_max, s.base_index) && s.base_index >= g->reset_base &&
                s.base_index <= MAX(base_max, g->reset_base);
    snprintf(why, why_len,
             "group %llu: damaged %d term %llu/%llu vote %llu/%llu last %llu/%llu hint %llu/"
             "[%llu,%llu] base %llu/[%llu,%llu]",
             (unsigned long long)id, s.is_damaged, (unsigned long long)s.term,
             (unsigned long long)g->term, (unsigned long long)s.vote, (unsigned long long)g->vote,
             (unsigned long long)s.last_index, (unsigned long long)model_last(g),
             (unsigned long long)s.hint, (unsigned long long)g->hint, (unsigned long long)hint_max,
             (unsigned long long)s.base_index, (unsigned long long)g->reset_base,
             (unsigned long long)base_max);
    if (!same)
        return false;
    uint64_t term = 0;
    uint64_t want = s.base_index == g->reset_base ? g->reset_term : model_at(g, s.base_index)->term;
    rv = raftlog_term(log, id, s.base_index, &term);
    if ((rv != 0 || term != want) && want != 0) {
        snprintf(why, why_len, "group %llu: term at base %llu is %llu, want %llu",
                 (unsigned long long)id, (unsigned long long)s.base_index, (unsigned long long)term,
                 (unsigned long long)want);
        return false;
    }
    struct compare c = {g, why, why_len, s.first_index};
    struct err err = {0};
    rv = raftlog_each(log, id, s.first_index, s.last_index, 0, compare_entry, &c, &err);
    if (rv < 0)
        snprintf(why, why_len, "group %llu: %s", (unsigned long long)id, err.msg);
    return rv == 0 && c.next == s.last_index + 1;
}

bool log_world_group_is_whole(const struct log_world *world, struct raftlog *log, uint64_t id,
                              char *ret_why, size_t why_len)
{
    const struct model_group *g = &world->now.groups[id - 1];
    return group_matches(log, id, g, g, ret_why, why_len);
}

bool log_world_group_was_whole(const struct log_world *world, struct raftlog *log, uint64_t id,
                               char *ret_why, size_t why_len)
{
    return group_matches(log, id, &world->before.groups[id - 1], &world->now.groups[id - 1],
                         ret_why, why_len);
}

static bool model_matches(struct raftlog *log, const struct model *m, const struct model *now,
                          char *why, size_t why_len)
{
    for (uint64_t id = 1; id <= WORLD_GROUPS; id++) {
        if (!group_matches(log, id, &m->groups[id - 1], &now->groups[id - 1], why, why_len))
            return false;
    }
    return true;
}

uint64_t log_world_match(const struct log_world *world, struct raftlog *log, char *ret_why,
                         size_t why_len)
{
    static struct model model; /* large, and needed for each of a hundred thousand images */
    struct model *m = &model;
    *m = world->acked;
    char first[256] = "";
    uint64_t k = world->n_acked;
    for (;; k++) {
        bool same = model_matches(log, m, &world->now, ret_why, why_len);
        if (first[0] == 0)
            snprintf(first, sizeof first, "%s", ret_why);
        if (same || k == world->n_ops) {
            if (!same)
                snprintf(ret_why, why_len, "acked %llu of %llu: %s",
                         (unsigned long long)world->n_acked, (unsigned long long)world->n_ops,
                         first);
            return same ? k : UINT64_MAX;
        }
        model_apply(m, &world->ops[k]);
    }
}

bool log_world_is_visible(const struct log_world *world, char *ret_why, size_t why_len)
{
    for (uint64_t id = 1; id <= WORLD_GROUPS; id++) {
        struct raftlog_group_state s;
        const struct model_group *g = &world->now.groups[id - 1];
        if (raftlog_group_state(world->log, id, &s) == 0 && g->exists && s.base_index != g->base) {
            snprintf(ret_why, why_len, "group %llu: base %llu want %llu", (unsigned long long)id,
                     (unsigned long long)s.base_index, (unsigned long long)g->base);
            return false;
        }
    }
    return model_matches(world->log, &world->now, &world->now, ret_why, why_len);
}

/* ---- work ------------------------------------------------------------------- */

int log_world_open(struct log_world *world, struct err *err)
{
    assert_null(world->log);
    int rv = raftlog_open(&world->log, sim_node_env(world->node), "/log", &world->options.log, err);
    if (rv != 0)
        world->log = NULL;
    return rv;
}

static void world_must_open(struct log_world *world)
{
    struct err err = {0};
    if (log_world_open(world, &err) != 0)
        fail_msg("seed %llu: open: %s", (unsigned long long)world->options.seed, err.msg);
}

struct log_world *log_world_new(const struct log_world_options *options)
{
    struct log_world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->options = *options;
    world->ops = calloc(WORLD_OPS_MAX, sizeof *world->ops);
    assert_non_null(world->ops);
    rng_init(&world->rng, options->seed);
    world->sim = sim_new(NULL, options->seed);
    world->node = sim_node_new(world->sim, "n1");
    world_must_open(world);
    return world;
}

void log_world_free(struct log_world *world)
{
    sim_node_crash(world->node, SIM_CRASH_KILL);
    raftlog_free(world->log);
    sim_free(world->sim);
    free(world->ops);
    free(world);
}

static void world_ack(struct log_world *world, uint64_t number)
{
    assert_true(number > world->n_acked);
    while (world->n_acked < number)
        model_apply(&world->acked, &world->ops[world->n_acked++]);
}

void log_world_ack(struct log_world *world, uint64_t number)
{
    if (number > world->n_acked)
        world_ack(world, number);
}

static void world_on_durable(struct raftlog_write *write)
{
    struct op *op = container_of(write, struct op, write);
    world_ack(op->world, op->number);
}

static void op_fill(struct log_world *world, struct op *op, uint64_t term)
{
    struct rng *rng = &world->rng;
    op->write.n = (uint32_t)rng_between(rng, 1, WORLD_WRITE_MAX);
    for (uint32_t i = 0; i < op->write.n; i++) {
        uint64_t max = world->options.len_max;
        if (rng_chance(rng, world->options.big_percent, 100))
            max *= 4;
        op->entries[i] = (struct model_entry){
            .term = term,
            .type = (uint8_t)rng_between(rng, 1, 3),
            .len = (uint32_t)rng_below(rng, MIN(max, (uint64_t)WORLD_LEN_MAX) + 1),
            .seed = rng_u64(rng),
        };
    }
}

/* What the next write does, within what Raft allows. */
static void op_plan_write(struct log_world *world, struct op *op, const struct model_group *g)
{
    struct rng *rng = &world->rng;
    struct raftlog_write *w = &op->write;
    uint64_t last = g->exists ? model_last(g) : 0;
    uint64_t term = g->exists ? MAX(g->term, 1) : 1;
    if (rng_chance(rng, 1, 4)) {
        w->has_hard_state = true;
        w->term = term + rng_below(rng, 2);
        w->vote = rng_below(rng, 4);
        term = w->term;
    }
    bool is_full = g->exists && g->n + 16 > WORLD_ENTRIES_MAX;
    if (is_full || (g->exists ? rng_chance(rng, 1, 40) : rng_chance(rng, 1, 2))) {
        w->has_reset = true;
        w->base_index = last + rng_between(rng, 1, 20);
        w->base_term = term;
        last = w->base_index;
    }
    w->first_index = last + 1;
    if (rng_chance(rng, 4, 5)) {
        op_fill(world, op, term);
        uint64_t low = w->has_reset ? w->base_index : MAX(g->commit, MAX(g->base, g->hint));
        if (g->exists && last > low && rng_chance(rng, 1, 6)) {
            w->first_index = rng_between(rng, low + 1, last);
            w->has_hard_state = true;
            w->term = ++term;
            for (uint32_t i = 0; i < w->n; i++)
                op->entries[i].term = term;
        }
    }
    uint64_t end = w->n > 0 ? w->first_index + w->n - 1 : last;
    uint64_t low = w->has_reset ? w->base_index : g->exists ? g->commit : 0;
    if (rng_chance(rng, 1, 2) && end > low)
        w->commit = rng_between(rng, low, end);
    if (rng_chance(rng, 1, 10))
        w->commit = end + rng_between(rng, 1, 4); /* of entries that are still to come */
}

static void op_plan(struct log_world *world, struct op *op)
{
    struct rng *rng = &world->rng;
    uint64_t group = rng_chance(rng, 1, 2) ? 1 : rng_between(rng, 1, WORLD_GROUPS);
    const struct model_group *g = &world->now.groups[group - 1];
    op->write.group = group;
    op->kind = OP_WRITE;
    if (!g->exists) {
        op_plan_write(world, op, g);
        return;
    }
    switch (rng_below(rng, 24)) {
    case 0:
    case 1:
    case 2:
        op->kind = OP_COMPACT;
        op->arg = rng_between(rng, g->base, MAX(g->base, MIN(g->commit, model_last(g)))) + 1;
        break;
    case 3:
        op->kind = OP_COMMIT;
        op->arg = rng_between(rng, MIN(g->commit, model_last(g)), model_last(g));
        break;
    case 4:
        op->kind = rng_chance(rng, 1, 6) ? OP_REMOVE : OP_FREEZE;
        op->arg = rng_below(rng, 2);
        break;
    default:
        op_plan_write(world, op, g);
    }
}

static void op_run_write(struct log_world *world, struct op *op)
{
    struct raftlog_entry entries[WORLD_WRITE_MAX];
    static uint8_t bytes[WORLD_WRITE_MAX][WORLD_LEN_MAX];
    for (uint32_t i = 0; i < op->write.n; i++) {
        const struct model_entry *e = &op->entries[i];
        model_entry_bytes(e, bytes[i]);
        entries[i] = (struct raftlog_entry){e->term, e->type, slice_of(bytes[i], e->len)};
    }
    op->write.entries = entries;
    op->write.cb = world_on_durable;
    op->write.may_block = world->options.may_block && op->number % 3 != 0;
    raftlog_append(world->log, &op->write);
    op->write.entries = NULL;
    memset(bytes, 0xee, sizeof bytes); /* borrowed during the call only */
}

static struct op *op_new(struct log_world *world)
{
    struct op *op = &world->ops[world->n_ops];
    memset(op, 0, sizeof *op);
    op->world = world;
    op->number = world->n_ops + 1;
    return op;
}

static bool op_has_room(const struct log_world *world, const struct op *op)
{
    uint64_t data_len = 0;
    for (uint32_t i = 0; i < op->write.n; i++)
        data_len += op->entries[i].len;
    return op->kind != OP_WRITE ||
           raftlog_has_room(world->log, raftlog_append_cost(op->write.n, data_len));
}

/* A planned operation happens, to the model and to the log. */
static void op_run(struct log_world *world, struct op *op)
{
    world->n_ops++;
    model_apply(&world->now, op);
    switch (op->kind) {
    case OP_WRITE:
        op_run_write(world, op);
        break;
    case OP_REMOVE:
        raftlog_remove_group(world->log, op->write.group);
        break;
    case OP_COMPACT:
        raftlog_compact(world->log, op->write.group, op->arg);
        break;
    case OP_COMMIT:
        raftlog_note_commit(world->log, op->write.group, op->arg);
        break;
    case OP_FREEZE:
        raftlog_freeze_hint(world->log, op->write.group, op->arg != 0);
        break;
    }
    raftlog_check(world->log);
}

void log_world_step(struct log_world *world)
{
    if (world->n_ops == WORLD_OPS_MAX)
        return;
    struct op *op = op_new(world);
    op_plan(world, op);
    if (!op_has_room(world, op)) {
        sim_run_until(world->sim, sim_now_us(world->sim) + 1000);
        return;
    }
    op_run(world, op);
    if (rng_chance(&world->rng, 1, 3))
        sim_run_until(world->sim, sim_now_us(world->sim) + rng_below(&world->rng, 2000));
}

bool log_world_write_one(struct log_world *world)
{
    if (world->n_ops == WORLD_OPS_MAX)
        return false;
    struct op *op = op_new(world);
    op->kind = OP_WRITE;
    op->write.group = rng_between(&world->rng, 1, WORLD_GROUPS);
    op_plan_write(world, op, &world->now.groups[op->write.group - 1]);
    if (!op_has_room(world, op))
        return false;
    world->before = world->now;
    op_run(world, op);
    return true;
}

/* The first entry of the group's last ones that are no more than `bytes` together. */
static uint64_t model_first_kept(const struct model_group *g, uint64_t bytes)
{
    uint32_t n = g->n;
    while (n > 0 && g->entries[n - 1].len <= bytes)
        bytes -= g->entries[--n].len;
    return MAX(g->reset_base + n, g->base) + 1;
}

void log_world_compact_all(struct log_world *world, uint64_t bytes_kept)
{
    for (uint64_t id = 1; id <= WORLD_GROUPS; id++) {
        const struct model_group *g = &world->now.groups[id - 1];
        if (!g->exists || world->n_ops + 2 > WORLD_OPS_MAX)
            continue;
        struct op *op = op_new(world);
        op->kind = OP_COMMIT;
        op->write.group = id;
        op->arg = model_last(g);
        op_run(world, op);
        op = op_new(world);
        op->kind = OP_COMPACT;
        op->write.group = id;
        op->arg = model_first_kept(g, bytes_kept);
        op_run(world, op);
    }
}

static void world_on_barrier(struct raftlog_write *write)
{
    struct op *op = container_of(write, struct op, write);
    bool *done = op->write.data;
    *done = true;
}

static bool world_is_waiting(void *data)
{
    return !*(bool *)data;
}

void log_world_settle(struct log_world *world)
{
    bool done = false;
    struct op barrier = {.world = world};
    barrier.write.data = &done;
    barrier.write.cb = world_on_barrier;
    raftlog_append(world->log, &barrier.write);
    bool ok = sim_run_while(world->sim, world_is_waiting, &done,
                            sim_now_us(world->sim) + UINT64_C(60000000));
    assert_true(ok);
    if (world->n_acked < world->n_ops)
        world_ack(world, world->n_ops);
}

void log_world_crash(struct log_world *world, enum sim_crash how)
{
    sim_node_crash(world->node, how);
    raftlog_free(world->log);
    world->log = NULL;
    sim_node_restart(world->node);
}

void log_world_adopt(struct log_world *world)
{
    char why[512];
    raftlog_check(world->log);
    uint64_t k = log_world_match(world, world->log, why, sizeof why);
    if (k == UINT64_MAX)
        fail_msg("seed %llu: %s", (unsigned long long)world->options.seed, why);
    if (k > world->n_acked)
        world_ack(world, k);
    world->n_ops = k;
    /* What is not durable by itself is now as the log has it. */
    for (uint64_t id = 1; id <= WORLD_GROUPS; id++) {
        struct raftlog_group_state s;
        struct model_group *g = &world->acked.groups[id - 1];
        if (raftlog_group_state(world->log, id, &s) != 0)
            continue;
        g->base = s.base_index;
        g->hint = g->commit = s.hint;
        g->is_frozen = false;
    }
    world->now = world->acked;
}

void log_world_reopen(struct log_world *world, enum sim_crash how)
{
    log_world_crash(world, how);
    world_must_open(world);
    log_world_adopt(world);
}
