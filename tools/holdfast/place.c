/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_LEN = 4096 };

bool place_load(struct cli *cli, const char *path, struct buf *ret_bytes)
{
    if (path == NULL || (access(path, F_OK) != 0 && errno == ENOENT))
        return true;
    return cli_read_file(cli, path, ret_bytes);
}

bool place_sync(FILE *file)
{
    if (fflush(file) != 0)
        return false;
    if (fdatasync(fileno(file)) == 0)
        return true;
    return errno == EINVAL || errno == EROFS || errno == ENOTSUP;
}

bool place_save(struct cli *cli, const char *path, struct slice bytes)
{
    char name[PATH_LEN];
    if (!place_sync(stdout)) {
        cli_error(cli, "standard output: %s", strerror(errno));
        return false;
    }
    if ((size_t)snprintf(name, sizeof name, "%s.new", path) >= sizeof name) {
        cli_error(cli, "%s: the name is too long", path);
        return false;
    }
    FILE *file = fopen(name, "wb");
    bool is_good =
        file != NULL && cli_write(file, bytes) && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (file != NULL && fclose(file) != 0)
        is_good = false;
    if (is_good && rename(name, path) == 0)
        return true;
    cli_error(cli, "%s: %s", path, strerror(errno));
    return false;
}
