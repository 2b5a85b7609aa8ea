/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over all ranges, against stores that this file plays. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tools/holdfast/ranges.h"

/* What is told when it is asked who has a place: the first row that has it, or, as often as
 * `lies` says, the first one of those that are out of date. */
struct view {
    const char *start, *end; /* of users' places, without RANGES_USER_PREFIX; NULL: all */
    uint64_t epoch;
};

static const struct view now[] = {{NULL, "c", 5}, {"c", "m", 6}, {"m", NULL, 7}};
static const struct view before[] = {{NULL, "m", 4}, {"m", NULL, 2}};

static uint64_t clock_ms;
static uint64_t ask_ms;  /* each question takes so long */
static uint64_t lies_at; /* those that are asked from then on … */
static unsigned lies;    /* … are answered so often with what was before */
static bool lies_beside; /* … or with a range that does not have the place */
static uint64_t note_ms; /* what is found is dealt with for so long */
static unsigned asked;
static uint64_t ctrl_c_ms = UINT64_MAX; /* the pause that goes beyond this is broken off */
static volatile sig_atomic_t interrupted;
static char said[512]; /* why it failed */

/* ---- the library ------------------------------------------------------------------------- */

/* A result with its texts. */
struct answered {
    struct hf_result result; /* first: it is freed as this */
    struct hf_info info;
    char start[8], end[8];
};

static struct hf_bytes place_of(char out[8], const char *text, const char *if_none)
{
    snprintf(out, 8, "%s%s", text == NULL ? if_none : "\x02", text == NULL ? "" : text);
    return (struct hf_bytes){out, strlen(out)};
}

static bool has(const struct view *view, struct hf_bytes place)
{
    char start[8], end[8];
    struct slice key = cli_slice(place);
    return slice_compare(cli_slice(place_of(start, view->start, "")), key) <= 0 &&
           slice_compare(key, cli_slice(place_of(end, view->end, "\x03"))) < 0;
}

static const struct view *who_has(struct hf_bytes place)
{
    const struct view *views = now;
    if (clock_ms >= lies_at && lies > 0) {
        lies--;
        if (lies_beside)
            return &now[0];
        views = before;
    }
    size_t i = 0;
    while (!has(&views[i], place))
        i++;
    return &views[i];
}

int hf_range_status(struct hf_client *client, const char *endpoint, uint64_t range_id,
                    struct hf_bytes place, const struct hf_call *call,
                    struct hf_result **ret_result)
{
    (void)client, (void)range_id, (void)call;
    assert_null(endpoint);
    clock_ms += ask_ms;
    asked++;
    const struct view *view = who_has(place);
    struct answered *a = calloc(1, sizeof *a);
    assert_non_null(a);
    a->info.leader_address = ""; /* nobody is asked on top */
    a->info.span_epoch = view->epoch;
    a->info.range_start = place_of(a->start, view->start, "");
    a->info.range_end = place_of(a->end, view->end, "\x03");
    a->result.info = &a->info;
    *ret_result = &a->result;
    return HF_OK;
}

void hf_result_free(struct hf_result *result)
{
    free(result);
}

/* ---- the rest of the program ------------------------------------------------------------------
 */

int cli_error(struct cli *cli, const char *fmt, ...)
{
    (void)cli;
    snprintf(said, sizeof said, "%s", fmt);
    return EXIT_ERROR;
}

int cli_fail(struct cli *cli, int code, const struct hf_result *result)
{
    (void)code, (void)result;
    return cli_error(cli, "the library failed");
}

int cli_fail_as(struct cli *cli, int code, const char *fmt, ...)
{
    (void)cli, (void)code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(said, sizeof said, fmt, args);
    va_end(args);
    return EXIT_ERROR;
}

struct hf_call cli_call(const struct cli *cli)
{
    (void)cli;
    return (struct hf_call){.size = sizeof(struct hf_call)};
}

uint64_t cli_now_ms(void)
{
    return clock_ms;
}

void cli_pause_ms(unsigned ms)
{
    clock_ms += ms;
    interrupted = clock_ms > ctrl_c_ms;
}

void ranges_append_place(struct buf *out, struct hf_bytes place)
{
    buf_printf(out, "'%.*s'", (int)place.len - 1, (const char *)place.data + 1);
}

/* ---- tests -------------------------------------------------------------------------------- */

