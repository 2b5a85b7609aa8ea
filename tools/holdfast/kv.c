/* SPDX-License-Identifier: Apache-2.0
 *
 * get put del cas incr append get-and-set resolve: one key at a time.
 */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"
#include "commands.h"
#include "reading.h"

enum { SHOWN_MAX = 80 /* bytes of a value in a message */ };

enum { VALUE_MAX = 8 << 20 };

/* {"ok":true,"key":…, then what `item` has; `ret_w` stays open for more. */
static void begin_item(struct cli *cli, struct json_writer *w, const char *key,
                       const struct hf_item *item)
{
    json_begin(w, &cli->out);
    json_object_begin(w);
    json_key(w, "ok");
    json_bool(w, true);
    json_bytes_member(w, "key", slice_str(key));
    json_key(w, "version");
    json_u64(w, item->version);
}

static void end_item(struct cli *cli, struct json_writer *w)
{
    json_object_end(w);
    buf_append_u8(&cli->out, '\n');
}

/* The library's own check knows no words for it. */
static bool check_key(struct cli *cli, const char *key, int *ret_exit)
{
    if (key[0] != 0)
        return true;
    *ret_exit = cli_fail_as(cli, HF_ERR_INVALID, "the key is empty");
    return false;
}

/* All of them, before anything is done with one. */
static bool check_keys(struct cli *cli, const struct cli_words *words, int *ret_exit)
{
    for (size_t i = 0; i < words->count; i++) {
        if (!check_key(cli, words->at[i], ret_exit))
            return false;
    }
    return true;
}

/* One key of several: a line "key<TAB>value", or that it is not there (`item` is NULL). */
static void say_one_of(struct cli *cli, struct json_writer *w, const char *key,
                       const struct hf_item *item)
{
    if (!cli->is_json) {
        if (item == NULL) {
            fprintf(stderr, "holdfast: not found: %s\n", key);
            return;
        }
        cli_append_shown(&cli->out, slice_str(key));
        buf_append_u8(&cli->out, '\t');
        cli_append_shown(&cli->out, cli_slice(item->value));
        buf_append_u8(&cli->out, '\n');
        return;
    }
    json_object_begin(w);
    json_bytes_member(w, "key", slice_str(key));
    json_key(w, "found");
    json_bool(w, item != NULL);
    if (item != NULL) {
        json_key(w, "version");
        json_u64(w, item->version);
        json_bytes_member(w, "value", cli_slice(item->value));
        json_key(w, "ttl_ms");
        json_u64(w, item->ttl_ms);
    }
    json_object_end(w);
}

/* Returns an exit code. What was too large beside the others (`item` says so, or is NULL) is asked
 * for alone. */
static int get_one_of(struct cli *cli, struct json_writer *w, const char *key,
                      const struct hf_item *item, const struct hf_call *call)
{
    struct hf_result *alone = NULL;
    int rv = item != NULL ? item->status : HF_ERR_TOO_LARGE;
    if (rv == HF_ERR_TOO_LARGE) {
        rv = hf_get(cli->client, hf_str(key), call, &alone);
        item = rv == HF_OK ? &alone->items[0] : NULL;
    }
    int exit_code = cli_exit_of(rv);
    if (rv == HF_OK || rv == HF_ERR_NOT_FOUND) {
        say_one_of(cli, w, key, rv == HF_OK ? item : NULL);
    } else {
        bool has_words = alone != NULL && alone->message[0] != 0;
        if (cli->is_json)
            buf_clear(&cli->out); /* of an answer that is not whole nothing is shown */
        exit_code =
            cli_fail_as(cli, rv, "key '%s': %s", key, has_words ? alone->message : hf_strerror(rv));
    }
    hf_result_free(alone);
    return exit_code;
}

/* `found` is what was told of all of them; NULL: they were too large together. Ends with the first
 * that can not be read. */
static int get_each(struct cli *cli, const struct cli_words *words, const struct hf_result *found,
                    const struct hf_call *call)
{
    struct json_writer w;
    int exit_code = EXIT_DONE;
    json_begin(&w, &cli->out);
    if (cli->is_json) {
        json_object_begin(&w);
        json_key(&w, "ok");
        json_bool(&w, true);
        json_key(&w, "items");
        json_array_begin(&w);
    }
    for (size_t i = 0; i < words->count; i++) {
        const struct hf_item *item = found != NULL ? &found->items[i] : NULL;
        int its_exit = get_one_of(cli, &w, words->at[i], item, call);
        if (its_exit != EXIT_DONE && its_exit != EXIT_NO)
            return its_exit;
        exit_code = its_exit == EXIT_NO ? EXIT_NO : exit_code;
        if (!cli->is_json && !cli_flush(cli, false))
            return EXIT_ERROR;
    }
    if (cli->is_json) {
        json_array_end(&w);
        json_object_end(&w);
        buf_append_u8(&cli->out, '\n');
    }
    return exit_code;
}

