/* SPDX-License-Identifier: Apache-2.0
 *
 * watched — puts, and a watcher that is told of them: each once, a key's in order?
 *
 *   watched HOST:PORT,… [--changes N] [--keys N]
 *
 * Each key has one writer, which counts: its next put begins when the last is done (or, if its
 * outcome was not known, has been resolved). One watcher of the whole prefix holds every change
 * against the count of its key: a gap, a repeat, or one out of order ends it with status 1. Once a
 * second it says how far it is: changes begun, done and seen, and its memory in KiB. What happens
 * to the cluster meanwhile is for others to arrange (watched.py).
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/args.h"
#include "base/base.h"
#include "base/coding.h"
#include "holdfast.h"

enum { VALUE = 64, KEY_MAX = 32, QUIET_S = 120 };

struct key {
    char name[KEY_MAX];
    uint64_t count; /* the put that is under way */
    uint64_t seen;  /* by the watcher, which alone looks at it */
    uint64_t version;
    struct hf_result *open; /* of the put whose outcome is asked for */
};

static struct {
    struct hf_client *client;
    struct key *keys;
    uint64_t key_count;
    uint64_t changes;
    atomic_uint_fast64_t begun;
    atomic_uint_fast64_t done;
    atomic_uint_fast64_t resolved;
    atomic_uint_fast64_t fenced;
    atomic_uint_fast64_t again; /* puts that certainly were not done, and were sent anew */
} w;

static void put(struct key *key);

static void must(int rv, const char *what)
{
    if (rv == HF_OK)
        return;
    fprintf(stderr, "watched: %s: %s\n", what, hf_strerror(rv));
    exit(1);
}

static void next(struct key *key)
{
    atomic_fetch_add(&w.done, 1);
    if (atomic_fetch_add(&w.begun, 1) >= w.changes) {
        atomic_fetch_sub(&w.begun, 1);
        return;
    }
    key->count++;
    put(key);
}

static void resolve(struct key *key);

static void on_resolved(void *data, int code, struct hf_result *result)
{
    struct key *key = data;
    hf_result_free(result);
    if (code == HF_OK || code == HF_ERR_FENCED) {
        hf_result_free(key->open);
        key->open = NULL;
    }
    if (code == HF_OK) {
        atomic_fetch_add(&w.resolved, 1);
        next(key);
    } else if (code == HF_ERR_FENCED) {
        atomic_fetch_add(&w.fenced, 1);
        put(key);
    } else {
        if (code == HF_ERR_SESSION_EXPIRED || code == HF_ERR_INVALID)
            must(code, "resolve a put");
        resolve(key);
    }
}

static void resolve(struct key *key)
{
    struct hf_then then = {.callback = on_resolved, .data = key};
    must(hf_resolve_async(w.client, key->open->token, NULL, &then), "resolve");
}

static void on_put(void *data, int code, struct hf_result *result)
{
    struct key *key = data;
    if (code == HF_ERR_UNDETERMINED && result != NULL) {
        key->open = result;
        resolve(key);
        return;
    }
    hf_result_free(result);
    if (code == HF_OK) {
        next(key);
        return;
    }
    if (code == HF_ERR_INVALID || code == HF_ERR_UNAUTHORIZED || code == HF_ERR_NOMEM)
        must(code, "put");
    atomic_fetch_add(&w.again, 1);
    put(key);
}

static void put(struct key *key)
{
    uint8_t value[VALUE] = {0};
    struct hf_then then = {.callback = on_put, .data = key};
    put_u64(value, key->count);
    must(
        hf_put_async(w.client, hf_str(key->name), hf_bytes(value, sizeof value), NULL, NULL, &then),
        "begin a put");
}

/* ---- the watcher -------------------------------------------------------------------- */

