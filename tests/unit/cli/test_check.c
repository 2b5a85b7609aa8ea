/* SPDX-License-Identifier: Apache-2.0 */
/* `holdfast range check` against stores that this file plays. */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tools/holdfast/commands.h"
#include "../tools/holdfast/compare.h"
#include "../tools/holdfast/ranges.h"

/* What a store says of its replica: a hash over it; 0: it has none, and is no member. */
struct replica {
    const char *address;
    uint64_t history;
};

static const struct replica replicas[] = {{"a", 1}, {"b", 2}, {"gone", 0}, {"c", 1}};
static const struct hf_member before_alike[] = {{.address = "a"}, {.address = "gone"}};
static const struct hf_member before_differs[] = {
    {.address = "a"}, {.address = "b"}, {.address = "gone"}};
static const struct hf_member after[] = {{.address = "a"}, {.address = "c"}};

static struct hf_info first = {.range_id = 7, .conf_epoch = 1};
static const struct hf_info newer = {
    .range_id = 7, .conf_epoch = 2, .members = after, .member_count = ARRAY_LEN(after)};
static uint64_t clock_ms;
static uint64_t ctrl_c_ms = UINT64_MAX; /* the pause that goes beyond this is broken off */
static volatile sig_atomic_t interrupted;
static char failure[256]; /* in words */
static uint32_t views;    /* newer ones that were asked for */
static int begins;        /* with which code a check begins, or does not */

/* Many ranges for --all, on the stores of `homes`; each takes so many questions. */
enum { FIRST_OF_MANY = 100, MANY = 40 };
static bool is_all;
static const struct hf_member homes[2][2] = {
    {{.address = "a", .store_id = 1}, {.address = "c", .store_id = 2}},
    {{.address = "a", .store_id = 3}, {.address = "c", .store_id = 4}},
};
static size_t home_count;
static uint32_t questions[MANY]; /* that came; of those that are done: 0 */
static uint32_t under_way, most_under_way;

static uint32_t questions_of(uint64_t i)
{
    return 2 * (1 + (uint32_t)(i * 7 % 5));
}

/* ---- the library ------------------------------------------------------------------------- */

/* A result, and what it says of a check. */
struct answered {
    struct hf_result result; /* first: it is freed as this */
    struct hf_check check;
};

static int answer(const struct hf_result *result, struct hf_result **ret_result)
{
    struct answered *a = calloc(1, sizeof *a);
    a->result = *result;
    if (result->check != NULL) {
        a->check = *result->check;
        a->result.check = &a->check;
    }
    *ret_result = &a->result;
    return result->code;
}

int hf_check_start(struct hf_client *client, uint64_t range_id, const struct hf_call *call,
                   struct hf_result **ret_result)
{
    static const struct hf_check started = {.index = 20, .term = 3};
    struct hf_result result = {.code = begins, .check = begins == HF_OK ? &started : NULL};
    (void)client, (void)call;
    assert_true(range_id == 7 || is_all);
    if (range_id >= FIRST_OF_MANY) {
        under_way++;
        most_under_way = MAX(most_under_way, under_way);
    }
    return answer(&result, ret_result);
}

/* Has it been asked often enough? */
static bool is_done(uint64_t range_id)
{
    if (range_id < FIRST_OF_MANY)
        return true;
    uint64_t i = range_id - FIRST_OF_MANY;
    questions[i]++;
    under_way -= questions[i] == questions_of(i);
    return questions[i] >= questions_of(i) - 1; /* both members' last ones */
}

int hf_check_result(struct hf_client *client, const char *endpoint, uint64_t range_id,
                    uint64_t index, const struct hf_call *call, struct hf_result **ret_result)
{
    (void)client, (void)call;
    size_t i = 0;
    while (strcmp(replicas[i].address, endpoint) != 0)
        i++;
    struct hf_check check = {
        .state = HF_CHECK_DONE, .index = index, .term = 3, .history = replicas[i].history};
    if (!is_done(range_id))
        check.state = HF_CHECK_RUNNING;
    bool is_there = replicas[i].history != 0;
    struct hf_result result = {.code = is_there ? HF_OK : HF_ERR_NOT_FOUND, .message = ""};
    result.check = is_there ? &check : NULL;
    return answer(&result, ret_result);
}

