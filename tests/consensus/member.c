/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/member.h"

#include <stdlib.h>

/* --- blobs and logs */

struct blob *blob_new(struct slice s)
{
    struct blob *b = malloc(sizeof *b + s.len);
    ASSERT(b != NULL);
    b->refs = 1;
    b->len = (uint32_t)s.len;
    if (s.len > 0)
        memcpy(b->data, s.data, s.len);
    return b;
}

void blob_unref(struct blob *b)
{
    if (b != NULL && --b->refs == 0)
        free(b);
}

static struct blob *blob_ref(struct blob *b)
{
    b->refs++;
    return b;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v + UINT64_C(0x9e3779b97f4a7c15) + (h << 6) + (h >> 2);
    h *= UINT64_C(0xff51afd7ed558ccd);
    return h ^ h >> 32;
}

static uint64_t chain_next(uint64_t chain, uint64_t term, enum cons_entry_type type, struct slice d)
{
    chain = mix(mix(chain, term), (uint64_t)type);
    for (size_t i = 0; i < d.len; i += 8) {
        uint64_t v = 0;
        memcpy(&v, d.data + i, MIN(d.len - i, (size_t)8));
        chain = mix(chain, v);
    }
    return mix(chain, d.len);
}

uint64_t mlog_last(const struct mlog *log)
{
    return log->first + log->n - 1;
}

const struct mentry *mlog_get(const struct mlog *log, uint64_t index)
{
    if (index < log->first || index >= log->first + log->n)
        return NULL;
    return &log->e[index - log->first];
}

static void mlog_truncate(struct mlog *log, uint64_t first)
{
    ASSERT(first >= log->first);
    while (log->n > 0 && mlog_last(log) >= first)
        blob_unref(log->e[--log->n].data);
}

static void mlog_push(struct mlog *log, const struct mentry *e)
{
    if (log->n == log->cap) {
        log->cap = log->cap == 0 ? 64 : log->cap * 2;
        log->e = realloc(log->e, log->cap * sizeof *log->e);
        ASSERT(log->e != NULL);
    }
    log->e[log->n] = *e;
    blob_ref(log->e[log->n++].data);
}

/* Drop everything at and below `index`. */
static void mlog_cut(struct mlog *log, uint64_t index)
{
    uint32_t k = 0;
    while (k < log->n && log->first + k <= index)
        blob_unref(log->e[k++].data);
    memmove(log->e, log->e + k, (log->n - k) * sizeof *log->e);
    log->n -= k;
    log->first += k;
}

static void mlog_reset(struct mlog *log, uint64_t first)
{
    mlog_truncate(log, log->first);
    log->first = first;
}

static void mlog_copy(struct mlog *to, const struct mlog *from)
{
    mlog_reset(to, from->first);
    for (uint32_t i = 0; i < from->n; i++)
        mlog_push(to, &from->e[i]);
}

/* --- the table */

static void write_free(struct mwrite *w)
{
    for (uint32_t i = 0; i < w->n; i++)
        blob_unref(w->e[i].data);
    free(w->e);
    free(w);
}

/* The chain of what stands at `index`: log or base. */
static uint64_t chain_at(const struct member *m, uint64_t index)
{
    const struct mentry *e = mlog_get(&m->log, index);
    if (e != NULL)
        return e->chain;
    ASSERT(index == m->state.base.index || index + 1 == m->log.first);
    return index == m->state.base.index ? m->state.chain : m->log_chain;
}

static void on_persist(void *ctx, const struct cons_write *write)
{
    struct member *m = ctx;
    struct mwrite *w = calloc(1, sizeof *w);
    ASSERT(w != NULL);
    ASSERT(write->id == m->next_write_id);
    m->next_write_id++;
    w->id = write->id;
    w->has_hard_state = write->has_hard_state;
    w->term = write->term;
    w->vote = write->vote;
    w->hint = write->commit_hint;
    if (write->n > 0) {
        ASSERT(!m->is_installing);
        ASSERT(write->first_index <= mlog_last(&m->log) + 1);
        w->first = write->first_index;
        w->n = write->n;
        w->e = calloc(write->n, sizeof *w->e);
        ASSERT(w->e != NULL);
        mlog_truncate(&m->log, write->first_index);
        uint64_t chain = chain_at(m, write->first_index - 1);
        for (uint32_t i = 0; i < write->n; i++) {
            const struct cons_entry *e = &write->entries[i];
            chain = chain_next(chain, e->term, e->type, e->data);
            w->e[i] = (struct mentry){
                .term = e->term, .type = e->type, .chain = chain, .data = blob_new(e->data)};
            mlog_push(&m->log, &w->e[i]);
        }
    }
    *m->writes_tail = w;
    m->writes_tail = &w->next;
    m->n_writes++;
    if (m->host->wrote != NULL)
        m->host->wrote(m->host_data, m, write);
}

