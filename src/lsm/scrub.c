/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage at rest is found before somebody needs the data: every block of every table is
 * read and checked, at a rate that nobody notices. What is found is told like any other
 * damage, by on_corrupt().
 */
#include "lsm/lsm_internal.h"

enum { SLICE_BYTES = 1 << 20, PAUSE_US_MIN = 1000, IDLE_US = 1000000 };

/* The table with the least number above that of the last one; NULL at the end. */
static struct table *next_table(const struct lsm *lsm)
{
    struct table *best = NULL;
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < lsm->version->count[level]; i++) {
            struct table *t = lsm->version->at[level][i]->table;
            bool is_bad = atomic_load_explicit(&t->is_bad, memory_order_relaxed);
            if (t->number > lsm->scrub.number && !is_bad &&
                (best == NULL || t->number < best->number))
                best = t;
        }
    }
    return best;
}

static void scrub_execute(struct env_work *work)
{
    struct scrub *s = container_of(work, struct scrub, work);
    s->err = (struct err){0};
    s->bytes = 0;
    do {
        uint64_t bytes = 0;
        s->status = table_scrub(s->table, &s->part, &bytes, &s->err);
        s->bytes += bytes;
    } while (s->status == 1 && s->bytes < SLICE_BYTES);
}

static void scrub_pause(struct lsm *lsm, uint64_t us)
{
    env_timer_start(&lsm->scrub.timer, us);
}

static void scrub_complete(struct env_work *work)
{
    struct scrub *s = container_of(work, struct scrub, work);
    struct lsm *lsm = work->data;
    lsm->stats.scrub_bytes += s->bytes;
    lsm->stats.scrub_errors += s->status < 0;
    if (s->status == ERR_CORRUPT)
        lsm_note_damage(lsm, s->err.msg);
    if (s->status != 1 || s->table->is_dead) {
        table_unref(s->table);
        s->table = NULL;
        files_run(lsm); /* it may have waited for us */
    }
    uint64_t us = s->bytes * 1000000 / lsm->options.scrub_bytes;
    scrub_pause(lsm, MAX(us, (uint64_t)PAUSE_US_MIN));
}

static void scrub_on_timer(struct env_timer *timer)
{
    struct lsm *lsm = timer->data;
    struct scrub *s = &lsm->scrub;
    if (lsm->is_dead)
        return;
    if (s->table == NULL) {
        struct table *next = next_table(lsm);
        if (next == NULL) { /* once round */
            lsm->stats.scrub_rounds += s->number > 0;
            s->number = 0;
            scrub_pause(lsm, IDLE_US);
            return;
        }
        s->table = table_ref(next);
        s->number = next->number;
        s->part = 0;
    }
    env_work_submit(lsm->env, ENV_LANE_COMPACT, &s->work);
}

void scrub_init(struct lsm *lsm)
{
    env_timer_init(&lsm->scrub.timer, lsm->env, scrub_on_timer, lsm);
    env_work_init(&lsm->scrub.work, scrub_execute, scrub_complete, lsm);
}

void scrub_start(struct lsm *lsm)
{
    if (lsm->options.scrub_bytes > 0)
        scrub_pause(lsm, IDLE_US);
}

void scrub_free(struct lsm *lsm)
{
    env_timer_stop(&lsm->scrub.timer);
    table_unref(lsm->scrub.table);
    lsm->scrub.table = NULL;
}
