/* SPDX-License-Identifier: Apache-2.0
 *
 * Gets: one row for each key. Scans stand in scan.c.
 *
 *  - start: take a view, judge the version, go on the loop without I/O;
 *  - would block, or it grows long: the same code goes on where it was, on the
 *    same view, on ENV_LANE_READ;
 *  - complete: give the view back, call back.
 */
#include "range/read.h"

#include "base/plant.h"
#include "range/range_internal.h"
#include "range/read_internal.h"
#include "wire/frame.h"
#include "wire/request.h"
#include "wire/response.h"

enum {
    ROWS_BYTES_MAX = FRAME_BODY_MAX - RESPONSE_AROUND_MAX, /* a page with a last large row fits */
    ROW_OVERHEAD = 32,
    ROW_AHEAD = 4096, /* bytes of room for a first row, at most */
};

_Static_assert(RANGE_MULTI_GET_MAX + REQUEST_KEYS_MAX * ROW_OVERHEAD <= ROWS_BYTES_MAX,
               "the rows of a multi-get fit into a frame");

static void read_execute(struct env_work *work);
static void read_complete(struct env_work *work);

void range_read_init(struct range_read *read)
{
    *read = (struct range_read){.state = RANGE_READ_IDLE};
    buf_init(&read->rows, ROWS_BYTES_MAX);
    buf_init(&read->cursor, CURSOR_WIRE_MAX);
    buf_init(&read->lower, RANGE_KEY_MAX + 1);
    buf_init(&read->upper, RANGE_KEY_MAX + 1);
}

void range_read_fini(struct range_read *read)
{
    buf_fini(&read->rows);
    buf_fini(&read->cursor);
    buf_fini(&read->lower);
    buf_fini(&read->upper);
    lsm_view_unref(read->view);
    read->view = NULL;
    read->state = RANGE_READ_IDLE;
}

int read_judge(struct range_read *read, uint64_t expiry_ms, bool *ret_is_visible)
{
    *ret_is_visible = expiry_ms == 0 || expiry_ms > read->judge_ms;
    if (expiry_ms == 0 || !*ret_is_visible || expiry_ms > read->now_ms || read->at_version != 0)
        return 0;
    read->needs_stamp = true;
    return ERR_STATE;
}

void read_add_row(struct range_read *read, struct slice key, struct slice value, uint64_t version,
                  uint64_t expiry_ms)
{
    struct row row = {.key = key, .value = value, .version = version};
    if (expiry_ms != 0) {
        ASSERT(expiry_ms > read->judge_ms);
        uint64_t now = MAX(read->judge_ms, MIN(read->now_ms, expiry_ms - 1));
        row.ttl_ms = expiry_ms - now;
    }
    if (read->rows.cap == 0) /* the one of a get is all that comes */
        buf_reserve(&read->rows, MIN(key.len + value.len + ROW_OVERHEAD, (size_t)ROW_AHEAD));
    row_append(&read->rows, &row);
    read->row_count++;
    read->bytes += key.len + value.len + ROW_OVERHEAD;
}

static void add_failed_row(struct range_read *read, int status)
{
    struct row row = {.status = status};
    row_append(&read->rows, &row);
    read->row_count++;
}

bool read_is_too_long(const struct range_read *read, size_t more, unsigned flags)
{
    return (flags & LSM_READ_NO_IO) != 0 && read->loop_bytes != 0 &&
           more > read->loop_bytes - MIN(read->bytes, read->loop_bytes);
}

/* What becomes of a value that is there. */
static int add_value(struct range_read *read, const struct lsm_value *value, unsigned flags)
{
    if (value->data.len > RANGE_MULTI_GET_MAX - MIN(read->bytes, RANGE_MULTI_GET_MAX)) {
        add_failed_row(read, ERR_TOO_LARGE);
        return 0;
    }
    bool is_too_long = read_is_too_long(read, value->data.len, flags);
    if (is_too_long && read->kind == RANGE_READ_MULTI_GET)
        return ERR_WOULD_BLOCK;
    if (is_too_long) {
        read->value_bytes = value->data.len;
        return ERR_BUSY;
    }
    bool is_on_loop = (flags & LSM_READ_NO_IO) != 0;
    if (is_on_loop && read->aside_bytes > 0 && value->data.len >= read->aside_bytes)
        return ERR_WOULD_BLOCK;
    read_add_row(read, slice_of(NULL, 0), value->data, value->version, value->expiry_ms);
    return 0;
}

static int get_key(struct range_read *read, struct slice key, unsigned flags)
{
    uint8_t raw[RANGE_KEY_MAX];
    struct lsm_value value = {0};
    bool is_visible = false;
    ASSERT(key.len <= sizeof raw - RANGE_USER_KEY_PREFIX);
    range_key_prefix(read->keyspace, raw);
    memcpy(raw + RANGE_USER_KEY_PREFIX, key.data, key.len);
    struct slice on_disk = slice_of(raw, RANGE_USER_KEY_PREFIX + key.len);
    int rv = lsm_get(read->view, on_disk, read->version, flags, &value, &read->err);
    if (rv == 0)
        rv = read_judge(read, value.expiry_ms, &is_visible);
    else if (rv == ERR_NOT_FOUND)
        rv = 0;
    if (rv == 0 && is_visible)
        rv = add_value(read, &value, flags);
    else if (rv == 0)
        add_failed_row(read, ERR_NOT_FOUND);
    lsm_value_fini(&value);
    return rv;
}

