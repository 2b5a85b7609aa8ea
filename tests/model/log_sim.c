/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-log-sim — the log alone against a model, from one seed.
 *
 * A run is several lives of one log. In each: random appends, truncations, resets,
 * removals, compactions, hints and reads, under a trouble drawn for this life (a crash
 * at some disk call, I/O errors, a disk that fills up and clears); then the process is
 * killed or the power goes, recovery itself may die or meet errors several times, and
 * what opens at last must be a prefix of what was appended with everything that was
 * acknowledged. What was found once must be found again. Between lives bits are flipped
 * in a copy of the disk: damage is named, and nothing wrong is served.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"
#include "support/liar.h"
#include "support/log_world.h"
#include "support/seeds.h"

enum { READS_MAX = 6, READ_SPAN_MAX = 40, SECOND_US = 1000000 };

enum trouble { TROUBLE_NONE, TROUBLE_CRASH, TROUBLE_ERRORS, TROUBLE_SPACE, TROUBLE_NR };

/* A read in flight, and what it must bring: entries as they stood when it began. */
struct pending_read {
    struct raftlog_read read;
    struct model_entry want[READ_SPAN_MAX];
    uint64_t life;
    struct run *run;
    bool is_active;
};

struct run {
    const struct seeds_run *how;
    struct log_world *world;
    struct rng rng;
    struct pending_read reads[READS_MAX];
    struct raftlog_write barrier;
    bool is_settled;
    bool may_fail; /* reads may say ERR_IO in this life */
    uint64_t life;
    uint64_t n_room_told;
    bool is_large; /* many entries are larger than a segment */
    /* what happened, to be hashed and shown */
    uint64_t n_reads, n_failed_reads, n_dead, n_recoveries, n_refused, n_full, n_flips, n_named,
        n_rewritten, n_dropped;
};

static void run_fail(const struct run *run, const char *what)
{
    fail_msg("seed %llu life %llu op %llu: %s", (unsigned long long)run->how->seed,
             (unsigned long long)run->life, (unsigned long long)run->world->n_ops, what);
}

static bool is_dead(const struct run *run)
{
    return sim_node_is_dead(run->world->node);
}

static void run_on_room(void *data)
{
    struct run *run = data;
    run->n_room_told++;
}

/* Rot is inflicted on copies alone: here nothing is ever damaged. */
static void run_on_damage(void *data, uint64_t group, const char *text)
{
    (void)group;
    run_fail(data, text);
}

/* ---- reads -------------------------------------------------------------------------- */

static const struct model_group *group_of(const struct run *run, uint64_t id)
{
    return &run->world->now.groups[id - 1];
}

static const struct model_entry *entry_of(const struct model_group *g, uint64_t index)
{
    return &g->entries[index - g->reset_base - 1];
}

static void must_be(const struct run *run, const struct raftlog_entry *got,
                    const struct model_entry *want)
{
    uint8_t bytes[WORLD_LEN_MAX];
    assert_true(want->len <= sizeof bytes);
    model_entry_bytes(want, bytes);
    if (got->term != want->term || got->type != want->type ||
        !slice_equal(got->data, slice_of(bytes, want->len)))
        run_fail(run, "a read brings another entry");
}

static void on_read(struct raftlog_read *read)
{
    struct pending_read *p = read->data;
    struct run *run = p->run;
    p->is_active = false;
    if (p->life != run->life)
        run_fail(run, "a read of an earlier life was answered");
    if (read->status == ERR_IO && run->may_fail) {
        run->n_failed_reads++;
    } else if (read->status != 0) {
        run_fail(run, read->err.msg);
    } else {
        uint64_t span = read->last - read->first + 1;
        if (read->n == 0 || read->n > span)
            run_fail(run, "a read brings nothing, or too much");
        for (uint32_t i = 0; i < read->n; i++)
            must_be(run, &read->entries[i], &p->want[i]);
        run->n_reads++;
    }
    raftlog_read_fini(read);
}

