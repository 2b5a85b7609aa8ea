/* SPDX-License-Identifier: Apache-2.0
 *
 * From a folder to running replicas.
 *
 *   born before:  engine, log ─▶ range_load ─▶ replay up to the hint ─▶ consensus
 *   birth:        identity has a cluster ─▶ engine edit with the mark and the metas of the
 *                 first replicas (range 1 and the first data range of a founder; that of
 *                 the told members; none of a store that joined) ─▶ their logs begin
 *                 behind the birth index ─▶ identity "born" ─▶ replay …
 *
 * A crash before "born" is noted repeats the birth: no vote was given before it. A
 * crash after it that lost engine or log is refused: a replica without its log
 * would vote away acknowledged writes (consensus.md, Born once).
 */
#include <stdio.h>
#include <stdlib.h>

#include "range/mark.h"
#include "store/driver.h"
#include "store/service.h"
#include "store/store_internal.h"

/* ---- birth -------------------------------------------------------------------- */

static void birth_config(const struct identity_member *members, size_t count,
                         struct cons_config *config, struct range_replica *replicas)
{
    ASSERT(count <= RANGE_REPLICAS_MAX);
    memset(config, 0, sizeof *config);
    config->n = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        config->members[i] = (struct cons_member){
            .replica_id = members[i].replica_id,
            .store_id = members[i].store_id,
            .role = CONS_VOTER,
        };
        replicas[i] = (struct range_replica){
            .replica_id = members[i].replica_id,
            .store_id = members[i].store_id,
            .role = RANGE_ROLE_VOTER,
        };
    }
}

int store_check_members(const struct identity_member *members, size_t count, struct err *err)
{
    struct cons_config config;
    struct range_replica replicas[IDENTITY_MEMBERS_MAX];
    ASSERT(count > 0);
    ASSERT(count <= IDENTITY_MEMBERS_MAX);
    birth_config(members, count, &config, replicas);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (memcmp(members[i].uuid, members[k].uuid, sizeof members[i].uuid) == 0)
                return err_set(err, ERR_INVALID, "stores %llu and %llu have the same uuid",
                               (unsigned long long)members[k].store_id,
                               (unsigned long long)members[i].store_id);
        }
    }
    return cons_config_validate(&config, err);
}

/* A replica that this store is born with. */
struct birth_plan {
    uint64_t range_id;
    uint64_t replica_id; /* ours */
    struct range_span span;
    const struct identity_member *members;
    size_t member_count;
    struct identity_member alone; /* of range 1 */
};

static size_t birth_plans(const struct store *store, struct birth_plan plans[STORE_BIRTHS_MAX])
{
    const struct identity *id = &store->identity;
    const struct identity_member *self = identity_member_by_store(id, id->store_id);
    size_t n = 0;
    if (id->is_founder) {
        struct birth_plan *p = &plans[n++];
        *p = (struct birth_plan){.range_id = RANGE_ID_SYSTEM,
                                 .replica_id = STORE_SYSTEM_REPLICA_ID,
                                 .span = range_span_system(),
                                 .alone = *self,
                                 .member_count = 1};
        p->alone.replica_id = STORE_SYSTEM_REPLICA_ID;
        p->members = &p->alone;
    }
    if (self != NULL)
        plans[n++] = (struct birth_plan){.range_id = STORE_FIRST_RANGE_ID,
                                         .replica_id = self->replica_id,
                                         .span = range_span_all(),
                                         .members = id->members,
                                         .member_count = id->member_count};
    ASSERT(n <= STORE_BIRTHS_MAX);
    return n;
}

static int birth_meta(const struct store *store, const struct birth_plan *plan,
                      struct range_meta *ret_meta, struct err *err)
{
    struct cons_config config;
    struct range_replica replicas[IDENTITY_MEMBERS_MAX];
    uint8_t conf[CONS_CONFIG_LEN_MAX];
    birth_config(plan->members, plan->member_count, &config, replicas);
    int rv = cons_config_validate(&config, err);
    if (rv != 0)
        return err_wrap(err, rv, "first members");
    struct range_birth birth = {
        .range_id = plan->range_id,
        .epoch = {.conf = 1, .span = 1},
        .span = plan->span,
        .replicas = replicas,
        .replica_count = config.n,
        .index = RANGE_BIRTH_INDEX,
        .term = RANGE_BIRTH_TERM,
        .retention_ms = store->opt.retention_ms,
        .conf = slice_of(conf, cons_config_encode(&config, conf)),
    };
    return range_birth_meta(&birth, ret_meta, err);
}

