/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-ranges-sim --grow: stores join one by one, placement brings replicas to them, and
 * whoever hosts placement dies in the middle of it.
 */
#include <stdio.h>

#include "placement/placement_internal.h"
#include "ranges.h"
#include "store/driver_internal.h"
#include "store/store_internal.h"
#include "wire/keyspace.h"

enum { WAIT_MS = 4000 };

/* A hashed keyspace: placement cuts it at slots, and gives it the replicas that it wants. */
static void create_keyspace(void)
{
    char value[64];
    run.slots = 1 + (uint32_t)below(16);
    run.hashed_ranges = 1 + (uint32_t)below(MIN(run.slots, 4));
    run.hashed_replicas = (uint32_t)below(3);
    run.hashed_replicas += run.hashed_replicas == 2; /* 0, 1 or 3 */
    snprintf(value, sizeof value, "slots=%u,ranges=%u,replicas=%u", run.slots, run.hashed_ranges,
             run.hashed_replicas);
    for (int i = 0; i < 50 && run.hashed == 0; i++) {
        struct request request = {.kind = REQUEST_PLACEMENT,
                                  .placement = {.verb = VERB_KEYSPACE_CREATE,
                                                .name = slice_str("hashed"),
                                                .value = slice_str(value)}};
        const struct rig_answer *answer = rig_ask(&run.rig, 0, &request);
        rig_run(&run.rig, 200 * RIG_MS);
        const struct driver *d = run.rig.stores[0]->driver;
        if (answer->count == 1 && answer->status == 0 && d->placement->keyspace_count == 1)
            run.hashed = d->placement->keyspaces[0].id;
    }
    if (run.hashed == 0)
        die("a keyspace cannot be created");
}

static struct slice keyspace_bound(uint32_t keyspace, uint8_t raw[16])
{
    return slice_of(raw, range_user_key(keyspace, (struct slice){0}, raw));
}

bool grow_is_as_wanted(const struct range_descriptor *d)
{
    uint8_t first[16], last[16];
    struct range_span span = range_descriptor_span(d);
    struct slice start = keyspace_bound(run.hashed, first);
    struct slice end = keyspace_bound(run.hashed + 1, last);
    bool is_cut = (range_span_contains(span, start) && !slice_equal(span.start, start)) ||
                  (range_span_contains(span, end) && !slice_equal(span.start, end));
    bool is_hashed = slice_compare(span.start, start) >= 0 && slice_compare(span.start, end) < 0;
    uint32_t want = is_hashed && run.hashed_replicas != 0 ? run.hashed_replicas : GROWN_VOTERS;
    if (is_cut)
        return false;
    return want == 1 ? d->replica_count == 1 : voters_in(d) >= want;
}

void grow_begin(uint32_t seconds)
{
    struct err err = {0};
    rig_grow_begin(&run.rig);
    for (size_t i = 1; i < run.rig.count; i++)
        run.join_us[i] = sim_now_us(run.rig.sim) + (below((uint64_t)seconds * 500) + 100) * RIG_MS;
    if (rig_start(&run.rig, 0, &err) != 0)
        die("the first store does not start");
    rig_run(&run.rig, 1000 * RIG_MS);
    create_keyspace();
}

static void command(const char *name)
{
    uint8_t raw[16];
    size_t at = rig_driver(&run.rig);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    struct request request = {
        .kind = REQUEST_PLACEMENT,
        .placement = {.verb = VERB_COMMAND,
                      .name = slice_str(name),
                      .value = key_of((uint32_t)below(KEYS), raw)},
    };
    run.change = rig_ask(&run.rig, run.change_at = at, &request);
    run.ask_kind = ASK_COMMAND;
}

static void command_some(void)
{
    static const char *const names[] = {"split", "split", "merge",
                                        "move",  "move",  "transfer-leader"};
    command(names[below(ARRAY_LEN(names))]);
}

