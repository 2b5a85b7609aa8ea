/* SPDX-License-Identifier: Apache-2.0 */
/* The public interface over a store inside this process, in folders of real files. */
#include "support/check.h"
#include "support/tsan.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "holdfast.h"

enum { WRITERS = 4, WRITES = 100 };

/* Small enough for a test that runs under sanitizers beside others. */
#define SMALL                                                                                      \
    "memtable_bytes=1MiB&block_cache_bytes=1MiB&log_segment_bytes=1MiB&log_budget_bytes=4MiB"      \
    "&disk_low_bytes=0&disk_full_bytes=0&disk_reserve_bytes=0"

struct fixture {
    char dir[64];
    char endpoints[512];
    char message[512];
    struct hf_client *client;
    struct hf_options options;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/holdfast-embedded-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->endpoints, sizeof f->endpoints, "embedded:%s/store?" SMALL, f->dir);
    hf_options_init(&f->options);
    f->options.endpoints = f->endpoints;
    f->options.message = f->message;
    f->options.message_size = sizeof f->message;
    f->options.timeout_ms = 30000;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    assert_int_equal(hf_close(f->client), HF_OK);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    assert_int_equal(hf_close(f->client), HF_OK);
    f->client = NULL;
    if (hf_open(&f->options, &f->client) != HF_OK)
        fail_msg("%s", f->message);
}

static void put(struct fixture *f, const char *key, const char *value)
{
    assert_int_equal(hf_put(f->client, hf_str(key), hf_str(value), NULL, NULL, NULL), HF_OK);
}

static void assert_value(struct fixture *f, const char *key, const char *want)
{
    struct hf_result *result = NULL;
    assert_int_equal(hf_get(f->client, hf_str(key), NULL, &result), HF_OK);
    assert_int_equal(result->items[0].value.len, strlen(want));
    assert_memory_equal(result->items[0].value.data, want, strlen(want));
    hf_result_free(result);
}

static void test_what_was_put_is_there_after_each_reopening(void **state)
{
    struct fixture *f = *state;
    char key[16], value[16];
    for (int round = 0; round < 4; round++) {
        reopen(f);
        for (int i = 0; i < round; i++) {
            snprintf(key, sizeof key, "k%d", i);
            snprintf(value, sizeof value, "v%d", i);
            assert_value(f, key, value);
        }
        snprintf(key, sizeof key, "k%d", round);
        snprintf(value, sizeof value, "v%d", round);
        put(f, key, value);
    }
    struct hf_result *result = NULL;
    assert_int_equal(hf_identify(f->client, NULL, NULL, &result), HF_OK);
    assert_int_equal(result->info->member_count, 1);
    assert_int_equal(result->info->members[0].address[0], '@');
    hf_result_free(result);
}

static void test_the_whole_interface_works(void **state)
{
    struct fixture *f = *state;
    reopen(f);
    struct hf_watch_options how;
    struct hf_watch *watch;
    struct hf_batch *batch;
    struct hf_result *result = NULL;
    hf_watch_options_init(&how);
    how.from_version = 1;
    assert_int_equal(hf_batch_new(&batch), HF_OK);
    assert_int_equal(hf_batch_put(batch, hf_str("a"), hf_str("1"), NULL), HF_OK);
    assert_int_equal(hf_batch_increment(batch, hf_str("n"), 7, NULL), HF_OK);
    assert_int_equal(hf_batch_commit(f->client, batch, NULL, &result), HF_OK);
    assert_int_equal(result->items[1].number, 7);
    how.from_version = result->version;
    hf_result_free(result);
    hf_batch_free(batch);

    struct hf_scan *scan;
    struct hf_item item;
    size_t count = 0;
    assert_int_equal(hf_scan_new(f->client, NULL, NULL, &scan), HF_OK);
    while (hf_scan_next(scan, &item) == 1)
        count++;
    assert_string_equal(hf_scan_message(scan), "");
    assert_int_equal(count, 2);
    hf_scan_free(scan);

    assert_int_equal(hf_watch_open(f->client, &how, &watch), HF_OK);
    struct hf_watch_batch *changes;
    count = 0;
    while (count < 2) {
        assert_int_equal(hf_watch_next(watch, 30000, &changes), 1);
        count += changes->count;
        hf_watch_batch_free(changes);
    }
    assert_int_equal(hf_watch_close(watch), HF_OK);

    struct hf_placement_ask ask = {.size = sizeof ask, .verb = HF_PLACEMENT_STORES};
    result = NULL;
    assert_int_equal(hf_placement(f->client, &ask, NULL, &result), HF_OK);
    assert_int_equal(result->table->row_count, 1);
    hf_result_free(result);
}

