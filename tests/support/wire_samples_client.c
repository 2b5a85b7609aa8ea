/* SPDX-License-Identifier: Apache-2.0 */
#include "support/wire_samples_client.h"

#include "support/wire_samples_driver.h"

#include "wire/request.h"
#include "wire/response.h"

#define S(text) slice_of("" text, sizeof(text) - 1)

/* ---- requests ------------------------------------------------------------ */

static struct request request_of(enum request_kind kind)
{
    return (struct request){.id = 70,
                            .trace_id = 0x1122334455667788,
                            .range_id = 1,
                            .span_epoch = 2,
                            .timeout_ms = 5000,
                            .kind = kind};
}

static const struct request_read read_sample = {.keyspace = 1,
                                                .consistency = READ_AT,
                                                .at_version = 1u << 31,
                                                .max_age_ms = 100,
                                                .any_replica = true};

static struct member member_sample(uint64_t id)
{
    struct member member = {
        .replica_id = id, .store_id = id + 10, .role = MEMBER_VOTER, .address = S("10.0.0.1:7000")};
    memset(member.store_uuid, (int)id, sizeof member.store_uuid);
    return member;
}

void request_write_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_WRITE);
    request.write.command = S("command bytes");
    request_encode(buf, &request);
}

void request_get_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_GET);
    request.get = (struct request_get){.read = read_sample, .key = S("key")};
    request_encode(buf, &request);
}

void request_multi_get_sample(struct buf *buf)
{
    struct buf keys;
    buf_init(&keys, 1000);
    request_key_append(&keys, S("k1"));
    request_key_append(&keys, S("k2"));
    struct request request = request_of(REQUEST_MULTI_GET);
    request.multi_get =
        (struct request_multi_get){.read = read_sample, .keys = {2, buf_slice(&keys)}};
    request_encode(buf, &request);
    buf_fini(&keys);
}

void request_scan_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_SCAN);
    request.scan = (struct request_scan){.read = read_sample,
                                         .start = S("a"),
                                         .end = S("b"),
                                         .is_reverse = true,
                                         .is_keys_only = true,
                                         .limit_keys = 100,
                                         .limit_bytes = 70000};
    request_encode(buf, &request);
}

void request_watch_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_WATCH);
    request.watch = (struct request_watch){.keyspace = 3,
                                           .start = S("a"),
                                           .end = S("b"),
                                           .after = 700,
                                           .upto = 70000,
                                           .wait_ms = 1000,
                                           .limit_bytes = 65536};
    request_encode(buf, &request);
}

void request_bootstrap_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_BOOTSTRAP);
    request.bootstrap.cluster_id = 99;
    request.bootstrap.member_count = 3;
    for (uint32_t i = 0; i < 3; i++)
        request.bootstrap.members[i] = member_sample(i + 1);
    request_encode(buf, &request);
}

void request_change_member_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_CHANGE_MEMBER);
    request.change_member =
        (struct request_change_member){.action = MEMBER_ADD_LEARNER, .member = member_sample(4)};
    request_encode(buf, &request);
}

void request_transfer_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_TRANSFER_LEADER);
    request.transfer_leader.target_replica = 2;
    request_encode(buf, &request);
}

void request_split_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_SPLIT);
    request.split = (struct request_split){
        .key = S("middle"), .conf_epoch = 3, .new_range_id = 8, .child_count = 3};
    for (uint32_t i = 0; i < 3; i++)
        request.split.children[i] = (struct request_child){.store_id = i + 1, .replica_id = i + 20};
    request_encode(buf, &request);
}

void request_merge_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_MERGE);
    request.merge = (struct request_merge){.conf_epoch = 3, .right_range = 8};
    request_encode(buf, &request);
}

void request_retain_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_RETAIN);
    request.retain = (struct request_retain){.conf_epoch = 3, .retention_ms = 70000};
    request_encode(buf, &request);
}

void request_status_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_STATUS);
    request.status = (struct request_status){.key = S("key"), .wants_size = true};
    request_encode(buf, &request);
}

void request_check_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_CHECK_RESULT);
    request.check = (struct request_check){.range_id = 2, .index = 70000};
    request_encode(buf, &request);
}

void request_join_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_JOIN);
    request.join = (struct request_join){.store_uuid = "0123456789abcde",
                                         .cluster_id = 5,
                                         .store_id = 6,
                                         .boot = 7,
                                         .address = S("a:1")};
    request_encode(buf, &request);
}

void request_placement_sample(struct buf *buf)
{
    struct request request = request_of(REQUEST_PLACEMENT);
    request.placement = (struct request_placement){.verb = VERB_COMMAND,
                                                   .id = 2,
                                                   .name = S("move"),
                                                   .value = S("k"),
                                                   .from_store = 1,
                                                   .to_store = 70000};
    request_encode(buf, &request);
}

