/* SPDX-License-Identifier: Apache-2.0
 *
 * jepsen-power — what a loss of power takes from a folder that disk.c watched, when its
 * process is gone:
 *
 *   jepsen-power --root DIR --side SIDE --seed N [--all | --none]
 *
 * Of every file a part of its writes that were never synced is taken back, sector by
 * sector: all, none, or from a moment on that is drawn for each sector, so that writes
 * are torn and come out of order. A sector never keeps a newer write without an older
 * one. Sizes and the names of each folder go back to a moment of their own. --all takes
 * everything that was not synced, --none nothing but what a failed sync lost. Afterwards
 * the journal begins anew: what is left is durable.
 *
 * Prints one JSON object with figures. Exit status 0, or 1 with what is wrong.
 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORDS_MAX = 1 << 22, FILES_MAX = 1 << 16 };

struct entry {
    struct disk_record record;
    char *payload;
    bool is_doomed;
    bool is_durable;
};

struct file {
    uint64_t inode;
    char path[PATH_MAX];
};

static struct {
    struct entry *entries;
    size_t count;
    struct file *files;
    size_t file_count;
    char side[PATH_MAX];
    char root[PATH_MAX];
    uint64_t seed;
    enum { TAKE_SOME, TAKE_ALL, TAKE_NONE } mode;
    uint64_t writes, sectors, sizes, names; /* taken back */
} power;

static void die(const char *what)
{
    fprintf(stderr, "jepsen-power: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Fair bits for a thing that is told apart by three numbers (splitmix64). */
static uint64_t draw(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t z = power.seed * 0x9e3779b97f4a7c15u + a * 0xbf58476d1ce4e5b9u +
                 b * 0x94d049bb133111ebu + c * 0xd6e8feb86659fd93u;
    for (int i = 0; i < 2; i++) {
        z += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
    }
    return z;
}

static uint64_t hash_text(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text != '\0'; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001b3u;
    return h;
}

static bool is_data(const struct entry *e)
{
    return e->record.type == DISK_WRITE || e->record.type == DISK_TRUNCATE;
}

static const char *second(const struct entry *e)
{
    return e->payload + strlen(e->payload) + 1;
}

static const char *third(const struct entry *e)
{
    return second(e) + strlen(second(e)) + 1;
}

static void folder_of(const char *path, char ret[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    snprintf(ret, PATH_MAX, "%.*s", slash == NULL ? 0 : (int)(slash - path), path);
}

/* Room for one more of `size` bytes, twice as much as before where it is due. What is never used
 * is not taken: a sanitizer looks through all of it at the end. */
static void *grown(void *items, size_t count, size_t max, size_t size, const char *path)
{
    if (count == max) {
        errno = EOVERFLOW;
        die(path);
    }
    if (count > 0 && (count < 64 || (count & (count - 1)) != 0))
        return items;
    items = realloc(items, (count < 64 ? 64 : 2 * count) * size);
    if (items == NULL)
        die("memory");
    return items;
}

/* ---- reading --------------------------------------------------------------------------- */

static void mark(const struct disk_record *r, const char *payload)
{
    char folder[PATH_MAX];
    for (size_t i = 0; i < power.count; i++) {
        struct entry *e = &power.entries[i];
        if (e->record.seq > r->offset)
            continue;
        if (r->type == DISK_SYNC_DIR && !is_data(e)) {
            folder_of(e->payload, folder);
            e->is_durable |= strcmp(folder, payload) == 0;
        } else if (r->type != DISK_SYNC_DIR && is_data(e) && e->record.inode == r->inode) {
            e->is_doomed |= r->type == DISK_DOOM && !e->is_durable;
            e->is_durable |= r->type == DISK_SYNC && !e->is_doomed;
        }
    }
}

static void read_journal(void)
{
    char path[PATH_MAX + 16];
    struct disk_record r;
    snprintf(path, sizeof path, "%s/journal", power.side);
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT)
        return; /* taken away before, and nothing was done since */
    if (file == NULL)
        die(path);
    while (fread(&r, sizeof r, 1, file) == 1 && r.magic == DISK_MAGIC) {
        char *payload = calloc(1, r.len + 1);
        if (payload == NULL)
            die("memory");
        if (fread(payload, 1, r.len, file) != r.len) {
            free(payload);
            break; /* its change was not made */
        }
        bool is_mark = r.type == DISK_SYNC || r.type == DISK_DOOM || r.type == DISK_SYNC_DIR;
        if (is_mark) {
            mark(&r, payload);
            free(payload);
        } else {
            power.entries =
                grown(power.entries, power.count, RECORDS_MAX, sizeof *power.entries, path);
            power.entries[power.count++] = (struct entry){.record = r, .payload = payload};
        }
    }
    fclose(file);
}

static int note_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type != FTW_F)
        return 0;
    power.files = grown(power.files, power.file_count, FILES_MAX, sizeof *power.files, path);
    struct file *f = &power.files[power.file_count++];
    f->inode = st->st_ino;
    snprintf(f->path, sizeof f->path, "%s", path);
    return 0;
}

