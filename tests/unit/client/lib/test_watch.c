/* SPDX-License-Identifier: Apache-2.0 */
/* hf_watch_*() against a fake store on loopback, in the real world. */
#include "support/check.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "client/lib/lib_internal.h"
#include "env/uv/env_uv.h"
#include "holdfast.h"
#include "support/fake_store.h"

enum { PATIENCE_MS = 20000 };

struct fixture {
    struct env_uv_thread *thread;
    struct env_uv_mutex lock;
    struct env_uv_cond changed;
    struct env *env;
    struct fake_cluster cluster; /* the thread's */
    bool is_up;                  /* guarded */
    uint64_t gone_version;       /* before the start */
    char endpoint[128];
    struct hf_client *client;
    uint32_t called;     /* guarded: callbacks */
    enum fake_mood mood; /* guarded: for the store to have */
};

static void store_main(void *data)
{
    struct fixture *f = data;
    ASSERT(env_uv_new(NULL, &f->env, NULL) == 0);
    fake_cluster_init(&f->cluster);
    struct fake_store *store = fake_store_new(&f->cluster, f->env, "127.0.0.1:0");
    snprintf(f->endpoint, sizeof f->endpoint, "%s", store->address);
    f->cluster.leader = store;
    f->cluster.range_base = 7;
    f->cluster.gone_version = f->gone_version;
    env_uv_mutex_lock(&f->lock);
    f->is_up = true;
    env_uv_cond_signal(&f->changed);
    env_uv_mutex_unlock(&f->lock);
    env_uv_run(f->env);
    env_stop(f->env);
    fake_cluster_fini(&f->cluster);
    env_uv_free(f->env);
}

static void start(struct fixture *f, uint64_t gone_version)
{
    struct hf_options options;
    memset(f, 0, sizeof *f);
    f->gone_version = gone_version;
    env_uv_mutex_init(&f->lock);
    env_uv_cond_init(&f->changed);
    assert_int_equal(env_uv_thread_start("store", store_main, f, &f->thread, NULL), 0);
    env_uv_mutex_lock(&f->lock);
    while (!f->is_up)
        env_uv_cond_wait(&f->changed, &f->lock);
    env_uv_mutex_unlock(&f->lock);
    hf_options_init(&options);
    options.endpoints = f->endpoint;
    assert_int_equal(hf_open(&options, &f->client), HF_OK);
}

static void finish(struct fixture *f)
{
    assert_int_equal(hf_close(f->client), HF_OK);
    env_uv_quit(f->env);
    env_uv_thread_join(f->thread);
    env_uv_cond_fini(&f->changed);
    env_uv_mutex_fini(&f->lock);
}

static uint64_t put(struct fixture *f, const char *key, const char *value)
{
    struct hf_result *result = NULL;
    assert_int_equal(hf_put(f->client, hf_str(key), hf_str(value), NULL, NULL, &result), HF_OK);
    uint64_t version = result->version;
    hf_result_free(result);
    return version;
}

/* "k=v k- " of the next `count` changes. */
static void take(struct hf_watch *watch, size_t count, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    while (count > 0) {
        struct hf_watch_batch *batch = NULL;
        assert_int_equal(hf_watch_next(watch, PATIENCE_MS, &batch), 1);
        assert_true(batch->count > 0 && batch->count <= count);
        for (size_t i = 0; i < batch->count && at < size; i++) {
            const struct hf_event *e = &batch->events[i];
            at += (size_t)snprintf(out + at, size - at, "%.*s%s%.*s ", (int)e->key.len,
                                   (const char *)e->key.data, e->kind == HF_EVENT_PUT ? "=" : "-",
                                   (int)e->value.len, (const char *)e->value.data);
        }
        count -= batch->count;
        hf_watch_batch_free(batch);
    }
}

