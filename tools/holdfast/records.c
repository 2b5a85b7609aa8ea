/* SPDX-License-Identifier: Apache-2.0
 *
 * import and export: any number of records, one JSON object a line.
 *
 * Import puts batches, one after another, so a later line of the same key wins; the records of
 * one that would cross ranges one by one, many at once (singles.h). Of a batch whose outcome is
 * unknown the cluster is asked what became of it before anything else is done: sent anew it could
 * undo what others have put since. Only one that was under way when import was killed is put twice,
 * by the run that goes on. Export reads each range at a version of its own, as scans do; where that
 * is not kept any more, the rest at versions of now (hf_scan_renew()), and says so.
 *
 * With a cursor (cursor.h) one that was killed goes on behind what it had done: import
 * behind the last batch that is surely in, export behind the last line that is surely in
 * the file, at new versions from there on. It is of a cluster, a keyspace and (export) bounds, and
 * good for nothing else. Neither holds more than a batch in memory.
 *
 * Without a cursor an export is written beside its file and takes its place when it is whole
 * (aside.h): one that fails costs nobody the one of yesterday. With one the file is written in
 * place, from the first record on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <unistd.h>

#include "aside.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "base/text.h"
#include "commands.h"
#include "cursor.h"
#include "place.h"
#include "record.h"
#include "singles.h"
#include "wire/command.h"
#include "wire/keyspace.h"

enum {
    IMPORT_BATCH_OPS = SINGLES_MAX,
    IMPORT_BATCH_BYTES = 1 << 20,
    RETRY_PAUSE_MS = 200,
    PROGRESS_EVERY_MS = 1000,
    EXPORT_STEP = 4 << 20,     /* bytes of output between two states of the cursor */
    EXPORT_AT_ONCE = 64 << 10, /* bytes of lines that are written together … */
    EXPORT_LINES_MAX = EXPORT_AT_ONCE + RECORD_LINE_MAX, /* … and one line more */
};

struct import {
    struct cli *cli;
    struct hf_client *client;
    struct hf_batch *batch;
    size_t batch_bytes;
    struct singles singles; /* the same records as in the batch, to be put one by one … */
    bool goes_singly;       /* … since it would cross ranges */
    uint64_t give_up_ms;    /* with what is being committed */
    uint64_t retry_us;
    const char *cursor_path; /* NULL: none */
    struct cursor_of of;     /* what it is of */
    struct cursor at;        /* behind the line being read; its records and bytes are not kept */
    struct cursor before;    /* … and in front of it */
    uint64_t records;        /* surely in the cluster */
    uint64_t bytes;          /* of their keys and values */
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
    return code == HF_ERR_UNAVAILABLE || code == HF_ERR_TIMEOUT || code == HF_ERR_BUSY ||
           code == HF_ERR_NOT_LEADER;
}

/* What a cursor of these keys is of. Returns an exit code. */
static int identify(struct cli *cli, const char *kind, uint64_t retry_us,
                    const struct hf_span *span, struct cursor_of *ret_of)
{
    struct hf_call call = cli_call(cli);
    struct hf_result *result = NULL;
    uint64_t give_up_ms = cli_now_ms() + retry_us / 1000;
    int rv;
    while ((rv = hf_status(cli->client, NULL, &call, &result)) != HF_OK) {
        if (!is_worth_retrying(rv) || cli_now_ms() >= give_up_ms || cli_is_interrupted(cli)) {
            int exit_code = cli_fail(cli, rv, result);
            hf_result_free(result);
            return exit_code;
        }
        hf_result_free(result);
        result = NULL;
        cli_pause_ms(RETRY_PAUSE_MS);
    }
    *ret_of = (struct cursor_of){
        .kind = kind,
        .cluster_id = result->info->cluster_id,
        .keyspace = cli->keyspace_id,
        .span_sum =
            span != NULL ? cursor_span_sum(cli_slice(span->start), cli_slice(span->end)) : 0,
    };
    hf_result_free(result);
    return EXIT_DONE;
}

