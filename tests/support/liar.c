/* SPDX-License-Identifier: Apache-2.0 */
#include "support/liar.h"

#include <string.h>

#include "env/env_ops.h"

const char *const liar_lies[] = {"sync_lies", "folder_sync_lies", "write_lies", "read_hides", NULL};

/* One lie a process. */
static const struct env_ops *honest;
static struct env_ops lying;
static uint64_t writes;

static int sync_lies(struct env_file *file, struct err *err)
{
    (void)file, (void)err;
    return 0;
}

/* So that all goes by writes and syncs. */
static int past_refused(struct env_file *file, uint64_t offset, const void *data, size_t len,
                        struct err *err)
{
    (void)file, (void)offset, (void)data, (void)len, (void)err;
    return ERR_UNSUPPORTED;
}

static int through_refused(struct env_file *file, uint64_t offset, const struct slice *parts,
                           size_t count, struct err *err)
{
    (void)file, (void)offset, (void)parts, (void)count, (void)err;
    return ERR_UNSUPPORTED;
}

static int start_refused(struct env_file *file, struct env_write *write)
{
    (void)file, (void)write;
    return ERR_UNSUPPORTED;
}

static int folder_sync_lies(struct env *env, const char *path, struct err *err)
{
    (void)env, (void)path, (void)err;
    return 0;
}

static int write_lies(struct env_file *file, uint64_t offset, const void *data, size_t len,
                      struct err *err)
{
    return ++writes % 50 == 0 ? 0 : honest->file_write(file, offset, data, len, err);
}

static int read_hides(struct env_file *file, uint64_t offset, void *data, size_t len,
                      size_t *ret_len, struct err *err)
{
    if (honest->file_read(file, offset, data, len, ret_len, err) != 0)
        *ret_len = 0;
    return 0;
}

void liar_take(struct env *env, const char *lie)
{
    if (lie == NULL)
        return;
    if (honest == NULL) {
        honest = env->ops;
        lying = *honest;
        lying.file_write_past = past_refused;
        lying.file_write_start = start_refused;
        lying.file_write_through = through_refused;
    }
    if (strcmp(lie, "sync_lies") == 0)
        lying.file_sync = sync_lies;
    else if (strcmp(lie, "folder_sync_lies") == 0)
        lying.dir_sync = folder_sync_lies;
    else if (strcmp(lie, "write_lies") == 0)
        lying.file_write = write_lies;
    else
        lying.file_read = read_hides;
    env->ops = &lying;
}