static void judge(const struct hf_event *event)
{
    char name[KEY_MAX] = {0};
    unsigned at = 0;
    memcpy(name, event->key.data, MIN(event->key.len, sizeof name - 1));
    if (strcmp(name, "watched:") == 0)
        return; /* where the watch begins */
    if (sscanf(name, "watched:%u", &at) != 1 || at >= w.key_count || event->kind != HF_EVENT_PUT ||
        event->value.len != VALUE) {
        fprintf(stderr, "watched: told of what nobody did: %s\n", name);
        exit(1);
    }
    struct key *key = &w.keys[at];
    uint64_t count = get_u64(event->value.data);
    if (count != key->seen + 1 || event->version <= key->version) {
        fprintf(stderr,
                "watched: %s: told of put %" PRIu64 " at version %" PRIu64 " after put %" PRIu64
                " at %" PRIu64 "\n",
                name, count, event->version, key->seen, key->version);
        exit(1);
    }
    key->seen = count;
    key->version = event->version;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t memory_kib(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    int n = file != NULL ? fscanf(file, "%lu %lu", &size, &resident) : 0;
    if (file != NULL)
        fclose(file);
    return n == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024 : 0;
}

static void tell(uint64_t seen, uint64_t began_ms)
{
    printf("ms %" PRIu64 " begun %" PRIu64 " done %" PRIu64 " seen %" PRIu64 " resolved %" PRIu64
           " fenced %" PRIu64 " again %" PRIu64 " kib %" PRIu64 "\n",
           now_ms() - began_ms, (uint64_t)atomic_load(&w.begun), (uint64_t)atomic_load(&w.done),
           seen, (uint64_t)atomic_load(&w.resolved), (uint64_t)atomic_load(&w.fenced),
           (uint64_t)atomic_load(&w.again), memory_kib());
    fflush(stdout);
}

static void follow(struct hf_watch *watch)
{
    uint64_t began_ms = now_ms(), told_ms = began_ms, seen_ms = began_ms, seen = 0;
    while (seen < w.changes) {
        struct hf_watch_batch *batch = NULL;
        int rv = hf_watch_next(watch, 200, &batch);
        if (rv < 0) {
            fprintf(stderr, "watched: the watch is over: %s\n", hf_watch_message(watch));
            exit(1);
        }
        for (size_t i = 0; rv == 1 && i < batch->count; i++) {
            judge(&batch->events[i]);
            seen += strncmp(batch->events[i].key.data, "watched:", batch->events[i].key.len) != 0;
            seen_ms = now_ms();
        }
        hf_watch_batch_free(batch);
        if (now_ms() - told_ms >= 1000) {
            told_ms = now_ms();
            tell(seen, began_ms);
        }
        if (now_ms() - seen_ms > (uint64_t)QUIET_S * 1000) {
            fprintf(stderr, "watched: nothing was told for %d s\n", QUIET_S);
            exit(1);
        }
    }
    tell(seen, began_ms);
    for (uint64_t i = 0; i < w.key_count; i++) {
        if (w.keys[i].seen != w.keys[i].count) {
            fprintf(stderr, "watched: %s: %" PRIu64 " put, %" PRIu64 " told\n", w.keys[i].name,
                    w.keys[i].count, w.keys[i].seen);
            exit(1);
        }
    }
}

static struct hf_watch *watch_all(void)
{
    struct hf_watch_options how;
    struct hf_watch *watch = NULL;
    struct hf_result *result = NULL;
    must(hf_put(w.client, hf_str("watched:"), hf_str("begin"), NULL, NULL, &result), "put");
    hf_watch_options_init(&how);
    how.prefix = hf_str("watched:");
    how.from_version = result->version;
    hf_result_free(result);
    must(hf_watch_open(w.client, &how, &watch), "watch");
    return watch;
}

int main(int argc, char **argv)
{
    const struct args_flag flags[] = {
        {"changes", 0, ARGS_U64, &w.changes, NULL, "N", "in all"},
        {"keys", 0, ARGS_U64, &w.key_count, NULL, "N", "written side by side"},
    };
    const char *endpoints = NULL;
    size_t count = 0;
    struct hf_options options;
    w.changes = 1000000;
    w.key_count = 500;
    if (args_parse(flags, ARRAY_LEN(flags), argc - 1, (const char *const *)(argv + 1), &endpoints,
                   1, &count, NULL) != 0 ||
        count != 1 || w.key_count < 1 || w.key_count > 4000 || w.changes < w.key_count ||
        w.changes > UINT64_C(1000000000)) {
        fprintf(stderr, "usage: watched HOST:PORT,… [--changes N] [--keys N]\n");
        return 2;
    }
    hf_options_init(&options);
    options.endpoints = endpoints;
    options.name = "watched";
    must(hf_open(&options, &w.client), endpoints);
    w.keys = calloc(w.key_count, sizeof *w.keys);
    must(w.keys == NULL ? HF_ERR_NOMEM : HF_OK, "keys");
    struct hf_watch *watch = watch_all();
    atomic_store(&w.begun, w.key_count);
    for (uint64_t i = 0; i < w.key_count; i++) {
        snprintf(w.keys[i].name, sizeof w.keys[i].name, "watched:%06u", (unsigned)i);
        w.keys[i].count = 1;
        put(&w.keys[i]);
    }
    follow(watch);
    hf_watch_close(watch);
    hf_close(w.client);
    free(w.keys);
    return 0;
}
