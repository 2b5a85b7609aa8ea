/* SPDX-License-Identifier: Apache-2.0
 *
 * What an operator asks of placement, or tells it: tables and texts as they are shown.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "placement/explain.h"
#include "store/driver_internal.h"
#include "store/service.h"

enum { TABLE_BYTES_MAX = 4 << 20, ROWS_MAX = 1000, HISTORY_ROWS_MAX = 20 };

#define UNSETTLED "a word before this one is being written"

/* ---- tables ----------------------------------------------------------------------------- */

struct table {
    struct buf columns;
    struct buf cells;
    uint32_t column_count;
    uint32_t cell_count;
};

static void table_init(struct table *t, const char *const *columns, uint32_t count)
{
    *t = (struct table){.column_count = count};
    buf_init(&t->columns, TABLE_BYTES_MAX);
    buf_init(&t->cells, TABLE_BYTES_MAX);
    for (uint32_t i = 0; i < count; i++)
        cell_append(&t->columns, slice_str(columns[i]));
}

static void cell_slice(struct table *t, struct slice text)
{
    cell_append(&t->cells, text);
    t->cell_count++;
}

static void cell_text(struct table *t, const char *text)
{
    cell_slice(t, slice_str(text));
}

static void cell_number(struct table *t, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    cell_text(t, text);
}

/* A key as people write it: what can be printed, the rest as \xNN. */
static void cell_key(struct table *t, struct slice key)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < key.len && text.len + 5 < TEXT_MAX; i++) {
        uint8_t c = key.data[i];
        if (c > ' ' && c < 0x7f && c != '\\')
            buf_append_u8(&text, c);
        else
            buf_printf(&text, "\\x%02x", c);
    }
    cell_slice(t, buf_slice(&text));
    buf_fini(&text);
}

static void answer_table(struct store *store, const struct answer_to *to, struct table *t)
{
    struct response response = {
        .kind = REQUEST_PLACEMENT,
        .placement = {.columns = {.count = t->column_count, .raw = buf_slice(&t->columns)},
                      .cells = {.count = t->cell_count, .raw = buf_slice(&t->cells)}},
    };
    ASSERT(t->cell_count % t->column_count == 0);
    if (t->columns.failed || t->cells.failed)
        service_answer_status(store, to, ERR_BUSY, "memory is short");
    else
        service_answer(store, to, &response);
    buf_fini(&t->columns);
    buf_fini(&t->cells);
}

static void answer_text(struct store *store, const struct answer_to *to, const struct buf *text)
{
    struct response response = {.kind = REQUEST_PLACEMENT, .placement = {.text = buf_slice(text)}};
    if (text->failed)
        service_answer_status(store, to, ERR_BUSY, "memory is short");
    else
        service_answer(store, to, &response);
}

static void answer_done(struct store *store, const struct answer_to *to, int status,
                        const struct err *err)
{
    service_answer_status(store, to, status, status == 0 || err->code == 0 ? NULL : err->msg);
}

/* ---- stores, ranges ------------------------------------------------------------------ */

static void show_stores(struct driver *d, const struct answer_to *to, uint64_t only)
{
    static const char *const columns[] = {
        "#store_id", "address", "state",  "#replicas",  "#leaders",   "#bytes",     "#free_bytes",
        "#capacity", "#qps",    "labels", "#silent_ms", "#moving_in", "#moving_out"};
    struct table t;
    struct placement_store_status s;
    table_init(&t, columns, ARRAY_LEN(columns));
    for (uint32_t i = 0; placement_store_at(d->placement, i, &s); i++) {
        if (only != 0 && s.store_id != only)
            continue;
        cell_number(&t, s.store_id);
        cell_slice(&t, s.address);
        cell_text(&t, placement_store_state_name(s.state, s.wish));
        cell_number(&t, s.replicas);
        cell_number(&t, s.leaders);
        cell_number(&t, s.bytes);
        cell_number(&t, s.free_bytes);
        cell_number(&t, s.capacity_bytes);
        cell_number(&t, s.qps);
        cell_slice(&t, s.labels);
        cell_number(&t, s.silent_ms);
        cell_number(&t, s.adds_running);
        cell_number(&t, s.removes_running);
    }
    if (only != 0 && t.cell_count == 0) {
        buf_fini(&t.columns);
        buf_fini(&t.cells);
        service_answer_status(d->store, to, ERR_NOT_FOUND, "no such store");
        return;
    }
    answer_table(d->store, to, &t);
}

