/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdlib.h>

#include "wire/command.h"
#include "wire/pack.h"

static const struct command_limits limits = {
    .key_max = 10, .value_max = 20, .ops_max = 3, .command_max = 200, .ttl_max_ms = 1000};

#define K                                                                                          \
    {                                                                                              \
        (const uint8_t *)"key", 3                                                                  \
    }
#define V                                                                                          \
    {                                                                                              \
        (const uint8_t *)"value", 5                                                                \
    }
#define LONG_KEY                                                                                   \
    {                                                                                              \
        (const uint8_t *)"12345678901", 11                                                         \
    }
#define LONG_VALUE                                                                                 \
    {                                                                                              \
        (const uint8_t *)"123456789012345678901", 21                                               \
    }

/* One operation, and what judging and decoding it says. */
static const struct {
    const char *name;
    struct op op;
    int want;
} ops[] = {
    {"put", {.kind = OP_PUT, .key = K, .value = V}, 0},
    {"put of nothing", {.kind = OP_PUT, .key = K}, 0},
    {"put with all",
     {.kind = OP_PUT,
      .key = K,
      .value = V,
      .ttl_ms = 1000,
      .cond = COND_VALUE,
      .cond_value = V,
      .flags = OP_RETURN_PREVIOUS},
     0},
    {"put, keep TTL", {.kind = OP_PUT, .key = K, .flags = OP_KEEP_TTL}, 0},
    {"put, keep TTL and TTL",
     {.kind = OP_PUT, .key = K, .flags = OP_KEEP_TTL, .ttl_ms = 1},
     ERR_INVALID},
    {"empty key", {.kind = OP_PUT, .value = V}, ERR_INVALID},
    {"long key", {.kind = OP_PUT, .key = LONG_KEY}, ERR_TOO_LARGE},
    {"long value", {.kind = OP_PUT, .key = K, .value = LONG_VALUE}, ERR_TOO_LARGE},
    {"long expected value",
     {.kind = OP_PUT, .key = K, .cond = COND_VALUE, .cond_value = LONG_VALUE},
     ERR_TOO_LARGE},
    {"long TTL", {.kind = OP_PUT, .key = K, .ttl_ms = 1001}, ERR_TOO_LARGE},
    {"delete", {.kind = OP_DELETE, .key = K, .cond = COND_PRESENT}, 0},
    {"delete of a version",
     {.kind = OP_DELETE, .key = K, .cond = COND_VERSION, .cond_version = UINT64_MAX},
     0},
    {"delete with a value", {.kind = OP_DELETE, .key = K, .value = V}, ERR_INVALID},
    {"delete with a TTL", {.kind = OP_DELETE, .key = K, .ttl_ms = 5}, ERR_INVALID},
    {"increment", {.kind = OP_INCREMENT, .key = K, .delta = INT64_MIN}, 0},
    {"increment by 0", {.kind = OP_INCREMENT, .key = K}, 0},
    {"increment with a value", {.kind = OP_INCREMENT, .key = K, .value = V}, ERR_INVALID},
    {"put with a delta", {.kind = OP_PUT, .key = K, .delta = 1}, ERR_INVALID},
    {"append", {.kind = OP_APPEND, .key = K, .value = V}, 0},
    {"get and set", {.kind = OP_GET_AND_SET, .key = K, .value = V}, 0},
    {"check", {.kind = OP_CHECK, .key = K, .cond = COND_ABSENT}, 0},
    {"check of nothing", {.kind = OP_CHECK, .key = K}, ERR_INVALID},
    {"check with a value",
     {.kind = OP_CHECK, .key = K, .cond = COND_ABSENT, .value = V},
     ERR_INVALID},
    {"expects nothing", {.kind = OP_PUT, .key = K, .cond = COND_VALUE}, 0},
    {"version without condition", {.kind = OP_PUT, .key = K, .cond_version = 3}, ERR_INVALID},
    {"condition without version", {.kind = OP_PUT, .key = K, .cond = COND_VERSION}, ERR_INVALID},
    {"expected value without condition", {.kind = OP_PUT, .key = K, .cond_value = V}, ERR_INVALID},
    {"unknown flag", {.kind = OP_PUT, .key = K, .flags = 4}, ERR_INVALID},
};