static void birth_done(struct store *store)
{
    struct err err = {0};
    int rv = identity_set_born(store->env, store->data_dir, &store->identity, &err);
    if (rv != 0) {
        store_fail(store, "birth", &err);
        return;
    }
    LOG_INFO(store->logger, "born", "store=%llu cluster=%016llx replicas=%u",
             (unsigned long long)store->opt.store_id,
             (unsigned long long)store->identity.cluster_id, replicas_count(&store->replicas));
    if (replicas_count(&store->replicas) == 0 && store->state == STORE_REPLAYING)
        store_move(store, STORE_RUNNING);
    uint32_t cursor = 0;
    struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL)
        replica_run(r);
    driver_start(store);
}

/* Writes of a log end in their order: the last one stands for all. */
static void birth_log_done(struct raftlog_write *op)
{
    struct replica *r = op->data;
    struct store *store = r->store;
    ASSERT(store->births_left > 0);
    if (--store->births_left == 0)
        birth_done(store);
}

static int birth_replica(struct store *store, const struct birth_plan *plan, struct err *err)
{
    struct range *range = NULL;
    struct replica *r = NULL;
    struct range_meta meta;
    range_meta_init(&meta);
    int rv = birth_meta(store, plan, &meta, err);
    if (rv == 0)
        rv = range_new(store->env, store->lsm, plan->replica_id, &meta, &range, err);
    range_meta_fini(&meta);
    if (rv == 0)
        rv = replica_add(store, plan->replica_id, plan->range_id, range, &r, err);
    if (rv != 0)
        return rv;
    struct raftlog_write *write = &store->birth_logs[store->births_left++];
    *write = (struct raftlog_write){
        .data = r,
        .group = plan->replica_id,
        .has_hard_state = true,
        .term = RANGE_BIRTH_TERM,
        .has_reset = true,
        .base_index = RANGE_BIRTH_INDEX,
        .base_term = RANGE_BIRTH_TERM,
        .cb = birth_log_done,
    };
    return 0;
}

static void birth_edit_done(struct lsm_edit_op *op, int status)
{
    struct store *store = op->data;
    struct birth_plan plans[STORE_BIRTHS_MAX];
    struct err err = {0};
    size_t count = birth_plans(store, plans);
    int rv = status;
    if (rv != 0)
        err_set(&err, rv, "the engine refused the first record");
    for (size_t i = 0; rv == 0 && i < count; i++)
        rv = birth_replica(store, &plans[i], &err);
    if (rv != 0) {
        store_fail(store, "birth", &err);
        return;
    }
    uint32_t writes = store->births_left;
    for (uint32_t i = 0; i < writes; i++)
        raftlog_append(store->log, &store->birth_logs[i]);
    if (writes == 0)
        birth_done(store);
}

int store_birth(struct store *store, struct err *err)
{
    ASSERT(replicas_count(&store->replicas) == 0);
    ASSERT(!store->identity.is_born);
    struct birth_plan plans[STORE_BIRTHS_MAX];
    struct lsm_batch puts;
    size_t count = birth_plans(store, plans);
    int rv = 0;
    lsm_batch_init(&puts);
    mark_put(&puts, store->identity.uuid);
    for (size_t i = 0; rv == 0 && i < count; i++) {
        struct range_meta meta;
        range_meta_init(&meta);
        rv = birth_meta(store, &plans[i], &meta, err);
        if (rv == 0)
            rv = range_meta_put(&meta, plans[i].replica_id, &puts);
        range_meta_fini(&meta);
    }
    store->birth_edit = (struct lsm_edit_op){.data = store, .puts = &puts, .cb = birth_edit_done};
    if (rv == 0)
        rv = lsm_edit(store->lsm, &store->birth_edit);
    store->birth_edit.puts = NULL;
    lsm_batch_fini(&puts);
    if (rv == 0)
        store_move(store, STORE_REPLAYING);
    return rv == 0 ? 0 : err_wrap(err, rv, "make the first ranges");
}

/* ---- a replica that was born before ----------------------------------------------- */

static int check_log(struct store *store, uint64_t replica_id, struct err *err)
{
    struct raftlog_group_state state;
    const char *damage = raftlog_damage(store->log);
    int rv = raftlog_group_state(store->log, replica_id, &state);
    if (rv == 0 && !state.is_damaged)
        return 0;
    if (*damage != 0)
        return err_set(err, ERR_CORRUPT, "the log is damaged: %s", damage);
    return err_set(
        err, ERR_STATE,
        "folder '%s' lost its log: replica %llu forgot its votes and must not come back; "
        "the others go on without it. Way out: OPERATIONS.md, A lost folder",
        store->data_dir, (unsigned long long)replica_id);
}

