/* SPDX-License-Identifier: Apache-2.0
 *
 * range list, show, transfer-leader (shape.c and moves.c have the rest; walk.c finds them).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/coding.h"
#include "base/text.h"
#include "commands.h"
#include "moves.h"
#include "ranges.h"
#include "repeat.h"

enum {
    SYSTEM_RANGE = 1, /* the cluster map; its keys stand before those of users */
    AGAIN_MS = 20,
    LEADER_WAIT_MS = 1500, /* for the view of a leader; then anybody's will do */
    MEMBER_WAIT_MS = 500,  /* for one of those that may lead */
    ENDED_WAIT_MS = 2000,  /* for placement to tell what became of a range */
    LIST_BYTES_MAX = 1 << 28,
};

/* ---- one range, as its leader sees it ------------------------------------------------- */

/* Others may be behind. */
static bool is_of_leader(const struct hf_info *info)
{
    return info->leader_store_id != 0 && info->leader_store_id == info->store_id;
}

bool ranges_merged_into(struct cli *cli, uint64_t range_id, uint64_t *ret_into)
{
    struct hf_placement_ask ask = {
        .size = sizeof ask, .verb = HF_PLACEMENT_EXPLAIN, .id = range_id};
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    uint64_t id = 0;
    call.timeout_ms = MIN(call.timeout_ms != 0 ? call.timeout_ms : ENDED_WAIT_MS, ENDED_WAIT_MS);
    int rv = hf_placement(cli_client(cli), &ask, &call, &result);
    bool is_merged = rv == HF_OK && result->table != NULL &&
                     sscanf(result->table->text, "range %" SCNu64 " was merged into range %" SCNu64,
                            &id, ret_into) == 2;
    hf_result_free(result);
    return is_merged && id == range_id;
}

static int no_range(struct cli *cli, uint64_t range_id, int code, const struct hf_result *result)
{
    uint64_t into;
    if (range_id == 0)
        return cli_fail(cli, code, result);
    if (ranges_merged_into(cli, range_id, &into))
        return cli_fail_as(cli, HF_ERR_NOT_FOUND,
                           "range %" PRIu64 " was merged into range %" PRIu64, range_id, into);
    return cli_fail_as(cli, code, "there is no range %" PRIu64 ", or none of its stores answers",
                       range_id);
}

/* A replica that was removed and has not heard of it knows no leader any more, but others of the
 * range: ask them all. NULL: none of them leads. */
static struct hf_result *ask_members(struct cli *cli, struct hf_client *client,
                                     const struct hf_info *info)
{
    struct hf_call call = cli_call(cli);
    call.timeout_ms = MIN(call.timeout_ms != 0 ? call.timeout_ms : MEMBER_WAIT_MS, MEMBER_WAIT_MS);
    for (size_t i = 0; i < info->member_count; i++) {
        struct hf_result *result = NULL;
        if (info->members[i].store_id != info->store_id &&
            hf_range_status(client, info->members[i].address, info->range_id, (struct hf_bytes){0},
                            &call, &result) == HF_OK &&
            is_of_leader(result->info))
            return result;
        hf_result_free(result);
    }
    return NULL;
}

int ranges_one(struct cli *cli, struct hf_client *client, uint64_t range_id,
               struct hf_result **ret_result)
{
    struct hf_result *result = NULL;
    uint64_t until_ms = cli_now_ms() + LEADER_WAIT_MS;
    int rv = ranges_ask(cli, client, range_id, (struct hf_bytes){0}, &result);
    while (rv == HF_OK && !is_of_leader(result->info) && cli_now_ms() < until_ms &&
           !cli_is_interrupted(cli)) {
        struct hf_result *leader = ask_members(cli, client, result->info);
        hf_result_free(result);
        result = leader;
        if (leader != NULL)
            break;
        cli_pause_ms(AGAIN_MS);
        rv = ranges_ask(cli, client, range_id, (struct hf_bytes){0}, &result);
    }
    if (rv == HF_OK) {
        *ret_result = result;
        return EXIT_DONE;
    }
    int exit_code = no_range(cli, range_id, rv, result);
    hf_result_free(result);
    return exit_code;
}

int ranges_system(struct cli *cli, struct hf_client *client, ranges_each each, void *data)
{
    struct hf_result *result = NULL;
    int exit_code = ranges_one(cli, client, SYSTEM_RANGE, &result);
    if (exit_code == EXIT_DONE)
        exit_code = each(data, result->info);
    hf_result_free(result);
    return exit_code;
}

/* ---- showing it ------------------------------------------------------------------------- */

