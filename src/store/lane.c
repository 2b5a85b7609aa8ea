/* SPDX-License-Identifier: Apache-2.0 */
#include "store/lane.h"

#include "store/store_internal.h"

static struct lane_line *line_of(const struct read_op *op)
{
    return &op->replica->store->lane.lines[op->line];
}

static struct read_op *of_line(struct fair_item *item)
{
    return container_of(item, struct read_op, in_backlog);
}

static bool has_place(const struct lane_line *line)
{
    return line->under_way < line->most;
}

/* One whose turn it is may wait again, or be in memory by now: then it does not go to the threads.
 */
static void lane_task(struct env_task *task)
{
    struct store *store = task->data;
    for (int i = 0; i < LANE_NR; i++) {
        struct lane_line *line = &store->lane.lines[i];
        for (int n = 0; n < LANE_TURN_MAX && has_place(line) && line->waiting.count > 0; n++) {
            struct read_op *op = of_line(fair_peek(&line->waiting));
            lane_leave(op);
            op->is_turn = true;
            replica_read_go_on(op);
        }
        if (has_place(line) && line->waiting.count > 0)
            env_task_post(store->env, &store->lane.task);
    }
}

void lane_init(struct store *store)
{
    struct lane *lane = &store->lane;
    for (int i = 0; i < LANE_NR; i++)
        fair_init(&lane->lines[i].waiting, UINT32_MAX, SIZE_MAX); /* bounded by read_count */
    lane->lines[LANE_SMALL].most = LANE_SMALL_MAX;
    lane->lines[LANE_LARGE].most = store->opt.lane_large_max;
    env_task_init(&lane->task, lane_task, store);
}

void lane_free(struct store *store)
{
    for (int i = 0; i < LANE_NR; i++)
        fair_fini(&store->lane.lines[i].waiting);
    env_task_cancel(&store->lane.task);
}

static void set_line(struct read_op *op, size_t bytes)
{
    bool is_large = op->request.kind == REQUEST_SCAN || bytes > LANE_SMALL_BYTES;
    op->line = is_large ? LANE_LARGE : LANE_SMALL;
}

void lane_bound(struct read_op *op)
{
    set_line(op, op->in_backlog.cost);
    const struct lane_line *line = line_of(op);
    bool is_turn = op->is_turn || line->waiting.count == 0;
    op->is_turn = false;
    op->read.is_lane_shut = !is_turn || !has_place(line);
    op->read.lane_bytes = op->line == LANE_SMALL ? LANE_SMALL_BYTES : 0;
}

void lane_began(struct read_op *op)
{
    struct lane_line *line = line_of(op);
    ASSERT(has_place(line));
    line->under_way++;
}

void lane_ended(struct read_op *op)
{
    struct store *store = op->replica->store;
    struct lane_line *line = line_of(op);
    ASSERT(line->under_way > 0);
    line->under_way--;
    size_t cost = op->in_backlog.cost;
    fair_charge(&line->waiting, op->to.client, op->read.bytes - MIN(op->read.bytes, cost));
    if (line->waiting.count > 0)
        env_task_post(store->env, &store->lane.task);
}

int lane_wait(struct read_op *op)
{
    struct replica *r = op->replica;
    size_t bytes = MAX(op->read.value_bytes, (size_t)LANE_UNKNOWN);
    set_line(op, bytes);
    int rv = fair_push(&line_of(op)->waiting, &op->in_backlog, op->to.client, bytes);
    if (rv != 0)
        return rv;
    list_push_back(&r->cold, &op->in_reads);
    env_task_post(r->store->env, &r->store->lane.task);
    return 0;
}

void lane_leave(struct read_op *op)
{
    fair_remove(&line_of(op)->waiting, &op->in_backlog);
    list_remove(&op->in_reads);
}

void lane_tick(struct store *store, uint64_t now_us)
{
    struct lane *lane = &store->lane;
    bool is_all = true;
    if (now_us < lane->expired_us + READ_EXPIRE_US)
        return;
    for (int i = 0; i < LANE_NR; i++)
        is_all &= replica_reads_expire(&lane->lines[i].waiting, now_us,
                                       "too much was to be read from files before it");
    lane->expired_us = is_all ? now_us : now_us - READ_EXPIRE_US;
}

void lane_check(const struct store *store)
{
    for (int i = 0; i < LANE_NR; i++) {
        const struct lane_line *line = &store->lane.lines[i];
        ASSERT(line->under_way <= line->most);
        fair_check(&line->waiting);
        LIST_FOREACH(it, &line->waiting.all)
        {
            const struct read_op *op = container_of(it, const struct read_op, in_backlog.in_all);
            ASSERT(op->line == (enum lane_line_kind)i);
            ASSERT(list_is_linked(&op->in_reads));
        }
    }
}
