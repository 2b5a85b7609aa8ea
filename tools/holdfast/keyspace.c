/* SPDX-License-Identifier: Apache-2.0
 *
 * keyspace: create, list, show, alter, drop. Placement keeps them; the keys of one that is
 * dropped are deleted from here, in steps, before its name is free again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "commands.h"
#include "placement.h"

enum {
    SLOTS_DEFAULT = 256,
    RANGES_DEFAULT = 16,
    OPTIONS_MAX = 128,
    DROP_TRIES = 20, /* of a step that a store has no room for */
    TELL_TRIES = 5,
    AGAIN_MS = 100,
    PROGRESS_MS = 1000,
};

/* ---- create, alter, list, show ------------------------------------------------------------- */

struct said {
    const char *partition;
    uint64_t slots;
    uint64_t ranges;
    uint64_t replicas;
    uint64_t retention_us;
    bool has_slots;
    bool has_ranges;
    bool has_replicas;
    bool has_retention;
};

static void add_option(char *text, const char *name, uint64_t value)
{
    size_t len = strlen(text);
    snprintf(text + len, OPTIONS_MAX - len, "%s%s=%" PRIu64, len > 0 ? "," : "", name, value);
}

static void add_retention(char *text, const struct said *s)
{
    size_t len = strlen(text);
    if (s->has_retention)
        snprintf(text + len, OPTIONS_MAX - len, "%sretention=%" PRIu64 "us", len > 0 ? "," : "",
                 s->retention_us);
}

static int say(struct cli *cli, int verb, const char *name, const char *options)
{
    struct hf_placement_ask ask = {.verb = verb, .name = name, .value = hf_str(options)};
    return placement_ask(cli, &ask, "keyspaces");
}

static int run_create(struct cli *cli, int argc, const char *const *argv)
{
    struct said s = {.partition = "range", .slots = SLOTS_DEFAULT, .ranges = RANGES_DEFAULT};
    char options[OPTIONS_MAX] = "";
    struct cli_words words;
    int exit_code;
    const struct args_flag flags[] = {
        {"partition", 0, ARGS_TEXT, &s.partition, NULL, "HOW",
         "range: in their order (default), or hash: spread over slots, so that keys that count up "
         "do not make one range hot"},
        {"slots", 0, ARGS_U64, &s.slots, &s.has_slots, "N", "hash: how many (256; up to 65536)"},
        {"ranges", 0, ARGS_U64, &s.ranges, &s.has_ranges, "N",
         "hash: cut into so many from the start (16)"},
        {"replicas", 0, ARGS_U64, &s.replicas, &s.has_replicas, "N",
         "copies of each range (default: the setting 'replicas')"},
        {"retention", 0, ARGS_DURATION, &s.retention_us, &s.has_retention, "TIME",
         "how long old versions are kept for reads at a version and for watches, 1s to 720h "
         "(default: the setting 'retention')"},
    };
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 1, 1, &words, &exit_code))
        return exit_code;
    bool is_hash = strcmp(s.partition, "hash") == 0;
    if (!is_hash && strcmp(s.partition, "range") != 0)
        return cli_usage(cli, "--partition is range or hash, not '%s'", s.partition);
    if (!is_hash && (s.has_slots || s.has_ranges))
        return cli_usage(cli, "--slots and --ranges are for --partition hash");
    if (is_hash) {
        add_option(options, "slots", s.slots);
        add_option(options, "ranges", s.has_ranges ? s.ranges : MIN(s.ranges, s.slots));
    }
    if (s.has_replicas)
        add_option(options, "replicas", s.replicas);
    add_retention(options, &s);
    return say(cli, HF_PLACEMENT_KEYSPACE_CREATE, words.at[0], options);
}

static int run_alter(struct cli *cli, int argc, const char *const *argv)
{
    struct said s = {0};
    char options[OPTIONS_MAX] = "";
    struct cli_words words;
    int exit_code;
    const struct args_flag flags[] = {
        {"ranges", 0, ARGS_U64, &s.ranges, &s.has_ranges, "N", "hash: cut into at least so many"},
        {"replicas", 0, ARGS_U64, &s.replicas, &s.has_replicas, "N",
         "copies of each range; 0: as the setting 'replicas' says"},
        {"retention", 0, ARGS_DURATION, &s.retention_us, &s.has_retention, "TIME",
         "how long old versions are kept, 1s to 720h; 0: as the setting 'retention' says. A "
         "longer time brings nothing back; a shorter one acts within seconds"},
    };
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 1, 1, &words, &exit_code))
        return exit_code;
    if (!s.has_ranges && !s.has_replicas && !s.has_retention)
        return cli_usage(cli, "nothing to change: --ranges, --replicas or --retention");
    if (s.has_ranges)
        add_option(options, "ranges", s.ranges);
    if (s.has_replicas)
        add_option(options, "replicas", s.replicas);
    add_retention(options, &s);
    return say(cli, HF_PLACEMENT_KEYSPACE_ALTER, words.at[0], options);
}

