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
#include "repeat.h"

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

/* Times, too: their columns are of milliseconds. */
static bool is_time_column(const char *name)
{
    size_t len = strlen(name);
    return len > 3 && strcmp(name + len - 3, "_ms") == 0;
}

static void show_cell(struct cli_table *to, const char *column, const char *cell)
{
    uint64_t number;
    bool is_number = text_parse_u64(slice_str(cell), &number) == 0;
    if (cell[0] == 0)
        cli_table_cell(to, "-");
    else if (is_number && is_size_column(column))
        cli_table_cell(to, "%s", cli_size(number).text);
    else if (is_number && is_time_column(column))
        cli_table_cell(to, "%.1fs", (double)number / 1000);
    else
        cli_table_cell(to, "%s", cell);
}

static void show_rows(struct cli *cli, const struct hf_table *table)
{
    struct cli_table out;
    char upper[CLI_TABLE_COLUMNS_MAX][40];
    const char *heads[CLI_TABLE_COLUMNS_MAX];
    size_t columns = MIN(table->column_count, ARRAY_LEN(heads));
    for (size_t c = 0; c < columns; c++) {
        snprintf(upper[c], sizeof upper[c], "%s", column_name(table->columns[c]));
        if (is_time_column(upper[c]))
            upper[c][strlen(upper[c]) - 3] = 0;
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

/* One of operators was asked for, and the table is empty. */
static bool is_unknown_operator(const struct hf_placement_ask *ask, const struct hf_table *table)
{
    return ask->verb == HF_PLACEMENT_OPERATORS && ask->id != 0 &&
           (table == NULL || table->row_count == 0);
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
    if (rv == HF_OK && is_unknown_operator(ask, table))
        exit_code = cli_fail_as(cli, HF_ERR_NOT_FOUND, "no operator %" PRIu64, ask->id);
    else if (rv == HF_OK && cli->is_json)
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

/* One word that is an id, or none where that is allowed; with flags of the command's own. */
static bool parse_id(struct cli *cli, int argc, const char *const *argv,
                     const struct args_flag *flags, size_t flags_count, bool is_needed,
                     uint64_t *ret_id, int *ret_exit)
{
    struct cli_words words;
    *ret_id = 0;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, flags, flags_count, is_needed, 1, &words, ret_exit))
        return false;
    if (words.count == 0)
        return true;
    if (text_parse_u64(slice_str(words.at[0]), ret_id) == 0 && *ret_id != 0)
        return true; /* 0 would ask for all */
    *ret_exit = cli_usage(cli, "an id is a number from 1 on, not '%s'", words.at[0]);
    return false;
}

static int run_verb(struct cli *cli, int argc, const char *const *argv, int verb, bool needs_id,
                    const char *name)
{
    struct hf_placement_ask ask = {.verb = verb};
    int exit_code;
    if (!parse_id(cli, argc, argv, NULL, 0, needs_id, &ask.id, &exit_code))
        return exit_code;
    return placement_ask(cli, &ask, name);
}

/* What only shows something can be watched. */
static int show_verb(struct cli *cli, int argc, const char *const *argv, int verb, bool needs_id,
                     const char *name)
{
    struct hf_placement_ask ask = {.verb = verb};
    struct repeat repeat = {0};
    struct args_flag flags[REPEAT_FLAGS];
    int exit_code;
    repeat_flags(&repeat, flags);
    if (!parse_id(cli, argc, argv, flags, REPEAT_FLAGS, needs_id, &ask.id, &exit_code) ||
        !repeat_check(cli, &repeat, &exit_code))
        return exit_code;
    repeat_begin(cli, &repeat);
    do
        exit_code = placement_ask(cli, &ask, name);
    while (repeat_again(cli, &repeat));
    return exit_code;
}

static int run_store_list(struct cli *cli, int argc, const char *const *argv)
{
    return show_verb(cli, argc, argv, HF_PLACEMENT_STORES, false, "stores");
}

static int run_store_show(struct cli *cli, int argc, const char *const *argv)
{
    return show_verb(cli, argc, argv, HF_PLACEMENT_STORES, true, "stores");
}

/* … and what comes of it, for who gave the word at a terminal. */
static int run_wish(struct cli *cli, int argc, const char *const *argv, int verb, const char *then)
{
    struct hf_placement_ask ask = {.verb = verb};
    int exit_code;
    if (!parse_id(cli, argc, argv, NULL, 0, true, &ask.id, &exit_code))
        return exit_code;
    exit_code = placement_ask(cli, &ask, "stores");
    if (exit_code == EXIT_DONE && !cli->is_json)
        buf_printf(&cli->out, "%s: holdfast placement why-not %" PRIu64 "\n", then, ask.id);
    return exit_code;
}

static int run_drain(struct cli *cli, int argc, const char *const *argv)
{
    return run_wish(cli, argc, argv, HF_PLACEMENT_DRAIN, "its leaders leave now; how far that is");
}

static int run_undrain(struct cli *cli, int argc, const char *const *argv)
{
    return run_verb(cli, argc, argv, HF_PLACEMENT_UNDRAIN, true, "stores");
}

/* Words that end in a store's being forgotten for ever. */
static int run_ending(struct cli *cli, int argc, const char *const *argv, int verb,
                      const char *what, const char *then)
{
    struct hf_placement_ask ask = {.verb = verb};
    bool is_sure = false;
    char text[400];
    int exit_code;
    const struct args_flag flags[] = {
        {"yes", 'y', ARGS_SWITCH, &is_sure, NULL, NULL, "do not ask"},
    };
    if (!parse_id(cli, argc, argv, flags, ARRAY_LEN(flags), true, &ask.id, &exit_code))
        return exit_code;
    snprintf(text, sizeof text, "store %" PRIu64 " %s", ask.id, what);
    if (!cli_confirm(cli, is_sure, text, &exit_code))
        return exit_code;
    exit_code = placement_ask(cli, &ask, "stores");
    if (exit_code == EXIT_DONE && !cli->is_json && then != NULL)
        buf_printf(&cli->out, "%s: holdfast placement why-not %" PRIu64 "\n", then, ask.id);
    return exit_code;
}

static int run_decommission(struct cli *cli, int argc, const char *const *argv)
{
    return run_ending(cli, argc, argv, HF_PLACEMENT_DECOMMISSION,
                      "gives its replicas to others, and is then removed for ever (what would be "
                      "done: holdfast placement plan --if-gone STORE)",
                      "its replicas leave one by one; how far that is");
}

static int run_remove(struct cli *cli, int argc, const char *const *argv)
{
    return run_ending(cli, argc, argv, HF_PLACEMENT_REMOVE_STORE,
                      "is forgotten for ever: what it has is not copied from it any more, and its "
                      "folder never gets in again",
                      NULL);
}

static int run_restart_safe(struct cli *cli, int argc, const char *const *argv)
{
    struct hf_placement_ask ask = {.verb = HF_PLACEMENT_PLAN, .name = "restart"};
    int exit_code;
    if (!parse_id(cli, argc, argv, NULL, 0, true, &ask.id, &exit_code))
        return exit_code;
    return placement_ask(cli, &ask, "stores");
}

static int run_status(struct cli *cli, int argc, const char *const *argv)
{
    return show_verb(cli, argc, argv, HF_PLACEMENT_STATUS, false, "placement");
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
    return show_verb(cli, argc, argv, HF_PLACEMENT_OPERATORS, false, "operators");
}

static int run_explain(struct cli *cli, int argc, const char *const *argv)
{
    return show_verb(cli, argc, argv, HF_PLACEMENT_EXPLAIN, true, "explanation");
}

static int run_why_not(struct cli *cli, int argc, const char *const *argv)
{
    return show_verb(cli, argc, argv, HF_PLACEMENT_WHY_NOT, true, "explanation");
}

static int run_cancel(struct cli *cli, int argc, const char *const *argv)
{
    struct hf_placement_ask ask = {.verb = HF_PLACEMENT_COMMAND, .name = "cancel"};
    int exit_code;
    if (!parse_id(cli, argc, argv, NULL, 0, true, &ask.id, &exit_code))
        return exit_code;
    return placement_ask(cli, &ask, "operators");
}

/* ---- settings ------------------------------------------------------------------------- */

/* The one row of a table whose first cell is `name`. */
static bool find_row(const struct hf_table *table, const char *name, struct hf_table *ret_row)
{
    for (size_t r = 0; table != NULL && r < table->row_count; r++) {
        if (strcmp(placement_cell(table, r, "setting"), name) != 0)
            continue;
        *ret_row = *table;
        ret_row->cells = table->cells + r * table->column_count;
        ret_row->row_count = 1;
        return true;
    }
    return false;
}

static int show_setting(struct cli *cli, const char *name)
{
    struct hf_placement_ask ask = {.size = sizeof ask, .verb = HF_PLACEMENT_SETTINGS};
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    struct hf_table row;
    if (cli_client(cli) == NULL)
        return EXIT_USAGE;
    int rv = hf_placement(cli_client(cli), &ask, &call, &result);
    int exit_code = rv == HF_OK ? EXIT_DONE : cli_fail(cli, rv, result);
    if (rv == HF_OK && !find_row(result->table, name, &row))
        exit_code = cli_fail_as(cli, HF_ERR_NOT_FOUND,
                                "no setting '%s': holdfast placement settings tells all", name);
    else if (rv == HF_OK && cli->is_json)
        json_rows(cli, &row, "settings");
    else if (rv == HF_OK)
        show_rows(cli, &row);
    hf_result_free(result);
    return exit_code;
}

static int run_settings(struct cli *cli, int argc, const char *const *argv)
{
    struct hf_placement_ask ask = {.verb = HF_PLACEMENT_SETTINGS};
    struct cli_words words;
    int exit_code;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 0, 2, &words, &exit_code))
        return exit_code;
    if (words.count == 1)
        return show_setting(cli, words.at[0]);
    if (words.count == 2) {
        ask.verb = HF_PLACEMENT_SET;
        ask.name = words.at[0];
        ask.value = hf_str(words.at[1]);
    }
    return placement_ask(cli, &ask, "settings");
}

