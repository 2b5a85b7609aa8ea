/* SPDX-License-Identifier: Apache-2.0
 *
 * cli — what every command of the program `holdfast` stands on: flags that all
 * have, the client, output as text or JSON, and the one table from outcomes to
 * exit codes.
 *
 *   main ─▶ cli_dispatch(table) ─▶ command's run() ─▶ cli_parse() ─▶ … ─▶ exit code
 *
 * Ownership  the cli owns its client and its output buffer; texts of flags point
 *            into argv.
 * Threads    one, but for callbacks of libholdfast in bench.
 * Errors     a command returns an exit code and has told the person why:
 *            cli_fail() and its kin do both.
 */
#ifndef TOOLS_HOLDFAST_CLI_H_
#define TOOLS_HOLDFAST_CLI_H_

#include <signal.h>
#include <stdio.h>

#include "base/args.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "holdfast.h"
#include "table.h"

/* Scripts rely on these: never change one. */
enum cli_exit {
    EXIT_DONE = 0,
    EXIT_ERROR = 1,
    EXIT_USAGE = 2,
    EXIT_NO = 3, /* not found, or a condition not met */
    EXIT_UNDETERMINED = 4,
};

enum { CLI_TOKEN_MAX = 5000 /* bytes */ };

enum { CLI_WORDS_MAX = 64, CLI_ENDPOINTS_MAX = 16, CLI_ADDRESS_MAX = 128 };

struct cli;

/* argv without the command's own name. Returns an exit code. */
typedef int (*cli_run)(struct cli *cli, int argc, const char *const *argv);

struct cli_command {
    const char *name;                   /* NULL ends a table */
    cli_run run;                        /* or … */
    const struct cli_command *children; /* … a table of its own */
    const char *words;                  /* "KEY VALUE" in the usage line; NULL: none */
    const char *summary;                /* one line */
    const char *examples;               /* lines of two blanks and a command */
};

/* One flag of the command that runs, as --help shows it. */
typedef void (*cli_list)(struct cli *cli, const struct args_flag *flag);

struct cli {
    /* flags that every command has */
    const char *endpoints; /* --endpoints, else HOLDFAST_ENDPOINTS */
    bool is_json;          /* until cli_parse() knows: what it looks like */
    bool is_json_ever;     /* the shell's: also where a line does not say so */
    bool is_help;
    const char *keyspace;   /* --keyspace: a name or a number; NULL: 0 */
    bool is_keyspace_given; /* on this line; else it is the shell's */
    uint64_t timeout_us;
    bool is_timeout_given;
    bool is_offline; /* set before cli_parse(): no flag that has to do with a cluster */
    bool is_keyless; /* … or none that says where keys are: --keyspace is refused */
    /* state */
    const struct cli_command *command; /* the one that runs */
    char path[64];                     /* "holdfast cluster status" */
    struct hf_client *client;          /* opened by cli_client() */
    uint32_t keyspace_id;              /* of cli_client() or cli_open() … */
    uint32_t keyspace_slots;           /* … its slots, if it is hashed (else 0) … */
    char keyspace_open[72];            /* … and the word that it was found by; "": none */
    struct buf out;                    /* standard output, not written yet */
    struct slice go_on;  /* a failure says it, to programs: where to go on; empty: nowhere … */
    bool is_go_on_a_key; /* … that is a key, else a cursor */
    bool is_out_bad;     /* standard output cannot be written */
    int open_exit; /* endpoints or keyspace that are right could not be opened: the exit code */
    bool is_shell; /* the client stays open between commands */
    const struct cli_command *root;     /* the table that all began with */
    cli_list list_flag;                 /* cli_parse() tells it of each flag of the command, and is
                                           done; NULL: it parses */
    void *list_data;                    /* whoever listens: his */
    unsigned page_lines;                /* more than so many lines go to a pager; 0: none do */
    const char *pager_command;          /* for the system's shell */
    FILE *pager;                        /* NULL: not begun */
    const char *endpoints_open;         /* those that `client` was opened with */
    volatile sig_atomic_t *interrupted; /* the shell's: Ctrl-C was typed; NULL: that ends us */
};

