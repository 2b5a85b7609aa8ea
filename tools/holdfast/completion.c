/* SPDX-License-Identifier: Apache-2.0
 *
 * completion: a script for bash that knows the commands and flags of this very program, made from
 * the tables that --help is made from.
 */
#include <stdio.h>

#include "commands.h"

enum { PATH_LEN_MAX = 64 };

static const char head[] =
    "# bash completion for holdfast; made by `holdfast completion bash`\n"
    "_holdfast() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} path= next i\n"
    "    local -A words=(\n";

static const char tail[] =
    "    )\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        next=${path:+$path }${COMP_WORDS[i]}\n"
    "        if [[ -n ${words[\"$next\"]:-} ]]; then path=$next; fi\n"
    "    done\n"
    "    COMPREPLY=()\n"
    "    case $prev in\n"
    "    --dir | -d) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); return ;;\n"
    "    --read)\n"
    "        mapfile -t COMPREPLY < <(compgen -W 'linearizable lease stale at' -- \"$cur\")\n"
    "        return ;;\n"
    "    esac\n"
    "    # a command has its children, or its flags; without either, files are offered\n"
    "    next=${words[\"${path:-holdfast}\"]}\n"
    "    if [[ $cur == -* || $next != -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$next\" -- \"$cur\")\n"
    "    fi\n"
    "}\n"
    "complete -o default -F _holdfast holdfast\n";

/* One entry of the table, and those of its children. `path` is that of the table's command. */
static void add_table(struct cli *cli, const struct cli_command *table, const char *path)
{
    buf_printf(&cli->out, "        ['%s']='", path[0] != 0 ? path : "holdfast");
    for (const struct cli_command *c = table; c->name != NULL; c++)
        buf_printf(&cli->out, "%s%s", c == table ? "" : " ", c->name);
    buf_append_str(&cli->out, "'\n");
    for (const struct cli_command *c = table; c->name != NULL; c++) {
        static const char *const listing[] = {"--help"};
        char child[PATH_LEN_MAX];
        snprintf(child, sizeof child, "%s%s%s", path, path[0] != 0 ? " " : "", c->name);
        if (c->children != NULL) {
            add_table(cli, c->children, child);
            continue;
        }
        cli->command = c;
        cli->is_help = false;
        cli->is_offline = cli->is_keyless = false;
        buf_printf(&cli->out, "        ['%s']='", child);
        c->run(cli, 1, listing); /* cli_parse() lists the flags and goes no further */
        buf_append_str(&cli->out, "'\n");
    }
}

int completion_run(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    cli->is_offline = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 1, 1, &words, &exit_code))
        return exit_code;
    if (strcmp(words.at[0], "bash") != 0)
        return cli_usage(cli, "'%s': only bash is known", words.at[0]);
    buf_append_str(&cli->out, head);
    cli->is_listing = true;
    add_table(cli, cli->root, "");
    cli->is_listing = false;
    buf_append_str(&cli->out, tail);
    return EXIT_DONE;
}
