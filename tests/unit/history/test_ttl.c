/* SPDX-License-Identifier: Apache-2.0
 *
 * The judge of values that expire, against histories written by hand: times in milliseconds, and
 * a slack of 2,000 of them is allowed.
 */
#include "support/check.h"

#include <stdio.h>

#include "support/history/history.h"

enum { ROWS_MAX = 8 };

/* An operation: its completion has `more`, the rest is in both lines. */
struct row {
    const char *f;
    const char *value;  /* as it is asked for, in JSON */
    const char *result; /* NULL: as it was asked for */
    unsigned from_ms, to_ms;
    const char *type;
    unsigned ttl_ms;
    const char *more; /* members that begin with a comma */
};

struct script {
    const char *name;
    enum history_verdict want;
    const char *text; /* part of the report; NULL: any */
    struct row rows[ROWS_MAX];
};

#define WRITE(v, from, to, ttl)                                                                    \
    {                                                                                              \
        "write", v, NULL, from, to, "ok", ttl, ""                                                  \
    }
#define READ(v, from, to, left)                                                                    \
    {                                                                                              \
        "read", "null", v, from, to, "ok", 0, ",\"left_ms\":" #left                                \
    }
#define GONE(from, to)                                                                             \
    {                                                                                              \
        "read", "null", "null", from, to, "ok", 0, ""                                              \
    }

