/* SPDX-License-Identifier: Apache-2.0
 *
 * A table is dead when the version in force shows nothing of it. Its file goes when
 * ours is the last reference: no view, no cursor, no compaction reads it any more.
 * The edit that dropped it is synced by then (L4).
 */
#include <stdlib.h>

#include "lsm/lsm_internal.h"

enum { POLL_US = 1000000 };

static void files_execute(struct env_work *work)
{
    struct lsm *lsm = work->data;
    char path[ENV_PATH_MAX];
    for (size_t i = 0; i < lsm->files.batch_count; i++) {
        struct table *t = lsm->files.batch[i];
        enum disk_kind kind = t->is_values ? DISK_VALUES : DISK_TABLE;
        int rv = disk_path(lsm->dir, kind, t->number, path);
        lsm->files.batch[i] = NULL; /* files_free() may come before complete() */
        table_unref(t);
        if (rv == 0)
            env_file_unlink(lsm->env, path, NULL); /* else the next open does */
    }
}

static void files_complete(struct env_work *work)
{
    struct lsm *lsm = work->data;
    free(lsm->files.batch);
    lsm->files.batch = NULL;
    lsm->files.batch_count = 0;
    files_run(lsm);
}

static void files_on_poll(struct env_timer *timer)
{
    files_run(timer->data);
}

void files_init(struct lsm *lsm)
{
    list_init(&lsm->files.dead);
    env_work_init(&lsm->files.work, files_execute, files_complete, lsm);
    env_timer_init(&lsm->files.poll, lsm->env, files_on_poll, lsm);
}

void files_open(struct lsm *lsm, const struct version *version)
{
    (void)lsm;
    for (unsigned level = 0; level < VERSION_LISTS; level++) {
        for (size_t i = 0; i < version->count[level]; i++)
            version->at[level][i]->table->pieces++;
    }
}

static struct table *dropped_table(const struct version *before, const struct edit_drop *drop)
{
    for (size_t i = 0; i < before->count[drop->level]; i++) {
        if (before->at[drop->level][i]->id == drop->id)
            return before->at[drop->level][i]->table;
    }
    ASSERT(false);
    return NULL;
}

void files_edit(struct lsm *lsm, const struct edit *edit, const struct version *before)
{
    for (size_t i = 0; i < edit->add_count; i++)
        edit->adds[i].piece->table->pieces++;
    for (size_t i = 0; i < edit->drop_count; i++) {
        struct table *t = dropped_table(before, &edit->drops[i]);
        ASSERT(t->pieces > 0);
        if (--t->pieces == 0) {
            ASSERT(!t->is_dead);
            t->is_dead = true;
            list_push_back(&lsm->files.dead, &table_ref(t)->in_dead);
            lsm->files.count++;
        }
    }
}

void files_run(struct lsm *lsm)
{
    struct files *files = &lsm->files;
    if (files->count == 0 || files->work.is_active || files->batch != NULL || lsm->is_dead)
        return;
    struct table **batch = calloc(files->count, sizeof(*batch));
    size_t n = 0;
    if (batch != NULL) {
        LIST_FOREACH(link, &files->dead)
        {
            struct table *t = list_entry(link, struct table, in_dead);
            if (atomic_load_explicit(&t->refs, memory_order_acquire) == 1) {
                list_remove(link);
                batch[n++] = t;
            }
        }
    }
    files->count -= (uint32_t)n;
    if (n > 0) {
        files->batch = batch;
        files->batch_count = n;
        env_work_submit(lsm->env, ENV_LANE_COMPACT, &files->work);
    } else {
        free(batch);
        env_timer_start(&files->poll, POLL_US);
    }
}

void files_free(struct lsm *lsm)
{
    struct files *files = &lsm->files;
    for (size_t i = 0; i < files->batch_count; i++)
        table_unref(files->batch[i]);
    free(files->batch);
    for (struct list *link; (link = list_pop_front(&files->dead)) != NULL;)
        table_unref(list_entry(link, struct table, in_dead));
    env_timer_stop(&files->poll);
}
