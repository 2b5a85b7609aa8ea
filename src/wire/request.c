/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/request.h"

#include "wire/frame.h"
#include "wire/msg_internal.h"

_Static_assert((int)DESCRIPTOR_CUT_MAX == DESCRIPTOR_PREFIX_LEN + KEY_WIRE_MAX,
               "where a range is cut a request may begin");

/* The head is the same for all kinds; what the kind adds is a map of its own
 * (FIELD_DETAIL), read only when the kind is known. */
#define AT(m) offsetof(struct request, m)
static const struct msg_field head_fields[] = {
    {1, MSG_U64, AT(id), 0},         {2, MSG_U64, AT(trace_id), 0},
    {3, MSG_U64, AT(range_id), 0},   {4, MSG_U64, AT(span_epoch), 0},
    {5, MSG_U32, AT(timeout_ms), 0}, {6, MSG_ENUM, AT(kind), REQUEST_KIND_LAST},
};
static const struct msg_table head_table = MSG_TABLE("request", head_fields);

#define HEAD_AT(m) offsetof(struct request_head, m)
static const struct msg_field refused_fields[] = {{1, MSG_U64, HEAD_AT(id), 0},
                                                  {2, MSG_U64, HEAD_AT(trace_id), 0},
                                                  {6, MSG_U32, HEAD_AT(kind), 0}};
static const struct msg_table refused_table = MSG_TABLE("request", refused_fields);

enum { FIELD_DETAIL = 7, FIELD_CHILDREN = 13, FIELD_MEMBERS = 14, FIELD_MEMBER = 15 };

#define READ_ROWS(m)                                                                               \
    {1, MSG_U32, AT(m.read.keyspace), 0}, {2, MSG_ENUM, AT(m.read.consistency), CONSISTENCY_LAST}, \
        {3, MSG_U64, AT(m.read.max_age_ms), 0}, {4, MSG_U64, AT(m.read.at_version), 0},            \
    {                                                                                              \
        11, MSG_BOOL, AT(m.read.any_replica), 0                                                    \
    }

static const struct msg_field write_fields[] = {
    {1, MSG_BIN, AT(write.command), FRAME_BODY_MAX},
};
static const struct msg_field get_fields[] = {
    READ_ROWS(get),
    {5, MSG_BIN, AT(get.key), KEY_WIRE_MAX},
};
static const struct msg_field multi_get_fields[] = {
    READ_ROWS(multi_get),
    {5, MSG_LIST, AT(multi_get.keys), REQUEST_KEYS_MAX},
};
static const struct msg_field scan_fields[] = {
    READ_ROWS(scan),
    {5, MSG_BIN, AT(scan.start), KEY_WIRE_MAX},
    {6, MSG_BIN, AT(scan.end), KEY_WIRE_MAX},
    {7, MSG_BOOL, AT(scan.is_reverse), 0},
    {8, MSG_BOOL, AT(scan.is_keys_only), 0},
    {9, MSG_U32, AT(scan.limit_keys), 0},
    {10, MSG_U32, AT(scan.limit_bytes), 0},
};
static const struct msg_field watch_fields[] = {
    {1, MSG_U32, AT(watch.keyspace), 0},       {2, MSG_BIN, AT(watch.start), KEY_WIRE_MAX},
    {3, MSG_BIN, AT(watch.end), KEY_WIRE_MAX}, {4, MSG_BOOL, AT(watch.is_from_now), 0},
    {5, MSG_U64, AT(watch.after), 0},          {6, MSG_U64, AT(watch.upto), 0},
    {7, MSG_U32, AT(watch.wait_ms), 0},        {8, MSG_U32, AT(watch.limit_bytes), 0},
};
static const struct msg_field status_fields[] = {
    {1, MSG_BIN, AT(status.key), DESCRIPTOR_KEY_MAX},
    {2, MSG_BOOL, AT(status.wants_size), 0},
};
static const struct msg_field bootstrap_fields[] = {
    {1, MSG_U64, AT(bootstrap.cluster_id), 0},
};
static const struct msg_field transfer_leader_fields[] = {
    {1, MSG_U64, AT(transfer_leader.target_replica), 0},
};
static const struct msg_field change_member_fields[] = {
    {1, MSG_ENUM, AT(change_member.action), MEMBER_CHANGE_LAST},
    {2, MSG_U64, AT(change_member.replica_id), 0},
};
static const struct msg_field check_fields[] = {
    {1, MSG_U64, AT(check.range_id), 0},
    {2, MSG_U64, AT(check.index), 0},
};

