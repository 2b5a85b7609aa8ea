/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/coding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/pages.h"

enum { BUF_FIRST = 64 };

void buf_init(struct buf *buf, size_t max)
{
    ASSERT(max > 0);
    *buf = (struct buf){.max = max};
}

void buf_fini(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){.max = buf->max};
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

/* Its bytes in a place of `cap` bytes, the old one gone; NULL: that is as it was. */
static uint8_t *buf_grown(const struct buf *buf, size_t cap)
{
    ASSERT(cap > buf->cap);
    if (cap < PAGES_LARGE)
        return realloc(buf->data, cap);
    uint8_t *data = pages_malloc(cap);
    if (data == NULL)
        return NULL;
    if (buf->len > 0)
        memcpy(data, buf->data, buf->len);
    free(buf->data);
    return data;
}

int buf_reserve(struct buf *buf, size_t len)
{
    ASSERT(buf->len <= buf->cap);
    if (buf->failed || len > buf->max - buf->len) {
        buf->failed = true;
        return ERR_NOMEM;
    }
    if (len <= buf->cap - buf->len)
        return 0;
    size_t want = MAX(buf->len + len, buf->cap * 2);
    size_t cap = MIN(MAX(want, (size_t)BUF_FIRST), buf->max);
    uint8_t *data = buf_grown(buf, cap);
    if (data == NULL) {
        buf->failed = true;
        return ERR_NOMEM;
    }
    buf->data = data;
    buf->cap = cap;
    ASSERT(buf->cap - buf->len >= len);
    return 0;
}

void buf_fit(struct buf *buf)
{
    if (buf->len == buf->cap)
        return;
    if (buf->len == 0) {
        free(buf->data);
        buf->data = NULL;
        buf->cap = 0;
        return;
    }
    uint8_t *data = realloc(buf->data, buf->len);
    if (data == NULL)
        return; /* it stands where it stood */
    buf->data = data;
    buf->cap = buf->len;
}

uint8_t *buf_extend(struct buf *buf, size_t len)
{
    if (buf_reserve(buf, len) != 0)
        return NULL;
    uint8_t *at = buf->data + buf->len;
    buf->len += len;
    return at;
}

void buf_append(struct buf *buf, const void *data, size_t len)
{
    if (len == 0)
        return; /* an empty buf has no place to point at */
    uint8_t *at = buf_extend(buf, len);
    if (at != NULL)
        memcpy(at, data, len);
}

void buf_append_slice(struct buf *buf, struct slice s)
{
    buf_append(buf, s.data, s.len);
}

void buf_append_u8(struct buf *buf, uint8_t v)
{
    buf_append(buf, &v, 1);
}

void buf_append_u32(struct buf *buf, uint32_t v)
{
    uint8_t raw[4];
    put_u32(raw, v);
    buf_append(buf, raw, sizeof raw);
}

void buf_append_u64(struct buf *buf, uint64_t v)
{
    uint8_t raw[8];
    put_u64(raw, v);
    buf_append(buf, raw, sizeof raw);
}

void buf_append_varint(struct buf *buf, uint64_t v)
{
    uint8_t raw[VARINT_MAX];
    buf_append(buf, raw, put_varint(raw, v));
}

void buf_append_str(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    if (buf_reserve(buf, (size_t)n + 1) == 0) {
        vsnprintf((char *)buf->data + buf->len, (size_t)n + 1, fmt, again);
        buf->len += (size_t)n;
    }
    va_end(again);
}

uint8_t *buf_take(struct buf *buf, size_t *ret_len)
{
    uint8_t *data = buf->data;
    *ret_len = buf->len;
    *buf = (struct buf){.max = buf->max};
    return data;
}
