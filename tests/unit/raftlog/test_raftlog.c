/* SPDX-License-Identifier: Apache-2.0
 *
 * The calls one by one: order of callbacks, reading, room, a full disk, a failed sync,
 * budget and pins. */
#include "raftlog/raftlog.h"

#include <stdlib.h>

#include "env/sim/sim.h"
#include "support/check.h"

struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log;
    struct raftlog_options options;
    uint64_t next_cb; /* numbers of the writes that called back, in order */
    int on_room;
};

static void on_room(void *data)
{
    ((struct fixture *)data)->on_room++;
}

static void open_log(struct fixture *f)
{
    struct err err = {0};
    if (raftlog_open(&f->log, sim_node_env(f->node), "/log", &f->options, &err) != 0)
        fail_msg("%s", err.msg);
}

static void setup_ahead(struct fixture *f, uint32_t segment_bytes, size_t ahead_bytes)
{
    memset(f, 0, sizeof *f);
    raftlog_options_init(&f->options);
    f->options.segment_bytes = segment_bytes;
    f->options.ahead_bytes = ahead_bytes;
    f->options.budget_bytes = 8 * segment_bytes;
    f->options.limit_bytes = 16 * segment_bytes;
    f->options.cache_bytes = 4096;
    f->options.callbacks.on_room = on_room;
    f->options.data = f;
    f->sim = sim_new(NULL, 1);
    f->node = sim_node_new(f->sim, "n1");
    f->next_cb = 1;
    open_log(f);
}

static void setup_sized(struct fixture *f, uint32_t segment_bytes)
{
    setup_ahead(f, segment_bytes, SIZE_MAX);
}

static void setup(struct fixture *f)
{
    setup_sized(f, 4096);
}

static void teardown(struct fixture *f)
{
    raftlog_check(f->log);
    sim_node_crash(f->node, SIM_CRASH_KILL);
    raftlog_free(f->log);
    sim_free(f->sim);
}

static void restart(struct fixture *f)
{
    sim_node_crash(f->node, SIM_CRASH_POWER);
    raftlog_free(f->log);
    sim_node_restart(f->node);
    open_log(f);
    raftlog_check(f->log);
}

static void run(struct fixture *f)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + 1000000);
}

static uint8_t blob[64 << 10];

/* Append `n` entries of `len` bytes to the end of group `id`, in term 1. */
static void append(struct fixture *f, uint64_t id, uint32_t n, size_t len, uint64_t commit)
{
    struct raftlog_entry entries[16];
    struct raftlog_group_state s = {0};
    raftlog_group_state(f->log, id, &s);
    for (uint32_t i = 0; i < n; i++) {
        memset(blob, (int)(s.last_index + 1), len);
        entries[i] = (struct raftlog_entry){1, 1, slice_of(blob, len)};
    }
    struct raftlog_write w = {
        .group = id, .first_index = s.last_index + 1, .entries = entries, .n = n, .commit = commit};
    raftlog_append(f->log, &w);
    run(f);
}

struct numbered {
    struct raftlog_write write;
    struct fixture *fixture;
    uint64_t number;
};

static void on_numbered(struct raftlog_write *write)
{
    struct numbered *n = container_of(write, struct numbered, write);
    assert_true(n->number == n->fixture->next_cb);
    n->fixture->next_cb++;
}

/* Callbacks come in order, none from inside, barriers among them. */
static void test_callback_order(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct numbered writes[40];
    memset(writes, 0, sizeof writes);
    for (uint64_t i = 0; i < ARRAY_LEN(writes); i++) {
        struct numbered *n = &writes[i];
        n->fixture = &f;
        n->number = i + 1;
        n->write.cb = on_numbered;
        n->write.group = i % 5 == 4 ? 0 : 1 + i % 3;
        n->write.has_hard_state = true;
        n->write.term = i + 1;
        n->write.may_block = i % 4 < 2;
        raftlog_append(f.log, &n->write);
        assert_true(f.next_cb <= i + 1);
        if (i % 7 == 0 || i % 11 < 2)
            sim_step(f.sim);
    }
    run(&f);
    assert_true(f.next_cb == ARRAY_LEN(writes) + 1);
    teardown(&f);
}

