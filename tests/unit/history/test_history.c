/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader against damaged lines; each judge against histories written by hand, good
 * and bad.
 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "support/history/history.h"

/* ---- the reader ---------------------------------------------------------------------- */

#define INVOKE "{\"process\":1,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"a\",\"time\":10}\n"
#define OK(more) "{\"process\":1,\"type\":\"ok\",\"f\":\"read\",\"time\":20" more "}\n"

#define INFO "{\"process\":1,\"type\":\"info\",\"f\":\"read\",\"time\":20}\n"

static const struct {
    const char *text;
    const char *want; /* NULL: fine; else part of the error */
} lines[] = {
    {"", NULL},
    {"\n\r\n", NULL},
    {INVOKE OK(",\"value\":null"), NULL},
    {INVOKE OK(",\"value\":\"x\",\"version\":7,\"key\":\"a\""), NULL},
    {INVOKE OK(",\"value\":[1,\"b\",null]"), NULL},
    {INVOKE OK(",\"more\":{\"x\":[1]}"), NULL},
    {INVOKE, NULL},
    {INVOKE "{", "line 2: "},
    {"[]", "line 1: no JSON object"},
    {"5\n", "line 1: no JSON object"},
    {"{}", "\"process\" is missing"},
    {"{\"process\":\"1\"}", "\"process\" is missing"},
    {"{\"process\":1.5}", "\"process\" is missing"},
    {"{\"process\":1,\"type\":3}", "\"type\" is missing"},
    {"{\"process\":1,\"type\":\"ok\"}", "\"f\" is missing"},
    {"{\"process\":1,\"type\":\"ok\",\"f\":\"\",\"time\":1}", "\"f\" is missing"},
    {"{\"process\":1,\"type\":\"ok\",\"f\":\"read\"}", "\"time\" is missing"},
    {"{\"process\":1,\"type\":\"ok\",\"f\":\"read\",\"time\":-1}", "\"time\" is missing"},
    {"{\"process\":1,\"type\":\"ok\",\"f\":\"read\",\"time\":18446744073709551615}", "\"time\""},
    {"{\"process\":1,\"type\":\"done\",\"f\":\"read\",\"time\":1}", "\"type\" is not"},
    {OK(""), "completes what was not begun"},
    {INVOKE INVOKE, "line 2: the process is not done"},
    {INVOKE OK("") OK(""), "line 3: it completes what was not begun"},
    {INVOKE "{\"process\":1,\"type\":\"ok\",\"f\":\"write\",\"time\":20}", "another operation"},
    {INVOKE "{\"process\":1,\"type\":\"ok\",\"f\":\"read\",\"key\":\"b\",\"time\":20}",
     "another operation"},
    {INVOKE "{\"process\":1,\"type\":\"ok\",\"f\":\"read\",\"time\":9}", "ends before it began"},
    {INVOKE INFO, NULL},
    {INVOKE INFO INVOKE, "line 3: the process goes on after"},
    {INVOKE INFO "{\"process\":2,\"type\":\"invoke\",\"f\":\"read\",\"time\":30}\n", NULL},
    {INVOKE OK(",\"value\":{}"), "\"value\" is no"},
    {INVOKE OK(",\"value\":true"), "\"value\" is no"},
    {INVOKE OK(",\"value\":1.5"), "\"value\" is no"},
    {INVOKE OK(",\"value\":[[1],[[[\"x\"]]]]"), NULL},
    {INVOKE OK(",\"value\":[[[[[1]]]]]"), "\"value\" is no"},
    {INVOKE OK(",\"value\":\"\\ud800\""), "\"value\" is no"},
    {INVOKE OK(",\"version\":-1"), "\"version\" is no"},
    {INVOKE OK(",\"version\":\"7\""), "\"version\" is no"},
    {INVOKE OK(",\"seen\":[]"), "\"seen\" is no"},
    {INVOKE OK(",\"number\":\"1\""), "\"number\" is no"},
    {INVOKE OK(",\"mismatch\":1"), "\"mismatch\" is"},
    {INVOKE OK(",\"change\":-1"), "\"change\" is no"},
    {INVOKE OK(",\"stamp\":7"), "\"stamp\" is no"},
};

static void test_reader(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct history h;
        struct err err = {0};
        history_init(&h);
        int rv = history_parse(&h, slice_str(lines[i].text), &err);
        bool is_right = lines[i].want == NULL
                            ? rv == 0
                            : rv == ERR_INVALID && strstr(err.msg, lines[i].want) != NULL;
        if (!is_right)
            fail_msg("%s: %d %s", lines[i].text, rv, err.msg);
        history_fini(&h);
    }
}

