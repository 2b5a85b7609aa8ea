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

enum { WAIT_MS = 6000 };

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

bool grow_is_as_wanted(const struct range_meta *meta)
{
    const struct range_descriptor *d = &meta->descriptor;
    uint8_t first[16], last[16];
    struct range_span span = range_descriptor_span(d);
    struct slice start = keyspace_bound(run.hashed, first);
    struct slice end = keyspace_bound(run.hashed + 1, last);
    bool is_cut = (range_span_contains(span, start) && !slice_equal(span.start, start)) ||
                  (range_span_contains(span, end) && !slice_equal(span.start, end));
    bool is_hashed = slice_compare(span.start, start) >= 0 && slice_compare(span.start, end) < 0;
    uint32_t want = is_hashed && run.hashed_replicas != 0 ? run.hashed_replicas : GROWN_VOTERS;
    if (is_cut || !ranges_retain_is_as_wanted(run.retain, meta, is_hashed))
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

/* ---- operators --------------------------------------------------------------------------- */

/* Commands of ranges; with a store that it leaves, or without. */
static const struct {
    const char *name;
    const char *met;
    bool is_from;
} commands[] = {
    {"split", "operator: split", false},
    {"split", "operator: split", false},
    {"merge", "operator: merge", false},
    {"merge", "operator: merge", false},
    {"merge", "operator: merge", false},
    {"move", "operator: move", true},
    {"move", "operator: move", true},
    {"transfer-leader", "operator: transfer", false},
    {"scatter", "operator: scatter", false},
    {"add-replica", "operator: add", false},
    {"add-replica", "operator: add", false},
    {"remove-replica", "operator: remove", true}, /* refused but where there is one more */
    {"remove-replica", "operator: remove", true},
    {"remove-replica", "operator: remove", true},
    {"remove-replica", "operator: remove", true},
};

static void ask(const char *met, const struct request_placement *placement)
{
    size_t at = rig_driver(&run.rig);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    struct request request = {.kind = REQUEST_PLACEMENT, .placement = *placement};
    run.change = rig_ask(&run.rig, run.change_at = at, &request);
    run.ask_kind = ASK_COMMAND;
    run.change_met = met;
}

/* The store of one of its replicas; 0: nobody leads it. */
static uint64_t some_store_of(struct slice key)
{
    uint64_t range_id;
    size_t at = leader_at(key, &range_id);
    const struct range_descriptor *d = at == run.rig.count ? NULL : descriptor_on(at, range_id);
    return d == NULL ? 0 : d->replicas[below(d->replica_count)].store_id;
}

static void command(size_t k)
{
    uint8_t raw[16];
    struct slice key = key_of((uint32_t)below(KEYS), raw);
    struct request_placement placement = {
        .verb = VERB_COMMAND, .name = slice_str(commands[k].name), .value = key};
    if (commands[k].is_from)
        placement.from_store = some_store_of(key);
    ask(commands[k].met, &placement);
}

static void command_called(const char *name)
{
    size_t k = 0;
    while (strcmp(commands[k].name, name) != 0)
        k++;
    command(k);
}

static uint64_t some_operator(void)
{
    struct placement_operator_status op;
    size_t i = rig_driver(&run.rig);
    const struct driver *d = i == run.rig.count ? NULL : run.rig.stores[i]->driver;
    for (uint32_t n = 0; d != NULL && driver_is_running(d) &&
                         placement_operator_at(d->placement, driver_now_ms(d), n, &op);
         n++) {
        if (op.outcome == PLACEMENT_RUNNING && below(2) == 0)
            return op.id;
    }
    return 0;
}

static void cancel_some(void)
{
    uint64_t id = some_operator();
    if (id != 0)
        ask("operator: cancel", &(struct request_placement){
                                    .verb = VERB_COMMAND, .name = slice_str("cancel"), .id = id});
}

/* One store, in some runs, where enough are left; not the one that clients begin with. */
static void decommission_some(void)
{
    size_t i = 1 + below(run.rig.count - 1);
    uint32_t running = 0;
    for (size_t k = 0; k < run.rig.count; k++)
        running += is_up(k) && store_state(run.rig.stores[k]) == STORE_RUNNING;
    if (run.leaving != 0 || running < GROWN_VOTERS + 1 || !is_up(i) ||
        store_state(run.rig.stores[i]) != STORE_RUNNING)
        return;
    run.leaving = store_identity(run.rig.stores[i])->store_id;
    run.leaving_at = i;
    ask("operator: decommission",
        &(struct request_placement){.verb = VERB_DECOMMISSION, .id = run.leaving});
}

/* What holds until it is taken back. */
static void word_some(void)
{
    struct request_placement word = {.verb = VERB_DRAIN, .id = 1 + below(run.rig.count)};
    switch (below(8)) {
    case 0:
        ask("operator: drain", &word);
        break;
    case 1:
    case 2:
        word.verb = VERB_UNDRAIN;
        if (word.id != run.leaving)
            ask("operator: undrain", &word);
        break;
    case 3:
        ask("operator: pause", &(struct request_placement){.verb = VERB_PAUSE});
        break;
    case 4:
        ask("operator: resume", &(struct request_placement){.verb = VERB_RESUME});
        break;
    case 5:
        word = (struct request_placement){.verb = VERB_SET,
                                          .name = slice_str("replicas"),
                                          .value = slice_str(below(2) == 0 ? "1" : "3")};
        ask("operator: replicas", &word);
        break;
    case 6:
        cancel_some();
        break;
    default:
        decommission_some();
        break;
    }
}

static void command_some(void)
{
    if (below(4) == 0)
        word_some();
    else
        command(below(ARRAY_LEN(commands)));
}

void grow_insist(const struct request_placement *word)
{
    for (int tries = 0; tries < 200; tries++) {
        size_t at = rig_driver(&run.rig);
        if (at < run.rig.count)
            rig_reconnect(&run.rig, at);
        run.change = NULL;
        ask(NULL, word);
        for (int i = 0; i < 20 && run.change != NULL && run.change->count == 0; i++)
            rig_run(&run.rig, 100 * RIG_MS);
        bool is_over = run.change != NULL && run.change->count == 1;
        if (is_over && (run.change->status == 0 || run.change->status == ERR_NOT_FOUND))
            return; /* it is so, or the store is gone already */
        rig_run(&run.rig, 200 * RIG_MS);
    }
    die("placement does not hear an operator's word");
}

void grow_finish(void)
{
    grow_insist(&(struct request_placement){.verb = VERB_RESUME});
    grow_insist(&(struct request_placement){
        .verb = VERB_SET, .name = slice_str("replicas"), .value = slice_str("3")});
    for (size_t i = 0; i < run.rig.count; i++) {
        uint64_t id = run.rig.stores[i] == NULL ? 0 : store_identity(run.rig.stores[i])->store_id;
        if (id != 0 && id != run.leaving)
            grow_insist(&(struct request_placement){.verb = VERB_UNDRAIN, .id = id});
    }
    if (run.retain != NULL)
        ranges_retain_last_words(run.retain, grow_insist);
    if (run.leaving != 0 && !run.has_left)
        grow_insist(&(struct request_placement){.verb = VERB_DECOMMISSION, .id = run.leaving});
    run.change = NULL;
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

enum { STEP_REMOVE = 2, STEP_MERGE = 5 }; /* in the table */

static const struct {
    enum placement_step_kind kind;
    const char *command; /* that brings it about, if nothing else does */
    const char *met;
    const char *all_met; /* all stores lost power */
} steps[] = {
    {PLACEMENT_ADD_LEARNER, "move", "driver died: add-learner",
     "power on all: driver at add-learner"},
    {PLACEMENT_PROMOTE, "move", "driver died: promote", "power on all: driver at promote"},
    {PLACEMENT_REMOVE, "move", "driver died: remove", "power on all: driver at remove"},
    {PLACEMENT_TRANSFER, "transfer-leader", "driver died: transfer",
     "power on all: driver at transfer"},
    {PLACEMENT_SPLIT, "split", "driver died: split", "power on all: driver at split"},
    {PLACEMENT_MERGE, "merge", "driver died: merge", "power on all: driver at merge"},
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

/* The operator that is at a step of that kind is cancelled, and another thing is asked of its range
 * at once: what was begun may run still. */
static void cross(size_t i, enum placement_step_kind kind)
{
    static const char *const names[] = {"split", "transfer-leader", "scatter"};
    struct placement_operator_status op;
    const struct driver *d = run.rig.stores[i]->driver;
    uint32_t n = 0;
    while (
        placement_operator_at(d->placement, driver_now_ms(d), n, &op) &&
        (op.outcome != PLACEMENT_RUNNING || op.step >= op.step_count || op.kinds[op.step] != kind))
        n++;
    if (!placement_operator_at(d->placement, driver_now_ms(d), n, &op))
        return;
    struct request_placement word = {
        .verb = VERB_COMMAND, .name = slice_str("cancel"), .id = op.id};
    ask(NULL, &word);
    run.crossed = run.change;
    word.name = slice_str(names[below(ARRAY_LEN(names))]);
    word.id = op.range_id;
    ask("operator: crossed", &word);
}

static void strike_at_step(void)
{
    size_t k = below(ARRAY_LEN(steps));
    if (below(2) == 0) /* two of them are rare, and many a merge is refused */
        k = below(4) == 0 ? STEP_REMOVE : STEP_MERGE;
    size_t i = driver_at(steps[k].kind);
    if (i == run.rig.count)
        command_called(steps[k].command);
    for (int ms = 0; i == run.rig.count && ms < WAIT_MS; ms++) {
        rig_run(&run.rig, RIG_MS);
        i = driver_at(steps[k].kind);
    }
    rig_run(&run.rig, below(below(2) == 0 ? 100 : 3) * RIG_MS); /* some steps are short */
    i = driver_at(steps[k].kind);
    if (i == run.rig.count)
        return;
    if (below(3) == 0) {
        cross(i, steps[k].kind);
        return;
    }
    run.strikes++;
    if (below(2) == 0) {
        ranges_lose_power();
        ranges_met(steps[k].all_met);
        return;
    }
    ranges_crash(i, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL, 20 + below(8000));
    ranges_met(steps[k].met);
}

void grow_expect(struct cover *cover)
{
    static const char *const words[] = {
        "operator: drain",    "operator: undrain",      "operator: pause",
        "operator: resume",   "operator: replicas",     "operator: cancel",
        "operator: crossed",  "operator: decommission", "a decommissioned store left",
        "a lost address book"};
    for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
        cover_expect(cover, steps[k].met);
        cover_expect(cover, steps[k].all_met);
    }
    for (size_t k = 0; k < ARRAY_LEN(commands); k++)
        cover_expect(cover, commands[k].met);
    for (size_t k = 0; k < ARRAY_LEN(words); k++)
        cover_expect(cover, words[k]);
}

void grow_operate(uint64_t choice)
{
    if (run.crossed != NULL && run.crossed->count > 0 && run.crossed->status == 0)
        ranges_met("operator: cancel");
    if (run.crossed != NULL && run.crossed->count > 0)
        run.crossed = NULL;
    if (choice < 5 && is_change_over()) {
        run.change_deadline_us = sim_now_us(run.rig.sim) + 6000 * RIG_MS;
        command_some();
    } else if (choice >= 5 && below(8) == 0) {
        strike_driver();
    } else if (choice >= 5 && below(2) == 0) {
        strike_at_step();
    }
}
