/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "env/env.h"
#include "env/sim/disk_internal.h"

/* Where `text` is or would be; *ret_found tells which. */
static size_t names_search(const struct sim_names *names, const char *text, bool *ret_found)
{
    size_t lo = 0;
    size_t hi = names->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(names->items[mid].text, text);
        if (c == 0) {
            *ret_found = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_found = false;
    return lo;
}

struct sim_inode *sim_names_find(const struct sim_names *names, const char *text)
{
    bool found;
    size_t at = names_search(names, text, &found);
    return found ? names->items[at].inode : NULL;
}

void sim_names_set(struct sim_names *names, const char *text, struct sim_inode *inode)
{
    ASSERT(text[0] != '\0');
    ASSERT(inode != NULL);
    bool found;
    size_t at = names_search(names, text, &found);
    sim_inode_ref(inode);
    if (found) {
        struct sim_inode *old = names->items[at].inode;
        names->items[at].inode = inode;
        sim_inode_unref(old);
        return;
    }
    names->items = sim_grow(names->items, &names->cap, names->count + 1, sizeof *names->items);
    memmove(names->items + at + 1, names->items + at, (names->count - at) * sizeof *names->items);
    names->items[at] = (struct sim_name){.text = sim_strdup(text), .inode = inode};
    names->count++;
}

void sim_names_unset(struct sim_names *names, const char *text)
{
    bool found;
    size_t at = names_search(names, text, &found);
    if (!found)
        return;
    struct sim_inode *inode = names->items[at].inode;
    free(names->items[at].text);
    names->count--;
    memmove(names->items + at, names->items + at + 1, (names->count - at) * sizeof *names->items);
    sim_inode_unref(inode);
}

void sim_names_copy(struct sim_names *to, const struct sim_names *from)
{
    ASSERT(to->count == 0);
    for (size_t i = 0; i < from->count; i++)
        sim_names_set(to, from->items[i].text, from->items[i].inode);
}

void sim_names_clear(struct sim_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i].text);
        sim_inode_unref(names->items[i].inode);
    }
    free(names->items);
    *names = (struct sim_names){0};
}

/* Cut the next part of *path into `part`: its length, 0 at the end, SIZE_MAX if it
 * cannot be a name. */
static size_t path_part(const char **path, char *part)
{
    const char *p = *path;
    while (p[0] == '/' || (p[0] == '.' && (p[1] == '/' || p[1] == '\0')))
        p++;
    size_t len = strcspn(p, "/");
    *path = p + len;
    if (len >= ENV_PATH_MAX || (len == 2 && p[0] == '.' && p[1] == '.'))
        return SIZE_MAX;
    memcpy(part, p, len);
    part[len] = '\0';
    return len;
}

int sim_path_walk(const struct sim_disk *disk, const char *path, struct sim_inode **ret_dir,
                  char *leaf)
{
    char part[ENV_PATH_MAX];
    struct sim_inode *dir = disk->root;
    leaf[0] = '\0';
    if (strlen(path) >= ENV_PATH_MAX)
        return ERR_INVALID;
    for (;;) {
        size_t len = path_part(&path, part);
        if (len == SIZE_MAX)
            return ERR_INVALID;
        if (len == 0)
            break;
        if (leaf[0] != '\0')
            dir = sim_names_find(&dir->cur, leaf);
        if (dir == NULL || !dir->is_dir)
            return ERR_NOT_FOUND;
        memcpy(leaf, part, len + 1);
    }
    *ret_dir = dir;
    return 0;
}

struct sim_inode *sim_path_find(const struct sim_disk *disk, const char *path)
{
    char leaf[ENV_PATH_MAX];
    struct sim_inode *dir;
    if (sim_path_walk(disk, path, &dir, leaf) != 0)
        return NULL;
    return leaf[0] == '\0' ? dir : sim_names_find(&dir->cur, leaf);
}

void sim_name_op_free(struct sim_name_op *op)
{
    for (size_t i = 0; i < 2; i++) {
        free(op->name[i]);
        if (op->dir[i] != NULL)
            sim_inode_unref(op->dir[i]);
    }
    sim_inode_unref(op->inode);
    *op = (struct sim_name_op){0};
}

/* Do `op` to the platter's names. Only what stands is moved or removed: an op whose
 * forerunner did not happen does not happen either. */
static void name_op_settle(const struct sim_name_op *op)
{
    struct sim_names *names = &op->dir[0]->stable;
    if (op->kind == SIM_NAME_SET) {
        sim_names_set(names, op->name[0], op->inode);
        return;
    }
    if (sim_names_find(names, op->name[0]) != op->inode)
        return;
    if (op->kind == SIM_NAME_MOVE)
        sim_names_set(&op->dir[1]->stable, op->name[1], op->inode);
    sim_names_unset(names, op->name[0]);
}

