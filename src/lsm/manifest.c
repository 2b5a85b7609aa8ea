/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/manifest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "base/plant.h"
#include "lsm/disk.h"

#define FILE_MAGIC UINT64_C(0x3130464e414d5348) /* "HSMANF01" */
#define RECORD_MAGIC UINT32_C(0x6352734c)
#define SEAL_MAGIC UINT32_C(0x6c53734c)

enum { CURRENT_MAX = 64 };

/* ---- encoding ----------------------------------------------------------- */

static void put_head(uint8_t out[MANIFEST_HEAD], uint64_t number)
{
    put_u64(out, FILE_MAGIC);
    put_u32(out + 8, MANIFEST_FORMAT);
    put_u64(out + 12, number);
    put_u32(out + 20, crc32c(0, out, 20));
}

/* Every checksum begins with the number of the file: a record in the wrong file is
 * none. */
static uint32_t crc_seed(uint64_t number)
{
    uint8_t raw[8];
    put_u64(raw, number);
    return crc32c(0, raw, sizeof raw);
}

static void put_record_head(uint8_t out[MANIFEST_RECORD_HEAD], uint64_t number, uint64_t seq,
                            struct slice payload)
{
    put_u32(out, RECORD_MAGIC);
    put_u64(out + 4, seq);
    put_u32(out + 12, (uint32_t)payload.len);
    put_u32(out + 16, crc32c(crc_seed(number), payload.data, payload.len));
    put_u32(out + 20, crc32c(crc_seed(number), out, 20));
}

static void put_seal(uint8_t out[MANIFEST_SEAL], uint64_t number, uint64_t seq)
{
    put_u32(out, SEAL_MAGIC);
    put_u64(out + 4, seq);
    put_u64(out + 12, number);
    put_u32(out + 20, crc32c(crc_seed(number), out, 20));
}

/* ---- writing ------------------------------------------------------------ */

void manifest_init(struct manifest *m, struct env *env, const char *dir)
{
    ASSERT(strlen(dir) < ENV_PATH_MAX);
    *m = (struct manifest){.env = env};
    memcpy(m->dir, dir, strlen(dir) + 1);
}

void manifest_fini(struct manifest *m)
{
    env_file_close(m->file);
    m->file = NULL;
}

static int write_whole(struct env *env, const char *path, struct slice bytes,
                       struct env_file **ret_file, struct err *err)
{
    struct env_file *file = NULL;
    int rv =
        env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, err);
    if (rv == 0)
        rv = env_file_write(file, 0, bytes.data, bytes.len, err);
    if (rv == 0)
        rv = disk_sync(env, file, path, err);
    if (rv == 0) {
        *ret_file = file;
        return 0;
    }
    env_file_close(file);
    if (file != NULL && rv != DISK_FATAL)
        env_file_unlink(env, path, NULL); /* what stays is removed by the next open */
    return rv;
}

/* *ret_is_undecided: the rename was tried and failed, CURRENT may name either. */
static int switch_current(struct manifest *m, uint64_t number, bool *ret_is_undecided,
                          struct err *err)
{
    char from[ENV_PATH_MAX], to[ENV_PATH_MAX], name[DISK_NAME_MAX], text[CURRENT_MAX];
    struct env_file *file = NULL;
    disk_name(DISK_MANIFEST, number, name);
    int n = snprintf(text, sizeof text, "%s %08x\n", name, crc32c(0, name, strlen(name)));
    ASSERT(n > 0 && n < CURRENT_MAX);
    int rv = disk_path(m->dir, DISK_CURRENT_NEW, 0, from);
    if (rv == 0)
        rv = disk_path(m->dir, DISK_CURRENT, 0, to);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", m->dir);
    rv = write_whole(m->env, from, slice_of(text, (size_t)n), &file, err);
    if (rv != 0)
        return rv;
    env_file_close(file);
    /* The new manifest's name is durable before a durable CURRENT can say it. */
    rv = disk_sync_dir(m->env, m->dir, err);
    if (rv != 0)
        return rv;
    rv = env_file_rename(m->env, from, to, err);
    if (rv == 0 && !PLANTED(rename_not_synced))
        rv = disk_sync_dir(m->env, m->dir, err);
    *ret_is_undecided = rv != 0;
    return rv;
}

