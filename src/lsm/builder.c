/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/builder.h"

#include <stdlib.h>

struct lsm_builder *lsm_builder_new(struct lsm *lsm)
{
    struct lsm_builder *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->lsm = lsm;
    b->with = lsm_build_env(lsm);
    buf_init(&b->last_key, LSM_KEY_MAX);
    atomic_fetch_add(&lsm->builders, 1);
    return b;
}

static int stage_open(struct lsm_builder *b, struct err *err)
{
    char path[ENV_PATH_MAX];
    b->table_number = atomic_fetch_add(b->with.number, 1);
    int rv = disk_path(b->with.dir, DISK_STAGE, b->table_number, path);
    if (rv != 0)
        return err_set(err, rv, "path too long under '%s'", b->with.dir);
    return table_builder_open(&b->table, b->with.env, path, &b->with.table, err);
}

static int stage_close(struct lsm_builder *b, struct err *err)
{
    if (b->staged_count == b->staged_cap) {
        size_t cap = MAX(b->staged_cap * 2, (size_t)4);
        struct staged *more = realloc(b->staged, cap * sizeof *more);
        if (more == NULL)
            return err_set(err, ERR_NOMEM, "staged files");
        b->staged = more;
        b->staged_cap = cap;
    }
    struct staged *s = &b->staged[b->staged_count];
    *s = (struct staged){.number = b->table_number};
    int rv = table_builder_finish(b->table, &s->info, err);
    if (rv != 0)
        return rv;
    b->staged_count++;
    b->bytes += s->info.size;
    table_builder_free(b->table, false);
    b->table = NULL;
    return 0;
}

static int values_close(struct lsm_builder *b, struct err *err)
{
    if (b->value_count == b->value_cap) {
        size_t cap = MAX(b->value_cap * 2, (size_t)4);
        struct value_info *more = realloc(b->values, cap * sizeof *more);
        if (more == NULL)
            return err_set(err, ERR_NOMEM, "staged value files");
        b->values = more;
        b->value_cap = cap;
    }
    int rv = value_builder_finish(&b->value_file, &b->values[b->value_count], err);
    if (rv != 0)
        return rv;
    b->bytes += b->values[b->value_count++].size;
    value_builder_fini(&b->value_file, false);
    b->has_value_file = false;
    return 0;
}

/* A large value goes to a value file, once there were so many that it pays. */
static int place_value(struct lsm_builder *b, struct entry *e, uint8_t room[ENTRY_REF_BYTES],
                       struct err *err)
{
    struct value_ref ref;
    size_t large = b->with.table.value_bytes;
    int rv = 0;
    if (e->kind == ENTRY_DELETE || large == 0 || e->value.len < large)
        return 0;
    b->large += e->value.len;
    if (!lsm_values_pay(b->lsm, b->large - e->value.len))
        return 0;
    if (b->has_value_file && value_builder_is_full(&b->value_file, b->with.value_file_bytes))
        rv = values_close(b, err);
    if (rv == 0 && !b->has_value_file) {
        uint64_t number = atomic_fetch_add(b->with.number, 1);
        rv = value_builder_open(&b->value_file, b->with.env, b->with.dir, number,
                                b->with.value_file_bytes, b->with.table.no_compression, err);
        b->has_value_file = rv == 0;
    }
    if (rv == 0)
        rv = value_builder_add(&b->value_file, e->value, &ref, err);
    if (rv != 0)
        return rv;
    value_ref_encode(&ref, room);
    e->value = slice_of(room, ENTRY_REF_BYTES);
    e->is_ref = true;
    return 0;
}

/* To the caller the end of the process is an I/O error like any other. */
static int stage_error(int status, struct err *err)
{
    return err_wrap(err, status == DISK_FATAL ? ERR_IO : status, "stage");
}

static int check_order(struct lsm_builder *b, const struct entry *e, struct err *err)
{
    if (e->key.len == 0 || e->key.len > LSM_KEY_MAX || e->value.len > LSM_VALUE_MAX)
        return err_set(err, ERR_INVALID, "key of %zu, value of %zu bytes", e->key.len,
                       e->value.len);
    if (b->records > 0 &&
        entry_compare(buf_slice(&b->last_key), b->last_version, e->key, e->version) >= 0)
        return err_set(err, ERR_INVALID, "record %llu is out of order",
                       (unsigned long long)b->records);
    return 0;
}

