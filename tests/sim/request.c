/* SPDX-License-Identifier: Apache-2.0
 *
 * The requests of client processes: drawn, encoded, and what their answers say
 * written into the history.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/workload_internal.h"

static uint32_t draw_key(struct workload *w, enum key_class class)
{
    return key_of(class, (uint32_t)rng_below(&w->rng, w->keys[class]));
}

void request_names(struct workload *w)
{
    static const char *const prefixes[KEY_CLASS_NR] = {"key", "lst", "cnt", "ttl"};
    for (uint32_t class = 0; class < KEY_CLASS_NR; class ++)
        for (uint32_t i = 0; i < KEYS_OF_CLASS_MAX; i++)
            snprintf(w->names[key_of((enum key_class) class, i)], sizeof w->names[0], "%s%03u",
                     prefixes[class], i);
}

uint32_t request_key_by_name(const struct workload *w, struct slice name)
{
    for (uint32_t key = 0; key < KEYS_MAX; key++)
        if (slice_equal(slice_str(w->names[key]), name))
            return key;
    return KEYS_MAX;
}

/* ---- values ------------------------------------------------------------------ */

/* "<number>:<length> " and a padding that follows from the number, so that a value that
 * was torn or mixed up is told from a whole one. */
static void value_make(struct buf *out, uint64_t number, size_t pad)
{
    struct rng rng;
    buf_clear(out);
    buf_printf(out, "%llu:%zu ", (unsigned long long)number, pad);
    rng_init(&rng, number);
    uint8_t *bytes = pad == 0 ? NULL : buf_extend(out, pad);
    if (bytes != NULL)
        rng_fill(&rng, bytes, pad);
    ASSERT(!out->failed);
}

static size_t draw_pad(struct workload *w)
{
    if (!rng_chance(&w->rng, 1, 4))
        return 0;
    /* Few are large: one is as good as many to find what size breaks. */
    uint64_t most = rng_chance(&w->rng, 1, 8) ? w->c->opt.value_max : MIN(w->c->opt.value_max, 300);
    return rng_below(&w->rng, most);
}

/* The text that stands for a value in the history: the number alone where values are
 * unique. Fails the run if the value is not whole. */
char *request_value_text(struct workload *w, uint32_t key, struct slice value)
{
    char head[64];
    struct buf whole;
    char *text = malloc(value.len + 1);
    ASSERT(text != NULL);
    if (value.len > 0)
        memcpy(text, value.data, value.len);
    text[value.len] = 0;
    if (key_class(key) != KEY_REGISTER && key_class(key) != KEY_TTL)
        return text;
    unsigned long long number = 0;
    size_t pad = 0;
    if (sscanf(text, "%llu:%zu", &number, &pad) != 2 || pad > value.len) {
        cluster_fail(w->c, "a value of key %s is rubbish", w->names[key]);
        return text;
    }
    buf_init(&whole, (size_t)1 << 20);
    value_make(&whole, number, pad);
    if (!slice_equal(buf_slice(&whole), value))
        cluster_fail(w->c, "value %llu of key %s is torn", number, w->names[key]);
    buf_fini(&whole);
    int len = snprintf(head, sizeof head, "%llu", number);
    memcpy(text, head, (size_t)len + 1);
    return text;
}

/* ---- changes ----------------------------------------------------------------- */

static struct history_op *plan_op(struct process *p, uint32_t key, enum history_kind kind)
{
    ASSERT(p->op_count < BATCH_MAX);
    struct history_op *h = &p->plan[p->op_count];
    *h = (struct history_op){
        .process = p->id,
        .key = key,
        .kind = kind,
        .invoke_us = p->invoke_us,
        .return_us = UINT64_MAX,
        .request = p->w->next_request,
    };
    p->ops[p->op_count] = (struct op){.kind = OP_PUT, .key = slice_str(p->w->names[key])};
    buf_clear(&p->values[p->op_count]);
    return h;
}

static void plan_number(struct process *p, struct history_op *h, enum op_kind kind)
{
    struct buf *value = &p->values[p->op_count];
    struct op *op = &p->ops[p->op_count];
    h->value = ++p->w->next_value;
    if (key_class(h->key) == KEY_LIST)
        buf_printf(value, "%llu,", (unsigned long long)h->value);
    else
        value_make(value, h->value, draw_pad(p->w));
    op->kind = kind;
    op->value = buf_slice(value);
}

