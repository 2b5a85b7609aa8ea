/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>

#include "../tools/holdfast/compare.h"

enum { PARTS_MAX = 16 };

/* A check written down: "c3 f4 -5": parts with their last key, a digit for keys and
 * sum alike; '-' is the last. */
struct made {
    struct hf_check check;
    struct hf_check_part parts[PARTS_MAX];
    char keys[PARTS_MAX][2];
};

static const struct hf_check *make(struct made *m, const char *text)
{
    char key;
    unsigned n;
    int used;
    *m = (struct made){.check = {.state = HF_CHECK_DONE, .index = 20, .term = 3}};
    m->check.parts = m->parts;
    for (; sscanf(text, " %c%u%n", &key, &n, &used) == 2; text += used) {
        size_t i = m->check.part_count++;
        assert_true(i < PARTS_MAX);
        m->keys[i][0] = key;
        m->parts[i] =
            (struct hf_check_part){.is_last = key == '-', .keys = n, .sum = {n, 3 * (uint64_t)n}};
        if (key != '-')
            m->parts[i].last = (struct hf_bytes){m->keys[i], 1};
        m->check.keys += n;
        m->check.sum[0] += m->parts[i].sum[0];
        m->check.sum[1] += m->parts[i].sum[1];
    }
    assert_true(m->parts[m->check.part_count - 1].is_last);
    return &m->check;
}

static char end_of(const struct hf_check_part *part)
{
    if (part == NULL)
        return '^';
    return part->is_last ? '-' : *(const char *)part->last.data;
}

static const struct {
    const char *a;
    const char *b;
    const char *want; /* "after last keys/keys" for each stretch */
} rows[] = {
    {"-0", "-0", ""},
    {"c3 f4 -5", "c3 f4 -5", ""},
    {"c3 f4 -5", "c3 f6 -5", "cf 4/6 "},
    {"c3 f4 -5", "c2 f4 -5", "^c 3/2 "},
    {"c3 f4 -5", "c3 f4 -6", "f- 5/6 "},
    {"-5", "-6", "^- 5/6 "},
    /* cut at different keys, the same in sum */
    {"c3 f4 -5", "f7 -5", ""},
    {"c3 f4 -5", "-12", ""},
    {"b1 d2 h3 -4", "c9 h0 -1", "^- 10/10 "},
    {"c3 e1 f4 -5", "c3 d2 f4 -5", "cf 5/6 "},
    /* neighbours are one stretch; others are not */
    {"b1 c1 d1 e1 -1", "b1 c2 d2 e1 -1", "bd 2/4 "},
    {"b1 c1 d1 e1 -1", "b2 c1 d2 e1 -2", "^b 1/2 cd 1/2 e- 1/2 "},
    {"b1 c1 d1 -1", "b2 c2 d2 -2", "^- 4/8 "},
};

static void test_stretches(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct made a, b;
        struct compare_stretch s[PARTS_MAX];
        char got[256] = "";
        size_t n = compare_stretches(make(&a, rows[i].a), make(&b, rows[i].b), s, PARTS_MAX);
        for (size_t k = 0; k < n; k++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%c%c %llu/%llu ",
                     end_of(s[k].after), end_of(s[k].last), (unsigned long long)s[k].keys_a,
                     (unsigned long long)s[k].keys_b);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s | %s: %s, want %s", rows[i].a, rows[i].b, got, rows[i].want);
    }
}

/* More stretches than there is room for are counted. */
static void test_many_stretches(void **state)
{
    (void)state;
    struct made a, b;
    struct compare_stretch s[2];
    make(&a, "b1 c1 d1 e1 f1 g1 -1");
    make(&b, "b2 c1 d2 e1 f2 g1 -2");
    assert_int_equal(compare_stretches(&a.check, &b.check, s, 2), 4);
    assert_int_equal(end_of(s[1].last), 'd');
    assert_int_equal(compare_stretches(&a.check, &b.check, NULL, 0), 4);
}

/* Keyspaces come before keys. */
static void test_keyspaces(void **state)
{
    (void)state;
    struct made a, b;
    struct compare_stretch s[4];
    make(&a, "z1 c2 -3");
    make(&b, "z1 c3 -3");
    a.parts[1].keyspace = b.parts[1].keyspace = 7;
    assert_int_equal(compare_stretches(&a.check, &b.check, s, 4), 1);
    assert_int_equal(end_of(s[0].after), 'z');
    assert_int_equal(s[0].last->keyspace, 7);
}

static void test_differences(void **state)
{
    (void)state;
    struct made a, b;
    make(&a, "c3 -1");
    make(&b, "c3 -1");
    assert_int_equal(compare_checks(&a.check, &b.check), 0);
    b.check.term++;
    assert_int_equal(compare_checks(&a.check, &b.check), COMPARE_TERM);
    b.check.history++;
    assert_int_equal(compare_checks(&a.check, &b.check), COMPARE_TERM | COMPARE_HISTORY);
    make(&b, "c3 -1");
    b.check.meta++;
    assert_int_equal(compare_checks(&a.check, &b.check), COMPARE_META);
    make(&b, "c3 -1");
    b.check.version++;
    assert_int_equal(compare_checks(&a.check, &b.check), COMPARE_META);
    make(&b, "c3 -1");
    b.check.sum[1]++;
    assert_int_equal(compare_checks(&a.check, &b.check), COMPARE_KEYS);
    make(&b, "c3 -1");
    b.check.bytes++;
    assert_int_equal(compare_checks(&a.check, &b.check), COMPARE_KEYS);
}

/* A letter is a state, '.' one that did not answer; then the groups. */
static const struct {
    const char *replicas;
    const char *want;
} groups[] = {
    {"", ""},         {"a", "0"},         {".", "."},
    {"aaa", "000"},   {"aba", "010"},     {"abb", "100"},
    {"ab", "01"},     {"abc", "012"},     {"a.a", "0.0"},
    {".ab", ".01"},   {"abcbc", "20101"}, {"..b", "..0"},
    {"aabb", "0011"}, {"abbcc", "20011"}, {"abababa", "0101010"},
};

static void test_groups(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        struct made m[COMPARE_REPLICAS_MAX];
        const struct hf_check *checks[COMPARE_REPLICAS_MAX] = {0};
        size_t got[COMPARE_REPLICAS_MAX];
        size_t count = strlen(groups[i].replicas);
        size_t most = 0;
        for (size_t k = 0; k < count; k++) {
            make(&m[k], "c3 -1");
            m[k].check.sum[0] += (uint64_t)groups[i].replicas[k];
            checks[k] = groups[i].replicas[k] == '.' ? NULL : &m[k].check;
        }
        size_t n = compare_groups(checks, count, got);
        for (size_t k = 0; k < count; k++) {
            size_t want = groups[i].want[k] == '.' ? SIZE_MAX : (size_t)(groups[i].want[k] - '0');
            if (got[k] != want)
                fail_msg("%s: replica %zu is in %zu", groups[i].replicas, k, got[k]);
            most = want != SIZE_MAX && want + 1 > most ? want + 1 : most;
        }
        assert_int_equal(n, most);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stretches), cmocka_unit_test(test_many_stretches),
        cmocka_unit_test(test_keyspaces), cmocka_unit_test(test_differences),
        cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests_name("compare", tests, NULL, NULL);
}