/* A cursor over its own stream would leave neither. Returns an exit code. */
static int check_cursor(struct cli *cli, const char *cursor_path, const char *path)
{
    if (cursor_path == NULL || path == NULL)
        return EXIT_DONE;
    const char *stream = strcmp(path, "-") == 0 ? "/dev/stdin" : path;
    if (!cursor_clashes(cursor_path, stream))
        return EXIT_DONE;
    return cli_usage(cli, "the cursor '%s' and '%s' would be one file, or be written as the same",
                     cursor_path, path);
}

/* The cursor cannot be gone on with. */
static int fail_cursor(struct cli *cli, int rv, const struct err *err)
{
    return rv == ERR_INVALID ? cli_usage(cli, "%s", err->msg) : cli_error(cli, "%s", err->msg);
}

/* May it be what came of a change? Else it is of the question. */
static bool is_outcome(int code)
{
    return code == HF_OK || code == HF_ERR_FENCED || code == HF_ERR_CONDITION_FAILED ||
           code == HF_ERR_NOT_NUMBER || code == HF_ERR_OVERFLOW || code == HF_ERR_TOO_LARGE;
}

/* What became of a change whose outcome is not known: asked for until somebody can tell, or
 * `give_up_ms`. HF_ERR_UNAVAILABLE: it was not done, and may be sent anew. */
static int settle(struct import *im, const struct hf_call *call, uint64_t give_up_ms,
                  struct hf_result **result)
{
    if (*result == NULL || (*result)->token.len == 0)
        return HF_ERR_UNDETERMINED;
    for (;;) {
        struct hf_result *settled = NULL;
        int rv = hf_resolve(im->client, (*result)->token, call, &settled);
        bool is_settled = is_outcome(rv);
        bool is_hopeless = !is_settled && rv != HF_ERR_UNDETERMINED && !is_worth_retrying(rv);
        bool is_late = cli_now_ms() >= give_up_ms || cli_is_interrupted(im->cli);
        if (is_settled) {
            hf_result_free(*result);
            *result = settled;
            return rv == HF_ERR_FENCED ? HF_ERR_UNAVAILABLE : rv;
        }
        hf_result_free(settled);
        if (is_hopeless || is_late)
            return HF_ERR_UNDETERMINED;
        cli_pause_ms(RETRY_PAUSE_MS);
    }
}

/* The same for singles_put(). */
static int settle_single(void *data, struct hf_result **result)
{
    struct import *im = data;
    struct hf_call call = cli_call(im->cli);
    return settle(im, &call, im->give_up_ms, result);
}

/* All that is collected, by one command if it is of one range. */
static int put_collected(struct import *im, struct hf_result **ret_result)
{
    struct hf_call call = cli_call(im->cli);
    int rv = HF_ERR_UNSUPPORTED;
    if (!im->goes_singly)
        rv = hf_batch_commit(im->client, im->batch, &call, ret_result);
    if (rv == HF_ERR_UNDETERMINED)
        rv = settle(im, &call, im->give_up_ms, ret_result);
    if (rv != HF_ERR_UNSUPPORTED)
        return rv;
    hf_result_free(*ret_result);
    im->goes_singly = true;
    return singles_put(&im->singles, &call, settle_single, im, ret_result);
}

/* What stands in front of `upto` is in. */
static int import_note(struct import *im, const struct cursor *upto)
{
    struct cursor cursor = *upto;
    struct err err = {0};
    if (im->cursor_path == NULL)
        return EXIT_DONE;
    cursor.records = im->records;
    cursor.bytes = im->bytes;
    if (cursor_save(im->cursor_path, &im->of, &cursor, &err) != 0)
        return cli_error(im->cli, "%s (%" PRIu64 " records are in)", err.msg, im->records);
    return EXIT_DONE;
}

/* Commit what is collected, all that stands in front of `upto`; again and again for a while if
 * that may help, but never while it may be in already. */
