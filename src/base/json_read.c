/* SPDX-License-Identifier: Apache-2.0
 *
 * A pull over the bytes with an explicit stack, no recursion:
 *   - json_parse() loops: one value, or the punctuation between two;
 *   - `stack` names the open containers; what may come next follows from the
 *     innermost one and from how many children it has.
 */
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"

struct json_parser {
    struct slice text;
    size_t pos;
    struct json_node *nodes;
    size_t nodes_max;
    size_t count;
    size_t stack[JSON_DEPTH_MAX]; /* open containers, outermost first */
    size_t depth;
    struct err *err;
};

static int json_bad(struct json_parser *p, const char *what)
{
    return err_set(p->err, ERR_INVALID, "byte %zu: %s", p->pos, what);
}

static int json_peek(struct json_parser *p)
{
    while (p->pos < p->text.len) {
        uint8_t c = p->text.data[p->pos];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return c;
        p->pos++;
    }
    return -1;
}

static struct json_node *json_push(struct json_parser *p, enum json_type type)
{
    if (p->count == p->nodes_max)
        return NULL;
    if (p->depth > 0)
        p->nodes[p->stack[p->depth - 1]].child_count++;
    struct json_node *node = &p->nodes[p->count++];
    *node = (struct json_node){.type = type, .next = p->count};
    return node;
}

static int json_too_many(struct json_parser *p)
{
    return err_set(p->err, ERR_TOO_LARGE, "byte %zu: over %zu values or %d levels", p->pos,
                   p->nodes_max, JSON_DEPTH_MAX);
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Length of the escape at text[at] == '\\', 0 if it is none. */
static size_t json_escape_len(struct slice text, size_t at)
{
    if (text.len - at < 2)
        return 0;
    uint8_t c = text.data[at + 1];
    if (c == 'u') {
        if (text.len - at < 6)
            return 0;
        for (size_t i = 2; i < 6; i++) {
            if (!is_hex(text.data[at + i]))
                return 0;
        }
        return 6;
    }
    return c != 0 && strchr("\"\\/bfnrt", c) != NULL ? 2 : 0;
}

static int json_read_string(struct json_parser *p)
{
    size_t start = ++p->pos;
    for (;;) {
        if (p->pos >= p->text.len)
            return json_bad(p, "unterminated string");
        uint8_t c = p->text.data[p->pos];
        if (c == '"')
            break;
        if (c < 0x20)
            return json_bad(p, "control character in a string");
        size_t n = c == '\\' ? json_escape_len(p->text, p->pos) : 1;
        if (n == 0)
            return json_bad(p, "bad escape");
        p->pos += n;
    }
    struct slice raw = slice_of(p->text.data + start, p->pos - start);
    if (!text_is_utf8(raw))
        return json_bad(p, "string is not UTF-8");
    struct json_node *node = json_push(p, JSON_STRING);
    if (node == NULL)
        return json_too_many(p);
    node->raw = raw;
    p->pos++;
    return 0;
}

static size_t json_digits(const struct json_parser *p, size_t at)
{
    size_t n = 0;
    while (at + n < p->text.len && p->text.data[at + n] >= '0' && p->text.data[at + n] <= '9')
        n++;
    return n;
}

static bool json_at(const struct json_parser *p, size_t at, const char *one_of)
{
    return at < p->text.len && p->text.data[at] != 0 && strchr(one_of, p->text.data[at]) != NULL;
}

static int json_read_number(struct json_parser *p)
{
    size_t at = p->pos + (json_at(p, p->pos, "-") ? 1 : 0);
    size_t digits = json_digits(p, at);
    if (digits == 0 || (digits > 1 && p->text.data[at] == '0'))
        return json_bad(p, "bad number");
    at += digits;
    if (json_at(p, at, ".")) {
        digits = json_digits(p, at + 1);
        if (digits == 0)
            return json_bad(p, "bad number");
        at += 1 + digits;
    }
    if (json_at(p, at, "eE")) {
        at += json_at(p, at + 1, "+-") ? 2 : 1;
        digits = json_digits(p, at);
        if (digits == 0)
            return json_bad(p, "bad number");
        at += digits;
    }
    struct json_node *node = json_push(p, JSON_NUMBER);
    if (node == NULL)
        return json_too_many(p);
    node->raw = slice_of(p->text.data + p->pos, at - p->pos);
    p->pos = at;
    return 0;
}

static int json_read_word(struct json_parser *p)
{
    static const struct {
        const char *word;
        enum json_type type;
    } words[] = {{"true", JSON_BOOL}, {"false", JSON_BOOL}, {"null", JSON_NULL}};
    struct slice rest = slice_of(p->text.data + p->pos, p->text.len - p->pos);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!slice_has_prefix(rest, slice_str(words[i].word)))
            continue;
        struct json_node *node = json_push(p, words[i].type);
        if (node == NULL)
            return json_too_many(p);
        node->raw = slice_of(rest.data, strlen(words[i].word));
        p->pos += node->raw.len;
        return 0;
    }
    return json_bad(p, "no value");
}

static int json_open_container(struct json_parser *p, enum json_type type)
{
    if (p->depth == JSON_DEPTH_MAX)
        return json_too_many(p);
    size_t index = p->count;
    struct json_node *node = json_push(p, type);
    if (node == NULL)
        return json_too_many(p);
    node->raw = slice_of(p->text.data + p->pos, 0);
    p->stack[p->depth++] = index;
    p->pos++;
    return 0;
}

static int json_read_value(struct json_parser *p, int c)
{
    switch (c) {
    case '{':
        return json_open_container(p, JSON_OBJECT);
    case '[':
        return json_open_container(p, JSON_ARRAY);
    case '"':
        return json_read_string(p);
    case -1:
        return json_bad(p, "unexpected end");
    default:
        return c == '-' || (c >= '0' && c <= '9') ? json_read_number(p) : json_read_word(p);
    }
}

