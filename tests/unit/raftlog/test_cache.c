/* SPDX-License-Identifier: Apache-2.0 */
/* The log's memory: what is kept of it, and what of that is used again. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/pages.h"
#include "env/sim/sim.h"
#include "raftlog/internal.h"
#include "support/check.h"

enum { BATCH = 4096, TURNS = 60, EACH = 5, LEN = 2500 };

struct fixture {
    struct sim *sim;
    struct sim_node *node;
    struct raftlog *log;
    struct raftlog_options options;
};

static void setup_sized(struct fixture *f, size_t batch, size_t cache, uint64_t segment)
{
    struct err err = {0};
    raftlog_options_init(&f->options);
    f->options.segment_bytes = segment;
    f->options.budget_bytes = 128 * segment;
    f->options.limit_bytes = 256 * segment;
    f->options.batch_bytes_max = batch;
    f->options.cache_bytes = cache;
    f->sim = sim_new(NULL, 1);
    f->node = sim_node_new(f->sim, "n1");
    if (raftlog_open(&f->log, sim_node_env(f->node), "/log", &f->options, &err) != 0)
        fail_msg("%s", err.msg);
}

static void setup(struct fixture *f, size_t batch, size_t cache)
{
    setup_sized(f, batch, cache, 64 << 10);
}

static void teardown(struct fixture *f)
{
    raftlog_check(f->log);
    sim_node_crash(f->node, SIM_CRASH_KILL);
    raftlog_free(f->log);
    sim_free(f->sim);
}

static uint8_t blob[64 << 10];

static struct slice content_of(uint64_t index, size_t len)
{
    memset(blob, (int)index, len);
    return slice_of(blob, len);
}

/* Append [first, first + n) in one turn, a record each. */
static void append(struct fixture *f, uint64_t first, uint32_t n, size_t len)
{
    struct raftlog_write writes[EACH]; /* in place until they are durable */
    assert_true(n <= EACH);
    for (uint32_t i = 0; i < n; i++) {
        struct raftlog_entry e = {1, 1, content_of(first + i, len)};
        writes[i] =
            (struct raftlog_write){.group = 1, .first_index = first + i, .entries = &e, .n = 1};
        raftlog_append(f->log, &writes[i]);
        writes[i].entries = NULL;
    }
    sim_run_until(f->sim, sim_now_us(f->sim) + 1000000);
    raftlog_check(f->log);
}

/* A turn that adds several chunks before as many go finds their memory with the next: what is
 * kept stays within the cache's bound, and what is read is what was appended. */
static void test_memory_is_used_again(void **state)
{
    (void)state;
    struct fixture f;
    uint32_t idle_most = 0;
    setup(&f, BATCH, (size_t)64 * BATCH);
    for (uint64_t turn = 0; turn < TURNS; turn++) {
        append(&f, turn * EACH + 1, EACH, LEN);
        idle_most = MAX(idle_most, f.log->n_idle);
        assert_true(f.log->cache_bytes + f.log->idle_bytes <= f.options.cache_bytes);
        for (uint64_t index = 1; index <= (turn + 1) * EACH; index++) {
            struct raftlog_entry e;
            int rv = raftlog_get(f.log, 1, index, &e);
            assert_true(rv == 0 || (rv == ERR_WOULD_BLOCK && index + EACH < turn * EACH));
            assert_true(rv != 0 || slice_equal(e.data, content_of(index, LEN)));
        }
    }
    assert_true(idle_most >= EACH);
    teardown(&f);
}

/* Where the cache is small, it is one memory; none of a single large append, however large. */
static void test_little_is_kept_of_a_small_cache(void **state)
{
    (void)state;
    struct fixture f;
    setup(&f, BATCH, (size_t)2 * BATCH);
    for (uint64_t turn = 0; turn < 10; turn++) {
        append(&f, turn * EACH + 1, EACH, turn == 5 ? sizeof blob - 8192 : LEN);
        assert_true(f.log->n_idle <= 1);
        assert_true(f.log->idle_bytes <= BATCH);
    }
    assert_int_equal(f.log->n_idle, 1);
    teardown(&f);
}