static void test_get_and_term(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct raftlog_entry entry;
    uint64_t term;
    assert_int_equal(raftlog_get(f.log, 1, 1, &entry), ERR_NOT_FOUND);
    for (int i = 0; i < 60; i++)
        append(&f, 1, 1, 200, 0);
    assert_int_equal(raftlog_get(f.log, 1, 60, &entry), 0);
    assert_int_equal(entry.data.len, 200);
    assert_int_equal(entry.data.data[0], 60);
    assert_int_equal(raftlog_get(f.log, 1, 1, &entry), ERR_WOULD_BLOCK); /* out of the cache */
    assert_int_equal(raftlog_get(f.log, 1, 61, &entry), ERR_NOT_FOUND);
    assert_int_equal(raftlog_term(f.log, 1, 1, &term), 0);
    assert_int_equal(raftlog_term(f.log, 1, 0, &term), 0); /* the base */
    assert_true(term == 0);
    assert_int_equal(raftlog_term(f.log, 1, 61, &term), ERR_NOT_FOUND);
    raftlog_compact(f.log, 1, 31);
    assert_int_equal(raftlog_term(f.log, 1, 30, &term), 0);
    assert_int_equal(raftlog_term(f.log, 1, 29, &term), ERR_NOT_FOUND);
    teardown(&f);
}

struct reading {
    struct raftlog_read read;
    int calls;
};

static void on_read(struct raftlog_read *read)
{
    container_of(read, struct reading, read)->calls++;
}

/* A read shows the log as it was when it began, whatever happens to it meanwhile. */
static void test_read_is_pinned(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    for (int i = 0; i < 60; i++)
        append(&f, 1, 1, 200, 0);
    struct reading r = {.read = {.group = 1, .first = 1, .last = 60, .bytes_max = 1 << 20}};
    r.read.cb = on_read;
    assert_int_equal(raftlog_read(f.log, &r.read), 0);
    raftlog_note_commit(f.log, 1, 60);
    raftlog_compact(f.log, 1, 61);
    append(&f, 1, 1, 200, 60); /* and time passes: old segments go */
    assert_int_equal(r.calls, 1);
    assert_int_equal(r.read.status, 0);
    assert_int_equal(r.read.n, 60);
    for (uint32_t i = 0; i < r.read.n; i++) {
        assert_int_equal(r.read.entries[i].data.len, 200);
        assert_int_equal(r.read.entries[i].data.data[199], i + 1);
    }
    struct raftlog_stats stats;
    raftlog_stats(f.log, &stats);
    assert_true(stats.segments_dropped > 0 && stats.segments <= 3);
    assert_int_equal(raftlog_read(f.log, &r.read), ERR_NOT_FOUND);
    raftlog_read_fini(&r.read);
    teardown(&f);
}

static void test_read_is_bounded(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    for (int i = 0; i < 20; i++)
        append(&f, 1, 1, 100, 0);
    static const struct {
        size_t bytes_max;
        uint32_t want;
    } rows[] = {{0, 1}, {100, 1}, {199, 1}, {200, 2}, {1000, 10}, {1 << 20, 20}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reading r = {.read = {.group = 1, .first = 1, .last = 20, .cb = on_read}};
        r.read.bytes_max = rows[i].bytes_max;
        assert_int_equal(raftlog_read(f.log, &r.read), 0);
        run(&f);
        assert_int_equal(r.read.n, rows[i].want);
        raftlog_read_fini(&r.read);
    }
    teardown(&f);
}

/* Damage that comes after open: the reader hears, the group is marked, the rest works. */
static void test_read_damage(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    for (int i = 0; i < 30; i++)
        append(&f, 1 + (uint64_t)i % 2, 1, 200, 0);
    assert_int_equal(sim_disk_flip_bit(sim_node_disk(f.node), "/log/00000001.raftlog", 8 * 250), 0);
    struct reading r = {.read = {.group = 1, .first = 1, .last = 2, .bytes_max = 1 << 20}};
    r.read.cb = on_read;
    assert_int_equal(raftlog_read(f.log, &r.read), 0);
    run(&f);
    assert_int_equal(r.read.status, ERR_CORRUPT);
    assert_int_equal(r.read.n, 0);
    assert_non_null(strstr(r.read.err.msg, "00000001.raftlog"));
    struct raftlog_group_state s;
    assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
    assert_true(s.is_damaged);
    assert_int_equal(raftlog_group_state(f.log, 2, &s), 0);
    assert_false(s.is_damaged);
    append(&f, 2, 1, 200, 0);
    append(&f, 1, 1, 200, 0);       /* until its owner has stopped it */
    raftlog_remove_group(f.log, 1); /* as the owner does once the replica is replaced */
    raftlog_read_fini(&r.read);
    teardown(&f);
}

/* An entry may be larger than a segment: it gets a file of its own size. Its memory is not kept
 * for others. */
