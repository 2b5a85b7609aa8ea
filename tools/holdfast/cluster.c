/* SPDX-License-Identifier: Apache-2.0
 *
 * cluster status.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "commands.h"

/* What a store said of itself. */
struct store_view {
    const char *address;
    int code; /* of the call that asked it */
    struct hf_result *result;
};

static void views_free(struct store_view *views, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hf_result_free(views[i].result);
}

/* ---- status ------------------------------------------------------------------------ */

static const struct hf_stat *find_stat(const struct hf_info *info, const char *name)
{
    for (size_t i = 0; i < info->stat_count; i++) {
        if (strcmp(info->stats[i].name, name) == 0)
            return &info->stats[i];
    }
    return NULL;
}

static void number_cell(struct cli_table *table, const struct hf_info *info, const char *name)
{
    const struct hf_stat *stat = info == NULL ? NULL : find_stat(info, name);
    if (stat == NULL)
        cli_table_cell(table, "-");
    else if (stat->text != NULL)
        cli_table_cell(table, "%s", stat->text);
    else
        cli_table_cell(table, "%" PRIu64, stat->number);
}

/* What a store is, as itself sees it. */
static const char *role_of(const struct hf_info *info, const struct hf_member *member)
{
    if (info != NULL && info->leader_store_id == info->store_id && info->leader_replica_id != 0)
        return "leader";
    return member->is_learner ? "learner" : "voter";
}

static void print_status(struct cli *cli, const struct hf_info *any, struct store_view *views)
{
    static const char *const heads[] = {"STORE",  "ADDRESS", "ROLE",   "STATE", "TERM",
                                        "COMMIT", "APPLIED", "MEMORY", "DISK"};
    buf_printf(&cli->out, "cluster %016" PRIx64 ", range %" PRIu64 ", leader %s\n", any->cluster_id,
               any->range_id, any->leader_address[0] != 0 ? any->leader_address : "unknown");
    struct cli_table table;
    cli_table_init(&table, heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < any->member_count; i++) {
        const struct hf_info *info = views[i].code == HF_OK ? views[i].result->info : NULL;
        cli_table_cell(&table, "%" PRIu64, any->members[i].store_id);
        cli_table_cell(&table, "%s", any->members[i].address);
        cli_table_cell(&table, "%s", role_of(info, &any->members[i]));
        cli_table_cell(&table, "%s", info != NULL ? "up" : hf_code_name(views[i].code));
        if (info != NULL)
            cli_table_cell(&table, "%" PRIu64, info->term);
        else
            cli_table_cell(&table, "-");
        number_cell(&table, info, "raft.commit");
        number_cell(&table, info, "raft.applied");
        number_cell(&table, info, "memory_bytes");
        number_cell(&table, info, "store.disk");
    }
    cli_table_print(&table, &cli->out);
}

static void json_stats(struct json_writer *w, const struct hf_info *info)
{
    json_key(w, "stats");
    json_object_begin(w);
    for (size_t i = 0; i < info->stat_count; i++) {
        json_key(w, info->stats[i].name);
        if (info->stats[i].text != NULL)
            json_text(w, info->stats[i].text);
        else
            json_u64(w, info->stats[i].number);
    }
    json_object_end(w);
}

static void json_store(struct json_writer *w, const struct hf_member *member,
                       const struct store_view *view)
{
    const struct hf_info *info = view->code == HF_OK ? view->result->info : NULL;
    json_object_begin(w);
    json_key(w, "store_id");
    json_u64(w, member->store_id);
    json_key(w, "replica_id");
    json_u64(w, member->replica_id);
    json_key(w, "address");
    json_text(w, member->address);
    json_key(w, "role");
    json_text(w, role_of(info, member));
    json_key(w, "up");
    json_bool(w, info != NULL);
    if (info != NULL) {
        json_key(w, "term");
        json_u64(w, info->term);
        json_stats(w, info);
    } else {
        json_key(w, "code");
        json_text(w, hf_code_name(view->code));
    }
    json_object_end(w);
}

static void print_status_json(struct cli *cli, const struct hf_info *any, struct store_view *views)
{
    struct json_writer w;
    char cluster_id[17];
    snprintf(cluster_id, sizeof cluster_id, "%016" PRIx64, any->cluster_id);
    json_begin(&w, &cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, any->leader_replica_id != 0);
    json_key(&w, "cluster_id");
    json_text(&w, cluster_id);
    json_key(&w, "range_id");
    json_u64(&w, any->range_id);
    json_key(&w, "leader_store_id");
    json_u64(&w, any->leader_store_id);
    json_key(&w, "leader_address");
    json_text(&w, any->leader_address);
    json_key(&w, "stores");
    json_array_begin(&w);
    for (size_t i = 0; i < any->member_count; i++)
        json_store(&w, &any->members[i], &views[i]);
    json_array_end(&w);
    json_object_end(&w);
    buf_append_str(&cli->out, "\n");
}

/* Ask every member of `any` for its own view, and show all of them. The newest word on
 * who leads is that of the greatest term. */
static int show_status(struct cli *cli, struct hf_client *client, const struct hf_info *any)
{
    struct store_view views[CLI_ENDPOINTS_MAX] = {0};
    struct hf_call call = cli_call(cli);
    if (!cli->is_timeout_given)
        call.timeout_ms = 1000;
    if (any->member_count > CLI_ENDPOINTS_MAX)
        return cli_error(cli, "over %d members", CLI_ENDPOINTS_MAX);
    const struct hf_info *best = any;
    for (size_t i = 0; i < any->member_count; i++) {
        views[i].address = any->members[i].address;
        views[i].code = hf_status(client, views[i].address, &call, &views[i].result);
        if (views[i].code != HF_OK)
            continue;
        const struct hf_info *info = views[i].result->info;
        if (info->term > best->term || (info->term == best->term && best->leader_replica_id == 0))
            best = info;
    }
    struct hf_info shown = *any;
    shown.leader_replica_id = best->leader_replica_id;
    shown.leader_store_id = best->leader_store_id;
    shown.leader_address = best->leader_address;
    if (cli->is_json)
        print_status_json(cli, &shown, views);
    else
        print_status(cli, &shown, views);
    views_free(views, any->member_count);
    return shown.leader_replica_id != 0 ? EXIT_DONE : EXIT_ERROR;
}

static int run_status(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 0, 0, &words, &exit_code))
        return exit_code;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    int rv = hf_status(client, NULL, &call, &result);
    exit_code = rv == HF_OK ? show_status(cli, client, result->info) : cli_fail(cli, rv, result);
    hf_result_free(result);
    return exit_code;
}

const struct cli_command cluster_commands[] = {
    {"status", run_status, NULL, NULL, "stores, their roles and how far they are",
     "  holdfast cluster status\n  holdfast cluster status --json"},
    {0},
};
