/* SPDX-License-Identifier: Apache-2.0
 *
 * configs — the configurations that our log holds, by index, and how the library is
 * told of those that commit.
 *
 * The library keeps one committed and one uncommitted configuration. It forgets a
 * committed one if a later CHANGE was appended before it heard (R2b), and then rolls
 * back too far. So before a CHANGE is appended above another, the library is made to
 * take the lower one for committed: a leader proposes a CHANGE only when the one
 * before has committed, so it is, whether we know it yet or not.
 */
#include <stdlib.h>

#include "base/coding.h"
#include "consensus/consensus_internal.h"

void configs_init(struct cons_configs *cfgs, const struct cons_base *base)
{
    free(cfgs->list);
    *cfgs = (struct cons_configs){
        .base = {.index = base->config_index, .config = base->config},
    };
}

void configs_fini(struct cons_configs *cfgs)
{
    free(cfgs->list);
    cfgs->list = NULL;
    cfgs->n = cfgs->cap = 0;
}

void configs_trim(struct cons_configs *cfgs)
{
    if (cfgs->n == 0)
        configs_fini(cfgs);
}

const struct cons_config_at *configs_latest(const struct cons_configs *cfgs)
{
    return cfgs->n > 0 ? &cfgs->list[cfgs->n - 1] : &cfgs->base;
}

const struct cons_config_at *configs_at(const struct cons_configs *cfgs, uint64_t index)
{
    for (uint32_t i = cfgs->n; i > 0; i--) {
        if (cfgs->list[i - 1].index <= index)
            return &cfgs->list[i - 1];
    }
    return &cfgs->base;
}

int configs_append(struct cons_configs *cfgs, uint64_t index, const struct cons_config *config)
{
    ASSERT(index > configs_latest(cfgs)->index);
    if (cfgs->n == cfgs->cap) {
        uint32_t cap = cfgs->cap == 0 ? 2 : cfgs->cap * 2;
        struct cons_config_at *list = realloc(cfgs->list, cap * sizeof *list);
        if (list == NULL)
            return ERR_NOMEM;
        cfgs->list = list;
        cfgs->cap = cap;
    }
    cfgs->list[cfgs->n++] = (struct cons_config_at){.index = index, .config = *config};
    return 0;
}

void configs_truncate(struct cons_configs *cfgs, uint64_t first_index)
{
    while (cfgs->n > 0 && cfgs->list[cfgs->n - 1].index >= first_index)
        cfgs->n--;
}

void configs_compact(struct cons_configs *cfgs, uint64_t index)
{
    uint32_t k = 0;
    while (k < cfgs->n && cfgs->list[k].index <= index)
        k++;
    if (k == 0)
        return;
    cfgs->base = cfgs->list[k - 1];
    cfgs->n -= k;
    memmove(cfgs->list, cfgs->list + k, cfgs->n * sizeof *cfgs->list);
}

void configs_commit_library(struct consensus *c, const struct cons_config_at *at)
{
    struct raft *r = &c->raft;
    struct raft_configuration conf;

    if (r->configuration_committed_index >= at->index)
        return;
    if (library_config_make(&at->config, &conf) != 0) {
        consensus_break(c, ERR_NOMEM, "out of memory");
        return;
    }
    if (r->configuration_uncommitted_index == at->index) {
        struct raft_event event = step_make(c, RAFT_CONFIGURATION);
        event.configuration.index = at->index;
        event.configuration.conf = conf; /* the library's from here on */
        step_event(c, &event, NULL);
        return;
    }
    /* Not the library's latest: it would ignore the event. */
    raft_configuration_close(&r->configuration_committed);
    r->configuration_committed = conf;
    r->configuration_committed_index = at->index;
}

void configs_commit(struct consensus *c, uint64_t from, uint64_t to)
{
    if (!guard_on(c, GUARD_CONFIG_STEP))
        return;
    for (uint32_t i = 0; i < c->configs.n && c->broken == NULL; i++) {
        struct cons_config_at at = c->configs.list[i];
        if (at.index <= from || at.index > to)
            continue;
        if (!guard_on(c, GUARD_T2B) && c->raft.configuration_uncommitted_index != at.index)
            continue;
        configs_commit_library(c, &at);
    }
}

void configs_tell(struct consensus *c)
{
    struct cons_configs *cfgs = &c->configs;
    const struct cons_config_at *at = configs_latest(cfgs);
    bool is_committed = at->index <= c->commit;
    if (at->config.n == 0)
        return; /* a blank joiner */
    if (cfgs->is_told && cfgs->told_index == at->index && cfgs->told_committed == is_committed)
        return;
    cfgs->is_told = true;
    cfgs->told_index = at->index;
    cfgs->told_committed = is_committed;
    c->opts.ops->config_changed(c->opts.ctx, &at->config, at->index, is_committed);
}

#ifdef HOLDFAST_TEST_GUARDS
/* With GUARD_T14 out: let the SPARE role through, as the library would. */
static int decode_spare(struct slice data, struct cons_config *ret_config)
{
    uint8_t copy[CONS_CONFIG_LEN_MAX];
    struct cons_config config;
    if (data.len < 10 || data.len > sizeof copy)
        return ERR_CORRUPT;
    memcpy(copy, data.data, data.len);
    size_t last = data.len - 1; /* our own encoding: the role of the last member */
    if (copy[last] != RAFT_SPARE)
        return ERR_CORRUPT;
    copy[last] = CONS_LEARNER;
    int rv = cons_config_decode(slice_of(copy, data.len), &config, NULL);
    if (rv != 0)
        return rv;
    config.members[config.n - 1].role = (enum cons_role)RAFT_SPARE;
    *ret_config = config;
    return 0;
}
#endif

int configs_decode(const struct consensus *c, struct slice data, struct cons_config *ret_config,
                   struct err *err)
{
#ifdef HOLDFAST_TEST_GUARDS
    if (!guard_on(c, GUARD_T14) && decode_spare(data, ret_config) == 0)
        return 0;
#endif
    (void)c;
    return cons_config_decode(data, ret_config, err);
}
