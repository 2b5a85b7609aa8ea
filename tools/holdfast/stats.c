/* SPDX-License-Identifier: Apache-2.0
 *
 * stats: what the client of the shell counted since it was begun, each kind of operation by
 * itself.
 */
#include <inttypes.h>

#include "commands.h"

static void show_json(struct cli *cli, const struct hf_op_stats *all, const char *const *names,
                      size_t count)
{
    struct json_writer w;
    json_begin(&w, &cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, true);
    for (size_t i = 0; i < count; i++) {
        const struct hf_op_stats *s = &all[i];
        const struct {
            const char *name;
            uint64_t value;
        } figures[] = {
            {"count", s->count},           {"errors", s->errors},
            {"min_us", s->latency_us_min}, {"mean_us", s->latency_us_mean},
            {"p50_us", s->latency_us_p50}, {"p90_us", s->latency_us_p90},
            {"p99_us", s->latency_us_p99}, {"p999_us", s->latency_us_p999},
            {"max_us", s->latency_us_max},
        };
        json_key(&w, names[i]);
        json_object_begin(&w);
        for (size_t k = 0; k < ARRAY_LEN(figures); k++) {
            json_key(&w, figures[k].name);
            json_u64(&w, figures[k].value);
        }
        json_key(&w, "errors_by_code");
        json_object_begin(&w);
        for (size_t code = 1; code < ARRAY_LEN(s->by_code); code++) {
            if (s->by_code[code] == 0)
                continue;
            json_key(&w, hf_code_name(-(int)code));
            json_u64(&w, s->by_code[code]);
        }
        json_object_end(&w);
        json_object_end(&w);
    }
    json_object_end(&w);
    buf_append_u8(&cli->out, '\n');
}

static void show_text(struct cli *cli, const struct hf_op_stats *all, const char *const *names,
                      size_t count)
{
    static const char *const heads[] = {"OPERATION", "COUNT",    "ERRORS", "P50_US",
                                        "P99_US",    "P99.9_US", "MAX_US", "ENDED"};
    struct cli_table table;
    cli_table_init(&table, heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < count; i++) {
        const struct hf_op_stats *s = &all[i];
        struct buf codes;
        buf_init(&codes, 4096);
        for (size_t code = 1; code < ARRAY_LEN(s->by_code); code++) {
            if (s->by_code[code] > 0)
                buf_printf(&codes, "%s%s %" PRIu64, codes.len > 0 ? ", " : "",
                           hf_code_name(-(int)code), s->by_code[code]);
        }
        cli_table_cell(&table, "%s", names[i]);
        cli_table_cell(&table, "%" PRIu64, s->count);
        cli_table_cell(&table, "%" PRIu64, s->errors);
        cli_table_cell(&table, "%" PRIu64, s->latency_us_p50);
        cli_table_cell(&table, "%" PRIu64, s->latency_us_p99);
        cli_table_cell(&table, "%" PRIu64, s->latency_us_p999);
        cli_table_cell(&table, "%" PRIu64, s->latency_us_max);
        cli_table_cell(&table, "%.*s", (int)codes.len, codes.len > 0 ? (char *)codes.data : "");
        buf_fini(&codes);
    }
    cli_table_print(&table, &cli->out);
}

int stats_run(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    struct hf_op_stats all[HF_OP_KINDS];
    const char *names[HF_OP_KINDS];
    size_t count = 0;
    int exit_code;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 0, 0, &words, &exit_code))
        return exit_code;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    for (int kind = 0; kind < HF_OP_KINDS; kind++) {
        all[count] = (struct hf_op_stats){.size = sizeof all[count]};
        if (hf_client_op_stats(client, kind, &all[count]) == HF_OK && all[count].count > 0)
            names[count++] = hf_op_kind_name(kind);
    }
    if (cli->is_json)
        show_json(cli, all, names, count);
    else if (count == 0)
        buf_append_str(&cli->out, "nothing yet");
    else
        show_text(cli, all, names, count);
    return EXIT_DONE;
}
