/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of stores: who is of the cluster, who is alive, what an operator wishes.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "placement/placement_internal.h"

static const uint64_t level_key[2] = {UINT64_C(0x706c616365), UINT64_C(0x6c6162656c73)};

struct pl_store *pl_store_get(const struct placement *p, uint64_t id)
{
    return map_get(&p->stores, id);
}

/* Where `id` stands or would stand among the stores in order of ids. */
static uint32_t position_of(const struct placement *p, uint64_t id)
{
    uint32_t lo = 0;
    uint32_t hi = p->store_count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (p->by_id[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct pl_store *pl_store_add(struct placement *p, uint64_t id, struct err *err)
{
    ASSERT(id > 0);
    ASSERT(pl_store_get(p, id) == NULL);
    if (p->store_count == ARRAY_LEN(p->by_id)) {
        err_set(err, ERR_NO_SPACE, "%u stores already", p->store_count);
        return NULL;
    }
    struct pl_store *s = calloc(1, sizeof *s);
    if (s == NULL || map_put(&p->stores, id, s) != 0) {
        free(s);
        err_set(err, ERR_NOMEM, "out of memory");
        return NULL;
    }
    uint32_t at = position_of(p, id);
    memmove(&p->by_id[at + 1], &p->by_id[at], (p->store_count - at) * sizeof p->by_id[0]);
    p->by_id[at] = s;
    p->store_count++;
    s->id = id;
    s->heard_ms = p->now_ms;
    return s;
}

struct pl_store *pl_store_need(struct placement *p, uint64_t id)
{
    struct pl_store *s = pl_store_get(p, id);
    if (s != NULL)
        return s;
    s = pl_store_add(p, id, NULL);
    if (s != NULL) {
        s->is_ghost = true;
        s->has_reported = true;
        s->state = PLACEMENT_STORE_REMOVED;
        for (int i = 0; i < PL_LEVELS; i++)
            s->level[i] = hash_mix(level_key[1] + (uint64_t)i, id);
    }
    return s;
}

void pl_store_free(struct pl_store *s)
{
    free(s->ranges);
    free(s);
}

void pl_store_drop(struct placement *p, struct pl_store *s)
{
    ASSERT(s->count == 0);
    uint32_t at = position_of(p, s->id);
    ASSERT(p->by_id[at] == s);
    memmove(&p->by_id[at], &p->by_id[at + 1], (p->store_count - at - 1) * sizeof p->by_id[0]);
    p->store_count--;
    map_remove(&p->stores, s->id);
    pl_store_free(s);
}

/* ---- labels ---------------------------------------------------------------------------- */

/* The value of a label in "a=b,c=d"; an empty slice with NULL data if it is not there. */
static struct slice label_value(struct slice labels, struct slice name)
{
    size_t at = 0;
    while (at < labels.len) {
        size_t end = at;
        while (end < labels.len && labels.data[end] != ',')
            end++;
        struct slice one = slice_of(labels.data + at, end - at);
        if (one.len > name.len && one.data[name.len] == '=' && slice_has_prefix(one, name))
            return slice_of(one.data + name.len + 1, one.len - name.len - 1);
        at = end + 1;
    }
    return (struct slice){NULL, 0};
}

static const char *label_fault(struct slice label)
{
    uint32_t equals = 0;
    for (size_t i = 0; i < label.len; i++) {
        if (label.data[i] <= ' ' || label.data[i] >= 0x7f)
            return "has a blank or what is no ASCII";
        equals += label.data[i] == '=';
    }
    bool is_pair = equals == 1 && label.data[0] != '=' && label.data[label.len - 1] != '=';
    return is_pair ? NULL : label.len == 0 ? "is empty" : "is no name=value";
}

int placement_labels_check(struct slice labels, struct err *err)
{
    if (labels.len >= PLACEMENT_LABELS_MAX)
        return err_set(err, ERR_INVALID, "labels of over %d bytes", PLACEMENT_LABELS_MAX - 1);
    size_t at = 0;
    for (uint32_t number = 1; labels.len > 0 && at <= labels.len; number++) {
        size_t end = at;
        while (end < labels.len && labels.data[end] != ',')
            end++;
        const char *fault = label_fault(slice_of(labels.data + at, end - at));
        if (fault != NULL)
            return err_set(err, ERR_INVALID, "label %u %s: wanted is name=value,name=value", number,
                           fault);
        at = end + 1;
    }
    return 0;
}

/* Level i of the setting `spread`, the node last: what is equal is the same place. A store
 * without the label is alone at a level of nodes, and with all others without it else. */
static void find_levels(struct pl_store *s, const char *spread)
{
    struct slice labels = slice_str(s->labels);
    struct slice list = slice_str(spread);
    uint64_t path = 0;
    uint32_t level = 0;
    size_t at = 0;
    while (at < list.len && level < PL_LEVELS - 1) {
        size_t end = at;
        while (end < list.len && list.data[end] != ',')
            end++;
        struct slice name = slice_of(list.data + at, end - at);
        struct slice value = label_value(labels, name);
        bool is_host = slice_equal(name, slice_str("host"));
        uint64_t v = value.data != NULL ? hash_keyed(level_key, value) : is_host ? s->id : 0;
        path = hash_mix(path + 1, v);
        s->level[level++] = path;
        at = end + 1;
    }
    for (; level < PL_LEVELS - 1; level++)
        s->level[level] = path;
    struct slice node = label_value(labels, slice_str("node"));
    s->level[PL_LEVELS - 1] = node.data != NULL ? hash_keyed(level_key, node) : s->id;
}

static bool address_is_fine(struct slice address)
{
    return address.len > 0 && address.len <= ADDRESS_MAX;
}

static void set_address(struct pl_store *s, struct slice address)
{
    memcpy(s->address, address.data, address.len);
    s->address[address.len] = 0;
}

static void set_labels(struct pl_store *s, struct slice labels)
{
    if (labels.len > 0)
        memcpy(s->labels, labels.data, labels.len);
    s->labels[labels.len] = 0;
}

int pl_store_describe(struct pl_store *s, struct slice address, struct slice labels,
                      struct err *err)
{
    if (!address_is_fine(address))
        return err_set(err, ERR_INVALID, "an address of %zu bytes", address.len);
    int rv = placement_labels_check(labels, err);
    if (rv != 0)
        return rv;
    set_address(s, address);
    set_labels(s, labels);
    return 0;
}

void pl_stores_levels(struct placement *p)
{
    for (uint32_t i = 0; i < p->store_count; i++) {
        struct pl_store *s = p->by_id[i];
        if (!s->is_ghost)
            find_levels(s, p->settings.spread);
    }
    p->is_store_set_new = true;
}

bool pl_store_has_label(const struct pl_store *s, const char *label)
{
    struct slice want = slice_str(label);
    size_t equals = 0;
    while (equals < want.len && want.data[equals] != '=')
        equals++;
    if (equals == want.len)
        return true;
    struct slice value = label_value(slice_str(s->labels), slice_of(want.data, equals));
    return value.data != NULL &&
           slice_equal(value, slice_of(want.data + equals + 1, want.len - equals - 1));
}

/* ---- coming in ---------------------------------------------------------------------------- */

static struct pl_store *find_uuid(const struct placement *p, const uint8_t *uuid)
{
    for (uint32_t i = 0; i < p->store_count; i++) {
        if (!p->by_id[i]->is_ghost && memcmp(p->by_id[i]->uuid, uuid, STORE_UUID_LEN) == 0)
            return p->by_id[i];
    }
    return NULL;
}

static int check_join(const struct placement *p, const struct placement_join *join,
                      const struct pl_store *self, struct err *err)
{
    struct pl_store probe;
    int rv = pl_store_describe(&probe, join->address, join->labels, err);
    for (uint32_t i = 0; i < p->store_count && rv == 0; i++) {
        const struct pl_store *s = p->by_id[i];
        if (s != self && !s->is_ghost && slice_equal(slice_str(s->address), join->address))
            rv = err_set(err, ERR_EXISTS, "store %llu has the address %s",
                         (unsigned long long)s->id, s->address);
    }
    return rv;
}

static int add_store(struct placement *p, uint64_t id, const struct placement_join *join,
                     struct err *err)
{
    struct pl_store *s = pl_store_get(p, id);
    if (s == NULL)
        s = pl_store_add(p, id, err);
    if (s == NULL)
        return ERR_NO_SPACE;
    int rv = pl_store_describe(s, join->address, join->labels, err);
    ASSERT(rv == 0);
    memcpy(s->uuid, join->uuid, sizeof s->uuid);
    s->is_ghost = false;
    s->is_dirty = true;
    s->state = PLACEMENT_STORE_JOINING;
    s->heard_ms = p->now_ms;
    s->has_reported = false;
    pl_stores_levels(p);
    return 0;
}

static uint32_t real_stores(const struct placement *p)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->store_count; i++)
        n += !p->by_id[i]->is_ghost;
    return n;
}

int placement_on_join(struct placement *p, uint64_t now_ms, const struct placement_join *join,
                      uint64_t *ret_store_id, struct err *err)
{
    p->now_ms = MAX(p->now_ms, now_ms);
    if (!p->is_loaded || p->is_broken)
        return err_set(err, ERR_BUSY, "placement is beginning its term");
    struct pl_store *s = find_uuid(p, join->uuid);
    int rv = check_join(p, join, s, err);
    if (rv != 0)
        return rv;
    if (s != NULL && s->is_durable) {
        *ret_store_id = s->id;
        return 0;
    }
    uint64_t id;
    if (s == NULL && real_stores(p) >= PLACEMENT_STORES_MAX)
        return err_set(err, ERR_NO_SPACE, "%d stores already", PLACEMENT_STORES_MAX);
    if (s == NULL && pl_ids_take(p, PLACEMENT_IDS_STORE, 1, &id)) {
        rv = add_store(p, id, join, err);
        if (rv != 0)
            return rv;
    }
    return err_set(err, ERR_BUSY, "the store's id is being written");
}

int placement_adopt(struct placement *p, uint64_t now_ms, uint64_t store_id,
                    const struct placement_join *store, struct err *err)
{
    p->now_ms = MAX(p->now_ms, now_ms);
    ASSERT(p->is_loaded);
    ASSERT(store_id > 0);
    struct pl_store *s = pl_store_get(p, store_id);
    if (s != NULL && !s->is_ghost)
        return memcmp(s->uuid, store->uuid, sizeof s->uuid) == 0
                   ? 0
                   : err_set(err, ERR_EXISTS, "store %llu has another uuid",
                             (unsigned long long)store_id);
    int rv = check_join(p, store, NULL, err);
    if (rv == 0 && real_stores(p) >= PLACEMENT_STORES_MAX)
        rv = err_set(err, ERR_NO_SPACE, "%d stores already", PLACEMENT_STORES_MAX);
    if (rv == 0)
        rv = add_store(p, store_id, store, err);
    if (rv == 0)
        pl_ids_used(p, PLACEMENT_IDS_STORE, store_id);
    return rv;
}

/* ---- life -------------------------------------------------------------------------------------
 */

const char *placement_store_state_name(enum placement_store_state state,
                                       enum placement_store_wish wish)
{
    static const char *const names[][3] = {
        [PLACEMENT_STORE_JOINING] = {"joining", "joining, draining", "joining, decommissioning"},
        [PLACEMENT_STORE_UP] = {"up", "draining", "decommissioning"},
        [PLACEMENT_STORE_SUSPECT] = {"suspect", "suspect, draining", "suspect, decommissioning"},
        [PLACEMENT_STORE_DOWN] = {"down", "down, draining", "down, decommissioning"},
        [PLACEMENT_STORE_REMOVED] = {"removed", "removed", "removed"},
    };
    ASSERT(state < ARRAY_LEN(names) && wish <= PLACEMENT_WISH_DECOMMISSION);
    return names[state][wish];
}

void pl_store_recheck(struct placement *p, struct pl_store *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        pl_range_recheck(p, s->ranges[i]);
}

/* The only place that writes a store's state. */
void pl_store_move(struct placement *p, struct pl_store *s, enum placement_store_state to)
{
    if (s->state == to)
        return;
    bool was_dead = pl_store_is_dead(s);
    s->state = to;
    if (to == PLACEMENT_STORE_UP)
        s->up_since_ms = p->now_ms;
    if (pl_store_is_dead(s) != was_dead) {
        s->was_down = to == PLACEMENT_STORE_DOWN;
        s->is_dirty = !s->is_ghost;
    }
    if (to != PLACEMENT_STORE_SUSPECT)
        p->is_store_set_new = true; /* a place more, or less */
    pl_store_recheck(p, s);
}

static void remove_store(struct placement *p, struct pl_store *s)
{
    pl_rows_store_gone(p, s->id);
    s->is_ghost = true;
    s->is_dirty = false;
    s->has_reported = true;
    s->wish = PLACEMENT_WISH_NONE;
    s->address[0] = 0;
    pl_store_move(p, s, PLACEMENT_STORE_REMOVED);
    p->is_store_set_new = true;
}

/* Has the last replica left a store that is to leave? What it does not tell of any more and
 * nobody's descriptor names is gone. */
static bool is_empty_for_good(const struct placement *p, const struct pl_store *s)
{
    return s->wish == PLACEMENT_WISH_DECOMMISSION && s->count == 0 && s->adds == 0 &&
           pl_stores_reported(p);
}

void pl_stores_tick(struct placement *p)
{
    uint64_t down_after_ms = p->settings.store_down_after_us / 1000;
    for (uint32_t i = 0; i < p->store_count; i++) {
        struct pl_store *s = p->by_id[i];
        uint64_t silent_ms = p->now_ms - s->heard_ms;
        if (s->is_ghost)
            continue;
        if (is_empty_for_good(p, s))
            remove_store(p, s);
        else if (s->state == PLACEMENT_STORE_UP && silent_ms >= PL_SUSPECT_AFTER_MS)
            pl_store_move(p, s, PLACEMENT_STORE_SUSPECT);
        else if ((s->state == PLACEMENT_STORE_SUSPECT || s->state == PLACEMENT_STORE_JOINING) &&
                 silent_ms >= down_after_ms)
            pl_store_move(p, s, PLACEMENT_STORE_DOWN);
    }
    for (uint32_t i = p->store_count; i-- > 0;) {
        struct pl_store *s = p->by_id[i];
        if (s->is_ghost && s->count == 0 && s->adds == 0 && s->removes == 0 && s->sends == 0 &&
            s->leads_in == 0 && s->leads_out == 0 && list_is_empty(&p->ops))
            pl_store_drop(p, s);
    }
}

bool pl_stores_reported(const struct placement *p)
{
    for (uint32_t i = 0; i < p->store_count; i++) {
        const struct pl_store *s = p->by_id[i];
        if (!s->has_reported && !pl_store_is_dead(s))
            return false;
    }
    return true;
}

/* Where it listens counts even if what it says of its place is nothing that can be kept. */
static void take_heartbeat(struct placement *p, struct pl_store *s,
                           const struct placement_store_heartbeat *hb)
{
    if (address_is_fine(hb->address) && !slice_equal(hb->address, slice_str(s->address))) {
        set_address(s, hb->address);
        s->is_dirty = true;
    }
    if (!slice_equal(hb->labels, slice_str(s->labels)) &&
        placement_labels_check(hb->labels, NULL) == 0) {
        set_labels(s, hb->labels);
        s->is_dirty = true;
        pl_stores_levels(p);
    }
    bool had_space = s->last.space == PLACEMENT_SPACE_OK;
    s->heard_ms = p->now_ms;
    s->last = *hb;
    s->last.address = s->last.labels = (struct slice){NULL, 0};
    if (had_space != (hb->space == PLACEMENT_SPACE_OK))
        p->is_store_set_new = true;
    pl_store_move(p, s, PLACEMENT_STORE_UP);
}

void placement_on_store_heartbeat(struct placement *p, uint64_t now_ms,
                                  const struct placement_store_heartbeat *hb,
                                  struct placement_store_reply *ret_reply)
{
    p->now_ms = MAX(p->now_ms, now_ms);
    struct pl_store *s = pl_store_get(p, hb->store_id);
    *ret_reply = (struct placement_store_reply){
        .term = p->opt.term,
        .verdict = PLACEMENT_WELCOME,
    };
    if (!p->is_loaded || p->is_broken)
        return;                     /* it does not know yet who there is */
    if (s == NULL || s->is_ghost) { /* one whose row is on its way is as good as known */
        ret_reply->verdict = PLACEMENT_NOT_KNOWN;
        return;
    }
    if (memcmp(s->uuid, hb->uuid, sizeof s->uuid) != 0) {
        ret_reply->verdict = PLACEMENT_OTHER_UUID;
        return;
    }
    if (hb->boot < s->last.boot)
        return; /* late: another process is that store now */
    if (hb->boot > s->last.boot) {
        s->report_chunk = 0;
        s->report_boot = hb->boot;
        ret_reply->are_labels_refused = placement_labels_check(hb->labels, NULL) != 0;
    }
    take_heartbeat(p, s, hb);
    ret_reply->wants_report = !s->has_reported;
    ret_reply->report_chunk = s->report_chunk;
    ret_reply->is_draining = s->wish != PLACEMENT_WISH_NONE;
    ret_reply->is_decommissioning = s->wish == PLACEMENT_WISH_DECOMMISSION;
}

/* ---- an operator's word
 * -------------------------------------------------------------------------- */

static struct pl_store *find_store(const struct placement *p, uint64_t store_id, struct err *err)
{
    struct pl_store *s = pl_store_get(p, store_id);
    if (s != NULL && !s->is_ghost)
        return s;
    err_set(err, ERR_NOT_FOUND, "no store %llu in this cluster: removed, or never there",
            (unsigned long long)store_id);
    return NULL;
}

int placement_wish(struct placement *p, uint64_t store_id, enum placement_store_wish wish,
                   struct err *err)
{
    struct pl_store *s = find_store(p, store_id, err);
    if (s == NULL)
        return ERR_NOT_FOUND;
    if (s->wish == wish)
        return 0;
    s->wish = wish;
    s->is_dirty = true;
    p->is_store_set_new = true;
    pl_store_recheck(p, s);
    return 0;
}

int placement_remove_store(struct placement *p, uint64_t store_id, struct err *err)
{
    struct pl_store *s = find_store(p, store_id, err);
    if (s == NULL)
        return ERR_NOT_FOUND;
    if (s->state != PLACEMENT_STORE_DOWN && (s->count > 0 || s->adds > 0))
        return err_set(err, ERR_STATE,
                       "store %llu is %s and has %u replicas: decommission it, or stop it and "
                       "wait until it is down",
                       (unsigned long long)s->id, placement_store_state_name(s->state, s->wish),
                       s->count);
    if (s->state != PLACEMENT_STORE_DOWN && !pl_stores_reported(p))
        return err_set(err, ERR_BUSY,
                       "not all stores have reported in this term yet: store %llu may hold what is "
                       "not known",
                       (unsigned long long)s->id);
    remove_store(p, s);
    return 0;
}

bool placement_store_at(const struct placement *p, uint32_t i,
                        struct placement_store_status *ret_status)
{
    uint32_t at = 0;
    while (at < p->store_count && (p->by_id[at]->is_ghost || i > 0))
        i -= !p->by_id[at++]->is_ghost;
    if (at == p->store_count)
        return false;
    const struct pl_store *s = p->by_id[at];
    *ret_status = (struct placement_store_status){
        .store_id = s->id,
        .uuid = s->uuid,
        .address = slice_str(s->address),
        .labels = slice_str(s->labels),
        .state = s->state,
        .wish = s->wish,
        .silent_ms = p->now_ms - s->heard_ms,
        .has_reported = s->has_reported,
        .replicas = s->count,
        .leaders = s->leaders,
        .bytes = s->bytes,
        .capacity_bytes = s->last.capacity_bytes,
        .free_bytes = s->last.free_bytes,
        .qps = s->qps,
        .write_bytes_s = s->write_bytes_s,
        .adds_running = s->adds,
        .removes_running = s->removes,
    };
    return true;
}

bool placement_store_is_gone(const struct placement *p, uint64_t store_id)
{
    const struct pl_store *s = pl_store_get(p, store_id);
    return store_id > 0 && p->is_loaded && store_id < p->ids[PLACEMENT_IDS_STORE].next &&
           (s == NULL || s->is_ghost) && placement_is_durable(p);
}