static int import_commit(struct import *im, const struct cursor *upto)
{
    size_t count = hf_batch_count(im->batch);
    if (count == 0)
        return EXIT_DONE;
    im->give_up_ms = cli_now_ms() + im->retry_us / 1000;
    im->goes_singly = im->cli->keyspace_slots > 0; /* neighbours are in other slots */
    for (;;) {
        struct hf_result *result = NULL;
        int rv = put_collected(im, &result);
        bool is_late = cli_now_ms() >= im->give_up_ms || cli_is_interrupted(im->cli);
        if (rv != HF_OK && (!is_worth_retrying(rv) || is_late)) {
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
    singles_clear(&im->singles);
    show_progress(&im->shown_ms, im->began_ms, "imported", im->records);
    return import_note(im, upto);
}

/* What was good before the line goes in, so that what is said of it is certain. */
static int fail_line(struct import *im, const char *why)
{
    int exit_code = import_commit(im, &im->before);
    if (exit_code != EXIT_DONE)
        return exit_code;
    return cli_error(im->cli, "line %" PRIu64 ": %s (%" PRIu64 " records are in)", im->at.line, why,
                     im->records);
}

/* What the cluster takes of a record. Of a batch that it refuses nobody could tell which line it
 * was. */
static int check_record(const struct import *im, const struct record *record, struct err *err)
{
    struct command_limits limits = command_limits_default;
    struct op op = {
        .kind = OP_PUT,
        .key = buf_slice(&record->key),
        .value = buf_slice(&record->value),
        .ttl_ms = record->ttl_ms,
    };
    bool is_hashed = im->cli->keyspace_slots > 0;
    if (is_hashed)
        limits.key_max -= KEYSPACE_SLOT_LEN;
    int rv = op_check(&op, &limits, err);
    if (rv != 0 && is_hashed && op.key.len > limits.key_max)
        return err_wrap(err, rv, "in a hashed keyspace");
    return rv;
}

static int import_add(struct import *im, const struct record *record)
{
    struct err err = {0};
    if (check_record(im, record, &err) != 0)
        return fail_line(im, err.msg);
    struct hf_change change;
    hf_change_init(&change);
    change.ttl_ms = record->ttl_ms;
    size_t bytes = record->key.len + record->value.len;
    if (im->batch_bytes + bytes > IMPORT_BATCH_BYTES ||
        hf_batch_count(im->batch) >= IMPORT_BATCH_OPS) {
        int exit_code = import_commit(im, &im->before);
        if (exit_code != EXIT_DONE)
            return exit_code;
    }
    int rv = hf_batch_put(im->batch, cli_bytes(buf_slice(&record->key)),
                          cli_bytes(buf_slice(&record->value)), &change);
    if (rv != HF_OK)
        return fail_line(im, hf_strerror(rv));
    if (!singles_keep(&im->singles, buf_slice(&record->key), buf_slice(&record->value),
                      record->ttl_ms))
        return cli_error(im->cli, "out of memory");
    im->batch_bytes += bytes;
    return EXIT_DONE;
}

/* The next line into im->text; false at the end, and when the file cannot be read. Of
 * a line that is too long no more than the bound is kept. */
static bool next_line(struct import *im, FILE *file)
{
    int c = EOF;
    im->before = im->at;
    buf_clear(&im->text);
    while ((c = getc_unlocked(file)) != EOF && c != '\n')
        buf_append_u8(&im->text, (uint8_t)c);
    im->at.line++;
    im->at.offset += im->text.len + (c == '\n');
    im->at.sum = crc32c(im->at.sum, im->text.data, im->text.len);
    if (c == '\n')
        im->at.sum = crc32c(im->at.sum, "\n", 1);
    return c == '\n' || (im->text.len > 0 && !ferror(file));
}

/* Read over what is in already; false: it is not what was begun with. */
static bool skip_done(FILE *file, const struct cursor *done)
{
    uint8_t piece[16 << 10];
    uint32_t sum = 0;
    uint64_t left = done->offset;
    while (left > 0) {
        size_t n = fread(piece, 1, (size_t)MIN(left, (uint64_t)sizeof piece), file);
        if (n == 0)
            return false;
        sum = crc32c(sum, piece, n);
        left -= n;
    }
    return sum == done->sum;
}

/* Go on where the cursor stands, if there is one. */
static int import_resume(struct import *im, FILE *file)
{
    struct err err = {0};
    if (im->cursor_path == NULL)
        return EXIT_DONE;
    int exit_code = identify(im->cli, "import", im->retry_us, NULL, &im->of);
    if (exit_code != EXIT_DONE)
        return exit_code;
    int rv = cursor_load(im->cursor_path, &im->of, &im->at, &err);
    if (rv == ERR_NOT_FOUND)
        return EXIT_DONE;
    if (rv != 0)
        return fail_cursor(im->cli, rv, &err);
    if (!skip_done(file, &im->at))
        return cli_error(im->cli, "the input does not begin like that of cursor '%s'",
                         im->cursor_path);
    im->records = im->at.records;
    im->bytes = im->at.bytes;
    return EXIT_DONE;
}

static int import_lines(struct import *im, FILE *file)
{
    struct record record;
    int exit_code = EXIT_DONE;
    record_init(&record);
    buf_init(&im->text, RECORD_LINE_MAX);
    while (exit_code == EXIT_DONE && next_line(im, file)) {
        struct err err = {0};
        if (cli_is_interrupted(im->cli)) {
            exit_code = fail_line(im, "interrupted");
            break;
        }
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
        exit_code = fail_line(im, cli_is_interrupted(im->cli) ? "interrupted" : strerror(errno));
    if (exit_code == EXIT_DONE)
        exit_code = import_commit(im, &im->at);
    buf_fini(&im->text);
    record_fini(&record);
    return exit_code;
}

/* `more` are members of the JSON object, each with a comma in front. */
static void show_summary(struct cli *cli, const char *verb, uint64_t records, uint64_t bytes,
                         uint64_t took_ms, const char *more, FILE *to)
{
    uint64_t rate = records * 1000 / MAX(took_ms, UINT64_C(1));
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    if (cli->is_json)
        fprintf(to,
                "{\"ok\":true,\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
                ",\"milliseconds\":%" PRIu64 "%s}\n",
                records, bytes, took_ms, more);
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
        {"cursor", 0, ARGS_TEXT, &im.cursor_path, NULL, "FILE",
         "keep there how far it came, and go on from there"},
    };
    struct cli_words words;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 1, &words, &exit_code))
        return exit_code;
    const char *path = cli_input(cli, &words);
    exit_code = check_cursor(cli, im.cursor_path, path);
    if (exit_code != EXIT_DONE)
        return exit_code;
    im.client = path != NULL ? cli_client(cli) : NULL;
    if (im.client == NULL)
        return EXIT_USAGE;
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (file == NULL)
        return cli_error(cli, "open '%s': %s", path, strerror(errno));
    im.began_ms = im.shown_ms = cli_now_ms();
    if (singles_init(&im.singles, im.client) != HF_OK || hf_batch_new(&im.batch) != HF_OK)
        exit_code = cli_error(cli, "out of memory");
    else
        exit_code = import_resume(&im, file);
    if (exit_code == EXIT_DONE)
        exit_code = import_lines(&im, file);
    if (exit_code == EXIT_DONE && im.cursor_path != NULL)
        (void)unlink(im.cursor_path); /* there may be none: nothing was imported */
    if (exit_code == EXIT_DONE)
        show_summary(cli, "imported", im.records, im.bytes, cli_now_ms() - im.began_ms, "", stdout);
    hf_batch_free(im.batch);
    singles_fini(&im.singles);
    if (file != stdin)
        fclose(file);
    return exit_code;
}

