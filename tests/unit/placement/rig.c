/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

static void start_driver(struct rig *rig)
{
    struct placement_options options = {
        .term = rig->term,
        .now_ms = rig->now_ms,
        .seed = rig->term,
        .retention_ms = rig->retention_ms,
        .first_id = {[PLACEMENT_IDS_RANGE] = 100, [PLACEMENT_IDS_REPLICA] = 10000},
    };
    rig->p = placement_new(&options);
    ASSERT(rig->p != NULL);
    for (uint32_t i = 0; i < rig->row_count; i++) {
        struct rig_row *row = &rig->rows[i];
        struct err err = {0};
        if (!row->is_gone)
            ASSERT(placement_load(rig->p, slice_str(row->key), slice_of(row->value, row->len),
                                  &err) == 0);
    }
    placement_loaded(rig->p, rig->now_ms);
}

void rig_init(struct rig *rig)
{
    *rig = (struct rig){.now_ms = 1000, .term = 1};
    start_driver(rig);
}

void rig_fini(struct rig *rig)
{
    placement_free(rig->p);
}

void rig_fail_over(struct rig *rig)
{
    placement_free(rig->p);
    rig->term++;
    start_driver(rig);
}

static void take_row(struct rig *rig, const struct placement_row *row)
{
    char key[96];
    ASSERT(row->key.len < sizeof key && row->value.len <= sizeof rig->rows[0].value);
    snprintf(key, sizeof key, "%.*s", (int)row->key.len, (const char *)row->key.data);
    uint32_t i = 0;
    while (i < rig->row_count && strcmp(rig->rows[i].key, key) != 0)
        i++;
    ASSERT(i < RIG_ROWS_MAX);
    rig->row_count = MAX(rig->row_count, i + 1);
    snprintf(rig->rows[i].key, sizeof rig->rows[i].key, "%s", key);
    rig->rows[i].len = row->value.len;
    rig->rows[i].is_gone = row->is_delete;
    if (row->value.len > 0)
        memcpy(rig->rows[i].value, row->value.data, row->value.len);
}

static void take_writes(struct rig *rig)
{
    struct placement_write write;
    while (placement_next_write(rig->p, &write)) {
        ASSERT(write.term == rig->term);
        for (uint32_t i = 0; i < write.row_count; i++)
            take_row(rig, &write.rows[i]);
        placement_written(rig->p, write.id, 0);
    }
}

uint64_t rig_join(struct rig *rig, const char *labels)
{
    struct rig_store *s = &rig->stores[rig->store_count];
    struct err err = {0};
    snprintf(s->address, sizeof s->address, "s%u:1", rig->store_count + 1);
    snprintf(s->labels, sizeof s->labels, "%s", labels);
    s->capacity = UINT64_C(1) << 40;
    s->free_bytes = s->capacity;
    struct placement_join join = {.address = slice_str(s->address), .labels = slice_str(labels)};
    join.uuid[0] = (uint8_t)(rig->store_count + 1);
    int rv = placement_on_join(rig->p, rig->now_ms, &join, &s->id, &err);
    for (int i = 0; i < 3 && rv == ERR_BUSY; i++) {
        take_writes(rig);
        rv = placement_on_join(rig->p, rig->now_ms, &join, &s->id, &err);
    }
    ASSERT(rv == 0);
    rig->store_count++;
    return s->id;
}

static void set_key(char to[16], uint32_t *ret_len, struct slice key)
{
    ASSERT(key.len < 16);
    memset(to, 0, 16);
    if (key.len > 0)
        memcpy(to, key.data, key.len);
    *ret_len = (uint32_t)key.len;
}

struct rig_range *rig_range(struct rig *rig, uint64_t id, const char *start, const char *end,
                            const uint64_t *stores, uint32_t count)
{
    struct rig_range *r = &rig->ranges[rig->range_count++];
    ASSERT(rig->range_count <= RIG_RANGES_MAX);
    *r = (struct rig_range){.bytes = 1 << 20};
    set_key(r->start, &r->start_len, slice_str(start));
    set_key(r->end, &r->end_len, slice_str(end));
    r->d = (struct descriptor){.range_id = id, .conf_epoch = 1, .span_epoch = 1};
    r->d.member_count = count;
    for (uint32_t i = 0; i < count; i++)
        r->d.members[i] = (struct member){
            .replica_id = id * 16 + i,
            .store_id = stores[i],
            .role = MEMBER_VOTER,
            .address = slice_str("a:1"),
        };
    r->leader = r->d.members[0].replica_id;
    return r;
}

