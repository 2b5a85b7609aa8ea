/* SPDX-License-Identifier: Apache-2.0
 *
 * jepsen-client — one client process of a fault test, through the public library. Lines
 * of JSON come in on standard input, one operation each, and one line goes out when it
 * has ended:
 *
 *   {"f":"write","key":"a","value":"1","timeout_ms":2000}
 *   {"type":"ok","version":7,"t0":1000,"t1":1200}
 *
 * type: "ok" it took effect; "fail" certainly not; "info" not known. t0 and t1 are
 * nanoseconds of CLOCK_MONOTONIC right before and after the call of the library.
 *
 * f           value                                  answer
 * read                                               "value", "version"; "left_ms" if it expires
 * write       text                                   "version"
 * delete      "present": only what is there          "version"
 * cas         [expected or null, after]              "version"; or "mismatch", "seen"
 * add         number                                 "number", "version"
 * append      text                                   "version"
 * swap        text                                   "seen", "version"
 * reads       [key, …] at one version                "value": [[key, value], …], "version";
 *             of several ranges:                     "parted": true, and no version: each
 *                                                    value is of a moment of its own
 * changes     [["append", key, text],                "value": [what was there before, …]
 *              ["write", key, text],
 *              ["write-if", key, text, version], …]
 *             all or none
 * transfer    [from, to, amount]                     reads both, writes both on condition
 * once        [text, milliseconds]: append with     "resolved": true if hf_resolve() of
 *             that deadline; what is not known     another client told what became of it
 *             then is asked for
 * watch       client_watch.c
 * scan        (key is the prefix) keys a page        "value": [[key, value, version, moment], …],
 *             and milliseconds between pages         a moment for each range: 1, 2, …
 *
 * A write or cas with "ttl_ms" sets a value that expires then.
 *
 *   jepsen-client --endpoints host:port,… [--read-mode MODE]   until standard input ends
 *   jepsen-client --features                what the product's library can do, a word a line
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "client.h"
#include "holdfast.h"

enum { NODES_MAX = 4096, ANSWER_MAX = 64 << 20, OPS_MAX = 64 };

uint64_t client_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- reading what is asked -------------------------------------------------------- */

struct hf_bytes client_text(struct op *op, const struct json_node *node)
{
    size_t from = op->texts.len;
    if (node == NULL)
        return hf_bytes(NULL, 0);
    if (node->type == JSON_NUMBER)
        buf_append_slice(&op->texts, node->raw);
    else if (node->type != JSON_STRING || json_node_string(node, &op->texts) != 0)
        return hf_bytes(NULL, 0);
    return hf_bytes(op->texts.data + from, op->texts.len - from);
}

const struct json_node *client_element(const struct op *op, const struct json_node *list,
                                       size_t index)
{
    if (list == NULL || list->type != JSON_ARRAY || index >= list->child_count)
        return NULL;
    const struct json_node *node = list + 1;
    while (index-- > 0)
        node = &op->nodes[node->next];
    return node;
}

static bool is_text(const struct json_node *node, const char *text)
{
    return node != NULL && node->type == JSON_STRING && slice_equal(node->raw, slice_str(text));
}

/* ---- writing the answer ------------------------------------------------------------ */

static void put_bytes(struct op *op, struct hf_bytes bytes)
{
    json_string(&op->out, slice_of(bytes.data, bytes.len));
}

static void put_value(struct op *op, const struct hf_item *item)
{
    if (item->has_value)
        put_bytes(op, item->value);
    else
        json_null(&op->out);
}

static void put_version(struct op *op, uint64_t version)
{
    if (version == 0)
        return;
    json_key(&op->out, "version");
    json_u64(&op->out, version);
}

void client_put_type(struct op *op, int code, const char *message)
{
    const char *type = code == HF_OK ? "ok" : code == HF_ERR_UNDETERMINED ? "info" : "fail";
    json_key(&op->out, "type");
    json_text(&op->out, type);
    if (code == HF_OK)
        return;
    json_key(&op->out, "error");
    json_text(&op->out, hf_code_name(code));
    if (message != NULL && message[0] != '\0') {
        json_key(&op->out, "message");
        json_text(&op->out, message);
    }
}

