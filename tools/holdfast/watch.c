/* SPDX-License-Identifier: Apache-2.0
 *
 * watch: changes as they happen, a line each; with --resume, from where the last watch of
 * that file ended.
 */
#include <inttypes.h>

#include "commands.h"
#include "place.h"
#include "watched.h"

enum { TOKEN_MAX = 64 << 20, POLL_MS = 500 };

struct watch_flags {
    const char *prefix;
    const char *start;
    const char *end;
    const char *resume;
    uint64_t from_version;
    bool is_from_given;
    uint64_t limit;
    uint64_t for_us;
    bool is_for_given;
    bool has_marks;
};

static void show_event(struct cli *cli, const struct hf_event *event)
{
    bool is_put = event->kind == HF_EVENT_PUT;
    if (!cli->is_json) {
        buf_append_str(&cli->out, is_put ? "put\t" : "del\t");
        cli_append_shown(&cli->out, cli_slice(event->key));
        if (is_put) {
            buf_append_u8(&cli->out, '\t');
            cli_append_shown(&cli->out, cli_slice(event->value));
        }
        buf_append_u8(&cli->out, '\n');
        return;
    }
    struct json_writer w;
    json_begin(&w, &cli->out);
    json_object_begin(&w);
    json_key(&w, "change");
    json_text(&w, is_put ? "put" : "del");
    json_bytes_member(&w, "key", cli_slice(event->key));
    if (is_put)
        json_bytes_member(&w, "value", cli_slice(event->value));
    json_key(&w, "version");
    json_u64(&w, event->version);
    if (event->expires_ms > 0) {
        json_key(&w, "expires_ms");
        json_u64(&w, event->expires_ms);
    }
    json_object_end(&w);
    buf_append_u8(&cli->out, '\n');
}

static void show_mark(struct cli *cli, uint64_t complete)
{
    buf_printf(&cli->out, cli->is_json ? "{\"complete\":%" PRIu64 "}\n" : "complete\t%" PRIu64 "\n",
               complete);
}

/* What is printed is printed before the file says so: after a crash between the two lines
 * come twice, and none is missing. */
static bool save(struct cli *cli, struct hf_watch *watch, const char *path)
{
    struct hf_bytes token;
    if (path == NULL)
        return true;
    if (hf_watch_token(watch, &token) == HF_OK)
        return place_save(cli, path, cli_slice(token));
    cli_error(cli, "%s: the place cannot be written down", path);
    return false;
}

static int fail(struct cli *cli, struct hf_watch *watch, int code)
{
    if (code != HF_ERR_VERSION_GONE)
        return cli_fail_as(cli, code, "%s", hf_watch_message(watch));
    return cli_fail_as(
        cli, code,
        "versions are times, and what changed before the oldest that is kept "
        "(retention of the keyspace, 10m unless it says otherwise) cannot be told any more; "
        "to see what is kept: --from-version %" PRIu64,
        hf_watch_oldest(watch));
}

/* One batch to standard output, and then to the file. */
static bool show_batch(struct cli *cli, struct hf_watch *watch, const struct watch_flags *f,
                       const struct hf_watch_batch *batch, uint64_t *shown)
{
    for (size_t i = 0; i < batch->count; i++) {
        show_event(cli, &batch->events[i]);
        if (!cli_flush(cli, false))
            return false;
    }
    *shown += batch->count;
    if (f->has_marks)
        show_mark(cli, batch->complete);
    return cli_flush(cli, true) && save(cli, watch, f->resume);
}

/* Nothing comes, and that has a reason: the person hears of it once, and of its end; that is for
 * standard error, also where changes are JSON. With --timeout it ends once nobody has answered for
 * that long, which shows when the request that was under way comes to nothing: then *ret_exit is
 * set, and false. */
static bool look_after(struct cli *cli, struct hf_watch *watch, bool *is_lost, int *ret_exit)
{
    uint64_t ms = 0;
    int code = hf_watch_trouble(watch, &ms);
    bool was_lost = *is_lost;
    *is_lost = code != HF_OK && ms > 0; /* else it is over, which the next turn tells */
    if (*is_lost && cli->is_timeout_given && ms * 1000 >= cli->timeout_us) {
        *ret_exit = cli_fail_as(
            cli, code, "for %" PRIu64 " s, longer than --timeout, there was no answer (%s)",
            ms / 1000, hf_watch_message(watch));
        return false;
    }
    if (*is_lost && !was_lost)
        fprintf(stderr,
                "holdfast watch: some of the keys, or all, cannot be followed for %" PRIu64
                " s now; it goes on trying, and misses nothing (%s)\n",
                ms / 1000, hf_watch_message(watch));
    if (was_lost && code == HF_OK)
        fprintf(stderr, "holdfast watch: all of the keys are followed again\n");
    return true;
}

/* The time of --for is over. What is not followed may have changes that nobody was told of. */
static int end_in_time(struct cli *cli, struct hf_watch *watch, bool is_lost)
{
    uint64_t ms = 0;
    if (!is_lost || hf_watch_trouble(watch, &ms) == HF_OK)
        return EXIT_DONE;
    return cli_fail_as(cli, HF_ERR_UNAVAILABLE,
                       "at its end some of the keys, or all, had not been followed for %" PRIu64
                       " s (%s)",
                       ms / 1000, hf_watch_message(watch));
}

