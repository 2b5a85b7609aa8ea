/* SPDX-License-Identifier: Apache-2.0
 *
 * excise and replace: one lsm_edit() of the middle tenth of the keys. What it costs the
 * store's thread is the CPU of the loop's thread from the call to its callback; what it
 * gives back is the size of the folder before, and after all work that follows is done.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"
#include "env/env.h"
#include "env/uv/env_uv.h"

struct edit_run {
    struct bench *bench;
    struct lsm_edit_op op;
    int status;
    bool is_done;
    uint64_t cpu_ns, began_ns, elapsed_ns;
};

static uint64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void on_edited(struct lsm_edit_op *op, int status)
{
    struct edit_run *run = op->data;
    run->cpu_ns = thread_cpu_ns() - run->cpu_ns;
    run->elapsed_ns = now_ns() - run->began_ns;
    run->status = status;
    run->is_done = true;
    env_uv_quit(run->bench->env);
}

/* Of all files of the engine's folder. */
static int folder_bytes(struct bench *b, uint64_t *ret_bytes)
{
    char dir[ENV_PATH_MAX], path[ENV_PATH_MAX];
    char **names = NULL;
    size_t count = 0;
    uint64_t bytes = 0, size = 0;
    bool is_dir;
    if (snprintf(dir, sizeof dir, "%s/lsm", b->set.dir) >= (int)sizeof dir)
        return err_set(&b->err, ERR_INVALID, "path too long");
    int rv = env_dir_list(b->env, dir, &names, &count, &b->err);
    for (size_t i = 0; rv == 0 && i < count; i++) {
        if (snprintf(path, sizeof path, "%s/%s", dir, names[i]) >= (int)sizeof path)
            continue;
        if (env_file_stat(b->env, path, &size, &is_dir, NULL) == 0)
            bytes += size;
    }
    free(names);
    *ret_bytes = bytes;
    return rv;
}

/* All keys from `first` to `end` again, with values of their own. */
static int stage(struct bench *b, uint64_t first, uint64_t end, struct lsm_builder **ret_builder,
                 uint64_t *ret_bytes)
{
    uint8_t room[KEY_MAX + 1];
    struct run values = {.bench = b, .pool_at = POOL_BYTES / 2};
    struct db_stats stats;
    struct lsm_builder *builder = lsm_builder_new(db_lsm(b->db));
    if (builder == NULL)
        return err_set(&b->err, ERR_NOMEM, "builder");
    db_stats(b->db, &stats);
    int rv = 0;
    for (uint64_t n = first; rv == 0 && n < end; n++) {
        struct slice key = data_key(b, n, room), value = data_value(&values);
        rv = lsm_builder_put(builder, key, MAX(stats.version, (uint64_t)1), value, 0, &b->err);
        *ret_bytes += key.len + value.len;
    }
    if (rv == 0)
        rv = lsm_builder_finish(builder, &b->err);
    if (rv == 0)
        *ret_builder = builder;
    else
        lsm_builder_free(builder);
    return rv;
}

static int edit(struct bench *b, struct edit_run *run, struct lsm_span span,
                struct lsm_builder *builder)
{
    *run = (struct edit_run){.bench = b, .began_ns = now_ns(), .cpu_ns = thread_cpu_ns()};
    run->op = (struct lsm_edit_op){
        .data = run,
        .excise = &span,
        .excise_count = 1,
        .ingest = &builder,
        .ingest_count = builder != NULL,
        .cb = on_edited,
    };
    int rv = lsm_edit(db_lsm(b->db), &run->op);
    if (rv != 0) {
        lsm_builder_free(builder);
        return err_set(&b->err, rv, "edit");
    }
    while (!run->is_done)
        env_uv_run(b->env);
    return run->status == 0 ? 0 : err_set(&b->err, run->status, "edit");
}

int run_edit(struct bench *b, bool with_files)
{
    uint8_t lo[KEY_MAX + 1], hi[KEY_MAX + 1];
    uint64_t first = b->set.num / 20 * 9, end = first + MAX(b->set.num / 10, (uint64_t)1);
    uint64_t before = 0, after = 0, bytes = 0;
    struct lsm_builder *builder = NULL;
    struct lsm_span span = {data_key(b, first, lo), data_key(b, end, hi)};
    struct edit_run run;
    int rv = run_until_quiet(b, true);
    if (rv == 0)
        rv = folder_bytes(b, &before);
    if (rv == 0 && with_files)
        rv = stage(b, first, end, &builder, &bytes);
    if (rv == 0)
        rv = edit(b, &run, span, builder);
    if (rv == 0)
        rv = run_until_quiet(b, false);
    if (rv == 0)
        rv = folder_bytes(b, &after);
    if (rv != 0)
        return rv;
    b->user_bytes += bytes;
    struct result *r = &b->results[b->result_count++];
    *r = (struct result){.ops = 1, .bytes = bytes, .elapsed_ns = run.elapsed_ns, .is_edit = true};
    snprintf(r->name, sizeof r->name, "%s", with_files ? "replace" : "excise");
    r->loop_ns = run.cpu_ns;
    r->folder_before = before;
    r->folder_after = after;
    report_result(b, r);
    return 0;
}