static void test_reader_fields(void **state)
{
    (void)state;
    struct history h;
    history_init(&h);
    const char *text = INVOKE OK(
        ",\"value\":[-5,\"\\u00e4\",null],\"version\":7,\"number\":-3") "{\"process\":-2,\"type\":"
                                                                        "\"invoke\",\"f\":\"add\","
                                                                        "\"value\":9,\"time\":30}"
                                                                        "\n";
    assert_int_equal(history_parse(&h, slice_str(text), NULL), 0);
    assert_int_equal(h.count, 2);
    const struct history_op *op = &h.ops[0];
    assert_true(op->process == 1 && op->outcome == HISTORY_OK && op->line == 1);
    assert_true(op->invoke_ns == 10 && op->return_ns == 20 && op->version == 7);
    assert_true(op->has_number && op->number == -3 && !op->has_seen);
    assert_true(slice_equal(op->key, slice_str("a")));
    assert_int_equal(op->result.count, 3);
    assert_true(op->result.list[0].type == HISTORY_NUMBER && op->result.list[0].number == -5);
    assert_true(slice_equal(op->result.list[0].text, slice_str("-5")));
    assert_true(slice_equal(op->result.list[1].text, slice_str("\xc3\xa4")));
    assert_int_equal(op->result.list[2].type, HISTORY_NULL);
    op = &h.ops[1];
    assert_true(op->process == -2 && op->outcome == HISTORY_INFO && op->return_ns == UINT64_MAX);
    history_fini(&h);
}

/* Cut off anywhere, or one byte changed: an error or a history, nothing worse. */
static void test_reader_mutations(void **state)
{
    (void)state;
    const char *good = INVOKE OK(",\"value\":[1,\"x\"],\"version\":7");
    struct rng rng;
    char text[512];
    rng_init(&rng, 3);
    for (int i = 0; i < 5000; i++) {
        struct history h;
        struct history_report report;
        size_t len = strlen(good);
        memcpy(text, good, len);
        for (uint64_t n = rng_below(&rng, 3); n > 0; n--)
            text[rng_below(&rng, len)] = (char)rng_below(&rng, 256);
        len = rng_chance(&rng, 1, 2) ? rng_below(&rng, len) : len;
        history_init(&h);
        history_report_init(&report);
        if (history_parse(&h, slice_of((uint8_t *)text, len), NULL) == 0) {
            history_judge_register(&h, &report);
            history_judge_set(&h, &report);
            history_judge_counter(&h, &report);
            history_judge_append(&h, &report);
            history_judge_bank(&h, &report);
            history_judge_session(&h, &report);
            history_judge_ttl(&h, &report);
            history_judge_scan(&h, &report);
            history_judge_watch(&h, &report);
        }
        history_report_fini(&report);
        history_fini(&h);
    }
}

/* ---- the judges ------------------------------------------------------------------------
 *
 * A word is an operation: "process f value from-to", '?' behind it for info, '!' for
 * fail; written out as JSON before it is read.
 */

struct script {
    const char *name;
    void (*judge)(const struct history *h, struct history_report *report);
    const char *ops; /* "0 write 1 0-5; …": JSON values without blanks,
                        ok's value behind '='; then key, version, stamp and more members of the
                        completion, if they matter */
    enum history_verdict want;
    const char *text; /* part of the report; NULL: any */
};

