/* SPDX-License-Identifier: Apache-2.0
 *
 * The disk against a model that knows, for each byte and each name, everything
 * that a crash may show: random writes, truncations, syncs, write-back, renames,
 * kills and losses of power.
 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "env/env.h"
#include "env/sim/sim.h"

enum { BYTES = 12000, NAMES = 6, IDS = 255, NOTHING = 0 };

/* A set of values 0..255. */
struct set {
    uint32_t bits[8];
};

static void set_only(struct set *set, uint8_t v)
{
    memset(set, 0, sizeof *set);
    set->bits[v / 32] |= BIT(v % 32);
}

static void set_add(struct set *set, uint8_t v)
{
    set->bits[v / 32] |= BIT(v % 32);
}

static bool set_has(const struct set *set, uint8_t v)
{
    return set->bits[v / 32] & BIT(v % 32);
}

struct world {
    struct sim *sim;
    struct sim_node *node;
    struct rng *rng;
};

static void world_setup(struct world *w, uint64_t seed, uint32_t writeback_ppm)
{
    struct sim_options options;
    sim_options_init(&options);
    options.disk.writeback_ppm = writeback_ppm;
    w->sim = sim_new(&options, seed);
    w->node = sim_node_new(w->sim, "n1");
    w->rng = sim_rng(w->sim);
}

static void world_crash(struct world *w, bool is_power)
{
    sim_node_crash(w->node, is_power ? SIM_CRASH_POWER : SIM_CRASH_KILL);
    sim_node_restart(w->node);
    sim_check(w->sim);
}

static struct env_file *open_file(struct world *w, const char *path)
{
    struct env_file *file = NULL;
    int flags = ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE;
    assert_int_equal(env_file_open(sim_node_env(w->node), path, flags, &file, NULL), 0);
    return file;
}

/* ---- bytes --------------------------------------------------------------- */

struct model {
    uint8_t cur[BYTES];
    struct set may[BYTES]; /* what a loss of power may show */
    uint64_t size;
    uint64_t size_min; /* since the last sync */
    uint64_t size_max;
};

static void model_settle(struct model *m)
{
    for (size_t i = 0; i < BYTES; i++)
        set_only(&m->may[i], m->cur[i]);
    m->size_min = m->size_max = m->size;
}

static void model_resize(struct model *m, uint64_t size)
{
    for (uint64_t i = size; i < m->size; i++) {
        m->cur[i] = 0;
        set_add(&m->may[i], 0);
    }
    m->size = size;
    m->size_min = MIN(m->size_min, size);
    m->size_max = MAX(m->size_max, size);
}

static void model_write(struct model *m, uint64_t offset, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        m->cur[offset + i] = data[i];
        set_add(&m->may[offset + i], data[i]);
    }
    m->size = MAX(m->size, offset + len);
    m->size_max = MAX(m->size_max, m->size);
}

static void random_write(struct world *w, struct model *m, struct env_file *file)
{
    uint8_t data[3000];
    size_t len = (size_t)rng_between(w->rng, 1, rng_chance(w->rng, 1, 2) ? 20 : sizeof data);
    uint64_t offset = rng_below(w->rng, BYTES - len);
    bool zeroes = rng_chance(w->rng, 1, 8);
    for (size_t i = 0; i < len; i++)
        data[i] = zeroes ? 0 : (uint8_t)rng_u64(w->rng);
    assert_int_equal(env_file_write(file, offset, data, len, NULL), 0);
    model_write(m, offset, data, len);
}

/* What is there must be what may be; then that is the new truth. */
static void model_compare(struct world *w, struct model *m, bool is_power)
{
    uint8_t data[BYTES] = {0};
    size_t len = 0;
    struct env_file *file = open_file(w, "f");
    assert_int_equal(env_file_read(file, 0, data, sizeof data, &len, NULL), 0);
    env_file_close(file);
    if (!is_power) {
        assert_true(len == m->size);
        assert_memory_equal(data, m->cur, BYTES);
        return;
    }
    assert_true(len >= m->size_min && len <= m->size_max);
    for (size_t i = 0; i < len; i++)
        if (!set_has(&m->may[i], data[i]))
            fail_msg("byte %zu of %zu is %u", i, len, data[i]);
    memcpy(m->cur, data, BYTES);
    m->size = len;
    model_settle(m);
}

