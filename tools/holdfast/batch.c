/* SPDX-License-Identifier: Apache-2.0
 *
 * batch: one operation a line, all of them or none.
 *
 *   put KEY VALUE [TTL]      del KEY          incr KEY [DELTA]    append KEY VALUE
 *   absent KEY               present KEY      version KEY V       value KEY X
 *
 * The second row are conditions: unless all hold, nothing happens. Words are quoted
 * as in the shell ('…', "…", \xNN); lines that begin with '#' are comments.
 * Operations are counted from 1, in what is said about sums and about the one that
 * stopped a batch.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"
#include "commands.h"
#include "split.h"

enum { BATCH_TEXT_MAX = 64 << 20, BATCH_WORDS_MAX = 5 };

/* What is collected from the lines. */
struct typed {
    struct cli *cli;
    struct hf_batch *batch;
    struct buf sums; /* a byte for each operation: is its result a number? */
};

/* Add one operation; an hf_code, or 1 when the words are no operation. */
typedef int (*batch_op)(struct hf_batch *batch, const char *const *words, size_t count);

static int op_put(struct hf_batch *batch, const char *const *words, size_t count)
{
    struct hf_change change;
    hf_change_init(&change);
    uint64_t ttl_us = 0;
    if (count == 4 && (text_parse_duration(slice_str(words[3]), &ttl_us) != 0 || ttl_us == 0))
        return 1;
    change.ttl_ms = ttl_us / 1000 + (ttl_us % 1000 != 0);
    return hf_batch_put(batch, hf_str(words[1]), hf_str(words[2]), &change);
}

static int op_delete(struct hf_batch *batch, const char *const *words, size_t count)
{
    (void)count;
    return hf_batch_delete(batch, hf_str(words[1]), NULL);
}

static int op_increment(struct hf_batch *batch, const char *const *words, size_t count)
{
    int64_t delta = 1;
    if (count == 3 && text_parse_i64(slice_str(words[2]), &delta) != 0)
        return 1;
    return hf_batch_increment(batch, hf_str(words[1]), delta, NULL);
}

static int op_append(struct hf_batch *batch, const char *const *words, size_t count)
{
    (void)count;
    return hf_batch_append(batch, hf_str(words[1]), hf_str(words[2]), NULL);
}

static int op_check(struct hf_batch *batch, const char *const *words, size_t count)
{
    struct hf_change change;
    hf_change_init(&change);
    (void)count;
    switch (words[0][0]) {
    case 'a':
        change.condition = HF_IF_ABSENT;
        break;
    case 'p':
        change.condition = HF_IF_PRESENT;
        break;
    default:
        change.condition = words[0][1] == 'e' ? HF_IF_VERSION : HF_IF_VALUE;
    }
    if (change.condition == HF_IF_VERSION &&
        text_parse_u64(slice_str(words[2]), &change.if_version) != 0)
        return 1;
    if (change.condition == HF_IF_VALUE)
        change.if_value = hf_str(words[2]);
    return hf_batch_check(batch, hf_str(words[1]), &change);
}

static const struct {
    const char *name;
    batch_op add;
    size_t words_min, words_max;
} ops[] = {
    {"put", op_put, 3, 4},       {"del", op_delete, 2, 2},   {"incr", op_increment, 2, 3},
    {"append", op_append, 3, 3}, {"absent", op_check, 2, 2}, {"present", op_check, 2, 2},
    {"version", op_check, 3, 3}, {"value", op_check, 3, 3},
};

static int add_line(struct typed *typed, char *line, size_t number)
{
    struct cli *cli = typed->cli;
    const char *words[BATCH_WORDS_MAX];
    size_t count;
    struct err err = {0};
    if (split_words(line, words, ARRAY_LEN(words), &count, &err) != 0)
        return cli_usage(cli, "line %zu: %s", number, err.msg);
    if (count == 0)
        return EXIT_DONE;
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (strcmp(ops[i].name, words[0]) != 0)
            continue;
        if (count < ops[i].words_min || count > ops[i].words_max)
            return cli_usage(cli, "line %zu: wrong number of words after %s", number, words[0]);
        int rv = ops[i].add(typed->batch, words, count);
        if (rv > 0)
            return cli_usage(cli, "line %zu: '%s' is not what %s takes", number, words[count - 1],
                             words[0]);
        buf_append_u8(&typed->sums, ops[i].add == op_increment);
        return rv == HF_OK ? EXIT_DONE : cli_error(cli, "line %zu: %s", number, hf_strerror(rv));
    }
    return cli_usage(cli, "line %zu: no operation '%s'", number, words[0]);
}