static void test_a_second_opener_is_told_who_has_it(void **state)
{
    struct fixture *f = *state;
    reopen(f);
    put(f, "a", "1");
    struct hf_client *second = NULL;
    char want[32];
    assert_int_equal(hf_open(&f->options, &second), HF_ERR_LOCKED);
    assert_null(second);
    snprintf(want, sizeof want, "%ld", (long)getpid());
    assert_non_null(strstr(f->message, f->dir));
    assert_non_null(strstr(f->message, want));
    assert_value(f, "a", "1"); /* and the first one goes on */
}

static void test_what_cannot_be_opened_is_one_clear_line(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *endpoints; /* DIR: the folder */
        int want;
        const char *message;
    } rows[] = {
        {"embedded:", HF_ERR_INVALID, "no folder"},
        {"embedded:?heartbeat=20ms", HF_ERR_INVALID, "no folder"},
        {"embedded:DIR/no/parent", HF_ERR_NOT_FOUND, "no/parent"},
        {"embedded:DIR/a?", HF_ERR_INVALID, "key=value"},
        {"embedded:DIR/a?heartbeat", HF_ERR_INVALID, "key=value"},
        {"embedded:DIR/a?heartbeat=20ms&", HF_ERR_INVALID, "key=value"},
        {"embedded:DIR/a?hartbeat=20ms", HF_ERR_INVALID, "did you mean 'heartbeat'"},
        {"embedded:DIR/a?heartbeat=often", HF_ERR_INVALID, "duration"},
        {"embedded:DIR/a?heartbeat=10s", HF_ERR_INVALID, "half of election_timeout"},
        {"embedded:DIR/a?data_dir=/tmp", HF_ERR_INVALID, "no use"},
        {"embedded:DIR/a?join=127.0.0.1:1", HF_ERR_INVALID, "no use"},
        {"embedded:DIR/a?wait=1s", HF_ERR_INVALID, "no use"},
        {"embedded:DIR/a?stores=2", HF_ERR_INVALID, "no use"},
        {"Embedded:DIR/a", HF_ERR_INVALID, "host:port"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char endpoints[256];
        struct hf_client *client = NULL;
        struct hf_options options = f->options;
        const char *dir = strstr(rows[i].endpoints, "DIR");
        if (dir == NULL)
            snprintf(endpoints, sizeof endpoints, "%s", rows[i].endpoints);
        else
            snprintf(endpoints, sizeof endpoints, "%.*s%s%s", (int)(dir - rows[i].endpoints),
                     rows[i].endpoints, f->dir, dir + 3);
        options.endpoints = endpoints;
        int code = hf_open(&options, &client);
        if (code != rows[i].want || strstr(f->message, rows[i].message) == NULL)
            fail_msg("%s: %d, '%s'", endpoints, code, f->message);
        assert_null(client);
        options.message = NULL; /* a caller that does not want to know */
        assert_int_equal(hf_open(&options, &client), rows[i].want);
    }
}

static void test_keys_of_the_configuration_count(void **state)
{
    struct fixture *f = *state;
    strncat(f->endpoints, "&value_bytes_max=100", sizeof f->endpoints - strlen(f->endpoints) - 1);
    reopen(f);
    char value[102];
    memset(value, 'x', sizeof value);
    struct hf_bytes key = hf_str("k");
    assert_int_equal(hf_put(f->client, key, hf_bytes(value, 100), NULL, NULL, NULL), HF_OK);
    assert_int_equal(hf_put(f->client, key, hf_bytes(value, 101), NULL, NULL, NULL),
                     HF_ERR_TOO_LARGE);
}

