/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-engine-sim — the engine alone against a model, from one seed.
 *
 * A run is several lives of one engine. In each: random writes, flushes, span edits with
 * staged files, garbage collection, compactions, checkpoints, reads at old versions, views
 * and iterators that stay open over all of it, under a trouble drawn for this life (a crash
 * at some disk call, I/O errors, a disk that fills up and clears); then the process is
 * killed or the power goes, opening may die or meet errors several times, and what opens at
 * last must be the state after a prefix of the order that has everything acknowledged.
 * Between lives a bit, a byte or a run of bytes of some file is changed in a copy of the disk:
 * damage is named, nothing wrong is served, nor after all has been compacted over it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "support/check.h"
#include "support/liar.h"
#include "support/lsm_world.h"
#include "support/seeds.h"

enum { VIEWS_MAX = 3, ITERS_MAX = 3, COPY_WORKS_US = 5000000 };

enum trouble { TROUBLE_NONE, TROUBLE_CRASH, TROUBLE_ERRORS, TROUBLE_SPACE, TROUBLE_NR };

/* A view that is held, and what it must show for as long as it is. */
struct held_view {
    struct lsm_view *view; /* NULL: none */
    struct model model;
    uint64_t safe_version;
};

struct run {
    const struct seeds_run *how;
    const char *lie; /* of the world; NULL: none */
    struct world world;
    struct rng rng;
    struct held_view views[VIEWS_MAX];
    struct world_iter iters[ITERS_MAX];
    uint64_t life;
    uint64_t n_checkpoints;
    /* what happened, to be shown */
    uint64_t n_dead, n_recoveries, n_refused, n_full, n_flips, n_named, n_over, n_moves, n_compared,
        n_unstaged, n_compactions, n_shares, n_edits, n_value_bytes, n_value_moved;
};

static void run_fail(const struct run *run, const char *where, const char *what)
{
    fail_msg("seed %llu life %llu %s: %s", (unsigned long long)run->how->seed,
             (unsigned long long)run->life, where, what);
}

static bool is_dead(const struct run *run)
{
    return sim_node_is_dead(run->world.node);
}

/* ---- what is held open ------------------------------------------------------------ */

static void view_drop(struct held_view *held)
{
    lsm_view_unref(held->view);
    model_fini(&held->model);
    held->view = NULL;
}

static void view_step(struct run *run, struct held_view *held)
{
    struct world *w = &run->world;
    if (held->view == NULL) {
        held->view = lsm_view_take(w->lsm);
        assert_non_null(held->view);
        held->safe_version = w->safe_version;
        world_now(w, &held->model);
    } else if (rng_chance(&run->rng, 1, 3)) {
        view_drop(held);
    } else {
        const char *bad = world_compare_view(w, held->view, &held->model, held->safe_version);
        if (bad != NULL)
            run_fail(run, "a view held open", bad);
        run->n_compared++;
    }
}

static void iter_step(struct run *run, struct world_iter *it)
{
    struct world *w = &run->world;
    if (it->it == NULL) {
        struct lsm_view *view = lsm_view_take(w->lsm);
        struct model now;
        assert_non_null(view);
        world_now(w, &now);
        world_iter_open(w, it, view, &now, UINT64_MAX);
        model_fini(&now);
        lsm_view_unref(view);
    } else if (rng_chance(&run->rng, 1, 12)) {
        world_iter_close(it);
    } else {
        const char *bad = world_iter_move(w, it);
        if (bad != NULL)
            run_fail(run, "an iterator held open", bad);
        run->n_moves++;
    }
}

static void drop_all(struct run *run)
{
    for (size_t i = 0; i < VIEWS_MAX; i++)
        view_drop(&run->views[i]);
    for (size_t i = 0; i < ITERS_MAX; i++)
        world_iter_close(&run->iters[i]);
}

static void compare_now(struct run *run, const char *where)
{
    struct model now;
    world_now(&run->world, &now);
    const char *bad = world_compare(&run->world, run->world.lsm, &now);
    if (bad != NULL)
        run_fail(run, where, bad);
    model_fini(&now);
    lsm_check(run->world.lsm);
    run->n_compared++;
}

/* ---- copies: checkpoints and rot ------------------------------------------------------ */

/* An engine in a world of its own, on a disk that becomes that world's. */
struct copy {
    struct sim *sim;
    struct sim_node *node;
    struct lsm *lsm; /* NULL: it did not open */
};

