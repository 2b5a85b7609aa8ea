/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-ranges-sim — ranges that are split and merged, and whose members come and go, on
 * whole stores in a simulated world, while they are read and written and everything fails.
 * Some keys stand behind the slots of a hashed keyspace, some have a time to live
 * (ranges_keys.c); in a quarter of the runs operators leave ranges with one replica.
 *
 * With --grow the cluster grows: one store founds it, the others join when their time comes,
 * and placement alone says where replicas go; whoever hosts it is struck more often than
 * others (ranges_grow.c). Else members are fixed at the birth, and ids and changes of members
 * come from this program.
 *
 * The one who writes knows who leads (it looks into the stores): it judges splits,
 * merges, membership and snapshots, not routing. At the end the faults stop, and
 *  - the spans of all ranges cover the key space exactly once;
 *  - all members of a range are at one index with one state;
 *  - a cluster that has grown has as many voters as its stores can carry;
 *  - each key holds the last acknowledged value, or one written since whose outcome was
 *    never told;
 *  - the client's core, which knows nothing but addresses, scans them all both ways;
 *  - gets of all keys at once found what was acknowledged before (ranges_multi.c);
 *  - so did scans, page by page at the version of a first one (ranges_scan.c);
 *  - of a span that is filled and deleted over and over nothing is left (ranges_sweep.c);
 *  - changes that were sent again and again were done once, or never (ranges_twice.c);
 *  - with --full-log, though logs were full (ranges_full.c);
 *  - with --retain, what was read at versions was there (ranges_retain.c);
 *  - watchers were told of every acknowledged write, once and in order (ranges_watch.h).
 * In half of the runs nobody watches, and there are lulls without load or faults: ranges sleep,
 * and are split, merged, moved, cut off and crashed asleep.
 * While it runs: the invariants of all rooms, one history per range and index, one owner per
 * key and epoch, no replica id or store id for two, and reads that never go back.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "ranges.h"
#include "wire/keyspace.h"

struct run run;
static struct cover met; /* in all runs */

void die(const char *what)
{
    printf("FAILED: %s at %llu us\n", what, (unsigned long long)sim_now_us(run.rig.sim));
    fflush(stdout);
    exit(1);
}

uint64_t below(uint64_t n)
{
    return rng_below(&run.rng, n);
}

/* ---- looking into the stores ------------------------------------------------------ */

bool is_up(size_t i)
{
    return run.rig.stores[i] != NULL && !sim_node_is_dead(run.rig.nodes[i]);
}

bool leads(size_t i, uint64_t range_id)
{
    struct cons_status s;
    return store_cons_status(run.rig.stores[i], range_id, &s) && s.state == CONS_LEADER &&
           s.is_ready;
}

size_t leader_at(struct slice key, uint64_t *ret_range)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        uint64_t id;
        if (!is_up(i))
            continue;
        for (uint32_t k = 0; (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            struct range *range = store_range_of(run.rig.stores[i], id);
            struct range_span span = range_descriptor_span(range_descriptor(range));
            if (range_span_contains(span, key) && leads(i, id)) {
                *ret_range = id;
                return i;
            }
        }
    }
    return run.rig.count;
}

size_t place_of(uint64_t store_id)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        if (run.rig.stores[i] != NULL && store_identity(run.rig.stores[i])->store_id == store_id)
            return i;
    }
    return run.rig.count;
}

const struct range_descriptor *descriptor_on(size_t store, uint64_t range_id)
{
    struct range *range = store_range_of(run.rig.stores[store], range_id);
    return range == NULL ? NULL : range_descriptor(range);
}

/* ---- faults --------------------------------------------------------------------------- */

/* What a store counted, before it goes. */
void ranges_count_sleep(size_t i)
{
    struct store_sleep_stats s;
    if (run.rig.stores[i] == NULL)
        return;
    store_sleep_stats(run.rig.stores[i], &s);
    run.sleep.slept += s.slept;
    run.sleep.woken_by_work += s.woken_by_work;
    run.sleep.woken_by_silence += s.woken_by_silence;
    run.sleep.woken_by_boot += s.woken_by_boot;
    run.sleep.woken_by_doubt += s.woken_by_doubt;
    run.sleep.woken_by_start += s.woken_by_start;
    run.sleep.answered_asleep += s.answered_asleep;
}

void ranges_met(const char *name)
{
    cover_add(&run.cover, name, 1);
}

void ranges_crash(size_t i, enum sim_crash how, uint64_t away_ms)
{
    ranges_count_sleep(i);
    key_times_note();
    rig_crash(&run.rig, i, how);
    run.restart_us[i] = sim_now_us(run.rig.sim) + away_ms * RIG_MS;
    run.crashes++;
}