static int get_many(struct range_read *read, unsigned flags)
{
    while (read->keys_left > 0) {
        if ((flags & LSM_READ_NO_IO) != 0 && read->row_count >= RANGE_INLINE_MAX)
            return ERR_WOULD_BLOCK;
        struct unpack next = read->next_key;
        int rv = get_key(read, request_key_next(&next), flags);
        if (rv != 0)
            return rv;
        read->next_key = next;
        read->keys_left--;
    }
    return 0;
}

/* Go on from where it is; off the loop when `flags` allow I/O. */
static int read_go(struct range_read *read, unsigned flags)
{
    int rv = ERR_INVALID;
    switch (read->kind) {
    case RANGE_READ_GET:
        rv = get_key(read, read->key, flags);
        break;
    case RANGE_READ_MULTI_GET:
        rv = get_many(read, flags);
        break;
    case RANGE_READ_SCAN:
        rv = read_scan(read, flags);
        break;
    }
    if (rv == 0 && (read->rows.failed || read->cursor.failed))
        rv = ERR_NOMEM;
    return rv;
}

int read_check_seam(struct range_read *read, uint64_t least)
{
    if (read->at_version == 0 || read->version >= least)
        return 0;
    return err_set(&read->err, ERR_VERSION_GONE,
                   "version %llu is from before a merge: its range was another one",
                   (unsigned long long)read->version);
}

static int check_key(const struct range *range, struct range_read *read, struct slice key)
{
    uint8_t raw[RANGE_KEY_MAX];
    const struct seams *seams = &range_meta(range)->seams;
    int rv = key.len == 0 ? ERR_INVALID : range_check_key(range, read->keyspace, key);
    if (rv != 0 || read->at_version == 0 || seams->count == 0)
        return rv;
    size_t len = range_user_key(read->keyspace, key, raw);
    return read_check_seam(read, seams_least_at(seams, slice_of(raw, len)));
}

static int check_keys(const struct range *range, struct range_read *read)
{
    if (read->kind == RANGE_READ_GET)
        return check_key(range, read, read->key);
    if (read->kind == RANGE_READ_SCAN)
        return read_scan_begin(range, read);
    struct unpack cursor = unpack_of(read->keys.raw);
    for (uint32_t i = 0; i < read->keys.count; i++) {
        int rv = check_key(range, read, request_key_next(&cursor));
        if (rv != 0)
            return rv;
    }
    read->next_key = unpack_of(read->keys.raw);
    read->keys_left = read->keys.count;
    return 0;
}

/* Of keys that are this range's: versions of another range say nothing here. */
static int check_version(const struct range *range, struct range_read *read)
{
    const struct range_meta *meta = range_meta(range);
    if (read->version > meta->last_version)
        return err_set(&read->err, ERR_INVALID, "version %llu was never given here",
                       (unsigned long long)read->version);
    if (read->at_version != 0 && read->version < meta->safe_version)
        return ERR_VERSION_GONE;
    read->judge_ms = MIN(read->version >> RANGE_VERSION_COUNTER_BITS, meta->time_ms);
    return 0;
}

static void read_reset(struct range_read *read)
{
    buf_clear(&read->rows);
    buf_clear(&read->cursor);
    read->row_count = 0;
    read->has_more = false;
    read->is_range_end = false;
    read->is_cut = false;
    read->needs_stamp = false;
    read->value_bytes = 0;
    read->err.code = 0;
    read->err.msg[0] = 0;
    read->steps = 0;
    read->bytes = 0;
    read->status = 0;
}

int range_read_start(struct range *range, struct range_read *read)
{
    ASSERT(read->state == RANGE_READ_IDLE);
    ASSERT(read->view == NULL);
    read_reset(read);
    read->view = lsm_view_take(range->lsm);
    if (read->view == NULL)
        return ERR_NOMEM;
    read->version = read->at_version == 0 ? range_meta(range)->last_version : read->at_version;
    int rv = PLANTED(version_before_keys) ? check_version(range, read) : 0;
    if (rv == 0)
        rv = check_keys(range, read);
    if (rv == 0)
        rv = check_version(range, read); /* after the view is taken */
    if (rv == 0)
        rv = read_go(read, LSM_READ_NO_IO);
    if (rv != ERR_WOULD_BLOCK) {
        lsm_view_unref(read->view);
        read->view = NULL;
        return rv;
    }
    ASSERT(read->cb != NULL);
    read->range = range;
    read->state = RANGE_READ_READING;
    range_busy(range);
    env_work_init(&read->work, read_execute, read_complete, read);
    env_work_submit(range->env, ENV_LANE_READ, &read->work);
    return ERR_WOULD_BLOCK;
}

static void read_execute(struct env_work *work)
{
    struct range_read *read = work->data;
    if (PLANTED(read_goes_on_newer)) {
        lsm_view_unref(read->view);
        read->view = lsm_view_take(read->range->lsm);
        read->version = UINT64_MAX;
    }
    read->status = read_go(read, 0);
    ASSERT(read->status != ERR_WOULD_BLOCK);
    if (read->status == 0 && read->made != NULL)
        read->status = read->made(read);
}

/* The only place that calls back. Nothing of `read` is touched after. */
static void read_complete(struct env_work *work)
{
    struct range_read *read = work->data;
    ASSERT(read->state == RANGE_READ_READING);
    lsm_view_unref(read->view);
    read->view = NULL;
    read->state = RANGE_READ_IDLE;
    range_idle(read->range);
    read->cb(read, read->status);
}
