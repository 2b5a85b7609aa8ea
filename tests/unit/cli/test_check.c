/* SPDX-License-Identifier: Apache-2.0 */
/* `holdfast range check` against stores that this file plays. */
#include "support/check.h"

#include <stdlib.h>
#include <string.h>

#include "../tools/holdfast/commands.h"
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
static uint32_t views; /* newer ones that were asked for */
static int begins;     /* with which code a check begins, or does not */

/* ---- the library ------------------------------------------------------------------------- */

static int answer(const struct hf_result *result, struct hf_result **ret_result)
{
    *ret_result = malloc(sizeof *result);
    memcpy(*ret_result, result, sizeof *result);
    return result->code;
}

int hf_check_start(struct hf_client *client, uint64_t range_id, const struct hf_call *call,
                   struct hf_result **ret_result)
{
    static const struct hf_check started = {.index = 20, .term = 3};
    struct hf_result result = {.code = begins, .check = begins == HF_OK ? &started : NULL};
    (void)client, (void)call;
    assert_int_equal(range_id, 7);
    return answer(&result, ret_result);
}

int hf_check_result(struct hf_client *client, const char *endpoint, uint64_t range_id,
                    uint64_t index, const struct hf_call *call, struct hf_result **ret_result)
{
    static struct hf_check checks[ARRAY_LEN(replicas)];
    (void)client, (void)call, (void)range_id;
    size_t i = 0;
    while (strcmp(replicas[i].address, endpoint) != 0)
        i++;
    checks[i] = (struct hf_check){
        .state = HF_CHECK_DONE, .index = index, .term = 3, .history = replicas[i].history};
    bool is_there = replicas[i].history != 0;
    struct hf_result result = {.code = is_there ? HF_OK : HF_ERR_NOT_FOUND, .message = ""};
    result.check = is_there ? &checks[i] : NULL;
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
    (void)cli, (void)argc, (void)argv, (void)flags, (void)flags_count;
    (void)words_min, (void)words_max, (void)ret_exit;
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
}

void cli_append_shown(struct buf *buf, struct slice bytes)
{
    buf_append_slice(buf, bytes);
}

void cli_table_init(struct cli_table *table, const char *const *heads, size_t columns)
{
    (void)table, (void)heads, (void)columns;
}

void cli_table_cell(struct cli_table *table, const char *fmt, ...)
{
    (void)table, (void)fmt;
}

void cli_table_print(struct cli_table *table, struct buf *out)
{
    (void)table, (void)out;
}

int ranges_walk(struct cli *cli, struct hf_client *client, bool is_at_once, ranges_each each,
                void *data)
{
    (void)client, (void)is_at_once, (void)each, (void)data;
    return cli_error(cli, "not here");
}

int ranges_system(struct cli *cli, struct hf_client *client, ranges_each each, void *data)
{
    (void)client, (void)each, (void)data;
    return cli_error(cli, "not here");
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

/* Who was asked to begin has no replica of it any more: that is not alike. */
static void test_not_begun(void **state)
{
    (void)state;
    begins = HF_ERR_NOT_FOUND;
    assert_int_equal(check_with(after, ARRAY_LEN(after), ""), EXIT_UNDETERMINED);
    begins = HF_ERR_BUSY;
    assert_int_equal(check_with(after, ARRAY_LEN(after), ""), EXIT_ERROR);
    begins = HF_OK;
    assert_int_equal(check_with(after, ARRAY_LEN(after), "alike: all 2"), EXIT_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_newer_view),
        cmocka_unit_test(test_a_difference_stays),
        cmocka_unit_test(test_not_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
