/* SPDX-License-Identifier: Apache-2.0 */
#include "store/identity.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "base/plant.h"

/* The file:
 *
 *   offset  size  field
 *        0     8  magic "HFSTORE2"
 *        8     4  crc32c of everything behind it
 *       12     …  uuid[16] | store id u64 | cluster id u64 | boot number u64
 *                 | born u8 | founder u8 | member count u8 | members
 *   member: replica id u64 | store id u64 | uuid[16] | address (varint length, bytes)
 */
#define IDENTITY_MAGIC "HFSTORE2"
#define IDENTITY_MAGIC_OLD "HFSTORE1" /* clusters of fixed members */
enum { IDENTITY_HEAD = 12, IDENTITY_FILE_MAX = 8192 };

static const char identity_name[] = "STORE";
static const char identity_name_new[] = "STORE.new";
static const char identity_name_damaged[] = "DAMAGED";

static void identity_encode(const struct identity *id, struct buf *out)
{
    ASSERT(id->store_id != 0 || id->cluster_id == 0);
    ASSERT(id->member_count <= IDENTITY_MEMBERS_MAX);
    buf_append(out, IDENTITY_MAGIC, 8);
    buf_append_u32(out, 0);
    buf_append(out, id->uuid, sizeof id->uuid);
    buf_append_u64(out, id->store_id);
    buf_append_u64(out, id->cluster_id);
    buf_append_u64(out, id->boot_number);
    buf_append_u8(out, id->is_born);
    buf_append_u8(out, id->is_founder);
    buf_append_u8(out, (uint8_t)id->member_count);
    for (size_t i = 0; i < id->member_count; i++) {
        const struct identity_member *m = &id->members[i];
        buf_append_u64(out, m->replica_id);
        buf_append_u64(out, m->store_id);
        buf_append(out, m->uuid, sizeof m->uuid);
        buf_append_varint(out, strlen(m->address));
        buf_append_str(out, m->address);
    }
    if (!out->failed)
        put_u32(out->data + 8, crc32c(0, out->data + IDENTITY_HEAD, out->len - IDENTITY_HEAD));
}

static void read_uuid(struct reader *r, uint8_t out[IDENTITY_UUID_LEN])
{
    struct slice raw = read_bytes(r, IDENTITY_UUID_LEN);
    if (raw.len == IDENTITY_UUID_LEN)
        memcpy(out, raw.data, raw.len);
}

static void identity_decode_member(struct reader *r, struct identity_member *m)
{
    m->replica_id = read_u64(r);
    m->store_id = read_u64(r);
    read_uuid(r, m->uuid);
    struct slice address = read_bytes_prefixed(r);
    if (address.len == 0 || address.len >= sizeof m->address || m->replica_id == 0 ||
        m->store_id == 0) {
        r->bad = true;
        return;
    }
    memcpy(m->address, address.data, address.len);
    m->address[address.len] = 0;
}

static int identity_decode(struct slice raw, struct identity *ret, struct err *err)
{
    struct reader r = reader_of(raw);
    struct identity id = {0};
    struct slice magic = read_bytes(&r, 8);
    uint32_t crc = read_u32(&r);
    if (!r.bad && memcmp(magic.data, IDENTITY_MAGIC_OLD, 8) == 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "this folder was made by an earlier version, which this one does not read: "
                       "export the data with that version, import it into a new cluster");
    if (r.bad || memcmp(magic.data, IDENTITY_MAGIC, 8) != 0)
        return err_set(err, ERR_CORRUPT, "not a store identity");
    if (crc32c(0, r.pos, r.left) != crc)
        return err_set(err, ERR_CORRUPT, "bad checksum");
    read_uuid(&r, id.uuid);
    id.store_id = read_u64(&r);
    id.cluster_id = read_u64(&r);
    id.boot_number = read_u64(&r);
    uint8_t born = read_u8(&r);
    uint8_t founder = read_u8(&r);
    id.is_born = born == 1;
    id.is_founder = founder == 1;
    id.member_count = read_u8(&r);
    if (id.member_count > IDENTITY_MEMBERS_MAX)
        return err_set(err, ERR_CORRUPT, "%zu members, limit %d", id.member_count,
                       IDENTITY_MEMBERS_MAX);
    for (size_t i = 0; i < id.member_count && !r.bad; i++)
        identity_decode_member(&r, &id.members[i]);
    bool has_cluster = id.cluster_id != 0;
    if (r.bad || r.left != 0 || born > 1 || founder > 1 || (has_cluster && id.store_id == 0) ||
        (!has_cluster && (id.member_count > 0 || id.is_born)) ||
        (id.is_founder && (!has_cluster || id.member_count != 1)))
        return err_set(err, ERR_CORRUPT, "malformed");
    *ret = id;
    return 0;
}

static void path_in(char out[ENV_PATH_MAX], const char *dir, const char *name)
{
    snprintf(out, ENV_PATH_MAX, "%s/%s", dir, name);
}

