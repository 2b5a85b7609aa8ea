/* SPDX-License-Identifier: Apache-2.0 */
#include "cursor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_LEN = 512, PATH_LEN = 4096 };

#define FORMAT                                                                                     \
    "holdfast-cursor 1\n%s offset=%" PRIu64 " line=%" PRIu64 " records=%" PRIu64 " bytes=%" PRIu64 \
    " sum=%08" PRIx32 "\n"

int cursor_load(const char *path, const char *kind, struct cursor *ret_cursor, struct err *err)
{
    char text[TEXT_LEN], again[TEXT_LEN];
    struct cursor c;
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
    int n = sscanf(text,
                   "holdfast-cursor 1\n%*15s offset=%" SCNu64 " line=%" SCNu64 " records=%" SCNu64
                   " bytes=%" SCNu64 " sum=%" SCNx32,
                   &c.offset, &c.line, &c.records, &c.bytes, &c.sum);
    if (n == 5)
        snprintf(again, sizeof again, FORMAT, kind, c.offset, c.line, c.records, c.bytes, c.sum);
    if (n != 5 || strcmp(text, again) != 0) /* whole, and of this kind */
        return err_set(err, ERR_CORRUPT, "'%s' is no cursor of an %s", path, kind);
    *ret_cursor = c;
    return 0;
}

int cursor_save(const char *path, const char *kind, const struct cursor *cursor, struct err *err)
{
    char name[PATH_LEN];
    int len = snprintf(name, sizeof name, "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof name)
        return err_set(err, ERR_INVALID, "the cursor's name is too long");
    FILE *file = fopen(name, "wb");
    if (file == NULL)
        return err_set(err, ERR_IO, "open '%s': %s", name, strerror(errno));
    fprintf(file, FORMAT, kind, cursor->offset, cursor->line, cursor->records, cursor->bytes,
            cursor->sum);
    bool is_good = fflush(file) == 0 && fdatasync(fileno(file)) == 0;
    is_good = fclose(file) == 0 && is_good;
    if (!is_good || rename(name, path) != 0)
        return err_set(err, ERR_IO, "write '%s': %s", path, strerror(errno));
    return 0;
}
