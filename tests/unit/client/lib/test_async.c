/* SPDX-License-Identifier: Apache-2.0 */
/* Each asynchronous call over a store inside this process: it does what its blocking twin does, and
 * its result comes once, through the queue. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "holdfast.h"

enum { PATIENCE_MS = 60000, READY_TRIES = 100000 /* each a round trip */ };

#define SMALL                                                                                      \
    "memtable_bytes=1MiB&block_cache_bytes=1MiB&log_segment_bytes=1MiB&log_budget_bytes=4MiB"      \
    "&disk_low_bytes=0&disk_full_bytes=0&disk_reserve_bytes=0"

static char dir[64];
static struct hf_client *client;
static struct hf_queue *queue;
static struct hf_then then;
static int mark; /* what `then` hands over points here */

static int setup(void **state)
{
    (void)state;
    char endpoints[512];
    struct hf_options options;
    snprintf(dir, sizeof dir, "/tmp/holdfast-async-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(endpoints, sizeof endpoints, "embedded:%s/store?" SMALL, dir);
    hf_options_init(&options);
    options.endpoints = endpoints;
    options.timeout_ms = 30000;
    assert_int_equal(hf_open(&options, &client), HF_OK);
    assert_int_equal(hf_queue_new(client, &queue), HF_OK);
    then = (struct hf_then){.queue = queue, .data = &mark};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    assert_int_equal(hf_queue_poll(queue, NULL, NULL, NULL), 0); /* nothing came twice */
    assert_int_equal(hf_queue_free(queue), HF_OK);
    assert_int_equal(hf_close(client), HF_OK);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* What became of a call that was started so; the result is the caller's. */
static int outcome(int started, struct hf_result **ret_result)
{
    void *data = NULL;
    int code = 0;
    *ret_result = NULL;
    assert_int_equal(started, HF_OK);
    assert_int_equal(hf_queue_wait(queue, PATIENCE_MS, &data, &code, ret_result), 1);
    assert_ptr_equal(data, &mark);
    assert_non_null(*ret_result);
    assert_int_equal((*ret_result)->code, code);
    return code;
}

static int code_of(int started)
{
    struct hf_result *result;
    int code = outcome(started, &result);
    hf_result_free(result);
    return code;
}

static void want_value(const char *key, const char *want)
{
    struct hf_result *result;
    assert_int_equal(outcome(hf_get_async(client, hf_str(key), NULL, &then), &result), HF_OK);
    assert_int_equal(result->items[0].value.len, strlen(want));
    assert_memory_equal(result->items[0].value.data, want, strlen(want));
    hf_result_free(result);
}

/* ---- keys ---------------------------------------------------------------------------------------
 */

static void test_conditions(void **state)
{
    (void)state;
    struct hf_result *r;
    struct hf_bytes k = hf_str("k"), one = hf_str("1"), two = hf_str("2"), three = hf_str("3");
    assert_int_equal(code_of(hf_put_if_present_async(client, k, one, NULL, &then)),
                     HF_ERR_CONDITION_FAILED);
    assert_int_equal(code_of(hf_put_if_absent_async(client, k, one, NULL, &then)), HF_OK);
    assert_int_equal(outcome(hf_put_if_absent_async(client, k, two, NULL, &then), &r),
                     HF_ERR_CONDITION_FAILED);
    assert_memory_equal(r->items[0].value.data, "1", 1);
    hf_result_free(r);
    assert_int_equal(code_of(hf_put_if_present_async(client, k, two, NULL, &then)), HF_OK);
    assert_int_equal(code_of(hf_cas_async(client, k, one, three, NULL, &then)),
                     HF_ERR_CONDITION_FAILED);
    assert_int_equal(outcome(hf_cas_async(client, k, two, three, NULL, &then), &r), HF_OK);
    uint64_t version = r->version;
    hf_result_free(r);
    want_value("k", "3");
    assert_int_equal(code_of(hf_cas_version_async(client, k, version - 1, one, NULL, &then)),
                     HF_ERR_CONDITION_FAILED);
    assert_int_equal(code_of(hf_cas_version_async(client, k, version, one, NULL, &then)), HF_OK);
    want_value("k", "1");
}

static void test_changes(void **state)
{
    (void)state;
    struct hf_result *r;
    struct hf_bytes k = hf_str("c");
    assert_int_equal(code_of(hf_put_async(client, k, hf_str("one"), NULL, NULL, &then)), HF_OK);
    assert_int_equal(code_of(hf_append_async(client, k, hf_str("-two"), NULL, NULL, &then)), HF_OK);
    assert_int_equal(outcome(hf_get_and_set_async(client, k, hf_str("x"), NULL, NULL, &then), &r),
                     HF_OK);
    assert_true(r->items[0].has_value);
    assert_int_equal(r->items[0].value.len, 7);
    assert_memory_equal(r->items[0].value.data, "one-two", 7);
    hf_result_free(r);
    assert_int_equal(outcome(hf_increment_async(client, hf_str("n"), 7, NULL, NULL, &then), &r),
                     HF_OK);
    assert_int_equal(r->items[0].number, 7);
    hf_result_free(r);
    const struct hf_bytes keys[] = {k, hf_str("nothing"), hf_str("n")};
    assert_int_equal(outcome(hf_multi_get_async(client, keys, 3, NULL, &then), &r), HF_OK);
    assert_int_equal(r->count, 3);
    assert_memory_equal(r->items[0].value.data, "x", 1);
    assert_int_equal(r->items[1].status, HF_ERR_NOT_FOUND);
    assert_memory_equal(r->items[2].value.data, "7", 1);
    hf_result_free(r);
    assert_int_equal(code_of(hf_delete_async(client, k, NULL, NULL, &then)), HF_OK);
    assert_int_equal(code_of(hf_get_async(client, k, NULL, &then)), HF_ERR_NOT_FOUND);
}

static void test_batch(void **state)
{
    (void)state;
    struct hf_batch *batch;
    struct hf_change absent;
    struct hf_result *r;
    hf_change_init(&absent);
    absent.condition = HF_IF_ABSENT;
    assert_int_equal(code_of(hf_put_async(client, hf_str("b/1"), hf_str("was"), NULL, NULL, &then)),
                     HF_OK);
    assert_int_equal(hf_batch_new(&batch), HF_OK);
    assert_int_equal(hf_batch_get_and_set(batch, hf_str("b/1"), hf_str("is"), NULL), HF_OK);
    assert_int_equal(hf_batch_get_and_set(batch, hf_str("b/2"), hf_str("new"), &absent), HF_OK);
    assert_int_equal(outcome(hf_batch_commit_async(client, batch, NULL, &then), &r), HF_OK);
    assert_int_equal(r->count, 2);
    assert_true(r->items[0].has_value && !r->items[1].has_value);
    assert_memory_equal(r->items[0].value.data, "was", 3);
    hf_result_free(r);
    want_value("b/1", "is");
    want_value("b/2", "new");
    assert_int_equal(outcome(hf_batch_commit_async(client, batch, NULL, &then), &r),
                     HF_ERR_CONDITION_FAILED);
    assert_int_equal(r->failed_op, 1);
    hf_result_free(r);
    hf_batch_free(batch);
}

static void test_spans(void **state)
{
    (void)state;
    struct hf_span span;
    struct hf_result *r;
    char key[8];
    hf_span_init(&span);
    span.prefix = hf_str("s/");
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof key, "s/%d", i);
        assert_int_equal(code_of(hf_put_async(client, hf_str(key), hf_str("v"), NULL, NULL, &then)),
                         HF_OK);
    }
    assert_int_equal(outcome(hf_scan_page_async(client, &span, NULL, &then), &r), HF_OK);
    assert_int_equal(r->count, 10);
    hf_result_free(r);
    assert_int_equal(outcome(hf_delete_range_async(client, &span, NULL, &then), &r), HF_OK);
    assert_int_equal(r->deleted, 10);
    hf_result_free(r);
    assert_int_equal(outcome(hf_scan_page_async(client, &span, NULL, &then), &r), HF_OK);
    assert_int_equal(r->count, 0);
    hf_result_free(r);
}