static const struct msg_field split_fields[] = {
    {1, MSG_BIN, AT(split.key), DESCRIPTOR_KEY_MAX},
    {2, MSG_U64, AT(split.conf_epoch), 0},
    {3, MSG_U64, AT(split.new_range_id), 0},
};

static const struct msg_field merge_fields[] = {
    {1, MSG_U64, AT(merge.conf_epoch), 0},
    {2, MSG_U64, AT(merge.right_range), 0},
    {3, MSG_U64, AT(merge.right_conf), 0},
    {4, MSG_U64, AT(merge.right_span), 0},
};

static const struct msg_field retain_fields[] = {
    {1, MSG_U64, AT(retain.conf_epoch), 0},
    {2, MSG_U64, AT(retain.retention_ms), 0},
};

static const struct msg_field join_fields[] = {
    {1, MSG_FIXED, AT(join.store_uuid), STORE_UUID_LEN},
    {2, MSG_U64, AT(join.cluster_id), 0},
    {3, MSG_U64, AT(join.store_id), 0},
    {4, MSG_U64, AT(join.boot), 0},
    {5, MSG_TEXT, AT(join.address), ADDRESS_MAX},
};

static const struct msg_field placement_fields[] = {
    {1, MSG_ENUM, AT(placement.verb), VERB_LAST},
    {2, MSG_U64, AT(placement.id), 0},
    {3, MSG_TEXT, AT(placement.name), TEXT_MAX},
    {4, MSG_BIN, AT(placement.value), DESCRIPTOR_KEY_MAX},
    {5, MSG_U64, AT(placement.from_store), 0},
    {6, MSG_U64, AT(placement.to_store), 0},
};

/* By kind; a kind without a row of its own has no detail. */
static const struct msg_table details[REQUEST_KIND_LAST + 1] = {
    [REQUEST_WRITE] = MSG_TABLE("write", write_fields),
    [REQUEST_GET] = MSG_TABLE("get", get_fields),
    [REQUEST_MULTI_GET] = MSG_TABLE("multi_get", multi_get_fields),
    [REQUEST_SCAN] = MSG_TABLE("scan", scan_fields),
    [REQUEST_STATUS] = MSG_TABLE("status", status_fields),
    [REQUEST_IDENTIFY] = {.name = "identify"},
    [REQUEST_BOOTSTRAP] = MSG_TABLE("bootstrap", bootstrap_fields),
    [REQUEST_TRANSFER_LEADER] = MSG_TABLE("transfer_leader", transfer_leader_fields),
    [REQUEST_CHANGE_MEMBER] = MSG_TABLE("change_member", change_member_fields),
    [REQUEST_FLUSH] = {.name = "flush"},
    [REQUEST_STATS] = {.name = "stats"},
    [REQUEST_SPLIT] = MSG_TABLE("split", split_fields),
    [REQUEST_WATCH] = MSG_TABLE("watch", watch_fields),
    [REQUEST_MERGE] = MSG_TABLE("merge", merge_fields),
    [REQUEST_RETAIN] = MSG_TABLE("retain", retain_fields),
    [REQUEST_CHECK_START] = MSG_TABLE("check_start", check_fields),
    [REQUEST_CHECK_RESULT] = MSG_TABLE("check_result", check_fields),
    [REQUEST_JOIN] = MSG_TABLE("join", join_fields),
    [REQUEST_PLACEMENT] = MSG_TABLE("placement", placement_fields),
};

