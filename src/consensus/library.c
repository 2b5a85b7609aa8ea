/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/pages.h"
#include "consensus/consensus_internal.h"

/* --- memory */

/* Half-way through a failed step the library holds pointers that it has freed, and
 * frees them again: without memory the process ends, which is as safe as any crash. */
static void *checked(void *p)
{
    ASSERT(p != NULL);
    return p;
}

static void *heap_malloc(void *data, size_t size)
{
    (void)data;
    return checked(pages_malloc(size));
}

static void *heap_calloc(void *data, size_t n, size_t size)
{
    (void)data;
    return checked(calloc(n, size));
}

static void *heap_realloc(void *data, void *old, size_t size)
{
    (void)data;
    return checked(realloc(old, size));
}

static void heap_free(void *data, void *p)
{
    (void)data;
    free(p);
}

void library_use_heap(void)
{
    static const struct raft_heap heap = {
        .malloc = heap_malloc, .free = heap_free, .calloc = heap_calloc, .realloc = heap_realloc};
    raft_heap_set((struct raft_heap *)(uintptr_t)&heap); /* reads only */
}

/* --- types */

int library_config_make(const struct cons_config *config, struct raft_configuration *ret_conf)
{
    struct raft_configuration conf;
    raft_configuration_init(&conf);
    for (uint32_t i = 0; i < config->n; i++) {
        const struct cons_member *m = &config->members[i];
        char address[24];
        snprintf(address, sizeof address, "%llu", (unsigned long long)m->store_id);
        if (raft_configuration_add(&conf, m->replica_id, address, (int)m->role) != 0) {
            raft_configuration_close(&conf);
            return ERR_NOMEM; /* ids and stores are unique: checked before */
        }
    }
    *ret_conf = conf;
    return 0;
}

bool library_config_equal(const struct raft_configuration *conf, const struct cons_config *config)
{
    if (conf->n != config->n)
        return false;
    for (uint32_t i = 0; i < config->n; i++) {
        const struct raft_server *s = &conf->servers[i];
        const struct cons_member *m = &config->members[i];
        if (s->id != m->replica_id || s->role != (int)m->role)
            return false;
        if (strtoull(s->address, NULL, 10) != m->store_id)
            return false;
    }
    return true;
}

void library_config_set_roles(struct raft_configuration *conf, const struct cons_config *config)
{
    ASSERT(conf->n == config->n);
    for (uint32_t i = 0; i < config->n; i++) {
        ASSERT(conf->servers[i].id == config->members[i].replica_id);
        conf->servers[i].role = (int)config->members[i].role;
    }
}

int library_metadata_make(const struct cons_base *base, struct raft_snapshot_metadata *ret_meta)
{
    struct raft_snapshot_metadata meta = {
        .index = base->index,
        .term = base->term,
        .configuration_index = base->config_index,
    };
    int rv = library_config_make(&base->config, &meta.configuration);
    if (rv != 0)
        return rv;
    *ret_meta = meta;
    return 0;
}

int library_error(int rv)
{
    switch (rv) {
    case 0:
        return 0;
    case RAFT_NOMEM:
        return ERR_NOMEM;
    case RAFT_NOTLEADER:
        return ERR_NOT_LEADER;
    case RAFT_CANTCHANGE:
    case RAFT_BUSY:
        return ERR_BUSY;
    case RAFT_NOTFOUND:
    case RAFT_BADID:
        return ERR_NOT_FOUND;
    default:
        return ERR_INVALID;
    }
}