/* What cli_parse() leaves beside flags. */
struct cli_words {
    const char *at[CLI_WORDS_MAX];
    size_t count;
};

/* Find the command that argv names in `table` and run it. Flags that all commands
 * have may stand in front of its name. Returns the exit code. */
int cli_dispatch(struct cli *cli, const struct cli_command *table, int argc,
                 const char *const *argv);

/* Understand a command's argv: its own flags and the common ones, words_min to
 * words_max words. False: help was shown or the usage is wrong, and the command
 * returns *ret_exit. */
bool cli_parse(struct cli *cli, int argc, const char *const *argv, const struct args_flag *flags,
               size_t flags_count, size_t words_min, size_t words_max, struct cli_words *words,
               int *ret_exit);

/* Wrong usage, in words: returns EXIT_USAGE. */
int cli_usage(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Something went wrong here (files, processes): returns EXIT_ERROR. */
int cli_error(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A call of libholdfast ended in `code`: says so and returns the exit code that
 * belongs to it. `result` may be NULL. */
int cli_fail(struct cli *cli, int code, const struct hf_result *result);

/* The same with words of our own about what happened. */
int cli_fail_as(struct cli *cli, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The exit code for an hf_code. */
int cli_exit_of(int code);

/* The client, opened at the first call; NULL after saying why not. */
struct hf_client *cli_client(struct cli *cli);
void cli_client_close(struct cli *cli);

/* Has the person had enough? Asked by what goes on for long. */
static inline bool cli_is_interrupted(const struct cli *cli)
{
    return cli->interrupted != NULL && *cli->interrupted != 0;
}

/* A client of one's own for the endpoints that the person named, else with these options;
 * false after saying what is wrong. */
bool cli_open(struct cli *cli, struct hf_options *options, struct hf_client **ret_client);

/* A call's options with the command's --timeout. */
struct hf_call cli_call(const struct cli *cli);

static inline struct hf_bytes cli_bytes(struct slice s)
{
    return (struct hf_bytes){s.data, s.len};
}

static inline struct slice cli_slice(struct hf_bytes b)
{
    return slice_of(b.data, b.len);
}

/* Write what is in cli->out to standard output if there is more than a little of
 * it, or at all (`is_end`). False (said once) when it cannot be written. */
bool cli_flush(struct cli *cli, bool is_end);

/* All of `bytes` to `file`, none being fine; false with errno set. */
bool cli_write(FILE *file, struct slice bytes);

/* Append bytes for a person: what is no printable text as \xNN, and '\\' doubled. */
void cli_append_shown(struct buf *buf, struct slice bytes);

/* The bytes that "0a1b…" stands for, at most CLI_TOKEN_MAX; false if it is no such thing. */
bool cli_parse_hex(const char *text, uint8_t *out, size_t *ret_len);

/* Append the key in front of which the keys that begin with `prefix` end; nothing: no key is
 * behind them all. False when `end` cannot hold it: empty, it would be no bound at all. */
bool cli_prefix_end(const char *prefix, struct buf *end);

/* Bytes for people: "512B", "12.3MiB". */
struct cli_size {
    char text[16];
};
struct cli_size cli_size(uint64_t bytes);

/* Before what cannot be taken back: true if the person says yes, or said --yes (`is_sure`).
 * `what` is a sentence without its full stop. Who is no person at a terminal must say --yes:
 * else false, with *ret_exit set, as when the answer is no. */
bool cli_confirm(struct cli *cli, bool is_sure, const char *what, int *ret_exit);

/* Milliseconds of the monotonic clock, and a pause for programs that wait for other
 * processes. */
uint64_t cli_now_ms(void);
uint64_t cli_now_us(void);
void cli_pause_ms(unsigned ms);

/* The file that a command reads, as its only word, "-" (standard input) without one. In the shell
 * that is where the next commands come from: NULL after saying so. */
const char *cli_input(struct cli *cli, const struct cli_words *words);

/* Read all of a stream or file ("-": standard input), at most `max` bytes. False after
 * saying why. */
bool cli_read_file(struct cli *cli, const char *path, struct buf *buf);

#endif
