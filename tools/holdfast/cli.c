/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "placement.h"
#include "wire/keyspace.h"

enum { FLUSH_AT = 64 << 10, FLAGS_MAX = 32 };

uint64_t cli_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t cli_now_ms(void)
{
    return cli_now_us() / 1000;
}

void cli_pause_ms(unsigned ms)
{
    (void)poll(NULL, 0, (int)ms);
}

/* ---- output ----------------------------------------------------------------- */

bool cli_write(FILE *file, struct slice bytes)
{
    return bytes.len == 0 || fwrite(bytes.data, 1, bytes.len, file) == bytes.len;
}

static size_t lines_of(struct slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == '\n';
    return count;
}

/* Where output goes: to a pager from the moment that it is too long for the terminal. */
static FILE *output(struct cli *cli)
{
    bool is_long = cli->page_lines > 0 && lines_of(buf_slice(&cli->out)) > cli->page_lines;
    if (is_long && cli->pager == NULL) {
        cli->pager = popen(cli->pager_command, "we");
        if (cli->pager == NULL)
            cli->page_lines = 0;
    }
    return cli->pager != NULL ? cli->pager : stdout;
}

bool cli_flush(struct cli *cli, bool is_end)
{
    if (cli->out.failed && !cli->is_out_bad) {
        fprintf(stderr, "%s: out of memory for the output\n", cli->path);
        cli->is_out_bad = true;
    }
    if (cli->is_out_bad)
        return false;
    if (!is_end && cli->out.len < FLUSH_AT)
        return true;
    FILE *file = output(cli);
    bool is_good = cli_write(file, buf_slice(&cli->out));
    is_good = is_good && (!is_end || fflush(file) == 0);
    buf_clear(&cli->out);
    if (!is_good && file != stdout) {
        cli->is_out_bad = true; /* the pager was left: no more is wanted */
    } else if (!is_good) {
        fprintf(stderr, "%s: standard output: %s\n", cli->path, strerror(errno));
        cli->is_out_bad = true;
    }
    return is_good;
}

void cli_append_shown(struct buf *buf, struct slice bytes)
{
    bool is_text = text_is_utf8(bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.data[i];
        if (c == '\\')
            buf_append_str(buf, "\\\\");
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_text))
            buf_printf(buf, "\\x%02x", c);
        else
            buf_append_u8(buf, c);
    }
}

struct cli_size cli_size(uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    struct cli_size size;
    double n = (double)bytes / 1024;
    size_t unit = 0;
    while (n >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        n /= 1024;
        unit++;
    }
    if (bytes < 1024)
        snprintf(size.text, sizeof size.text, "%" PRIu64 "B", bytes);
    else
        snprintf(size.text, sizeof size.text, "%.1f%s", n, units[unit]);
    return size;
}

/* ---- outcomes ----------------------------------------------------------------- */

int cli_exit_of(int code)
{
    switch (code) {
    case HF_OK:
        return EXIT_DONE;
    case HF_ERR_NOT_FOUND:
    case HF_ERR_CONDITION_FAILED:
        return EXIT_NO;
    case HF_ERR_UNDETERMINED:
        return EXIT_UNDETERMINED;
    default:
        return EXIT_ERROR;
    }
}

/* The command as it was typed; between commands of the shell there is none. */
static const char *shown_path(const struct cli *cli)
{
    return cli->path[0] != 0 ? cli->path : "holdfast";
}

static void json_hex(struct json_writer *w, struct slice bytes)
{
    struct buf text;
    buf_init(&text, 2 * CLI_TOKEN_MAX + 1);
    for (size_t i = 0; i < bytes.len; i++)
        buf_printf(&text, "%02x", bytes.data[i]);
    json_string(w, buf_slice(&text));
    buf_fini(&text);
}

bool cli_parse_hex(const char *text, uint8_t *out, size_t *ret_len)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = strlen(text);
    if (len == 0 || len % 2 != 0 || len / 2 > CLI_TOKEN_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        const char *digit = strchr(digits, text[i]);
        if (digit == NULL)
            return false;
        uint8_t half = (uint8_t)(digit - digits);
        out[i / 2] = i % 2 == 0 ? (uint8_t)(half << 4) : (uint8_t)(out[i / 2] | half);
    }
    *ret_len = len / 2;
    return true;
}

bool cli_prefix_end(const char *prefix, struct buf *end)
{
    size_t len = strlen(prefix);
    while (len > 0 && (uint8_t)prefix[len - 1] == 0xff)
        len--;
    buf_append(end, prefix, len);
    if (end->failed)
        return false;
    if (len > 0)
        end->data[end->len - 1]++;
    return true;
}