static void plan_cas(struct process *p)
{
    struct workload *w = p->w;
    bool wants_absent = p->last_version == 0;
    struct history_op *h = plan_op(p, p->last_key, HISTORY_CAS);
    struct op *op = &p->ops[p->op_count];
    plan_number(p, h, OP_PUT);
    if (wants_absent) {
        op->cond = COND_ABSENT;
    } else {
        h->expected = p->last_value;
        h->expected_version = p->last_version;
        op->cond = rng_chance(&w->rng, 1, 2) ? COND_VERSION : COND_VALUE;
        if (op->cond == COND_VERSION)
            op->cond_version = p->last_version;
        else
            op->cond_value = buf_slice(&p->last_bytes);
    }
    p->op_count++;
}

static void plan_register(struct process *p, uint32_t key, bool is_alone)
{
    uint64_t dice = rng_below(&p->w->rng, 100);
    if (is_alone && dice < p->w->mix->cas) {
        plan_cas(p);
        return;
    }
    bool is_delete = dice >= 100 - p->w->delete_percent;
    bool is_swap = !is_delete && rng_chance(&p->w->rng, 1, 10);
    struct history_op *h = plan_op(p, key,
                                   is_delete ? HISTORY_DELETE
                                   : is_swap ? HISTORY_SWAP
                                             : HISTORY_WRITE);
    if (is_delete)
        p->ops[p->op_count].kind = OP_DELETE;
    else
        plan_number(p, h, is_swap ? OP_GET_AND_SET : OP_PUT);
    p->op_count++;
}

static void plan_list(struct process *p, uint32_t key)
{
    const struct mix *mix = p->w->mix;
    bool anew = p->list_len > mix->list_bytes || (!mix->is_set && rng_chance(&p->w->rng, 1, 20));
    struct history_op *h = plan_op(p, key, anew ? HISTORY_WRITE : HISTORY_APPEND);
    plan_number(p, h, anew ? OP_PUT : OP_APPEND);
    p->op_count++;
}

static void plan_counter(struct process *p, uint32_t key)
{
    bool is_delete = rng_chance(&p->w->rng, 1, 30);
    struct history_op *h = plan_op(p, key, is_delete ? HISTORY_DELETE : HISTORY_INCREMENT);
    struct op *op = &p->ops[p->op_count];
    op->kind = is_delete ? OP_DELETE : OP_INCREMENT;
    if (!is_delete) {
        h->value = rng_between(&p->w->rng, 1, 3);
        op->delta = (int64_t)h->value;
    }
    p->op_count++;
}

static void plan_ttl(struct process *p, uint32_t key)
{
    bool is_delete = rng_chance(&p->w->rng, 1, 10);
    struct history_op *h = plan_op(p, key, is_delete ? HISTORY_DELETE : HISTORY_WRITE);
    if (is_delete) {
        p->ops[p->op_count].kind = OP_DELETE;
    } else {
        plan_number(p, h, OP_PUT);
        h->ttl_ms = rng_between(&p->w->rng, 20, 3000);
        p->ops[p->op_count].ttl_ms = h->ttl_ms;
    }
    p->op_count++;
}

static void plan_change(struct process *p, uint32_t key, bool is_alone)
{
    switch (key_class(key)) {
    case KEY_REGISTER:
        plan_register(p, key, is_alone);
        break;
    case KEY_LIST:
        plan_list(p, key);
        break;
    case KEY_COUNTER:
        plan_counter(p, key);
        break;
    default:
        plan_ttl(p, key);
        break;
    }
}

static bool has_key(const struct process *p, uint32_t key)
{
    for (uint32_t i = 0; i < p->op_count; i++)
        if (p->plan[i].key == key)
            return true;
    return false;
}

/* All or nothing: with a condition, at times, that may stop it. */
static void plan_batch(struct process *p)
{
    struct workload *w = p->w;
    uint32_t tries = (uint32_t)rng_between(&w->rng, 2, BATCH_MAX);
    uint64_t cas_at = rng_below(&w->rng, 3 * BATCH_MAX); /* mostly none */
    for (uint32_t i = 0; i < tries && p->op_count < BATCH_MAX; i++) {
        if (i == cas_at && !has_key(p, p->last_key)) {
            plan_cas(p);
            continue;
        }
        enum key_class class = rng_chance(&w->rng, 2, 3) ? KEY_REGISTER : KEY_COUNTER;
        uint32_t key = draw_key(w, rng_chance(&w->rng, 1, 6) ? KEY_LIST : class);
        if (!has_key(p, key))
            plan_change(p, key, false);
    }
}

