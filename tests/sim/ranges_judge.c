/* SPDX-License-Identifier: Apache-2.0
 *
 * What holdfast-ranges-sim holds its stores against, while it runs and at the end.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/client.h"
#include "placement/explain.h"
#include "ranges.h"
#include "store/absorb.h"
#include "store/driver_internal.h"
#include "store/store_internal.h"

/* Replicas of one range at one index have one history. */
static void check_histories(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        uint64_t id;
        for (uint32_t k = 0; is_up(i) && (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            const struct range_meta *meta = range_meta(store_range_of(run.rig.stores[i], id));
            uint64_t key = id << 32 | meta->applied_index;
            uint64_t hash = meta->history_hash | 1;
            uint64_t known = (uint64_t)(uintptr_t)map_get(&run.hashes, key);
            if (known != 0 && known != hash)
                die("two histories of one range");
            if (known == 0 && map_put(&run.hashes, key, (void *)(uintptr_t)hash) != 0)
                die("out of memory");
        }
        if (is_up(i))
            store_check(run.rig.stores[i]);
    }
}

/* For every key the owner's span epoch only grows: at one epoch it has one owner, whoever
 * looks, and whenever. */
static void check_owners(void)
{
    uint8_t raw[16];
    for (size_t i = 0; i < run.rig.count; i++) {
        uint64_t id;
        for (uint32_t k = 0; is_up(i) && (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            const struct range_descriptor *d = descriptor_on(i, id);
            for (uint32_t n = 0; n < KEYS; n++) {
                uint64_t at = d->epoch.span * KEYS + n;
                if (!range_span_contains(range_descriptor_span(d), key_of(n, raw)))
                    continue;
                uint64_t known = (uint64_t)(uintptr_t)map_get(&run.owners, at);
                if (known != 0 && known != id)
                    die("two ranges own one key at one epoch");
                if (known == 0 && map_put(&run.owners, at, (void *)(uintptr_t)id) != 0)
                    die("out of memory");
            }
        }
    }
}

/* A replica id is one range's on one store, for ever; a store id is one store's. */
static void check_ids(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        uint64_t id;
        uint64_t store_id = is_up(i) ? store_identity(run.rig.stores[i])->store_id : 0;
        if (store_id != 0 && place_of(store_id) != i)
            die("two stores with one id");
        for (uint32_t k = 0; is_up(i) && (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            uint64_t replica_id = range_replica_id(store_range_of(run.rig.stores[i], id));
            uint64_t seat = id << 8 | (i + 1);
            uint64_t known = (uint64_t)(uintptr_t)map_get(&run.seats, replica_id);
            if (known != 0 && known != seat)
                die("a replica id is given twice");
            if (known == 0 && map_put(&run.seats, replica_id, (void *)(uintptr_t)seat) != 0)
                die("out of memory");
        }
    }
}

/* How long replicas stay: one that was not there for a while, though its store ran all the
 * time, has left for good. Values of run.stays, owned. */
struct stay {
    bool is_gone;
    uint64_t boot;    /* of the store's process in which it was there: a blank one dies with it */
    uint64_t away_us; /* since when it is not there; 0: it is */
};

enum { STAY_AWAY_US = 2 * 1000 * 1000 };

static void note_absent(size_t i)
{
    uint32_t cursor = 0;
    uint64_t key;
    struct stay *stay;
    uint64_t boot = is_up(i) ? store_identity(run.rig.stores[i])->boot_number : 0;
    bool is_running = is_up(i) && store_state(run.rig.stores[i]) == STORE_RUNNING;
    while ((stay = map_next(&run.stays, &cursor, &key)) != NULL) {
        uint64_t id = key / RIG_STORES_MAX;
        if (key % RIG_STORES_MAX != i || stay->is_gone)
            continue;
        bool is_away = is_running && stay->boot == boot &&
                       replicas_get(&run.rig.stores[i]->replicas, id) == NULL &&
                       !absorb_is_ending(run.rig.stores[i], id);
        if (!is_away)
            stay->away_us = 0;
        else if (stay->away_us == 0)
            stay->away_us = sim_now_us(run.rig.sim);
        stay->is_gone = is_away && sim_now_us(run.rig.sim) >= stay->away_us + STAY_AWAY_US;
    }
}

static void check_returns(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        uint32_t cursor = 0;
        const struct replica *r;
        while (is_up(i) && (r = replicas_each(&run.rig.stores[i]->replicas, &cursor)) != NULL) {
            uint64_t key = r->replica_id * RIG_STORES_MAX + i;
            struct stay *stay = map_get(&run.stays, key);
            if (stay != NULL && stay->is_gone)
                die("a replica that was removed comes back");
            if (stay == NULL)
                stay = calloc(1, sizeof *stay);
            stay->boot = store_identity(run.rig.stores[i])->boot_number;
            if (map_put(&run.stays, key, stay) != 0)
                die("out of memory");
        }
        note_absent(i);
    }
}