/* Several keys at once; EXIT_NO if one of them is not there. */
static int get_many(struct cli *cli, const struct cli_words *words, const struct hf_call *call)
{
    struct hf_bytes keys[CLI_WORDS_MAX];
    struct hf_result *result = NULL;
    int exit_code;
    for (size_t i = 0; i < words->count; i++)
        keys[i] = hf_str(words->at[i]);
    int rv = hf_multi_get(cli->client, keys, words->count, call, &result);
    if (rv == HF_OK || rv == HF_ERR_TOO_LARGE)
        exit_code = get_each(cli, words, rv == HF_OK ? result : NULL, call);
    else
        exit_code = cli_fail(cli, rv, result);
    hf_result_free(result);
    return exit_code;
}

int kv_get(struct cli *cli, int argc, const char *const *argv)
{
    struct reading reading = {0};
    struct args_flag flags[READING_FLAGS];
    struct cli_words words;
    struct hf_call call;
    int exit_code;
    reading_flags(&reading, flags);
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 1, CLI_WORDS_MAX, &words,
                   &exit_code) ||
        !reading_call(cli, &reading, &call, &exit_code))
        return exit_code;
    if (!check_keys(cli, &words, &exit_code))
        return exit_code;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    call.keyspace = cli->keyspace_id;
    if (words.count > 1)
        return get_many(cli, &words, &call);
    struct hf_result *result = NULL;
    int rv = hf_get(client, hf_str(words.at[0]), &call, &result);
    if (rv != HF_OK) {
        exit_code = cli_fail(cli, rv, result);
    } else if (cli->is_json) {
        struct json_writer w;
        begin_item(cli, &w, words.at[0], &result->items[0]);
        json_bytes_member(&w, "value", cli_slice(result->items[0].value));
        json_key(&w, "ttl_ms");
        json_u64(&w, result->items[0].ttl_ms);
        end_item(cli, &w);
        exit_code = EXIT_DONE;
    } else {
        buf_append_slice(&cli->out, cli_slice(result->items[0].value));
        if (isatty(STDOUT_FILENO))
            buf_append_u8(&cli->out, '\n');
        exit_code = EXIT_DONE;
    }
    hf_result_free(result);
    return exit_code;
}

/* ---- changes -------------------------------------------------------------------- */

/* Flags of changes. */
struct change_flags {
    uint64_t ttl_us;
    bool is_ttl_given;
    bool keep_ttl;
    bool if_absent;
    bool if_present;
    uint64_t if_version;
    bool is_version_given;
    const char *if_value;
};

enum { CHANGE_FLAGS_MAX = 8 };

/* Which of them a command has. */
enum { CHANGE_TTL = 1, CHANGE_KEEPS_TTL = 2, CHANGE_IF_VERSION = 4, CHANGE_IF = 8 };

static size_t change_flags_fill(struct change_flags *c, unsigned which,
                                struct args_flag ret_flags[CHANGE_FLAGS_MAX])
{
    const struct {
        unsigned which;
        struct args_flag flag;
    } all[] = {
        {CHANGE_TTL,
         {"ttl", 0, ARGS_DURATION, &c->ttl_us, &c->is_ttl_given, "TIME", "expire after this time"}},
        {CHANGE_KEEPS_TTL,
         {"keep-ttl", 0, ARGS_SWITCH, &c->keep_ttl, NULL, NULL,
          "expire when the present value would have"}},
        {CHANGE_IF,
         {"if-absent", 0, ARGS_SWITCH, &c->if_absent, NULL, NULL, "only if the key is not there"}},
        {CHANGE_IF,
         {"if-present", 0, ARGS_SWITCH, &c->if_present, NULL, NULL, "only if the key is there"}},
        {CHANGE_IF,
         {"if-version", 0, ARGS_U64, &c->if_version, &c->is_version_given, "V",
          "only if the key has this version (0: absent)"}},
        {CHANGE_IF_VERSION,
         {"if-version", 0, ARGS_U64, &c->if_version, &c->is_version_given, "V",
          "compare the version (0: absent) instead of a value"}},
        {CHANGE_IF,
         {"if-value", 0, ARGS_TEXT, &c->if_value, NULL, "X", "only if the key has this value"}},
    };
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (which & all[i].which)
            ret_flags[count++] = all[i].flag;
    }
    ASSERT(count <= CHANGE_FLAGS_MAX);
    return count;
}

