/* SPDX-License-Identifier: Apache-2.0
 *
 *  - start: bounds, then the feed if it reaches; else a view, the safe point, the lane;
 *  - from the engine, key by key: the newest change of a key is written down as soon as
 *    it is met; if there is an older one that counts too, it is struck out again, the
 *    oldest is sought, and they are written down from there to the newest;
 *  - complete: give the view back, call back.
 */
#include "range/changes.h"

#include "base/plant.h"
#include "range/range_internal.h"
#include "wire/response.h"

enum {
    CHANGES_BYTES_MAX = RANGE_PAGE_MAX + RANGE_RESULT_MAX, /* a page and one large value */
    CHANGE_OVERHEAD = 32,
};

static void changes_execute(struct env_work *work);
static void changes_complete(struct env_work *work);

void range_changes_init(struct range_changes *op)
{
    *op = (struct range_changes){.state = RANGE_READ_IDLE};
    buf_init(&op->changes, CHANGES_BYTES_MAX);
    buf_init(&op->cursor, CURSOR_WIRE_MAX);
    buf_init(&op->lower, RANGE_KEY_MAX);
    buf_init(&op->upper, RANGE_KEY_MAX);
}

void range_changes_fini(struct range_changes *op)
{
    buf_fini(&op->changes);
    buf_fini(&op->cursor);
    buf_fini(&op->lower);
    buf_fini(&op->upper);
    lsm_view_unref(op->view);
    op->view = NULL;
    op->state = RANGE_READ_IDLE;
}

/* ---- what both ways share ------------------------------------------------------------ */

static struct slice user_key(struct slice key)
{
    ASSERT(key.len >= RANGE_USER_KEY_PREFIX);
    return slice_of(key.data + RANGE_USER_KEY_PREFIX, key.len - RANGE_USER_KEY_PREFIX);
}

static void add_change(struct range_changes *op, struct slice key, const struct change *what)
{
    struct change change = *what;
    change.key = user_key(key);
    change.kind = what->kind;
    change_append(&op->changes, &change);
    op->count++;
    op->bytes += key.len + change.value.len + CHANGE_OVERHEAD;
}

static bool page_is_full(const struct range_changes *op, size_t more)
{
    if (op->count >= CHANGES_MAX)
        return true;
    return op->count > 0 && more > op->limit_bytes - MIN(op->bytes, (size_t)op->limit_bytes);
}

/* The page ends before `key` (on disk). */
static void set_cursor(struct range_changes *op, struct slice key)
{
    op->has_more = true;
    buf_clear(&op->cursor);
    buf_append_slice(&op->cursor, user_key(key));
}

/* All of the span that is here was looked at. */
static void end_span(struct range_changes *op)
{
    if (!op->is_cut)
        return;
    set_cursor(op, buf_slice(&op->upper));
    op->is_range_end = true;
}

/* Bounds on disk, as far as they are in this range: an end that is longer than keys can be would be
 * no cursor, and the next place that is does as well. */
static int set_bounds(const struct range *range, struct range_changes *op)
{
    uint8_t raw[RANGE_KEY_MAX], cut_raw[DESCRIPTOR_CUT_MAX];
    struct range_span span = range_descriptor_span(&range->meta.descriptor);
    struct slice cut = descriptor_cut_at(span.end, cut_raw);
    size_t key_max = command_limits_default.key_max;
    if (op->end.len > 0 && slice_compare(op->start, op->end) >= 0)
        return err_set(&op->err, ERR_INVALID, "the span to watch is empty");
    if (op->start.len > key_max || op->end.len > key_max)
        return err_set(&op->err, ERR_TOO_LARGE, "a bound is longer than a key can be");
    buf_clear(&op->lower);
    buf_clear(&op->upper);
    buf_append(&op->lower, raw, range_user_key(op->keyspace, op->start, raw));
    size_t len = op->end.len > 0 ? range_user_key(op->keyspace, op->end, raw)
                                 : range_keyspace_end(op->keyspace, raw);
    buf_append(&op->upper, raw, len);
    if (op->lower.failed || op->upper.failed)
        return ERR_NOMEM;
    if (!range_span_contains(span, buf_slice(&op->lower)))
        return ERR_RANGE_CHANGED;
    op->is_cut = slice_compare(buf_slice(&op->upper), cut) > 0 &&
                 cut.len >= RANGE_USER_KEY_PREFIX; /* else all of the keyspace is below it */
    if (op->is_cut) {
        buf_clear(&op->upper);
        buf_append_slice(&op->upper, cut);
    }
    return op->upper.failed ? ERR_NOMEM : 0;
}

static int begin(const struct range *range, struct range_changes *op)
{
    ASSERT(op->state == RANGE_READ_IDLE);
    ASSERT(op->view == NULL);
    buf_clear(&op->changes);
    buf_clear(&op->cursor);
    op->count = 0;
    op->version = 0;
    op->has_more = false;
    op->cursor_version = 0;
    op->is_range_end = false;
    op->err.code = 0;
    op->err.msg[0] = 0;
    op->steps = 0;
    op->bytes = 0;
    if (op->limit_bytes == 0 || op->limit_bytes > RANGE_PAGE_MAX)
        op->limit_bytes = RANGE_PAGE_MAX;
    return set_bounds(range, op);
}

