/* SPDX-License-Identifier: Apache-2.0
 *
 * The load of holdfast-ranges-sim: one write at a time of each key, and reads that must find
 * what was acknowledged, or seen, before they were asked.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ranges.h"

enum { VALUE_BYTES_MAX = 8 << 10 };

/* By how many voters it was kept. */
static void note_voters(const struct key_state *k)
{
    uint8_t raw[16];
    uint64_t range_id;
    size_t at = leader_at(key_of((uint32_t)(k - run.keys), raw), &range_id);
    const struct range_descriptor *d = at == run.rig.count ? NULL : descriptor_on(at, range_id);
    uint32_t voters = d == NULL ? 0 : voters_in(d);
    if (voters == 1 || voters == 2)
        ranges_met(voters == 1 ? "written: one voter" : "written: two voters");
}

void settle_key(struct key_state *k)
{
    uint64_t now = sim_now_us(run.rig.sim);
    if (k->pending == 0 || (k->answer->count == 0 && now < k->deadline_us))
        return;
    bool is_open = k->answer->count == 0 || k->answer->status == ERR_UNDETERMINED;
    if (k->answer->count == 1 && k->answer->status == 0) {
        ranges_watch_acked(run.watch, k->pending);
        ranges_retain_acked(run.retain, (uint32_t)(k - run.keys), k->pending, k->answer->written);
        k->acked = k->pending;
        k->expiry_ms = k->answer->expiry_ms;
        if (key_expires((uint32_t)(k - run.keys)) != (k->expiry_ms != 0))
            die("the answer to a write tells a wrong expiry");
        memset(k->open, 0, sizeof k->open);
        run.acked++;
        note_voters(k);
    }
    if (!is_open && k->answer->status != 0)
        ranges_watch_refused(run.watch, k->pending);
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

static void fill_value(uint64_t number, char value[VALUE_BYTES_MAX])
{
    size_t more = run.full == NULL ? below(50) : ranges_full_value_len(run.full);
    int len = snprintf(value, VALUE_BYTES_MAX, "%llu ", (unsigned long long)number);
    ASSERT((size_t)len + more < VALUE_BYTES_MAX);
    memset(value + len, '.', more);
    value[(size_t)len + more] = '\0';
}

/* Could a write of the key that was never answered be done behind the next one? What has no session
 * is in order by one connection alone: a store that stood still may find the old one's last bytes
 * behind the new one's first. Where it has answered by the new one it has read both. */
static bool may_be_overtaken(const struct key_state *k, size_t at)
{
    const struct rig_conn *conn = &run.rig.conns[at];
    bool is_open = false;
    for (size_t i = 0; i < OPEN_MAX; i++)
        is_open = is_open || k->open[i] != 0;
    return is_open && k->asked_by != conn->number && conn->answers == 0;
}

bool write_key(uint32_t number, size_t at)
{
    struct key_state *k = &run.keys[number];
    settle_key(k);
    if (k->pending != 0 || at == run.rig.count || run.rig.conns[at].conn == NULL ||
        run.rig.asked + 64 > RIG_ASKED_MAX || may_be_overtaken(k, at))
        return false;
    char name[8], value[VALUE_BYTES_MAX];
    uint8_t raw[16];
    key_name(number, name);
    k->pending = ++run.next_value;
    ranges_watch_asked(run.watch, k->pending, key_keyspace(number), name);
    fill_value(k->pending, value);
    k->deadline_us = sim_now_us(run.rig.sim) + 3000 * RIG_MS;
    struct op op = {.kind = OP_PUT,
                    .key = key_stored(number, raw),
                    .value = slice_str(value),
                    .ttl_ms = key_expires(number) ? 20 + below(TTL_MAX_MS - 20) : 0};
    k->asked_by = run.rig.conns[at].number;
    k->answer = rig_write(&run.rig, at, key_keyspace(number), &op, 1000);
    return true;
}

void write_some(void)
{
    uint8_t raw[16];
    uint64_t range_id;
    uint32_t number = (uint32_t)below(KEYS);
    write_key(number, leader_at(key_of(number, raw), &range_id));
}

/* ---- reading ---------------------------------------------------------------------- */

static bool may_hold(const struct key_state *k, uint64_t value)
{
    if (value == k->acked || value == k->pending || value == k->seen)
        return true;
    for (size_t i = 0; i < OPEN_MAX; i++) {
        if (k->open[i] != 0 && k->open[i] == value)
            return true;
    }
    return false;
}

static void settle_read(struct read_state *read)
{
    struct key_state *k = &run.keys[read->number];
    uint64_t now = sim_now_us(run.rig.sim);
    if (read->answer->count == 0 && now < read->deadline_us)
        return;
    const struct rig_answer *answer = read->answer;
    bool is_answered = answer->count == 1 && answer->status == 0;
    uint64_t value = is_answered ? strtoull(answer->value, NULL, 10) : 0;
    read->answer = NULL;
    if (!is_answered)
        return;
    settle_key(k);
    run.read++;
    run.ways[read->way]++;
    if (value == 0) {
        key_found_absent(k, read->least);
        return;
    }
    key_found(k, value, read->gone, answer->version);
    if (value < read->least || (value > k->acked && !may_hold(k, value))) {
        printf("key k%02u: %llu, must be %llu or newer; acknowledged %llu\n", read->number,
               (unsigned long long)value, (unsigned long long)read->least,
               (unsigned long long)k->acked);
        die("a read finds what is no more, or never was");
    }
    k->seen = value > k->seen ? value : k->seen;
}

void settle_reads(void)
{
    for (size_t i = 0; i < READS_MAX; i++) {
        if (run.reads[i].answer != NULL)
            settle_read(&run.reads[i]);
    }
}

/* Somebody who leads, by his own word; others may know better. */
static size_t some_leader(struct slice key)
{
    size_t first = below(run.rig.count);
    for (size_t n = 0; n < run.rig.count; n++) {
        size_t i = (first + n) % run.rig.count;
        uint64_t id;
        for (uint32_t k = 0; is_up(i) && (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            if (leads(i, id) &&
                range_span_contains(range_descriptor_span(descriptor_on(i, id)), key))
                return i;
        }
    }
    return run.rig.count;
}

/* Somebody with a replica, whoever leads. */
static size_t some_replica(struct slice key)
{
    size_t first = below(run.rig.count);
    for (size_t n = 0; n < run.rig.count; n++) {
        size_t i = (first + n) % run.rig.count;
        uint64_t id;
        for (uint32_t k = 0; is_up(i) && (id = store_range_at(run.rig.stores[i], k)) != 0; k++) {
            if (range_span_contains(range_descriptor_span(descriptor_on(i, id)), key))
                return i;
        }
    }
    return run.rig.count;
}

static uint64_t least_now(struct key_state *k)
{
    uint64_t least = k->acked > k->seen ? k->acked : k->seen;
    k->marks[k->mark_next % MARKS_MAX].time_us = sim_now_us(run.rig.sim);
    k->marks[k->mark_next % MARKS_MAX].gone = k->gone;
    k->marks[k->mark_next++ % MARKS_MAX].least = least;
    return least;
}

/* What had to be found, and what not, by somebody who asked at that time, or before. */
static void look_back(const struct key_state *k, uint64_t time_us, struct read_state *read)
{
    read->least = read->gone = 0;
    for (size_t i = 0; i < MARKS_MAX; i++) {
        if (k->marks[i].time_us != 0 && k->marks[i].time_us < time_us) {
            read->least = MAX(read->least, k->marks[i].least);
            read->gone = MAX(read->gone, k->marks[i].gone);
        }
    }
}

/* How to read, and what must be found. */
static struct request_read draw_how(struct key_state *k, struct read_state *read)
{
    struct request_read how = {0};
    uint64_t now = sim_now_us(run.rig.sim);
    how.keyspace = key_keyspace(read->number);
    read->least = least_now(k);
    read->gone = k->gone;
    if (read->way == READ_ANYWHERE)
        how.any_replica = true;
    if (read->way == READ_BY_LEASE)
        how.consistency = READ_LEASE;
    if (read->way == READ_OLD) {
        how.consistency = READ_STALE;
        how.max_age_ms = 1 + below(below(2) == 0 ? 100 : 4000);
        uint64_t age_us = how.max_age_ms * RIG_MS;
        if (run.has_weather) /* a store's clock may run slow by so much */
            age_us = age_us * 1000000 / (1000000 - RANGES_DRIFT_PPM_MAX) + 1;
        look_back(k, now - MIN(now, age_us), read);
    }
    return how;
}

bool read_key(uint32_t number, size_t at, enum read_way way)
{
    uint8_t raw[16];
    struct key_state *k = &run.keys[number];
    struct read_state *read = NULL;
    settle_reads();
    settle_key(k);
    for (size_t i = 0; i < READS_MAX && read == NULL; i++)
        read = run.reads[i].answer == NULL ? &run.reads[i] : NULL;
    if (read == NULL || at == run.rig.count || run.rig.conns[at].conn == NULL ||
        run.rig.asked + 64 > RIG_ASKED_MAX)
        return false;
    *read = (struct read_state){.number = number, .way = way};
    struct request_read how = draw_how(k, read);
    read->deadline_us = sim_now_us(run.rig.sim) + 3000 * RIG_MS;
    read->answer = rig_read_key(&run.rig, at, key_stored(number, raw), &how, 1000);
    return true;
}

void read_some(void)
{
    uint8_t raw[16];
    uint32_t number = (uint32_t)below(KEYS);
    enum read_way way = (enum read_way)below(READ_WAYS);
    struct slice key = key_of(number, raw);
    bool is_led = way == READ_AT_LEADER || way == READ_BY_LEASE;
    read_key(number, is_led ? some_leader(key) : some_replica(key), way);
}