static int write_new_file(struct env *env, const char *path, struct slice bytes, struct err *err)
{
    struct env_file *file = NULL;
    int rv =
        env_file_open(env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, err);
    if (rv == 0)
        rv = env_file_write(file, 0, bytes.data, bytes.len, err);
    if (rv == 0)
        rv = env_file_sync(file, err);
    env_file_close(file);
    return rv;
}

static int identity_save(struct env *env, const char *dir, const struct identity *id,
                         struct err *err)
{
    char path[ENV_PATH_MAX], path_new[ENV_PATH_MAX];
    struct buf out;
    int rv;

    path_in(path, dir, identity_name);
    path_in(path_new, dir, identity_name_new);
    buf_init(&out, IDENTITY_FILE_MAX);
    identity_encode(id, &out);
    ASSERT(!out.failed);
    rv = write_new_file(env, path_new, buf_slice(&out), err);
    if (rv == 0)
        rv = env_file_rename(env, path_new, path, err);
    if (rv == 0)
        rv = env_dir_sync(env, dir, err);
    buf_fini(&out);
    return rv == 0 ? 0 : err_wrap(err, rv, "write '%s'", path);
}

static int identity_load(struct env *env, const char *dir, struct identity *ret, struct err *err)
{
    char path[ENV_PATH_MAX];
    uint8_t raw[IDENTITY_FILE_MAX];
    size_t len = 0;
    struct env_file *file = NULL;

    path_in(path, dir, identity_name);
    int rv = env_file_open(env, path, ENV_OPEN_READ, &file, err);
    if (rv == ERR_NOT_FOUND)
        return rv;
    if (rv == 0)
        rv = env_file_read(file, 0, raw, sizeof raw, &len, err);
    if (rv == 0)
        rv = identity_decode(slice_of(raw, len), ret, err);
    env_file_close(file);
    return rv == 0 ? 0 : err_wrap(err, rv, "read '%s'", path);
}

/* A folder with a log or an engine but without STORE lost its identity: making a
 * new one over it would let old data answer under a new name. */
static int require_no_data(struct env *env, const char *dir, struct err *err)
{
    static const char *const rooms[] = {"log", "engine"};
    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        char path[ENV_PATH_MAX];
        uint64_t size;
        bool is_dir;
        path_in(path, dir, rooms[i]);
        int rv = env_file_stat(env, path, &size, &is_dir, NULL);
        if (rv == 0)
            return err_set(err, ERR_STATE,
                           "'%s' exists but '%s/%s' does not: this folder lost its identity; "
                           "give the store an empty folder, to join under a new id",
                           path, dir, identity_name);
        if (rv != ERR_NOT_FOUND)
            return err_set(err, rv, "cannot look at '%s'", path);
    }
    return 0;
}

static int identity_make(struct env *env, const char *dir, uint64_t store_id, struct identity *ret,
                         struct err *err)
{
    int rv = require_no_data(env, dir, err);
    if (rv != 0)
        return rv;
    *ret = (struct identity){.store_id = store_id};
    env_random_bytes(env, ret->uuid, sizeof ret->uuid);
    if (PLANTED(uuid_not_unique))
        memset(ret->uuid, 7, sizeof ret->uuid);
    ret->uuid[6] = (uint8_t)((ret->uuid[6] & 0x0f) | 0x40); /* RFC 4122 §4.4 */
    ret->uuid[8] = (uint8_t)((ret->uuid[8] & 0x3f) | 0x80);
    return 0;
}

int identity_open(struct env *env, const char *dir, uint64_t store_id, struct identity *ret,
                  struct err *err)
{
    struct identity id;
    int rv = identity_load(env, dir, &id, err);
    if (rv == 0) /* what a life made that was killed before it could do that */
        rv = env_dir_sync(env, dir, err);
    else if (rv == ERR_NOT_FOUND) {
        rv = identity_make(env, dir, store_id, &id, err);
        if (rv == 0)
            rv = identity_save(env, dir, &id, err);
    }
    if (rv != 0)
        return rv;
    if (store_id != 0 && id.store_id != store_id)
        return err_set(err, ERR_INVALID,
                       "folder '%s' belongs to store %llu, but the configuration says store %llu",
                       dir, (unsigned long long)id.store_id, (unsigned long long)store_id);
    *ret = id;
    return 0;
}

int identity_count_boot(struct env *env, const char *dir, struct identity *identity,
                        struct err *err)
{
    struct identity next = *identity;
    next.boot_number++;
    int rv = identity_save(env, dir, &next, err);
    if (rv == 0)
        *identity = next;
    return rv;
}

static bool member_equal(const struct identity_member *a, const struct identity_member *b)
{
    return a->replica_id == b->replica_id && a->store_id == b->store_id &&
           memcmp(a->uuid, b->uuid, sizeof a->uuid) == 0;
}

static bool same_members(const struct identity *id, const struct identity_member *members,
                         size_t count)
{
    if (id->member_count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!member_equal(&id->members[i], &members[i]))
            return false;
    }
    return true;
}