static void send_change(struct process *p)
{
    struct workload *w = p->w;
    struct command command = {.op_count = p->op_count, .ops = p->ops};
    ASSERT(p->op_count > 0);
    buf_clear(&p->command);
    command_encode(&p->command, &command);
    ASSERT(!p->command.failed);
    p->op.request.kind = REQUEST_WRITE;
    p->op.request.write.command = buf_slice(&p->command);
    p->op.key = p->ops[0].key;
    p->at = w->history->count;
    for (uint32_t i = 0; i < p->op_count; i++)
        history_add(w->history, &p->plan[i]);
}

/* All keys of a class in [first, first + n), whichever of them are there. */
static void send_sweep(struct process *p)
{
    struct workload *w = p->w;
    enum key_class class = (enum key_class)rng_below(&w->rng, KEY_CLASS_NR);
    uint32_t most = MIN(w->keys[class], (uint32_t)BATCH_MAX);
    uint32_t n = (uint32_t)rng_between(&w->rng, 1, most);
    uint32_t first = (uint32_t)rng_below(&w->rng, w->keys[class] - n + 1);
    for (uint32_t i = 0; i < n; i++) {
        plan_op(p, key_of(class, first + i), HISTORY_DELETE);
        p->op_count++;
    }
    p->at = w->history->count;
    for (uint32_t i = 0; i < n; i++)
        history_add(w->history, &p->plan[i]);
    p->is_sweep = true;
    p->sweep.op = &p->op;
    p->sweep.start = slice_str(w->names[key_of(class, first)]);
    buf_clear(&p->keys_raw); /* the end: just behind the last one */
    buf_append_slice(&p->keys_raw, slice_str(w->names[key_of(class, first + n - 1)]));
    buf_append_u8(&p->keys_raw, 0);
    p->sweep.end = buf_slice(&p->keys_raw);
    p->sweep.limit_keys = rng_chance(&w->rng, 1, 3) ? 1 : 0;
}

static bool is_in_sweep(const struct client_sweep *sweep, struct slice key)
{
    struct op ops[BATCH_MAX];
    struct command command;
    if (sweep->command.len == 0)
        return false;
    int rv = command_decode(buf_slice(&sweep->command), &command_limits_default, ops, BATCH_MAX,
                            &command, NULL);
    ASSERT(rv == 0);
    for (uint32_t i = 0; i < command.op_count; i++)
        if (slice_equal(ops[i].key, key))
            return true;
    return false;
}

/* What was not found was not deleted. */
bool request_note_sweep(struct process *p, const struct client_result *result)
{
    struct workload *w = p->w;
    bool is_known = result->status != ERR_UNDETERMINED;
    sim_hash_add(w->c->sim, (uint64_t)(int64_t)result->status + p->sweep.deleted * 31);
    for (uint32_t i = 0; i < p->op_count; i++) {
        struct history_op *h = &w->history->ops[p->at + i];
        bool is_meant = is_in_sweep(&p->sweep, slice_str(w->names[h->key]));
        h->outcome = HISTORY_FAILED;
        if (is_meant && !is_known)
            h->outcome = HISTORY_PENDING;
        if (is_meant && result->status == 0)
            h->outcome = HISTORY_OK;
        h->version = h->outcome == HISTORY_OK ? p->sweep.version : 0;
        h->return_us = h->outcome == HISTORY_PENDING ? UINT64_MAX : sim_now_us(w->c->sim);
    }
    if (result->status != 0)
        return false;
    w->swept += p->sweep.deleted;
    w->writes_done += p->sweep.deleted > 0;
    return true;
}

/* ---- reads -------------------------------------------------------------------- */

static enum read_way way_of(const struct request_read *how)
{
    if (how->consistency == READ_LEASE)
        return WAY_LEASE;
    if (how->consistency == READ_STALE)
        return WAY_STALE;
    if (how->consistency == READ_AT)
        return WAY_AT;
    return how->any_replica ? WAY_ANY : WAY_LEADER;
}