/* How far this replica can answer. One that lags can say no more than what was known. */
static uint64_t last_version(const struct range *range, const struct range_changes *op)
{
    uint64_t last = MAX(range->meta.last_version, op->after);
    return op->upto == 0 ? last : MIN(last, op->upto);
}

/* ---- from the feed --------------------------------------------------------------------- */

/* Bytes that the items of the version at `i` take, as far as they are in the span. */
static size_t weigh_version(const struct range_changes *op, const struct feed *feed, size_t i,
                            size_t end, size_t *ret_next)
{
    uint64_t version = feed_item_at(feed, i)->version;
    size_t bytes = 0;
    for (; i < end && feed_item_at(feed, i)->version == version; i++) {
        const struct feed_item *item = feed_item_at(feed, i);
        if (slice_compare(buf_slice(&op->lower), feed_item_key(item)) <= 0 &&
            slice_compare(feed_item_key(item), buf_slice(&op->upper)) < 0)
            bytes += item->key_len + item->value_len + CHANGE_OVERHEAD;
    }
    *ret_next = i;
    return bytes;
}

static void add_version(struct range_changes *op, const struct feed *feed, size_t i, size_t end)
{
    for (; i < end; i++) {
        const struct feed_item *item = feed_item_at(feed, i);
        struct change change = {
            .kind = item->is_delete ? CHANGE_DELETE : CHANGE_PUT,
            .value = feed_item_value(item),
            .version = item->version,
            .expiry_ms = item->expiry_ms,
        };
        if (slice_compare(buf_slice(&op->lower), feed_item_key(item)) <= 0 &&
            slice_compare(feed_item_key(item), buf_slice(&op->upper)) < 0)
            add_change(op, feed_item_key(item), &change);
    }
}

static int changes_from_feed(struct range *range, struct range_changes *op)
{
    const struct feed *feed = range->feed;
    size_t i, end, next;
    uint64_t last = last_version(range, op);
    feed_find(feed, op->after, &i, &end);
    op->version = last;
    for (; i < end && feed_item_at(feed, i)->version <= last; i = next) {
        size_t bytes = weigh_version(op, feed, i, end, &next);
        if (bytes > 0 && page_is_full(op, bytes)) {
            if (!PLANTED(watch_mark_too_high))
                op->version = feed_item_at(feed, i)->version - 1;
            break;
        }
        add_version(op, feed, i, next);
    }
    end_span(op);
    return op->changes.failed || op->cursor.failed ? ERR_NOMEM : 0;
}

/* ---- from the engine ------------------------------------------------------------------- */

static struct change change_at(const struct lsm_iter *iter)
{
    bool is_delete = lsm_iter_is_delete(iter);
    return (struct change){
        .kind = is_delete ? CHANGE_DELETE : CHANGE_PUT,
        .value = is_delete ? slice_of(NULL, 0) : lsm_iter_value(iter),
        .version = lsm_iter_version(iter),
        .expiry_ms = is_delete ? 0 : lsm_iter_expiry_ms(iter),
    };
}

static bool is_at_key(const struct lsm_iter *iter, const struct buf *key)
{
    return lsm_iter_is_valid(iter) && slice_equal(lsm_iter_key(iter), buf_slice(key));
}

/* From the newest change of `key` that counts to the oldest. */
static void seek_oldest(struct range_changes *op, struct lsm_iter *iter, const struct buf *key)
{
    while (is_at_key(iter, key) && lsm_iter_version(iter) > op->after) {
        op->steps++;
        lsm_iter_next(iter);
    }
    if (lsm_iter_is_valid(iter))
        lsm_iter_prev(iter);
    else if (lsm_iter_status(iter, NULL) == 0)
        lsm_iter_last(iter);
}

/* The key at the iterator has several changes that count: from the oldest on. True: all of
 * them are in the page. */
static bool add_history(struct range_changes *op, struct lsm_iter *iter, const struct buf *key)
{
    uint64_t last = 0;
    for (seek_oldest(op, iter, key); is_at_key(iter, key); lsm_iter_prev(iter)) {
        struct change change = change_at(iter);
        ASSERT(change.version > op->after && change.version > last);
        if (page_is_full(op, key->len + change.value.len + CHANGE_OVERHEAD)) {
            set_cursor(op, buf_slice(key));
            op->cursor_version = last;
            return false;
        }
        add_change(op, buf_slice(key), &change);
        last = change.version;
        op->steps++;
    }
    return true;
}

/* To the first record behind `key`. */
static void skip_key(struct range_changes *op, struct lsm_iter *iter, struct buf *key)
{
    enum { SKIP_STEPS = 16 };
    for (int i = 0; is_at_key(iter, key); i++) {
        op->steps++;
        if (i < SKIP_STEPS) {
            lsm_iter_next(iter);
            continue;
        }
        buf_append_u8(key, 0);
        lsm_iter_seek(iter, buf_slice(key));
        return;
    }
}

