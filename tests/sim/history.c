/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/history_index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void history_init(struct history *h)
{
    *h = (struct history){0};
}

void history_fini(struct history *h)
{
    for (size_t i = 0; i < h->count; i++)
        free(h->ops[i].seen);
    free(h->ops);
    *h = (struct history){0};
}

size_t history_add(struct history *h, const struct history_op *op)
{
    if (h->count == h->cap) {
        h->cap = h->cap == 0 ? 256 : h->cap * 2;
        h->ops = realloc(h->ops, h->cap * sizeof *h->ops);
        ASSERT(h->ops != NULL);
    }
    ASSERT(op->key < KEYS_MAX);
    h->ops[h->count] = *op;
    return h->count++;
}

static const char *const kind_names[] = {"read", "write",  "delete",   "cas",
                                         "swap", "append", "increment"};
static const char *const outcome_names[] = {"pending", "ok", "failed", "mismatch"};

static void print_op(char *out, size_t size, const struct history_op *op)
{
    snprintf(out, size,
             "process %u request %u key %u %s %s value %" PRIu64 " seen %.40s version %" PRIu64
             ".%" PRIu64 " read at %" PRIu64 ".%" PRIu64 " expected %" PRIu64 ".%" PRIu64
             " expiry %" PRIu64 " [%" PRIu64 ", %" PRIu64 "]",
             op->process, op->request, op->key, kind_names[op->kind], outcome_names[op->outcome],
             op->value, op->seen == NULL ? "-" : op->seen, op->version >> 20, op->version & 0xfffff,
             op->read_version >> 20, op->read_version & 0xfffff, op->expected_version >> 20,
             op->expected_version & 0xfffff, op->expiry_ms, op->invoke_us, op->return_us);
}

static bool blame(char *why, size_t size, const char *rule, const struct history_op *a,
                  const struct history_op *b)
{
    char x[400];
    char y[400] = "";
    print_op(x, sizeof x, a);
    if (b != NULL)
        print_op(y, sizeof y, b);
    snprintf(why, size, "%s: %s%s%s", rule, x, b == NULL ? "" : " / ", y);
    return false;
}

static bool changes(const struct history_op *op)
{
    return op->kind != HISTORY_READ;
}

/* Did it see or make the state with `version`? */
static bool is_witness(const struct history_op *op)
{
    return op->version != 0 && !op->is_at &&
           (op->outcome == HISTORY_OK || op->outcome == HISTORY_MISMATCH);
}

static int by_return(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    return (x->return_us > y->return_us) - (x->return_us < y->return_us);
}

static int by_invoke(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    return (x->invoke_us > y->invoke_us) - (x->invoke_us < y->invoke_us);
}

static int by_version(const void *a, const void *b)
{
    const struct history_op *x = *(const struct history_op *const *)a;
    const struct history_op *y = *(const struct history_op *const *)b;
    if (x->version != y->version)
        return x->version > y->version ? 1 : -1;
    int cx = changes(x) && x->outcome == HISTORY_OK;
    int cy = changes(y) && y->outcome == HISTORY_OK;
    return cy - cx;
}

/* Real time: an operation that began after another had ended saw at least its
 * version; one that changed something, more. */
static bool check_real_time(const struct history_op **ops, size_t n, char *why, size_t size)
{
    const struct history_op **ended = malloc(n * sizeof *ended);
    ASSERT(ended != NULL);
    memcpy(ended, ops, n * sizeof *ended);
    qsort(ended, n, sizeof *ended, by_return);
    qsort(ops, n, sizeof *ops, by_invoke);
    const struct history_op *newest = NULL;
    bool ok = true;
    for (size_t i = 0, e = 0; ok && i < n; i++) {
        const struct history_op *op = ops[i];
        for (; e < n && ended[e]->return_us < op->invoke_us; e++) {
            if (newest == NULL || ended[e]->version > newest->version)
                newest = ended[e];
        }
        if (newest == NULL)
            continue;
        bool is_change = changes(op) && op->outcome == HISTORY_OK;
        if (op->version < newest->version || (is_change && op->version == newest->version))
            ok = blame(why, size, "went back in time", op, newest);
    }
    free(ended);
    return ok;
}