static void check_states(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        if (is_up(i) && store_state(run.rig.stores[i]) == STORE_DAMAGED)
            die("a store thinks that its sound disk is damaged");
    }
}

void check_now(void)
{
    key_times_note();
    check_states();
    check_returns();
    ranges_retain_check(run.retain);
    check_histories();
    ranges_check_compare(run.check);
    check_owners();
    if (run.is_grown) /* else a group's ids are those of its birth on all stores */
        check_ids();
}

/* Every member of the range that this leader leads is where it is, with its state. */
static bool is_range_settled(size_t leader, uint64_t id)
{
    struct range *mine = store_range_of(run.rig.stores[leader], id);
    const struct range_descriptor *d = range_descriptor(mine);
    uint64_t want, hash;
    if (range_meta(mine)->merges.frozen.attempt != 0)
        return false;
    if (range_hash(mine, &want, NULL) != 0)
        die("a state cannot be read");
    for (uint32_t k = 0; k < d->replica_count; k++) {
        size_t i = place_of(d->replicas[k].store_id);
        struct range *other = i == run.rig.count ? NULL : store_range_of(run.rig.stores[i], id);
        if (other == NULL || range_replica_id(other) != d->replicas[k].replica_id ||
            range_meta(other)->applied_index != range_meta(mine)->applied_index)
            return false;
        if (range_hash(other, &hash, NULL) != 0 || hash != want)
            die("two states at one index");
    }
    return true;
}

uint32_t voters_in(const struct range_descriptor *d)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->replica_count; i++)
        n += d->replicas[i].role == RANGE_ROLE_VOTER;
    return n;
}

/* Leaders tile the key space, and nobody has a replica that no leader names. */
bool is_settled(void)
{
    uint8_t raw[RANGE_KEY_MAX];
    struct range_span all = range_span_all();
    struct slice at = run.is_grown ? range_span_system().start : all.start;
    size_t placed = 0, found = 0;
    while (slice_compare(at, all.end) < 0) {
        uint64_t id;
        size_t leader = leader_at(at, &id);
        if (leader == run.rig.count || !is_range_settled(leader, id))
            return false;
        const struct range_descriptor *d =
            range_descriptor(store_range_of(run.rig.stores[leader], id));
        if (slice_compare(range_descriptor_span(d).start, at) != 0)
            die("a gap or an overlap of spans");
        placed += d->replica_count;
        if (run.is_grown &&
            !grow_is_as_wanted(range_meta(store_range_of(run.rig.stores[leader], id))))
            return false;
        memcpy(raw, d->end, d->end_len);
        at = slice_of(raw, d->end_len);
    }
    for (size_t i = 0; i < run.rig.count; i++) {
        for (uint32_t k = 0; is_up(i) && store_range_at(run.rig.stores[i], k) != 0; k++)
            found++;
    }
    return found == placed && (run.leaving == 0 || run.has_left);
}

/* Ask whoever leads the key. Placement may still hand over, and so may a store whose disk was slow
 * until now: a refusal is asked again. So is BUSY, as the library does. */
static struct rig_answer *read_at_end(uint32_t number)
{
    struct rig_answer *get = NULL;
    struct request_read how = {.keyspace = key_keyspace(number)};
    uint8_t raw[16];
    uint64_t range_id;
    for (int tries = 0; tries < 20; tries++) {
        size_t at = leader_at(key_of(number, raw), &range_id);
        if (at == run.rig.count) {
            rig_run(&run.rig, 200 * RIG_MS);
            continue;
        }
        rig_reconnect(&run.rig, at); /* the faults may have cost it */
        get = rig_read_key(&run.rig, at, key_stored(number, raw), &how, 5000);
        for (int i = 0; i < 120 && get->count == 0; i++)
            rig_run(&run.rig, 50 * RIG_MS);
        bool is_refused =
            get->status == ERR_NOT_LEADER || (get->status == ERR_RANGE_CHANGED && run.is_grown);
        bool is_lost = get->count == 0 && run.rig.conns[at].conn == NULL; /* it was half open */
        bool is_busy = get->count == 1 && get->status == ERR_BUSY;
        if (!is_lost && !is_busy && !is_refused)
            return get;
        rig_run(&run.rig, is_busy ? 200 * RIG_MS : 0);
    }
    if (get == NULL) {
        describe();
        die("no leader at the end");
    }
    return get;
}