/* Of a place what a user would call it; nothing for the ends of all. */
static const char *shown(struct hf_bytes place)
{
    static char text[2][8];
    static size_t turn;
    char *out = text[turn++ % 2];
    bool is_inside = place.len > 1;
    snprintf(out, 8, "%.*s", is_inside ? (int)place.len - 1 : 0,
             (const char *)place.data + is_inside);
    return out;
}

static int note(void *data, const struct hf_info *info)
{
    char *out = data;
    size_t len = strlen(out);
    snprintf(out + len, 128 - len, "%s-%s ", shown(info->range_start), shown(info->range_end));
    clock_ms += note_ms;
    return EXIT_DONE;
}

static int walk(bool is_at_once, char out[128])
{
    struct cli cli = {.interrupted = &interrupted};
    interrupted = 0;
    out[0] = 0;
    said[0] = 0;
    clock_ms = 1000;
    asked = 0;
    return ranges_walk(&cli, NULL, is_at_once, note, out);
}

static const struct {
    const char *name;
    uint64_t ask_ms;
    uint64_t lies_at;
    unsigned lies;
    bool is_at_once;
    int want_exit;
    const char *want;
} rows[] = {
    {"all is well", 1, 0, 0, false, EXIT_DONE, "-c c-m m- "},
    {"and slow", 9000, 0, 0, false, EXIT_DONE, "-c c-m m- "},
    {"a store is behind", 1, 1002, 3, false, EXIT_DONE, "-c c-m m- "},
    {"a store is behind, and all are slow", 3000, 7000, 1, false, EXIT_DONE, "-c c-m m- "},
    {"at the last one", 3000, 10000, 1, false, EXIT_DONE, "-c c-m m- "},
    {"it stays behind", 1, 1002, 1u << 30, false, EXIT_ERROR, ""},
    {"it was behind before it began", 3000, 1000, 1u << 30, false, EXIT_DONE, "-m m- "},
    {"it falls behind for good, and all are slow", 3000, 7000, 1u << 30, false, EXIT_ERROR, ""},
    {"each at once", 1, 0, 0, true, EXIT_DONE, "-c c-m m- "},
    {"each at once: some keys twice, none left out", 1, 1002, 1u << 30, true, EXIT_DONE,
     "-c -m m- "},
};

/* What is listed covers each key once, or nothing is: however late it is. */
static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char got[128];
        ask_ms = rows[i].ask_ms;
        lies_at = rows[i].lies_at;
        lies = rows[i].lies;
        int exit_code = walk(rows[i].is_at_once, got);
        if (exit_code != rows[i].want_exit || strcmp(got, rows[i].want) != 0)
            fail_msg("%s: exit %d, '%s' instead of '%s'", rows[i].name, exit_code, got,
                     rows[i].want);
        assert_true((exit_code == EXIT_DONE) == (said[0] == 0));
    }
}

/* The person is told where it does not fit, after the time of one operation. */
static void test_gives_up(void **state)
{
    (void)state;
    char got[128];
    ask_ms = 1;
    lies_at = 1002;
    lies = 1u << 30;
    assert_int_equal(walk(false, got), EXIT_ERROR);
    assert_non_null(strstr(said, "around 'c' does not fit together"));
    assert_in_range(clock_ms, 6000, 6100);
    assert_in_range(asked, 200, 400);
}

/* What is found may take minutes to deal with, and a question as long as one may take: that is no
 * reason not to ask a second time. */
static void test_asks_again_however_late(void **state)
{
    (void)state;
    for (int is_late = 0; is_late < 2; is_late++) {
        char got[128];
        lies_beside = true;
        lies_at = 1002;
        lies = 1;
        ask_ms = is_late ? 9000 : 1;
        note_ms = is_late ? 0 : 60000;
        assert_int_equal(walk(true, got), EXIT_DONE);
        assert_string_equal(got, "-c c-m m- ");
    }
    lies_beside = false;
    note_ms = 0;
}

/* A person at a terminal need not wait for what does not fit together. */
static void test_interrupted(void **state)
{
    (void)state;
    char got[128];
    ask_ms = 1;
    lies_at = 1002;
    lies = 1u << 30;
    ctrl_c_ms = 1100;
    assert_int_equal(walk(false, got), EXIT_ERROR);
    assert_string_equal(got, "");
    assert_string_equal(said, "interrupted");
    assert_in_range(clock_ms, 1100, 1200);
    ctrl_c_ms = UINT64_MAX;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_gives_up),
        cmocka_unit_test(test_asks_again_however_late),
        cmocka_unit_test(test_interrupted),
    };
    return cmocka_run_group_tests_name("walk", tests, NULL, NULL);
}