static void put_type(struct op *op, int code, const struct hf_result *result)
{
    client_put_type(op, code, result == NULL ? NULL : result->message);
}

/* A change of one key. */
static int put_change(struct op *op, int code, struct hf_result *result)
{
    put_type(op, code, result);
    if (code == HF_OK && result != NULL && result->version != 0) {
        json_key(&op->out, "change"); /* the version of the change itself, a delete's too */
        json_u64(&op->out, result->version);
    }
    if (result != NULL && result->count > 0) {
        put_version(op, result->items[0].version);
        if (code == HF_ERR_CONDITION_FAILED) {
            json_key(&op->out, "seen");
            put_value(op, &result->items[0]);
        }
    }
    if (code == HF_ERR_CONDITION_FAILED) {
        json_key(&op->out, "mismatch");
        json_bool(&op->out, true);
    }
    hf_result_free(result);
    return 0;
}

/* ---- one key ------------------------------------------------------------------------ */

/* Each returns 0, or -1 if it was asked for nonsense. */

static int do_read(struct op *op)
{
    struct hf_result *result = NULL;
    int code = hf_get(op->hf, op->key, &op->call, &result);
    bool is_absent = code == HF_ERR_NOT_FOUND;
    put_type(op, is_absent ? HF_OK : code, result);
    if (is_absent || code == HF_OK) {
        json_key(&op->out, "value");
        if (is_absent)
            json_null(&op->out);
        else
            put_bytes(op, result->items[0].value);
    }
    if (code == HF_OK)
        put_version(op, result->items[0].version);
    if (code == HF_OK && result->items[0].ttl_ms != 0) {
        json_key(&op->out, "left_ms");
        json_u64(&op->out, result->items[0].ttl_ms);
    }
    hf_result_free(result);
    return 0;
}

/* How to change, with the time to live that is asked for; false: that is nonsense. */
static bool fill_change(struct op *op, struct hf_change *change)
{
    const struct json_node *ttl = json_member(op->nodes, 0, "ttl_ms");
    hf_change_init(change);
    return ttl == NULL || json_node_u64(ttl, &change->ttl_ms) == 0;
}

static int do_write(struct op *op)
{
    struct hf_result *result = NULL;
    struct hf_change change;
    if (!fill_change(op, &change))
        return -1;
    int code = hf_put(op->hf, op->key, client_text(op, op->value), &change, &op->call, &result);
    return put_change(op, code, result);
}

static int do_delete(struct op *op)
{
    struct hf_result *result = NULL;
    struct hf_change change;
    hf_change_init(&change);
    if (is_text(op->value, "present")) /* one that finds nothing is no change */
        change.condition = HF_IF_PRESENT;
    int code = hf_delete(op->hf, op->key, &change, &op->call, &result);
    return put_change(op, code, result);
}

static int do_append(struct op *op)
{
    struct hf_result *result = NULL;
    int code = hf_append(op->hf, op->key, client_text(op, op->value), NULL, &op->call, &result);
    return put_change(op, code, result);
}

static int do_cas(struct op *op)
{
    const struct json_node *expected = client_element(op, op->value, 0);
    const struct json_node *after = client_element(op, op->value, 1);
    struct hf_result *result = NULL;
    if (after == NULL)
        return -1;
    struct hf_bytes to = client_text(op, after);
    struct hf_change change;
    int code;
    if (!fill_change(op, &change))
        return -1;
    if (change.ttl_ms != 0) {
        change.condition = expected->type == JSON_NULL ? HF_IF_ABSENT : HF_IF_VALUE;
        if (change.condition == HF_IF_VALUE)
            change.if_value = client_text(op, expected);
        code = hf_put(op->hf, op->key, to, &change, &op->call, &result);
    } else if (expected->type == JSON_NULL) {
        code = hf_put_if_absent(op->hf, op->key, to, &op->call, &result);
    } else {
        code = hf_cas(op->hf, op->key, client_text(op, expected), to, &op->call, &result);
    }
    return put_change(op, code, result);
}