static uint64_t on_log_term(void *ctx, uint64_t index)
{
    struct member *m = ctx;
    const struct mentry *e = mlog_get(&m->log, index);
    return e != NULL ? e->term : 0;
}

static int on_log_entries(void *ctx, uint64_t first, uint32_t n, size_t bytes_max,
                          struct cons_entry *entries, uint32_t *ret_n)
{
    struct member *m = ctx;
    size_t bytes = 0;
    uint32_t i = 0;

    if (mlog_get(&m->log, first) == NULL)
        return ERR_NOT_FOUND;
    if (m->host->is_cached != NULL && !m->host->is_cached(m->host_data, m, first))
        return ERR_WOULD_BLOCK;
    for (; i < n; i++) {
        const struct mentry *e = mlog_get(&m->log, first + i);
        if (e == NULL || (i > 0 && bytes + e->data->len > bytes_max))
            break;
        bytes += e->data->len;
        entries[i] = (struct cons_entry){
            .term = e->term, .type = e->type, .data = slice_of(e->data->data, e->data->len)};
    }
    *ret_n = i;
    return 0;
}

static void request(struct member *m, const struct mrequest *r)
{
    ASSERT(m->n_requests < MEMBER_REQUESTS_MAX);
    m->requests[m->n_requests++] = *r;
}

static void on_log_fetch(void *ctx, uint64_t token, uint64_t peer, uint64_t first, uint32_t n)
{
    request(ctx, &(struct mrequest){
                     .kind = REQUEST_FETCH, .peer = peer, .token = token, .first = first, .n = n});
}

static void on_send(void *ctx, const struct cons_msg *msg)
{
    struct member *m = ctx;
    if (m->host->send != NULL)
        m->host->send(m->host_data, m, msg);
}

static bool on_peer_ready(void *ctx, uint64_t peer)
{
    struct member *m = ctx;
    return m->host->is_ready == NULL || m->host->is_ready(m->host_data, m, peer);
}

static size_t on_peer_room(void *ctx, uint64_t peer)
{
    struct member *m = ctx;
    return m->host->room == NULL ? SIZE_MAX : m->host->room(m->host_data, m, peer);
}

static void on_committed(void *ctx, uint64_t from, uint64_t to)
{
    struct member *m = ctx;
    if (m->host->committed != NULL)
        m->host->committed(m->host_data, m, from, to);
}

static void on_config_changed(void *ctx, const struct cons_config *config, uint64_t index,
                              bool is_committed)
{
    struct member *m = ctx;
    (void)is_committed;
    m->config = *config;
    m->config_index = index;
}

static void on_role_changed(void *ctx, enum cons_state state, uint64_t term, uint64_t leader)
{
    struct member *m = ctx;
    m->role = state;
    m->term = term;
    m->leader = leader;
    if (m->host->role != NULL)
        m->host->role(m->host_data, m, state, term);
}

static void on_install_snapshot(void *ctx, const struct cons_base *base, uint64_t from)
{
    struct member *m = ctx;
    (void)base; /* the same as `staged`: consensus checks it when told */
    m->is_installing = true;
    request(m, &(struct mrequest){.kind = REQUEST_INSTALL, .peer = from});
}

static void on_need_snapshot(void *ctx, uint64_t target)
{
    request(ctx, &(struct mrequest){.kind = REQUEST_STREAM, .peer = target});
}

static const struct cons_ops member_ops = {
    .persist = on_persist,
    .log_term = on_log_term,
    .log_entries = on_log_entries,
    .log_fetch = on_log_fetch,
    .send = on_send,
    .peer_ready = on_peer_ready,
    .peer_room = on_peer_room,
    .committed = on_committed,
    .config_changed = on_config_changed,
    .role_changed = on_role_changed,
    .install_snapshot = on_install_snapshot,
    .need_snapshot = on_need_snapshot,
};

/* --- life */

void member_init(struct member *m, const struct cons_options *opts, const struct member_host *host,
                 void *host_data)
{
    *m = (struct member){.host = host, .host_data = host_data, .opts = *opts};
    m->opts.ops = &member_ops;
    m->opts.ctx = m;
    m->next_write_id = 1;
    m->disk.log.first = 1;
    m->log.first = 1;
    m->writes_tail = &m->writes;
}

