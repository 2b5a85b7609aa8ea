/* SPDX-License-Identifier: Apache-2.0 */
#include "support/lsm_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/check.h"

/* ---- model -------------------------------------------------------------- */

static int record_compare(const struct model_record *a, const char *key, uint64_t version)
{
    int c = strcmp(a->key, key);
    return c != 0 ? c : (a->version < version) - (a->version > version);
}

/* First record >= (key, version). */
static size_t model_find(const struct model *m, const char *key, uint64_t version)
{
    size_t lo = 0, hi = m->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (record_compare(&m->records[mid], key, version) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void model_fini(struct model *m)
{
    free(m->records);
    *m = (struct model){0};
}

static void model_reserve(struct model *m, size_t count)
{
    if (count <= m->cap)
        return;
    m->cap = MAX(count, m->cap * 2);
    m->records = realloc(m->records, m->cap * sizeof *m->records);
    assert_non_null(m->records);
}

void model_copy(struct model *to, const struct model *from)
{
    *to = (struct model){0};
    model_reserve(to, from->count + 1);
    if (from->count > 0)
        memcpy(to->records, from->records, from->count * sizeof *from->records);
    to->count = from->count;
}

void model_put(struct model *m, const struct model_record *record)
{
    size_t i = model_find(m, record->key, record->version);
    if (i == m->count || record_compare(&m->records[i], record->key, record->version) != 0) {
        model_reserve(m, m->count + 1);
        memmove(&m->records[i + 1], &m->records[i], (m->count - i) * sizeof *m->records);
        m->count++;
    }
    m->records[i] = *record;
}

void model_excise(struct model *m, const char *start, const char *end)
{
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        const char *key = m->records[i].key;
        bool in = strcmp(key, start) >= 0 && (end[0] == 0 || strcmp(key, end) < 0);
        if (!in)
            m->records[n++] = m->records[i];
    }
    m->count = n;
}

void model_merge(struct model *m, const struct model *writes)
{
    for (size_t i = 0; i < writes->count; i++)
        model_put(m, &writes->records[i]);
}

const struct model_record *model_get(const struct model *m, const char *key, uint64_t version,
                                     uint64_t range_time_ms)
{
    size_t i = model_find(m, key, version);
    if (i == m->count || strcmp(m->records[i].key, key) != 0)
        return NULL;
    const struct model_record *r = &m->records[i];
    if (r->is_delete || (r->expiry_ms > 0 && r->expiry_ms <= range_time_ms))
        return NULL;
    return r;
}

/* ---- the engine's side -------------------------------------------------- */

static void value_bytes(const struct model_record *r, uint8_t *out)
{
    uint32_t x = r->value_seed | 1;
    for (uint32_t i = 0; i < r->value_len; i++) {
        if (i % 7 == 0)
            x = x * 1664525 + 1013904223;
        out[i] = (uint8_t)(x >> 24);
    }
}

static void batch_add(struct lsm_batch *batch, const struct model_record *r)
{
    uint8_t value[8192];
    assert_true(r->value_len <= sizeof value);
    value_bytes(r, value);
    if (r->is_delete)
        lsm_batch_delete(batch, slice_str(r->key), r->version);
    else
        lsm_batch_put(batch, slice_str(r->key), r->version, slice_of(value, r->value_len),
                      r->expiry_ms);
}

struct world_op {
    struct world *w;
    struct world_op *next;
    size_t step; /* acknowledged by this */
    bool is_done;
    struct lsm_flush_op flush;
    struct lsm_edit_op edit;
};

static void on_freeze(void *data, uint64_t freeze, struct lsm_batch *batch)
{
    struct world *w = data;
    struct model_record meta = {.key = "!meta", .value_seed = (uint32_t)freeze, .value_len = 8};
    if (rng_chance(&w->rng, 1, 2)) {
        batch_add(batch, &meta);
        model_put(&w->active, &meta);
    }
    assert_true(w->step_count < WORLD_STEPS_MAX);
    w->steps[w->step_count++] = (struct world_step){.writes = w->active};
    w->active = (struct model){0};
}

static void acknowledge(struct world *w, size_t step)
{
    assert_true(step < w->step_count);
    assert_int_equal(step, w->step_acked); /* in the one order, none left out */
    w->step_acked = step + 1;
}

static void on_flushed(void *data, uint64_t freeze)
{
    struct world *w = data;
    uint64_t n = 0;
    for (size_t i = 0; i < w->step_count; i++) {
        if (!w->steps[i].is_edit && ++n == freeze) {
            acknowledge(w, i);
            return;
        }
    }
    fail_msg("freeze %llu was never made", (unsigned long long)freeze);
}

static void on_corrupt(void *data, const char *file, uint64_t offset, const char *text)
{
    struct world *w = data;
    (void)offset;
    assert_true(strstr(file, ".tbl") != NULL || strstr(file, ".val") != NULL);
    assert_true(strlen(text) > 0);
    w->corrupt++;
}

void world_options(struct lsm_options *o)
{
    lsm_options_init(o);
    o->memtable_bytes = 1 << 10;
    o->memtables_max = 3;
    o->block_bytes = 128;
    o->restart_every = 3;
    o->cache_bytes = 16 << 10;
    o->table_bytes = 1 << 10;
    o->l0_compact = 2;
    o->l0_slow = 6;
    o->l0_stop = 12;
    o->level_base_bytes = 2 << 10;
    o->level_ratio = 3;
    o->compact_shares = 3;
    o->manifest_bytes = 2 << 10;
    o->value_bytes = 60;
    o->value_garbage_percent = 25;
    o->scrub_bytes = 64 << 10;
}

void world_init(struct world *w, uint64_t seed, const struct lsm_options *options)
{
    *w = (struct world){.options = *options};
    rng_init(&w->rng, seed);
    w->options.data = w;
    w->options.callbacks = (struct lsm_callbacks){
        .on_freeze = on_freeze,
        .on_flushed = on_flushed,
        .on_corrupt = on_corrupt,
    };
    w->steps = calloc(WORLD_STEPS_MAX, sizeof *w->steps);
    assert_non_null(w->steps);
    w->sim = sim_new(NULL, seed);
    w->node = sim_node_new(w->sim, "n1");
}

static void forget_steps(struct world *w)
{
    for (size_t i = 0; i < w->step_count; i++)
        model_fini(&w->steps[i].writes);
    w->step_count = 0;
    w->step_acked = 0;
    model_fini(&w->active);
    while (w->ops != NULL) {
        struct world_op *op = w->ops;
        w->ops = op->next;
        free(op);
    }
}

void world_fini(struct world *w)
{
    if (w->lsm != NULL)
        world_crash(w, SIM_CRASH_KILL);
    forget_steps(w);
    free(w->steps);
    model_fini(&w->base);
    sim_free(w->sim);
}

int world_open(struct world *w, struct err *err)
{
    assert_null(w->lsm);
    return lsm_open(&w->lsm, sim_node_env(w->node), "db", &w->options, err);
}

void world_crash(struct world *w, enum sim_crash how)
{
    sim_node_crash(w->node, how);
    lsm_free(w->lsm);
    w->lsm = NULL;
}

void world_rebase(struct world *w, size_t steps)
{
    struct model base;
    world_prefix(w, steps, &base);
    model_fini(&w->base);
    w->base = base;
    forget_steps(w);
}

void world_prefix(const struct world *w, size_t n, struct model *ret)
{
    model_copy(ret, &w->base);
    for (size_t i = 0; i < n; i++) {
        const struct world_step *s = &w->steps[i];
        for (size_t j = 0; j < s->span_count; j++)
            model_excise(ret, s->start[j], s->end[j]);
        model_merge(ret, &s->writes);
    }
}

void world_now(const struct world *w, struct model *ret)
{
    world_prefix(w, w->step_acked, ret);
    for (size_t i = w->step_acked; i < w->step_count; i++) {
        if (!w->steps[i].is_edit)
            model_merge(ret, &w->steps[i].writes);
    }
    model_merge(ret, &w->active);
}

/* ---- the workload ------------------------------------------------------- */

static void random_key(struct world *w, char out[12])
{
    snprintf(out, 12, "k%02u", (unsigned)rng_below(&w->rng, WORLD_KEYS));
}

static struct model_record random_record(struct world *w)
{
    struct model_record r = {.version = ++w->version};
    random_key(w, r.key);
    r.is_delete = rng_chance(&w->rng, 1, 4);
    if (!r.is_delete) {
        r.value_seed = (uint32_t)rng_u64(&w->rng);
        r.value_len = (uint32_t)rng_below(&w->rng, rng_chance(&w->rng, 1, 30) ? 3000 : 120);
        if (rng_chance(&w->rng, 1, 5))
            r.expiry_ms = w->range_time_ms + rng_between(&w->rng, 1, 50);
    }
    return r;
}

static void do_write(struct world *w)
{
    struct lsm_batch batch;
    struct model writes = {0};
    lsm_batch_init(&batch);
    for (uint64_t n = rng_between(&w->rng, 1, 6); n > 0; n--) {
        struct model_record r = random_record(w);
        if (rng_chance(&w->rng, 1, 8)) { /* a local record: version 0, again and again */
            snprintf(r.key, sizeof r.key, "!l%u", (unsigned)rng_below(&w->rng, 4));
            r.version = 0;
            r.expiry_ms = 0;
        }
        batch_add(&batch, &r);
        model_put(&writes, &r);
    }
    int rv = lsm_write(w->lsm, &batch);
    lsm_batch_fini(&batch);
    if (rv == 0)
        model_merge(&w->active, &writes);
    else if (rv == ERR_BUSY)
        w->busy++;
    else
        assert_int_equal(rv, ERR_IO);
    model_fini(&writes);
}

static struct world_op *new_op(struct world *w)
{
    struct world_op *op = calloc(1, sizeof *op);
    assert_non_null(op);
    op->w = w;
    op->next = w->ops;
    w->ops = op;
    return op;
}

static void flush_cb(struct lsm_flush_op *flush, int status)
{
    struct world_op *op = container_of(flush, struct world_op, flush);
    assert_int_equal(status, 0);
    assert_false(op->is_done);
    assert_true(op->w->step_acked > op->step);
    op->is_done = true;
}

static void do_flush(struct world *w)
{
    struct world_op *op = new_op(w);
    int rv = lsm_flush(w->lsm, &op->flush, flush_cb);
    op->step = w->step_count - (rv == 0);
    assert_true(rv == 0 || rv == ERR_IO);
}

static void edit_cb(struct lsm_edit_op *edit, int status)
{
    struct world_op *op = container_of(edit, struct world_op, edit);
    assert_int_equal(status, 0);
    assert_false(op->is_done);
    op->is_done = true;
    acknowledge(op->w, op->step);
}

/* Records for keys of [start, end), in tree order, staged as files. */
static struct lsm_builder *stage(struct world *w, const char *start, const char *end,
                                 struct model *records)
{
    struct lsm_builder *b = lsm_builder_new(w->lsm);
    int rv = 0;
    assert_non_null(b);
    for (unsigned k = 0; rv == 0 && k < WORLD_KEYS; k++) {
        struct model_record r = random_record(w);
        uint8_t value[8192];
        snprintf(r.key, sizeof r.key, "k%02u", k);
        if (strcmp(r.key, start) < 0 || (end[0] != 0 && strcmp(r.key, end) >= 0))
            continue;
        value_bytes(&r, value);
        rv = r.is_delete ? lsm_builder_delete(b, slice_str(r.key), r.version, NULL)
                         : lsm_builder_put(b, slice_str(r.key), r.version,
                                           slice_of(value, r.value_len), r.expiry_ms, NULL);
        model_put(records, &r);
    }
    if (rv == 0)
        rv = lsm_builder_finish(b, NULL);
    if (rv == 0)
        return b;
    assert_true(rv == ERR_NO_SPACE || rv == ERR_IO);
    lsm_builder_free(b);
    return NULL;
}

static void do_edit(struct world *w)
{
    struct world_op *op = new_op(w);
    struct world_step s = {.is_edit = true};
    struct lsm_span spans[2];
    struct lsm_batch puts;
    char a[12], b[12];
    random_key(w, a);
    random_key(w, b);
    bool swap = strcmp(a, b) > 0;
    s.span_count = strcmp(a, b) != 0;
    snprintf(s.start[0], 12, "%s", swap ? b : a);
    snprintf(s.end[0], 12, "%s", swap ? a : b);
    if (s.span_count == 1 && rng_chance(&w->rng, 1, 4)) { /* and some local records */
        snprintf(s.start[1], 12, "!l%u", (unsigned)rng_below(&w->rng, 4));
        snprintf(s.end[1], 12, "!l9");
        s.span_count = 2;
    }
    for (size_t i = 0; i < s.span_count; i++)
        spans[i] = (struct lsm_span){slice_str(s.start[i]), slice_str(s.end[i])};
    struct lsm_builder *builder = NULL;
    if (s.span_count > 0 && rng_chance(&w->rng, 2, 3))
        builder = stage(w, s.start[0], s.end[0], &s.writes);
    if (builder == NULL)
        model_fini(&s.writes);
    lsm_batch_init(&puts);
    for (uint64_t n = rng_below(&w->rng, 3); n > 0; n--) {
        struct model_record r = {.key = "!meta", .value_seed = (uint32_t)w->version};
        snprintf(r.key, sizeof r.key, "!p%u", (unsigned)n);
        r.value_len = 20;
        batch_add(&puts, &r);
        model_put(&s.writes, &r);
    }
    op->edit = (struct lsm_edit_op){
        .excise = spans,
        .excise_count = s.span_count,
        .ingest = &builder,
        .ingest_count = builder != NULL,
        .puts = &puts,
        .freeze = rng_chance(&w->rng, 1, 8),
        .cb = edit_cb,
    };
    int rv = lsm_edit(w->lsm, &op->edit);
    lsm_batch_fini(&puts);
    if (rv != 0) {
        assert_int_equal(rv, ERR_IO);
        lsm_builder_free(builder);
        model_fini(&s.writes);
        return;
    }
    op->step = w->step_count; /* freezes made by the call are in front */
    w->steps[w->step_count++] = s;
}

static void do_gc(struct world *w)
{
    w->safe_version = rng_between(&w->rng, w->safe_version, w->version);
    w->range_time_ms += rng_below(&w->rng, 20);
    struct lsm_gc_span spans[] = {
        {slice_str("!"), slice_str("\""), UINT64_MAX, 0},
        {slice_str("k"), slice_str("k15"), w->safe_version, w->range_time_ms},
        {slice_str("k20"), slice_str(""), w->safe_version, w->range_time_ms},
    };
    assert_int_equal(lsm_set_gc(w->lsm, spans, ARRAY_LEN(spans)), 0);
}

void world_step(struct world *w)
{
    uint64_t dice = rng_below(&w->rng, 100);
    if (dice < 70)
        do_write(w);
    else if (dice < 76)
        do_flush(w);
    else if (dice < 84)
        do_edit(w);
    else if (dice < 90)
        do_gc(w);
    else if (dice < 92)
        lsm_compact(w->lsm, slice_str("k10"), slice_str("k30"));
    world_run(w, (unsigned)rng_below(&w->rng, 6));
}

void world_run(struct world *w, unsigned n)
{
    while (n-- > 0 && !sim_node_is_dead(w->node) && sim_step(w->sim))
        ;
}

static bool is_busy(void *data)
{
    struct world *w = data;
    return !sim_node_is_dead(w->node) && !lsm_is_quiet(w->lsm);
}

void world_settle(struct world *w)
{
    uint64_t limit = sim_now_us(w->sim) + 600 * UINT64_C(1000000);
    sim_run_while(w->sim, is_busy, w, limit);
}

/* ---- comparing ---------------------------------------------------------- */

static char complaint[256];

static const char *differ(const char *what, const char *key, uint64_t version)
{
    snprintf(complaint, sizeof complaint, "%s: key %s at version %llu", what, key,
             (unsigned long long)version);
    return complaint;
}

static bool same_value(const struct model_record *r, struct slice value, uint64_t version,
                       uint64_t expiry_ms)
{
    uint8_t want[8192];
    value_bytes(r, want);
    return r->version == version && r->expiry_ms == expiry_ms &&
           slice_equal(slice_of(want, r->value_len), value);
}

static bool is_expired(const struct world *w, uint64_t expiry_ms)
{
    return expiry_ms > 0 && expiry_ms <= w->range_time_ms;
}

/* A failure that is allowed now; it must say where. */
static bool may_fail(struct world *w, int rv, const struct err *err)
{
    if (rv != ERR_CORRUPT && rv != ERR_IO)
        return false;
    assert_true(strstr(err->msg, ".tbl") != NULL || strstr(err->msg, ".val") != NULL);
    w->failures++;
    return true;
}

static bool walk_may_fail(struct world *w, const struct lsm_iter *it)
{
    struct err err = {0};
    return w->tolerate && may_fail(w, lsm_iter_status(it, &err), &err);
}

static const char *compare_get(struct world *w, struct lsm_view *view, const struct model *m,
                               const char *key, uint64_t version, unsigned flags)
{
    struct lsm_value value = {0};
    struct err err = {0};
    const struct model_record *want = model_get(m, key, version, w->range_time_ms);
    int rv = lsm_get(view, slice_str(key), version, flags, &value, &err);
    const char *bad = NULL;
    w->reads++;
    if (rv == ERR_WOULD_BLOCK && flags != 0)
        w->would_block++;
    else if (w->tolerate && may_fail(w, rv, &err))
        bad = NULL;
    else if (rv != 0 && rv != ERR_NOT_FOUND)
        bad = differ(err.msg, key, version);
    else if (rv == 0 && is_expired(w, value.expiry_ms))
        bad = want != NULL ? differ("expired too early", key, version) : NULL;
    else if ((rv == 0) != (want != NULL))
        bad = differ(rv == 0 ? "should not be there" : "is missing", key, version);
    else if (rv == 0 && !same_value(want, value.data, value.version, value.expiry_ms))
        bad = differ("wrong value", key, version);
    lsm_value_fini(&value);
    return bad;
}

/* All keys of the universe, in order. */
static const char *key_at(size_t i)
{
    static char keys[WORLD_KEYS + 16][12];
    static const char *const local[] = {"!l0", "!l1", "!l2", "!l3", "!meta", "!p1", "!p2"};
    if (i < ARRAY_LEN(local))
        return local[i];
    snprintf(keys[i], 12, "k%02u", (unsigned)(i - ARRAY_LEN(local)));
    return keys[i];
}

enum { UNIVERSE = WORLD_KEYS + 7 };

static bool shown(struct world *w, struct lsm_iter *it)
{
    return !is_expired(w, lsm_iter_expiry_ms(it));
}

static const char *compare_walk(struct world *w, struct lsm_view *view, const struct model *m,
                                uint64_t version, bool forward)
{
    struct lsm_iter *it = lsm_iter_new(view, (struct slice){0}, (struct slice){0}, version, 0);
    const char *bad = NULL;
    assert_non_null(it);
    bool on = forward ? lsm_iter_first(it) : lsm_iter_last(it);
    for (size_t n = 0; bad == NULL && n < UNIVERSE; n++) {
        const char *key = key_at(forward ? n : UNIVERSE - 1 - n);
        const struct model_record *want = model_get(m, key, version, w->range_time_ms);
        while (on && !shown(w, it))
            on = forward ? lsm_iter_next(it) : lsm_iter_prev(it);
        if (!on && walk_may_fail(w, it))
            break;
        bool here = on && slice_equal(lsm_iter_key(it), slice_str(key));
        if (here != (want != NULL))
            bad = differ(here ? "walk shows" : "walk misses", key, version);
        else if (here && !same_value(want, lsm_iter_value(it), lsm_iter_version(it),
                                     lsm_iter_expiry_ms(it)))
            bad = differ("walk: wrong value", key, version);
        if (here)
            on = forward ? lsm_iter_next(it) : lsm_iter_prev(it);
    }
    if (bad == NULL && on && shown(w, it))
        bad = differ("walk goes on too far", "", version);
    if (bad == NULL && !w->tolerate && lsm_iter_status(it, NULL) != 0)
        bad = differ("walk failed", "", version);
    lsm_iter_free(it);
    return bad;
}

void world_iter_open(struct world *w, struct world_iter *it, struct lsm_view *view,
                     const struct model *model, uint64_t version)
{
    size_t lo = rng_below(&w->rng, UNIVERSE), hi = rng_between(&w->rng, lo, UNIVERSE - 1);
    *it = (struct world_iter){.version = version, .lo = lo, .hi = hi, .at = UNIVERSE};
    model_copy(&it->model, model);
    it->it = lsm_iter_new(view, slice_str(key_at(lo)), slice_str(key_at(hi)), version, 0);
    assert_non_null(it->it);
}

void world_iter_close(struct world_iter *it)
{
    lsm_iter_free(it->it);
    model_fini(&it->model);
    it->it = NULL;
}

/* The first place from `from` on (backwards: before it) that the model shows. */
static size_t iter_want(const struct world *w, const struct world_iter *it, size_t from,
                        bool forward)
{
    for (size_t i = from; forward && i < it->hi; i++) {
        if (model_get(&it->model, key_at(i), it->version, w->range_time_ms) != NULL)
            return i;
    }
    for (size_t i = from; !forward && i > it->lo; i--) {
        if (model_get(&it->model, key_at(i - 1), it->version, w->range_time_ms) != NULL)
            return i - 1;
    }
    return UNIVERSE;
}

const char *world_iter_move(struct world *w, struct world_iter *it)
{
    size_t to = rng_below(&w->rng, UNIVERSE);
    bool forward = rng_chance(&w->rng, 1, 2);
    bool relative = it->at < UNIVERSE && rng_chance(&w->rng, 2, 3);
    size_t from = forward ? MAX(to, it->lo) : MIN(to, it->hi);
    bool on;
    if (relative) {
        from = forward ? it->at + 1 : it->at;
        on = forward ? lsm_iter_next(it->it) : lsm_iter_prev(it->it);
    } else {
        on = forward ? lsm_iter_seek(it->it, slice_str(key_at(to)))
                     : lsm_iter_seek_before(it->it, slice_str(key_at(to)));
    }
    while (on && !shown(w, it->it))
        on = forward ? lsm_iter_next(it->it) : lsm_iter_prev(it->it);
    it->at = UNIVERSE;
    if (!on && walk_may_fail(w, it->it))
        return NULL;
    size_t want = iter_want(w, it, from, forward);
    if (on != (want < UNIVERSE) ||
        (on && !slice_equal(lsm_iter_key(it->it), slice_str(key_at(want)))))
        return differ("a move went wrong", want < UNIVERSE ? key_at(want) : "(none)", it->version);
    if (on) {
        const struct model_record *r =
            model_get(&it->model, key_at(want), it->version, w->range_time_ms);
        if (!same_value(r, lsm_iter_value(it->it), lsm_iter_version(it->it),
                        lsm_iter_expiry_ms(it->it)))
            return differ("a move shows another value", key_at(want), it->version);
        it->at = want;
    }
    return NULL;
}

/* Random moves between random bounds, each compared with the model. */
static const char *compare_moves(struct world *w, struct lsm_view *view, const struct model *m,
                                 uint64_t version)
{
    struct world_iter it;
    const char *bad = NULL;
    world_iter_open(w, &it, view, m, version);
    for (unsigned n = 0; bad == NULL && n < 20; n++)
        bad = world_iter_move(w, &it);
    world_iter_close(&it);
    return bad;
}

const char *world_compare_view(struct world *w, struct lsm_view *view, const struct model *model,
                               uint64_t safe_version)
{
    const char *bad = NULL;
    uint64_t past = rng_between(&w->rng, safe_version, MAX(w->version, safe_version));
    const uint64_t versions[] = {UINT64_MAX, past};
    for (size_t v = 0; bad == NULL && v < ARRAY_LEN(versions); v++) {
        for (size_t i = 0; bad == NULL && i < UNIVERSE; i++) {
            bad = compare_get(w, view, model, key_at(i), versions[v], LSM_READ_NO_IO);
            if (bad == NULL)
                bad = compare_get(w, view, model, key_at(i), versions[v], 0);
        }
        if (bad == NULL)
            bad = compare_walk(w, view, model, versions[v], true);
        if (bad == NULL)
            bad = compare_walk(w, view, model, versions[v], false);
        if (bad == NULL)
            bad = compare_moves(w, view, model, versions[v]);
    }
    return bad;
}

const char *world_compare(struct world *w, struct lsm *lsm, const struct model *model)
{
    struct lsm_view *view = lsm_view_take(lsm);
    assert_non_null(view);
    const char *bad = world_compare_view(w, view, model, w->safe_version);
    lsm_view_unref(view);
    return bad;
}

static const char *compare_step(struct world *w, struct lsm *lsm, size_t n, unsigned rounds)
{
    const char *bad = NULL;
    struct model want;
    world_prefix(w, n, &want);
    for (unsigned i = 0; bad == NULL && i < rounds; i++)
        bad = world_compare(w, lsm, &want);
    model_fini(&want);
    return bad;
}

/* The first step from `n` on, which fits as far as it was compared. One comparison draws one
 * old version, and steps may differ at old versions alone: if a later one fits, too, the one
 * is taken in which many find no difference. */
static size_t first_fit(struct world *w, struct lsm *lsm, size_t n)
{
    enum { ROUNDS = 40 };
    bool is_alone = true;
    for (size_t m = n + 1; is_alone && m <= w->step_count; m++)
        is_alone = compare_step(w, lsm, m, 1) != NULL;
    while (!is_alone && n <= w->step_count && compare_step(w, lsm, n, ROUNDS) != NULL)
        n++;
    return n;
}

size_t world_match(struct world *w, struct lsm *lsm, const char *where)
{
    char first[256] = "";
    size_t n = w->step_acked;
    for (; n <= w->step_count; n++) {
        const char *bad = compare_step(w, lsm, n, 1);
        if (bad == NULL)
            break;
        if (first[0] == 0)
            snprintf(first, sizeof first, "%s", bad);
    }
    struct rng after = w->rng; /* what is drawn from here on is not taken from the run */
    if (n < w->step_count)
        n = first_fit(w, lsm, n);
    w->rng = after;
    if (n > w->step_count)
        fail_msg("%s: no state between %zu acknowledged and %zu made: %s", where, w->step_acked,
                 w->step_count, first);
    return n;
}