static void test_key_prefix_and_bounds(void **state)
{
    (void)state;
    static const struct {
        struct hf_watch_options how;
        size_t count;
        const char *want;
    } rows[] = {
        {{.key = {"b", 1}}, 2, "b=2 b=5 "},
        {{.prefix = {"b", 1}}, 3, "b=2 ba=3 b=5 "},
        {{.start = {"b", 1}, .end = {"c", 1}}, 3, "b=2 ba=3 b=5 "},
        {{.start = {"ba", 2}}, 2, "ba=3 c=4 "},
        {{.size = 0}, 5, "a=1 b=2 ba=3 c=4 b=5 "},
    };
    struct fixture f;
    char text[200];
    start(&f, 0);
    uint64_t first = put(&f, "a", "1");
    put(&f, "b", "2");
    put(&f, "ba", "3");
    put(&f, "c", "4");
    put(&f, "b", "5");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hf_watch_options options = rows[i].how;
        struct hf_watch *watch;
        struct hf_watch_batch *none;
        options.size = sizeof options;
        options.from_version = first;
        assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_OK);
        take(watch, rows[i].count, text, sizeof text);
        /* key by key or by version, as the store has it; the same changes */
        assert_int_equal(strlen(text), strlen(rows[i].want));
        for (const char *at = rows[i].want; *at != 0; at = strchr(at, ' ') + 1) {
            char one[16];
            snprintf(one, sizeof one, "%.*s", (int)(strchr(at, ' ') - at), at);
            assert_non_null(strstr(text, one));
        }
        assert_int_equal(hf_watch_next(watch, 50, &none), 0);
        assert_int_equal(hf_watch_close(watch), HF_OK);
    }
    finish(&f);
}

static void test_token(void **state)
{
    (void)state;
    struct fixture f;
    struct hf_watch *watch;
    struct hf_watch_options options;
    struct hf_bytes token;
    char text[200];
    start(&f, 0);
    hf_watch_options_init(&options);
    options.from_version = put(&f, "a", "1");
    assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_OK);
    take(watch, 1, text, sizeof text);
    assert_string_equal(text, "a=1 ");
    assert_int_equal(hf_watch_token(watch, &token), HF_OK);
    uint8_t *copy = malloc(token.len);
    memcpy(copy, token.data, token.len);
    size_t len = token.len;
    put(&f, "b", "2");
    struct pollfd fd = {.fd = hf_watch_fd(watch), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1); /* it is there, and not taken */
    assert_int_equal(hf_watch_close(watch), HF_OK);
    hf_watch_options_init(&options);
    options.token = hf_bytes(copy, len);
    assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_OK);
    put(&f, "c", "3");
    take(watch, 2, text, sizeof text);
    assert_string_equal(text, "b=2 c=3 "); /* no repeat, no gap */
    assert_int_equal(hf_watch_close(watch), HF_OK);
    copy[3] ^= 1;
    assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_ERR_INVALID);
    free(copy);
    finish(&f);
}

/* A watcher that does not take what is there: nothing more is asked for. */
static void test_slow(void **state)
{
    (void)state;
    enum { COUNT = 600 };
    struct fixture f;
    struct hf_watch *watch;
    struct hf_watch_options options;
    static char value[1000];
    start(&f, 0);
    memset(value, 'v', sizeof value - 1);
    hf_watch_options_init(&options);
    options.buffer_bytes = 20000;
    options.marks = 1;
    options.from_version = put(&f, "key", "first");
    assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_OK);
    for (int i = 1; i < COUNT; i++)
        put(&f, "key", value);
    size_t seen = 0, most = 0;
    uint64_t complete = 0;
    while (seen < COUNT) {
        struct hf_watch_batch *batch = NULL;
        assert_int_equal(hf_watch_next(watch, PATIENCE_MS, &batch), 1);
        assert_true(batch->complete >= complete);
        complete = batch->complete;
        seen += batch->count;
        most = MAX(most, batch->count);
        hf_watch_batch_free(batch);
    }
    assert_int_equal(seen, COUNT);
    assert_int_equal(hf_watch_close(watch), HF_OK);
    finish(&f);
}