/* ---- export ------------------------------------------------------------------- */

struct export
{
    struct cli *cli;
    struct hf_scan *scan;
    const char *path;   /* NULL: standard output */
    FILE *to;           /* NULL: not open yet */
    struct aside aside; /* open: `to` is of it */
    bool is_begun;      /* `to` is ready to be written to */
    struct buf lines;
    uint64_t retry_us;
    const char *cursor_path; /* NULL: none */
    struct cursor_of of;     /* what it is of */
    struct cursor done;      /* what was written; as it was saved last, up to … */
    uint64_t saved;          /* … this offset */
    struct buf after;        /* the key behind which it goes on; empty: from the start. A scan
                                begins with it: the key next to it may be too long for one */
    uint64_t began_ms;
    uint64_t records;
    uint64_t bytes;
    uint64_t renewals;   /* how often it went on at versions of then … */
    uint64_t renewed_at; /* … with so many records, last */
};

/* What was written is on the disk, and then the cursor says so. */
static bool export_note(struct export *ex)
{
    struct err err = {0};
    if (ex->cursor_path == NULL || ex->done.offset - ex->saved < EXPORT_STEP)
        return true;
    if (!place_sync(ex->to))
        return false;
    ex->done.records = ex->done.line = ex->records;
    ex->done.bytes = ex->bytes;
    ex->saved = ex->done.offset;
    return cursor_save(ex->cursor_path, &ex->of, &ex->done, &err) == 0;
}

