/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include "base/args.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

struct options {
    bool json;
    bool is_count_given;
    const char *dir;
    uint64_t count;
    int64_t delta;
    uint64_t size;
    uint64_t wait_us;
};

/* Split `line` at blanks and parse it; words come back joined by '|'. */
static int parse(const char *line, struct options *o, char *ret_words, struct err *err)
{
    const struct args_flag flags[] = {
        {"json", 'j', ARGS_SWITCH, &o->json, NULL, NULL, "print JSON"},
        {"dir", 'd', ARGS_TEXT, &o->dir, NULL, "DIR", "folder"},
        {"count", 0, ARGS_U64, &o->count, &o->is_count_given, "N", "how many"},
        {"delta", 0, ARGS_I64, &o->delta, NULL, "N", NULL},
        {"size", 0, ARGS_SIZE, &o->size, NULL, "SIZE", "bytes"},
        {"wait", 0, ARGS_DURATION, &o->wait_us, NULL, "TIME", "how long"},
    };
    static char copy[256];
    const char *argv[16];
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *p = copy, *save; (p = strtok_r(p, " ", &save)) != NULL; p = NULL)
        argv[argc++] = p;
    const char *words[3];
    size_t count = 99;
    int rv = args_parse(flags, ARRAY_LEN(flags), argc, argv, words, ARRAY_LEN(words), &count, err);
    ret_words[0] = 0;
    for (size_t i = 0; rv == 0 && i < count; i++) {
        strncat(ret_words, words[i], 32);
        strncat(ret_words, "|", 2);
    }
    if (rv != 0)
        assert_int_equal(count, 99);
    return rv;
}

static void test_good(void **state)
{
    (void)state;
    char words[128];
    struct options o = {0};
    assert_int_equal(parse("a --json --dir x --count=7 b --delta -3", &o, words, NULL), 0);
    assert_string_equal(words, "a|b|");
    assert_true(o.json);
    assert_string_equal(o.dir, "x");
    assert_true(o.count == 7 && o.is_count_given && o.delta == -3);

    o = (struct options){0};
    assert_int_equal(parse("-j -d y --size 4KiB --wait=10ms -- --dir -5", &o, words, NULL), 0);
    assert_string_equal(words, "--dir|-5|");
    assert_true(o.json && o.size == 4096 && o.wait_us == 10000 && !o.is_count_given);
    assert_string_equal(o.dir, "y");

    o = (struct options){0};
    assert_int_equal(parse("- -5 --dir= --count 1 --count 2", &o, words, NULL), 0);
    assert_string_equal(words, "-|-5|");
    assert_string_equal(o.dir, "");
    assert_true(o.count == 2);
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"--nonsense", "unknown flag '--nonsense'"},
        {"--nonsense=4", "unknown flag '--nonsense'"},
        {"-x", "unknown flag '-x'"},
        {"-jd", "unknown flag '-jd'"},
        {"--js", "unknown flag '--js'"},
        {"--json=1", "--json takes no value"},
        {"--count", "--count needs a value (N)"},
        {"--count ten", "--count wants a number, not 'ten'"},
        {"--count -1", "--count wants a number, not '-1'"},
        {"--size 4parsecs", "--size wants a size such as 64MiB, not '4parsecs'"},
        {"--wait 5", "--wait wants a duration such as 10ms, not '5'"},
        {"a b c d", "unexpected 'd'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char words[128];
        struct options o = {0};
        struct err err = {0};
        int rv = parse(rows[i][0], &o, words, &err);
        assert_int_equal(rv, ERR_INVALID);
        assert_string_equal(err.msg, rows[i][1]);
    }
}

static void test_help(void **state)
{
    (void)state;
    bool json;
    const char *dir;
    const struct args_flag flags[] = {
        {"json", 'j', ARGS_SWITCH, &json, NULL, NULL, "print JSON"},
        {"dir", 0, ARGS_TEXT, &dir, NULL, "DIR", "folder"},
        {"secret", 0, ARGS_TEXT, &dir, NULL, "X", NULL},
    };
    struct buf buf;
    buf_init(&buf, 1024);
    args_help(flags, ARRAY_LEN(flags), &buf);
    assert_true(slice_equal(buf_slice(&buf), slice_str("  -j, --json     print JSON\n"
                                                       "      --dir DIR  folder\n")));
    buf_fini(&buf);
}

/* A long text goes on below itself; a word is never cut. */
static void test_long_help(void **state)
{
    (void)state;
    bool json = false;
    char word[130];
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = 0;
    const struct args_flag flags[] = {
        {"json", 'j', ARGS_SWITCH, &json, NULL, NULL,
         "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 "
         "0123456789 end"},
        {"word", 0, ARGS_SWITCH, &json, NULL, NULL, word},
    };
    struct buf buf;
    buf_init(&buf, 1024);
    args_help(flags, ARRAY_LEN(flags), &buf);
    buf_append_u8(&buf, 0);
    assert_non_null(strstr((const char *)buf.data,
                           "  -j, --json  0123456789 0123456789 0123456789 0123456789 0123456789 "
                           "0123456789 0123456789\n              0123456789 end\n"));
    assert_non_null(strstr((const char *)buf.data, word));
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_long_help),
    };
    return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
