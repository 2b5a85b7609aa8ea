/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/disk.h"

#include <stdio.h>

void disk_name(enum disk_kind kind, uint64_t number, char out[DISK_NAME_MAX])
{
    static const char *const formats[] = {
        [DISK_CURRENT] = "CURRENT",    [DISK_CURRENT_NEW] = "CURRENT.new",
        [DISK_MANIFEST] = "MANIFEST-", [DISK_TABLE] = ".tbl",
        [DISK_STAGE] = ".stage",       [DISK_VALUES] = ".val",
    };
    ASSERT(kind > DISK_OTHER && kind <= DISK_VALUES);
    unsigned long long n = number;
    if (kind == DISK_MANIFEST)
        snprintf(out, DISK_NAME_MAX, "%s%06llu", formats[kind], n);
    else if (kind >= DISK_TABLE)
        snprintf(out, DISK_NAME_MAX, "%06llu%s", n, formats[kind]);
    else
        snprintf(out, DISK_NAME_MAX, "%s", formats[kind]);
}

int disk_path(const char *dir, enum disk_kind kind, uint64_t number, char out[ENV_PATH_MAX])
{
    char name[DISK_NAME_MAX];
    disk_name(kind, number, name);
    int n = snprintf(out, ENV_PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < ENV_PATH_MAX ? 0 : ERR_INVALID;
}

/* Decimal digits at the front of `text`, exactly as disk_name() prints them: a file that is not
 * seen here may be one that was written. How many, 0 for what is no such number. */
static size_t parse_digits(const char *text, uint64_t *ret_number)
{
    enum { WIDTH = 6 };
    uint64_t n = 0;
    size_t i = 0;
    for (; text[i] >= '0' && text[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return 0;
        n = n * 10 + digit;
    }
    *ret_number = n;
    return i < WIDTH || (i > WIDTH && text[0] == '0') ? 0 : i;
}

enum disk_kind disk_parse(const char *name, uint64_t *ret_number)
{
    static const char manifest[] = "MANIFEST-";
    uint64_t number = 0;
    if (strcmp(name, "CURRENT") == 0)
        return DISK_CURRENT;
    if (strcmp(name, "CURRENT.new") == 0)
        return DISK_CURRENT_NEW;
    if (strncmp(name, manifest, sizeof manifest - 1) == 0) {
        const char *digits = name + sizeof manifest - 1;
        size_t n = parse_digits(digits, &number);
        if (n == 0 || digits[n] != 0)
            return DISK_OTHER;
        *ret_number = number;
        return DISK_MANIFEST;
    }
    size_t n = parse_digits(name, &number);
    if (n == 0)
        return DISK_OTHER;
    enum disk_kind kind = DISK_OTHER;
    if (strcmp(name + n, ".tbl") == 0)
        kind = DISK_TABLE;
    else if (strcmp(name + n, ".stage") == 0)
        kind = DISK_STAGE;
    else if (strcmp(name + n, ".val") == 0)
        kind = DISK_VALUES;
    if (kind != DISK_OTHER)
        *ret_number = number;
    return kind;
}

int disk_check_number(const char *name, uint64_t number, struct err *err)
{
    if (number <= DISK_NUMBER_MAX)
        return 0;
    return err_set(err, ERR_INVALID, "file '%s': its number leaves no room to count on", name);
}

int disk_sync(struct env *env, struct env_file *file, const char *path, struct err *err)
{
    struct err why = {0};
    if (env_file_sync(file, &why) == 0)
        return 0;
    env_fatal(env, "sync of '%s' failed: %s", path, why.msg);
    return err_set(err, DISK_FATAL, "sync of '%s' failed: %s", path, why.msg);
}

int disk_write_back(struct env *env, struct env_file *file, const char *path, uint64_t offset,
                    size_t len, struct err *err)
{
    struct err why = {0};
    if (env_file_write_back(file, offset, len, &why) == 0)
        return 0;
    env_fatal(env, "sync of '%s' failed: %s", path, why.msg);
    return err_set(err, DISK_FATAL, "sync of '%s' failed: %s", path, why.msg);
}

int disk_sync_dir(struct env *env, const char *dir, struct err *err)
{
    struct err why = {0};
    int rv = env_dir_sync(env, dir, &why);
    if (rv == 0)
        return 0;
    if (rv == ERR_BUSY)
        return err_set(err, rv, "sync of folder '%s': %s", dir, why.msg);
    env_fatal(env, "sync of folder '%s' failed: %s", dir, why.msg);
    return err_set(err, DISK_FATAL, "sync of folder '%s' failed: %s", dir, why.msg);
}

int disk_sync_parent(struct env *env, const char *path, struct err *err)
{
    char parent[ENV_PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        snprintf(parent, sizeof parent, ".");
    else
        slash[slash == parent ? 1 : 0] = 0;
    return disk_sync_dir(env, parent, err);
}