int manifest_begin(struct manifest *m, uint64_t number, struct slice payload, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct env_file *file = NULL;
    struct buf raw;
    ASSERT(number > m->number);
    ASSERT(payload.len <= MANIFEST_RECORD_MAX);
    int rv = disk_path(m->dir, DISK_MANIFEST, number, path);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", m->dir);
    buf_init(&raw, SIZE_MAX / 2);
    uint8_t *p =
        buf_extend(&raw, MANIFEST_HEAD + MANIFEST_RECORD_HEAD + payload.len + MANIFEST_SEAL);
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "manifest of %zu bytes", payload.len);
    put_head(p, number);
    put_record_head(p + MANIFEST_HEAD, number, 1, payload);
    memcpy(p + MANIFEST_HEAD + MANIFEST_RECORD_HEAD, payload.data, payload.len);
    put_seal(p + raw.len - MANIFEST_SEAL, number, 1);

    rv = write_whole(m->env, path, buf_slice(&raw), &file, err);
    bool is_written = rv == 0, is_undecided = false;
    if (rv == 0)
        rv = switch_current(m, number, &is_undecided, err);
    if (rv == 0) {
        env_file_close(m->file);
        m->file = file;
        m->number = number;
        m->size = raw.len;
        m->seq = 1;
        m->is_broken = false;
    } else {
        env_file_close(file);
        m->is_broken = true;
        if (is_written && !is_undecided && rv != DISK_FATAL)
            env_file_unlink(m->env, path, NULL); /* room for the next try */
    }
    buf_fini(&raw);
    return rv;
}

int manifest_append(struct manifest *m, struct slice payload, struct err *err)
{
    ASSERT(m->file != NULL);
    ASSERT(!m->is_broken);
    ASSERT(payload.len <= MANIFEST_RECORD_MAX);
    struct buf raw;
    char name[DISK_NAME_MAX];
    uint64_t seq = m->seq + 1;
    disk_name(DISK_MANIFEST, m->number, name);
    buf_init(&raw, SIZE_MAX / 2);
    uint8_t *p = buf_extend(&raw, MANIFEST_RECORD_HEAD + payload.len);
    if (p == NULL)
        return err_set(err, ERR_NOMEM, "manifest record of %zu bytes", payload.len);
    put_record_head(p, m->number, seq, payload);
    memcpy(p + MANIFEST_RECORD_HEAD, payload.data, payload.len);
    m->is_broken = true; /* until all of it stands */
    uint8_t seal[MANIFEST_SEAL];
    put_seal(seal, m->number, seq);
    int rv = env_file_write(m->file, m->size, raw.data, raw.len, err);
    if (rv == 0 && !PLANTED(manifest_not_synced))
        rv = disk_sync(m->env, m->file, name, err);
    if (rv == 0)
        rv = env_file_write(m->file, m->size + raw.len, seal, sizeof seal, err);
    if (rv == 0 && !PLANTED(manifest_not_synced))
        rv = disk_sync(m->env, m->file, name, err);
    if (rv == 0) {
        m->size += raw.len + sizeof seal;
        m->seq = seq;
        m->is_broken = false;
    }
    buf_fini(&raw);
    return rv == 0 ? 0 : err_wrap(err, rv, "append to '%s'", name);
}

/* ---- reading ------------------------------------------------------------ */

static bool record_head_is_valid(const uint8_t *p, size_t left, uint64_t number)
{
    return left >= MANIFEST_RECORD_HEAD && get_u32(p) == RECORD_MAGIC &&
           get_u32(p + 20) == crc32c(crc_seed(number), p, 20);
}

