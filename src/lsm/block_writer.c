/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/block_writer.h"

#include <lz4.h>
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/plant.h"
#include "lsm/disk.h"

/* A write of so many bytes that begins at a multiple of them has one folio in the page cache:
 * whoever reads there again finds it in fewer steps than 64 pages. */
enum { WRITE_BYTES = 256 << 10, OUT_MAX = 1 << 30, PIECES = 16 /* of a small file, at least */ };

int block_writer_open(struct block_writer *w, struct env *env, const char *path,
                      bool no_compression, struct err *err)
{
    ASSERT(strlen(path) < ENV_PATH_MAX);
    struct env_file *file = NULL;
    int rv =
        env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, err);
    if (rv != 0)
        return rv;
    *w = (struct block_writer){
        .env = env, .file = file, .no_compression = no_compression, .piece = WRITE_BYTES};
    memcpy(w->path, path, strlen(path) + 1);
    buf_init(&w->out, OUT_MAX);
    buf_init(&w->scratch, OUT_MAX);
    return 0;
}

void block_writer_go_past(struct block_writer *w, uint64_t file_bytes)
{
    ASSERT(w->written == 0 && w->out.len == 0);
    ASSERT(w->past == NULL);
    size_t piece = (size_t)MIN(file_bytes / PIECES, (uint64_t)WRITE_BYTES);
    piece = MAX(piece / ENV_BLOCK * ENV_BLOCK, (size_t)ENV_BLOCK);
    w->past = aligned_alloc(ENV_BLOCK, piece);
    if (w->past != NULL)
        w->piece = piece;
}

/* Write `len` bytes of what waits past the page cache. ERR_UNSUPPORTED: not all of it. */
static int write_past(struct block_writer *w, size_t len, struct err *err)
{
    ASSERT(len % w->piece == 0 && w->written % w->piece == 0);
    int rv = 0;
    for (size_t at = 0; rv == 0 && at < len; at += w->piece) {
        memcpy(w->past, w->out.data + at, w->piece);
        rv = env_file_write_past(w->file, w->written + at, w->past, w->piece, err);
    }
    if (rv != ERR_UNSUPPORTED)
        return rv;
    free(w->past);
    w->past = NULL;
    w->piece = WRITE_BYTES;
    return rv;
}

/* Write `len` bytes of what waits, and send them to the disk at once: a whole file that went
 * with the last sync would hold up the log's syncs behind it for as long. */
static int write_out(struct block_writer *w, size_t len, struct err *err)
{
    if (w->past != NULL && len % w->piece == 0) {
        int rv = write_past(w, len, err);
        if (rv != ERR_UNSUPPORTED)
            return rv;
    }
    int rv = env_file_write(w->file, w->written, w->out.data, len, err);
    if (rv == 0 && len >= w->piece)
        rv = disk_write_back(w->env, w->file, w->path, w->written, len, err);
    return rv;
}

/* What waits, `len` bytes of it. */
static int flush_out(struct block_writer *w, size_t len, struct err *err)
{
    if (w->out.failed)
        return err_set(err, ERR_NOMEM, "write buffer of '%s'", w->path);
    ASSERT(len <= w->out.len);
    if (len == 0)
        return 0;
    int rv = write_out(w, len, err);
    if (rv != 0)
        return rv;
    w->crc = crc32c(w->crc, w->out.data, len);
    w->written += len;
    w->out.len -= len;
    memmove(w->out.data, w->out.data + len, w->out.len);
    return 0;
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
    return flush_out(w, w->out.len - w->out.len % w->piece, err);
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
    free(w->past);
    *w = (struct block_writer){0};
}