static void say_go_on(const struct cli *cli, struct json_writer *w)
{
    if (cli->go_on.len == 0)
        return;
    if (cli->is_go_on_a_key) {
        json_bytes_member(w, "go_on_at", cli->go_on);
    } else {
        json_key(w, "cursor");
        json_hex(w, cli->go_on);
    }
}

/* One failure, as a line for people or one JSON object for programs. `token`, if there is
 * one, settles what is undetermined. */
static void say_failure(struct cli *cli, const char *name, const char *message,
                        struct hf_bytes token)
{
    if (cli->is_json) {
        struct json_writer w;
        json_begin(&w, &cli->out);
        json_object_begin(&w);
        json_key(&w, "ok");
        json_bool(&w, false);
        json_key(&w, "code");
        json_text(&w, name);
        json_key(&w, "message");
        json_text(&w, message);
        if (token.len > 0) {
            json_key(&w, "token");
            json_hex(&w, cli_slice(token));
        }
        say_go_on(cli, &w);
        json_object_end(&w);
        buf_append_str(&cli->out, "\n");
        cli_flush(cli, true);
        return;
    }
    cli_flush(cli, true);
    if (cli_is_interrupted(cli))
        fputc('\n', stderr); /* behind the ^C */
    fprintf(stderr, "%s: %s\n", shown_path(cli), message);
    if (token.len == 0)
        return;
    fprintf(stderr, "settle it: holdfast resolve ");
    for (size_t i = 0; i < token.len; i++)
        fprintf(stderr, "%02x", ((const uint8_t *)token.data)[i]);
    fputc('\n', stderr);
}

int cli_error(struct cli *cli, const char *fmt, ...)
{
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    say_failure(cli, "ERROR", message, (struct hf_bytes){0});
    return EXIT_ERROR;
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    say_failure(cli, "USAGE", message, (struct hf_bytes){0});
    if (!cli->is_json && cli->path[0] != 0)
        fprintf(stderr, "try: %s --help\n", cli->path);
    return EXIT_USAGE;
}

static int fail(struct cli *cli, int code, const char *why, struct hf_bytes token)
{
    char message[1280];
    snprintf(message, sizeof message, "%s: %s", hf_code_name(code), why);
    say_failure(cli, hf_code_name(code), cli->is_json ? why : message, token);
    return cli_exit_of(code);
}

