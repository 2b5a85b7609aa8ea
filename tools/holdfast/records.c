/* SPDX-License-Identifier: Apache-2.0
 *
 * import and export: any number of records, one JSON object a line.
 *
 * Import puts batches, one after another, so a later line of the same key wins. A
 * batch whose outcome is unknown is sent again: putting the same values twice is
 * harmless. Export reads all pages at the version of the first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/coding.h"
#include "base/text.h"
#include "commands.h"
#include "record.h"

enum {
    IMPORT_BATCH_OPS = 1000,
    IMPORT_BATCH_BYTES = 1 << 20,
    KEPT_MAX = 16 << 20, /* bytes: a batch, and a value of the largest size behind it */
    RETRY_PAUSE_MS = 200,
    PROGRESS_EVERY_MS = 1000,
};

struct import {
    struct cli *cli;
    struct hf_client *client;
    struct hf_batch *batch;
    size_t batch_bytes;
    struct buf kept; /* what is in the batch: TTL, lengths, key, value, one after another */
    uint64_t retry_us;
    uint64_t line;    /* number of the line being read */
    uint64_t records; /* surely in the cluster */
    uint64_t bytes;   /* of their keys and values */
    uint64_t began_ms;
    uint64_t shown_ms; /* when progress was last printed */
    struct buf text;   /* the line being read */
};

static void show_progress(uint64_t *shown_ms, uint64_t began_ms, const char *verb, uint64_t records)
{
    uint64_t now = cli_now_ms();
    if (!isatty(STDERR_FILENO) || now - *shown_ms < PROGRESS_EVERY_MS)
        return;
    *shown_ms = now;
    uint64_t rate = records * 1000 / MAX(now - began_ms, UINT64_C(1));
    fprintf(stderr, "\r%s %" PRIu64 " records, %" PRIu64 "/s ", verb, records, rate);
}

static bool is_worth_retrying(int code)
{
    return code == HF_ERR_UNDETERMINED || code == HF_ERR_UNAVAILABLE || code == HF_ERR_TIMEOUT ||
           code == HF_ERR_BUSY || code == HF_ERR_NOT_LEADER;
}

static bool keep_record(struct import *im, const struct record *record)
{
    buf_append_u64(&im->kept, record->ttl_ms);
    buf_append_u32(&im->kept, (uint32_t)record->key.len);
    buf_append_u32(&im->kept, (uint32_t)record->value.len);
    buf_append_slice(&im->kept, buf_slice(&record->key));
    buf_append_slice(&im->kept, buf_slice(&record->value));
    return !im->kept.failed;
}

/* A batch that would cross from one range to another: its records one by one. */
static int put_singly(struct import *im, const struct hf_call *call, struct hf_result **ret_result)
{
    struct reader r = reader_of(buf_slice(&im->kept));
    while (r.left > 0) {
        struct hf_change change;
        hf_change_init(&change);
        change.ttl_ms = read_u64(&r);
        uint32_t key_len = read_u32(&r);
        uint32_t value_len = read_u32(&r);
        struct slice key = read_bytes(&r, key_len);
        struct slice value = read_bytes(&r, value_len);
        ASSERT(!r.bad);
        hf_result_free(*ret_result);
        *ret_result = NULL;
        int rv = hf_put(im->client, cli_bytes(key), cli_bytes(value), &change, call, ret_result);
        if (rv != HF_OK)
            return rv;
    }
    return HF_OK;
}

/* Commit what is collected; again and again for a while if that may help. */
static int import_commit(struct import *im)
{
    size_t count = hf_batch_count(im->batch);
    if (count == 0)
        return EXIT_DONE;
    uint64_t give_up_ms = cli_now_ms() + im->retry_us / 1000;
    struct hf_call call = cli_call(im->cli);
    for (;;) {
        struct hf_result *result = NULL;
        int rv = hf_batch_commit(im->client, im->batch, &call, &result);
        if (rv == HF_ERR_UNSUPPORTED)
            rv = put_singly(im, &call, &result);
        if (rv != HF_OK && (!is_worth_retrying(rv) || cli_now_ms() >= give_up_ms)) {
            bool has_words = result != NULL && result->message[0] != 0;
            int exit_code = cli_fail_as(
                im->cli, rv, "%s (%" PRIu64 " records are surely in, up to %zu more may be)",
                has_words ? result->message : hf_strerror(rv), im->records, count);
            hf_result_free(result);
            return exit_code;
        }
        hf_result_free(result);
        if (rv == HF_OK)
            break;
        cli_pause_ms(RETRY_PAUSE_MS);
    }
    im->records += count;
    im->bytes += im->batch_bytes;
    im->batch_bytes = 0;
    hf_batch_clear(im->batch);
    buf_clear(&im->kept);
    show_progress(&im->shown_ms, im->began_ms, "imported", im->records);
    return EXIT_DONE;
}