/* Of the union, what belongs to the kind. The whole is ten times as large as what most need. */
#define SIZE_OF(m) sizeof(((struct request *)NULL)->m)
static const uint16_t detail_sizes[REQUEST_KIND_LAST + 1] = {
    [REQUEST_WRITE] = SIZE_OF(write),
    [REQUEST_GET] = SIZE_OF(get),
    [REQUEST_MULTI_GET] = SIZE_OF(multi_get),
    [REQUEST_SCAN] = SIZE_OF(scan),
    [REQUEST_STATUS] = SIZE_OF(status),
    [REQUEST_BOOTSTRAP] = SIZE_OF(bootstrap),
    [REQUEST_TRANSFER_LEADER] = SIZE_OF(transfer_leader),
    [REQUEST_CHANGE_MEMBER] = SIZE_OF(change_member),
    [REQUEST_SPLIT] = SIZE_OF(split),
    [REQUEST_WATCH] = SIZE_OF(watch),
    [REQUEST_MERGE] = SIZE_OF(merge),
    [REQUEST_RETAIN] = SIZE_OF(retain),
    [REQUEST_CHECK_START] = SIZE_OF(check),
    [REQUEST_CHECK_RESULT] = SIZE_OF(check),
    [REQUEST_JOIN] = SIZE_OF(join),
    [REQUEST_PLACEMENT] = SIZE_OF(placement),
};

enum { HEAD_SIZE = offsetof(struct request, write) };

static void detail_clear(struct request *request)
{
    memset((uint8_t *)request + HEAD_SIZE, 0, detail_sizes[request->kind]);
}

void request_init(struct request *request, enum request_kind kind)
{
    ASSERT((unsigned)kind <= REQUEST_KIND_LAST);
    memset(request, 0, HEAD_SIZE);
    request->kind = kind;
    detail_clear(request);
}

void request_copy(struct request *to, const struct request *from)
{
    ASSERT((unsigned)from->kind <= REQUEST_KIND_LAST);
    memcpy(to, from, HEAD_SIZE + (size_t)detail_sizes[from->kind]);
}

/* Does placement only tell something then? */
static bool verb_is_read_only(enum placement_verb verb)
{
    switch (verb) {
    case VERB_STORES:
    case VERB_STATUS:
    case VERB_SETTINGS:
    case VERB_EXPLAIN:
    case VERB_WHY_NOT:
    case VERB_PLAN:
    case VERB_OPERATORS:
    case VERB_RANGES:
    case VERB_KEYSPACES:
        return true;
    case VERB_SET:
    case VERB_PAUSE:
    case VERB_RESUME:
    case VERB_DRAIN:
    case VERB_UNDRAIN:
    case VERB_DECOMMISSION:
    case VERB_REMOVE_STORE:
    case VERB_COMMAND:
    case VERB_KEYSPACE_CREATE:
    case VERB_KEYSPACE_ALTER:
    case VERB_KEYSPACE_DROP:
    case VERB_KEYSPACE_FORGET:
        return false;
    }
    return false;
}

bool request_is_read_only(const struct request *request)
{
    switch (request->kind) {
    case REQUEST_GET:
    case REQUEST_MULTI_GET:
    case REQUEST_SCAN:
    case REQUEST_STATUS:
    case REQUEST_IDENTIFY:
    case REQUEST_STATS:
    case REQUEST_CHECK_RESULT:
    case REQUEST_WATCH:
        return true;
    case REQUEST_WRITE:
    case REQUEST_BOOTSTRAP:
    case REQUEST_TRANSFER_LEADER:
    case REQUEST_CHANGE_MEMBER:
    case REQUEST_FLUSH:
    case REQUEST_SPLIT:
    case REQUEST_MERGE:
    case REQUEST_RETAIN:
    case REQUEST_CHECK_START:
    case REQUEST_JOIN:
        return false;
    case REQUEST_PLACEMENT:
        return verb_is_read_only(request->placement.verb);
    }
    return false;
}