static int run_set(struct cli *cli, int argc, const char *const *argv)
{
    struct hf_placement_ask ask = {.verb = HF_PLACEMENT_SET};
    struct cli_words words;
    int exit_code;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 2, 2, &words, &exit_code))
        return exit_code;
    ask.name = words.at[0];
    ask.value = hf_str(words.at[1]);
    return placement_ask(cli, &ask, "settings");
}

/* ---- plan ----------------------------------------------------------------------------- */

/* A store that is imagined: its size, and its labels in front of that or apart. */
struct imagined {
    const char *add; /* "1TiB", "zone=b:1TiB"; NULL: none */
    const char *labels;
};

static bool parse_imagined(struct cli *cli, const struct imagined *add,
                           struct hf_placement_ask *ask, int *ret_exit)
{
    const char *colon = strrchr(add->add, ':');
    const char *size = colon == NULL ? add->add : colon + 1;
    if (text_parse_size(slice_str(size), &ask->id) != 0 || ask->id == 0) {
        *ret_exit = cli_usage(cli, "--if-add wants 1TiB or zone=b:1TiB, not '%s'", add->add);
        return false;
    }
    if (colon != NULL && add->labels != NULL) {
        *ret_exit = cli_usage(cli, "labels either in --if-add or in --labels");
        return false;
    }
    ask->name = "add";
    if (colon != NULL)
        ask->value = hf_bytes(add->add, (size_t)(colon - add->add));
    else if (add->labels != NULL)
        ask->value = hf_str(add->labels);
    return true;
}

