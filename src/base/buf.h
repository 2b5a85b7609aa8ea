/* SPDX-License-Identifier: Apache-2.0
 *
 * buf — a growable run of bytes with a bound.
 *
 * Ownership  the buf owns `data` until buf_fini() or buf_take().
 * Errors     growth past `max` or a failed allocation sets `failed` and every
 *            later append is ignored: append freely, test once at the end.
 * Limits     `max` bytes, given at init.
 */
#ifndef BASE_BUF_H_
#define BASE_BUF_H_

#include "base/base.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;  /* private */
    size_t max;  /* bytes that it may ever hold */
    bool failed; /* sticky: an append did not fit */
};

/* An empty buf that may grow to `max` bytes (> 0). Allocates nothing yet. */
void buf_init(struct buf *buf, size_t max);

/* Free the bytes; accepts a zeroed buf. The buf is empty but usable after. */
void buf_fini(struct buf *buf);

/* Forget content and failure, keep the memory. */
void buf_clear(struct buf *buf);

/* Give back the memory that nothing stands in: for what is kept. */
void buf_fit(struct buf *buf);

/* Room for `len` more bytes: 0, or ERR_NOMEM and `failed` set. */
int buf_reserve(struct buf *buf, size_t len);

/* Append and return where `len` uninitialised bytes start, NULL on failure.
 * The pointer is valid until the next append. */
uint8_t *buf_extend(struct buf *buf, size_t len);

/* Append a copy of what is given; on failure nothing is added and `failed` set. */
void buf_append(struct buf *buf, const void *data, size_t len);
void buf_append_slice(struct buf *buf, struct slice s);
void buf_append_u8(struct buf *buf, uint8_t v);
void buf_append_u32(struct buf *buf, uint32_t v);       /* little-endian */
void buf_append_u64(struct buf *buf, uint64_t v);       /* little-endian */
void buf_append_varint(struct buf *buf, uint64_t v);    /* LEB128 */
void buf_append_str(struct buf *buf, const char *text); /* without the NUL */

/* Append formatted text, without the NUL (there is one behind it for debuggers,
 * not counted in `len`). */
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);

static inline struct slice buf_slice(const struct buf *buf)
{
    return slice_of(buf->data, buf->len);
}

/* Hand the malloc()ed bytes to the caller, who frees them; the buf is empty
 * after. NULL if it is empty. */
uint8_t *buf_take(struct buf *buf, size_t *ret_len);

#endif