static int decode_one(struct slice raw, struct op *op, struct err *err)
{
    struct command got = {.session = 99};
    int rv = command_decode(raw, &limits, op, 1, &got, err);
    if (rv != 0)
        assert_int_equal(got.session, 99); /* untouched */
    return rv;
}

static void test_ops(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        struct command command = {.op_count = 1, .ops = &ops[i].op};
        struct err err = {0};
        struct op got;
        struct buf buf;
        int rv = command_check(&command, &limits, &err);
        if (rv != ops[i].want)
            fail_msg("%s: judged %s (%s)", ops[i].name, err_name(rv), err.msg);
        if (ops[i].op.key.len == 0)
            continue; /* an encoder asserts that there is one */
        buf_init(&buf, 1000);
        command_encode(&buf, &command);
        rv = decode_one(buf_slice(&buf), &got, &err);
        if (rv != ops[i].want)
            fail_msg("%s: decoded %s (%s)", ops[i].name, err_name(rv), err.msg);
        if (rv == 0) {
            const struct op *op = &ops[i].op;
            assert_true(got.kind == op->kind && got.cond == op->cond && got.flags == op->flags);
            assert_true(slice_equal(got.key, op->key) && slice_equal(got.value, op->value));
            assert_true(got.delta == op->delta && got.ttl_ms == op->ttl_ms);
            assert_true(got.cond_version == op->cond_version);
            assert_true(slice_equal(got.cond_value, op->cond_value));
        }
        buf_fini(&buf);
    }
}

static const struct {
    const char *name;
    struct command command;
    int want;
} heads[] = {
    {"no session", {.op_count = 1}, 0},
    {"all at their ends",
     {.session = UINT64_MAX,
      .sequence = UINT64_MAX,
      .lowest_unanswered = UINT64_MAX,
      .first_sent_ms = UINT64_MAX,
      .keyspace = UINT32_MAX,
      .op_count = 3},
     0},
    {"one too many", {.op_count = 4}, ERR_TOO_LARGE},
    {"lowest above sequence",
     {.session = 1, .sequence = 5, .lowest_unanswered = 6, .first_sent_ms = 1, .op_count = 1},
     ERR_INVALID},
};

static void test_heads(void **state)
{
    (void)state;
    static const struct op four[4] = {{.kind = OP_PUT, .key = K},
                                      {.kind = OP_PUT, .key = K},
                                      {.kind = OP_PUT, .key = K},
                                      {.kind = OP_PUT, .key = K}};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct command command = heads[i].command;
        struct command got;
        struct op room[4];
        struct buf buf;
        command.ops = four;
        buf_init(&buf, 1000);
        assert_int_equal(command_check(&command, &limits, NULL), heads[i].want);
        command_encode(&buf, &command);
        assert_int_equal(command_op_count(buf_slice(&buf)), command.op_count);
        int rv = command_decode(buf_slice(&buf), &limits, room, 4, &got, NULL);
        if (rv != heads[i].want)
            fail_msg("%s: %s", heads[i].name, err_name(rv));
        if (rv == 0) {
            assert_true(got.session == command.session && got.sequence == command.sequence);
            assert_true(got.lowest_unanswered == command.lowest_unanswered);
            assert_true(got.first_sent_ms == command.first_sent_ms);
            assert_int_equal(got.keyspace, command.keyspace);
            assert_true(got.op_count == command.op_count && got.ops == room);
            assert_int_equal(
                command_decode(buf_slice(&buf), &limits, room, command.op_count - 1, &got, NULL),
                ERR_TOO_LARGE);
        }
        buf_fini(&buf);
    }
    assert_int_equal(command_check(&(struct command){0}, &limits, NULL), ERR_INVALID);
    const struct op fenced[2] = {four[0], {.kind = OP_FENCE, .key = K}};
    struct command both = {
        .session = 1, .sequence = 1, .first_sent_ms = 1, .op_count = 2, .ops = fenced};
    assert_int_equal(command_check(&both, &limits, NULL), ERR_INVALID);
    struct command half = {.session = 1, .op_count = 1, .ops = four};
    assert_int_equal(command_check(&half, &limits, NULL), ERR_INVALID);
}

