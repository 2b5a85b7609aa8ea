/* SPDX-License-Identifier: Apache-2.0
 *
 * falsify ENGINE-FOLDER KEY put VALUE | delete — change one key (keyspace 0) behind the
 * back of a stopped store: all checksums of its files are right after, and only a
 * comparison with other replicas can tell. For tests of `holdfast range check`.
 */
#include <stdio.h>
#include <string.h>

#include "env/env.h"
#include "env/uv/env_uv.h"
#include "lsm/lsm.h"

enum { KEY_MAX = 256 };

static void on_flushed(struct lsm_flush_op *op, int status)
{
    if (status != 0)
        fprintf(stderr, "flush: %d\n", status);
    env_uv_quit(op->data);
}

/* Write what stands in for `key`, one version above what is there. */
static int falsify(struct lsm *lsm, struct slice key, const char *value, struct err *err)
{
    struct lsm_value was = {0};
    struct lsm_batch batch;
    struct lsm_view *view = lsm_view_take(lsm);
    int rv = lsm_get(view, key, UINT64_MAX, 0, &was, err);
    if (rv == 0) {
        lsm_batch_init(&batch);
        if (value != NULL)
            lsm_batch_put(&batch, key, was.version + 1, slice_str(value), was.expiry_ms);
        else
            lsm_batch_delete(&batch, key, was.version + 1);
        rv = lsm_write(lsm, &batch);
        lsm_batch_fini(&batch);
    }
    lsm_value_fini(&was);
    lsm_view_unref(view);
    return rv;
}

static int run(struct env *env, const char *dir, struct slice key, const char *value)
{
    struct lsm_options options;
    struct lsm *lsm = NULL;
    struct err err = {0};
    lsm_options_init(&options);
    options.no_auto_compaction = true;
    int rv = lsm_open(&lsm, env, dir, &options, &err);
    if (rv == 0)
        rv = falsify(lsm, key, value, &err);
    struct lsm_flush_op flush = {.data = env};
    if (rv == 0)
        rv = lsm_flush(lsm, &flush, on_flushed);
    if (rv == 0)
        env_uv_run(env);
    else
        fprintf(stderr, "falsify: %d %s\n", rv, err.msg);
    env_stop(env);
    lsm_free(lsm);
    return rv;
}

int main(int argc, char **argv)
{
    struct env *env = NULL;
    uint8_t key[KEY_MAX] = {0x02}; /* then the keyspace, 0 */
    bool is_put = argc == 5 && strcmp(argv[3], "put") == 0;
    bool is_delete = argc == 4 && strcmp(argv[3], "delete") == 0;
    if ((!is_put && !is_delete) || strlen(argv[2]) > sizeof key - 5) {
        fprintf(stderr, "usage: falsify ENGINE-FOLDER KEY put VALUE | delete\n");
        return 2;
    }
    memcpy(key + 5, argv[2], strlen(argv[2]));
    if (env_uv_new(NULL, &env, NULL) != 0)
        return 1;
    int rv = run(env, argv[1], slice_of(key, 5 + strlen(argv[2])), is_put ? argv[4] : NULL);
    env_uv_free(env);
    return rv == 0 ? 0 : 1;
}
