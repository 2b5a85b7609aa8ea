/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "wire/hello.h"

static struct hello some_hello(void)
{
    struct hello hello = {.protocol_min = 1,
                          .protocol_max = UINT32_MAX,
                          .purpose = HELLO_SNAPSHOT,
                          .cluster_id = UINT64_MAX,
                          .name = slice_str("n"),
                          .store_id = UINT64_MAX,
                          .boot = UINT64_MAX};
    memset(hello.store_uuid, 0xff, sizeof hello.store_uuid);
    memset(hello.nonce, 0xfe, sizeof hello.nonce);
    return hello;
}

static struct hello_ack some_ack(void)
{
    struct hello_ack ack = {.protocol = 1, .cluster_id = 5, .store_id = 6, .boot = 7};
    memset(ack.nonce, 0x10, sizeof ack.nonce);
    return ack;
}

static void test_round_trip(void **state)
{
    (void)state;
    char name[HELLO_NAME_MAX + 10];
    memset(name, 'n', sizeof name);
    struct hello in = some_hello();
    struct hello out;
    struct buf buf;
    buf_init(&buf, 1000);
    in.name = slice_of(name, sizeof name); /* cut when written */
    hello_encode(&buf, &in);
    assert_int_equal(hello_decode(buf_slice(&buf), &out, NULL), 0);
    assert_int_equal(out.name.len, HELLO_NAME_MAX);
    assert_true(out.protocol_min == 1 && out.protocol_max == UINT32_MAX);
    assert_true(out.purpose == HELLO_SNAPSHOT && out.cluster_id == UINT64_MAX);
    assert_true(out.store_id == UINT64_MAX && out.boot == UINT64_MAX);
    assert_memory_equal(in.store_uuid, out.store_uuid, sizeof in.store_uuid);
    assert_memory_equal(in.nonce, out.nonce, sizeof in.nonce);
    buf_clear(&buf);
    struct hello least = {.protocol_min = 1, .protocol_max = 1, .purpose = HELLO_CLIENT};
    hello_encode(&buf, &least);
    assert_int_equal(hello_decode(buf_slice(&buf), &out, NULL), 0);
    assert_int_equal(out.cluster_id + out.store_id + out.boot + out.name.len, 0);
    buf_fini(&buf);
}

/* msgpack of a hello, and what comes of it. */
static const struct {
    const char *name;
    uint8_t raw[16];
    size_t len;
    int want;
} rows[] = {
    {"least", {0x84, 0, 1, 1, 1, 2, 1, 3, 1}, 9, 0},
    {"fields in another order", {0x84, 0, 1, 3, 1, 2, 1, 1, 1}, 9, 0},
    {"unknown field", {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 50, 0x91, 0xc0}, 12, 0},
    {"another kind", {0x84, 0, 2, 1, 1, 2, 1, 3, 1}, 9, ERR_CORRUPT},
    {"kind not first", {0x84, 1, 1, 0, 1, 2, 1, 3, 1}, 9, ERR_CORRUPT},
    {"kind twice", {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 0, 1}, 11, ERR_CORRUPT},
    {"field twice", {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 1, 1}, 11, ERR_CORRUPT},
    {"no purpose", {0x83, 0, 1, 1, 1, 2, 1}, 7, ERR_CORRUPT},
    {"purpose unknown", {0x84, 0, 1, 1, 1, 2, 1, 3, 5}, 9, ERR_CORRUPT},
    {"no versions", {0x82, 0, 1, 3, 1}, 5, ERR_CORRUPT},
    {"versions the wrong way round", {0x84, 0, 1, 1, 2, 2, 1, 3, 1}, 9, ERR_CORRUPT},
    {"uuid too short", {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 8, 0xc4, 1, 7}, 13, ERR_CORRUPT},
    {"an address", {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 10, 0xa2, 'a', 'b'}, 13, 0},
    {"an address that is a NUL", {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 10, 0xa1, 0}, 12, ERR_CORRUPT},
    {"an address with a NUL", {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 10, 0xa2, 'a', 0}, 13, ERR_CORRUPT},
    {"an address with a line end",
     {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 10, 0xa2, 'a', '\n'},
     13,
     ERR_CORRUPT},
    {"an address with an escape",
     {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 10, 0xa2, 0x1b, '['},
     13,
     ERR_CORRUPT},
    {"an address with a blank",
     {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 10, 0xa2, 'a', ' '},
     13,
     ERR_CORRUPT},
    {"an address with a DEL", {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 10, 0xa2, 'a', 0x7f}, 13, ERR_CORRUPT},
    {"an address beyond ASCII", {0x85, 0, 1, 1, 1, 2, 1, 3, 1, 10, 0xa2, 0xc3, 0xa4}, 13, 0},
    {"more after it", {0x84, 0, 1, 1, 1, 2, 1, 3, 1, 0}, 10, ERR_CORRUPT},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hello out = {.boot = 99};
        struct err err = {0};
        int rv = hello_decode(slice_of(rows[i].raw, rows[i].len), &out, &err);
        if (rv != rows[i].want)
            fail_msg("%s: %s (%s)", rows[i].name, err_name(rv), err.msg);
        if (rv != 0)
            assert_int_equal(out.boot, 99);
    }
}

