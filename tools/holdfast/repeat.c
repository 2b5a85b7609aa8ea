/* SPDX-License-Identifier: Apache-2.0 */
#include "repeat.h"

#include <unistd.h>

enum { EVERY_MS = 1000 };

#define CLEAR_TERMINAL "\033[H\033[J"

void repeat_flags(struct repeat *repeat, struct args_flag ret_flags[REPEAT_FLAGS])
{
    ret_flags[0] = (struct args_flag){"watch",
                                      'w',
                                      ARGS_SWITCH,
                                      &repeat->is_on,
                                      NULL,
                                      NULL,
                                      "show it again each second, until Ctrl-C"};
    ret_flags[1] = (struct args_flag){"times",
                                      0,
                                      ARGS_U64,
                                      &repeat->times,
                                      &repeat->is_times_given,
                                      "N",
                                      "with --watch: so often"};
}

bool repeat_check(struct cli *cli, const struct repeat *repeat, int *ret_exit)
{
    if (!repeat->is_times_given || repeat->is_on)
        return true;
    *ret_exit = cli_usage(cli, "--times is for --watch");
    return false;
}

static bool is_on_terminal(const struct cli *cli)
{
    return !cli->is_json && isatty(STDOUT_FILENO);
}

void repeat_begin(struct cli *cli, const struct repeat *repeat)
{
    if (repeat->is_on && is_on_terminal(cli))
        buf_append_str(&cli->out, CLEAR_TERMINAL);
}

bool repeat_again(struct cli *cli, struct repeat *repeat)
{
    repeat->shown++;
    if (!repeat->is_on || repeat->shown == repeat->times || !cli_flush(cli, true))
        return false;
    if (!cli_is_interrupted(cli))
        cli_pause_ms(EVERY_MS); /* a signal ends it */
    if (cli_is_interrupted(cli))
        return false;
    if (is_on_terminal(cli))
        buf_append_str(&cli->out, CLEAR_TERMINAL);
    else if (!cli->is_json)
        buf_append_str(&cli->out, "\n");
    return true;
}
