/* SPDX-License-Identifier: Apache-2.0 */
#include "client/sieve.h"

#include "base/err.h"
#include "client/sealed.h"
#include "wire/request.h"

enum { SIEVED_TOKEN = 0xc1, LEN_LEN = 2 /* bytes of a length */ };

void sieve_init(struct sieve *s)
{
    *s = (struct sieve){0};
    buf_init(&s->bounds, (size_t)2 * KEY_WIRE_MAX);
}

void sieve_fini(struct sieve *s)
{
    buf_fini(&s->bounds);
    s->is_on = false;
}

int sieve_set(struct sieve *s, struct slice start, struct slice end)
{
    ASSERT(start.len <= KEY_WIRE_MAX && end.len <= KEY_WIRE_MAX);
    if (end.len > 0 && slice_compare(start, end) >= 0)
        return ERR_INVALID;
    s->is_on = true;
    s->start_len = start.len;
    buf_clear(&s->bounds);
    buf_append_slice(&s->bounds, start);
    buf_append_slice(&s->bounds, end);
    return s->bounds.failed ? ERR_NOMEM : 0;
}

static struct slice sieve_start(const struct sieve *s)
{
    return slice_of(s->bounds.data, s->start_len);
}

static struct slice sieve_end(const struct sieve *s)
{
    return slice_of(s->bounds.data + s->start_len, s->bounds.len - s->start_len);
}

bool sieve_passes(const struct sieve *s, struct slice key)
{
    if (!s->is_on)
        return true;
    struct slice end = sieve_end(s);
    return slice_compare(sieve_start(s), key) <= 0 && (end.len == 0 || slice_compare(key, end) < 0);
}

/* ---- in a token ------------------------------------------------------------------------- */

static void append_key(struct buf *out, struct slice key)
{
    const uint8_t len[LEN_LEN] = {(uint8_t)(key.len >> 8), (uint8_t)key.len};
    buf_append(out, len, sizeof len);
    buf_append_slice(out, key);
}

void sieve_encode(const struct sieve *s, struct buf *out)
{
    size_t begin = out->len;
    if (!s->is_on)
        return;
    buf_append_u8(out, SIEVED_TOKEN);
    append_key(out, sieve_start(s));
    append_key(out, sieve_end(s));
    sealed_end(out, begin);
}

static struct slice behind(struct slice bytes, size_t len)
{
    return slice_of(bytes.data + len, bytes.len - len);
}

static bool cut_key(struct slice *from, struct slice *ret_key)
{
    if (from->len < LEN_LEN)
        return false;
    size_t len = (size_t)from->data[0] << 8 | from->data[1];
    if (len > KEY_WIRE_MAX || len > from->len - LEN_LEN)
        return false;
    *ret_key = slice_of(from->data + LEN_LEN, len);
    *from = behind(*from, LEN_LEN + len);
    return true;
}

int sieve_decode(struct sieve *s, struct slice *token)
{
    struct slice start, end, inside;
    if (token->len == 0 || token->data[0] != SIEVED_TOKEN)
        return 0;
    struct slice rest = behind(*token, 1);
    if (!cut_key(&rest, &start) || !cut_key(&rest, &end) || rest.len <= SEALED_SUM_LEN)
        return ERR_INVALID;
    rest = behind(rest, SEALED_SUM_LEN);
    if (!sealed_open(slice_of(token->data, token->len - rest.len), &inside))
        return ERR_INVALID;
    int rv = sieve_set(s, start, end);
    if (rv == 0)
        *token = rest;
    return rv;
}