/* The `count` oldest ops become durable. */
static void name_ops_settle_oldest(struct sim_disk *disk, size_t count)
{
    ASSERT(count <= disk->ops_count);
    for (size_t i = 0; i < count; i++) {
        name_op_settle(&disk->ops[i]);
        sim_name_op_free(&disk->ops[i]);
    }
    disk->ops_count -= count;
    memmove(disk->ops, disk->ops + count, disk->ops_count * sizeof *disk->ops);
}

static struct sim_name_op *name_op_push(struct sim_disk *disk, enum sim_name_op_kind kind,
                                        struct sim_inode *inode)
{
    if (disk->ops_count >= SIM_NAME_OPS_MAX)
        name_ops_settle_oldest(disk, SIM_NAME_OPS_MAX / 2);
    disk->ops = sim_grow(disk->ops, &disk->ops_cap, disk->ops_count + 1, sizeof *disk->ops);
    struct sim_name_op *op = &disk->ops[disk->ops_count++];
    *op = (struct sim_name_op){.kind = kind, .inode = inode};
    sim_inode_ref(inode);
    return op;
}

static void name_op_side(struct sim_name_op *op, size_t side, struct sim_inode *dir,
                         const char *name)
{
    op->dir[side] = dir;
    op->name[side] = sim_strdup(name);
    sim_inode_ref(dir);
}

/* The present name goes; its inode stays while somebody else holds it. */
static void name_drop(struct sim_inode *dir, const char *name)
{
    struct sim_inode *old = sim_names_find(&dir->cur, name);
    if (old == NULL)
        return;
    ASSERT(old->links > 0);
    old->links--;
    sim_names_unset(&dir->cur, name);
}

void sim_name_set(struct sim_disk *disk, struct sim_inode *dir, const char *name,
                  struct sim_inode *inode)
{
    ASSERT(dir->is_dir);
    struct sim_name_op *op = name_op_push(disk, SIM_NAME_SET, inode);
    name_op_side(op, 0, dir, name);
    name_drop(dir, name);
    sim_names_set(&dir->cur, name, inode);
    inode->links++;
}

void sim_name_unset(struct sim_disk *disk, struct sim_inode *dir, const char *name)
{
    struct sim_inode *inode = sim_names_find(&dir->cur, name);
    ASSERT(inode != NULL);
    struct sim_name_op *op = name_op_push(disk, SIM_NAME_UNSET, inode);
    name_op_side(op, 0, dir, name);
    name_drop(dir, name);
}

void sim_name_move(struct sim_disk *disk, struct sim_inode *from_dir, const char *from,
                   struct sim_inode *to_dir, const char *to)
{
    struct sim_inode *inode = sim_names_find(&from_dir->cur, from);
    ASSERT(inode != NULL);
    if (sim_names_find(&to_dir->cur, to) == inode)
        return; /* rename(2): two names of one file stay */
    struct sim_name_op *op = name_op_push(disk, SIM_NAME_MOVE, inode);
    name_op_side(op, 0, from_dir, from);
    name_op_side(op, 1, to_dir, to);
    name_drop(to_dir, to);
    sim_names_set(&to_dir->cur, to, inode);
    sim_names_unset(&from_dir->cur, from);
}

static bool name_op_is_hot(const struct sim_name_op *op)
{
    return op->dir[0]->is_hot || (op->dir[1] != NULL && op->dir[1]->is_hot);
}

static void name_op_heat(const struct sim_name_op *op, bool is_hot)
{
    op->dir[0]->is_hot = is_hot;
    if (op->dir[1] != NULL)
        op->dir[1]->is_hot = is_hot;
}

void sim_names_sync(struct sim_disk *disk, struct sim_inode *dir)
{
    ASSERT(dir->is_dir);
    /* A move between folders is one op: what came before it in the other folder
     * goes with it. From the newest back, so that one pass finds them all. */
    dir->is_hot = true;
    for (size_t i = disk->ops_count; i > 0; i--) {
        struct sim_name_op *op = &disk->ops[i - 1];
        op->is_due = name_op_is_hot(op);
        if (op->is_due)
            name_op_heat(op, true);
    }
    for (size_t i = 0; i < disk->ops_count; i++)
        if (disk->ops[i].is_due)
            name_op_settle(&disk->ops[i]);
    dir->is_hot = false;
    size_t kept = 0;
    for (size_t i = 0; i < disk->ops_count; i++) {
        struct sim_name_op op = disk->ops[i];
        if (!op.is_due) {
            disk->ops[kept++] = op;
            continue;
        }
        name_op_heat(&op, false);
        sim_name_op_free(&op);
    }
    disk->ops_count = kept;
}

void sim_names_power_loss(struct sim_disk *disk, struct rng *rng)
{
    struct sim_keep keep = sim_keep_draw(rng, disk->ops_count);
    for (size_t i = 0; i < disk->ops_count; i++)
        if (sim_keep_one(&keep, rng, i))
            name_op_settle(&disk->ops[i]);
        else
            disk->counts[SIM_COUNT_LOST_NAME]++;
    for (size_t i = 0; i < disk->ops_count; i++)
        sim_name_op_free(&disk->ops[i]);
    disk->ops_count = 0;
}
