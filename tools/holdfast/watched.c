/* SPDX-License-Identifier: Apache-2.0 */
#include "watched.h"

#include "base/coding.h"
#include "holdfast.h"

enum { FORMAT_PLAIN = 1, FORMAT_SIEVED = 0xc1 };

/* u16be length, first key, u16be length, end, u32 checksum: left as it is. */
static struct slice read_bounds(struct reader *r)
{
    struct slice bounds = {.data = r->pos};
    for (int i = 0; i < 2; i++) {
        size_t len = (size_t)read_u8(r) << 8;
        len |= read_u8(r);
        (void)read_bytes(r, len);
    }
    if (!r->bad)
        bounds.len = (size_t)(r->pos - bounds.data);
    (void)read_u32(r);
    return bounds;
}

bool watched_parse(struct slice token, struct watched *ret_watched)
{
    struct reader r = reader_of(token);
    struct watched w = {0};
    uint8_t format = read_u8(&r);
    if (format == FORMAT_SIEVED) {
        w.bounds = read_bounds(&r);
        format = read_u8(&r);
    }
    uint64_t keyspace = read_varint(&r);
    w.end = read_bytes_prefixed(&r);
    uint64_t pieces = read_varint(&r);
    w.start = read_bytes_prefixed(&r); /* of the first piece */
    if (r.bad || format != FORMAT_PLAIN || keyspace > UINT32_MAX || pieces == 0)
        return false;
    w.keyspace = (uint32_t)keyspace;
    *ret_watched = w;
    return true;
}

bool watched_is_other(struct hf_client *client, const struct hf_watch_options *asked,
                      const struct watched *was)
{
    struct hf_watch_options options = *asked;
    struct hf_watch *fresh;
    struct hf_bytes token;
    struct watched wanted;
    options.keyspace = was->keyspace;
    options.token = (struct hf_bytes){0};
    options.from_version = 0;
    if (hf_watch_open(client, &options, &fresh) != HF_OK)
        return true;
    bool is_known = hf_watch_token(fresh, &token) == HF_OK &&
                    watched_parse(slice_of(token.data, token.len), &wanted);
    bool is_other = !is_known || !slice_equal(wanted.start, was->start) ||
                    !slice_equal(wanted.end, was->end) || !slice_equal(wanted.bounds, was->bounds);
    hf_watch_close(fresh);
    return is_other;
}
