/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing through: a batch goes to the disk past the page cache, in whole blocks, written and
 * made durable by one call.
 *
 *   the last one ended here ─┐              ┌─ this one ends here
 *   file      │ … old bytes  ▼ new … │ … new ▼ zeroes  │
 *   parts     │ tail's block         │ chunk │ a block │
 *
 * The block that the batch begins in is written once more, with the same bytes in front: a disk
 * that tears it between sectors leaves old or new, which are the same there. Behind its end are
 * zeroes, where else would be what is left of an older use of the file.
 *
 * A small batch is given to the disk by the loop (through_start()), a large one written by the
 * log's thread (through_write()), as is one that could not be given.
 *
 * It needs to know what stands in the first block. After a restart it does not, until a batch
 * has filled a block; until then, and for whatever does not fit, there are a write and a sync.
 */
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/plant.h"
#include "raftlog/internal.h"

static void block_fill(uint8_t *block, size_t from, const uint8_t *data, size_t len)
{
    memcpy(block + from, data, len);
    memset(block + from + len, 0, ENV_BLOCK - from - len);
}

/* The parts of a flight; 0 if it cannot go this way. Its first and last block are made. */
static size_t through_parts(struct flight *f, struct slice parts[ENV_PARTS_MAX])
{
    struct through *t = &f->through;
    size_t skip = f->offset % ENV_BLOCK, left = f->len, count = 0;
    const uint8_t *data = f->data;
    if (skip > 0 && (t->file != f->file || t->end != f->offset))
        return 0;
    if (f->offset + f->len > f->file_size / ENV_BLOCK * ENV_BLOCK)
        return 0;
    if (skip > 0) {
        size_t n = MIN(left, ENV_BLOCK - skip);
        uint32_t crc = crc32c(0, t->tail, skip);
        ASSERT(crc == t->crc); /* else what is durable would be written over with something else */
        block_fill(t->tail, skip, data, n);
        parts[count++] = slice_of(t->tail, ENV_BLOCK);
        data += n;
        left -= n;
    }
    size_t whole = left - left % ENV_BLOCK;
    if (whole > 0 && (uintptr_t)data % ENV_BLOCK != 0)
        return 0; /* a chunk that begins elsewhere */
    if (whole > 0)
        parts[count++] = slice_of(data, whole);
    data += whole;
    left -= whole;
    if (left > 0) {
        block_fill(t->last, 0, data, left);
        parts[count++] = slice_of(t->last, ENV_BLOCK);
    }
    return count;
}

void through_note(struct flight *f)
{
    struct through *t = &f->through;
    if (t->tail == NULL)
        return; /* nothing goes this way */
    uint64_t end = f->offset + f->len;
    size_t tail = end % ENV_BLOCK;
    bool is_known = t->file == f->file && t->end == f->offset;
    if (tail <= f->len) { /* all of it came with this flight */
        block_fill(t->tail, 0, f->data + f->len - tail, tail);
    } else if (is_known || f->offset % ENV_BLOCK == 0) {
        block_fill(t->tail, f->offset % ENV_BLOCK, f->data, f->len);
    } else {
        t->file = NULL;
        return;
    }
    t->file = f->file;
    t->end = end;
    t->crc = crc32c(0, t->tail, tail);
}

/* As through_parts(); 0 also where nothing may go this way. */
static size_t through_prepare(struct raftlog *log, struct flight *f,
                              struct slice parts[ENV_PARTS_MAX])
{
    struct through *t = &f->through;
    if (log->options.no_zeroing || PLANTED(ack_before_sync) || PLANTED(sync_tried_again))
        return 0;
    if (t->tail == NULL) {
        t->tail = log_blocks(log, 2 * (size_t)ENV_BLOCK);
        t->last = t->tail + ENV_BLOCK;
    }
    return through_parts(f, parts);
}

int through_start(struct raftlog *log, struct flight *f)
{
    struct slice parts[ENV_PARTS_MAX];
    if (f->len > LOG_START_BYTES_MAX)
        return ERR_UNSUPPORTED;
    size_t count = through_prepare(log, f, parts);
    if (count == 0)
        return ERR_UNSUPPORTED;
    return env_file_write_start(f->file, f->offset - f->offset % ENV_BLOCK, parts, count,
                                &f->write);
}

int through_write(struct raftlog *log, struct flight *f)
{
    struct slice parts[ENV_PARTS_MAX];
    int rv = ERR_UNSUPPORTED;
    size_t count = through_prepare(log, f, parts);
    if (count > 0)
        rv = env_file_write_through(f->file, f->offset - f->offset % ENV_BLOCK, parts, count,
                                    &f->err);
    if (rv == ERR_UNSUPPORTED) {
        rv = env_file_write(f->file, f->offset, f->data, f->len, &f->err);
        if (rv == 0 && !PLANTED(ack_before_sync))
            rv = env_file_sync(f->file, &f->err);
        if (rv == ERR_IO && PLANTED(sync_tried_again))
            rv = env_file_sync(f->file, &f->err);
    }
    return rv;
}

void through_fini(struct through *t)
{
    free(t->tail);
    *t = (struct through){0};
}
