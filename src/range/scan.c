/* SPDX-License-Identifier: Apache-2.0 */
#include "base/plant.h"
#include "range/range_internal.h"
#include "range/read_internal.h"
#include "wire/request.h"

enum { INLINE_STEPS_MAX = 4 * RANGE_INLINE_MAX };

_Static_assert((int)DESCRIPTOR_CUT_MAX - RANGE_USER_KEY_PREFIX <= KEY_WIRE_MAX,
               "where a page ends with its range the next request may begin");

/* On disk: the first key of the keyspace behind `keyspace`. */
static void append_keyspace_end(struct buf *out, uint32_t keyspace)
{
    uint8_t end[RANGE_USER_KEY_PREFIX];
    buf_append(out, end, range_keyspace_end(keyspace, end));
}

/* A scan goes on from range to range: it must begin inside this one. In reverse that is below where
 * clamp() would cut the range to the right. */
static bool begins_inside(const struct range *range, const struct range_read *read)
{
    struct range_span span = range_descriptor_span(range_descriptor(range));
    struct slice lower = buf_slice(&read->lower);
    struct slice upper = buf_slice(&read->upper);
    uint8_t start[DESCRIPTOR_CUT_MAX], end[DESCRIPTOR_CUT_MAX];
    if (!read->is_reverse)
        return range_span_contains(span, lower);
    return slice_compare(descriptor_cut_at(span.start, start), upper) < 0 &&
           slice_compare(upper, descriptor_cut_at(span.end, end)) <= 0;
}

/* A read at a version goes to where the range ended when it gave it. */
static struct range_span span_at(const struct range *range, const struct range_read *read)
{
    const struct range_meta *meta = range_meta(range);
    struct range_span span = range_descriptor_span(&meta->descriptor);
    struct slice lower = buf_slice(&read->lower);
    struct slice end = {0};
    if (read->at_version != 0 && !read->is_reverse)
        end = seams_end(&meta->seams, lower, read->version);
    if (end.len > 0)
        span.end = end;
    return span;
}

/* Where it begins no version of before a merge is good that brought these keys. */
static int check_seam(const struct range *range, struct range_read *read)
{
    const struct seams *seams = &range_meta(range)->seams;
    uint64_t least = read->is_reverse ? seams_least_below(seams, buf_slice(&read->upper))
                                      : seams_least_at(seams, buf_slice(&read->lower));
    int rv = read_check_seam(read, least);
    read->is_range_end = rv != 0;
    return rv;
}

/* What lies beyond the range is left for a next page, which another range answers. A bound that is
 * shorter than what stands before user keys has all of the keyspace below it. One that is longer
 * than keys can be would be no cursor: the page goes up to the next place that is. */
static void clamp(const struct range *range, struct range_read *read)
{
    uint8_t raw[DESCRIPTOR_CUT_MAX];
    struct range_span span = span_at(range, read);
    struct slice cut = descriptor_cut_at(read->is_reverse ? span.start : span.end, raw);
    bool is_cut = read->is_reverse ? slice_compare(buf_slice(&read->lower), cut) < 0
                                   : slice_compare(buf_slice(&read->upper), cut) > 0;
    struct buf *bound = read->is_reverse ? &read->lower : &read->upper;
    if (!read->is_reverse && cut.len < RANGE_USER_KEY_PREFIX)
        is_cut = false;
    read->is_cut = is_cut;
    if (!is_cut)
        return;
    buf_clear(bound);
    buf_append_slice(bound, cut);
}

int read_scan_begin(const struct range *range, struct range_read *read)
{
    uint8_t prefix[RANGE_USER_KEY_PREFIX];
    if (read->end.len > 0 && slice_compare(read->start, read->end) > 0)
        return err_set(&read->err, ERR_INVALID, "the scan ends before it starts");
    if (read->start.len > command_limits_default.key_max ||
        read->end.len > command_limits_default.key_max)
        return err_set(&read->err, ERR_TOO_LARGE, "a bound is longer than a key can be");
    range_key_prefix(read->keyspace, prefix);
    buf_clear(&read->lower);
    buf_clear(&read->upper);
    buf_append(&read->lower, prefix, sizeof prefix);
    buf_append_slice(&read->lower, read->start);
    if (read->end.len > 0) {
        buf_append(&read->upper, prefix, sizeof prefix);
        buf_append_slice(&read->upper, read->end);
    } else {
        append_keyspace_end(&read->upper, read->keyspace);
    }
    if (read->lower.failed || read->upper.failed)
        return ERR_NOMEM;
    if (!begins_inside(range, read))
        return ERR_RANGE_CHANGED;
    int rv = check_seam(range, read);
    if (rv != 0)
        return rv;
    clamp(range, read);
    if (read->lower.failed || read->upper.failed)
        return ERR_NOMEM;
    if (read->limit_keys == 0 || read->limit_keys > RANGE_SCAN_KEYS_MAX)
        read->limit_keys = RANGE_SCAN_KEYS_MAX;
    if (read->limit_bytes == 0 || read->limit_bytes > RANGE_PAGE_MAX)
        read->limit_bytes = RANGE_PAGE_MAX;
    return 0;
}