static bool wants_cut(const struct lsm_builder *b)
{
    return table_builder_is_full(b->table) ||
           (b->with.table_bytes > 0 && table_builder_bytes(b->table) >= b->with.table_bytes);
}

static int builder_add(struct lsm_builder *b, struct entry *e, struct err *err)
{
    uint8_t room[ENTRY_REF_BYTES];
    ASSERT(!b->is_finished);
    ASSERT(!b->is_failed);
    int rv = check_order(b, e, err);
    bool is_new_key = b->records == 0 || !slice_equal(buf_slice(&b->last_key), e->key);
    if (rv == 0 && is_new_key && b->table != NULL && wants_cut(b))
        rv = stage_close(b, err);
    if (rv == 0 && b->table == NULL)
        rv = stage_open(b, err);
    if (rv == 0)
        rv = place_value(b, e, room, err);
    if (rv == 0)
        rv = table_builder_add(b->table, e, err);
    buf_clear(&b->last_key);
    buf_append_slice(&b->last_key, rv == 0 ? e->key : (struct slice){0});
    if (rv == 0 && b->last_key.failed)
        rv = err_set(err, ERR_NOMEM, "key of %zu bytes", e->key.len);
    b->last_version = e->version;
    b->records += rv == 0;
    b->is_failed = rv != 0;
    return rv == 0 ? 0 : stage_error(rv, err);
}

int lsm_builder_put(struct lsm_builder *builder, struct slice key, uint64_t version,
                    struct slice value, uint64_t expiry_ms, struct err *err)
{
    struct entry e = {
        .key = key,
        .version = version,
        .value = value,
        .expiry_ms = expiry_ms,
        .kind = expiry_ms != 0 ? ENTRY_PUT_EXPIRES : ENTRY_PUT,
    };
    return builder_add(builder, &e, err);
}

int lsm_builder_delete(struct lsm_builder *builder, struct slice key, uint64_t version,
                       struct err *err)
{
    struct entry e = {.key = key, .version = version, .kind = ENTRY_DELETE};
    return builder_add(builder, &e, err);
}

int lsm_builder_finish(struct lsm_builder *b, struct err *err)
{
    ASSERT(!b->is_finished);
    ASSERT(!b->is_failed);
    int rv = b->table != NULL ? stage_close(b, err) : 0;
    if (rv == 0 && b->has_value_file)
        rv = values_close(b, err);
    b->is_failed = rv != 0;
    b->is_finished = rv == 0;
    return rv == 0 ? 0 : stage_error(rv, err);
}

uint64_t lsm_builder_count(const struct lsm_builder *b)
{
    return b->records;
}

uint64_t lsm_builder_bytes(const struct lsm_builder *b)
{
    return b->bytes + (b->table != NULL ? table_builder_bytes(b->table) : 0) +
           (b->has_value_file ? value_builder_bytes(&b->value_file) : 0);
}

void builder_free(struct lsm_builder *b, bool keep)
{
    char path[ENV_PATH_MAX];
    if (b == NULL)
        return;
    table_builder_free(b->table, keep);
    value_builder_fini(&b->value_file, keep);
    for (size_t i = 0; i < b->value_count; i++) {
        if (!keep && disk_path(b->with.dir, DISK_VALUES, b->values[i].number, path) == 0)
            env_file_unlink(b->with.env, path, NULL);
    }
    free(b->values);
    for (size_t i = 0; i < b->staged_count; i++) {
        struct staged *s = &b->staged[i];
        enum disk_kind kind = s->is_renamed ? DISK_TABLE : DISK_STAGE;
        if (!keep && disk_path(b->with.dir, kind, s->number, path) == 0)
            env_file_unlink(b->with.env, path, NULL); /* else the next open does */
        table_props_fini(&s->info.props);
    }
    unsigned before = atomic_fetch_sub(&b->lsm->builders, 1);
    ASSERT(before > 0);
    free(b->staged);
    buf_fini(&b->last_key);
    free(b);
}

void lsm_builder_free(struct lsm_builder *builder)
{
    builder_free(builder, false);
}