static void add_range(struct table *t, const struct placement_range_status *r)
{
    const struct descriptor *desc = &r->route.descriptor;
    struct buf replicas;
    char epoch[48];
    uint64_t leader = 0;
    buf_init(&replicas, TEXT_MAX);
    for (uint32_t i = 0; i < desc->member_count; i++) {
        const struct member *m = &desc->members[i];
        if (m->replica_id == r->route.leader_replica)
            leader = m->store_id;
        buf_printf(&replicas, "%s%" PRIu64 "%s", i > 0 ? "," : "", m->store_id,
                   m->role == MEMBER_LEARNER ? "(learner)" : "");
    }
    snprintf(epoch, sizeof epoch, "%" PRIu64 ".%" PRIu64, desc->conf_epoch, desc->span_epoch);
    cell_number(t, desc->range_id);
    cell_key(t, desc->start);
    cell_key(t, desc->end);
    cell_text(t, epoch);
    cell_number(t, leader);
    cell_slice(t, buf_slice(&replicas));
    cell_number(t, r->bytes);
    cell_number(t, r->keys);
    cell_number(t, r->qps);
    cell_number(t, r->operator_id);
    buf_fini(&replicas);
}

/* From the key on, or the one range that is named. */
static void show_ranges(struct driver *d, const struct answer_to *to,
                        const struct request_placement *asked)
{
    static const char *const columns[] = {"#range_id", "start",  "end",   "epoch", "#leader",
                                          "stores",    "#bytes", "#keys", "#qps",  "#operator"};
    struct table t;
    struct placement_range_status r;
    uint8_t at[DESCRIPTOR_KEY_MAX];
    size_t len = MIN(asked->value.len, sizeof at);
    table_init(&t, columns, ARRAY_LEN(columns));
    if (len > 0)
        memcpy(at, asked->value.data, len);
    if (asked->id != 0) {
        if (placement_range_status(d->placement, asked->id, &r))
            add_range(&t, &r);
        answer_table(d->store, to, &t);
        return;
    }
    for (uint32_t i = 0; i < ROWS_MAX && placement_range_from(d->placement, slice_of(at, len), &r);
         i++) {
        struct slice end = r.route.descriptor.end;
        add_range(&t, &r);
        if (end.len == 0 || end.len > sizeof at || slice_compare(end, slice_of(at, len)) <= 0)
            break;
        memcpy(at, end.data, end.len);
        len = end.len;
    }
    answer_table(d->store, to, &t);
}

/* ---- how it is ----------------------------------------------------------------------- */

static void show_status(struct driver *d, const struct answer_to *to)
{
    static const char *const columns[] = {"what", "value"};
    struct table t;
    struct placement_counts c;
    placement_counts(d->placement, &c);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"term", c.term},
        {"store", d->store->opt.store_id},
        {"paused", c.is_paused},
        {"quiet", c.is_quiet},
        {"stores", c.stores},
        {"stores_reported", c.stores_reported},
        {"ranges", c.ranges},
        {"under_replicated", c.under_replicated},
        {"unavailable", c.unavailable},
        {"operators", c.operators},
        {"operators_started", c.operators_started},
        {"operators_done", c.operators_done},
        {"operators_failed", c.operators_failed},
        {"replicas_added", c.replicas_added},
        {"bytes_moved", c.bytes_moved},
        {"leaders_moved", c.leaders_moved},
    };
    table_init(&t, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cell_text(&t, rows[i].name);
        cell_number(&t, rows[i].value);
    }
    answer_table(d->store, to, &t);
}

static void show_settings(struct driver *d, const struct answer_to *to)
{
    static const char *const columns[] = {"setting", "value", "help"};
    struct table t;
    struct buf value;
    const char *name;
    const char *help;
    table_init(&t, columns, ARRAY_LEN(columns));
    buf_init(&value, TEXT_MAX);
    for (uint32_t i = 0; placement_setting(d->placement, i, &name, &value, &help); i++) {
        cell_text(&t, name);
        cell_slice(&t, buf_slice(&value));
        cell_text(&t, help);
        buf_clear(&value);
    }
    buf_fini(&value);
    answer_table(d->store, to, &t);
}

static const char *outcome_name(enum placement_outcome outcome)
{
    switch (outcome) {
    case PLACEMENT_RUNNING:
        return "running";
    case PLACEMENT_DONE:
        return "done";
    case PLACEMENT_CANCELLED:
        return "cancelled";
    case PLACEMENT_TIMED_OUT:
        return "timed out";
    case PLACEMENT_REFUSED:
        break;
    }
    return "refused";
}

