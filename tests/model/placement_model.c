/* SPDX-License-Identifier: Apache-2.0
 *
 * What the leaders of the model do with steps, and what happens to ranges by themselves.
 */
#include "placement_world.h"

#include <stdlib.h>

#include "base/coding.h"

static void keep_stale(struct world *w, struct w_range *r, const struct w_member *m)
{
    struct w_store *s = &w->stores[m->store];
    if (s->stale_count == W_STALE_MAX || s->is_alive)
        return;
    struct w_stale *stale = &s->stale[s->stale_count++];
    w_describe(w, r, &stale->d, stale->start, stale->end);
    stale->replica_id = m->replica_id;
}

static int apply_add(struct world *w, struct w_range *r, const struct placement_step *step)
{
    struct w_store *s = world_store(w, step->member.store_id);
    uint32_t store = (uint32_t)(s - w->stores);
    if (s == NULL || memcmp(s->uuid, step->member.store_uuid, sizeof s->uuid) != 0)
        return ERR_NOT_FOUND;
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].store == store)
            return ERR_EXISTS;
    }
    if (r->member_count == W_MEMBERS_MAX)
        return ERR_INVALID;
    r->members[r->member_count++] = (struct w_member){
        .replica_id = step->member.replica_id, .store = store, .brought_by = step->operator_id};
    return 0;
}

static int apply_promote(struct world *w, struct w_range *r, const struct placement_step *step)
{
    struct w_member *m = w_member_of(r, step->member.replica_id);
    if (m == NULL)
        return ERR_NOT_FOUND;
    m->is_voter = true;
    if (w_has_majority(w, r))
        return 0;
    m->is_voter = false;
    return ERR_BUSY;
}

static int apply_remove(struct world *w, struct w_range *r, const struct placement_step *step)
{
    struct w_member *m = w_member_of(r, step->member.replica_id);
    if (m == NULL)
        return ERR_NOT_FOUND;
    if (m->replica_id == r->leader)
        return ERR_BUSY; /* it hands over first */
    struct w_range then = *r;
    struct w_member gone = *m;
    *w_member_of(&then, m->replica_id) = then.members[then.member_count - 1];
    then.member_count--;
    if (!w_has_majority(w, &then))
        return ERR_BUSY;
    keep_stale(w, r, &gone);
    *r = then;
    return 0;
}

static int apply_transfer(struct world *w, struct w_range *r, const struct placement_step *step)
{
    struct w_member *m = w_member_of(r, step->member.replica_id);
    if (m == NULL || !m->is_voter || !w_member_lives(w, m))
        return ERR_NOT_FOUND;
    r->leader = m->replica_id;
    r->raft_term++;
    return 0;
}

static uint64_t child_id(const struct world *w, const struct w_member *m,
                         const struct placement_step *step)
{
    for (uint32_t i = 0; i < step->split.child_count; i++) {
        if (step->split.children[i].store_id == w->stores[m->store].id)
            return step->split.children[i].replica_id;
    }
    return 0;
}

static int apply_split(struct world *w, struct w_range *r, const struct placement_step *step)
{
    uint64_t at = r->lo + (r->hi - r->lo) / 2;
    if (step->split.by == PLACEMENT_SPLIT_BY_KEY)
        at = get_u64be(step->split.key.data + 5);
    if (at <= r->lo || at >= r->hi)
        return ERR_NOT_FOUND;
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (child_id(w, &r->members[i], step) == 0)
            w_fail(w, "a split without an id for a member");
    }
    struct w_range *right = world_add_range(w, step->split.range_id, at, r->hi, NULL, 0);
    right->span = r->span + 1;
    right->conf = r->conf;
    right->member_count = r->member_count;
    for (uint32_t i = 0; i < r->member_count; i++) {
        right->members[i] = r->members[i];
        right->members[i].replica_id = child_id(w, &r->members[i], step);
        if (r->members[i].replica_id == r->leader)
            right->leader = right->members[i].replica_id;
    }
    right->bytes = r->bytes / 2;
    right->grows = r->grows / 2;
    right->qps = r->qps / 2;
    right->write_bytes_s = r->write_bytes_s / 2;
    r->hi = at;
    r->span++;
    r->bytes -= right->bytes;
    r->grows -= right->grows;
    r->qps -= right->qps;
    r->write_bytes_s -= right->write_bytes_s;
    world_beat_soon(w, right);
    w->n_splits++;
    return 0;
}

static int apply_merge(struct world *w, struct w_range *r, const struct placement_step *step)
{
    struct w_range *right = world_range(w, step->merge.range_id);
    if (right == NULL || right->is_ended || right->lo != r->hi ||
        right->conf != step->merge.conf_epoch || right->span != step->merge.span_epoch)
        return ERR_RANGE_CHANGED;
    for (uint32_t i = 0; i < r->member_count; i++) {
        uint32_t k = 0;
        while (k < right->member_count && right->members[k].store != r->members[i].store)
            k++;
        if (k == right->member_count)
            w_fail(w, "a merge of ranges on other stores");
        if (!w_member_lives(w, &r->members[i]) || !w_member_lives(w, &right->members[k]))
            return ERR_BUSY;
    }
    r->hi = right->hi;
    r->span = MAX(r->span, right->span) + 1;
    r->bytes += right->bytes;
    r->grows += right->grows;
    r->qps += right->qps;
    r->write_bytes_s += right->write_bytes_s;
    right->is_ended = true;
    w->n_merges++;
    return 0;
}

