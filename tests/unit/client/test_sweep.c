/* SPDX-License-Identifier: Apache-2.0
 *
 * Deleting a span step by step: each key once, whatever becomes of answers.
 */
#include "client/sweep.h"

#include <stdio.h>

#include "env/sim/sim.h"
#include "support/check.h"
#include "support/fake_store.h"
#include "wire/keyspace.h"

enum { KEYS = 20 };

/* ---- memory (the linker puts it between the sweep and its bytes) ---------------------------- */

void __real_buf_append_slice(struct buf *buf, struct slice s);
void __wrap_buf_append_slice(struct buf *buf, struct slice s);

static const struct client_sweep *is_short; /* nothing of it can grow */

void __wrap_buf_append_slice(struct buf *buf, struct slice s)
{
    bool is_its = is_short != NULL && (const uint8_t *)buf >= (const uint8_t *)is_short &&
                  (const uint8_t *)buf < (const uint8_t *)(is_short + 1);
    if (is_its && s.len > buf->cap - buf->len)
        buf->failed = true;
    else
        __real_buf_append_slice(buf, s);
}

/* ---- a store and a client ------------------------------------------------------------------- */

struct fixture {
    struct sim *sim;
    struct sim_node *node, *at;
    struct fake_cluster cluster;
    struct fake_store *store;
    struct client *client;
    struct client_op op;
    struct client_sweep sweep;
    int calls;
    int status;
};

static void on_swept(struct client_sweep *sweep, const struct client_result *result)
{
    struct fixture *f = sweep->data;
    f->calls++;
    f->status = result->status;
}

static void on_put(struct client_op *op, const struct client_result *result)
{
    (void)op;
    assert_int_equal(result->status, 0);
}

static void run(struct fixture *f, uint64_t ms)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + ms * 1000);
}

static void put(struct fixture *f, const char *key)
{
    struct op op = {.kind = OP_PUT, .key = slice_str(key), .value = slice_str("v")};
    struct buf raw;
    buf_init(&raw, 1 << 10);
    command_encode(&raw, &(struct command){.op_count = 1, .ops = &op});
    struct client_op call = {.cb = on_put, .key = op.key};
    call.request.kind = REQUEST_WRITE;
    call.request.write.command = buf_slice(&raw);
    assert_int_equal(client_submit(f->client, &call), 0);
    run(f, 100);
    buf_fini(&raw);
}

static void open(struct fixture *f)
{
    *f = (struct fixture){.sim = sim_new(NULL, 5)};
    fake_cluster_init(&f->cluster);
    f->cluster.clock_ms = 1000000;
    f->at = sim_node_new(f->sim, "s1");
    f->node = sim_node_new(f->sim, "c");
    f->store = fake_store_new(&f->cluster, sim_node_env(f->at), "s1:7000");
    f->cluster.leader = f->store;
    const char *const endpoints[] = {f->store->address};
    struct client_options options = {.endpoints = endpoints, .endpoint_count = 1};
    assert_int_equal(client_new(sim_node_env(f->node), &options, &f->client, NULL), 0);
    for (int i = 0; i < KEYS; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%02d", i);
        put(f, key);
    }
    f->sweep = (struct client_sweep){.data = f, .op = &f->op, .cb = on_swept};
}

static void close(struct fixture *f)
{
    client_sweep_fini(&f->sweep);
    client_check(f->client);
    env_stop(sim_node_env(f->node));
    client_free(f->client);
    env_stop(sim_node_env(f->at));
    fake_cluster_fini(&f->cluster);
    sim_free(f->sim);
}

static void step(struct fixture *f, uint32_t limit)
{
    int calls = f->calls;
    f->sweep.limit_keys = limit;
    assert_int_equal(client_sweep_start(f->client, &f->sweep), 0);
    run(f, 3000);
    assert_int_equal(f->calls, calls + 1);
}