int hf_range_status(struct hf_client *client, const char *endpoint, uint64_t range_id,
                    struct hf_bytes place, const struct hf_call *call,
                    struct hf_result **ret_result)
{
    (void)client, (void)endpoint, (void)range_id, (void)place, (void)call;
    views++;
    return answer(&(struct hf_result){.info = &newer}, ret_result);
}

int hf_status(struct hf_client *client, const char *endpoint, const struct hf_call *call,
              struct hf_result **ret_result)
{
    (void)client, (void)endpoint, (void)call;
    return answer(&(struct hf_result){.info = &first}, ret_result);
}

void hf_result_free(struct hf_result *result)
{
    free(result);
}

/* ---- the rest of the program ------------------------------------------------------------------
 */

bool cli_parse(struct cli *cli, int argc, const char *const *argv, const struct args_flag *flags,
               size_t flags_count, size_t words_min, size_t words_max, struct cli_words *words,
               int *ret_exit)
{
    (void)cli, (void)argc, (void)argv;
    (void)words_min, (void)words_max, (void)ret_exit;
    for (size_t i = 0; i < flags_count; i++) {
        if (strcmp(flags[i].name, "all") == 0)
            *(bool *)flags[i].ret_value = is_all;
    }
    *words = (struct cli_words){0};
    return true;
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
    (void)cli, (void)fmt;
    return EXIT_USAGE;
}

int cli_error(struct cli *cli, const char *fmt, ...)
{
    (void)cli, (void)fmt;
    return EXIT_ERROR;
}

int cli_fail_as(struct cli *cli, int code, const char *fmt, ...)
{
    (void)cli;
    va_list args;
    va_start(args, fmt);
    vsnprintf(failure, sizeof failure, fmt, args);
    va_end(args);
    return code == HF_ERR_UNDETERMINED ? EXIT_UNDETERMINED : EXIT_ERROR;
}

int cli_fail(struct cli *cli, int code, const struct hf_result *result)
{
    (void)cli, (void)result;
    return code == HF_ERR_NOT_FOUND ? EXIT_NO : EXIT_ERROR;
}