static void member_drop_writes(struct member *m)
{
    while (m->writes != NULL) {
        struct mwrite *w = m->writes;
        m->writes = w->next;
        write_free(w);
    }
    m->writes_tail = &m->writes;
    m->n_writes = 0;
}

void member_fini(struct member *m)
{
    consensus_free(m->c);
    m->c = NULL;
    free(m->parked);
    m->parked = NULL;
    member_drop_writes(m);
    mlog_reset(&m->log, 1);
    mlog_reset(&m->disk.log, 1);
    free(m->log.e);
    free(m->disk.log.e);
}

void member_bear(struct member *m, const struct cons_base *base, uint64_t term, uint64_t vote)
{
    m->disk.term = term;
    m->disk.vote = vote;
    m->disk.state = (struct mstate){.base = *base, .chain = base->index};
    m->disk.log_chain = base->index;
    mlog_reset(&m->disk.log, base->index + 1);
}

void member_disk_append(struct member *m, uint64_t term, enum cons_entry_type type,
                        struct slice data)
{
    struct mlog *log = &m->disk.log;
    uint64_t chain = log->n > 0 ? log->e[log->n - 1].chain : m->disk.log_chain;
    struct mentry e = {.term = term, .type = type, .data = blob_new(data)};
    e.chain = chain_next(chain, term, type, data);
    mlog_push(log, &e);
    blob_unref(e.data);
}

/* Apply one entry of the memory log. */
static void state_apply(struct member *m, uint64_t index)
{
    const struct mentry *e = mlog_get(&m->log, index);
    ASSERT(e != NULL);
    ASSERT(index == m->state.base.index + 1);
    m->state.base.index = index;
    m->state.base.term = e->term;
    m->state.chain =
        chain_next(m->state.chain, e->term, e->type, slice_of(e->data->data, e->data->len));
    if (e->type == CONS_CHANGE) {
        int rv =
            cons_config_decode(slice_of(e->data->data, e->data->len), &m->state.base.config, NULL);
        ASSERT(rv == 0 || m->guards_off != 0);
        m->state.base.config_index = index;
    }
    if (m->host->applied != NULL)
        m->host->applied(m->host_data, m, index, e);
}

/* A log that ends below the applied state, or disagrees with it, is thrown away: power
 * failed between the edit that took a snapshot in and the log's new beginning. */
static bool log_fits(const struct mlog *log, const struct cons_base *base)
{
    const struct mentry *e = mlog_get(log, base->index);
    if (e != NULL)
        return e->term == base->term;
    return log->first == base->index + 1;
}

int member_start(struct member *m, uint64_t now_ms)
{
    struct cons_change changes[64];
    struct cons_start s = {.term = m->disk.term, .vote = m->disk.vote};

    ASSERT(m->c == NULL);
    mlog_copy(&m->log, &m->disk.log);
    m->log_chain = m->disk.log_chain;
    m->state = m->disk.state;
    m->role = CONS_FOLLOWER;
    m->term = s.term;
    m->leader = 0;
    if (!log_fits(&m->log, &m->state.base)) {
        mlog_reset(&m->log, m->state.base.index + 1);
        mlog_reset(&m->disk.log, m->state.base.index + 1);
        m->log_chain = m->disk.log_chain = m->state.chain;
        m->disk.hint = m->state.base.index;
    }
    while (m->state.base.index < MIN(m->disk.hint, mlog_last(&m->log)))
        state_apply(m, m->state.base.index + 1);
    s.base = m->state.base;
    s.first_index = m->log.first;
    s.last_index = mlog_last(&m->log);
    s.changes = changes;
    for (uint32_t i = 0; i < m->log.n; i++) {
        const struct mentry *e = &m->log.e[i];
        bool is_needed = m->log.first + i > s.base.index || (m->opts.seed & 1) == 0;
        if (e->type != CONS_CHANGE || s.n_changes == ARRAY_LEN(changes) || !is_needed)
            continue;
        changes[s.n_changes++] = (struct cons_change){
            .index = m->log.first + i, .data = slice_of(e->data->data, e->data->len)};
    }
    m->opts.first_write_id = m->next_write_id;
    int rv = consensus_new(&m->c, &m->opts, NULL);
    ASSERT(rv == 0);
#ifdef HOLDFAST_TEST_GUARDS
    consensus_test_guards_off(m->c, m->guards_off);
#endif
    return consensus_start(m->c, now_ms, &s, NULL);
}

