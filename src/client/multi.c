/* SPDX-License-Identifier: Apache-2.0
 *
 * A get of several keys that lie in several ranges: one part for the keys of each, all of them
 * asked at once.
 *
 *   dispatch ─▶ multi_dispatch() ─▶ all in one range: it goes as it is
 *                    └▶ fanned ─▶ parts in flight ─▶ rows, put in the order of the keys ─▶ cb
 *                          ▲            │ a range has changed: its keys are sorted anew
 *                          └────────────┘
 *
 * Keys of one range are read at one version. Of keys whose range is not known some go ahead
 * alone, as scouts, and so find it; what a scout has read is thrown away if others turn out to be
 * of its range, and read again with them. In the end all rows of a range must be of one version, or
 * they are thrown away and read again, together now. A part that fails for good ends it all. The op
 * itself waits in client->fanned; its deadline is that of all parts, which have no timers of their
 * own.
 */
#include <stdlib.h>

#include "client/client_internal.h"

enum {
    SCOUTS_MAX = 8,             /* keys of unknown ranges that are asked for at a time */
    ROWS_BYTES_MAX = 256 << 20, /* of an answer, put together */
};

struct multi_part {
    struct client_op op;
    struct client_multi *multi;
    struct buf keys;
    uint32_t count;
    uint32_t *places; /* of its keys; owned */
    bool is_scout;
    struct list in_parts;
};

struct multi_key {
    struct slice key;          /* borrowed from the op's request */
    const struct route *route; /* while keys are sorted */
    bool is_asked;             /* a part has it */
    bool is_done;              /* … and its row is here: */
    uint64_t range_id;         /* that it was of then; 0: nobody told */
    uint64_t version;          /* at which it was read */
    size_t row_at;
    size_t row_len;
};

struct client_multi {
    struct client_op *op;
    struct multi_key *keys; /* owned; as many as the request has */
    uint32_t done;
    uint32_t answers; /* parts that were answered */
    uint64_t version; /* of the last */
    struct buf rows;  /* as they came */
    struct list parts;
};

static void part_free(struct multi_part *part)
{
    struct client *client = part->multi->op->client;
    ASSERT(client->parts_active > 0);
    client->parts_active--;
    list_remove(&part->in_parts);
    buf_fini(&part->keys);
    free(part->places);
    free(part);
}

void multi_free(struct client_op *op)
{
    struct client_multi *m = op->multi;
    if (m == NULL)
        return;
    LIST_FOREACH(it, &m->parts)
    {
        struct multi_part *part = list_entry(it, struct multi_part, in_parts);
        (void)client_cancel(&part->op);
        part_free(part);
    }
    buf_fini(&m->rows);
    free(m->keys);
    free(m);
    op->multi = NULL;
}

/* ---- answers --------------------------------------------------------------------- */

static void multi_finish(struct client_multi *m)
{
    struct client_op *op = m->op;
    uint32_t count = op->request.multi_get.keys.count;
    struct buf rows;
    buf_init(&rows, ROWS_BYTES_MAX);
    for (uint32_t i = 0; i < count; i++)
        buf_append(&rows, m->rows.data + m->keys[i].row_at, m->keys[i].row_len);
    if (rows.failed) {
        buf_fini(&rows);
        op_fail(op, ERR_NOMEM, "out of memory for the rows");
        return;
    }
    struct response response = {
        .id = op->sent_id,
        .trace_id = op->request.trace_id,
        .kind = REQUEST_MULTI_GET,
        .rows = {.rows = {.count = count, .raw = buf_slice(&rows)},
                 .version = m->answers == 1 ? m->version : 0},
    };
    struct client_result result = {.response = &response};
    op_finish(op, &result);
    buf_fini(&rows);
}

static const struct route *route_of(struct client_op *op, struct slice key)
{
    uint8_t raw[ROUTE_KEY_PREFIX + KEY_WIRE_MAX];
    if (key.len > KEY_WIRE_MAX)
        return NULL;
    return route_find(&op->client->routes,
                      route_key(op->request.multi_get.read.keyspace, key, raw));
}

/* ---- one version for each range -------------------------------------------------------- */

struct seen {
    uint64_t range_id;
    uint64_t version;
};

static int compare_seen(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;
    if (x->range_id != y->range_id)
        return x->range_id < y->range_id ? -1 : 1;
    return (x->version > y->version) - (x->version < y->version);
}

/* A range whose rows are not all of one version, above `after`; 0: there is none. */
static uint64_t torn_range(const struct seen *seen, uint32_t count, uint64_t after)
{
    for (uint32_t i = 1; i < count; i++) {
        if (seen[i].range_id > after && seen[i].range_id == seen[i - 1].range_id &&
            seen[i].version != seen[i - 1].version)
            return seen[i].range_id;
    }
    return 0;
}

