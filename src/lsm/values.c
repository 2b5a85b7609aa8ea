/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/values.h"

#include "base/coding.h"
#include "lsm/lsm.h"
#include "lsm/table_read.h"
#include "lsm/version.h"

void value_ref_encode(const struct value_ref *ref, uint8_t out[ENTRY_REF_BYTES])
{
    put_u64(out, ref->file);
    put_u64(out + 8, ref->at.offset);
    put_u32(out + 16, ref->at.len);
    put_u32(out + 20, ref->size);
}

struct value_ref value_ref_decode(struct slice raw)
{
    ASSERT(raw.len == ENTRY_REF_BYTES);
    return (struct value_ref){
        .file = get_u64(raw.data),
        .at = {.offset = get_u64(raw.data + 8), .len = get_u32(raw.data + 16)},
        .size = get_u32(raw.data + 20),
    };
}

/* ---- reading ------------------------------------------------------------ */

int values_get(const struct version *v, struct slice raw_ref, unsigned flags,
               struct block **ret_block, struct err *err)
{
    struct value_ref ref = value_ref_decode(raw_ref);
    const struct piece *p = version_find_file(v, ref.file);
    struct block *block = NULL;
    if (p == NULL)
        return err_set(err, ERR_CORRUPT, "value file '%06llu.val' is missing (block at %llu)",
                       (unsigned long long)ref.file, (unsigned long long)ref.at.offset);
    int rv = table_block(p->table, ref.at, flags, &block, err);
    if (rv == 0 && block->len != ref.size) {
        block_unref(block);
        return table_bad_block(p->table, ref.at.offset, "not of the size that was asked for", err);
    }
    if (rv == 0)
        *ret_block = block;
    return rv;
}

bool values_walk(struct values_walk *w)
{
    struct reader r = reader_of(w->raw);
    if (r.left == 0)
        return false;
    uint64_t len = read_varint(&r);
    uint64_t room = w->size - MIN(w->size, w->next);
    w->is_bad =
        r.bad || len > UINT32_MAX || room < TABLE_BLOCK_TAIL || len > room - TABLE_BLOCK_TAIL;
    if (w->is_bad)
        return false;
    w->at = (struct table_handle){.offset = w->next, .len = (uint32_t)len};
    w->next += len + TABLE_BLOCK_TAIL;
    w->raw = slice_of(w->raw.data + (w->raw.len - r.left), r.left);
    return true;
}

/* ---- writing ------------------------------------------------------------ */

int value_builder_open(struct value_builder *b, struct env *env, const char *dir, uint64_t number,
                       uint64_t bytes, bool no_compression, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct block_writer writer;
    int rv = disk_path(dir, DISK_VALUES, number, path);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", dir);
    rv = block_writer_open(&writer, env, path, no_compression, err);
    if (rv != 0)
        return err_wrap(err, rv, "build '%s'", path);
    block_writer_go_past(&writer, bytes);
    *b = (struct value_builder){.writer = writer, .number = number};
    buf_init(&b->directory, VALUES_DIRECTORY_BYTES + VARINT_MAX);
    return 0;
}

static void value_note_try(struct value_builder *b, bool is_tried, bool has_shrunk)
{
    if (!is_tried) {
        b->untried--;
        return;
    }
    b->next = has_shrunk ? 0 : MIN(2 * b->next + 1, (uint32_t)VALUES_UNTRIED_MAX);
    b->untried = b->next;
}

int value_builder_add(struct value_builder *b, struct slice value, struct value_ref *ret_ref,
                      struct err *err)
{
    struct value_ref ref = {.file = b->number, .size = (uint32_t)value.len};
    ASSERT(value.len <= LSM_VALUE_MAX);
    bool is_tried = b->untried == 0;
    int rv = block_writer_add(&b->writer, value, is_tried, &ref.at, err);
    if (rv != 0)
        return rv;
    value_note_try(b, is_tried, ref.at.len < value.len);
    buf_append_varint(&b->directory, ref.at.len);
    b->records++;
    *ret_ref = ref;
    return b->directory.failed ? err_set(err, ERR_NOMEM, "directory of values") : 0;
}

bool value_builder_is_full(const struct value_builder *b, uint64_t bytes_max)
{
    return value_builder_bytes(b) >= bytes_max || b->directory.len >= VALUES_DIRECTORY_BYTES;
}

int value_builder_finish(struct value_builder *b, struct value_info *ret_info, struct err *err)
{
    struct table_footer footer = {.is_values = true};
    uint8_t raw[TABLE_FOOTER];
    uint64_t bytes = value_builder_bytes(b);
    ASSERT(b->records > 0);
    int rv = block_writer_add(&b->writer, buf_slice(&b->directory), true, &footer.top, err);
    table_footer_encode(&footer, raw);
    if (rv == 0)
        rv = block_writer_raw(&b->writer, slice_of(raw, sizeof raw), err);
    if (rv == 0)
        rv = block_writer_finish(&b->writer, err);
    if (rv == 0)
        *ret_info = (struct value_info){
            .number = b->number,
            .size = b->writer.written,
            .crc = b->writer.crc,
            .bytes = bytes,
            .records = b->records,
        };
    return rv;
}

void value_builder_fini(struct value_builder *b, bool keep)
{
    block_writer_fini(&b->writer, keep);
    buf_fini(&b->directory);
    *b = (struct value_builder){0};
}

int values_open_piece(struct env *env, struct cache *cache, const char *dir,
                      const struct value_info *info, struct piece **ret_piece, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct piece *p = version_file_piece();
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "piece");
    p->id = p->file = info->number;
    p->file_size = info->size;
    p->file_crc = info->crc;
    p->bytes = info->bytes;
    p->records = info->records;
    int rv = disk_path(dir, DISK_VALUES, info->number, path);
    ASSERT(rv == 0);
    rv = table_open_values(&p->table, env, cache, path, info->number, info->size, err);
    if (rv == 0 && p->table->damage[0] != 0)
        rv = err_set(err, ERR_CORRUPT, "value file '%s' just written: %s", path, p->table->damage);
    if (rv == 0)
        *ret_piece = p;
    else
        piece_unref(p);
    return rv;
}