static int load_replica(struct store *store, uint64_t replica_id, struct err *err)
{
    struct range *range = NULL;
    struct replica *r;
    int rv = range_load(store->env, store->lsm, replica_id, &range, err);
    if (rv != 0)
        return err_wrap(err, rv, "load replica %llu", (unsigned long long)replica_id);
    rv = check_log(store, replica_id, err);
    if (rv != 0) {
        range_free(range);
        return rv;
    }
    return replica_add(store, replica_id, range_descriptor(range)->range_id, range, &r, err);
}

/* A crash between the edit that ended a replica and the end of its log. */
static int forget_gone(struct store *store, struct err *err)
{
    uint64_t *ids = NULL;
    size_t count = 0;
    int rv = tombstones_load(&store->tombstones, store->lsm, err);
    if (rv == 0)
        rv = range_list_gone(store->lsm, &ids, &count, err);
    for (size_t i = 0; rv == 0 && i < count; i++)
        raftlog_remove_group(store->log, ids[i]);
    free(ids);
    return rv;
}

/* Is this the engine that the store was born with? */
static int check_mark(struct store *store, struct err *err)
{
    int rv = mark_check(store->lsm, store->identity.uuid, err);
    if (rv == ERR_NOT_FOUND)
        return err_set(err, ERR_STATE,
                       "folder '%s' lost its engine: store %llu must not come back without it; "
                       "the others go on without it. Way out: OPERATIONS.md, A lost folder",
                       store->data_dir, (unsigned long long)store->identity.store_id);
    return rv;
}

static int load_replicas(struct store *store, struct err *err)
{
    uint64_t *ids = NULL;
    size_t count = 0;
    int rv = check_mark(store, err);
    if (rv == 0)
        rv = forget_gone(store, err);
    if (rv == 0)
        rv = range_list(store->lsm, &ids, &count, err);
    /* The engine tells once: who runs on without knowing stalls when L0 is full. */
    if (rv == 0 && store->early_damage.code != 0)
        rv = err_set(err, ERR_CORRUPT, "%s", store->early_damage.msg);
    for (size_t i = 0; rv == 0 && i < count; i++)
        rv = load_replica(store, ids[i], err);
    free(ids);
    if (rv != 0)
        return rv;
    store_move(store, STORE_REPLAYING);
    if (count == 0)
        store_move(store, STORE_RUNNING);
    uint32_t cursor = 0;
    struct replica *r;
    while ((r = replicas_each(&store->replicas, &cursor)) != NULL)
        replica_run(r);
    return 0;
}

/* Damage found now is noted for life, so that this id never votes again. */
static int note_damage(struct store *store, struct err *err)
{
    struct err ignored = {0};
    char reason[ERR_MSG_MAX];
    snprintf(reason, sizeof reason, "%s", err->msg);
    int rv = identity_mark_damaged(store->env, store->data_dir, reason, &ignored);
    if (rv != 0)
        LOG_ERROR(store->logger, "damage_not_noted", "error=\"%s\"", ignored.msg);
    LOG_ERROR(store->logger, "damaged", "store=%llu error=\"%s\"",
              (unsigned long long)store->opt.store_id, reason);
    store_move(store, STORE_DAMAGED);
    return 0;
}

/* ---- opening -------------------------------------------------------------------------- */

/* A log that is not there would be made anew, without what it had promised. */
static int require_log(struct store *store, const char *path, struct err *err)
{
    uint64_t size;
    bool is_dir;
    int rv = env_file_stat(store->env, path, &size, &is_dir, err);
    if (rv != ERR_NOT_FOUND)
        return rv;
    return err_set(err, ERR_STATE,
                   "folder '%s' lost its log: store %llu forgot its votes and must not come back; "
                   "the others go on without it. Way out: OPERATIONS.md, A lost folder",
                   store->data_dir, (unsigned long long)store->identity.store_id);
}