static const struct script scripts[] = {
    {"read what was written", history_judge_register, "0 write \"x\" 0-5;1 read null=\"x\" 6-7",
     HISTORY_VALID, "keys 1"},
    {"stale", history_judge_register, "0 write \"x\" 0-5;0 write \"y\" 6-7;1 read null=\"x\" 8-9",
     HISTORY_INVALID, "is not linearizable"},
    {"unknown write seen late", history_judge_register,
     "0 write 1 0-5?;1 read null=null 6-7;1 read null=1 8-9", HISTORY_VALID, NULL},
    {"versions go back", history_judge_register,
     "0 write 1 0-1 k 9;0 write 2 2-3 k 5;1 read null=2 4-5 k 5", HISTORY_INVALID, NULL},
    {"versions left aside", history_judge_plain_register,
     "0 write 1 0-1 k 9;0 write 2 2-3 k 5;1 read null=2 4-5 k 5", HISTORY_VALID, NULL},
    {"stale, versions left aside", history_judge_plain_register,
     "0 write 1 0-1;0 write 2 2-3;1 read null=1 4-5", HISTORY_INVALID, NULL},
    {"failed write seen", history_judge_register, "0 write 1 0-5!;1 read null=1 8-9",
     HISTORY_INVALID, NULL},
    {"cas", history_judge_register, "0 write 1 0-1;0 cas [1,2] 2-3;1 read null=2 4-5",
     HISTORY_VALID, NULL},
    {"cas of nonsense", history_judge_register, "0 cas 1 0-1", HISTORY_UNKNOWN, "[expected"},
    {"cas by version of nonsense", history_judge_register, "0 cas-version [\"a\",2] 0-1",
     HISTORY_UNKNOWN, "above 0"},
    {"a list in a register", history_judge_register, "0 write [1] 0-1", HISTORY_UNKNOWN, "a list"},
    {"increment", history_judge_register, "0 increment 2 0-1;0 increment 3 2-3;1 read null=5 4-5",
     HISTORY_VALID, NULL},
    {"increment lost", history_judge_register,
     "0 increment 2 0-1;0 increment 3 2-3;1 read null=3 4-5", HISTORY_INVALID, NULL},
    {"append", history_judge_register,
     "0 append \"a\" 0-9;1 append \"b\" 0-9;2 read null=\"ba\" 10-11", HISTORY_VALID, NULL},
    {"unknown f", history_judge_register, "0 frob 1 0-1", HISTORY_UNKNOWN, "do not have"},
    {"nothing", history_judge_register, "", HISTORY_VALID, NULL},

    {"set", history_judge_set, "0 add 1 0-1;1 add 2 0-5;0 read null=[1] 2-3;0 read null=[1,2] 6-7",
     HISTORY_VALID, "lost 0, stale 0"},
    {"lost", history_judge_set, "0 add 1 0-1;0 add 2 2-3;0 read null=[2] 4-5", HISTORY_INVALID,
     "lost: element '1', line 1, missed by line 5\n"},
    {"lost after it was seen", history_judge_set,
     "0 add 1 0-9?;1 read null=[1] 2-3;1 read null=[] 4-5;1 read null=[] 6-7", HISTORY_INVALID,
     "lost: element '1', line 1, seen by line 2, missed by line 6\n"},
    {"stale read", history_judge_set, "0 add 1 0-1;0 read null=[] 2-3;0 read null=[1] 4-5",
     HISTORY_VALID, "stale 1"},
    {"from nowhere", history_judge_set, "0 add 1 0-1;0 read null=[1,7] 2-3", HISTORY_INVALID,
     "from nowhere: element '7'"},
    {"from a failed add", history_judge_set, "0 add 1 0-1!;0 read null=[1] 2-3", HISTORY_INVALID,
     "from nowhere"},
    {"failed, then added", history_judge_set, "0 add 1 0-1!;0 add 1 2-3;0 read null=[1] 4-5",
     HISTORY_VALID, NULL},
    {"from the future", history_judge_set, "1 read null=[1] 0-1;0 add 1 2-3", HISTORY_INVALID,
     "from nowhere"},
    {"concurrent add seen", history_judge_set, "1 read null=[1] 0-3;0 add 1 2-5", HISTORY_VALID,
     NULL},
    {"unknown add, not seen", history_judge_set, "0 add 1 0-1?;1 read null=[] 2-3", HISTORY_VALID,
     NULL},
    {"twice", history_judge_set, "0 add 1 0-1;0 read null=[1,1] 2-3", HISTORY_INVALID, "twice"},
    {"no read", history_judge_set, "0 add 1 0-1", HISTORY_UNKNOWN, "reads 0"},
    {"a set of one", history_judge_set, "0 add 1 0-1;0 read null=1 2-3", HISTORY_UNKNOWN,
     "not what sets have"},

    {"counter", history_judge_counter, "0 add 1 0-1;0 add 2 2-3;1 read null=3 4-5", HISTORY_VALID,
     "reads judged 1"},
    {"too little", history_judge_counter, "0 add 1 0-1;0 add 2 2-3;1 read null=2 4-5",
     HISTORY_INVALID, "it can be 3 to 3"},
    {"too much", history_judge_counter, "0 add 1 0-1;1 read null=2 4-5;0 add 1 6-7",
     HISTORY_INVALID, "it can be 1 to 1"},
    {"concurrent", history_judge_counter, "0 add 5 0-9;1 read null=0 1-2;2 read null=5 1-2",
     HISTORY_VALID, NULL},
    {"unknown", history_judge_counter, "0 add 5 0-1?;1 read null=0 2-3;1 read null=5 4-5",
     HISTORY_VALID, NULL},
    {"failed", history_judge_counter, "0 add 5 0-1!;1 read null=5 2-3", HISTORY_INVALID, NULL},
    {"down", history_judge_counter, "0 add 5 0-1;0 add -3 2-9;1 read null=5 3-4;2 read null=2 3-4",
     HISTORY_VALID, NULL},
    {"down too far", history_judge_counter, "0 add 5 0-1;0 add -3 2-9;1 read null=1 3-4",
     HISTORY_INVALID, "2 to 5"},
    {"absent is 0", history_judge_counter, "1 read null=null 0-1", HISTORY_VALID, NULL},
    {"no reads", history_judge_counter, "0 add 5 0-1", HISTORY_UNKNOWN, NULL},
    {"text", history_judge_counter, "0 add \"x\" 0-1", HISTORY_UNKNOWN, "not what counters"},

    {"strict set", history_judge_strict_set,
     "0 add 1 0-1;1 add 2 0-5;0 read null=[1] 2-3;0 read null=[1,2] 6-7", HISTORY_VALID, "stale 0"},
    {"stale in a strict set", history_judge_strict_set,
     "0 add 1 0-1;0 read null=[] 2-3;0 read null=[1] 4-5", HISTORY_INVALID,
     "stale: element '1', line 1, missed by line 3\n"},
    {"sent twice, happened once", history_judge_session, "0 add 1 0-1;0 read null=[1] 2-3",
     HISTORY_VALID, NULL},
    {"happened twice", history_judge_session, "0 add 1 0-1;0 read null=[1,1] 2-3", HISTORY_INVALID,
     "twice: element '1'"},
    {"unknown and happened twice", history_judge_session, "0 add 1 0-1?;1 read null=[1,1] 2-3",
     HISTORY_INVALID, "twice"},
    {"failed and happened", history_judge_session, "0 add 1 0-1!;0 read null=[1] 2-3",
     HISTORY_INVALID, "from nowhere"},

    {"two sendings, one result", history_judge_session,
     "0 add 1 0-3 k 5 s \"change\":5;1 add 1 1-2 k 5 s \"change\":5;0 read null=[1] 4-5",
     HISTORY_VALID, "more than once 1, sendings of them 2, results 2, that differ 0"},
    {"two sendings, it happened twice", history_judge_session,
     "0 add 1 0-3 k 5 s;1 add 1 1-2 k 5 s;0 read null=[1,1] 4-5", HISTORY_INVALID,
     "twice: element '1'"},
    {"two sendings, two versions", history_judge_session,
     "0 add 1 0-1 k 5 s;1 add 1 2-3 k 6 s;0 read null=[1] 4-5", HISTORY_INVALID,
     "results differ in the version of the key: add of 'k', lines 1 and 3"},
    {"two sendings, two versions of the change", history_judge_session,
     "0 delete null 0-1 k 0 s \"change\":5;1 delete null 2-3 k 0 s \"change\":6;"
     "0 read null=null 4-5",
     HISTORY_INVALID, "results differ in the version of the change"},
    {"two numbers", history_judge_session,
     "0 increment 2 0-1 k 5 s \"number\":2;1 increment 2 2-3 k 5 s \"number\":4;"
     "0 read null=2 4-5",
     HISTORY_INVALID, "results differ in the number"},
    {"two numbers, and a result that has none", history_judge_session,
     "0 increment 2 0-1 k 5 s;1 increment 2 2-3 k 5 s \"number\":4;"
     "2 increment 2 4-5 k 5 s \"number\":2;0 read null=2 6-7",
     HISTORY_INVALID, "results differ in the number: increment of 'k', lines 3 and 5"},
    {"one number, but it happened twice", history_judge_session,
     "0 increment 2 0-1 k 5 s \"number\":2;1 increment 2 2-3 k 5 s \"number\":2;"
     "0 read null=4 4-5",
     HISTORY_INVALID, "is not linearizable"},
    {"once, and a number that was not kept", history_judge_session,
     "0 increment 2 0-1 k 5 s \"number\":2;1 increment 2 2-3 k 5 s;0 read null=2 4-5",
     HISTORY_VALID, "that differ 0"},
    {"created, and then it was there", history_judge_session,
     "0 cas [null,\"a\"] 0-1 k 5 s;1 cas [null,\"a\"] 2-3! k 5 s \"mismatch\":true;"
     "0 read null=\"a\" 4-5",
     HISTORY_INVALID, "results differ in whether it was done"},
    {"refused twice for the same", history_judge_session,
     "0 write \"b\" 0-1 k 4;0 cas [null,\"a\"] 2-3! k 4 s \"mismatch\":true,\"seen\":\"b\";"
     "0 write \"c\" 4-5 k 6;1 cas [null,\"a\"] 6-7! k 4 s \"mismatch\":true,\"seen\":\"b\"",
     HISTORY_VALID, "results 2"},
    {"seen before it, and something else", history_judge_session,
     "0 swap \"a\" 0-1 k 5 s \"seen\":null;1 swap \"a\" 2-3 k 5 s \"seen\":\"a\"", HISTORY_INVALID,
     "what was there before"},
    {"refused here, done there", history_judge_session,
     "0 add 1 0-1! k 0 s;1 add 1 2-3 k 5 s;0 read null=[1] 4-5", HISTORY_VALID, "results 1"},
    {"lost here, done there, not to be seen", history_judge_session,
     "0 add 1 0-1? k 0 s;1 add 1 2-3 k 5 s;2 read null=[] 4-5", HISTORY_INVALID, "lost"},
    {"lost here, refused there", history_judge_session,
     "0 add 1 0-1? k 0 s;1 add 1 2-3! k 0 s;2 read null=[] 4-5;2 read null=[1] 6-7", HISTORY_VALID,
     "results 0"},
    {"refused everywhere, and done", history_judge_session,
     "0 add 1 0-1! k 0 s;1 add 1 2-3! k 0 s;0 read null=[1] 4-5", HISTORY_INVALID, "from nowhere"},
    {"a late repeat is no second change", history_judge_session,
     "0 write \"a\" 0-1 k 5 s;0 write \"b\" 2-3 k 6;1 write \"a\" 4-5 k 5 s;"
     "0 read null=\"b\" 6-7",
     HISTORY_VALID, NULL},
    {"a late repeat was done again", history_judge_session,
     "0 write \"a\" 0-1 k 5 s;0 write \"b\" 2-3 k 6;1 write \"a\" 4-5 k 5 s;"
     "0 read null=\"a\" 6-7",
     HISTORY_INVALID, "is not linearizable"},
    {"two changes, one stamp", history_judge_session,
     "0 write \"a\" 0-1 k 5 s;0 write \"b\" 2-3 k 6 s", HISTORY_UNKNOWN, "one stamp"},
    {"the first sending's beginning counts", history_judge_session,
     "0 add 1 0-9? k 0 s;1 add 1 6-7 k 5 s;2 read null=[1] 2-3", HISTORY_VALID, NULL},

    {"bank", history_judge_bank,
     "0 open [[\"a\",5],[\"b\",5]] 0-1;1 transfer [\"a\",\"b\",3] 2-9;"
     "0 read null=[[\"a\",2],[\"b\",8]] 2-3",
     HISTORY_VALID, "reads 1, wrong 0"},
    {"half a transfer", history_judge_bank,
     "0 open [[\"a\",5],[\"b\",5]] 0-1;0 read null=[[\"a\",2],[\"b\",5]] 2-3", HISTORY_INVALID,
     "sums up to 7"},
    {"overdrawn", history_judge_bank,
     "0 open [[\"a\",5],[\"b\",5]] 0-1;0 read null=[[\"a\",-1],[\"b\",11]] 2-3", HISTORY_INVALID,
     "a negative balance -1"},
    {"an account gone", history_judge_bank,
     "0 open [[\"a\",5],[\"b\",5]] 0-1;0 read null=[[\"a\",10],[\"b\",null]] 2-3", HISTORY_INVALID,
     "an account is gone"},
    {"an account not read", history_judge_bank,
     "0 open [[\"a\",5],[\"b\",5]] 0-1;0 read null=[[\"a\",10]] 2-3", HISTORY_INVALID,
     "not every account once"},
    {"sets apart", history_judge_strict_set,
     "0 add 1 0-1 a;0 read null=[] 2-3 b;0 read null=[1] 4-5 a", HISTORY_VALID, "elements 1"},
    {"in another set", history_judge_strict_set, "0 add 1 0-1 a;0 read null=[1] 2-3 b",
     HISTORY_INVALID, "from nowhere"},

    {"scan", history_judge_scan,
     "0 write [\"1\",2] 0-1 g 5;1 scan null=[[\"g/0\",\"1\",5],[\"g/1\",\"1\",5]] 2-3 k 6",
     HISTORY_VALID, "scans 1, wrong 0"},
    {"half of a group", history_judge_scan,
     "0 write [\"1\",2] 0-1 g 5;0 write [\"2\",2] 2-3 g 7;"
     "1 scan null=[[\"g/0\",\"1\",5],[\"g/1\",\"2\",7]] 2-4 k 8",
     HISTORY_INVALID, "torn"},
    {"of two ranges", history_judge_scan,
     "0 write [\"1\",2] 0-1 g 5;0 write [\"2\",2] 3-4 g 7;"
     "1 scan null=[[\"g/0\",\"1\",5,1],[\"g/1\",\"2\",7,2]] 2-5",
     HISTORY_VALID, "scans 1, wrong 0"},
    {"of two ranges, stale", history_judge_scan,
     "0 write [\"1\",2] 0-1 g 5;0 write [\"2\",2] 2-3 g 7;"
     "1 scan null=[[\"g/0\",\"2\",7,1],[\"g/1\",\"1\",5,2]] 4-5",
     HISTORY_INVALID, "is not linearizable"},
    {"of two ranges, half at one moment", history_judge_scan,
     "0 write [\"1\",3] 0-1 g 5;0 write [\"2\",3] 3-4 g 7;"
     "1 scan null=[[\"g/0\",\"1\",5,1],[\"g/1\",\"2\",7,1],[\"g/2\",\"2\",7,2]] 2-5",
     HISTORY_INVALID, "torn"},
    {"of two ranges, a member is missing", history_judge_scan,
     "0 write [\"1\",3] 0-1 g 5;1 scan null=[[\"g/0\",\"1\",5,1],[\"g/2\",\"1\",5,2]] 2-5",
     HISTORY_INVALID, "torn"},
    {"a moment that is none", history_judge_scan,
     "0 write [\"1\",1] 0-1 g 5;1 scan null=[[\"g/0\",\"1\",5,\"1\"]] 2-5", HISTORY_UNKNOWN,
     "do not have"},
    {"a member is missing", history_judge_scan,
     "0 write [\"1\",2] 0-1 g 5;1 scan null=[[\"g/0\",\"1\",5]] 2-3 k 6", HISTORY_INVALID, "torn"},
    {"a key twice", history_judge_scan,
     "0 write [\"1\",1] 0-1 g 5;1 scan null=[[\"g/0\",\"1\",5],[\"g/0\",\"1\",5]] 2-3 k 6",
     HISTORY_INVALID, "not in order"},
    {"a group is missing", history_judge_scan, "0 write [\"1\",1] 0-1 g 5;1 scan null=[] 2-3 k 6",
     HISTORY_INVALID, "lost: a group is not there"},
    {"not written yet", history_judge_scan, "0 write [\"1\",1] 0-3 g 5;1 scan null=[] 2-3 k 4",
     HISTORY_VALID, NULL},
    {"a stale scan", history_judge_scan,
     "0 write [\"1\",1] 0-1 g 5;0 write [\"2\",1] 2-3 g 7;1 scan null=[[\"g/0\",\"1\",5]] 4-5",
     HISTORY_INVALID, "is not linearizable"},
    {"two moments", history_judge_scan,
     "0 write [\"1\",1] 0-1 g 5;1 write [\"2\",1] 0-1 h 6;0 write [\"3\",1] 2-9 g 7;"
     "1 write [\"4\",1] 2-9 h 8;"
     "2 scan null=[[\"g/0\",\"1\",5],[\"h/0\",\"4\",8]] 2-9 k 8",
     HISTORY_INVALID, "a write that it does not see: 'g'"},
    {"newer than its moment", history_judge_scan,
     "0 write [\"1\",1] 0-9 g 5;2 scan null=[[\"g/0\",\"1\",5]] 2-9 k 4", HISTORY_INVALID,
     "newer than the scan's moment"},
    {"no scan", history_judge_scan, "0 write [\"1\",1] 0-9 g 5", HISTORY_UNKNOWN, "scans 0"},
    {"no scan's read", history_judge_scan, "0 read null=1 0-9", HISTORY_UNKNOWN, "do not have"},

    {"watch", history_judge_watch,
     "0 write 1 0-1 a 5;0 write 2 2-3 a 7;0 delete null 4-5 a 9;"
     "1 watch null=[[\"a\",1,5],[\"a\",2,7]] 0-6 w;1 watch null=[[\"a\",null,9]] 7-8 w",
     HISTORY_VALID, "events 3, wrong 0"},
    {"gap", history_judge_watch,
     "0 write 1 0-1 a 5;0 write 2 2-3 a 7;0 write 3 4-5 a 9;"
     "1 watch null=[[\"a\",1,5],[\"a\",3,9]] 0-6 w",
     HISTORY_INVALID, "gap, it misses: key 'a', version 7"},
    {"gap over a reconnect", history_judge_watch,
     "0 write 1 0-1 a 5;0 write 2 2-3 a 7;0 write 3 4-5 a 9;"
     "1 watch null=[[\"a\",1,5]] 0-6 w;1 watch null=[[\"a\",3,9]] 7-8 w",
     HISTORY_INVALID, "gap"},
    {"a gap that another one saw", history_judge_watch,
     "0 write 1 0-1 a 5;0 write 2 2-3? a;3 write 3 4-5 a 9;"
     "1 watch null=[[\"a\",1,5],[\"a\",3,9]] 0-6 w;2 watch null=[[\"a\",2,7]] 0-6 u",
     HISTORY_INVALID, "gap"},
    {"unknown and not seen", history_judge_watch,
     "0 write 1 0-1 a 5;0 write 2 2-3? a;3 write 3 4-5 a 9;"
     "1 watch null=[[\"a\",1,5],[\"a\",3,9]] 0-6 w",
     HISTORY_VALID, NULL},
    {"begun late", history_judge_watch,
     "0 write 1 0-1 a 5;0 write 2 2-3 a 7;1 watch null=[[\"a\",2,7]] 0-6 w", HISTORY_VALID, NULL},
    {"repeat", history_judge_watch,
     "0 write 1 0-1 a 5;1 watch null=[[\"a\",1,5]] 0-6 w;1 watch null=[[\"a\",1,5]] 7-8 w",
     HISTORY_INVALID, "repeat"},
    {"twice by two watchers", history_judge_watch,
     "0 write 1 0-1 a 5;1 watch null=[[\"a\",1,5]] 0-6 w;2 watch null=[[\"a\",1,5]] 7-8 u",
     HISTORY_VALID, NULL},
    {"out of order", history_judge_watch,
     "0 write 1 0-1 a 5;0 write 2 2-3 a 7;1 watch null=[[\"a\",2,7],[\"a\",1,5]] 0-6 w",
     HISTORY_INVALID, "order"},
    {"a change that failed", history_judge_watch,
     "0 write 1 0-1! a;1 watch null=[[\"a\",1,5]] 0-6 w", HISTORY_INVALID, "from nowhere"},
    {"another value", history_judge_watch,
     "0 write 1 0-1 a 5;0 write 2 2-3 a 7;1 watch null=[[\"a\",2,5]] 0-6 w", HISTORY_INVALID,
     "one version with two values"},
    {"no event", history_judge_watch, "0 write 1 0-1 a 5", HISTORY_UNKNOWN, "events 0"},
    {"no watch's read", history_judge_watch, "0 read null=1 0-9", HISTORY_UNKNOWN,
     "not what watches have"},
    {"no bank yet", history_judge_bank, "0 read null=[[\"a\",10]] 2-3", HISTORY_UNKNOWN,
     "not what banks have, or not now"},
    {"no read of a bank", history_judge_bank, "0 open [[\"a\",5]] 0-1", HISTORY_UNKNOWN, "reads 0"},
};