static void test_oversize(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    f.options.batch_bytes_max = 4096;
    f.options.cache_bytes = 8192;
    restart(&f);
    append(&f, 1, 1, 100, 0);
    assert_true(raftlog_has_room(f.log, raftlog_append_cost(1, 20000)));
    append(&f, 1, 1, 20000, 0);
    for (int i = 0; i < 3; i++) {
        append(&f, 1, 1, 100, 0);
        raftlog_check(f.log);
    }
    restart(&f);
    struct raftlog_group_state s;
    assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
    assert_true(s.last_index == 5);
    struct reading r = {.read = {.group = 1, .first = 2, .last = 2, .cb = on_read}};
    assert_int_equal(raftlog_read(f.log, &r.read), 0);
    run(&f);
    assert_int_equal(r.read.status, 0);
    assert_int_equal(r.read.entries[0].data.len, 20000);
    raftlog_read_fini(&r.read);
    teardown(&f);
}

/* A full disk shows as less room, never as a failed write; with space, room is back. */
static void test_full_disk(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct sim_disk *disk = sim_node_disk(f.node);
    run(&f);
    sim_disk_set_capacity(disk, sim_disk_used(disk));
    uint64_t cost = raftlog_append_cost(1, 300);
    int n = 0;
    while (raftlog_has_room(f.log, cost)) {
        append(&f, 1, 1, 300, 0);
        assert_true(++n < 100);
    }
    assert_true(n > 5);
    struct raftlog_stats stats;
    raftlog_stats(f.log, &stats);
    assert_true(stats.pending_bytes == 0 && stats.prepare_failures > 0);
    assert_true(raftlog_is_starved(f.log));
    assert_false(sim_node_is_dead(f.node));
    /* A hard state still finds its place in the reserve. */
    struct raftlog_write vote = {.group = 1, .has_hard_state = true, .term = 9, .vote = 2};
    raftlog_append(f.log, &vote);
    run(&f);
    raftlog_stats(f.log, &stats);
    assert_true(stats.pending_bytes == 0);
    f.on_room = 0;
    sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
    run(&f);
    assert_true(f.on_room > 0 && raftlog_has_room(f.log, cost));
    assert_false(raftlog_is_starved(f.log));
    append(&f, 1, 1, 300, 0);
    restart(&f);
    struct raftlog_group_state s;
    assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
    assert_true(s.last_index == (uint64_t)n + 1 && s.term == 9 && s.vote == 2);
    teardown(&f);
}

/* All files that the limit allows are there, and in the oldest a few entries of an idle
 * group are alive, more than what is left of the last one can take. Once the others' entries
 * are compacted, the old files go, however little was left. */
static void test_limit_with_old_entries(void **state)
{
    (void)state;
    for (size_t len = 150; len < 1000; len += 50) {
        struct fixture f;
        struct raftlog_group_state s;
        setup(&f);
        for (int i = 0; i < 6; i++)
            append(&f, 2, 1, 200, 0);
        uint64_t cost = raftlog_append_cost(1, len);
        for (int i = 0; raftlog_has_room(f.log, cost) && i < 1000; i++)
            append(&f, 1, 1, len, 0);
        assert_false(raftlog_has_room(f.log, cost));
        restart(&f);
        assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
        raftlog_compact(f.log, 1, s.last_index + 1);
        run(&f);
        struct raftlog_stats stats;
        raftlog_stats(f.log, &stats);
        assert_true(raftlog_has_room(f.log, cost));
        assert_true(stats.file_bytes <= f.options.limit_bytes);
        append(&f, 1, 1, len, 0);
        restart(&f);
        assert_int_equal(raftlog_group_state(f.log, 2, &s), 0);
        assert_true(s.first_index == 1 && s.last_index == 6);
        teardown(&f);
    }
}

/* The same, but only the oldest file can go: one file less is room for one file. */
static void test_limit_and_one_file(void **state)
{
    (void)state;
    for (size_t len = 150; len < 1000; len += 50) {
        struct fixture f;
        struct raftlog_group_state s;
        struct raftlog_pin pins[2];
        setup(&f);
        for (int i = 0; i < 3; i++)
            append(&f, 2, 1, 100, 0);
        uint64_t cost = raftlog_append_cost(1, len);
        for (int i = 0; raftlog_has_room(f.log, cost) && i < 1000; i++)
            append(&f, 1, 1, len, 0);
        assert_int_equal(raftlog_pins(f.log, pins, ARRAY_LEN(pins)), 2);
        uint64_t oldest = pins[0].segment;
        do { /* all of group 1 that stands there */
            assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
            raftlog_compact(f.log, 1, s.first_index + 1);
            raftlog_pins(f.log, pins, ARRAY_LEN(pins));
        } while (pins[0].segment == oldest && pins[1].segment == oldest);
        f.on_room = 0;
        run(&f);
        struct raftlog_stats stats;
        raftlog_stats(f.log, &stats);
        assert_true(stats.segments_dropped == 1);
        assert_true(stats.file_bytes <= f.options.limit_bytes);
        assert_true(f.on_room > 0 && raftlog_has_room(f.log, cost));
        restart(&f);
        run(&f);
        assert_true(raftlog_has_room(f.log, cost));
        teardown(&f);
    }
}