static void start_read(struct run *run, struct pending_read *p, uint64_t id, uint64_t first,
                       uint64_t last)
{
    const struct model_group *g = group_of(run, id);
    p->run = run;
    p->life = run->life;
    p->read.data = p;
    p->read.group = id;
    p->read.first = first;
    p->read.last = last;
    p->read.bytes_max = rng_chance(&run->rng, 1, 2) ? SIZE_MAX / 4 : rng_below(&run->rng, 1000);
    p->read.cb = on_read;
    for (uint64_t i = first; i <= last; i++)
        p->want[i - first] = *entry_of(g, i);
    int rv = raftlog_read(run->world->log, &p->read);
    if (rv != 0)
        fail_msg("seed %llu: entries %llu to %llu of group %llu cannot be read: %s",
                 (unsigned long long)run->how->seed, (unsigned long long)first,
                 (unsigned long long)last, (unsigned long long)id, err_name(rv));
    p->is_active = true;
}

/* Look at a random group: its state, terms, entries at hand, and a read off the loop. */
static void look(struct run *run)
{
    struct raftlog *log = run->world->log;
    uint64_t id = rng_between(&run->rng, 1, WORLD_GROUPS);
    const struct model_group *g = group_of(run, id);
    struct raftlog_group_state s;
    if (raftlog_group_state(log, id, &s) != 0) {
        if (g->exists)
            run_fail(run, "a group is not there");
        return;
    }
    if (!g->exists || s.last_index != g->reset_base + g->n || s.term != g->term ||
        s.vote != g->vote || s.base_index != g->base)
        run_fail(run, "a group's state differs");
    if (s.last_index < s.first_index)
        return;
    uint64_t first = rng_between(&run->rng, s.first_index, s.last_index);
    uint64_t span = rng_below(&run->rng, READ_SPAN_MAX);
    uint64_t last = MIN(s.last_index, first + span);
    struct raftlog_entry entry;
    int rv = raftlog_get(log, id, first, &entry);
    if (rv == 0)
        must_be(run, &entry, entry_of(g, first));
    else if (rv != ERR_WOULD_BLOCK)
        run_fail(run, "an entry cannot be got");
    for (size_t i = 0; i < READS_MAX; i++) {
        if (!run->reads[i].is_active) {
            start_read(run, &run->reads[i], id, first, last);
            return;
        }
    }
}

/* The process is gone: its reads will never be answered. */
static void forget_reads(struct run *run)
{
    run->may_fail = false;
    for (size_t i = 0; i < READS_MAX; i++) {
        raftlog_read_fini(&run->reads[i].read);
        run->reads[i] = (struct pending_read){0};
    }
}

/* ---- settling ------------------------------------------------------------------------ */

static void on_barrier(struct raftlog_write *write)
{
    struct run *run = write->data;
    run->is_settled = true;
}

static bool is_unsettled(void *data)
{
    struct run *run = data;
    return !run->is_settled && !is_dead(run);
}

/* Everything appended is durable within a bound, unless the process dies on the way. */
static void settle(struct run *run)
{
    struct log_world *w = run->world;
    run->is_settled = false;
    run->barrier = (struct raftlog_write){.data = run, .cb = on_barrier};
    raftlog_append(w->log, &run->barrier);
    if (!sim_run_while(w->sim, is_unsettled, run, sim_now_us(w->sim) + 60 * SECOND_US))
        run_fail(run, "what was appended is not durable after a minute");
    if (run->is_settled)
        log_world_ack(w, w->n_ops); /* those without a callback of their own too */
}

static bool is_short(void *data)
{
    struct run *run = data;
    return !is_dead(run) && !raftlog_has_room(run->world->log, 300);
}

/* The disk has space again: a log whose groups are compacted away, but for a quarter of its
 * budget if it is allowed to rewrite what stands in the way, has room in a while. */
