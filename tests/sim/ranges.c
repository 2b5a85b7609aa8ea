/* SPDX-License-Identifier: Apache-2.0
 *
 * holdfast-ranges-sim — ranges that are split, and whose members come and go, on whole
 * stores in a simulated world, while they are written to and everything fails.
 *
 * The one who writes knows who leads (it looks into the stores): it judges splits,
 * membership and snapshots, not routing. At the end the faults stop, and
 *  - the spans of all ranges cover the key space exactly once;
 *  - all members of a range are at one index with one state;
 *  - each key holds the last acknowledged value, or one written since whose outcome was
 *    never told;
 *  - the client's core, which knows nothing but addresses, scans them all both ways.
 * While it runs: the invariants of all rooms, and one history per range and index.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/rng.h"
#include "client/client.h"
#include "consensus/consensus.h"
#include "range/range.h"
#include "unit/store/store_rig.h"

enum { KEYS = 40, OPEN_MAX = 64, SETTLE_STEPS = 1200 };

/* What a key may hold: the last value that was acknowledged, and what was written since
 * without a definite answer. */
struct key_state {
    uint64_t acked;
    uint64_t open[OPEN_MAX]; /* outcome unknown; 0: free */
    uint64_t pending;        /* asked, not answered yet; 0: none */
    uint64_t deadline_us;
    struct rig_answer *answer;
};

struct run {
    struct rig rig;
    struct rng rng;
    struct key_state keys[KEYS];
    struct map hashes; /* of histories, by range and index */
    uint64_t next_value;
    uint64_t next_id;
    uint64_t restart_us[RIG_STORES_MAX];
    uint64_t splits, changes, acked, crashes;
    struct rig_answer *change; /* the last split or change of members */
    bool is_split;
};

static struct run run;

static void die(const char *what)
{
    printf("FAILED: %s at %llu us\n", what, (unsigned long long)sim_now_us(run.rig.sim));
    fflush(stdout);
    exit(1);
}

static uint64_t below(uint64_t n)
{
    return rng_below(&run.rng, n);
}

/* ---- looking into the stores ------------------------------------------------------ */

static bool is_up(size_t i)
{
    return run.rig.stores[i] != NULL && !sim_node_is_dead(run.rig.nodes[i]);
}

static bool leads(size_t i, uint64_t range_id)
{
    const struct consensus *c = store_consensus_of(run.rig.stores[i], range_id);
    struct cons_status s;
    if (c == NULL)
        return false;
    consensus_status(c, &s);
    return s.state == CONS_LEADER && s.is_ready;
}

/* The store whose leader covers this on-disk key; rig.count if none does. */
static size_t leader_at(struct slice key, uint64_t *ret_range)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        uint64_t id;
        if (!is_up(i))
            continue;
        for (uint32_t k = 0; (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            struct range *range = store_range_of(run.rig.stores[i], id);
            struct range_span span = range_descriptor_span(range_descriptor(range));
            if (range_span_contains(span, key) && leads(i, id)) {
                *ret_range = id;
                return i;
            }
        }
    }
    return run.rig.count;
}

static struct slice key_of(uint32_t number, uint8_t raw[16])
{
    char text[8];
    snprintf(text, sizeof text, "k%02u", number);
    return slice_of(raw, range_user_key(0, slice_str(text), raw));
}

/* ---- writing ---------------------------------------------------------------------- */

static void settle_key(struct key_state *k)
{
    uint64_t now = sim_now_us(run.rig.sim);
    if (k->pending == 0 || (k->answer->count == 0 && now < k->deadline_us))
        return;
    bool is_open = k->answer->count == 0 || k->answer->status == ERR_UNDETERMINED;
    if (k->answer->count == 1 && k->answer->status == 0) {
        k->acked = k->pending;
        memset(k->open, 0, sizeof k->open);
        run.acked++;
    }
    for (size_t i = 0; is_open && i < OPEN_MAX; i++) {
        if (k->open[i] != 0)
            continue;
        k->open[i] = k->pending;
        is_open = false;
    }
    if (is_open)
        die("too many writes of one key without an answer");
    k->pending = 0;
}

static void write_some(void)
{
    uint32_t number = (uint32_t)below(KEYS);
    struct key_state *k = &run.keys[number];
    uint8_t raw[16];
    uint64_t range_id;
    settle_key(k);
    struct slice key = key_of(number, raw);
    size_t at = leader_at(key, &range_id);
    if (k->pending != 0 || at == run.rig.count || run.rig.conns[at].conn == NULL ||
        run.rig.asked + 64 > RIG_ASKED_MAX)
        return;
    char name[8], value[80];
    snprintf(name, sizeof name, "k%02u", number);
    k->pending = ++run.next_value;
    snprintf(value, sizeof value, "%llu %.*s", (unsigned long long)k->pending, (int)below(50),
             "..................................................");
    k->deadline_us = sim_now_us(run.rig.sim) + 3000 * RIG_MS;
    k->answer = rig_put(&run.rig, at, name, value, 1000);
}