/* An entry larger than a segment takes the log far beyond its limit. Something of an idle
 * group lives in each file, more than one file can take: it gets as many as it needs. */
static void test_limit_and_oversize(void **state)
{
    (void)state;
    for (size_t len = 300; len < 500; len += 20) {
        struct fixture f;
        struct raftlog_group_state s;
        struct raftlog_stats stats;
        setup(&f);
        do {
            append(&f, 2, 1, 100, 0);
            for (int i = 0; i < 4; i++)
                append(&f, 1, 1, len / 2, 0);
            raftlog_stats(f.log, &stats);
        } while (stats.file_bytes < f.options.limit_bytes);
        uint64_t kept = raftlog_append_cost(1, 100);
        assert_true(raftlog_has_room(f.log, UINT64_MAX));
        append(&f, 1, 1, 60000, 0);
        raftlog_stats(f.log, &stats);
        assert_true(stats.file_bytes > f.options.limit_bytes + 10 * f.options.segment_bytes);
        assert_false(raftlog_has_room(f.log, kept));
        uint64_t most = stats.file_bytes + 2 * f.options.segment_bytes;
        assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
        raftlog_compact(f.log, 1, s.last_index + 1);
        for (int i = 0; i < 1000; i++) {
            sim_step(f.sim);
            raftlog_stats(f.log, &stats);
            assert_true(stats.file_bytes <= most);
        }
        run(&f);
        raftlog_stats(f.log, &stats);
        assert_true(stats.file_bytes <= f.options.limit_bytes);
        assert_true(raftlog_has_room(f.log, kept));
        teardown(&f);
    }
}

/* The oldest file can go, but a read in flight still needs it: its end is when there is room,
 * and who waits for that is told. */
static void test_limit_and_a_read(void **state)
{
    (void)state;
    int late = 0; /* reads that ended after their file was out of the log */
    for (uint32_t len = 200; len < 300; len++) {
        struct fixture f;
        struct raftlog_group_state s;
        struct raftlog_stats stats;
        struct raftlog_pin pin;
        setup(&f);
        uint64_t cost = raftlog_append_cost(1, len);
        for (int i = 0; raftlog_has_room(f.log, cost) && i < 1000; i++)
            append(&f, 1, 1, len, 0);
        struct reading r[8];
        for (size_t i = 0; i < ARRAY_LEN(r); i++) {
            r[i] = (struct reading){.read = {.group = 1, .first = 1, .last = 2, .cb = on_read}};
            assert_int_equal(raftlog_read(f.log, &r[i].read), 0);
        }
        assert_int_equal(raftlog_pins(f.log, &pin, 1), 1);
        for (uint64_t oldest = pin.segment; pin.segment == oldest;) {
            assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
            raftlog_compact(f.log, 1, s.first_index + 1);
            raftlog_pins(f.log, &pin, 1);
        }
        f.on_room = 0;
        do {
            sim_step(f.sim);
            raftlog_stats(f.log, &stats);
        } while (stats.segments_dropped == 0);
        late += !raftlog_has_room(f.log, cost);
        run(&f);
        assert_true(f.on_room > 0 && raftlog_has_room(f.log, cost));
        for (size_t i = 0; i < ARRAY_LEN(r); i++) {
            assert_int_equal(r[i].calls, 1);
            raftlog_read_fini(&r[i].read);
        }
        teardown(&f);
    }
    assert_true(late > 0);
}

/* Opening on a full disk works: there is just no room. */
static void test_open_on_full_disk(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    sim_node_crash(f.node, SIM_CRASH_POWER);
    raftlog_free(f.log);
    sim_node_wipe(f.node);
    sim_disk_set_capacity(sim_node_disk(f.node), 1000);
    sim_node_restart(f.node);
    open_log(&f);
    assert_true(raftlog_room(f.log) == 0);
    assert_false(raftlog_has_room(f.log, 200));
    sim_disk_set_capacity(sim_node_disk(f.node), SIM_DISK_CAPACITY_DEFAULT);
    run(&f);
    assert_true(f.on_room == 1 && raftlog_has_room(f.log, 200));
    teardown(&f);
}

static struct numbered numbered(struct fixture *f, uint64_t number, bool may_block)
{
    return (struct numbered){
        .fixture = f,
        .number = number,
        .write = {.group = 1,
                  .has_hard_state = true,
                  .term = number,
                  .cb = on_numbered,
                  .may_block = may_block},
    };
}