/* A stale read may be answered as of any moment in max_age before it was asked, by a clock
 * that may drift: it is judged as one that was asked so much earlier. */
static void allow_age(struct process *p)
{
    uint64_t age_us = p->how.max_age_ms * 1000;
    if (p->w->c->opt.faults & FAULT_CLOCK)
        age_us = age_us * 1000000 / (1000000 - CLOCK_DRIFT_PPM_MAX) + 1;
    p->invoke_us -= MIN(p->invoke_us, age_us);
}

static void draw_how(struct process *p)
{
    struct workload *w = p->w;
    struct request_read *how = &p->how;
    uint64_t dice = rng_below(&w->rng, 100);
    how->any_replica = rng_chance(&w->rng, 1, 3);
    if (dice < 20 && w->has_leases) {
        how->consistency = READ_LEASE;
    } else if (dice >= 20 && dice < 40) {
        how->consistency = READ_STALE;
        how->max_age_ms = rng_between(&w->rng, 1, rng_chance(&w->rng, 1, 2) ? 100 : 3000);
        allow_age(p);
    } else if (dice >= 40 && dice < 50) {
        how->at_version = p->past[rng_below(&w->rng, PASTS_MAX)];
        how->consistency = how->at_version == 0 ? READ_LINEARIZABLE : READ_AT;
    }
}

static void send_get(struct process *p, uint32_t key)
{
    p->op.request.get.read = p->how;
    p->get_count = 1;
    p->get_keys[0] = key;
    p->op.request.kind = REQUEST_GET;
    p->op.request.get.key = slice_str(p->w->names[key]);
}

static void send_multi_get(struct process *p)
{
    struct workload *w = p->w;
    uint32_t count = (uint32_t)rng_between(&w->rng, 2, GETS_MAX);
    buf_clear(&p->keys_raw);
    p->get_count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t key = draw_key(w, (enum key_class)rng_below(&w->rng, KEY_CLASS_NR));
        p->get_keys[i] = key;
        request_key_append(&p->keys_raw, slice_str(w->names[key]));
    }
    p->op.request.kind = REQUEST_MULTI_GET;
    p->op.request.multi_get.read = p->how;
    p->op.request.multi_get.keys =
        (struct pack_list){.count = count, .raw = buf_slice(&p->keys_raw)};
}

static void send_scan(struct process *p)
{
    struct request_scan *scan = &p->op.request.scan;
    p->op.request.kind = REQUEST_SCAN;
    scan->read = p->how;
    scan->limit_keys = p->limit_keys;
    scan->is_reverse = p->is_reverse;
    if (p->page_version == 0)
        return;
    scan->read.consistency = READ_AT;
    scan->read.at_version = p->page_version;
    if (p->is_reverse)
        scan->end = buf_slice(&p->cursor);
    else
        scan->start = buf_slice(&p->cursor);
}

/* The next page, at the version of the first: all of the scan is one read, that began
 * with it. */
static void send_next_page(struct process *p)
{
    if (p->scan_how.consistency == READ_AT)
        p->how = p->scan_how;
    p->how.any_replica = rng_chance(&p->w->rng, 1, 3);
    p->invoke_us = p->scan_us;
    send_scan(p);
}

/* ---- drawing -------------------------------------------------------------------- */

static void begin(struct process *p)
{
    memset(&p->op, 0, sizeof p->op);
    p->op_count = 0;
    p->get_count = 0;
    p->is_sweep = false;
    p->how = (struct request_read){0};
    p->invoke_us = sim_now_us(p->w->c->sim);
    p->w->next_request++;
}

static void begin_scan(struct process *p)
{
    p->page_version = 0;
    p->scan_us = p->invoke_us;
    p->scan_how = p->how;
    p->limit_keys = 0;
    p->is_reverse = false;
    buf_clear(&p->cursor);
}

static enum key_class draw_class(struct workload *w)
{
    uint64_t dice = rng_below(&w->rng, 100);
    for (int class = 0; class < KEY_CLASS_NR; class ++) {
        if (dice < w->mix->class[class])
            return (enum key_class) class;
        dice -= w->mix->class[class];
    }
    ASSERT(!"the shares of a mix are 100");
    return KEY_REGISTER;
}