static void reopen_range(struct client_multi *m, uint64_t range_id)
{
    for (uint32_t i = 0; i < m->op->request.multi_get.keys.count; i++) {
        struct multi_key *k = &m->keys[i];
        if (!k->is_done || k->range_id != range_id)
            continue;
        k->is_done = false;
        m->done--;
    }
}

/* What was thrown away goes from memory, too. */
static int rows_pack(struct client_multi *m)
{
    struct buf rows;
    buf_init(&rows, ROWS_BYTES_MAX);
    for (uint32_t i = 0; i < m->op->request.multi_get.keys.count; i++) {
        struct multi_key *k = &m->keys[i];
        size_t at = rows.len;
        if (!k->is_done)
            continue;
        buf_append(&rows, m->rows.data + k->row_at, k->row_len);
        k->row_at = at;
    }
    if (rows.failed) {
        buf_fini(&rows);
        return ERR_NOMEM;
    }
    buf_fini(&m->rows);
    m->rows = rows;
    return 0;
}

/* All rows are here: those of ranges that are not of one version are to be read again. */
static int multi_judge(struct client_multi *m)
{
    uint32_t count = m->op->request.multi_get.keys.count;
    struct seen *seen = malloc(count * sizeof *seen);
    if (seen == NULL)
        return ERR_NOMEM;
    ASSERT(m->done == count);
    for (uint32_t i = 0; i < count; i++)
        seen[i] = (struct seen){m->keys[i].range_id, m->keys[i].version};
    qsort(seen, count, sizeof *seen, compare_seen);
    for (uint64_t id = 0; (id = torn_range(seen, count, id)) != 0;)
        reopen_range(m, id);
    free(seen);
    return m->done < count ? rows_pack(m) : 0;
}

/* ---- answers to parts -------------------------------------------------------------------- */

/* Is some other key that has no row yet of the same range? */
static bool scout_has_company(const struct client_multi *m, const struct multi_part *part)
{
    const struct route *route = route_of(m->op, m->keys[part->places[0]].key);
    for (uint32_t i = 0; i < m->op->request.multi_get.keys.count && route != NULL; i++) {
        if (i != part->places[0] && !m->keys[i].is_done && route_of(m->op, m->keys[i].key) == route)
            return true;
    }
    return false;
}

/* Keep the rows of a part. */
static void rows_take(struct client_multi *m, const struct multi_part *part,
                      const struct response_rows *rows)
{
    struct unpack cursor = unpack_of(rows->rows.raw);
    ASSERT(rows->rows.count == part->count); /* answer_check() */
    const struct route *route = route_of(m->op, m->keys[part->places[0]].key);
    for (uint32_t i = 0; i < part->count; i++) {
        struct multi_key *k = &m->keys[part->places[i]];
        const uint8_t *begin = cursor.pos;
        struct row row;
        row_next(&cursor, &row);
        k->row_at = m->rows.len;
        k->row_len = (size_t)(cursor.pos - begin);
        k->is_done = true;
        k->range_id = route == NULL ? 0 : route->range_id;
        k->version = rows->version;
        buf_append(&m->rows, begin, k->row_len);
    }
    m->done += part->count;
    m->answers++;
    m->version = rows->version;
}

static void multi_end(struct client_multi *m)
{
    if (multi_judge(m) != 0)
        op_fail(m->op, ERR_NOMEM, "out of memory for the rows");
    else if (m->done == m->op->request.multi_get.keys.count)
        multi_finish(m);
}

static void part_done(struct client_op *op, const struct client_result *result)
{
    struct multi_part *part = op->data;
    struct client_multi *m = part->multi;
    struct client *client = m->op->client;
    for (uint32_t i = 0; i < part->count; i++)
        m->keys[part->places[i]].is_asked = false;
    bool is_good = result->status == 0 && result->response != NULL;
    if (is_good && !(part->is_scout && scout_has_company(m, part)))
        rows_take(m, part, &result->response->rows);
    part_free(part);
    if (m->rows.failed) {
        op_fail(m->op, ERR_TOO_LARGE, "the values are too large to be told together");
    } else if (m->done == m->op->request.multi_get.keys.count) {
        multi_end(m);
    } else if (!is_good && result->status != ERR_RANGE_CHANGED) {
        struct client_result failure = {.status = result->status, .text = result->text};
        op_finish(m->op, &failure);
    }
    multi_wake(client);
}

/* ---- parts -------------------------------------------------------------------------- */

