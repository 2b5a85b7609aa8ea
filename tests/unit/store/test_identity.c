/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "env/sim/sim.h"
#include "store/identity.h"
#include "support/check.h"
#include "support/crash_points.h"

#define DIR "data"
enum { STORE = 7, CLUSTER = 0xc1, CRASH_IMAGES = 8 };

struct world {
    struct sim *sim;
    struct sim_node *node;
    struct env *env;
};

static void world_open(struct world *w, struct sim_disk *disk)
{
    w->sim = sim_new(NULL, 1);
    w->node = disk == NULL ? sim_node_new(w->sim, "a") : sim_node_new_on(w->sim, "a", disk);
    w->env = sim_node_env(w->node);
    if (disk != NULL)
        return;
    assert_int_equal(env_dir_make(w->env, DIR, NULL), 0);
    assert_int_equal(env_dir_sync(w->env, ".", NULL), 0);
}

static void world_close(struct world *w)
{
    sim_free(w->sim);
}

static size_t two_members(const struct identity *id, struct identity_member *members)
{
    members[0] = (struct identity_member){.replica_id = 1, .store_id = STORE, .address = "a:1"};
    members[1] = (struct identity_member){.replica_id = 2, .store_id = 8, .address = "b:1"};
    memcpy(members[0].uuid, id->uuid, sizeof id->uuid);
    memset(members[1].uuid, 0x5a, sizeof members[1].uuid);
    return 2;
}

static int bootstrap(struct world *w, struct identity *id, uint64_t cluster)
{
    struct identity_member members[2];
    size_t n = two_members(id, members);
    return identity_bootstrap(w->env, DIR, id, cluster, members, n, NULL);
}

/* As a start does. */
static int boot(struct world *w, struct identity *id, struct err *err)
{
    int rv = identity_open(w->env, DIR, STORE, id, err);
    return rv == 0 ? identity_count_boot(w->env, DIR, id, err) : rv;
}

static void make_member(struct world *w, struct identity *id)
{
    assert_int_equal(boot(w, id, NULL), 0);
    assert_int_equal(bootstrap(w, id, CLUSTER), 0);
}

/* What is drawn at the first open stays; only the boot number grows. */
static void test_life(void **state)
{
    struct world w;
    struct identity id, again;
    (void)state;
    world_open(&w, NULL);
    make_member(&w, &id);
    assert_int_equal(id.boot_number, 1);
    assert_false(id.is_born);
    assert_int_equal(identity_set_born(w.env, DIR, &id, NULL), 0);
    assert_int_equal(identity_open(w.env, DIR, STORE, &again, NULL), 0);
    assert_int_equal(again.boot_number, 1); /* a look counts nothing */
    assert_int_equal(boot(&w, &again, NULL), 0);
    assert_int_equal(again.boot_number, 2);
    again.boot_number = 1;
    assert_true(again.is_born);
    assert_memory_equal(again.uuid, id.uuid, sizeof id.uuid);
    assert_int_equal(again.cluster_id, CLUSTER);
    assert_int_equal(again.member_count, 2);
    assert_string_equal(identity_member_by_store(&again, 8)->address, "b:1");
    assert_int_equal(identity_member_by_replica(&again, 1)->store_id, STORE);
    assert_null(identity_member_by_store(&again, 9));
    assert_null(identity_member_by_replica(&again, 9));
    world_close(&w);
}

static void test_two_stores_draw_two_uuids(void **state)
{
    struct world w;
    struct identity a, b;
    (void)state;
    world_open(&w, NULL);
    assert_int_equal(env_dir_make(w.env, "other", NULL), 0);
    assert_int_equal(identity_open(w.env, DIR, STORE, &a, NULL), 0);
    assert_int_equal(identity_open(w.env, "other", STORE, &b, NULL), 0);
    assert_memory_not_equal(a.uuid, b.uuid, sizeof a.uuid);
    world_close(&w);
}

static void test_wrong_store(void **state)
{
    struct world w;
    struct identity id = {.boot_number = 99};
    struct err err = {0};
    (void)state;
    world_open(&w, NULL);
    make_member(&w, &(struct identity){0});
    assert_int_equal(identity_open(w.env, DIR, 8, &id, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "belongs to store 7"));
    assert_int_equal(id.boot_number, 99);
    world_close(&w);
}

/* Old data must never answer under a new name. */
static void test_lost_file(void **state)
{
    static const char *const rooms[] = {DIR "/log", DIR "/engine"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        struct world w;
        struct identity id;
        struct err err = {0};
        world_open(&w, NULL);
        make_member(&w, &id);
        assert_int_equal(env_dir_make(w.env, rooms[i], NULL), 0);
        assert_int_equal(env_file_unlink(w.env, DIR "/STORE", NULL), 0);
        assert_int_equal(identity_open(w.env, DIR, STORE, &id, &err), ERR_STATE);
        assert_non_null(strstr(err.msg, "lost its identity"));
        world_close(&w);
    }
}