static int open_rooms(struct store *store, struct err *err)
{
    char path[ENV_PATH_MAX];
    if (store->identity.is_born) {
        snprintf(path, sizeof path, "%s/log", store->data_dir);
        int code = require_log(store, path, err);
        if (code != 0)
            return code;
    }
    snprintf(path, sizeof path, "%s/engine", store->data_dir);
    int rv = lsm_open(&store->lsm, store->env, path, &store->opt.lsm, err);
    if (rv != 0)
        return err_wrap(err, rv, "open engine");
    snprintf(path, sizeof path, "%s/log", store->data_dir);
    rv = raftlog_open(&store->log, store->env, path, &store->opt.log, err);
    return rv == 0 ? 0 : err_wrap(err, rv, "open log");
}

/* The folder's name must survive a loss of power as well as what is in it. */
static int sync_parent(struct store *store, struct err *err)
{
    char parent[ENV_PATH_MAX];
    snprintf(parent, sizeof parent, "%s", store->data_dir);
    size_t len = strlen(parent);
    while (len > 1 && parent[len - 1] == '/')
        parent[--len] = 0;
    char *slash = strrchr(parent, '/');
    if (slash == NULL)
        snprintf(parent, sizeof parent, ".");
    else
        slash[slash == parent ? 1 : 0] = 0;
    int rv = env_dir_sync(store->env, parent, err);
    return rv == 0 ? 0 : err_wrap(err, rv, "sync folder '%s'", parent);
}

static int open_folder(struct store *store, struct err *err)
{
    int rv = env_dir_make(store->env, store->data_dir, err);
    if (rv != 0 && rv != ERR_EXISTS)
        return err_wrap(err, rv, "make folder '%s'", store->data_dir);
    rv = sync_parent(store, err);
    if (rv != 0)
        return rv;
    rv = env_dir_lock(store->env, store->data_dir, &store->lock, err);
    if (rv != 0)
        return err_wrap(err, rv, "lock folder '%s'", store->data_dir);
    rv = identity_open(store->env, store->data_dir, store->opt.store_id, &store->identity, err);
    if (rv == 0)
        store->opt.store_id = store->identity.store_id;
    return rv == 0 ? store_load_book(store, err) : rv;
}

/* A wall clock years off would stamp every version wrongly, for ever. */
static int check_clock(struct store *store, struct err *err)
{
    uint64_t wall_ms = env_wall_ms(store->env);
    if (wall_ms < STORE_CLOCK_MIN_MS || wall_ms > STORE_CLOCK_MAX_MS)
        return err_set(err, ERR_STATE,
                       "the system clock shows %llu s since 1970, which cannot be right: set it",
                       (unsigned long long)(wall_ms / 1000));
    uint64_t time_ms = 0;
    const struct replica *r;
    for (uint32_t i = 0; (r = replicas_by_span(&store->replicas, i)) != NULL; i++)
        time_ms = MAX(time_ms, range_meta(r->range)->time_ms);
    if (time_ms > wall_ms + CLOCK_FATAL_MS)
        return err_set(err, ERR_STATE, "the system clock is %llu s behind the range's time: set it",
                       (unsigned long long)((time_ms - wall_ms) / 1000));
    return 0;
}

/* The engine is opened first: a disk that its leftovers fill has room for STORE behind that only.
 * Nobody has heard of this life yet; one that ends before it is counted was none. */
static int open_counted(struct store *store, struct err *err)
{
    int rv = open_rooms(store, err);
    return rv == 0 ? identity_count_boot(store->env, store->data_dir, &store->identity, err) : rv;
}

/* A damaged store opens neither engine nor log, but speaks with others, as every life under a
 * number of its own. */
static int boot_damaged(struct store *store, struct err *err)
{
    LOG_ERROR(store->logger, "damaged", "store=%llu error=\"%s\"",
              (unsigned long long)store->opt.store_id, err->msg);
    store_move(store, STORE_DAMAGED);
    return identity_count_boot(store->env, store->data_dir, &store->identity, err);
}

int store_boot(struct store *store, struct err *err)
{
    int rv = open_folder(store, err);
    if (rv != 0)
        return rv;
    rv = identity_check_damage(store->env, store->data_dir, err);
    if (rv == ERR_CORRUPT)
        return boot_damaged(store, err);
    if (rv == 0)
        rv = open_counted(store, err);
    if (rv != 0)
        return rv;
    if (!identity_is_bootstrapped(&store->identity))
        return check_clock(store, err);
    if (!store->identity.is_born)
        rv = store_birth(store, err);
    else
        rv = load_replicas(store, err);
    if (rv == ERR_CORRUPT)
        return note_damage(store, err);
    return rv == 0 ? check_clock(store, err) : rv;
}
