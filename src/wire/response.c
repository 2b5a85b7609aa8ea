/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/response.h"

#include "wire/driver_msg.h"
#include "wire/frame.h"
#include "wire/msg_internal.h"

/* As in request.c: a head for all, and a map that belongs to the kind. */
#define AT(m) offsetof(struct response, m)
static const struct msg_field head_fields[] = {
    {1, MSG_U64, AT(id), 0},
    {2, MSG_U64, AT(trace_id), 0},
    {3, MSG_CODE, AT(status), 0},
    {4, MSG_U32, AT(retry_after_ms), 0},
    {5, MSG_TEXT, AT(text), TEXT_MAX},
    {6, MSG_U64, AT(leader.replica_id), 0},
    {7, MSG_U64, AT(leader.store_id), 0},
    {8, MSG_TEXT, AT(leader.address), ADDRESS_MAX},
    {9, MSG_ENUM, AT(kind), REQUEST_KIND_LAST},
    {11, MSG_U64, AT(time_ms), 0},
};
static const struct msg_table head_table = MSG_TABLE("response", head_fields);
enum { FIELD_DETAIL = 10, FIELD_DESCRIPTOR = 14, FIELD_MEMBERS = 15 };

static const struct msg_field write_fields[] = {
    {1, MSG_BIN, AT(write.result), FRAME_BODY_MAX},
};
static const struct msg_field rows_fields[] = {
    {1, MSG_LIST, AT(rows.rows), RESPONSE_ROWS_MAX},
    {2, MSG_U64, AT(rows.version), 0},
    {3, MSG_BOOL, AT(rows.has_more), 0},
    {4, MSG_BIN, AT(rows.cursor), CURSOR_WIRE_MAX},
    {5, MSG_BOOL, AT(rows.is_range_end), 0},
};
static const struct msg_field watch_fields[] = {
    {1, MSG_LIST, AT(watch.changes), RESPONSE_CHANGES_MAX},
    {2, MSG_U64, AT(watch.version), 0},
    {3, MSG_U64, AT(watch.range_id), 0},
    {4, MSG_BOOL, AT(watch.has_more), 0},
    {5, MSG_BIN, AT(watch.cursor), CURSOR_WIRE_MAX},
    {6, MSG_U64, AT(watch.cursor_version), 0},
    {7, MSG_BOOL, AT(watch.is_range_end), 0},
};
static const struct msg_field status_fields[] = {
    {1, MSG_U64, AT(status_of.cluster_id), 0},
    {2, MSG_U64, AT(status_of.store_id), 0},
    {3, MSG_U64, AT(status_of.replica_id), 0},
    {4, MSG_U64, AT(status_of.term), 0},
    {5, MSG_LIST, AT(status_of.stats), RESPONSE_STATS_MAX},
};
static const struct msg_field identify_fields[] = {
    {1, MSG_U64, AT(identify.cluster_id), 0},
    {2, MSG_U64, AT(identify.store_id), 0},
    {3, MSG_BOOL, AT(identify.is_born), 0},
    {4, MSG_FIXED, AT(identify.store_uuid), STORE_UUID_LEN},
};
static const struct msg_field stats_fields[] = {
    {1, MSG_LIST, AT(stats.stats), RESPONSE_STATS_MAX},
};
static const struct msg_field check_fields[] = {
    {1, MSG_U64, AT(check.range_id), 0},
    {2, MSG_U64, AT(check.replica_id), 0},
    {3, MSG_U64, AT(check.index), 0},
    {4, MSG_U64, AT(check.term), 0},
    {5, MSG_ENUM, AT(check.state), CHECK_STATE_LAST},
    {6, MSG_U64, AT(check.applied), 0},
    {7, MSG_U64, AT(check.keys), 0},
    {8, MSG_U64, AT(check.bytes), 0},
    {9, MSG_U64, AT(check.time_ms), 0},
    {10, MSG_U64, AT(check.last_version), 0},
    {11, MSG_U64, AT(check.history_hash), 0},
    {12, MSG_U64, AT(check.meta_hash), 0},
    {13, MSG_FIXED, AT(check.sum), CHECK_SUM_LEN},
    {14, MSG_LIST, AT(check.parts), CHECK_PARTS_MAX},
    {15, MSG_TEXT, AT(check.why), TEXT_MAX},
};