struct hf_client *cli_client(struct cli *cli)
{
    return (struct hf_client *)cli; /* looked into by nobody */
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

void cli_append_shown(struct buf *buf, struct slice bytes)
{
    buf_append_slice(buf, bytes);
}

int ranges_walk(struct cli *cli, struct hf_client *client, bool is_at_once, ranges_each each,
                void *data)
{
    (void)cli, (void)client, (void)is_at_once;
    for (uint64_t i = 0; i < MANY; i++) {
        struct hf_member members[2]; /* gone when it returns */
        memcpy(members, homes[i % home_count], sizeof members);
        struct hf_info info = {.range_id = FIRST_OF_MANY + i,
                               .conf_epoch = 1,
                               .members = members,
                               .member_count = ARRAY_LEN(members)};
        int exit_code = each(data, &info);
        memset(members, 0, sizeof members);
        if (exit_code != EXIT_DONE)
            return exit_code;
    }
    return EXIT_DONE;
}

int ranges_system(struct cli *cli, struct hf_client *client, ranges_each each, void *data)
{
    (void)cli, (void)client;
    first.members = after;
    first.member_count = ARRAY_LEN(after);
    return each(data, &first);
}

int ranges_one(struct cli *cli, struct hf_client *client, uint64_t range_id,
               struct hf_result **ret_result)
{
    (void)client, (void)range_id, (void)ret_result;
    return cli_error(cli, "not here");
}

/* ---- tests -------------------------------------------------------------------------------- */

static int check_with(const struct hf_member *members, size_t count, const char *said)
{
    struct cli cli = {0};
    first.members = members;
    first.member_count = count;
    views = 0;
    buf_init(&cli.out, 1 << 16);
    int exit_code = range_check_run(&cli, 0, NULL);
    buf_append_u8(&cli.out, 0);
    assert_non_null(strstr((const char *)cli.out.data, said));
    buf_fini(&cli.out);
    return exit_code;
}

/* A member that is none any more: those that are it now are asked. */
static void test_a_newer_view(void **state)
{
    (void)state;
    assert_int_equal(check_with(before_alike, ARRAY_LEN(before_alike), "alike: all 2"), EXIT_DONE);
    assert_int_equal(views, 1);
}

/* Those that could be asked differ: it is no matter that one has gone, nor who comes. */
static void test_a_difference_stays(void **state)
{
    (void)state;
    assert_int_equal(check_with(before_differs, ARRAY_LEN(before_differs), "DIFFER: 2"),
                     EXIT_ERROR);
}

/* Who was asked to begin has no replica of it any more, or has no time, or there are too many to
 * be asked: that is not alike, and no difference. */
static void test_not_begun(void **state)
{
    static const int refusals[] = {HF_ERR_NOT_FOUND, HF_ERR_BUSY, HF_ERR_UNAVAILABLE,
                                   HF_ERR_UNDETERMINED};
    static const struct hf_member many[COMPARE_REPLICAS_MAX + 1];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        begins = refusals[i];
        assert_int_equal(check_with(after, ARRAY_LEN(after), ""), EXIT_UNDETERMINED);
    }
    assert_int_equal(check_with(many, ARRAY_LEN(many), ""), EXIT_UNDETERMINED);
    begins = HF_OK;
    assert_int_equal(check_with(after, ARRAY_LEN(after), "alike: all 2"), EXIT_DONE);
}

/* Of all ranges a few are under way at once, four on a store and eight in all, and what comes of
 * them is told in their order, whichever ends first. */
static void test_all_at_once(void **state)
{
    (void)state;
    for (home_count = 1; home_count <= ARRAY_LEN(homes); home_count++) {
        struct cli cli = {0};
        char want[32];
        is_all = true;
        memset(questions, 0, sizeof questions);
        most_under_way = 0;
        buf_init(&cli.out, 1 << 20);
        assert_int_equal(range_check_run(&cli, 0, NULL), EXIT_DONE);
        is_all = false;
        buf_append_u8(&cli.out, 0);
        const char *at = strstr((const char *)cli.out.data, "range 7 at");
        for (int i = 0; i < MANY; i++) {
            snprintf(want, sizeof want, "range %d at", FIRST_OF_MANY + i);
            assert_non_null(at);
            at = strstr(at, want);
        }
        assert_non_null(at);
        assert_int_equal(under_way, 0);
        assert_in_range(most_under_way, 3 * home_count, 4 * home_count);
        buf_fini(&cli.out);
    }
}

/* Nobody waits for those under way, and no more are begun; what is over was told. */
static void test_interrupted(void **state)
{
    (void)state;
    struct cli cli = {.interrupted = &interrupted};
    home_count = 1;
    is_all = true;
    memset(questions, 0, sizeof questions);
    under_way = 0;
    ctrl_c_ms = clock_ms + 40;
    buf_init(&cli.out, 1 << 20);
    assert_int_equal(range_check_run(&cli, 0, NULL), EXIT_UNDETERMINED);
    is_all = false;
    interrupted = 0;
    ctrl_c_ms = UINT64_MAX;
    unsigned done = 0, left = 0;
    assert_int_equal(sscanf(failure, "interrupted: %u ranges were checked, and %u", &done, &left),
                     2);
    assert_in_range(done, 1, MANY / 2);
    assert_in_range(left, 1, 4);
    buf_fini(&cli.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_at_once),        cmocka_unit_test(test_a_newer_view),
        cmocka_unit_test(test_a_difference_stays), cmocka_unit_test(test_not_begun),
        cmocka_unit_test(test_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