static bool has_unique_values(const struct history_op *op)
{
    return key_class(op->key) == KEY_REGISTER || key_class(op->key) == KEY_TTL;
}

/* A write of unknown outcome that was seen is done, and so is all of its request, whose
 * operations stand side by side. */
static bool mark_seen(struct history *h, const struct history_op *w, const struct history_op *by,
                      char *why, size_t size)
{
    size_t first = (size_t)(w - h->ops);
    while (first > 0 && h->ops[first - 1].request == w->request)
        first--;
    for (size_t i = first; i < h->count && h->ops[i].request == w->request; i++) {
        struct history_op *o = &h->ops[i];
        if (o->version != 0 && o->version != by->version)
            return blame(why, size, "one request, two versions", o, by);
        o->version = by->version;
    }
    return true;
}

/* What was seen was written, by something that had begun, under that version. */
static bool check_values(struct history *h, const struct history_index *x, char *why, size_t size)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        bool saw = op->outcome == HISTORY_MISMATCH ||
                   (op->outcome == HISTORY_OK && op->kind == HISTORY_READ) ||
                   (op->outcome == HISTORY_OK && op->kind == HISTORY_SWAP);
        if (!saw || op->seen == NULL || !has_unique_values(op))
            continue;
        const struct history_op *w = history_writer(x, op->key, op->seen);
        if (w == NULL)
            return blame(why, size, "value from nowhere", op, NULL);
        if (w->invoke_us > op->return_us)
            return blame(why, size, "read before it was written", op, w);
        if (op->kind == HISTORY_SWAP && op->outcome == HISTORY_OK)
            continue; /* its version is not of what it saw */
        if (w->version != 0 && w->version != op->version)
            return blame(why, size, "value under another version", op, w);
        if (w->version == 0 && !mark_seen(h, w, op, why, size))
            return false;
    }
    return true;
}

/* In order of versions: each version has one writer, and a CAS directly follows the
 * version that it asked for. */
static bool check_versions(const struct history_op **ops, size_t n, char *why, size_t size)
{
    qsort(ops, n, sizeof *ops, by_version);
    for (size_t i = 0; i < n; i++) {
        const struct history_op *op = ops[i];
        bool is_change = changes(op) && op->outcome == HISTORY_OK;
        if (!is_change || i == 0)
            continue;
        const struct history_op *before = ops[i - 1];
        if (before->version == op->version)
            return blame(why, size, "one version, two writers", op, before);
        if (op->kind == HISTORY_CAS && op->expected_version != 0 &&
            before->version > op->expected_version)
            return blame(why, size, "compared with an old version", op, before);
    }
    return true;
}

static bool check_key(const struct history_index *x, uint32_t key, const struct history_op **ops,
                      char *why, size_t size)
{
    const struct history_line *all = &x->keys[key].all;
    size_t n = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (is_witness(all->ops[i]))
            ops[n++] = all->ops[i];
    }
    return check_real_time(ops, n, why, size) && check_versions(ops, n, why, size);
}

/* A read that found nothing: some deletion, or nothing at all yet, must explain it. */
static bool check_absent(const struct history *h, const struct history_index *x, char *why,
                         size_t size)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        bool absent = op->kind == HISTORY_READ && op->outcome == HISTORY_OK && op->seen == NULL;
        if (!absent || op->is_at || key_class(op->key) == KEY_TTL)
            continue;
        const struct history_key *k = &x->keys[op->key];
        const struct history_op *w = history_newest_before(&k->writes_by_return, op->invoke_us);
        if (w != NULL && history_delete_begun(k, op->return_us) <= w->version)
            return blame(why, size, "an acknowledged write is gone", op, w);
    }
    return true;
}

/* ---- requests that read several keys ------------------------------------------------ */

/* Everything in a read is of one version: the newest at or below it of each key, and no
 * older than what had ended before the read began. */
