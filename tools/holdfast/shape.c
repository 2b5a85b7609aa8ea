/* SPDX-License-Identifier: Apache-2.0
 *
 * range split and merge: what is asked of placement, and when it is done.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/coding.h"
#include "commands.h"
#include "moves.h"
#include "ranges.h"
#include "wire/keyspace.h"

enum {
    KEY_MAX = 4096, /* bytes, with the slot */
    AGAIN_MS = 20,
    SPLIT_WAIT_MS = 20000,
    SPLIT_AGAIN_MS = 1500,
    MERGE_TRIES = 5,
    MERGE_AGAIN_MS = 300,
};

/* ---- split ----------------------------------------------------------------------------------- */

/* "range.middle" as bytes; 0 if there is none. */
static size_t middle_of(const struct hf_info *info, uint8_t out[RANGES_PLACE_MAX])
{
    for (size_t i = 0; i < info->stat_count; i++) {
        const char *text = info->stats[i].text;
        if (strcmp(info->stats[i].name, "range.middle") != 0 || text == NULL)
            continue;
        size_t len = strlen(text) / 2;
        for (size_t k = 0; len <= RANGES_PLACE_MAX && k < len; k++) {
            unsigned byte = 0;
            if (sscanf(text + 2 * k, "%2x", &byte) != 1)
                return 0;
            out[k] = (uint8_t)byte;
        }
        return len <= RANGES_PLACE_MAX ? len : 0;
    }
    return 0;
}

/* The range that has `place`, once it begins there: the step is done a moment after placement
 * has taken the word. 0: not in time. */
static uint64_t wait_cut(struct cli *cli, struct hf_bytes place, uint64_t until_ms)
{
    for (;;) {
        struct hf_result *result = NULL;
        uint64_t range_id = 0;
        if (ranges_ask(cli, cli_client(cli), 0, place, &result) == HF_OK &&
            slice_equal(cli_slice(result->info->range_start), cli_slice(place)))
            range_id = result->info->range_id;
        hf_result_free(result);
        if (range_id != 0 || cli_now_ms() >= until_ms || cli_is_interrupted(cli))
            return range_id;
        cli_pause_ms(AGAIN_MS);
    }
}

/* The range that has `place` now, and whether it begins there. */
static int find_cut(struct cli *cli, struct hf_bytes place, uint64_t *ret_id, bool *ret_begins)
{
    struct hf_result *result = NULL;
    int rv = ranges_ask(cli, cli_client(cli), 0, place, &result);
    int exit_code = rv == HF_OK ? EXIT_DONE : cli_fail(cli, rv, result);
    if (rv == HF_OK) {
        *ret_id = result->info->range_id;
        *ret_begins = slice_equal(cli_slice(result->info->range_start), cli_slice(place));
    }
    hf_result_free(result);
    return exit_code;
}

/* Placement gives the ids, and sends the step to who leads the range that has the place. What
 * it planned for a range that has changed meanwhile comes to nothing: it is told again. */
static int command_split(struct cli *cli, struct hf_bytes place, uint64_t until_ms,
                         uint64_t *ret_new_id)
{
    struct hf_placement_ask ask = {
        .size = sizeof ask, .verb = HF_PLACEMENT_COMMAND, .name = "split", .value = place};
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    int rv = hf_placement(cli_client(cli), &ask, &call, &result);
    bool is_late = cli_now_ms() >= until_ms || cli_is_interrupted(cli);
    /* It has not heard yet of the range as it is now. */
    bool is_soon = rv == HF_ERR_BUSY || rv == HF_ERR_NOT_FOUND || rv == HF_ERR_INVALID;
    int exit_code = rv == HF_OK || (is_soon && !is_late) ? EXIT_DONE : cli_fail(cli, rv, result);
    hf_result_free(result);
    if (exit_code != EXIT_DONE)
        return exit_code;
    *ret_new_id = wait_cut(cli, place, MIN(until_ms, cli_now_ms() + SPLIT_AGAIN_MS));
    if (*ret_new_id == 0 && (is_late || cli_is_interrupted(cli)))
        return cli_fail_as(cli, HF_ERR_UNDETERMINED,
                           "the split is not done yet: holdfast placement operators");
    return EXIT_DONE;
}

