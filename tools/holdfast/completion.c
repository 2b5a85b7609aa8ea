/* SPDX-License-Identifier: Apache-2.0
 *
 * completion: scripts for bash, zsh and fish that know the commands and flags of this very program,
 * made from the tables that --help is made from.
 *
 *   add_all() ─▶ begin, its commands or flags, end: for each command by its path, "range list"
 *
 * Each script finds the command that a line has come to in the same way: word by word, as far as
 * the words make the path of one, whatever stands between them.
 */
#include <stdio.h>

#include "commands.h"

enum { PATH_LEN_MAX = 64, MORE_MAX = 1 << 20 };

/* How a script is written. `path` is "" for the program itself. */
struct style {
    const char *name;
    const char *head;
    const char *tail;
    void (*begin)(struct cli *cli, const char *path);
    void (*add_command)(struct cli *cli, const char *path, const struct cli_command *command);
    void (*add_flag)(struct cli *cli, const char *path, const struct args_flag *flag);
    void (*end)(struct cli *cli);
};

struct completion {
    const struct style *style;
    const char *path; /* whose flags come */
    bool is_first;    /* nothing stands between begin and here */
    struct buf more;  /* what stands behind the table */
};

static struct completion *completion_of(struct cli *cli)
{
    return cli->list_data;
}

#define MODES "linearizable lease stale at" /* of --read */

/* ---- bash ---------------------------------------------------------------------------------- */

static const char bash_head[] =
    "# bash completion for holdfast; made by `holdfast completion bash`\n"
    "_holdfast() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} path= next i\n"
    "    local -A words=(\n";

static const char bash_tail[] =
    "    )\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        next=${path:+$path }${COMP_WORDS[i]}\n"
    "        if [[ -n ${words[\"$next\"]:-} ]]; then path=$next; fi\n"
    "    done\n"
    "    COMPREPLY=()\n"
    "    case $prev in\n"
    "    --dir | -d) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); return ;;\n"
    "    --read)\n"
    "        mapfile -t COMPREPLY < <(compgen -W '" MODES "' -- \"$cur\")\n"
    "        return ;;\n"
    "    esac\n"
    "    # a command has its children, or its flags; without either, files are offered\n"
    "    next=${words[\"${path:-holdfast}\"]}\n"
    "    if [[ $cur == -* || $next != -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$next\" -- \"$cur\")\n"
    "    fi\n"
    "}\n"
    "complete -o default -F _holdfast holdfast\n";

static void bash_begin(struct cli *cli, const char *path)
{
    buf_printf(&cli->out, "        ['%s']='", path[0] != 0 ? path : "holdfast");
}

static void bash_add_command(struct cli *cli, const char *path, const struct cli_command *command)
{
    (void)path;
    buf_printf(&cli->out, "%s%s", completion_of(cli)->is_first ? "" : " ", command->name);
}

static void bash_add_flag(struct cli *cli, const char *path, const struct args_flag *flag)
{
    (void)path;
    buf_printf(&cli->out, "%s--%s", completion_of(cli)->is_first ? "" : " ", flag->name);
}

static void bash_end(struct cli *cli)
{
    buf_append_str(&cli->out, "'\n");
}

/* ---- zsh ----------------------------------------------------------------------------------- */

static const char zsh_head[] = "#compdef holdfast\n"
                               "# zsh completion for holdfast; made by `holdfast completion zsh`\n"
                               "_holdfast() {\n"
                               "    local at next i\n"
                               "    local -a found\n"
                               "    local -A known takes\n"
                               "    known=( # a line for each command or flag\n";

static const char zsh_between[] = "    )\n"
                                  "    takes=( # flags with a value\n";