static void crash_some(bool all)
{
    size_t i = below(run.rig.count);
    enum sim_crash how = below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL;
    for (size_t k = 0; k < run.rig.count; k++) {
        if ((!all && k != i) || run.rig.stores[k] == NULL)
            continue;
        ranges_crash(k, how, 20 + below(all ? 1000 : 5000));
    }
}

void ranges_lose_power(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        if (run.rig.stores[i] != NULL)
            ranges_crash(i, SIM_CRASH_POWER, 20 + below(1000));
    }
}

/* It died of its own: a crash point, a disk that failed, or it was removed. */
static void bury(size_t i)
{
    const char *why = sim_node_fatal_message(run.rig.nodes[i]);
    if (run.leaving != 0 && i == run.leaving_at && strstr(why, "was removed") != NULL) {
        run.has_left = true;
        ranges_crash(i, SIM_CRASH_KILL, 0);
        ranges_met("a decommissioned store left");
        return;
    }
    if (!run.has_weather) {
        printf("store %zu: %s\n", i + 1, why);
        die("a store died without a cause");
    }
    ranges_crash(i, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL, 20 + below(2000));
}

/* No promise rests on the address book: it is told again. Drawn apart from all else. */
static void lose_book(size_t i)
{
    enum { ONE_START_IN = 12 };
    struct sim_node *node = run.rig.nodes[i];
    if (rng_below(&run.book_rng, ONE_START_IN) != 0)
        return;
    if (!sim_node_is_up(node))
        sim_node_restart(node);
    if (env_file_unlink(sim_node_env(node), "data/BOOK", NULL) == 0)
        cover_add(&run.cover, "a lost address book", 1);
}

void ranges_start(bool now)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        struct err err = {0};
        if (now || sim_now_us(run.rig.sim) >= run.resume_us[i])
            sim_node_resume(run.rig.nodes[i]);
        if (run.rig.stores[i] != NULL && sim_node_is_dead(run.rig.nodes[i]))
            bury(i);
        uint64_t start_us = MAX(run.restart_us[i], run.join_us[i]);
        bool is_due = now || sim_now_us(run.rig.sim) >= start_us;
        if (run.rig.stores[i] != NULL || !is_due || (run.has_left && i == run.leaving_at))
            continue;
        lose_book(i);
        int rv = rig_start(&run.rig, i, &err);
        if (rv != 0 && !weather_excuses(rv)) {
            printf("store %zu: %s\n", i + 1, err.msg);
            die("a store does not start");
        }
        if (rv != 0)
            run.restart_us[i] = sim_now_us(run.rig.sim) + (100 + below(2000)) * RIG_MS;
    }
}

static void cut_some(void)
{
    size_t a = below(run.rig.count);
    size_t b = below(run.rig.count);
    if (below(3) == 0)
        sim_net_heal(run.rig.sim, NULL, NULL);
    else
        sim_net_partition(run.rig.sim, run.rig.nodes[a], a == b ? NULL : run.rig.nodes[b],
                          below(3) == 0);
}

/* Who leads is cut off from all others: what it had begun is for them to end. */
static void isolate(size_t at)
{
    for (size_t k = 0; k < run.rig.count; k++) {
        if (k != at)
            sim_net_partition(run.rig.sim, run.rig.nodes[at], run.rig.nodes[k], below(4) == 0);
    }
}

/* Soon after an operator has asked for something, so that it is met in the middle. */
static void strike(void)
{
    rig_run(&run.rig, below(80) * RIG_MS);
    switch (below(3)) {
    case 0:
        crash_some(below(2) == 0);
        break;
    case 1:
        cut_some();
        break;
    default:
        isolate(run.change_at);
        break;
    }
}

static void crash_one(size_t i, uint64_t away_ms)
{
    if (!is_up(i))
        return;
    ranges_crash(i, below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL, away_ms);
}

/* All is well and nobody wants anything, so ranges fall asleep; then they are met by one
 * thing that they must wake for. */
static void lull(void)
{
    size_t i = below(run.rig.count);
    sim_net_heal(run.rig.sim, NULL, NULL);
    weather_clear();
    ranges_start(true);
    rig_run(&run.rig, (1500 + below(3000)) * RIG_MS);
    check_now();
    switch (below(6)) {
    case 0: /* back before anybody misses it */
        crash_one(i, below(100));
        break;
    case 1:
        crash_one(i, 500 + below(5000));
        break;
    case 2:
        isolate(i);
        break;
    case 3:
        cut_some();
        break;
    case 4:
        crash_some(true);
        break;
    default:
        return; /* whatever comes next: a write, a read, an operator */
    }
    rig_run(&run.rig, below(200) * RIG_MS);
    ranges_start(false);
    run.quiet_until_us = sim_now_us(run.rig.sim) + below(3000) * RIG_MS;
}

