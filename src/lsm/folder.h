/* SPDX-License-Identifier: Apache-2.0
 *
 * folder — an engine's folder without an engine: what is there, what its manifest says as far
 * as it can be read, and the tables of that, open. For verify and repair; reads only.
 *
 * Threads    one at a time; blocking.
 */
#ifndef LSM_FOLDER_H_
#define LSM_FOLDER_H_

#include "lsm/disk.h"
#include "lsm/version.h"

struct folder_file {
    enum disk_kind kind;
    uint64_t number;
    uint64_t size;
};

struct folder {
    struct env *env;
    const char *dir;
    struct cache *cache;
    struct folder_file *files;
    size_t count;
    uint64_t number_max;

    uint64_t manifest;   /* number of the one that was read; 0: none */
    uint64_t records;    /* good ones of it, from the first on */
    bool is_torn;        /* its last record was never acknowledged */
    int manifest_status; /* 0: CURRENT names it, and all of it is good */
    struct err manifest_err;
    struct version *version; /* after these records. Pieces whose file is missing, no file of
                              * ours or unreadable have no table, or one with `damage` */
};

/* ERR_NOT_FOUND, ERR_IO, ERR_NOMEM; ERR_INVALID for a number too great to count on. What is
 * damaged, or stands where the disk cannot be read, is no error here. */
int folder_open(struct folder *folder, struct env *env, const char *dir, struct err *err);
void folder_close(struct folder *folder); /* accepts zeroes */

const struct folder_file *folder_find(const struct folder *folder, enum disk_kind kind,
                                      uint64_t number);

/* After ERR_IO: is there a place of the file that cannot be read? Not where it cannot be opened (no
 * descriptor is free, or it is not for this user), nor where all of it is read now. `err`
 * tells the place. */
bool folder_is_unreadable(struct env *env, const char *path, struct err *err);

/* Is the piece's file there, of its size, with a frame that can be read? Else *ret_why. */
bool folder_has(const struct piece *piece, const char **ret_why);

/* Does the table refer to a value file that is not there? 0: no. */
uint64_t folder_lost_ref(const struct version *version, const struct table *table);

#endif