/* The changes of the key at the iterator, and on to the next key. False: the page ends. */
static bool add_key(struct range_changes *op, struct lsm_iter *iter, struct buf *key)
{
    buf_clear(key);
    buf_append_slice(key, lsm_iter_key(iter));
    if (key->failed)
        return false;
    if (lsm_iter_version(iter) <= op->after) {
        skip_key(op, iter, key);
        return true;
    }
    struct change change = change_at(iter);
    if (op->steps >= RANGE_STEPS_MAX ||
        page_is_full(op, key->len + change.value.len + CHANGE_OVERHEAD)) {
        set_cursor(op, buf_slice(key));
        return false;
    }
    size_t len = op->changes.len, bytes = op->bytes;
    add_change(op, buf_slice(key), &change);
    op->steps++;
    lsm_iter_next(iter);
    if (!is_at_key(iter, key))
        return true;
    if (lsm_iter_version(iter) > op->after && !PLANTED(watch_latest_only)) {
        op->changes.len = len;
        op->bytes = bytes;
        op->count--;
        if (!add_history(op, iter, key))
            return false;
        if (lsm_iter_status(iter, NULL) == 0) {
            buf_append_u8(key, 0);
            lsm_iter_seek(iter, buf_slice(key));
        }
        return true;
    }
    skip_key(op, iter, key);
    return true;
}

/* A page may end after keys without a change too, if they are many. */
static bool is_long(const struct range_changes *op)
{
    return op->steps >= RANGE_STEPS_MAX;
}

static int changes_from_engine(struct range_changes *op)
{
    struct buf key;
    bool goes_on = true;
    struct lsm_iter *iter = lsm_iter_new(op->view, buf_slice(&op->lower), buf_slice(&op->upper),
                                         op->version, LSM_READ_ALL_VERSIONS | LSM_READ_NO_FILL);
    if (iter == NULL)
        return ERR_NOMEM;
    buf_init(&key, RANGE_KEY_MAX + 1);
    lsm_iter_first(iter);
    while (goes_on && lsm_iter_is_valid(iter)) {
        goes_on = add_key(op, iter, &key);
        if (goes_on && is_long(op) && lsm_iter_is_valid(iter)) {
            set_cursor(op, lsm_iter_key(iter));
            goes_on = false;
        }
    }
    int rv = lsm_iter_is_valid(iter) ? 0 : lsm_iter_status(iter, &op->err);
    if (rv == 0 && !op->has_more)
        end_span(op);
    if (rv == 0 && (key.failed || op->changes.failed || op->cursor.failed))
        rv = ERR_NOMEM;
    buf_fini(&key);
    lsm_iter_free(iter);
    return rv;
}

/* ---- the op ------------------------------------------------------------------------------- */

int range_changes_now(struct range *range, struct range_changes *op)
{
    int rv = begin(range, op);
    if (rv != 0)
        return rv;
    op->version = range->meta.last_version;
    end_span(op);
    return op->cursor.failed ? ERR_NOMEM : 0;
}

int range_changes_start(struct range *range, struct range_changes *op)
{
    const struct range_meta *meta = &range->meta;
    int rv = begin(range, op);
    if (rv != 0)
        return rv;
    ASSERT(op->upto == 0 || op->upto > op->after);
    if (op->after >= meta->last_version || range_feed_reaches(range, op->after)) {
        if (range->feed != NULL && op->after < meta->last_version)
            return changes_from_feed(range, op);
        op->version = last_version(range, op); /* there is nothing yet */
        end_span(op);
        return op->cursor.failed ? ERR_NOMEM : 0;
    }
    op->view = lsm_view_take(range->lsm);
    if (op->view == NULL)
        return ERR_NOMEM;
    /* A delete of just the safe version may be gone: it says nothing that a read needs. */
    if (op->after < meta->safe_version && !PLANTED(watch_below_safe_point)) {
        lsm_view_unref(op->view);
        op->view = NULL;
        op->version = MIN(meta->safe_version, meta->last_version);
        return ERR_VERSION_GONE;
    }
    op->version = last_version(range, op);
    ASSERT(op->cb != NULL);
    op->range = range;
    op->state = RANGE_READ_READING;
    range_busy(range);
    env_work_init(&op->work, changes_execute, changes_complete, op);
    env_work_submit(range->env, ENV_LANE_READ, &op->work);
    return ERR_WOULD_BLOCK;
}

static void changes_execute(struct env_work *work)
{
    struct range_changes *op = work->data;
    op->status = changes_from_engine(op);
    ASSERT(op->status != ERR_WOULD_BLOCK);
}

/* The only place that calls back. Nothing of `op` is touched after. */
static void changes_complete(struct env_work *work)
{
    struct range_changes *op = work->data;
    ASSERT(op->state == RANGE_READ_READING);
    lsm_view_unref(op->view);
    op->view = NULL;
    op->state = RANGE_READ_IDLE;
    range_idle(op->range);
    op->cb(op, op->status);
}
