/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/block_writer.h"

#include <lz4.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/plant.h"
#include "lsm/disk.h"

/* A write of so many bytes that begins at a multiple of them has one folio in the page cache:
 * whoever reads there again finds it in fewer steps than 64 pages. */
enum { WRITE_BYTES = 256 << 10, OUT_MAX = 1 << 30 };

int block_writer_open(struct block_writer *w, struct env *env, const char *path,
                      bool no_compression, struct err *err)
{
    ASSERT(strlen(path) < ENV_PATH_MAX);
    struct env_file *file = NULL;
    int rv =
        env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, err);
    if (rv != 0)
        return rv;
    *w = (struct block_writer){.env = env, .file = file, .no_compression = no_compression};
    memcpy(w->path, path, strlen(path) + 1);
    buf_init(&w->out, OUT_MAX);
    buf_init(&w->scratch, OUT_MAX);
    return 0;
}

/* Write `len` bytes of what waits, and send them to the disk at once: a whole file that went
 * with the last sync would hold up the log's syncs behind it for as long. */
static int flush_out(struct block_writer *w, size_t len, struct err *err)
{
    if (w->out.failed)
        return err_set(err, ERR_NOMEM, "write buffer of '%s'", w->path);
    ASSERT(len <= w->out.len);
    if (len == 0)
        return 0;
    int rv = env_file_write(w->file, w->written, w->out.data, len, err);
    if (rv != 0)
        return rv;
    w->crc = crc32c(w->crc, w->out.data, len);
    if (len >= WRITE_BYTES)
        rv = disk_write_back(w->env, w->file, w->path, w->written, len, err);
    w->written += len;
    w->out.len -= len;
    memmove(w->out.data, w->out.data + len, w->out.len);
    return rv;
}

/* LZ4 unless that saves less than an eighth. */
static struct slice compress(struct block_writer *w, struct slice plain, uint8_t *ret_type)
{
    *ret_type = TABLE_BLOCK_PLAIN;
    if (w->no_compression || plain.len > LZ4_MAX_INPUT_SIZE)
        return plain;
    int bound = LZ4_compressBound((int)plain.len);
    buf_clear(&w->scratch);
    uint8_t *p = buf_extend(&w->scratch, (size_t)bound + 4);
    if (p == NULL)
        return plain;
    put_u32(p, (uint32_t)plain.len);
    int n = LZ4_compress_default((const char *)plain.data, (char *)p + 4, (int)plain.len, bound);
    if (n <= 0 || (size_t)n + 4 > plain.len - plain.len / 8)
        return plain;
    *ret_type = TABLE_BLOCK_LZ4;
    return slice_of(p, (size_t)n + 4);
}

int block_writer_add(struct block_writer *w, struct slice plain, bool may_compress,
                     struct table_handle *ret_handle, struct err *err)
{
    uint8_t type = TABLE_BLOCK_PLAIN;
    struct slice payload = may_compress ? compress(w, plain, &type) : plain;
    ASSERT(payload.len <= UINT32_MAX);
    struct table_handle handle = {.offset = block_writer_offset(w), .len = (uint32_t)payload.len};
    uint8_t *p = buf_extend(&w->out, payload.len + TABLE_BLOCK_TAIL);
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "block of %zu bytes", payload.len);
    if (payload.len > 0)
        memcpy(p, payload.data, payload.len);
    p[payload.len] = type;
    put_u32(p + payload.len + 1, table_block_crc(p, payload.len + 1, handle.offset));
    *ret_handle = handle;
    return flush_out(w, w->out.len - w->out.len % WRITE_BYTES, err);
}

int block_writer_raw(struct block_writer *w, struct slice bytes, struct err *err)
{
    buf_append_slice(&w->out, bytes);
    return w->out.failed ? err_set(err, ERR_NOMEM, "write buffer of '%s'", w->path) : 0;
}

int block_writer_finish(struct block_writer *w, struct err *err)
{
    ASSERT(!w->is_finished);
    int rv = flush_out(w, w->out.len, err);
    if (rv == 0 && !PLANTED(table_not_synced))
        rv = disk_sync(w->env, w->file, w->path, err);
    w->is_finished = rv == 0;
    return rv;
}

void block_writer_fini(struct block_writer *w, bool keep)
{
    if (w->env == NULL)
        return;
    env_file_close(w->file);
    if (!w->is_finished && !keep)
        env_file_unlink(w->env, w->path, NULL); /* the next open would remove it */
    buf_fini(&w->out);
    buf_fini(&w->scratch);
    *w = (struct block_writer){0};
}
