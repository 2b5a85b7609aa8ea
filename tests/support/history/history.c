/* SPDX-License-Identifier: Apache-2.0 */
#include "support/history/history.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/map.h"

/* What a process is doing. */
struct open_op {
    int64_t process;
    size_t op;
};

struct parser {
    struct history *h;
    struct json_node *nodes;
    size_t nodes_cap;
    uint64_t line;
    struct open_op *open; /* sorted by process */
    size_t open_count;
    size_t open_cap;
    struct map ended; /* processes with an outcome that is not known, which never speak again */
    struct err *err;
};

/* One line, understood. */
struct event {
    int64_t process;
    struct slice type;
    struct slice f;
    struct slice key;
    struct slice stamp;
    struct history_value value;
    struct history_value seen;
    bool has_seen;
    bool has_number;
    bool is_mismatch;
    int64_t number;
    uint64_t version;
    uint64_t change;
    uint64_t ttl_ms;
    uint64_t left_ms;
    uint64_t ahead_ms;
    uint64_t behind_ms;
    uint64_t time;
};

void history_init(struct history *h)
{
    *h = (struct history){0};
    arena_init(&h->arena, 1 << 16, SIZE_MAX / 2);
}

void history_fini(struct history *h)
{
    free(h->ops);
    arena_fini(&h->arena);
    *h = (struct history){0};
}

static void *grown(void *old, size_t *cap, size_t size)
{
    *cap = *cap == 0 ? 64 : *cap * 2;
    void *p = realloc(old, *cap * size);
    ASSERT(p != NULL);
    return p;
}

/* ---- values --------------------------------------------------------------------- */

static struct slice keep(struct history *h, struct slice bytes)
{
    uint8_t *copy = arena_alloc(&h->arena, bytes.len + 1);
    ASSERT(copy != NULL);
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    return slice_of(copy, bytes.len);
}

static int keep_string(struct parser *p, const struct json_node *node, struct slice *ret)
{
    struct buf text;
    buf_init(&text, HISTORY_LINE_MAX);
    int rv = json_node_string(node, &text);
    if (rv == 0)
        *ret = keep(p->h, buf_slice(&text));
    buf_fini(&text);
    return rv;
}

static int read_scalar(struct parser *p, const struct json_node *node, struct history_value *ret)
{
    char text[24];
    *ret = (struct history_value){.type = HISTORY_NULL};
    switch (node->type) {
    case JSON_NULL:
        return 0;
    case JSON_STRING:
        ret->type = HISTORY_TEXT;
        return keep_string(p, node, &ret->text);
    case JSON_NUMBER:
        ret->type = HISTORY_NUMBER;
        if (json_node_i64(node, &ret->number) != 0)
            return ERR_INVALID;
        snprintf(text, sizeof text, "%" PRId64, ret->number);
        ret->text = keep(p->h, slice_str(text));
        return 0;
    default:
        return ERR_INVALID;
    }
}

static int read_value(struct parser *p, const struct json_node *node, unsigned depth,
                      struct history_value *ret)
{
    if (node->type != JSON_ARRAY)
        return read_scalar(p, node, ret);
    if (depth == HISTORY_DEPTH_MAX)
        return ERR_INVALID;
    *ret = (struct history_value){.type = HISTORY_LIST, .count = node->child_count};
    ret->list = arena_alloc(&p->h->arena, (ret->count + 1) * sizeof *ret->list);
    ASSERT(ret->list != NULL);
    const struct json_node *child = node + 1;
    for (size_t i = 0; i < ret->count; i++) {
        if (read_value(p, child, depth + 1, &ret->list[i]) != 0)
            return ERR_INVALID;
        child = &p->nodes[child->next];
    }
    return 0;
}

/* ---- a line ------------------------------------------------------------------------ */

static int bad(struct parser *p, const char *what)
{
    return err_set(p->err, ERR_INVALID, "line %" PRIu64 ": %s", p->line, what);
}

static int read_required(struct parser *p, struct event *ret)
{
    const struct json_node *process = json_member(p->nodes, 0, "process");
    const struct json_node *type = json_member(p->nodes, 0, "type");
    const struct json_node *f = json_member(p->nodes, 0, "f");
    const struct json_node *time = json_member(p->nodes, 0, "time");
    if (process == NULL || json_node_i64(process, &ret->process) != 0)
        return bad(p, "\"process\" is missing or no whole number");
    if (type == NULL || type->type != JSON_STRING)
        return bad(p, "\"type\" is missing or no text");
    if (f == NULL || f->type != JSON_STRING || keep_string(p, f, &ret->f) != 0 || ret->f.len == 0)
        return bad(p, "\"f\" is missing or no text");
    if (time == NULL || json_node_u64(time, &ret->time) != 0 || ret->time == UINT64_MAX)
        return bad(p, "\"time\" is missing or no whole number");
    ret->type = type->raw;
    return 0;
}