static int carry_out(struct world *w, struct w_range *r, const struct placement_step *step)
{
    switch (step->kind) {
    case PLACEMENT_ADD_LEARNER:
        w->n_moves++;
        return apply_add(w, r, step);
    case PLACEMENT_PROMOTE:
        return apply_promote(w, r, step);
    case PLACEMENT_REMOVE:
        return apply_remove(w, r, step);
    case PLACEMENT_TRANSFER:
        w->n_transfers++;
        return apply_transfer(w, r, step);
    case PLACEMENT_SPLIT:
        return apply_split(w, r, step);
    case PLACEMENT_MERGE:
        return apply_merge(w, r, step);
    case PLACEMENT_RETAIN: /* nobody here says for how long */
        w_fail(w, "range %llu is to keep old versions otherwise", (unsigned long long)r->id);
    }
    return ERR_INVALID;
}

int world_apply(struct world *w, struct w_store *at, const struct placement_step *step)
{
    struct w_range *r = world_range(w, step->range_id);
    w->n_steps++;
    if (step->term < at->seen_term) {
        w->n_stale_terms++;
        return ERR_NOT_LEADER;
    }
    at->seen_term = step->term;
    struct w_member *leader = r == NULL || r->is_ended ? NULL : w_member_of(r, r->leader);
    if (leader == NULL || &w->stores[leader->store] != at || !w_member_lives(w, leader))
        return ERR_NOT_LEADER;
    if (r->conf != step->conf_epoch || r->span != step->span_epoch)
        return ERR_RANGE_CHANGED;
    if (!w_has_majority(w, r) || rng_chance(&w->rng, w->knobs.refuse_permille, 1000)) {
        w->n_refused++;
        return ERR_BUSY;
    }
    judge_step_applied(w, r, step);
    int rv = carry_out(w, r, step);
    if (rv == 0) {
        w->n_applied++;
        r->index += 5;
        r->conf += step->kind <= PLACEMENT_REMOVE;
        world_beat_soon(w, r);
    }
    w_say(w,
          "operator %llu %s range %llu (new %llu) replica %llu store %llu epochs %llu %llu (asked "
          "%llu %llu): %s",
          (unsigned long long)step->operator_id, placement_step_kind_name(step->kind),
          (unsigned long long)r->id, (unsigned long long)step->split.range_id,
          (unsigned long long)step->member.replica_id, (unsigned long long)step->member.store_id,
          (unsigned long long)r->conf, (unsigned long long)r->span,
          (unsigned long long)step->conf_epoch, (unsigned long long)step->span_epoch, err_name(rv));
    return rv;
}

/* ---- by themselves ------------------------------------------------------------------------ */

static void elect(struct world *w, struct w_range *r)
{
    struct w_member *may[W_MEMBERS_MAX];
    uint32_t count = 0;
    if (r->leader != 0) {
        r->leader = 0;
        r->leaderless_ms = w->now_ms;
    }
    if (w->now_ms - r->leaderless_ms < 1500 || !w_has_majority(w, r))
        return;
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->members[i].is_voter && w_member_lives(w, &r->members[i]))
            may[count++] = &r->members[i];
    }
    r->leader = may[rng_below(&w->rng, count)]->replica_id;
    r->raft_term++;
    world_beat_soon(w, r);
}

static bool is_at_rest(const struct world *w, const struct w_range *r)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (!w_member_lives(w, &r->members[i]) || !r->members[i].is_caught_up)
            return false;
    }
    return r->grows == 0 && r->qps == 0 && r->write_bytes_s == 0 && w->now_ms - r->busy_ms >= 8000;
}

/* What it says as it falls asleep; again, until the driver has answered. */
static void fall_asleep(struct world *w, struct w_range *r)
{
    uint64_t busy_ms = r->busy_ms;
    world_beat_soon(w, r);
    r->busy_ms = busy_ms;
    r->is_asleep = true;
}

static void live_on(struct world *w, struct w_range *r)
{
    struct w_member *leader = w_member_of(r, r->leader);
    r->bytes = (uint64_t)MAX((int64_t)r->bytes + r->grows, 1000);
    if (leader == NULL || !w_member_lives(w, leader)) {
        elect(w, r);
        return;
    }
    bool is_falling_asleep = is_at_rest(w, r);
    if (w->now_ms < r->beat_ms && !is_falling_asleep)
        return;
    if (is_falling_asleep) {
        fall_asleep(w, r);
        return;
    }
    uint64_t busy_ms = r->busy_ms;
    world_beat_soon(w, r);
    r->busy_ms = busy_ms;
}

void world_second(struct world *w)
{
    for (uint32_t i = 0; i < w->range_count; i++) {
        struct w_range *r = w->ranges[i];
        if (r->is_ended)
            continue;
        if (r->is_asleep) {
            struct w_member *leader = w_member_of(r, r->leader);
            if (leader != NULL && w_member_lives(w, leader)) {
                if (!r->is_told && w->now_ms >= r->beat_ms)
                    fall_asleep(w, r);
                continue;
            }
            r->is_asleep = false; /* stores notice that one is silent, and wake what it led */
        }
        live_on(w, r);
    }
}
