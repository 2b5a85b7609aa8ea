/* SPDX-License-Identifier: Apache-2.0
 *
 * One flipped bit anywhere in a log at rest: it is found, the file is named, groups that
 * lost nothing are whole, nothing wrong is ever served. Only the very last batch cannot
 * be told from a torn write. */
#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"
#include "support/log_world.h"

enum { FILES_MAX = 32 };

/* A log at rest, and what is where in it. */
struct rest {
    struct log_world *world;
    char paths[FILES_MAX][64];
    uint64_t sizes[FILES_MAX];
    size_t n_files;
    char last_path[64]; /* newest segment */
    uint64_t last_number;
    uint64_t last_record;     /* offset of the last record in it: the last batch */
    uint64_t ends[FILES_MAX]; /* behind the last record; 0: not in use */
};

static void rest_on_file(void *data, const char *path, uint64_t size)
{
    struct rest *rest = data;
    assert_true(rest->n_files < FILES_MAX);
    snprintf(rest->paths[rest->n_files], sizeof rest->paths[0], "%s", path);
    rest->sizes[rest->n_files++] = size;
}

static size_t rest_file(const struct rest *rest, const char *name)
{
    for (size_t i = 0; i < rest->n_files; i++) {
        if (strstr(rest->paths[i], name) != NULL)
            return i;
    }
    fail_msg("no file %s", name);
    return 0;
}

static int rest_on_record(void *data, const struct raftlog_dump_record *r)
{
    struct rest *rest = data;
    assert_false(r->is_damage);
    if (r->segment == 0)
        return 0;
    if (r->segment >= rest->last_number) {
        rest->last_number = r->segment;
        rest->last_record = r->offset;
        snprintf(rest->last_path, sizeof rest->last_path, "%s", r->file);
    }
    rest->ends[rest_file(rest, r->file)] = r->offset + 1;
    return 0;
}

/* Random work, everything synced, and a last batch of one small record. */
static void rest_init(struct rest *rest, uint64_t seed)
{
    memset(rest, 0, sizeof *rest);
    struct log_world_options options;
    log_world_options_init(&options, seed);
    options.log.no_rewrite = true; /* leave closed segments alone */
    options.len_max = 120;
    rest->world = log_world_new(&options);
    for (int i = 0; i < 60; i++)
        log_world_step(rest->world);
    log_world_settle(rest->world);
    while (rest->world->now.groups[0].exists == false)
        log_world_step(rest->world);
    log_world_settle(rest->world);
    uint64_t n_before = rest->world->n_ops;
    while (rest->world->n_ops == n_before ||
           rest->world->ops[rest->world->n_ops - 1].kind != OP_WRITE) {
        log_world_settle(rest->world);
        log_world_step(rest->world);
    }
    log_world_settle(rest->world);
    struct sim_disk *disk = sim_node_disk(rest->world->node);
    sim_disk_each_file(disk, rest_on_file, rest);
    struct err err = {0};
    int rv = raftlog_dump(sim_node_env(rest->world->node), "/log", rest_on_record, rest, &err);
    if (rv != 0)
        fail_msg("dump: %s", err.msg);
}

struct tally {
    uint64_t refused;
    uint64_t damaged;
    uint64_t unharmed;
    uint64_t spared; /* groups that were whole though others were damaged */
};

/* The log opened in spite of the flip: what does it show? */
static void judge_open(const struct rest *rest, struct raftlog *log, size_t file, uint64_t offset,
                       struct tally *tally)
{
    char why[512] = "";
    const char *path = rest->paths[file];
    const char *report = raftlog_damage(log);
    raftlog_check(log);
    bool is_last_batch =
        strstr(path, rest->last_path) != NULL && offset >= rest->last_record && report[0] == 0;
    if (is_last_batch)
        return; /* a torn write, as far as anybody can tell */
    bool is_damaged = false;
    for (uint64_t id = 1; id <= WORLD_GROUPS; id++) {
        struct raftlog_group_state s;
        int rv = raftlog_group_state(log, id, &s);
        if (rv == 0 && s.is_damaged) {
            struct raftlog_entry entry;
            assert_int_equal(raftlog_get(log, id, s.first_index, &entry), ERR_NOT_FOUND);
            is_damaged = true;
            continue;
        }
        if (!log_world_group_is_whole(rest->world, log, id, why, sizeof why))
            fail_msg("%s at %llu: %s (report: %s)", path, (unsigned long long)offset, why, report);
        tally->spared += report[0] != 0 && rv == 0;
    }
    if (report[0] != 0 && strstr(report, path + strlen("/log/")) == NULL)
        fail_msg("%s at %llu: not named in: %s", path, (unsigned long long)offset, report);
    if (is_damaged && report[0] == 0)
        fail_msg("%s at %llu: damage is not reported", path, (unsigned long long)offset);
    tally->damaged += is_damaged;
    tally->unharmed += !is_damaged;
    bool is_used = offset < rest->ends[file] && offset >= 64;
    if (is_used && !is_damaged && report[0] == 0)
        fail_msg("%s at %llu: not noticed", path, (unsigned long long)offset);
}

static void flip_one(const struct rest *rest, size_t file, uint64_t bit, struct tally *tally)
{
    struct sim *sim = sim_new(NULL, 1);
    struct sim_disk *disk = sim_disk_clone(sim_node_disk(rest->world->node));
    assert_int_equal(sim_disk_flip_bit(disk, rest->paths[file], bit), 0);
    struct sim_node *node = sim_node_new_on(sim, "n1", disk);
    struct raftlog *log = NULL;
    struct err err = {0};
    int rv = raftlog_open(&log, sim_node_env(node), "/log", &rest->world->options.log, &err);
    if (rv == 0) {
        judge_open(rest, log, file, bit / 8, tally);
    } else {
        assert_int_equal(rv, ERR_CORRUPT);
        assert_null(log);
        if (bit / 8 >= 64)
            fail_msg("%s at %llu: %s", rest->paths[file], (unsigned long long)bit / 8, err.msg);
        tally->refused++;
    }
    sim_node_crash(node, SIM_CRASH_KILL);
    raftlog_free(log);
    sim_free(sim);
}

static void test_bit_flips(void **state)
{
    (void)state;
    struct tally tally = {0};
    struct rng rng;
    rng_init(&rng, 5);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct rest rest;
        rest_init(&rest, seed);
        assert_true(rest.n_files >= 3);
        for (size_t file = 0; file < rest.n_files; file++) {
            for (uint64_t byte = 0; byte < rest.sizes[file]; byte += rng_between(&rng, 1, 19))
                flip_one(&rest, file, byte * 8 + rng_below(&rng, 8), &tally);
        }
        log_world_free(rest.world);
    }
    if (getenv("HOLDFAST_VERBOSE") != NULL)
        printf("refused %llu damaged %llu unharmed %llu spared %llu\n",
               (unsigned long long)tally.refused, (unsigned long long)tally.damaged,
               (unsigned long long)tally.unharmed, (unsigned long long)tally.spared);
    assert_true(tally.refused > 0 && tally.damaged > 100);
    assert_true(tally.unharmed > 100 && tally.spared > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bit_flips),
    };
    return cmocka_run_group_tests_name("damage", tests, NULL, NULL);
}