/* The keyspace of a place, and the key in it; false: it is no key of a user. */
static bool place_split(struct hf_bytes place, uint32_t *ret_keyspace, struct slice *ret_key)
{
    const uint8_t *bytes = place.data;
    if (place.len < RANGES_PREFIX_LEN || bytes[0] != RANGES_USER_PREFIX)
        return false;
    *ret_keyspace = get_u32be(bytes + 1);
    *ret_key = slice_of(bytes + RANGES_PREFIX_LEN, place.len - RANGES_PREFIX_LEN);
    return true;
}

void ranges_append_place(struct buf *out, struct hf_bytes place)
{
    uint32_t keyspace;
    struct slice key;
    if (!place_split(place, &keyspace, &key)) {
        buf_append_str(out, "-");
        return;
    }
    if (keyspace != 0)
        buf_printf(out, "%u/", keyspace);
    buf_append_str(out, "'");
    cli_append_shown(out, key);
    buf_append_str(out, "'");
}

static void place_cell(struct cli_table *table, struct hf_bytes place)
{
    struct buf text;
    buf_init(&text, 8 * RANGES_PLACE_MAX);
    ranges_append_place(&text, place);
    cli_table_cell(table, "%.*s", (int)text.len, (const char *)text.data);
    buf_fini(&text);
}

static uint64_t figure(const struct hf_info *info, const char *name)
{
    for (size_t i = 0; i < info->stat_count; i++) {
        if (strcmp(info->stats[i].name, name) == 0)
            return info->stats[i].number;
    }
    return 0;
}

static void replicas_cell(struct cli_table *table, const struct hf_info *info)
{
    struct buf text;
    buf_init(&text, 4096);
    for (size_t i = 0; i < info->member_count; i++)
        buf_printf(&text, "%s%" PRIu64 "@%" PRIu64 "%s", i == 0 ? "" : " ",
                   info->members[i].replica_id, info->members[i].store_id,
                   info->members[i].is_learner ? " (learner)" : "");
    cli_table_cell(table, "%.*s", (int)text.len, (const char *)text.data);
    buf_fini(&text);
}

static void add_row(struct cli_table *table, const struct hf_info *info)
{
    cli_table_cell(table, "%" PRIu64, info->range_id);
    place_cell(table, info->range_start);
    place_cell(table, info->range_end);
    cli_table_cell(table, "%" PRIu64 ".%" PRIu64, info->conf_epoch, info->span_epoch);
    if (info->leader_store_id != 0)
        cli_table_cell(table, "%" PRIu64, info->leader_store_id);
    else
        cli_table_cell(table, "unknown");
    replicas_cell(table, info);
    cli_table_cell(table, "%s", cli_size(figure(info, "range.bytes")).text);
    cli_table_cell(table, "%" PRIu64, figure(info, "range.keys"));
    cli_table_cell(table, "%" PRIu64, figure(info, "range.qps"));
}

static void json_place(struct json_writer *w, const char *name, struct hf_bytes place)
{
    uint32_t keyspace;
    struct slice key;
    json_key(w, name);
    if (!place_split(place, &keyspace, &key)) {
        json_null(w);
        return;
    }
    json_object_begin(w);
    json_key(w, "keyspace");
    json_u64(w, keyspace);
    json_bytes_member(w, "key", key);
    json_object_end(w);
}

static void json_number(struct json_writer *w, const char *name, uint64_t number)
{
    json_key(w, name);
    json_u64(w, number);
}

static void json_range(struct json_writer *w, const struct hf_info *info)
{
    json_object_begin(w);
    json_number(w, "id", info->range_id);
    json_place(w, "start", info->range_start);
    json_place(w, "end", info->range_end);
    json_key(w, "epoch");
    json_object_begin(w);
    json_number(w, "conf", info->conf_epoch);
    json_number(w, "span", info->span_epoch);
    json_object_end(w);
    json_key(w, "leader");
    if (info->leader_store_id != 0)
        json_u64(w, info->leader_store_id);
    else
        json_null(w);
    json_key(w, "replicas");
    json_array_begin(w);
    for (size_t i = 0; i < info->member_count; i++) {
        json_object_begin(w);
        json_number(w, "id", info->members[i].replica_id);
        json_number(w, "store", info->members[i].store_id);
        json_key(w, "address");
        json_text(w, info->members[i].address);
        json_key(w, "role");
        json_text(w, info->members[i].is_learner ? "learner" : "voter");
        json_object_end(w);
    }
    json_array_end(w);
    json_number(w, "bytes", figure(info, "range.bytes"));
    json_number(w, "keys", figure(info, "range.keys"));
    json_number(w, "qps", figure(info, "range.qps"));
    json_object_end(w);
}

/* ---- list and show ------------------------------------------------------------------------ */

/* It is written beside the output: nothing is shown of one that could not be finished. */
struct listing {
    struct cli *cli;
    struct cli_table table;
    struct json_writer json;
    struct buf text;
    bool is_of_one; /* ranges without keys of that keyspace are left out */
    uint32_t keyspace;
};