/* What was good before the line goes in, so that what is said of it is certain. */
static int fail_line(struct import *im, const char *why)
{
    int exit_code = import_commit(im);
    if (exit_code != EXIT_DONE)
        return exit_code;
    return cli_error(im->cli, "line %" PRIu64 ": %s (%" PRIu64 " records are in)", im->line, why,
                     im->records);
}

static int import_add(struct import *im, const struct record *record)
{
    struct hf_change change;
    hf_change_init(&change);
    change.ttl_ms = record->ttl_ms;
    size_t bytes = record->key.len + record->value.len;
    if (im->batch_bytes + bytes > IMPORT_BATCH_BYTES ||
        hf_batch_count(im->batch) >= IMPORT_BATCH_OPS) {
        int exit_code = import_commit(im);
        if (exit_code != EXIT_DONE)
            return exit_code;
    }
    int rv = hf_batch_put(im->batch, cli_bytes(buf_slice(&record->key)),
                          cli_bytes(buf_slice(&record->value)), &change);
    if (rv != HF_OK)
        return fail_line(im, hf_strerror(rv));
    if (!keep_record(im, record))
        return cli_error(im->cli, "out of memory");
    im->batch_bytes += bytes;
    return EXIT_DONE;
}

/* The next line into im->text; false at the end, and when the file cannot be read. Of
 * a line that is too long no more than the bound is kept. */
static bool next_line(struct import *im, FILE *file)
{
    int c = EOF;
    buf_clear(&im->text);
    while ((c = getc_unlocked(file)) != EOF && c != '\n')
        buf_append_u8(&im->text, (uint8_t)c);
    im->line++;
    return c == '\n' || (im->text.len > 0 && !ferror(file));
}

static int import_lines(struct import *im, FILE *file)
{
    struct record record;
    int exit_code = EXIT_DONE;
    record_init(&record);
    buf_init(&im->text, RECORD_LINE_MAX);
    while (exit_code == EXIT_DONE && next_line(im, file)) {
        struct err err = {0};
        struct slice text = text_trim(buf_slice(&im->text));
        if (im->text.failed)
            exit_code = fail_line(im, "is too long");
        else if (text.len == 0)
            continue;
        else if (record_parse(&record, text, &err) != 0)
            exit_code = fail_line(im, err.msg);
        else
            exit_code = import_add(im, &record);
    }
    if (exit_code == EXIT_DONE && ferror(file))
        exit_code = fail_line(im, strerror(errno));
    if (exit_code == EXIT_DONE)
        exit_code = import_commit(im);
    buf_fini(&im->text);
    record_fini(&record);
    return exit_code;
}

static void show_summary(struct cli *cli, const char *verb, uint64_t records, uint64_t bytes,
                         uint64_t took_ms, FILE *to)
{
    uint64_t rate = records * 1000 / MAX(took_ms, UINT64_C(1));
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    if (cli->is_json)
        fprintf(to,
                "{\"ok\":true,\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
                ",\"milliseconds\":%" PRIu64 "}\n",
                records, bytes, took_ms);
    else
        fprintf(to, "%s %" PRIu64 " records, %" PRIu64 " bytes, in %.1f s (%" PRIu64 "/s)\n", verb,
                records, bytes, (double)took_ms / 1000, rate);
}

int records_import(struct cli *cli, int argc, const char *const *argv)
{
    struct import im = {.cli = cli, .retry_us = 60000000};
    const struct args_flag flags[] = {
        {"retry", 0, ARGS_DURATION, &im.retry_us, NULL, "TIME",
         "try a batch again for so long while there is no leader (1m)"},
    };
    struct cli_words words;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 1, &words, &exit_code))
        return exit_code;
    im.client = cli_client(cli);
    if (im.client == NULL)
        return EXIT_USAGE;
    const char *path = words.count == 1 ? words.at[0] : "-";
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL)
        return cli_error(cli, "open '%s': %s", path, strerror(errno));
    im.began_ms = im.shown_ms = cli_now_ms();
    buf_init(&im.kept, KEPT_MAX);
    if (hf_batch_new(&im.batch) != HF_OK)
        exit_code = cli_error(cli, "out of memory");
    else
        exit_code = import_lines(&im, file);
    if (exit_code == EXIT_DONE)
        show_summary(cli, "imported", im.records, im.bytes, cli_now_ms() - im.began_ms, stdout);
    hf_batch_free(im.batch);
    buf_fini(&im.kept);
    if (file != stdin)
        fclose(file);
    return exit_code;
}