/* ---- operators --------------------------------------------------------------------- */

static bool is_change_over(void)
{
    return run.change == NULL || run.change->count > 0;
}

static void note_change(void)
{
    if (run.change == NULL || run.change->count == 0)
        return;
    if (run.change->status == 0)
        run.is_split ? run.splits++ : run.changes++;
    run.change = NULL;
}

static void split_some(void)
{
    uint8_t raw[16];
    uint64_t range_id;
    struct slice key = key_of((uint32_t)below(KEYS), raw);
    size_t at = leader_at(key, &range_id);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    const struct range_descriptor *d =
        range_descriptor(store_range_of(run.rig.stores[at], range_id));
    struct request request = {
        .kind = REQUEST_SPLIT,
        .range_id = range_id,
        .span_epoch = d->epoch.span,
        .split = {.key = key,
                  .conf_epoch = d->epoch.conf,
                  .new_range_id = ++run.next_id,
                  .child_count = d->replica_count},
    };
    for (uint32_t i = 0; i < d->replica_count; i++)
        request.split.children[i] = (struct request_child){.store_id = d->replicas[i].store_id,
                                                           .replica_id = ++run.next_id};
    run.change = rig_ask(&run.rig, at, &request);
    run.is_split = true;
}

/* A store without a replica of this range; rig.count if all have one. */
static size_t store_without(const struct range_descriptor *d)
{
    size_t first = below(run.rig.count);
    for (size_t n = 0; n < run.rig.count; n++) {
        size_t i = (first + n) % run.rig.count;
        bool has_one = run.rig.stores[i] == NULL;
        for (uint32_t k = 0; k < d->replica_count; k++)
            has_one = has_one || d->replicas[k].store_id == i + 1;
        if (!has_one)
            return i;
    }
    return run.rig.count;
}

static uint64_t a_learner(const struct range_descriptor *d)
{
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].role == RANGE_ROLE_LEARNER)
            return d->replicas[i].replica_id;
    }
    return 0;
}

static bool fill_add(struct request *request, const struct range_descriptor *d)
{
    static char address[32];
    size_t on = store_without(d);
    if (on == run.rig.count)
        return false;
    snprintf(address, sizeof address, "%c:7000", (char)('a' + on));
    request->change_member.action = MEMBER_ADD_LEARNER;
    struct member *m = &request->change_member.member;
    *m = (struct member){.replica_id = ++run.next_id,
                         .store_id = on + 1,
                         .role = MEMBER_LEARNER,
                         .address = slice_str(address)};
    memcpy(m->store_uuid, store_identity(run.rig.stores[on])->uuid, sizeof m->store_uuid);
    return true;
}

static void change_some(void)
{
    uint8_t raw[16];
    uint64_t range_id;
    size_t at = leader_at(key_of((uint32_t)below(KEYS), raw), &range_id);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    const struct range_descriptor *d =
        range_descriptor(store_range_of(run.rig.stores[at], range_id));
    struct request request = {.kind = REQUEST_CHANGE_MEMBER, .range_id = range_id};
    uint64_t learner = a_learner(d);
    if (learner != 0 && below(8) != 0) {
        request.change_member.action = MEMBER_PROMOTE;
        request.change_member.replica_id = learner;
    } else if (d->replica_count > 3 || (d->replica_count == 3 && below(4) == 0)) {
        const struct range_replica *r = &d->replicas[below(d->replica_count)];
        request.change_member.action = MEMBER_REMOVE;
        request.change_member.replica_id = r->replica_id;
    } else if (!fill_add(&request, d)) {
        return;
    }
    run.change = rig_ask(&run.rig, at, &request);
    run.is_split = false;
}

/* ---- faults --------------------------------------------------------------------------- */

static void crash_some(void)
{
    size_t i = below(run.rig.count);
    bool all = below(12) == 0;
    enum sim_crash how = below(2) == 0 ? SIM_CRASH_POWER : SIM_CRASH_KILL;
    for (size_t k = 0; k < run.rig.count; k++) {
        if ((!all && k != i) || run.rig.stores[k] == NULL)
            continue;
        rig_crash(&run.rig, k, how);
        run.restart_us[k] = sim_now_us(run.rig.sim) + (20 + below(all ? 1000 : 5000)) * RIG_MS;
        run.crashes++;
    }
}