static void add_operator(struct table *t, const struct placement_operator_status *op)
{
    struct buf steps;
    buf_init(&steps, TEXT_MAX);
    for (uint32_t i = 0; i < op->step_count; i++) {
        buf_printf(&steps, "%s%s", i > 0 ? ", " : "", placement_step_kind_name(op->kinds[i]));
        if (op->stores[i] != 0)
            buf_printf(&steps, " %" PRIu64, op->stores[i]);
    }
    cell_number(t, op->id);
    cell_number(t, op->range_id);
    cell_text(t, outcome_name(op->outcome));
    cell_number(t, op->step);
    cell_slice(t, buf_slice(&steps));
    cell_text(t, op->scheduler);
    cell_text(t, op->reason);
    cell_text(t, op->said);
    cell_number(t, op->age_ms);
    buf_fini(&steps);
}

/* All that run and the last that ended; or the one that is named, if it is remembered. */
static void show_operators(struct driver *d, const struct answer_to *to, uint64_t only)
{
    static const char *const columns[] = {"#operator", "#range_id", "state", "#step",  "steps",
                                          "by",        "why",       "said",  "#age_ms"};
    struct table t;
    struct placement_operator_status op;
    uint64_t now_ms = driver_now_ms(d);
    table_init(&t, columns, ARRAY_LEN(columns));
    if (only != 0) {
        if (placement_operator_status(d->placement, now_ms, only, &op))
            add_operator(&t, &op);
        answer_table(d->store, to, &t);
        return;
    }
    for (uint32_t i = 0; i < ROWS_MAX && placement_operator_at(d->placement, now_ms, i, &op); i++)
        add_operator(&t, &op);
    for (uint32_t i = 0; i < HISTORY_ROWS_MAX && placement_history_at(d->placement, now_ms, i, &op);
         i++)
        add_operator(&t, &op);
    answer_table(d->store, to, &t);
}

/* ---- keyspaces ----------------------------------------------------------------------- */

static void add_keyspace(struct table *t, const struct placement_keyspace_status *k)
{
    cell_number(t, k->id);
    cell_text(t, k->name);
    cell_text(t, k->slots == 0 ? "range" : "hash");
    cell_number(t, k->slots);
    cell_number(t, k->replicas);
    cell_number(t, k->retention_ms);
    cell_number(t, k->ranges);
    cell_number(t, k->bytes);
    cell_number(t, k->keys);
    cell_text(t, k->is_dropping   ? "dropping"
                 : !k->is_cut     ? "splitting"
                 : k->is_retained ? "ready"
                                  : "changing");
}

static void show_keyspaces(struct driver *d, const struct answer_to *to, struct slice only)
{
    static const char *const columns[] = {"#keyspace", "name",          "partition", "#slots",
                                          "#replicas", "#retention_ms", "#ranges",   "#bytes",
                                          "#keys",     "state"};
    struct table t;
    struct placement_keyspace_status k;
    struct err err = {0};
    int rv = only.len == 0 ? 0 : placement_keyspace_status(d->placement, only, &k, &err);
    if (rv != 0) {
        answer_done(d->store, to, rv, &err);
        return;
    }
    table_init(&t, columns, ARRAY_LEN(columns));
    if (only.len > 0)
        add_keyspace(&t, &k);
    for (uint32_t i = 0; only.len == 0 && placement_keyspace_at(d->placement, i, &k); i++)
        add_keyspace(&t, &k);
    answer_table(d->store, to, &t);
}

/* Is it still the one that is meant, where a number says which? */
static int check_same(const struct driver *d, const struct request_placement *asked,
                      struct err *err)
{
    struct placement_keyspace_status k = {0};
    int rv = asked->id == 0 ? 0 : placement_keyspace_status(d->placement, asked->name, &k, err);
    if (rv != 0 || asked->id == k.id)
        return rv;
    return err_set(err, ERR_NOT_FOUND, "keyspace '%s' is number %u by now", k.name, k.id);
}

static int drop_keyspace(struct driver *d, const struct request_placement *asked, struct err *err)
{
    int rv = check_same(d, asked, err);
    return rv != 0 ? rv : placement_keyspace_drop(d->placement, asked->name, err);
}

static int forget_keyspace(struct driver *d, const struct request_placement *asked, struct err *err)
{
    int rv = check_same(d, asked, err);
    return rv != 0 ? rv : placement_keyspace_forget(d->placement, asked->name, err);
}

