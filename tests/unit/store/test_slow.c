/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that take long are told to the log, with the trace id that their client knows; disks
 * that are slow, and a loop that stood still. */
#include <inttypes.h>
#include <stdio.h>

#include "store/store_internal.h"
#include "support/check.h"
#include "unit/store/store_rig.h"

enum { THRESHOLD_MS = 200, BURST = 30 };

struct heard {
    int slow;
    uint64_t untold;
    char last[256];
};

static void on_line(void *data, enum log_level level, const char *line)
{
    struct heard *heard = data;
    unsigned long long count = 0;
    (void)level;
    if (strncmp(line, "slow_request ", 13) == 0) {
        heard->slow++;
        snprintf(heard->last, sizeof heard->last, "%s", line);
    }
    if (sscanf(line, "slow_requests_untold count=%llu", &count) == 1)
        heard->untold += count;
}

static struct rig_answer *put(struct rig *rig, size_t i, uint64_t trace_id)
{
    struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
    struct command command = {.op_count = 1, .ops = &op};
    struct buf raw;
    buf_init(&raw, FRAME_BODY_MAX);
    command_encode(&raw, &command);
    struct request request = {.kind = REQUEST_WRITE,
                              .timeout_ms = 10000,
                              .trace_id = trace_id,
                              .write = {.command = buf_slice(&raw)}};
    struct rig_answer *answer = rig_ask(rig, i, &request);
    buf_fini(&raw);
    return answer;
}

static void slow_down(struct rig *rig, size_t leader)
{
    for (size_t i = 0; i < 3; i++) {
        if (i == leader)
            continue;
        sim_net_slow(rig->sim, rig->nodes[leader], rig->nodes[i], 150 * RIG_MS);
        sim_net_slow(rig->sim, rig->nodes[i], rig->nodes[leader], 150 * RIG_MS);
    }
}