/* A failed sync ends the process; the callback never comes. */
static void test_failed_sync(void **state)
{
    (void)state;
    for (int may_block = 0; may_block < 2; may_block++) {
        struct fixture f;
        setup(&f);
        append(&f, 2, 1, 10, 0); /* the segment has its file */
        struct sim_disk_options faults = {.sync_error_ppm = 1000000};
        sim_disk_set_options(sim_node_disk(f.node), &faults);
        struct numbered n = numbered(&f, 1, may_block != 0);
        raftlog_append(f.log, &n.write);
        run(&f);
        assert_true(f.next_cb == 1);
        assert_true(sim_node_is_dead(f.node));
        assert_non_null(strstr(sim_node_fatal_message(f.node), "/log/0000"));
        teardown(&f);
    }
}

/* A lone write that may block the loop is durable at the end of its turn; several of a turn,
 * a large one, and what comes while others are on their way go to the thread, together. */
static void test_lone_write(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_after_another; /* that is on its way already */
        uint32_t n;
        bool may_block[2];
        size_t len;
        bool want_at_once;
    } rows[] = {
        {"alone", false, 1, {true}, 10, true},
        {"may not block", false, 1, {false}, 10, false},
        {"two of a turn", false, 2, {true, true}, 10, false},
        {"behind one in flight", true, 1, {true}, 10, false},
        {"large", false, 1, {true}, 64 << 10, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        struct raftlog_stats before, after;
        struct numbered n[3];
        setup_sized(&f, 1 << 20);
        append(&f, 1, 1, 10, 0); /* the segment has its file */
        raftlog_stats(f.log, &before);
        uint64_t began_us = sim_now_us(f.sim), number = 1;
        struct raftlog_entry entry = {1, 1, slice_of(blob, rows[i].len)};
        if (rows[i].is_after_another) {
            n[0] = numbered(&f, number, false);
            raftlog_append(f.log, &n[number++ - 1].write);
            sim_step(f.sim); /* the end of the turn sends it off */
        }
        for (uint32_t k = 0; k < rows[i].n; k++, number++) {
            n[number - 1] = numbered(&f, number, rows[i].may_block[k]);
            n[number - 1].write.first_index = 2 + k;
            n[number - 1].write.entries = &entry;
            n[number - 1].write.n = 1;
            raftlog_append(f.log, &n[number - 1].write);
        }
        assert_true(f.next_cb == 1); /* never from inside */
        while (f.next_cb != number)
            assert_true(sim_step(f.sim));
        if ((sim_now_us(f.sim) == began_us) != rows[i].want_at_once)
            fail_msg("%s: took %llu us", rows[i].name,
                     (unsigned long long)(sim_now_us(f.sim) - began_us));
        raftlog_stats(f.log, &after);
        assert_int_equal(after.batches - before.batches, 1 + rows[i].is_after_another);
        restart(&f);
        struct raftlog_group_state s;
        assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
        assert_int_equal(s.last_index, 1 + rows[i].n);
        teardown(&f);
    }
}

/* Writes that follow from the callback of one are durable in order, each in a turn of its own,
 * and the next one is never begun inside the callback. */
struct chain {
    struct raftlog_write write;
    struct fixture *fixture;
    unsigned left;
    bool is_inside;
};

static void on_chain(struct raftlog_write *write)
{
    struct chain *c = container_of(write, struct chain, write);
    assert_false(c->is_inside);
    c->is_inside = true;
    if (--c->left > 0) {
        write->term++;
        raftlog_append(c->fixture->log, write);
    }
    c->is_inside = false;
}

static void test_chain(void **state)
{
    (void)state;
    struct fixture f;
    struct raftlog_stats stats;
    setup(&f);
    struct chain c = {.fixture = &f, .left = 100};
    c.write = (struct raftlog_write){
        .group = 1, .has_hard_state = true, .term = 1, .cb = on_chain, .may_block = true};
    raftlog_append(f.log, &c.write);
    run(&f);
    assert_int_equal(c.left, 0);
    raftlog_stats(f.log, &stats);
    assert_true(stats.batches >= 100 && stats.pending_bytes == 0);
    restart(&f);
    struct raftlog_group_state s;
    assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
    assert_int_equal(s.term, 100);
    teardown(&f);
}

/* The next file is made when the present one is nearly full, or when somebody misses room. */
static void test_files_made_late(void **state)
{
    (void)state;
    struct fixture f;
    struct raftlog_stats stats;
    setup_ahead(&f, 64 << 10, 16 << 10);
    append(&f, 1, 1, 40 << 10, 0);
    raftlog_stats(f.log, &stats);
    assert_int_equal(stats.segments, 1);
    assert_int_equal(stats.spares, 0);
    assert_false(raftlog_has_room(f.log, 40 << 10));
    run(&f);
    assert_int_equal(f.on_room, 1);
    assert_true(raftlog_has_room(f.log, 40 << 10));
    append(&f, 1, 1, 40 << 10, 0); /* into the second, and a third is not needed yet */
    raftlog_stats(f.log, &stats);
    assert_int_equal(stats.segments, 2);
    assert_int_equal(stats.spares, 0);
    append(&f, 1, 1, 10 << 10, 0);
    raftlog_stats(f.log, &stats);
    assert_int_equal(stats.segments, 2);
    assert_int_equal(stats.spares, 1);
    teardown(&f);
}