struct rig_range *rig_find(struct rig *rig, uint64_t id)
{
    for (uint32_t i = 0; i < rig->range_count; i++) {
        if (rig->ranges[i].d.range_id == id && !rig->ranges[i].is_gone)
            return &rig->ranges[i];
    }
    return NULL;
}

static struct rig_store *store_of(struct rig *rig, uint64_t id)
{
    for (uint32_t i = 0; i < rig->store_count; i++) {
        if (rig->stores[i].id == id)
            return &rig->stores[i];
    }
    return NULL;
}

static bool is_silent(struct rig *rig, uint64_t store_id)
{
    const struct rig_store *s = store_of(rig, store_id);
    return s == NULL || s->is_silent;
}

static struct member *member_of(struct rig_range *r, uint64_t replica_id)
{
    for (uint32_t i = 0; i < r->d.member_count; i++) {
        if (r->d.members[i].replica_id == replica_id)
            return &r->d.members[i];
    }
    return NULL;
}

static void split_range(struct rig *rig, struct rig_range *r, const struct placement_step *step)
{
    struct rig_range *right = &rig->ranges[rig->range_count++];
    ASSERT(rig->range_count <= RIG_RANGES_MAX);
    *right = *r;
    right->d.range_id = step->split.range_id;
    r->d.span_epoch = ++right->d.span_epoch;
    char middle[16];
    snprintf(middle, sizeof middle, "%sm", r->start);
    set_key(right->start, &right->start_len,
            step->split.key.len > 0 ? step->split.key : slice_str(middle));
    set_key(r->end, &r->end_len, slice_of(right->start, right->start_len));
    r->bytes = right->bytes = r->bytes / 2;
    r->qps = right->qps = r->qps / 2;
    for (uint32_t i = 0; i < right->d.member_count; i++) {
        bool is_leader = right->d.members[i].replica_id == r->leader;
        right->d.members[i].replica_id = step->split.children[i].replica_id;
        if (is_leader)
            right->leader = right->d.members[i].replica_id;
    }
}

static void carry_out(struct rig *rig, const struct placement_step *step)
{
    struct rig_range *r = rig_find(rig, step->range_id);
    rig->last = *step;
    if (rig->refuse != 0) {
        placement_on_step_result(rig->p, rig->now_ms, step->operator_id, step->index, rig->refuse,
                                 slice_str("refused"));
        return;
    }
    if (r == NULL || step->conf_epoch != r->d.conf_epoch || step->span_epoch != r->d.span_epoch)
        return;
    rig->steps++;
    struct member *m = member_of(r, step->member.replica_id);
    switch (step->kind) {
    case PLACEMENT_ADD_LEARNER:
        r->d.members[r->d.member_count] = step->member;
        r->d.members[r->d.member_count].address = slice_str("a:1");
        r->d.member_count++;
        r->d.conf_epoch++;
        r->learner_ms = rig->now_ms;
        break;
    case PLACEMENT_PROMOTE:
        m->role = MEMBER_VOTER;
        r->d.conf_epoch++;
        break;
    case PLACEMENT_REMOVE:
        ASSERT(m->replica_id != r->leader);
        *m = r->d.members[--r->d.member_count];
        r->d.conf_epoch++;
        break;
    case PLACEMENT_TRANSFER:
        r->leader = m->replica_id;
        break;
    case PLACEMENT_SPLIT:
        split_range(rig, r, step);
        break;
    case PLACEMENT_MERGE: {
        struct rig_range *right = rig_find(rig, step->merge.range_id);
        ASSERT(right != NULL &&
               slice_equal(slice_of(r->end, r->end_len), slice_of(right->start, right->start_len)));
        set_key(r->end, &r->end_len, slice_of(right->end, right->end_len));
        r->bytes += right->bytes;
        r->d.span_epoch = MAX(r->d.span_epoch, right->d.span_epoch) + 1;
        right->is_gone = true;
        break;
    }
    case PLACEMENT_RETAIN:
        r->retention_ms = step->retention_ms;
        break;
    }
}