bool request_kind_is_known(uint32_t kind)
{
    return kind < ARRAY_LEN(details) && details[kind].name != NULL;
}

const char *request_kind_name(uint32_t kind)
{
    return request_kind_is_known(kind) ? details[kind].name : "unknown";
}

void request_key_append(struct buf *raw, struct slice key)
{
    pack_bin(raw, key);
}

struct slice request_key_next(struct unpack *cursor)
{
    return unpack_bin(cursor);
}

/* ---- writing ------------------------------------------------------------ */

/* Store and replica in turn. */
static void children_encode(struct buf *buf, const struct request_split *split)
{
    ASSERT(split->child_count <= DESCRIPTOR_MEMBERS_MAX);
    pack_array(buf, 2 * split->child_count);
    for (uint32_t i = 0; i < split->child_count; i++) {
        pack_uint(buf, split->children[i].store_id);
        pack_uint(buf, split->children[i].replica_id);
    }
}

/* As the table of its fields says, but for where the bytes are. */
static void write_encode(struct pack_fields *fields, const struct request_write *write)
{
    ASSERT(write->command.len + write->rest.len <= write_fields[0].limit);
    if (write->command.len + write->rest.len == 0)
        return;
    pack_field(fields, write_fields[0].key);
    pack_bin_of(fields->buf, write->command, write->rest);
}

void request_encode(struct buf *buf, const struct request *request)
{
    ASSERT(request->id > 0 && request->timeout_ms > 0);
    ASSERT(request->kind > 0 && request->kind <= REQUEST_KIND_LAST);
    struct pack_fields f = msg_write_begin(buf, MSG_REQUEST);
    msg_write_fields(&f, &head_table, request);
    pack_field(&f, FIELD_DETAIL);
    struct pack_fields d = pack_fields_begin(buf);
    if (request->kind == REQUEST_WRITE)
        write_encode(&d, &request->write);
    else
        msg_write_fields(&d, &details[request->kind], request);
    if (request->kind == REQUEST_BOOTSTRAP) {
        pack_field(&d, FIELD_MEMBERS);
        members_encode(buf, request->bootstrap.members, request->bootstrap.member_count);
    } else if (request->kind == REQUEST_CHANGE_MEMBER &&
               request->change_member.action == MEMBER_ADD_LEARNER) {
        pack_field(&d, FIELD_MEMBER);
        member_encode(buf, &request->change_member.member);
    } else if (request->kind == REQUEST_SPLIT) {
        pack_field(&d, FIELD_CHILDREN);
        children_encode(buf, &request->split);
    }
    pack_fields_end(&d);
    pack_fields_end(&f);
}

/* ---- moving ------------------------------------------------------------- */

void request_rebase(struct request *request, const uint8_t *from, const uint8_t *to)
{
    const struct msg_table *table = &details[request->kind];
    ASSERT(request->kind == REQUEST_WRITE || request->kind == REQUEST_GET ||
           request->kind == REQUEST_MULTI_GET || request->kind == REQUEST_SCAN ||
           request->kind == REQUEST_WATCH);
    for (size_t i = 0; i < table->count; i++) {
        uint8_t *at = (uint8_t *)request + table->fields[i].offset;
        struct slice *bytes = NULL;
        if (table->fields[i].type == MSG_BIN)
            bytes = (struct slice *)at;
        else if (table->fields[i].type == MSG_LIST)
            bytes = &((struct pack_list *)at)->raw;
        if (bytes != NULL && bytes->data != NULL)
            bytes->data = to + (bytes->data - from);
    }
}

/* ---- reading ------------------------------------------------------------ */

