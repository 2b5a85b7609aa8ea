/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/json.h"

#include "base/buf.h"
#include "base/err.h"
#include "base/rng.h"

static void test_write(void **state)
{
    (void)state;
    struct buf buf;
    struct json_writer w;
    buf_init(&buf, 4096);
    json_begin(&w, &buf);
    json_object_begin(&w);
    json_key(&w, "a\"b");
    json_text(&w, "x\\y\n\x01\x7f gr\xc3\xbcn");
    json_key(&w, "list");
    json_array_begin(&w);
    json_u64(&w, UINT64_MAX);
    json_i64(&w, -5);
    json_bool(&w, true);
    json_null(&w);
    json_array_begin(&w);
    json_array_end(&w);
    json_object_begin(&w);
    json_object_end(&w);
    json_array_end(&w);
    json_bytes_member(&w, "key", slice_str("plain"));
    json_bytes_member(&w, "value", slice_of("\xff\x00", 2));
    json_key(&w, "bad");
    json_string(&w, slice_of("a\xff\xc3", 3));
    json_object_end(&w);
    static const char want[] =
        "{\"a\\\"b\":\"x\\\\y\\n\\u0001\\u007f gr\xc3\xbcn\",\"list\":[18446744073709551615,-5,"
        "true,null,[],{}],\"key\":\"plain\",\"value_b64\":\"/wA=\","
        "\"bad\":\"a\xef\xbf\xbd\xef\xbf\xbd\"}";
    assert_true(slice_equal(buf_slice(&buf), slice_str(want)));
    buf_fini(&buf);
}

/* UTF-8 where escapes make it at most twice as long. */
static void test_short_member(void **state)
{
    static const struct {
        const char *bytes;
        const char *want;
    } rows[] = {
        {"", "{\"v\":\"\"}"},
        {"plain", "{\"v\":\"plain\"}"},
        {"gr\xc3\xbcn", "{\"v\":\"gr\xc3\xbcn\"}"},
        {"\xff", "{\"v_b64\":\"/w==\"}"},
        {"\"\\\n\t\r", "{\"v\":\"\\\"\\\\\\n\\t\\r\"}"},
        {"\x01", "{\"v_b64\":\"AQ==\"}"},
        {"\x7f", "{\"v_b64\":\"fw==\"}"},
        {"wxyz\x01", "{\"v\":\"wxyz\\u0001\"}"},
        {"xyz\x01", "{\"v_b64\":\"eHl6AQ==\"}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf buf;
        struct json_writer w;
        buf_init(&buf, 4096);
        json_begin(&w, &buf);
        json_object_begin(&w);
        json_short_member(&w, "v", slice_str(rows[i].bytes));
        json_object_end(&w);
        if (!slice_equal(buf_slice(&buf), slice_str(rows[i].want)))
            fail_msg("row %zu: %.*s", i, (int)buf.len, (const char *)buf.data);
        buf_fini(&buf);
    }
}

static void test_double(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *want;
    } rows[] = {{0, "0"},
                {-0.0001, "0"},
                {1.5, "1.5"},
                {-2.25, "-2.25"},
                {0.0004, "0"},
                {0.0006, "0.001"},
                {1e15, "1000000000000000"},
                {1e300, "null"},
                {15234.5678, "15234.568"},
                {0.1, "0.1"},
                {99.9999, "100"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf buf;
        struct json_writer w;
        buf_init(&buf, 64);
        json_begin(&w, &buf);
        json_double(&w, rows[i].v);
        if (!slice_equal(buf_slice(&buf), slice_str(rows[i].want)))
            fail_msg("row %zu: %.*s", i, (int)buf.len, buf.data);
        buf_fini(&buf);
    }
}

static void test_read(void **state)
{
    (void)state;
    static const char text[] = " {\"key\": \"a\\u00fc\\ud83d\\ude00\\n\\/\", \"n\": -12, \"u\": 7,"
                               " \"o\": {\"n\": 1, \"list\": [1, [2, 3], {}]}, \"t\": true} ";
    struct json_node nodes[32];
    size_t count = 0;
    assert_int_equal(json_parse(slice_str(text), nodes, 32, &count, NULL), 0);
    assert_int_equal(count, 20);
    struct buf buf;
    buf_init(&buf, 64);
    assert_int_equal(json_node_string(json_member(nodes, 0, "key"), &buf), 0);
    assert_true(slice_equal(buf_slice(&buf), slice_str("a\xc3\xbc\xf0\x9f\x98\x80\n/")));
    int64_t n = 0;
    uint64_t u = 0;
    bool t = false;
    assert_int_equal(json_node_i64(json_member(nodes, 0, "n"), &n), 0);
    assert_int_equal(n, -12);
    assert_int_equal(json_node_u64(json_member(nodes, 0, "n"), &u), ERR_INVALID);
    assert_int_equal(json_node_u64(json_member(nodes, 0, "u"), &u), 0);
    assert_int_equal(u, 7);
    assert_int_equal(json_node_bool(json_member(nodes, 0, "t"), &t), 0);
    assert_true(t);
    const struct json_node *o = json_member(nodes, 0, "o");
    assert_int_equal(o->type, JSON_OBJECT);
    const struct json_node *list = json_member(nodes, (size_t)(o - nodes), "list");
    assert_int_equal(list->child_count, 3);
    assert_true(slice_equal(list->raw, slice_str("[1, [2, 3], {}]")));
    assert_null(json_member(nodes, 0, "list"));
    assert_null(json_member(nodes, 0, "ke"));
    assert_int_equal(json_node_string(o, &buf), ERR_INVALID);
    buf_fini(&buf);
}

static const struct {
    const char *text;
    int want;
} rows[] = {
    {"0", 0},
    {"[]", 0},
    {"{}", 0},
    {"[1,2]", 0},
    {"-0.5e+10", 0},
    {"\"\\ud800\"", 0}, /* found when it is resolved */
    {"", ERR_INVALID},
    {"  ", ERR_INVALID},
    {"[", ERR_INVALID},
    {"[1", ERR_INVALID},
    {"[1,", ERR_INVALID},
    {"[1,]", ERR_INVALID},
    {"[,1]", ERR_INVALID},
    {"[1 2]", ERR_INVALID},
    {"{\"a\"}", ERR_INVALID},
    {"{\"a\":}", ERR_INVALID},
    {"{\"a\":1,}", ERR_INVALID},
    {"{\"a\",1}", ERR_INVALID},
    {"{1:2}", ERR_INVALID},
    {"{a:2}", ERR_INVALID},
    {"]", ERR_INVALID},
    {"[}", ERR_INVALID},
    {"{\"a\":1]", ERR_INVALID},
    {"1 2", ERR_INVALID},
    {"01", ERR_INVALID},
    {"1.", ERR_INVALID},
    {".5", ERR_INVALID},
    {"-", ERR_INVALID},
    {"1e", ERR_INVALID},
    {"+1", ERR_INVALID},
    {"nul", ERR_INVALID},
    {"tru", ERR_INVALID},
    {"\"", ERR_INVALID},
    {"\"a", ERR_INVALID},
    {"\"\\\"", ERR_INVALID},
    {"\"\\x\"", ERR_INVALID},
    {"\"\\u12g4\"", ERR_INVALID},
    {"\"\\u12\"", ERR_INVALID},
    {"\"\n\"", ERR_INVALID},
    {"\"\xff\"", ERR_INVALID},
    {"[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", 0},
    {"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", ERR_TOO_LARGE},
    {"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]", 0},
    {"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]", ERR_TOO_LARGE},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_node nodes[20];
        size_t count = 77;
        struct err err = {0};
        int rv = json_parse(slice_str(rows[i].text), nodes, ARRAY_LEN(nodes), &count, &err);
        if (rv != rows[i].want || (rv != 0) != (count == 77))
            fail_msg("'%s': %d (%s)", rows[i].text, rv, err.msg);
    }
}

