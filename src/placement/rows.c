/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver's rows in range 1, and how they become durable: what is dirty is gathered into
 * one write at a time.
 *
 *   placement/ids/KIND           varint: numbers from here on were never given out
 *   placement/store/ID           who it is, and what is wished of it
 *   placement/setting/NAME       its text
 *   placement/ended/ID           into whom, at which span epoch
 *   placement/route/ID           the last known descriptor
 *   placement/keyspace/ID        its name, and how it is stored
 *
 * Values are msgpack but for the texts; ids in keys are 16 hexadecimal digits, so that rows
 * stand in their order.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "placement/placement_internal.h"
#include "wire/pack.h"

#define PREFIX "placement/"

enum { ARENA_MAX = 4 << 20, GONE_MAX = 1 << 20 };

/* Rows that are to go, or ended ranges that are to come. */
struct id_queue {
    uint64_t *ids;
    uint32_t count;
    uint32_t cap;
};

struct pl_rows {
    struct id_queue ended;      /* to be written */
    struct id_queue ended_gone; /* to be deleted … */
    struct id_queue stores_gone;
    struct id_queue keyspaces_gone;
    struct id_queue routes;  /* to be written, if it is there still, else deleted */
    uint64_t settings_dirty; /* a bit for each */
    /* the write on its way */
    bool is_flying;
    bool is_busy;      /* it must be offered again */
    bool has_words;    /* keyspaces or settings are in it */
    bool has_removals; /* stores that were removed are in it */
    uint64_t write_id;
    uint32_t row_count;
    struct placement_row rows[PLACEMENT_WRITE_ROWS_MAX];
    struct {
        uint32_t key_at, key_len, value_at, value_len;
    } at[PLACEMENT_WRITE_ROWS_MAX];
    struct buf bytes;
    uint64_t ids_want[PLACEMENT_IDS_NR];
    uint64_t stores_written[PLACEMENT_WRITE_ROWS_MAX];
    uint32_t stores_count;
};

static const char *const ids_names[PLACEMENT_IDS_NR] = {
    [PLACEMENT_IDS_STORE] = "store",       [PLACEMENT_IDS_RANGE] = "range",
    [PLACEMENT_IDS_REPLICA] = "replica",   [PLACEMENT_IDS_OPERATOR] = "operator",
    [PLACEMENT_IDS_KEYSPACE] = "keyspace",
};

int pl_rows_init(struct placement *p)
{
    ASSERT(settings_count() <= 64);
    p->rows = calloc(1, sizeof *p->rows);
    if (p->rows == NULL)
        return ERR_NOMEM;
    buf_init(&p->rows->bytes, ARENA_MAX);
    return 0;
}

void pl_rows_fini(struct placement *p)
{
    if (p->rows == NULL)
        return;
    free(p->rows->ended.ids);
    free(p->rows->ended_gone.ids);
    free(p->rows->stores_gone.ids);
    free(p->rows->keyspaces_gone.ids);
    free(p->rows->routes.ids);
    buf_fini(&p->rows->bytes);
    free(p->rows);
    p->rows = NULL;
}

/* ---- what is dirty --------------------------------------------------------------------- */

static bool queue_push(struct placement *p, struct id_queue *q, uint64_t id)
{
    if (p->is_copy)
        return true;
    if (q->count == q->cap) {
        uint32_t cap = q->cap == 0 ? 64 : q->cap * 2;
        uint64_t *ids = cap > GONE_MAX * 2 ? NULL : realloc(q->ids, cap * sizeof *ids);
        if (ids == NULL)
            return false;
        q->ids = ids;
        q->cap = cap;
    }
    q->ids[q->count++] = id;
    return true;
}

void pl_rows_ended(struct placement *p, const struct pl_ended *ended)
{
    if (!p->is_loaded)
        return; /* it comes from its row */
    if (!queue_push(p, &p->rows->ended, ended->id))
        p->is_broken = true;
}

