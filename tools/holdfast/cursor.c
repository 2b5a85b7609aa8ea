/* SPDX-License-Identifier: Apache-2.0 */
#include "cursor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/coding.h"
#include "base/crc32c.h"

enum { TEXT_LEN = 512, PATH_LEN = 4096 };

#define HEAD "holdfast-cursor 2\n"
#define HEAD_BEFORE "holdfast-cursor 1\n"
#define STANDS                                                                                     \
    "%s offset=%" PRIu64 " line=%" PRIu64 " records=%" PRIu64 " bytes=%" PRIu64 " sum=%08" PRIx32  \
    "\n"
#define SUFFIX ".new" /* of what takes the cursor's place */
#define OF "of cluster=%016" PRIx64 " keyspace=%" PRIu32 " span=%08" PRIx32 "\n"

uint32_t cursor_span_sum(struct slice start, struct slice end)
{
    uint8_t len[4];
    put_u32(len, (uint32_t)start.len);
    return crc32c(crc32c(crc32c(0, len, sizeof len), start.data, start.len), end.data, end.len);
}

static void write_text(char text[TEXT_LEN], const struct cursor_of *of, const struct cursor *c)
{
    int n = snprintf(text, TEXT_LEN, HEAD STANDS OF, of->kind, c->offset, c->line, c->records,
                     c->bytes, c->sum, of->cluster_id, of->keyspace, of->span_sum);
    ASSERT(n > 0 && n < TEXT_LEN);
}

/* The text, as it was written; false: that is none of ours. */
static bool parse(const char *text, const char *kind, struct cursor *ret_cursor,
                  struct cursor_of *ret_of)
{
    char again[TEXT_LEN];
    struct cursor c;
    struct cursor_of of = {.kind = kind};
    int n =
        sscanf(text,
               HEAD "%*15s offset=%" SCNu64 " line=%" SCNu64 " records=%" SCNu64 " bytes=%" SCNu64
                    " sum=%" SCNx32 " of cluster=%" SCNx64 " keyspace=%" SCNu32 " span=%" SCNx32,
               &c.offset, &c.line, &c.records, &c.bytes, &c.sum, &of.cluster_id, &of.keyspace,
               &of.span_sum);
    if (n != 8)
        return false;
    write_text(again, &of, &c);
    if (strcmp(text, again) != 0) /* whole, and of this kind */
        return false;
    *ret_cursor = c;
    *ret_of = of;
    return true;
}

int cursor_load(const char *path, const struct cursor_of *of, struct cursor *ret_cursor,
                struct err *err)
{
    char text[TEXT_LEN];
    struct cursor c;
    struct cursor_of was;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "open '%s': %s", path,
                       strerror(errno));
    size_t len = fread(text, 1, sizeof text - 1, file);
    bool is_bad = ferror(file) != 0;
    fclose(file);
    text[len] = 0;
    if (is_bad)
        return err_set(err, ERR_IO, "read '%s'", path);
    if (strncmp(text, HEAD_BEFORE, strlen(HEAD_BEFORE)) == 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "'%s' was written by an earlier version of holdfast and does not say what "
                       "it is of: remove it, and begin anew",
                       path);
    if (!parse(text, of->kind, &c, &was))
        return err_set(err, ERR_CORRUPT, "'%s' is no cursor of an %s", path, of->kind);
    if (was.cluster_id != of->cluster_id || was.keyspace != of->keyspace ||
        was.span_sum != of->span_sum)
        return err_set(err, ERR_INVALID, "'%s' is the cursor of an %s of %s", path, of->kind,
                       was.cluster_id != of->cluster_id ? "another cluster"
                       : was.keyspace != of->keyspace   ? "another keyspace"
                                                        : "other keys");
    *ret_cursor = c;
    return 0;
}

int cursor_save(const char *path, const struct cursor_of *of, const struct cursor *cursor,
                struct err *err)
{
    char name[PATH_LEN], text[TEXT_LEN];
    int len = snprintf(name, sizeof name, "%s" SUFFIX, path);
    if (len < 0 || (size_t)len >= sizeof name)
        return err_set(err, ERR_INVALID, "the cursor's name is too long");
    FILE *file = fopen(name, "wb");
    if (file == NULL)
        return err_set(err, ERR_IO, "open '%s': %s", name, strerror(errno));
    write_text(text, of, cursor);
    bool is_good = fputs(text, file) >= 0;
    is_good = is_good && fflush(file) == 0 && fdatasync(fileno(file)) == 0;
    is_good = fclose(file) == 0 && is_good;
    if (!is_good || rename(name, path) != 0)
        return err_set(err, ERR_IO, "write '%s': %s", path, strerror(errno));
    return 0;
}

/* ---- a cursor and its stream ------------------------------------------------------ */

static bool is_one_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Where it is, or would be: false if there is no such folder. */
static bool stat_folder(const char *path, struct stat *ret_st, const char **ret_name)
{
    char folder[PATH_LEN];
    const char *slash = strrchr(path, '/');
    size_t len = slash != NULL ? (size_t)(slash + 1 - path) : 0;
    if (len >= sizeof folder)
        return false;
    memcpy(folder, path, len);
    folder[len] = 0;
    *ret_name = path + len;
    return stat(len > 0 ? folder : ".", ret_st) == 0;
}

static bool is_same(const char *a, const char *b)
{
    struct stat a_st, b_st;
    const char *a_name, *b_name;
    bool has_a = stat(a, &a_st) == 0;
    bool has_b = stat(b, &b_st) == 0;
    if (has_a || has_b)
        return has_a && has_b && is_one_file(&a_st, &b_st);
    return stat_folder(a, &a_st, &a_name) && stat_folder(b, &b_st, &b_name) &&
           is_one_file(&a_st, &b_st) && strcmp(a_name, b_name) == 0;
}

/* Is `path` what `of` is written as first? */
static bool is_beside(const char *path, const char *of)
{
    char name[PATH_LEN];
    int len = snprintf(name, sizeof name, "%s" SUFFIX, of);
    return len > 0 && (size_t)len < sizeof name && is_same(path, name);
}

bool cursor_clashes(const char *path, const char *stream)
{
    return is_same(path, stream) || is_beside(path, stream) || is_beside(stream, path);
}
