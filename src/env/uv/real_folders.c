/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders: making, listing, syncing, and the space under them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "env/uv/real_internal.h"

enum { DIR_MODE = 0750 };

/* Names and their array together; a folder that needs more is not one of ours. */
static const size_t DIR_LIST_BYTES_MAX = (size_t)256 << 20;

static int op_dir_make(struct env *env, const char *path, struct err *err)
{
    int rv = real_locks_check(real_world_of(env), path, err);
    if (rv != 0)
        return rv;
    if (mkdir(path, DIR_MODE) == 0)
        return 0;
    return err_set_errno(err, errno, "make folder %s", path);
}

static int op_dir_remove(struct env *env, const char *path, struct err *err)
{
    int rv = real_locks_check(real_world_of(env), path, err);
    if (rv != 0)
        return rv;
    if (rmdir(path) == 0)
        return 0;
    return err_set_errno(err, errno, "remove folder %s", path);
}

static int op_dir_sync(struct env *env, const char *path, struct err *err)
{
    int code = real_locks_check(real_world_of(env), path, err);
    if (code != 0)
        return code;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_short = fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM);
    if (fd < 0) {
        code = err_set_errno(err, errno, "open folder %s", path);
        return is_short ? err_wrap(err, ERR_BUSY, "nothing was synced") : code;
    }
    if (fsync(fd) != 0)
        code = err_set_errno(err, errno, "sync folder %s", path);
    close(fd);
    return code;
}

/* All names of `dir` into `names`, each with its NUL. 0 or -errno. */
static int names_read(DIR *dir, struct buf *names, size_t *ret_count)
{
    size_t count = 0;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL && errno != 0)
            return -errno;
        if (entry == NULL)
            break;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        buf_append(names, entry->d_name, strlen(entry->d_name) + 1);
        count++;
    }
    *ret_count = count;
    return names->failed ? -ENOMEM : 0;
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One allocation: the array, then the bytes that it points to. NULL without memory. */
static char **names_pack(const struct buf *names, size_t count)
{
    ASSERT(names->len >= count * 2); /* a byte and a NUL at least */
    size_t array_size = (count + 1) * sizeof(char *);
    char **array = malloc(array_size + names->len);
    if (array == NULL)
        return NULL;
    char *at = (char *)array + array_size;
    if (names->len > 0)
        memcpy(at, names->data, names->len);
    for (size_t i = 0; i < count; i++) {
        array[i] = at;
        at += strlen(at) + 1;
    }
    array[count] = NULL;
    ASSERT(at == (char *)array + array_size + names->len);
    qsort(array, count, sizeof(char *), name_compare);
    return array;
}

static int op_dir_list(struct env *env, const char *path, char ***ret_names, size_t *ret_count,
                       struct err *err)
{
    (void)env;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return err_set_errno(err, errno, "open folder %s", path);
    struct buf names;
    buf_init(&names, DIR_LIST_BYTES_MAX);
    size_t count = 0;
    int status = names_read(dir, &names, &count);
    closedir(dir);
    char **array = status == 0 ? names_pack(&names, count) : NULL;
    if (status == 0 && array == NULL)
        status = -ENOMEM;
    buf_fini(&names);
    if (status != 0)
        return err_set_errno(err, -status, "list folder %s", path);
    *ret_names = array;
    *ret_count = count;
    return 0;
}

static int op_disk_space(struct env *env, const char *path, uint64_t *ret_free, uint64_t *ret_total,
                         struct err *err)
{
    (void)env;
    struct statvfs st;
    int status;
    do {
        status = statvfs(path, &st);
    } while (status != 0 && errno == EINTR);
    if (status != 0)
        return err_set_errno(err, errno, "space of %s", path);
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    *ret_total = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}

void real_folders_fill(struct env_ops *ops)
{
    ops->dir_make = op_dir_make;
    ops->dir_remove = op_dir_remove;
    ops->dir_sync = op_dir_sync;
    ops->dir_list = op_dir_list;
    ops->disk_space = op_disk_space;
}
