/* SPDX-License-Identifier: Apache-2.0
 *
 * An operator's word: checked against the map, refused with a reason, or begun at once.
 */
#include <stdio.h>

#include "placement/placement_internal.h"

#define U(x) ((unsigned long long)(x))

enum { REASONS_TOLD = 2 };

/* What a command is about, once it was looked at. */
struct word {
    struct placement *p;
    const struct placement_command *c;
    struct pl_range *r;
    char why[PLACEMENT_REASON_MAX];
};

static const char *state_of(const struct pl_store *s)
{
    return placement_store_state_name(s->state, s->wish);
}

static int refuse_store(const struct word *w, const struct pl_store *s, enum pl_no no,
                        struct err *err)
{
    char text[PLACEMENT_REASON_MAX];
    pl_no_text(w->p, w->r, s, no, text, sizeof text);
    return err_set(err, ERR_STATE, "store %llu %s", U(s->id), text);
}

/* Why none of the stores will do: the reasons of the first few. */
static int refuse_all(const struct word *w, const struct pl_store *without, struct err *err)
{
    char text[PLACEMENT_REASON_MAX];
    char why[2 * PLACEMENT_REASON_MAX] = "";
    size_t len = 0;
    uint32_t told = 0;
    for (uint32_t i = 0; i < w->p->store_count && told < REASONS_TOLD; i++) {
        const struct pl_store *s = w->p->by_id[i];
        enum pl_no no = pl_pick_judge(w->p, w->r, without, s);
        if (s->is_ghost || no == PL_NO_HAS_ONE || no == PL_NO_NOT)
            continue;
        pl_no_text(w->p, w->r, s, no, text, sizeof text);
        len += (size_t)snprintf(why + len, sizeof why - len, "%sstore %llu %.90s",
                                told++ == 0 ? ": " : ", ", U(s->id), text);
    }
    return err_set(err, ERR_STATE, "no store may take it%s (holdfast placement explain %llu)",
                   told > 0 ? why : ": each has a replica of the range", U(w->r->id));
}

/* The store to go to: the one that was named, if it may, or the best. */
static int find_to(const struct word *w, const struct pl_store *without, struct pl_store **ret_to,
                   struct err *err)
{
    if (w->c->to_store == 0) {
        *ret_to = pl_pick(w->p, w->r, without, NULL);
        return *ret_to != NULL ? 0 : refuse_all(w, without, err);
    }
    struct pl_store *s = pl_store_get(w->p, w->c->to_store);
    if (s == NULL || s->is_ghost)
        return err_set(err, ERR_NOT_FOUND, "no store %llu in this cluster", U(w->c->to_store));
    enum pl_no no = pl_pick_judge(w->p, w->r, without, s);
    if (no != PL_NO_NOT && no != PL_NO_BUSY)
        return refuse_store(w, s, no, err);
    *ret_to = s;
    return 0;
}

static int find_from(const struct word *w, struct pl_member **ret_from, struct err *err)
{
    struct pl_store *s = pl_store_get(w->p, w->c->from_store);
    *ret_from = s == NULL ? NULL : pl_range_on(w->r, s);
    if (*ret_from == NULL)
        return err_set(err, ERR_NOT_FOUND, "range %llu has no replica on store %llu", U(w->r->id),
                       U(w->c->from_store));
    return 0;
}

static int refuse_busy(const struct pl_range *r, struct err *err)
{
    const struct pl_op *op = r->op;
    return err_set(
        err, ERR_BUSY,
        "operator %llu (%s) runs for range %llu: wait, or holdfast placement cancel %llu",
        U(op->id), op->reason, U(r->id), U(op->id));
}

/* Ids or room for operators are missing: they come in a moment. */
static int begun(bool is_begun, struct err *err)
{
    return is_begun ? 0 : err_set(err, ERR_BUSY, "ids are on their way, or too many operators run");
}

static void clear_way(struct word *w)
{
    if (w->r->op != NULL)
        pl_op_end(w->p, w->r->op, PLACEMENT_CANCELLED, "an operator's word came before it");
}

/* What is moved leaves a voter behind for a while, and then takes one away: of a range that
 * has too few, it would take one that is needed. */
