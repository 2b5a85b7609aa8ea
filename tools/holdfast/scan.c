/* SPDX-License-Identifier: Apache-2.0
 *
 * scan: keys in order, as lines "key<TAB>value" for people or JSON for programs.
 */
#include <inttypes.h>

#include "commands.h"
#include "reading.h"

struct scan_flags {
    const char *prefix;
    const char *start;
    const char *end;
    uint64_t limit;
    bool is_reverse;
    bool is_keys_only;
};

static void show_item(struct cli *cli, const struct hf_item *item, bool is_keys_only)
{
    if (!cli->is_json) {
        cli_append_shown(&cli->out, cli_slice(item->key));
        if (!is_keys_only) {
            buf_append_u8(&cli->out, '\t');
            cli_append_shown(&cli->out, cli_slice(item->value));
        }
        buf_append_u8(&cli->out, '\n');
        return;
    }
    struct json_writer w;
    json_begin(&w, &cli->out);
    json_object_begin(&w);
    json_bytes_member(&w, "key", cli_slice(item->key));
    if (!is_keys_only)
        json_bytes_member(&w, "value", cli_slice(item->value));
    json_key(&w, "version");
    json_u64(&w, item->version);
    if (item->ttl_ms > 0) {
        json_key(&w, "ttl_ms");
        json_u64(&w, item->ttl_ms);
    }
    json_object_end(&w);
    buf_append_u8(&cli->out, '\n');
}

static int show_all(struct cli *cli, struct hf_scan *scan, const struct scan_flags *f)
{
    struct hf_item item;
    for (uint64_t shown = 0; f->limit == 0 || shown < f->limit; shown++) {
        int rv = hf_scan_next(scan, &item);
        if (rv == 0)
            break;
        if (rv < 0)
            return cli_fail_as(cli, rv, "%s", hf_scan_message(scan));
        show_item(cli, &item, f->is_keys_only);
        if (!cli_flush(cli, false))
            return EXIT_ERROR;
    }
    return EXIT_DONE;
}

int kv_scan(struct cli *cli, int argc, const char *const *argv)
{
    struct scan_flags f = {0};
    struct reading reading = {0};
    struct hf_call call;
    struct args_flag flags[6 + READING_FLAGS] = {
        {"prefix", 0, ARGS_TEXT, &f.prefix, NULL, "P", "keys that begin so"},
        {"start", 0, ARGS_TEXT, &f.start, NULL, "KEY", "from this key on"},
        {"end", 0, ARGS_TEXT, &f.end, NULL, "KEY", "up to, and without, this key"},
        {"limit", 'n', ARGS_U64, &f.limit, NULL, "N", "at most so many (0: all)"},
        {"reverse", 'r', ARGS_SWITCH, &f.is_reverse, NULL, NULL, "from the end downwards"},
        {"keys-only", 'k', ARGS_SWITCH, &f.is_keys_only, NULL, NULL, "without values"},
    };
    struct cli_words words;
    int exit_code;
    reading_flags(&reading, flags + ARRAY_LEN(flags) - READING_FLAGS);
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 1, &words, &exit_code) ||
        !reading_call(cli, &reading, &call, &exit_code))
        return exit_code;
    if (words.count == 1 && f.prefix != NULL)
        return cli_usage(cli, "--prefix, or the prefix as a word, not both");
    if (words.count == 1)
        f.prefix = words.at[0];
    if (f.prefix != NULL && (f.start != NULL || f.end != NULL))
        return cli_usage(cli, "a prefix, or start and end");
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    call.keyspace = cli->keyspace_id;
    struct hf_span span;
    hf_span_init(&span);
    span.prefix = hf_str(f.prefix);
    span.start = hf_str(f.start);
    span.end = hf_str(f.end);
    span.reverse = f.is_reverse;
    span.keys_only = f.is_keys_only;
    span.limit_keys = f.limit > 0 && f.limit < 10000 ? (uint32_t)f.limit : 0;
    struct hf_scan *scan = NULL;
    int rv = hf_scan_new(client, &span, &call, &scan);
    if (rv != HF_OK)
        return cli_fail(cli, rv, NULL);
    exit_code = show_all(cli, scan, &f);
    hf_scan_free(scan);
    return exit_code;
}