/* One byte of who it is. */
static void test_a_damaged_folder_is_not_served(void **state)
{
    struct fixture *f = *state;
    char path[128];
    reopen(f);
    put(f, "a", "1");
    assert_int_equal(hf_close(f->client), HF_OK);
    f->client = NULL;
    snprintf(path, sizeof path, "%s/store/STORE", f->dir);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 20, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, 20, SEEK_SET), 0);
    fputc(byte ^ 0x40, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(hf_open(&f->options, &f->client), HF_ERR_CORRUPT);
    assert_non_null(strstr(f->message, f->dir));
}

/* ---- threads ---------------------------------------------------------------------- */

struct writer {
    struct fixture *f;
    int number;
};

static void *writer_main(void *data)
{
    const struct writer *w = data;
    for (int i = 0; i < WRITES; i++) {
        struct hf_result *result = NULL;
        int code = hf_increment(w->f->client, hf_str("sum"), 1, NULL, NULL, &result);
        ASSERT(code == HF_OK);
        hf_result_free(result);
    }
    return NULL;
}

static void test_threads_share_a_client(void **state)
{
    struct fixture *f = *state;
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    char want[16];
    reopen(f);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.f = f, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, writer_main, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    snprintf(want, sizeof want, "%d", WRITERS * WRITES);
    assert_value(f, "sum", want);
}

/* What is in flight at the end is delivered, and what was done is there. */
static void test_close_with_changes_in_flight(void **state)
{
    struct fixture *f = *state;
    struct hf_queue *queue;
    bool was_done[WRITES] = {false};
    int delivered = 0;
    reopen(f);
    assert_int_equal(hf_queue_new(f->client, &queue), HF_OK);
    for (int i = 0; i < WRITES; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%03d", i);
        struct hf_then then = {.queue = queue, .data = &was_done[i]};
        assert_int_equal(hf_put_async(f->client, hf_str(key), hf_str("v"), NULL, NULL, &then),
                         HF_OK);
    }
    assert_int_equal(hf_close(f->client), HF_OK);
    f->client = NULL;
    void *data;
    int code;
    struct hf_result *result;
    while (hf_queue_poll(queue, &data, &code, &result) == 1) {
        delivered++;
        *(bool *)data = code == HF_OK;
        assert_true(code == HF_OK || code == HF_ERR_CANCELED || code == HF_ERR_UNDETERMINED);
        hf_result_free(result);
    }
    assert_int_equal(delivered, WRITES);
    assert_int_equal(hf_queue_free(queue), HF_OK);
    reopen(f);
    for (int i = 0; i < WRITES; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%03d", i);
        if (was_done[i])
            assert_value(f, key, "v");
    }
}

struct listener {
    _Atomic(struct hf_client *) client;
    atomic_int inside; /* lines at this instant */
    atomic_int lines;
    atomic_int asked;   /* of them, those that made a blocking call … */
    atomic_int refused; /* … and those where it was refused */
    atomic_ullong done; /* calls, as the counters told last */
};

/* What it is told only grows, whichever thread tells it. */
static void note_counters(struct listener *l, struct hf_client *client)
{
    struct hf_client_stats stats = {.size = sizeof stats};
    hf_client_stats(client, &stats);
    ASSERT(stats.done + stats.failed + stats.undetermined <= stats.submitted);
    atomic_store(&l->done, stats.done);
}

static void on_line(void *data, int level, const char *line)
{
    struct listener *l = data;
    ASSERT(level >= HF_LOG_DEBUG && level <= HF_LOG_ERROR);
    ASSERT(line[0] != 0);
    ASSERT(atomic_fetch_add(&l->inside, 1) == 0);
    atomic_fetch_add(&l->lines, 1);
    struct hf_client *client = atomic_load(&l->client);
    if (client != NULL) {
        int code = hf_get(client, hf_str("a"), NULL, NULL);
        atomic_fetch_add(&l->asked, 1);
        atomic_fetch_add(&l->refused, code == HF_ERR_STATE);
        note_counters(l, client);
    }
    atomic_fetch_sub(&l->inside, 1);
}