static void start_due(bool now)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        struct err err = {0};
        if (run.rig.stores[i] != NULL && sim_node_is_dead(run.rig.nodes[i])) {
            rig_crash(&run.rig, i, SIM_CRASH_POWER);
            run.restart_us[i] = sim_now_us(run.rig.sim) + 100 * RIG_MS;
        }
        if (run.rig.stores[i] != NULL || (!now && sim_now_us(run.rig.sim) < run.restart_us[i]))
            continue;
        if (rig_start(&run.rig, i, &err) != 0) {
            printf("store %zu: %s\n", i + 1, err.msg);
            die("a store does not start");
        }
    }
}

static void cut_some(void)
{
    size_t a = below(run.rig.count);
    size_t b = below(run.rig.count);
    if (below(3) == 0)
        sim_net_heal(run.rig.sim, NULL, NULL);
    else
        sim_net_partition(run.rig.sim, run.rig.nodes[a], a == b ? NULL : run.rig.nodes[b],
                          below(3) == 0);
}

static void act(void)
{
    note_change();
    for (int i = 0; i < 3; i++)
        write_some();
    switch (below(24)) {
    case 0:
    case 1:
        if (is_change_over())
            split_some();
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        if (is_change_over())
            change_some();
        break;
    case 6:
        crash_some();
        break;
    case 7:
        cut_some();
        break;
    case 8:
        if (is_up(0) && run.rig.conns[0].conn != NULL)
            rig_simple(&run.rig, 0, REQUEST_FLUSH);
        break;
    default:
        break;
    }
    start_due(false);
}

/* ---- judging ------------------------------------------------------------------------------ */

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

/* Every member of the range that this leader leads is where it is, with its state. */
static bool is_range_settled(size_t leader, uint64_t id)
{
    struct range *mine = store_range_of(run.rig.stores[leader], id);
    const struct range_descriptor *d = range_descriptor(mine);
    uint64_t want, hash;
    if (range_hash(mine, &want, NULL) != 0)
        die("a state cannot be read");
    for (uint32_t k = 0; k < d->replica_count; k++) {
        size_t i = d->replicas[k].store_id - 1;
        struct range *other = store_range_of(run.rig.stores[i], id);
        if (other == NULL || range_replica_id(other) != d->replicas[k].replica_id ||
            range_meta(other)->applied_index != range_meta(mine)->applied_index)
            return false;
        if (range_hash(other, &hash, NULL) != 0 || hash != want)
            die("two states at one index");
    }
    return true;
}

/* Leaders tile the key space, and nobody has a replica that no leader names. */
static bool is_settled(void)
{
    uint8_t raw[RANGE_KEY_MAX];
    struct range_span all = range_span_all();
    struct slice at = all.start;
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
        memcpy(raw, d->end, d->end_len);
        at = slice_of(raw, d->end_len);
    }
    for (size_t i = 0; i < run.rig.count; i++) {
        for (uint32_t k = 0; store_range_at(run.rig.stores[i], k) != 0; k++)
            found++;
    }
    return found == placed;
}

static void check_value(uint32_t number)
{
    struct key_state *k = &run.keys[number];
    char name[8];
    uint8_t raw[16];
    uint64_t range_id;
    size_t at = leader_at(key_of(number, raw), &range_id);
    snprintf(name, sizeof name, "k%02u", number);
    if (at == run.rig.count)
        die("no leader at the end");
    rig_reconnect(&run.rig, at); /* the faults may have cost it */
    struct rig_answer *get = rig_get(&run.rig, at, name, 5000);
    for (int i = 0; i < 100 && get->count == 0; i++)
        rig_run(&run.rig, 50 * RIG_MS);
    if (get->count != 1 || get->status != 0)
        die("a key cannot be read at the end");
    uint64_t value = strtoull(get->value, NULL, 10);
    bool is_fine = value == k->acked;
    for (size_t i = 0; i < OPEN_MAX; i++)
        is_fine = is_fine || (k->open[i] != 0 && k->open[i] == value);
    if (!is_fine) {
        printf("key %s: %llu, acknowledged %llu\n", name, (unsigned long long)value,
               (unsigned long long)k->acked);
        die("an acknowledged write is lost, or one came back");
    }
}

/* ---- the client library's core finds its way, too ------------------------------------------- */