static void check_value(uint32_t number)
{
    struct key_state *k = &run.keys[number];
    struct rig_answer *get = read_at_end(number);
    if (get->count != 1 || get->status != 0) {
        printf("key k%02u: %d answers, %s %s\n", number, get->count, err_name(get->status),
               get->text);
        die("a key cannot be read at the end");
    }
    uint64_t value = strtoull(get->value, NULL, 10);
    key_times_note();
    if (!key_may_hold_at_end(k, value)) {
        printf("key k%02u: %llu, acknowledged %llu\n", number, (unsigned long long)value,
               (unsigned long long)k->acked);
        die("an acknowledged write is lost, or one came back");
    }
}

void check_values(void)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        run.keys[i].deadline_us = 0;
        settle_key(&run.keys[i]);
        check_value(i);
    }
}

/* ---- the client library's core finds its way, too ------------------------------------------- */

struct look {
    struct client_op op;
    uint32_t keyspace;
    int calls;
    int status;
    uint32_t rows;
    uint64_t values[KEYS]; /* by key; 0: not seen */
    bool has_more;
    bool is_range_end;
    uint64_t version;
    size_t cursor_len;
    uint8_t cursor[64];
};

static void take_row(struct look *look, const struct row *row)
{
    uint32_t number = key_number(look->keyspace, row->key);
    if (look->keyspace == 0 && ranges_twice_is_key(row->key))
        return;
    if (number == KEYS || look->values[number] != 0)
        die("a scan finds a key twice, or one that nobody wrote");
    char text[24] = {0};
    if (row->value.len > 0)
        memcpy(text, row->value.data, MIN(row->value.len, sizeof text - 1));
    look->values[number] = strtoull(text, NULL, 10);
    look->rows++;
}

static void on_page(struct client_op *op, const struct client_result *result)
{
    struct look *look = op->data;
    look->calls++;
    look->status = result->status;
    if (result->status != 0)
        return;
    const struct response_rows *rows = &result->response->rows;
    struct unpack cursor = unpack_of(rows->rows.raw);
    for (uint32_t i = 0; i < rows->rows.count; i++) {
        struct row row;
        row_next(&cursor, &row);
        take_row(look, &row);
    }
    look->has_more = rows->has_more;
    look->is_range_end = rows->is_range_end;
    look->version = rows->version;
    look->cursor_len = rows->cursor.len;
    if (rows->cursor.len > sizeof look->cursor)
        die("a cursor that is no key");
    if (rows->cursor.len > 0)
        memcpy(look->cursor, rows->cursor.data, rows->cursor.len);
}

/* False: the version is gone that the page before was read at. All clocks leapt by more than
 * versions are kept, and a range hears of the time by what is written to it: that may be between
 * two pages. */
static bool ask_page(struct client *client, struct look *look, bool is_reverse, bool is_first)
{
    struct slice from = is_first ? (struct slice){0} : slice_of(look->cursor, look->cursor_len);
    bool goes_on = !is_first && !look->is_range_end;
    look->op = (struct client_op){
        .data = look, .timeout_ms = 10000, .cb = on_page, .request = {.kind = REQUEST_SCAN}};
    struct request_scan *scan = &look->op.request.scan;
    scan->is_reverse = is_reverse;
    scan->read.keyspace = look->keyspace;
    scan->limit_keys = 7;
    if (is_reverse)
        scan->end = from;
    else
        scan->start = from;
    if (goes_on) {
        scan->read.consistency = READ_AT;
        scan->read.at_version = look->version;
    }
    int calls = look->calls;
    if (client_submit(client, &look->op) != 0)
        die("the client refuses a scan");
    for (int i = 0; i < 300 && look->calls == calls; i++)
        rig_run(&run.rig, 50 * RIG_MS);
    if (look->calls == calls + 1 && look->status == ERR_VERSION_GONE && goes_on &&
        run.leapt_ms != 0)
        return false;
    if (look->calls != calls + 1 || look->status != 0)
        die("the client does not get a page");
    return true;
}