static int change_keyspace(struct driver *d, const struct request_placement *asked, struct err *err)
{
    switch (asked->verb) {
    case VERB_KEYSPACE_CREATE:
        return placement_keyspace_create(d->placement, asked->name, asked->value, err);
    case VERB_KEYSPACE_ALTER:
        return placement_keyspace_alter(d->placement, asked->name, asked->value, err);
    case VERB_KEYSPACE_DROP:
        return drop_keyspace(d, asked, err);
    default:
        return forget_keyspace(d, asked, err);
    }
}

/* ---- texts --------------------------------------------------------------------------- */

static int plan(struct driver *d, const struct request_placement *asked, struct buf *text,
                struct err *err)
{
    struct placement_if what_if = {0};
    if (slice_equal(asked->name, slice_str("restart")))
        return placement_restart_safe(d->placement, driver_now_ms(d), asked->id, text, err);
    if (slice_equal(asked->name, slice_str("down")))
        what_if.down_store = asked->id;
    else if (slice_equal(asked->name, slice_str("gone")))
        what_if.gone_store = asked->id;
    else if (slice_equal(asked->name, slice_str("add"))) {
        what_if.add_bytes = asked->id;
        what_if.add_labels = asked->value;
    } else if (asked->name.len > 0)
        return err_set(err, ERR_INVALID, "a plan can be made for a store that is down or gone");
    return placement_plan(d->placement, driver_now_ms(d), &what_if, text, err);
}

static void show_text(struct driver *d, const struct answer_to *to,
                      const struct request_placement *asked)
{
    struct err err = {0};
    struct buf text;
    int rv;
    buf_init(&text, (size_t)1 << 20);
    if (asked->verb == VERB_EXPLAIN)
        rv = placement_explain(d->placement, driver_now_ms(d), asked->id, &text, &err);
    else if (asked->verb == VERB_WHY_NOT)
        rv = placement_why_not(d->placement, driver_now_ms(d), asked->id, &text, &err);
    else
        rv = plan(d, asked, &text, &err);
    if (rv == 0)
        answer_text(d->store, to, &text);
    else
        answer_done(d->store, to, rv, &err);
    buf_fini(&text);
}

/* ---- words --------------------------------------------------------------------------- */

/* What it did is told when it is durable. */
static void answer_word(struct driver *d, const struct answer_to *to, int status,
                        const struct err *err)
{
    if (status == 0)
        driver_answer_durable(d, to);
    else
        answer_done(d->store, to, status, err);
}

/* Why it was refused is told if all is durable that may speak against it: what is not may be lost
 * yet, with its term. */
static void answer_keyspace(struct driver *d, const struct answer_to *to,
                            const struct request_placement *asked)
{
    struct err err = {0};
    int rv = change_keyspace(d, asked, &err);
    if (rv != 0 && !placement_words_are_durable(d->placement))
        service_answer_status(d->store, to, ERR_BUSY, UNSETTLED);
    else
        answer_word(d, to, rv, &err);
}

/* The same of a store that is not there: its removal may be lost yet. */
static void answer_store(struct driver *d, const struct answer_to *to, int status,
                         const struct err *err)
{
    if (status == ERR_NOT_FOUND && !placement_removals_are_durable(d->placement))
        service_answer_status(d->store, to, ERR_BUSY, UNSETTLED);
    else
        answer_word(d, to, status, err);
}

static void wish(struct driver *d, const struct answer_to *to,
                 const struct request_placement *asked)
{
    struct err err = {0};
    enum placement_store_wish what = PLACEMENT_WISH_NONE;
    if (asked->verb == VERB_DRAIN)
        what = PLACEMENT_WISH_DRAIN;
    else if (asked->verb == VERB_DECOMMISSION)
        what = PLACEMENT_WISH_DECOMMISSION;
    int rv = placement_wish(d->placement, asked->id, what, &err);
    answer_store(d, to, rv, &err);
}

static const struct {
    const char *name;
    enum placement_command_kind kind;
} commands[] = {
    {"move", PLACEMENT_CMD_MOVE},
    {"add-replica", PLACEMENT_CMD_ADD_REPLICA},
    {"remove-replica", PLACEMENT_CMD_REMOVE_REPLICA},
    {"transfer-leader", PLACEMENT_CMD_TRANSFER},
    {"split", PLACEMENT_CMD_SPLIT},
    {"merge", PLACEMENT_CMD_MERGE},
    {"scatter", PLACEMENT_CMD_SCATTER},
    {"cancel", PLACEMENT_CMD_CANCEL},
};

/* The range that is named, or has the key. */
static uint64_t commanded_range(const struct driver *d, const struct request_placement *asked)
{
    struct placement_route route;
    if (asked->id != 0 || asked->value.len == 0)
        return asked->id;
    return placement_route_at(d->placement, asked->value, &route) ? route.descriptor.range_id : 0;
}