static void test_bootstrap_again(void **state)
{
    struct world w;
    struct identity id, stranger;
    struct identity_member members[2];
    (void)state;
    world_open(&w, NULL);
    make_member(&w, &id);
    assert_int_equal(bootstrap(&w, &id, CLUSTER), 0);
    assert_int_equal(bootstrap(&w, &id, CLUSTER + 1), ERR_EXISTS);
    two_members(&id, members);
    members[1].uuid[3] ^= 1;
    assert_int_equal(identity_bootstrap(w.env, DIR, &id, CLUSTER, members, 2, NULL), ERR_EXISTS);
    assert_int_equal(identity_bootstrap(w.env, DIR, &id, CLUSTER, members, 1, NULL), ERR_EXISTS);
    assert_int_equal(id.member_count, 2);

    /* A list in which this store stands under another uuid, or not at all. */
    assert_int_equal(env_dir_make(w.env, "other", NULL), 0);
    assert_int_equal(identity_open(w.env, "other", STORE, &stranger, NULL), 0);
    assert_int_equal(identity_bootstrap(w.env, "other", &stranger, CLUSTER, members, 2, NULL),
                     ERR_INVALID);
    assert_int_equal(identity_bootstrap(w.env, "other", &stranger, CLUSTER, members + 1, 1, NULL),
                     ERR_INVALID);
    assert_false(identity_is_bootstrapped(&stranger));
    world_close(&w);
}

/* Each byte of the file, and each length that it may be cut to. */
static void test_damage(void **state)
{
    struct world w;
    struct identity id;
    struct env_file *file = NULL;
    uint64_t size = 0;
    (void)state;
    world_open(&w, NULL);
    make_member(&w, &id);
    assert_int_equal(
        env_file_open(w.env, DIR "/STORE", ENV_OPEN_READ | ENV_OPEN_WRITE, &file, NULL), 0);
    assert_int_equal(env_file_size(file, &size, NULL), 0);
    for (uint64_t at = 0; at < size; at++) {
        uint64_t bit = at * 8 + at % 8;
        struct err err = {0};
        assert_int_equal(sim_disk_flip_bit(sim_node_disk(w.node), DIR "/STORE", bit), 0);
        int rv = identity_open(w.env, DIR, STORE, &id, &err);
        if (rv != ERR_CORRUPT)
            fail_msg("byte %llu: %s", (unsigned long long)at, err_name(rv));
        assert_non_null(strstr(err.msg, "STORE"));
        assert_int_equal(sim_disk_flip_bit(sim_node_disk(w.node), DIR "/STORE", bit), 0);
    }
    for (uint64_t keep = size; keep-- > 0;) {
        assert_int_equal(env_file_truncate(file, keep, NULL), 0);
        assert_int_equal(identity_open(w.env, DIR, STORE, &id, NULL), ERR_CORRUPT);
    }
    env_file_close(file);
    world_close(&w);
}

static void test_damage_marker(void **state)
{
    struct world w;
    struct err err = {0};
    struct sim_disk_options bad = {.read_error_ppm = 1000000};
    (void)state;
    world_open(&w, NULL);
    assert_int_equal(identity_check_damage(w.env, DIR, &err), 0);
    assert_int_equal(identity_mark_damaged(w.env, DIR, "a table: bad crc", &err), 0);
    assert_int_equal(identity_check_damage(w.env, DIR, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "a table: bad crc"));
    /* What cannot be read is not taken for "not damaged". */
    sim_disk_set_options(sim_node_disk(w.node), &bad);
    assert_int_equal(identity_check_damage(w.env, DIR, &err), ERR_IO);
    world_close(&w);
}

/* ---- crash at each call ----------------------------------------------------------- */

struct acked {
    struct identity id; /* store_id 0: nothing yet */
    bool is_damaged;
};

static void verify_image(void *data, const struct crash_point *point, struct sim_disk *image)
{
    const struct acked *a = data;
    struct world w;
    struct identity got;
    struct err err = {0};
    world_open(&w, image);
    int rv = boot(&w, &got, &err);
    if (rv != 0)
        fail_msg("call %llu (%s %s): %s", (unsigned long long)point->number, point->op, point->path,
                 err.msg);
    if (a->id.store_id != 0) {
        assert_memory_equal(got.uuid, a->id.uuid, sizeof got.uuid);
        assert_true(got.boot_number > a->id.boot_number);
        assert_true(got.cluster_id == a->id.cluster_id || a->id.cluster_id == 0);
        assert_true(got.is_born || !a->id.is_born);
    }
    assert_true(identity_is_bootstrapped(&got) || !got.is_born);
    rv = identity_check_damage(w.env, DIR, NULL);
    assert_true(rv == ERR_CORRUPT || (rv == 0 && !a->is_damaged));
    world_close(&w);
}

static void test_crash_points(void **state)
{
    struct world w;
    struct acked a = {0};
    struct crash_points points = {.images = CRASH_IMAGES, .verify = verify_image, .data = &a};
    (void)state;
    world_open(&w, NULL);
    crash_points_start(&points, sim_node_disk(w.node), 42);
    for (int life = 0; life < 3; life++) {
        struct identity next;
        assert_int_equal(boot(&w, &next, NULL), 0);
        a.id = next;
        assert_int_equal(bootstrap(&w, &next, CLUSTER), 0);
        a.id = next;
        assert_int_equal(identity_set_born(w.env, DIR, &next, NULL), 0);
        a.id = next;
    }
    assert_int_equal(identity_mark_damaged(w.env, DIR, "for the test", NULL), 0);
    a.is_damaged = true;
    struct identity last;
    assert_int_equal(boot(&w, &last, NULL), 0);
    crash_points_stop(&points);
    assert_true(points.n_images > 100);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_two_stores_draw_two_uuids),
        cmocka_unit_test(test_wrong_store),
        cmocka_unit_test(test_lost_file),
        cmocka_unit_test(test_bootstrap_again),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_damage_marker),
        cmocka_unit_test(test_crash_points),
    };
    return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
