/* SPDX-License-Identifier: Apache-2.0
 *
 * The weather of holdfast-ranges-sim: in half of the runs networks, disks and clocks are as bad
 * as holdfast-sim's, and stores are paused, lose power in the midst of a disk call, or die and
 * then lose power. It clears up before what needs calm (ranges_aim.c), and at the end.
 */
#include "ranges.h"

enum {
    SLOW_SYNC_US_MAX = 500 * 1000,
    SLOW_PPM_MAX = 30 * 1000,
    DISK_CALLS_MAX = 200,
    ROOM_MAX = 1 << 16,
};

static struct {
    bool is_bad; /* now */
    struct sim_options world;
    uint64_t disk_until_us[RIG_STORES_MAX]; /* it is slow, or full; 0: as all others */
} weather;

void weather_draw(uint64_t seed)
{
    static const uint32_t often[] = {0, 20, 200};
    struct rng rng;
    memset(&weather, 0, sizeof weather);
    run.has_weather = below(2) == 0;
    if (!run.has_weather)
        return;
    run.rig.options.max_clock_drift_ppm = RANGES_DRIFT_PPM_MAX;
    rng_init(&rng, seed ^ UINT64_C(0x77656174686572));
    sim_options_swarm(&weather.world, seed);
    weather.world.wall_skew_ms_max = 0; /* clock_skew_some() */
    struct sim_disk_options *disk = &weather.world.disk;
    /* As often as a run can bear: each ends a process. */
    disk->sync_error_ppm = often[rng_below(&rng, ARRAY_LEN(often))];
    disk->read_error_ppm = often[rng_below(&rng, ARRAY_LEN(often))];
    /* Trouble, but not so that no election can ever succeed. */
    disk->slow_sync_us = MIN(disk->slow_sync_us, (uint64_t)SLOW_SYNC_US_MAX);
    disk->slow_sync_ppm = MIN(disk->slow_sync_ppm, (uint32_t)SLOW_PPM_MAX);
    weather.world.work_spike_ppm = MIN(weather.world.work_spike_ppm, (uint32_t)SLOW_PPM_MAX);
}

static void set_disk(size_t i, const struct sim_disk_options *options, uint64_t until_us)
{
    struct sim_disk *disk = sim_node_disk(run.rig.nodes[i]);
    sim_disk_set_options(disk, options);
    sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
    weather.disk_until_us[i] = until_us;
}

static void set_world(const struct sim_options *world)
{
    sim_set_options(run.rig.sim, world);
    for (size_t i = 0; i < run.rig.count; i++)
        set_disk(i, &world->disk, 0);
}

void weather_clear(void)
{
    struct sim_options calm;
    if (!weather.is_bad)
        return;
    weather.is_bad = false;
    sim_options_init(&calm);
    set_world(&calm);
    for (size_t i = 0; i < run.rig.count; i++) {
        sim_node_crash_after(run.rig.nodes[i], 0);
        if (is_up(i))
            sim_node_set_drift(run.rig.nodes[i], 0);
    }
}

bool weather_excuses(int status)
{
    bool is_device = status == ERR_IO || status == ERR_NO_SPACE || status == ERR_NOMEM;
    return run.has_weather && is_device;
}

/* ---- what happens -------------------------------------------------------------------------- */

static void pause(size_t i)
{
    uint64_t ms = below(4) == 0 ? 3000 + below(9000) : 50 + below(2000);
    sim_node_pause(run.rig.nodes[i]);
    run.resume_us[i] = sim_now_us(run.rig.sim) + ms * RIG_MS;
}

static void slow_disk(size_t i)
{
    struct sim_disk_options slow = weather.world.disk;
    bool is_sick = below(2) == 0; /* so that who leads there hands over */
    uint64_t ms = is_sick ? 3000 + below(5000) : 100 + below(4000);
    slow.slow_sync_ppm = 1000000;
    slow.slow_sync_us = is_sick ? 600 * 1000 + below(300 * 1000) : 5000 + below(500 * 1000);
    set_disk(i, &slow, sim_now_us(run.rig.sim) + ms * RIG_MS);
}

/* Syncs fail, and then power goes. */
static void failed_sync(size_t i)
{
    struct sim_disk_options bad = weather.world.disk;
    bad.sync_error_ppm = 300000;
    set_disk(i, &bad, 0);
    rig_run(&run.rig, (20 + below(380)) * RIG_MS);
    set_disk(i, &weather.world.disk, 0);
    if (run.rig.stores[i] != NULL)
        ranges_crash(i, SIM_CRASH_POWER, 20 + below(2000));
}