int cli_fail_as(struct cli *cli, int code, const char *fmt, ...)
{
    ASSERT(code != HF_OK);
    char why[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    return fail(cli, code, why, (struct hf_bytes){0});
}

int cli_fail(struct cli *cli, int code, const struct hf_result *result)
{
    bool has_words = result != NULL && result->message[0] != 0;
    ASSERT(code != HF_OK);
    return fail(cli, code, has_words ? result->message : hf_strerror(code),
                result != NULL ? result->token : (struct hf_bytes){0});
}

/* ---- flags and commands --------------------------------------------------------- */

/* An offline command has only the last two. --keyspace is always understood, and stands behind
 * those that are shown where it means nothing: *ret_hidden is how many do. */
static size_t common_flags(struct cli *cli, struct args_flag *ret_flags, bool *ret_keyspace,
                           size_t *ret_hidden)
{
    const struct args_flag talking[] = {
        {"endpoints", 'e', ARGS_TEXT, &cli->endpoints, NULL, "LIST",
         "host:port,… of the cluster; default: the variable HOLDFAST_ENDPOINTS"},
        {"timeout", 0, ARGS_DURATION, &cli->timeout_us, &cli->is_timeout_given, "TIME",
         "deadline of each call (5s)"},
    };
    const struct args_flag keyspace = {"keyspace",
                                       0,
                                       ARGS_TEXT,
                                       &cli->keyspace,
                                       ret_keyspace,
                                       "NAME|N",
                                       "where keys are: a name, or a number below 65536 (0)"};
    const struct args_flag all[] = {
        {"json", 0, ARGS_SWITCH, &cli->is_json, NULL, NULL, "print JSON"},
        {"help", 'h', ARGS_SWITCH, &cli->is_help, NULL, NULL, "this text"},
    };
    bool has_keyspace = !cli->is_offline && !cli->is_keyless;
    size_t n = 0;
    for (size_t i = 0; !cli->is_offline && i < ARRAY_LEN(talking); i++)
        ret_flags[n++] = talking[i];
    if (has_keyspace)
        ret_flags[n++] = keyspace;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        ret_flags[n++] = all[i];
    if (!has_keyspace)
        ret_flags[n++] = keyspace;
    *ret_hidden = has_keyspace ? 0 : 1;
    return n;
}

static void help_of_command(struct cli *cli, const struct args_flag *flags, size_t count)
{
    const struct cli_command *command = cli->command;
    buf_printf(&cli->out, "usage: %s%s%s [FLAGS]\n\n%s\n\nflags:\n", cli->path,
               command->words != NULL ? " " : "", command->words != NULL ? command->words : "",
               command->summary);
    args_help(flags, count, &cli->out);
    if (command->examples != NULL)
        buf_printf(&cli->out, "\nexamples:\n%s\n", command->examples);
    buf_append_str(&cli->out, "\nexit codes: 0 done, 1 error, 2 usage, 3 not found or condition "
                              "failed, 4 undetermined\n");
}

bool cli_parse(struct cli *cli, int argc, const char *const *argv, const struct args_flag *flags,
               size_t flags_count, size_t words_min, size_t words_max, struct cli_words *words,
               int *ret_exit)
{
    struct args_flag all[FLAGS_MAX];
    struct err err = {0};
    ASSERT(words_max <= CLI_WORDS_MAX);
    ASSERT(flags_count + 8 <= FLAGS_MAX);
    if (flags_count > 0)
        memcpy(all, flags, flags_count * sizeof all[0]);
    size_t hidden;
    bool was_json = cli->is_json;
    cli->is_json = cli->is_json_ever;
    cli->is_keyspace_given = false;
    size_t count =
        flags_count + common_flags(cli, all + flags_count, &cli->is_keyspace_given, &hidden);
    int rv = args_parse(all, count, argc, argv, words->at, words_max, &words->count, &err);
    count -= hidden;
    if (rv != 0) {
        cli->is_json = was_json;
        *ret_exit = cli_usage(cli, "%s", err.msg);
        return false;
    }
    if (cli->list_flag != NULL) {
        for (size_t i = 0; i < count; i++) {
            if (all[i].help != NULL)
                cli->list_flag(cli, &all[i]);
        }
        *ret_exit = EXIT_DONE;
        return false;
    }
    if (cli->is_help) {
        help_of_command(cli, all, count);
        *ret_exit = cli_flush(cli, true) ? EXIT_DONE : EXIT_ERROR;
        return false;
    }
    if (cli->is_keyspace_given && hidden > 0) {
        *ret_exit = cli_usage(cli, "--keyspace means nothing here");
        return false;
    }
    if (words->count < words_min) {
        *ret_exit = cli_usage(cli, "wants %s", cli->command->words);
        return false;
    }
    if (cli->is_timeout_given && (cli->timeout_us < 1000 || cli->timeout_us > 3600000000)) {
        *ret_exit = cli_usage(cli, "--timeout must be 1ms to 1h");
        return false;
    }
    return true;
}

static const struct cli_command *find_command(const struct cli_command *table, const char *name)
{
    for (; table->name != NULL; table++) {
        if (strcmp(table->name, name) == 0)
            return table;
    }
    return NULL;
}

static int help_of_table(struct cli *cli, const struct cli_command *table)
{
    const char *gap = cli->path[0] != 0 ? " " : "";
    buf_printf(&cli->out, "usage: %s%sCOMMAND [FLAGS]\n\ncommands:\n", cli->path, gap);
    size_t width = 0;
    bool has_examples = false;
    for (const struct cli_command *c = table; c->name != NULL; c++)
        width = MAX(width, strlen(c->name));
    for (const struct cli_command *c = table; c->name != NULL; c++) {
        buf_printf(&cli->out, "  %-*s  %s\n", (int)width, c->name, c->summary);
        has_examples = has_examples || c->examples != NULL;
    }
    if (has_examples)
        buf_append_str(&cli->out, "\nexamples:\n");
    for (const struct cli_command *c = table; c->name != NULL; c++) {
        const char *end = c->examples == NULL ? NULL : strchr(c->examples, '\n');
        if (c->examples != NULL)
            buf_printf(&cli->out, "%.*s\n",
                       (int)(end != NULL ? end - c->examples : (int)strlen(c->examples)),
                       c->examples);
    }
    buf_printf(&cli->out, "\n%s%sCOMMAND --help tells more.\n", cli->path, gap);
    return cli_flush(cli, true) ? EXIT_DONE : EXIT_ERROR;
}

/* How many of argv stand before the first word: common flags with their values. */
static int leading_flags(int argc, const char *const *argv)
{
    int n = 0;
    while (n < argc && argv[n][0] == '-' && argv[n][1] != 0) {
        bool takes_value = strcmp(argv[n], "--endpoints") == 0 || strcmp(argv[n], "-e") == 0 ||
                           strcmp(argv[n], "--timeout") == 0 || strcmp(argv[n], "--keyspace") == 0;
        n += takes_value ? 2 : 1;
    }
    return MIN(n, argc);
}

static bool wants_help(int argc, const char *const *argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    }
    return false;
}

