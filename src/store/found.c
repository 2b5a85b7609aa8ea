/* SPDX-License-Identifier: Apache-2.0
 *
 * How an empty folder gets a cluster: it founds one, or joins one.
 *
 *   no seeds:  a cluster id is drawn ─▶ identity ─▶ birth with range 1 and the first data range
 *   seeds:     JOIN to each in turn, who names who leads range 1 ─▶ an id ─▶ identity ─▶ birth
 *              without any replica: placement brings them
 *
 * A store that has a cluster, but hears of nobody, asks its seeds (without any, whom its book
 * has; or who dials it) in the same way where everybody is. What cannot be mended by
 * asking again ends the process with one line.
 */
#include <stdio.h>

#include "net/net_call.h"
#include "store/driver.h"
#include "store/service.h"
#include "store/store_internal.h"
#include "wire/driver_msg.h"

enum {
    JOIN_TIMEOUT_MS = 5000,
    JOIN_PAUSE_MS = 300,
    JOIN_HOPS_MAX = 4, /* from store to store, to who leads range 1 */
    JOIN_COMPLAIN_US = 10 * 1000 * 1000,
};

const char *store_advertised(const struct store *store)
{
    return store->advertise[0] != 0 ? store->advertise : net_address(store->net);
}

const char *store_where(const struct store *store, const struct book_entry *entry)
{
    return entry->store_id == store->opt.store_id ? store_advertised(store) : entry->address;
}

/* ---- the book ---------------------------------------------------------------------------- */

int store_load_book(struct store *store, struct err *err)
{
    book_init(&store->book, store->env, store->data_dir);
    int rv = book_load(&store->book, err);
    if (rv == ERR_CORRUPT) { /* no promise rests on it: it is told again */
        LOG_WARN(store->logger, "book_lost", "error=\"%s\"", err->msg);
        *err = (struct err){0};
        rv = 0;
    }
    return rv == 0 ? store_learn_members(store, err) : rv;
}

int store_learn_members(struct store *store, struct err *err)
{
    const struct identity *id = &store->identity;
    for (size_t i = 0; i < id->member_count; i++) {
        const struct identity_member *m = &id->members[i];
        struct book_entry e = {.store_id = m->store_id};
        memcpy(e.uuid, m->uuid, sizeof e.uuid);
        snprintf(e.address, sizeof e.address, "%s", m->address);
        int rv = book_learn(&store->book, &e, err);
        if (rv < 0)
            return err_wrap(err, rv, "first members");
    }
    return 0;
}

void store_follow(struct store *store, uint64_t store_id)
{
    const struct book_entry *e = book_find(&store->book, store_id);
    struct net_peer *peer = store->net == NULL ? NULL : net_peer_find(store->net, store_id);
    struct err err = {0};
    int rv = 0;
    if (e == NULL || store->net == NULL || store_id == store->opt.store_id)
        return;
    if (e->is_removed)
        net_peer_remove(peer);
    else if (peer != NULL)
        rv = net_peer_set_address(peer, e->address, &err);
    else
        rv = net_peer_add(store->net, store_id, e->address, &peer, &err);
    if (rv != 0)
        LOG_WARN(store->logger, "peer_not_dialled", "store=%llu error=\"%s\"",
                 (unsigned long long)store_id, err.msg);
}

/* ---- founding ---------------------------------------------------------------------------- */

static int found(struct store *store, struct err *err)
{
    struct identity_member self = {.replica_id = STORE_FIRST_REPLICA_ID, .store_id = 1};
    uint64_t cluster_id = 0;
    while (cluster_id == 0)
        cluster_id = env_random(store->env) & (UINT64_MAX >> 4); /* ids stay below 2^60 */
    memcpy(self.uuid, store->identity.uuid, sizeof self.uuid);
    snprintf(self.address, sizeof self.address, "%s", store_advertised(store));
    int rv = identity_found(store->env, store->data_dir, &store->identity, cluster_id, &self, err);
    if (rv != 0)
        return rv;
    store->opt.store_id = self.store_id;
    net_set_cluster(store->net, cluster_id, self.store_id);
    LOG_INFO(store->logger, "founded", "cluster=%016llx", (unsigned long long)cluster_id);
    rv = store_learn_members(store, err);
    return rv == 0 ? store_birth(store, err) : rv;
}