struct moment {
    unsigned time;
    bool is_end;
    char line[400];
};

static int compare_moments(const void *a, const void *b)
{
    const struct moment *x = a;
    const struct moment *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return x->is_end - y->is_end;
}

static void write_op(struct moment *out, const char *op)
{
    char f[32], value[160], end = 0, key[32] = "k", stamp[32] = "", more[96] = "";
    unsigned process, from, to;
    unsigned long long version = 0;
    int used = 0;
    assert_int_equal(sscanf(op, "%u %31s %159s %u-%u%n", &process, f, value, &from, &to, &used), 5);
    end = op[used];
    if (end == '?' || end == '!')
        used++;
    int given = sscanf(op + used, " %31s %llu %31s %95s", key, &version, stamp, more);
    char *result = strchr(value, '=');
    if (result != NULL)
        *result++ = 0;
    const char *type = end == '?' ? "info" : end == '!' ? "fail" : "ok";
    out[0] = (struct moment){.time = from};
    out[1] = (struct moment){.time = to, .is_end = true};
    snprintf(out[0].line, sizeof out[0].line,
             "{\"process\":%u,\"type\":\"invoke\",\"f\":\"%s\",\"key\":\"%s\",\"value\":%s,"
             "\"stamp\":\"%s\",\"time\":%u}\n",
             process, f, key, value, stamp, from);
    snprintf(out[1].line, sizeof out[1].line,
             "{\"process\":%u,\"type\":\"%s\",\"f\":\"%s\",\"key\":\"%s\",\"value\":%s,"
             "\"version\":%llu,\"time\":%u%s%s}\n",
             process, type, f, key, result != NULL ? result : value, version, to,
             given == 4 ? "," : "", more);
}