static bool export_write(struct export *ex, bool is_end)
{
    if (ex->lines.failed)
        return false;
    if (!is_end && ex->lines.len < EXPORT_AT_ONCE)
        return true;
    bool is_good = cli_write(ex->to, buf_slice(&ex->lines));
    ex->done.offset += ex->lines.len;
    ex->done.sum = crc32c(ex->done.sum, ex->lines.data, ex->lines.len);
    buf_clear(&ex->lines);
    return is_good && export_note(ex) && (!is_end || fflush(ex->to) == 0);
}

/* Read what an earlier run has surely written: its last line has the key to go on behind. */
static int export_reread(struct export *ex)
{
    struct record record;
    struct err err = {0};
    uint32_t sum = 0;
    int c = 0;
    record_init(&record);
    buf_clear(&ex->lines);
    for (uint64_t i = 0; i < ex->done.offset && c != EOF; i++) {
        c = getc_unlocked(ex->to);
        uint8_t byte = (uint8_t)c;
        sum = crc32c(sum, &byte, 1);
        if (c != '\n')
            buf_append_u8(&ex->lines, byte);
        else if (i + 1 < ex->done.offset)
            buf_clear(&ex->lines);
    }
    bool is_good = c == '\n' && sum == ex->done.sum && !ex->lines.failed &&
                   record_parse(&record, buf_slice(&ex->lines), &err) == 0;
    if (is_good)
        buf_append_slice(&ex->after, buf_slice(&record.key));
    is_good = is_good && ex->after.len > 0;
    buf_clear(&ex->lines);
    record_fini(&record);
    return is_good ? EXIT_DONE
                   : cli_error(ex->cli, "the file does not begin like that of cursor '%s'",
                               ex->cursor_path);
}

/* What an earlier run has done, if it left a cursor: nothing of the file is changed. */
static int export_resume(struct export *ex, const struct hf_span *span)
{
    struct err err = {0};
    if (ex->cursor_path == NULL)
        return EXIT_DONE;
    if (ex->path == NULL)
        return cli_usage(ex->cli, "a cursor is for an export into a file");
    int exit_code = identify(ex->cli, "export", ex->retry_us, span, &ex->of);
    if (exit_code != EXIT_DONE)
        return exit_code;
    int rv = cursor_load(ex->cursor_path, &ex->of, &ex->done, &err);
    if (rv == ERR_NOT_FOUND)
        return EXIT_DONE;
    if (rv != 0)
        return fail_cursor(ex->cli, rv, &err);
    if (aside_open_in_place(ex->path, false, &ex->to, &err) != 0)
        return cli_error(ex->cli, "%s", err.msg);
    ex->records = ex->done.records;
    ex->bytes = ex->done.bytes;
    ex->saved = ex->done.offset;
    return export_reread(ex);
}

/* The file as it is to be gone on with: without what is behind the cursor, or empty. One that has a
 * cursor is found again at its path; another one is there when it is whole. */
