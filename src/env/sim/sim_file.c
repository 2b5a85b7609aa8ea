/* SPDX-License-Identifier: Apache-2.0
 *
 * The file calls of env.h on a simulated disk. Every mutating one goes
 *   dead? ─▶ arguments ─▶ sim_disk_begin(): fate ─▶ the change ─▶ sim_disk_end()
 * and a call at which the disk dies takes its process with it.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "env/sim/sim_internal.h"

enum { WRITE_BACK_SECTORS = 8 };

struct sim_file {
    struct env_file file;
    struct sim_inode *inode; /* shared (ref) */
    int flags;
    char path[ENV_PATH_MAX];
};

struct sim_lock {
    struct env_lock lock;
    struct sim_inode *dir; /* shared (ref); NULL once the process died */
    struct list in_locks;
};

static struct sim_file *file_of(struct env_file *file)
{
    return container_of(file, struct sim_file, file);
}

static int file_dead(struct err *err, const char *path)
{
    return err_set(err, ERR_IO, "'%s': the process is dead", path);
}

static bool env_is_gone(const struct sim_env *env)
{
    return env->is_dead || env->disk->is_dead;
}

/* A call of the simulated disk failed: the process may have died of it. */
static int call_failed(struct sim_env *env, const char *op, const char *path, struct err *err)
{
    if (env->disk->is_dead && !env->is_dead)
        sim_env_die(env, "crash point reached");
    return err_set(err, ERR_IO, "%s '%s': simulated I/O error", op, path);
}

static int no_space(struct sim_disk *disk, const char *op, const char *path, struct err *err)
{
    disk->counts[SIM_COUNT_NO_SPACE]++;
    return err_set(err, ERR_NO_SPACE, "%s '%s': no space left on device", op, path);
}

static int walk(struct sim_env *env, const char *path, struct sim_inode **ret_dir, char *leaf,
                struct err *err)
{
    if (env_is_gone(env))
        return file_dead(err, path);
    int rv = sim_path_walk(env->disk, path, ret_dir, leaf);
    if (rv != 0)
        return err_set(err, rv, "'%s': %s", path,
                       rv == ERR_NOT_FOUND ? "no such folder" : "not a path");
    return 0;
}

/* The folder at `path` itself. */
static int walk_dir(struct sim_env *env, const char *path, struct sim_inode **ret_dir,
                    struct err *err)
{
    if (env_is_gone(env))
        return file_dead(err, path);
    struct sim_inode *inode = sim_path_find(env->disk, path);
    if (inode == NULL)
        return err_set(err, ERR_NOT_FOUND, "'%s': no such folder", path);
    if (!inode->is_dir)
        return err_set(err, ERR_IO, "'%s': not a folder", path);
    *ret_dir = inode;
    return 0;
}

/* Put a new inode at `name`. */
static int create(struct sim_env *env, struct sim_inode *dir, const char *name, bool is_dir,
                  const char *path, struct sim_inode **ret_inode, struct err *err)
{
    const char *op = is_dir ? "mkdir" : "create";
    enum sim_fate fate;
    if (!sim_disk_has_room(env->disk, 1))
        return no_space(env->disk, op, path, err);
    int rv = sim_disk_begin(env->disk, env->disk->options.write_error_ppm, &fate);
    struct sim_inode *inode = NULL;
    if (fate == SIM_FATE_ALL) {
        inode = sim_inode_new(env->disk, is_dir);
        sim_name_set(env->disk, dir, name, inode);
    }
    if (rv != 0)
        return call_failed(env, op, path, err);
    sim_disk_end(env->disk, op, path);
    *ret_inode = inode;
    return 0;
}

/* What open(2) checks and makes, before there is a handle. */
static int open_inode(struct sim_env *env, const char *path, int flags,
                      struct sim_inode **ret_inode, struct err *err)
{
    char leaf[ENV_PATH_MAX];
    struct sim_inode *dir;
    int rv = walk(env, path, &dir, leaf, err);
    if (rv != 0)
        return rv;
    struct sim_inode *inode = leaf[0] == '\0' ? dir : sim_names_find(&dir->cur, leaf);
    if (inode != NULL && inode->is_dir)
        return err_set(err, ERR_IO, "open '%s': is a folder", path);
    if (inode != NULL && (flags & ENV_OPEN_CREATE) && (flags & ENV_OPEN_EXCLUSIVE))
        return err_set(err, ERR_EXISTS, "open '%s': it exists", path);
    if (inode == NULL && !(flags & ENV_OPEN_CREATE))
        return err_set(err, ERR_NOT_FOUND, "open '%s': no such file", path);
    if (inode == NULL)
        rv = create(env, dir, leaf, false, path, &inode, err);
    if (rv == 0)
        *ret_inode = inode;
    return rv;
}