static void write_script(struct buf *out, const char *ops)
{
    struct moment moments[32];
    size_t n = 0;
    char copy[1024], *state = NULL;
    snprintf(copy, sizeof copy, "%s", ops);
    for (char *op = strtok_r(copy, ";", &state); op != NULL; op = strtok_r(NULL, ";", &state)) {
        write_op(&moments[n], op);
        n += 2;
    }
    qsort(moments, n, sizeof moments[0], compare_moments);
    for (size_t i = 0; i < n; i++)
        buf_append_str(out, moments[i].line);
}

static void test_judges(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        const struct script *s = &scripts[i];
        struct history h;
        struct history_report report;
        struct buf text;
        struct err err = {0};
        buf_init(&text, 1 << 16);
        write_script(&text, s->ops);
        history_init(&h);
        history_report_init(&report);
        if (history_parse(&h, buf_slice(&text), &err) != 0)
            fail_msg("%s: %s", s->name, err.msg);
        s->judge(&h, &report);
        buf_append_u8(&report.text, 0);
        const char *got = (const char *)report.text.data;
        if (report.verdict != s->want || (s->text != NULL && strstr(got, s->text) == NULL))
            fail_msg("%s: %d\n%s", s->name, (int)report.verdict, got);
        history_report_fini(&report);
        history_fini(&h);
        buf_fini(&text);
    }
}