static void test_negotiation(void **state)
{
    (void)state;
    static const struct {
        uint32_t min, max, newest;
        int want;
        uint32_t spoken;
    } cases[] = {
        {1, 1, 2, 0, 1},
        {1, 9, 2, 0, 2},
        {1, 9, 1, 0, 1},
        {2, 9, 2, 0, 2},
        {2, 9, 1, ERR_UNSUPPORTED, 0},
        {3, 9, 2, ERR_UNSUPPORTED, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hello hello = {.protocol_min = cases[i].min, .protocol_max = cases[i].max};
        uint32_t protocol = 0;
        int got = hello_negotiate(&hello, cases[i].newest, &protocol, NULL);
        assert_int_equal(got, cases[i].want);
        assert_int_equal(protocol, cases[i].spoken);
    }
}

/* A proof stands for one secret, one side and every field of both messages. */
static void test_proof(void **state)
{
    (void)state;
    struct slice secret = slice_str("the cluster's secret");
    struct hello hello = some_hello();
    struct hello_ack ack = some_ack();
    uint8_t good[HELLO_PROOF_LEN];
    uint8_t other[HELLO_PROOF_LEN];
    assert_int_equal(hello_proof(secret, HELLO_CONNECTED, &hello, &ack, good), 0);
    assert_int_equal(hello_proof(secret, HELLO_CONNECTED, &hello, &ack, other), 0);
    assert_true(hello_proof_equal(good, other));
    ack.has_proof = true; /* the proof itself is not in it */
    memset(ack.proof, 0x77, sizeof ack.proof);
    assert_int_equal(hello_proof(secret, HELLO_CONNECTED, &hello, &ack, other), 0);
    assert_true(hello_proof_equal(good, other));
    assert_int_equal(hello_proof(secret, HELLO_ACCEPTED, &hello, &ack, other), 0);
    assert_false(hello_proof_equal(good, other));
    assert_int_equal(hello_proof(slice_str("another"), HELLO_CONNECTED, &hello, &ack, other), 0);
    assert_false(hello_proof_equal(good, other));
    hello.nonce[15] ^= 1;
    assert_int_equal(hello_proof(secret, HELLO_CONNECTED, &hello, &ack, other), 0);
    assert_false(hello_proof_equal(good, other));
    hello.nonce[15] ^= 1;
    hello.boot--;
    assert_int_equal(hello_proof(secret, HELLO_CONNECTED, &hello, &ack, other), 0);
    assert_false(hello_proof_equal(good, other));
    hello.boot++;
    ack.nonce[0] ^= 1;
    assert_int_equal(hello_proof(secret, HELLO_CONNECTED, &hello, &ack, other), 0);
    assert_false(hello_proof_equal(good, other));
    for (int i = 0; i < HELLO_PROOF_LEN; i++) {
        memcpy(other, good, sizeof other);
        other[i] ^= 0x80;
        assert_false(hello_proof_equal(good, other));
    }
}

static void test_error_and_ping(void **state)
{
    (void)state;
    char text[TEXT_MAX + 5];
    struct error_msg error;
    struct ping ping;
    struct buf buf;
    memset(text, 't', sizeof text);
    buf_init(&buf, 5000);
    error_msg_encode(&buf, &(struct error_msg){.code = -1, .text = slice_of(text, sizeof text)});
    assert_int_equal(error_msg_decode(buf_slice(&buf), &error, NULL), 0);
    assert_int_equal(error.code, -1);
    assert_int_equal(error.text.len, TEXT_MAX);
    static const uint8_t no_code[] = {0x81, 0, 4};
    static const uint8_t positive[] = {0x82, 0, 4, 1, 3};
    assert_int_equal(error_msg_decode(slice_of(no_code, 3), &error, NULL), ERR_CORRUPT);
    assert_int_equal(error_msg_decode(slice_of(positive, 5), &error, NULL), ERR_CORRUPT);
    buf_clear(&buf);
    ping_encode(&buf, &(struct ping){.token = UINT64_MAX});
    assert_int_equal(ping_decode(buf_slice(&buf), &ping, NULL), 0);
    assert_true(ping.token == UINT64_MAX);
    buf_clear(&buf);
    pong_encode(&buf, &(struct ping){0});
    assert_int_equal(ping_decode(buf_slice(&buf), &ping, NULL), 0);
    assert_int_equal(ping.token, 0);
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_damage),
        cmocka_unit_test(test_negotiation),    cmocka_unit_test(test_proof),
        cmocka_unit_test(test_error_and_ping),
    };
    return cmocka_run_group_tests_name("hello", tests, NULL, NULL);
}
