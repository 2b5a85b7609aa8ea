/* SPDX-License-Identifier: Apache-2.0
 *
 * disk — for LD_PRELOAD: a file layer between a process and its disk (disk.h).
 *
 *   JEPSEN_DISK_ROOT   the folder that is watched, absolute
 *   JEPSEN_DISK_SIDE   where the journal is; on the same file system, outside the root
 *
 * The journal outlives the process: what one process wrote and did not sync can still be
 * lost when power goes under the next one.
 *
 * Threads  one lock around every record and the change that it tells of, so that the
 *          order of records is the order of changes. Syncs run outside it.
 */
#include "disk.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS_MAX = 4096, JOURNAL_MAX = 32 << 20, PAYLOAD_MAX = 128 << 20 };

/* A record of the journal that is not durable yet. */
struct live {
    struct disk_record record;
    uint64_t at; /* where in the journal */
    bool is_doomed;
    bool is_synced;        /* kept only because an older one of the same file is doomed */
    char folder[PATH_MAX]; /* names: whose sync makes it durable */
    char kept[64];
};

struct watched {
    bool is_on;
    bool is_folder;
    uint64_t inode;
    char path[PATH_MAX];
};

static struct {
    pthread_mutex_t lock;
    char root[PATH_MAX];
    char side[PATH_MAX];
    int journal;
    uint64_t journal_len;
    uint64_t seq;
    uint64_t kept_number;
    bool is_replaying;
    struct live **live;
    size_t live_count, live_cap;
    struct watched *fds[FDS_MAX];
    struct disk_control *control;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .journal = -1};

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev2)(int, const struct iovec *, int, off_t, int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static int (*real_link)(const char *, const char *);
static int (*real_mkdir)(const char *, mode_t);

static void die(const char *what)
{
    fprintf(stderr, "jepsen_disk: %s: %s\n", what, strerror(errno));
    _exit(99);
}

static bool is_below(const char *path)
{
    size_t len = strlen(disk.root);
    return len > 0 && strncmp(path, disk.root, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* The path as a process means it that works in some folder; into `room`, where it is relative. */
static const char *whole_path(const char *path, char room[PATH_MAX])
{
    size_t len;
    if (path == NULL || path[0] == '/' || disk.root[0] == '\0' || getcwd(room, PATH_MAX) == NULL)
        return path;
    len = strlen(room);
    if (snprintf(room + len, PATH_MAX - len, "/%s", path) >= (int)(PATH_MAX - len))
        return path;
    return room;
}

static void folder_of(const char *path, char ret[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    snprintf(ret, PATH_MAX, "%.*s", slash == NULL ? 0 : (int)(slash - path), path);
}

/* ---- the journal --------------------------------------------------------------------- */

static void forget(size_t i)
{
    free(disk.live[i]);
    disk.live[i] = disk.live[--disk.live_count];
}

static struct live *remember(const struct disk_record *r)
{
    if (disk.live_count == disk.live_cap) {
        disk.live_cap = disk.live_cap == 0 ? 256 : disk.live_cap * 2;
        disk.live = realloc(disk.live, disk.live_cap * sizeof(struct live *));
        if (disk.live == NULL)
            die("memory");
    }
    struct live *l = calloc(1, sizeof *l);
    if (l == NULL)
        die("memory");
    l->record = *r;
    l->at = disk.journal_len;
    disk.live[disk.live_count++] = l;
    return l;
}

static void put(int fd, const struct disk_record *r, const void *payload)
{
    struct iovec parts[2] = {{(void *)r, sizeof *r}, {(void *)payload, r->len}};
    if (writev(fd, parts, r->len > 0 ? 2 : 1) != (ssize_t)(sizeof *r + r->len))
        die("write the journal");
    disk.journal_len += sizeof *r + r->len;
}

static void put_mark(enum disk_type type, uint64_t inode, uint64_t upto, const char *folder)
{
    struct disk_record r = {.magic = DISK_MAGIC,
                            .type = type,
                            .seq = ++disk.seq,
                            .inode = inode,
                            .offset = upto,
                            .len = folder == NULL ? 0 : strlen(folder) + 1};
    put(disk.journal, &r, folder);
}

static void copy_live(int to, const struct live *l, char *payload)
{
    if (pread(disk.journal, payload, l->record.len, (off_t)(l->at + sizeof l->record)) !=
        (ssize_t)l->record.len)
        die("read the journal");
    put(to, &l->record, payload);
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = (*(struct live *const *)a)->record.seq, y = (*(struct live *const *)b)->record.seq;
    return (x > y) - (x < y);
}

/* Write the journal anew with what is not durable; a kill at any instant leaves the old
 * one or the new one. */
static void journal_compact(void)
{
    char path[PATH_MAX + 16], next[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/journal", disk.side);
    snprintf(next, sizeof next, "%s/journal.next", disk.side);
    int to = real_open(next, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    char *payload = malloc(PAYLOAD_MAX);
    if (to < 0 || payload == NULL)
        die(next);
    disk.journal_len = 0;
    qsort(disk.live, disk.live_count, sizeof *disk.live, by_seq);
    for (size_t i = 0; i < disk.live_count; i++) {
        struct live *l = disk.live[i];
        uint64_t at = disk.journal_len;
        copy_live(to, l, payload);
        l->at = at;
    }
    int old = disk.journal;
    disk.journal = to;
    for (size_t i = 0; i < disk.live_count; i++)
        if (disk.live[i]->is_doomed)
            put_mark(DISK_DOOM, disk.live[i]->record.inode, disk.live[i]->record.seq, NULL);
    for (size_t i = 0; i < disk.live_count; i++)
        if (disk.live[i]->is_synced)
            put_mark(DISK_SYNC, disk.live[i]->record.inode, disk.live[i]->record.seq, NULL);
    free(payload);
    if (real_rename(next, path) != 0)
        die(path);
    real_close(old);
}

static void record(struct disk_record *r, const void *payload, const char *folder, const char *kept)
{
    if (disk.journal_len > JOURNAL_MAX + 2 * disk.live_count * sizeof *r)
        journal_compact();
    r->magic = DISK_MAGIC;
    r->seq = ++disk.seq;
    struct live *l = remember(r);
    snprintf(l->folder, sizeof l->folder, "%s", folder == NULL ? "" : folder);
    snprintf(l->kept, sizeof l->kept, "%s", kept == NULL ? "" : kept);
    put(disk.journal, r, payload);
}

static bool is_data(const struct live *l)
{
    return l->record.type == DISK_WRITE || l->record.type == DISK_TRUNCATE;
}

/* Data of `inode` up to `upto` is durable, but for what is doomed. */
static void data_durable(uint64_t inode, uint64_t upto)
{
    bool has_doomed = false;
    for (size_t i = 0; i < disk.live_count; i++)
        has_doomed |=
            is_data(disk.live[i]) && disk.live[i]->record.inode == inode && disk.live[i]->is_doomed;
    for (size_t i = disk.live_count; i-- > 0;) {
        struct live *l = disk.live[i];
        if (!is_data(l) || l->record.inode != inode || l->record.seq > upto || l->is_doomed)
            continue;
        if (has_doomed)
            l->is_synced = true;
        else
            forget(i);
    }
}

static void data_doomed(uint64_t inode, uint64_t upto)
{
    for (size_t i = 0; i < disk.live_count; i++) {
        struct live *l = disk.live[i];
        if (is_data(l) && l->record.inode == inode && l->record.seq <= upto && !l->is_synced)
            l->is_doomed = true;
    }
}

/* Nothing of a file whose last name is gone for good can matter. */
static void kept_gone(const struct live *l)
{
    char path[PATH_MAX + 80];
    struct stat st;
    if (l->kept[0] == '\0')
        return;
    snprintf(path, sizeof path, "%s/%s", disk.side, l->kept);
    if (stat(path, &st) == 0 && st.st_nlink == 1) {
        for (size_t i = disk.live_count; i-- > 0;)
            if (is_data(disk.live[i]) && disk.live[i]->record.inode == st.st_ino)
                forget(i);
        if (!disk.is_replaying)
            put_mark(DISK_SYNC, st.st_ino, disk.seq, NULL);
    }
    real_unlink(path);
}

static void names_durable(const char *folder, uint64_t upto)
{
    for (;;) {
        size_t i = 0;
        while (i < disk.live_count && (is_data(disk.live[i]) || disk.live[i]->record.seq > upto ||
                                       strcmp(disk.live[i]->folder, folder) != 0))
            i++;
        if (i == disk.live_count)
            return;
        struct live gone = *disk.live[i];
        forget(i);
        kept_gone(&gone);
    }
}

/* ---- what an earlier process left ------------------------------------------------------- */

static void replay_name(const struct disk_record *r, const char *payload)
{
    struct live *l = remember(r);
    folder_of(payload, l->folder);
    const char *second = payload + strlen(payload) + 1;
    if (r->type == DISK_UNLINK)
        snprintf(l->kept, sizeof l->kept, "%s", second);
    if (r->type == DISK_RENAME)
        snprintf(l->kept, sizeof l->kept, "%s", second + strlen(second) + 1);
    unsigned long long number;
    if (sscanf(l->kept, "kept-%llu", &number) == 1 && number > disk.kept_number)
        disk.kept_number = number;
}

static void replay(const struct disk_record *r, const char *payload)
{
    switch (r->type) {
    case DISK_WRITE:
    case DISK_TRUNCATE:
        remember(r);
        break;
    case DISK_SYNC:
        data_durable(r->inode, r->offset);
        break;
    case DISK_DOOM:
        data_doomed(r->inode, r->offset);
        break;
    case DISK_SYNC_DIR:
        names_durable(payload, r->offset);
        break;
    default:
        replay_name(r, payload);
    }
}

static void journal_open(void)
{
    char path[PATH_MAX + 16];
    struct disk_record r;
    char *payload = malloc(PAYLOAD_MAX);
    snprintf(path, sizeof path, "%s/journal", disk.side);
    disk.journal = real_open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (disk.journal < 0 || payload == NULL)
        die(path);
    disk.is_replaying = true;
    while (pread(disk.journal, &r, sizeof r, (off_t)disk.journal_len) == (ssize_t)sizeof r &&
           r.magic == DISK_MAGIC && r.len <= PAYLOAD_MAX &&
           pread(disk.journal, payload, r.len, (off_t)(disk.journal_len + sizeof r)) ==
               (ssize_t)r.len) {
        disk.seq = r.seq > disk.seq ? r.seq : disk.seq;
        replay(&r, payload);
        disk.journal_len += sizeof r + r.len;
    }
    disk.is_replaying = false;
    free(payload);
    /* the record in the middle of which the last process was killed: its change was not made */
    if (real_ftruncate(disk.journal, (off_t)disk.journal_len) != 0)
        die(path);
}

static void control_open(void)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/control", disk.side);
    int fd = real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || real_ftruncate(fd, sizeof(struct disk_control)) != 0)
        die(path);
    disk.control = mmap(NULL, sizeof *disk.control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (disk.control == MAP_FAILED)
        die(path);
    real_close(fd);
}

__attribute__((constructor)) static void disk_start(void)
{
    const char *root = getenv("JEPSEN_DISK_ROOT"), *side = getenv("JEPSEN_DISK_SIDE");
    *(void **)&real_open = dlsym(RTLD_NEXT, "open");
    *(void **)&real_close = dlsym(RTLD_NEXT, "close");
    *(void **)&real_write = dlsym(RTLD_NEXT, "write");
    *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    *(void **)&real_pwritev2 = dlsym(RTLD_NEXT, "pwritev2");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    *(void **)&real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    *(void **)&real_rename = dlsym(RTLD_NEXT, "rename");
    *(void **)&real_unlink = dlsym(RTLD_NEXT, "unlink");
    *(void **)&real_link = dlsym(RTLD_NEXT, "link");
    *(void **)&real_mkdir = dlsym(RTLD_NEXT, "mkdir");
    if (root == NULL || side == NULL)
        return;
    snprintf(disk.side, sizeof disk.side, "%s", side);
    journal_open();
    control_open();
    snprintf(disk.root, sizeof disk.root, "%s", root);
}

/* ---- faults -------------------------------------------------------------------------- */

/* Take one from a counter of the harness, if there is one. */
static bool fault_due(uint32_t *counter)
{
    uint32_t left = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
    while (left > 0)
        if (__atomic_compare_exchange_n(counter, &left, left - 1, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return true;
    return false;
}

/* ---- files ----------------------------------------------------------------------------- */

static struct watched *watched(int fd)
{
    return fd >= 0 && fd < FDS_MAX && disk.fds[fd] != NULL && disk.fds[fd]->is_on ? disk.fds[fd]
                                                                                  : NULL;
}

static void watch(int fd, const char *path)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return;
    if (fd >= FDS_MAX)
        die("too many files");
    if (disk.fds[fd] == NULL)
        disk.fds[fd] = calloc(1, sizeof *disk.fds[fd]);
    struct watched *w = disk.fds[fd];
    if (w == NULL)
        die("memory");
    *w = (struct watched){.is_on = true, .is_folder = S_ISDIR(st.st_mode), .inode = st.st_ino};
    snprintf(w->path, sizeof w->path, "%s", path);
}

/* A file that is open is opened once more, for direct I/O perhaps: here it goes as all else. */
static int open_again(int of, const char *path, int flags)
{
    char real_path[PATH_MAX];
    pthread_mutex_lock(&disk.lock);
    snprintf(real_path, sizeof real_path, "%s", disk.fds[of]->path);
    int fd = real_open(path, (flags & ~(O_ACCMODE | O_CREAT | O_TRUNC | O_DIRECT)) | O_RDWR, 0);
    watch(fd, real_path);
    pthread_mutex_unlock(&disk.lock);
    return fd;
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list args;
    char folder[PATH_MAX], room[PATH_MAX];
    path = whole_path(path, room);
    va_start(args, flags);
    if (flags & O_CREAT)
        mode = va_arg(args, mode_t);
    va_end(args);
    int of = -1;
    if (sscanf(path, "/proc/self/fd/%d", &of) == 1 && watched(of) != NULL)
        return open_again(of, path, flags);
    if (!is_below(path))
        return real_open(path, flags, mode);
    if ((flags & O_ACCMODE) == O_WRONLY)
        flags = (flags & ~O_ACCMODE) | O_RDWR; /* what is written over must be read first */
    pthread_mutex_lock(&disk.lock);
    if ((flags & O_CREAT) && access(path, F_OK) != 0) {
        struct disk_record r = {.type = DISK_CREATE, .len = strlen(path) + 1};
        folder_of(path, folder);
        record(&r, path, folder, NULL);
    }
    int fd = real_open(path, flags & ~O_TRUNC, mode);
    watch(fd, path);
    pthread_mutex_unlock(&disk.lock);
    if (fd >= 0 && (flags & O_TRUNC) && ftruncate(fd, 0) != 0)
        die(path);
    return fd;
}

int close(int fd)
{
    pthread_mutex_lock(&disk.lock);
    if (watched(fd) != NULL)
        disk.fds[fd]->is_on = false;
    pthread_mutex_unlock(&disk.lock);
    return real_close(fd);
}

/* Bytes [offset, offset + len) of the file as far as there are any; the caller frees. */
static char *bytes_before(int fd, uint64_t offset, uint64_t len, uint64_t size, uint64_t *ret_len)
{
    uint64_t there = offset >= size ? 0 : size - offset < len ? size - offset : len;
    char *bytes = malloc(there + 1);
    if (bytes == NULL || there > PAYLOAD_MAX ||
        pread(fd, bytes, there, (off_t)offset) != (ssize_t)there)
        die("read what is written over");
    *ret_len = there;
    return bytes;
}

/* How much of a write reaches the disk as power goes in its middle: up to a sector's end, any
 * but the last. */
static size_t torn_len(size_t len, off_t offset)
{
    size_t first = DISK_SECTOR - (size_t)offset % DISK_SECTOR;
    size_t ends = first >= len ? 0 : (len - first - 1) / DISK_SECTOR + 1;
    if (ends == 0)
        return len;
    return first + disk.seq * 0x9e3779b97f4a7c15u / 65536 % ends * DISK_SECTOR;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    struct stat st;
    if (watched(fd) == NULL)
        return real_pwrite(fd, data, len, offset);
    if (fault_due(&disk.control->write_fail)) {
        errno = EIO;
        return -1;
    }
    pthread_mutex_lock(&disk.lock);
    if (fstat(fd, &st) != 0)
        die("stat");
    struct disk_record r = {.type = DISK_WRITE,
                            .inode = st.st_ino,
                            .offset = (uint64_t)offset,
                            .size = (uint64_t)st.st_size};
    char *before = bytes_before(fd, r.offset, len, r.size, &r.len);
    uint64_t there = r.len;
    /* `size` tells the file's, `len` the payload's; how much was written is told by a
     * length in front of the bytes */
    char *payload = malloc(sizeof(uint64_t) + there);
    if (payload == NULL)
        die("memory");
    memcpy(payload, &(uint64_t){len}, sizeof(uint64_t));
    memcpy(payload + sizeof(uint64_t), before, there);
    r.len = sizeof(uint64_t) + there;
    record(&r, payload, NULL, NULL);
    free(before);
    free(payload);
    size_t whole = torn_len(len, offset);
    bool is_torn = whole < len && fault_due(&disk.control->tear);
    ssize_t n = real_pwrite(fd, data, is_torn ? whole : len, offset);
    if (is_torn)
        kill(getpid(), SIGKILL);
    disk.control->writes++;
    pthread_mutex_unlock(&disk.lock);
    return n;
}

/* For programs that write in order: as pwrite() at the file's position. */
ssize_t write(int fd, const void *data, size_t len)
{
    if (watched(fd) == NULL)
        return real_write(fd, data, len);
    off_t at = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t n = pwrite(fd, data, len, at);
    if (n > 0)
        (void)lseek(fd, at + n, SEEK_SET);
    return n;
}

int ftruncate(int fd, off_t size)
{
    struct stat st;
    if (watched(fd) == NULL)
        return real_ftruncate(fd, size);
    pthread_mutex_lock(&disk.lock);
    if (fstat(fd, &st) != 0)
        die("stat");
    struct disk_record r = {.type = DISK_TRUNCATE,
                            .inode = st.st_ino,
                            .offset = (uint64_t)size,
                            .size = (uint64_t)st.st_size};
    char *cut = bytes_before(fd, r.offset, r.size, r.size, &r.len);
    record(&r, cut, NULL, NULL);
    free(cut);
    int rv = real_ftruncate(fd, size);
    pthread_mutex_unlock(&disk.lock);
    return rv;
}

static int sync_with(int fd, int (*real)(int))
{
    pthread_mutex_lock(&disk.lock);
    struct watched w = {0};
    if (watched(fd) != NULL)
        w = *watched(fd);
    uint64_t upto = disk.seq;
    pthread_mutex_unlock(&disk.lock);
    if (!w.is_on)
        return real(fd);
    if (disk.control->sync_delay_us > 0)
        usleep(disk.control->sync_delay_us);
    bool is_failed = fault_due(&disk.control->sync_fail);
    int rv = is_failed ? -1 : real(fd);
    pthread_mutex_lock(&disk.lock);
    disk.control->syncs++;
    if (w.is_folder && rv == 0) {
        names_durable(w.path, upto);
        put_mark(DISK_SYNC_DIR, 0, upto, w.path);
    } else if (!w.is_folder && rv == 0) {
        data_durable(w.inode, upto);
        put_mark(DISK_SYNC, w.inode, upto, NULL);
    } else if (!w.is_folder) {
        data_doomed(w.inode, upto);
        put_mark(DISK_DOOM, w.inode, upto, NULL);
    }
    pthread_mutex_unlock(&disk.lock);
    if (is_failed)
        errno = EIO;
    return rv;
}

int fsync(int fd)
{
    return sync_with(fd, real_fsync);
}

int fdatasync(int fd)
{
    return sync_with(fd, real_fdatasync);
}

/* Part by part, so that power may go between them; then what the flag says. */
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    size_t done = 0;
    if (watched(fd) == NULL)
        return real_pwritev2(fd, parts, count, offset, flags);
    for (int i = 0; i < count; i++) {
        ssize_t n = pwrite(fd, parts[i].iov_base, parts[i].iov_len, offset + (off_t)done);
        if (n < 0)
            return -1;
        done += (size_t)n;
        if ((size_t)n < parts[i].iov_len)
            break;
    }
    if ((flags & (RWF_DSYNC | RWF_SYNC)) != 0 && fdatasync(fd) != 0)
        return -1;
    return (ssize_t)done;
}

/* Writes that no call returns from would pass by: there are none here, and who asks for them writes
 * otherwise. */
struct io_context;
int io_setup(int count, struct io_context **context);
int io_setup(int count, struct io_context **context)
{
    (void)count, (void)context;
    return -ENOSYS;
}

/* ---- names ------------------------------------------------------------------------------- */

/* A further name for the file at `path`, so that it can come back. "" if there is none. */
static uint64_t keep(const char *path, char ret_kept[64])
{
    char to[PATH_MAX + 80];
    struct stat st;
    ret_kept[0] = '\0';
    if (stat(path, &st) != 0)
        return 0;
    snprintf(ret_kept, 64, "kept-%llu", (unsigned long long)++disk.kept_number);
    snprintf(to, sizeof to, "%s/%s", disk.side, ret_kept);
    if (real_link(path, to) != 0)
        die(to);
    return st.st_ino;
}

int rename(const char *from, const char *to)
{
    char folder[PATH_MAX], kept[64], payload[2 * PATH_MAX + 80], rooms[2][PATH_MAX];
    from = whole_path(from, rooms[0]);
    to = whole_path(to, rooms[1]);
    if (!is_below(to))
        return real_rename(from, to);
    pthread_mutex_lock(&disk.lock);
    struct disk_record r = {.type = DISK_RENAME, .inode = keep(to, kept)};
    int n = snprintf(payload, sizeof payload, "%s%c%s%c%s", to, 0, from, 0, kept);
    r.len = (uint64_t)n + 1;
    folder_of(to, folder);
    record(&r, payload, folder, kept);
    int rv = real_rename(from, to);
    pthread_mutex_unlock(&disk.lock);
    return rv;
}

int unlink(const char *path)
{
    char folder[PATH_MAX], kept[64], payload[PATH_MAX + 80], room[PATH_MAX];
    path = whole_path(path, room);
    if (!is_below(path))
        return real_unlink(path);
    pthread_mutex_lock(&disk.lock);
    struct disk_record r = {.type = DISK_UNLINK, .inode = keep(path, kept)};
    if (kept[0] != '\0') {
        r.len = (uint64_t)snprintf(payload, sizeof payload, "%s%c%s", path, 0, kept) + 1;
        folder_of(path, folder);
        record(&r, payload, folder, kept);
    }
    int rv = real_unlink(path);
    pthread_mutex_unlock(&disk.lock);
    return rv;
}

static int named(enum disk_type type, const char *path)
{
    char folder[PATH_MAX];
    struct disk_record r = {.type = type, .len = strlen(path) + 1};
    if (access(path, F_OK) == 0)
        return EEXIST;
    folder_of(path, folder);
    record(&r, path, folder, NULL);
    return 0;
}

int link(const char *from, const char *to)
{
    char rooms[2][PATH_MAX];
    from = whole_path(from, rooms[0]);
    to = whole_path(to, rooms[1]);
    if (!is_below(to))
        return real_link(from, to);
    pthread_mutex_lock(&disk.lock);
    (void)named(DISK_LINK, to);
    int rv = real_link(from, to);
    pthread_mutex_unlock(&disk.lock);
    return rv;
}

int mkdir(const char *path, mode_t mode)
{
    char room[PATH_MAX];
    path = whole_path(path, room);
    if (!is_below(path))
        return real_mkdir(path, mode);
    pthread_mutex_lock(&disk.lock);
    (void)named(DISK_MKDIR, path);
    int rv = real_mkdir(path, mode);
    pthread_mutex_unlock(&disk.lock);
    return rv;
}

/* ---- the same under the names of large files ------------------------------------------------- */

int open64(const char *path, int flags, ...) __attribute__((alias("open")));
ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
    __attribute__((alias("pwrite")));
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
    __attribute__((alias("pwritev2")));
int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));