static void test_slow_requests_are_told(void **state)
{
    struct rig rig;
    struct heard heard = {0};
    struct logger logger = {.level = LOG_LEVEL_WARN, .sink = on_line, .data = &heard};
    (void)state;
    rig_open(&rig, 3);
    rig.options.logger = &logger;
    rig.options.slow_request_ms = THRESHOLD_MS;
    size_t leader = rig_start_cluster(&rig);
    struct rig_answer *quick = put(&rig, leader, 0xaaa);
    rig_run(&rig, 150 * RIG_MS);
    assert_int_equal(quick->status, 0);
    assert_int_equal(heard.slow, 0);

    slow_down(&rig, leader);
    rig_run(&rig, 1000 * RIG_MS);
    struct rig_answer *slow = put(&rig, leader, 0xcafe);
    rig_run(&rig, 900 * RIG_MS);
    assert_int_equal(slow->count, 1);
    assert_int_equal(heard.slow, 1);
    assert_non_null(strstr(heard.last, "trace=000000000000cafe"));
    assert_non_null(strstr(heard.last, "kind=write"));
    assert_non_null(strstr(heard.last, "code=OK"));

    /* So many in a second, and then how many more there were. */
    rig_run(&rig, 1000 * RIG_MS);
    for (uint64_t i = 0; i < BURST; i++)
        put(&rig, leader, i + 1);
    rig_run(&rig, 900 * RIG_MS);
    assert_int_equal(heard.slow, 1 + LINES_MAX);
    assert_int_equal(heard.untold, 0);
    rig_run(&rig, 1000 * RIG_MS);
    put(&rig, leader, 0xbeef);
    rig_run(&rig, 900 * RIG_MS);
    assert_int_equal(heard.slow, 2 + LINES_MAX);
    assert_int_equal(heard.untold, BURST - LINES_MAX);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

static void test_zero_tells_none(void **state)
{
    struct rig rig;
    struct heard heard = {0};
    struct logger logger = {.level = LOG_LEVEL_WARN, .sink = on_line, .data = &heard};
    (void)state;
    rig_open(&rig, 3);
    rig.options.logger = &logger;
    rig.options.slow_request_ms = 0;
    size_t leader = rig_start_cluster(&rig);
    slow_down(&rig, leader);
    struct rig_answer *slow = put(&rig, leader, 0xcafe);
    rig_run(&rig, 2000 * RIG_MS);
    assert_int_equal(slow->count, 1);
    assert_int_equal(heard.slow, 0);
    rig_close(&rig);
}

/* Syncs of the leader's log are not too slow here, but a flush takes many of them, and as long
 * the engine takes no writes: whoever has a better disk leads. */
static void test_stopped_engine_hands_over(void **state)
{
    struct rig rig;
    struct sim_disk_options slow = {.sync_us = 300 * RIG_MS};
    static uint8_t value[30000];
    struct op op = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_of(value, sizeof value)};
    (void)state;
    rig_open(&rig, 3);
    rig.options.lsm.memtable_bytes = 64 << 10;
    size_t leader = rig_start_cluster(&rig);
    sim_disk_set_options(sim_node_disk(rig.nodes[leader]), &slow);
    size_t now = leader;
    for (int i = 0; i < 300 && now == leader; i++) {
        rig_write(&rig, leader, 0, &op, 10000);
        rig_run(&rig, 100 * RIG_MS);
        if (rig_leader(&rig) != rig.count)
            now = rig_leader(&rig);
    }
    assert_true(now != leader);
    rig_run(&rig, 20000 * RIG_MS);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* All stores stand still, and what the leader reads first then is an operator's word: that nobody
 * was heard meanwhile does not make the others dead, nor alive: a change of the members waits until
 * they have answered. */
static void test_asked_after_a_stall(void **state)
{
    struct rig rig;
    struct request words[] = {
        {.kind = REQUEST_CHANGE_MEMBER, .change_member = {.action = MEMBER_REMOVE}},
        {.kind = REQUEST_TRANSFER_LEADER},
    };
    const int first[] = {ERR_BUSY, 0};
    (void)state;
    rig_open(&rig, 3);
    rig.options.hibernate_after_ms = 0;
    size_t leader = rig_start_cluster(&rig);
    words[0].change_member.replica_id = (leader + 1) % 3 + 1;
    for (size_t k = 0; k < ARRAY_LEN(words); k++) {
        rig_run(&rig, 1000 * RIG_MS);
        assert_int_equal(rig_leader(&rig), leader);
        for (size_t i = 0; i < rig.count; i++)
            sim_node_pause(rig.nodes[i]);
        words[k].range_id = STORE_FIRST_RANGE_ID;
        words[k].timeout_ms = 20000;
        struct rig_answer *answer = rig_ask(&rig, leader, &words[k]);
        rig_run(&rig, 10000 * RIG_MS);
        for (size_t i = 0; i < rig.count; i++)
            sim_node_resume(rig.nodes[i]);
        rig_run(&rig, 3000 * RIG_MS);
        assert_int_equal(answer->count, 1);
        assert_int_equal(answer->status, first[k]);
        if (first[k] == 0)
            continue;
        answer = rig_ask(&rig, leader, &words[k]);
        rig_run(&rig, 1000 * RIG_MS);
        assert_int_equal(answer->status, 0);
    }
    assert_int_equal(rig_leader(&rig), (leader + 2) % 3);
    rig_close(&rig);
}

/* A large write waits for the one before it, and when its turn comes it is too late for its
 * deadline. No entry comes of it, and no room for one is kept. */
static void test_no_room_for_no_entry(void **state)
{
    struct rig rig;
    struct sim_disk_options slow = {.sync_us = 20 * RIG_MS};
    static uint8_t value[300 << 10];
    struct op small = {.kind = OP_PUT, .key = slice_str("k"), .value = slice_str("v")};
    struct op large = {
        .kind = OP_PUT, .key = slice_str("k"), .value = slice_of(value, sizeof value)};
    (void)state;
    rig_open(&rig, 1);
    rig.options.entries_in_flight = 1;
    rig_start_cluster(&rig);
    struct store *store = rig.stores[0];
    struct replica *r = replicas_of_range(&store->replicas, STORE_FIRST_RANGE_ID);
    sim_disk_set_options(sim_node_disk(rig.nodes[0]), &slow);
    struct rig_answer *first = rig_write(&rig, 0, 0, &small, 10000);
    struct rig_answer *late = rig_write(&rig, 0, 0, &large, 10000);
    for (int i = 0; i < 1000 && r->writes.count == 0; i++)
        rig_run(&rig, RIG_MS / 10);
    assert_int_equal(r->proposal_count, 1);
    assert_int_equal(r->writes.count, 1);
    container_of(fair_peek(&r->writes), struct write_op, in_queue)->to.deadline_us = 1;
    store->opt.entries_in_flight = 2; /* it is its turn */
    replica_propose(r);
    assert_int_equal(r->writes.count, 0);
    assert_int_equal(r->proposal_count, 1);
    assert_int_equal(r->builder.buf.cap, 0);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(first->status, 0);
    assert_int_equal(late->status, ERR_TIMEOUT);
    rig_assert_answered(&rig);
    rig_close(&rig);
}

/* Whose deadline passes while leadership is handed over hears that it may happen yet: the one it
 * goes to has been told to stand, and does as soon as it hears of it. */
static void test_a_hand_over_that_takes_long(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 3);
    size_t first = rig_start_cluster(&rig);
    size_t second = (first + 1) % 3;
    struct request hand_over = {.kind = REQUEST_TRANSFER_LEADER,
                                .timeout_ms = 100,
                                .transfer_leader = {.target_replica = second + 1}};
    sim_net_slow(rig.sim, rig.nodes[first], rig.nodes[second], 200 * RIG_MS);
    struct rig_answer *over = rig_ask(&rig, first, &hand_over);
    rig_run(&rig, 190 * RIG_MS);
    assert_int_equal(over->count, 1);
    assert_int_equal(over->status, ERR_UNDETERMINED);
    assert_int_equal(rig_leader(&rig), first);
    rig_run(&rig, 1000 * RIG_MS);
    assert_int_equal(rig_leader(&rig), second);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked_after_a_stall),
        cmocka_unit_test(test_no_room_for_no_entry),
        cmocka_unit_test(test_slow_requests_are_told),
        cmocka_unit_test(test_zero_tells_none),
        cmocka_unit_test(test_stopped_engine_hands_over),
        cmocka_unit_test(test_a_hand_over_that_takes_long),
    };
    return cmocka_run_group_tests_name("slow", tests, NULL, NULL);
}
