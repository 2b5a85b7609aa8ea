/* SPDX-License-Identifier: Apache-2.0
 *
 * delete-range: all keys of a span, step by step; asks first, says how far it is, and where to
 * go on if it is cut off.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "commands.h"

enum { SHOW_EVERY_MS = 500, SUM_LEN = 4 };

struct sweep_flags {
    const char *prefix;
    const char *cursor; /* hexadecimal */
    uint64_t step;
    bool is_sure;
};

/* What was deleted so far, and where to go on. */
struct swept {
    uint64_t deleted;
    uint64_t steps;
    uint64_t shown_ms;
    struct buf next; /* a cursor */
};

static bool is_confirmed(struct cli *cli, const struct sweep_flags *f, const char *what,
                         int *ret_exit)
{
    char text[256];
    snprintf(text, sizeof text, "this deletes all keys %s, for good", what);
    return cli_confirm(cli, f->is_sure, text, ret_exit);
}

static void show_progress(const struct cli *cli, struct swept *s)
{
    uint64_t now = cli_now_ms();
    if (cli->is_json || !isatty(STDERR_FILENO) || now < s->shown_ms + SHOW_EVERY_MS)
        return;
    s->shown_ms = now;
    fprintf(stderr, "\r%" PRIu64 " keys deleted", s->deleted);
}

static void end_progress(const struct swept *s)
{
    if (s->shown_ms != 0)
        fputc('\n', stderr);
}

/* Over a cursor and what it is of. As people copy it by hand, one that is mistyped must not be
 * taken for another place: the keys between the two would be passed by in silence. */
static uint32_t sum_of(const struct cli *cli, const struct hf_span *span, struct slice cursor)
{
    uint8_t head[12];
    put_u32(head, cli->keyspace_id);
    put_u32(head + 4, (uint32_t)span->start.len);
    put_u32(head + 8, (uint32_t)span->end.len);
    uint32_t sum = crc32c(0, head, sizeof head);
    sum = crc32c(sum, span->start.data, span->start.len);
    sum = crc32c(sum, span->end.data, span->end.len);
    return crc32c(sum, cursor.data, cursor.len);
}

/* It was cut off: how to go on. A cursor is a key, but for a hashed keyspace. */
static void say_rest(struct cli *cli, struct swept *s, const struct hf_span *span)
{
    bool is_hashed = cli->keyspace_slots > 0;
    uint8_t sum[SUM_LEN];
    if (s->next.len == 0)
        return;
    put_u32(sum, sum_of(cli, span, buf_slice(&s->next)));
    if (is_hashed)
        buf_append(&s->next, sum, sizeof sum);
    if (cli->is_json) {
        cli->go_on = buf_slice(&s->next);
        cli->is_go_on_a_key = !is_hashed;
        return;
    }
    fputs(is_hashed ? "go on with the same bounds and --cursor " : "go on at: ", stderr);
    for (size_t i = 0; is_hashed && i < s->next.len; i++)
        fprintf(stderr, "%02x", s->next.data[i]);
    if (!is_hashed) {
        cli_append_shown(&cli->out, buf_slice(&s->next));
        cli_write(stderr, buf_slice(&cli->out));
        buf_clear(&cli->out);
    }
    fputc('\n', stderr);
}

static int sweep_all(struct cli *cli, struct hf_client *client, struct hf_span *span,
                     struct swept *s)
{
    struct hf_call call = cli_call(cli);
    for (;;) {
        struct hf_result *result = NULL;
        int rv = hf_delete_range(client, span, &call, &result);
        if (rv == HF_ERR_INVALID && s->steps == 0 && span->cursor.len > 0) {
            hf_result_free(result);
            return cli_usage(cli, "no sweep of these bounds said that cursor");
        }
        if (rv == HF_ERR_INVALID && span->end.len > 0 &&
            slice_compare(cli_slice(span->start), cli_slice(span->end)) > 0) {
            hf_result_free(result);
            return cli_fail_as(cli, rv, "START is behind END");
        }
        if (rv != HF_OK) {
            end_progress(s);
            say_rest(cli, s, span);
            int exit_code = cli_fail(cli, rv, result);
            hf_result_free(result);
            return exit_code;
        }
        if (result == NULL) /* it is done, and there is no memory to say how */
            return cli_error(cli, "out of memory after %" PRIu64 " keys and a step", s->deleted);
        s->deleted += result->deleted;
        s->steps++;
        bool has_more = result->has_more != 0;
        buf_clear(&s->next);
        buf_append_slice(&s->next, cli_slice(result->cursor));
        span->cursor = hf_bytes(s->next.data, s->next.len);
        hf_result_free(result);
        if (s->next.failed) /* without a cursor it would begin anew, with what was put since */
            return cli_error(cli, "out of memory after %" PRIu64 " keys", s->deleted);
        show_progress(cli, s);
        if (!has_more)
            break;
        if (cli_is_interrupted(cli)) {
            end_progress(s);
            say_rest(cli, s, span);
            return cli_error(cli, "interrupted after %" PRIu64 " keys", s->deleted);
        }
    }
    end_progress(s);
    return EXIT_DONE;
}

