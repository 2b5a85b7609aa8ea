/* SPDX-License-Identifier: Apache-2.0 */
#include "client/answer.h"

static bool is_in_span(struct slice key, struct slice start, struct slice end)
{
    return slice_compare(key, start) >= 0 && (end.len == 0 || slice_compare(key, end) < 0);
}

static int check_keys(const struct request_multi_get *asked, const struct response_rows *rows,
                      struct err *err)
{
    if (rows->rows.count == asked->keys.count)
        return 0;
    return err_set(err, ERR_CORRUPT, "%u rows for %u keys", rows->rows.count, asked->keys.count);
}

/* May `key` come behind `last`, or, if that is empty, as the first? */
static bool is_next_row(const struct request_scan *asked, struct slice last, struct slice key)
{
    if (key.len == 0 || !is_in_span(key, asked->start, asked->end))
        return false;
    int order = slice_compare(key, last);
    return last.len == 0 || (asked->is_reverse ? order < 0 : order > 0);
}

/* Is the next page behind the last row, and smaller than this one? And can it be asked for? */
static bool cursor_gets_on(const struct request_scan *asked, struct slice last, struct slice cursor)
{
    if (cursor.len > KEY_WIRE_MAX)
        return false;
    if (asked->is_reverse)
        return slice_compare(cursor, asked->start) >= 0 &&
               (last.len > 0 ? slice_compare(cursor, last) <= 0
                             : is_in_span(cursor, asked->start, asked->end));
    return slice_compare(cursor, last.len > 0 ? last : asked->start) > 0 &&
           (asked->end.len == 0 || slice_compare(cursor, asked->end) <= 0);
}

static int check_scan(const struct request_scan *asked, const struct response_rows *rows,
                      struct err *err)
{
    struct unpack u = unpack_of(rows->rows.raw);
    struct slice last = {0};
    if (asked->limit_keys > 0 && rows->rows.count > asked->limit_keys)
        return err_set(err, ERR_CORRUPT, "%u rows, limit %u", rows->rows.count, asked->limit_keys);
    for (uint32_t i = 0; i < rows->rows.count; i++) {
        struct row row;
        row_next(&u, &row);
        if (!is_next_row(asked, last, row.key))
            return err_set(err, ERR_CORRUPT, "row %u is not of the span, or out of order", i);
        last = row.key;
    }
    if (rows->has_more && !cursor_gets_on(asked, last, rows->cursor))
        return err_set(err, ERR_CORRUPT, "a cursor that does not lead on in the span");
    return 0;
}

/* The cursor is for progress_page(). */
static int check_watch(const struct request_watch *asked, const struct response_watch *page,
                       struct err *err)
{
    struct unpack u = unpack_of(page->changes.raw);
    for (uint32_t i = 0; i < page->changes.count; i++) {
        struct change change;
        change_next(&u, &change);
        if (!is_in_span(change.key, asked->start, asked->end) || change.version <= asked->after)
            return err_set(err, ERR_CORRUPT, "change %u is not of those that were asked for", i);
    }
    return 0;
}

static int check_check(const struct request_check *asked, const struct response_check *check,
                       struct err *err)
{
    if (check->index == asked->index)
        return 0;
    return err_set(err, ERR_CORRUPT, "index %llu, not %llu", (unsigned long long)check->index,
                   (unsigned long long)asked->index);
}

static int check_detail(const struct request *request, const struct response *response,
                        struct err *err)
{
    switch (response->kind) {
    case REQUEST_MULTI_GET:
        return check_keys(&request->multi_get, &response->rows, err);
    case REQUEST_SCAN:
        return check_scan(&request->scan, &response->rows, err);
    case REQUEST_WATCH:
        return check_watch(&request->watch, &response->watch, err);
    case REQUEST_CHECK_RESULT:
        return check_check(&request->check, &response->check, err);
    default:
        return 0;
    }
}

int answer_check(const struct request *request, const struct response *response, struct err *err)
{
    bool is_whole =
        response->kind == request->kind || (response->kind == 0 && response->status != 0);
    if (!is_whole)
        return err_set(err, ERR_CORRUPT, "answer to a %s is one to a %s",
                       request_kind_name(request->kind), request_kind_name(response->kind));
    int rv = response->status == 0 ? check_detail(request, response, err) : 0;
    return rv == 0 ? 0 : err_wrap(err, rv, "answer to a %s", request_kind_name(request->kind));
}
