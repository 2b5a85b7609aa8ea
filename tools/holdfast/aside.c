/* SPDX-License-Identifier: Apache-2.0 */
#include "aside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".new"

/* May a new file take this name, so that all who know the old one see it? */
static bool is_replaceable(const char *path, mode_t *ret_mode)
{
    struct stat st;
    *ret_mode = 0;
    if (lstat(path, &st) != 0)
        return errno == ENOENT;
    *ret_mode = st.st_mode & 0777;
    return S_ISREG(st.st_mode) && st.st_nlink == 1;
}

static char *name_beside(const char *path)
{
    size_t size = strlen(path) + sizeof SUFFIX;
    char *name = malloc(size);
    if (name != NULL)
        snprintf(name, size, "%s" SUFFIX, path);
    return name;
}

static int open_in_place(struct aside *aside, const char *path, struct err *err)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return err_set(err, ERR_IO, "open '%s': %s", path, strerror(errno));
    *aside = (struct aside){.file = file, .path = path};
    return 0;
}

int aside_open(struct aside *aside, const char *path, struct err *err)
{
    mode_t mode;
    ASSERT(aside->file == NULL);
    if (!is_replaceable(path, &mode))
        return open_in_place(aside, path, err);
    char *name = name_beside(path);
    if (name == NULL)
        return err_set(err, ERR_NOMEM, "open '%s': out of memory", path);
    FILE *file = fopen(name, "wb");
    if (file == NULL) {
        int why = errno;
        bool is_impossible = why == EACCES || why == EPERM || why == ENAMETOOLONG;
        int rv = is_impossible ? open_in_place(aside, path, err)
                               : err_set(err, ERR_IO, "open '%s': %s", name, strerror(why));
        free(name);
        return rv;
    }
    if (mode != 0)
        (void)fchmod(fileno(file), mode); /* who may not is no better off with none of it */
    *aside = (struct aside){.file = file, .path = path, .name = name};
    return 0;
}

/* The name, too, is on the disk. Where folders cannot be synced there is nothing to be done. */
static bool sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : MAX((size_t)(slash - path), (size_t)1);
    char *folder = len == 0 ? strdup(".") : strndup(path, len);
    int fd = folder == NULL ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0)
        return errno == EACCES; /* one may write there without being allowed to look */
    bool is_good = fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP;
    close(fd);
    return is_good;
}

static bool sync_file(FILE *file, bool must_sync)
{
    return fflush(file) == 0 && (!must_sync || fdatasync(fileno(file)) == 0);
}

int aside_finish(struct aside *aside, struct err *err)
{
    struct aside done = *aside;
    int rv = 0;
    ASSERT(done.file != NULL);
    *aside = (struct aside){0};
    bool is_good = sync_file(done.file, done.name != NULL);
    is_good = fclose(done.file) == 0 && is_good;
    is_good = is_good && (done.name == NULL || rename(done.name, done.path) == 0);
    if (!is_good)
        rv = err_set(err, ERR_IO, "write '%s': %s", done.path, strerror(errno));
    if (!is_good && done.name != NULL)
        (void)unlink(done.name);
    if (is_good && done.name != NULL && !sync_folder(done.path))
        rv = err_set(err, ERR_IO, "sync the folder of '%s': %s", done.path, strerror(errno));
    free(done.name);
    return rv;
}

void aside_drop(struct aside *aside)
{
    if (aside->file == NULL)
        return;
    fclose(aside->file);
    if (aside->name != NULL)
        (void)unlink(aside->name);
    free(aside->name);
    *aside = (struct aside){0};
}