/* In the words of the person who asked for it. */
static void told_split(struct cli *cli, struct hf_bytes place, uint64_t range_id, uint64_t new_id)
{
    if (cli->is_json) {
        buf_printf(&cli->out,
                   "{\"ok\":true,\"range_id\":%" PRIu64 ",\"new_range_id\":%" PRIu64 "}\n",
                   range_id, new_id);
        return;
    }
    buf_printf(&cli->out, "range %" PRIu64 " was cut at ", range_id);
    ranges_append_place(&cli->out, place);
    buf_printf(&cli->out, ": range %" PRIu64 " begins there\n", new_id);
}

static int split_at(struct cli *cli, struct hf_bytes place)
{
    uint64_t range_id = 0, new_id = 0;
    uint64_t until_ms =
        cli_now_ms() + (cli->is_timeout_given ? cli->timeout_us / 1000 : SPLIT_WAIT_MS);
    for (bool is_again = false; new_id == 0; is_again = true) {
        uint64_t found_id = 0;
        bool begins = false;
        int exit_code = find_cut(cli, place, &found_id, &begins);
        if (exit_code == EXIT_DONE && begins && !is_again)
            return cli_error(cli, "the key is not inside range %" PRIu64 ": it begins there",
                             found_id);
        if (begins)
            new_id = found_id;
        else
            range_id = found_id;
        if (exit_code == EXIT_DONE && new_id == 0)
            exit_code = command_split(cli, place, until_ms, &new_id);
        if (exit_code != EXIT_DONE)
            return exit_code;
    }
    told_split(cli, place, range_id, new_id);
    return EXIT_DONE;
}

/* Where the key stands: in a hashed keyspace behind its slot. */
static int split_key(struct cli *cli, const char *key)
{
    uint8_t raw[RANGES_PLACE_MAX];
    size_t len = strlen(key);
    size_t at = RANGES_PREFIX_LEN;
    bool is_hashed = cli->keyspace_slots > 0;
    size_t max = is_hashed ? KEY_MAX - KEYSPACE_SLOT_LEN : KEY_MAX;
    if (len == 0 || len > max)
        return cli_usage(cli, "a key has 1 to %zu bytes%s", max,
                         is_hashed ? " in a hashed keyspace" : "");
    raw[0] = RANGES_USER_PREFIX;
    put_u32be(raw + 1, cli->keyspace_id);
    if (is_hashed) {
        keyspace_put_slot(raw + at, keyspace_slot(slice_str(key), cli->keyspace_slots));
        at += KEYSPACE_SLOT_LEN;
    }
    memcpy(raw + at, key, len);
    return split_at(cli, (struct hf_bytes){raw, at + len});
}

static int split_range(struct cli *cli, struct hf_client *client, uint64_t range_id)
{
    uint8_t raw[RANGES_PLACE_MAX];
    struct hf_result *result = NULL;
    int exit_code = ranges_one(cli, client, range_id, &result);
    if (exit_code != EXIT_DONE)
        return exit_code;
    size_t len = middle_of(result->info, raw);
    if (len == 0)
        exit_code = cli_error(
            cli, "range %" PRIu64 " has too little on disk to halve it: name a KEY", range_id);
    else
        exit_code = split_at(cli, (struct hf_bytes){raw, len});
    hf_result_free(result);
    return exit_code;
}

int range_split_run(struct cli *cli, int argc, const char *const *argv)
{
    uint64_t range_id = 0;
    bool has_range = false;
    const struct args_flag flags[] = {
        {"range", 0, ARGS_U64, &range_id, &has_range, "RANGE", "halve this range by its bytes"},
    };
    struct cli_words words;
    int exit_code = EXIT_DONE;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, CLI_WORDS_MAX, &words, &exit_code))
        return exit_code;
    if (has_range == (words.count > 0))
        return cli_usage(cli, "either KEYs or --range");
    if (has_range && range_id == 0)
        return cli_usage(cli, "RANGE is above 0");
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    if (has_range)
        return split_range(cli, client, range_id);
    for (size_t i = 0; i < words.count && exit_code == EXIT_DONE; i++)
        exit_code = cli_is_interrupted(cli)
                        ? cli_error(cli, "interrupted: not cut at '%s' yet", words.at[i])
                        : split_key(cli, words.at[i]);
    return exit_code;
}

/* ---- merge -------------------------------------------------------------------------------------
 */