static int run_plan(struct cli *cli, int argc, const char *const *argv)
{
    struct hf_placement_ask ask = {.verb = HF_PLACEMENT_PLAN};
    struct cli_words words;
    uint64_t down = 0, gone = 0;
    bool is_down = false, is_gone = false;
    struct imagined add = {0};
    int exit_code;
    const struct args_flag flags[] = {
        {"if-down", 0, ARGS_U64, &down, &is_down, "STORE", "as if that store were down"},
        {"if-gone", 0, ARGS_U64, &gone, &is_gone, "STORE", "as if it were decommissioned"},
        {"if-add", 0, ARGS_TEXT, &add.add, NULL, "[LABELS:]SIZE",
         "as if there were another one of that size, with these labels"},
        {"labels", 0, ARGS_TEXT, &add.labels, NULL, "LABELS", "its labels, said apart"},
    };
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 0, &words, &exit_code))
        return exit_code;
    if (is_down + is_gone + (add.add != NULL) > 1)
        return cli_usage(cli, "imagine one thing at a time");
    if ((is_down && down == 0) || (is_gone && gone == 0))
        return cli_usage(cli, "stores are numbered from 1 on");
    if (add.labels != NULL && add.add == NULL)
        return cli_usage(cli, "--labels are those of --if-add");
    if (add.add != NULL && !parse_imagined(cli, &add, &ask, &exit_code))
        return exit_code;
    if (is_down || is_gone) {
        ask.name = is_down ? "down" : "gone";
        ask.id = down + gone;
    }
    return placement_ask(cli, &ask, "plan");
}

