/* SPDX-License-Identifier: Apache-2.0
 *
 * block_writer — a file that grows by checked blocks (table_format.h), written in large
 * pieces that go to the disk as they come: what tables and value files are made with.
 *
 *   open ─▶ add* ─▶ raw (the footer) ─▶ finish: synced ─▶ fini
 *
 * Threads    one at a time; blocking.
 * Errors     ERR_NO_SPACE, ERR_IO, ERR_NOMEM: only fini is left. DISK_FATAL.
 */
#ifndef LSM_BLOCK_WRITER_H_
#define LSM_BLOCK_WRITER_H_

#include "base/err.h"
#include "env/env.h"
#include "lsm/table_format.h"

struct block_writer {
    struct env *env;
    struct env_file *file;
    char path[ENV_PATH_MAX];
    bool no_compression;
    struct buf out; /* bytes that wait to be written at `written` */
    uint64_t written;
    uint32_t crc;       /* crc32c of what is written */
    struct buf scratch; /* a compressed block */
    size_t piece;       /* bytes of one write, before the last */
    uint8_t *past;      /* a piece, to write past the page cache from; owned, NULL: not so */
    bool is_finished;
};

/* Make the file `path`. On failure there is nothing to fini. */
int block_writer_open(struct block_writer *w, struct env *env, const char *path,
                      bool no_compression, struct err *err);

/* Write past the page cache from here on, where the file can, for a file of about `file_bytes`:
 * what is large and hardly read soon would fill memory with copies, each page of which has to be
 * found first. Before the first block; without memory nothing changes. */
void block_writer_go_past(struct block_writer *w, uint64_t file_bytes);

/* Append one block: LZ4, if that may be and saves an eighth. */
int block_writer_add(struct block_writer *w, struct slice plain, bool may_compress,
                     struct table_handle *ret_handle, struct err *err);

/* Append bytes as they are. */
int block_writer_raw(struct block_writer *w, struct slice bytes, struct err *err);

/* Where the next block begins: bytes of the file so far. */
static inline uint64_t block_writer_offset(const struct block_writer *w)
{
    return w->written + w->out.len;
}

/* Write what waits, and sync. The file's name is not synced: sync the folder. */
int block_writer_finish(struct block_writer *w, struct err *err);

/* Close. Unless finished, the file is removed, if not `keep`. Accepts zeroes. */
void block_writer_fini(struct block_writer *w, bool keep);

#endif
