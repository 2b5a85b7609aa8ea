/* SPDX-License-Identifier: Apache-2.0
 *
 * scan: keys in order, as lines "key<TAB>value" for people or JSON for programs. With --cursor
 * it goes on where the last scan of that file ended.
 */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "commands.h"
#include "place.h"
#include "reading.h"

enum {
    CURSOR_MAX = 16 << 20,
    SAVE_EVERY = 4 << 20, /* bytes of keys and values */
};

struct scan_flags {
    const char *prefix;
    const char *start;
    const char *end;
    uint64_t limit;
    bool is_reverse;
    bool is_keys_only;
    const char *cursor; /* a file; NULL: none */
    bool is_renewed;
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

/* ---- the cursor ------------------------------------------------------------------------ */

/* Keep where the scan stands, once what it said is written. */
static bool save(struct cli *cli, struct hf_scan *scan, const struct scan_flags *f)
{
    struct hf_bytes cursor;
    if (f->cursor == NULL)
        return true;
    if (!cli_flush(cli, true))
        return false;
    int rv = hf_scan_cursor(scan, &cursor);
    if (rv == HF_OK)
        return place_save(cli, f->cursor, cli_slice(cursor));
    cli_error(cli, "%s: the place cannot be written down: %s", f->cursor, hf_strerror(rv));
    return false;
}

/* All that was asked for is said: the file is there as long as there is more. */
static int end(struct cli *cli, struct hf_scan *scan, const struct scan_flags *f)
{
    struct hf_item item;
    if (f->cursor == NULL)
        return EXIT_DONE;
    if (!save(cli, scan, f))
        return EXIT_ERROR;
    if (hf_scan_next(scan, &item) == 0 && unlink(f->cursor) != 0 && errno != ENOENT)
        return cli_error(cli, "%s: %s", f->cursor, strerror(errno));
    return EXIT_DONE; /* if it cannot tell, the next one will */
}

static int fail(struct cli *cli, struct hf_scan *scan, const struct scan_flags *f, int code)
{
    bool is_kept = save(cli, scan, f);
    if (code == HF_ERR_VERSION_GONE && f->cursor != NULL && is_kept)
        return cli_fail_as(cli, code,
                           "the version that it reads at is not kept any more (retention of the "
                           "keyspace, 10m unless it says otherwise); to go on at that of now: "
                           "--renew");
    return cli_fail_as(cli, code, "%s", hf_scan_message(scan));
}

static bool bytes_are(struct hf_bytes a, struct hf_bytes b)
{
    return slice_equal(cli_slice(a), cli_slice(b));
}

/* Do the flags say another scan than that of the cursor? Those that are not there say none. */
static bool is_of_another(struct cli *cli, struct hf_client *client, struct hf_scan *scan,
                          const struct scan_flags *f, const struct hf_span *asked)
{
    bool has_span = f->prefix != NULL || f->start != NULL || f->end != NULL;
    struct hf_scan *fresh = NULL;
    struct hf_span was, wanted;
    struct hf_call call = cli_call(cli);
    uint32_t keyspace, wanted_keyspace;
    hf_scan_span(scan, &was, &keyspace);
    bool is_other = (f->is_reverse && !was.reverse) || (f->is_keys_only && !was.keys_only) ||
                    (cli->keyspace != NULL && cli->keyspace_id != keyspace);
    if (is_other || !has_span)
        return is_other;
    call.keyspace = keyspace;
    struct hf_span span = *asked;
    span.cursor = (struct hf_bytes){0};
    if (hf_scan_new(client, &span, &call, &fresh) != HF_OK)
        return true;
    hf_scan_span(fresh, &wanted, &wanted_keyspace); /* a prefix as bounds */
    is_other = !bytes_are(was.start, wanted.start) || !bytes_are(was.end, wanted.end);
    hf_scan_free(fresh);
    return is_other;
}

/* It goes on where the cursor stands: is that what was asked for? */
static bool check_cursor(struct cli *cli, struct hf_client *client, struct hf_scan *scan,
                         struct scan_flags *f, const struct hf_span *span, int *ret_exit)
{
    struct hf_span was;
    uint32_t keyspace;
    if (is_of_another(cli, client, scan, f, span)) {
        *ret_exit = cli_usage(cli,
                              "'%s' is the cursor of a scan of other keys: the same keys, "
                              "keyspace and direction, or none of them",
                              f->cursor);
        return false;
    }
    if (f->is_renewed && hf_scan_renew(scan) != HF_OK) {
        *ret_exit = cli_usage(cli, "--renew: the scan is at a version that --at-version named");
        return false;
    }
    hf_scan_span(scan, &was, &keyspace);
    f->is_keys_only = was.keys_only != 0;
    return true;
}

static int fail_new(struct cli *cli, const struct scan_flags *f, const struct hf_span *span, int rv)
{
    if (span->cursor.len == 0)
        return cli_fail(cli, rv, NULL);
    if (rv == HF_ERR_CORRUPT)
        return cli_fail_as(cli, rv, "'%s' was not written by a scan, or is damaged", f->cursor);
    if (rv == HF_ERR_UNSUPPORTED)
        return cli_fail_as(cli, rv, "'%s' was written by another version of holdfast", f->cursor);
    if (rv == HF_ERR_INVALID)
        return cli_fail_as(cli, rv, "'%s' is of another keyspace: name it with --keyspace",
                           f->cursor);
    return cli_fail(cli, rv, NULL);
}

/* ---- the scan --------------------------------------------------------------------------- */

static int show_all(struct cli *cli, struct hf_scan *scan, const struct scan_flags *f)
{
    struct hf_item item;
    size_t unsaved = 0; /* bytes */
    for (uint64_t shown = 0; f->limit == 0 || shown < f->limit; shown++) {
        int rv = hf_scan_next(scan, &item);
        if (rv == 0)
            break;
        if (rv < 0)
            return fail(cli, scan, f, rv);
        show_item(cli, &item, f->is_keys_only);
        unsaved += item.key.len + item.value.len;
        if (!cli_flush(cli, false) || (unsaved >= SAVE_EVERY && !save(cli, scan, f)))
            return EXIT_ERROR;
        if (unsaved >= SAVE_EVERY)
            unsaved = 0;
        if (cli_is_interrupted(cli))
            return save(cli, scan, f) ? EXIT_DONE : EXIT_ERROR;
    }
    return end(cli, scan, f);
}

static int scan_span(struct cli *cli, struct scan_flags *f, struct hf_call *call,
                     const struct buf *cursor)
{
    struct hf_client *client = cli_client(cli);
    struct hf_scan *scan = NULL;
    struct hf_span span;
    int exit_code;
    if (client == NULL)
        return EXIT_USAGE;
    call->keyspace = cli->keyspace_id;
    hf_span_init(&span);
    span.prefix = hf_str(f->prefix);
    span.start = hf_str(f->start);
    span.end = hf_str(f->end);
    span.reverse = f->is_reverse;
    span.keys_only = f->is_keys_only;
    span.as_stored = cli->keyspace_slots == 0; /* also where a keyspace is not there any more */
    span.limit_keys = f->limit > 0 && f->limit < 10000 ? (uint32_t)f->limit : 0;
    span.cursor = hf_bytes(cursor->data, cursor->len);
    int rv = hf_scan_new(client, &span, call, &scan);
    if (rv != HF_OK)
        return fail_new(cli, f, &span, rv);
    if (cursor->len == 0 || check_cursor(cli, client, scan, f, &span, &exit_code))
        exit_code = show_all(cli, scan, f);
    hf_scan_free(scan);
    return exit_code;
}

int kv_scan(struct cli *cli, int argc, const char *const *argv)
{
    struct scan_flags f = {0};
    struct reading reading = {0};
    struct hf_call call;
    struct args_flag flags[8 + READING_FLAGS] = {
        {"prefix", 0, ARGS_TEXT, &f.prefix, NULL, "P", "keys that begin so"},
        {"start", 0, ARGS_TEXT, &f.start, NULL, "KEY", "from this key on"},
        {"end", 0, ARGS_TEXT, &f.end, NULL, "KEY", "up to, and without, this key"},
        {"limit", 'n', ARGS_U64, &f.limit, NULL, "N", "at most so many (0: all)"},
        {"reverse", 'r', ARGS_SWITCH, &f.is_reverse, NULL, NULL, "from the end downwards"},
        {"keys-only", 'k', ARGS_SWITCH, &f.is_keys_only, NULL, NULL, "without values"},
        {"cursor", 0, ARGS_TEXT, &f.cursor, NULL, "FILE",
         "keep there how far it came, and go on from there; the file is there while there is more"},
        {"renew", 0, ARGS_SWITCH, &f.is_renewed, NULL, NULL,
         "go on at versions of now, where that of the cursor is not kept any more"},
    };
    struct cli_words words;
    struct buf cursor;
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
    if (f.cursor != NULL && f.cursor[0] == 0)
        return cli_usage(cli, "--cursor wants the name of a file");
    if (f.is_renewed && f.cursor == NULL)
        return cli_usage(cli, "--renew is for --cursor");
    buf_init(&cursor, CURSOR_MAX);
    exit_code =
        place_load(cli, f.cursor, &cursor) ? scan_span(cli, &f, &call, &cursor) : EXIT_ERROR;
    buf_fini(&cursor);
    return exit_code;
}