const struct cli_command node_commands[] = {
    {"list", run_store_list, NULL, NULL,
     "the stores of the cluster; those of one node have the same label node=",
     "  holdfast node list\n  holdfast node list --watch\n  holdfast node list --json"},
    {"show", run_store_show, NULL, "STORE", "one of them", "  holdfast node show 2"},
    {"drain", run_drain, NULL, "STORE", "leaders leave it, and nothing comes",
     "  holdfast node drain 2"},
    {"undrain", run_undrain, NULL, "STORE", "take a drain or a decommission back",
     "  holdfast node undrain 2"},
    {"decommission", run_decommission, NULL, "STORE",
     "replicas leave it, too; with none left it is removed",
     "  holdfast node decommission 2\n  holdfast node decommission 2 --yes"},
    {"remove", run_remove, NULL, "STORE", "forget one that is down for good, or holds nothing",
     "  holdfast node remove 2\n  holdfast node remove 2 --yes"},
    {"restart-safe", run_restart_safe, NULL, "STORE",
     "tell whether it may be stopped for a while and every range go on",
     "  holdfast node restart-safe 2\n\n0: yes; 1: no, or nobody can tell, and why"},
    {0},
};

const struct cli_command store_commands[] = {
    {"list", run_store_list, NULL, NULL, "the stores of the cluster", "  holdfast store list"},
    {"show", run_store_show, NULL, "STORE", "one of them", "  holdfast store show 2"},
    {0},
};

const struct cli_command placement_commands[] = {
    {"status", run_status, NULL, NULL, "how placement is", "  holdfast placement status"},
    {"settings", run_settings, NULL, "[NAME [VALUE]]", "what can be set, or set it",
     "  holdfast placement settings\n  holdfast placement settings replicas\n"
     "  holdfast placement settings replicas 5"},
    {"set", run_set, NULL, "NAME VALUE", "the same as settings NAME VALUE",
     "  holdfast placement set replicas 5"},
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
     "  holdfast placement plan\n  holdfast placement plan --if-down 2\n"
     "  holdfast placement plan --if-add zone=b:1TiB"},
    {0},
};