static void say_done(struct cli *cli, const struct swept *s)
{
    if (cli->is_json)
        buf_printf(&cli->out, "{\"ok\":true,\"deleted\":%" PRIu64 ",\"steps\":%" PRIu64 "}\n",
                   s->deleted, s->steps);
    else
        buf_printf(&cli->out, "%" PRIu64 " keys deleted\n", s->deleted);
}

/* The bounds: START and END, or a prefix as bounds that can be cut shorter. */
static bool set_span(struct cli *cli, const struct sweep_flags *f, const struct cli_words *words,
                     struct hf_span *span, struct buf *end, int *ret_exit)
{
    hf_span_init(span);
    span->limit_keys = (uint32_t)MIN(f->step, (uint64_t)UINT32_MAX);
    if ((f->prefix != NULL) == (words->count > 0) || words->count == 1) {
        *ret_exit = cli_usage(cli, "wants START and END (\"\": no bound), or --prefix");
        return false;
    }
    if (f->prefix != NULL && f->prefix[0] == 0) {
        *ret_exit = cli_usage(cli, "the prefix is empty: say START and END as \"\"");
        return false;
    }
    if (f->prefix == NULL) {
        span->start = hf_str(words->at[0]);
        span->end = hf_str(words->at[1]);
        return true;
    }
    span->start = hf_str(f->prefix);
    if (!cli_prefix_end(f->prefix, end)) {
        *ret_exit = cli_usage(cli, "the prefix is too long");
        return false;
    }
    span->end = hf_bytes(end->data, end->len);
    return true;
}

/* Where the sweep of before was cut off; the keyspace is open. */
static bool set_cursor(struct cli *cli, const struct sweep_flags *f, struct hf_span *span,
                       struct swept *swept, int *ret_exit)
{
    uint8_t cursor[CLI_TOKEN_MAX];
    size_t len = 0;
    if (f->cursor == NULL)
        return true;
    if (!cli_parse_hex(f->cursor, cursor, &len)) {
        *ret_exit =
            cli_usage(cli, "'%s' is no cursor: it is hexadecimal, as it was printed", f->cursor);
        return false;
    }
    struct slice place = slice_of(cursor, len > SUM_LEN ? len - SUM_LEN : 0);
    if (place.len == 0 || get_u32(cursor + place.len) != sum_of(cli, span, place)) {
        *ret_exit = cli_usage(cli,
                              "'%s' is no cursor of a sweep of this keyspace and these bounds, or "
                              "is mistyped",
                              f->cursor);
        return false;
    }
    buf_append(&swept->next, place.data, place.len);
    span->cursor = hf_bytes(swept->next.data, swept->next.len);
    return true;
}

int kv_delete_range(struct cli *cli, int argc, const char *const *argv)
{
    struct sweep_flags f = {0};
    const struct args_flag flags[] = {
        {"prefix", 0, ARGS_TEXT, &f.prefix, NULL, "P", "keys that begin so, instead of bounds"},
        {"yes", 'y', ARGS_SWITCH, &f.is_sure, NULL, NULL, "do not ask"},
        {"cursor", 0, ARGS_TEXT, &f.cursor, NULL, "HEX",
         "go on where a sweep of the same bounds was cut off"},
        {"step", 0, ARGS_U64, &f.step, NULL, "N", "keys of one step (1000)"},
    };
    struct cli_words words;
    struct hf_span span;
    struct swept swept = {0};
    struct buf end;
    char what[256];
    int exit_code;
    buf_init(&end, CLI_TOKEN_MAX);
    buf_init(&swept.next, CLI_TOKEN_MAX + SUM_LEN);
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 2, &words, &exit_code) ||
        !set_span(cli, &f, &words, &span, &end, &exit_code))
        goto out;
    struct hf_client *client = cli_client(cli);
    exit_code = EXIT_USAGE;
    if (client == NULL || !set_cursor(cli, &f, &span, &swept, &exit_code))
        goto out;
    if (f.prefix != NULL)
        snprintf(what, sizeof what, "that begin with '%s'", f.prefix);
    else
        snprintf(what, sizeof what, "from '%s' on and before '%s' ('': no bound)", words.at[0],
                 words.at[1]);
    if (!is_confirmed(cli, &f, what, &exit_code))
        goto out;
    exit_code = sweep_all(cli, client, &span, &swept);
    if (exit_code == EXIT_DONE)
        say_done(cli, &swept);
out:
    cli->go_on = (struct slice){0};
    buf_fini(&swept.next);
    buf_fini(&end);
    return exit_code;
}
