/* SPDX-License-Identifier: Apache-2.0
 *
 * disk_internal — the parts of a simulated disk: inodes, their bytes in pages
 * shared by reference, their names, and the name ops that wait for a folder sync.
 *
 * A chunk is SIM_PAGE bytes of a file. Clean: `cur` is what page cache and platter
 * both hold. Dirty: `cur` is the page cache, `stable` the platter, and the bits of
 * `dirty` say which sectors differ. A NULL page is all zeroes.
 *
 * Ownership  an inode lives while `refs` > 0: present names, platter names, name
 *            ops and open files each hold one.
 * Invariants (D4) cut_size <= MIN(size, stable_size); without a truncation since
 *                 the last sync, cut_size == stable_size.
 *            (D5) bytes of `cur` past size are zero.
 *            (D6) a chunk is in dirty_list exactly while dirty != 0.
 */
#ifndef ENV_SIM_DISK_INTERNAL_H_
#define ENV_SIM_DISK_INTERNAL_H_

#include "base/err.h"
#include "base/list.h"
#include "env/sim/sim_disk.h"

enum {
    SIM_PAGE = 4096,
    SIM_PAGE_SECTORS = SIM_PAGE / SIM_SECTOR,
    SIM_NAME_OPS_MAX = 4096, /* waiting; beyond it the oldest half becomes durable */
};

struct sim_page {
    uint32_t refs;
    uint8_t data[SIM_PAGE];
};

struct sim_chunk {
    struct sim_page *cur;    /* shared (ref); NULL: zeroes */
    struct sim_page *stable; /* shared (ref); meant only while dirty != 0 */
    uint8_t dirty;           /* bit per sector: differs from the platter */
    uint8_t lost;            /* a failed sync gave these up: no later one writes them */
};

struct sim_name {
    char *text; /* owned */
    struct sim_inode *inode;
};

/* Sorted by strcmp(). */
struct sim_names {
    struct sim_name *items;
    size_t count;
    size_t cap;
};

struct sim_inode {
    bool is_dir;
    bool is_locked; /* folders: env_dir_lock() */
    bool is_hot;    /* folders: scratch of a sync */
    uint32_t refs;
    uint32_t opens;           /* files open here */
    uint32_t links;           /* present names */
    struct list in_inodes;    /* in creation order */
    struct sim_inode *mirror; /* scratch of a clone */
    uint64_t size;            /* files */
    uint64_t stable_size;
    uint64_t cut_size; /* least size since the last sync */
    struct sim_chunk *chunks;
    size_t chunk_count;
    uint32_t *dirty_list; /* chunk numbers in the order they became dirty */
    size_t dirty_count;
    size_t dirty_cap;
    struct sim_names cur; /* folders */
    struct sim_names stable;
};

enum sim_name_op_kind { SIM_NAME_SET, SIM_NAME_UNSET, SIM_NAME_MOVE };

/* SET and UNSET use dir[0], name[0]; MOVE goes from 0 to 1. */
struct sim_name_op {
    enum sim_name_op_kind kind;
    struct sim_inode *dir[2];
    char *name[2]; /* owned */
    struct sim_inode *inode;
    bool is_due; /* scratch of a sync */
};

struct sim_disk {
    struct sim_disk_options options;
    struct rng rng;
    uint64_t counts[SIM_COUNT_DISK_NR];
    uint64_t capacity;
    struct list inodes;
    struct sim_inode *root;
    struct sim_name_op *ops; /* waiting for a folder sync, oldest first */
    size_t ops_count;
    size_t ops_cap;
    uint64_t op_count; /* mutating calls so far */
    uint64_t crash_at; /* op_count at which it dies; 0: never */
    uint64_t debt_us;  /* time that calls cost and nobody took yet */
    uint32_t open_files;
    bool is_dead;
    sim_disk_watch_cb watch;
    void *watch_data;
};

/* What becomes of one mutating call. */
enum sim_fate {
    SIM_FATE_ALL,
    SIM_FATE_PART, /* only where a part can be: a write */
    SIM_FATE_NONE,
};

/* A share of things that a crash keeps: every one of `all`, or those below `below`
 * in prefix mode. */
struct sim_keep {
    uint32_t of_8;  /* kept with chance of_8 / 8 */
    bool is_prefix; /* instead: kept while position < below */
    uint64_t below;
};

