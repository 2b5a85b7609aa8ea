/* SPDX-License-Identifier: Apache-2.0
 *
 * entry — one record of the tree, its order and its encoding in blocks.
 *
 *   encoded key    key bytes | ~version, 8 bytes big-endian
 *   encoded value  kind (1 byte) | expiry u64 (only ENTRY_PUT_EXPIRES) | value
 *
 * With ENTRY_IS_REF in the kind, the value stands in a value file (values.h), and what is
 * here is where: ENTRY_REF_BYTES bytes.
 *
 * Order   key ascending (bytes, a prefix first), then version descending. Encoded
 *         keys cannot be compared as plain bytes: use ikey_compare().
 */
#ifndef LSM_ENTRY_H_
#define LSM_ENTRY_H_

#include "base/base.h"
#include "base/buf.h"
#include "base/coding.h"

enum entry_kind { ENTRY_DELETE = 0, ENTRY_PUT = 1, ENTRY_PUT_EXPIRES = 2 };
enum { IKEY_TRAILER = 8, ENTRY_HEAD_MAX = 9, ENTRY_IS_REF = 0x10, ENTRY_REF_BYTES = 24 };

struct entry {
    struct slice key;
    uint64_t version;
    uint64_t expiry_ms; /* not 0 iff kind is ENTRY_PUT_EXPIRES */
    struct slice value;
    enum entry_kind kind;
    bool is_ref; /* `value` is a reference (never in memtables and batches) */
};

/* Negative, 0, positive: where (a, va) stands against (b, vb). */
static inline int entry_compare(struct slice a, uint64_t va, struct slice b, uint64_t vb)
{
    int c = slice_compare(a, b);
    return c != 0 ? c : (va < vb) - (va > vb);
}

/* Keys that begin with a zero byte are the owner's own: a few records that are written with
 * every memtable. They never share a file with others, whose files then need not overlap. */
static inline bool key_is_local(struct slice key)
{
    return key.len > 0 && key.data[0] == 0;
}

/* Append the encoded key. */
static inline void ikey_append(struct buf *buf, struct slice key, uint64_t version)
{
    uint8_t *p = buf_extend(buf, key.len + IKEY_TRAILER);
    if (p == NULL)
        return;
    if (key.len > 0)
        memcpy(p, key.data, key.len);
    put_u64be(p + key.len, ~version);
}

/* An encoded key needs a trailer and at least one byte in front. */
static inline bool ikey_is_sane(struct slice ikey)
{
    return ikey.len > IKEY_TRAILER;
}

static inline struct slice ikey_key(struct slice ikey)
{
    return slice_of(ikey.data, ikey.len - IKEY_TRAILER);
}

static inline uint64_t ikey_version(struct slice ikey)
{
    return ~get_u64be(ikey.data + ikey.len - IKEY_TRAILER);
}

/* Order of two sane encoded keys. */
static inline int ikey_compare(struct slice a, struct slice b)
{
    int c = slice_compare(ikey_key(a), ikey_key(b));
    if (c != 0)
        return c;
    return memcmp(a.data + a.len - IKEY_TRAILER, b.data + b.len - IKEY_TRAILER, IKEY_TRAILER);
}

/* The bytes in front of the value: kind and, if there is one, expiry. */
static inline size_t entry_encode_head(const struct entry *e, uint8_t out[ENTRY_HEAD_MAX])
{
    out[0] = (uint8_t)((unsigned)e->kind | (e->is_ref ? ENTRY_IS_REF : 0u));
    if (e->kind != ENTRY_PUT_EXPIRES)
        return 1;
    put_u64(out + 1, e->expiry_ms);
    return ENTRY_HEAD_MAX;
}

/* Both halves as found in a block; false if they cannot be an entry. */
static inline bool entry_decode(struct slice ikey, struct slice raw, struct entry *ret_entry)
{
    if (!ikey_is_sane(ikey) || raw.len < 1)
        return false;
    bool is_ref = (raw.data[0] & ENTRY_IS_REF) != 0;
    unsigned kind = raw.data[0] & ~(unsigned)ENTRY_IS_REF;
    size_t head = kind == ENTRY_PUT_EXPIRES ? ENTRY_HEAD_MAX : 1;
    if (kind > ENTRY_PUT_EXPIRES || raw.len < head || (kind == ENTRY_DELETE && raw.len != 1) ||
        (is_ref && raw.len != head + ENTRY_REF_BYTES))
        return false;
    uint64_t expiry_ms = head > 1 ? get_u64(raw.data + 1) : 0;
    if (head > 1 && expiry_ms == 0)
        return false;
    *ret_entry = (struct entry){
        .key = ikey_key(ikey),
        .version = ikey_version(ikey),
        .expiry_ms = expiry_ms,
        .value = slice_of(raw.data + head, raw.len - head),
        .kind = (enum entry_kind)kind,
        .is_ref = is_ref,
    };
    return true;
}

#endif