/* What sendings of one change have. */
static int read_sending(struct parser *p, struct event *ret)
{
    const struct json_node *stamp = json_member(p->nodes, 0, "stamp");
    const struct json_node *change = json_member(p->nodes, 0, "change");
    if (stamp != NULL && (stamp->type != JSON_STRING || keep_string(p, stamp, &ret->stamp) != 0))
        return bad(p, "\"stamp\" is no text");
    if (change != NULL && json_node_u64(change, &ret->change) != 0)
        return bad(p, "\"change\" is no whole number");
    return 0;
}

/* What values that expire have, and how far clocks were off. */
static int read_times(struct parser *p, struct event *ret)
{
    const struct {
        const char *name;
        uint64_t *ret;
    } times[] = {{"ttl_ms", &ret->ttl_ms},
                 {"left_ms", &ret->left_ms},
                 {"ahead_ms", &ret->ahead_ms},
                 {"behind_ms", &ret->behind_ms}};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        const struct json_node *node = json_member(p->nodes, 0, times[i].name);
        if (node != NULL &&
            (json_node_u64(node, times[i].ret) != 0 || *times[i].ret > HISTORY_SPAN_MAX_MS))
            return bad(p, "a span of time is no whole number of milliseconds");
    }
    return 0;
}

static int read_optional(struct parser *p, struct event *ret)
{
    const struct json_node *key = json_member(p->nodes, 0, "key");
    const struct json_node *value = json_member(p->nodes, 0, "value");
    const struct json_node *seen = json_member(p->nodes, 0, "seen");
    const struct json_node *number = json_member(p->nodes, 0, "number");
    const struct json_node *version = json_member(p->nodes, 0, "version");
    const struct json_node *mismatch = json_member(p->nodes, 0, "mismatch");
    struct history_value name = {0};
    if (key != NULL && read_scalar(p, key, &name) != 0)
        return bad(p, "\"key\" is neither text nor number");
    ret->key = name.text;
    if (value != NULL && read_value(p, value, 0, &ret->value) != 0)
        return bad(p, "\"value\" is no text, whole number, null, or list of these");
    if (seen != NULL && read_scalar(p, seen, &ret->seen) != 0)
        return bad(p, "\"seen\" is no text, whole number or null");
    if (number != NULL && json_node_i64(number, &ret->number) != 0)
        return bad(p, "\"number\" is no whole number");
    if (version != NULL && json_node_u64(version, &ret->version) != 0)
        return bad(p, "\"version\" is no whole number");
    if (mismatch != NULL && json_node_bool(mismatch, &ret->is_mismatch) != 0)
        return bad(p, "\"mismatch\" is neither true nor false");
    ret->has_seen = seen != NULL;
    ret->has_number = number != NULL;
    int rv = read_times(p, ret);
    return rv != 0 ? rv : read_sending(p, ret);
}

/* ---- pairing ------------------------------------------------------------------------ */

/* Where the process stands in `open`, or would. */
static size_t open_place(const struct parser *p, int64_t process)
{
    size_t lo = 0, hi = p->open_count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->open[mid].process < process)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int on_invoke(struct parser *p, const struct event *e, size_t at, bool is_busy)
{
    struct history *h = p->h;
    if (is_busy)
        return bad(p, "the process is not done with its last operation");
    if (map_get(&p->ended, (uint64_t)e->process) != NULL)
        return bad(p, "the process goes on after an operation whose outcome it does not know");
    if (h->count == h->cap)
        h->ops = grown(h->ops, &h->cap, sizeof *h->ops);
    if (p->open_count == p->open_cap)
        p->open = grown(p->open, &p->open_cap, sizeof *p->open);
    memmove(&p->open[at + 1], &p->open[at], (p->open_count - at) * sizeof p->open[0]);
    p->open[at] = (struct open_op){e->process, h->count};
    p->open_count++;
    h->ops[h->count++] = (struct history_op){
        .process = e->process,
        .outcome = HISTORY_INFO,
        .f = e->f,
        .key = e->key,
        .stamp = e->stamp,
        .ttl_ms = e->ttl_ms,
        .value = e->value,
        .invoke_ns = e->time,
        .return_ns = UINT64_MAX,
        .line = p->line,
    };
    return 0;
}