static const struct msg_field join_fields[] = {
    {1, MSG_U64, AT(join.cluster_id), 0},
    {2, MSG_U64, AT(join.store_id), 0},
    {3, MSG_LIST, AT(join.peers), BOOK_ITEMS_MAX},
};
static const struct msg_field placement_fields[] = {
    {1, MSG_LIST, AT(placement.columns), RESPONSE_COLUMNS_MAX},
    {2, MSG_LIST, AT(placement.cells), RESPONSE_CELLS_MAX},
    {3, MSG_TEXT, AT(placement.text), 1 << 20},
};

/* By kind of the request; one without a row here has an empty detail. */
static const struct msg_table details[REQUEST_KIND_LAST + 1] = {
    [REQUEST_WRITE] = MSG_TABLE("write response", write_fields),
    [REQUEST_GET] = MSG_TABLE("get response", rows_fields),
    [REQUEST_MULTI_GET] = MSG_TABLE("multi_get response", rows_fields),
    [REQUEST_SCAN] = MSG_TABLE("scan response", rows_fields),
    [REQUEST_WATCH] = MSG_TABLE("watch response", watch_fields),
    [REQUEST_STATUS] = MSG_TABLE("status response", status_fields),
    [REQUEST_IDENTIFY] = MSG_TABLE("identify response", identify_fields),
    [REQUEST_BOOTSTRAP] = {.name = "bootstrap response"},
    [REQUEST_TRANSFER_LEADER] = {.name = "transfer_leader response"},
    [REQUEST_CHANGE_MEMBER] = {.name = "change_member response"},
    [REQUEST_FLUSH] = {.name = "flush response"},
    [REQUEST_STATS] = MSG_TABLE("stats response", stats_fields),
    [REQUEST_CHECK_START] = MSG_TABLE("check_start response", check_fields),
    [REQUEST_CHECK_RESULT] = MSG_TABLE("check_result response", check_fields),
    [REQUEST_JOIN] = MSG_TABLE("join response", join_fields),
    [REQUEST_PLACEMENT] = MSG_TABLE("placement response", placement_fields),
};

/* Of the union, what belongs to the kind. The whole is ten times as large as what most need. */
#define SIZE_OF(m) sizeof(((struct response *)NULL)->m)
static const uint16_t detail_sizes[REQUEST_KIND_LAST + 1] = {
    [REQUEST_WRITE] = SIZE_OF(write),       [REQUEST_GET] = SIZE_OF(rows),
    [REQUEST_MULTI_GET] = SIZE_OF(rows),    [REQUEST_SCAN] = SIZE_OF(rows),
    [REQUEST_WATCH] = SIZE_OF(watch),       [REQUEST_STATUS] = SIZE_OF(status_of),
    [REQUEST_IDENTIFY] = SIZE_OF(identify), [REQUEST_STATS] = SIZE_OF(stats),
    [REQUEST_CHECK_START] = SIZE_OF(check), [REQUEST_CHECK_RESULT] = SIZE_OF(check),
    [REQUEST_JOIN] = SIZE_OF(join),         [REQUEST_PLACEMENT] = SIZE_OF(placement),
};

enum { HEAD_SIZE = offsetof(struct response, write) };

static void detail_clear(struct response *response)
{
    memset((uint8_t *)response + HEAD_SIZE, 0, detail_sizes[response->kind]);
}

void response_init(struct response *response, enum request_kind kind)
{
    ASSERT((unsigned)kind <= REQUEST_KIND_LAST);
    memset(response, 0, HEAD_SIZE);
    response->kind = kind;
    detail_clear(response);
}

/* ---- rows, stats, parts of a check ---------------------------------------- */

#define ROW_AT(m) offsetof(struct row, m)
static const struct msg_field row_fields[] = {
    {1, MSG_CODE, ROW_AT(status), 0},
    {2, MSG_BIN, ROW_AT(key), KEY_WIRE_MAX},
    {3, MSG_BIN, ROW_AT(value), FRAME_BODY_MAX},
    {4, MSG_U64, ROW_AT(version), 0},
    {5, MSG_U64, ROW_AT(ttl_ms), 0},
};
static const struct msg_table row_table = MSG_TABLE("row", row_fields);

enum { STAT_NAME = 1, STAT_NUMBER = 2, STAT_TEXT = 3 };

void row_append(struct buf *raw, const struct row *row)
{
    ASSERT(row->status == 0 || row->value.len == 0);
    struct pack_fields f = pack_fields_begin(raw);
    msg_write_fields(&f, &row_table, row);
    pack_fields_end(&f);
}