static bool change_from_flags(struct cli *cli, const struct change_flags *c,
                              struct hf_change *ret_change, int *ret_exit)
{
    int conditions = c->if_absent + c->if_present + c->is_version_given + (c->if_value != NULL);
    if (conditions > 1) {
        *ret_exit = cli_usage(cli, "only one condition at a time");
        return false;
    }
    if (c->is_ttl_given && c->ttl_us == 0) {
        *ret_exit = cli_usage(cli, "--ttl is above 0: without it the key does not expire");
        return false;
    }
    if (c->is_ttl_given && c->keep_ttl) {
        *ret_exit = cli_usage(cli, "--ttl or --keep-ttl, not both");
        return false;
    }
    hf_change_init(ret_change);
    ret_change->keep_ttl = c->keep_ttl;
    ret_change->ttl_ms = c->ttl_us / 1000 + (c->ttl_us % 1000 != 0);
    if (c->if_absent || (c->is_version_given && c->if_version == 0))
        ret_change->condition = HF_IF_ABSENT;
    else if (c->if_present)
        ret_change->condition = HF_IF_PRESENT;
    else if (c->is_version_given)
        ret_change->condition = HF_IF_VERSION;
    else if (c->if_value != NULL)
        ret_change->condition = HF_IF_VALUE;
    ret_change->if_version = c->if_version;
    ret_change->if_value = hf_str(c->if_value);
    return true;
}

/* A condition was not met: what stands there now is part of the answer. */
/* What is there instead, in a line: of a long value how it begins. */
static int tell_present(struct cli *cli, const char *message, const struct hf_item *item)
{
    struct slice value = cli_slice(item->value);
    struct buf shown;
    if (item->version == 0)
        return cli_fail_as(cli, HF_ERR_CONDITION_FAILED, "%s: the key is absent", message);
    if (!item->has_value)
        return cli_fail_as(cli, HF_ERR_CONDITION_FAILED, "%s: it has version %" PRIu64, message,
                           item->version);
    buf_init(&shown, (size_t)4 * SHOWN_MAX);
    cli_append_shown(&shown, slice_of(value.data, MIN(value.len, (size_t)SHOWN_MAX)));
    int exit_code = cli_fail_as(
        cli, HF_ERR_CONDITION_FAILED, "%s: it has version %" PRIu64 " and value '%.*s'%s", message,
        item->version, (int)shown.len, shown.len > 0 ? (const char *)shown.data : "",
        value.len > SHOWN_MAX ? " …" : "");
    buf_fini(&shown);
    return exit_code;
}

static int fail_condition(struct cli *cli, const char *key, const struct hf_result *result)
{
    const struct hf_item *item = result != NULL && result->count > 0 ? &result->items[0] : NULL;
    if (item == NULL)
        return cli_fail(cli, HF_ERR_CONDITION_FAILED, result);
    if (!cli->is_json)
        return tell_present(cli, result->message, item);
    struct json_writer w;
    json_begin(&w, &cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, false);
    json_key(&w, "code");
    json_text(&w, hf_code_name(HF_ERR_CONDITION_FAILED));
    json_key(&w, "message");
    json_text(&w, result->message);
    json_bytes_member(&w, "key", slice_str(key));
    json_key(&w, "version");
    json_u64(&w, item->version);
    if (item->has_value)
        json_bytes_member(&w, "value", cli_slice(item->value));
    end_item(cli, &w);
    return EXIT_NO;
}

/* The end of every single change: says how it went, frees the result. */
static int finish_change(struct cli *cli, const char *key, int rv, struct hf_result *result,
                         bool is_number)
{
    int exit_code = EXIT_DONE;
    if (rv == HF_ERR_CONDITION_FAILED) {
        exit_code = fail_condition(cli, key, result);
    } else if (rv != HF_OK) {
        exit_code = cli_fail(cli, rv, result);
    } else if (cli->is_json) {
        struct json_writer w;
        begin_item(cli, &w, key, &result->items[0]);
        if (is_number) {
            json_key(&w, "number");
            json_i64(&w, result->items[0].number);
        }
        end_item(cli, &w);
    } else if (is_number) {
        buf_printf(&cli->out, "%" PRId64 "\n", result->items[0].number);
    } else {
        buf_append_str(&cli->out, "OK\n");
    }
    hf_result_free(result);
    return exit_code;
}