static bool is_listed(const struct listing *list, const struct hf_info *info)
{
    uint8_t first[RANGES_PREFIX_LEN] = {RANGES_USER_PREFIX};
    uint8_t behind[RANGES_PREFIX_LEN] = {RANGES_USER_PREFIX};
    put_u32be(first + 1, list->keyspace);
    put_u32be(behind + 1, list->keyspace + 1);
    return !list->is_of_one ||
           (slice_compare(cli_slice(info->range_start), slice_of(behind, sizeof behind)) < 0 &&
            slice_compare(slice_of(first, sizeof first), cli_slice(info->range_end)) < 0);
}

static void listing_begin(struct listing *list)
{
    static const char *const heads[] = {"RANGE",    "START", "END",  "EPOCH", "LEADER",
                                        "REPLICAS", "BYTES", "KEYS", "QPS"};
    buf_init(&list->text, LIST_BYTES_MAX);
    if (!list->cli->is_json) {
        cli_table_init(&list->table, heads, ARRAY_LEN(heads));
        return;
    }
    json_begin(&list->json, &list->text);
    json_object_begin(&list->json);
    json_key(&list->json, "ranges");
    json_array_begin(&list->json);
}

static int listing_add(void *data, const struct hf_info *info)
{
    struct listing *list = data;
    if (!is_listed(list, info))
        return EXIT_DONE;
    if (list->cli->is_json)
        json_range(&list->json, info);
    else
        add_row(&list->table, info);
    return EXIT_DONE;
}

static int listing_end(struct listing *list, int exit_code)
{
    if (list->cli->is_json) {
        json_array_end(&list->json);
        json_object_end(&list->json);
        buf_append_str(&list->text, "\n");
    } else {
        cli_table_print(&list->table, &list->text);
    }
    if (exit_code == EXIT_DONE && list->text.failed)
        exit_code = cli_error(list->cli, "the list is too long for memory");
    if (exit_code == EXIT_DONE)
        buf_append_slice(&list->cli->out, buf_slice(&list->text));
    buf_fini(&list->text);
    return exit_code;
}

static int show_list(struct cli *cli, bool has_system)
{
    struct hf_client *client = cli_client(cli);
    bool is_of_one = cli->keyspace != NULL && !has_system;
    struct listing list = {.cli = cli, .is_of_one = is_of_one, .keyspace = cli->keyspace_id};
    listing_begin(&list);
    int exit_code = has_system ? ranges_system(cli, client, listing_add, &list) : EXIT_DONE;
    if (exit_code == EXIT_DONE)
        exit_code = ranges_walk(cli, client, false, listing_add, &list);
    return listing_end(&list, exit_code);
}

static int run_list(struct cli *cli, int argc, const char *const *argv)
{
    struct repeat repeat = {0};
    struct args_flag flags[REPEAT_FLAGS + 1];
    struct cli_words words;
    bool has_system = false;
    const struct args_flag more[] = {
        {"system", 0, ARGS_SWITCH, &has_system, NULL, NULL,
         "range 1, too, which has no users' keys"},
    };
    int exit_code;
    repeat_flags(&repeat, flags);
    flags[REPEAT_FLAGS] = more[0];
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 0, &words, &exit_code) ||
        !repeat_check(cli, &repeat, &exit_code))
        return exit_code;
    if (has_system && cli->is_keyspace_given)
        return cli_usage(cli, "--system or --keyspace: range 1 has no users' keys");
    if (cli_client(cli) == NULL)
        return EXIT_USAGE;
    repeat_begin(cli, &repeat);
    do
        exit_code = show_list(cli, has_system);
    while (repeat_again(cli, &repeat));
    return exit_code;
}

int ranges_parse_id(struct cli *cli, const char *word, uint64_t *ret_id)
{
    if (text_parse_u64(slice_str(word), ret_id) == 0 && *ret_id != 0)
        return EXIT_DONE;
    return cli_usage(cli, "RANGE is a number above 0, not '%s'", word);
}

static int show_one(struct cli *cli, uint64_t range_id)
{
    struct listing list = {.cli = cli};
    struct hf_result *result = NULL;
    int exit_code = ranges_one(cli, cli_client(cli), range_id, &result);
    if (exit_code != EXIT_DONE)
        return exit_code;
    listing_begin(&list);
    exit_code = listing_end(&list, listing_add(&list, result->info));
    hf_result_free(result);
    return exit_code;
}

static int run_show(struct cli *cli, int argc, const char *const *argv)
{
    struct repeat repeat = {0};
    struct args_flag flags[REPEAT_FLAGS];
    struct cli_words words;
    uint64_t range_id = 0;
    int exit_code;
    repeat_flags(&repeat, flags);
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, flags, REPEAT_FLAGS, 1, 1, &words, &exit_code) ||
        !repeat_check(cli, &repeat, &exit_code))
        return exit_code;
    exit_code = ranges_parse_id(cli, words.at[0], &range_id);
    if (exit_code != EXIT_DONE || cli_client(cli) == NULL)
        return EXIT_USAGE;
    repeat_begin(cli, &repeat);
    do
        exit_code = show_one(cli, range_id);
    while (repeat_again(cli, &repeat));
    return exit_code;
}

