/* SPDX-License-Identifier: Apache-2.0 */
/* Records that are put one by one, many at once, into a cluster that this file plays. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#include "../tools/holdfast/singles.h"

enum { KEYS = 50, PENDING_MAX = 200 };

static struct {
    char key[8];
    char value[8];
    void *data;
} pending[PENDING_MAX];
static size_t pending_count, pending_most, room;
static unsigned puts_begun;
static unsigned seed;
static char store[KEYS][8];       /* the value of key "kN" */
static unsigned times_put[KEYS];  /* … and how often it was put */
static const char *failing_value; /* the put of this ends in … */
static bool all_fail;             /* … as those of all do */
static int failing_code;
static unsigned begun_at_failure;
static int settled_as;     /* what settle() says */
static unsigned settlings; /* … how often it was asked */

static unsigned drawn(void)
{
    seed = seed * 1103515245 + 12345;
    return seed >> 16;
}

/* ---- the library ------------------------------------------------------------------------- */

int hf_queue_new(struct hf_client *client, struct hf_queue **ret_queue)
{
    *ret_queue = (struct hf_queue *)client; /* looked into by nobody */
    return HF_OK;
}

int hf_queue_free(struct hf_queue *queue)
{
    (void)queue;
    assert_int_equal(pending_count, 0);
    return HF_OK;
}

void hf_change_init(struct hf_change *change)
{
    *change = (struct hf_change){.size = sizeof *change};
}

struct hf_bytes hf_bytes(const void *data, size_t len)
{
    return (struct hf_bytes){data, len};
}

void hf_result_free(struct hf_result *result)
{
    free(result);
}

static void copy(char out[8], struct hf_bytes bytes)
{
    assert_true(bytes.len < 8);
    memset(out, 0, 8);
    memcpy(out, bytes.data, bytes.len);
}

int hf_put_async(struct hf_client *client, struct hf_bytes key, struct hf_bytes value,
                 const struct hf_change *change, const struct hf_call *call,
                 const struct hf_then *then)
{
    (void)client, (void)call;
    assert_int_equal(change->ttl_ms, 77);
    if (pending_count == room)
        return HF_ERR_BUSY;
    copy(pending[pending_count].key, key);
    copy(pending[pending_count].value, value);
    for (size_t i = 0; i < pending_count; i++) /* nobody would know which is the last one */
        assert_string_not_equal(pending[i].key, pending[pending_count].key);
    pending[pending_count++].data = then->data;
    pending_most = MAX(pending_most, pending_count);
    puts_begun++;
    return HF_OK;
}

/* The N of "kN" and "kN.M". */
static size_t key_number(const char *key)
{
    size_t n = 0;
    for (const char *p = key + 1; *p >= '0' && *p <= '9'; p++)
        n = n * 10 + (size_t)(*p - '0');
    assert_true(n < KEYS);
    return n;
}

/* They end in any order. */
int hf_queue_wait(struct hf_queue *queue, uint32_t timeout_ms, void **ret_data, int *ret_code,
                  struct hf_result **ret_result)
{
    (void)queue, (void)timeout_ms;
    assert_true(pending_count > 0);
    size_t i = drawn() % pending_count;
    size_t key = key_number(pending[i].key);
    bool is_failing = failing_value != NULL && strcmp(pending[i].value, failing_value) == 0;
    bool fails = all_fail || is_failing;
    *ret_data = pending[i].data;
    *ret_code = fails ? failing_code : HF_OK;
    *ret_result = calloc(1, sizeof **ret_result);
    if (fails) {
        begun_at_failure = puts_begun;
    } else {
        memcpy(store[key], pending[i].value, 8);
        times_put[key]++;
    }
    pending[i] = pending[--pending_count];
    return 1;
}

static int settle(void *data, struct hf_result **result)
{
    (void)data;
    assert_non_null(*result);
    settlings++;
    return settled_as;
}

/* ---- tests -------------------------------------------------------------------------------- */

static void begin(struct singles *s, size_t count)
{
    memset(store, 0, sizeof store);
    memset(times_put, 0, sizeof times_put);
    pending_most = puts_begun = 0;
    room = PENDING_MAX;
    failing_value = NULL;
    assert_int_equal(singles_init(s, (struct hf_client *)s), HF_OK);
    for (size_t i = 0; i < count; i++) {
        char key[8], value[8];
        snprintf(key, sizeof key, "k%zu", i % KEYS);
        snprintf(value, sizeof value, "v%zu", i);
        assert_true(singles_keep(s, slice_str(key), slice_str(value), 77));
    }
}