/* Close every container whose end stands here; then the comma before the next
 * child. *ret_done when the root is complete. */
static int json_after_value(struct json_parser *p, bool *ret_done)
{
    while (p->depth > 0) {
        struct json_node *node = &p->nodes[p->stack[p->depth - 1]];
        bool is_object = node->type == JSON_OBJECT;
        int c = json_peek(p);
        bool is_pair_open = is_object && node->child_count % 2 == 1;
        if (c == (is_object ? '}' : ']') && !is_pair_open) {
            p->pos++;
            node->raw.len = (size_t)(p->text.data + p->pos - node->raw.data);
            node->next = p->count;
            p->depth--;
            continue;
        }
        if (node->child_count == 0)
            return 0; /* the first child follows */
        if (c != (is_pair_open ? ':' : ','))
            return json_bad(p, is_pair_open ? "':' expected" : "',' or the end expected");
        p->pos++;
        return 0;
    }
    *ret_done = true;
    return 0;
}

int json_parse(struct slice text, struct json_node *nodes, size_t nodes_max, size_t *ret_count,
               struct err *err)
{
    struct json_parser p = {.text = text, .nodes = nodes, .nodes_max = nodes_max, .err = err};
    bool is_done = false;
    while (!is_done) {
        int c = json_peek(&p);
        const struct json_node *in = p.depth > 0 ? &nodes[p.stack[p.depth - 1]] : NULL;
        bool is_name = in != NULL && in->type == JSON_OBJECT && in->child_count % 2 == 0;
        if (is_name && c != '"')
            return json_bad(&p, "a member's name expected");
        int rv = json_read_value(&p, c);
        if (rv == 0)
            rv = json_after_value(&p, &is_done);
        if (rv != 0)
            return rv;
    }
    if (json_peek(&p) != -1)
        return json_bad(&p, "something follows the document");
    ASSERT(p.depth == 0);
    ASSERT(nodes[0].next == p.count);
    *ret_count = p.count;
    return 0;
}

const struct json_node *json_member(const struct json_node *nodes, size_t at, const char *name)
{
    if (nodes[at].type != JSON_OBJECT)
        return NULL;
    for (size_t i = at + 1; i < nodes[at].next;) {
        size_t value = nodes[i].next;
        ASSERT(value < nodes[at].next);
        if (slice_equal(nodes[i].raw, slice_str(name)))
            return &nodes[value];
        i = nodes[value].next;
    }
    return NULL;
}

static uint32_t json_hex4(const uint8_t *p)
{
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++) {
        uint8_t c = p[i];
        ASSERT(is_hex(c));
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

static void append_utf8(struct buf *buf, uint32_t c)
{
    ASSERT(c <= 0x10ffff);
    if (c < 0x80) {
        buf_append_u8(buf, (uint8_t)c);
        return;
    }
    unsigned more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    buf_append_u8(buf, (uint8_t)(lead[more] | c >> (6 * more)));
    while (more-- > 0)
        buf_append_u8(buf, (uint8_t)(0x80 | (c >> (6 * more) & 0x3f)));
}

/* The escape at raw[at]; *ret_len is how long it is. */
static int json_unescape(struct slice raw, size_t at, struct buf *buf, size_t *ret_len)
{
    uint8_t c = raw.data[at + 1];
    if (c != 'u') {
        static const char forms[] = "b\bf\fn\nr\rt\t";
        const char *form = strchr(forms, c);
        buf_append_u8(buf, form != NULL ? (uint8_t)form[1] : c);
        *ret_len = 2;
        return 0;
    }
    uint32_t v = json_hex4(raw.data + at + 2);
    *ret_len = 6;
    if (v >= 0xd800 && v < 0xdc00) {
        if (raw.len - at < 12 || raw.data[at + 6] != '\\' || raw.data[at + 7] != 'u')
            return ERR_INVALID;
        uint32_t low = json_hex4(raw.data + at + 8);
        if (low < 0xdc00 || low > 0xdfff)
            return ERR_INVALID;
        v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
        *ret_len = 12;
    } else if (v >= 0xdc00 && v < 0xe000) {
        return ERR_INVALID;
    }
    append_utf8(buf, v);
    return 0;
}

int json_node_string(const struct json_node *node, struct buf *buf)
{
    if (node->type != JSON_STRING)
        return ERR_INVALID;
    struct slice raw = node->raw;
    for (size_t i = 0; i < raw.len;) {
        const uint8_t *escape = memchr(raw.data + i, '\\', raw.len - i);
        size_t run = escape == NULL ? raw.len - i : (size_t)(escape - raw.data) - i;
        buf_append(buf, raw.data + i, run);
        i += run;
        if (i == raw.len)
            break;
        size_t n;
        int rv = json_unescape(raw, i, buf, &n);
        if (rv != 0)
            return rv;
        i += n;
    }
    return buf->failed ? ERR_NOMEM : 0;
}

int json_node_u64(const struct json_node *node, uint64_t *ret_value)
{
    return node->type == JSON_NUMBER ? text_parse_u64(node->raw, ret_value) : ERR_INVALID;
}

int json_node_i64(const struct json_node *node, int64_t *ret_value)
{
    return node->type == JSON_NUMBER ? text_parse_i64(node->raw, ret_value) : ERR_INVALID;
}

int json_node_bool(const struct json_node *node, bool *ret_value)
{
    if (node->type != JSON_BOOL)
        return ERR_INVALID;
    *ret_value = node->raw.data[0] == 't';
    return 0;
}