static int run_list(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 0, 0, &words, &exit_code))
        return exit_code;
    return say(cli, HF_PLACEMENT_KEYSPACES, NULL, NULL);
}

static int run_show(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 1, 1, &words, &exit_code))
        return exit_code;
    return say(cli, HF_PLACEMENT_KEYSPACES, words.at[0], NULL);
}

/* ---- drop ---------------------------------------------------------------------------------- */

struct drop {
    struct cli *cli;
    const char *name;
    uint32_t keyspace;
    uint64_t deleted;
    uint64_t shown_ms;
    char start[8192]; /* where the next step begins */
    size_t start_len;
    bool is_over;
};

static int ask(struct drop *d, int verb, struct hf_result **ret_result)
{
    struct hf_placement_ask asked = {
        .size = sizeof asked, .verb = verb, .name = d->name, .id = d->keyspace};
    struct hf_call call = cli_call(d->cli);
    return hf_placement(cli_client(d->cli), &asked, &call, ret_result);
}

/* Its number, if there is such a keyspace. */
static int find(struct drop *d)
{
    struct hf_result *result = NULL;
    uint64_t id = 0;
    int rv = ask(d, HF_PLACEMENT_KEYSPACES, &result);
    int exit_code = EXIT_DONE;
    if (rv != HF_OK)
        exit_code = cli_fail(d->cli, rv, result);
    else if (text_parse_u64(slice_str(placement_cell(result->table, 0, "#keyspace")), &id) != 0 ||
             id == 0 || id > UINT32_MAX)
        exit_code = cli_error(d->cli, "placement answered with no keyspace");
    d->keyspace = (uint32_t)id;
    hf_result_free(result);
    return exit_code;
}

static bool tells_nothing(int code)
{
    return code == HF_ERR_UNDETERMINED || code == HF_ERR_BUSY || code == HF_ERR_UNAVAILABLE ||
           code == HF_ERR_TIMEOUT;
}

/* Asked again where nobody can tell whether it was done, as when placement moved: twice is as
 * good as once, and who is to be forgotten and is not there has been. */
static int tell(struct drop *d, int verb)
{
    struct hf_result *result = NULL;
    int rv = ask(d, verb, &result);
    bool may_be_done = rv == HF_ERR_UNDETERMINED;
    for (unsigned tries = 1; may_be_done && tells_nothing(rv) && tries < TELL_TRIES; tries++) {
        if (cli_is_interrupted(d->cli))
            break;
        hf_result_free(result);
        cli_pause_ms(AGAIN_MS);
        rv = ask(d, verb, &result);
        if (rv == HF_ERR_NOT_FOUND && verb == HF_PLACEMENT_KEYSPACE_FORGET)
            rv = HF_OK;
    }
    if (may_be_done && tells_nothing(rv))
        rv = HF_ERR_UNDETERMINED; /* it was not said of the first time */
    int exit_code = rv == HF_OK ? EXIT_DONE : cli_fail(d->cli, rv, result);
    hf_result_free(result);
    return exit_code;
}

/* A person must say so: --yes, or the name once more. */
static bool is_meant(struct drop *d, bool is_yes, int *ret_exit)
{
    char line[80] = "";
    if (is_yes)
        return true;
    if (d->cli->is_json || !isatty(STDIN_FILENO)) {
        *ret_exit =
            cli_usage(d->cli, "this deletes all its keys, for ever: --yes if that is meant");
        return false;
    }
    fprintf(stderr, "This deletes all keys of '%s', for ever. Its name, to go on: ", d->name);
    if (fgets(line, sizeof line, stdin) != NULL)
        line[strcspn(line, "\n")] = 0;
    if (strcmp(line, d->name) == 0)
        return true;
    *ret_exit = cli_error(d->cli, "nothing was done");
    return false;
}