/* Another takes over meanwhile, and it does not know: late, it goes on with what it has heard
 * before, and what it said comes late. */
static void delay_driver(size_t i)
{
    struct request hand_over = {.kind = REQUEST_PLACEMENT,
                                .placement = {.verb = VERB_COMMAND,
                                              .name = slice_str("transfer-leader"),
                                              .id = RANGE_ID_SYSTEM}};
    if (below(2) == 0 && run.rig.conns[i].conn != NULL) {
        sim_net_slow(run.rig.sim, run.rig.nodes[i], run.rig.nodes[below(run.rig.count)],
                     (1500 + below(SLOW_MAX_MS - 1500)) * RIG_MS);
        rig_run(&run.rig, below(1000) * RIG_MS);
        if (run.rig.conns[i].conn != NULL)
            rig_ask(&run.rig, i, &hand_over);
        return;
    }
    sim_node_pause(run.rig.nodes[i]);
    run.resume_us[i] = sim_now_us(run.rig.sim) + (500 + below(6000)) * RIG_MS;
}

/* Whoever hosts placement dies in the middle of whatever it does, or is held up. */
static void strike_driver(void)
{
    size_t i = rig_driver(&run.rig);
    if (i == run.rig.count)
        return;
    run.strikes++;
    if (below(2) == 0) {
        delay_driver(i);
        return;
    }
    ranges_crash(i, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL, 20 + below(8000));
}

/* ---- in the middle of each kind of step ------------------------------------------------ */

static const struct {
    enum placement_step_kind kind;
    const char *command; /* that brings it about, if nothing else does */
    const char *met;
} steps[] = {
    {PLACEMENT_ADD_LEARNER, "move", "driver died: add-learner"},
    {PLACEMENT_PROMOTE, "move", "driver died: promote"},
    {PLACEMENT_REMOVE, "move", "driver died: remove"},
    {PLACEMENT_TRANSFER, "transfer-leader", "driver died: transfer"},
    {PLACEMENT_SPLIT, "split", "driver died: split"},
    {PLACEMENT_MERGE, "merge", "driver died: merge"},
};

/* Who hosts placement, if an operator of it is at a step of that kind; else rig.count. */
static size_t driver_at(enum placement_step_kind kind)
{
    struct placement_operator_status op;
    size_t i = rig_driver(&run.rig);
    const struct driver *d = i == run.rig.count ? NULL : run.rig.stores[i]->driver;
    for (uint32_t n = 0; d != NULL && driver_is_running(d) &&
                         placement_operator_at(d->placement, driver_now_ms(d), n, &op);
         n++) {
        if (op.outcome == PLACEMENT_RUNNING && op.step < op.step_count && op.kinds[op.step] == kind)
            return i;
    }
    return run.rig.count;
}

static void strike_at_step(void)
{
    size_t k = below(ARRAY_LEN(steps));
    size_t i = driver_at(steps[k].kind);
    if (i == run.rig.count)
        command(steps[k].command);
    for (int ms = 0; i == run.rig.count && ms < WAIT_MS; ms++) {
        rig_run(&run.rig, RIG_MS);
        i = driver_at(steps[k].kind);
    }
    rig_run(&run.rig, below(100) * RIG_MS);
    i = driver_at(steps[k].kind);
    if (i == run.rig.count)
        return;
    run.strikes++;
    ranges_crash(i, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL, 20 + below(8000));
    ranges_met(steps[k].met);
}

void grow_expect(struct cover *cover)
{
    for (size_t k = 0; k < ARRAY_LEN(steps); k++)
        cover_expect(cover, steps[k].met);
}

void grow_operate(uint64_t choice)
{
    if (choice < 5 && is_change_over()) {
        run.change_deadline_us = sim_now_us(run.rig.sim) + 6000 * RIG_MS;
        command_some();
    } else if (choice >= 5 && below(8) == 0) {
        strike_driver();
    } else if (choice >= 5 && below(3) == 0) {
        strike_at_step();
    }
}