void pl_rows_forget_ended(struct placement *p, uint64_t range_id)
{
    if (!queue_push(p, &p->rows->ended_gone, range_id))
        p->is_broken = true; /* the table would grow for ever */
}

void pl_rows_store_gone(struct placement *p, uint64_t store_id)
{
    if (!queue_push(p, &p->rows->stores_gone, store_id))
        p->is_broken = true; /* or a removed store would come back */
}

void pl_rows_keyspace_gone(struct placement *p, uint32_t id)
{
    if (!queue_push(p, &p->rows->keyspaces_gone, id))
        p->is_broken = true; /* or it would come back */
}

void pl_rows_route(struct placement *p, struct pl_range *r)
{
    if (p->is_loaded && !r->is_route_dirty && queue_push(p, &p->rows->routes, r->id))
        r->is_route_dirty = true; /* else the row stays old, which is no harm */
}

void pl_rows_route_gone(struct placement *p, uint64_t range_id)
{
    if (p->is_loaded)
        queue_push(p, &p->rows->routes, range_id);
}

void pl_rows_setting(struct placement *p, uint32_t i)
{
    p->rows->settings_dirty |= UINT64_C(1) << i;
}

bool placement_is_durable(const struct placement *p)
{
    const struct pl_rows *w = p->rows;
    for (uint32_t i = 0; i < p->store_count; i++) {
        if (p->by_id[i]->is_dirty)
            return false;
    }
    for (uint32_t i = 0; i < p->keyspace_count; i++) {
        if (p->keyspaces[i].is_dirty)
            return false;
    }
    return !p->is_broken && !w->is_flying && w->stores_gone.count == 0 &&
           w->keyspaces_gone.count == 0 && w->settings_dirty == 0;
}

bool placement_words_are_durable(const struct placement *p)
{
    const struct pl_rows *w = p->rows;
    for (uint32_t i = 0; i < p->keyspace_count; i++) {
        if (p->keyspaces[i].is_dirty)
            return false;
    }
    return !p->is_broken && !(w->is_flying && w->has_words) && w->keyspaces_gone.count == 0 &&
           w->settings_dirty == 0;
}

bool placement_removals_are_durable(const struct placement *p)
{
    const struct pl_rows *w = p->rows;
    return !p->is_broken && !(w->is_flying && w->has_removals) && w->stores_gone.count == 0;
}

bool pl_rows_is_idle(const struct placement *p)
{
    const struct pl_rows *w = p->rows;
    for (int kind = 0; kind < PLACEMENT_IDS_NR; kind++) {
        if (p->ids[kind].want > p->ids[kind].limit)
            return false;
    }
    return placement_is_durable(p) && w->ended.count == 0 && w->ended_gone.count == 0 &&
           w->routes.count == 0;
}

/* ---- composing a write -------------------------------------------------------------------- */

/* Begin a row; its value is what is appended to `bytes` until end_row(). */
static void begin_row(struct pl_rows *w, const char *kind, const char *name, bool is_delete)
{
    uint32_t i = w->row_count;
    ASSERT(i < PLACEMENT_WRITE_ROWS_MAX);
    w->at[i].key_at = (uint32_t)w->bytes.len;
    buf_printf(&w->bytes, PREFIX "%s/%s", kind, name);
    w->at[i].key_len = (uint32_t)w->bytes.len - w->at[i].key_at;
    w->at[i].value_at = (uint32_t)w->bytes.len;
    w->rows[i].is_delete = is_delete;
}

static void begin_id_row(struct pl_rows *w, const char *kind, uint64_t id, bool is_delete)
{
    char name[17];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)id);
    begin_row(w, kind, name, is_delete);
}

static void end_row(struct pl_rows *w)
{
    uint32_t i = w->row_count++;
    w->at[i].value_len = (uint32_t)w->bytes.len - w->at[i].value_at;
}

static bool is_full(const struct pl_rows *w)
{
    return w->row_count == PLACEMENT_WRITE_ROWS_MAX || w->bytes.len >= ARENA_MAX / 2;
}