static const char zsh_tail[] =
    "    )\n"
    "    for ((i = 2; i < CURRENT; i++)); do\n"
    "        next=${at:+$at }${words[i]}\n"
    "        if [[ -n ${known[$next]} ]]; then at=$next; fi\n"
    "    done\n"
    "    next=\"$at ${words[CURRENT - 1]}\"\n"
    "    case ${takes[$next]} in\n"
    "    DIR) _files -/; return ;;\n"
    "    FILE) _files; return ;;\n"
    "    MODE) compadd -- " MODES "; return ;;\n"
    "    ?*) return 1 ;; # nobody can know\n"
    "    esac\n"
    "    # a command has its children, or its flags; without either, files are offered\n"
    "    next=${at:-holdfast}\n"
    "    found=(\"${(@f)known[$next]}\")\n"
    "    if [[ ${found[1]} != -* ]]; then\n"
    "        _describe -t commands command found\n"
    "    elif [[ $PREFIX == -* ]]; then\n"
    "        _describe -o -t options flag found\n"
    "    else\n"
    "        _files\n"
    "    fi\n"
    "}\n"
    "# read as a file of $fpath it is the function; else it tells of it\n"
    "if [[ ${funcstack[1]} == _holdfast ]]; then _holdfast \"$@\"; else compdef _holdfast "
    "holdfast; "
    "fi\n";

static void zsh_begin(struct cli *cli, const char *path)
{
    buf_printf(&cli->out, "        '%s' '", path[0] != 0 ? path : "holdfast");
}

/* NAME:DESCRIPTION, a line within quotes. */
static void zsh_add(struct cli *cli, const char *dashes, const char *name, const char *text)
{
    buf_printf(&cli->out, "%s%s%s:", completion_of(cli)->is_first ? "" : "\n", dashes, name);
    for (; *text != 0; text++) {
        if (*text == '\'')
            buf_append_str(&cli->out, "'\\''");
        else
            buf_append(&cli->out, text, 1);
    }
}

static void zsh_add_command(struct cli *cli, const char *path, const struct cli_command *command)
{
    (void)path;
    zsh_add(cli, "", command->name, command->summary);
}

static void zsh_add_flag(struct cli *cli, const char *path, const struct args_flag *flag)
{
    struct buf *more = &completion_of(cli)->more;
    zsh_add(cli, "--", flag->name, flag->help);
    if (flag->metavar == NULL)
        return;
    buf_printf(more, "        '%s --%s' '%s'\n", path, flag->name, flag->metavar);
    if (flag->letter != 0)
        buf_printf(more, "        '%s -%c' '%s'\n", path, flag->letter, flag->metavar);
}

/* ---- fish ---------------------------------------------------------------------------------- */

static const char fish_head[] =
    "# fish completion for holdfast; made by `holdfast completion fish`\n"
    "set -g __holdfast_paths\n"
    "# is that the command which the line has come to?\n"
    "function __holdfast_at\n"
    "    set -l at ''\n"
    "    set -l tokens (commandline -opc)\n"
    "    for word in $tokens[2..-1]\n"
    "        set -l next $word\n"
    "        test -n \"$at\"; and set next \"$at $word\"\n"
    "        contains -- $next $__holdfast_paths; and set at $next\n"
    "    end\n"
    "    test \"$at\" = \"$argv[1]\"\n"
    "end\n"
    "complete -c holdfast -e\n";

static void fish_begin(struct cli *cli, const char *path)
{
    if (path[0] != 0)
        buf_printf(&cli->out, "set -a __holdfast_paths '%s'\n", path);
}

static void fish_describe(struct cli *cli, const char *text)
{
    buf_append_str(&cli->out, " -d '");
    for (; *text != 0; text++) {
        if (*text == '\'' || *text == '\\')
            buf_append_str(&cli->out, "\\");
        buf_append(&cli->out, text, 1);
    }
    buf_append_str(&cli->out, "'\n");
}

static void fish_add_command(struct cli *cli, const char *path, const struct cli_command *command)
{
    buf_printf(&cli->out, "complete -c holdfast -n '__holdfast_at \"%s\"' -f -a %s", path,
               command->name);
    fish_describe(cli, command->summary);
}