/* What is wrong before the flags are understood is told as they ask for, too. */
static bool looks_json(int argc, const char *const *argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

int cli_dispatch(struct cli *cli, const struct cli_command *table, int argc,
                 const char *const *argv)
{
    int lead = leading_flags(argc, argv);
    cli->is_json = cli->is_json || looks_json(argc, argv);
    if (cli->root == NULL)
        cli->root = table;
    if (lead == argc) {
        bool is_asked = wants_help(argc, argv);
        if (argc > 0 && !is_asked)
            return cli_usage(cli, "no command");
        int exit_code = help_of_table(cli, table);
        return is_asked ? exit_code : EXIT_USAGE;
    }
    const struct cli_command *command = find_command(table, argv[lead]);
    if (command == NULL)
        return cli_usage(cli, "no command '%s'", argv[lead]);
    size_t len = strlen(cli->path);
    snprintf(cli->path + len, sizeof cli->path - len, "%s%s", len > 0 ? " " : "", command->name);
    const char **rest = calloc((size_t)argc + 1, sizeof *rest);
    ASSERT(rest != NULL);
    for (int i = 0; i < argc; i++) {
        if (i != lead)
            rest[i - (i > lead)] = argv[i];
    }
    cli->command = command;
    cli->is_offline = cli->is_keyless = false;
    int exit_code = command->children != NULL ? cli_dispatch(cli, command->children, argc - 1, rest)
                                              : command->run(cli, argc - 1, rest);
    free(rest);
    cli->path[len] = 0;
    return exit_code;
}

bool cli_confirm(struct cli *cli, bool is_sure, const char *what, int *ret_exit)
{
    char answer[16] = "";
    if (is_sure)
        return true;
    if (!isatty(STDIN_FILENO) || cli->is_json) {
        *ret_exit = cli_usage(cli, "%s: say --yes if that is meant", what);
        return false;
    }
    fprintf(stderr, "%s. Type yes to go on: ", what);
    if (fgets(answer, sizeof answer, stdin) != NULL && strcmp(answer, "yes\n") == 0)
        return true;
    *ret_exit = cli_error(cli, "nothing was done");
    return false;
}

/* ---- the client ------------------------------------------------------------------ */

static void note_keyspace(struct cli *cli, uint32_t keyspace, uint32_t slots)
{
    cli->keyspace_id = keyspace;
    cli->keyspace_slots = slots;
    snprintf(cli->keyspace_open, sizeof cli->keyspace_open, "%s", cli->keyspace);
}

/* By its name; false after saying what is wrong. */
static bool open_named(struct cli *cli, struct hf_client *client, const char *name)
{
    struct hf_result *result = NULL;
    struct hf_call call = cli_call(cli);
    uint64_t slots = 0;
    int rv = hf_keyspace_open(client, name, &call, &result);
    if (rv == HF_ERR_INVALID)
        cli_usage(cli, "--keyspace is a number, or %s",
                  result != NULL ? result->message : "a name");
    else if (rv != HF_OK)
        cli->open_exit = cli_fail(cli, rv, result);
    if (rv == HF_OK &&
        text_parse_u64(slice_str(placement_cell(result->table, 0, "#slots")), &slots) != 0)
        slots = 0;
    if (rv == HF_OK)
        note_keyspace(cli, result->keyspace, (uint32_t)slots);
    hf_result_free(result);
    return rv == HF_OK;
}

/* The same by the number of one that has a name; one that is not there any more can be read as
 * it is stored, and no more. */
static bool open_number(struct cli *cli, struct hf_client *client, uint32_t number)
{
    struct hf_placement_ask ask = {.size = sizeof ask, .verb = HF_PLACEMENT_KEYSPACES};
    struct hf_result *result = NULL;
    struct hf_call call = cli_call(cli);
    char name[KEYSPACE_NAME_MAX + 1] = "";
    int rv = hf_placement(client, &ask, &call, &result);
    for (size_t i = 0; rv == HF_OK && result->table != NULL && i < result->table->row_count; i++) {
        uint64_t id = 0;
        if (text_parse_u64(slice_str(placement_cell(result->table, i, "#keyspace")), &id) == 0 &&
            id == number)
            snprintf(name, sizeof name, "%s", placement_cell(result->table, i, "name"));
    }
    if (rv != HF_OK)
        cli->open_exit = cli_fail(cli, rv, result);
    hf_result_free(result);
    if (rv != HF_OK)
        return false;
    if (name[0] != 0)
        return open_named(cli, client, name);
    note_keyspace(cli, number, 0);
    return true;
}

/* --keyspace as a number; false after saying what is wrong. */
static bool open_keyspace(struct cli *cli, struct hf_client *client)
{
    uint64_t number = 0;
    cli->keyspace_id = cli->keyspace_slots = 0;
    cli->keyspace_open[0] = 0;
    if (cli->keyspace == NULL)
        return true;
    if (text_parse_u64(slice_str(cli->keyspace), &number) != 0)
        return open_named(cli, client, cli->keyspace);
    if (number > UINT32_MAX - 2) {
        cli_usage(cli, "--keyspace %s: there are no such numbers", cli->keyspace);
        return false;
    }
    if (number >= KEYSPACE_NAMED_FIRST && number <= KEYSPACE_NAMED_LAST)
        return open_number(cli, client, (uint32_t)number);
    note_keyspace(cli, (uint32_t)number, 0);
    return true;
}

bool cli_open(struct cli *cli, struct hf_options *options, struct hf_client **ret_client)
{
    char message[512] = "";
    const char *text = cli->endpoints != NULL ? cli->endpoints : getenv("HOLDFAST_ENDPOINTS");
    if (text == NULL || text[0] == 0) {
        cli_usage(cli, "no endpoints: give --endpoints or set HOLDFAST_ENDPOINTS");
        return false;
    }
    options->endpoints = text;
    options->message = message;
    options->message_size = sizeof message;
    int code = hf_open(options, ret_client);
    if (code == HF_OK && open_keyspace(cli, *ret_client))
        return true;
    if (code == HF_OK) {
        hf_close(*ret_client);
        return false;
    }
    if (code != HF_ERR_INVALID)
        cli->open_exit = EXIT_ERROR;
    cli_error(cli, "endpoints '%s': %s", text, message);
    return false;
}

struct hf_client *cli_client(struct cli *cli)
{
    struct hf_options options;
    hf_options_init(&options);
    options.name = "holdfast-cli";
    if (cli->is_timeout_given)
        options.timeout_ms = (uint32_t)(cli->timeout_us / 1000); /* also where a call says none */
    if (cli->client == NULL) {
        if (!cli_open(cli, &options, &cli->client))
            cli->client = NULL;
        cli->endpoints_open = cli->endpoints;
        return cli->client;
    }
    if (cli->endpoints != cli->endpoints_open) {
        cli_usage(cli, "--endpoints: the shell has its cluster; begin another one");
        return NULL;
    }
    bool is_known = strcmp(cli->keyspace_open, cli->keyspace != NULL ? cli->keyspace : "") == 0;
    return is_known || open_keyspace(cli, cli->client) ? cli->client : NULL;
}

void cli_client_close(struct cli *cli)
{
    if (cli->client != NULL)
        hf_close(cli->client);
    cli->client = NULL;
}

struct hf_call cli_call(const struct cli *cli)
{
    struct hf_call call;
    hf_call_init(&call);
    call.keyspace = cli->keyspace_id;
    if (cli->is_timeout_given)
        call.timeout_ms = (uint32_t)(cli->timeout_us / 1000);
    return call;
}

/* ---- files -------------------------------------------------------------------------- */

const char *cli_input(struct cli *cli, const struct cli_words *words)
{
    const char *path = words->count > 0 ? words->at[0] : "-";
    if (!cli->is_shell || strcmp(path, "-") != 0)
        return path;
    cli_usage(cli, "wants FILE: standard input has the next commands");
    return NULL;
}

bool cli_read_file(struct cli *cli, const char *path, struct buf *buf)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rb");
    if (file == NULL) {
        cli_error(cli, "open '%s': %s", path, strerror(errno));
        return false;
    }
    uint8_t chunk[16384];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0)
        buf_append(buf, chunk, n);
    bool is_bad = ferror(file) != 0;
    int errnum = errno;
    if (!is_stdin)
        fclose(file);
    if (is_bad)
        cli_error(cli, "read '%s': %s", path, strerror(errnum));
    else if (buf->failed)
        cli_error(cli, "'%s' is over %zu bytes", path, buf->max);
    return !is_bad && !buf->failed;
}