/* ---- joining ------------------------------------------------------------------------------ */

static void join_again(struct store *store, uint64_t pause_ms)
{
    env_timer_start(&store->join.timer, pause_ms * 1000);
}

/* Another seed is asked next, after a pause. Now and then somebody hears why it takes so
 * long. */
static void join_failed(struct store *store, const char *reason)
{
    struct join *j = &store->join;
    uint64_t now_us = env_now_us(store->env);
    j->next++;
    j->hops = 0;
    j->hint[0] = 0;
    if (j->told_us == 0 || now_us - j->told_us >= JOIN_COMPLAIN_US) {
        LOG_WARN(store->logger, "join", "asked=%s reason=\"%s\"", j->asked, reason);
        j->told_us = now_us;
    }
    join_again(store, JOIN_PAUSE_MS);
}

static void join_taken(struct store *store, const struct response_join *answer)
{
    struct identity *id = &store->identity;
    struct err err = {0};
    bool was_born = identity_is_bootstrapped(id);
    int rv =
        identity_join(store->env, store->data_dir, id, answer->cluster_id, answer->store_id, &err);
    if (rv == ERR_EXISTS)
        env_fatal(store->env, "%s says that this is store %llu of cluster %016llx: %s",
                  store->join.asked, (unsigned long long)answer->store_id,
                  (unsigned long long)answer->cluster_id, err.msg);
    else if (rv != 0)
        store_fail(store, "join", &err);
    if (rv != 0)
        return;
    store->opt.store_id = id->store_id;
    if (!was_born) {
        LOG_INFO(store->logger, "joined", "cluster=%016llx store=%llu",
                 (unsigned long long)id->cluster_id, (unsigned long long)id->store_id);
        net_set_cluster(store->net, id->cluster_id, id->store_id);
    }
    store_learn_list(store, &answer->peers);
    if (!was_born && store_birth(store, &err) != 0)
        store_fail(store, "join", &err);
}

static void join_hop(struct store *store, const struct response *response)
{
    struct join *j = &store->join;
    struct slice address = response->leader.address;
    if (address.len == 0 || address.len >= sizeof j->hint || ++j->hops > JOIN_HOPS_MAX) {
        join_failed(store, "it does not know who leads range 1");
        return;
    }
    memcpy(j->hint, address.data, address.len);
    j->hint[address.len] = 0;
    join_again(store, 0);
}

static void join_answered(struct store *store, const struct response *response)
{
    char text[ERR_MSG_MAX];
    snprintf(text, sizeof text, "%.*s", (int)MIN(response->text.len, sizeof text - 1),
             response->text.len == 0 ? err_name(response->status)
                                     : (const char *)response->text.data);
    if (response->text.len == 0)
        snprintf(text, sizeof text, "%s", err_name(response->status));
    switch (response->status) {
    case 0:
        if (response->kind == REQUEST_JOIN)
            join_taken(store, &response->join);
        else
            join_failed(store, "its answer is none");
        return;
    case ERR_NOT_LEADER:
        join_hop(store, response);
        return;
    case ERR_BUSY: /* on its way */
        join_again(store, MAX(response->retry_after_ms, 50U));
        return;
    case ERR_UNAUTHORIZED:
    case ERR_EXISTS:
    case ERR_INVALID:
    case ERR_NO_SPACE:
        env_fatal(store->env, "%s does not let this store join: %s", store->join.asked, text);
        return;
    case ERR_STATE:
        if (identity_is_bootstrapped(&store->identity)) {
            env_fatal(store->env, "%s: %s", store->join.asked, text);
            return;
        }
        break;
    default:
        break;
    }
    join_failed(store, text);
}

