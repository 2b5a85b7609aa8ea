/* SPDX-License-Identifier: Apache-2.0 */
/* status [ENDPOINTS] — the first range and its members, some figures of a store, and what
 * placement says of all stores. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int show_range(struct hf_client *client)
{
    struct hf_result *result = NULL;
    int code = hf_status(client, NULL, NULL, &result);
    if (code == HF_OK) {
        const struct hf_info *info = result->info;
        printf("range %" PRIu64 ", led by replica %" PRIu64 "\n", info->range_id,
               info->leader_replica_id);
        for (size_t i = 0; i < info->member_count; i++)
            printf("  replica %" PRIu64 " on store %" PRIu64 "\n", info->members[i].replica_id,
                   info->members[i].store_id);
    }
    hf_result_free(result);
    return code;
}

static int show_figures(struct hf_client *client)
{
    struct hf_result *result = NULL;
    int code = hf_stats(client, NULL, NULL, &result);
    for (size_t i = 0; code == HF_OK && i < result->info->stat_count; i++) {
        const struct hf_stat *stat = &result->info->stats[i];
        if (strncmp(stat->name, "log.", 4) == 0 && stat->text == NULL)
            printf("%s %" PRIu64 "\n", stat->name, stat->number);
    }
    hf_result_free(result);
    return code;
}

static int show_stores(struct hf_client *client)
{
    struct hf_placement_ask ask = {.size = sizeof ask, .verb = HF_PLACEMENT_STORES};
    struct hf_result *result = NULL;
    int code = hf_placement(client, &ask, NULL, &result);
    if (code == HF_OK) {
        const struct hf_table *table = result->table;
        for (size_t i = 0; i < table->row_count * table->column_count; i++)
            printf("%s%c", table->cells[i], (i + 1) % table->column_count == 0 ? '\n' : ' ');
    }
    hf_result_free(result);
    return code;
}

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *client;
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "embedded:example";
    int code = hf_open(&options, &client);
    if (code == HF_OK) {
        code = hf_put(client, hf_str("up"), hf_str("yes"), NULL, NULL, NULL); /* it has a leader */
        if (code == HF_OK)
            code = show_range(client);
        if (code == HF_OK)
            code = show_figures(client);
        if (code == HF_OK)
            code = show_stores(client);
        hf_close(client);
    }
    if (code != HF_OK)
        fprintf(stderr, "status: %s\n", hf_strerror(code));
    return code == HF_OK ? 0 : 1;
}