static int check_whole(const struct word *w, struct err *err)
{
    struct pl_health h = pl_range_health(w->p, w->r);
    uint32_t wants = pl_range_wants(w->p, w->r);
    return h.voters >= wants
               ? 0
               : err_set(err, ERR_STATE, "range %llu has %u of %u voters: it is repaired first",
                         U(w->r->id), h.voters, wants);
}

static int do_move(struct word *w, struct err *err)
{
    struct pl_member *from;
    struct pl_store *to;
    int rv = find_from(w, &from, err);
    if (rv == 0)
        rv = check_whole(w, err);
    if (rv == 0)
        rv = find_to(w, from->store, &to, err);
    if (rv != 0)
        return rv;
    clear_way(w);
    return begun(pl_move(w->p, w->r, from, to, PL_COMMAND, w->why), err);
}

static int do_add(struct word *w, struct err *err)
{
    struct pl_health h = pl_range_health(w->p, w->r);
    uint32_t wants = pl_range_wants(w->p, w->r);
    struct pl_store *to;
    uint64_t id;
    if (h.voters >= wants && !w->p->settings.paused)
        return err_set(err, ERR_STATE,
                       "range %llu has its %u voters: raise 'replicas', move one, or pause first",
                       U(w->r->id), wants);
    int rv = find_to(w, NULL, &to, err);
    if (rv != 0)
        return rv;
    clear_way(w);
    struct pl_op *op = pl_op_new(w->p, w->r, PL_COMMAND);
    if (op != NULL && !pl_op_bring(w->p, op, to, &id)) {
        pl_op_discard(w->p, op);
        op = NULL;
    }
    if (op == NULL)
        return begun(false, err);
    pl_op_add_step(op, PLACEMENT_PROMOTE, id, to);
    pl_op_reason(op, "%s", w->why);
    pl_op_start(w->p, op);
    return 0;
}

static int do_remove(struct word *w, struct err *err)
{
    struct pl_health h = pl_range_health(w->p, w->r);
    uint32_t wants = pl_range_wants(w->p, w->r);
    struct pl_member *m;
    int rv = find_from(w, &m, err);
    if (rv != 0)
        return rv;
    bool is_voter = m->role == MEMBER_VOTER;
    if (is_voter && h.voters == 1)
        return err_set(err, ERR_STATE, "it is the only voter of range %llu", U(w->r->id));
    if (is_voter && h.voters <= wants && !w->p->settings.paused)
        return err_set(err, ERR_STATE,
                       "range %llu needs its %u voters: lower 'replicas', move one, or pause first",
                       U(w->r->id), wants);
    clear_way(w);
    struct pl_op *op = pl_op_new(w->p, w->r, PL_COMMAND);
    if (op == NULL)
        return begun(false, err);
    pl_op_add_step(op, PLACEMENT_REMOVE, m->id, m->store);
    pl_op_reason(op, "%s", w->why);
    pl_op_start(w->p, op);
    return 0;
}

static int do_transfer(struct word *w, struct err *err)
{
    struct pl_store *s = w->c->to_store == 0 ? NULL : pl_store_get(w->p, w->c->to_store);
    struct pl_member *to = w->c->to_store == 0 ? pl_pick_leader(w->p, w->r, NULL)
                           : s == NULL         ? NULL
                                               : pl_range_on(w->r, s);
    if (to == NULL && w->c->to_store != 0)
        return err_set(err, ERR_NOT_FOUND, "range %llu has no replica on store %llu", U(w->r->id),
                       U(w->c->to_store));
    if (to == NULL)
        return err_set(err, ERR_STATE,
                       "no other replica of range %llu can lead: holdfast placement explain %llu",
                       U(w->r->id), U(w->r->id));
    if (to->id == w->r->leader)
        return err_set(err, ERR_EXISTS, "store %llu leads range %llu already", U(to->store->id),
                       U(w->r->id));
    if (to->role != MEMBER_VOTER)
        return err_set(err, ERR_STATE, "the replica on store %llu is a learner", U(to->store->id));
    if (!pl_member_is_healthy(w->r, to))
        return err_set(err, ERR_STATE, "the replica on store %llu is not heard of: the store is %s",
                       U(to->store->id), state_of(to->store));
    if (to->store->wish != PLACEMENT_WISH_NONE)
        return err_set(err, ERR_STATE, "store %llu is %s: leaders leave it", U(to->store->id),
                       state_of(to->store));
    clear_way(w);
    return begun(pl_transfer(w->p, w->r, to, PL_COMMAND, w->why), err);
}

