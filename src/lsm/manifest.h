/* SPDX-License-Identifier: Apache-2.0
 *
 * manifest — the log of edits, and CURRENT that names the one in force.
 *
 *   MANIFEST-n   file head | (record | seal)*
 *   head         magic u64 | format u32 | number u64 | crc u32
 *   record       magic u32 | seq u64 | len u32 | payload crc u32 | head crc u32 | payload
 *   seal         magic u32 | seq u64 | number u64 | crc u32
 *   CURRENT      "MANIFEST-000007 <crc32c of the name, 8 hex digits>\n"
 *
 * An append writes and syncs the record, then writes and syncs its seal, and only
 * then is it acknowledged. So a damaged record with its own seal or anything valid
 * behind it was durable once: damage (ERR_CORRUPT). One without is the torn end of
 * an append that nobody was told of, and is cut. All checksums cover the manifest's
 * number and the record's seq. The first record is a whole version.
 *
 * Threads  one at a time; blocking.
 * Errors   after a failed append the file's tail is unknown: `is_broken`, and the
 *          next step must be manifest_begin() with a new number.
 */
#ifndef LSM_MANIFEST_H_
#define LSM_MANIFEST_H_

#include "base/buf.h"
#include "base/err.h"
#include "env/env.h"

enum {
    MANIFEST_FORMAT = 1,
    MANIFEST_HEAD = 24,
    MANIFEST_RECORD_HEAD = 24,
    MANIFEST_SEAL = 24,
    MANIFEST_RECORD_MAX = 1 << 30,
};

struct manifest {
    struct env *env;
    char dir[ENV_PATH_MAX];
    struct env_file *file; /* NULL before the first begin */
    uint64_t number;
    uint64_t size;
    uint64_t seq; /* of the last record */
    bool is_broken;
};

/* `env` and `dir` are borrowed for life. No file yet. */
void manifest_init(struct manifest *m, struct env *env, const char *dir);
/* Closes its file; accepts zeroes. */
void manifest_fini(struct manifest *m);

/* Write MANIFEST-`number` with one record `payload`, and switch CURRENT to it. On
 * failure (ERR_NO_SPACE, ERR_IO; DISK_FATAL) what was in force stays in force. */
int manifest_begin(struct manifest *m, uint64_t number, struct slice payload, struct err *err);

/* Durable when it returns 0. */
int manifest_append(struct manifest *m, struct slice payload, struct err *err);

/* Called for each record in order; an error ends the walk and is returned. */
typedef int (*manifest_record_fn)(void *data, uint64_t seq, struct slice payload, struct err *err);

/* Read CURRENT: ERR_NOT_FOUND if there is none; ERR_CORRUPT; ERR_IO. */
int manifest_current(struct env *env, const char *dir, uint64_t *ret_number, struct err *err);

/* Walk MANIFEST-`number`. ERR_CORRUPT names file, record and offset; a torn end is
 * none: *ret_is_torn (may be NULL). At least one record. */
int manifest_load(struct env *env, const char *dir, uint64_t number, manifest_record_fn on_record,
                  void *data, bool *ret_is_torn, struct err *err);

/* What manifest_load() has read is durable from here on, and that CURRENT names it: both may have
 * stood in the page cache alone. It is written once more, over itself: a sync that failed before a
 * restart leaves pages that the next one takes for written. DISK_FATAL; ERR_NO_SPACE: CURRENT names
 * another by now. */
int manifest_settle(struct env *env, const char *dir, uint64_t number, struct err *err);

/* The same on bytes already read. */
int manifest_parse(struct slice raw, uint64_t number, manifest_record_fn on_record, void *data,
                   bool *ret_is_torn, struct err *err);

#endif