void request_draw(struct process *p)
{
    struct workload *w = p->w;
    const struct mix *mix = w->mix;
    uint64_t dice = rng_below(&w->rng, 100);
    begin(p);
    if (p->page_version != 0 && rng_chance(&w->rng, 2, 3)) {
        send_next_page(p);
        return;
    }
    if (rng_chance(&w->rng, 1, 60)) {
        send_sweep(p);
        return;
    }
    if (dice < mix->scan) {
        draw_how(p);
        begin_scan(p);
        p->limit_keys = rng_chance(&w->rng, 1, 2) ? 0 : (uint32_t)rng_between(&w->rng, 1, 6);
        p->is_reverse = rng_chance(&w->rng, 1, 3);
        send_scan(p);
        return;
    }
    if (dice < mix->scan + mix->multi_get) {
        draw_how(p);
        send_multi_get(p);
        return;
    }
    bool must_read = mix->all_twins && p->twin.state != TWIN_IDLE; /* none for another change */
    if (!must_read && dice < mix->scan + mix->multi_get + mix->batch) {
        plan_batch(p);
        send_change(p);
        return;
    }
    uint32_t key = draw_key(w, draw_class(w));
    if (must_read || rng_chance(&w->rng, mix->read, 100)) {
        draw_how(p);
        send_get(p, key);
        return;
    }
    plan_change(p, key, true);
    send_change(p);
}

void request_get_one(struct process *p, uint32_t key)
{
    begin(p);
    send_get(p, key);
}

void request_put_one(struct process *p, uint32_t key)
{
    begin(p);
    struct history_op *h = plan_op(p, key, HISTORY_WRITE);
    plan_number(p, h, OP_PUT);
    p->op_count++;
    send_change(p);
}

void request_scan_all(struct process *p)
{
    begin(p);
    begin_scan(p);
    send_scan(p);
}

/* ---- answers -------------------------------------------------------------------- */

static void remember(struct process *p, uint32_t key, const char *text, uint64_t version,
                     struct slice bytes)
{
    if (key_class(key) == KEY_LIST)
        p->list_len = text == NULL ? 0 : strlen(text);
    if (key_class(key) != KEY_REGISTER)
        return;
    p->last_key = key;
    p->last_version = text == NULL ? 0 : version;
    p->last_value = text == NULL ? 0 : strtoull(text, NULL, 10);
    buf_clear(&p->last_bytes);
    buf_append_slice(&p->last_bytes, bytes);
}

static void note_seen(struct process *p, uint32_t key, const struct row *row, uint64_t at_version)
{
    struct workload *w = p->w;
    bool is_there = row != NULL && row->status == 0;
    struct history_op h = {
        .process = p->id,
        .key = key,
        .request = ++w->next_request,
        .kind = HISTORY_READ,
        .outcome = HISTORY_OK,
        .read_version = at_version,
        .is_past = p->how.consistency == READ_AT ||
                   (p->op.request.kind == REQUEST_SCAN && p->page_version != 0),
        .is_at = p->how.consistency == READ_AT,
        .invoke_us = p->invoke_us,
        .return_us = sim_now_us(w->c->sim),
    };
    if (is_there) {
        h.seen = request_value_text(w, key, row->value);
        h.version = row->version;
    }
    if (!h.is_at)
        remember(p, key, h.seen, h.version, is_there ? row->value : slice_of(NULL, 0));
    history_add(w->history, &h);
    sim_hash_add(w->c->sim, h.version * 31 + key);
}

static void note_gets(struct process *p, const struct response_rows *rows)
{
    struct unpack cursor = unpack_of(rows->rows.raw);
    if (rows->rows.count != p->get_count) {
        cluster_fail(p->w->c, "%u rows for %u keys", rows->rows.count, p->get_count);
        return;
    }
    for (uint32_t i = 0; i < p->get_count; i++) {
        struct row row;
        row_next(&cursor, &row);
        if (row.status != 0 && row.status != ERR_NOT_FOUND) {
            cluster_fail(p->w->c, "a row says %s", err_name(row.status));
            return;
        }
        note_seen(p, p->get_keys[i], &row, rows->version);
    }
}