static void expect_room(struct run *run)
{
    struct log_world *w = run->world;
    const struct raftlog_options *o = &w->options.log;
    bool is_all = o->no_rewrite || !run->is_large;
    log_world_compact_all(w, is_all ? 0 : o->budget_bytes / 4 / WORLD_GROUPS);
    if (!sim_run_while(w->sim, is_short, run, sim_now_us(w->sim) + 60 * SECOND_US))
        run_fail(run, "no room a minute after the disk has space again");
}

/* ---- rot ------------------------------------------------------------------------------ */

struct target {
    struct rng *rng;
    char path[64];
    uint64_t bit;
    uint64_t n;
};

static void pick_file(void *data, const char *path, uint64_t size)
{
    struct target *t = data;
    if (size == 0 || strstr(path, ".raftlog") == NULL || !rng_chance(t->rng, 1, ++t->n))
        return;
    snprintf(t->path, sizeof t->path, "%s", path);
    t->bit = rng_below(t->rng, size) * 8 + rng_below(t->rng, 8);
}

/* No group that is said to be whole shows anything but its state before the last write,
 * or after it; what was refused or damaged says so. */
static void judge_rot(struct run *run, struct raftlog *log, const struct target *t)
{
    char why[512] = "";
    bool is_named = raftlog_damage(log)[0] != 0;
    raftlog_check(log);
    for (uint64_t id = 1; id <= WORLD_GROUPS; id++) {
        struct raftlog_group_state s;
        int rv = raftlog_group_state(log, id, &s);
        if (rv == ERR_NOT_FOUND && is_named)
            continue; /* raftlog_damage(): what the log does not know is damaged too */
        if (rv == 0 && s.is_damaged) {
            if (!is_named)
                run_fail(run, "damage is not named");
            continue;
        }
        if (!log_world_group_is_whole(run->world, log, id, why, sizeof why) &&
            !log_world_group_was_whole(run->world, log, id, why, sizeof why))
            fail_msg("seed %llu: bit %llu of %s flipped: %s", (unsigned long long)run->how->seed,
                     (unsigned long long)t->bit, t->path, why);
    }
    run->n_named += is_named;
}

static void flip_one(struct run *run)
{
    struct target t = {.rng = &run->rng};
    struct sim *sim = sim_new(NULL, rng_u64(&run->rng));
    struct sim_disk *disk = sim_disk_clone(sim_node_disk(run->world->node));
    sim_disk_each_file(disk, pick_file, &t);
    assert_true(t.n > 0);
    assert_int_equal(sim_disk_flip_bit(disk, t.path, t.bit), 0);
    struct sim_node *node = sim_node_new_on(sim, "n1", disk);
    struct raftlog_options options = run->world->options.log;
    struct raftlog *log = NULL;
    struct err err = {0};
    options.callbacks = (struct raftlog_callbacks){0};
    int rv = raftlog_open(&log, sim_node_env(node), "/log", &options, &err);
    if (rv == 0)
        judge_rot(run, log, &t);
    else if (rv != ERR_CORRUPT || strstr(err.msg, "segment") == NULL)
        run_fail(run, err.msg);
    else
        run->n_named++;
    run->n_flips++;
    sim_node_crash(node, SIM_CRASH_KILL);
    raftlog_free(rv == 0 ? log : NULL);
    sim_free(sim);
}

/* All is durable, and the last batch with entries holds one write alone. */
static void flip_some(struct run *run)
{
    settle(run);
    if (is_dead(run) || !log_world_write_one(run->world))
        return;
    settle(run);
    if (is_dead(run))
        return;
    for (uint64_t n = rng_between(&run->rng, 1, 6); n > 0; n--)
        flip_one(run);
}

/* ---- lives ---------------------------------------------------------------------------- */

static enum trouble begin_trouble(struct run *run)
{
    struct sim_disk *disk = sim_node_disk(run->world->node);
    enum trouble trouble = (enum trouble)rng_below(&run->rng, TROUBLE_NR);
    struct sim_disk_options o = {.writeback_ppm = (uint32_t)rng_below(&run->rng, 400000)};
    if (trouble == TROUBLE_CRASH)
        sim_node_crash_after(run->world->node,
                             rng_between(&run->rng, 1, UINT64_C(1) << rng_below(&run->rng, 10)));
    if (trouble == TROUBLE_ERRORS) {
        o.write_error_ppm = (uint32_t)rng_below(&run->rng, 20000);
        o.sync_error_ppm = (uint32_t)rng_below(&run->rng, 20000);
        o.read_error_ppm = (uint32_t)rng_below(&run->rng, 200000);
        run->may_fail = true;
    }
    sim_disk_set_options(disk, &o);
    return trouble;
}

