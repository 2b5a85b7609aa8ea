/* SPDX-License-Identifier: Apache-2.0
 *
 * Actions on disks.
 */
#include <stdio.h>
#include <stdlib.h>

#include "raftlog/record.h"
#include "sim/scenario.h"

enum { SECTOR_BITS = 8 * 512 };

bool hit_disk_call(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    if (n->store == NULL)
        return false;
    sim_node_crash_after(n->node, rng_between(&c->rng, 1, 200));
    return true;
}

static void disk_as_drawn(void *data)
{
    struct cluster_node *n = data;
    if (n->cluster->is_over)
        return;
    sim_disk_set_options(sim_node_disk(n->node), &sim_get_options(n->cluster->sim)->disk);
}

/* Every sync takes its time, for a while. */
bool hit_slow_disk(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    struct sim_disk_options slow = sim_get_options(c->sim)->disk;
    slow.slow_sync_ppm = 1000000;
    slow.slow_sync_us = rng_between(&c->rng, 5000, 800000);
    cluster_note(c, n, "each sync takes %llu ms", (unsigned long long)(slow.slow_sync_us / 1000));
    sim_disk_set_options(sim_node_disk(n->node), &slow);
    sim_call_at(c->sim, in_us(c, 100, span_ms(c)), disk_as_drawn, n);
    return true;
}

/* Syncs fail, and then power goes: who tried again and believed the second answer has lost
 * what the kernel threw away at the first (fsyncgate). */
bool hit_failed_sync(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    struct sim_disk_options bad = sim_get_options(c->sim)->disk;
    if (!cluster_node_runs(n))
        return false;
    bad.sync_error_ppm = 300000;
    cluster_note(c, n, "syncs fail");
    sim_disk_set_options(sim_node_disk(n->node), &bad);
    bool goes_on = cluster_run_until(c, in_us(c, 20, 400));
    disk_as_drawn(n);
    if (goes_on)
        cluster_crash(c, (uint32_t)(n - c->nodes), SIM_CRASH_POWER, in_us(c, 10, 2000));
    return true;
}

static void space_back(void *data)
{
    struct cluster_node *n = data;
    sim_disk_set_capacity(sim_node_disk(n->node), SIM_DISK_CAPACITY_DEFAULT);
}

bool hit_space(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    struct sim_disk *disk = sim_node_disk(n->node);
    uint64_t room = rng_below(&c->rng, 1 << 16);
    cluster_note(c, n, "its disk has room for %llu bytes", (unsigned long long)room);
    sim_disk_set_capacity(disk, sim_disk_used(disk) + room);
    sim_call_at(c->sim, in_us(c, 200, 5000), space_back, n);
    return true;
}

/* ---- rot ------------------------------------------------------------------------- */

struct flip {
    struct cluster_node *node;
    char last[ENV_PATH_MAX]; /* the log's last segment; "": none */
    uint64_t last_end;       /* where bits of it are no longer flipped */
    const char *where;       /* in paths with this alone */
    uint32_t files;
    char path[ENV_PATH_MAX]; /* the one that was drawn, and its bits */
    uint64_t first_bit;
    uint64_t end_bit;
};

/* A flip in the log's last batch looks like a torn write, and what is cut off there is
 * lost (raftlog/README.md): one disk alone cannot tell. The last batch may not be synced,
 * but the one before it is: up to that one, every flip must be found. */
static uint64_t provable_end(struct slice bytes, const struct head *head)
{
    struct scan scan = scan_of(bytes, record_seed(head->salt, head->number));
    struct record record = {0};
    uint64_t before = HEAD_LEN, last = HEAD_LEN;
    while (scan_next(&scan, &record) == SCAN_RECORD) {
        if (record.batch_start > last) {
            before = last;
            last = record.batch_start;
        }
    }
    return before;
}

static void look_at_segment(struct flip *f, struct env *env, const char *path, uint64_t *newest)
{
    struct env_file *file = NULL;
    struct head head;
    uint64_t size = 0;
    size_t len = 0;
    if (env_file_open(env, path, ENV_OPEN_READ, &file, NULL) != 0)
        return;
    int rv = env_file_size(file, &size, NULL);
    uint8_t *bytes = malloc(size + 1);
    ASSERT(bytes != NULL);
    if (rv == 0)
        rv = env_file_read(file, 0, bytes, size, &len, NULL);
    env_file_close(file);
    if (rv == 0 && len >= HEAD_LEN && head_decode(bytes, &head) && head.number >= *newest) {
        *newest = head.number;
        f->last_end = provable_end(slice_of(bytes, len), &head);
        snprintf(f->last, sizeof f->last, "%s", path);
    }
    free(bytes);
}