/* A whole record with this seq at `p`. */
static bool record_is_valid(const uint8_t *p, size_t left, uint64_t number, uint64_t seq)
{
    if (!record_head_is_valid(p, left, number) || get_u64(p + 4) != seq)
        return false;
    uint32_t len = get_u32(p + 12);
    if (len > left - MANIFEST_RECORD_HEAD)
        return false;
    return get_u32(p + 16) == crc32c(crc_seed(number), p + MANIFEST_RECORD_HEAD, len);
}

static bool seal_is_valid(const uint8_t *p, size_t left, uint64_t number, uint64_t *ret_seq)
{
    if (left < MANIFEST_SEAL || get_u32(p) != SEAL_MAGIC || get_u64(p + 12) != number ||
        get_u32(p + 20) != crc32c(crc_seed(number), p, 20))
        return false;
    *ret_seq = get_u64(p + 4);
    return true;
}

/* Is there, at or behind `p`, proof that record `seq` was durable once: its seal, or
 * the head of a later record? */
static bool was_durable(const uint8_t *p, size_t left, uint64_t number, uint64_t seq)
{
    for (; left >= MANIFEST_SEAL; p++, left--) {
        uint64_t sealed;
        if (seal_is_valid(p, left, number, &sealed) && sealed >= seq)
            return true;
        if (record_head_is_valid(p, left, number) && get_u64(p + 4) > seq)
            return true;
    }
    return false;
}

static int check_head(struct slice raw, uint64_t number, struct err *err)
{
    if (raw.len < MANIFEST_HEAD)
        return err_set(err, ERR_CORRUPT, "%zu bytes are no manifest", raw.len);
    if (get_u64(raw.data) != FILE_MAGIC || get_u32(raw.data + 20) != crc32c(0, raw.data, 20))
        return err_set(err, ERR_CORRUPT, "head at 0: bad crc");
    if (get_u32(raw.data + 8) != MANIFEST_FORMAT)
        return err_set(err, ERR_CORRUPT, "format %u is not known here", get_u32(raw.data + 8));
    if (get_u64(raw.data + 12) != number)
        return err_set(err, ERR_CORRUPT, "head at 0: carries number %llu",
                       (unsigned long long)get_u64(raw.data + 12));
    return 0;
}

int manifest_parse(struct slice raw, uint64_t number, manifest_record_fn on_record, void *data,
                   bool *ret_is_torn, struct err *err)
{
    int rv = check_head(raw, number, err);
    if (rv != 0)
        return rv;
    size_t at = MANIFEST_HEAD;
    uint64_t seq = 1;
    bool last_is_sealed = true;
    for (; at < raw.len; seq++) {
        const uint8_t *p = raw.data + at;
        size_t left = raw.len - at;
        if (!record_is_valid(p, left, number, seq)) {
            if (seq == 1 || was_durable(p, left, number, seq))
                return err_set(err, ERR_CORRUPT, "record %llu at %zu: bad crc",
                               (unsigned long long)seq, at);
            break; /* the torn end */
        }
        if (!last_is_sealed)
            return err_set(err, ERR_CORRUPT, "record %llu before %zu: bad seal",
                           (unsigned long long)seq - 1, at);
        size_t len = get_u32(p + 12);
        rv = on_record(data, seq, slice_of(p + MANIFEST_RECORD_HEAD, len), err);
        if (rv != 0)
            return err_wrap(err, rv, "record %llu at %zu", (unsigned long long)seq, at);
        at += MANIFEST_RECORD_HEAD + len;
        uint64_t sealed = 0;
        last_is_sealed =
            seal_is_valid(raw.data + at, raw.len - at, number, &sealed) && sealed == seq;
        at += MIN(raw.len - at, (size_t)MANIFEST_SEAL);
    }
    if (seq == 1)
        return err_set(err, ERR_CORRUPT, "no record at %zu", at);
    if (ret_is_torn != NULL)
        *ret_is_torn = at < raw.len;
    return 0;
}