static bool check_snapshot(const struct history_index *x, const struct history_op *read, char *why,
                           size_t size)
{
    const struct history_key *k = &x->keys[read->key];
    bool is_ttl = key_class(read->key) == KEY_TTL;
    uint64_t least = read->seen == NULL ? 0 : read->version;
    if (read->version > read->read_version)
        return blame(why, size, "newer than the version that was read", read, NULL);
    const struct history_op *ended = history_newest_before(&x->changes_by_return, read->invoke_us);
    if (ended != NULL && ended->version > read->read_version && !read->is_at)
        return blame(why, size, "read below what had ended before", read, ended);
    const struct history_op *newest = history_newest_at(&k->writes_by_version, read->read_version);
    if (newest == NULL || newest->version <= least)
        return true;
    bool is_deleted = history_delete_at(k, read->read_version) > newest->version;
    if (read->seen != NULL || (!is_ttl && !is_deleted))
        return blame(why, size, "not the newest at that version", read, newest);
    return true;
}

static bool check_snapshots(const struct history *h, const struct history_index *x, char *why,
                            size_t size)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        bool is_read = op->kind == HISTORY_READ && op->outcome == HISTORY_OK;
        if (is_read && op->read_version != 0 && !check_snapshot(x, op, why, size))
            return false;
    }
    return true;
}

/* ---- time to live --------------------------------------------------------------------- */

static uint64_t wall_ms(const struct history *h, uint64_t time_us)
{
    return h->wall_begin_ms + time_us / 1000;
}

/* The earliest expiry of whatever the key may have held while `read` ran: 0 if that
 * cannot be told. */
static uint64_t least_expiry(const struct history_key *k, const struct history_op *read)
{
    const struct history_op *last = history_newest_before(&k->changes_by_return, read->invoke_us);
    uint64_t least = UINT64_MAX;
    if (last == NULL || k->first_pending_us <= read->return_us)
        return 0;
    size_t i = history_begun(&k->done_by_invoke, read->return_us);
    while (i > 0 && k->done_by_invoke.reach[i - 1] >= last->invoke_us) {
        const struct history_op *o = k->done_by_invoke.ops[--i];
        if (o->outcome == HISTORY_OK && o->version < last->version)
            continue;
        if (o->kind == HISTORY_DELETE || o->expiry_ms == 0)
            return 0;
        least = MIN(least, o->expiry_ms);
    }
    return least;
}

static bool check_absent_ttl(const struct history *h, const struct history_index *x,
                             const struct history_op *read, char *why, size_t size)
{
    const struct history_key *k = &x->keys[read->key];
    uint64_t expiry = least_expiry(k, read);
    if (h->has_true_clocks && expiry > wall_ms(h, read->return_us) + 1)
        return blame(why, size, "expired too early", read, NULL);
    const struct history_op *back = history_oldest_seen_after(k, read->return_us);
    if (back != NULL) { /* gone is gone */
        const struct history_op *w = history_writer(x, back->key, back->seen);
        if (w->return_us < read->invoke_us)
            return blame(why, size, "an expired value came back", back, read);
    }
    return true;
}

static bool check_ttl(const struct history *h, const struct history_index *x, char *why,
                      size_t size)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        if (key_class(op->key) != KEY_TTL || op->kind != HISTORY_READ || op->outcome != HISTORY_OK)
            continue;
        if (op->seen == NULL) {
            if (!op->is_at && !check_absent_ttl(h, x, op, why, size))
                return false;
            continue;
        }
        const struct history_op *w = history_writer(x, op->key, op->seen);
        bool is_late = w != NULL && w->expiry_ms != 0 && h->has_true_clocks &&
                       w->expiry_ms + 1 < wall_ms(h, op->invoke_us);
        if (op->is_past)
            is_late = w != NULL && w->expiry_ms != 0 && w->expiry_ms <= op->read_version >> 20;
        if (is_late)
            return blame(why, size, "read after its expiry", op, w);
    }
    return true;
}

bool history_check(struct history *h, char *why, size_t why_size)
{
    const struct history_op **ops = malloc((h->count + 1) * sizeof *ops);
    struct history_index *x = history_index_writers(h);
    ASSERT(ops != NULL);
    bool ok = check_values(h, x, why, why_size);
    history_index_lines(x, h); /* by the versions that are known by now */
    ok = ok && check_absent(h, x, why, why_size) && check_snapshots(h, x, why, why_size) &&
         check_ttl(h, x, why, why_size);
    for (uint32_t key = 0; ok && key < KEYS_MAX; key++)
        ok = check_key(x, key, ops, why, why_size);
    history_index_free(x);
    free(ops);
    return ok;
}
