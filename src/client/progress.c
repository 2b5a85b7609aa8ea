/* SPDX-License-Identifier: Apache-2.0 */
#include "client/progress.h"

#include <stdlib.h>

#include "base/coding.h"
#include "base/plant.h"
#include "client/sealed.h"
#include "wire/request.h"

enum { TOKEN_FORMAT = 1, PIECES_FIRST = 4 };

static int copy_key(struct slice key, uint8_t **ret)
{
    uint8_t *copy = malloc(MAX(key.len, (size_t)1));
    if (copy == NULL)
        return ERR_NOMEM;
    if (key.len > 0)
        memcpy(copy, key.data, key.len);
    *ret = copy;
    return 0;
}

static int grow(struct progress *p)
{
    if (p->count < p->room)
        return 0;
    if (p->count >= PROGRESS_PIECES_MAX)
        return ERR_TOO_LARGE;
    size_t room = p->room == 0 ? PIECES_FIRST : p->room * 2;
    struct piece *pieces = realloc(p->pieces, room * sizeof *pieces);
    if (pieces == NULL)
        return ERR_NOMEM;
    p->pieces = pieces;
    p->room = room;
    return 0;
}

/* A piece at place `i`, like `like` but for its start. */
static int insert(struct progress *p, size_t i, struct slice start, const struct piece *like)
{
    uint8_t *copy;
    struct piece piece = *like; /* it may move */
    int rv = grow(p);
    if (rv == 0)
        rv = copy_key(start, &copy);
    if (rv != 0)
        return rv;
    piece.start = copy;
    piece.start_len = start.len;
    memmove(p->pieces + i + 1, p->pieces + i, (p->count - i) * sizeof p->pieces[0]);
    p->pieces[i] = piece;
    p->count++;
    return 0;
}

static void take_out(struct progress *p, size_t i)
{
    free(p->pieces[i].start);
    p->count--;
    memmove(p->pieces + i, p->pieces + i + 1, (p->count - i) * sizeof p->pieces[0]);
}

int progress_init(struct progress *p, uint32_t keyspace, struct slice start, struct slice end,
                  uint64_t version, bool is_from_now)
{
    struct piece piece = {.version = version, .is_from_now = is_from_now};
    *p = (struct progress){.keyspace = keyspace, .end_len = end.len};
    if (start.len > KEY_WIRE_MAX || end.len > KEY_WIRE_MAX)
        return ERR_TOO_LARGE;
    if (end.len > 0 && slice_compare(start, end) >= 0)
        return ERR_INVALID;
    int rv = copy_key(end, &p->end);
    if (rv == 0)
        rv = insert(p, 0, start, &piece);
    if (rv != 0)
        progress_fini(p);
    return rv;
}

void progress_fini(struct progress *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->pieces[i].start);
    free(p->pieces);
    free(p->end);
    *p = (struct progress){0};
}

struct slice progress_start(const struct progress *p, size_t i)
{
    ASSERT(i < p->count);
    return slice_of(p->pieces[i].start, p->pieces[i].start_len);
}

struct slice progress_end(const struct progress *p, size_t i)
{
    ASSERT(i < p->count);
    return i + 1 < p->count ? progress_start(p, i + 1) : slice_of(p->end, p->end_len);
}