static int read_whole(struct env *env, const char *path, struct buf *out, struct err *err)
{
    struct env_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    int rv = env_file_open(env, path, ENV_OPEN_READ, &file, err);
    if (rv == 0)
        rv = env_file_size(file, &size, err);
    if (rv == 0 && size > MANIFEST_RECORD_MAX)
        rv = err_set(err, ERR_CORRUPT, "%llu bytes long", (unsigned long long)size);
    if (rv == 0 && size > 0 && buf_extend(out, (size_t)size) == NULL)
        rv = err_set(err, ERR_NOMEM, "%llu bytes", (unsigned long long)size);
    if (rv == 0 && size > 0)
        rv = env_file_read(file, 0, out->data, (size_t)size, &got, err);
    out->len = got;
    env_file_close(file);
    return rv;
}

int manifest_current(struct env *env, const char *dir, uint64_t *ret_number, struct err *err)
{
    char path[ENV_PATH_MAX], name[DISK_NAME_MAX + 1] = {0}, want[CURRENT_MAX];
    uint64_t number = 0;
    struct buf raw;
    int rv = disk_path(dir, DISK_CURRENT, 0, path);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", dir);
    buf_init(&raw, MANIFEST_RECORD_MAX);
    rv = read_whole(env, path, &raw, err);
    if (rv == 0) {
        size_t n = 0;
        while (n < raw.len && n < DISK_NAME_MAX && raw.data[n] != ' ')
            n++;
        memcpy(name, raw.data != NULL ? (const char *)raw.data : "", n);
        int len = snprintf(want, sizeof want, "%s %08x\n", name, crc32c(0, name, n));
        if (len < 0 || !slice_equal(buf_slice(&raw), slice_of(want, (size_t)len)) ||
            disk_parse(name, &number) != DISK_MANIFEST)
            rv = err_set(err, ERR_CORRUPT, "'%s' does not name a manifest", path);
    }
    buf_fini(&raw);
    if (rv == 0)
        *ret_number = number;
    return rv;
}

int manifest_load(struct env *env, const char *dir, uint64_t number, manifest_record_fn on_record,
                  void *data, bool *ret_is_torn, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct buf raw;
    int rv = disk_path(dir, DISK_MANIFEST, number, path);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", dir);
    buf_init(&raw, MANIFEST_RECORD_MAX);
    rv = read_whole(env, path, &raw, err);
    if (rv == ERR_NOT_FOUND)
        rv = err_set(err, ERR_CORRUPT, "CURRENT names it, but it is missing");
    if (rv == 0)
        rv = manifest_parse(buf_slice(&raw), number, on_record, data, ret_is_torn, err);
    buf_fini(&raw);
    return rv == 0 ? 0 : err_wrap(err, rv, "manifest '%s'", path);
}

int manifest_settle(struct env *env, const char *dir, uint64_t number, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct env_file *file = NULL;
    struct buf raw;
    uint64_t current = 0;
    int rv = disk_path(dir, DISK_MANIFEST, number, path);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", dir);
    buf_init(&raw, MANIFEST_RECORD_MAX);
    rv = read_whole(env, path, &raw, err);
    if (rv == 0)
        rv = env_file_open(env, path, ENV_OPEN_WRITE, &file, err);
    if (rv == 0)
        rv = env_file_write(file, 0, raw.data, raw.len, err);
    if (rv == 0)
        rv = disk_sync(env, file, path, err);
    env_file_close(file);
    buf_fini(&raw);
    if (rv == 0)
        rv = disk_sync_dir(env, dir, err);
    if (rv == 0)
        rv = manifest_current(env, dir, &current, err);
    if (rv == 0 && current != number)
        rv = err_set(err, ERR_NO_SPACE, "folder '%s' is full", dir);
    return rv;
}