int kv_put(struct cli *cli, int argc, const char *const *argv)
{
    struct change_flags c = {0};
    struct args_flag flags[CHANGE_FLAGS_MAX];
    size_t flags_count = change_flags_fill(&c, CHANGE_TTL | CHANGE_KEEPS_TTL | CHANGE_IF, flags);
    struct cli_words words;
    struct hf_change change;
    int exit_code;
    /* in the shell, standard input is the next commands */
    size_t words_min = cli->is_shell ? 2 : 1;
    if (!cli_parse(cli, argc, argv, flags, flags_count, words_min, 2, &words, &exit_code) ||
        !change_from_flags(cli, &c, &change, &exit_code) ||
        !check_key(cli, words.at[0], &exit_code))
        return exit_code;
    struct buf value;
    buf_init(&value, VALUE_MAX);
    if (words.count == 1 && !cli_read_file(cli, "-", &value)) {
        buf_fini(&value);
        return EXIT_ERROR;
    }
    struct hf_client *client = cli_client(cli);
    if (client == NULL) {
        buf_fini(&value);
        return EXIT_USAGE;
    }
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    struct hf_bytes bytes =
        words.count == 2 ? hf_str(words.at[1]) : hf_bytes(value.data, value.len);
    int rv = hf_put(client, hf_str(words.at[0]), bytes, &change, &call, &result);
    buf_fini(&value);
    return finish_change(cli, words.at[0], rv, result, false);
}

int kv_delete(struct cli *cli, int argc, const char *const *argv)
{
    struct change_flags c = {0};
    struct args_flag flags[CHANGE_FLAGS_MAX];
    size_t flags_count = change_flags_fill(&c, CHANGE_IF, flags);
    struct cli_words words;
    struct hf_change change;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, flags_count, 1, CLI_WORDS_MAX, &words, &exit_code) ||
        !change_from_flags(cli, &c, &change, &exit_code) || !check_keys(cli, &words, &exit_code))
        return exit_code;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_call call = cli_call(cli);
    exit_code = EXIT_DONE;
    for (size_t i = 0; i < words.count && exit_code == EXIT_DONE; i++) {
        struct hf_result *result = NULL;
        int rv = hf_delete(client, hf_str(words.at[i]), &change, &call, &result);
        exit_code = finish_change(cli, words.at[i], rv, result, false);
    }
    return exit_code;
}

int kv_cas(struct cli *cli, int argc, const char *const *argv)
{
    struct change_flags c = {0};
    struct args_flag flags[CHANGE_FLAGS_MAX];
    size_t flags_count =
        change_flags_fill(&c, CHANGE_TTL | CHANGE_KEEPS_TTL | CHANGE_IF_VERSION, flags);
    struct cli_words words;
    struct hf_change change;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, flags_count, 2, 3, &words, &exit_code))
        return exit_code;
    if (words.count != (c.is_version_given ? 2 : 3))
        return cli_usage(cli, "wants KEY EXPECTED VALUE, or KEY VALUE --if-version V");
    c.if_value = c.is_version_given ? NULL : words.at[1];
    if (!change_from_flags(cli, &c, &change, &exit_code) ||
        !check_key(cli, words.at[0], &exit_code))
        return exit_code;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    int rv = hf_put(client, hf_str(words.at[0]), hf_str(words.at[words.count - 1]), &change, &call,
                    &result);
    return finish_change(cli, words.at[0], rv, result, false);
}

int kv_increment(struct cli *cli, int argc, const char *const *argv)
{
    struct change_flags c = {0};
    struct args_flag flags[CHANGE_FLAGS_MAX];
    size_t flags_count = change_flags_fill(&c, CHANGE_TTL | CHANGE_IF, flags);
    struct cli_words words;
    struct hf_change change;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, flags_count, 1, 2, &words, &exit_code))
        return exit_code;
    int64_t delta = 1;
    if (words.count == 2 && text_parse_i64(slice_str(words.at[1]), &delta) != 0)
        return cli_usage(cli, "DELTA must be a whole number, not '%s'", words.at[1]);
    if (!change_from_flags(cli, &c, &change, &exit_code) ||
        !check_key(cli, words.at[0], &exit_code))
        return exit_code;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    int rv = hf_increment(client, hf_str(words.at[0]), delta, &change, &call, &result);
    return finish_change(cli, words.at[0], rv, result, true);
}

