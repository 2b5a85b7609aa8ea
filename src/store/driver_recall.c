/* SPDX-License-Identifier: Apache-2.0
 *
 * The address book, from what this store has applied of range 1. Whoever leads range 1 tells
 * everybody where the stores are; but when the members of range 1 have lost their books, none of
 * them finds the others, so that nobody leads it who could tell. They have its rows. What stands
 * there may be old, so no more is taken from it than is needed, the members of range 1: who leads
 * it then knows better, and tells of all.
 */
#include "range/read.h"
#include "store/driver_internal.h"

static bool is_member(const struct replica *r, uint64_t store_id)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    for (uint32_t i = 0; i < d->replica_count; i++) {
        if (d->replicas[i].store_id == store_id)
            return true;
    }
    return false;
}

/* A member of range 1 of which the book says nothing: of their own stores all know. */
static bool misses_member(const struct store *store, const struct replica *r)
{
    const struct range_descriptor *d = range_descriptor(r->range);
    for (uint32_t i = 0; i < d->replica_count; i++) {
        uint64_t store_id = d->replicas[i].store_id;
        if (store_id != store->opt.store_id && book_find(&store->book, store_id) == NULL)
            return true;
    }
    return false;
}

/* The replica of range 1 here, as far as its rows can be read; NULL: there is none. */
static struct replica *replica_here(const struct store *store)
{
    struct replica *r = replicas_of_range(&store->replicas, RANGE_ID_SYSTEM);
    return r != NULL && r->state == REPLICA_RUNNING ? r : NULL;
}

static int load_rows(struct placement *p, const struct range_read *read, struct err *err)
{
    struct unpack u = unpack_of(buf_slice(&read->rows));
    int rv = 0;
    for (uint32_t i = 0; i < read->row_count && rv == 0; i++) {
        struct row row;
        row_next(&u, &row);
        rv = placement_load(p, row.key, row.value, err);
    }
    return rv;
}

static void learn_members(struct store *store, const struct placement *rows)
{
    const struct replica *r = replica_here(store);
    struct placement_store_status s;
    for (uint32_t i = 0; r != NULL && placement_store_at(rows, i, &s); i++) {
        if (is_member(r, s.store_id))
            driver_learn_store(store, &s);
    }
    book_save(&store->book);
}

static void take_rows(struct driver *d)
{
    struct placement_options options = {.term = 1, .now_ms = driver_now_ms(d)};
    struct placement *p = placement_new(&options);
    struct err err = {0};
    int rv = p == NULL ? ERR_NOMEM : load_rows(p, &d->recall, &err);
    if (rv == 0)
        learn_members(d->store, p);
    else
        LOG_WARN(d->store->logger, "book_not_recalled", "status=%s error=\"%s\"", err_name(rv),
                 err.msg);
    placement_free(p);
}

static void recalled(struct driver *d, int status)
{
    if (status == 0 && d->state != DRIVER_OFF)
        return; /* who leads range 1 by now has read it as it is */
    if (status == 0) {
        LOG_INFO(d->store->logger, "book_recalled", "rows=%u", d->recall.row_count);
        take_rows(d);
    } else {
        LOG_WARN(d->store->logger, "book_not_recalled", "status=%s error=\"%s\"", err_name(status),
                 d->recall.err.msg);
    }
}

static void on_read(struct range_read *read, int status)
{
    recalled(read->data, status);
}

void driver_recall_book(struct store *store)
{
    struct driver *d = store->driver;
    struct replica *r = replica_here(store);
    if (d == NULL || d->state != DRIVER_OFF || r == NULL || d->recall.state != RANGE_READ_IDLE ||
        !misses_member(store, r))
        return;
    range_read_fini(&d->recall);
    range_read_init(&d->recall);
    d->recall.data = d;
    d->recall.cb = on_read;
    d->recall.kind = RANGE_READ_SCAN;
    d->recall.keyspace = RANGE_KEYSPACE_SYSTEM;
    d->recall.start = slice_str("placement/store/");
    d->recall.end = slice_str("placement/store0"); /* '0' follows '/' */
    int rv = range_read_start(r->range, &d->recall);
    if (rv != ERR_WOULD_BLOCK)
        recalled(d, rv);
}