int sim_op_file_open(struct env *base, const char *path, int flags, struct env_file **ret_file,
                     struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    struct sim_inode *inode = NULL;
    ASSERT(flags & (ENV_OPEN_READ | ENV_OPEN_WRITE));
    int rv = open_inode(env, path, flags, &inode, err);
    if (rv != 0)
        return rv;
    struct sim_file *file = sim_alloc(sizeof *file);
    file->file.env = base;
    file->inode = inode;
    file->flags = flags;
    memcpy(file->path, path, strlen(path) + 1); /* path_walk bounded it */
    sim_inode_ref(inode);
    inode->opens++;
    env->open_handles++;
    env->disk->open_files++;
    if ((flags & ENV_OPEN_TRUNCATE) && inode->size > 0) {
        ASSERT(flags & ENV_OPEN_WRITE);
        rv = sim_op_file_truncate(&file->file, 0, err);
        if (rv != 0) {
            sim_op_file_close(&file->file);
            return rv;
        }
    }
    *ret_file = &file->file;
    return 0;
}

void sim_op_file_close(struct env_file *handle)
{
    struct sim_file *file = file_of(handle);
    struct sim_env *env = sim_env_of(handle->env);
    ASSERT(env->open_handles > 0);
    ASSERT(file->inode->opens > 0);
    ASSERT(env->disk->open_files > 0);
    env->open_handles--;
    env->disk->open_files--;
    file->inode->opens--;
    sim_inode_unref(file->inode);
    free(file);
}

int sim_op_file_read(struct env_file *handle, uint64_t offset, void *data, size_t len,
                     size_t *ret_len, struct err *err)
{
    struct sim_file *file = file_of(handle);
    struct sim_env *env = sim_env_of(handle->env);
    struct sim_disk *disk = env->disk;
    ASSERT(file->flags & ENV_OPEN_READ);
    if (env_is_gone(env))
        return file_dead(err, file->path);
    uint32_t ppm = disk->options.read_error_ppm;
    if (ppm != 0 && rng_chance(&disk->rng, ppm, 1000000)) {
        disk->counts[SIM_COUNT_READ_ERROR]++;
        return call_failed(env, "read", file->path, err);
    }
    size_t n = 0;
    if (offset < file->inode->size)
        n = (size_t)MIN((uint64_t)len, file->inode->size - offset);
    if (n > 0)
        sim_bytes_read(file->inode, offset, data, n);
    *ret_len = n;
    return 0;
}

int sim_op_file_write(struct env_file *handle, uint64_t offset, const void *data, size_t len,
                      struct err *err)
{
    struct sim_file *file = file_of(handle);
    struct sim_env *env = sim_env_of(handle->env);
    struct sim_disk *disk = env->disk;
    struct sim_inode *inode = file->inode;
    enum sim_fate fate;
    ASSERT(file->flags & ENV_OPEN_WRITE);
    if (env_is_gone(env))
        return file_dead(err, file->path);
    if (offset > SIM_DISK_FILE_MAX || len > SIM_DISK_FILE_MAX - offset)
        return err_set(err, ERR_IO, "write '%s': file too large", file->path);
    int rv = sim_disk_begin(disk, disk->options.write_error_ppm, &fate);
    uint64_t end = offset + len;
    bool is_full = end > inode->size && !sim_disk_has_room(disk, end - inode->size);
    size_t n = len;
    if (fate == SIM_FATE_PART || (fate == SIM_FATE_ALL && is_full))
        n = (size_t)rng_below(&disk->rng, (uint64_t)len + 1);
    if (is_full) /* what lies inside the file, it has room for */
        n = MIN(n, offset < inode->size ? (size_t)(inode->size - offset) : 0);
    if (fate != SIM_FATE_NONE)
        sim_bytes_write(inode, offset, data, n);
    disk->counts[SIM_COUNT_WRITE_ERROR] += rv != 0;
    if (rv != 0)
        return call_failed(env, "write", file->path, err);
    if (is_full)
        return no_space(disk, "write", file->path, err);
    uint32_t ppm = disk->options.writeback_ppm;
    if (ppm != 0 && rng_chance(&disk->rng, ppm, 1000000)) {
        disk->counts[SIM_COUNT_EARLY_WRITE]++;
        sim_bytes_writeback(inode, &disk->rng);
    }
    sim_disk_end(disk, "write", file->path);
    return 0;
}

