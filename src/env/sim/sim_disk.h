/* SPDX-License-Identifier: Apache-2.0
 *
 * sim_disk — a disk and its page cache in memory: what env.h promises about files
 * after a crash, and not a byte more.
 *
 *   env_file_write() ──▶ page cache ──sync, or write-back at random──▶ platter
 *   create, rename … ──▶ name ops that wait ──env_dir_sync()─────────▶ names
 *                              │
 *      crash image: platter + any subset of dirty 512-byte sectors
 *                   names   + any subset of the name ops that wait, in order
 *
 * A plain kill keeps the page cache. A truncation that was not synced happens as
 * a whole or not at all; so does each create, link, rename, unlink, mkdir. After
 * a failed sync some sectors are on the platter and the others never will be,
 * though reads still show them (PostgreSQL's "fsyncgate").
 *
 * Crash points: every mutating call has a number. Either stop at the n-th
 * (sim_disk_crash_after()), or watch them all in one run (sim_disk_watch()) and
 * open crash images from inside the watcher.
 *
 * Units      bytes; probabilities are parts per million (_ppm).
 * Ownership  a disk belongs to its creator until it is given to a node
 *            (sim_node_new_on()). Images share pages, copied on write.
 * Threads    one thread for a disk and all its images.
 * Errors     those of env.h's file calls.
 * Invariants (D1) bytes written before a sync that succeeded, and not written
 *                 since, are in every crash image.
 *            (D2) a sector of a crash image has its platter content or its page
 *                 cache content, never a mix.
 *            (D3) the same seed and calls give the same images.
 * Limits     SIM_DISK_FILE_MAX bytes a file; ENV_PATH_MAX.
 */
#ifndef ENV_SIM_SIM_DISK_H_
#define ENV_SIM_SIM_DISK_H_

#include "base/base.h"
#include "base/rng.h"

enum { SIM_SECTOR = 512 };
#define SIM_DISK_FILE_MAX (UINT64_C(1) << 32)
#define SIM_DISK_CAPACITY_DEFAULT (UINT64_C(1) << 40)

struct sim_disk;

/* What went wrong so far, so that a trouble that never bites is noticed. The first ones
 * are a disk's own, the others the world's. */
enum sim_count {
    SIM_COUNT_READ_ERROR,
    SIM_COUNT_WRITE_ERROR,
    SIM_COUNT_SYNC_ERROR,
    SIM_COUNT_SLOW_SYNC,
    SIM_COUNT_NO_SPACE,
    SIM_COUNT_CRASH_POINT, /* death at a chosen call */
    SIM_COUNT_TORN_CHUNK,  /* of a page's un-synced sectors a crash kept only some */
    SIM_COUNT_LOST_CHUNK,  /* … none */
    SIM_COUNT_LOST_NAME,   /* a name op that a crash undid */
    SIM_COUNT_EARLY_WRITE, /* sectors that reached the platter before any sync */
    SIM_COUNT_FLIP,        /* bits at rest */
    SIM_COUNT_DISK_NR,
    SIM_COUNT_SPIKE = SIM_COUNT_DISK_NR, /* a segment or a work that took far longer */
    SIM_COUNT_SPLIT_READ,                /* a read cut at a random byte */
    SIM_COUNT_RESET,                     /* a connection reset, by chance or on demand */
    SIM_COUNT_RESET_IN_FRAME,            /* … that cut bytes on their way */
    SIM_COUNT_HALF_OPEN,                 /* one end broke, the other never heard */
    SIM_COUNT_DIAL_REFUSED,              /* by bad luck */
    SIM_COUNT_DIAL_LOST,                 /* no answer in time */
    SIM_COUNT_STALL,                     /* a connection ended for want of acknowledgements */
    SIM_COUNT_BLOCKED,                   /* segments that a cut or a dark host held up */
    SIM_COUNT_NR,
};

/* "read error", "torn chunk" … */
const char *sim_count_name(enum sim_count count);

/* Appetites of a disk. All zero is a disk without faults that still forgets what
 * was not synced. */