static int copy_open(struct copy *copy, struct run *run, struct sim_disk *disk, const char *dir,
                     struct err *err)
{
    struct lsm_options options = run->world.options;
    options.callbacks = (struct lsm_callbacks){0};
    *copy = (struct copy){.sim = sim_new(NULL, 1)};
    sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
    copy->node = sim_node_new_on(copy->sim, "n1", disk);
    int rv = lsm_open(&copy->lsm, sim_node_env(copy->node), dir, &options, err);
    if (rv != 0)
        copy->lsm = NULL;
    return rv;
}

static void copy_close(struct copy *copy)
{
    sim_node_crash(copy->node, SIM_CRASH_KILL);
    lsm_free(copy->lsm);
    sim_free(copy->sim);
}

/* A checkpoint shows what was durable when it was made, after a loss of power too. */
static void checkpoint(struct run *run)
{
    struct world *w = &run->world;
    struct env *env = sim_node_env(w->node);
    char dir[32];
    struct err err = {0};
    struct model durable;
    struct copy copy;
    struct lsm_view *view = lsm_view_take(w->lsm);
    snprintf(dir, sizeof dir, "copy%llu", (unsigned long long)++run->n_checkpoints);
    world_prefix(w, w->step_acked, &durable);
    int rv = lsm_checkpoint(view, dir, &err);
    lsm_view_unref(view);
    if (rv == 0)
        rv = env_dir_sync(env, ".", &err);
    if (rv == 0) {
        rv = copy_open(&copy, run, sim_disk_crash_image(sim_node_disk(w->node), &run->rng), dir,
                       &err);
        if (rv != 0)
            run_fail(run, "checkpoint", err.msg);
        const char *bad = world_compare(w, copy.lsm, &durable);
        if (bad != NULL)
            run_fail(run, "checkpoint", bad);
        copy_close(&copy);
    } else if (rv != ERR_IO && rv != ERR_NO_SPACE) {
        run_fail(run, "checkpoint", err.msg);
    }
    model_fini(&durable);
}

struct target {
    struct rng *rng;
    char path[64];
    uint64_t size;
    uint64_t n;
};

static void pick_file(void *data, const char *path, uint64_t size)
{
    struct target *t = data;
    bool is_ours = strncmp(path, "db/", 3) == 0 || strncmp(path, "/db/", 4) == 0;
    if (!is_ours || size == 0 || strstr(path, "LOCK") != NULL || !rng_chance(t->rng, 1, ++t->n))
        return;
    snprintf(t->path, sizeof t->path, "%s", path);
    t->size = size;
}

/* One bit, another byte, or noise over some bytes in a row. These in no manifest: the last
 * record and its seal gone together are what a crash before them leaves. */
static void spoil(struct run *run, struct sim_disk *disk, const struct target *t)
{
    enum { RUN_MAX = 600 };
    bool is_manifest = strstr(t->path, "MANIFEST") != NULL;
    uint64_t at = rng_below(&run->rng, t->size), kind = rng_below(&run->rng, is_manifest ? 2 : 3);
    uint64_t len = kind == 2 ? rng_between(&run->rng, 2, RUN_MAX) : 1;
    uint64_t end = MIN(at + len, t->size);
    for (uint64_t byte = at; byte < end; byte++) {
        uint64_t bits = kind == 0 ? UINT64_C(1) << rng_below(&run->rng, 8)
                                  : rng_between(&run->rng, byte == at ? 1 : 0, 255);
        for (uint64_t bit = 0; bit < 8; bit++) {
            if ((bits >> bit & 1) != 0)
                assert_int_equal(sim_disk_flip_bit(disk, t->path, byte * 8 + bit), 0);
        }
    }
}

static void compare_copy(struct run *run, const struct copy *copy, const char *where)
{
    struct world *w = &run->world;
    bool may_fail = w->tolerate;
    struct model durable;
    w->tolerate = true;
    world_prefix(w, w->step_acked, &durable);
    const char *bad = world_compare(w, copy->lsm, &durable);
    if (bad != NULL)
        run_fail(run, where, bad);
    model_fini(&durable);
    w->tolerate = may_fail;
}

/* The open is refused and names the file, or every read is right or says where it is not;
 * what a compaction makes of it, too. */
