/* SPDX-License-Identifier: Apache-2.0
 *
 * shell: the commands about keys, line by line over one connection. With a terminal
 * libedit gives history and completion; otherwise lines come from standard input.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <editline/readline.h>

#include "commands.h"
#include "split.h"

enum { HISTORY_MAX = 1000 };

const struct cli_command kv_commands[] = {
    {"get", kv_get, NULL, "KEY", "print a key's value", NULL},
    {"put", kv_put, NULL, "KEY VALUE", "set a value", NULL},
    {"del", kv_delete, NULL, "KEY…", "remove keys", NULL},
    {"cas", kv_cas, NULL, "KEY [EXPECTED] VALUE", "set a value if the present one is as expected",
     NULL},
    {"incr", kv_increment, NULL, "KEY [DELTA]", "add to a number", NULL},
    {"append", kv_append, NULL, "KEY VALUE", "add bytes to a value", NULL},
    {"scan", kv_scan, NULL, "[PREFIX]", "list keys in order", NULL},
    {"cluster", NULL, cluster_commands, NULL, "birth and health of the cluster", NULL},
    {"range", NULL, range_commands, NULL, "ranges and their leaders", NULL},
    {0},
};

static void run_words(struct cli *cli, const char **words, size_t count, bool is_json)
{
    if (strcmp(words[0], "help") == 0)
        words[0] = "--help";
    cli->is_help = false;
    cli->is_json = is_json;
    cli->is_timeout_given = false;
    cli_dispatch(cli, kv_commands, (int)count, words);
    if (cli->out.len > 0 && cli->out.data[cli->out.len - 1] != '\n')
        buf_append_u8(&cli->out, '\n');
    cli_flush(cli, true);
}

static void run_line(struct cli *cli, char *line, bool is_json)
{
    const char *words[CLI_WORDS_MAX];
    size_t count;
    struct err err = {0};
    cli->path[0] = 0;
    if (split_words(line, words, ARRAY_LEN(words), &count, &err) != 0)
        cli_usage(cli, "%s", err.msg);
    else if (count > 0 && words[0][0] != '#')
        run_words(cli, words, count, is_json);
}
static bool is_quit(const char *line)
{
    return strcmp(line, "quit") == 0 || strcmp(line, "exit") == 0;
}

static void run_terminal(struct cli *cli, bool is_json)
{
    using_history();
    stifle_history(HISTORY_MAX);
    for (;;) {
        char *line = readline("holdfast> ");
        if (line == NULL || is_quit(line)) {
            if (line == NULL)
                printf("\n");
            free(line);
            return;
        }
        if (line[0] != 0)
            add_history(line);
        run_line(cli, line, is_json);
        free(line);
    }
}

static void run_lines(struct cli *cli, bool is_json)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while ((len = getline(&line, &cap, stdin)) >= 0) {
        if (len > 0 && line[len - 1] == '\n')
            line[len - 1] = 0;
        if (is_quit(line))
            break;
        run_line(cli, line, is_json);
    }
    free(line);
}

int shell_run(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    if (!cli_parse(cli, argc, argv, NULL, 0, 0, 0, &words, &exit_code))
        return exit_code;
    if (cli_client(cli) == NULL)
        return EXIT_USAGE;
    bool is_json = cli->is_json;
    cli->is_shell = true;
    if (isatty(STDIN_FILENO))
        run_terminal(cli, is_json);
    else
        run_lines(cli, is_json);
    cli->is_shell = false;
    return EXIT_DONE;
}