static void children_read(struct unpack *u, struct request_split *split)
{
    uint32_t count = unpack_array(u);
    if (count % 2 != 0 || count > 2 * DESCRIPTOR_MEMBERS_MAX)
        u->bad = true;
    split->child_count = u->bad ? 0 : count / 2;
    for (uint32_t i = 0; i < split->child_count && !u->bad; i++) {
        split->children[i].store_id = unpack_uint(u);
        split->children[i].replica_id = unpack_uint(u);
    }
}

static void detail_read(struct unpack *u, struct request *request)
{
    const struct msg_table *table = &details[request->kind];
    uint64_t key;
    struct msg_pairs pairs = msg_pairs_begin(u);
    while (msg_read_fields(u, &pairs, table, request, &key)) {
        if (request->kind == REQUEST_BOOTSTRAP && key == FIELD_MEMBERS)
            request->bootstrap.member_count = members_read(u, request->bootstrap.members);
        else if (request->kind == REQUEST_CHANGE_MEMBER && key == FIELD_MEMBER)
            member_read(u, &request->change_member.member);
        else if (request->kind == REQUEST_SPLIT && key == FIELD_CHILDREN)
            children_read(u, &request->split);
        else
            unpack_skip(u);
    }
}

static int read_check(const struct request_read *read, struct err *err)
{
    if ((read->at_version > 0) != (read->consistency == READ_AT))
        return err_set(err, ERR_INVALID, "version and consistency of a read disagree");
    return 0;
}

/* Every element of the list is a key. */
static int keys_check(const struct pack_list *keys, struct err *err)
{
    struct unpack u = unpack_of(keys->raw);
    if (keys->count == 0)
        return err_set(err, ERR_INVALID, "multi_get without keys");
    for (uint32_t i = 0; i < keys->count; i++) {
        struct slice key = unpack_bin_max(&u, KEY_WIRE_MAX);
        if (u.bad || key.len == 0)
            return err_set(err, ERR_INVALID, "key %u of multi_get is not acceptable", i);
    }
    return unpack_finish(&u, "list of keys", err);
}

static int change_member_check(const struct request_change_member *change, struct err *err)
{
    bool is_add = change->action == MEMBER_ADD_LEARNER;
    if (change->action < MEMBER_ADD_LEARNER)
        return err_set(err, ERR_INVALID, "change_member without an action");
    if (is_add != (change->replica_id == 0) || is_add != (change->member.replica_id > 0))
        return err_set(err, ERR_INVALID, "change_member names no member, or two");
    return 0;
}

static int watch_check(const struct request_watch *watch, struct err *err)
{
    if (watch->is_from_now && (watch->after > 0 || watch->upto > 0))
        return err_set(err, ERR_INVALID, "watch from now on, and from a version on");
    if (watch->upto > 0 && watch->upto <= watch->after)
        return err_set(err, ERR_INVALID, "watch up to a version that is known already");
    if (watch->end.len > 0 && slice_compare(watch->start, watch->end) >= 0)
        return err_set(err, ERR_INVALID, "watch of an empty span");
    return 0;
}

static int retain_check(const struct request *request, struct err *err)
{
    if (request->range_id == 0 || request->span_epoch == 0 || request->retain.conf_epoch == 0 ||
        request->retain.retention_ms == 0)
        return err_set(err, ERR_INVALID, "retain without a range, its epochs, or a time");
    return 0;
}