static int do_split(struct word *w, struct err *err)
{
    struct slice key = w->c->key;
    if (w->r->id == PLACEMENT_SYSTEM_RANGE)
        return err_set(err, ERR_INVALID, "range 1 is never split");
    if (key.len > DESCRIPTOR_CUT_MAX)
        return err_set(err, ERR_TOO_LARGE, "a key of %zu bytes to cut at, limit %d",
                       key.len - DESCRIPTOR_PREFIX_LEN, DESCRIPTOR_CUT_MAX - DESCRIPTOR_PREFIX_LEN);
    if (key.len > 0 && key.len < DESCRIPTOR_PREFIX_LEN)
        return err_set(err, ERR_INVALID, "a place of %zu bytes: it begins with the keyspace, in %d",
                       key.len, DESCRIPTOR_PREFIX_LEN);
    if (key.len > 0 && (slice_compare(key, pl_range_start(w->r)) <= 0 ||
                        (w->r->end_len > 0 && slice_compare(key, pl_range_end(w->r)) >= 0)))
        return err_set(err, ERR_INVALID, "the key is not inside range %llu", U(w->r->id));
    clear_way(w);
    return begun(pl_begin_split(w->p, w->r, PL_COMMAND,
                                key.len > 0 ? PLACEMENT_SPLIT_BY_KEY : PLACEMENT_SPLIT_BY_SIZE, key,
                                w->why),
                 err);
}

static int do_merge(struct word *w, struct err *err)
{
    struct pl_range *right = pl_tree_next(w->p, w->r);
    if (w->r->id == PLACEMENT_SYSTEM_RANGE || w->r->end_len == 0 || right == NULL ||
        right->id == PLACEMENT_SYSTEM_RANGE ||
        !slice_equal(pl_range_end(w->r), pl_range_start(right)) || !pl_is_cut_inside(w->p, right))
        return err_set(err, ERR_INVALID, "range %llu has no right neighbour to be merged with",
                       U(w->r->id));
    struct pl_health a = pl_range_health(w->p, w->r);
    struct pl_health b = pl_range_health(w->p, right);
    if (a.healthy < a.voters || b.healthy < b.voters || a.learners + b.learners > 0 ||
        a.voters != b.voters || !pl_range_is_led(w->p, right))
        return err_set(err, ERR_STATE,
                       "only whole ranges are merged: range %llu has %u healthy replicas of %u, "
                       "range %llu %u of %u%s",
                       U(w->r->id), a.healthy, a.voters, U(right->id), b.healthy, b.voters,
                       a.learners + b.learners > 0 ? ", and there are learners" : "");
    if (right->op != NULL && right->op->cause == PL_COMMAND && right->op != w->r->op)
        return refuse_busy(right, err);
    clear_way(w);
    if (right->op != NULL)
        pl_op_end(w->p, right->op, PLACEMENT_CANCELLED, "an operator's word came before it");
    if (pl_begin_merge(w->p, w->r, right, PL_COMMAND, w->why))
        return 0;
    return err_set(err, ERR_BUSY,
                   "the replicas of range %llu cannot be brought to those of range %llu now",
                   U(right->id), U(w->r->id));
}