void row_next(struct unpack *cursor, struct row *ret_row)
{
    *ret_row = (struct row){0};
    msg_read_map(cursor, &row_table, ret_row);
}

void stat_append_number(struct buf *raw, const char *name, uint64_t number)
{
    struct pack_fields f = pack_fields_begin(raw);
    pack_field_str(&f, STAT_NAME, slice_str(name));
    pack_field_uint(&f, STAT_NUMBER, number);
    pack_fields_end(&f);
}

void stat_append_text(struct buf *raw, const char *name, struct slice text)
{
    struct pack_fields f = pack_fields_begin(raw);
    pack_field_str(&f, STAT_NAME, slice_str(name));
    pack_field(&f, STAT_TEXT);
    pack_str(raw, slice_of(text.data, MIN(text.len, (size_t)TEXT_MAX)));
    pack_fields_end(&f);
}

void stat_next(struct unpack *cursor, struct stat_item *ret_item)
{
    *ret_item = (struct stat_item){0};
    uint64_t seen = 0;
    uint32_t pairs = unpack_map(cursor);
    for (uint32_t i = 0; i < pairs && !cursor->bad; i++) {
        switch (unpack_key(cursor, &seen)) {
        case STAT_NAME:
            ret_item->name = unpack_str_max(cursor, TEXT_MAX);
            break;
        case STAT_NUMBER:
            ret_item->number = unpack_uint(cursor);
            break;
        case STAT_TEXT:
            ret_item->is_text = true;
            ret_item->text = unpack_str_max(cursor, TEXT_MAX);
            break;
        default:
            unpack_skip(cursor);
        }
    }
}

#define CHANGE_AT(m) offsetof(struct change, m)
static const struct msg_field change_fields[] = {
    {1, MSG_ENUM, CHANGE_AT(kind), CHANGE_KIND_LAST},
    {2, MSG_BIN, CHANGE_AT(key), KEY_WIRE_MAX},
    {3, MSG_BIN, CHANGE_AT(value), FRAME_BODY_MAX},
    {4, MSG_U64, CHANGE_AT(version), 0},
    {5, MSG_U64, CHANGE_AT(expiry_ms), 0},
};
static const struct msg_table change_table = MSG_TABLE("change", change_fields);

void change_append(struct buf *raw, const struct change *change)
{
    ASSERT(change->kind == CHANGE_PUT || change->value.len == 0);
    struct pack_fields f = pack_fields_begin(raw);
    msg_write_fields(&f, &change_table, change);
    pack_fields_end(&f);
}

void change_next(struct unpack *cursor, struct change *ret_change)
{
    *ret_change = (struct change){0};
    msg_read_map(cursor, &change_table, ret_change);
}

void cell_append(struct buf *raw, struct slice text)
{
    pack_str(raw, slice_of(text.data, MIN(text.len, (size_t)TEXT_MAX)));
}

struct slice cell_next(struct unpack *cursor)
{
    return unpack_str_max(cursor, TEXT_MAX);
}

#define PART_AT(m) offsetof(struct check_part, m)
static const struct msg_field part_fields[] = {
    {1, MSG_BIN, PART_AT(last), CHECK_KEY_MAX},
    {2, MSG_U64, PART_AT(keys), 0},
    {3, MSG_U64, PART_AT(bytes), 0},
    {4, MSG_FIXED, PART_AT(sum), CHECK_SUM_LEN},
};
static const struct msg_table part_table = MSG_TABLE("part", part_fields);

void check_part_append(struct buf *raw, const struct check_part *part)
{
    struct pack_fields f = pack_fields_begin(raw);
    msg_write_fields(&f, &part_table, part);
    pack_fields_end(&f);
}

void check_part_next(struct unpack *cursor, struct check_part *ret_part)
{
    *ret_part = (struct check_part){0};
    msg_read_map(cursor, &part_table, ret_part);
}

/* ---- writing ------------------------------------------------------------ */