struct look {
    struct client_op op;
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
    char name[8] = {0};
    if (row->key.len != 3)
        die("a scan finds a key that nobody wrote");
    memcpy(name, row->key.data, 3);
    uint32_t number = (uint32_t)strtoul(name + 1, NULL, 10);
    if (name[0] != 'k' || number >= KEYS || look->values[number] != 0)
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

static void ask_page(struct client *client, struct look *look, bool is_reverse, bool is_first)
{
    struct slice from = is_first ? (struct slice){0} : slice_of(look->cursor, look->cursor_len);
    bool goes_on = !is_first && !look->is_range_end;
    look->op = (struct client_op){
        .data = look, .timeout_ms = 10000, .cb = on_page, .request = {.kind = REQUEST_SCAN}};
    struct request_scan *scan = &look->op.request.scan;
    scan->is_reverse = is_reverse;
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
    if (look->calls != calls + 1 || look->status != 0)
        die("the client does not get a page");
}

/* All keys, over all ranges, upwards or downwards: what the stores hold. */
static void scan_all(struct client *client, bool is_reverse)
{
    struct look *look = calloc(1, sizeof *look);
    int pages = 0;
    do {
        ask_page(client, look, is_reverse, pages == 0);
        if (++pages > 20 * KEYS)
            die("a scan without an end");
    } while (look->has_more);
    for (uint32_t i = 0; i < KEYS; i++) {
        const struct key_state *k = &run.keys[i];
        bool is_fine = look->values[i] == k->acked;
        for (size_t n = 0; n < OPEN_MAX; n++)
            is_fine = is_fine || (k->open[n] != 0 && k->open[n] == look->values[i]);
        if (!is_fine)
            die("a scan over all ranges misses an acknowledged write");
    }
    free(look);
}

static void look_by_client(void)
{
    const char *endpoints[RIG_STORES_MAX];
    struct client *client;
    for (size_t i = 0; i < run.rig.count; i++)
        endpoints[i] = store_address(run.rig.stores[i]);
    struct client_options options = {.endpoints = endpoints, .endpoint_count = run.rig.count};
    struct sim_node *node = sim_node_new(run.rig.sim, "client");
    if (client_new(sim_node_env(node), &options, &client, NULL) != 0)
        die("no client");
    scan_all(client, false);
    scan_all(client, true);
    client_check(client);
    env_stop(sim_node_env(node));
    client_free(client);
}

/* Who has what, for whoever looks for the reason. */
static void describe(void)
{
    for (size_t i = 0; i < run.rig.count; i++) {
        uint64_t id;
        printf("store %zu: state %s\n", i + 1, store_state_name(store_state(run.rig.stores[i])));
        for (uint32_t k = 0; (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            struct range *range = store_range_of(run.rig.stores[i], id);
            const struct range_descriptor *d = range_descriptor(range);
            struct cons_status s = {0};
            if (store_consensus_of(run.rig.stores[i], id) != NULL)
                consensus_status(store_consensus_of(run.rig.stores[i], id), &s);
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
        }
    }
}

static void finish(void)
{
    int steps = 0;
    sim_net_heal(run.rig.sim, NULL, NULL);
    start_due(true);
    do {
        rig_run(&run.rig, 100 * RIG_MS);
        start_due(true);
        check_histories();
    } while (++steps < SETTLE_STEPS && !is_settled());
    if (!is_settled()) {
        describe();
        die("it does not settle");
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        run.keys[i].deadline_us = 0;
        settle_key(&run.keys[i]);
        check_value(i);
    }
    look_by_client();
}

static void run_seed(uint64_t seed, uint32_t seconds)
{
    memset(&run, 0, sizeof run);
    rng_init(&run.rng, seed);
    map_init(&run.hashes);
    run.next_id = 100;
    rig_open(&run.rig, 3 + below(3));
    run.rig.options.lsm.memtable_bytes = (size_t)1 << (10 + below(8));
    run.rig.options.log_kept_bytes = below(2) * 4096;
    run.rig.options.log.cache_bytes = below(2) * 4096;
    rig_start_cluster(&run.rig);
    uint64_t end_us = sim_now_us(run.rig.sim) + (uint64_t)seconds * 1000 * RIG_MS;
    while (sim_now_us(run.rig.sim) < end_us) {
        act();
        rig_run(&run.rig, (1 + below(100)) * RIG_MS);
        check_histories();
    }
    finish();
    printf("seed %llu hash %016llx ok acked %llu splits %llu changes %llu crashes %llu\n",
           (unsigned long long)seed, (unsigned long long)sim_hash(run.rig.sim),
           (unsigned long long)run.acked, (unsigned long long)run.splits,
           (unsigned long long)run.changes, (unsigned long long)run.crashes);
    map_fini(&run.hashes);
    rig_close(&run.rig);
}

int main(int argc, char **argv)
{
    unsigned long long from, to;
    uint32_t seconds = 20;
    if (argc < 3 || strcmp(argv[1], "--seeds") != 0 ||
        sscanf(argv[2], "%llu..%llu", &from, &to) != 2 || from > to) {
        fprintf(stderr, "usage: holdfast-ranges-sim --seeds A..B [SECONDS]\n");
        return 2;
    }
    if (argc > 3)
        seconds = (uint32_t)strtoul(argv[3], NULL, 10);
    for (uint64_t seed = from; seed <= to; seed++) {
        printf("seed %llu\r", (unsigned long long)seed);
        fflush(stdout);
        run_seed(seed, seconds);
    }
    printf("%llu passed, 0 failed\n", to - from + 1);
    return 0;
}