/* ---- keyspaces and the cluster
 * ---------------------------------------------------------------------- */

static int placement(int verb, const char *name, struct hf_result **ret_result)
{
    struct hf_placement_ask ask = {.size = sizeof ask, .verb = verb, .name = name};
    int code = HF_ERR_BUSY;
    for (int i = 0; i < READY_TRIES && code == HF_ERR_BUSY; i++) { /* its ids are on their way */
        code = outcome(hf_placement_async(client, &ask, NULL, &then), ret_result);
        if (code == HF_ERR_BUSY)
            hf_result_free(*ret_result);
    }
    return code;
}

static void test_keyspaces(void **state)
{
    (void)state;
    struct hf_result *r;
    assert_int_equal(code_of(hf_keyspace_open_async(client, "users", NULL, &then)),
                     HF_ERR_NOT_FOUND);
    assert_int_equal(placement(HF_PLACEMENT_KEYSPACE_CREATE, "users", &r), HF_OK);
    hf_result_free(r);
    assert_int_equal(outcome(hf_keyspace_open_async(client, "users", NULL, &then), &r), HF_OK);
    struct hf_call call;
    hf_call_init(&call);
    call.keyspace = r->keyspace;
    hf_result_free(r);
    assert_true(call.keyspace >= 65536);
    assert_int_equal(code_of(hf_put_async(client, hf_str("k"), hf_str("u"), NULL, &call, &then)),
                     HF_OK);
    assert_int_equal(code_of(hf_get_async(client, hf_str("k"), &call, &then)), HF_OK);
    assert_int_equal(placement(HF_PLACEMENT_STORES, NULL, &r), HF_OK);
    assert_true(r->table != NULL && r->table->row_count == 1);
    hf_result_free(r);
}