static int do_add(struct op *op)
{
    struct hf_result *result = NULL;
    int64_t delta = 0;
    if (op->value == NULL || json_node_i64(op->value, &delta) != 0)
        return -1;
    int code = hf_increment(op->hf, op->key, delta, NULL, &op->call, &result);
    if (code == HF_OK) {
        json_key(&op->out, "number");
        json_i64(&op->out, result->items[0].number);
    }
    return put_change(op, code, result);
}

static int do_swap(struct op *op)
{
    struct hf_result *result = NULL;
    int code =
        hf_get_and_set(op->hf, op->key, client_text(op, op->value), NULL, &op->call, &result);
    if (code == HF_OK) {
        json_key(&op->out, "seen");
        put_value(op, &result->items[0]);
    }
    return put_change(op, code, result);
}

/* An append that may not happen twice. */
static int do_once(struct op *op)
{
    const struct json_node *text = client_element(op, op->value, 0),
                           *ms = client_element(op, op->value, 1);
    struct hf_result *result = NULL, *settled = NULL;
    struct hf_call call = op->call;
    uint64_t timeout_ms = 0;
    if (text == NULL || ms == NULL || json_node_u64(ms, &timeout_ms) != 0)
        return -1;
    call.timeout_ms = (uint32_t)timeout_ms;
    int code = hf_append(op->hf, op->key, client_text(op, text), NULL, &call, &result);
    if (code != HF_ERR_UNDETERMINED || result == NULL || result->token.len == 0)
        return put_change(op, code, result);
    int fate = hf_resolve(op->other, result->token, &op->call, &settled);
    bool is_known = fate == HF_OK || fate == HF_ERR_FENCED;
    if (is_known) {
        json_key(&op->out, "resolved");
        json_bool(&op->out, true);
    }
    put_type(op, is_known ? fate : HF_ERR_UNDETERMINED, settled);
    hf_result_free(settled);
    hf_result_free(result);
    return 0;
}

/* ---- several keys -------------------------------------------------------------------- */

static void put_pairs(struct op *op, const struct hf_result *result)
{
    json_key(&op->out, "value");
    json_array_begin(&op->out);
    for (size_t i = 0; i < result->count; i++) {
        json_array_begin(&op->out);
        put_bytes(op, result->items[i].key);
        put_value(op, &result->items[i]);
        json_array_end(&op->out);
    }
    json_array_end(&op->out);
    put_version(op, result->version);
    if (result->version == 0) {
        json_key(&op->out, "parted");
        json_bool(&op->out, true);
    }
}

static int do_reads(struct op *op)
{
    struct hf_bytes keys[OPS_MAX];
    struct hf_result *result = NULL;
    size_t count = op->value == NULL ? 0 : op->value->child_count;
    if (op->value == NULL || op->value->type != JSON_ARRAY || count == 0 || count > OPS_MAX)
        return -1;
    for (size_t i = 0; i < count; i++)
        keys[i] = client_text(op, client_element(op, op->value, i));
    int code = hf_multi_get(op->hf, keys, count, &op->call, &result);
    put_type(op, code, result);
    if (code == HF_OK)
        put_pairs(op, result);
    hf_result_free(result);
    return 0;
}

/* Add one of "changes" to the batch. */
static int add_change(struct op *op, struct hf_batch *batch, const struct json_node *node)
{
    const struct json_node *kind = client_element(op, node, 0);
    struct hf_bytes key = client_text(op, client_element(op, node, 1));
    struct hf_bytes value = client_text(op, client_element(op, node, 2));
    struct hf_change change;
    hf_change_init(&change);
    change.return_previous = 1;
    if (is_text(kind, "append"))
        return hf_batch_append(batch, key, value, &change);
    if (is_text(kind, "write"))
        return hf_batch_put(batch, key, value, &change);
    const struct json_node *version = client_element(op, node, 3);
    if (!is_text(kind, "write-if") || version == NULL ||
        json_node_u64(version, &change.if_version) != 0)
        return -1;
    change.condition = change.if_version == 0 ? HF_IF_ABSENT : HF_IF_VERSION;
    return hf_batch_put(batch, key, value, &change);
}