/* Does the page reach over `key`? From where it began to where the next one will. */
static bool page_covers(const struct process *p, const struct response_rows *rows, struct slice key)
{
    struct slice begin = buf_slice(&p->cursor);
    bool is_later = p->page_version != 0;
    if (p->is_reverse)
        return (!is_later || slice_compare(key, begin) < 0) &&
               (!rows->has_more || slice_compare(key, rows->cursor) >= 0);
    return (!is_later || slice_compare(key, begin) >= 0) &&
           (!rows->has_more || slice_compare(key, rows->cursor) < 0);
}

/* Keys that a page covers and that are not in it were absent. */
static void note_missing(struct process *p, const struct response_rows *rows, const bool *seen)
{
    struct workload *w = p->w;
    for (uint32_t key = 0; key < KEYS_MAX; key++) {
        if (seen[key] || key % KEYS_OF_CLASS_MAX >= w->keys[key_class(key)])
            continue;
        if (page_covers(p, rows, slice_str(w->names[key])))
            note_seen(p, key, NULL, rows->version);
    }
}

static void note_scan(struct process *p, const struct response_rows *rows)
{
    struct workload *w = p->w;
    struct unpack cursor = unpack_of(rows->rows.raw);
    bool seen[KEYS_MAX] = {0};
    struct slice last = {0};
    if (p->limit_keys != 0 && rows->rows.count > p->limit_keys)
        cluster_fail(w->c, "a page of %u rows, %u wanted", rows->rows.count, p->limit_keys);
    if (p->limit_keys == 0 && rows->has_more)
        cluster_fail(w->c, "a page was cut without reason");
    for (uint32_t i = 0; i < rows->rows.count; i++) {
        struct row row;
        row_next(&cursor, &row);
        uint32_t key = request_key_by_name(w, row.key);
        int order = i == 0 ? 1 : slice_compare(row.key, last) * (p->is_reverse ? -1 : 1);
        if (row.status != 0 || key == KEYS_MAX || order <= 0 || !page_covers(p, rows, row.key)) {
            cluster_fail(w->c, "a scan gave %.*s behind %.*s: %s", (int)row.key.len,
                         (const char *)row.key.data, (int)last.len, (const char *)last.data,
                         err_name(row.status));
            return;
        }
        last = row.key;
        seen[key] = true;
        note_seen(p, key, &row, rows->version);
    }
    note_missing(p, rows, seen);
    p->page_version = 0;
    if (!rows->has_more)
        return;
    p->page_version = rows->version;
    buf_clear(&p->cursor);
    buf_append_slice(&p->cursor, rows->cursor);
}

static bool note_read(struct process *p, const struct client_result *result)
{
    struct row none = {.status = ERR_NOT_FOUND};
    if (result->status == ERR_NOT_FOUND && p->get_count == 1) {
        uint64_t at = result->response == NULL || result->response->kind == 0
                          ? 0
                          : result->response->rows.version;
        note_seen(p, p->get_keys[0], &none, at);
        return true;
    }
    if (result->status == ERR_VERSION_GONE &&
        (p->page_version != 0 || p->how.consistency == READ_AT)) {
        p->w->gone++;
        p->page_version = 0; /* too slow: what it reads is thrown away meanwhile */
        return true;
    }
    if (result->status != 0 || result->response == NULL)
        return false;
    const struct response_rows *rows = &result->response->rows;
    if (p->how.consistency == READ_AT && rows->version != p->how.at_version)
        cluster_fail(p->w->c, "a read at %llu was answered as of %llu",
                     (unsigned long long)p->how.at_version, (unsigned long long)rows->version);
    p->w->ways[way_of(&p->how)]++;
    p->past[p->past_next++ % PASTS_MAX] = rows->version;
    if (p->get_count > 0)
        note_gets(p, &result->response->rows);
    else
        note_scan(p, &result->response->rows);
    return true;
}

static void set_outcome(struct process *p, enum history_outcome outcome)
{
    for (uint32_t i = 0; i < p->op_count; i++) {
        struct history_op *h = &p->w->history->ops[p->at + i];
        h->outcome = outcome;
        h->return_us = outcome == HISTORY_PENDING ? UINT64_MAX : sim_now_us(p->w->c->sim);
    }
}

/* Was it sent more than once? Then its range may have kept no more of the result than what
 * came of it: values of over SESSION_RESULT_MAX bytes are not kept. */