static bool export_open(struct export *ex, struct err *err)
{
    bool is_good = true;
    if (ex->path == NULL) {
        ex->to = stdout;
    } else if (ex->to != NULL) {
        off_t end = (off_t)ex->done.offset;
        is_good = fseeko(ex->to, end, SEEK_SET) == 0 && ftruncate(fileno(ex->to), end) == 0;
    } else if (ex->cursor_path != NULL) {
        return aside_open_in_place(ex->path, true, &ex->to, err) == 0;
    } else if (aside_open(&ex->aside, ex->path, err) == 0) {
        ex->to = ex->aside.file;
    } else {
        return false;
    }
    if (!is_good)
        err_set(err, ERR_IO, "open '%s': %s", ex->path, strerror(errno));
    return is_good;
}

/* Once there is something to be written, or it is known that there is nothing. */
static int export_begin(struct export *ex)
{
    struct err err = {0};
    if (ex->is_begun)
        return EXIT_DONE;
    if (!export_open(ex, &err))
        return cli_error(ex->cli, "%s", err.msg);
    ex->is_begun = true;
    return EXIT_DONE;
}

/* It may be that a person has had enough while nobody read what was written: then no more is. */
static int export_fail_write(struct export *ex)
{
    if (ex->lines.failed)
        return cli_error(ex->cli, "out of memory after %" PRIu64 " records", ex->records);
    if (!cli_is_interrupted(ex->cli))
        return cli_error(ex->cli, "write: %s", strerror(errno));
    __fpurge(ex->to);
    return cli_error(ex->cli, "interrupted after about %" PRIu64 " records", ex->records);
}

/* The versions that it reads at are not kept any more: the rest is read at those of now. Each key
 * still comes once, and none is older than when the export began. False: that has not helped. */
static bool export_renew(struct export *ex)
{
    bool is_farther = ex->renewals == 0 || ex->records > ex->renewed_at;
    if (!is_farther || hf_scan_renew(ex->scan) != HF_OK)
        return false;
    ex->renewals++;
    ex->renewed_at = ex->records;
    if (ex->renewals == 1 && !ex->cli->is_json)
        fprintf(stderr,
                "%safter %" PRIu64 " records: the versions that it read at are not kept any more "
                "(retention of the keyspace); what follows is of now\n",
                isatty(STDERR_FILENO) ? "\r\033[K" : "", ex->records);
    return true;
}

static void export_summary(const struct export *ex)
{
    char more[48];
    uint64_t took_ms = cli_now_ms() - ex->began_ms;
    snprintf(more, sizeof more, ",\"renewals\":%" PRIu64, ex->renewals);
    show_summary(ex->cli, "exported", ex->records, ex->bytes, took_ms, more, stderr);
}

static int export_all(struct export *ex)
{
    uint64_t shown_ms = ex->began_ms;
    uint64_t bad_ms = 0; /* since when none came; 0: the last one did */
    for (;;) {
        struct hf_item item;
        int rv = hf_scan_next(ex->scan, &item);
        if (rv == 0)
            break;
        if (rv < 0) {
            if (rv == HF_ERR_VERSION_GONE && export_renew(ex))
                continue;
            uint64_t now_ms = cli_now_ms();
            bad_ms = bad_ms == 0 ? now_ms : bad_ms;
            if (is_worth_retrying(rv) && now_ms - bad_ms < ex->retry_us / 1000 &&
                !cli_is_interrupted(ex->cli)) {
                cli_pause_ms(RETRY_PAUSE_MS);
                continue;
            }
            return cli_fail_as(ex->cli, rv, "after %" PRIu64 " records: %s", ex->records,
                               hf_scan_message(ex->scan));
        }
        bad_ms = 0;
        int exit_code = export_begin(ex);
        if (exit_code != EXIT_DONE)
            return exit_code;
        if (slice_equal(cli_slice(item.key), buf_slice(&ex->after)))
            continue;
        record_append(&ex->lines, cli_slice(item.key), cli_slice(item.value), item.ttl_ms);
        ex->records++;
        ex->bytes += item.key.len + item.value.len;
        if (ex->records % 1024 == 0)
            show_progress(&shown_ms, ex->began_ms, "exported", ex->records);
        if (!export_write(ex, cli_is_interrupted(ex->cli)))
            return export_fail_write(ex);
        if (cli_is_interrupted(ex->cli))
            return cli_error(ex->cli, "interrupted after %" PRIu64 " records", ex->records);
    }
    int exit_code = export_begin(ex);
    if (exit_code == EXIT_DONE && !export_write(ex, true))
        exit_code = export_fail_write(ex);
    return exit_code;
}