struct write_backs {
    int count;
    bool then_fail; /* every sync after the first */
};

static void on_write_back(void *data, struct sim_disk *disk, const char *op, const char *path)
{
    static const struct sim_disk_options faults = {.sync_error_ppm = 1000000};
    struct write_backs *seen = data;
    (void)path;
    if (strcmp(op, "write back") != 0)
        return;
    seen->count++;
    if (seen->then_fail)
        sim_disk_set_options(disk, &faults);
}

/* A large file for a segment to come goes to the disk piece by piece, or every sync of the
 * log would wait behind the whole of it; a piece that fails is a failed sync. */
static void test_spares_are_paced(void **state)
{
    (void)state;
    for (int then_fail = 0; then_fail < 2; then_fail++) {
        struct fixture f;
        struct write_backs seen = {.then_fail = then_fail != 0};
        setup_sized(&f, 1 << 20);
        sim_disk_watch(sim_node_disk(f.node), on_write_back, &seen);
        append(&f, 1, 1, 100, 0);
        assert_true(sim_node_is_dead(f.node) == seen.then_fail);
        if (seen.then_fail) {
            assert_non_null(strstr(sim_node_fatal_message(f.node), "prepare log segment"));
            assert_non_null(strstr(sim_node_fatal_message(f.node), "write back"));
        } else {
            assert_true(seen.count >= 7);
        }
        teardown(&f);
    }
}

/* What waits for the file of its segment is told like a sync that takes as long. */
static void test_wait_for_a_file_is_told(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    run(&f);
    struct sim_disk *disk = sim_node_disk(f.node);
    sim_disk_set_capacity(disk, sim_disk_used(disk)); /* no file for a new segment */
    struct raftlog_entry entry = {1, 1, slice_of(blob, 300)};
    struct raftlog_write writes[60];
    for (uint64_t n = 0; n < ARRAY_LEN(writes); n++) {
        writes[n] =
            (struct raftlog_write){.group = 1, .first_index = n + 1, .entries = &entry, .n = 1};
        raftlog_append(f.log, &writes[n]);
    }
    run(&f);
    raftlog_sync_worst_us(f.log);
    run(&f);
    assert_true(raftlog_sync_worst_us(f.log) >= 1000000);
    sim_disk_set_capacity(disk, SIM_DISK_CAPACITY_DEFAULT);
    run(&f);
    assert_true(raftlog_sync_worst_us(f.log) >= 2000000);
    run(&f);
    assert_true(raftlog_sync_worst_us(f.log) == 0);
    teardown(&f);
}

/* Over the budget the owner hears, sees who pins, compacts, and is under it again. */
static void test_budget(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    append(&f, 7, 1, 50, 0); /* the nearly idle one: it alone must not pin anything */
    for (int i = 0; !raftlog_is_over_budget(f.log); i++) {
        append(&f, 1, 1, 300, 0);
        if (i % 4 == 0)
            append(&f, 2, 1, 300, 0);
        assert_true(i < 200);
    }
    assert_true(f.on_room > 0);
    struct raftlog_pin pins[2];
    assert_int_equal(raftlog_pins(f.log, pins, 2), 2);
    assert_true(pins[0].segment <= pins[1].segment);
    for (uint64_t id = 1; id <= 2; id++) {
        struct raftlog_group_state s;
        assert_int_equal(raftlog_group_state(f.log, id, &s), 0);
        raftlog_note_commit(f.log, id, s.last_index);
        raftlog_compact(f.log, id, s.last_index + 1);
    }
    run(&f);
    assert_false(raftlog_is_over_budget(f.log));
    struct raftlog_stats stats;
    raftlog_stats(f.log, &stats);
    assert_true(stats.rewritten_bytes > 0 && stats.segments <= 2);
    restart(&f);
    struct raftlog_group_state s;
    assert_int_equal(raftlog_group_state(f.log, 7, &s), 0);
    assert_true(s.last_index == 1 && s.base_index == 0);
    teardown(&f);
}

static int each_types(void *data, uint64_t index, const struct raftlog_entry *entry)
{
    (void)index;
    uint64_t *sum = data;
    sum[entry->type] += entry->data.len;
    sum[0]++;
    return 0;
}

