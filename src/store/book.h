/* SPDX-License-Identifier: Apache-2.0
 *
 * book — which stores the cluster has and where they are, as far as this one knows: a
 * durable copy of the addresses in range 1's cluster map, so that stores find each other
 * after all of them were down.
 *
 *   heartbeat replies, joins, what is here of range 1 (driver_recall_book()) ─▶ book_learn()
 *       ─▶ memory ─▶ book_save() ─▶ file BOOK
 *
 * Each change of a store's record in range 1 gives it a greater version; of two records
 * the greater is the newer, and none brings back a store that was removed. What is on disk may be
 * older than what is in memory: a crash loses no more than what is told again. For the same reason
 * a damaged file is an empty book and not damage of the store: no promise rests on it.
 *
 * Units      addresses are "host:port".
 * Ownership  a book owns its entries; it borrows env for its life.
 * Threads    the loop; the file is written in the background.
 * Invariants (B1) entries are in order of store ids. (B2) a version only grows, and a uuid
 *            never changes. (B3) one write of the file at a time. (B4) what was removed
 *            stays removed.
 * Limits     BOOK_MAX stores; those that were removed are forgotten, the oldest first, when
 *            others need their places.
 */
#ifndef STORE_BOOK_H_
#define STORE_BOOK_H_

#include "base/buf.h"
#include "env/env.h"
#include "store/identity.h"

enum { BOOK_MAX = 1024 };

struct book_entry {
    uint64_t store_id;
    uint64_t version; /* 0: of a birth, before range 1 knew of it */
    bool is_removed;  /* it is no store of this cluster any more, and never will be */
    uint8_t uuid[IDENTITY_UUID_LEN];
    char address[ENV_ADDRESS_MAX];
    uint64_t revision; /* of the book, when this became known to it; not in the file */
};

struct book {
    /* private */
    struct env *env;
    char dir[ENV_PATH_MAX];
    struct book_entry *entries;
    uint32_t count;
    uint32_t cap;
    uint64_t revision;
    bool is_dirty;   /* memory is newer than the file */
    bool is_writing; /* what the work below is doing */
    int status;      /* of it */
    struct buf image;
    struct env_work work;
};

/* Empty, for the file in folder `dir`. */
void book_init(struct book *book, struct env *env, const char *dir);

/* Accepts zeroes. After env_stop(). */
void book_fini(struct book *book);

/* Read the file; blocking, for start-up. None is an empty book. ERR_CORRUPT: the book is
 * empty; ERR_IO, ERR_NOMEM. */
int book_load(struct book *book, struct err *err);

/* What is known of a store; NULL if nothing is. Valid until the book changes. */
const struct book_entry *book_find(const struct book *book, uint64_t store_id);

/* The entry at `position` in order of store ids; NULL behind the last. */
const struct book_entry *book_at(const struct book *book, uint32_t position);

/* It grows with each change. */
static inline uint64_t book_revision(const struct book *book)
{
    return book->revision;
}

/* Take in what was told: 1 if it is news, 0 if it is known or older. ERR_INVALID if it
 * cannot be (another uuid), ERR_BUSY at BOOK_MAX that are not removed, ERR_NOMEM. */
int book_learn(struct book *book, const struct book_entry *entry, struct err *err);

/* Begin to write the file if it lags; a later call goes on. A failure is tried again. */
void book_save(struct book *book);

/* Assert all invariants. */
void book_check(const struct book *book);

#endif
