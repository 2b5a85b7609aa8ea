/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/guards.h"

#include "consensus/consensus_internal.h"

static const char *const names[GUARD_NR] = {
    [GUARD_T1] = "T1",
    [GUARD_T2] = "T2",
    [GUARD_T2B] = "T2B",
    [GUARD_T3] = "T3",
    [GUARD_T4] = "T4",
    [GUARD_T5] = "T5",
    [GUARD_T6] = "T6",
    [GUARD_T7] = "T7",
    [GUARD_T7B] = "T7B",
    [GUARD_T8] = "T8",
    [GUARD_T9] = "T9",
    [GUARD_T10] = "T10",
    [GUARD_T11] = "T11",
    [GUARD_T12] = "T12",
    [GUARD_T14] = "T14",
    [GUARD_T15] = "T15",
    [GUARD_TSOLO] = "TSOLO",
    [GUARD_TSELF] = "TSELF",
    [GUARD_TSIZE] = "TSIZE",
    [GUARD_R12] = "R12",
    [GUARD_R15] = "R15",
    [GUARD_R16] = "R16",
    [GUARD_R18] = "R18",
    [GUARD_HOLD] = "HOLD",
    [GUARD_VALIDATE] = "VALIDATE",
    [GUARD_READ_PROBE] = "READ_PROBE",
    [GUARD_READ_NUMBER] = "READ_NUMBER",
    [GUARD_READ_READY] = "READ_READY",
    [GUARD_READ_TERM] = "READ_TERM",
    [GUARD_READ_CONFIG] = "READ_CONFIG",
    [GUARD_READ_SELF] = "READ_SELF",
    [GUARD_READ_ROUND] = "READ_ROUND",
    [GUARD_READ_APPLY] = "READ_APPLY",
    [GUARD_READ_ASKED] = "READ_ASKED",
    [GUARD_PROMISE] = "PROMISE",
    [GUARD_LIVE] = "LIVE",
    [GUARD_ADMIN] = "ADMIN",
    [GUARD_MEMBER] = "MEMBER",
    [GUARD_ORDER] = "ORDER",
    [GUARD_SPLIT] = "SPLIT",
    [GUARD_FETCH] = "FETCH",
    [GUARD_INFLIGHT] = "INFLIGHT",
    [GUARD_CONTACT] = "CONTACT",
    [GUARD_READY] = "READY",
    [GUARD_EMPTY] = "EMPTY",
    [GUARD_TRAILING] = "TRAILING",
    [GUARD_CONFIG_STEP] = "CONFIG_STEP",
    [GUARD_PRE_VOTE] = "PRE_VOTE",
    [GUARD_WINDOW] = "WINDOW",
    [GUARD_SEED] = "SEED",
    [GUARD_TRACER] = "TRACER",
    [GUARD_CLOCK] = "CLOCK",
    [GUARD_FREEZE] = "FREEZE",
    [GUARD_TIMER] = "TIMER",
    [GUARD_BREAK] = "BREAK",
    [GUARD_HEAP] = "HEAP",
};

const char *guard_name(enum cons_guard guard)
{
    return (unsigned)guard < GUARD_NR ? names[guard] : NULL;
}

#ifdef HOLDFAST_TEST_GUARDS
_Static_assert(GUARD_NR <= 64, "one bit each");

bool guard_on(const struct consensus *c, enum cons_guard guard)
{
    ASSERT((unsigned)guard < GUARD_NR);
    return (c->guards_off & (UINT64_C(1) << guard)) == 0;
}

void consensus_test_guards_off(struct consensus *c, uint64_t mask)
{
    ASSERT(!c->is_started);
    c->guards_off = mask;
}

int consensus_test_submit_change(struct consensus *c, uint64_t now_ms,
                                 const struct cons_config *config)
{
    uint64_t index = 0;
    if (!consensus_enter(c, now_ms))
        return ERR_STATE;
    int rv = change_submit(c, config, &index, NULL);
    consensus_leave(c);
    return rv;
}
#endif