void response_encode(struct buf *buf, const struct response *response)
{
    ASSERT(response->id > 0 && response->status <= 0);
    ASSERT((unsigned)response->kind <= REQUEST_KIND_LAST);
    struct pack_fields f = msg_write_begin(buf, MSG_RESPONSE);
    msg_write_fields(&f, &head_table, response);
    if (response->kind != 0) {
        pack_field(&f, FIELD_DETAIL);
        struct pack_fields d = pack_fields_begin(buf);
        msg_write_fields(&d, &details[response->kind], response);
        if (response->kind == REQUEST_STATUS) {
            pack_field(&d, FIELD_DESCRIPTOR);
            descriptor_encode(buf, &response->status_of.descriptor);
        } else if (response->kind == REQUEST_IDENTIFY && response->identify.member_count > 0) {
            pack_field(&d, FIELD_MEMBERS);
            members_encode(buf, response->identify.members, response->identify.member_count);
        }
        pack_fields_end(&d);
    }
    pack_fields_end(&f);
}

/* ---- reading ------------------------------------------------------------ */

static void detail_read(struct unpack *u, struct response *response)
{
    const struct msg_table *table = &details[response->kind];
    uint64_t key;
    struct msg_pairs pairs = msg_pairs_begin(u);
    while (msg_read_fields(u, &pairs, table, response, &key)) {
        if (response->kind == REQUEST_STATUS && key == FIELD_DESCRIPTOR)
            descriptor_read(u, &response->status_of.descriptor);
        else if (response->kind == REQUEST_IDENTIFY && key == FIELD_MEMBERS)
            response->identify.member_count = members_read(u, response->identify.members);
        else
            unpack_skip(u);
    }
    if (response->kind == REQUEST_STATUS && response->status_of.descriptor.range_id == 0)
        u->bad = true;
}

static int rows_check(const struct response *response, struct err *err)
{
    const struct pack_list *rows = &response->rows.rows;
    struct unpack u = unpack_of(rows->raw);
    struct row row;
    for (uint32_t i = 0; i < rows->count && !u.bad; i++) {
        row_next(&u, &row);
        if (row.status != 0 && row.value.len > 0)
            u.bad = true;
    }
    if (response->kind == REQUEST_GET && response->status == 0 && rows->count != 1)
        return err_set(err, ERR_CORRUPT, "get response with %u rows", rows->count);
    if (response->rows.has_more && response->rows.cursor.len == 0)
        return err_set(err, ERR_CORRUPT, "scan response has more, but no cursor");
    return unpack_finish(&u, "row", err);
}

static int stats_check(const struct pack_list *stats, struct err *err)
{
    struct unpack u = unpack_of(stats->raw);
    struct stat_item item;
    for (uint32_t i = 0; i < stats->count && !u.bad; i++)
        stat_next(&u, &item);
    return unpack_finish(&u, "stat", err);
}

/* Parts are in the order of their keys, and one alone, the last, has no end. */
static int check_check(const struct response_check *check, struct err *err)
{
    struct unpack u = unpack_of(check->parts.raw);
    struct slice before = {0};
    struct check_part part;
    if (check->state == 0 || check->index == 0)
        return err_set(err, ERR_CORRUPT, "check response without state or index");
    for (uint32_t i = 0; i < check->parts.count && !u.bad; i++) {
        check_part_next(&u, &part);
        bool is_last = i + 1 == check->parts.count;
        if (is_last != (part.last.len == 0) || (!is_last && slice_compare(before, part.last) >= 0))
            u.bad = true;
        before = part.last;
    }
    return unpack_finish(&u, "part", err);
}

/* Nothing stands outside what the answer says to be complete. */
static bool change_is_fine(const struct response_watch *watch, const struct change *change)
{
    if (change->kind == 0 || change->key.len == 0 || change->version == 0)
        return false;
    if (change->kind == CHANGE_DELETE && (change->value.len > 0 || change->expiry_ms > 0))
        return false;
    int order = watch->has_more ? slice_compare(change->key, watch->cursor) : -1;
    return order < 0 ? change->version <= watch->version
                     : order == 0 && change->version <= watch->cursor_version;
}

static int changes_check(const struct response *response, struct err *err)
{
    const struct response_watch *watch = &response->watch;
    struct unpack u = unpack_of(watch->changes.raw);
    struct change change;
    for (uint32_t i = 0; i < watch->changes.count && !u.bad; i++) {
        change_next(&u, &change);
        if (!change_is_fine(watch, &change))
            u.bad = true;
    }
    if (watch->has_more != (watch->cursor.len > 0) || watch->cursor_version > watch->version ||
        (!watch->has_more && watch->is_range_end) ||
        ((!watch->has_more || watch->is_range_end) && watch->cursor_version > 0))
        return err_set(err, ERR_CORRUPT, "watch response with a cursor that makes no sense");
    return unpack_finish(&u, "change", err);
}