static int do_changes(struct op *op)
{
    struct hf_batch *batch = NULL;
    struct hf_result *result = NULL;
    size_t count = op->value == NULL ? 0 : op->value->child_count;
    int rv = -1;
    if (op->value == NULL || op->value->type != JSON_ARRAY || hf_batch_new(&batch) != HF_OK)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (add_change(op, batch, client_element(op, op->value, i)) != HF_OK)
            goto out;
    int code = hf_batch_commit(op->hf, batch, &op->call, &result);
    if (code == HF_OK) {
        json_key(&op->out, "value");
        json_array_begin(&op->out);
        for (size_t i = 0; i < result->count; i++)
            put_value(op, &result->items[i]);
        json_array_end(&op->out);
    }
    rv = put_change(op, code, result);
out:
    hf_batch_free(batch);
    return rv;
}

static int64_t number_in(struct hf_bytes bytes)
{
    char text[24] = "";
    memcpy(text, bytes.data, MIN(bytes.len, sizeof text - 1));
    return strtoll(text, NULL, 10);
}

/* Both balances at one version, then both written if neither has changed since. */
static int do_transfer(struct op *op)
{
    struct hf_bytes keys[2] = {client_text(op, client_element(op, op->value, 0)),
                               client_text(op, client_element(op, op->value, 1))};
    const struct json_node *amount_node = client_element(op, op->value, 2);
    struct hf_result *seen = NULL, *result = NULL;
    struct hf_batch *batch = NULL;
    int64_t amount;
    if (amount_node == NULL || json_node_i64(amount_node, &amount) != 0)
        return -1;
    int code = hf_multi_get(op->hf, keys, 2, &op->call, &seen);
    if (code == HF_OK && (!seen->items[0].has_value || !seen->items[1].has_value ||
                          number_in(seen->items[0].value) < amount))
        code = HF_ERR_CONDITION_FAILED;
    if (code != HF_OK) {
        put_change(op, code == HF_ERR_UNDETERMINED ? HF_ERR_TIMEOUT : code, seen);
        return 0;
    }
    code = hf_batch_new(&batch);
    for (int i = 0; code == HF_OK && i < 2; i++) {
        struct hf_change change;
        char text[24];
        hf_change_init(&change);
        change.condition = HF_IF_VERSION;
        change.if_version = seen->items[i].version;
        int64_t balance = number_in(seen->items[i].value) + (i == 0 ? -amount : amount);
        snprintf(text, sizeof text, "%" PRId64, balance);
        code = hf_batch_put(batch, keys[i], hf_str(text), &change);
    }
    if (code == HF_OK)
        code = hf_batch_commit(op->hf, batch, &op->call, &result);
    hf_batch_free(batch);
    hf_result_free(seen);
    return put_change(op, code, result);
}

static void pause_ms(int64_t ms)
{
    struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&span, NULL);
}

/* A scan on its way: page after page, all of a range at one version. */
struct scan {
    struct hf_span span;
    struct buf cursor;
    uint64_t version; /* of the range that is being read */
    unsigned ranges;
};

static void put_rows(struct op *op, const struct scan *s, const struct hf_result *page)
{
    for (size_t i = 0; i < page->count; i++) {
        json_array_begin(&op->out);
        put_bytes(op, page->items[i].key);
        put_bytes(op, page->items[i].value);
        json_u64(&op->out, page->items[i].version);
        json_u64(&op->out, s->ranges);
        json_array_end(&op->out);
    }
}