static void find_files(void)
{
    nftw(power.side, note_file, 16, FTW_PHYS);
    if (nftw(power.root, note_file, 16, FTW_PHYS) != 0 && errno != ENOENT)
        die(power.root);
}

/* ---- data -------------------------------------------------------------------------------- */

/* The moment (a seq) from which on changes of one thing are taken back; those of it lie
 * between `first` and `last`. */
static uint64_t moment(uint64_t thing, uint64_t part, uint64_t first, uint64_t last)
{
    if (power.mode == TAKE_ALL)
        return 0;
    if (power.mode == TAKE_NONE)
        return UINT64_MAX;
    switch (draw(thing, 0, 0) % 4) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    default:
        return first + draw(thing, part, 1) % (last - first + 2);
    }
}

/* Is the sector written again later by what is durable? Only after a doomed write. */
static bool is_covered(size_t at, uint64_t from, uint64_t to)
{
    const struct entry *e = &power.entries[at];
    for (size_t i = at + 1; e->is_doomed && i < power.count; i++) {
        const struct entry *o = &power.entries[i];
        uint64_t len;
        if (!o->is_durable || o->record.type != DISK_WRITE || o->record.inode != e->record.inode)
            continue;
        memcpy(&len, o->payload, sizeof len);
        if (o->record.offset <= from && o->record.offset + len >= to)
            return true;
    }
    return false;
}

/* Did a later change of the file become durable, and with it the size that the file had then?
 * Only after a doomed one, which a sync that failed left behind. */
static bool is_size_durable(size_t at)
{
    const struct entry *e = &power.entries[at];
    for (size_t i = at + 1; e->is_doomed && i < power.count; i++) {
        const struct entry *o = &power.entries[i];
        if (o->is_durable && is_data(o) && o->record.inode == e->record.inode)
            return true;
    }
    return false;
}

static void put_back(int fd, const char *bytes, uint64_t there, uint64_t from, uint64_t offset,
                     uint64_t len)
{
    static const char zeros[DISK_SECTOR];
    uint64_t skip = offset - from;
    uint64_t old = skip >= there ? 0 : there - skip < len ? there - skip : len;
    if ((old > 0 && pwrite(fd, bytes + skip, old, (off_t)offset) != (ssize_t)old) ||
        (len > old && pwrite(fd, zeros, len - old, (off_t)(offset + old)) != (ssize_t)(len - old)))
        die("put back");
}

static void undo_write(int fd, size_t at, uint64_t first, uint64_t last)
{
    const struct entry *e = &power.entries[at];
    const struct disk_record *r = &e->record;
    uint64_t len, taken = power.sectors;
    struct stat st;
    memcpy(&len, e->payload, sizeof len);
    const char *bytes = e->payload + sizeof len;
    uint64_t there = r->len - sizeof len;
    if (fstat(fd, &st) != 0)
        die("stat");
    for (uint64_t o = r->offset; o < r->offset + len && o < (uint64_t)st.st_size;) {
        uint64_t next = (o / DISK_SECTOR + 1) * DISK_SECTOR;
        next = next < r->offset + len ? next : r->offset + len;
        next = next < (uint64_t)st.st_size ? next : (uint64_t)st.st_size;
        if ((e->is_doomed || r->seq >= moment(r->inode, o / DISK_SECTOR + 2, first, last)) &&
            !is_covered(at, o, next)) {
            put_back(fd, bytes, there, r->offset, o, next - o);
            power.sectors++;
        }
        o = next;
    }
    power.writes += power.sectors > taken;
    if (r->offset + len > r->size && r->seq >= moment(r->inode, 1, first, last) &&
        !is_size_durable(at) && ftruncate(fd, (off_t)r->size) == 0)
        power.sizes++;
}