/* Its lines come one at a time, from the store's thread too, where nothing may block. When one
 * comes is the store's: they are counted once none can come any more. */
static void test_the_log_is_told_and_may_not_block(void **state)
{
    static struct listener l; /* a failure closes the client when this function is left */
    struct fixture *f = *state;
    f->options.log = on_line;
    f->options.log_data = &l;
    reopen(f);
    assert_true(atomic_load(&l.lines) > 0);
    atomic_store(&l.client, f->client);
    put(f, "a", "1");
    struct hf_result *result = NULL;
    assert_int_equal(hf_check_start(f->client, 0, NULL, &result), HF_OK);
    hf_result_free(result);
    assert_int_equal(hf_flush(f->client, NULL, NULL, NULL), HF_OK);
    assert_true(atomic_load(&l.done) > 0); /* the put had ended before the flush was told of */
    assert_int_equal(hf_close(f->client), HF_OK);
    f->client = NULL;
    assert_true(atomic_load(&l.asked) > 0);
    assert_int_equal(atomic_load(&l.refused), atomic_load(&l.asked));
}

struct late_listener {
    _Atomic(struct hf_client *) client;
    struct hf_queue *queue;
    atomic_int lines; /* since nothing can be started any more */
};

/* All that would wait is refused, and, of a handle that closes, all that would begin. */
static void on_late_line(void *data, int level, const char *line)
{
    struct late_listener *l = data;
    struct hf_client *client = atomic_load(&l->client);
    struct hf_then then = {.queue = l->queue};
    struct hf_client_stats stats = {.size = sizeof stats};
    struct hf_op_stats gets = {.size = sizeof gets};
    (void)level;
    (void)line;
    if (client == NULL)
        return;
    ASSERT(hf_get(client, hf_str("a"), NULL, NULL) == HF_ERR_STATE);
    ASSERT(hf_queue_wait(l->queue, 0, NULL, NULL, NULL) == HF_ERR_STATE);
    ASSERT(hf_close(client) == HF_ERR_STATE);
    hf_client_stats(client, &stats);
    ASSERT(stats.submitted >= 1);
    ASSERT(hf_client_op_stats(client, HF_OP_GET, &gets) == HF_OK);
    int code = hf_get_async(client, hf_str("a"), NULL, &then);
    ASSERT(code == HF_OK || code == HF_ERR_STATE);
    atomic_fetch_add(&l->lines, code == HF_ERR_STATE);
}

/* The store's last lines come while it is drained: the handle is still one for who gets them. */
static void test_the_log_may_look_at_a_handle_that_closes(void **state)
{
    static struct late_listener l;
    struct fixture *f = *state;
    strncat(f->endpoints, "&log_level=debug", sizeof f->endpoints - strlen(f->endpoints) - 1);
    f->options.log = on_late_line;
    f->options.log_data = &l;
    reopen(f);
    put(f, "a", "1");
    assert_int_equal(hf_queue_new(f->client, &l.queue), HF_OK);
    atomic_store(&l.client, f->client);
    assert_int_equal(hf_close(f->client), HF_OK);
    f->client = NULL;
    assert_true(atomic_load(&l.lines) > 0);
    while (hf_queue_poll(l.queue, NULL, NULL, NULL) == 1)
        ;
    assert_int_equal(hf_queue_free(l.queue), HF_OK);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_put_is_there_after_each_reopening),
        TEST(test_the_whole_interface_works),
        TEST(test_a_second_opener_is_told_who_has_it),
        TEST(test_what_cannot_be_opened_is_one_clear_line),
        TEST(test_keys_of_the_configuration_count),
        TEST(test_a_damaged_folder_is_not_served),
        TEST(test_threads_share_a_client),
        TEST(test_close_with_changes_in_flight),
        TEST(test_the_log_is_told_and_may_not_block),
        TEST(test_the_log_may_look_at_a_handle_that_closes),
    };
    return cmocka_run_group_tests_name("embedded", tests, NULL, NULL);
}
