/* SPDX-License-Identifier: Apache-2.0
 *
 * The operators of holdfast-ranges-sim: each asks the leader that it finds for one thing.
 */
#include <stdio.h>

#include "ranges.h"

bool is_change_over(void)
{
    return run.change == NULL || run.change->count > 0;
}

void note_change(void)
{
    if (run.change != NULL && run.change->count == 0 &&
        sim_now_us(run.rig.sim) >= run.change_deadline_us)
        run.change = NULL; /* its connection was lost */
    if (run.change == NULL || run.change->count == 0)
        return;
    if (run.change->status == 0)
        run.done[run.ask_kind]++;
    if (run.change->status == 0 && run.change_met != NULL)
        ranges_met(run.change_met);
    run.change = NULL;
}

bool ranges_can_ask(size_t at)
{
    return at < run.rig.count && run.rig.conns[at].conn != NULL &&
           run.rig.asked + 64 <= RIG_ASKED_MAX;
}

struct rig_answer *operate_split(size_t at, uint64_t range_id, struct slice key)
{
    const struct range_descriptor *d = descriptor_on(at, range_id);
    if (!ranges_can_ask(at) || d == NULL)
        return NULL;
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
    return rig_ask(&run.rig, at, &request);
}

static void split_some(void)
{
    uint8_t raw[16];
    uint64_t range_id;
    struct slice key = key_of((uint32_t)below(KEYS), raw);
    size_t at = leader_at(key, &range_id);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    run.change = operate_split(at, range_id, key);
    run.change_at = at;
    run.ask_kind = ASK_SPLIT;
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

static void fill_add(struct request *request, size_t on, const uint8_t uuid[STORE_UUID_LEN])
{
    static char address[32];
    snprintf(address, sizeof address, "%c:7000", (char)('a' + on));
    request->change_member.action = MEMBER_ADD_LEARNER;
    struct member *m = &request->change_member.member;
    *m = (struct member){.replica_id = ++run.next_id,
                         .store_id = on + 1,
                         .role = MEMBER_LEARNER,
                         .address = slice_str(address)};
    memcpy(m->store_uuid, uuid, sizeof m->store_uuid);
}

static bool fill_add_on(struct request *request, size_t on)
{
    if (on >= run.rig.count || run.rig.stores[on] == NULL)
        return false;
    fill_add(request, on, store_identity(run.rig.stores[on])->uuid);
    return true;
}

struct rig_answer *operate_member(size_t at, uint64_t range_id, enum member_change action,
                                  uint64_t replica_id, size_t on,
                                  const uint8_t uuid[STORE_UUID_LEN])
{
    struct request request = {.kind = REQUEST_CHANGE_MEMBER, .range_id = range_id};
    if (!ranges_can_ask(at))
        return NULL;
    request.change_member.action = action;
    request.change_member.replica_id = replica_id;
    if (action == MEMBER_ADD_LEARNER)
        fill_add(&request, on, uuid);
    return rig_ask(&run.rig, at, &request);
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
    } else if (d->replica_count > 3 ||
               (d->replica_count > run.fewest && below(run.fewest == 1 ? 2 : 4) == 0)) {
        const struct range_replica *r = &d->replicas[below(d->replica_count)];
        request.change_member.action = MEMBER_REMOVE;
        request.change_member.replica_id = r->replica_id;
    } else if (!fill_add_on(&request, store_without(d))) {
        return;
    }
    run.change = rig_ask(&run.rig, run.change_at = at, &request);
    run.ask_kind = ASK_MEMBER;
}

/* ---- merges ---------------------------------------------------------------------------- */

/* What the right one is short of to have its replicas where the left has them. */
static bool fill_align(struct request *request, const struct range_descriptor *left,
                       const struct range_descriptor *right)
{
    for (uint32_t i = 0; i < left->replica_count; i++) {
        bool has_one = false;
        for (uint32_t k = 0; k < right->replica_count; k++)
            has_one = has_one || right->replicas[k].store_id == left->replicas[i].store_id;
        if (!has_one)
            return fill_add_on(request, left->replicas[i].store_id - 1);
    }
    for (uint32_t k = 0; k < right->replica_count; k++) {
        bool has_one = false;
        for (uint32_t i = 0; i < left->replica_count; i++)
            has_one = has_one || right->replicas[k].store_id == left->replicas[i].store_id;
        request->change_member.replica_id = right->replicas[k].replica_id;
        request->change_member.action = MEMBER_REMOVE;
        if (!has_one)
            return true;
        request->change_member.action = MEMBER_PROMOTE;
        if (right->replicas[k].role == RANGE_ROLE_LEARNER)
            return true;
    }
    return false;
}

static bool same_seats(const struct range_descriptor *a, const struct range_descriptor *b)
{
    bool same = a->replica_count == b->replica_count;
    for (uint32_t i = 0; same && i < a->replica_count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < b->replica_count; k++)
            found = found || (a->replicas[i].store_id == b->replicas[k].store_id &&
                              a->replicas[i].role == b->replicas[k].role);
        same = found;
    }
    return same;
}

static void merge_some(void)
{
    uint8_t raw[16];
    uint64_t left_id, right_id;
    struct slice key = key_of((uint32_t)below(KEYS), raw);
    size_t at = leader_at(key, &left_id);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    const struct range_descriptor *left = descriptor_on(at, left_id);
    size_t right_at = leader_at(range_descriptor_span(left).end, &right_id);
    if (right_at == run.rig.count || run.rig.conns[right_at].conn == NULL || right_id == left_id)
        return;
    const struct range_descriptor *right = descriptor_on(right_at, right_id);
    struct request request = {.kind = REQUEST_CHANGE_MEMBER, .range_id = right_id};
    if (!same_seats(left, right)) {
        if (!fill_align(&request, left, right))
            return;
        run.change = rig_ask(&run.rig, run.change_at = right_at, &request);
        run.ask_kind = ASK_MEMBER;
        return;
    }
    request = (struct request){
        .kind = REQUEST_MERGE,
        .range_id = left_id,
        .span_epoch = left->epoch.span,
        .merge = {.conf_epoch = left->epoch.conf, .right_range = right_id},
    };
    if (below(2) == 0) {
        request.merge.right_conf = right->epoch.conf;
        request.merge.right_span = right->epoch.span;
    }
    run.change = rig_ask(&run.rig, run.change_at = at, &request);
    run.ask_kind = ASK_MERGE;
    if (below(4) == 0) /* somebody else wants the left one to be cut meanwhile */
        operate_split(at, left_id, key);
}

static void transfer_some(void)
{
    uint8_t raw[16];
    uint64_t range_id;
    size_t at = leader_at(key_of((uint32_t)below(KEYS), raw), &range_id);
    if (at == run.rig.count || run.rig.conns[at].conn == NULL)
        return;
    struct request request = {.kind = REQUEST_TRANSFER_LEADER, .range_id = range_id};
    run.change = rig_ask(&run.rig, run.change_at = at, &request);
    run.ask_kind = ASK_TRANSFER;
}

void operate(uint64_t choice)
{
    note_change();
    if (run.is_grown) {
        grow_operate(choice);
        return;
    }
    if (!is_change_over() && below(4) != 0) /* now and then without waiting for the last */
        return;
    run.change_deadline_us = sim_now_us(run.rig.sim) + 6000 * RIG_MS;
    if (choice < 2)
        split_some();
    else if (choice < 5)
        change_some();
    else if (choice < 8)
        merge_some();
    else
        transfer_some();
}