static void put_ids(struct placement *p)
{
    struct pl_rows *w = p->rows;
    for (int kind = 0; kind < PLACEMENT_IDS_NR; kind++) {
        w->ids_want[kind] = p->ids[kind].want;
        if (p->ids[kind].want <= p->ids[kind].limit || (w->write_id > 0 && PLANTED(id_reused)))
            continue;
        begin_row(w, "ids", ids_names[kind], false);
        pack_uint(&w->bytes, p->ids[kind].want);
        end_row(w);
    }
}

enum {
    FIELD_UUID = 1,
    FIELD_ADDRESS,
    FIELD_LABELS,
    FIELD_WISH,
    FIELD_WAS_DOWN,
    FIELD_INTO = 1,
    FIELD_EPOCH,
};

static void put_store(struct pl_rows *w, struct pl_store *s)
{
    begin_id_row(w, "store", s->id, false);
    struct pack_fields f = pack_fields_begin(&w->bytes);
    pack_field_bin(&f, FIELD_UUID, slice_of(s->uuid, sizeof s->uuid));
    pack_field_str(&f, FIELD_ADDRESS, slice_str(s->address));
    pack_field_str(&f, FIELD_LABELS, slice_str(s->labels));
    pack_field_uint(&f, FIELD_WISH, s->wish);
    pack_field_bool(&f, FIELD_WAS_DOWN, s->was_down);
    pack_fields_end(&f);
    end_row(w);
    s->is_dirty = false;
    w->stores_written[w->stores_count++] = s->id;
}

static void put_keyspace(struct pl_rows *w, struct pl_keyspace *k)
{
    begin_id_row(w, "keyspace", k->id, false);
    pl_keyspace_encode(&w->bytes, k);
    end_row(w);
    k->is_dirty = false;
}

static void put_ended(struct placement *p, uint64_t id)
{
    struct pl_rows *w = p->rows;
    const struct pl_ended *ended = pl_ended_find(p, id);
    if (ended == NULL)
        return;
    begin_id_row(w, "ended", id, false);
    struct pack_fields f = pack_fields_begin(&w->bytes);
    pack_field_uint(&f, FIELD_INTO, ended->into);
    pack_field_uint(&f, FIELD_EPOCH, ended->epoch);
    pack_fields_end(&f);
    end_row(w);
}

static void put_route(struct placement *p, uint64_t id)
{
    struct pl_rows *w = p->rows;
    struct pl_range *r = pl_range_get(p, id);
    struct descriptor d;
    begin_id_row(w, "route", id, r == NULL);
    if (r != NULL) {
        pl_range_describe(r, &d);
        descriptor_encode(&w->bytes, &d);
        r->is_route_dirty = false;
    }
    end_row(w);
}

static void put_gone(struct pl_rows *w, const char *kind, struct id_queue *q)
{
    while (q->count > 0 && !is_full(w)) {
        begin_id_row(w, kind, q->ids[--q->count], true);
        end_row(w);
    }
}

static void compose(struct placement *p)
{
    struct pl_rows *w = p->rows;
    buf_clear(&w->bytes);
    w->row_count = 0;
    w->stores_count = 0;
    put_ids(p);
    uint32_t before_removals = w->row_count;
    put_gone(w, "store", &w->stores_gone);
    w->has_removals = w->row_count > before_removals;
    for (uint32_t i = 0; i < p->store_count && !is_full(w); i++) {
        if (p->by_id[i]->is_dirty)
            put_store(w, p->by_id[i]);
    }
    uint32_t before_words = w->row_count;
    put_gone(w, "keyspace", &w->keyspaces_gone);
    for (uint32_t i = 0; i < p->keyspace_count && !is_full(w); i++) {
        if (p->keyspaces[i].is_dirty)
            put_keyspace(w, &p->keyspaces[i]);
    }
    for (uint32_t i = 0; i < settings_count() && !is_full(w); i++) {
        if ((w->settings_dirty >> i & 1) == 0)
            continue;
        begin_row(w, "setting", settings_name(i), false);
        settings_get(&p->settings, i, &w->bytes);
        end_row(w);
        w->settings_dirty &= ~(UINT64_C(1) << i);
    }
    w->has_words = w->row_count > before_words;
    while (w->ended.count > 0 && !is_full(w))
        put_ended(p, w->ended.ids[--w->ended.count]);
    put_gone(w, "ended", &w->ended_gone);
    while (w->routes.count > 0 && !is_full(w))
        put_route(p, w->routes.ids[--w->routes.count]);
}