/* Not what was asked for, but what it rested on has changed: look again. */
static bool is_merge_outdated(int code)
{
    return code == HF_ERR_RANGE_CHANGED || code == HF_ERR_INVALID || code == HF_ERR_STATE ||
           code == HF_ERR_BUSY;
}

/* Who leads the left one does it. *ret_again: it may go better with a new look at both. */
static int merge_with(struct cli *cli, const struct hf_info *left, const struct hf_info *right,
                      bool is_last_try, bool *ret_again)
{
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    struct hf_merge merge = {
        .size = sizeof merge,
        .range_id = left->range_id,
        .conf_epoch = left->conf_epoch,
        .span_epoch = left->span_epoch,
        .right_range_id = right->range_id,
        .right_conf_epoch = right->conf_epoch,
        .right_span_epoch = right->span_epoch,
    };
    int exit_code = EXIT_DONE;
    int rv = hf_range_merge(cli_client(cli), &merge, &call, &result);
    *ret_again = is_merge_outdated(rv) && !is_last_try;
    if (rv != HF_OK && !*ret_again)
        exit_code = cli_fail(cli, rv, result);
    else if (rv == HF_OK && cli->is_json)
        buf_printf(&cli->out, "{\"ok\":true,\"range_id\":%" PRIu64 "}\n", merge.range_id);
    else if (rv == HF_OK)
        buf_printf(&cli->out, "range %" PRIu64 " took in range %" PRIu64 "\n", merge.range_id,
                   merge.right_range_id);
    hf_result_free(result);
    return exit_code;
}

/* Are their replicas on the same stores? Else placement brings them together first. */
static bool is_together(const struct hf_info *left, const struct hf_info *right)
{
    size_t shared = 0;
    for (size_t i = 0; i < left->member_count; i++) {
        for (size_t k = 0; k < right->member_count; k++)
            shared += left->members[i].store_id == right->members[k].store_id;
    }
    return shared == left->member_count && shared == right->member_count;
}

static int merge_two(struct cli *cli, const struct hf_info *left, const struct hf_info *right,
                     bool is_last_try, bool *ret_again)
{
    struct moves_word word = {
        .name = "merge", .range_id = left->range_id, .right_id = right->range_id};
    bool fits = slice_equal(cli_slice(left->range_end), cli_slice(right->range_start));
    *ret_again = !fits && !is_last_try; /* or that was the view of one who is behind */
    if (*ret_again)
        return EXIT_DONE;
    if (!fits)
        return cli_error(cli, "range %" PRIu64 " does not begin where range %" PRIu64 " ends",
                         right->range_id, left->range_id);
    if (is_together(left, right))
        return merge_with(cli, left, right, is_last_try, ret_again);
    return moves_command(cli, &word);
}

/* A look at both, and a try. */
static int merge_once(struct cli *cli, uint64_t left_id, uint64_t right_id, bool is_last_try,
                      bool *ret_again)
{
    struct hf_result *left = NULL;
    struct hf_result *right = NULL;
    *ret_again = false;
    int exit_code = ranges_one(cli, cli_client(cli), left_id, &left);
    if (exit_code == EXIT_DONE)
        exit_code = ranges_one(cli, cli_client(cli), right_id, &right);
    if (exit_code == EXIT_DONE)
        exit_code = merge_two(cli, left->info, right->info, is_last_try, ret_again);
    hf_result_free(left);
    hf_result_free(right);
    return exit_code;
}

int range_merge_run(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    uint64_t left_id = 0, right_id = 0;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 2, 2, &words, &exit_code))
        return exit_code;
    exit_code = ranges_parse_id(cli, words.at[0], &left_id);
    if (exit_code == EXIT_DONE)
        exit_code = ranges_parse_id(cli, words.at[1], &right_id);
    if (exit_code == EXIT_DONE && left_id == right_id)
        exit_code = cli_usage(cli, "two different ranges are merged");
    if (exit_code != EXIT_DONE || cli_client(cli) == NULL)
        return EXIT_USAGE;
    bool is_again = true;
    for (int tries = 1; exit_code == EXIT_DONE && is_again; tries++) {
        if (tries > 1)
            cli_pause_ms(MERGE_AGAIN_MS);
        if (cli_is_interrupted(cli))
            return cli_error(cli, "interrupted: the ranges are two as before");
        exit_code = merge_once(cli, left_id, right_id, tries == MERGE_TRIES, &is_again);
    }
    return exit_code;
}