struct sim_disk_options {
    uint32_t read_error_ppm;  /* a read fails with ERR_IO */
    uint32_t write_error_ppm; /* a write fails with ERR_IO, a part of it done */
    uint32_t sync_error_ppm;  /* a file or folder sync fails with ERR_IO */
    uint32_t dir_busy_ppm;    /* a folder sync finds no descriptor: ERR_BUSY */
    uint32_t writeback_ppm;   /* after a write, some dirty sectors reach the platter early */
    uint32_t slow_sync_ppm;   /* a sync takes slow_sync_us instead of sync_us */
    uint64_t sync_us;         /* time that a sync costs the lane that runs it */
    uint64_t slow_sync_us;
};

/* An empty disk: a root folder and nothing else. `options` may be NULL. */
struct sim_disk *sim_disk_new(uint64_t seed, const struct sim_disk_options *options);

/* NULL is fine. No file may be open. */
void sim_disk_free(struct sim_disk *disk);

/* Change the appetites from now on. */
void sim_disk_set_options(struct sim_disk *disk, const struct sim_disk_options *options);

/* Writes that would make the files larger than `bytes` in sum get ERR_NO_SPACE. */
void sim_disk_set_capacity(struct sim_disk *disk, uint64_t bytes);
uint64_t sim_disk_used(const struct sim_disk *disk);

/* ---- crash points ------------------------------------------------------- */

/* Mutating calls so far: write, truncate (also by open), file and folder sync,
 * create, rename, link, unlink, mkdir, rmdir. */
uint64_t sim_disk_ops(const struct sim_disk *disk);

/* The `n`-th mutating call from now (1 is the next) fails with ERR_IO, done in
 * part or not at all, and so does every call of any kind after it. 0 disarms. */
void sim_disk_crash_after(struct sim_disk *disk, uint64_t n);

/* Has the crash point been reached (or the owner died)? */
bool sim_disk_is_dead(const struct sim_disk *disk);

/* Make a dead disk answer again, page cache as it is: what a plain kill and a
 * restart do. sim_node_restart() calls it. */
void sim_disk_revive(struct sim_disk *disk);

/* `cb` runs after each mutating call that succeeded: the moment to take crash images. It
 * must not call into the world that is being watched. NULL stops. */
typedef void (*sim_disk_watch_cb)(void *data, struct sim_disk *disk, const char *op,
                                  const char *path);
void sim_disk_watch(struct sim_disk *disk, sim_disk_watch_cb cb, void *data);

/* A new disk as a loss of power at this instant might leave it: drawn from `rng`,
 * everything in it durable, no faults. The caller owns it. */
struct sim_disk *sim_disk_crash_image(const struct sim_disk *disk, struct rng *rng);

/* An exact copy, page cache and platter; no faults, no watcher. */
struct sim_disk *sim_disk_clone(const struct sim_disk *disk);

/* Lose power in place: the page cache is gone. Open files must not be used any
 * more, only closed. */
void sim_disk_power_loss(struct sim_disk *disk);

/* ---- damage and inspection ---------------------------------------------- */

/* Flip bit `bit` (0 is the lowest of byte 0) of the file at `path`, at rest:
 * in the page cache and on the platter. ERR_NOT_FOUND, ERR_INVALID. */
int sim_disk_flip_bit(struct sim_disk *disk, const char *path, uint64_t bit);

/* Every file in path order, with its present size. `cb` changes nothing. */
typedef void (*sim_disk_file_cb)(void *data, const char *path, uint64_t size);
void sim_disk_each_file(const struct sim_disk *disk, sim_disk_file_cb cb, void *data);

/* SIM_COUNT_DISK_NR counts of this disk. */
const uint64_t *sim_disk_counts(const struct sim_disk *disk);

/* A hash over all present names and bytes. */
uint64_t sim_disk_hash(const struct sim_disk *disk);

/* Assert all internal invariants. */
void sim_disk_check(const struct sim_disk *disk);

#endif
