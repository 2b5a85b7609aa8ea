/* SPDX-License-Identifier: Apache-2.0
 *
 * node, store, placement: what placement is asked and told. Tables come as they are shown;
 * with --json a row is an object with the columns as keys.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "commands.h"
#include "placement.h"

/* ---- showing ------------------------------------------------------------------------ */

static bool is_number_column(const char *name)
{
    return name[0] == '#';
}

static const char *column_name(const char *name)
{
    return name + is_number_column(name);
}

/* Sizes as people read them. */
static bool is_size_column(const char *name)
{
    return strstr(name, "bytes") != NULL || strcmp(name, "#capacity") == 0;
}

static void show_cell(struct cli_table *to, const char *column, const char *cell)
{
    uint64_t number;
    if (cell[0] == 0) {
        cli_table_cell(to, "-");
    } else if (is_size_column(column) && text_parse_u64(slice_str(cell), &number) == 0 &&
               number >= 1 << 20) {
        cli_table_cell(to, "%.1fMiB", (double)number / (1 << 20));
    } else {
        cli_table_cell(to, "%s", cell);
    }
}

static void show_rows(struct cli *cli, const struct hf_table *table)
{
    struct cli_table out;
    char upper[32][40];
    const char *heads[32];
    size_t columns = MIN(table->column_count, ARRAY_LEN(heads));
    for (size_t c = 0; c < columns; c++) {
        snprintf(upper[c], sizeof upper[c], "%s", column_name(table->columns[c]));
        for (char *p = upper[c]; *p != 0; p++)
            *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
        heads[c] = upper[c];
    }
    cli_table_init(&out, heads, columns);
    for (size_t r = 0; r < table->row_count; r++) {
        for (size_t c = 0; c < columns; c++)
            show_cell(&out, table->columns[c], table->cells[r * table->column_count + c]);
    }
    cli_table_print(&out, &cli->out);
}

static void json_cell(struct json_writer *w, const char *column, const char *cell)
{
    uint64_t number;
    json_key(w, column_name(column));
    if (is_number_column(column) && text_parse_u64(slice_str(cell), &number) == 0)
        json_u64(w, number);
    else
        json_text(w, cell);
}

static void json_rows(struct cli *cli, const struct hf_table *table, const char *name)
{
    struct json_writer w;
    json_begin(&w, &cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, true);
    if (table != NULL && table->text[0] != 0) {
        json_key(&w, "text");
        json_text(&w, table->text);
    }
    if (table != NULL && table->column_count > 0) {
        json_key(&w, name);
        json_array_begin(&w);
        for (size_t r = 0; r < table->row_count; r++) {
            json_object_begin(&w);
            for (size_t c = 0; c < table->column_count; c++)
                json_cell(&w, table->columns[c], table->cells[r * table->column_count + c]);
            json_object_end(&w);
        }
        json_array_end(&w);
    }
    json_object_end(&w);
    buf_append_str(&cli->out, "\n");
}

const char *placement_cell(const struct hf_table *table, size_t row, const char *column)
{
    for (size_t c = 0; c < table->column_count && row < table->row_count; c++) {
        if (strcmp(table->columns[c], column) == 0)
            return table->cells[row * table->column_count + c];
    }
    return "";
}

int placement_ask(struct cli *cli, struct hf_placement_ask *ask, const char *name)
{
    struct hf_client *client = cli_client(cli);
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    if (client == NULL)
        return EXIT_USAGE;
    ask->size = sizeof *ask;
    int rv = hf_placement(client, ask, &call, &result);
    int exit_code = rv == HF_OK ? EXIT_DONE : cli_fail(cli, rv, result);
    const struct hf_table *table = rv == HF_OK ? result->table : NULL;
    if (rv == HF_OK && cli->is_json)
        json_rows(cli, table, name);
    else if (table != NULL && table->column_count > 0)
        show_rows(cli, table);
    else if (table != NULL && table->text[0] != 0)
        buf_printf(&cli->out, "%s%s", table->text,
                   table->text[strlen(table->text) - 1] == '\n' ? "" : "\n");
    else if (rv == HF_OK)
        buf_append_str(&cli->out, "OK\n");
    hf_result_free(result);
    return exit_code;
}

/* ---- commands ------------------------------------------------------------------------- */

/* One word that is an id, or none where that is allowed. */
static bool parse_id(struct cli *cli, int argc, const char *const *argv, bool is_needed,
                     uint64_t *ret_id, int *ret_exit)
{
    struct cli_words words;
    *ret_id = 0;
    if (!cli_parse(cli, argc, argv, NULL, 0, is_needed, 1, &words, ret_exit))
        return false;
    if (words.count == 0 || text_parse_u64(slice_str(words.at[0]), ret_id) == 0)
        return true;
    *ret_exit = cli_usage(cli, "an id is a number, not '%s'", words.at[0]);
    return false;
}

static int run_verb(struct cli *cli, int argc, const char *const *argv, int verb, bool needs_id,
                    const char *name)
{
    struct hf_placement_ask ask = {.verb = verb};
    int exit_code;
    if (!parse_id(cli, argc, argv, needs_id, &ask.id, &exit_code))
        return exit_code;
    return placement_ask(cli, &ask, name);
}

static int run_store_list(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_STORES, false, "stores");
}