static struct slice user_key(struct slice key)
{
    ASSERT(key.len >= RANGE_USER_KEY_PREFIX);
    return slice_of(key.data + RANGE_USER_KEY_PREFIX, key.len - RANGE_USER_KEY_PREFIX);
}

/* What is left begins behind `key`. */
static void scan_passed(struct range_read *read, struct slice key)
{
    struct buf *bound = read->is_reverse ? &read->upper : &read->lower;
    buf_clear(bound);
    buf_append_slice(bound, key);
    if (!read->is_reverse)
        buf_append_u8(bound, 0);
}

/* Would the record at the iterator pass a limit of the page? */
static bool page_is_full(const struct range_read *read, const struct lsm_iter *iter)
{
    if (read->row_count >= read->limit_keys || read->steps >= RANGE_STEPS_MAX)
        return true;
    size_t len = lsm_iter_key(iter).len + (read->is_keys_only ? 0 : lsm_iter_value(iter).len);
    return read->row_count > 0 && len > read->limit_bytes - MIN(read->bytes, read->limit_bytes);
}

/* Forward, the next page starts at the record that did not fit; in reverse, it ends
 * before the last one that was passed. */
static void end_page(struct range_read *read, const struct lsm_iter *iter)
{
    struct slice key = read->is_reverse ? buf_slice(&read->upper) : lsm_iter_key(iter);
    read->has_more = true;
    buf_append_slice(&read->cursor, user_key(key));
    if (PLANTED(page_skips_key) && !read->is_reverse)
        buf_append_u8(&read->cursor, 0);
}

/* The range is done, the scan is not: in reverse it goes on before the bound, or, where that is
 * no user key, before what is greater than nearly all. */
static void end_range(struct range_read *read)
{
    struct slice key = buf_slice(read->is_reverse ? &read->lower : &read->upper);
    read->has_more = true;
    read->is_range_end = true;
    if (key.len >= RANGE_USER_KEY_PREFIX) {
        buf_append_slice(&read->cursor, user_key(key));
        return;
    }
    ASSERT(read->is_reverse && read->row_count == 0);
    uint8_t *greatest = buf_extend(&read->cursor, command_limits_default.key_max);
    if (greatest != NULL)
        memset(greatest, 0xff, command_limits_default.key_max);
}

static int scan_record(struct range_read *read, const struct lsm_iter *iter)
{
    bool is_visible;
    struct slice key = lsm_iter_key(iter);
    struct slice value = read->is_keys_only ? slice_of(NULL, 0) : lsm_iter_value(iter);
    int rv = read_judge(read, lsm_iter_expiry_ms(iter), &is_visible);
    if (rv != 0)
        return rv;
    if (is_visible)
        read_add_row(read, user_key(key), value, lsm_iter_version(iter), lsm_iter_expiry_ms(iter));
    read->steps++;
    scan_passed(read, key);
    return read->lower.failed || read->upper.failed ? ERR_NOMEM : 0;
}

static bool is_long(const struct range_read *read, const struct lsm_iter *iter, unsigned flags)
{
    size_t value_len = read->is_keys_only ? 0 : lsm_iter_value(iter).len;
    if ((flags & LSM_READ_NO_IO) == 0)
        return false;
    return read->row_count >= RANGE_INLINE_MAX || read->steps >= INLINE_STEPS_MAX ||
           read_is_too_long(read, lsm_iter_key(iter).len + value_len, flags);
}

int read_scan(struct range_read *read, unsigned flags)
{
    struct lsm_iter *iter = lsm_iter_new(read->view, buf_slice(&read->lower),
                                         buf_slice(&read->upper), read->version, flags);
    int rv = 0;
    if (iter == NULL)
        return ERR_NOMEM;
    bool more = read->is_reverse ? lsm_iter_last(iter) : lsm_iter_first(iter);
    while (more && rv == 0) {
        if (page_is_full(read, iter)) {
            end_page(read, iter);
            break;
        }
        if (is_long(read, iter, flags))
            rv = ERR_WOULD_BLOCK;
        else
            rv = scan_record(read, iter);
        if (rv == 0)
            more = read->is_reverse ? lsm_iter_prev(iter) : lsm_iter_next(iter);
    }
    if (rv == 0 && !more)
        rv = lsm_iter_status(iter, &read->err);
    lsm_iter_free(iter);
    if (rv == 0 && !more && read->is_cut)
        end_range(read);
    return rv;
}
