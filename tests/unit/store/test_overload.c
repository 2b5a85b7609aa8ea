/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster of whole stores is asked for ten times what it can do, through the library's core:
 * it does as much as before, and who gets nothing hears so in time. What a write costs here is
 * the way to a follower and its sync, an entry each, one after another.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/client.h"
#include "store_rig.h"
#include "support/check.h"

enum {
    CLIENTS = 4,
    IN_FLIGHT = 16, /* of a client in a closed loop */
    TIMES = 10,
    DEADLINE_MS = 2000,
    PATIENT_MS = 60000,
    LATE_MS = 20,
    ROUND_MS = 5000,
    KEYS = 100,
};

struct world {
    struct rig rig;
    struct sim_node *nodes[CLIENTS];
    struct client *clients[CLIENTS];
    bool is_closed_loop;
    uint32_t under_way;
    uint32_t key;
    /* of this round */
    uint32_t done, busy, undetermined, others, late;
};

struct put {
    struct client_op op;
    struct world *world;
    struct client *client;
    struct buf command;
    uint64_t began_us;
    char key[8];
};

static void put_begin(struct put *put);

static void on_done(struct client_op *op, const struct client_result *result)
{
    struct put *put = op->data;
    struct world *w = put->world;
    uint64_t took_us = sim_now_us(w->rig.sim) - put->began_us;
    w->done += result->status == 0;
    w->busy += result->status == ERR_BUSY;
    w->undetermined += result->status == ERR_UNDETERMINED;
    w->others +=
        result->status != 0 && result->status != ERR_BUSY && result->status != ERR_UNDETERMINED;
    w->late += took_us > (DEADLINE_MS + LATE_MS) * RIG_MS;
    buf_fini(&put->command);
    if (w->is_closed_loop) {
        put_begin(put);
        return;
    }
    w->under_way--;
    free(put);
}

static void put_begin(struct put *put)
{
    struct world *w = put->world;
    snprintf(put->key, sizeof put->key, "k%02u", w->key++ % KEYS);
    struct op op = {.kind = OP_PUT, .key = slice_str(put->key), .value = slice_str("v")};
    buf_init(&put->command, 256);
    command_encode(&put->command, &(struct command){.op_count = 1, .ops = &op});
    put->op = (struct client_op){
        .data = put, .cb = on_done, .timeout_ms = w->is_closed_loop ? PATIENT_MS : DEADLINE_MS};
    put->op.request.kind = REQUEST_WRITE;
    put->op.request.write.command = buf_slice(&put->command);
    put->op.key = slice_str(put->key);
    put->began_us = sim_now_us(w->rig.sim);
    int rv = client_submit(put->client, &put->op);
    if (rv == 0)
        return;
    assert_int_equal(rv, ERR_BUSY);
    w->busy++;
    w->under_way--;
    buf_fini(&put->command);
    free(put);
}

static void put_new(struct world *w, uint32_t client)
{
    struct put *put = calloc(1, sizeof *put);
    assert_non_null(put);
    put->world = w;
    put->client = w->clients[client];
    w->under_way++;
    put_begin(put);
}

static void forget_counts(struct world *w)
{
    w->done = w->busy = w->undetermined = w->others = w->late = 0;
}

static void wait_for_all(struct world *w)
{
    w->is_closed_loop = false;
    for (int i = 0; i < 10000 && w->under_way > 0; i++)
        rig_run(&w->rig, RIG_MS);
    assert_int_equal(w->under_way, 0);
}

/* Writes done in a round of clients who each wait for answers; a second before it counts. */
static uint32_t closed_loop(struct world *w)
{
    w->is_closed_loop = true;
    for (uint32_t i = 0; i < CLIENTS * IN_FLIGHT; i++)
        put_new(w, i % CLIENTS);
    rig_run(&w->rig, 1000 * RIG_MS);
    forget_counts(w);
    rig_run(&w->rig, ROUND_MS * RIG_MS);
    uint32_t done = w->done;
    wait_for_all(w);
    return done;
}

/* So many come in a round, whatever becomes of them, as many in the second before it, which
 * does not count. */
static uint32_t open_loop(struct world *w, uint32_t writes)
{
    uint64_t sent = 0;
    for (uint64_t ms = 0; ms < 1000 + ROUND_MS; ms++) {
        if (ms == 1000)
            forget_counts(w);
        for (; sent < ms * writes / ROUND_MS; sent++)
            put_new(w, (uint32_t)(sent % CLIENTS));
        rig_run(&w->rig, RIG_MS);
        if (ms % 200 == 0)
            for (int i = 0; i < CLIENTS; i++)
                client_check(w->clients[i]);
    }
    uint32_t done = w->done;
    wait_for_all(w);
    return done;
}

static void begin(struct world *w, uint64_t seed, size_t entry_bytes)
{
    memset(w, 0, sizeof *w);
    rig_open_seeded(&w->rig, 3, seed);
    w->rig.options.entries_in_flight = 1;
    w->rig.options.entry_bytes_max = entry_bytes;
    rig_start_cluster(&w->rig);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        static const char *const endpoints[] = {"a:7000", "b:7000", "c:7000"};
        char host[8];
        snprintf(host, sizeof host, "c%u", i);
        w->nodes[i] = sim_node_new(w->rig.sim, host);
        struct client_options options = {.endpoints = endpoints, .endpoint_count = 3};
        assert_int_equal(client_new(sim_node_env(w->nodes[i]), &options, &w->clients[i], NULL), 0);
    }
}

static void end(struct world *w)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        client_check(w->clients[i]);
        sim_node_crash(w->nodes[i], SIM_CRASH_KILL);
        client_free(w->clients[i]);
    }
    rig_close(&w->rig);
}

static void test_goodput_of_a_flood(void **state)
{
    static const struct {
        const char *name;
        size_t entry_bytes;
        uint64_t seed;
    } worlds[] = {
        {"a write at a time", 16, 7},
        {"another world", 16, 8},
        {"a few at a time", 200, 7},
    };
    static struct world w;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(worlds); i++) {
        begin(&w, worlds[i].seed, worlds[i].entry_bytes);
        uint32_t capacity = closed_loop(&w);
        uint32_t kept = open_loop(&w, capacity * TIMES);
        print_message("%s: %u of %u, %u busy\n", worlds[i].name, kept, capacity, w.busy);
        assert_in_range(kept, capacity - capacity / 10, capacity * 2);
        assert_in_range(w.busy, capacity * (TIMES - 2), capacity * TIMES);
        assert_int_equal(w.undetermined + w.others + w.late, 0);
        uint32_t after = closed_loop(&w);
        assert_in_range(after, capacity - capacity / 10, capacity * 2);
        end(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goodput_of_a_flood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