static bool is_repeat(const struct process *p)
{
    return p->op.stamp.session != 0 && (p->op.sendings > 1 || twin_may_do(&p->twin));
}

/* Done, and no more is known than at which version. */
static void note_done_brief(struct process *p, const struct command_result *cmd)
{
    for (uint32_t i = 0; i < p->op_count; i++) {
        struct history_op *h = &p->w->history->ops[p->at + i];
        h->version = cmd->version;
        if (h->kind == HISTORY_SWAP)
            h->kind = HISTORY_WRITE;        /* what it saw is not told */
        if (h->kind == HISTORY_INCREMENT) { /* nor what it came to */
            h->outcome = HISTORY_PENDING;
            h->return_us = UINT64_MAX;
        }
    }
    p->w->writes_done++;
}

static void note_mismatch(struct process *p, const struct command_result *cmd)
{
    struct workload *w = p->w;
    bool is_brief = cmd->result_count == 0 && is_repeat(p);
    if (cmd->failed_op >= p->op_count || (cmd->result_count == 0 && !is_brief)) {
        cluster_fail(w->c, "a failed condition without its result");
        return;
    }
    struct history_op *h = &w->history->ops[p->at + cmd->failed_op];
    if (h->kind != HISTORY_CAS) {
        cluster_fail(w->c, "a condition failed that was not asked for");
        return;
    }
    if (is_brief)
        return;
    const struct op_result *r = &cmd->results[0];
    h->outcome = HISTORY_MISMATCH;
    h->version = r->has_value ? r->version : 0;
    if (r->has_value)
        h->seen = request_value_text(w, h->key, r->value);
    remember(p, h->key, h->seen, h->version, r->has_value ? r->value : slice_of(NULL, 0));
}

static void note_done(struct process *p, const struct command_result *cmd)
{
    struct workload *w = p->w;
    if (cmd->result_count == 0 && is_repeat(p)) {
        note_done_brief(p, cmd);
        return;
    }
    if (cmd->result_count != p->op_count) {
        cluster_fail(w->c, "%u results for %u operations", cmd->result_count, p->op_count);
        return;
    }
    for (uint32_t i = 0; i < p->op_count; i++) {
        struct history_op *h = &w->history->ops[p->at + i];
        const struct op_result *r = &cmd->results[i];
        h->version = cmd->version;
        h->number = r->number;
        h->expiry_ms = r->expiry_ms;
        if (h->kind == HISTORY_SWAP && r->has_value)
            h->seen = request_value_text(w, h->key, r->value);
        if (h->kind == HISTORY_WRITE || h->kind == HISTORY_CAS) {
            char text[24];
            snprintf(text, sizeof text, "%llu", (unsigned long long)h->value);
            remember(p, h->key, text, h->version, buf_slice(&p->values[i]));
        }
        sim_hash_add(w->c->sim, h->version * 31 + h->key + (uint64_t)h->number);
    }
    w->writes_done++;
}

static bool note_change(struct process *p, const struct client_result *result)
{
    struct op_result ops[BATCH_MAX];
    struct command_result cmd;
    if (result->status == ERR_UNDETERMINED)
        return false;
    bool has_result = result->response != NULL && result->response->kind == REQUEST_WRITE;
    if (!has_result && twin_may_do(&p->twin))
        return false; /* refused, and yet it may come to be done */
    set_outcome(p, HISTORY_FAILED);
    if (!has_result)
        return false;
    int rv = command_result_decode(result->response->write.result, ops, ARRAY_LEN(ops), &cmd, NULL);
    ASSERT(rv == 0);
    if (cmd.status < 0 && -cmd.status < (int)ARRAY_LEN(p->w->statuses))
        p->w->statuses[-cmd.status]++;
    if (cmd.status == ERR_CONDITION_FAILED) {
        note_mismatch(p, &cmd);
        return true;
    }
    if (cmd.status != 0)
        return false;
    set_outcome(p, HISTORY_OK);
    note_done(p, &cmd);
    return true;
}

bool request_note(struct process *p, const struct client_result *result)
{
    sim_hash_add(p->w->c->sim, (uint64_t)(int64_t)result->status);
    return p->op_count > 0 ? note_change(p, result) : note_read(p, result);
}

void request_refused(struct process *p)
{
    ASSERT(!twin_may_do(&p->twin));
    set_outcome(p, HISTORY_FAILED);
}