static void change_space(struct run *run, bool is_full)
{
    struct sim_disk *disk = sim_node_disk(run->world->node);
    uint64_t more = rng_below(&run->rng, 3 * run->world->options.log.segment_bytes);
    sim_disk_set_capacity(disk, is_full ? sim_disk_used(disk) + more : SIM_DISK_CAPACITY_DEFAULT);
    run->n_full += is_full;
}

static void end_trouble(struct run *run)
{
    static const struct sim_disk_options calm;
    struct sim_disk *disk = sim_node_disk(run->world->node);
    sim_node_crash_after(run->world->node, 0);
    sim_disk_set_options(disk, &calm);
    sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
}

static void live(struct run *run, uint64_t steps, enum trouble trouble)
{
    bool is_full = false;
    for (uint64_t i = 0; i < steps && !is_dead(run); i++) {
        if (trouble == TROUBLE_SPACE && rng_chance(&run->rng, 1, 40)) {
            is_full = !is_full;
            change_space(run, is_full);
        }
        log_world_step(run->world);
        if (!is_dead(run) && rng_chance(&run->rng, 1, 3))
            look(run);
        if (!is_dead(run) && rng_chance(&run->rng, 1, 60))
            raftlog_append_hints(run->world->log);
        if (!is_dead(run) && trouble != TROUBLE_SPACE && rng_chance(&run->rng, 1, 50))
            settle(run);
    }
}

static int run_open(struct run *run, struct err *err)
{
    liar_take(sim_node_env(run->world->node), run->how->plant);
    return log_world_open(run->world, err);
}

