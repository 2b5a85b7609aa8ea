/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-ranges-sim --grow: stores join one by one, placement brings replicas to them, and
 * whoever hosts placement dies in the middle of it.
 */
#include "ranges.h"

void grow_begin(uint32_t seconds)
{
    struct err err = {0};
    rig_grow_begin(&run.rig);
    for (size_t i = 1; i < run.rig.count; i++)
        run.join_us[i] = sim_now_us(run.rig.sim) + (below((uint64_t)seconds * 500) + 100) * RIG_MS;
    if (rig_start(&run.rig, 0, &err) != 0)
        die("the first store does not start");
    rig_run(&run.rig, 1000 * RIG_MS);
}

static void command_some(void)
{
    static const char *const names[] = {"split", "split", "merge",
                                        "move",  "move",  "transfer-leader"};
    uint8_t raw[16];
    size_t at = rig_driver(&run.rig);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    struct request request = {
        .kind = REQUEST_PLACEMENT,
        .placement = {.verb = VERB_COMMAND,
                      .name = slice_str(names[below(ARRAY_LEN(names))]),
                      .value = key_of((uint32_t)below(KEYS), raw)},
    };
    run.change = rig_ask(&run.rig, run.change_at = at, &request);
    run.ask_kind = ASK_COMMAND;
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
    ranges_count_sleep(i);
    rig_crash(&run.rig, i, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL);
    run.restart_us[i] = sim_now_us(run.rig.sim) + (20 + below(8000)) * RIG_MS;
    run.crashes++;
}

void grow_operate(uint64_t choice)
{
    if (choice < 5 && is_change_over()) {
        run.change_deadline_us = sim_now_us(run.rig.sim) + 6000 * RIG_MS;
        command_some();
    } else if (choice >= 5 && below(8) == 0) {
        strike_driver();
    }
}