bool placement_next_write(struct placement *p, struct placement_write *ret_write)
{
    struct pl_rows *w = p->rows;
    if (!p->is_loaded || p->is_broken || (w->is_flying && !w->is_busy))
        return false;
    if (!w->is_busy) {
        compose(p);
        if (w->bytes.failed)
            p->is_broken = true;
        if (w->row_count == 0 || p->is_broken)
            return false;
        w->write_id++;
    }
    for (uint32_t i = 0; i < w->row_count; i++) {
        w->rows[i].key = slice_of(w->bytes.data + w->at[i].key_at, w->at[i].key_len);
        w->rows[i].value = slice_of(w->bytes.data + w->at[i].value_at, w->at[i].value_len);
    }
    w->is_flying = true;
    w->is_busy = false;
    *ret_write = (struct placement_write){
        .id = w->write_id,
        .term = p->opt.term,
        .row_count = w->row_count,
        .rows = w->rows,
    };
    return true;
}

void placement_written(struct placement *p, uint64_t write_id, int status)
{
    struct pl_rows *w = p->rows;
    if (!w->is_flying || write_id != w->write_id)
        return;
    if (status == ERR_BUSY) {
        w->is_busy = true;
        return;
    }
    w->is_flying = false;
    if (status != 0) {
        p->is_broken = true;
        return;
    }
    for (int kind = 0; kind < PLACEMENT_IDS_NR; kind++)
        p->ids[kind].limit = MAX(p->ids[kind].limit, w->ids_want[kind]);
    for (uint32_t i = 0; i < w->stores_count; i++) {
        struct pl_store *s = pl_store_get(p, w->stores_written[i]);
        if (s != NULL && !s->is_ghost)
            s->is_durable = true;
    }
}

/* ---- loading ----------------------------------------------------------------------------------
 */

static bool parse_id(struct slice text, uint64_t *ret_id)
{
    uint64_t id = 0;
    if (text.len != 16)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit && !(c >= 'a' && c <= 'f'))
            return false;
        id = id << 4 | (uint64_t)(is_digit ? c - '0' : c - 'a' + 10);
    }
    *ret_id = id;
    return id > 0;
}

static int load_ids(struct placement *p, struct slice name, struct slice value, struct err *err)
{
    struct unpack u = unpack_of(value);
    uint64_t limit = unpack_uint(&u);
    int rv = unpack_finish(&u, "ids", err);
    for (int kind = 0; kind < PLACEMENT_IDS_NR && rv == 0; kind++) {
        struct pl_ids *ids = &p->ids[kind];
        if (!slice_equal(name, slice_str(ids_names[kind])))
            continue;
        ids->next = MAX(ids->next, limit);
        ids->limit = ids->want = MAX(ids->limit, ids->next);
    }
    return rv;
}

struct store_row {
    uint8_t uuid[STORE_UUID_LEN];
    struct slice address;
    struct slice labels;
    uint64_t wish;
    bool was_down;
};

static void read_store(struct unpack *u, struct store_row *row)
{
    uint64_t seen = 0;
    uint32_t pairs = unpack_map(u);
    for (uint32_t i = 0; i < pairs && !u->bad; i++) {
        switch (unpack_key(u, &seen)) {
        case FIELD_UUID:
            unpack_bin_exact(u, row->uuid, sizeof row->uuid);
            break;
        case FIELD_ADDRESS:
            row->address = unpack_str_max(u, ADDRESS_MAX);
            break;
        case FIELD_LABELS:
            row->labels = unpack_str_max(u, PLACEMENT_LABELS_MAX - 1);
            break;
        case FIELD_WISH:
            row->wish = unpack_uint_max(u, PLACEMENT_WISH_DECOMMISSION);
            break;
        case FIELD_WAS_DOWN:
            row->was_down = unpack_bool(u);
            break;
        default:
            unpack_skip(u);
        }
    }
}