/* Recovery that dies, or meets errors: it must refuse, and leave everything as it was. */
static void bad_recovery(struct run *run)
{
    struct log_world *w = run->world;
    struct err err = {0};
    enum trouble trouble = begin_trouble(run);
    if (trouble == TROUBLE_SPACE)
        change_space(run, true);
    if (trouble == TROUBLE_CRASH)
        sim_node_crash_after(w->node, rng_between(&run->rng, 1, 8));
    int rv = run_open(run, &err);
    if (rv == ERR_CORRUPT)
        run_fail(run, err.msg);
    run->n_refused += rv != 0;
    run->n_recoveries++;
    end_trouble(run);
    log_world_crash(w, rng_chance(&run->rng, 1, 2) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
}

static void recover(struct run *run)
{
    struct log_world *w = run->world;
    struct err err = {0};
    while (rng_chance(&run->rng, 1, 3))
        bad_recovery(run);
    if (run_open(run, &err) != 0)
        run_fail(run, err.msg);
    log_world_adopt(w);
    uint64_t k = w->n_acked = w->n_ops;
    if (rng_chance(&run->rng, 1, 3))
        return;
    /* What was found once is found again. */
    log_world_crash(w, rng_chance(&run->rng, 1, 4) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
    if (run_open(run, &err) != 0)
        run_fail(run, err.msg);
    log_world_adopt(w);
    if (w->n_ops != k)
        run_fail(run, "what one recovery found, the next does not");
}

static void one_life(struct run *run, uint64_t steps)
{
    struct log_world *w = run->world;
    struct raftlog_stats stats;
    run->life++;
    enum trouble trouble = begin_trouble(run);
    live(run, steps, trouble);
    end_trouble(run);
    run->n_dead += is_dead(run);
    raftlog_stats(w->log, &stats);
    run->n_rewritten += stats.rewritten_bytes;
    run->n_dropped += stats.segments_dropped;
    if (!is_dead(run) && rng_chance(&run->rng, 1, 2))
        settle(run);
    if (!is_dead(run) && (trouble == TROUBLE_SPACE || run->is_large))
        expect_room(run);
    if (!is_dead(run) && rng_chance(&run->rng, 1, 3))
        flip_some(run);
    raftlog_check(w->log);
    log_world_crash(w, rng_chance(&run->rng, 1, 3) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
    forget_reads(run);
    recover(run);
}

static void draw_knobs(struct run *run, struct log_world_options *o)
{
    struct rng *rng = &run->rng;
    log_world_options_init(o, run->how->seed);
    o->log.segment_bytes = (size_t)4096 << rng_below(rng, 3);
    o->log.budget_bytes = o->log.segment_bytes * rng_between(rng, 4, 16);
    o->log.no_zeroing = run->how->seed % 4 == 1;
    o->may_block = run->how->seed % 3 == 1;
    if (run->how->seed % 5 == 2)
        o->log.ahead_bytes = o->log.segment_bytes / 4 * 3;
    o->log.limit_bytes = o->log.budget_bytes * rng_between(rng, 1, 4);
    o->log.cache_bytes = (size_t)rng_between(rng, 0, 20000);
    o->log.batch_bytes_max = (size_t)rng_between(rng, 1, 4000);
    o->log.retry_us = rng_between(rng, 1000, 300000);
    o->log.no_rewrite = rng_chance(rng, 1, 10);
    o->log.callbacks =
        (struct raftlog_callbacks){.on_room = run_on_room, .on_damage = run_on_damage};
    o->log.data = run;
    o->len_max = (uint32_t)rng_between(rng, 1, 600);
    o->big_percent = (uint32_t)rng_below(rng, 10);
    run->is_large = run->how->seed % 7 == 0;
    if (run->is_large)
        o->len_max = WORLD_LEN_MAX / 8;
}

static uint64_t run_seed(const struct seeds_run *how)
{
    struct run *run = calloc(1, sizeof *run);
    struct log_world_options options;
    assert_non_null(run);
    run->how = how;
    rng_init(&run->rng, how->seed ^ UINT64_C(0x6c6f67));
    draw_knobs(run, &options);
    struct log_world *w = run->world = log_world_new(&options);
    struct sim_options world = *sim_get_options(w->sim);
    world.fault_site_ppm = rng_chance(&run->rng, 1, 2) ? 500000 : 0;
    world.work_us_max = rng_between(&run->rng, 10, 5000);
    world.work_us_min = MIN(world.work_us_min, world.work_us_max);
    sim_set_options(w->sim, &world);
    for (uint64_t left = how->steps; left > 0;) {
        uint64_t steps = rng_between(&run->rng, 1, 150);
        steps = MIN(steps, left);
        one_life(run, steps);
        left -= steps;
    }
    uint64_t hash = sim_hash(w->sim) ^ sim_disk_hash(sim_node_disk(w->node));
    if (how->is_verbose)
        printf("lives %llu dead %llu recoveries %llu refused %llu reads %llu failed %llu full %llu "
               "room told %llu flips %llu named %llu rewritten %llu dropped %llu\n",
               (unsigned long long)run->life, (unsigned long long)run->n_dead,
               (unsigned long long)run->n_recoveries, (unsigned long long)run->n_refused,
               (unsigned long long)run->n_reads, (unsigned long long)run->n_failed_reads,
               (unsigned long long)run->n_full, (unsigned long long)run->n_room_told,
               (unsigned long long)run->n_flips, (unsigned long long)run->n_named,
               (unsigned long long)run->n_rewritten, (unsigned long long)run->n_dropped);
    log_world_crash(w, SIM_CRASH_KILL);
    log_world_free(w);
    free(run);
    return hash;
}

int main(int argc, char **argv)
{
    static const struct seeds_program program = {
        .name = "holdfast-log-sim",
        .steps = 400,
        .timeout_s = 60,
        .run = run_seed,
        .plants = liar_lies,
    };
    return seeds_main(&program, argc, argv);
}
