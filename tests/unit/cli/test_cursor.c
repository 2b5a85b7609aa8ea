/* SPDX-License-Identifier: Apache-2.0 */
/* The cursor of an import or export: what is refused of it. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../tools/holdfast/cursor.h"

static const struct cursor stands = {
    .offset = 1048576, .line = 12001, .records = 12000, .bytes = 983040, .sum = 0x8f1c2a07};
static const struct cursor_of import_of = {
    .kind = "import", .cluster_id = UINT64_C(0x88000101cf3b2a90), .keyspace = 65536};

static char folder[] = "/tmp/holdfast-cursor-XXXXXX";
static char path[64];

static void write_file(const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int load(const struct cursor_of *of, struct cursor *ret_cursor)
{
    struct err err = {0};
    int rv = cursor_load(path, of, ret_cursor, &err);
    assert_true((rv == 0) == (err.msg[0] == 0));
    return rv;
}

static bool is_as_it_stands(const struct cursor *got)
{
    return got->offset == stands.offset && got->line == stands.line &&
           got->records == stands.records && got->bytes == stands.bytes && got->sum == stands.sum;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct cursor got = {0};
    struct err err = {0};
    unlink(path);
    assert_int_equal(load(&import_of, &got), ERR_NOT_FOUND);
    assert_int_equal(cursor_save(path, &import_of, &stands, &err), 0);
    assert_int_equal(load(&import_of, &got), 0);
    assert_true(is_as_it_stands(&got));
}

/* As the header shows it: other builds read it, too. */
static void test_format(void **state)
{
    (void)state;
    struct cursor got = {0};
    write_file("holdfast-cursor 2\n"
               "import offset=1048576 line=12001 records=12000 bytes=983040 sum=8f1c2a07\n"
               "of cluster=88000101cf3b2a90 keyspace=65536 span=00000000\n");
    assert_int_equal(load(&import_of, &got), 0);
    assert_true(is_as_it_stands(&got));
}

static const struct {
    const char *name;
    const char *text;
    int want;
} damage[] = {
    {"empty", "", ERR_CORRUPT},
    {"of something else", "holdfast-cursor 3\n", ERR_CORRUPT},
    {"of before", "holdfast-cursor 1\nimport offset=1 line=1 records=1 bytes=1 sum=00000001\n",
     ERR_UNSUPPORTED},
    {"cut short",
     "holdfast-cursor 2\nimport offset=1 line=1 records=1 bytes=1 sum=00000001\n"
     "of cluster=88000101cf3b2a90 keyspace=65536 span=00000000",
     ERR_CORRUPT},
    {"without a last line",
     "holdfast-cursor 2\nimport offset=1 line=1 records=1 bytes=1 sum=00000001\n", ERR_CORRUPT},
    {"more behind it",
     "holdfast-cursor 2\nimport offset=1 line=1 records=1 bytes=1 sum=00000001\n"
     "of cluster=88000101cf3b2a90 keyspace=65536 span=00000000\nx",
     ERR_CORRUPT},
    {"an export's",
     "holdfast-cursor 2\nexport offset=1 line=1 records=1 bytes=1 sum=00000001\n"
     "of cluster=88000101cf3b2a90 keyspace=65536 span=00000000\n",
     ERR_CORRUPT},
    {"of another cluster",
     "holdfast-cursor 2\nimport offset=1 line=1 records=1 bytes=1 sum=00000001\n"
     "of cluster=88000101cf3b2a91 keyspace=65536 span=00000000\n",
     ERR_INVALID},
    {"of another keyspace",
     "holdfast-cursor 2\nimport offset=1 line=1 records=1 bytes=1 sum=00000001\n"
     "of cluster=88000101cf3b2a90 keyspace=0 span=00000000\n",
     ERR_INVALID},
    {"of other keys",
     "holdfast-cursor 2\nimport offset=1 line=1 records=1 bytes=1 sum=00000001\n"
     "of cluster=88000101cf3b2a90 keyspace=65536 span=00000001\n",
     ERR_INVALID},
};

static void test_damage(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(damage); i++) {
        struct cursor got = stands;
        write_file(damage[i].text);
        int rv = load(&import_of, &got);
        if (rv != damage[i].want)
            fail_msg("%s: got %d", damage[i].name, rv);
        assert_true(is_as_it_stands(&got)); /* untouched */
    }
}

/* Bounds are told apart also where they are the same bytes, cut elsewhere. */
static void test_span_sum(void **state)
{
    (void)state;
    uint32_t sum = cursor_span_sum(slice_str("ab"), slice_str("c"));
    assert_true(sum == cursor_span_sum(slice_str("ab"), slice_str("c")));
    assert_true(sum != cursor_span_sum(slice_str("a"), slice_str("bc")));
    assert_true(sum != cursor_span_sum(slice_str("abc"), (struct slice){0}));
    assert_true(sum != cursor_span_sum((struct slice){0}, slice_str("abc")));
}

/* A path in the folder, by one of its names. */
static char *in_folder(char text[96], const char *name)
{
    snprintf(text, 96, "%s/%s", folder, name);
    return text;
}

static bool clashes(const char *cursor, const char *stream)
{
    char a[96], b[96];
    return cursor_clashes(in_folder(a, cursor), in_folder(b, stream));
}

static const struct {
    const char *cursor;
    const char *stream;
    bool want;
} pairs[] = {
    {"c", "c", true},          {"c", "./c", true},     {"c", "c.new", true},
    {"c", ".//c.new", true},   {"c.new", "c", true},   {"c", "d", false},
    {"c", "c.new.new", false}, {"c", "none/c", false}, {"c", "d.new", false},
};

/* Whether they are there or not. */
static void test_cursor_and_stream_are_two(void **state)
{
    char a[96];
    (void)state;
    for (int i = 0; i < 3; i++) {
        for (size_t p = 0; p < ARRAY_LEN(pairs); p++)
            assert_int_equal(clashes(pairs[p].cursor, pairs[p].stream), pairs[p].want);
        FILE *file = fopen(in_folder(a, i == 0 ? "c" : "c.new"), "wb");
        assert_non_null(file);
        fclose(file);
    }
    assert_int_equal(symlink("c", in_folder(a, "link")), 0);
    assert_true(clashes("c", "link") && !clashes("link", "c.new"));
    unlink(in_folder(a, "link"));
    unlink(in_folder(a, "c"));
    unlink(in_folder(a, "c.new"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_span_sum),
        cmocka_unit_test(test_cursor_and_stream_are_two),
    };
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof path, "%s/cursor", folder);
    int failed = cmocka_run_group_tests_name("cursor", tests, NULL, NULL);
    unlink(path);
    rmdir(folder);
    return failed;
}