static int load_store(struct placement *p, uint64_t id, struct slice value, struct err *err)
{
    struct store_row row = {0};
    struct unpack u = unpack_of(value);
    read_store(&u, &row);
    int rv = unpack_finish(&u, "store", err);
    if (rv != 0)
        return rv;
    struct pl_store *s = pl_store_get(p, id);
    if (s == NULL)
        s = pl_store_add(p, id, err);
    if (s == NULL)
        return ERR_NOMEM;
    if (pl_store_describe(s, row.address, row.labels, err) != 0)
        return ERR_CORRUPT;
    memcpy(s->uuid, row.uuid, sizeof s->uuid);
    s->is_ghost = false;
    s->has_reported = false;
    s->is_durable = true;
    s->wish = (enum placement_store_wish)row.wish;
    s->was_down = row.was_down;
    s->state = row.was_down ? PLACEMENT_STORE_DOWN : PLACEMENT_STORE_SUSPECT;
    return 0;
}

static int load_ended(struct placement *p, uint64_t id, struct slice value, struct err *err)
{
    struct unpack u = unpack_of(value);
    uint64_t into = 0;
    uint64_t epoch = 0;
    uint64_t seen = 0;
    uint32_t pairs = unpack_map(&u);
    for (uint32_t i = 0; i < pairs && !u.bad; i++) {
        uint64_t key = unpack_key(&u, &seen);
        if (key == FIELD_INTO)
            into = unpack_uint(&u);
        else if (key == FIELD_EPOCH)
            epoch = unpack_uint(&u);
        else
            unpack_skip(&u);
    }
    int rv = unpack_finish(&u, "ended range", err);
    return rv != 0 ? rv : pl_ended_add(p, id, into, epoch);
}

static int load_route(struct placement *p, struct slice value, struct err *err)
{
    struct descriptor d;
    int rv = descriptor_decode(value, &d, err);
    if (rv == 0)
        pl_range_learn(p, &d);
    return rv;
}

static int load_setting(struct placement *p, struct slice name, struct slice value)
{
    uint32_t i = settings_find(name);
    if (i < settings_count())
        settings_set(&p->settings, i, value, NULL); /* of another version: the default holds */
    return 0;
}

static bool take_part(struct slice *key, const char *part)
{
    struct slice want = slice_str(part);
    if (!slice_has_prefix(*key, want))
        return false;
    *key = slice_of(key->data + want.len, key->len - want.len);
    return true;
}

int placement_load(struct placement *p, struct slice key, struct slice value, struct err *err)
{
    ASSERT(!p->is_loaded);
    struct slice rest = key;
    uint64_t id = 0;
    int rv = 0;
    if (!take_part(&rest, PREFIX))
        return err_set(err, ERR_INVALID, "no row of placement");
    if (take_part(&rest, "ids/"))
        rv = load_ids(p, rest, value, err);
    else if (take_part(&rest, "setting/"))
        rv = load_setting(p, rest, value);
    else if (take_part(&rest, "store/"))
        rv = parse_id(rest, &id) ? load_store(p, id, value, err) : ERR_CORRUPT;
    else if (take_part(&rest, "keyspace/"))
        rv = parse_id(rest, &id) ? pl_keyspace_load(p, id, value, err) : ERR_CORRUPT;
    else if (take_part(&rest, "ended/"))
        rv = parse_id(rest, &id) ? load_ended(p, id, value, err) : ERR_CORRUPT;
    else if (take_part(&rest, "route/"))
        rv = parse_id(rest, &id) ? load_route(p, value, err) : ERR_CORRUPT;
    return rv == 0 ? 0
                   : err_wrap(err, rv, "row '%.*s'", (int)MIN(key.len, 80), (const char *)key.data);
}