int request_try(struct slice body, struct err *err)
{
    struct request request;
    int rv = request_decode(body, &request, err);
    if (rv != 0)
        return rv;
    if (request.kind == REQUEST_WRITE)
        wire_touch(request.write.command);
    if (request.kind == REQUEST_GET)
        wire_touch(request.get.key);
    if (request.kind == REQUEST_SCAN) {
        wire_touch(request.scan.start);
        wire_touch(request.scan.end);
    }
    if (request.kind == REQUEST_WATCH) {
        wire_touch(request.watch.start);
        wire_touch(request.watch.end);
    }
    if (request.kind == REQUEST_MULTI_GET) {
        struct unpack u = unpack_of(request.multi_get.keys.raw);
        for (uint32_t i = 0; i < request.multi_get.keys.count; i++)
            wire_touch(request_key_next(&u));
        ASSERT(unpack_finish(&u, "keys", NULL) == 0);
    }
    for (uint32_t i = 0; request.kind == REQUEST_BOOTSTRAP && i < request.bootstrap.member_count;
         i++)
        wire_touch(request.bootstrap.members[i].address);
    if (request.kind == REQUEST_CHANGE_MEMBER)
        wire_touch(request.change_member.member.address);
    if (request.kind == REQUEST_SPLIT)
        wire_touch(request.split.key);
    if (request.kind == REQUEST_STATUS)
        wire_touch(request.status.key);
    if (request.kind == REQUEST_JOIN)
        wire_touch(request.join.address);
    if (request.kind == REQUEST_PLACEMENT) {
        wire_touch(request.placement.name);
        wire_touch(request.placement.value);
    }
    return 0;
}

/* ---- responses ----------------------------------------------------------- */

static struct response response_of(enum request_kind kind)
{
    return (struct response){
        .id = 70,
        .trace_id = 0x1122334455667788,
        .retry_after_ms = 20,
        .text = S("why"),
        .leader = {.replica_id = 2, .store_id = 12, .address = S("10.0.0.2:7000")},
        .kind = kind};
}

void response_write_sample(struct buf *buf)
{
    struct response response = response_of(REQUEST_WRITE);
    response.status = ERR_CONDITION_FAILED;
    response.write.result = S("result bytes");
    response_encode(buf, &response);
}

void response_scan_sample(struct buf *buf)
{
    struct buf rows;
    buf_init(&rows, 1000);
    row_append(&rows, &(struct row){.key = S("k1"), .value = S("v1"), .version = 5, .ttl_ms = 9});
    row_append(&rows, &(struct row){.status = ERR_NOT_FOUND, .key = S("k2")});
    struct response response = response_of(REQUEST_SCAN);
    response.rows = (struct response_rows){
        .rows = {2, buf_slice(&rows)}, .version = 700, .has_more = true, .cursor = S("k3")};
    response_encode(buf, &response);
    buf_fini(&rows);
}

void response_watch_sample(struct buf *buf)
{
    struct buf changes;
    buf_init(&changes, 1000);
    change_append(
        &changes,
        &(struct change){
            .kind = CHANGE_PUT, .key = S("k1"), .value = S("v1"), .version = 5, .expiry_ms = 9000});
    change_append(&changes,
                  &(struct change){.kind = CHANGE_DELETE, .key = S("k3"), .version = 600});
    struct response response = response_of(REQUEST_WATCH);
    response.watch = (struct response_watch){.changes = {2, buf_slice(&changes)},
                                             .version = 700,
                                             .range_id = 2,
                                             .has_more = true,
                                             .cursor = S("k3"),
                                             .cursor_version = 650};
    response_encode(buf, &response);
    buf_fini(&changes);
}

void response_status_sample(struct buf *buf)
{
    struct buf stats;
    buf_init(&stats, 1000);
    stat_append_number(&stats, "applied", 70000);
    stat_append_text(&stats, "role", S("leader"));
    struct response response = response_of(REQUEST_STATUS);
    response.status_of = (struct response_status){.cluster_id = 99,
                                                  .store_id = 11,
                                                  .replica_id = 1,
                                                  .term = 8,
                                                  .stats = {2, buf_slice(&stats)}};
    struct descriptor *d = &response.status_of.descriptor;
    *d = (struct descriptor){.range_id = 1,
                             .start = S("a"),
                             .end = S("z"),
                             .conf_epoch = 3,
                             .span_epoch = 4,
                             .member_count = 2};
    d->members[0] = member_sample(1);
    d->members[1] = member_sample(2);
    response_encode(buf, &response);
    buf_fini(&stats);
}