static void on_batch(void *data, struct hf_watch *watch)
{
    struct fixture *f = data;
    struct hf_watch_batch *batch;
    uint32_t count = 0;
    assert_int_equal(hf_watch_next(watch, 100, &batch), HF_ERR_STATE); /* it would block */
    assert_int_equal(hf_watch_close(watch), HF_ERR_STATE);
    while (hf_watch_next(watch, 0, &batch) == 1) {
        count += (uint32_t)batch->count;
        hf_watch_batch_free(batch);
    }
    env_uv_mutex_lock(&f->lock);
    f->called += count;
    env_uv_cond_signal(&f->changed);
    env_uv_mutex_unlock(&f->lock);
}

static void mood_set(void *data)
{
    struct fixture *f = data;
    f->cluster.leader->mood = f->mood;
    env_uv_mutex_lock(&f->lock);
    f->is_up = true;
    env_uv_cond_signal(&f->changed);
    env_uv_mutex_unlock(&f->lock);
}

static void store_mood(struct fixture *f, enum fake_mood mood)
{
    env_uv_mutex_lock(&f->lock);
    f->is_up = false;
    f->mood = mood;
    assert_int_equal(env_uv_post(f->env, mood_set, f), 0);
    while (!f->is_up)
        env_uv_cond_wait(&f->changed, &f->lock);
    env_uv_mutex_unlock(&f->lock);
}

/* Nothing comes, and hf_watch_next() cannot say why: hf_watch_trouble() does. */
static void test_trouble(void **state)
{
    (void)state;
    struct fixture f;
    struct hf_watch_options options;
    struct hf_watch *watch;
    struct hf_watch_batch *batch = NULL;
    struct hf_client *client;
    struct hf_options client_options;
    char seen[64];
    uint64_t ms = 99;
    start(&f, 0);
    uint64_t before = put(&f, "a", "1");
    hf_options_init(&client_options);
    client_options.endpoints = f.endpoint;
    client_options.timeout_ms = 1000; /* not to be patient here */
    assert_int_equal(hf_open(&client_options, &client), HF_OK);
    hf_watch_options_init(&options);
    options.from_version = before + 1;
    store_mood(&f, FAKE_NO_MAJORITY);
    assert_int_equal(hf_watch_open(client, &options, &watch), HF_OK);
    int code = HF_OK;
    for (int i = 0; i < 200 && code == HF_OK; i++) {
        assert_int_equal(hf_watch_next(watch, 100, &batch), 0);
        code = hf_watch_trouble(watch, &ms);
    }
    assert_int_equal(code, HF_ERR_UNAVAILABLE);
    assert_in_range(ms, 500, PATIENCE_MS);
    assert_non_null(strstr(hf_watch_message(watch), "UNAVAILABLE"));
    store_mood(&f, FAKE_SERVE);
    put(&f, "b", "2");
    take(watch, 1, seen, sizeof seen); /* it went on by itself */
    assert_string_equal(seen, "b=2 ");
    for (int i = 0; i < 200 && code != HF_OK; i++) {
        assert_int_equal(hf_watch_next(watch, 100, &batch), 0);
        code = hf_watch_trouble(watch, &ms);
    }
    assert_int_equal(code, HF_OK);
    assert_int_equal(ms, 0);
    assert_string_equal(hf_watch_message(watch), "");
    hf_watch_close(watch);
    assert_int_equal(hf_close(client), HF_OK);
    finish(&f);
}

static void test_callback(void **state)
{
    (void)state;
    struct fixture f;
    struct hf_watch *watch;
    struct hf_watch_options options;
    start(&f, 0);
    hf_watch_options_init(&options);
    options.from_version = put(&f, "a", "0");
    options.callback = on_batch;
    options.data = &f;
    assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_OK);
    for (int i = 0; i < 50; i++)
        put(&f, "a", "x");
    env_uv_mutex_lock(&f.lock);
    while (f.called < 51)
        env_uv_cond_wait(&f.changed, &f.lock);
    env_uv_mutex_unlock(&f.lock);
    assert_int_equal(f.called, 51);
    assert_int_equal(hf_watch_close(watch), HF_OK);
    finish(&f);
}

