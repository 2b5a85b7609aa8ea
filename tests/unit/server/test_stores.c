/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>

#include "base/err.h"
#include "server/stores.h"

static struct config base_of(const char *listen, uint64_t stores)
{
    struct config c;
    config_init(&c);
    snprintf(c.data_dir, sizeof c.data_dir, "/d");
    snprintf(c.listen, sizeof c.listen, "%s", listen);
    c.stores = stores;
    return c;
}

static void test_one_is_as_written(void **state)
{
    (void)state;
    struct config c = base_of("127.0.0.1:0", 1);
    struct config got;
    assert_int_equal(stores_config(&c, 1, &got, NULL), 0);
    assert_memory_equal(&got, &c, sizeof c);
}

static void test_several(void **state)
{
    (void)state;
    struct config c = base_of("[::1]:4101", 3);
    struct config got;
    snprintf(c.advertise, sizeof c.advertise, "db1:5000");
    snprintf(c.labels, sizeof c.labels, "zone=a");
    assert_int_equal(stores_config(&c, 1, &got, NULL), 0);
    assert_string_equal(got.data_dir, "/d");
    assert_string_equal(got.listen, "[::1]:4101");
    assert_string_equal(got.labels, "zone=a,node=db1-5000");
    assert_int_equal(got.join_count, 0);
    assert_int_equal(stores_config(&c, 3, &got, NULL), 0);
    assert_string_equal(got.data_dir, "/d/store-3");
    assert_string_equal(got.listen, "[::1]:4301");
    assert_string_equal(got.advertise, "db1:5200");
    assert_string_equal(got.labels, "zone=a,node=db1-5000");
    assert_int_equal(got.join_count, 1);
    assert_string_equal(got.join[0], "db1:5000");
    /* what was written stands */
    snprintf(c.labels, sizeof c.labels, "node=7,zone=a");
    c.join_count = 1;
    snprintf(c.join[0], sizeof c.join[0], "db0:4101");
    assert_int_equal(stores_config(&c, 2, &got, NULL), 0);
    assert_string_equal(got.labels, "node=7,zone=a");
    assert_string_equal(got.join[0], "db0:4101");
}

static void refused(struct config *c, uint32_t k, const char *says)
{
    struct config got;
    struct err err = {0};
    assert_int_equal(stores_config(c, k, &got, &err), ERR_INVALID);
    if (strstr(err.msg, says) == NULL)
        fail_msg("%s", err.msg);
}

static void test_refused(void **state)
{
    (void)state;
    struct config c = base_of("127.0.0.1:0", 2);
    refused(&c, 1, "need a port in listen");
    c = base_of("127.0.0.1:59240", STORES_MAX);
    refused(&c, STORES_MAX, "on port 65540 (listen)");
    c = base_of("127.0.0.1:4101", 2);
    memset(c.labels, 'a', sizeof c.labels - 4);
    refused(&c, 1, "no room for node=");
    c = base_of("127.0.0.1:4101", 2);
    memset(c.data_dir, 'd', sizeof c.data_dir - 4);
    refused(&c, 2, "no room for /store-2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_is_as_written),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