static int on_completion(struct parser *p, const struct event *e, size_t at,
                         enum history_outcome outcome)
{
    struct history_op *op = &p->h->ops[p->open[at].op];
    if (!slice_equal(op->f, e->f) || (e->key.len > 0 && !slice_equal(op->key, e->key)))
        return bad(p, "it completes another operation than the process began");
    if (e->time < op->invoke_ns)
        return bad(p, "it ends before it began");
    op->outcome = outcome;
    op->result = e->value;
    op->seen = e->seen;
    op->has_seen = e->has_seen;
    op->has_number = e->has_number;
    op->number = e->number;
    op->is_mismatch = e->is_mismatch;
    op->version = e->version;
    op->change = e->change;
    op->left_ms = e->left_ms;
    op->ahead_ms = e->ahead_ms;
    op->behind_ms = e->behind_ms;
    if (outcome != HISTORY_INFO)
        op->return_ns = e->time;
    else if (map_put(&p->ended, (uint64_t)e->process, p->h) != 0)
        return bad(p, "too many operations whose outcome is not known");
    p->open_count--;
    memmove(&p->open[at], &p->open[at + 1], (p->open_count - at) * sizeof p->open[0]);
    return 0;
}

static int on_event(struct parser *p, const struct event *e)
{
    static const struct {
        const char *type;
        enum history_outcome outcome;
    } completions[] = {{"ok", HISTORY_OK}, {"fail", HISTORY_FAIL}, {"info", HISTORY_INFO}};
    size_t at = open_place(p, e->process);
    bool is_busy = at < p->open_count && p->open[at].process == e->process;
    if (slice_equal(e->type, slice_str("invoke")))
        return on_invoke(p, e, at, is_busy);
    for (size_t i = 0; i < ARRAY_LEN(completions); i++) {
        if (!slice_equal(e->type, slice_str(completions[i].type)))
            continue;
        if (!is_busy)
            return bad(p, "it completes what was not begun");
        return on_completion(p, e, at, completions[i].outcome);
    }
    return bad(p, "\"type\" is not invoke, ok, fail or info");
}

static int parse_line(struct parser *p, struct slice line)
{
    struct event e = {0};
    size_t count = 0;
    struct err why = {0};
    while (line.len > 0 && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r'))
        line.len--;
    p->line++;
    if (line.len == 0)
        return 0;
    int rv = json_parse(line, p->nodes, p->nodes_cap, &count, &why);
    while (rv == ERR_TOO_LARGE && p->nodes_cap < HISTORY_NODES_MAX) {
        p->nodes = grown(p->nodes, &p->nodes_cap, sizeof *p->nodes);
        rv = json_parse(line, p->nodes, p->nodes_cap, &count, &why);
    }
    if (rv != 0 || p->nodes[0].type != JSON_OBJECT)
        return bad(p, rv != 0 ? why.msg : "no JSON object");
    rv = read_required(p, &e);
    if (rv == 0)
        rv = read_optional(p, &e);
    return rv != 0 ? rv : on_event(p, &e);
}

static void parser_init(struct parser *p, struct history *h, struct err *err)
{
    *p = (struct parser){.h = h, .err = err};
    map_init(&p->ended);
    p->nodes = grown(NULL, &p->nodes_cap, sizeof *p->nodes);
}

static void parser_fini(struct parser *p)
{
    free(p->nodes);
    free(p->open);
    map_fini(&p->ended);
}

int history_parse(struct history *h, struct slice text, struct err *err)
{
    struct parser p;
    int rv = 0;
    parser_init(&p, h, err);
    while (rv == 0 && text.len > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data) + 1;
        rv = parse_line(&p, slice_of(text.data, len));
        text = slice_of(text.data + len, text.len - len);
    }
    parser_fini(&p);
    return rv;
}

int history_load(struct history *h, FILE *file, struct err *err)
{
    struct parser p;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int rv = 0;
    parser_init(&p, h, err);
    while (rv == 0 && (len = getline(&line, &cap, file)) > 0) {
        if ((size_t)len > HISTORY_LINE_MAX)
            rv = bad(&p, "longer than 64 MiB");
        else
            rv = parse_line(&p, slice_of((uint8_t *)line, (size_t)len));
    }
    if (rv == 0 && ferror(file))
        rv = err_set(err, ERR_IO, "read");
    free(line);
    parser_fini(&p);
    return rv;
}

void history_report_init(struct history_report *report)
{
    *report = (struct history_report){.verdict = HISTORY_VALID};
    buf_init(&report->text, 16 << 20);
}

void history_report_fini(struct history_report *report)
{
    buf_fini(&report->text);
}