static void test_size_limit(void **state)
{
    (void)state;
    static const struct op one = {.kind = OP_PUT, .key = K, .value = V};
    struct command_limits tight = limits;
    struct command got;
    struct op room;
    struct buf buf;
    buf_init(&buf, 1000);
    command_encode(&buf, &(struct command){.op_count = 1, .ops = &one});
    tight.command_max = buf.len;
    assert_int_equal(command_decode(buf_slice(&buf), &tight, &room, 1, &got, NULL), 0);
    tight.command_max = buf.len - 1;
    assert_int_equal(command_decode(buf_slice(&buf), &tight, &room, 1, &got, NULL), ERR_TOO_LARGE);
    buf_fini(&buf);
}

/* What a map of messages would forgive, a command does not: what one replica skips and
 * another applies would make them differ. */
static const struct {
    const char *name;
    uint8_t raw[40];
    size_t len;
    int want;
} strict[] = {
    {"good", {0x82, 0, 1, 6, 0x91, 0x82, 0, 1, 1, 0xc4, 1, 'k'}, 12, 0},
    {"later format", {0x82, 0, 2, 6, 0x91, 0x82, 0, 1, 1, 0xc4, 1, 'k'}, 12, ERR_UNSUPPORTED},
    {"no format", {0x81, 6, 0x91, 0x82, 0, 1, 1, 0xc4, 1, 'k'}, 10, ERR_CORRUPT},
    {"unknown key", {0x83, 0, 1, 6, 0x91, 0x82, 0, 1, 1, 0xc4, 1, 'k', 7, 1}, 14, ERR_CORRUPT},
    {"unknown key of an operation",
     {0x82, 0, 1, 6, 0x91, 0x83, 0, 1, 1, 0xc4, 1, 'k', 9, 1},
     14,
     ERR_CORRUPT},
    {"keys not ascending", {0x82, 0, 1, 6, 0x91, 0x82, 1, 0xc4, 1, 'k', 0, 1}, 12, ERR_CORRUPT},
    {"key twice",
     {0x82, 0, 1, 6, 0x91, 0x83, 0, 1, 1, 0xc4, 1, 'k', 1, 0xc4, 1, 'j'},
     16,
     ERR_CORRUPT},
    {"kind 0", {0x82, 0, 1, 6, 0x91, 0x81, 1, 0xc4, 1, 'k'}, 10, ERR_INVALID},
    {"kind unknown", {0x82, 0, 1, 6, 0x91, 0x82, 0, 8, 1, 0xc4, 1, 'k'}, 12, ERR_CORRUPT},
    {"a fence of no session", {0x82, 0, 1, 6, 0x91, 0x82, 0, 7, 1, 0xc4, 1, 'k'}, 12, ERR_INVALID},
    {"a fence", {0x85, 0, 1, 1, 1, 2, 1, 4, 1, 6, 0x91, 0x82, 0, 7, 1, 0xc4, 1, 'k'}, 18, 0},
    {"a session that does not say when",
     {0x84, 0, 1, 1, 1, 2, 1, 6, 0x91, 0x82, 0, 1, 1, 0xc4, 1, 'k'},
     16,
     ERR_INVALID},
    {"a fence with a condition",
     {0x85, 0, 1, 1, 1, 2, 1, 4, 1, 6, 0x91, 0x83, 0, 7, 1, 0xc4, 1, 'k', 5, 1},
     20,
     ERR_INVALID},
    {"key is text", {0x82, 0, 1, 6, 0x91, 0x82, 0, 1, 1, 0xa1, 'k'}, 11, ERR_CORRUPT},
    {"no operations", {0x81, 0, 1}, 3, ERR_INVALID},
    {"array of none", {0x82, 0, 1, 6, 0x90}, 5, ERR_INVALID},
    {"more after it", {0x82, 0, 1, 6, 0x91, 0x82, 0, 1, 1, 0xc4, 1, 'k', 0}, 13, ERR_CORRUPT},
    {"claims many", {0x82, 0, 1, 6, 0xdd, 0xff, 0xff, 0xff, 0xff, 0x82}, 10, ERR_CORRUPT},
    {"not a map", {0x91, 0}, 2, ERR_CORRUPT},
};