static void act(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        if (is_up(i))
            rig_reconnect(&run.rig, i);
    }
    weather_act();
    clock_leap();
    if (run.is_sleepy && below(16) == 0)
        lull();
    if (run.is_aimed && below(8) == 0)
        ranges_aim();
    bool is_quiet = sim_now_us(run.rig.sim) < run.quiet_until_us;
    for (int i = 0; i < 3 && !is_quiet; i++)
        write_some();
    for (int i = 0; i < 2 && (!is_quiet || (run.is_sleepy && below(8) == 0)); i++)
        read_some();
    if (!is_quiet)
        ranges_multi_act(run.multi);
    if (!is_quiet)
        ranges_scan_act(run.scan);
    if (!is_quiet)
        ranges_sweep_act(run.sweep);
    if (!is_quiet)
        ranges_twice_act(run.twice);
    ranges_retain_act(run.retain);
    if (!is_quiet)
        ranges_full_act(run.full);
    if (!is_quiet)
        ranges_check_act(run.check);
    lost_act();
    uint64_t choice = below(28);
    if (choice < OPERATE_CHOICES) {
        operate(choice);
        if (below(4) == 0)
            strike();
    } else if (choice == OPERATE_CHOICES) {
        crash_some(below(12) == 0);
    } else if (choice == OPERATE_CHOICES + 1) {
        cut_some();
    } else if (choice == OPERATE_CHOICES + 2) {
        if (is_up(0) && run.rig.conns[0].conn != NULL)
            rig_simple(&run.rig, 0, REQUEST_FLUSH);
    } else if (choice == OPERATE_CHOICES + 3) {
        clock_skew_some();
    }
    ranges_start(false);
}

static void check_watchers(void)
{
    const char *why = ranges_watch_verdict(run.watch);
    if (why != NULL)
        die(why);
}

/* They are told of everything in the end. */
static void wait_for_watchers(void)
{
    ranges_watch_calm(run.watch);
    for (int i = 0; i < 600 && !ranges_watch_is_complete(run.watch); i++)
        rig_run(&run.rig, 100 * RIG_MS);
    check_watchers();
    if (!ranges_watch_is_complete(run.watch))
        die("a watcher was not told of an acknowledged write");
}

static void draw_sleep(void)
{
    run.is_sleepy = below(2) == 0;
    if (!run.is_sleepy)
        return;
    run.rig.options.hibernate_after_ms = (uint32_t)(1 + below(300));
    run.rig.options.hibernate_check_ms = (uint32_t)(1000 + below(10000));
}

static void begin_watchers(uint64_t seed)
{
    const char *endpoints[RIG_STORES_MAX];
    size_t count = run.is_grown ? 1 : run.rig.count; /* the others are not there yet */
    for (size_t i = 0; i < count; i++)
        endpoints[i] = store_address(run.rig.stores[i]);
    run.watch = ranges_watch_new(run.rig.sim, endpoints, count, seed, run.hashed);
    for (int i = 0; i < 100 && !ranges_watch_is_ready(run.watch); i++)
        rig_run(&run.rig, 50 * RIG_MS);
    if (!ranges_watch_is_ready(run.watch))
        die("a watch does not begin");
}

static void begin_multi(uint64_t seed)
{
    const char *endpoints[RIG_STORES_MAX];
    size_t count = run.is_grown ? 1 : run.rig.count;
    for (size_t i = 0; i < count; i++)
        endpoints[i] = store_address(run.rig.stores[i]);
    run.multi = ranges_multi_new(endpoints, count);
    run.scan = ranges_scan_new(endpoints, count, seed);
    run.sweep = ranges_sweep_new(endpoints, count);
    run.twice = ranges_twice_new(seed);
    run.check = ranges_check_new(seed);
}

static void finish(void)
{
    int steps = 0;
    sim_net_heal(run.rig.sim, NULL, NULL);
    weather_clear();
    clock_heal();
    ranges_start(true);
    if (run.is_grown) /* what was held up arrives, and what was sent since behind it */
        rig_run(&run.rig, SLOW_MAX_MS * RIG_MS);
    if (run.is_grown)
        grow_finish();
    do {
        rig_run(&run.rig, 100 * RIG_MS);
        ranges_start(true);
        check_now();
    } while (++steps < SETTLE_STEPS && !is_settled());
    if (!is_settled()) {
        describe();
        die("it does not settle");
    }
    settle_reads();
    check_values();
    ranges_sweep_finish(run.sweep);
    ranges_twice_finish(run.twice);
    look_by_client();
    check_expired();
    wait_for_watchers();
}

