/* SPDX-License-Identifier: Apache-2.0
 *
 * Splits and merges. A range that is large, or was asked too often for a while, is split;
 * two neighbours that were small and cold for long are merged, after the replicas of one
 * were brought to the stores of the other. What was just merged is not split for a while,
 * and the reverse.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/plant.h"
#include "placement/placement_internal.h"

enum { HOT_FOR_MS = 15000 }; /* before a range is split for its load */

static bool is_whole(const struct placement *p, const struct pl_range *r)
{
    struct pl_health h = pl_range_health(p, r);
    return pl_range_is_free(p, r) && h.learners == 0 && h.healthy == h.voters && h.dead == 0 &&
           h.voters == pl_range_wants(p, r);
}

/* A member that stays away must not let a range grow for ever: it makes up for the split when it
 * comes back. What placement has begun comes first. */
static bool is_far_too_large(const struct placement *p, const struct pl_range *r)
{
    return r->bytes >= 2 * p->settings.split_bytes && pl_range_is_free(p, r) &&
           pl_range_health(p, r).learners == 0 && pl_range_is_led(p, r);
}

static bool was_shaped_lately(const struct placement *p, const struct pl_range *r)
{
    return p->now_ms - r->shaped_ms < p->settings.merge_after_us / 1000;
}

/* ---- split ---------------------------------------------------------------------------------- */

bool pl_begin_split(struct placement *p, struct pl_range *r, enum pl_cause cause,
                    enum placement_split_by by, struct slice key, const char *reason)
{
    uint64_t ids[DESCRIPTOR_MEMBERS_MAX];
    struct pl_op *op = pl_op_new(p, r, cause);
    if (op == NULL)
        return false;
    op->split_key = malloc(key.len + 1);
    if (op->split_key == NULL || !pl_ids_take(p, PLACEMENT_IDS_REPLICA, r->member_count, ids) ||
        !pl_ids_take(p, PLACEMENT_IDS_RANGE, 1, &op->split_range_id)) {
        pl_op_discard(p, op);
        return false;
    }
    if (key.len > 0)
        memcpy(op->split_key, key.data, key.len);
    op->split_key_len = (uint32_t)key.len;
    op->split_by = by;
    op->child_count = r->member_count;
    for (uint32_t i = 0; i < r->member_count; i++)
        op->children[i] = (struct placement_child){r->members[i].store->id, ids[i]};
    pl_op_add_step(op, PLACEMENT_SPLIT, 0, NULL);
    pl_op_reason(op, "%s", reason);
    pl_op_start(p, op);
    return true;
}

static bool split_for_size(struct placement *p, struct pl_range *r)
{
    char why[PLACEMENT_REASON_MAX];
    if (r->bytes < p->settings.split_bytes || p->now_ms < r->no_cut_until_ms ||
        (was_shaped_lately(p, r) && r->bytes < 2 * p->settings.split_bytes && r->was_merged))
        return false;
    snprintf(why, sizeof why, "it has %llu MiB, more than %llu (setting split-bytes)",
             (unsigned long long)(r->bytes >> 20),
             (unsigned long long)(p->settings.split_bytes >> 20));
    return pl_begin_split(p, r, PL_SPLIT, PLACEMENT_SPLIT_BY_SIZE, (struct slice){NULL, 0}, why);
}

static bool split_for_load(struct placement *p, struct pl_range *r)
{
    char why[PLACEMENT_REASON_MAX];
    if (r->hot_since_ms == 0 || p->now_ms - r->hot_since_ms < HOT_FOR_MS ||
        p->now_ms < r->no_split_until_ms || (was_shaped_lately(p, r) && r->was_merged))
        return false;
    snprintf(why, sizeof why, "it is asked %u times a second, more than %llu (setting split-qps)",
             r->qps, (unsigned long long)p->settings.split_qps);
    return pl_begin_split(p, r, PL_SPLIT, PLACEMENT_SPLIT_BY_LOAD, (struct slice){NULL, 0}, why);
}

/* ---- merge ------------------------------------------------------------------------------------
 */

static uint32_t cold_qps(const struct placement *p)
{
    return (uint32_t)(p->settings.split_qps / 80);
}