/* Scan what is left of the span into the file. */
static int export_span(struct export *ex, struct hf_client *client, struct hf_span *span)
{
    struct hf_call call = cli_call(ex->cli);
    if (ex->after.len > 0)
        span->start = hf_bytes(ex->after.data, ex->after.len);
    int rv = hf_scan_new(client, span, &call, &ex->scan);
    ex->began_ms = cli_now_ms();
    int exit_code = rv == HF_OK ? export_all(ex) : cli_fail(ex->cli, rv, NULL);
    hf_scan_free(ex->scan);
    return exit_code;
}

/* Give it its name, if it is whole. */
static int export_close_aside(struct export *ex, int exit_code)
{
    struct err err = {0};
    if (exit_code != EXIT_DONE)
        aside_drop(&ex->aside);
    else if (aside_finish(&ex->aside, &err) != 0)
        exit_code = cli_error(ex->cli, "%s", err.msg);
    return exit_code;
}

/* Close the file; the cursor goes once all of it is on the disk. */
static int export_close(struct export *ex, int exit_code)
{
    if (ex->aside.file != NULL)
        return export_close_aside(ex, exit_code);
    bool is_whole = exit_code == EXIT_DONE && ex->cursor_path != NULL;
    bool is_good = true;
    if (ex->to == NULL || ex->to == stdout)
        return exit_code;
    if (is_whole)
        is_good = place_sync(ex->to);
    is_good = fclose(ex->to) == 0 && is_good;
    if (!is_good && exit_code == EXIT_DONE)
        return cli_error(ex->cli, "write '%s': %s", ex->path, strerror(errno));
    if (is_whole)
        (void)unlink(ex->cursor_path); /* there may be none: it was short */
    return exit_code;
}

static int export_to(struct export *ex, struct hf_client *client, struct hf_span *span)
{
    buf_init(&ex->lines, EXPORT_LINES_MAX);
    buf_init(&ex->after, RECORD_LINE_MAX);
    int exit_code = export_resume(ex, span);
    if (exit_code == EXIT_DONE)
        exit_code = export_span(ex, client, span);
    buf_fini(&ex->lines);
    buf_fini(&ex->after);
    exit_code = export_close(ex, exit_code);
    if (exit_code == EXIT_DONE)
        export_summary(ex);
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
        {"cursor", 0, ARGS_TEXT, &ex.cursor_path, NULL, "FILE",
         "keep there how far it came, and go on from there"},
    };
    struct cli_words words;
    int exit_code;
    if (!cli_parse(cli, argc, argv, flags, ARRAY_LEN(flags), 0, 1, &words, &exit_code))
        return exit_code;
    if (prefix != NULL && (start != NULL || end != NULL))
        return cli_usage(cli, "a prefix, or start and end");
    if (words.count == 1 && strcmp(words.at[0], "-") != 0)
        ex.path = words.at[0];
    exit_code = check_cursor(cli, ex.cursor_path, ex.path);
    if (exit_code != EXIT_DONE)
        return exit_code;
    struct hf_client *client = cli_client(cli);
    if (client == NULL)
        return EXIT_USAGE;
    struct hf_span span;
    struct buf behind;
    hf_span_init(&span);
    span.start = hf_str(prefix != NULL ? prefix : start);
    span.end = hf_str(end);
    buf_init(&behind, RECORD_LINE_MAX);
    if (prefix != NULL && !cli_prefix_end(prefix, &behind)) {
        buf_fini(&behind);
        return cli_usage(cli, "the prefix is too long");
    }
    if (prefix != NULL)
        span.end = hf_bytes(behind.data, behind.len);
    exit_code = export_to(&ex, client, &span);
    buf_fini(&behind);
    return exit_code;
}