/* Read a page and go to where the next one begins. *ret_more: there is one. */
static int next_page(struct op *op, struct scan *s, bool *ret_more)
{
    struct hf_result *page = NULL;
    struct hf_call call = op->call;
    call.consistency = s->version == 0 ? HF_LINEARIZABLE : HF_AT;
    call.at_version = s->version;
    int code = hf_scan_page(op->hf, &s->span, &call, &page);
    if (code == HF_OK) {
        s->ranges += s->version == 0;
        put_rows(op, s, page);
        s->version = page->is_range_end ? 0 : page->version;
        *ret_more = page->has_more;
        buf_clear(&s->cursor);
        buf_append(&s->cursor, page->cursor.data, page->cursor.len);
        s->span.start = hf_bytes(s->cursor.data, s->cursor.len);
    }
    hf_result_free(page);
    return code;
}

/* The first key that does not begin with the prefix: its last byte plus one. */
static struct hf_bytes prefix_end(struct op *op, struct hf_bytes prefix)
{
    size_t from = op->texts.len;
    buf_append(&op->texts, prefix.data, prefix.len);
    if (prefix.len > 0)
        op->texts.data[op->texts.len - 1]++;
    return hf_bytes(op->texts.data + from, prefix.len);
}

/* Pages with pauses between them: long enough for much to happen meanwhile. The version is
 * told only if all pages were read at one. */
static int do_scan(struct op *op)
{
    int64_t page_keys = 0, wait_ms = 0;
    struct scan s = {.ranges = 0};
    bool has_more = true;
    uint64_t version = 0;
    int code = HF_OK;
    if (client_element(op, op->value, 1) == NULL ||
        json_node_i64(client_element(op, op->value, 0), &page_keys) != 0 ||
        json_node_i64(client_element(op, op->value, 1), &wait_ms) != 0 || page_keys < 1)
        return -1;
    hf_span_init(&s.span);
    buf_init(&s.cursor, TEXTS_MAX);
    s.span.start = op->key;
    s.span.end = prefix_end(op, op->key);
    s.span.limit_keys = (uint32_t)page_keys;
    json_key(&op->out, "value");
    json_array_begin(&op->out);
    while (has_more && (code = next_page(op, &s, &has_more)) == HF_OK) {
        version = s.version != 0 ? s.version : version;
        if (has_more)
            pause_ms(wait_ms);
    }
    json_array_end(&op->out);
    put_type(op, code, NULL);
    if (s.ranges == 1)
        put_version(op, version);
    buf_fini(&s.cursor);
    return 0;
}

/* ---- a line --------------------------------------------------------------------------- */

static const struct {
    const char *f;
    int (*run)(struct op *op);
} kinds[] = {
    {"read", do_read},   {"write", do_write},     {"delete", do_delete},
    {"cas", do_cas},     {"add", do_add},         {"append", do_append},
    {"swap", do_swap},   {"once", do_once},       {"watch", watching_run},
    {"reads", do_reads}, {"changes", do_changes}, {"transfer", do_transfer},
    {"scan", do_scan},
};

/* How reads are done: all of these must be linearizable but STALE, whose answers say how old they
 * may be ("max_age_ms"). MIXED takes those before it in turn. */
static enum { LEADER, ANY, LEASE, MIXED, STALE } read_mode;

static bool read_mode_set(const char *name)
{
    static const char *const names[] = {"linearizable", "any", "lease", "mixed", "stale"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            read_mode = i;
            return true;
        }
    }
    return false;
}

static void call_begin(struct hf_call *call)
{
    static unsigned turn;
    unsigned mode = read_mode == MIXED ? turn++ % MIXED : read_mode;
    hf_call_init(call);
    call->any_replica = mode == ANY;
    call->consistency = mode == LEASE ? HF_LEASE : HF_LINEARIZABLE;
}

/* Reads of one key, where they may be old; as old as it tells. */
static void let_be_old(struct op *op)
{
    static const uint32_t ages_ms[] = {10, 100, 1000, 5000};
    static unsigned turn;
    op->call.consistency = HF_STALE;
    op->call.max_age_ms = ages_ms[turn++ % ARRAY_LEN(ages_ms)];
    json_key(&op->out, "max_age_ms");
    json_u64(&op->out, op->call.max_age_ms);
}