static void bytes_round(uint64_t seed)
{
    static const uint32_t writebacks[] = {0, 100000, 1000000};
    struct world w;
    struct model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    world_setup(&w, seed, writebacks[seed % 3]);
    env_file_close(open_file(&w, "f"));
    assert_int_equal(env_dir_sync(sim_node_env(w.node), "", NULL), 0);
    model_settle(m);
    for (int i = 0; i < 30; i++) {
        struct env_file *file = open_file(&w, "f");
        for (uint64_t n = rng_below(w.rng, 12); n > 0; n--) {
            uint64_t size = rng_below(w.rng, BYTES);
            switch (rng_below(w.rng, 8)) {
            case 0:
                assert_int_equal(env_file_truncate(file, size, NULL), 0);
                model_resize(m, size);
                break;
            case 1:
                assert_int_equal(env_file_sync(file, NULL), 0);
                model_settle(m);
                break;
            default:
                random_write(&w, m, file);
            }
        }
        bool is_power = rng_chance(w.rng, 1, 2);
        env_file_close(file);
        world_crash(&w, is_power);
        model_compare(&w, m, is_power);
        if (rng_chance(w.rng, 1, 4)) { /* what power left is durable */
            if (is_power)
                world_crash(&w, true);
            model_compare(&w, m, is_power);
        }
    }
    sim_free(w.sim);
    free(m);
}

static void test_bytes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++)
        bytes_round(seed);
}

/* ---- names ---------------------------------------------------------------- */

/* Each file holds one byte, its id, synced. A name may show every id that it had
 * since the folder's last sync. */
struct names {
    uint8_t cur[NAMES]; /* id or NOTHING */
    struct set may[NAMES];
    uint8_t last_id;
};

static const char *name_of(size_t i)
{
    static const char *const texts[NAMES] = {"d/a", "d/b", "d/c", "d/d", "d/e", "d/f"};
    return texts[i];
}

static void names_put(struct names *n, size_t i, uint8_t id)
{
    n->cur[i] = id;
    set_add(&n->may[i], id);
}

static void names_settle(struct names *n)
{
    for (size_t i = 0; i < NAMES; i++)
        set_only(&n->may[i], n->cur[i]);
}

static void names_create(struct world *w, struct names *n, size_t i)
{
    if (n->cur[i] != NOTHING || n->last_id == IDS)
        return;
    uint8_t id = ++n->last_id;
    struct env_file *file = open_file(w, name_of(i));
    assert_int_equal(env_file_write(file, 0, &id, 1, NULL), 0);
    assert_int_equal(env_file_sync(file, NULL), 0);
    env_file_close(file);
    names_put(n, i, id);
}

static void names_step(struct world *w, struct names *n)
{
    struct env *env = sim_node_env(w->node);
    size_t i = (size_t)rng_below(w->rng, NAMES);
    size_t j = (size_t)rng_below(w->rng, NAMES);
    bool is_there = n->cur[i] != NOTHING;
    switch (rng_below(w->rng, 6)) {
    case 0:
        assert_int_equal(env_file_unlink(env, name_of(i), NULL), is_there ? 0 : ERR_NOT_FOUND);
        names_put(n, i, NOTHING);
        break;
    case 1:
        assert_int_equal(env_file_rename(env, name_of(i), name_of(j), NULL),
                         is_there ? 0 : ERR_NOT_FOUND);
        if (!is_there || n->cur[i] == n->cur[j])
            break;
        names_put(n, j, n->cur[i]);
        names_put(n, i, NOTHING);
        break;
    case 2:
        if (!is_there || n->cur[j] != NOTHING)
            break;
        assert_int_equal(env_file_link(env, name_of(i), name_of(j), NULL), 0);
        names_put(n, j, n->cur[i]);
        break;
    case 3:
        if (rng_chance(w->rng, 1, 4)) {
            assert_int_equal(env_dir_sync(env, "d", NULL), 0);
            names_settle(n);
        }
        break;
    default:
        names_create(w, n, i);
    }
}

static void names_compare(struct world *w, struct names *n)
{
    for (size_t i = 0; i < NAMES; i++) {
        uint8_t id = NOTHING;
        size_t len = 0;
        struct env_file *file = NULL;
        if (env_file_open(sim_node_env(w->node), name_of(i), ENV_OPEN_READ, &file, NULL) == 0) {
            assert_int_equal(env_file_read(file, 0, &id, 1, &len, NULL), 0);
            assert_int_equal(len, 1); /* the bytes were synced, whoever names them */
            env_file_close(file);
        }
        if (!set_has(&n->may[i], id))
            fail_msg("%s is %u", name_of(i), id);
        n->cur[i] = id;
    }
    names_settle(n);
}

static void test_names(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct world w;
        struct names n = {0};
        world_setup(&w, seed, 0);
        assert_int_equal(env_dir_make(sim_node_env(w.node), "d", NULL), 0);
        assert_int_equal(env_dir_sync(sim_node_env(w.node), "", NULL), 0);
        names_settle(&n);
        for (int i = 0; i < 20; i++) {
            for (uint64_t k = rng_below(w.rng, 15); k > 0; k--)
                names_step(&w, &n);
            if (rng_chance(w.rng, 1, 3))
                world_crash(&w, false); /* nothing changes, not even what may be lost */
            world_crash(&w, true);
            names_compare(&w, &n);
        }
        sim_free(w.sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