static int join_check(const struct response_join *join, struct err *err)
{
    struct unpack u = unpack_of(join->peers.raw);
    struct book_item peer;
    if (join->cluster_id == 0 || join->store_id == 0)
        return err_set(err, ERR_CORRUPT, "join response without ids");
    for (uint32_t i = 0; i < join->peers.count && !u.bad; i++)
        book_item_next(&u, &peer);
    return unpack_finish(&u, "book_item", err);
}

static int table_check(const struct response_placement *table, struct err *err)
{
    struct unpack u = unpack_of(table->columns.raw);
    for (uint32_t i = 0; i < table->columns.count && !u.bad; i++)
        cell_next(&u);
    int rv = unpack_finish(&u, "column", err);
    u = unpack_of(table->cells.raw);
    for (uint32_t i = 0; i < table->cells.count && !u.bad; i++)
        cell_next(&u);
    if (rv == 0)
        rv = unpack_finish(&u, "cell", err);
    uint32_t columns = table->columns.count;
    if (rv == 0 && (columns == 0 ? table->cells.count > 0 : table->cells.count % columns != 0))
        rv = err_set(err, ERR_CORRUPT, "a table with half a row");
    return rv;
}

static int detail_check(const struct response *response, struct err *err)
{
    switch (response->kind) {
    case REQUEST_JOIN:
        return join_check(&response->join, err);
    case REQUEST_PLACEMENT:
        return table_check(&response->placement, err);
    case REQUEST_GET:
    case REQUEST_MULTI_GET:
    case REQUEST_SCAN:
        return rows_check(response, err);
    case REQUEST_WATCH:
        return changes_check(response, err);
    case REQUEST_STATUS:
        return stats_check(&response->status_of.stats, err);
    case REQUEST_STATS:
        return stats_check(&response->stats.stats, err);
    case REQUEST_CHECK_START:
    case REQUEST_CHECK_RESULT:
        return check_check(&response->check, err);
    default:
        return 0;
    }
}

/* What became of the detail while the head was read. */
struct detail {
    bool is_wanted; /* else it is stepped over */
    bool is_read;   /* in passing: the kind stood before it, as we write it */
    struct slice raw;
};

/* The head into *response. */
static int head_read(struct slice body, struct response *response, struct detail *detail,
                     struct err *err)
{
    struct unpack u;
    uint64_t key;
    struct msg_pairs pairs;
    uint32_t kind = msg_read_begin(&u, body, &pairs);
    if (u.bad || kind != MSG_RESPONSE)
        return err_set(err, ERR_CORRUPT, "%s where a response was due", msg_kind_name(kind));
    while (msg_read_fields(&u, &pairs, &head_table, response, &key)) {
        if (key == FIELD_DETAIL && detail->is_wanted && response->kind != 0) {
            detail->is_read = true;
            detail_clear(response);
            detail_read(&u, response);
        } else if (key == FIELD_DETAIL) {
            detail->raw = msg_read_raw(&u);
        } else {
            unpack_skip(&u);
        }
    }
    int rv = unpack_finish(&u, "response", err);
    if (rv != 0)
        return rv;
    bool has_detail = detail->is_read || detail->raw.len > 0;
    if (response->id == 0 || (response->kind == 0) == has_detail)
        return err_set(err, ERR_CORRUPT, "response without id, or kind and detail disagree");
    return 0;
}

int response_decode(struct slice body, struct response *ret_response, struct err *err)
{
    struct response response;
    struct detail detail = {.is_wanted = true};
    response_init(&response, 0);
    int rv = head_read(body, &response, &detail, err);
    if (rv == 0 && response.kind != 0 && !detail.is_read) {
        struct unpack u = unpack_of(detail.raw);
        detail_clear(&response);
        detail_read(&u, &response);
        rv = unpack_finish(&u, details[response.kind].name, err);
    }
    if (rv == 0)
        rv = detail_check(&response, err);
    if (rv == 0)
        memcpy(ret_response, &response, HEAD_SIZE + (size_t)detail_sizes[response.kind]);
    return rv;
}

uint64_t response_peek_id(struct slice body)
{
    struct response response;
    struct detail detail = {.is_wanted = false};
    response_init(&response, 0);
    return head_read(body, &response, &detail, NULL) == 0 ? response.id : 0;
}