/* Some files refuse to be written past the page cache, as some file systems do: which, is a matter
 * of their name. */
static bool file_is_direct(const struct sim_file *file)
{
    static const uint64_t key[2] = {1, 2};
    return hash_keyed(key, slice_str(file->path)) % 4 != 0;
}

int sim_op_file_write_past(struct env_file *handle, uint64_t offset, const void *data, size_t len,
                           struct err *err)
{
    if (!file_is_direct(file_of(handle)))
        return ERR_UNSUPPORTED;
    return sim_op_file_write(handle, offset, data, len, err);
}

/* A write and a sync, each with its faults. */
int sim_op_file_write_through(struct env_file *handle, uint64_t offset, const struct slice *parts,
                              size_t count, struct err *err)
{
    const struct sim_file *file = file_of(handle);
    size_t len = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        len += parts[i].len;
    ASSERT(offset + len <= file->inode->size);
    if (!file_is_direct(file))
        return ERR_UNSUPPORTED;
    uint8_t *bytes = malloc(len);
    ASSERT(bytes != NULL);
    for (size_t i = 0; i < count; at += parts[i].len, i++)
        memcpy(bytes + at, parts[i].data, parts[i].len);
    int rv = sim_op_file_write(handle, offset, bytes, len, err);
    free(bytes);
    return rv == 0 ? sim_op_file_sync(handle, err) : rv;
}

/* The kernel gives up in the middle: some of it is written, nothing durable. */
static int write_gives_up(struct env_write *write)
{
    int rv = sim_op_file_write(write->file, write->offset, write->parts[0].data,
                               write->parts[0].len, &write->err);
    return rv == 0 ? ERR_UNSUPPORTED : rv;
}

static void write_execute(struct env_work *work)
{
    struct env_write *write = work->data;
    struct sim *sim = sim_env_of(write->file->env)->sim;
    ASSERT(write->is_active);
    if (sim_fault_draw(sim, "env.write.give_up"))
        write->rv = write_gives_up(write);
    else
        write->rv = sim_op_file_write_through(write->file, write->offset, write->parts,
                                              write->count, &write->err);
}

static void write_complete(struct env_work *work)
{
    struct env_write *write = work->data;
    write->is_active = false;
    write->complete(write);
}

/* It takes the time that the log's thread takes, which has nothing else to do meanwhile. */
int sim_op_file_write_start(struct env_file *handle, struct env_write *write)
{
    struct sim_env *env = sim_env_of(handle->env);
    if (sim_env_is_silent(env) || !file_is_direct(file_of(handle)) ||
        sim_fault_draw(env->sim, "env.write.refuse"))
        return ERR_UNSUPPORTED;
    env_work_init(&write->work, write_execute, write_complete, write);
    write->is_active = true;
    env_work_submit(handle->env, ENV_LANE_LOG, &write->work);
    return 0;
}

/* What a sync costs the lane that runs it. */
static void sync_charge(struct sim_disk *disk)
{
    uint32_t ppm = disk->options.slow_sync_ppm;
    bool is_slow = ppm != 0 && rng_chance(&disk->rng, ppm, 1000000);
    disk->counts[SIM_COUNT_SLOW_SYNC] += is_slow;
    disk->debt_us += is_slow ? disk->options.slow_sync_us : disk->options.sync_us;
}

/* A device error; or power or the process ends, as fate has it. */
static void sync_fails(struct sim_env *env, struct sim_file *file, enum sim_fate fate)
{
    env->disk->counts[SIM_COUNT_SYNC_ERROR]++;
    if (!env->disk->is_dead)
        sim_bytes_sync_fail(file->inode, &env->disk->rng);
    else if (fate == SIM_FATE_ALL)
        sim_bytes_sync(file->inode);
}

