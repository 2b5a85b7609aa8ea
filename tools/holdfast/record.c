/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include <stdio.h>

#include "base/text.h"

enum {
    KEY_MAX = 4096,
    VALUE_MAX = 8 << 20,
    FRAME_MAX = 128, /* names of members, signs, a number */
    NAME_SHOWN_MAX = 40,
};

/* Of a line of export, and of what scan and get print as JSON. */
static const char *const members[] = {
    "key", "key_b64", "value", "value_b64", "ttl_ms", "version", "found", "ok",
};

_Static_assert(2 * (KEY_MAX + VALUE_MAX) + FRAME_MAX <= RECORD_LINE_MAX,
               "what record_append() writes can be read");

void record_init(struct record *record)
{
    buf_init(&record->key, KEY_MAX);
    buf_init(&record->value, VALUE_MAX);
    record->ttl_ms = 0;
}

void record_fini(struct record *record)
{
    buf_fini(&record->key);
    buf_fini(&record->value);
}

int record_bytes_member(const struct json_node *nodes, const char *name, struct buf *buf,
                        struct err *err)
{
    char name_b64[32];
    snprintf(name_b64, sizeof name_b64, "%s_b64", name);
    const struct json_node *plain = json_member(nodes, 0, name);
    const struct json_node *coded = json_member(nodes, 0, name_b64);
    if (plain != NULL && coded != NULL)
        return err_set(err, ERR_INVALID, "both \"%s\" and \"%s\"", name, name_b64);
    if (plain == NULL && coded == NULL)
        return ERR_NOT_FOUND;
    int rv = ERR_INVALID;
    if (plain != NULL)
        rv = json_node_string(plain, buf);
    else if (coded->type == JSON_STRING)
        rv = text_decode_base64(coded->raw, buf);
    if (buf->failed)
        return err_set(err, ERR_INVALID, "\"%s\" is over %zu bytes", name, buf->max);
    if (rv != 0)
        return err_set(err, ERR_INVALID, "\"%s\" is no %s", plain != NULL ? name : name_b64,
                       plain != NULL ? "text" : "base64");
    return 0;
}

/* A name that is not known was meant for something, and of two of one name either may be meant. */
static int check_members(const struct json_node *nodes, struct err *err)
{
    bool is_there[ARRAY_LEN(members)] = {false};
    for (size_t i = 1; i < nodes[0].next; i = nodes[nodes[i].next].next) {
        struct slice name = nodes[i].raw;
        size_t m = 0;
        while (m < ARRAY_LEN(members) && !slice_equal(name, slice_str(members[m])))
            m++;
        if (m == ARRAY_LEN(members))
            return err_set(err, ERR_INVALID, "unknown member \"%.*s\"",
                           (int)MIN(name.len, (size_t)NAME_SHOWN_MAX), (const char *)name.data);
        if (is_there[m])
            return err_set(err, ERR_INVALID, "\"%s\" comes twice", members[m]);
        is_there[m] = true;
    }
    return 0;
}

int record_parse(struct record *record, struct slice line, struct err *err)
{
    struct json_node nodes[RECORD_NODES_MAX];
    size_t count;
    buf_clear(&record->key);
    buf_clear(&record->value);
    record->ttl_ms = 0;
    int rv = json_parse(line, nodes, ARRAY_LEN(nodes), &count, err);
    if (rv != 0)
        return ERR_INVALID;
    if (nodes[0].type != JSON_OBJECT)
        return err_set(err, ERR_INVALID, "no JSON object");
    rv = check_members(nodes, err);
    if (rv != 0)
        return rv;
    rv = record_bytes_member(nodes, "key", &record->key, err);
    if (rv == ERR_NOT_FOUND)
        return err_set(err, ERR_INVALID, "no \"key\"");
    if (rv == 0)
        rv = record_bytes_member(nodes, "value", &record->value, err);
    if (rv == ERR_NOT_FOUND)
        return err_set(err, ERR_INVALID, "no \"value\"");
    if (rv != 0)
        return rv;
    if (record->key.len == 0)
        return err_set(err, ERR_INVALID, "the key is empty");
    const struct json_node *ttl = json_member(nodes, 0, "ttl_ms");
    if (ttl != NULL && json_node_u64(ttl, &record->ttl_ms) != 0)
        return err_set(err, ERR_INVALID, "\"ttl_ms\" is no number");
    return 0;
}

void record_append(struct buf *buf, struct slice key, struct slice value, uint64_t ttl_ms)
{
    struct json_writer w;
    json_begin(&w, buf);
    json_object_begin(&w);
    json_short_member(&w, "key", key);
    json_short_member(&w, "value", value);
    if (ttl_ms > 0) {
        json_key(&w, "ttl_ms");
        json_u64(&w, ttl_ms);
    }
    json_object_end(&w);
    buf_append_u8(buf, '\n');
}
