/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that runs out in the middle of a watch: what was lost is not passed over. */
#include "support/check.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/lib/lib_internal.h"
#include "support/lib_stores.h"

enum { VALUE_LEN = 5000, PER_RANGE = 40, KEYS = 2 * PER_RANGE, PATIENCE_MS = 20000 };

/* ---- memory (the linker has malloc() come here) --------------------------------------------- */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static struct env_uv_thread *_Atomic batches_of; /* the library's thread, whose batches count */
static _Atomic uint32_t batches_seen;
static _Atomic uint32_t batch_lost; /* there is no memory for that one; 0: there is for all */
static _Thread_local bool is_short; /* none at all on this thread */

/* Larger than a batch with one value on the library's thread is only what holds many. */
static bool is_batch(size_t size)
{
    struct env_uv_thread *thread = atomic_load(&batches_of);
    return size > VALUE_LEN && size < VALUE_LEN + 1000 && thread != NULL &&
           env_uv_thread_is_self(thread);
}

void *__wrap_malloc(size_t size)
{
    if (is_short)
        return NULL;
    if (is_batch(size) && atomic_fetch_add(&batches_seen, 1) + 1 == atomic_load(&batch_lost))
        return NULL;
    return __real_malloc(size);
}

/* ---- a watch of two ranges ----------------------------------------------------------------- */

struct fixture {
    struct lib_stores stores;
    uint64_t first;
    uint32_t told[KEYS]; /* how often */
};

static void start(struct fixture *f)
{
    static char value[VALUE_LEN];
    memset(f, 0, sizeof *f);
    memset(value, 'v', sizeof value);
    lib_stores_start(&f->stores);
    lib_stores_seam(&f->stores, "b", 1);
    for (int i = 0; i < KEYS; i++) {
        char key[8];
        struct hf_result *result = NULL;
        snprintf(key, sizeof key, "%c%02d", i < PER_RANGE ? 'a' : 'b', i % PER_RANGE);
        assert_int_equal(hf_put(f->stores.client, hf_str(key), hf_bytes(value, sizeof value), NULL,
                                NULL, &result),
                         HF_OK);
        f->first = i == 0 ? result->version : f->first;
        hf_result_free(result);
    }
    atomic_store(&batches_of, f->stores.client->thread);
    atomic_store(&batches_seen, 0);
}

static void finish(struct fixture *f)
{
    atomic_store(&batches_of, NULL);
    atomic_store(&batch_lost, 0);
    lib_stores_finish(&f->stores);
}

static struct hf_watch *open_watch(struct fixture *f, struct hf_bytes token)
{
    struct hf_watch *watch = NULL;
    struct hf_watch_options options;
    hf_watch_options_init(&options);
    options.from_version = token.len > 0 ? 0 : f->first;
    options.token = token;
    options.buffer_bytes = 4 * VALUE_LEN; /* so that it pauses, and is resumed */
    assert_int_equal(hf_watch_open(f->stores.client, &options, &watch), HF_OK);
    return watch;
}

static void note(struct fixture *f, struct hf_watch_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const char *key = batch->events[i].key.data;
        int n = (key[1] - '0') * 10 + key[2] - '0';
        f->told[key[0] == 'a' ? n : PER_RANGE + n]++;
    }
    hf_watch_batch_free(batch);
}

/* Up to the error that ends it. */
static int take_to_the_end(struct fixture *f, struct hf_watch *watch)
{
    struct hf_watch_batch *batch;
    int rv;
    while ((rv = hf_watch_next(watch, PATIENCE_MS, &batch)) == 1)
        note(f, batch);
    return rv;
}

static uint32_t told_in_all(const struct fixture *f)
{
    uint32_t n = 0;
    for (int i = 0; i < KEYS; i++)
        n += f->told[i] > 0;
    return n;
}

/* The rest, by another watch that goes on from the token: all were told, each once. */
static void go_on(struct fixture *f, struct hf_watch *watch)
{
    struct hf_watch_batch *batch;
    struct hf_bytes token;
    atomic_store(&batch_lost, 0);
    assert_int_equal(hf_watch_token(watch, &token), HF_OK);
    struct hf_watch *next = open_watch(f, token);
    while (told_in_all(f) < KEYS && hf_watch_next(next, PATIENCE_MS, &batch) == 1)
        note(f, batch);
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(f->told[i], 1);
    assert_int_equal(hf_watch_close(next), HF_OK);
}

/* It is over, and stays so, whatever else the thread does. */
static void stays_over(struct fixture *f, struct hf_watch *watch)
{
    struct hf_watch_batch *batch;
    for (int i = 0; i < 50; i++) {
        struct hf_result *result = NULL;
        assert_int_equal(hf_get(f->stores.client, hf_str("a00"), NULL, &result), HF_OK);
        hf_result_free(result);
        assert_int_equal(hf_watch_next(watch, 0, &batch), HF_ERR_NOMEM);
    }
    assert_string_equal(hf_watch_message(watch), "out of memory");
}

static void test_all_are_told(void **state)
{
    (void)state;
    struct fixture f;
    struct hf_watch_batch *batch;
    start(&f);
    struct hf_watch *watch = open_watch(&f, hf_str(""));
    while (told_in_all(&f) < KEYS && hf_watch_next(watch, PATIENCE_MS, &batch) == 1)
        note(&f, batch);
    assert_int_equal(told_in_all(&f), KEYS);
    assert_int_equal(atomic_load(&batches_seen), KEYS); /* each change is one to be lost */
    assert_int_equal(hf_watch_close(watch), HF_OK);
    finish(&f);
}

static void test_a_page_is_lost(void **state)
{
    (void)state;
    for (uint32_t lost = 1; lost < KEYS; lost += 3) {
        struct fixture f;
        start(&f);
        atomic_store(&batch_lost, lost);
        struct hf_watch *watch = open_watch(&f, hf_str(""));
        assert_int_equal(take_to_the_end(&f, watch), HF_ERR_NOMEM);
        stays_over(&f, watch);
        go_on(&f, watch);
        assert_int_equal(hf_watch_close(watch), HF_OK);
        finish(&f);
    }
}

static void test_a_page_cannot_be_taken(void **state)
{
    (void)state;
    struct fixture f;
    struct hf_watch_batch *batch;
    start(&f);
    struct hf_watch *watch = open_watch(&f, hf_str(""));
    struct pollfd fd = {.fd = hf_watch_fd(watch), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
    is_short = true;
    int rv = hf_watch_next(watch, 0, &batch);
    is_short = false;
    assert_int_equal(rv, HF_ERR_NOMEM);
    stays_over(&f, watch);
    go_on(&f, watch);
    assert_int_equal(hf_watch_close(watch), HF_OK);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_told),
        cmocka_unit_test(test_a_page_is_lost),
        cmocka_unit_test(test_a_page_cannot_be_taken),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