static int put(struct singles *s)
{
    struct hf_result *result = NULL;
    struct hf_call call = {.size = sizeof call};
    int rv = singles_put(s, &call, settle, NULL, &result);
    assert_int_equal(pending_count, 0);
    hf_result_free(result);
    return rv;
}

/* Every key has the value that came last for it. */
static void assert_last_wins(size_t count)
{
    for (size_t i = count - KEYS; i < count; i++) {
        char want[8];
        snprintf(want, sizeof want, "v%zu", i);
        assert_string_equal(store[i % KEYS], want);
    }
}

static void test_last_wins(void **state)
{
    (void)state;
    static struct singles s;
    for (seed = 1; seed <= 50;) {
        unsigned of = seed;
        begin(&s, 300);
        assert_int_equal(put(&s), HF_OK);
        assert_last_wins(300);
        for (size_t i = 0; i < KEYS; i++)
            assert_int_equal(times_put[i], 6);
        assert_in_range(pending_most, 10, KEYS);
        singles_clear(&s);
        assert_int_equal(put(&s), HF_OK); /* nothing */
        assert_int_equal(puts_begun, 300);
        singles_fini(&s);
        seed = of + 1;
    }
}

/* As many are under way as may be, and as the library takes. */
static void test_bounds(void **state)
{
    (void)state;
    static struct singles s;
    begin(&s, 0);
    for (int i = 0; i < SINGLES_MAX; i++) {
        char key[8];
        snprintf(key, sizeof key, "k0.%d", i);
        assert_true(singles_keep(&s, slice_str(key), slice_str("v"), 77));
    }
    assert_int_equal(put(&s), HF_OK);
    assert_int_equal(pending_most, SINGLES_AT_ONCE);
    assert_int_equal(times_put[0], SINGLES_MAX);
    singles_fini(&s);
    begin(&s, 200);
    room = 3;
    assert_int_equal(put(&s), HF_OK);
    assert_last_wins(200);
    assert_int_equal(pending_most, 3);
    singles_fini(&s);
    begin(&s, 200);
    room = 0;
    assert_int_equal(put(&s), HF_ERR_BUSY);
    room = 1;
    assert_int_equal(put(&s), HF_OK);
    assert_last_wins(200);
    singles_fini(&s);
}

/* Nothing is begun after a failure; what is in is not put again. */
static void test_again(void **state)
{
    (void)state;
    static struct singles s;
    for (unsigned of = 1; of <= 50; of++) {
        seed = of;
        begin(&s, 300);
        failing_value = "v120";
        failing_code = HF_ERR_UNAVAILABLE;
        assert_int_equal(put(&s), HF_ERR_UNAVAILABLE);
        assert_int_equal(puts_begun, begun_at_failure);
        assert_true(puts_begun < 300);
        unsigned begun = puts_begun;
        failing_value = NULL;
        assert_int_equal(put(&s), HF_OK);
        assert_int_equal(puts_begun, 301);
        assert_true(begun >= 121);
        assert_last_wins(300);
        for (size_t i = 0; i < KEYS; i++)
            assert_int_equal(times_put[i], 6);
        singles_fini(&s);
    }
}

/* One of which nobody can tell must not be put again: that is told before any other failure. */
static void test_undetermined(void **state)
{
    (void)state;
    static struct singles s;
    failing_code = HF_ERR_UNDETERMINED;
    static const struct {
        int settled_as, want;
    } rows[] = {
        {HF_OK, HF_OK},
        {HF_ERR_UNAVAILABLE, HF_ERR_UNAVAILABLE}, /* it was not done, and never will be */
        {HF_ERR_UNDETERMINED, HF_ERR_UNDETERMINED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(&s, 100);
        failing_value = "v30";
        settled_as = rows[i].settled_as;
        assert_int_equal(put(&s), rows[i].want);
        singles_fini(&s);
    }
}

/* Nobody can be reached: that is found out once, not for each of those that are under way. */
static void test_all_undetermined(void **state)
{
    (void)state;
    static struct singles s;
    begin(&s, KEYS);
    failing_code = settled_as = HF_ERR_UNDETERMINED;
    settlings = 0;
    all_fail = true;
    assert_int_equal(put(&s), HF_ERR_UNDETERMINED);
    all_fail = false;
    assert_true(begun_at_failure > 1);
    assert_int_equal(settlings, 1);
    singles_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_wins),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_undetermined),
        cmocka_unit_test(test_all_undetermined),
    };
    return cmocka_run_group_tests_name("singles", tests, NULL, NULL);
}
