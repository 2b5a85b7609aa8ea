/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/msg_internal.h"

/* ---- writing ------------------------------------------------------------ */

static void write_fixed(struct pack_fields *f, const struct msg_field *field, const uint8_t *at)
{
    bool is_zero = true;
    for (uint64_t i = 0; i < field->limit; i++)
        is_zero = is_zero && at[i] == 0;
    if (!is_zero)
        pack_field_bin(f, field->key, slice_of(at, field->limit));
}

static void write_uint(struct pack_fields *f, const struct msg_field *field, uint64_t v)
{
    ASSERT(field->limit == 0 || v <= field->limit);
    pack_field_uint(f, field->key, v);
}

static void write_field(struct pack_fields *f, const struct msg_field *field, const void *at)
{
    const struct slice *bytes = at;
    switch (field->type) {
    case MSG_U64:
        write_uint(f, field, *(const uint64_t *)at);
        break;
    case MSG_U32:
        write_uint(f, field, *(const uint32_t *)at);
        break;
    case MSG_U16:
        write_uint(f, field, *(const uint16_t *)at);
        break;
    case MSG_U8:
        write_uint(f, field, *(const uint8_t *)at);
        break;
    case MSG_ENUM:
        write_uint(f, field, *(const unsigned *)at);
        break;
    case MSG_BOOL:
        pack_field_bool(f, field->key, *(const bool *)at);
        break;
    case MSG_CODE:
        ASSERT(*(const int *)at <= 0);
        pack_field_int(f, field->key, *(const int *)at);
        break;
    case MSG_BIN:
        ASSERT(bytes->len <= field->limit);
        pack_field_bin(f, field->key, *bytes);
        break;
    case MSG_TEXT:
        pack_field_str(f, field->key, slice_of(bytes->data, MIN(bytes->len, field->limit)));
        break;
    case MSG_FIXED:
        write_fixed(f, field, at);
        break;
    case MSG_LIST:
        ASSERT(((const struct pack_list *)at)->count <= field->limit);
        pack_field_list(f, field->key, at);
        break;
    }
}

void msg_write_fields(struct pack_fields *fields, const struct msg_table *table, const void *from)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct msg_field *field = &table->fields[i];
        write_field(fields, field, (const uint8_t *)from + field->offset);
    }
}

struct pack_fields msg_write_begin(struct buf *buf, enum msg_kind kind)
{
    struct pack_fields fields = pack_fields_begin(buf);
    pack_field_uint(&fields, MSG_FIELD_KIND, kind);
    return fields;
}

void msg_write(struct buf *buf, enum msg_kind kind, const struct msg_table *table, const void *from)
{
    struct pack_fields fields = msg_write_begin(buf, kind);
    msg_write_fields(&fields, table, from);
    pack_fields_end(&fields);
}

/* ---- reading ------------------------------------------------------------ */

static int read_code(struct unpack *u)
{
    int64_t code = unpack_int(u);
    if (code <= 0 && code >= STATUS_MIN)
        return (int)code;
    u->bad = true;
    return 0;
}

static void read_field(struct unpack *u, const struct msg_field *field, void *at)
{
    uint64_t limit = field->limit == 0 ? UINT64_MAX : field->limit;
    switch (field->type) {
    case MSG_U64:
        *(uint64_t *)at = unpack_uint_max(u, limit);
        break;
    case MSG_U32:
        *(uint32_t *)at = (uint32_t)unpack_uint_max(u, MIN(limit, UINT32_MAX));
        break;
    case MSG_U16:
        *(uint16_t *)at = (uint16_t)unpack_uint_max(u, MIN(limit, UINT16_MAX));
        break;
    case MSG_U8:
        *(uint8_t *)at = (uint8_t)unpack_uint_max(u, MIN(limit, UINT8_MAX));
        break;
    case MSG_ENUM:
        *(unsigned *)at = (unsigned)unpack_uint_max(u, field->limit);
        break;
    case MSG_BOOL:
        *(bool *)at = unpack_bool(u);
        break;
    case MSG_CODE:
        *(int *)at = read_code(u);
        break;
    case MSG_BIN:
        *(struct slice *)at = unpack_bin_max(u, field->limit);
        break;
    case MSG_TEXT:
        *(struct slice *)at = unpack_str_max(u, field->limit);
        break;
    case MSG_FIXED:
        unpack_bin_exact(u, at, field->limit);
        break;
    case MSG_LIST:
        *(struct pack_list *)at = unpack_list(u, (uint32_t)field->limit);
        break;
    }
}

/* Most tables have their keys from 1 on without a gap. */
static const struct msg_field *table_find(const struct msg_table *table, uint64_t key)
{
    if (key - 1 < table->count && table->fields[key - 1].key == key)
        return &table->fields[key - 1];
    for (size_t i = 0; i < table->count; i++) {
        if (table->fields[i].key == key)
            return &table->fields[i];
    }
    return NULL;
}

void msg_read_field(struct unpack *u, uint64_t key, const struct msg_table *table, void *into)
{
    const struct msg_field *field = table_find(table, key);
    if (field != NULL)
        read_field(u, field, (uint8_t *)into + field->offset);
    else
        unpack_skip(u);
}

void msg_read_map(struct unpack *u, const struct msg_table *table, void *into)
{
    uint64_t seen = 0;
    uint32_t pairs = unpack_map(u);
    for (uint32_t i = 0; i < pairs && !u->bad; i++)
        msg_read_field(u, unpack_key(u, &seen), table, into);
}

uint32_t msg_read_begin(struct unpack *u, struct slice body, uint32_t *ret_pairs)
{
    *u = unpack_of(body);
    uint32_t pairs = unpack_map(u);
    uint64_t key = unpack_uint(u);
    uint64_t kind = unpack_uint_max(u, UINT32_MAX);
    if (u->bad || pairs == 0 || key != MSG_FIELD_KIND) {
        u->bad = true;
        *ret_pairs = 0;
        return 0;
    }
    *ret_pairs = pairs - 1;
    return (uint32_t)kind;
}

int msg_read(struct slice body, enum msg_kind kind, const struct msg_table *table, void *into,
             struct err *err)
{
    struct unpack u;
    uint32_t pairs;
    uint32_t found = msg_read_begin(&u, body, &pairs);
    if (!u.bad && found != kind)
        return err_set(err, ERR_CORRUPT, "%s where %s was due", msg_kind_name(found), table->name);
    uint64_t seen = BIT(MSG_FIELD_KIND);
    for (uint32_t i = 0; i < pairs && !u.bad; i++)
        msg_read_field(&u, unpack_key(&u, &seen), table, into);
    return unpack_finish(&u, table->name, err);
}

struct slice msg_read_raw(struct unpack *u)
{
    const uint8_t *start = u->pos;
    unpack_skip(u);
    return u->bad ? (struct slice){0} : slice_of(start, (size_t)(u->pos - start));
}
