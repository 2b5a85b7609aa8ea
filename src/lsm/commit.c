/* SPDX-License-Identifier: Apache-2.0
 *
 * One record: prepare (loop) ─▶ append, or begin a new manifest (FLUSH lane) ─▶ the
 * version is in force (loop) ─▶ done.
 *
 * A record that failed to be written may stand on disk all the same; so it is never
 * given up, only written again, in a new manifest: its files must stay.
 */
#include "lsm/lsm_internal.h"
#include "lsm/value_gc.h"

static void commit_execute(struct env_work *work)
{
    struct lsm *lsm = container_of(work, struct lsm, commit_work);
    char path[ENV_PATH_MAX];
    lsm->commit_err = (struct err){0};
    if (lsm->commit_snapshot.len == 0) {
        lsm->commit_status =
            manifest_append(&lsm->manifest, buf_slice(&lsm->commit_record), &lsm->commit_err);
        return;
    }
    lsm->commit_status = manifest_begin(&lsm->manifest, lsm->commit_number,
                                        buf_slice(&lsm->commit_snapshot), &lsm->commit_err);
    if (lsm->commit_status == 0 && lsm->manifest_old != 0 &&
        disk_path(lsm->dir, DISK_MANIFEST, lsm->manifest_old, path) == 0)
        env_file_unlink(lsm->env, path, NULL); /* else the next open does */
}

/* Encode for the next try: append, or the whole version in a new manifest. */
static int encode(struct lsm *lsm)
{
    buf_clear(&lsm->commit_record);
    buf_clear(&lsm->commit_snapshot);
    bool begin = lsm->manifest.is_broken || lsm->manifest.size >= lsm->options.manifest_bytes;
    if (!begin) {
        edit_encode(&lsm->commit_edit, &lsm->commit_record);
    } else {
        lsm->manifest_old = lsm->manifest.number;
        lsm->commit_number = atomic_fetch_add(&lsm->next_number, 1);
        uint64_t next_number = atomic_load(&lsm->next_number);
        version_encode(lsm->commit_version, next_number, lsm->next_order, &lsm->commit_snapshot);
    }
    return lsm->commit_record.failed || lsm->commit_snapshot.failed ? ERR_NOMEM : 0;
}

static void commit_write(struct lsm *lsm)
{
    ASSERT(lsm->committing != NULL);
    if (encode(lsm) != 0) {
        struct err why = {0};
        err_set(&why, ERR_NOMEM, "manifest record");
        retry_later(&lsm->commit_retry, ERR_NOMEM, &why);
        return;
    }
    env_work_submit(lsm->env, ENV_LANE_FLUSH, &lsm->commit_work);
}

/* The version that the edit makes; value files that nothing of it refers to go with it. */
static int apply(struct lsm *lsm, struct err *err)
{
    struct version *next = NULL;
    size_t dropped = 0;
    int rv = version_apply(lsm->version, &lsm->commit_edit, &next, err);
    if (rv == 0)
        rv = value_sweep(lsm->version, next, &lsm->commit_edit, &dropped);
    if (rv == 0 && dropped > 0) {
        version_unref(next);
        next = NULL;
        rv = version_apply(lsm->version, &lsm->commit_edit, &next, err);
    }
    if (rv == 0)
        lsm->commit_version = next;
    else
        version_unref(next);
    return rv;
}

/* Begin the first of the queue that is still wanted. */
static void commit_run(struct lsm *lsm)
{
    while (lsm->committing == NULL && !lsm->is_dead && !list_is_empty(&lsm->commits)) {
        struct list *link = list_pop_front(&lsm->commits);
        struct commit *commit = list_entry(link, struct commit, in_commits);
        struct err why = {0};
        lsm->committing = commit; /* prepare and done may submit others */
        int rv = commit->prepare(lsm, commit, &lsm->commit_edit);
        if (rv == 0) {
            lsm->commit_edit.next_number = atomic_load(&lsm->next_number);
            lsm->commit_edit.next_order = lsm->next_order;
            rv = apply(lsm, &why);
        }
        if (rv == 0) {
            commit_write(lsm);
            return;
        }
        edit_fini(&lsm->commit_edit);
        lsm->committing = NULL;
        commit->done(lsm, commit, rv);
    }
}

static void commit_complete(struct env_work *work)
{
    struct lsm *lsm = container_of(work, struct lsm, commit_work);
    struct commit *commit = lsm->committing;
    ASSERT(commit != NULL);
    if (lsm->commit_status == DISK_FATAL) {
        lsm->is_dead = true;
        return;
    }
    if (lsm->commit_status != 0) {
        retry_later(&lsm->commit_retry, lsm->commit_status, &lsm->commit_err);
        return;
    }
    retry_clear(&lsm->commit_retry);
    lsm->stats.manifest_records++;
    lsm->stats.manifests += lsm->commit_snapshot.len > 0;

    struct version *before = lsm->version;
    lsm->version = lsm->commit_version;
    lsm->commit_version = NULL;
    lsm_view_drop(lsm);
    lsm_note_garbage(lsm);
    files_edit(lsm, &lsm->commit_edit, before);
    compact_edited(lsm, &lsm->commit_edit);
    edit_fini(&lsm->commit_edit);
    version_unref(before);
    lsm->committing = NULL;
    commit->done(lsm, commit, 0);
    commit_run(lsm);
    files_run(lsm);
    lsm_stall_update(lsm);
    lsm_note_damage(lsm, "found by a read"); /* if any was */
    compact_run(lsm);
}

void commit_submit(struct lsm *lsm, struct commit *commit)
{
    ASSERT(commit->prepare != NULL);
    ASSERT(commit->done != NULL);
    list_push_back(&lsm->commits, &commit->in_commits);
    commit_run(lsm);
}

void commit_init(struct lsm *lsm)
{
    list_init(&lsm->commits);
    buf_init(&lsm->commit_record, MANIFEST_RECORD_MAX);
    buf_init(&lsm->commit_snapshot, MANIFEST_RECORD_MAX);
    env_work_init(&lsm->commit_work, commit_execute, commit_complete, NULL);
    retry_init(&lsm->commit_retry, lsm, commit_write);
}