bool member_park(struct member *m)
{
    /* Guards that are left out would come back with it. */
    if (m->guards_off != 0 || consensus_park(m->c, &m->parked) != 0)
        return false;
    ASSERT(m->writes == NULL);
    m->c = NULL;
    m->n_requests = 0;
    return true;
}

int member_unpark(struct member *m, uint64_t now_ms)
{
    struct cons_parked *parked = m->parked;
    ASSERT(m->c == NULL);
    m->parked = NULL;
    m->role = CONS_FOLLOWER;
    m->leader = 0;
    m->opts.first_write_id = m->next_write_id;
    int rv = consensus_unpark(&m->c, &m->opts, now_ms, parked, NULL);
    free(parked);
    return rv;
}

/* The oldest queued write reaches the disk. */
static void disk_take(struct member *m)
{
    struct mwrite *w = m->writes;
    if (w->has_hard_state) {
        m->disk.term = w->term;
        m->disk.vote = w->vote;
    }
    if (w->first != 0) {
        mlog_truncate(&m->disk.log, w->first);
        ASSERT(mlog_last(&m->disk.log) + 1 == w->first);
        for (uint32_t i = 0; i < w->n; i++) {
            mlog_push(&m->disk.log, &w->e[i]);
            if (m->host->durable != NULL)
                m->host->durable(m->host_data, m, w->first + i, &w->e[i]);
        }
        m->disk.hint = MAX(m->disk.hint, w->hint);
    }
    m->writes = w->next;
    if (m->writes == NULL)
        m->writes_tail = &m->writes;
    m->n_writes--;
    write_free(w);
}

void member_crash(struct member *m, uint32_t survive)
{
    consensus_free(m->c);
    m->c = NULL;
    free(m->parked);
    m->parked = NULL;
    while (m->writes != NULL && survive-- > 0)
        disk_take(m);
    member_drop_writes(m);
    mlog_reset(&m->log, 1);
    if (m->is_installing && m->is_edit_durable)
        m->disk.state = m->staged;
    m->is_installing = m->is_edit_durable = false;
    m->n_requests = 0;
    m->staged = (struct mstate){0};
}

void member_persist(struct member *m, uint64_t now_ms, uint64_t id)
{
    bool any = false;
    while (m->writes != NULL && m->writes->id <= id) {
        disk_take(m);
        any = true;
    }
    if (any && m->c != NULL)
        consensus_on_persisted(m->c, now_ms, id);
}

void member_persist_all(struct member *m, uint64_t now_ms)
{
    while (m->writes != NULL)
        member_persist(m, now_ms, m->next_write_id - 1);
}

bool member_apply(struct member *m, uint64_t now_ms)
{
    uint64_t before = m->state.base.index;
    if (m->c == NULL)
        return false;
    uint64_t limit = consensus_apply_limit(m->c);
    while (m->state.base.index < limit && mlog_get(&m->log, m->state.base.index + 1) != NULL)
        state_apply(m, m->state.base.index + 1);
    if (m->state.base.index == before)
        return false;
    consensus_on_applied(m->c, now_ms, m->state.base.index);
    return true;
}

static void cut_log(struct mlog *log, uint64_t *chain, uint64_t index)
{
    const struct mentry *e = mlog_get(log, MIN(index, mlog_last(log)));
    if (e == NULL || index < log->first)
        return;
    *chain = e->chain;
    mlog_cut(log, MIN(index, mlog_last(log)));
}

void member_flush(struct member *m, uint64_t now_ms, uint32_t trailing)
{
    if (m->c == NULL || m->is_installing || m->state.base.index == 0)
        return;
    m->disk.state = m->state;
    if (consensus_compact(m->c, now_ms, &m->state.base, trailing) != 0)
        return;
    uint64_t floor = MIN(consensus_log_floor(m->c), m->disk.state.base.index);
    cut_log(&m->log, &m->log_chain, floor);
    cut_log(&m->disk.log, &m->disk.log_chain, floor);
}

void member_install(struct member *m, uint64_t now_ms)
{
    ASSERT(m->is_installing);
    m->is_installing = m->is_edit_durable = false;
    m->disk.state = m->staged;
    m->disk.log_chain = m->staged.chain;
    m->disk.hint = m->staged.base.index;
    mlog_reset(&m->disk.log, m->staged.base.index + 1);
    for (struct mwrite *w = m->writes; w != NULL; w = w->next)
        w->first = 0;
    m->state = m->staged;
    m->log_chain = m->staged.chain;
    mlog_reset(&m->log, m->staged.base.index + 1);
    consensus_on_snapshot_installed(m->c, now_ms, m->staged.base.index);
}

struct mstate member_state(const struct member *m)
{
    return m->state;
}
