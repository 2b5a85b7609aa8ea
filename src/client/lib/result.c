/* SPDX-License-Identifier: Apache-2.0
 *
 * What the caller gets: one allocation that holds the result, its items and copies of
 * all bytes. Each kind of answer is walked twice: once to measure, once to copy.
 */
#include <stdlib.h>

#include "base/coding.h"
#include "client/change_token.h"
#include "client/lib/lib_internal.h"
#include "client/route.h"

enum { RESULTS_INLINE = 16, VERSION_COUNTER_BITS = 20 };

/* A result under construction. While measuring, `block` is NULL and only `used` moves. */
struct maker {
    uint8_t *block;
    size_t size;
    size_t used;
};

static size_t aligned(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* The next `n` bytes, aligned and zero; NULL while measuring. */
static void *maker_take(struct maker *m, size_t n)
{
    size_t at = m->used;
    m->used += aligned(n);
    if (m->block == NULL)
        return NULL;
    ASSERT(m->used <= m->size);
    return m->block + at;
}

static struct hf_bytes maker_bytes(struct maker *m, struct slice from)
{
    if (from.len == 0)
        return (struct hf_bytes){.data = "", .len = 0};
    uint8_t *copy = maker_take(m, from.len);
    if (copy != NULL)
        memcpy(copy, from.data, from.len);
    return (struct hf_bytes){.data = copy, .len = from.len};
}

/* With a NUL at its end. */
static const char *maker_text(struct maker *m, struct slice from)
{
    char *copy = maker_take(m, from.len + 1);
    if (copy != NULL && from.len > 0)
        memcpy(copy, from.data, from.len);
    return copy;
}

/* What is to be made of. */
struct source {
    const struct call *call;
    const struct client_result *answer;
    int code;
    struct command_result write; /* zeroes: there is none that can be understood */
    struct buf token;            /* owned */
    struct buf cursor;           /* owned: of a scan that goes on behind this page */
};

/* ---- items ------------------------------------------------------------------------ */

static struct hf_item *items_take(struct maker *m, struct hf_result *to, size_t count)
{
    struct hf_item *items = maker_take(m, count * sizeof *items);
    to->count = count;
    to->items = items;
    return items;
}

static void put_item(struct hf_item *items, size_t index, const struct hf_item *item)
{
    if (items != NULL)
        items[index] = *item;
}

static void make_write(struct maker *m, struct hf_result *to, const struct source *from)
{
    const struct command_result *result = &from->write;
    to->version = result->version;
    to->failed_op = result->failed_op;
    struct hf_item *items = items_take(m, to, MAX(result->result_count, UINT32_C(1)));
    uint64_t now_ms = result->version >> VERSION_COUNTER_BITS; /* range time at apply */
    to->count = result->result_count;
    if (result->result_count == 0) /* for those who look without counting */
        put_item(items, 0, &(struct hf_item){.value = {.data = ""}, .version = result->version});
    for (uint32_t i = 0; i < result->result_count; i++) {
        const struct op_result *r = &result->results[i];
        struct hf_item item = {
            .status = r->status,
            .has_value = r->has_value,
            .value = maker_bytes(m, r->value),
            .version = r->version,
            .ttl_ms = now_ms > 0 && r->expiry_ms > now_ms ? r->expiry_ms - now_ms : 0,
            .number = r->number,
        };
        put_item(items, i, &item);
    }
}

static void make_rows(struct maker *m, struct hf_result *to, const struct source *from)
{
    const struct response_rows *rows = &from->answer->response->rows;
    const struct request *request = &from->call->op.request;
    struct unpack cursor = unpack_of(rows->rows.raw);
    struct unpack keys = unpack_of(request->kind == REQUEST_MULTI_GET ? request->multi_get.keys.raw
                                                                      : (struct slice){0});
    to->version = rows->version;
    to->has_more = rows->has_more;
    to->is_range_end = rows->is_range_end;
    to->cursor = maker_bytes(m, rows->cursor);
    uint32_t count = from->answer->status == 0 ? rows->rows.count : 0;
    struct hf_item *items = items_take(m, to, count);
    bool has_values = request->kind != REQUEST_SCAN || !request->scan.is_keys_only;
    for (uint32_t i = 0; i < count; i++) {
        struct row row;
        row_next(&cursor, &row);
        if (request->kind == REQUEST_GET)
            row.key = request->get.key;
        else if (request->kind == REQUEST_MULTI_GET)
            row.key = request_key_next(&keys);
        if (from->call->slots > 0 && row.key.len >= KEYSPACE_SLOT_LEN)
            row.key = slice_of(row.key.data + KEYSPACE_SLOT_LEN, row.key.len - KEYSPACE_SLOT_LEN);
        struct hf_item item = {
            .status = row.status,
            .has_value = row.status == 0 && has_values,
            .key = maker_bytes(m, row.key),
            .value = maker_bytes(m, row.value),
            .version = row.version,
            .ttl_ms = row.ttl_ms,
        };
        put_item(items, i, &item);
    }
}

/* ---- info -------------------------------------------------------------------------- */

static void make_members(struct maker *m, struct hf_info *info, const struct member *members,
                         uint32_t count)
{
    struct hf_member *to = maker_take(m, count * sizeof *to);
    info->member_count = count;
    info->members = to;
    for (uint32_t i = 0; i < count; i++) {
        struct hf_member member = {
            .replica_id = members[i].replica_id,
            .store_id = members[i].store_id,
            .is_learner = members[i].role == MEMBER_LEARNER,
            .address = maker_text(m, members[i].address),
        };
        memcpy(member.store_uuid, members[i].store_uuid, sizeof member.store_uuid);
        if (to != NULL)
            to[i] = member;
    }
}

static void make_stats(struct maker *m, struct hf_info *info, const struct pack_list *list)
{
    struct unpack cursor = unpack_of(list->raw);
    struct hf_stat *to = maker_take(m, list->count * sizeof *to);
    info->stat_count = list->count;
    info->stats = to;
    for (uint32_t i = 0; i < list->count; i++) {
        struct stat_item item;
        stat_next(&cursor, &item);
        struct hf_stat stat = {.name = maker_text(m, item.name), .number = item.number};
        if (item.is_text)
            stat.text = maker_text(m, item.text);
        if (to != NULL)
            to[i] = stat;
    }
}

static void make_status(struct maker *m, struct hf_info *info, const struct response_status *s)
{
    info->cluster_id = s->cluster_id;
    info->store_id = s->store_id;
    info->replica_id = s->replica_id;
    info->term = s->term;
    info->is_born = 1;
    info->range_id = s->descriptor.range_id;
    info->conf_epoch = s->descriptor.conf_epoch;
    info->span_epoch = s->descriptor.span_epoch;
    info->range_start = maker_bytes(m, s->descriptor.start);
    info->range_end = maker_bytes(m, s->descriptor.end);
    make_members(m, info, s->descriptor.members, s->descriptor.member_count);
    make_stats(m, info, &s->stats);
}

static void make_identify(struct maker *m, struct hf_info *info, const struct response_identify *s)
{
    info->cluster_id = s->cluster_id;
    info->store_id = s->store_id;
    info->is_born = s->is_born;
    memcpy(info->store_uuid, s->store_uuid, sizeof info->store_uuid);
    make_members(m, info, s->members, s->member_count);
}

static void make_info(struct maker *m, struct hf_result *to, const struct source *from)
{
    const struct response *response = from->answer->response;
    struct hf_info info = {
        .leader_replica_id = response->leader.replica_id,
        .leader_store_id = response->leader.store_id,
        .leader_address = maker_text(m, response->leader.address),
    };
    struct hf_info *place = maker_take(m, sizeof info);
    if (response->kind == REQUEST_STATUS)
        make_status(m, &info, &response->status_of);
    else if (response->kind == REQUEST_IDENTIFY)
        make_identify(m, &info, &response->identify);
    else if (response->kind == REQUEST_STATS)
        make_stats(m, &info, &response->stats.stats);
    if (place != NULL)
        *place = info;
    to->info = place;
}

/* ---- a check -------------------------------------------------------------------------- */

static void make_parts(struct maker *m, struct hf_check *check, const struct pack_list *list)
{
    struct unpack cursor = unpack_of(list->raw);
    struct hf_check_part *to = maker_take(m, list->count * sizeof *to);
    check->part_count = list->count;
    check->parts = to;
    for (uint32_t i = 0; i < list->count; i++) {
        struct check_part from;
        check_part_next(&cursor, &from);
        struct slice key = from.last;
        struct hf_check_part part = {
            .is_last = key.len == 0,
            .keys = from.keys,
            .bytes = from.bytes,
            .sum = {get_u64(from.sum), get_u64(from.sum + 8)},
        };
        if (key.len > ROUTE_KEY_PREFIX) { /* 0x02 | keyspace | key */
            part.keyspace = get_u32be(key.data + 1);
            key = slice_of(key.data + ROUTE_KEY_PREFIX, key.len - ROUTE_KEY_PREFIX);
        }
        part.last = maker_bytes(m, key);
        if (to != NULL)
            to[i] = part;
    }
}

static void make_check(struct maker *m, struct hf_result *to, const struct response_check *from)
{
    struct hf_check check = {
        .range_id = from->range_id,
        .replica_id = from->replica_id,
        .index = from->index,
        .term = from->term,
        .state = (int)from->state,
        .why = maker_text(m, from->why),
        .applied = from->applied,
        .keys = from->keys,
        .bytes = from->bytes,
        .range_time_ms = from->time_ms,
        .version = from->last_version,
        .history = from->history_hash,
        .meta = from->meta_hash,
        .sum = {get_u64(from->sum), get_u64(from->sum + 8)},
    };
    struct hf_check *place = maker_take(m, sizeof check);
    make_parts(m, &check, &from->parts);
    if (place != NULL)
        *place = check;
    to->check = place;
}

/* ---- a table -------------------------------------------------------------------------- */

static const char *const *make_texts(struct maker *m, const struct pack_list *list)
{
    struct unpack cursor = unpack_of(list->raw);
    const char **to = maker_take(m, list->count * sizeof *to);
    for (uint32_t i = 0; i < list->count; i++) {
        const char *text = maker_text(m, cell_next(&cursor));
        if (to != NULL)
            to[i] = text;
    }
    return (const char *const *)to;
}

static void make_table(struct maker *m, struct hf_result *to, const struct response_placement *from)
{
    struct hf_table *place = maker_take(m, sizeof *place);
    struct hf_table table = {
        .column_count = from->columns.count,
        .columns = make_texts(m, &from->columns),
        .row_count = from->columns.count == 0 ? 0 : from->cells.count / from->columns.count,
        .cells = make_texts(m, &from->cells),
        .text = maker_text(m, from->text),
    };
    if (place != NULL)
        *place = table;
    to->table = place;
}

/* ---- the whole ------------------------------------------------------------------------ */

/* One pass: measures if m->block is NULL, else makes. */
static void make_swept(struct maker *m, struct hf_result *to, const struct client_sweep *sweep)
{
    to->deleted = sweep->deleted;
    to->version = sweep->version;
    to->has_more = sweep->has_more;
    to->is_range_end = sweep->is_range_end;
    to->cursor = maker_bytes(m, buf_slice(&sweep->cursor));
}

static struct hf_result *make(struct maker *m, const struct source *from)
{
    struct hf_result result = {.code = from->code, .message = "", .cursor = {.data = ""}};
    struct hf_result *place = maker_take(m, sizeof result);
    const struct response *response = from->answer->response;
    result.trace_id = from->call->op.request.trace_id;
    result.token = maker_bytes(m, buf_slice(&from->token));
    result.resume = maker_bytes(m, buf_slice(&from->cursor));
    if (from->code != 0) {
        struct slice text = from->answer->text;
        result.message = maker_text(m, text.len > 0 ? text : slice_str(hf_strerror(from->code)));
    }
    if (from->call->sweep != NULL && from->code == 0)
        make_swept(m, &result, from->call->sweep);
    switch (response != NULL ? response->kind : 0) {
    case REQUEST_WRITE:
        make_write(m, &result, from);
        break;
    case REQUEST_GET:
    case REQUEST_MULTI_GET:
    case REQUEST_SCAN:
        make_rows(m, &result, from);
        break;
    case REQUEST_STATUS:
    case REQUEST_IDENTIFY:
    case REQUEST_STATS:
        make_info(m, &result, from);
        break;
    case REQUEST_PLACEMENT:
        make_table(m, &result, &response->placement);
        break;
    case REQUEST_CHECK_START:
    case REQUEST_CHECK_RESULT:
        make_check(m, &result, &response->check);
        break;
    default:
        break;
    }
    if (place != NULL)
        *place = result;
    return place;
}

static struct hf_result *make_twice(const struct source *from)
{
    struct maker m = {0};
    make(&m, from);
    m = (struct maker){.size = m.used};
    m.block = malloc(m.size);
    if (m.block == NULL)
        return NULL;
    memset(m.block, 0, m.size);
    struct hf_result *result = make(&m, from);
    ASSERT(m.used == m.size);
    ASSERT((void *)result == (void *)m.block);
    return result;
}

/* A result for each operation, or, where a long one was asked for again, none; of a command that
 * was not done one for the operation that stopped it. */
static bool write_fits(const struct command_result *write, uint32_t op_count)
{
    if (op_count == 0)
        return true;
    if (write->status != 0)
        return write->failed_op < op_count;
    return write->result_count == 0 || write->result_count == op_count;
}

/* Decode what a change answered. `results` has room for `cap`. A success without a
 * result cannot be understood, but it was done. */
static int write_decode(struct source *from, struct op_result *results, size_t cap)
{
    struct slice raw = from->answer->response->write.result;
    if (raw.len == 0)
        return 0;
    struct command_result write;
    int rv = command_result_decode(raw, results, cap, &write, NULL);
    if (rv == 0 && !write_fits(&write, from->call->op_count))
        rv = ERR_CORRUPT;
    if (rv != 0)
        return rv;
    from->write = write;
    if (from->code == 0)
        from->code = from->write.status;
    return 0;
}

static struct hf_result *result_of_write(struct source *from, int *ret_code)
{
    struct op_result few[RESULTS_INLINE];
    struct op_result *results = few;
    /* Without memory, or from a store that cannot speak, the details are missing; what
     * happened is still known by the answer's own status. */
    if (write_decode(from, few, RESULTS_INLINE) == ERR_TOO_LARGE) {
        uint32_t count = command_result_count(from->answer->response->write.result);
        results = malloc(count * sizeof *results);
        if (results != NULL)
            write_decode(from, results, count);
    }
    *ret_code = from->code;
    struct hf_result *result = make_twice(from);
    if (results != few)
        free(results);
    return result;
}

struct hf_result *result_of(const struct call *call, const struct client_result *answer,
                            int *ret_code)
{
    struct source from = {.call = call, .answer = answer, .code = answer->status};
    const struct response *response = answer->response;
    if (response != NULL && response->kind == REQUEST_WRITE)
        return result_of_write(&from, ret_code);
    if (response != NULL && response->kind == REQUEST_GET && from.code == 0) {
        struct unpack u = unpack_of(response->rows.rows.raw);
        struct row row;
        row_next(&u, &row); /* the decoder saw to it that there is one */
        from.code = row.status;
    }
    buf_init(&from.token, CHANGE_TOKEN_MAX);
    if (from.code == ERR_UNDETERMINED)
        token_append(&from.token, call);
    if (from.token.failed)
        buf_clear(&from.token);
    buf_init(&from.cursor, SCAN_CURSOR_MAX);
    if (from.code == 0 && call->page.is_told && response != NULL && response->rows.has_more)
        page_cursor_append(&from.cursor, call, &response->rows);
    *ret_code = from.code;
    struct hf_result *result = from.cursor.failed ? NULL : make_twice(&from);
    buf_fini(&from.cursor);
    buf_fini(&from.token);
    return result;
}

struct hf_result *result_plain(int code, const char *message)
{
    ASSERT(code < 0);
    size_t len = strlen(message);
    struct hf_result *result = calloc(1, aligned(sizeof *result) + len + 1);
    if (result == NULL)
        return NULL;
    char *text = (char *)result + aligned(sizeof *result);
    memcpy(text, message, len);
    result->code = code;
    result->message = text;
    result->cursor = (struct hf_bytes){.data = ""};
    result->token = (struct hf_bytes){.data = ""};
    result->resume = (struct hf_bytes){.data = ""};
    return result;
}

void hf_result_free(struct hf_result *result)
{
    free(result);
}