static const struct script scripts[] = {
    {"there, then gone",
     HISTORY_VALID,
     "values 1, absent for 2, late 0",
     {WRITE("1", 0, 1, 5000), READ("1", 10, 11, 4990), GONE(5001, 5002), GONE(9000, 9001)}},
    {"nothing", HISTORY_VALID, NULL, {{0}}},
    {"gone at once", HISTORY_INVALID, "early: ", {WRITE("1", 0, 1, 5000), GONE(10, 11)}},
    {"gone a little early", HISTORY_VALID, NULL, {WRITE("1", 0, 1, 5000), GONE(3100, 3200)}},
    {"gone early, as what was left tells",
     HISTORY_INVALID,
     "early: ",
     {{"write", "1", NULL, 0, 1, "info", 5000, ""}, READ("1", 9000, 9001, 4000), GONE(9900, 9901)}},
    {"early, but a clock was ahead",
     HISTORY_VALID,
     NULL,
     {WRITE("1", 0, 1, 5000), {"read", "null", "null", 10, 11, "ok", 0, ",\"ahead_ms\":3000"}}},
    {"early, and a clock was ahead only later",
     HISTORY_INVALID,
     "early: ",
     {WRITE("1", 0, 1, 5000),
      GONE(10, 11),
      {"read", "null", "null", 20, 21, "ok", 0, ",\"ahead_ms\":3600000"}}},
    {"early, but its write's clock was behind",
     HISTORY_VALID,
     NULL,
     {{"write", "1", NULL, 0, 1, "ok", 5000, ",\"behind_ms\":3000"}, GONE(10, 11)}},
    {"gone early, for it was deleted",
     HISTORY_VALID,
     NULL,
     {WRITE("1", 0, 1, 5000), {"delete", "null", NULL, 2, 3, "ok", 0, ""}, GONE(10, 11)}},
    {"gone early, for a deletion of unknown outcome",
     HISTORY_VALID,
     NULL,
     {WRITE("1", 0, 1, 5000), {"delete", "null", NULL, 2, 3, "info", 0, ""}, GONE(10, 11)}},
    {"what does not expire is gone",
     HISTORY_INVALID,
     "is not linearizable",
     {WRITE("1", 0, 1, 0), GONE(99000, 99001)}},
    {"still there",
     HISTORY_INVALID,
     "late: a value, line 1, was there for line 3, though it had "
     "expired by line 1\n",
     {WRITE("1", 0, 1, 1000), READ("1", 3100, 3101, 5)}},
    {"still there, but its clock was behind",
     HISTORY_VALID,
     NULL,
     {WRITE("1", 0, 1, 1000),
      {"read", "null", "1", 3100, 3101, "ok", 0, ",\"left_ms\":5,\"behind_ms\":500"}}},
    {"still there, but its write's clock was ahead",
     HISTORY_VALID,
     NULL,
     {{"write", "1", NULL, 0, 1, "ok", 1000, ",\"ahead_ms\":500"}, READ("1", 3100, 3101, 5)}},
    {"still there, for nobody knows when it was written",
     HISTORY_VALID,
     NULL,
     {{"write", "1", NULL, 0, 1, "info", 1000, ""}, READ("1", 9000, 9001, 5)}},
    {"still there, as what was left tells",
     HISTORY_INVALID,
     "late: a value, line 1, was there for",
     {{"write", "1", NULL, 0, 1, "info", 1000, ""},
      READ("1", 9000, 9001, 5),
      READ("1", 12000, 12001, 5)}},
    {"a change met what should have been gone",
     HISTORY_INVALID,
     "late: ",
     {WRITE("1", 0, 1, 1000), {"cas", "[\"1\",\"2\"]", NULL, 3100, 3101, "ok", 0, ""}}},
    {"a refusal tells of what should have been gone",
     HISTORY_INVALID,
     "late: ",
     {WRITE("1", 0, 1, 1000),
      {"cas", "[null,\"2\"]", NULL, 3100, 3101, "fail", 0, ",\"mismatch\":true,\"seen\":\"1\""}}},
    {"more left than there ever was",
     HISTORY_INVALID,
     "left: what was read, line 3: more than it ever had, after its write, line 1\n",
     {WRITE("1", 0, 1, 1000), READ("1", 2, 3, 1001)}},
    {"it does not expire any more",
     HISTORY_INVALID,
     "left: what was read, line 3: it does not",
     {WRITE("1", 0, 1, 1000), READ("1", 2, 3, 0)}},
    {"it expires, and was not to",
     HISTORY_INVALID,
     "left: what was read, line 3: it expires",
     {WRITE("1", 0, 1, 0), READ("1", 2, 3, 7)}},
    {"it came back",
     HISTORY_INVALID,
     "came back: a value, line 1, was gone for line 3 and there for line 5\n",
     {WRITE("1", 0, 1, 1000), GONE(1500, 1501), READ("1", 1600, 1601, 1)}},
    {"gone and there at one time",
     HISTORY_VALID,
     "came back 0",
     {WRITE("1", 0, 1, 1000), GONE(990, 1010), READ("1", 995, 1005, 1)}},
    {"gone before it was written, for all that is known",
     HISTORY_VALID,
     "came back 0",
     {{"write", "1", NULL, 0, 1, "info", 1000, ""}, GONE(100, 101), READ("1", 200, 201, 900)}},
    {"one that was overwritten came back",
     HISTORY_INVALID,
     "is not linearizable",
     {WRITE("1", 0, 1, 1000), WRITE("2", 1500, 1501, 1000), GONE(2600, 2601),
      READ("1", 2700, 2701, 1)}},
    {"created twice within its time",
     HISTORY_INVALID,
     "early: ",
     {{"cas", "[null,\"1\"]", NULL, 0, 1, "ok", 9000, ""},
      {"cas", "[null,\"2\"]", NULL, 10, 11, "ok", 9000, ""}}},
    {"created again after its time",
     HISTORY_VALID,
     NULL,
     {{"cas", "[null,\"1\"]", NULL, 0, 1, "ok", 3000, ""},
      {"cas", "[null,\"2\"]", NULL, 3010, 3011, "ok", 9000, ""},
      READ("2", 3020, 3021, 8900)}},
    {"stale",
     HISTORY_INVALID,
     "is not linearizable",
     {WRITE("1", 0, 1, 9000), WRITE("2", 2, 3, 9000), READ("1", 4, 5, 8990)}},
    {"one value, twice",
     HISTORY_UNKNOWN,
     "written twice",
     {WRITE("1", 0, 1, 1000), WRITE("1", 2, 3, 1000)}},
    {"one that failed is none",
     HISTORY_VALID,
     NULL,
     {{"write", "1", NULL, 0, 1, "fail", 1000, ""},
      GONE(10, 11),
      WRITE("1", 20, 21, 1000),
      READ("1", 30, 31, 990)}},
    {"what registers do not have",
     HISTORY_UNKNOWN,
     "do not have",
     {{"frob", "1", NULL, 0, 1, "ok", 0, ""}}},
    {"versions go back over an end",
     HISTORY_INVALID,
     "is not linearizable",
     {{"write", "1", NULL, 0, 1, "ok", 1000, ",\"version\":9"},
      GONE(3100, 3101),
      {"write", "2", NULL, 3200, 3201, "ok", 1000, ",\"version\":7"}}},
};