static void spoil_one(struct run *run)
{
    struct world *w = &run->world;
    struct target t = {.rng = &run->rng};
    struct sim_disk *disk = sim_disk_clone(sim_node_disk(w->node));
    struct err err = {0};
    struct copy copy;
    sim_disk_each_file(disk, pick_file, &t);
    assert_true(t.n > 0);
    spoil(run, disk, &t);
    size_t failures = w->failures;
    int rv = copy_open(&copy, run, disk, "db", &err);
    if (rv != 0 && (rv != ERR_CORRUPT || strstr(err.msg, strrchr(t.path, '/') + 1) == NULL))
        run_fail(run, t.path, err.msg);
    if (rv == 0)
        compare_copy(run, &copy, t.path);
    if (rv == 0 && rng_chance(&run->rng, 1, 2)) {
        assert_int_equal(lsm_compact(copy.lsm, (struct slice){0}, (struct slice){0}), 0);
        sim_run_until(copy.sim, sim_now_us(copy.sim) + COPY_WORKS_US);
        compare_copy(run, &copy, "compacted over damage");
        run->n_over++;
    }
    copy_close(&copy);
    run->n_flips++;
    run->n_named += rv != 0 || w->failures > failures;
}

/* ---- lives ------------------------------------------------------------------------------ */

static enum trouble begin_trouble(struct run *run)
{
    struct world *w = &run->world;
    enum trouble trouble = (enum trouble)rng_below(&run->rng, TROUBLE_NR);
    struct sim_disk_options o = {.writeback_ppm = (uint32_t)rng_below(&run->rng, 400000)};
    if (trouble == TROUBLE_CRASH)
        sim_node_crash_after(w->node,
                             rng_between(&run->rng, 1, UINT64_C(1) << rng_below(&run->rng, 11)));
    if (trouble == TROUBLE_ERRORS) {
        if (rng_chance(&run->rng, 1, 2))
            o.write_error_ppm = (uint32_t)rng_below(&run->rng, 100000);
        if (rng_chance(&run->rng, 1, 2))
            o.sync_error_ppm = (uint32_t)rng_below(&run->rng, 10000);
        if (rng_chance(&run->rng, 1, 2))
            o.read_error_ppm = (uint32_t)rng_below(&run->rng, 50000);
        w->tolerate = true;
    }
    sim_disk_set_options(sim_node_disk(w->node), &o);
    return trouble;
}

static void change_space(struct run *run, bool is_full)
{
    struct sim_disk *disk = sim_node_disk(run->world.node);
    uint64_t more = rng_below(&run->rng, 4 * run->world.options.memtable_bytes);
    sim_disk_set_capacity(disk, is_full ? sim_disk_used(disk) + more : SIM_DISK_CAPACITY_DEFAULT);
    run->n_full += is_full;
}

static void end_trouble(struct run *run)
{
    static const struct sim_disk_options calm;
    struct sim_disk *disk = sim_node_disk(run->world.node);
    sim_node_crash_after(run->world.node, 0);
    sim_disk_set_options(disk, &calm);
    sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
}

static void look(struct run *run)
{
    if (rng_chance(&run->rng, 1, 6))
        view_step(run, &run->views[rng_below(&run->rng, VIEWS_MAX)]);
    for (uint64_t n = rng_below(&run->rng, 3); n > 0; n--)
        iter_step(run, &run->iters[rng_below(&run->rng, ITERS_MAX)]);
    if (rng_chance(&run->rng, 1, 30))
        compare_now(run, "at work");
    if (rng_chance(&run->rng, 1, 100))
        checkpoint(run);
}

static void live(struct run *run, uint64_t steps, enum trouble trouble)
{
    bool is_full = false;
    for (uint64_t i = 0; i < steps && !is_dead(run); i++) {
        if (trouble == TROUBLE_SPACE && rng_chance(&run->rng, 1, 30)) {
            is_full = !is_full;
            change_space(run, is_full);
        }
        world_step(&run->world);
        if (!is_dead(run))
            look(run);
    }
}

