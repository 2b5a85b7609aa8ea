/* SPDX-License-Identifier: Apache-2.0 */
#include "env/sim/sim_disk.h"

#include <stdio.h>
#include <stdlib.h>

#include "env/env.h"
#include "env/sim/disk_internal.h"

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size);
    ASSERT(p != NULL);
    return p;
}

void *sim_grow(void *items, size_t *cap, size_t need, size_t item_size)
{
    if (need <= *cap)
        return items;
    size_t next = MAX(MAX(need, *cap * 2), (size_t)4);
    ASSERT(next <= SIZE_MAX / item_size);
    items = realloc(items, next * item_size);
    ASSERT(items != NULL);
    *cap = next;
    return items;
}

char *sim_strdup(const char *text)
{
    char *copy = strdup(text);
    ASSERT(copy != NULL);
    return copy;
}

struct sim_inode *sim_inode_new(struct sim_disk *disk, bool is_dir)
{
    struct sim_inode *inode = sim_alloc(sizeof *inode);
    inode->is_dir = is_dir;
    list_init(&inode->in_inodes);
    list_push_back(&disk->inodes, &inode->in_inodes);
    return inode;
}

void sim_inode_ref(struct sim_inode *inode)
{
    inode->refs++;
    ASSERT(inode->refs > 0);
}

void sim_inode_unref(struct sim_inode *inode)
{
    ASSERT(inode->refs > 0);
    if (--inode->refs > 0)
        return;
    sim_names_clear(&inode->cur);
    sim_names_clear(&inode->stable);
    sim_inode_free(inode);
}

void sim_inode_free(struct sim_inode *inode)
{
    list_remove(&inode->in_inodes);
    sim_bytes_free(inode);
    free(inode);
}

struct sim_disk *sim_disk_new(uint64_t seed, const struct sim_disk_options *options)
{
    struct sim_disk *disk = sim_alloc(sizeof *disk);
    if (options != NULL)
        disk->options = *options;
    rng_init(&disk->rng, seed);
    disk->capacity = SIM_DISK_CAPACITY_DEFAULT;
    list_init(&disk->inodes);
    disk->root = sim_inode_new(disk, true);
    sim_inode_ref(disk->root);
    return disk;
}

/* Free the name arrays of `names` and leave the inodes alone. */
static void names_discard(struct sim_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i].text);
    free(names->items);
    *names = (struct sim_names){0};
}

void sim_disk_free(struct sim_disk *disk)
{
    if (disk == NULL)
        return;
    ASSERT(disk->open_files == 0);
    for (size_t i = 0; i < disk->ops_count; i++)
        for (size_t side = 0; side < 2; side++)
            free(disk->ops[i].name[side]);
    free(disk->ops);
    LIST_FOREACH(it, &disk->inodes)
    {
        struct sim_inode *inode = list_entry(it, struct sim_inode, in_inodes);
        names_discard(&inode->cur);
        names_discard(&inode->stable);
        sim_inode_free(inode);
    }
    free(disk);
}

void sim_disk_set_options(struct sim_disk *disk, const struct sim_disk_options *options)
{
    disk->options = *options;
}

void sim_disk_set_capacity(struct sim_disk *disk, uint64_t bytes)
{
    disk->capacity = bytes;
}

uint64_t sim_disk_used(const struct sim_disk *disk)
{
    uint64_t used = 0;
    LIST_FOREACH(it, &disk->inodes)
    {
        const struct sim_inode *inode = list_entry(it, struct sim_inode, in_inodes);
        if (inode->links > 0 || inode->opens > 0)
            used += inode->size;
    }
    return used;
}

bool sim_disk_has_room(const struct sim_disk *disk, uint64_t more)
{
    if (disk->capacity == SIM_DISK_CAPACITY_DEFAULT)
        return true; /* spare the walk */
    uint64_t used = sim_disk_used(disk);
    return used <= disk->capacity && more <= disk->capacity - used;
}

uint64_t sim_disk_ops(const struct sim_disk *disk)
{
    return disk->op_count;
}

void sim_disk_crash_after(struct sim_disk *disk, uint64_t n)
{
    disk->crash_at = n == 0 ? 0 : disk->op_count + n;
}

bool sim_disk_is_dead(const struct sim_disk *disk)
{
    return disk->is_dead;
}