static bool is_there(struct fixture *f, const char *key)
{
    return fake_cluster_get(&f->cluster, slice_str(key)).data != NULL;
}

/* Steps of seven keys, each beginning where the one before ended. */
static void test_steps(void **state)
{
    struct fixture f;
    uint8_t cursor[16];
    uint64_t deleted = 0;
    (void)state;
    open(&f);
    f.sweep.start = slice_str("k03");
    f.sweep.end = slice_str("k18");
    for (int steps = 1;; steps++) {
        step(&f, 7);
        assert_int_equal(f.status, 0);
        deleted += f.sweep.deleted;
        assert_true(f.sweep.deleted <= 7);
        if (!f.sweep.has_more)
            break;
        assert_true(steps < 4 && f.sweep.cursor.len <= sizeof cursor);
        memcpy(cursor, f.sweep.cursor.data, f.sweep.cursor.len);
        f.sweep.start = slice_of(cursor, f.sweep.cursor.len);
    }
    assert_int_equal(deleted, 15);
    assert_true(is_there(&f, "k02") && !is_there(&f, "k03"));
    assert_true(!is_there(&f, "k17") && is_there(&f, "k18"));
    step(&f, 0); /* again: nothing is left, and nothing is sent */
    assert_true(f.status == 0 && f.sweep.deleted == 0 && f.sweep.command.len == 0);
    close(&f);
}

static void put_behind_slot(struct fixture *f, int number, uint8_t raw[8])
{
    char name[8];
    snprintf(name, sizeof name, "s%02d", number);
    keyspace_put_slot(raw, keyspace_slot(slice_str(name), 16));
    memcpy(raw + KEYSPACE_SLOT_LEN, name, 3);
    fake_cluster_put(&f->cluster, slice_of(raw, KEYSPACE_SLOT_LEN + 3), slice_str("v"));
}

/* A span stands in each of 16 slots: all of it goes, nothing beside it, and each step goes on
 * where the one before ended, whoever does it. */
static void test_slots(void **state)
{
    struct fixture f;
    uint8_t keys[KEYS][8], cursor[16];
    uint64_t deleted = 0;
    int steps = 0;
    (void)state;
    open(&f);
    for (int i = 0; i < KEYS; i++)
        put_behind_slot(&f, i, keys[i]);
    f.sweep.slots = 16;
    f.sweep.start = slice_str("s03");
    f.sweep.end = slice_str("s18");
    do {
        step(&f, 2);
        assert_int_equal(f.status, 0);
        assert_true(f.sweep.deleted <= 2 && ++steps < 100);
        deleted += f.sweep.deleted;
        assert_true(f.sweep.cursor.len <= sizeof cursor);
        memcpy(cursor, f.sweep.cursor.data, f.sweep.cursor.len);
        f.sweep.from = slice_of(cursor, f.sweep.cursor.len);
    } while (f.sweep.has_more);
    assert_int_equal(deleted, 15);
    for (int i = 0; i < KEYS; i++) {
        bool is_kept = fake_cluster_get(&f.cluster, slice_of(keys[i], 5)).data != NULL;
        assert_int_equal(is_kept, i < 3 || i >= 18);
    }
    close(&f);
}

static struct slice at_slot(uint32_t slot, const char *name, uint8_t raw[8])
{
    keyspace_put_slot(raw, (uint16_t)slot);
    memcpy(raw + KEYSPACE_SLOT_LEN, name, strlen(name));
    return slice_of(raw, KEYSPACE_SLOT_LEN + strlen(name));
}

static void put_at_slot(struct fixture *f, uint32_t slot, const char *name)
{
    uint8_t raw[8];
    fake_cluster_put(&f->cluster, at_slot(slot, name, raw), slice_str("v"));
}

static bool is_at_slot(struct fixture *f, uint32_t slot, const char *name)
{
    uint8_t raw[8];
    return fake_cluster_get(&f->cluster, at_slot(slot, name, raw)).data != NULL;
}