static void test_half_surrogates(void **state)
{
    (void)state;
    static const char *const texts[] = {"\"\\ud800\"", "\"\\ud800x\"", "\"\\udc00\"",
                                        "\"\\ud800\\u0041\"", "\"\\ud800\\n12345\""};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct json_node node;
        size_t count;
        struct buf buf;
        buf_init(&buf, 64);
        assert_int_equal(json_parse(slice_str(texts[i]), &node, 1, &count, NULL), 0);
        assert_int_equal(json_node_string(&node, &buf), ERR_INVALID);
        buf_fini(&buf);
    }
}

/* Any bytes whatever: an error or a tree that can be walked, nothing else. */
static void test_mutations(void **state)
{
    (void)state;
    static const char seed_text[] =
        "{\"key\":\"a\\u00fc\",\"value\":[1,-2.5e3,true,null,{\"x\":{}}]}";
    struct rng rng;
    rng_init(&rng, 11);
    for (int round = 0; round < 20000; round++) {
        char text[sizeof seed_text];
        memcpy(text, seed_text, sizeof text);
        size_t len = rng_between(&rng, 0, sizeof text - 1);
        for (uint64_t flips = rng_below(&rng, 4); flips > 0 && len > 0; flips--)
            text[rng_below(&rng, len)] = "{}[]:,\"\\u019ae.- "[rng_below(&rng, 18)];
        struct json_node nodes[24];
        size_t count = 0;
        if (json_parse(slice_of(text, len), nodes, ARRAY_LEN(nodes), &count, NULL) != 0)
            continue;
        struct buf buf;
        buf_init(&buf, 256);
        for (size_t i = 0; i < count; i++) {
            (void)json_member(nodes, i, "value");
            (void)json_node_string(&nodes[i], &buf);
            assert_true(nodes[i].next > i && nodes[i].next <= count);
        }
        buf_fini(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),     cmocka_unit_test(test_short_member),
        cmocka_unit_test(test_double),    cmocka_unit_test(test_read),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_half_surrogates),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