/* What stands in one range, or a part of it. Keys go as they are stored: nobody opened it here. */
static int step(struct drop *d, struct hf_result **ret_result)
{
    struct hf_call call = cli_call(d->cli);
    struct hf_span span;
    hf_span_init(&span);
    call.keyspace = d->keyspace;
    span.as_stored = 1;
    span.start = hf_bytes(d->start, d->start_len);
    int rv = hf_delete_range(cli_client(d->cli), &span, &call, ret_result);
    const struct hf_result *result = *ret_result;
    if (rv != HF_OK || result == NULL)
        return rv != HF_OK ? rv : HF_ERR_NOMEM;
    d->deleted += result->deleted;
    d->is_over = !result->has_more;
    ASSERT(result->cursor.len <= sizeof d->start);
    d->start_len = result->cursor.len;
    if (d->start_len > 0)
        memcpy(d->start, result->cursor.data, d->start_len);
    return HF_OK;
}

static void show_progress(struct drop *d)
{
    uint64_t now_ms = cli_now_ms();
    if (d->cli->is_json || !isatty(STDERR_FILENO) || now_ms - d->shown_ms < PROGRESS_MS)
        return;
    d->shown_ms = now_ms;
    fprintf(stderr, "%" PRIu64 " keys deleted\n", d->deleted);
}

/* Step by step to its end. What stopped leaves the keyspace dropping: it may be run again. */
static int delete_all(struct drop *d)
{
    unsigned tries = 0;
    while (!d->is_over) {
        struct hf_result *result = NULL;
        int rv = step(d, &result);
        bool is_again = rv == HF_ERR_BUSY && ++tries < DROP_TRIES;
        int exit_code = rv == HF_OK || is_again ? EXIT_DONE : cli_fail(d->cli, rv, result);
        hf_result_free(result);
        if (exit_code != EXIT_DONE)
            return exit_code;
        if (is_again)
            cli_pause_ms(AGAIN_MS);
        else
            tries = 0;
        show_progress(d);
        if (!d->is_over && cli_is_interrupted(d->cli))
            return cli_error(d->cli,
                             "interrupted after %" PRIu64 " keys: nobody can open '%s' any more, "
                             "and the same command goes on",
                             d->deleted, d->name);
    }
    return EXIT_DONE;
}

static int drop(struct drop *d, bool is_yes)
{
    int exit_code = find(d);
    if (exit_code != EXIT_DONE || !is_meant(d, is_yes, &exit_code))
        return exit_code;
    exit_code = tell(d, HF_PLACEMENT_KEYSPACE_DROP);
    if (exit_code == EXIT_DONE)
        exit_code = delete_all(d);
    if (exit_code == EXIT_DONE)
        exit_code = tell(d, HF_PLACEMENT_KEYSPACE_FORGET);
    return exit_code;
}

static int run_drop(struct cli *cli, int argc, const char *const *argv)
{
    bool is_yes = false;
    struct cli_words words;
    int exit_code;
    const struct args_flag flags[] = {
        {"yes", 'y', ARGS_SWITCH, &is_yes, NULL, NULL, "do not ask"},
    };
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 1, 1, &words, &exit_code))
        return exit_code;
    struct drop d = {.cli = cli, .name = words.at[0]};
    if (cli_client(cli) == NULL)
        return EXIT_USAGE;
    exit_code = drop(&d, is_yes);
    if (exit_code == EXIT_DONE && cli->is_json)
        buf_printf(&cli->out, "{\"ok\":true,\"keys_deleted\":%" PRIu64 "}\n", d.deleted);
    else if (exit_code == EXIT_DONE)
        buf_printf(&cli->out, "OK: %" PRIu64 " keys deleted\n", d.deleted);
    return exit_code;
}

const struct cli_command keyspace_commands[] = {
    {"create", run_create, NULL, "NAME", "make one: its keys have nothing to do with others'",
     "  holdfast keyspace create users\n"
     "  holdfast keyspace create events --partition hash --slots 256 --ranges 16\n"
     "  holdfast keyspace create scratch --replicas 1\n"
     "  holdfast keyspace create orders --retention 24h"},
    {"list", run_list, NULL, NULL, "all that have names", "  holdfast keyspace list"},
    {"show", run_show, NULL, "NAME", "one of them", "  holdfast keyspace show users"},
    {"alter", run_alter, NULL, "NAME", "change its ranges, replicas or retention",
     "  holdfast keyspace alter users --replicas 5\n"
     "  holdfast keyspace alter users --retention 1h"},
    {"drop", run_drop, NULL, "NAME",
     "delete all its keys, and forget it; what was stopped is gone on with when run again",
     "  holdfast keyspace drop scratch --yes"},
    {0},
};