static void say(void *data, enum log_level level, const char *line)
{
    (void)data;
    printf("%12llu %s %s\n", (unsigned long long)sim_now_us(run.rig.sim), log_level_name(level),
           line);
}

static void clear_run(uint64_t seed)
{
    static const struct logger logger = {.level = LOG_LEVEL_INFO, .sink = say};
    struct run asked = run;
    memset(&run, 0, sizeof run);
    run.says_all = asked.says_all;
    run.is_grown = asked.is_grown;
    run.is_retaining = asked.is_retaining;
    run.has_full_logs = asked.has_full_logs;
    rng_init(&run.rng, seed);
    rng_init(&run.book_rng, ~seed);
    map_init(&run.hashes);
    map_init(&run.owners);
    map_init(&run.seats);
    map_init(&run.stays);
    run.next_id = 100;
    rig_open_seeded(&run.rig, 3 + below(3), seed);
    run.rig.options.logger = run.says_all ? &logger : NULL;
    run.rig.options.lsm.memtable_bytes = (size_t)1 << (10 + below(8));
    run.rig.options.log_kept_bytes = below(2) * 4096;
    run.rig.options.has_leases = true;
    if (seed % 5 == 2) /* not drawn: what the other seeds mean stays */
        run.rig.options.read_aside_bytes = 64;
    run.has_later = seed % 4 == 2;
    if (below(2) == 0) /* slower to elect than a merge is patient */
        run.rig.options.election_timeout_ms = 1500;
    run.rig.options.log.cache_bytes = below(2) * 4096;
    run.fewest = below(4) == 0 ? 1 : 2;
    run.has_skew = below(3) != 0;
    run.slots = 1 + (uint32_t)below(16);
    run.hashed = run.is_grown ? 0 : KEYSPACE_NAMED_FIRST;
    draw_sleep();
    run.is_aimed = !run.is_grown && below(2) == 0;
    weather_draw(seed);
    lost_draw(seed);
    if (run.is_retaining)
        run.retain = ranges_retain_new(seed, !run.is_sleepy);
    if (run.has_full_logs)
        run.full = ranges_full_new(seed);
}

/* Who slept, and what woke them. */
static void say_sleep(void)
{
    for (size_t i = 0; i < run.rig.count; i++)
        ranges_count_sleep(i);
    printf(
        " slept %llu woken %llu silence %llu boot %llu doubt %llu start %llu asleep "
        "%llu\n",
        (unsigned long long)run.sleep.slept, (unsigned long long)run.sleep.woken_by_work,
        (unsigned long long)run.sleep.woken_by_silence, (unsigned long long)run.sleep.woken_by_boot,
        (unsigned long long)run.sleep.woken_by_doubt, (unsigned long long)run.sleep.woken_by_start,
        (unsigned long long)run.sleep.answered_asleep);
    cover_add(&run.cover, "sleep: woken by silence", run.sleep.woken_by_silence);
    cover_add(&run.cover, "sleep: woken by a boot number", run.sleep.woken_by_boot);
    cover_add(&run.cover, "sleep: woken by doubt", run.sleep.woken_by_doubt);
    cover_add(&run.cover, "sleep: woken after a start", run.sleep.woken_by_start);
    cover_add(&run.cover, "sleep: answered asleep", run.sleep.answered_asleep);
}

static void free_stays(void)
{
    uint32_t cursor = 0;
    void *stay;
    while ((stay = map_next(&run.stays, &cursor, NULL)) != NULL)
        free(stay);
    map_fini(&run.stays);
}

