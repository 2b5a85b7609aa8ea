/* SPDX-License-Identifier: Apache-2.0
 *
 * block — a sorted run of (encoded key, value) pairs: data and index blocks alike.
 *
 *   entry*    shared varint | unshared varint | value_len varint | key tail | value
 *   restarts  u32 offset of each entry with shared == 0, every `restart_every`-th
 *   count     u32 number of restarts
 *
 * Keys are encoded keys (entry.h), strictly or weakly ascending by ikey_compare().
 *
 * Errors  a block passed its checksum before it comes here; still every length is
 *         compared before use, and a block that cannot be is ERR_CORRUPT.
 */
#ifndef LSM_BLOCK_H_
#define LSM_BLOCK_H_

#include "lsm/entry.h"

struct block_builder {
    struct buf buf;
    struct buf restarts; /* u32 each */
    struct buf last_key;
    unsigned restart_every;
    unsigned since_restart;
    size_t count; /* entries in the block under construction */
};

/* An empty block; a key in full after every `restart_every` entries. */
void block_builder_init(struct block_builder *b, unsigned restart_every);
/* Frees what it holds; accepts zeroes. */
void block_builder_fini(struct block_builder *b);

/* Append; `ikey` must not sort before the last one (asserted). */
void block_builder_add(struct block_builder *b, struct slice ikey, struct slice head,
                       struct slice value);

/* Bytes that finish would return now. */
size_t block_builder_bytes(const struct block_builder *b);

/* Complete the block: 0 and its bytes, borrowed until the next reset; or ERR_NOMEM. */
int block_builder_finish(struct block_builder *b, struct slice *ret_block);
void block_builder_reset(struct block_builder *b);

enum { BLOCK_KEY_INLINE = 120 };

/* Walks one block. Caller's memory; the block's bytes must outlive it. After a move
 * `is_valid` or not; `status` is sticky. Both directions freely. */
struct block_iter {
    struct slice entries;
    const uint8_t *restarts;
    uint32_t restart_count;
    uint32_t restart; /* the run that `offset` is in */
    size_t offset;    /* of the present entry */
    size_t next_offset;
    uint32_t shared; /* bytes that the key has from the entry before; 0 at a restart */
    uint8_t *key;    /* inline_key, or malloc()ed */
    size_t key_len;
    size_t key_cap;
    struct slice value;
    bool is_valid;
    int status; /* 0; ERR_CORRUPT; ERR_NOMEM: no room for a long key, which says nothing of the
                   block */
    uint8_t inline_key[BLOCK_KEY_INLINE];
};

/* ERR_CORRUPT if the frame of the block is not sane. Call block_iter_fini() even so. */
int block_iter_init(struct block_iter *it, struct slice block);

/* Accepts zeroes. */
void block_iter_fini(struct block_iter *it);

/* Move; block_iter_key() tells where it stands, and whether there is anything. */
void block_iter_first(struct block_iter *it);
void block_iter_last(struct block_iter *it);
void block_iter_seek(struct block_iter *it, struct slice key, uint64_t version); /* first >= */
/* One entry on, or back. From a valid position only. */
void block_iter_next(struct block_iter *it);
void block_iter_prev(struct block_iter *it);

static inline struct slice block_iter_key(const struct block_iter *it)
{
    return slice_of(it->key, it->key_len);
}

#endif