static int run_op(struct op *op)
{
    const struct json_node *f = json_member(op->nodes, 0, "f");
    const struct json_node *timeout = json_member(op->nodes, 0, "timeout_ms");
    uint64_t timeout_ms = 0;
    size_t k = 0;
    while (k < ARRAY_LEN(kinds) && !is_text(f, kinds[k].f))
        k++;
    if (k == ARRAY_LEN(kinds) || (timeout != NULL && json_node_u64(timeout, &timeout_ms) != 0))
        return -1;
    call_begin(&op->call);
    op->call.timeout_ms = (uint32_t)timeout_ms;
    op->key = client_text(op, json_member(op->nodes, 0, "key"));
    op->value = json_member(op->nodes, 0, "value");
    json_object_begin(&op->out);
    if (read_mode == STALE && kinds[k].run == do_read)
        let_be_old(op);
    uint64_t began = client_now_ns();
    if (kinds[k].run(op) != 0)
        return -1;
    uint64_t ended = client_now_ns();
    json_key(&op->out, "t0");
    json_u64(&op->out, began);
    json_key(&op->out, "t1");
    json_u64(&op->out, ended);
    json_object_end(&op->out);
    return 0;
}

static int answer_line(struct hf_client *hf, struct hf_client *other, struct watching *watching,
                       struct slice line)
{
    static struct json_node nodes[NODES_MAX];
    struct op op = {.hf = hf, .other = other, .nodes = nodes, .watching = watching};
    struct buf out;
    struct err err = {0};
    size_t count = 0;
    buf_init(&op.texts, TEXTS_MAX);
    buf_init(&out, ANSWER_MAX);
    int rv = buf_reserve(&op.texts, TEXTS_MAX);
    json_begin(&op.out, &out);
    if (rv == 0)
        rv = json_parse(line, nodes, NODES_MAX, &count, &err);
    if (rv == 0 && (nodes[0].type != JSON_OBJECT || run_op(&op) != 0))
        rv = ERR_INVALID;
    if (rv != 0 || out.failed)
        fprintf(stderr, "jepsen-client: not understood: %.*s", (int)line.len, (char *)line.data);
    else
        printf("%.*s\n", (int)out.len, (char *)out.data);
    fflush(stdout);
    bool is_fine = rv == 0 && !out.failed;
    buf_fini(&op.texts);
    buf_fini(&out);
    return is_fine ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *hf = NULL, *other = NULL;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int rv = 0;
    if (argc == 2 && strcmp(argv[1], "--features") == 0) {
        printf("register\nset\ncounter\nappend\nbank\nscan\nsession\nttl\n%s",
               watching_is_there() ? "watch\n" : "");
        return 0;
    }
    bool has_mode = argc == 5 && strcmp(argv[3], "--read-mode") == 0 && read_mode_set(argv[4]);
    if ((argc != 3 && !has_mode) || strcmp(argv[1], "--endpoints") != 0) {
        fprintf(stderr, "usage: jepsen-client --endpoints host:port,… "
                        "[--read-mode linearizable|any|lease|mixed|stale]\n"
                        "       jepsen-client --features\n");
        return 2;
    }
    hf_options_init(&options);
    options.endpoints = argv[2];
    options.name = "jepsen";
    if (hf_open(&options, &hf) != HF_OK || hf_open(&options, &other) != HF_OK) {
        fprintf(stderr, "jepsen-client: no client of '%s'\n", argv[2]);
        return 2;
    }
    struct watching *watching = watching_new();
    while (rv == 0 && (len = getline(&line, &cap, stdin)) > 0)
        rv = answer_line(hf, other, watching, slice_of((uint8_t *)line, (size_t)len));
    free(line);
    watching_free(watching);
    hf_close(hf);
    hf_close(other);
    return rv == 0 ? 0 : 1;
}