static void run_seed(uint64_t seed, uint32_t seconds)
{
    clear_run(seed);
    if (run.is_grown)
        grow_begin(seconds);
    else
        rig_start_cluster(&run.rig);
    if (!run.is_sleepy)
        begin_watchers(seed);
    begin_multi(seed);
    uint64_t end_us = sim_now_us(run.rig.sim) + (uint64_t)seconds * 1000 * RIG_MS;
    if (!run.is_grown && run.is_sleepy && run.has_skew && below(2) == 0) /* watchers would lose */
        run.leap_us = end_us - below(seconds) * 1000 * RIG_MS;
    while (sim_now_us(run.rig.sim) < end_us) {
        act();
        rig_run(&run.rig, (1 + below(100)) * RIG_MS);
        check_now();
        check_watchers();
        ranges_multi_check(run.multi);
    }
    finish();
    uint64_t told, pieces, answered, parted;
    ranges_multi_figures(run.multi, &answered, &parted);
    ranges_watch_figures(run.watch, &told, &pieces);
    printf("seed %llu hash %016llx ok acked %llu read %llu splits %llu changes %llu merges %llu "
           "transfers %llu commands %llu strikes %llu crashes %llu told %llu pieces %llu multi "
           "%llu of several %llu",
           (unsigned long long)seed, (unsigned long long)sim_hash(run.rig.sim),
           (unsigned long long)run.acked, (unsigned long long)run.read,
           (unsigned long long)run.done[ASK_SPLIT], (unsigned long long)run.done[ASK_MEMBER],
           (unsigned long long)run.done[ASK_MERGE], (unsigned long long)run.done[ASK_TRANSFER],
           (unsigned long long)run.done[ASK_COMMAND], (unsigned long long)run.strikes,
           (unsigned long long)run.crashes, (unsigned long long)told, (unsigned long long)pieces,
           (unsigned long long)answered, (unsigned long long)parted);
    printf(" anywhere %llu lease %llu stale %llu expired %llu", (unsigned long long)run.ways[1],
           (unsigned long long)run.ways[2], (unsigned long long)run.ways[3],
           (unsigned long long)run.absent);
    say_sleep();
    ranges_sweep_free(run.sweep);
    cover_merge(&met, &run.cover);
    ranges_multi_free(run.multi);
    ranges_scan_free(run.scan);
    ranges_twice_free(run.twice);
    ranges_check_free(run.check);
    ranges_retain_free(run.retain);
    ranges_full_free(run.full);
    ranges_watch_free(run.watch);
    map_fini(&run.hashes);
    map_fini(&run.owners);
    map_fini(&run.seats);
    free_stays();
    rig_close(&run.rig);
}

/* With --retain or --full-log that alone: all else is met without it. */
static void expect_all(struct cover *cover)
{
    if (run.has_full_logs) {
        ranges_full_expect(cover);
        return;
    }
    if (run.is_retaining) {
        ranges_retain_expect(cover);
        return;
    }
    if (run.is_grown)
        grow_expect(cover);
    if (run.is_grown)
        lost_expect(cover);
    else
        ranges_aim_expect(cover);
    if (!run.is_grown)
        cover_expect(cover, "all wall clocks leapt");
    weather_expect(cover);
    ranges_scan_expect(cover);
    ranges_twice_expect(cover);
    ranges_check_expect(cover);
    static const char *const names[] = {"written: one voter", "written: two voters",
                                        "expired: found absent", "a wall clock jumped",
                                        "sweep: a hashed span deleted"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        cover_expect(cover, names[i]);
}

static int usage(void)
{
    fprintf(stderr, "usage: holdfast-ranges-sim --seeds A..B [--grow] [--retain] [--full-log]"
                    " [--seconds N] [--cover] [--trace] [--plant NAME]\n");
    return 2;
}

static int plant(const char *name)
{
#ifdef HOLDFAST_PLANTED
    return plant_choose(name);
#else
    fprintf(stderr, "no '%s' in this build: cmake --preset planted\n", name);
    return ERR_NOT_FOUND;
#endif
}

int main(int argc, char **argv)
{
    unsigned long long from = 0, to = 0;
    uint32_t seconds = 20;
    bool must_cover = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--trace") == 0) {
            run.says_all = true;
            continue;
        }
        if (strcmp(argv[i], "--grow") == 0) {
            run.is_grown = true;
            continue;
        }
        if (strcmp(argv[i], "--retain") == 0) {
            run.is_retaining = true;
            continue;
        }
        if (strcmp(argv[i], "--full-log") == 0) {
            run.has_full_logs = true;
            continue;
        }
        if (strcmp(argv[i], "--cover") == 0) {
            must_cover = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--seeds") == 0) {
            if (sscanf(value, "%llu..%llu", &from, &to) != 2)
                return usage();
        } else if (strcmp(argv[i - 1], "--seconds") == 0) {
            seconds = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i - 1], "--plant") != 0 || plant(value) != 0) {
            return usage();
        }
    }
    if (from == 0 || from > to || seconds == 0)
        return usage();
    expect_all(&met);
    for (uint64_t seed = from; seed <= to; seed++) {
        printf("seed %llu\r", (unsigned long long)seed);
        fflush(stdout);
        run_seed(seed, seconds);
    }
    printf("met:\n");
    bool lacks = cover_print(&met, stdout) > 0 && must_cover;
    if (lacks)
        printf("FAILED: not everything was met that must be\n");
    printf("%llu passed, 0 failed\n", to - from + 1);
    return lacks ? 1 : 0;
}
