/* SPDX-License-Identifier: Apache-2.0 */
#include "aside.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".new"

enum { TRIES_MAX = 100 };

static const int ends[] = {SIGHUP, SIGINT, SIGTERM};

/* What a signal that ends the program removes: the name of the one that is open; NULL: none is. */
static char *volatile unfinished;

static void remove_unfinished(int number)
{
    if (unfinished != NULL)
        (void)unlink(unfinished);
    (void)signal(number, SIG_DFL);
    (void)raise(number); /* it comes when this returns, and ends us as it would have */
}

/* Only where it would end us: what is ignored, or somebody else's, stays so. */
static void replace_handler(void (*from)(int), void (*to)(int))
{
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct sigaction was, action = {.sa_handler = to};
        sigfillset(&action.sa_mask);
        if (sigaction(ends[i], NULL, &was) == 0 && was.sa_handler == from)
            (void)sigaction(ends[i], &action, NULL);
    }
}

static void remember(char *name)
{
    if (unfinished != NULL)
        return;
    unfinished = name;
    replace_handler(SIG_DFL, remove_unfinished);
}

static void forget(const char *name)
{
    if (name == NULL || unfinished != name)
        return;
    replace_handler(remove_unfinished, SIG_DFL);
    unfinished = NULL;
}

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

/* Is the file of `fd` still called so? Whoever had the lock may have renamed or removed it. */
static bool is_still(const char *name, int fd)
{
    struct stat st, now;
    return fstat(fd, &st) == 0 && stat(name, &now) == 0 && st.st_dev == now.st_dev &&
           st.st_ino == now.st_ino;
}

/* The file that only we write, whatever it has: -1 with errno, EWOULDBLOCK if another command does.
 * The lock ends with the descriptor, so what a killed command left is free. Devices and pipes have
 * none, and some network file systems: those are gone on with, as are such that number their files
 * anew each time. */
static int open_alone(const char *name, int flags)
{
    for (int tries = 1;; tries++) {
        struct stat st;
        int fd = open(name, flags | O_CLOEXEC, 0666);
        if (fd < 0 || (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)))
            return fd;
        bool is_taken = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (!is_taken && (is_still(name, fd) || tries == TRIES_MAX))
            return fd;
        close(fd);
        if (!is_taken)
            continue;
        errno = EWOULDBLOCK;
        return -1;
    }
}

/* What was there goes once nobody else can be writing it. Closes `fd` on failure, with errno. */
static FILE *stream_of(int fd, const char *mode, bool is_emptied)
{
    struct stat st;
    bool is_good = fstat(fd, &st) == 0;
    is_good = is_good && (!is_emptied || !S_ISREG(st.st_mode) || ftruncate(fd, 0) == 0);
    FILE *file = is_good ? fdopen(fd, mode) : NULL;
    if (file == NULL) {
        int why = errno;
        close(fd);
        errno = why;
    }
    return file;
}

static int fail_open(const char *path, const char *name, int why, struct err *err)
{
    if (why == EWOULDBLOCK)
        return err_set(err, ERR_BUSY, "open '%s': another command writes it", path);
    return err_set(err, ERR_IO, "open '%s': %s", name, strerror(why));
}

int aside_open_in_place(const char *path, bool is_new, FILE **ret_file, struct err *err)
{
    int fd = open_alone(path, is_new ? O_WRONLY | O_CREAT : O_RDWR);
    FILE *file = fd >= 0 ? stream_of(fd, is_new ? "wb" : "r+b", is_new) : NULL;
    if (file == NULL)
        return fail_open(path, path, errno, err);
    *ret_file = file;
    return 0;
}

static int open_as_it_is(struct aside *aside, const char *path, struct err *err)
{
    FILE *file = NULL;
    int rv = aside_open_in_place(path, true, &file, err);
    if (rv == 0)
        *aside = (struct aside){.file = file, .path = path};
    return rv;
}

/* Takes `name`. The lock is of a descriptor of its own: it is held until the name is given away,
 * when the stream is closed already. */
static int open_beside(struct aside *aside, const char *path, char *name, mode_t mode,
                       struct err *err)
{
    int lock = open_alone(name, O_WRONLY | O_CREAT);
    if (lock < 0 && (errno == EACCES || errno == EPERM || errno == ENAMETOOLONG)) {
        free(name);
        return open_as_it_is(aside, path, err);
    }
    int fd = lock >= 0 ? fcntl(lock, F_DUPFD_CLOEXEC, 0) : -1;
    FILE *file = fd >= 0 ? stream_of(fd, "wb", true) : NULL;
    if (file == NULL) {
        int rv = fail_open(path, name, errno, err);
        if (lock >= 0)
            close(lock);
        free(name);
        return rv;
    }
    if (mode != 0)
        (void)fchmod(fd, mode); /* who may not is no better off with none of it */
    *aside = (struct aside){.file = file, .path = path, .name = name, .lock = lock};
    remember(name);
    return 0;
}

int aside_open(struct aside *aside, const char *path, struct err *err)
{
    mode_t mode;
    ASSERT(aside->file == NULL);
    if (!is_replaceable(path, &mode))
        return open_as_it_is(aside, path, err);
    char *name = name_beside(path);
    if (name == NULL)
        return err_set(err, ERR_NOMEM, "open '%s': out of memory", path);
    return open_beside(aside, path, name, mode, err);
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

/* The name is given away: whoever wants it next may begin. */
static void let_go(struct aside *done)
{
    if (done->name != NULL)
        close(done->lock);
    free(done->name);
}

int aside_finish(struct aside *aside, struct err *err)
{
    struct aside done = *aside;
    int rv = 0;
    ASSERT(done.file != NULL);
    *aside = (struct aside){0};
    bool is_good = sync_file(done.file, done.name != NULL);
    is_good = fclose(done.file) == 0 && is_good;
    forget(done.name); /* who has the name next may be another command */
    is_good = is_good && (done.name == NULL || rename(done.name, done.path) == 0);
    if (!is_good)
        rv = err_set(err, ERR_IO, "write '%s': %s", done.path, strerror(errno));
    if (!is_good && done.name != NULL)
        (void)unlink(done.name);
    if (is_good && done.name != NULL && !sync_folder(done.path))
        rv = err_set(err, ERR_IO, "sync the folder of '%s': %s", done.path, strerror(errno));
    let_go(&done);
    return rv;
}

void aside_drop(struct aside *aside)
{
    if (aside->file == NULL)
        return;
    fclose(aside->file);
    forget(aside->name);
    if (aside->name != NULL)
        (void)unlink(aside->name);
    let_go(aside);
    *aside = (struct aside){0};
}
