/* SPDX-License-Identifier: Apache-2.0
 *
 * A store that starts on a disk without room.
 */
#include <string.h>

#include "support/check.h"

#include "store/store_internal.h"
#include "store_rig.h"

enum { LEFTOVER = 1 << 20 };
#define LEFTOVER_PATH "data/engine/900000.tbl"

static struct rig rig;

static void begin(void)
{
    rig_open(&rig, 1);
    rig_grow_begin(&rig);
    rig.options.water = (struct watermark_limits){0};
    rig_grow(&rig);
}

/* As a compaction leaves it that had not ended when its process did. */
static void leave_over(struct env *env)
{
    static const uint8_t bytes[LEFTOVER];
    struct env_file *file = NULL;
    assert_int_equal(
        env_file_open(env, LEFTOVER_PATH, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file, NULL), 0);
    assert_int_equal(env_file_write(file, 0, bytes, sizeof bytes, NULL), 0);
    assert_int_equal(env_file_sync(file, NULL), 0);
    env_file_close(file);
}

static void fill(void)
{
    struct sim_disk *disk = sim_node_disk(rig.nodes[0]);
    sim_disk_set_capacity(disk, sim_disk_used(disk));
}

/* What fills the disk is its own, and goes before anything else is written. */
static void test_leftovers_make_room(void **state)
{
    struct err err = {0};
    uint64_t size;
    bool is_dir;
    (void)state;
    begin();
    uint64_t boot = store_identity(rig.stores[0])->boot_number;
    leave_over(sim_node_env(rig.nodes[0]));
    rig_crash(&rig, 0, SIM_CRASH_KILL);
    fill();
    if (rig_start(&rig, 0, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(env_file_stat(sim_node_env(rig.nodes[0]), LEFTOVER_PATH, &size, &is_dir, NULL),
                     ERR_NOT_FOUND);
    assert_int_equal(store_identity(rig.stores[0])->boot_number, boot + 1);
    rig_run(&rig, 2000 * RIG_MS);
    struct rig_answer *a = rig_put(&rig, 0, "k", "v", 1000);
    rig_run(&rig, 1100 * RIG_MS);
    assert_int_equal(a->count, 1);
    assert_int_equal(a->status, 0);
    rig_close(&rig);
}

/* A start that could not be counted was none: the next one has the number. */
static void test_no_room_at_all(void **state)
{
    struct err err = {0};
    (void)state;
    begin();
    uint64_t boot = store_identity(rig.stores[0])->boot_number;
    rig_crash(&rig, 0, SIM_CRASH_KILL);
    fill();
    assert_int_equal(rig_start(&rig, 0, &err), ERR_NO_SPACE);
    sim_disk_set_capacity(sim_node_disk(rig.nodes[0]), SIM_DISK_CAPACITY_DEFAULT);
    assert_int_equal(rig_start(&rig, 0, &err), 0);
    assert_int_equal(store_identity(rig.stores[0])->boot_number, boot + 1);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leftovers_make_room),
        cmocka_unit_test(test_no_room_at_all),
    };
    return cmocka_run_group_tests_name("full_disk", tests, NULL, NULL);
}