/* A random voter goes to a random store that may have it, and another one leads. */
static int do_scatter(struct word *w, struct err *err)
{
    struct pl_store *may[PLACEMENT_STORES_MAX];
    uint32_t count = 0;
    int rv = check_whole(w, err);
    if (rv != 0)
        return rv;
    struct pl_range *r = w->r;
    struct pl_member *from = &r->members[rng_below(&w->p->rng, r->member_count)];
    struct pl_closeness now = pl_closeness_of(w->p, r, NULL, NULL, NULL);
    for (uint32_t i = 0; i < w->p->store_count && count < PLACEMENT_STORES_MAX; i++) {
        struct pl_store *s = w->p->by_id[i];
        struct pl_closeness then = pl_closeness_of(w->p, r, from->store, s, NULL);
        if (pl_pick_judge(w->p, r, from->store, s) == PL_NO_NOT &&
            pl_closeness_compare(&then, &now) <= 0)
            may[count++] = s;
    }
    if (count > 0 && from->role == MEMBER_VOTER) {
        struct pl_store *to = may[rng_below(&w->p->rng, count)];
        clear_way(w);
        return begun(pl_move(w->p, r, from, to, PL_COMMAND, w->why), err);
    }
    struct pl_member *leader = pl_pick_leader(w->p, r, NULL);
    if (leader == NULL)
        return err_set(err, ERR_STATE, "there is no other place for range %llu", U(r->id));
    clear_way(w);
    return begun(pl_transfer(w->p, r, leader, PL_COMMAND, w->why), err);
}

static int cancel(struct placement *p, uint64_t operator_id, struct err *err)
{
    struct pl_op *op = map_get(&p->ops_by_id, operator_id);
    if (op == NULL)
        return err_set(err, ERR_NOT_FOUND, "no operator %llu runs", U(operator_id));
    pl_op_end(p, op, PLACEMENT_CANCELLED, "an operator's word");
    return 0;
}

static int find_range(struct word *w, struct err *err)
{
    uint64_t into;
    uint64_t epoch;
    w->r = pl_range_get(w->p, w->c->range_id);
    if (w->r == NULL && placement_range_ended(w->p, w->c->range_id, &into, &epoch))
        return err_set(err, ERR_NOT_FOUND, "range %llu was merged into range %llu",
                       U(w->c->range_id), U(into));
    if (w->r == NULL)
        return err_set(err, ERR_NOT_FOUND, "no range %llu is known", U(w->c->range_id));
    if (w->r->op != NULL && w->r->op->cause == PL_COMMAND)
        return refuse_busy(w->r, err);
    if (!pl_range_is_led(w->p, w->r))
        return err_set(err, ERR_STATE,
                       "range %llu has no leader with a majority behind it: explain it first",
                       U(w->r->id));
    return 0;
}

static int carry_out(struct word *w, struct err *err)
{
    static const struct {
        const char *what;
        int (*go)(struct word *w, struct err *err);
    } rows[] = {
        [PLACEMENT_CMD_MOVE] = {"move", do_move},
        [PLACEMENT_CMD_ADD_REPLICA] = {"add-replica", do_add},
        [PLACEMENT_CMD_REMOVE_REPLICA] = {"remove-replica", do_remove},
        [PLACEMENT_CMD_TRANSFER] = {"transfer-leader", do_transfer},
        [PLACEMENT_CMD_SPLIT] = {"split", do_split},
        [PLACEMENT_CMD_MERGE] = {"merge", do_merge},
        [PLACEMENT_CMD_SCATTER] = {"scatter", do_scatter},
    };
    if ((unsigned)w->c->kind >= ARRAY_LEN(rows) || rows[w->c->kind].go == NULL)
        return err_set(err, ERR_UNSUPPORTED, "no such command");
    snprintf(w->why, sizeof w->why, "an operator said: %s", rows[w->c->kind].what);
    return rows[w->c->kind].go(w, err);
}

int placement_command(struct placement *p, uint64_t now_ms, const struct placement_command *command,
                      uint64_t *ret_operator_id, struct err *err)
{
    struct word w = {.p = p, .c = command};
    p->now_ms = MAX(p->now_ms, now_ms);
    if (!p->is_loaded || p->is_broken)
        return err_set(err, ERR_BUSY, "placement is beginning its term");
    if (command->kind == PLACEMENT_CMD_CANCEL) {
        *ret_operator_id = command->operator_id;
        return cancel(p, command->operator_id, err);
    }
    int rv = find_range(&w, err);
    if (rv == 0)
        rv = carry_out(&w, err);
    if (rv == 0)
        *ret_operator_id = w.r->op == NULL ? 0 : w.r->op->id;
    return rv;
}