static void full_disk(size_t i)
{
    struct sim_disk *disk = sim_node_disk(run.rig.nodes[i]);
    set_disk(i, &weather.world.disk, sim_now_us(run.rig.sim) + (200 + below(5000)) * RIG_MS);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + below(ROOM_MAX));
}

bool weather_fill_disk(size_t i)
{
    if (weather.is_bad)
        full_disk(i);
    return weather.is_bad;
}

void weather_slow_disk(size_t i, uint64_t sync_us)
{
    struct sim_options calm;
    sim_options_init(&calm);
    struct sim_disk_options disk = weather.is_bad ? weather.world.disk : calm.disk;
    if (sync_us != 0) {
        disk.slow_sync_ppm = 1000000;
        disk.slow_sync_us = sync_us;
    }
    set_disk(i, &disk, 0);
}

/* Between a write and its sync, for example. */
static void die_at_a_call(size_t i)
{
    sim_node_crash_after(run.rig.nodes[i], 1 + below(below(2) == 0 ? 12 : DISK_CALLS_MAX));
}

/* What the second life took for durable and the first had never synced is lost. */
static void kill_then_power(size_t i)
{
    ranges_crash(i, SIM_CRASH_KILL, 0);
    if (below(3) == 0) { /* before it comes back at all */
        sim_node_crash(run.rig.nodes[i], SIM_CRASH_POWER);
        return;
    }
    ranges_start(false);
    rig_run(&run.rig, (1 + below(100)) * RIG_MS);
    if (run.rig.stores[i] != NULL)
        ranges_crash(i, SIM_CRASH_POWER, 20 + below(2000));
}

static void drift(size_t i)
{
    static const int32_t most[] = {100, 1000, RANGES_DRIFT_PPM_MAX};
    int32_t ppm = most[below(ARRAY_LEN(most))];
    sim_node_set_drift(run.rig.nodes[i], below(2) == 0 ? ppm : -ppm);
}

static void half_open(size_t i)
{
    sim_net_half_open(run.rig.sim, run.rig.nodes[i], NULL);
}

static void reset(size_t i)
{
    sim_net_reset(run.rig.sim, run.rig.nodes[i], NULL);
}

/* It takes long, or carries little. */
static void slow_link(size_t i)
{
    struct sim_node *to = run.rig.nodes[below(run.rig.count)];
    uint64_t ms = 1 + below(300);
    if (!run.has_later || ms % 2 == 0) {
        sim_net_slow(run.rig.sim, run.rig.nodes[i], to, ms * RIG_MS);
        return;
    }
    sim_net_narrow(run.rig.sim, run.rig.nodes[i], to, UINT64_C(1) << (10 + ms % 8));
    ranges_met("weather: a narrow link");
}

static const struct {
    void (*act)(size_t i);
    const char *met;
} events[] = {
    {pause, "weather: a store stood still"},
    {slow_disk, "weather: a slow disk"},
    {failed_sync, "weather: a sync failed"},
    {full_disk, "weather: a full disk"},
    {die_at_a_call, "weather: death at a disk call"},
    {die_at_a_call, "weather: death at a disk call"},
    {kill_then_power, "weather: killed, then power"},
    {drift, "weather: a clock drifts"},
    {half_open, "weather: half-open connections"},
    {reset, "weather: connections reset"},
    {slow_link, "weather: a slow link"},
};

void weather_act(void)
{
    uint64_t now_us = sim_now_us(run.rig.sim);
    if (!run.has_weather)
        return;
    if (!weather.is_bad && below(3) == 0) {
        weather.is_bad = true;
        set_world(&weather.world);
    }
    for (size_t i = 0; i < run.rig.count && weather.is_bad; i++) {
        if (weather.disk_until_us[i] != 0 && now_us >= weather.disk_until_us[i])
            set_disk(i, &weather.world.disk, 0);
    }
    size_t i = below(run.rig.count);
    if (!weather.is_bad || below(4) != 0 || !is_up(i) || sim_node_is_paused(run.rig.nodes[i]))
        return;
    size_t k = below(ARRAY_LEN(events));
    events[k].act(i);
    ranges_met(events[k].met);
}

void weather_expect(struct cover *cover)
{
    for (size_t k = 0; k < ARRAY_LEN(events); k++)
        cover_expect(cover, events[k].met);
    cover_expect(cover, "weather: a narrow link");
}
