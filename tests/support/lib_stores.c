/* SPDX-License-Identifier: Apache-2.0 */
#include "support/lib_stores.h"

#include <stdio.h>
#include <string.h>

#include "support/check.h"

static void stores_main(void *data)
{
    struct lib_stores *f = data;
    ASSERT(env_uv_new(NULL, &f->env, NULL) == 0);
    fake_cluster_init(&f->cluster);
    for (int i = 0; i < LIB_STORES; i++) {
        struct fake_store *store = fake_store_new(&f->cluster, f->env, "127.0.0.1:0");
        size_t len = strlen(f->endpoints);
        snprintf(f->endpoints + len, sizeof f->endpoints - len, "%s%s", i > 0 ? ", " : "",
                 store->address);
    }
    f->cluster.leader = f->cluster.stores[1];
    f->cluster.clock_ms = f->clock_ms;
    env_uv_mutex_lock(&f->lock);
    f->is_up = true;
    env_uv_cond_signal(&f->changed);
    env_uv_mutex_unlock(&f->lock);
    env_uv_run(f->env);
    env_stop(f->env);
    fake_cluster_fini(&f->cluster);
    env_uv_free(f->env);
}

void lib_stores_open(struct lib_stores *f, struct hf_options *options)
{
    options->endpoints = f->endpoints;
    assert_int_equal(hf_open(options, &f->client), HF_OK);
}

void lib_stores_run(struct lib_stores *f, uint64_t clock_ms)
{
    memset(f, 0, sizeof *f);
    f->clock_ms = clock_ms;
    env_uv_mutex_init(&f->lock);
    env_uv_cond_init(&f->changed);
    assert_int_equal(env_uv_thread_start("stores", stores_main, f, &f->thread, NULL), 0);
    env_uv_mutex_lock(&f->lock);
    while (!f->is_up)
        env_uv_cond_wait(&f->changed, &f->lock);
    env_uv_mutex_unlock(&f->lock);
}

void lib_stores_start(struct lib_stores *f)
{
    struct hf_options options;
    lib_stores_run(f, 0);
    hf_options_init(&options);
    lib_stores_open(f, &options);
}

void lib_stores_start_with_clock(struct lib_stores *f)
{
    struct hf_options options;
    lib_stores_run(f, 1000000);
    hf_options_init(&options);
    lib_stores_open(f, &options);
}

void lib_stores_finish(struct lib_stores *f)
{
    assert_int_equal(hf_close(f->client), HF_OK);
    env_uv_quit(f->env);
    env_uv_thread_join(f->thread);
    env_uv_cond_fini(&f->changed);
    env_uv_mutex_fini(&f->lock);
}

/* Something is done to the stores, on their own thread, and waited for. */
struct wish {
    struct lib_stores *f;
    enum fake_mood mood;
    uint32_t count;
    bool is_merged;
    uint64_t cluster_id;
    const char *seam;
    fake_twist twist;
    uint64_t last_timeout_ms; /* told */
    bool is_done;             /* guarded */
};

static void come_true(struct wish *wish, void (*how)(void *))
{
    struct lib_stores *f = wish->f;
    assert_int_equal(env_uv_post(f->env, how, wish), 0);
    env_uv_mutex_lock(&f->lock);
    while (!wish->is_done)
        env_uv_cond_wait(&f->changed, &f->lock);
    env_uv_mutex_unlock(&f->lock);
}

static void wish_done(struct wish *wish)
{
    env_uv_mutex_lock(&wish->f->lock);
    wish->is_done = true;
    env_uv_cond_broadcast(&wish->f->changed);
    env_uv_mutex_unlock(&wish->f->lock);
}

static void mood_set(void *data)
{
    struct wish *wish = data;
    wish->f->cluster.leader->mood = wish->mood;
    wish->f->cluster.leader->moods_left = wish->count;
    wish_done(wish);
}

void lib_stores_mood(struct lib_stores *f, enum fake_mood mood, uint32_t count)
{
    come_true(&(struct wish){.f = f, .mood = mood, .count = count}, mood_set);
}

static void twist_set(void *data)
{
    struct wish *wish = data;
    for (uint32_t i = 0; i < wish->f->cluster.store_count; i++)
        wish->f->cluster.stores[i]->twist = wish->twist;
    wish_done(wish);
}

void lib_stores_twist(struct lib_stores *f, fake_twist twist)
{
    come_true(&(struct wish){.f = f, .twist = twist}, twist_set);
}

static void late_set(void *data)
{
    struct wish *wish = data;
    wish->f->cluster.leader->mood = FAKE_LATE;
    wish->f->cluster.leader->moods_left = 1;
    wish->f->cluster.leader->busy_ms = wish->count;
    wish_done(wish);
}

void lib_stores_late(struct lib_stores *f, uint32_t ms)
{
    come_true(&(struct wish){.f = f, .count = ms}, late_set);
}

static void last_timeout_get(void *data)
{
    struct wish *wish = data;
    wish->last_timeout_ms = wish->f->cluster.leader->last_timeout_ms;
    wish_done(wish);
}

uint64_t lib_stores_last_timeout(struct lib_stores *f)
{
    struct wish wish = {.f = f};
    come_true(&wish, last_timeout_get);
    return wish.last_timeout_ms;
}

void lib_stores_start_filled(struct lib_stores *f)
{
    lib_stores_start(f);
    for (int i = 0; i < 25; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%02d", i);
        assert_int_equal(hf_put(f->client, hf_str(key), hf_str(key), NULL, NULL, NULL), HF_OK);
    }
}

static void gone_set(void *data)
{
    struct wish *wish = data;
    wish->f->cluster.least_version = ++wish->f->cluster.version;
    wish->f->cluster.is_merged = wish->is_merged;
    wish_done(wish);
}

void lib_stores_forget(struct lib_stores *f, bool is_merged)
{
    come_true(&(struct wish){.f = f, .is_merged = is_merged}, gone_set);
}

static void seam_set(void *data)
{
    struct wish *wish = data;
    wish->f->cluster.range_base = 7;
    wish->f->cluster.seams[0] = wish->seam;
    wish->f->cluster.watch_limit = wish->count;
    wish_done(wish);
}

void lib_stores_seam(struct lib_stores *f, const char *seam, uint32_t watch_limit)
{
    come_true(&(struct wish){.f = f, .seam = seam, .count = watch_limit}, seam_set);
}

static void cluster_set(void *data)
{
    struct wish *wish = data;
    for (uint32_t i = 0; i < wish->f->cluster.store_count; i++)
        wish->f->cluster.stores[i]->cluster_id = wish->cluster_id;
    wish_done(wish);
}

void lib_stores_rename(struct lib_stores *f, uint64_t cluster_id)
{
    come_true(&(struct wish){.f = f, .cluster_id = cluster_id}, cluster_set);
}