void sim_disk_revive(struct sim_disk *disk)
{
    disk->is_dead = false;
    disk->crash_at = 0;
    disk->debt_us = 0;
}

void sim_disk_watch(struct sim_disk *disk, sim_disk_watch_cb cb, void *data)
{
    disk->watch = cb;
    disk->watch_data = data;
}

int sim_disk_begin(struct sim_disk *disk, uint32_t error_ppm, enum sim_fate *ret_fate)
{
    *ret_fate = SIM_FATE_NONE;
    if (disk->is_dead)
        return ERR_IO;
    disk->op_count++;
    if (disk->op_count == disk->crash_at) {
        disk->is_dead = true;
        disk->counts[SIM_COUNT_CRASH_POINT]++;
    } else if (error_ppm == 0 || !rng_chance(&disk->rng, error_ppm, 1000000)) {
        *ret_fate = SIM_FATE_ALL;
        return 0;
    }
    *ret_fate = (enum sim_fate)rng_below(&disk->rng, 3);
    return ERR_IO;
}

const uint64_t *sim_disk_counts(const struct sim_disk *disk)
{
    return disk->counts;
}

void sim_disk_end(struct sim_disk *disk, const char *op, const char *path)
{
    if (disk->watch != NULL)
        disk->watch(disk->watch_data, disk, op, path);
}

uint64_t sim_disk_take_debt(struct sim_disk *disk)
{
    uint64_t debt_us = disk->debt_us;
    disk->debt_us = 0;
    return debt_us;
}

static void names_clone(struct sim_names *to, const struct sim_names *from)
{
    for (size_t i = 0; i < from->count; i++)
        sim_names_set(to, from->items[i].text, from->items[i].inode->mirror);
}

static void ops_clone(struct sim_disk *to, const struct sim_disk *from)
{
    to->ops = sim_grow(NULL, &to->ops_cap, from->ops_count, sizeof *to->ops);
    to->ops_count = from->ops_count;
    for (size_t i = 0; i < from->ops_count; i++) {
        const struct sim_name_op *old = &from->ops[i];
        struct sim_name_op *op = &to->ops[i];
        *op = (struct sim_name_op){.kind = old->kind, .inode = old->inode->mirror};
        sim_inode_ref(op->inode);
        for (size_t side = 0; side < 2 && old->dir[side] != NULL; side++) {
            op->dir[side] = old->dir[side]->mirror;
            op->name[side] = sim_strdup(old->name[side]);
            sim_inode_ref(op->dir[side]);
        }
    }
}

struct sim_disk *sim_disk_clone(const struct sim_disk *disk)
{
    struct sim_disk *copy = sim_alloc(sizeof *copy);
    copy->rng = disk->rng;
    copy->capacity = disk->capacity;
    list_init(&copy->inodes);
    LIST_FOREACH(it, &disk->inodes)
    {
        struct sim_inode *inode = list_entry(it, struct sim_inode, in_inodes);
        inode->mirror = sim_inode_new(copy, inode->is_dir);
        sim_bytes_clone(inode->mirror, inode);
        inode->mirror->links = inode->links;
    }
    copy->root = disk->root->mirror;
    sim_inode_ref(copy->root);
    LIST_FOREACH(it, &disk->inodes)
    {
        struct sim_inode *inode = list_entry(it, struct sim_inode, in_inodes);
        names_clone(&inode->mirror->cur, &inode->cur);
        names_clone(&inode->mirror->stable, &inode->stable);
    }
    if (disk->ops_count > 0)
        ops_clone(copy, disk);
    LIST_FOREACH(it, &copy->inodes)
    {
        struct sim_inode *inode = list_entry(it, struct sim_inode, in_inodes);
        if (inode->refs == 0) /* was held by an open file alone */
            sim_inode_free(inode);
    }
    return copy;
}

/* Every inode, each held by a ref of the caller's. */
static struct sim_inode **inodes_hold(const struct sim_disk *disk, size_t *ret_count)
{
    struct sim_inode **all = NULL;
    size_t count = 0;
    size_t cap = 0;
    LIST_FOREACH(it, &disk->inodes)
    {
        all = sim_grow(all, &cap, count + 1, sizeof(*all));
        all[count++] = list_entry(it, struct sim_inode, in_inodes);
        sim_inode_ref(all[count - 1]);
    }
    *ret_count = count;
    return all;
}

