/* SPDX-License-Identifier: Apache-2.0
 *
 * lib_stores — fake stores on loopback, on a loop and a thread of their own, and a client of
 * libholdfast to them: for tests of the public interface in the real world.
 */
#ifndef TESTS_SUPPORT_LIB_STORES_H_
#define TESTS_SUPPORT_LIB_STORES_H_

#include "env/uv/env_uv.h"
#include "holdfast.h"
#include "support/fake_store.h"

enum { LIB_STORES = 3 };

struct lib_stores {
    struct env_uv_thread *thread;
    struct env_uv_mutex lock;
    struct env_uv_cond changed;
    struct env *env;
    struct fake_cluster cluster; /* the thread's */
    bool is_up;                  /* guarded */
    uint32_t asked;              /* guarded: wishes posted and done */
    uint64_t clock_ms; /* what the stores' hellos tell; 0: nothing, so there are no sessions */
    char endpoints[400];
    struct hf_client *client;
};

/* The stores alone. */
void lib_stores_run(struct lib_stores *f, uint64_t clock_ms);

/* A client to them. */
void lib_stores_open(struct lib_stores *f, struct hf_options *options);

/* Both; with a clock there are sessions. */
void lib_stores_start(struct lib_stores *f);
void lib_stores_start_with_clock(struct lib_stores *f);

/* Both, with k00 to k24, each its own value. */
void lib_stores_start_filled(struct lib_stores *f);
void lib_stores_finish(struct lib_stores *f);

/* The leader behaves so for the next `count` requests. */
void lib_stores_mood(struct lib_stores *f, enum fake_mood mood, uint32_t count);

/* What each store answers is changed so, until `twist` ends that (fake_store.h). */
void lib_stores_twist(struct lib_stores *f, fake_twist twist);

/* It answers the next request so late. */
void lib_stores_late(struct lib_stores *f, uint32_t ms);

/* How much time the leader was given for the last request, in milliseconds. */
uint64_t lib_stores_last_timeout(struct lib_stores *f);

/* All versions of before are refused from now on. */
void lib_stores_forget(struct lib_stores *f, bool is_merged);

/* To watchers the keys from `seam` on look like another range, and a page has so many changes. */
void lib_stores_seam(struct lib_stores *f, const char *seam, uint32_t watch_limit);

/* They are of another cluster from now on, to those who connect. */
void lib_stores_rename(struct lib_stores *f, uint64_t cluster_id);

#endif