static void find_last_segment(struct flip *f)
{
    struct env *env = sim_node_env(f->node->node);
    char **names = NULL;
    size_t count = 0;
    uint64_t newest = 0;
    if (env_dir_list(env, "data/log", &names, &count, NULL) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        char path[ENV_PATH_MAX];
        snprintf(path, sizeof path, "data/log/%s", names[i]);
        look_at_segment(f, env, path, &newest);
    }
    free(names);
}

static void draw_file(void *data, const char *path, uint64_t size)
{
    struct flip *f = data;
    bool is_last = strstr(path, f->last) != NULL;
    uint64_t from = is_last ? HEAD_LEN : 0;
    if (is_last)
        size = MIN(size, f->last_end);
    if (size <= from || strstr(path, f->where) == NULL || strstr(path, "LOCK") != NULL)
        return;
    if (!rng_chance(&f->node->cluster->rng, 1, ++f->files))
        return;
    snprintf(f->path, sizeof f->path, "%s", path);
    f->first_bit = from * 8;
    f->end_bit = size * 8;
}

/* Bits of one file: one, or several close together, as when a sector goes bad. Of the
 * manifest one: its last record and the seal that proves it stand side by side, and if
 * both are gone, it looks like a torn write. */
static void draw_flips(struct flip *f)
{
    struct cluster_node *n = f->node;
    struct rng *rng = &n->cluster->rng;
    const char *const places[] = {"", f->last, f->last, "engine"};
    f->where = n->cluster->rots_late ? ".tbl" : places[rng_below(rng, ARRAY_LEN(places))];
    f->files = 0;
    sim_disk_each_file(sim_node_disk(n->node), draw_file, f);
    if (f->files == 0 || strlen(f->path) >= sizeof n->flips[0].path)
        return;
    uint64_t first = f->first_bit + rng_below(rng, f->end_bit - f->first_bit);
    uint64_t end = MIN(f->end_bit, first + SECTOR_BITS);
    bool is_one = strstr(f->path, "MANIFEST") != NULL || rng_chance(rng, 1, 2);
    uint64_t count = is_one ? 1 : rng_between(rng, 2, CLUSTER_FLIPS_MAX);
    for (uint64_t i = 0; i < count; i++) {
        struct cluster_flip *flip = &n->flips[n->flip_count++];
        memcpy(flip->path, f->path, strlen(f->path) + 1);
        flip->bit = i == 0 ? first : first + rng_below(rng, end - first);
    }
}

static bool may_spoil(const struct cluster *c, const struct cluster_node *n)
{
    return c->rots_late == c->is_over && c->spoiled < (c->opt.nodes - 1) / 2 && !n->is_rotten &&
           !n->is_wiped && n->store != NULL && !sim_node_is_dead(n->node) &&
           store_state(n->store) == STORE_RUNNING;
}

/* Bits of one file, while the store is down. Of the same bytes a majority stays sound:
 * no more than a minority of nodes is ever spoiled. */
bool hit_flip(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    struct flip flip = {.node = n};
    if (!may_spoil(c, n))
        return false;
    find_last_segment(&flip);
    if (flip.last[0] == 0)
        return false;
    c->spoiled++;
    cluster_crash(c, (uint32_t)(n - c->nodes), SIM_CRASH_KILL, in_us(c, 10, 2000));
    draw_flips(&flip);
    return true;
}

/* It comes back under its old address with an empty disk: it must be refused. */
bool hit_wipe(struct cluster *c)
{
    struct cluster_node *n = pick_node(c);
    if (!may_spoil(c, n))
        return false;
    c->spoiled++;
    cluster_crash(c, (uint32_t)(n - c->nodes), SIM_CRASH_KILL, in_us(c, 10, 2000));
    sim_node_wipe(n->node);
    n->is_wiped = true;
    return true;
}