/* All keys of a keyspace, over all ranges, upwards or downwards: what the stores hold. */
static void scan_all(struct client *client, uint32_t keyspace, bool is_reverse)
{
    struct look *look = calloc(1, sizeof *look);
    int pages = 0, restarts = 0;
    look->keyspace = keyspace;
    do {
        if (!ask_page(client, look, is_reverse, pages++ == 0)) {
            if (++restarts > KEYS) /* once for each range, of which there are fewer */
                die("a version is gone again and again");
            *look = (struct look){.keyspace = keyspace, .has_more = true};
            pages = 0;
        }
        if (pages > 20 * KEYS)
            die("a scan without an end");
    } while (look->has_more);
    key_times_note();
    for (uint32_t i = 0; i < KEYS; i++) {
        if (key_keyspace(i) == keyspace && !key_may_hold_at_end(&run.keys[i], look->values[i]))
            die("a scan over all ranges misses an acknowledged write");
    }
    free(look);
}

void look_by_client(void)
{
    const char *endpoints[RIG_STORES_MAX];
    struct client *client;
    for (size_t i = 0; i < run.rig.count; i++)
        endpoints[i] = is_up(i) ? store_address(run.rig.stores[i]) : NULL;
    struct client_options options = {.endpoints = endpoints,
                                     .endpoint_count = run.is_grown ? 1 : run.rig.count};
    struct sim_node *node = sim_node_new(run.rig.sim, "client");
    if (client_new(sim_node_env(node), &options, &client, NULL) != 0)
        die("no client");
    for (int i = 0; i < 4; i++)
        scan_all(client, i < 2 ? 0 : run.hashed, i % 2 == 1);
    client_check(client);
    env_stop(sim_node_env(node));
    client_free(client);
}

/* Nothing that was written with a time to live is there any more. */
void check_expired(void)
{
    keys_wait_for_expiry();
    for (uint32_t i = 0; i < KEYS; i++) {
        const struct rig_answer *get = key_expires(i) ? read_at_end(i) : NULL;
        if (get != NULL && (get->count != 1 || get->status != 0))
            die("a key cannot be read at the end");
        if (get != NULL && get->value[0] != 0)
            die("a value stays beyond its time to live");
    }
}

/* Why placement leaves a range as it is. */
static void explain(const struct range_descriptor *d)
{
    size_t i = rig_driver(&run.rig);
    struct driver *driver = i == run.rig.count ? NULL : run.rig.stores[i]->driver;
    struct err err = {0};
    struct buf text;
    buf_init(&text, 1 << 20);
    if (driver != NULL && driver_is_running(driver) &&
        placement_explain(driver->placement, driver_now_ms(driver), d->range_id, &text, &err) == 0)
        printf("%.*s\n", (int)text.len, (const char *)text.data);
    buf_fini(&text);
}

/* Who has what, for whoever looks for the reason. */
void describe(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        uint64_t id;
        if (run.rig.stores[i] == NULL)
            continue;
        printf("store %zu: state %s\n", i + 1, store_state_name(store_state(run.rig.stores[i])));
        for (uint32_t k = 0; (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            struct range *range = store_range_of(run.rig.stores[i], id);
            const struct range_descriptor *d = range_descriptor(range);
            struct cons_status s = {0};
            store_cons_status(run.rig.stores[i], id, &s);
            const struct merges *merges = &range_meta(range)->merges;
            printf("  [%.*s,%.*s) frozen %llx outcomes %u", MAX((int)d->start_len - 5, 0),
                   d->start + 5, MAX((int)d->end_len - 5, 0), d->end + 5,
                   (unsigned long long)merges->frozen.attempt, merges->count);
            printf("  range %llu replica %llu epoch %llu.%llu applied %llu state %d term %llu "
                   "leader %llu commit %llu last %llu members",
                   (unsigned long long)id, (unsigned long long)range_replica_id(range),
                   (unsigned long long)d->epoch.conf, (unsigned long long)d->epoch.span,
                   (unsigned long long)range_meta(range)->applied_index, (int)s.state,
                   (unsigned long long)s.term, (unsigned long long)s.leader,
                   (unsigned long long)s.commit, (unsigned long long)s.last_index);
            for (uint32_t m = 0; m < d->replica_count; m++)
                printf(" %llu@%llu%s", (unsigned long long)d->replicas[m].replica_id,
                       (unsigned long long)d->replicas[m].store_id,
                       d->replicas[m].role == RANGE_ROLE_LEARNER ? "l" : "");
            printf("\n");
            if (run.is_grown && s.state == CONS_LEADER && !grow_is_as_wanted(range_meta(range)))
                explain(d);
        }
    }
}