static void write_row(struct buf *out, size_t process, const struct row *r)
{
    char ttl[32] = "";
    if (r->ttl_ms != 0)
        snprintf(ttl, sizeof ttl, ",\"ttl_ms\":%u", r->ttl_ms);
    buf_printf(out,
               "{\"process\":%zu,\"type\":\"invoke\",\"f\":\"%s\",\"key\":\"k\",\"value\":%s%s,"
               "\"time\":%llu}\n",
               process, r->f, r->value, ttl, r->from_ms * 1000000ULL);
    buf_printf(out,
               "{\"process\":%zu,\"type\":\"%s\",\"f\":\"%s\",\"key\":\"k\",\"value\":%s%s,"
               "\"time\":%llu%s}\n",
               process, r->type, r->f, r->result != NULL ? r->result : r->value, ttl,
               r->to_ms * 1000000ULL, r->more);
}

static void test_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        const struct script *s = &scripts[i];
        struct history h;
        struct history_report report;
        struct buf text;
        struct err err = {0};
        buf_init(&text, 1 << 16);
        for (size_t k = 0; k < ROWS_MAX && s->rows[k].f != NULL; k++)
            write_row(&text, k, &s->rows[k]);
        history_init(&h);
        history_report_init(&report);
        if (history_parse(&h, buf_slice(&text), &err) != 0)
            fail_msg("%s: %s", s->name, err.msg);
        history_judge_ttl(&h, &report);
        buf_append_u8(&report.text, 0);
        const char *got = (const char *)report.text.data;
        if (report.verdict != s->want || (s->text != NULL && strstr(got, s->text) == NULL))
            fail_msg("%s: %d\n%s", s->name, (int)report.verdict, got);
        history_report_fini(&report);
        history_fini(&h);
        buf_fini(&text);
    }
}

/* Values that were overwritten before their end may have ended or not, in any combination: to find
 * that nothing fits does not take a look at each. */
static void test_many_ends(void **state)
{
    enum { VALUES = 60 };
    struct history h;
    struct history_report report;
    struct buf text;
    struct err err = {0};
    (void)state;
    buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < VALUES; i++) {
        char value[8];
        unsigned at = 20 * i;
        snprintf(value, sizeof value, "%u", i);
        write_row(&text, 0, &(struct row)WRITE(value, at, at + 10, 5));
    }
    write_row(&text, 0, &(struct row)READ("7", 5000, 5001, 1));
    history_init(&h);
    history_report_init(&report);
    assert_int_equal(history_parse(&h, buf_slice(&text), &err), 0);
    history_judge_ttl(&h, &report);
    buf_append_u8(&report.text, 0);
    if (strstr((const char *)report.text.data, "is not linearizable") == NULL)
        fail_msg("%s", (const char *)report.text.data);
    assert_int_equal(report.verdict, HISTORY_INVALID);
    history_report_fini(&report);
    history_fini(&h);
    buf_fini(&text);
}

/* Spans that are none are refused as the line is read. */
static void test_spans(void **state)
{
    static const char *const bad[] = {"-1", "1.5", "\"1\"", "9999999999999999"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct history h;
        struct err err = {0};
        char line[200];
        int len = snprintf(line, sizeof line,
                           "{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"k\","
                           "\"value\":1,\"time\":1,\"ttl_ms\":%s}\n",
                           bad[i]);
        history_init(&h);
        assert_int_equal(history_parse(&h, slice_of((uint8_t *)line, (size_t)len), &err),
                         ERR_INVALID);
        assert_non_null(strstr(err.msg, "line 1: a span of time"));
        history_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_many_ends),
        cmocka_unit_test(test_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