/* The last piece that starts at or below the key; p->count if there is none. */
static size_t piece_of(const struct progress *p, struct slice key)
{
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(progress_start(p, middle), key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? p->count : low - 1;
}

size_t progress_find(const struct progress *p, struct slice start)
{
    size_t i = piece_of(p, start);
    return i < p->count && slice_equal(progress_start(p, i), start) ? i : p->count;
}

uint64_t progress_mark(const struct progress *p)
{
    uint64_t mark = UINT64_MAX;
    for (size_t i = 0; i < p->count; i++)
        mark = MIN(mark, p->pieces[i].is_from_now ? 0 : p->pieces[i].version);
    return p->count == 0 ? 0 : mark;
}

/* ---- a page ----------------------------------------------------------------------------- */

static bool is_below(struct slice key, struct slice end)
{
    return end.len == 0 || slice_compare(key, end) < 0;
}

/* Make `key` the start of a piece. */
static int cut_at(struct progress *p, struct slice key)
{
    size_t i = piece_of(p, key);
    if (i == p->count || !is_below(key, slice_of(p->end, p->end_len)))
        return ERR_INVALID;
    if (slice_equal(progress_start(p, i), key))
        return 0;
    return insert(p, i + 1, key, &p->pieces[i]);
}

/* Make [start, end) whole pieces. */
static int cut_out(struct progress *p, struct slice start, struct slice end)
{
    int rv = cut_at(p, start);
    if (rv != 0 || slice_equal(end, slice_of(p->end, p->end_len)))
        return rv;
    return end.len == 0 ? ERR_INVALID : cut_at(p, end);
}

/* [start, end) is complete up to `version`. */
static int complete(struct progress *p, struct slice start, struct slice end, uint64_t version,
                    uint64_t range_id)
{
    int rv = cut_out(p, start, end);
    if (rv != 0)
        return rv;
    for (size_t i = piece_of(p, start); i < p->count && is_below(progress_start(p, i), end); i++) {
        struct piece *piece = &p->pieces[i];
        if (!piece->is_from_now && piece->version > version)
            return ERR_INVALID;
        piece->version = PLANTED(watch_told_twice) && version > 0 ? version - 1 : version;
        piece->range_id = range_id;
        piece->upto = 0;
        piece->lost_us = 0;
        piece->failures = 0;
        piece->is_from_now = false;
        piece->is_busy = false;
    }
    return 0;
}

/* The rest of what was asked for is as far as it was. */
static int leave(struct progress *p, struct slice start, struct slice end, uint64_t range_id)
{
    int rv = cut_out(p, start, end);
    if (rv != 0)
        return rv;
    for (size_t i = piece_of(p, start); i < p->count && is_below(progress_start(p, i), end); i++) {
        p->pieces[i].range_id = range_id;
        p->pieces[i].upto = 0;
        p->pieces[i].lost_us = 0;
        p->pieces[i].failures = 0;
        p->pieces[i].is_busy = false;
    }
    return 0;
}

static bool are_alike(const struct piece *a, const struct piece *b)
{
    return !a->is_busy && !b->is_busy && !a->is_from_now && !b->is_from_now && a->range_id != 0 &&
           a->range_id == b->range_id && a->version == b->version;
}

/* Neighbours that are alike become one, around [start, end). */
static void join(struct progress *p, struct slice start, struct slice end)
{
    size_t i = piece_of(p, start);
    if (i > 0 && i < p->count)
        i--;
    while (i + 1 < p->count) {
        if (are_alike(&p->pieces[i], &p->pieces[i + 1]))
            take_out(p, i + 1);
        else if (end.len > 0 && slice_compare(progress_start(p, i + 1), end) > 0)
            return;
        else
            i++;
    }
}

/* Does the page lie in what was asked for? */
static bool page_fits(struct slice start, struct slice end, const struct response_watch *page)
{
    if (!page->has_more)
        return true;
    if (page->cursor.len > KEY_WIRE_MAX || slice_compare(page->cursor, start) < 0)
        return false;
    if (page->cursor_version > 0)
        return is_below(page->cursor, end);
    return end.len == 0 || slice_compare(page->cursor, end) <= 0;
}

int progress_page(struct progress *p, struct slice start, struct slice end,
                  const struct response_watch *page)
{
    uint8_t behind[KEY_WIRE_MAX];
    struct slice covered = page->has_more ? page->cursor : end;
    struct slice rest = covered;
    if (!page_fits(start, end, page))
        return ERR_INVALID;
    /* All cuts come first: where one fails, nothing has moved on. */
    bool has_part = is_below(start, covered), has_key = page->cursor_version > 0;
    int rv = has_part ? cut_out(p, start, covered) : 0;
    if (rv == 0 && has_key) {
        size_t len = progress_key_behind(covered, behind);
        rest = len == 0 ? end : slice_of(behind, len);
        rv = cut_out(p, covered, rest);
    }
    bool has_rest = !slice_equal(rest, end);
    if (rv == 0 && has_rest)
        rv = cut_out(p, rest, end);
    if (rv == 0 && has_part)
        rv = complete(p, start, covered, page->version, page->range_id);
    if (rv == 0 && has_key)
        rv = complete(p, covered, rest, page->cursor_version, page->range_id);
    if (rv == 0 && has_rest)
        rv = leave(p, rest, end, page->is_range_end ? 0 : page->range_id);
    if (rv == 0)
        join(p, start, end);
    return rv;
}

void progress_raise(struct progress *p, uint64_t version)
{
    for (size_t i = 0; i < p->count; i++) {
        if (!p->pieces[i].is_from_now)
            p->pieces[i].version = MAX(p->pieces[i].version, version);
    }
}

void progress_release(struct progress *p, size_t i, uint64_t since_us, bool is_slow)
{
    ASSERT(i < p->count && p->pieces[i].is_busy);
    ASSERT(since_us > 0);
    p->pieces[i].is_busy = false;
    p->pieces[i].upto = 0;
    p->pieces[i].failures += is_slow;
    if (p->pieces[i].lost_us == 0)
        p->pieces[i].lost_us = since_us;
}

uint64_t progress_lost_us(const struct progress *p)
{
    uint64_t lost_us = 0;
    for (size_t i = 0; i < p->count; i++) {
        uint64_t of_piece = p->pieces[i].lost_us;
        if (of_piece > 0 && (lost_us == 0 || of_piece < lost_us))
            lost_us = of_piece;
    }
    return lost_us;
}

/* ---- who is asked for next --------------------------------------------------------------- */

/* The neighbour of `i` on that side in the same range; NULL: there is none. */
static const struct piece *neighbour(const struct progress *p, size_t i, bool is_right)
{
    if (is_right ? i + 1 >= p->count : i == 0)
        return NULL;
    const struct piece *n = &p->pieces[is_right ? i + 1 : i - 1];
    bool is_same = n->range_id != 0 && n->range_id == p->pieces[i].range_id && !n->is_from_now;
    return is_same ? n : NULL;
}

bool progress_may_ask(const struct progress *p, size_t i, bool is_crowded)
{
    const struct piece *piece = &p->pieces[i];
    ASSERT(i < p->count);
    if (piece->is_busy)
        return false;
    for (int side = 0; side < 2 && !piece->is_from_now; side++) {
        const struct piece *n = neighbour(p, i, side == 1);
        if (n == NULL)
            continue;
        if (n->version < piece->version && (!n->is_busy || n->upto > 0))
            return false;
        if (is_crowded && n->is_busy)
            return false;
    }
    return true;
}

uint64_t progress_upto(const struct progress *p, size_t i)
{
    const struct piece *piece = &p->pieces[i];
    uint64_t upto = 0;
    for (int side = 0; side < 2 && !piece->is_from_now; side++) {
        const struct piece *n = neighbour(p, i, side == 1);
        if (n != NULL && !n->is_busy && n->version > piece->version)
            upto = upto == 0 ? n->version : MIN(upto, n->version);
    }
    return upto;
}

/* ---- the token ---------------------------------------------------------------------------- */

static void append_key(struct buf *out, const uint8_t *key, size_t len)
{
    buf_append_varint(out, len);
    buf_append(out, key, len);
}

void progress_encode(const struct progress *p, struct buf *out)
{
    size_t begin = out->len;
    buf_append_u8(out, TOKEN_FORMAT);
    buf_append_varint(out, p->keyspace);
    append_key(out, p->end, p->end_len);
    buf_append_varint(out, p->count);
    for (size_t i = 0; i < p->count; i++) {
        const struct piece *piece = &p->pieces[i];
        append_key(out, piece->start, piece->start_len);
        buf_append_u64(out, piece->version);
        buf_append_u8(out, piece->is_from_now);
    }
    sealed_end(out, begin);
}

static int read_pieces(struct progress *p, struct reader *r, uint64_t count)
{
    int rv = 0;
    for (uint64_t i = 0; i < count && rv == 0 && !r->bad; i++) {
        struct slice start = read_bytes_prefixed(r);
        struct piece piece = {.version = read_u64(r)};
        uint8_t from_now = read_u8(r);
        piece.is_from_now = from_now == 1;
        bool is_after = p->count == 0 || slice_compare(progress_start(p, p->count - 1), start) < 0;
        if (r->bad || from_now > 1 || start.len > KEY_WIRE_MAX || !is_after ||
            (p->end_len > 0 && slice_compare(start, slice_of(p->end, p->end_len)) >= 0))
            r->bad = true;
        else
            rv = insert(p, p->count, start, &piece);
    }
    return rv;
}

int progress_decode(struct progress *p, struct slice token, struct err *err)
{
    struct progress out = {0};
    struct slice inside;
    if (!sealed_open(token, &inside))
        return err_set(err, ERR_CORRUPT, "the token of a watch is not as it was written");
    struct reader r = reader_of(inside);
    if (read_u8(&r) != TOKEN_FORMAT)
        return err_set(err, ERR_UNSUPPORTED, "the token of a watch is of another version");
    uint64_t keyspace = read_varint(&r);
    struct slice end = read_bytes_prefixed(&r);
    uint64_t count = read_varint(&r);
    if (r.bad || keyspace > UINT32_MAX || end.len > KEY_WIRE_MAX || count == 0 ||
        count > PROGRESS_PIECES_MAX)
        return err_set(err, ERR_CORRUPT, "the token of a watch makes no sense");
    out.keyspace = (uint32_t)keyspace;
    out.end_len = end.len;
    int rv = copy_key(end, &out.end);
    if (rv == 0)
        rv = read_pieces(&out, &r, count);
    if (rv == 0 && (r.bad || r.left > 0))
        rv = err_set(err, ERR_CORRUPT, "the token of a watch makes no sense");
    if (rv != 0) {
        progress_fini(&out);
        return rv;
    }
    *p = out;
    return 0;
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* The least key of at most `len` bytes above all that begin with the first `len` of `out`. */
static size_t increment(uint8_t *out, size_t len)
{
    while (len > 0 && out[len - 1] == 0xff)
        len--;
    if (len > 0)
        out[len - 1]++;
    return len;
}

size_t progress_key_behind(struct slice key, uint8_t *out)
{
    ASSERT(key.len > 0 && key.len <= KEY_WIRE_MAX);
    memcpy(out, key.data, key.len);
    if (key.len < KEY_WIRE_MAX) {
        out[key.len] = 0;
        return key.len + 1;
    }
    return increment(out, key.len);
}

size_t progress_prefix_end(struct slice prefix, uint8_t *out)
{
    ASSERT(prefix.len <= KEY_WIRE_MAX);
    if (prefix.len > 0)
        memcpy(out, prefix.data, prefix.len);
    return increment(out, prefix.len);
}

void progress_check(const struct progress *p)
{
    for (size_t i = 0; i + 1 < p->count; i++)
        ASSERT(slice_compare(progress_start(p, i), progress_start(p, i + 1)) < 0);
    ASSERT(p->count == 0 || p->end_len == 0 ||
           slice_compare(progress_start(p, p->count - 1), slice_of(p->end, p->end_len)) < 0);
}