static void test_each_by_type(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct raftlog_entry entries[3] = {
        {1, 1, slice_str("command")}, {1, 2, {0}}, {1, 3, slice_str("change")}};
    struct raftlog_write w = {.group = 4, .first_index = 1, .entries = entries, .n = 3};
    raftlog_append(f.log, &w);
    run(&f);
    restart(&f);
    uint64_t sum[4] = {0};
    assert_int_equal(raftlog_each(f.log, 4, 1, 3, 3, each_types, sum, NULL), 0);
    assert_true(sum[0] == 3 && sum[1] == 0 && sum[3] == 6);
    assert_int_equal(raftlog_each(f.log, 4, 1, 1, 0, each_types, sum, NULL), 0);
    assert_true(sum[0] == 4 && sum[1] == 7);
    teardown(&f);
}

struct alike {
    uint64_t index;
    const size_t *lens;
};

static int each_alike(void *data, uint64_t index, const struct raftlog_entry *entry)
{
    struct alike *a = data;
    assert_true(index == ++a->index);
    assert_int_equal(entry->data.len, a->lens[index - 1]);
    for (size_t i = 0; i < entry->data.len; i++)
        assert_int_equal(entry->data.data[i], (uint8_t)index);
    return 0;
}

/* Batches that begin and end anywhere in blocks, with and without a restart in between: whatever
 * way they take to the disk, all of them are there after the power failed. */
static void test_ends_in_blocks(void **state)
{
    (void)state;
    static const size_t LENS[] = {10,   3850, 1,    4000,  5000, 8192, 3, 12288, 16,   4096,
                                  3000, 900,  4072, 30000, 1,    1,    1, 20000, 8100, 7};
    for (unsigned often = 1; often < 8; often++) {
        struct fixture f;
        setup_sized(&f, 64 << 10);
        for (size_t i = 0; i < ARRAY_LEN(LENS); i++) {
            append(&f, 1, 1, LENS[i], 0);
            if (i % often == often - 1)
                restart(&f);
        }
        restart(&f);
        struct alike alike = {0, LENS};
        assert_int_equal(raftlog_each(f.log, 1, 1, ARRAY_LEN(LENS), 1, each_alike, &alike, NULL),
                         0);
        assert_int_equal(alike.index, ARRAY_LEN(LENS));
        teardown(&f);
    }
}

/* What the hint does: bounded by the log, frozen during an install, begun anew by it. */
static void test_hint(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct raftlog_group_state s;
    append(&f, 1, 3, 10, 9);
    raftlog_group_state(f.log, 1, &s);
    assert_true(s.hint == 3);
    append(&f, 1, 1, 10, 0);
    raftlog_group_state(f.log, 1, &s);
    assert_true(s.hint == 4);
    raftlog_freeze_hint(f.log, 1, true);
    append(&f, 1, 2, 10, 0);
    raftlog_append_hints(f.log);
    raftlog_group_state(f.log, 1, &s);
    assert_true(s.hint == 4);
    struct raftlog_write reset = {
        .group = 1, .has_reset = true, .base_index = 100, .base_term = 1, .commit = 120};
    raftlog_append(f.log, &reset);
    run(&f);
    restart(&f);
    raftlog_group_state(f.log, 1, &s);
    assert_true(s.hint == 100 && s.base_index == 100 && s.base_term == 1 && s.last_index == 100);
    append(&f, 1, 1, 10, 0);
    raftlog_note_commit(f.log, 1, 101);
    raftlog_append_hints(f.log);
    run(&f);
    restart(&f);
    raftlog_group_state(f.log, 1, &s);
    assert_true(s.hint == 101);
    teardown(&f);
}

/* The newest segment's head turns to zeroes, or to nonsense: not taken for a file that was
 * being made, whatever that would lose. */
static void test_newest_head_lost(void **state)
{
    (void)state;
    for (int nonsense = 0; nonsense < 2; nonsense++) {
        struct fixture f;
        setup(&f);
        for (int i = 0; i < 16; i++)
            append(&f, 1, 1, 200, 0);
        sim_node_crash(f.node, SIM_CRASH_KILL);
        raftlog_free(f.log);
        f.log = NULL;
        sim_node_restart(f.node);
        struct env_file *file = NULL;
        uint8_t head[64];
        size_t got;
        const char *path = "/log/00000002.raftlog";
        assert_int_equal(env_file_open(sim_node_env(f.node), path, ENV_OPEN_READ, &file, NULL), 0);
        assert_int_equal(env_file_read(file, 0, head, sizeof head, &got, NULL), 0);
        env_file_close(file);
        for (uint64_t bit = 0; bit < 512; bit++) {
            if (nonsense ? bit % 7 == 0 : head[bit / 8] >> bit % 8 & 1)
                sim_disk_flip_bit(sim_node_disk(f.node), path, bit);
        }
        struct err err = {0};
        int rv = raftlog_open(&f.log, sim_node_env(f.node), "/log", &f.options, &err);
        assert_int_equal(rv, ERR_CORRUPT);
        assert_non_null(strstr(err.msg, path));
        sim_node_crash(f.node, SIM_CRASH_KILL);
        sim_free(f.sim);
    }
}