static int run_store_show(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_STORES, true, "stores");
}

static int run_drain(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_DRAIN, true, "stores");
}

static int run_undrain(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_UNDRAIN, true, "stores");
}

static int run_decommission(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_DECOMMISSION, true, "stores");
}

static int run_remove(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_REMOVE_STORE, true, "stores");
}

static int run_status(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_STATUS, false, "placement");
}

static int run_pause(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_PAUSE, false, "placement");
}

static int run_resume(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_RESUME, false, "placement");
}

static int run_operators(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_OPERATORS, false, "operators");
}

static int run_explain(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_EXPLAIN, true, "explanation");
}

static int run_why_not(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_WHY_NOT, true, "explanation");
}

static int run_cancel(struct cli *cli, int argc, const char *const *argv)
{
    struct hf_placement_ask ask = {.verb = HF_PLACEMENT_COMMAND, .name = "cancel"};
    int exit_code;
    if (!parse_id(cli, argc, argv, true, &ask.id, &exit_code))
        return exit_code;
    return placement_ask(cli, &ask, "operators");
}

static int run_settings(struct cli *cli, int argc, const char *const *argv)
{
    struct hf_placement_ask ask = {.verb = HF_PLACEMENT_SETTINGS};
    struct cli_words words;
    int exit_code;
    if (!cli_parse(cli, argc, argv, NULL, 0, 0, 2, &words, &exit_code))
        return exit_code;
    if (words.count == 1)
        return cli_usage(cli, "NAME and VALUE, or neither");
    if (words.count == 2) {
        ask.verb = HF_PLACEMENT_SET;
        ask.name = words.at[0];
        ask.value = hf_str(words.at[1]);
    }
    return placement_ask(cli, &ask, "settings");
}

static int run_plan(struct cli *cli, int argc, const char *const *argv)
{
    struct hf_placement_ask ask = {.verb = HF_PLACEMENT_PLAN};
    struct cli_words words;
    uint64_t down = 0, gone = 0, add = 0;
    const char *labels = NULL;
    int exit_code;
    const struct args_flag flags[] = {
        {"if-down", 0, ARGS_U64, &down, NULL, "STORE", "as if that store were down"},
        {"if-gone", 0, ARGS_U64, &gone, NULL, "STORE", "as if it were decommissioned"},
        {"if-add", 0, ARGS_SIZE, &add, NULL, "SIZE", "as if there were another one of that size"},
        {"labels", 0, ARGS_TEXT, &labels, NULL, "LABELS", "… with these labels"},
    };
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 0, &words, &exit_code))
        return exit_code;
    if ((down != 0) + (gone != 0) + (add != 0) > 1)
        return cli_usage(cli, "imagine one thing at a time");
    if (down != 0 || gone != 0 || add != 0) {
        ask.name = down != 0 ? "down" : gone != 0 ? "gone" : "add";
        ask.id = down + gone + add;
    }
    if (labels != NULL)
        ask.value = hf_str(labels);
    return placement_ask(cli, &ask, "plan");
}

const struct cli_command node_commands[] = {
    {"list", run_store_list, NULL, NULL, "the stores of the cluster, each a node of its own",
     "  holdfast node list\n  holdfast node list --json"},
    {"show", run_store_show, NULL, "STORE", "one of them", "  holdfast node show 2"},
    {"drain", run_drain, NULL, "STORE", "leaders leave it, and nothing comes",
     "  holdfast node drain 2"},
    {"undrain", run_undrain, NULL, "STORE", "take a drain or a decommission back",
     "  holdfast node undrain 2"},
    {"decommission", run_decommission, NULL, "STORE",
     "replicas leave it, too; with none left it is removed", "  holdfast node decommission 2"},
    {"remove", run_remove, NULL, "STORE", "forget one that is down for good, or holds nothing",
     "  holdfast node remove 2"},
    {0},
};

const struct cli_command store_commands[] = {
    {"list", run_store_list, NULL, NULL, "the stores of the cluster", "  holdfast store list"},
    {"show", run_store_show, NULL, "STORE", "one of them", "  holdfast store show 2"},
    {0},
};

const struct cli_command placement_commands[] = {
    {"status", run_status, NULL, NULL, "how placement is", "  holdfast placement status"},
    {"settings", run_settings, NULL, "[NAME VALUE]", "what can be set, or set it",
     "  holdfast placement settings\n  holdfast placement settings replicas 5"},
    {"pause", run_pause, NULL, NULL, "do nothing but what is commanded",
     "  holdfast placement pause"},
    {"resume", run_resume, NULL, NULL, "go on", "  holdfast placement resume"},
    {"operators", run_operators, NULL, "[OPERATOR]", "what runs, and what ended last; or this one",
     "  holdfast placement operators\n  holdfast placement operators 17"},
    {"cancel", run_cancel, NULL, "OPERATOR", "end one", "  holdfast placement cancel 17"},
    {"explain", run_explain, NULL, "RANGE", "what is done with a range, and why",
     "  holdfast placement explain 2"},
    {"why-not", run_why_not, NULL, "STORE", "why nothing comes to a store or leaves it",
     "  holdfast placement why-not 3"},
    {"plan", run_plan, NULL, NULL, "what would be done next, without doing it",
     "  holdfast placement plan\n  holdfast placement plan --if-down 2"},
    {0},
};