/* calloc() and realloc() that abort when out of memory. */
void *sim_alloc(size_t size);
void *sim_grow(void *items, size_t *cap, size_t need, size_t item_size);
char *sim_strdup(const char *text);

/* ---- inodes ---- */

struct sim_inode *sim_inode_new(struct sim_disk *disk, bool is_dir);
void sim_inode_ref(struct sim_inode *inode);

/* Frees it, and what only it named, at the last one. */
void sim_inode_unref(struct sim_inode *inode);

/* Free it whatever its refs, without touching other inodes. */
void sim_inode_free(struct sim_inode *inode);

/* ---- bytes (disk_bytes.c) ---- */

void sim_bytes_read(const struct sim_inode *inode, uint64_t offset, void *data, size_t len);
void sim_bytes_write(struct sim_inode *inode, uint64_t offset, const void *data, size_t len);
void sim_bytes_truncate(struct sim_inode *inode, uint64_t size);
void sim_bytes_sync(struct sim_inode *inode);

/* A sync that failed: some dirty sectors are durable, the others given up. */
void sim_bytes_sync_fail(struct sim_inode *inode, struct rng *rng);

/* Some dirty sectors become durable on their own. */
void sim_bytes_writeback(struct sim_inode *inode, struct rng *rng);

/* Keep a random subset of what was not synced; all that is left is durable. `counts` is a
 * disk's. */
void sim_bytes_power_loss(struct sim_inode *inode, struct rng *rng, uint64_t *counts);

void sim_bytes_flip(struct sim_inode *inode, uint64_t bit);
void sim_bytes_clone(struct sim_inode *to, const struct sim_inode *from);
void sim_bytes_free(struct sim_inode *inode);
void sim_bytes_check(const struct sim_inode *inode);

/* Draw how much a crash keeps of `count` things. */
struct sim_keep sim_keep_draw(struct rng *rng, uint64_t count);
bool sim_keep_one(const struct sim_keep *keep, struct rng *rng, uint64_t position);

/* ---- names (disk_names.c) ---- */

struct sim_inode *sim_names_find(const struct sim_names *names, const char *text);
void sim_names_set(struct sim_names *names, const char *text, struct sim_inode *inode);
void sim_names_unset(struct sim_names *names, const char *text);
void sim_names_copy(struct sim_names *to, const struct sim_names *from);
void sim_names_clear(struct sim_names *names);

/* The folder and last part of `path`, which may or may not exist; for the root itself
 * *ret_leaf is "". ERR_NOT_FOUND if a folder on the way is missing, ERR_INVALID if the path
 * cannot be one. `leaf` has ENV_PATH_MAX bytes. */
int sim_path_walk(const struct sim_disk *disk, const char *path, struct sim_inode **ret_dir,
                  char *leaf);

/* What is at `path`; NULL if nothing. */
struct sim_inode *sim_path_find(const struct sim_disk *disk, const char *path);

/* Change the present names and queue the op. SET takes the name over from what had
 * it; UNSET and MOVE need it to be there. */
void sim_name_set(struct sim_disk *disk, struct sim_inode *dir, const char *name,
                  struct sim_inode *inode);
void sim_name_unset(struct sim_disk *disk, struct sim_inode *dir, const char *name);
void sim_name_move(struct sim_disk *disk, struct sim_inode *from_dir, const char *from,
                   struct sim_inode *to_dir, const char *to);

/* Make the names of `dir` durable, with every earlier op that those depend on. */
void sim_names_sync(struct sim_disk *disk, struct sim_inode *dir);

/* Keep a random subset of the ops that wait; all that is left is durable. */
void sim_names_power_loss(struct sim_disk *disk, struct rng *rng);

void sim_name_op_free(struct sim_name_op *op);

/* ---- calls (sim_disk.c) ---- */

/* Count a mutating call. 0 to go on with *ret_fate; otherwise ERR_IO, after
 * doing what *ret_fate says. `error_ppm` is this call's chance to fail. */
int sim_disk_begin(struct sim_disk *disk, uint32_t error_ppm, enum sim_fate *ret_fate);

/* Tell the watcher, after a mutating call that succeeded. */
void sim_disk_end(struct sim_disk *disk, const char *op, const char *path);

/* May the files grow by `more` bytes in sum? */
bool sim_disk_has_room(const struct sim_disk *disk, uint64_t more);

/* The time that calls cost since the last take. */
uint64_t sim_disk_take_debt(struct sim_disk *disk);

#endif