/* ---- leadership ------------------------------------------------------------------------------ */

static int run_transfer_leader(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    uint64_t replica_id = 0;
    struct moves_word word = {.name = "transfer-leader"};
    bool has_range = false;
    const struct args_flag flags[] = {
        {"range", 0, ARGS_U64, &word.range_id, &has_range, "RANGE", "of this range"},
        {"to", 0, ARGS_U64, &word.to_store, NULL, "STORE",
         "with --range: to this store (default: the best)"},
    };
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 1, &words, &exit_code))
        return exit_code;
    if (has_range != (word.range_id != 0) || (has_range && words.count == 1) ||
        (word.to_store != 0 && !has_range))
        return cli_usage(cli, "either REPLICA, or --range RANGE [--to STORE]");
    if (has_range)
        return moves_command(cli, &word);
    if (words.count == 1 && text_parse_u64(slice_str(words.at[0]), &replica_id) != 0)
        return cli_usage(cli, "REPLICA is a number, not '%s'", words.at[0]);
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    int rv = hf_transfer_leader(client, replica_id, &call, &result);
    if (rv != HF_OK)
        exit_code = cli_fail(cli, rv, result);
    else
        buf_append_str(&cli->out, cli->is_json ? "{\"ok\":true}\n" : "OK\n");
    hf_result_free(result);
    return rv == HF_OK ? EXIT_DONE : exit_code;
}

const struct cli_command range_commands[] = {
    {"list", run_list, NULL, NULL, "all ranges in the order of their keys",
     "  holdfast range list\n  holdfast range list --watch\n  holdfast range list --json\n"
     "  holdfast range list --system\n  holdfast range list --keyspace users\n"
     "\nBYTES, KEYS (both estimates) and QPS are those of the leader. What is listed covers each\n"
     "key of users once: while stores contradict each other they are asked again, and after\n"
     "--timeout without headway it fails and lists nothing. Range 1 has the cluster's own data\n"
     "(its map, settings, users). With --keyspace (here, or behind the word shell) only those are\n"
     "listed that may have keys of it."},
    {"show", run_show, NULL, "RANGE", "one range", "  holdfast range show 2"},
    {"split", range_split_run, NULL, "[KEY…]", "cut the ranges that hold these keys, at these keys",
     "  holdfast range split m t\n  holdfast range split --range 2"},
    {"merge", range_merge_run, NULL, "LEFT RIGHT", "make two neighbours one range",
     "  holdfast range merge 2 918273\n"
     "\nRIGHT must begin where LEFT ends. If its replicas are on other stores, they are moved\n"
     "first. It serves nothing while it is merged: milliseconds, or two seconds if that fails."},
    {"move", range_move_run, NULL, "RANGE", "bring a replica from one store to another",
     "  holdfast range move 2 --from 1 --to 4\n  holdfast range move 2 --from 1"},
    {"add-replica", range_add_replica_run, NULL, "RANGE", "one voter more",
     "  holdfast range add-replica 2 --to 4"},
    {"remove-replica", range_remove_replica_run, NULL, "RANGE", "one voter fewer",
     "  holdfast range remove-replica 2 --from 1\n"
     "\nPlacement adds and removes until a range has as many voters as the setting 'replicas'\n"
     "says: these two are for while it is paused."},
    {"scatter", range_scatter_run, NULL, "RANGE", "move a replica or the leader at random",
     "  holdfast range scatter 2"},
    {"check", range_check_run, NULL, "[RANGE]",
     "compare the replicas of a range: checksums of each, at one index",
     "  holdfast range check\n  holdfast range check --all --json\n"
     "\n0: all replicas are alike; 1: some differ; 4: nothing differs, but not all took part"},
    {"recover", range_recover_run, NULL, NULL,
     "bring back ranges whose majority is lost for good, on a stopped store",
     "  holdfast range recover --unsafe --data /var/lib/holdfast --lost 2,3\n"
     "  holdfast range recover --unsafe --data /var/lib/holdfast --lost 2,3 --yes\n"
     "\nThe ranges go on with what this folder holds; writes that only the lost stores had are\n"
     "gone. Without --yes it shows what would be done. The lost stores must never start again."},
    {"transfer-leader", run_transfer_leader, NULL, "[REPLICA]",
     "hand leadership to a replica, or to whichever is best",
     "  holdfast range transfer-leader 2\n  holdfast range transfer-leader --range 7 --to 3"},
    {0},
};
