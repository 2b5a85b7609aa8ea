/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void history_init(struct history *h)
{
    *h = (struct history){0};
}

void history_fini(struct history *h)
{
    free(h->ops);
    *h = (struct history){0};
}

size_t history_begin(struct history *h, const struct history_op *op)
{
    if (h->count == h->cap) {
        h->cap = h->cap == 0 ? 256 : h->cap * 2;
        h->ops = realloc(h->ops, h->cap * sizeof *h->ops);
        ASSERT(h->ops != NULL);
    }
    h->ops[h->count] = *op;
    h->ops[h->count].outcome = HISTORY_PENDING;
    h->ops[h->count].return_us = UINT64_MAX;
    return h->count++;
}

static const char *const kind_names[] = {"read", "write", "delete", "cas"};
static const char *const outcome_names[] = {"pending", "ok", "failed", "mismatch"};

static void print_op(char *out, size_t size, const struct history_op *op)
{
    snprintf(out, size,
             "process %u key %u %s %s value %" PRIu64 " version %" PRIu64 ".%" PRIu64
             " expected %" PRIu64 ".%" PRIu64 " [%" PRIu64 ", %" PRIu64 "]",
             op->process, op->key, kind_names[op->kind], outcome_names[op->outcome], op->value,
             op->version >> 20, op->version & 0xfffff, op->expected >> 20, op->expected & 0xfffff,
             op->invoke_us, op->return_us);
}

static bool blame(char *why, size_t size, const char *rule, const struct history_op *a,
                  const struct history_op *b)
{
    char x[256];
    char y[256] = "";
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
    return op->version != 0 && (op->outcome == HISTORY_OK || op->outcome == HISTORY_MISMATCH);
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

static const struct history_op *writer_of(const struct history *h, const struct history_op *seen)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *w = &h->ops[i];
        bool wrote = w->kind == HISTORY_WRITE || w->kind == HISTORY_CAS;
        bool may = w->outcome == HISTORY_OK || w->outcome == HISTORY_PENDING;
        if (w->key == seen->key && wrote && may && w->value == seen->value)
            return w;
    }
    return NULL;
}

/* What was seen was written, by something that had begun, under that version. */
static bool check_values(const struct history *h, const struct history_op **ops, size_t n,
                         char *why, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        const struct history_op *op = ops[i];
        bool saw = op->kind == HISTORY_READ || op->outcome == HISTORY_MISMATCH;
        if (!saw)
            continue;
        const struct history_op *w = writer_of(h, op);
        if (w == NULL)
            return blame(why, size, "value from nowhere", op, NULL);
        if (w->invoke_us > op->return_us)
            return blame(why, size, "read before it was written", op, w);
        if (w->outcome == HISTORY_OK && w->version != op->version)
            return blame(why, size, "value under another version", op, w);
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
        if (op->kind == HISTORY_CAS && before->version > op->expected)
            return blame(why, size, "compared with an old version", op, before);
    }
    return true;
}

static bool check_key(const struct history *h, uint32_t key, const struct history_op **ops,
                      char *why, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < h->count; i++) {
        if (h->ops[i].key == key && is_witness(&h->ops[i]))
            ops[n++] = &h->ops[i];
    }
    return check_values(h, ops, n, why, size) && check_real_time(ops, n, why, size) &&
           check_versions(ops, n, why, size);
}

/* A read that found nothing: some deletion, or nothing at all yet, must explain it. */
static bool check_absent(const struct history *h, char *why, size_t size)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct history_op *op = &h->ops[i];
        bool absent = op->kind == HISTORY_READ && op->outcome == HISTORY_OK && op->version == 0;
        if (!absent)
            continue;
        const struct history_op *w = NULL; /* the last write that had ended before it */
        bool deleted = false;
        for (size_t j = 0; j < h->count; j++) {
            const struct history_op *o = &h->ops[j];
            if (o->key != op->key || o->outcome == HISTORY_FAILED)
                continue;
            bool wrote = (o->kind == HISTORY_WRITE || o->kind == HISTORY_CAS) &&
                         o->outcome == HISTORY_OK && o->return_us < op->invoke_us;
            if (wrote && (w == NULL || o->version > w->version))
                w = o;
        }
        for (size_t j = 0; w != NULL && j < h->count && !deleted; j++) {
            const struct history_op *o = &h->ops[j];
            bool may = o->outcome == HISTORY_PENDING || o->version > w->version;
            deleted = o->key == op->key && o->kind == HISTORY_DELETE &&
                      o->outcome != HISTORY_FAILED && may && o->invoke_us < op->return_us;
        }
        if (w != NULL && !deleted)
            return blame(why, size, "an acknowledged write is gone", op, w);
    }
    return true;
}

bool history_check(const struct history *h, char *why, size_t why_size)
{
    uint32_t keys = 0;
    for (size_t i = 0; i < h->count; i++)
        keys = MAX(keys, h->ops[i].key + 1);
    const struct history_op **ops = malloc((h->count + 1) * sizeof *ops);
    ASSERT(ops != NULL);
    bool ok = check_absent(h, why, why_size);
    for (uint32_t key = 0; ok && key < keys; key++)
        ok = check_key(h, key, ops, why, why_size);
    free(ops);
    return ok;
}
