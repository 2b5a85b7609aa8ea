/* SPDX-License-Identifier: Apache-2.0
 *
 * disk — the names of the engine's files, and syncs that end the process when they
 * fail (architecture.md, invariant 8).
 *
 *   CURRENT            names the manifest in force
 *   CURRENT.new        the next one, until it is renamed
 *   MANIFEST-000007    log of edits
 *   000012.tbl         a table
 *   000013.stage       a table of a builder that no edit took in yet
 *   000014.val         a value file
 */
#ifndef LSM_DISK_H_
#define LSM_DISK_H_

#include "base/err.h"
#include "env/env.h"

enum disk_kind {
    DISK_OTHER,
    DISK_CURRENT,
    DISK_CURRENT_NEW,
    DISK_MANIFEST,
    DISK_TABLE,
    DISK_STAGE,
    DISK_VALUES
};

enum { DISK_NAME_MAX = 40 };

/* "000012.tbl" and so on into `out`. */
void disk_name(enum disk_kind kind, uint64_t number, char out[DISK_NAME_MAX]);

/* Folder, slash, name. ERR_INVALID if it is too long. */
int disk_path(const char *dir, enum disk_kind kind, uint64_t number, char out[ENV_PATH_MAX]);

/* What is a file of this name? *ret_number only for those that have one. */
enum disk_kind disk_parse(const char *name, uint64_t *ret_number);

/* Numbers are counted on from the greatest in the folder. From one above this, which no engine gets
 * to by itself, they are not: ERR_INVALID, naming the file. */
#define DISK_NUMBER_MAX UINT64_C(18000000000000000000)
int disk_check_number(const char *name, uint64_t number, struct err *err);

/* Status of work that met a failed sync: the process is dead (in the simulated world
 * the call returns) and nothing more may be relied on. */
enum { DISK_FATAL = ERR_CANCELED };

/* 0, or DISK_FATAL after env_fatal(). Of a folder ERR_BUSY, too: nothing was synced, try again. */
int disk_sync(struct env *env, struct env_file *file, const char *path, struct err *err);
int disk_write_back(struct env *env, struct env_file *file, const char *path, uint64_t offset,
                    size_t len, struct err *err);
int disk_sync_dir(struct env *env, const char *dir, struct err *err);

/* The folder that `path` is in: the name of what was made there is durable then. */
int disk_sync_parent(struct env *env, const char *path, struct err *err);

#endif