/* The value before, as `get` shows one; nothing if there was none. */
static int show_previous(struct cli *cli, const char *key, const struct hf_result *result)
{
    if (result->count == 0) /* a repeat is answered without it where it was long */
        return cli_error(cli,
                         "it was set, at version %" PRIu64 ", but the answer with the value "
                         "before was lost",
                         result->version);
    const struct hf_item *item = &result->items[0];
    if (cli->is_json) {
        struct json_writer w;
        begin_item(cli, &w, key, item);
        json_key(&w, "found");
        json_bool(&w, item->has_value != 0);
        if (item->has_value)
            json_bytes_member(&w, "previous", cli_slice(item->value));
        end_item(cli, &w);
    } else if (item->has_value) {
        buf_append_slice(&cli->out, cli_slice(item->value));
        if (isatty(STDOUT_FILENO))
            buf_append_u8(&cli->out, '\n');
    }
    return EXIT_DONE;
}

int kv_get_and_set(struct cli *cli, int argc, const char *const *argv)
{
    struct change_flags c = {0};
    struct args_flag flags[CHANGE_FLAGS_MAX];
    size_t flags_count = change_flags_fill(&c, CHANGE_TTL | CHANGE_KEEPS_TTL | CHANGE_IF, flags);
    struct cli_words words;
    struct hf_change change;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, flags_count, 2, 2, &words, &exit_code) ||
        !change_from_flags(cli, &c, &change, &exit_code) ||
        !check_key(cli, words.at[0], &exit_code))
        return exit_code;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    int rv =
        hf_get_and_set(client, hf_str(words.at[0]), hf_str(words.at[1]), &change, &call, &result);
    if (rv != HF_OK)
        return finish_change(cli, words.at[0], rv, result, false);
    exit_code = show_previous(cli, words.at[0], result);
    hf_result_free(result);
    return exit_code;
}

/* Both answers are what was asked for: it was done, so or so, or it was not. */
static int say_resolved(struct cli *cli, int rv, const struct hf_result *result)
{
    bool is_done = rv == HF_OK;
    const char *name = is_done ? "DONE" : rv == HF_ERR_FENCED ? "NOT_DONE" : hf_code_name(rv);
    if (!cli->is_json) {
        buf_printf(&cli->out, "%s%s\n", is_done ? "done" : "not done: ",
                   is_done               ? ""
                   : rv == HF_ERR_FENCED ? "and never will be"
                                         : hf_strerror(rv));
        return EXIT_DONE;
    }
    struct json_writer w;
    json_begin(&w, &cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, true);
    json_key(&w, "outcome");
    json_text(&w, name);
    json_key(&w, "version");
    json_u64(&w, result != NULL ? result->version : 0);
    end_item(cli, &w);
    return EXIT_DONE;
}

int kv_resolve(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words; /* a token tells where its keys are */
    uint8_t token[CLI_TOKEN_MAX];
    size_t len = 0;
    int exit_code;
    cli->is_keyless = true;
    if (!cli_parse(cli, argc, argv, NULL, 0, 1, 1, &words, &exit_code))
        return exit_code;
    if (!cli_parse_hex(words.at[0], token, &len))
        return cli_usage(cli, "'%s' is no token: it is hexadecimal, as it was printed",
                         words.at[0]);
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    int rv = hf_resolve(client, hf_bytes(token, len), &call, &result);
    switch (rv) {
    case HF_OK:
    case HF_ERR_FENCED:
    case HF_ERR_CONDITION_FAILED:
    case HF_ERR_NOT_NUMBER:
    case HF_ERR_OVERFLOW:
    case HF_ERR_TOO_LARGE: /* an append's */
        exit_code = say_resolved(cli, rv, result);
        break;
    case HF_ERR_INVALID:
        exit_code = cli_fail_as(cli, rv, "that is no token, or not all of one");
        break;
    default:
        exit_code = cli_fail(cli, rv, result);
    }
    hf_result_free(result);
    return exit_code;
}

int kv_append(struct cli *cli, int argc, const char *const *argv)
{
    struct change_flags c = {0};
    struct args_flag flags[CHANGE_FLAGS_MAX];
    size_t flags_count = change_flags_fill(&c, CHANGE_TTL | CHANGE_IF, flags);
    struct cli_words words;
    struct hf_change change;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, flags_count, 2, 2, &words, &exit_code) ||
        !change_from_flags(cli, &c, &change, &exit_code) ||
        !check_key(cli, words.at[0], &exit_code))
        return exit_code;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    int rv = hf_append(client, hf_str(words.at[0]), hf_str(words.at[1]), &change, &call, &result);
    return finish_change(cli, words.at[0], rv, result, false);
}