int sim_op_file_sync(struct env_file *handle, struct err *err)
{
    struct sim_file *file = file_of(handle);
    struct sim_env *env = sim_env_of(handle->env);
    enum sim_fate fate;
    if (env_is_gone(env))
        return file_dead(err, file->path);
    sync_charge(env->disk);
    int rv = sim_disk_begin(env->disk, env->disk->options.sync_error_ppm, &fate);
    if (rv != 0) {
        sync_fails(env, file, fate);
        return call_failed(env, "sync", file->path, err);
    }
    sim_bytes_sync(file->inode);
    sim_disk_end(env->disk, "sync", file->path);
    return 0;
}

/* Some sectors reach the platter, of whatever place: nobody may rely on any. */
int sim_op_file_write_back(struct env_file *handle, uint64_t offset, size_t len, struct err *err)
{
    struct sim_file *file = file_of(handle);
    struct sim_env *env = sim_env_of(handle->env);
    enum sim_fate fate;
    (void)offset;
    ASSERT(len > 0);
    if (env_is_gone(env))
        return file_dead(err, file->path);
    int rv = sim_disk_begin(env->disk, env->disk->options.sync_error_ppm, &fate);
    if (rv != 0) {
        sync_fails(env, file, fate);
        return call_failed(env, "write back", file->path, err);
    }
    for (size_t i = 0; i < WRITE_BACK_SECTORS; i++)
        sim_bytes_writeback(file->inode, &env->disk->rng);
    sim_disk_end(env->disk, "write back", file->path);
    return 0;
}

int sim_op_file_size(struct env_file *handle, uint64_t *ret_size, struct err *err)
{
    struct sim_file *file = file_of(handle);
    if (env_is_gone(sim_env_of(handle->env)))
        return file_dead(err, file->path);
    *ret_size = file->inode->size;
    return 0;
}

int sim_op_file_truncate(struct env_file *handle, uint64_t size, struct err *err)
{
    struct sim_file *file = file_of(handle);
    struct sim_env *env = sim_env_of(handle->env);
    enum sim_fate fate;
    ASSERT(file->flags & ENV_OPEN_WRITE);
    if (env_is_gone(env))
        return file_dead(err, file->path);
    if (size > SIM_DISK_FILE_MAX)
        return err_set(err, ERR_IO, "truncate '%s': file too large", file->path);
    if (size > file->inode->size && !sim_disk_has_room(env->disk, size - file->inode->size))
        return no_space(env->disk, "truncate", file->path, err);
    int rv = sim_disk_begin(env->disk, env->disk->options.write_error_ppm, &fate);
    if (fate == SIM_FATE_ALL)
        sim_bytes_truncate(file->inode, size);
    if (rv != 0)
        return call_failed(env, "truncate", file->path, err);
    sim_disk_end(env->disk, "truncate", file->path);
    return 0;
}

/* Is `inode` the folder `dir` or above it? Folders have one name, so look down. */
static bool dir_contains(const struct sim_inode *inode, const struct sim_inode *dir)
{
    if (inode == dir)
        return true;
    for (size_t i = 0; i < inode->cur.count; i++)
        if (inode->cur.items[i].inode->is_dir && dir_contains(inode->cur.items[i].inode, dir))
            return true;
    return false;
}

/* May `inode` take the name that `old` has? */
static int rename_check(const struct sim_inode *inode, const struct sim_inode *old,
                        const struct sim_inode *to_dir, const char *to, struct err *err)
{
    if (inode->is_dir && dir_contains(inode, to_dir))
        return err_set(err, ERR_INVALID, "rename to '%s': into itself", to);
    if (old == NULL || old == inode)
        return 0;
    if (old->is_dir != inode->is_dir)
        return err_set(err, ERR_IO, "rename to '%s': a folder and a file", to);
    if (old->cur.count > 0)
        return err_set(err, ERR_EXISTS, "rename to '%s': folder not empty", to);
    return 0;
}