/* A large cache is made of chunks that fill a large page each, whatever a batch may have; its bound
 * is the same, and so is what is kept of memory to be used again. */
static void test_large_cache(void **state)
{
    (void)state;
    enum { CACHE = 16 * PAGES_LARGE, ROUNDS = 160, SIZE = 60000 };
    struct fixture f = {0};
    uint32_t idle_most = 0;
    size_t whole = 0;
    setup_sized(&f, 1 << 20, CACHE, 24 << 20);
    for (uint64_t turn = 0; turn < ROUNDS; turn++) {
        append(&f, turn * EACH + 1, EACH, SIZE);
        idle_most = MAX(idle_most, f.log->n_idle);
        assert_true(f.log->cache_bytes + f.log->idle_bytes <= f.options.cache_bytes);
        const struct chunk *c = f.log->chunks[0];
        if (c->room != PAGES_LARGE - ENV_BLOCK)
            continue; /* the end of a segment */
        whole++;
        assert_int_equal((uintptr_t)c->memory % PAGES_LARGE, 0);
    }
    assert_in_range(whole, ROUNDS / 2, ROUNDS);
    assert_in_range(idle_most, 1, LOG_IDLE_MAX);
    struct raftlog_entry e;
    assert_int_equal(raftlog_get(f.log, 1, (uint64_t)ROUNDS * EACH, &e), 0);
    assert_true(slice_equal(e.data, content_of((uint64_t)ROUNDS * EACH, SIZE)));
    assert_int_equal(raftlog_get(f.log, 1, 1, &e), ERR_WOULD_BLOCK); /* it went */
    teardown(&f);
}

/* Of records of which a large page holds one, none takes a whole one. */
static void test_one_to_a_page(void **state)
{
    (void)state;
    enum { SIZE = 1200000, COUNT = 8 };
    struct fixture f = {0};
    uint8_t *large = malloc(SIZE);
    assert_non_null(large);
    memset(large, 'x', SIZE);
    setup_sized(&f, 1 << 20, 16 * PAGES_LARGE, 24 << 20);
    for (uint64_t index = 1; index <= COUNT; index++) {
        struct raftlog_entry e = {1, 1, slice_of(large, SIZE)};
        struct raftlog_write write = {.group = 1, .first_index = index, .entries = &e, .n = 1};
        raftlog_append(f.log, &write);
        sim_run_until(f.sim, sim_now_us(f.sim) + 1000000);
        raftlog_check(f.log);
        assert_in_range(f.log->cache_bytes, index * SIZE, index * (SIZE + 4096) + PAGES_LARGE);
    }
    struct raftlog_entry e;
    assert_int_equal(raftlog_get(f.log, 1, 1, &e), 0);
    assert_true(slice_equal(e.data, slice_of(large, SIZE)));
    teardown(&f);
    free(large);
}

/* Append three small records, with a stray write into the memory of the block that the last one
 * ended in, or without. Returns the signal that this ended with; 0: none. */
static int run_with_stray_write(bool is_stray)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        struct fixture f;
        setrlimit(RLIMIT_CORE, &no_core);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(9);
        signal(SIGABRT, SIG_DFL);
        setup(&f, BATCH, (size_t)64 * BATCH);
        append(&f, 1, 1, 100);
        append(&f, 2, 1, 100);
        assert_non_null(f.log->flight.through.file);
        f.log->flight.through.tail[is_stray ? 50 : ENV_BLOCK - 1] ^= 1;
        append(&f, 3, 1, 100);
        teardown(&f);
        _exit(0);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* What is written once more, because it shares a block with what is new, is what was written. */
static void test_stray_write_never_reaches_the_disk(void **state)
{
    (void)state;
    assert_int_equal(run_with_stray_write(false), 0); /* behind its end: not of the log */
    assert_int_equal(run_with_stray_write(true), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_used_again),
        cmocka_unit_test(test_large_cache),
        cmocka_unit_test(test_one_to_a_page),
        cmocka_unit_test(test_little_is_kept_of_a_small_cache),
        cmocka_unit_test(test_stray_write_never_reaches_the_disk),
    };
    return cmocka_run_group_tests_name("raftlog cache", tests, NULL, NULL);
}