static int show_all(struct cli *cli, struct hf_watch *watch, const struct watch_flags *f)
{
    uint64_t shown = 0, begin_us = cli_now_us();
    bool is_lost = false;
    int exit_code;
    while ((f->limit == 0 || shown < f->limit) && !cli_is_interrupted(cli)) {
        struct hf_watch_batch *batch;
        int rv = hf_watch_next(watch, POLL_MS, &batch);
        if (rv < 0)
            return fail(cli, watch, rv);
        if (rv == 1) {
            bool is_good = show_batch(cli, watch, f, batch, &shown);
            hf_watch_batch_free(batch);
            if (!is_good)
                return EXIT_ERROR;
        }
        if (!look_after(cli, watch, &is_lost, &exit_code))
            return exit_code;
        if (f->is_for_given && cli_now_us() - begin_us >= f->for_us)
            return end_in_time(cli, watch, is_lost);
    }
    return EXIT_DONE;
}

static bool check(struct cli *cli, const struct watch_flags *f, const struct cli_words *words,
                  int *ret_exit)
{
    int spans = (words->count == 1) + (f->prefix != NULL) + (f->start != NULL || f->end != NULL);
    if (spans > 1)
        *ret_exit = cli_usage(cli, "wants a key, or --prefix, or --start and --end, or nothing");
    else if (f->is_from_given && f->from_version == 0)
        *ret_exit = cli_usage(cli, "--from-version begins with 1");
    else if (words->count == 1 && words->at[0][0] == 0)
        *ret_exit = cli_fail_as(cli, HF_ERR_INVALID, "the key is empty");
    else
        return true;
    return false;
}

/* It goes on from where the file says: is that of what was asked for? Flags that are not there ask
 * for nothing. A token that is not known here is the library's to judge. */
static bool check_resumed(struct cli *cli, struct hf_client *client, const struct watch_flags *f,
                          const struct hf_watch_options *asked, int *ret_exit)
{
    struct watched was;
    bool has_span = asked->key.len > 0 || f->prefix != NULL || f->start != NULL || f->end != NULL;
    if (asked->token.len == 0 || !watched_parse(cli_slice(asked->token), &was))
        return true;
    bool is_other = cli->keyspace != NULL && cli->keyspace_id != was.keyspace;
    if (!is_other && (!has_span || !watched_is_other(client, asked, &was)))
        return true;
    *ret_exit = cli_usage(cli,
                          "'%s' is of a watch of other keys: the same keys and keyspace, or none "
                          "of them",
                          f->resume);
    return false;
}

static int watch(struct cli *cli, const struct watch_flags *f, const struct cli_words *words,
                 const struct buf *token)
{
    struct hf_client *client = cli_client(cli);
    struct hf_watch *w;
    struct hf_watch_options options;
    if (client == NULL)
        return EXIT_USAGE;
    hf_watch_options_init(&options);
    options.key = hf_str(words->count == 1 ? words->at[0] : NULL);
    options.prefix = hf_str(f->prefix);
    options.start = hf_str(f->start);
    options.end = hf_str(f->end);
    options.keyspace = cli->keyspace_id;
    options.from_version = f->from_version;
    options.token = hf_bytes(token->data, token->len);
    options.marks = f->has_marks || f->resume != NULL;
    int exit_code;
    if (!check_resumed(cli, client, f, &options, &exit_code))
        return exit_code;
    int rv = hf_watch_open(client, &options, &w);
    if (rv == HF_ERR_INVALID && token->len > 0)
        return cli_fail_as(cli, rv,
                           "%s was not written by a watch, or is damaged, or its keyspace has a "
                           "name: then say --keyspace",
                           f->resume);
    if (rv != HF_OK)
        return cli_fail(cli, rv, NULL);
    exit_code = show_all(cli, w, f);
    hf_watch_close(w);
    return exit_code;
}

int kv_watch(struct cli *cli, int argc, const char *const *argv)
{
    struct watch_flags f = {0};
    const struct args_flag flags[] = {
        {"prefix", 0, ARGS_TEXT, &f.prefix, NULL, "P", "keys that begin so"},
        {"start", 0, ARGS_TEXT, &f.start, NULL, "KEY", "keys from this one on"},
        {"end", 0, ARGS_TEXT, &f.end, NULL, "KEY", "keys before this one"},
        {"from-version", 0, ARGS_U64, &f.from_version, &f.is_from_given, "V",
         "changes of this version and later (default: from now on)"},
        {"resume", 0, ARGS_TEXT, &f.resume, NULL, "FILE",
         "go on from where FILE says, and write there how far it is"},
        {"limit", 0, ARGS_U64, &f.limit, NULL, "N", "end after this many changes, or a few more"},
        {"for", 0, ARGS_DURATION, &f.for_us, &f.is_for_given, "TIME",
         "end after this time; if the keys are not followed then, with an error"},
        {"marks", 0, ARGS_SWITCH, &f.has_marks, NULL, NULL,
         "also say up to which version everything was shown"},
    };
    struct cli_words words;
    struct buf token;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 1, &words, &exit_code) ||
        !check(cli, &f, &words, &exit_code))
        return exit_code;
    buf_init(&token, TOKEN_MAX);
    exit_code = place_load(cli, f.resume, &token) ? watch(cli, &f, &words, &token) : EXIT_ERROR;
    buf_fini(&token);
    return exit_code;
}
