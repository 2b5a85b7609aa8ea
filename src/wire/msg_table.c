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

static inline uint64_t number_at(enum msg_type type, const void *at)
{
    switch (type) {
    case MSG_U64:
        return *(const uint64_t *)at;
    case MSG_U32:
        return *(const uint32_t *)at;
    case MSG_U16:
        return *(const uint16_t *)at;
    case MSG_U8:
        return *(const uint8_t *)at;
    default:
        ASSERT(type == MSG_ENUM);
        return *(const unsigned *)at;
    }
}

static inline void write_other(struct pack_fields *f, const struct msg_field *field, const void *at)
{
    const struct slice *bytes = at;
    switch (field->type) {
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
    default:
        ASSERT(false); /* numbers are written by themselves */
    }
}

void msg_write_fields(struct pack_fields *fields, const struct msg_table *table, const void *from)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct msg_field *field = &table->fields[i];
        const void *at = (const uint8_t *)from + field->offset;
        if (field->type > MSG_NUMBER_LAST) {
            write_other(fields, field, at);
            continue;
        }
        uint64_t v = number_at(field->type, at);
        ASSERT(field->limit == 0 || v <= field->limit);
        pack_field_uint(fields, field->key, v);
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

/* Into a number of that type, or it is bad: too large for it. */
static inline void number_to(struct unpack *u, const struct msg_field *field, uint64_t v, void *at)
{
    static const uint64_t greatest[] = {[MSG_U64] = UINT64_MAX,
                                        [MSG_U32] = UINT32_MAX,
                                        [MSG_U16] = UINT16_MAX,
                                        [MSG_U8] = UINT8_MAX,
                                        [MSG_ENUM] = 0};
    if (v > (field->limit != 0 ? field->limit : greatest[field->type])) {
        u->bad = true;
        return;
    }
    switch (field->type) {
    case MSG_U64:
        *(uint64_t *)at = v;
        break;
    case MSG_U32:
        *(uint32_t *)at = (uint32_t)v;
        break;
    case MSG_U16:
        *(uint16_t *)at = (uint16_t)v;
        break;
    case MSG_U8:
        *(uint8_t *)at = (uint8_t)v;
        break;
    default:
        ASSERT(field->type == MSG_ENUM);
        *(unsigned *)at = (unsigned)v;
    }
}

static inline void read_other(struct unpack *u, const struct msg_field *field, void *at)
{
    switch (field->type) {
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
    default:
        ASSERT(false); /* numbers are read by themselves */
    }
}

static inline void read_field(struct unpack *u, const struct msg_field *field, void *into)
{
    void *at = (uint8_t *)into + field->offset;
    if (field->type <= MSG_NUMBER_LAST)
        number_to(u, field, unpack_uint(u), at);
    else
        read_other(u, field, at);
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

bool msg_read_fields(struct unpack *u, struct msg_pairs *pairs, const struct msg_table *table,
                     void *into, uint64_t *ret_key)
{
    while (pairs->left > 0 && !u->bad) {
        pairs->left--;
        *ret_key = unpack_key(u, &pairs->seen);
        const struct msg_field *field = table_find(table, *ret_key);
        if (field == NULL)
            return !u->bad;
        read_field(u, field, into);
    }
    return false;
}

void msg_read_map(struct unpack *u, const struct msg_table *table, void *into)
{
    uint64_t key;
    struct msg_pairs pairs = msg_pairs_begin(u);
    while (msg_read_fields(u, &pairs, table, into, &key))
        unpack_skip(u);
}

uint32_t msg_read_begin(struct unpack *u, struct slice body, struct msg_pairs *ret_pairs)
{
    *u = unpack_of(body);
    uint32_t pairs = unpack_map(u);
    uint64_t key = unpack_uint(u);
    uint64_t kind = unpack_uint_max(u, UINT32_MAX);
    *ret_pairs = (struct msg_pairs){.seen = BIT(MSG_FIELD_KIND)};
    if (u->bad || pairs == 0 || key != MSG_FIELD_KIND) {
        u->bad = true;
        return 0;
    }
    ret_pairs->left = pairs - 1;
    return (uint32_t)kind;
}

int msg_read(struct slice body, enum msg_kind kind, const struct msg_table *table, void *into,
             struct err *err)
{
    struct unpack u;
    uint64_t key;
    struct msg_pairs pairs;
    uint32_t found = msg_read_begin(&u, body, &pairs);
    if (!u.bad && found != kind)
        return err_set(err, ERR_CORRUPT, "%s where %s was due", msg_kind_name(found), table->name);
    while (msg_read_fields(&u, &pairs, table, into, &key))
        unpack_skip(&u);
    return unpack_finish(&u, table->name, err);
}

struct slice msg_read_raw(struct unpack *u)
{
    const uint8_t *start = u->pos;
    unpack_skip(u);
    return u->bad ? (struct slice){0} : slice_of(start, (size_t)(u->pos - start));
}