static void command(struct driver *d, const struct answer_to *to,
                    const struct request_placement *asked)
{
    struct err err = {0};
    uint64_t operator_id = 0;
    int rv = err_set(&err, ERR_UNSUPPORTED, "no such command: %.*s", (int)asked->name.len,
                     (const char *)asked->name.data);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (!slice_equal(asked->name, slice_str(commands[i].name)))
            continue;
        struct placement_command c = {
            .kind = commands[i].kind,
            .range_id = commanded_range(d, asked),
            .operator_id = asked->id,
            .from_store = asked->from_store,
            .to_store = asked->to_store,
            .key = asked->value,
        };
        err = (struct err){0};
        rv = placement_command(d->placement, driver_now_ms(d), &c, &operator_id, &err);
    }
    if (rv != 0) {
        answer_done(d->store, to, rv, &err);
        return;
    }
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, operator_id);
    struct response response = {.kind = REQUEST_PLACEMENT, .placement = {.text = slice_str(text)}};
    service_answer(d->store, to, &response);
}

static void do_verb(struct driver *d, const struct answer_to *to,
                    const struct request_placement *asked)
{
    struct err err = {0};
    int rv = 0;
    if (!driver_has_room(d)) {
        service_answer_status(d->store, to, ERR_BUSY, "too many words wait to be durable");
        return;
    }
    switch (asked->verb) {
    case VERB_SET:
        rv = placement_set(d->placement, asked->name, asked->value, &err);
        answer_word(d, to, rv, &err);
        break;
    case VERB_PAUSE:
    case VERB_RESUME:
        placement_pause(d->placement, asked->verb == VERB_PAUSE);
        answer_word(d, to, 0, &err);
        break;
    case VERB_DRAIN:
    case VERB_UNDRAIN:
    case VERB_DECOMMISSION:
        wish(d, to, asked);
        break;
    case VERB_REMOVE_STORE:
        rv = placement_remove_store(d->placement, asked->id, &err);
        answer_store(d, to, rv, &err);
        break;
    case VERB_KEYSPACE_CREATE:
    case VERB_KEYSPACE_ALTER:
    case VERB_KEYSPACE_DROP:
    case VERB_KEYSPACE_FORGET:
        answer_keyspace(d, to, asked);
        break;
    default:
        command(d, to, asked);
        break;
    }
    driver_flush_later(d);
}

/* Does it show what words have changed? */
static bool shows_words(uint8_t verb)
{
    return verb == VERB_KEYSPACES || verb == VERB_SETTINGS;
}

/* Does the answer lean on what stores have told in this term? */
static bool leans_on_reports(uint8_t verb)
{
    return verb == VERB_STORES || verb == VERB_EXPLAIN || verb == VERB_WHY_NOT ||
           verb == VERB_PLAN || verb == VERB_RANGES || verb == VERB_COMMAND ||
           verb == VERB_REMOVE_STORE;
}

void driver_on_request(struct store *store, struct answer_to *to, const struct request *request)
{
    struct driver *d = store->driver;
    const struct request_placement *asked = &request->placement;
    to->range_id = RANGE_ID_SYSTEM;
    if (d == NULL || !driver_is_running(d)) {
        bool is_soon = d != NULL && d->state != DRIVER_OFF;
        service_answer_status(store, to, is_soon ? ERR_BUSY : ERR_NOT_LEADER,
                              store_is_static(store) ? "this cluster has no placement" : NULL);
        return;
    }
    if (leans_on_reports(asked->verb) && !driver_is_informed(d)) {
        service_answer_status(store, to, ERR_BUSY, "not all stores have reported in this term yet");
        return;
    }
    if (shows_words(asked->verb) && !placement_words_are_durable(d->placement)) {
        service_answer_status(store, to, ERR_BUSY, UNSETTLED);
        return;
    }
    switch (asked->verb) {
    case VERB_STORES:
        show_stores(d, to, asked->id);
        break;
    case VERB_STATUS:
        show_status(d, to);
        break;
    case VERB_SETTINGS:
        show_settings(d, to);
        break;
    case VERB_OPERATORS:
        show_operators(d, to, asked->id);
        break;
    case VERB_RANGES:
        show_ranges(d, to, asked);
        break;
    case VERB_KEYSPACES:
        show_keyspaces(d, to, asked->name);
        break;
    case VERB_EXPLAIN:
    case VERB_WHY_NOT:
    case VERB_PLAN:
        show_text(d, to, asked);
        break;
    default:
        do_verb(d, to, asked);
        break;
    }
}