/* `text` ends in the NUL that was added to it. */
static int fill(struct typed *typed, struct buf *text)
{
    char *line = (char *)text->data;
    char *last = line + text->len - 1;
    int exit_code = EXIT_DONE;
    for (size_t number = 1; line <= last && exit_code == EXIT_DONE; number++) {
        char *end = memchr(line, '\n', (size_t)(last - line));
        if (end == NULL)
            end = last;
        *end = 0;
        if (strlen(line) != (size_t)(end - line))
            return cli_usage(typed->cli, "line %zu: has a NUL byte", number);
        exit_code = add_line(typed, line, number);
        line = end + 1;
    }
    return exit_code;
}

static void show_result(const struct typed *typed, const struct hf_result *result)
{
    struct cli *cli = typed->cli;
    if (!cli->is_json) {
        for (size_t i = 0; i < result->count; i++) {
            if (i < typed->sums.len && typed->sums.data[i] != 0)
                buf_printf(&cli->out, "%zu: %" PRId64 "\n", i + 1, result->items[i].number);
        }
        buf_append_str(&cli->out, "OK\n");
        return;
    }
    struct json_writer w;
    json_begin(&w, &cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, true);
    json_key(&w, "version");
    json_u64(&w, result->version);
    json_key(&w, "results");
    json_array_begin(&w);
    for (size_t i = 0; i < result->count; i++) {
        json_object_begin(&w);
        json_key(&w, "version");
        json_u64(&w, result->items[i].version);
        json_key(&w, "number");
        json_i64(&w, result->items[i].number);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_object_end(&w);
    buf_append_str(&cli->out, "\n");
}

/* Nothing was done: which operation stopped it is part of the answer. */
static int fail(struct cli *cli, int code, const struct hf_result *result)
{
    if (code != HF_ERR_CONDITION_FAILED || result == NULL)
        return cli_fail(cli, code, result);
    if (!cli->is_json)
        return cli_fail_as(cli, code, "operation %zu: %s", result->failed_op + 1, result->message);
    struct json_writer w;
    json_begin(&w, &cli->out);
    json_object_begin(&w);
    json_key(&w, "ok");
    json_bool(&w, false);
    json_key(&w, "code");
    json_text(&w, hf_code_name(code));
    json_key(&w, "message");
    json_text(&w, result->message);
    json_key(&w, "operation");
    json_u64(&w, result->failed_op + 1);
    json_object_end(&w);
    buf_append_str(&cli->out, "\n");
    return cli_exit_of(code);
}

static int commit(struct typed *typed)
{
    struct cli *cli = typed->cli;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    if (hf_batch_count(typed->batch) == 0)
        return cli_usage(cli, "nothing to do: no operations");
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    int exit_code = EXIT_DONE;
    int rv = hf_batch_commit(client, typed->batch, &call, &result);
    if (rv != HF_OK)
        exit_code = fail(cli, rv, result);
    else
        show_result(typed, result);
    hf_result_free(result);
    return exit_code;
}

int kv_batch(struct cli *cli, int argc, const char *const *argv)
{
    struct cli_words words;
    int exit_code;
    if (!cli_parse(cli, argc, argv, NULL, 0, 0, 1, &words, &exit_code))
        return exit_code;
    const char *path = cli_input(cli, &words);
    if (path == NULL)
        return EXIT_USAGE;
    struct typed typed = {.cli = cli};
    struct buf text;
    buf_init(&text, BATCH_TEXT_MAX);
    buf_init(&typed.sums, BATCH_TEXT_MAX);
    exit_code = EXIT_ERROR;
    if (cli_read_file(cli, path, &text)) {
        buf_append_u8(&text, 0);
        if (text.failed || hf_batch_new(&typed.batch) != HF_OK)
            exit_code = cli_error(cli, "out of memory");
        else
            exit_code = fill(&typed, &text);
    }
    if (exit_code == EXIT_DONE)
        exit_code = commit(&typed);
    hf_batch_free(typed.batch);
    buf_fini(&typed.sums);
    buf_fini(&text);
    return exit_code;
}