int identity_bootstrap(struct env *env, const char *dir, struct identity *identity,
                       uint64_t cluster_id, const struct identity_member *members, size_t count,
                       struct err *err)
{
    ASSERT(cluster_id != 0);
    ASSERT(count > 0 && count <= IDENTITY_MEMBERS_MAX);
    if (identity_is_bootstrapped(identity)) {
        if (identity->cluster_id == cluster_id && same_members(identity, members, count))
            return 0;
        return err_set(err, ERR_EXISTS, "store %llu belongs to cluster %016llx already",
                       (unsigned long long)identity->store_id,
                       (unsigned long long)identity->cluster_id);
    }
    struct identity next = *identity;
    next.cluster_id = cluster_id;
    next.member_count = count;
    memcpy(next.members, members, count * sizeof *members);
    const struct identity_member *self = identity_member_by_store(&next, next.store_id);
    if (self == NULL || memcmp(self->uuid, next.uuid, sizeof next.uuid) != 0)
        return err_set(err, ERR_INVALID, "store %llu is not among the members under its own uuid",
                       (unsigned long long)next.store_id);
    int rv = identity_save(env, dir, &next, err);
    if (rv == 0)
        *identity = next;
    return rv;
}

int identity_found(struct env *env, const char *dir, struct identity *identity, uint64_t cluster_id,
                   const struct identity_member *self, struct err *err)
{
    ASSERT(cluster_id != 0);
    ASSERT(memcmp(self->uuid, identity->uuid, sizeof self->uuid) == 0);
    if (identity->cluster_id != 0)
        return err_set(err, ERR_EXISTS, "the folder belongs to cluster %016llx already",
                       (unsigned long long)identity->cluster_id);
    struct identity next = *identity;
    next.store_id = self->store_id;
    next.cluster_id = cluster_id;
    next.is_founder = true;
    next.members[0] = *self;
    next.member_count = 1;
    int rv = identity_save(env, dir, &next, err);
    if (rv == 0)
        *identity = next;
    return rv;
}

int identity_join(struct env *env, const char *dir, struct identity *identity, uint64_t cluster_id,
                  uint64_t store_id, struct err *err)
{
    ASSERT(cluster_id != 0);
    ASSERT(store_id != 0);
    if (identity->cluster_id == cluster_id && identity->store_id == store_id)
        return 0;
    if (identity->cluster_id != 0)
        return err_set(err, ERR_EXISTS, "the folder is store %llu of cluster %016llx already",
                       (unsigned long long)identity->store_id,
                       (unsigned long long)identity->cluster_id);
    struct identity next = *identity;
    next.store_id = store_id;
    next.cluster_id = cluster_id;
    int rv = identity_save(env, dir, &next, err);
    if (rv == 0)
        *identity = next;
    return rv;
}

int identity_set_born(struct env *env, const char *dir, struct identity *identity, struct err *err)
{
    ASSERT(identity_is_bootstrapped(identity));
    struct identity next = *identity;
    next.is_born = true;
    int rv = identity_save(env, dir, &next, err);
    if (rv == 0)
        *identity = next;
    return rv;
}

int identity_mark_damaged(struct env *env, const char *dir, const char *reason, struct err *err)
{
    char path[ENV_PATH_MAX];
    path_in(path, dir, identity_name_damaged);
    int rv = write_new_file(env, path, slice_str(reason), err);
    if (rv == 0)
        rv = env_dir_sync(env, dir, err);
    return rv == 0 ? 0 : err_wrap(err, rv, "write '%s'", path);
}

int identity_check_damage(struct env *env, const char *dir, struct err *err)
{
    char path[ENV_PATH_MAX];
    char reason[ERR_MSG_MAX / 2];
    size_t len = 0;
    struct env_file *file = NULL;
    path_in(path, dir, identity_name_damaged);
    int rv = env_file_open(env, path, ENV_OPEN_READ, &file, err);
    if (rv == ERR_NOT_FOUND)
        return 0;
    if (rv == 0)
        rv = env_file_read(file, 0, reason, sizeof reason - 1, &len, err);
    env_file_close(file);
    if (rv != 0)
        return err_wrap(err, rv, "look at '%s'", path);
    reason[len] = 0;
    return err_set(err, ERR_CORRUPT, "noted as damaged in '%s': %s", path, reason);
}

const struct identity_member *identity_member_by_store(const struct identity *identity,
                                                       uint64_t store_id)
{
    for (size_t i = 0; i < identity->member_count; i++) {
        if (identity->members[i].store_id == store_id)
            return &identity->members[i];
    }
    return NULL;
}

const struct identity_member *identity_member_by_replica(const struct identity *identity,
                                                         uint64_t replica_id)
{
    for (size_t i = 0; i < identity->member_count; i++) {
        if (identity->members[i].replica_id == replica_id)
            return &identity->members[i];
    }
    return NULL;
}

void identity_uuid_text(const uint8_t uuid[IDENTITY_UUID_LEN], char out[IDENTITY_UUID_TEXT])
{
    size_t at = 0;
    for (size_t i = 0; i < IDENTITY_UUID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[at++] = '-';
        at += (size_t)snprintf(out + at, 3, "%02x", uuid[i]);
    }
    ASSERT(at == IDENTITY_UUID_TEXT - 1);
}
