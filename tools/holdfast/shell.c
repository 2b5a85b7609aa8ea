/* SPDX-License-Identifier: Apache-2.0
 *
 * shell: the commands about keys, line by line over one connection. With a terminal
 * there are history, completion and paging (terminal.h); otherwise lines come from standard
 * input: all of them are run, and the exit code is that of the first one that failed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "commands.h"
#include "split.h"
#include "terminal.h"

const struct cli_command kv_commands[] = {
    {"get", kv_get, NULL, "KEY…", "print the values of keys", NULL},
    {"put", kv_put, NULL, "KEY VALUE", "set a value", NULL},
    {"del", kv_delete, NULL, "KEY…", "remove keys", NULL},
    {"cas", kv_cas, NULL, "KEY [EXPECTED] VALUE", "set a value if the present one is as expected",
     NULL},
    {"incr", kv_increment, NULL, "KEY [DELTA]", "add to a number", NULL},
    {"append", kv_append, NULL, "KEY VALUE", "add bytes to a value", NULL},
    {"get-and-set", kv_get_and_set, NULL, "KEY VALUE", "set a value and print the one before",
     NULL},
    {"resolve", kv_resolve, NULL, "TOKEN", "settle what stayed undetermined", NULL},
    {"delete-range", kv_delete_range, NULL, "START END", "remove all keys of a span", NULL},
    {"scan", kv_scan, NULL, "[PREFIX]", "list keys in order", NULL},
    {"batch", kv_batch, NULL, "FILE", "several operations, all or none", NULL},
    {"import", records_import, NULL, "FILE", "put one record per line of JSON", NULL},
    {"export", records_export, NULL, "[FILE]", "write records as lines of JSON", NULL},
    {"stats", stats_run, NULL, NULL, "what this shell asked for, and how long it took", NULL},
    {"watch", kv_watch, NULL, "[KEY]", "print changes as they happen, up to Ctrl-C", NULL},
    {"cluster", NULL, cluster_commands, NULL, "birth and health of the cluster", NULL},
    {"node", NULL, node_commands, NULL, "the cluster's nodes", NULL},
    {"store", NULL, store_commands, NULL, "the cluster's stores", NULL},
    {"placement", NULL, placement_commands, NULL, "where replicas go, and why", NULL},
    {"keyspace", NULL, keyspace_commands, NULL, "keyspaces", NULL},
    {"range", NULL, range_commands, NULL, "ranges and their leaders", NULL},
    {0},
};

/* The flags behind the word `shell` itself hold for every line that has none of its own. */
struct defaults {
    const char *endpoints;
    bool is_json;
    uint64_t timeout_us;
    bool is_timeout_given;
    const char *keyspace;
};

static int run_words(struct cli *cli, const char **words, size_t count,
                     const struct defaults *defaults)
{
    if (strcmp(words[0], "help") == 0)
        words[0] = "--help";
    cli->is_help = false;
    cli->endpoints = defaults->endpoints;
    cli->timeout_us = defaults->timeout_us;
    cli->is_timeout_given = defaults->is_timeout_given;
    cli->keyspace = defaults->keyspace;
    cli->open_exit = EXIT_DONE;
    int exit_code = cli_dispatch(cli, kv_commands, (int)count, words);
    if (exit_code == EXIT_USAGE && cli->open_exit != EXIT_DONE)
        exit_code = cli->open_exit; /* as main() has it */
    cli->open_exit = EXIT_DONE;
    if (cli->out.len > 0 && cli->out.data[cli->out.len - 1] != '\n')
        buf_append_u8(&cli->out, '\n');
    bool is_written = cli_flush(cli, true);
    return is_written || exit_code != EXIT_DONE ? exit_code : EXIT_ERROR;
}

/* False: it was "quit". *ret_exit: how it ended. */
static bool run_line(struct cli *cli, char *line, const struct defaults *defaults, int *ret_exit)
{
    const char *words[CLI_WORDS_MAX];
    size_t count;
    struct err err = {0};
    cli->path[0] = 0;
    cli->is_json = cli->is_json_ever = defaults->is_json;
    *ret_exit = EXIT_DONE;
    if (split_words(line, words, ARRAY_LEN(words), &count, &err) != 0)
        *ret_exit = cli_usage(cli, "%s", err.msg);
    else if (count == 1 && (strcmp(words[0], "quit") == 0 || strcmp(words[0], "exit") == 0))
        return false;
    else if (count > 0)
        *ret_exit = run_words(cli, words, count, defaults);
    return true;
}

static void run_terminal(struct cli *cli, const struct defaults *defaults)
{
    bool goes_on = true;
    int exit_code; /* who sits there has seen how each ended */
    terminal_begin(cli, kv_commands);
    while (goes_on) {
        char *line = terminal_line("holdfast> ");
        goes_on = line != NULL;
        if (line == NULL) {
            printf("\n");
        } else {
            terminal_page_begin(cli);
            goes_on = run_line(cli, line, defaults, &exit_code);
            terminal_page_end(cli);
            if (cli_is_interrupted(cli))
                printf("\n"); /* behind the ^C */
        }
        free(line);
    }
    terminal_end();
}

/* Returns the exit code of the first line that failed. */
static int run_lines(struct cli *cli, const struct defaults *defaults)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    bool goes_on = true;
    int first = EXIT_DONE;
    while (goes_on && (len = getline(&line, &cap, stdin)) >= 0) {
        int exit_code;
        if (len > 0 && line[len - 1] == '\n')
            line[--len] = 0;
        if (strlen(line) == (size_t)len)
            goes_on = run_line(cli, line, defaults, &exit_code);
        else
            exit_code = cli_usage(cli, "a line with a NUL byte");
        first = first == EXIT_DONE ? exit_code : first;
    }
    if (ferror(stdin) && first == EXIT_DONE)
        first = cli_error(cli, "standard input: %s", strerror(errno));
    free(line);
    return first;
}

int shell_run(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    if (!cli_parse(cli, argc, argv, NULL, 0, 0, 0, &words, &exit_code))
        return exit_code;
    if (cli_client(cli) == NULL)
        return EXIT_USAGE;
    const struct defaults defaults = {.endpoints = cli->endpoints,
                                      .is_json = cli->is_json,
                                      .timeout_us = cli->timeout_us,
                                      .is_timeout_given = cli->is_timeout_given,
                                      .keyspace = cli->keyspace};
    cli->is_shell = true;
    exit_code = EXIT_DONE;
    if (isatty(STDIN_FILENO))
        run_terminal(cli, &defaults);
    else
        exit_code = run_lines(cli, &defaults);
    cli->is_shell = false;
    return exit_code;
}