void response_identify_sample(struct buf *buf)
{
    struct response response = response_of(REQUEST_IDENTIFY);
    response.identify = (struct response_identify){
        .cluster_id = 99, .store_id = 11, .is_born = true, .member_count = 1};
    memset(response.identify.store_uuid, 0x77, STORE_UUID_LEN);
    response.identify.members[0] = member_sample(1);
    response_encode(buf, &response);
}

void response_check_sample(struct buf *buf)
{
    struct buf parts;
    buf_init(&parts, 1000);
    struct check_part part = {.last = S("\2\0\0\0\1m"), .keys = 3, .bytes = 70000};
    memset(part.sum, 0x55, sizeof part.sum);
    check_part_append(&parts, &part);
    part.last = (struct slice){0};
    check_part_append(&parts, &part);
    struct response response = response_of(REQUEST_CHECK_RESULT);
    response.check = (struct response_check){.range_id = 2,
                                             .replica_id = 3,
                                             .index = 70000,
                                             .term = 8,
                                             .state = CHECK_DONE,
                                             .applied = 70001,
                                             .keys = 6,
                                             .bytes = 140000,
                                             .time_ms = 1,
                                             .last_version = 2,
                                             .history_hash = 3,
                                             .meta_hash = 4,
                                             .parts = {2, buf_slice(&parts)},
                                             .why = S("why")};
    memset(response.check.sum, 0xaa, sizeof response.check.sum);
    response_encode(buf, &response);
    buf_fini(&parts);
}

static void touch_parts(const struct response_check *check)
{
    struct unpack u = unpack_of(check->parts.raw);
    for (uint32_t i = 0; i < check->parts.count; i++) {
        struct check_part part;
        check_part_next(&u, &part);
        wire_touch(part.last);
    }
    ASSERT(unpack_finish(&u, "parts", NULL) == 0);
    wire_touch(check->why);
}

static void touch_stats(const struct pack_list *stats)
{
    struct unpack u = unpack_of(stats->raw);
    for (uint32_t i = 0; i < stats->count; i++) {
        struct stat_item item;
        stat_next(&u, &item);
        wire_touch(item.name);
        wire_touch(item.text);
    }
    ASSERT(unpack_finish(&u, "stats", NULL) == 0);
}

static void touch_rows(const struct response_rows *rows)
{
    struct unpack u = unpack_of(rows->rows.raw);
    for (uint32_t i = 0; i < rows->rows.count; i++) {
        struct row row;
        row_next(&u, &row);
        wire_touch(row.key);
        wire_touch(row.value);
    }
    ASSERT(unpack_finish(&u, "rows", NULL) == 0);
    wire_touch(rows->cursor);
}

static void touch_changes(const struct response_watch *watch)
{
    struct unpack u = unpack_of(watch->changes.raw);
    for (uint32_t i = 0; i < watch->changes.count; i++) {
        struct change change;
        change_next(&u, &change);
        wire_touch(change.key);
        wire_touch(change.value);
    }
    ASSERT(unpack_finish(&u, "changes", NULL) == 0);
    wire_touch(watch->cursor);
}

int response_try(struct slice body, struct err *err)
{
    struct response response;
    int rv = response_decode(body, &response, err);
    if (rv != 0)
        return rv;
    ASSERT(response_peek_id(body) == response.id);
    wire_touch(response.text);
    wire_touch(response.leader.address);
    if (response.kind == REQUEST_WRITE)
        wire_touch(response.write.result);
    if (response.kind == REQUEST_GET || response.kind == REQUEST_MULTI_GET ||
        response.kind == REQUEST_SCAN)
        touch_rows(&response.rows);
    if (response.kind == REQUEST_WATCH)
        touch_changes(&response.watch);
    if (response.kind == REQUEST_STATUS) {
        const struct descriptor *d = &response.status_of.descriptor;
        touch_stats(&response.status_of.stats);
        wire_touch(d->start);
        wire_touch(d->end);
        for (uint32_t i = 0; i < d->member_count; i++)
            wire_touch(d->members[i].address);
    }
    if (response.kind == REQUEST_STATS)
        touch_stats(&response.stats.stats);
    if (response.kind == REQUEST_CHECK_START || response.kind == REQUEST_CHECK_RESULT)
        touch_parts(&response.check);
    return 0;
}

void request_again(struct slice body, struct buf *buf)
{
    struct request m;
    ASSERT(request_decode(body, &m, NULL) == 0);
    request_encode(buf, &m);
}

void response_again(struct slice body, struct buf *buf)
{
    struct response m;
    ASSERT(response_decode(body, &m, NULL) == 0);
    response_encode(buf, &m);
}