/* An open that dies, or meets errors: it must refuse, and leave everything as it was. */
static void bad_open(struct run *run)
{
    struct world *w = &run->world;
    struct err err = {0};
    enum trouble trouble = begin_trouble(run);
    if (trouble == TROUBLE_SPACE)
        change_space(run, true);
    if (trouble == TROUBLE_CRASH)
        sim_node_crash_after(w->node, rng_between(&run->rng, 1, 16));
    liar_take(sim_node_env(w->node), run->lie);
    int rv = world_open(w, &err);
    if (rv == ERR_CORRUPT)
        run_fail(run, "a bad open", err.msg);
    if (rv != 0)
        w->lsm = NULL;
    run->n_refused += rv != 0;
    run->n_recoveries++;
    end_trouble(run);
    world_crash(w, rng_chance(&run->rng, 1, 2) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
    sim_node_restart(w->node);
}

static void open_well(struct run *run)
{
    struct err err = {0};
    liar_take(sim_node_env(run->world.node), run->lie);
    if (world_open(&run->world, &err) != 0)
        run_fail(run, "open", err.msg);
}

static void reopen(struct run *run)
{
    struct world *w = &run->world;
    while (rng_chance(&run->rng, 1, 3))
        bad_open(run);
    open_well(run);
    size_t n = world_match(w, w->lsm, "after a crash");
    world_rebase(w, n);
    if (rng_chance(&run->rng, 1, 3))
        return;
    /* What was found once is found again. */
    world_crash(w, rng_chance(&run->rng, 1, 4) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
    sim_node_restart(w->node);
    open_well(run);
    compare_now(run, "opened again");
}

/* With the trouble over, everything that waited is done in a while. */
static void settle(struct run *run)
{
    struct world *w = &run->world;
    struct lsm_stats stats;
    world_settle(w);
    /* A pause after a failure may outlast the work that it was for. */
    sim_run_until(w->sim, sim_now_us(w->sim) + w->options.retry_us_max);
    world_settle(w);
    if (is_dead(run))
        return; /* by a call that had failed before */
    lsm_stats(w->lsm, &stats);
    if (w->step_acked != w->step_count || stats.retry_status != 0)
        fail_msg("seed %llu life %llu: %zu of %zu done, waits for %d %s",
                 (unsigned long long)run->how->seed, (unsigned long long)run->life, w->step_acked,
                 w->step_count, stats.retry_status, stats.retry_text);
    uint64_t garbage = stats.value_bytes - stats.value_live_bytes;
    if (!w->options.no_auto_compaction && stats.value_bytes > 0 &&
        garbage * 100 >= stats.value_bytes * w->options.value_garbage_percent)
        run_fail(run, "settled", "garbage stays in value files");
    struct lsm_view *view = lsm_view_take(w->lsm);
    struct err err = {0};
    if (lsm_verify(view, NULL, NULL, &err) != 0)
        run_fail(run, "verify", err.msg);
    lsm_view_unref(view);
    compare_now(run, "settled");
}

static void one_life(struct run *run, uint64_t steps)
{
    struct world *w = &run->world;
    struct lsm_stats stats;
    run->life++;
    enum trouble trouble = begin_trouble(run);
    live(run, steps, trouble);
    end_trouble(run);
    bool must_settle = trouble == TROUBLE_SPACE || rng_chance(&run->rng, 1, 2);
    if (!is_dead(run) && must_settle) {
        drop_all(run);
        w->tolerate = false;
        settle(run);
    }
    if (!is_dead(run) && must_settle && rng_chance(&run->rng, 1, 2)) {
        for (uint64_t n = rng_between(&run->rng, 1, 6); n > 0 && !is_dead(run); n--)
            spoil_one(run);
    }
    run->n_dead += is_dead(run);
    lsm_stats(w->lsm, &stats);
    run->n_compactions += stats.compactions;
    run->n_shares += stats.compact_shares;
    run->n_edits += stats.edits;
    run->n_value_bytes += stats.value_write_bytes;
    run->n_value_moved += stats.value_moved_bytes;
    drop_all(run);
    w->tolerate = false;
    world_crash(w, rng_chance(&run->rng, 1, 3) ? SIM_CRASH_KILL : SIM_CRASH_POWER);
    sim_node_restart(w->node);
    reopen(run);
}

static void draw_knobs(struct run *run, struct lsm_options *o)
{
    struct rng *rng = &run->rng;
    world_options(o);
    o->memtable_bytes = (size_t)rng_between(rng, 200, 4000);
    o->memtables_max = (unsigned)rng_between(rng, 1, 4);
    o->block_bytes = (size_t)rng_between(rng, 1, 1000);
    o->restart_every = (unsigned)rng_between(rng, 1, 8);
    o->filter_bits = rng_chance(rng, 1, 4) ? 0 : (unsigned)rng_between(rng, 1, 20);
    o->no_compression = rng_chance(rng, 1, 3);
    o->cache_bytes = (size_t)rng_below(rng, 30000);
    o->table_bytes = (size_t)rng_between(rng, 1, 6000);
    o->l0_compact = (unsigned)rng_between(rng, 1, 5);
    o->l0_slow = o->l0_compact + (unsigned)rng_below(rng, 5);
    o->l0_stop = o->l0_slow + (unsigned)rng_between(rng, 1, 8);
    o->level_base_bytes = (size_t)rng_between(rng, 500, 8000);
    o->level_ratio = (unsigned)rng_between(rng, 2, 6);
    o->manifest_bytes = (size_t)rng_between(rng, 1, 6000);
    o->retry_us_min = rng_between(rng, 1000, 200000);
    o->retry_us_max = o->retry_us_min * rng_between(rng, 1, 20);
    o->no_auto_compaction = rng_chance(rng, 1, 20);
    o->value_bytes = rng_chance(rng, 1, 5) ? 0 : (size_t)rng_between(rng, 1, 200);
    o->value_garbage_percent = (unsigned)rng_between(rng, 1, 60);
    o->compact_bytes = run->how->seed % 5 == 1 ? 64 << 10 : 0;
    o->compact_shares = 1 + (unsigned)(run->how->seed / 5 % 4);
}

static void show(const struct run *run)
{
    printf("lives %llu dead %llu opens %llu refused %llu full %llu damaged %llu named %llu "
           "compacted over %llu moves %llu compared %llu checkpoints %llu compactions %llu shares "
           "%llu edits %llu values "
           "%llu moved %llu "
           "busy %zu failed "
           "reads %zu\n",
           (unsigned long long)run->life, (unsigned long long)run->n_dead,
           (unsigned long long)run->n_recoveries, (unsigned long long)run->n_refused,
           (unsigned long long)run->n_full, (unsigned long long)run->n_flips,
           (unsigned long long)run->n_named, (unsigned long long)run->n_over,
           (unsigned long long)run->n_moves, (unsigned long long)run->n_compared,
           (unsigned long long)run->n_checkpoints, (unsigned long long)run->n_compactions,
           (unsigned long long)run->n_shares, (unsigned long long)run->n_edits,
           (unsigned long long)run->n_value_bytes, (unsigned long long)run->n_value_moved,
           run->world.busy, run->world.failures);
}

static bool is_lie(const char *name)
{
    for (size_t i = 0; liar_lies[i] != NULL; i++) {
        if (strcmp(liar_lies[i], name) == 0)
            return true;
    }
    return false;
}

/* The lie of the world; a bug of the engine is chosen here. */
static const char *take_plant(const char *name)
{
    if (name == NULL || is_lie(name))
        return name;
#ifdef HOLDFAST_PLANTED
    if (plant_choose(name) == 0)
        return NULL;
#endif
    ASSERT(!"the bug is not in the list");
    return NULL;
}

static uint64_t run_seed(const struct seeds_run *how)
{
    struct run *run = calloc(1, sizeof *run);
    struct lsm_options options;
    assert_non_null(run);
    run->how = how;
    run->lie = take_plant(how->plant);
    rng_init(&run->rng, how->seed ^ UINT64_C(0x656e67));
    draw_knobs(run, &options);
    struct world *w = &run->world;
    world_init(w, how->seed, &options);
    struct sim_options world = *sim_get_options(w->sim);
    world.work_us_max = rng_between(&run->rng, 10, 5000);
    world.work_us_min = MIN(world.work_us_min, world.work_us_max);
    world.compact_threads = 1 + (uint32_t)(how->seed / 20 % 3);
    sim_set_options(w->sim, &world);
    open_well(run);
    for (uint64_t left = how->steps; left > 0;) {
        uint64_t steps = rng_between(&run->rng, 1, 200);
        steps = MIN(steps, left);
        one_life(run, steps);
        left -= steps;
    }
    uint64_t hash = sim_hash(w->sim) ^ sim_disk_hash(sim_node_disk(w->node));
    if (how->is_verbose)
        show(run);
    world_fini(w);
    free(run);
    return hash;
}

/* Lies of the world, and bugs of the engine in a planted build. */
static const char *const *plants(void)
{
    static const char *names[128];
    size_t count = 0;
    for (; liar_lies[count] != NULL; count++)
        names[count] = liar_lies[count];
#ifdef HOLDFAST_PLANTED
    for (unsigned i = 0; plant_name(i) != NULL && count < ARRAY_LEN(names) - 1; i++)
        names[count++] = plant_name(i);
#endif
    return names;
}

int main(int argc, char **argv)
{
    const struct seeds_program program = {
        .name = "holdfast-engine-sim",
        .steps = 400,
        .timeout_s = 120,
        .run = run_seed,
        .plants = plants(),
    };
    return seeds_main(&program, argc, argv);
}
