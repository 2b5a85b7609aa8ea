/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/batch.h"

#include "base/coding.h"

/* Kind, version, expiry, both lengths; then the key, then the value, or where it stands. */
enum {
    BATCH_HEAD = 1 + 8 + 8 + 4 + 4,
    BATCH_FAR = 0x80,     /* flag of the kind: a pointer is in the value's place */
    BATCH_FAR_MIN = 1024, /* bytes of a value that is worth one */
};

void lsm_batch_init(struct lsm_batch *batch)
{
    *batch = (struct lsm_batch){0};
    buf_init(&batch->buf, LSM_BATCH_BYTES_MAX);
}

void lsm_batch_fini(struct lsm_batch *batch)
{
    buf_fini(&batch->buf);
    batch->count = batch->borrowed = batch->far_bytes = 0;
}

void lsm_batch_clear(struct lsm_batch *batch)
{
    buf_clear(&batch->buf);
    batch->count = batch->borrowed = batch->far_bytes = 0;
}

/* Head and key. Returns the place of `more` bytes behind them; NULL when memory is out. */
static uint8_t *batch_add_head(struct lsm_batch *batch, uint8_t kind, struct slice key,
                               uint64_t version, size_t value_len, uint64_t expiry_ms, size_t more)
{
    ASSERT(key.len > 0);
    ASSERT(key.len <= LSM_KEY_MAX);
    ASSERT(value_len <= LSM_VALUE_MAX);
    uint8_t *p = buf_extend(&batch->buf, BATCH_HEAD + key.len + more);
    if (p == NULL)
        return NULL;
    p[0] = kind;
    put_u64(p + 1, version);
    put_u64(p + 9, expiry_ms);
    put_u32(p + 17, (uint32_t)key.len);
    put_u32(p + 21, (uint32_t)value_len);
    memcpy(p + BATCH_HEAD, key.data, key.len);
    batch->count++;
    return p + BATCH_HEAD + key.len;
}

static void batch_add(struct lsm_batch *batch, enum entry_kind kind, struct slice key,
                      uint64_t version, struct slice value, uint64_t expiry_ms)
{
    uint8_t *p =
        batch_add_head(batch, (uint8_t)kind, key, version, value.len, expiry_ms, value.len);
    if (p != NULL && value.len > 0)
        memcpy(p, value.data, value.len);
}

void lsm_batch_put(struct lsm_batch *batch, struct slice key, uint64_t version, struct slice value,
                   uint64_t expiry_ms)
{
    enum entry_kind kind = expiry_ms != 0 ? ENTRY_PUT_EXPIRES : ENTRY_PUT;
    batch_add(batch, kind, key, version, value, expiry_ms);
}

void lsm_batch_put_borrowed(struct lsm_batch *batch, struct slice key, uint64_t version,
                            struct slice value, uint64_t expiry_ms)
{
    enum entry_kind kind = expiry_ms != 0 ? ENTRY_PUT_EXPIRES : ENTRY_PUT;
    if (value.len < BATCH_FAR_MIN) {
        batch_add(batch, kind, key, version, value, expiry_ms);
        return;
    }
    uint8_t *p = batch_add_head(batch, (uint8_t)kind | BATCH_FAR, key, version, value.len,
                                expiry_ms, sizeof value.data);
    if (p == NULL)
        return;
    memcpy(p, &value.data, sizeof value.data);
    batch->borrowed++;
    batch->far_bytes += value.len;
}

void lsm_batch_delete(struct lsm_batch *batch, struct slice key, uint64_t version)
{
    batch_add(batch, ENTRY_DELETE, key, version, (struct slice){0}, 0);
}

bool lsm_batch_next(const struct lsm_batch *batch, size_t *pos, struct entry *ret_entry)
{
    ASSERT(*pos <= batch->buf.len);
    if (*pos == batch->buf.len)
        return false;
    ASSERT(batch->buf.len - *pos >= BATCH_HEAD);
    const uint8_t *p = batch->buf.data + *pos;
    size_t key_len = get_u32(p + 17);
    size_t value_len = get_u32(p + 21);
    bool is_far = (p[0] & BATCH_FAR) != 0;
    const uint8_t *value = p + BATCH_HEAD + key_len;
    size_t here = is_far ? sizeof value : value_len;
    ASSERT(batch->buf.len - *pos - BATCH_HEAD >= key_len + here);
    if (is_far)
        memcpy(&value, p + BATCH_HEAD + key_len, sizeof value);
    *ret_entry = (struct entry){
        .kind = (enum entry_kind)(p[0] & ~BATCH_FAR),
        .version = get_u64(p + 1),
        .expiry_ms = get_u64(p + 9),
        .key = slice_of(p + BATCH_HEAD, key_len),
        .value = slice_of(value, value_len),
    };
    *pos += BATCH_HEAD + key_len + here;
    return true;
}

size_t lsm_batch_bytes(const struct lsm_batch *batch)
{
    return batch->buf.len - batch->count * BATCH_HEAD - batch->borrowed * sizeof(const uint8_t *) +
           batch->far_bytes;
}

void lsm_batch_stamp(struct lsm_batch *batch, uint64_t version)
{
    struct entry e;
    for (size_t pos = 0, at = 0; lsm_batch_next(batch, &pos, &e); at = pos)
        put_u64(batch->buf.data + at + 1, version);
}

/* Bytes of the record at the front of `raw`; 0 if it cannot be one. */
static size_t record_len(struct slice raw)
{
    if (raw.len < BATCH_HEAD || raw.data[0] > ENTRY_PUT_EXPIRES)
        return 0;
    bool expires = get_u64(raw.data + 9) != 0;
    size_t key_len = get_u32(raw.data + 17);
    size_t value_len = get_u32(raw.data + 21);
    if (key_len == 0 || key_len > LSM_KEY_MAX || value_len > LSM_VALUE_MAX ||
        (raw.data[0] == ENTRY_DELETE && value_len > 0) ||
        expires != (raw.data[0] == ENTRY_PUT_EXPIRES) || raw.len - BATCH_HEAD < key_len + value_len)
        return 0;
    return BATCH_HEAD + key_len + value_len;
}

int lsm_batch_load(struct lsm_batch *batch, struct slice raw)
{
    size_t count = 0, len = 0;
    lsm_batch_clear(batch);
    for (size_t pos = 0; pos < raw.len; pos += len, count++) {
        len = record_len(slice_of(raw.data + pos, raw.len - pos));
        if (len == 0)
            return ERR_CORRUPT;
    }
    buf_append_slice(&batch->buf, raw);
    if (batch->buf.failed)
        return ERR_NOMEM;
    batch->count = count;
    return 0;
}