/* Two ranges meet at a key that is shorter than a slot: it is between two of them. */
static void test_slots_around_a_short_split(void **state)
{
    (void)state;
    for (int has_bounds = 0; has_bounds < 2; has_bounds++) {
        struct fixture f;
        uint8_t first[8], cursor[16];
        open(&f);
        f.cluster.split = "\1";
        f.cluster.split_leader = f.store;
        put_at_slot(&f, 0xff, "s1");
        put_at_slot(&f, 0x100, "s2");
        f.sweep.slots = 512;
        f.sweep.start = has_bounds ? slice_str("s") : (struct slice){0};
        f.sweep.from = at_slot(0xff, "s", first);
        step(&f, 1);
        assert_true(f.status == 0 && f.sweep.deleted == 1 && f.sweep.has_more);
        assert_true(!is_at_slot(&f, 0xff, "s1") && is_at_slot(&f, 0x100, "s2"));
        assert_true(f.sweep.cursor.len <= sizeof cursor);
        memcpy(cursor, f.sweep.cursor.data, f.sweep.cursor.len);
        f.sweep.from = slice_of(cursor, f.sweep.cursor.len);
        step(&f, 1);
        assert_true(f.status == 0 && f.sweep.deleted == 1);
        assert_false(is_at_slot(&f, 0x100, "s2"));
        close(&f);
    }
}

/* Many slots have nothing; then a split parts the keys of one before they are deleted. */
static void test_slots_torn_after_many(void **state)
{
    struct fixture f;
    uint8_t first[8];
    (void)state;
    open(&f);
    put_at_slot(&f, 0x111, "s4");
    put_at_slot(&f, 0x111, "s6");
    f.sweep.slots = 512;
    f.sweep.start = slice_str("s");
    f.sweep.end = slice_str("t");
    f.sweep.from = at_slot(0xf0, "s", first);
    f.sweep.limit_keys = 10;
    assert_int_equal(client_sweep_start(f.client, &f.sweep), 0);
    while (f.sweep.found < 2)
        sim_run_until(f.sim, sim_now_us(f.sim) + 10);
    f.cluster.split = "\1\021s5";
    f.cluster.split_leader = f.store;
    run(&f, 3000);
    assert_int_equal(f.calls, 1);
    assert_true(f.status == 0 && f.sweep.deleted == 1 && f.sweep.has_more);
    assert_true(!is_at_slot(&f, 0x111, "s4") && is_at_slot(&f, 0x111, "s6"));
    close(&f);
}

/* There is no memory any more when the keys of a slot are deleted: that they are is told all the
 * same, and where it goes on. */
static void test_slots_short_of_memory(void **state)
{
    struct fixture f;
    uint8_t first[8];
    (void)state;
    open(&f);
    put_at_slot(&f, 3, "s1");
    put_at_slot(&f, 4, "s1");
    f.sweep.slots = 16;
    f.sweep.start = slice_str("s");
    f.sweep.from = at_slot(3, "s", first);
    f.sweep.limit_keys = 10;
    assert_int_equal(client_sweep_start(f.client, &f.sweep), 0);
    while (f.sweep.command.len == 0)
        sim_run_until(f.sim, sim_now_us(f.sim) + 10);
    is_short = &f.sweep;
    run(&f, 3000);
    is_short = NULL;
    assert_int_equal(f.calls, 1);
    assert_int_equal(f.status, 0);
    assert_true(f.sweep.deleted == 1 && f.sweep.version > 0 && f.sweep.has_more);
    assert_true(slice_equal(buf_slice(&f.sweep.cursor), at_slot(4, "s", first)));
    assert_true(!is_at_slot(&f, 3, "s1") && is_at_slot(&f, 4, "s1"));
    close(&f);
}