int sim_op_file_rename(struct env *base, const char *from, const char *to, struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    char leaf[2][ENV_PATH_MAX];
    struct sim_inode *dir[2];
    enum sim_fate fate;
    int rv = walk(env, from, &dir[0], leaf[0], err);
    if (rv == 0)
        rv = walk(env, to, &dir[1], leaf[1], err);
    if (rv != 0)
        return rv;
    struct sim_inode *inode = leaf[0][0] != '\0' ? sim_names_find(&dir[0]->cur, leaf[0]) : NULL;
    if (inode == NULL || leaf[1][0] == '\0')
        return err_set(err, ERR_NOT_FOUND, "rename '%s': no such file", from);
    rv = rename_check(inode, sim_names_find(&dir[1]->cur, leaf[1]), dir[1], to, err);
    if (rv != 0)
        return rv;
    rv = sim_disk_begin(env->disk, env->disk->options.write_error_ppm, &fate);
    if (fate == SIM_FATE_ALL)
        sim_name_move(env->disk, dir[0], leaf[0], dir[1], leaf[1]);
    if (rv != 0)
        return call_failed(env, "rename", from, err);
    sim_disk_end(env->disk, "rename", to);
    return 0;
}

/* Take `path` away, a folder or a file as asked. */
static int unlink_path(struct sim_env *env, const char *op, const char *path, bool is_dir,
                       struct err *err)
{
    char leaf[ENV_PATH_MAX];
    struct sim_inode *dir;
    enum sim_fate fate;
    int rv = walk(env, path, &dir, leaf, err);
    if (rv != 0)
        return rv;
    struct sim_inode *inode = leaf[0] != '\0' ? sim_names_find(&dir->cur, leaf) : NULL;
    if (inode == NULL)
        return err_set(err, ERR_NOT_FOUND, "%s '%s': no such name", op, path);
    if (inode->is_dir != is_dir)
        return err_set(err, ERR_IO, "%s '%s': %s", op, path, is_dir ? "a file" : "a folder");
    if (inode->cur.count > 0)
        return err_set(err, ERR_EXISTS, "%s '%s': folder not empty", op, path);
    rv = sim_disk_begin(env->disk, env->disk->options.write_error_ppm, &fate);
    if (fate == SIM_FATE_ALL)
        sim_name_unset(env->disk, dir, leaf);
    if (rv != 0)
        return call_failed(env, op, path, err);
    sim_disk_end(env->disk, op, path);
    return 0;
}

int sim_op_file_unlink(struct env *base, const char *path, struct err *err)
{
    return unlink_path(sim_env_of(base), "unlink", path, false, err);
}

int sim_op_file_link(struct env *base, const char *from, const char *to, struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    char leaf[ENV_PATH_MAX];
    struct sim_inode *dir;
    enum sim_fate fate;
    int rv = walk(env, to, &dir, leaf, err);
    if (rv != 0)
        return rv;
    struct sim_inode *inode = sim_path_find(env->disk, from);
    if (inode == NULL || inode->is_dir)
        return err_set(err, ERR_NOT_FOUND, "link '%s': no such file", from);
    if (leaf[0] == '\0' || sim_names_find(&dir->cur, leaf) != NULL)
        return err_set(err, ERR_EXISTS, "link to '%s': it exists", to);
    rv = sim_disk_begin(env->disk, env->disk->options.write_error_ppm, &fate);
    if (fate == SIM_FATE_ALL)
        sim_name_set(env->disk, dir, leaf, inode);
    if (rv != 0)
        return call_failed(env, "link", to, err);
    sim_disk_end(env->disk, "link", to);
    return 0;
}

int sim_op_file_stat(struct env *base, const char *path, uint64_t *ret_size, bool *ret_is_dir,
                     struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    if (env_is_gone(env))
        return file_dead(err, path);
    struct sim_inode *inode = sim_path_find(env->disk, path);
    if (inode == NULL)
        return err_set(err, ERR_NOT_FOUND, "stat '%s': nothing there", path);
    *ret_size = inode->is_dir ? 0 : inode->size;
    *ret_is_dir = inode->is_dir;
    return 0;
}

int sim_op_dir_make(struct env *base, const char *path, struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    char leaf[ENV_PATH_MAX];
    struct sim_inode *dir;
    struct sim_inode *made;
    int rv = walk(env, path, &dir, leaf, err);
    if (rv != 0)
        return rv;
    if (leaf[0] == '\0' || sim_names_find(&dir->cur, leaf) != NULL)
        return err_set(err, ERR_EXISTS, "mkdir '%s': it exists", path);
    return create(env, dir, leaf, true, path, &made, err);
}