static void on_answer(void *data, int status, const char *reason, struct slice body)
{
    struct store *store = data;
    struct response response;
    struct err err = {0};
    store->join.call = NULL;
    if (status == 0)
        status = response_decode(body, &response, &err);
    if (status == 0) {
        join_answered(store, &response);
        return;
    }
    bool is_final = status == ERR_UNAUTHORIZED && !identity_is_bootstrapped(&store->identity);
    if (is_final)
        env_fatal(store->env, "cannot join at %s: %s (set cluster_secret_file)", store->join.asked,
                  err.code != 0 ? err.msg : reason);
    else
        join_failed(store, err.code != 0 ? err.msg : reason);
}

/* Whom to ask: a seed; without any, the stores of the book in turn. NULL: nobody. */
static const char *join_place(const struct store *store)
{
    const struct join *j = &store->join;
    if (j->hint[0] != 0)
        return j->hint;
    if (store->opt.seed_count > 0)
        return store->opt.seeds[j->next % store->opt.seed_count];
    for (uint32_t i = 0; i < store->book.count; i++) {
        const struct book_entry *e = book_at(&store->book, (j->next + i) % store->book.count);
        if (!e->is_removed && e->store_id != store->opt.store_id)
            return e->address;
    }
    return NULL;
}

/* Its uuid is not known, so it is not let in; but it proved the cluster's secret, and who it
 * names as leader of range 1 will have to do so as well. */
void join_hear_of(struct store *store, struct slice address)
{
    struct join *j = &store->join;
    bool is_lost = join_place(store) == NULL || store->beats.silent >= BEAT_SILENT_MAX;
    /* One that was followed to its end has not led to who leads range 1, or we were not lost. */
    bool is_followed = j->call != NULL || (j->hint[0] != 0 && env_timer_is_active(&j->timer));
    if (address.len == 0 || address.len >= sizeof j->hint || is_followed || !is_lost)
        return;
    memcpy(j->hint, address.data, address.len);
    j->hint[address.len] = 0;
    j->hops = 0;
    ASSERT(join_place(store) == j->hint);
    join_refresh(store);
}

static void join_ask(struct store *store)
{
    struct join *j = &store->join;
    const struct identity *id = &store->identity;
    struct request request = {
        .id = 1,
        .timeout_ms = JOIN_TIMEOUT_MS,
        .kind = REQUEST_JOIN,
        .join = {.cluster_id = id->cluster_id,
                 .store_id = id->cluster_id == 0 ? 0 : id->store_id,
                 .boot = id->boot_number,
                 .address = slice_str(store_advertised(store))},
    };
    struct buf out;
    struct err err = {0};
    const char *place = join_place(store);
    if (place == NULL)
        return;
    memcpy(request.join.store_uuid, id->uuid, sizeof request.join.store_uuid);
    snprintf(j->asked, sizeof j->asked, "%s", place);
    buf_init(&out, 4096);
    size_t start = frame_begin(&out);
    request_encode(&out, &request);
    frame_end(&out, start, false);
    int rv = out.failed ? err_set(&err, ERR_NOMEM, "out of memory")
                        : net_call_new(store->net, j->asked, buf_slice(&out), JOIN_TIMEOUT_MS,
                                       on_answer, store, &j->call, &err);
    buf_fini(&out);
    if (rv != 0)
        join_failed(store, err.msg);
}

static void timer_due(struct env_timer *timer)
{
    struct store *store = timer->data;
    bool is_wanted = store->state == STORE_UNBORN || store->beats.silent >= BEAT_SILENT_MAX;
    if (store->join.call == NULL && is_wanted && store->state != STORE_DRAINING)
        join_ask(store);
}

void join_refresh(struct store *store)
{
    if (store->join.call != NULL || env_timer_is_active(&store->join.timer))
        return;
    env_timer_start(&store->join.timer, 0);
}

void store_found_init(struct store *store)
{
    env_timer_init(&store->join.timer, store->env, timer_due, store);
}

int store_get_cluster(struct store *store, struct err *err)
{
    if (store->state != STORE_UNBORN || store_is_static(store))
        return 0;
    if (store->opt.seed_count == 0)
        return found(store, err);
    env_timer_start(&store->join.timer, 0);
    return 0;
}