/* What only the kind can say about its detail. */
static int detail_check(const struct request *request, struct err *err)
{
    switch (request->kind) {
    case REQUEST_WRITE:
        if (request->write.command.len == 0)
            return err_set(err, ERR_INVALID, "write without a command");
        return 0;
    case REQUEST_GET:
        if (request->get.key.len == 0)
            return err_set(err, ERR_INVALID, "get of an empty key");
        return read_check(&request->get.read, err);
    case REQUEST_MULTI_GET: {
        int rv = read_check(&request->multi_get.read, err);
        return rv != 0 ? rv : keys_check(&request->multi_get.keys, err);
    }
    case REQUEST_SCAN:
        return read_check(&request->scan.read, err);
    case REQUEST_WATCH:
        return watch_check(&request->watch, err);
    case REQUEST_BOOTSTRAP:
        if (request->bootstrap.cluster_id == 0 || request->bootstrap.member_count == 0)
            return err_set(err, ERR_INVALID, "bootstrap without cluster id or members");
        return 0;
    case REQUEST_CHANGE_MEMBER:
        return change_member_check(&request->change_member, err);
    case REQUEST_SPLIT:
        if (request->range_id == 0 || request->span_epoch == 0 || request->split.key.len == 0 ||
            request->split.new_range_id == 0 || request->split.child_count == 0)
            return err_set(err, ERR_INVALID, "split without range, epoch, key, ids or replicas");
        return 0;
    case REQUEST_MERGE:
        if (request->range_id == 0 || request->span_epoch == 0 || request->merge.right_range == 0)
            return err_set(err, ERR_INVALID, "merge without its ranges or epoch");
        return 0;
    case REQUEST_RETAIN:
        return retain_check(request, err);
    case REQUEST_JOIN:
        if (request->join.address.len == 0 ||
            memchr(request->join.address.data, 0, request->join.address.len) != NULL ||
            (request->join.store_id == 0) != (request->join.cluster_id == 0))
            return err_set(err, ERR_INVALID, "join without an address, or with half an identity");
        return 0;
    case REQUEST_PLACEMENT:
        if (request->placement.verb == 0)
            return err_set(err, ERR_INVALID, "placement is asked nothing");
        return 0;
    case REQUEST_CHECK_RESULT:
        if (request->check.index == 0)
            return err_set(err, ERR_INVALID, "result of a check without its index");
        return 0;
    default:
        return 0;
    }
}

/* Where its kind stands before the detail, as we write it, the detail is read in passing. */
int request_decode(struct slice body, struct request *ret_request, struct err *err)
{
    struct unpack u;
    uint64_t key;
    struct msg_pairs pairs;
    uint32_t kind = msg_read_begin(&u, body, &pairs);
    if (u.bad || kind != MSG_REQUEST)
        return err_set(err, ERR_CORRUPT, "%s where a request was due", msg_kind_name(kind));
    struct request request;
    struct slice detail = {0};
    bool has_detail = false;
    request_init(&request, 0);
    while (msg_read_fields(&u, &pairs, &head_table, &request, &key)) {
        if (key == FIELD_DETAIL && request_kind_is_known(request.kind)) {
            detail_clear(&request);
            detail_read(&u, &request);
            has_detail = true;
        } else if (key == FIELD_DETAIL) {
            detail = msg_read_raw(&u);
        } else {
            unpack_skip(&u);
        }
    }
    int rv = unpack_finish(&u, "request", err);
    if (rv == 0 && request.kind != 0 && !request_kind_is_known(request.kind))
        rv = err_set(err, ERR_CORRUPT, "request of kind %u", request.kind);
    if (rv != 0)
        return rv;
    if (request.id == 0 || request.kind == 0 || request.timeout_ms == 0 ||
        (detail.len == 0 && !has_detail))
        return err_set(err, ERR_INVALID, "request without id, kind, deadline or detail");
    if (!has_detail) {
        u = unpack_of(detail);
        detail_clear(&request);
        detail_read(&u, &request);
        rv = unpack_finish(&u, request_kind_name(request.kind), err);
    }
    if (rv == 0)
        rv = detail_check(&request, err);
    if (rv == 0)
        request_copy(ret_request, &request);
    return rv;
}

bool request_head_decode(struct slice body, struct request_head *ret_head)
{
    struct request_head head = {0};
    if (msg_read(body, MSG_REQUEST, &refused_table, &head, NULL) != 0 || head.id == 0)
        return false;
    *ret_head = head;
    return true;
}