static bool is_small_and_cold(const struct placement *p, const struct pl_range *r)
{
    uint64_t after_ms = p->settings.merge_after_us / 1000;
    if (PLANTED(merged_at_once))
        return r->bytes < p->settings.merge_bytes;
    return r->small_since_ms != 0 && p->now_ms - r->small_since_ms >= after_ms &&
           !was_shaped_lately(p, r) && r->qps <= cold_qps(p);
}

static uint32_t merges_running(const struct placement *p)
{
    uint32_t n = 0;
    LIST_FOREACH(it, (struct list *)&p->ops)
    n += list_entry(it, struct pl_op, in_all)->partner_id != 0;
    return n;
}

/* A replica of the right one, and the store of the left one that it goes to. */
struct pair {
    struct pl_member *from;
    struct pl_store *to;
};

enum { PAIRS_MAX = (PLACEMENT_STEPS_MAX - 1) / 3 }; /* three steps each, and the merge */

/* False: not all of them can go now. */
static bool find_pairs(const struct placement *p, struct pl_range *left, struct pl_range *right,
                       struct pair pairs[PAIRS_MAX], uint32_t *ret_count)
{
    uint32_t count = 0;
    uint32_t next = 0;
    if (left->member_count != right->member_count)
        return false;
    for (uint32_t i = 0; i < left->member_count; i++) {
        struct pl_store *to = left->members[i].store;
        if (pl_range_on(right, to) != NULL)
            continue;
        while (next < right->member_count && pl_range_on(left, right->members[next].store) != NULL)
            next++;
        if (next == right->member_count || count == PAIRS_MAX ||
            pl_pick_judge(p, right, right->members[next].store, to) != PL_NO_NOT)
            return false;
        pairs[count++] = (struct pair){.from = &right->members[next++], .to = to};
    }
    *ret_count = count;
    return true;
}

/* Bring the replicas of the right one to the stores of the left one, pair by pair. */
static bool add_moves(struct placement *p, struct pl_op *op, const struct pair *pairs,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t id;
        if (!pl_op_bring(p, op, pairs[i].to, &id))
            return false;
        pl_op_add_step(op, PLACEMENT_PROMOTE, id, pairs[i].to);
        pl_op_add_step(op, PLACEMENT_REMOVE, pairs[i].from->id, pairs[i].from->store);
    }
    for (uint32_t i = 0; i < op->step_count; i++)
        op->steps[i].on_partner = true;
    return true;
}

/* Neighbours are looked at again and again: no id is taken before it is certain that they can be
 * brought together. */
bool pl_begin_merge(struct placement *p, struct pl_range *left, struct pl_range *right,
                    enum pl_cause cause, const char *reason)
{
    struct pair pairs[PAIRS_MAX];
    uint32_t count;
    if (!find_pairs(p, left, right, pairs, &count))
        return false;
    struct pl_op *op = pl_op_new(p, left, cause);
    if (op == NULL)
        return false;
    op->partner = right;
    if (!add_moves(p, op, pairs, count)) {
        pl_op_discard(p, op);
        return false;
    }
    pl_op_add_step(op, PLACEMENT_MERGE, 0, NULL);
    pl_op_reason(op, "%s", reason);
    pl_op_start(p, op);
    return true;
}

static bool merge(struct placement *p, struct pl_range *left)
{
    char why[PLACEMENT_REASON_MAX];
    if (left->id == PLACEMENT_SYSTEM_RANGE || left->end_len == 0 || !is_small_and_cold(p, left))
        return false;
    struct pl_range *right = pl_tree_next(p, left);
    if (right == NULL || right->id == PLACEMENT_SYSTEM_RANGE ||
        !slice_equal(pl_range_end(left), pl_range_start(right)) || !is_small_and_cold(p, right) ||
        !pl_is_cut_inside(p, right) || left->bytes + right->bytes >= p->settings.split_bytes / 2 ||
        !is_whole(p, left) || !is_whole(p, right) || merges_running(p) >= p->settings.merges_max ||
        !pl_may_send(p, right))
        return false;
    snprintf(why, sizeof why, "range %llu (%llu KiB) and its neighbour %llu (%llu KiB) are small",
             (unsigned long long)left->id, (unsigned long long)(left->bytes >> 10),
             (unsigned long long)right->id, (unsigned long long)(right->bytes >> 10));
    return pl_begin_merge(p, left, right, PL_MERGE, why);
}