static void test_strict(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(strict); i++) {
        struct op op;
        struct err err = {0};
        int rv = decode_one(slice_of(strict[i].raw, strict[i].len), &op, &err);
        if (rv != strict[i].want)
            fail_msg("%s: %s (%s)", strict[i].name, err_name(rv), err.msg);
    }
}

static void test_built_step_by_step(void **state)
{
    (void)state;
    static const struct op two[] = {{.kind = OP_PUT, .key = K, .value = V},
                                    {.kind = OP_DELETE, .key = K}};
    struct buf whole, pieces, ops_buf;
    buf_init(&whole, 1000);
    buf_init(&pieces, 1000);
    buf_init(&ops_buf, 1000);
    struct command command = {
        .session = 1, .sequence = 2, .first_sent_ms = 3, .op_count = 2, .ops = two};
    command_encode(&whole, &command);
    command_encode_op(&ops_buf, &two[0]);
    command_encode_op(&ops_buf, &two[1]);
    command_encode_ops(&pieces, &command, buf_slice(&ops_buf));
    assert_true(slice_equal(buf_slice(&whole), buf_slice(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
    buf_fini(&ops_buf);
}

/* A stamp in front: the head alone and what it leaves are the stamped command; what is no plain
 * command gets none. */
static void test_stamped_in_two_pieces(void **state)
{
    (void)state;
    const struct op op = {.kind = OP_PUT, .key = K, .value = slice_str("a value")};
    const struct command_stamp stamp = {
        .session = UINT64_MAX, .sequence = 7, .lowest_unanswered = 5, .first_sent_ms = 1000};
    struct buf plain, whole, head;
    struct slice rest;
    buf_init(&plain, 1 << 10);
    buf_init(&whole, 1 << 10);
    buf_init(&head, 1 << 10);
    command_encode(&plain, &(struct command){.op_count = 1, .ops = &op, .keyspace = 9});
    assert_int_equal(command_restamp(&whole, buf_slice(&plain), &stamp), 0);
    assert_int_equal(command_restamp_head(&head, buf_slice(&plain), &stamp, &rest), 0);
    assert_true(rest.data > plain.data && rest.data + rest.len == plain.data + plain.len);
    buf_append_slice(&head, rest);
    assert_true(slice_equal(buf_slice(&head), buf_slice(&whole)));
    assert_int_equal(command_restamp(&head, buf_slice(&whole), &stamp), ERR_CORRUPT);
    plain.data[0]++; /* one pair more than a plain command has */
    assert_int_equal(command_restamp(&head, buf_slice(&plain), &stamp), ERR_CORRUPT);
    buf_fini(&plain);
    buf_fini(&whole);
    buf_fini(&head);
}

/* As many operations as there may be, and one more. */
static void test_default_limits(void **state)
{
    (void)state;
    const struct command_limits *d = &command_limits_default;
    struct op *many = calloc(COMMAND_OPS_MAX + 1, sizeof *many);
    struct op *room = calloc(COMMAND_OPS_MAX + 1, sizeof *room);
    struct command command = {.op_count = COMMAND_OPS_MAX, .ops = many};
    struct command got;
    struct buf buf;
    for (int i = 0; i <= COMMAND_OPS_MAX; i++)
        many[i] = (struct op){.kind = OP_PUT, .key = K};
    buf_init(&buf, 1 << 20);
    command_encode(&buf, &command);
    assert_int_equal(command_decode(buf_slice(&buf), d, room, COMMAND_OPS_MAX, &got, NULL), 0);
    buf_clear(&buf);
    command.op_count++;
    command_encode(&buf, &command);
    assert_int_equal(command_decode(buf_slice(&buf), d, room, COMMAND_OPS_MAX + 1, &got, NULL),
                     ERR_TOO_LARGE);
    buf_fini(&buf);
    free(many);
    free(room);
}

/* ---- results ------------------------------------------------------------------------- */

static void test_results(void **state)
{
    (void)state;
    static const struct op_result rows[] = {
        {.version = 50},
        {.version = 50,
         .has_value = true,
         .value = V,
         .number = INT64_MIN,
         .expiry_ms = UINT64_MAX},
        {.version = 50, .has_value = true}, /* there, and empty */
        {.version = 0, .number = INT64_MAX},
    };
    struct command_result in = {.version = 50, .result_count = 4, .results = rows};
    struct command_result out;
    struct op_result got[4];
    struct buf buf;
    buf_init(&buf, 1000);
    command_result_encode(&buf, &in);
    assert_int_equal(command_result_count(buf_slice(&buf)), 4);
    assert_int_equal(command_result_decode(buf_slice(&buf), got, 4, &out, NULL), 0);
    assert_true(out.status == 0 && out.version == 50 && out.result_count == 4);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(got[i].version == rows[i].version && got[i].number == rows[i].number);
        assert_true(got[i].has_value == rows[i].has_value);
        assert_true(slice_equal(got[i].value, rows[i].value));
        assert_true(got[i].expiry_ms == rows[i].expiry_ms);
    }
    assert_int_equal(command_result_decode(buf_slice(&buf), got, 3, &out, NULL), ERR_TOO_LARGE);
    buf_fini(&buf);
}

static void test_failed_result(void **state)
{
    (void)state;
    static const struct op_result one = {
        .status = ERR_CONDITION_FAILED, .version = 7, .has_value = true, .value = V};
    struct command_result in = {
        .status = ERR_CONDITION_FAILED, .failed_op = 2, .result_count = 1, .results = &one};
    struct command_result out;
    struct op_result got;
    struct buf buf;
    buf_init(&buf, 1000);
    command_result_encode(&buf, &in);
    assert_int_equal(command_result_decode(buf_slice(&buf), &got, 1, &out, NULL), 0);
    assert_int_equal(out.status, ERR_CONDITION_FAILED);
    assert_int_equal(out.failed_op, 2);
    assert_int_equal(got.status, ERR_CONDITION_FAILED);
    assert_int_equal(got.version, 7);
    buf_fini(&buf);

    /* A failure with two results, and a status above 0, are nobody's. */
    static const uint8_t two[] = {0x82, 0, 0xf1, 3, 0x92, 0x80, 0x80};
    static const uint8_t positive[] = {0x81, 0, 5};
    static const uint8_t unknown[] = {0x81, 40, 0x91, 5};
    assert_int_equal(command_result_decode(slice_of(two, 7), &got, 1, &out, NULL), ERR_CORRUPT);
    assert_int_equal(command_result_decode(slice_of(positive, 3), &got, 1, &out, NULL),
                     ERR_CORRUPT);
    assert_int_equal(command_result_decode(slice_of(unknown, 4), &got, 1, &out, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_built_step_by_step),
        cmocka_unit_test(test_stamped_in_two_pieces),
        cmocka_unit_test(test_default_limits),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_failed_result),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