static void test_store(void **state)
{
    (void)state;
    struct hf_result *status, *r;
    const struct hf_bytes all = {0};
    assert_int_equal(outcome(hf_status_async(client, NULL, NULL, &then), &status), HF_OK);
    assert_int_equal(status->info->member_count, 1);
    assert_int_equal(outcome(hf_range_status_async(client, NULL, 0, all, NULL, &then), &r), HF_OK);
    assert_int_equal(r->info->range_id, status->info->range_id);
    hf_result_free(r);
    assert_int_equal(outcome(hf_identify_async(client, NULL, NULL, &then), &r), HF_OK);
    assert_true(r->info->is_born && r->info->store_id == status->info->store_id);
    hf_result_free(r);
    assert_int_equal(outcome(hf_stats_async(client, NULL, NULL, &then), &r), HF_OK);
    assert_true(r->info->stat_count > 0);
    hf_result_free(r);
    assert_int_equal(code_of(hf_flush_async(client, NULL, NULL, &then)), HF_OK);
    const char *address = status->info->members[0].address;
    assert_int_equal(outcome(hf_check_start_async(client, 0, NULL, &then), &r), HF_OK);
    assert_int_equal(r->check->state, HF_CHECK_STARTED);
    uint64_t index = r->check->index;
    uint64_t range_id = r->check->range_id;
    hf_result_free(r);
    int state_of = HF_CHECK_RUNNING;
    for (int i = 0; i < READY_TRIES && state_of != HF_CHECK_DONE; i++) {
        assert_int_equal(
            outcome(hf_check_result_async(client, address, range_id, index, NULL, &then), &r),
            HF_OK);
        state_of = r->check->state;
        assert_true(state_of != HF_CHECK_FAILED && state_of != HF_CHECK_MISSING);
        hf_result_free(r);
    }
    assert_int_equal(state_of, HF_CHECK_DONE);
    hf_result_free(status);
}

/* What a cluster of one store will not do: both forms say the same. */
static void test_ranges(void **state)
{
    (void)state;
    static const uint64_t ids[] = {1}, new_ids[] = {1000};
    const struct hf_split split = {.size = sizeof split,
                                   .range_id = 1,
                                   .conf_epoch = 1,
                                   .span_epoch = 77, /* not of now */
                                   .place = hf_str("\x02m"),
                                   .new_range_id = 1000,
                                   .count = 1,
                                   .store_ids = ids,
                                   .new_replica_ids = new_ids};
    const struct hf_merge merge = {
        .size = sizeof merge, .range_id = 1, .span_epoch = 77, .right_range_id = 1000};
    int code = hf_range_split(client, &split, NULL, NULL);
    assert_true(code != HF_OK);
    assert_int_equal(code_of(hf_range_split_async(client, &split, NULL, &then)), code);
    code = hf_range_merge(client, &merge, NULL, NULL);
    assert_true(code != HF_OK);
    assert_int_equal(code_of(hf_range_merge_async(client, &merge, NULL, &then)), code);
    code = hf_transfer_leader(client, 999, NULL, NULL);
    assert_true(code != HF_OK);
    assert_int_equal(code_of(hf_transfer_leader_async(client, 999, NULL, &then)), code);
}

/* Refused at once: nothing is delivered. */
static void test_resolve_of_nothing(void **state)
{
    (void)state;
    assert_int_equal(hf_resolve_async(client, hf_str("rubbish"), NULL, &then), HF_ERR_INVALID);
    assert_int_equal(hf_queue_poll(queue, NULL, NULL, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions), cmocka_unit_test(test_changes),
        cmocka_unit_test(test_batch),      cmocka_unit_test(test_spans),
        cmocka_unit_test(test_keyspaces),  cmocka_unit_test(test_store),
        cmocka_unit_test(test_ranges),     cmocka_unit_test(test_resolve_of_nothing),
    };
    return cmocka_run_group_tests_name("async", tests, setup, teardown);
}