bool pl_shape_range(struct placement *p, struct pl_range *r)
{
    if (p->settings.paused || r->op != NULL || !pl_range_is_free(p, r))
        return false;
    bool may_split = p->settings.split && r->id != PLACEMENT_SYSTEM_RANGE;
    if (may_split && (is_whole(p, r) || is_far_too_large(p, r)) && split_for_size(p, r))
        return true;
    if (may_split && is_whole(p, r) && split_for_load(p, r))
        return true;
    return p->settings.merge && merge(p, r);
}

/* ---- in words -------------------------------------------------------------------------------- */

/* Why a range that is large or hot is not split yet; NULL: it is, in its turn. */
static const char *split_obstacle(const struct placement *p, const struct pl_range *r, bool is_hot)
{
    if (!p->settings.split)
        return "splitting is switched off (setting split)";
    if (r->id == PLACEMENT_SYSTEM_RANGE)
        return "range 1 is never split";
    if (is_hot && p->now_ms < r->no_split_until_ms)
        return "its leader found no key to split at: one key alone may be what is asked for";
    if (!is_hot && p->now_ms < r->no_cut_until_ms)
        return "its leader found no key to split at: one key alone may have it all";
    if (was_shaped_lately(p, r) && r->was_merged && r->bytes < 2 * p->settings.split_bytes)
        return "it was merged lately, and rests (setting merge-after)";
    if (p->now_ms < r->retry_ms)
        return "it rests after what failed (what ended last: below), and is tried again";
    if (!is_whole(p, r) && is_hot && !is_far_too_large(p, r))
        return "it is split once all of its voters are there";
    if (!is_whole(p, r) && !is_far_too_large(p, r))
        return "it is split once all of its voters are there, or at twice that size";
    return NULL;
}

static void text_of_split(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    bool is_hot = r->hot_since_ms != 0;
    if (is_hot)
        buf_printf(text, "hot: asked %u times a second, more than %llu (setting split-qps), for ",
                   r->qps, (unsigned long long)p->settings.split_qps);
    else
        buf_append_str(text, "large: it has ");
    if (is_hot)
        pl_text_time(text, p->now_ms - r->hot_since_ms);
    else
        pl_text_bytes(text, r->bytes);
    const char *why = split_obstacle(p, r, is_hot);
    if (why != NULL)
        buf_printf(text, "; %s\n", why);
    else if (is_hot && p->now_ms - r->hot_since_ms < HOT_FOR_MS)
        buf_printf(text, "; it is split if that lasts for %d s\n", HOT_FOR_MS / 1000);
    else
        buf_append_str(text, "; it is split in its turn\n");
}

static uint64_t small_for_ms(const struct placement *p, const struct pl_range *r)
{
    uint64_t since_ms = MAX(r->small_since_ms, r->shaped_ms);
    return p->now_ms - MIN(p->now_ms, since_ms);
}

/* Only of two that would be merged if they stay as they are. */
static void text_of_merge(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    uint64_t after_ms = p->settings.merge_after_us / 1000;
    const struct pl_range *right =
        r->end_len == 0 ? NULL : pl_tree_next((struct placement *)p, (struct pl_range *)r);
    if (!p->settings.merge || r->id == PLACEMENT_SYSTEM_RANGE || r->small_since_ms == 0 ||
        right == NULL || right->small_since_ms == 0 || right->id == PLACEMENT_SYSTEM_RANGE ||
        !slice_equal(pl_range_end(r), pl_range_start(right)) || !pl_is_cut_inside(p, right) ||
        r->bytes + right->bytes >= p->settings.split_bytes / 2)
        return;
    uint64_t for_ms = MIN(small_for_ms(p, r), small_for_ms(p, right));
    buf_printf(text, "small, like its right neighbour %llu: they are merged ",
               (unsigned long long)right->id);
    if (for_ms >= after_ms && MAX(r->qps, right->qps) > cold_qps(p)) {
        buf_printf(text, "once neither is asked more than %u times a second\n", cold_qps(p));
    } else if (for_ms >= after_ms) {
        buf_append_str(text, "in their turn\n");
    } else {
        buf_append_str(text, "if both stay so, and cold, for ");
        pl_text_time(text, after_ms - for_ms);
        buf_append_str(text, " more (setting merge-after)\n");
    }
}

void pl_shape_text(const struct placement *p, const struct pl_range *r, struct buf *text)
{
    if (r->hot_since_ms != 0 || r->bytes >= p->settings.split_bytes)
        text_of_split(p, r, text);
    else
        text_of_merge(p, r, text);
}