/* Comes back when another thread has begun to close the watch, and makes room only then. */
static void on_closing(void *data, struct hf_watch *watch)
{
    struct fixture *f = data;
    struct hf_watch_batch *batch;
    bool is_open = true;
    env_uv_mutex_lock(&f->lock);
    f->called++;
    env_uv_cond_signal(&f->changed);
    env_uv_mutex_unlock(&f->lock);
    while (is_open) {
        sched_yield();
        env_uv_mutex_lock(&f->client->lock);
        is_open = !list_is_empty(&f->client->watches);
        env_uv_mutex_unlock(&f->client->lock);
    }
    while (hf_watch_next(watch, 0, &batch) == 1)
        hf_watch_batch_free(batch);
}

/* What the callback takes makes room, but the end of the watch is on its way already: nothing may
 * come behind that. */
static void test_close_while_the_callback_takes(void **state)
{
    (void)state;
    struct fixture f;
    struct hf_watch *watch;
    struct hf_watch_options options;
    start(&f, 0);
    hf_watch_options_init(&options);
    options.from_version = put(&f, "a", "1");
    options.buffer_bytes = 1; /* full with whatever comes */
    options.callback = on_closing;
    options.data = &f;
    assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_OK);
    env_uv_mutex_lock(&f.lock);
    while (f.called == 0)
        env_uv_cond_wait(&f.changed, &f.lock);
    env_uv_mutex_unlock(&f.lock);
    assert_int_equal(hf_watch_close(watch), HF_OK);
    put(&f, "b", "2"); /* the thread is well */
    finish(&f);
}

static void test_gone(void **state)
{
    (void)state;
    struct fixture f;
    struct hf_watch *watch;
    struct hf_watch_options options;
    struct hf_watch_batch *batch;
    char text[100];
    start(&f, 500);
    hf_watch_options_init(&options);
    options.from_version = 1;
    assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_OK);
    assert_int_equal(hf_watch_next(watch, PATIENCE_MS, &batch), HF_ERR_VERSION_GONE);
    assert_int_equal(hf_watch_next(watch, 0, &batch), HF_ERR_VERSION_GONE);
    assert_int_equal(hf_watch_oldest(watch), 501);
    options.from_version = hf_watch_oldest(watch);
    assert_int_equal(hf_watch_close(watch), HF_OK);
    assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_OK);
    put(&f, "a", "1");
    take(watch, 1, text, sizeof text);
    assert_string_equal(text, "a=1 ");
    assert_int_equal(hf_watch_close(watch), HF_OK);
    finish(&f);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct hf_watch_options how;
        int want;
    } rows[] = {
        {"key and prefix", {.key = {"a", 1}, .prefix = {"a", 1}}, HF_ERR_INVALID},
        {"key and bounds", {.key = {"a", 1}, .end = {"b", 1}}, HF_ERR_INVALID},
        {"no bytes", {.key = {NULL, 1}}, HF_ERR_INVALID},
        {"empty span", {.start = {"b", 1}, .end = {"b", 1}}, HF_ERR_INVALID},
        {"upside down", {.start = {"b", 1}, .end = {"a", 1}}, HF_ERR_INVALID},
        {"no token", {.token = {"token", 5}}, HF_ERR_INVALID},
        {"long", {.key = {"a", 5000}}, HF_ERR_TOO_LARGE},
    };
    struct fixture f;
    struct hf_watch *watch = NULL;
    struct hf_watch_options options;
    start(&f, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        options = rows[i].how;
        options.size = sizeof options;
        int rv = hf_watch_open(f.client, &options, &watch);
        if (rv != rows[i].want)
            fail_msg("%s: %d", rows[i].name, rv);
    }
    options.size = 8;
    assert_int_equal(hf_watch_open(f.client, &options, &watch), HF_ERR_INVALID);
    assert_null(watch);
    assert_int_equal(hf_watch_close(NULL), HF_OK);
    hf_watch_batch_free(NULL);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_prefix_and_bounds),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_callback),
        cmocka_unit_test(test_close_while_the_callback_takes),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