static void disk_lose_power(struct sim_disk *disk, struct rng *rng)
{
    size_t count;
    sim_names_power_loss(disk, rng);
    struct sim_inode **all = inodes_hold(disk, &count);
    for (size_t i = 0; i < count; i++) {
        all[i]->links = 0;
        ASSERT(!all[i]->is_locked);
        sim_names_clear(&all[i]->cur);
        sim_names_copy(&all[i]->cur, &all[i]->stable);
        if (!all[i]->is_dir)
            sim_bytes_power_loss(all[i], rng, disk->counts);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t n = 0; n < all[i]->cur.count; n++)
            all[i]->cur.items[n].inode->links++;
    for (size_t i = 0; i < count; i++)
        sim_inode_unref(all[i]);
    free(all);
}

struct sim_disk *sim_disk_crash_image(const struct sim_disk *disk, struct rng *rng)
{
    struct sim_disk *image = sim_disk_clone(disk);
    disk_lose_power(image, rng);
    return image;
}

void sim_disk_power_loss(struct sim_disk *disk)
{
    disk_lose_power(disk, &disk->rng);
}

int sim_disk_flip_bit(struct sim_disk *disk, const char *path, uint64_t bit)
{
    struct sim_inode *inode = sim_path_find(disk, path);
    if (inode == NULL || inode->is_dir)
        return ERR_NOT_FOUND;
    if (bit / 8 >= inode->size)
        return ERR_INVALID;
    sim_bytes_flip(inode, bit);
    disk->counts[SIM_COUNT_FLIP]++;
    return 0;
}

/* `path` has ENV_PATH_MAX bytes, `len` of them used; it is as before on return. */
static void dir_each_file(const struct sim_inode *dir, char *path, size_t len, sim_disk_file_cb cb,
                          void *data)
{
    for (size_t i = 0; i < dir->cur.count; i++) {
        const struct sim_name *name = &dir->cur.items[i];
        int n = snprintf(path + len, ENV_PATH_MAX - len, "%s%s", len > 0 ? "/" : "", name->text);
        if (n < 0 || (size_t)n >= ENV_PATH_MAX - len)
            continue; /* no call could open it by this path either */
        if (name->inode->is_dir)
            dir_each_file(name->inode, path, len + (size_t)n, cb, data);
        else
            cb(data, path, name->inode->size);
    }
    path[len] = '\0';
}

void sim_disk_each_file(const struct sim_disk *disk, sim_disk_file_cb cb, void *data)
{
    char path[ENV_PATH_MAX] = "";
    dir_each_file(disk->root, path, 0, cb, data);
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

struct disk_hash {
    const struct sim_disk *disk;
    uint64_t value;
};

static void hash_file(void *data, const char *path, uint64_t size)
{
    struct disk_hash *hash = data;
    const struct sim_inode *inode = sim_path_find(hash->disk, path);
    ASSERT(inode != NULL);
    hash->value = hash_bytes(hash->value, path, strlen(path) + 1);
    hash->value = hash_bytes(hash->value, &size, sizeof size);
    uint8_t bytes[SIM_PAGE];
    for (uint64_t at = 0; at < size; at += sizeof bytes) {
        size_t n = (size_t)MIN(size - at, (uint64_t)sizeof bytes);
        sim_bytes_read(inode, at, bytes, n);
        hash->value = hash_bytes(hash->value, bytes, n);
    }
}

uint64_t sim_disk_hash(const struct sim_disk *disk)
{
    struct disk_hash hash = {.disk = disk, .value = UINT64_C(0xcbf29ce484222325)};
    sim_disk_each_file(disk, hash_file, &hash);
    return hash.value;
}

void sim_disk_check(const struct sim_disk *disk)
{
    ASSERT(disk->root->is_dir);
    ASSERT(disk->ops_count <= SIM_NAME_OPS_MAX);
    LIST_FOREACH(it, &disk->inodes)
    {
        const struct sim_inode *inode = list_entry(it, struct sim_inode, in_inodes);
        ASSERT(inode->refs > 0);
        ASSERT(!inode->is_hot);
        sim_bytes_check(inode);
        for (size_t i = 1; i < inode->cur.count; i++)
            ASSERT(strcmp(inode->cur.items[i - 1].text, inode->cur.items[i].text) < 0);
    }
}