int sim_op_dir_remove(struct env *base, const char *path, struct err *err)
{
    return unlink_path(sim_env_of(base), "rmdir", path, true, err);
}

int sim_op_dir_sync(struct env *base, const char *path, struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    struct sim_inode *dir;
    enum sim_fate fate;
    int rv = walk_dir(env, path, &dir, err);
    if (rv != 0)
        return rv;
    uint32_t busy_ppm = env->disk->options.dir_busy_ppm;
    if (busy_ppm > 0 && rng_chance(&env->disk->rng, busy_ppm, 1000000))
        return err_set(err, ERR_BUSY, "sync folder %s: no descriptor", path);
    sync_charge(env->disk);
    rv = sim_disk_begin(env->disk, env->disk->options.sync_error_ppm, &fate);
    if (fate == SIM_FATE_ALL)
        sim_names_sync(env->disk, dir);
    if (rv != 0)
        return call_failed(env, "sync folder", path, err);
    sim_disk_end(env->disk, "sync folder", path);
    return 0;
}

int sim_op_dir_list(struct env *base, const char *path, char ***ret_names, size_t *ret_count,
                    struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    struct sim_inode *dir;
    int rv = walk_dir(env, path, &dir, err);
    if (rv != 0)
        return rv;
    size_t count = dir->cur.count;
    size_t len = (count + 1) * sizeof(char *);
    for (size_t i = 0; i < count; i++)
        len += strlen(dir->cur.items[i].text) + 1;
    char **names = sim_alloc(len);
    char *text = (char *)(names + count + 1);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(dir->cur.items[i].text) + 1;
        memcpy(text, dir->cur.items[i].text, n);
        names[i] = text;
        text += n;
    }
    *ret_names = names;
    *ret_count = count;
    return 0;
}

int sim_op_dir_lock(struct env *base, const char *path, struct env_lock **ret_lock, struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    struct sim_inode *dir;
    int rv = walk_dir(env, path, &dir, err);
    if (rv != 0)
        return rv;
    if (dir->is_locked)
        return err_set(err, ERR_LOCKED, "'%s' is locked by another process", path);
    struct sim_inode *file = sim_names_find(&dir->cur, "LOCK");
    if (file == NULL)
        rv = create(env, dir, "LOCK", false, path, &file, err);
    if (rv != 0)
        return rv;
    struct sim_lock *lock = sim_alloc(sizeof *lock);
    lock->lock.env = base;
    lock->dir = dir;
    dir->is_locked = true;
    sim_inode_ref(dir);
    list_init(&lock->in_locks);
    list_push_back(&env->locks, &lock->in_locks);
    env->open_handles++;
    *ret_lock = &lock->lock;
    return 0;
}

static void lock_release(struct sim_lock *lock)
{
    if (lock->dir == NULL)
        return;
    ASSERT(lock->dir->is_locked);
    lock->dir->is_locked = false;
    sim_inode_unref(lock->dir);
    lock->dir = NULL;
    list_remove(&lock->in_locks);
}

void sim_op_dir_unlock(struct env_lock *handle)
{
    struct sim_lock *lock = container_of(handle, struct sim_lock, lock);
    struct sim_env *env = sim_env_of(handle->env);
    ASSERT(env->open_handles > 0);
    env->open_handles--;
    lock_release(lock);
    free(lock);
}

void sim_locks_drop(struct sim_env *env)
{
    LIST_FOREACH(it, &env->locks)
    lock_release(list_entry(it, struct sim_lock, in_locks));
    ASSERT(list_is_empty(&env->locks));
}

int sim_op_disk_space(struct env *base, const char *path, uint64_t *ret_free, uint64_t *ret_total,
                      struct err *err)
{
    struct sim_env *env = sim_env_of(base);
    if (env_is_gone(env))
        return file_dead(err, path);
    uint64_t used = sim_disk_used(env->disk);
    *ret_total = env->disk->capacity;
    *ret_free = used < env->disk->capacity ? env->disk->capacity - used : 0;
    return 0;
}