static void beat_range(struct rig *rig, struct rig_range *r)
{
    struct placement_peer peers[DESCRIPTOR_MEMBERS_MAX];
    struct placement_step step;
    struct member *leader = member_of(r, r->leader);
    for (uint32_t i = 0; i < r->d.member_count && is_silent(rig, leader->store_id); i++) {
        if (r->d.members[i].role == MEMBER_VOTER && !is_silent(rig, r->d.members[i].store_id))
            leader = &r->d.members[i];
    }
    if (is_silent(rig, leader->store_id))
        return;
    r->leader = leader->replica_id;
    for (uint32_t i = 0; i < r->d.member_count; i++) {
        const struct member *m = &r->d.members[i];
        bool is_lost = is_silent(rig, m->store_id);
        bool is_learning = m->role == MEMBER_LEARNER && rig->now_ms < r->learner_ms + r->learns_ms;
        bool is_stuck = m->replica_id == r->stuck || is_learning ||
                        (r->is_lagging && m->replica_id != leader->replica_id);
        peers[i] = (struct placement_peer){
            .replica_id = m->replica_id,
            .match_index = is_stuck      ? 0
                           : r->is_young ? 20
                                         : 1000,
            .contact_age_ms = m->replica_id == r->mute ? r->mute_ms
                              : is_lost                ? 100000
                                                       : 10,
        };
    }
    r->d.start = slice_of(r->start, r->start_len);
    r->d.end = slice_of(r->end, r->end_len);
    struct placement_range_heartbeat hb = {
        .descriptor = &r->d,
        .store_id = leader->store_id,
        .replica_id = leader->replica_id,
        .leader_term = 1,
        .last_index = r->is_young ? 20 : 1000,
        .bytes = r->bytes,
        .qps = r->qps,
        .retention_ms = r->retention_ms,
        .peer_count = r->d.member_count,
        .peers = peers,
    };
    if (placement_on_range_heartbeat(rig->p, rig->now_ms, &hb, &step) == 1)
        carry_out(rig, &step);
}

static void beat_store(struct rig *rig, struct rig_store *s)
{
    struct placement_store_reply reply;
    struct placement_store_heartbeat hb = {
        .store_id = s->id,
        .boot = 1,
        .address = slice_str(s->address),
        .labels = slice_str(s->labels),
        .capacity_bytes = s->capacity,
        .free_bytes = s->free_bytes,
        .space = s->space,
        .level = s->level,
        .lead = s->lead,
    };
    hb.uuid[0] = (uint8_t)(s - rig->stores + 1);
    placement_on_store_heartbeat(rig->p, rig->now_ms, &hb, &reply);
    if (reply.wants_report)
        placement_on_report(rig->p, rig->now_ms, s->id, 1, reply.report_chunk, NULL, 0, true);
}

static void run_second(struct rig *rig)
{
    struct placement_step step;
    rig->now_ms += 1000;
    for (uint32_t i = 0; i < rig->store_count; i++) {
        if (!rig->stores[i].is_silent)
            beat_store(rig, &rig->stores[i]);
    }
    for (uint32_t i = 0; i < rig->range_count; i++) {
        if (!rig->ranges[i].is_gone)
            beat_range(rig, &rig->ranges[i]);
    }
    placement_tick(rig->p, rig->now_ms);
    take_writes(rig);
    while (placement_next_step(rig->p, &step))
        carry_out(rig, &step);
    placement_check(rig->p);
}

void rig_run(struct rig *rig, uint32_t seconds)
{
    while (seconds-- > 0)
        run_second(rig);
}

bool rig_has(const struct rig_range *r, uint64_t store)
{
    for (uint32_t i = 0; i < r->d.member_count; i++) {
        if (r->d.members[i].store_id == store)
            return true;
    }
    return false;
}

bool rig_is_on(const struct rig_range *r, const uint64_t *stores, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!rig_has(r, stores[i]))
            return false;
    }
    return r->d.member_count == count && rig_voters(r) == count;
}

uint32_t rig_voters(const struct rig_range *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->d.member_count; i++)
        n += r->d.members[i].role == MEMBER_VOTER;
    return n;
}

int rig_command(struct rig *rig, struct placement_command command, struct err *err)
{
    uint64_t id = 0;
    int rv = placement_command(rig->p, rig->now_ms, &command, &id, err);
    take_writes(rig);
    if (rv == ERR_BUSY)
        rv = placement_command(rig->p, rig->now_ms, &command, &id, err);
    return rv;
}