static void fish_add_flag(struct cli *cli, const char *path, const struct args_flag *flag)
{
    const char *takes = flag->metavar != NULL ? flag->metavar : "";
    buf_printf(&cli->out, "complete -c holdfast -n '__holdfast_at \"%s\"' -l %s", path, flag->name);
    if (flag->letter != 0)
        buf_printf(&cli->out, " -s %c", flag->letter);
    if (strcmp(takes, "FILE") == 0)
        buf_append_str(&cli->out, " -r");
    else if (strcmp(takes, "DIR") == 0)
        buf_append_str(&cli->out, " -x -a '(__fish_complete_directories)'");
    else if (strcmp(takes, "MODE") == 0)
        buf_append_str(&cli->out, " -x -a '" MODES "'");
    else if (takes[0] != 0)
        buf_append_str(&cli->out, " -x"); /* nobody can know */
    fish_describe(cli, flag->help);
}

static void fish_end(struct cli *cli)
{
    (void)cli;
}

/* ---- all of them ---------------------------------------------------------------------------- */

static const struct style styles[] = {
    {"bash", bash_head, bash_tail, bash_begin, bash_add_command, bash_add_flag, bash_end},
    {"zsh", zsh_head, zsh_tail, zsh_begin, zsh_add_command, zsh_add_flag, bash_end},
    {"fish", fish_head, "", fish_begin, fish_add_command, fish_add_flag, fish_end},
};

static void on_flag(struct cli *cli, const struct args_flag *flag)
{
    struct completion *c = completion_of(cli);
    c->style->add_flag(cli, c->path, flag);
    c->is_first = false;
}

static void add_flags(struct cli *cli, const struct cli_command *command, const char *path)
{
    static const char *const listing[] = {"--help"};
    struct completion *c = completion_of(cli);
    cli->command = command;
    cli->is_help = false;
    cli->is_offline = cli->is_keyless = false;
    c->path = path;
    c->is_first = true;
    c->style->begin(cli, path);
    command->run(cli, 1, listing); /* cli_parse() tells of the flags and goes no further */
    c->style->end(cli);
}

/* One entry for the table, and those of its children. `path` is that of the table's command. */
static void add_all(struct cli *cli, const struct cli_command *table, const char *path)
{
    struct completion *c = completion_of(cli);
    c->is_first = true;
    c->style->begin(cli, path);
    for (const struct cli_command *each = table; each->name != NULL; each++) {
        c->style->add_command(cli, path, each);
        c->is_first = false;
    }
    c->style->end(cli);
    for (const struct cli_command *each = table; each->name != NULL; each++) {
        char child[PATH_LEN_MAX];
        snprintf(child, sizeof child, "%s%s%s", path, path[0] != 0 ? " " : "", each->name);
        if (each->children != NULL)
            add_all(cli, each->children, child);
        else
            add_flags(cli, each, child);
    }
}

static void write_script(struct cli *cli, const struct style *style)
{
    struct completion c = {.style = style};
    buf_init(&c.more, MORE_MAX);
    buf_append_str(&cli->out, style->head);
    cli->list_flag = on_flag;
    cli->list_data = &c;
    add_all(cli, cli->root, "");
    cli->list_flag = NULL;
    if (c.more.len > 0) {
        buf_append_str(&cli->out, zsh_between);
        buf_append_slice(&cli->out, buf_slice(&c.more));
    }
    buf_append_str(&cli->out, style->tail);
    buf_fini(&c.more);
}

int completion_run(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    cli->is_offline = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 1, 1, &words, &exit_code))
        return exit_code;
    for (size_t i = 0; i < ARRAY_LEN(styles); i++) {
        if (strcmp(words.at[0], styles[i].name) == 0) {
            write_script(cli, &styles[i]);
            return EXIT_DONE;
        }
    }
    return cli_usage(cli, "'%s': bash, zsh and fish are known", words.at[0]);
}