/* A bound that is none of a key behind a slot, a cursor of nowhere. */
static void test_slots_refused(void **state)
{
    struct fixture f;
    uint8_t long_key[KEY_WIRE_MAX] = {0};
    static const struct {
        const char *from;
        size_t len;
    } wrong[] = {{"x", 1}, {"\0\20s05", 5}, {"\0\1s02", 5}, {"\0\1s19", 5}, {"\377\377s05", 5}};
    (void)state;
    open(&f);
    f.sweep.slots = 16;
    f.sweep.start = slice_of(long_key, KEY_WIRE_MAX - 1);
    assert_int_equal(client_sweep_start(f.client, &f.sweep), ERR_TOO_LARGE);
    f.sweep.start = slice_str("s03");
    f.sweep.end = slice_str("s18");
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        f.sweep.from = slice_of(wrong[i].from, wrong[i].len);
        assert_int_equal(client_sweep_start(f.client, &f.sweep), ERR_INVALID);
    }
    assert_true(f.calls == 0 && is_there(&f, "k00"));
    close(&f);
}

/* k05 is deleted, and the connection ends before that is answered. */
static void sweep_and_lose_answer(struct fixture *f)
{
    f->sweep.start = slice_str("k05");
    f->sweep.end = slice_str("k06");
    f->sweep.limit_keys = 10;
    assert_int_equal(client_sweep_start(f->client, &f->sweep), 0);
    uint64_t scans = f->store->requests;
    while (f->store->requests == scans)
        sim_run_until(f->sim, sim_now_us(f->sim) + 10);
    f->store->mood = FAKE_DO_RESET;
    f->store->moods_left = 1;
    while (is_there(f, "k05"))
        sim_run_until(f->sim, sim_now_us(f->sim) + 10);
}

/* The answer to the deletion is lost, and the key is there again before it is repeated: once
 * is once. */
static void test_lost_answer(void **state)
{
    struct fixture f;
    (void)state;
    open(&f);
    sweep_and_lose_answer(&f);
    fake_cluster_put(&f.cluster, slice_str("k05"), slice_str("again"));
    run(&f, 3000);
    assert_int_equal(f.calls, 1);
    assert_int_equal(f.status, 0);
    assert_true(f.cluster.repeats > 0);
    assert_true(is_there(&f, "k05"));
    assert_int_equal(f.sweep.deleted, 1);
    close(&f);
}

/* The answer is lost, and by the second sending the range has forgotten the first: undetermined,
 * and the sweep says that the deadline is not why. */
static void test_forgotten(void **state)
{
    struct fixture f;
    (void)state;
    open(&f);
    sweep_and_lose_answer(&f);
    f.cluster.results[f.cluster.result_count - 1].sequence = UINT64_MAX;
    f.cluster.floor_ms = UINT32_MAX;
    run(&f, 3000);
    assert_int_equal(f.calls, 1);
    assert_int_equal(f.status, ERR_UNDETERMINED);
    assert_true(f.sweep.is_forgotten);
    f.cluster.floor_ms = 0;
    step(&f, 0);
    assert_true(f.status == 0 && !f.sweep.is_forgotten);
    close(&f);
}

static void test_refused(void **state)
{
    struct fixture f;
    (void)state;
    open(&f);
    f.sweep.start = slice_str("k09");
    f.sweep.end = slice_str("k01");
    assert_int_equal(client_sweep_start(f.client, &f.sweep), ERR_INVALID);
    f.sweep.end = (struct slice){0};
    f.cluster.leader = NULL;
    f.op.timeout_ms = 500;
    step(&f, 0);
    assert_int_equal(f.status, ERR_UNAVAILABLE);
    assert_true(is_there(&f, "k09"));
    close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_slots_around_a_short_split),
        cmocka_unit_test(test_slots_torn_after_many),
        cmocka_unit_test(test_slots_short_of_memory),
        cmocka_unit_test(test_slots_refused),
        cmocka_unit_test(test_lost_answer),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("client_sweep", tests, NULL, NULL);
}