/* One lost addition makes every later read wrong: they are counted, and some are shown. */
static void test_many_wrong_reads(void **state)
{
    (void)state;
    enum { READS = 30, SHOWN = 20 };
    struct history h;
    struct history_report report;
    struct buf text;
    int shown = 0;
    buf_init(&text, 1 << 16);
    write_script(&text, "0 add 1 0-1");
    for (int i = 0; i < READS; i++) {
        char op[64];
        snprintf(op, sizeof op, "1 read null=0 %d-%d", 2 + 2 * i, 3 + 2 * i);
        write_script(&text, op);
    }
    history_init(&h);
    history_report_init(&report);
    assert_int_equal(history_parse(&h, buf_slice(&text), NULL), 0);
    history_judge_counter(&h, &report);
    buf_append_u8(&report.text, 0);
    const char *got = (const char *)report.text.data;
    assert_int_equal(report.verdict, HISTORY_INVALID);
    assert_non_null(strstr(got, "reads judged 30, wrong 30\n"));
    for (const char *at = got; (at = strstr(at, "it can be 1 to 1\n")) != NULL; at++)
        shown++;
    assert_int_equal(shown, SHOWN);
    history_report_fini(&report);
    history_fini(&h);
    buf_fini(&text);
}

/* What the short form cannot say: versions, mismatches, what was seen. */
static void test_register_details(void **state)
{
    (void)state;
    static const struct {
        const char *completion; /* of a cas-version [7, "b"] after a write of "a" at 7 */
        enum history_verdict want;
    } rows[] = {
        {"\"type\":\"ok\",\"version\":9", HISTORY_VALID},
        {"\"type\":\"ok\",\"version\":6", HISTORY_INVALID},
        {"\"type\":\"fail\"", HISTORY_VALID},
        {"\"type\":\"fail\",\"mismatch\":true", HISTORY_INVALID},
        {"\"type\":\"fail\",\"mismatch\":true,\"seen\":\"a\",\"version\":7", HISTORY_INVALID},
        {"\"type\":\"info\"", HISTORY_VALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct history h;
        struct history_report report;
        char text[1024];
        snprintf(text, sizeof text,
                 "{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"value\":\"a\",\"time\":0}\n"
                 "{\"process\":0,\"type\":\"ok\",\"f\":\"write\",\"time\":1,\"version\":7}\n"
                 "{\"process\":1,\"type\":\"invoke\",\"f\":\"cas-version\",\"value\":[7,\"b\"],"
                 "\"time\":2}\n{\"process\":1,\"f\":\"cas-version\",\"time\":3,%s}\n",
                 rows[i].completion);
        history_init(&h);
        history_report_init(&report);
        assert_int_equal(history_parse(&h, slice_str(text), NULL), 0);
        history_judge_register(&h, &report);
        if (report.verdict != rows[i].want)
            fail_msg("%s: %d", rows[i].completion, (int)report.verdict);
        history_report_fini(&report);
        history_fini(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader),           cmocka_unit_test(test_reader_fields),
        cmocka_unit_test(test_reader_mutations), cmocka_unit_test(test_judges),
        cmocka_unit_test(test_many_wrong_reads), cmocka_unit_test(test_register_details),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