static void undo_truncate(int fd, size_t at, uint64_t first, uint64_t last)
{
    const struct entry *e = &power.entries[at];
    const struct disk_record *r = &e->record;
    if (r->seq < moment(r->inode, 1, first, last) || is_size_durable(at))
        return;
    power.sizes++;
    if (r->len > 0 && pwrite(fd, e->payload, r->len, (off_t)r->offset) != (ssize_t)r->len)
        die("put back");
    if (ftruncate(fd, (off_t)r->size) != 0)
        die("size");
}

static bool can_be_lost(const struct entry *e)
{
    return !e->is_durable;
}

static void undo_data(const struct file *f)
{
    uint64_t first = UINT64_MAX, last = 0;
    for (size_t i = 0; i < power.count; i++) {
        const struct entry *e = &power.entries[i];
        if (!is_data(e) || e->record.inode != f->inode || !can_be_lost(e))
            continue;
        first = first < e->record.seq ? first : e->record.seq;
        last = e->record.seq;
    }
    if (last == 0)
        return;
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        die(f->path);
    for (size_t i = power.count; i-- > 0;) {
        const struct entry *e = &power.entries[i];
        if (!is_data(e) || e->record.inode != f->inode || !can_be_lost(e))
            continue;
        if (e->record.type == DISK_WRITE)
            undo_write(fd, i, first, last);
        else
            undo_truncate(fd, i, first, last);
    }
    close(fd);
}

/* ---- names --------------------------------------------------------------------------------- */

static void bring_back(const char *kept, const char *path)
{
    char from[PATH_MAX + 80];
    snprintf(from, sizeof from, "%s/%s", power.side, kept);
    if (kept[0] != '\0' && access(path, F_OK) != 0)
        (void)rename(from, path);
}

static void undo_name(const struct entry *e)
{
    power.names++;
    switch (e->record.type) {
    case DISK_CREATE:
    case DISK_LINK:
        (void)unlink(e->payload);
        break;
    case DISK_MKDIR:
        (void)rmdir(e->payload);
        break;
    case DISK_UNLINK:
        bring_back(second(e), e->payload);
        break;
    case DISK_RENAME:
        /* a kill between the record and the change left the old name where it was */
        if (access(second(e), F_OK) != 0)
            (void)rename(e->payload, second(e));
        bring_back(third(e), e->payload);
        break;
    default:
        errno = EINVAL;
        die("record");
    }
}

static void undo_names(void)
{
    uint64_t last = power.count == 0 ? 0 : power.entries[power.count - 1].record.seq;
    for (size_t i = power.count; i-- > 0;) {
        const struct entry *e = &power.entries[i];
        char folder[PATH_MAX];
        if (is_data(e) || e->is_durable)
            continue;
        folder_of(e->payload, folder);
        if (e->record.seq >= moment(hash_text(folder), 1, power.entries[0].record.seq, last))
            undo_name(e);
    }
}

/* ---- the end ----------------------------------------------------------------------------------
 */

static int forget_kept(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    if (type == FTW_F && strncmp(path + ftw->base, "control", 7) != 0 && unlink(path) != 0)
        die(path);
    return 0;
}

static void parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--all") == 0)
            power.mode = TAKE_ALL;
        else if (strcmp(argv[i], "--none") == 0)
            power.mode = TAKE_NONE;
        else if (strcmp(argv[i], "--side") == 0 && i + 1 < argc)
            snprintf(power.side, sizeof power.side, "%s", argv[++i]);
        else if (strcmp(argv[i], "--root") == 0 && i + 1 < argc)
            snprintf(power.root, sizeof power.root, "%s", argv[++i]);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            power.seed = strtoull(argv[++i], NULL, 10);
        else
            power.side[0] = '\0', i = argc;
    }
    if (power.side[0] != '\0' && power.root[0] != '\0')
        return;
    fprintf(stderr, "usage: jepsen-power --root DIR --side DIR --seed N [--all | --none]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    read_journal();
    find_files();
    for (size_t i = 0; i < power.file_count; i++)
        undo_data(&power.files[i]);
    undo_names();
    nftw(power.side, forget_kept, 16, FTW_PHYS);
    printf("{\"writes\":%llu,\"sectors\":%llu,\"sizes\":%llu,\"names\":%llu}\n",
           (unsigned long long)power.writes, (unsigned long long)power.sectors,
           (unsigned long long)power.sizes, (unsigned long long)power.names);
    return 0;
}
