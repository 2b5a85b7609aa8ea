/* SPDX-License-Identifier: Apache-2.0
 *
 * Locks of folders, and the check that a locked folder is still the one at its path.
 *
 * A path is all that names a file to be made, renamed or removed. Who removes the folder of a
 * running process, and starts another in one of the same name, has two that hold a lock each, on
 * two files LOCK; without the check the first would write over the files of the second.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "env/uv/real_internal.h"

enum {
    LOCK_MODE = 0640,
    PID_TEXT_MAX = 24,
};

struct real_lock {
    struct env_lock base;
    struct list in_held;
    int fd;
    dev_t dev; /* with `ino`, which file was locked */
    ino_t ino;
    size_t folder_len; /* of `name`, without "/LOCK" */
    char name[ENV_PATH_MAX + sizeof "/LOCK"];
};

/* The process id in an existing lock file, 0 if it tells none. */
static long lock_holder(int fd)
{
    char text[PID_TEXT_MAX] = {0};
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    char *end;
    long pid = strtol(text, &end, 10);
    return end != text && pid > 0 ? pid : 0;
}

static int lock_refused(const char *path, int fd, int errnum, struct err *err)
{
    if (errnum != EWOULDBLOCK)
        return err_set_errno(err, errnum, "lock %s/LOCK", path);
    long pid = lock_holder(fd);
    if (pid == 0)
        return err_set(err, ERR_LOCKED, "folder %s is in use by another process", path);
    return err_set(err, ERR_LOCKED, "folder %s is in use by process %ld", path, pid);
}

/* Who holds it, for people; the lock itself is the kernel's. */
static int lock_write_holder(int fd)
{
    char text[PID_TEXT_MAX];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    ASSERT(len > 0 && len < PID_TEXT_MAX);
    if (ftruncate(fd, 0) != 0)
        return -errno;
    return pwrite(fd, text, (size_t)len, 0) == len ? 0 : -(errno != 0 ? errno : EIO);
}

/* Lock the open file, note who holds it, and which file it is. */
static int lock_take(struct real_lock *lock, const char *path, struct err *err)
{
    if (flock(lock->fd, LOCK_EX | LOCK_NB) != 0)
        return lock_refused(path, lock->fd, errno, err);
    errno = 0;
    int status = lock_write_holder(lock->fd);
    /* A full disk must not keep a store from starting and shrinking. */
    if (status != 0 && status != -ENOSPC && status != -EDQUOT)
        return err_set_errno(err, -status, "write %s", lock->name);
    struct stat st;
    if (fstat(lock->fd, &st) != 0)
        return err_set_errno(err, errno, "stat %s", lock->name);
    lock->dev = st.st_dev;
    lock->ino = st.st_ino;
    return 0;
}

/* flock() rather than fcntl(): it also holds between two worlds of one process,
 * and does not vanish when some other descriptor of the file is closed. */
static int op_dir_lock(struct env *env, const char *path, struct env_lock **ret_lock,
                       struct err *err)
{
    struct real_world *world = real_world_of(env);
    struct real_lock *lock = calloc(1, sizeof *lock);
    if (lock == NULL)
        return err_set(err, ERR_NOMEM, "lock %s: out of memory", path);
    int len = snprintf(lock->name, sizeof lock->name, "%s/LOCK", path);
    if (len < 0 || (size_t)len >= sizeof lock->name) {
        free(lock);
        return err_set(err, ERR_INVALID, "lock %.40s…: path too long", path);
    }
    lock->folder_len = strlen(path);
    lock->base.env = env;
    list_init(&lock->in_held);
    lock->fd = open(lock->name, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (lock->fd < 0) {
        int code = err_set_errno(err, errno, "open %s", lock->name);
        free(lock);
        return code;
    }
    int code = lock_take(lock, path, err);
    if (code != 0) {
        close(lock->fd);
        free(lock);
        return code;
    }
    pthread_mutex_lock(&world->locks.mutex);
    list_push_back(&world->locks.held, &lock->in_held);
    pthread_mutex_unlock(&world->locks.mutex);
    *ret_lock = &lock->base;
    return 0;
}

/* The file stays: removing it would race with the next holder. */
static void op_dir_unlock(struct env_lock *base)
{
    struct real_lock *lock = container_of(base, struct real_lock, base);
    struct real_world *world = real_world_of(base->env);
    ASSERT(lock->fd >= 0);
    pthread_mutex_lock(&world->locks.mutex);
    list_remove(&lock->in_held);
    pthread_mutex_unlock(&world->locks.mutex);
    close(lock->fd);
    free(lock);
}

/* Is it that folder, or in it? */
static bool is_in_folder_of(const struct real_lock *lock, const char *path)
{
    if (strncmp(path, lock->name, lock->folder_len) != 0)
        return false;
    return path[lock->folder_len] == '/' || path[lock->folder_len] == 0;
}

static bool is_still_there(const struct real_lock *lock)
{
    struct stat st;
    return stat(lock->name, &st) == 0 && st.st_dev == lock->dev && st.st_ino == lock->ino;
}

int real_locks_check(struct real_world *world, const char *path, struct err *err)
{
    int rv = 0;
    pthread_mutex_lock(&world->locks.mutex);
    LIST_FOREACH(link, &world->locks.held)
    {
        const struct real_lock *lock = list_entry(link, struct real_lock, in_held);
        ASSERT(lock->fd >= 0);
        if (is_in_folder_of(lock, path) && !is_still_there(lock)) {
            rv = err_set(err, ERR_IO, "%s: the folder was removed or replaced while in use (%s)",
                         path, lock->name);
            break;
        }
    }
    pthread_mutex_unlock(&world->locks.mutex);
    return rv;
}

void real_locks_init(struct real_world *world)
{
    pthread_mutex_init(&world->locks.mutex, NULL);
    list_init(&world->locks.held);
}

void real_locks_fini(struct real_world *world)
{
    ASSERT(list_is_empty(&world->locks.held));
    pthread_mutex_destroy(&world->locks.mutex);
}

void real_locks_fill(struct env_ops *ops)
{
    ops->dir_lock = op_dir_lock;
    ops->dir_unlock = op_dir_unlock;
}