/* One part with the keys at `places`, which it owns from here on. */
static bool part_start(struct client_multi *m, uint32_t *places, uint32_t count, bool is_scout)
{
    struct client_op *op = m->op;
    struct client *client = op->client;
    uint64_t now_us = env_now_us(client->env);
    struct multi_part *part = calloc(1, sizeof *part);
    if (part == NULL) {
        free(places);
        return false;
    }
    part->multi = m;
    part->places = places;
    part->count = count;
    part->is_scout = is_scout;
    list_init(&part->in_parts);
    list_push_back(&m->parts, &part->in_parts);
    client->parts_active++;
    buf_init(&part->keys, FRAME_BODY_MAX);
    for (uint32_t i = 0; i < count; i++) {
        request_key_append(&part->keys, m->keys[places[i]].key);
        m->keys[places[i]].is_asked = true;
    }
    uint64_t left_us = op->deadline_us > now_us ? op->deadline_us - now_us : 0;
    part->op = (struct client_op){
        .data = part,
        .request = {.kind = REQUEST_MULTI_GET,
                    .trace_id = op->request.trace_id,
                    .multi_get = {.read = op->request.multi_get.read,
                                  .keys = {.count = count, .raw = buf_slice(&part->keys)}}},
        .timeout_ms = (uint32_t)(left_us / 1000 + 1),
        .cluster_id = op->cluster_id,
        .is_part = true,
        .cb = part_done,
    };
    if (part->keys.failed || client_submit_internal(client, &part->op) != 0) {
        part_free(part);
        return false;
    }
    part->op.deadline_us = op->deadline_us; /* which ends them all, at once */
    env_timer_stop(&part->op.deadline);
    return true;
}

const struct client_op *multi_last_open(const struct client_op *op)
{
    const struct client_op *last = op;
    if (op->multi == NULL)
        return op;
    LIST_FOREACH(it, &op->multi->parts)
    {
        const struct client_op *part = &list_entry(it, struct multi_part, in_parts)->op;
        if (part->state == CLIENT_OP_SENT)
            return part;
        if (part->last_error != 0)
            last = part;
    }
    return last;
}

static bool is_open(const struct multi_key *k)
{
    return !k->is_done && !k->is_asked;
}

/* A part for each known range, and a few keys of unknown ones alone. */
static bool multi_start_parts(struct client_multi *m)
{
    struct client *client = m->op->client;
    uint32_t count = m->op->request.multi_get.keys.count;
    uint32_t scouts = 0;
    for (uint32_t i = 0; i < count; i++)
        m->keys[i].route = is_open(&m->keys[i]) ? route_of(m->op, m->keys[i].key) : NULL;
    for (uint32_t i = 0; i < count && client->parts_active < CLIENT_PARTS_MAX; i++) {
        const struct route *route = m->keys[i].route;
        if (!is_open(&m->keys[i]) || (route == NULL && scouts++ >= SCOUTS_MAX))
            continue;
        uint32_t n = 0;
        uint32_t *places = malloc((count - i) * sizeof *places);
        if (places == NULL)
            return false;
        for (uint32_t k = i; k < count && (route != NULL || n == 0); k++) {
            if (is_open(&m->keys[k]) && m->keys[k].route == route)
                places[n++] = k;
        }
        if (!part_start(m, places, n, route == NULL))
            return false;
    }
    return true;
}

void multi_wake(struct client *client)
{
    if (list_is_empty(&client->fanned))
        return;
    client->wants_parts = true;
    client_poke(client);
}

void multi_step_all(struct client *client)
{
    client->wants_parts = false;
    LIST_FOREACH(it, &client->fanned)
    {
        struct client_op *op = list_entry(it, struct client_op, in_queue);
        if (!multi_start_parts(op->multi)) {
            op_fail(op, ERR_NOMEM, "out of memory for the parts");
            return; /* what its end has changed is looked at in the next round */
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------ */

static bool is_of_one_range(struct client_op *op)
{
    struct unpack u = unpack_of(op->request.multi_get.keys.raw);
    const struct route *first = route_of(op, request_key_next(&u));
    for (uint32_t i = 1; first != NULL && i < op->request.multi_get.keys.count; i++) {
        if (route_of(op, request_key_next(&u)) != first)
            return false;
    }
    return true; /* or nothing is known yet: the store that is asked will tell */
}

bool multi_dispatch(struct client_op *op)
{
    uint32_t count = op->request.multi_get.keys.count;
    if (op->request.kind != REQUEST_MULTI_GET || op->only != NULL || op->range_id != 0 ||
        op->is_part || count < 2 || is_of_one_range(op))
        return false;
    struct client_multi *m = calloc(1, sizeof *m);
    struct multi_key *keys = calloc(count, sizeof *keys);
    if (m == NULL || keys == NULL) {
        free(m);
        free(keys);
        op_fail(op, ERR_NOMEM, "out of memory for the parts");
        return true;
    }
    struct unpack u = unpack_of(op->request.multi_get.keys.raw);
    for (uint32_t i = 0; i < count; i++)
        keys[i].key = request_key_next(&u);
    *m = (struct client_multi){.op = op, .keys = keys};
    buf_init(&m->rows, ROWS_BYTES_MAX);
    list_init(&m->parts);
    op->multi = m;
    op_queue(op, &op->client->fanned);
    multi_wake(op->client);
    return true;
}