/* ---- export ------------------------------------------------------------------- */

struct export
{
    struct cli *cli;
    struct hf_scan *scan;
    FILE *to;
    struct buf lines;
    uint64_t retry_us;
    uint64_t records;
    uint64_t bytes;
};

static bool export_write(struct export *ex, bool is_end)
{
    if (ex->lines.failed)
        return false;
    if (!is_end && ex->lines.len < 64 << 10)
        return true;
    bool is_good = cli_write(ex->to, buf_slice(&ex->lines));
    buf_clear(&ex->lines);
    return is_good && (!is_end || fflush(ex->to) == 0);
}

static int export_all(struct export *ex)
{
    uint64_t began_ms = cli_now_ms(), shown_ms = began_ms;
    uint64_t good_ms = began_ms; /* when a record last came */
    for (;;) {
        struct hf_item item;
        int rv = hf_scan_next(ex->scan, &item);
        if (rv == 0)
            break;
        if (rv < 0) {
            if (is_worth_retrying(rv) && cli_now_ms() - good_ms < ex->retry_us / 1000) {
                cli_pause_ms(RETRY_PAUSE_MS);
                continue;
            }
            return cli_fail_as(ex->cli, rv, "after %" PRIu64 " records: %s", ex->records,
                               hf_scan_message(ex->scan));
        }
        record_append(&ex->lines, cli_slice(item.key), cli_slice(item.value), item.ttl_ms);
        ex->records++;
        ex->bytes += item.key.len + item.value.len;
        if (ex->records % 1024 == 0) {
            good_ms = cli_now_ms();
            show_progress(&shown_ms, began_ms, "exported", ex->records);
        }
        if (!export_write(ex, false))
            return cli_error(ex->cli, "write: %s", strerror(errno));
    }
    if (!export_write(ex, true))
        return cli_error(ex->cli, "write: %s", strerror(errno));
    show_summary(ex->cli, "exported", ex->records, ex->bytes, cli_now_ms() - began_ms, stderr);
    return EXIT_DONE;
}

static int export_to(struct export *ex, const char *path)
{
    int exit_code;
    ex->to = path == NULL || strcmp(path, "-") == 0 ? stdout : fopen(path, "wb");
    if (ex->to == NULL)
        return cli_error(ex->cli, "open '%s': %s", path, strerror(errno));
    buf_init(&ex->lines, RECORD_LINE_MAX * 2);
    exit_code = export_all(ex);
    buf_fini(&ex->lines);
    if (ex->to != stdout && fclose(ex->to) != 0 && exit_code == EXIT_DONE)
        exit_code = cli_error(ex->cli, "write '%s': %s", path, strerror(errno));
    return exit_code;
}

int records_export(struct cli *cli, int argc, const char *const *argv)
{
    struct export ex = {.cli = cli, .retry_us = 60000000};
    const char *prefix = NULL, *start = NULL, *end = NULL;
    const struct args_flag flags[] = {
        {"prefix", 0, ARGS_TEXT, &prefix, NULL, "P", "keys that begin so"},
        {"start", 0, ARGS_TEXT, &start, NULL, "KEY", "from this key on"},
        {"end", 0, ARGS_TEXT, &end, NULL, "KEY", "up to, and without, this key"},
        {"retry", 0, ARGS_DURATION, &ex.retry_us, NULL, "TIME",
         "try a page again for so long while there is no leader (1m)"},
    };
    struct cli_words words;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 1, &words, &exit_code))
        return exit_code;
    if (prefix != NULL && (start != NULL || end != NULL))
        return cli_usage(cli, "a prefix, or start and end");
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_span span;
    hf_span_init(&span);
    span.prefix = hf_str(prefix);
    span.start = hf_str(start);
    span.end = hf_str(end);
    struct hf_call call = cli_call(cli);
    int rv = hf_scan_new(client, &span, &call, &ex.scan);
    if (rv != HF_OK)
        return cli_fail(cli, rv, NULL);
    exit_code = export_to(&ex, words.count == 1 ? words.at[0] : NULL);
    hf_scan_free(ex.scan);
    return exit_code;
}