/* The very first write is cut short inside the head, and the process ends: nothing was
 * acknowledged, the log begins. With a record behind the head it was one, and is damaged. */
static void test_first_head_cut_short(void **state)
{
    (void)state;
    for (int has_record = 0; has_record < 2; has_record++) {
        struct fixture f;
        setup(&f);
        sim_node_crash(f.node, SIM_CRASH_KILL);
        raftlog_free(f.log);
        f.log = NULL;
        sim_node_restart(f.node);
        const char *path = "/log/00000001.raftlog";
        for (uint64_t bit = 3; bit < (has_record ? 1000 : 300); bit += 5)
            assert_int_equal(sim_disk_flip_bit(sim_node_disk(f.node), path, bit), 0);
        struct err err = {0};
        int rv = raftlog_open(&f.log, sim_node_env(f.node), "/log", &f.options, &err);
        assert_int_equal(rv, has_record ? ERR_CORRUPT : 0);
        if (has_record)
            assert_non_null(strstr(err.msg, path));
        else
            append(&f, 1, 1, 100, 0);
        sim_node_crash(f.node, SIM_CRASH_KILL);
        raftlog_free(rv == 0 ? f.log : NULL);
        sim_free(f.sim);
    }
}

/* A read that fails while opening refuses the open: it is never taken for an end. */
static void test_open_read_errors(void **state)
{
    (void)state;
    struct fixture f;
    size_t refused = 0;
    setup(&f);
    for (int i = 0; i < 30; i++)
        append(&f, 1, 1, 300, 0);
    for (int i = 0; i < 60; i++) {
        struct sim_disk_options bad = {.read_error_ppm = i % 2 == 0 ? 1000000 : 100000};
        struct sim_disk_options calm = {0};
        struct err err = {0};
        sim_node_crash(f.node, SIM_CRASH_KILL);
        raftlog_free(f.log);
        f.log = NULL;
        sim_node_restart(f.node);
        sim_disk_set_options(sim_node_disk(f.node), &bad);
        int rv = raftlog_open(&f.log, sim_node_env(f.node), "/log", &f.options, &err);
        sim_disk_set_options(sim_node_disk(f.node), &calm);
        if (rv != 0) {
            assert_int_equal(rv, ERR_IO);
            assert_non_null(strstr(err.msg, "/log/0000"));
            refused++;
            open_log(&f);
        }
        struct raftlog_group_state s;
        assert_int_equal(raftlog_group_state(f.log, 1, &s), 0);
        assert_true(s.last_index == 30 && !s.is_damaged);
    }
    assert_true(refused >= 30);
    teardown(&f);
}

/* Two logs' options that can never be right. */
static void test_bad_options(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f);
    struct raftlog_options bad = f.options;
    struct raftlog *log = NULL;
    bad.segment_bytes = 100;
    assert_int_equal(raftlog_open(&log, sim_node_env(f.node), "/other", &bad, NULL), ERR_INVALID);
    bad = f.options;
    bad.limit_bytes = bad.segment_bytes;
    assert_int_equal(raftlog_open(&log, sim_node_env(f.node), "/other", &bad, NULL), ERR_INVALID);
    assert_null(log);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_callback_order),
        cmocka_unit_test(test_get_and_term),
        cmocka_unit_test(test_read_is_pinned),
        cmocka_unit_test(test_read_is_bounded),
        cmocka_unit_test(test_read_damage),
        cmocka_unit_test(test_oversize),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_limit_with_old_entries),
        cmocka_unit_test(test_limit_and_one_file),
        cmocka_unit_test(test_limit_and_oversize),
        cmocka_unit_test(test_limit_and_a_read),
        cmocka_unit_test(test_open_on_full_disk),
        cmocka_unit_test(test_failed_sync),
        cmocka_unit_test(test_lone_write),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_files_made_late),
        cmocka_unit_test(test_spares_are_paced),
        cmocka_unit_test(test_wait_for_a_file_is_told),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_each_by_type),
        cmocka_unit_test(test_ends_in_blocks),
        cmocka_unit_test(test_hint),
        cmocka_unit_test(test_newest_head_lost),
        cmocka_unit_test(test_first_head_cut_short),
        cmocka_unit_test(test_open_read_errors),
        cmocka_unit_test(test_bad_options),
    };
    return cmocka_run_group_tests_name("raftlog", tests, NULL, NULL);
}
