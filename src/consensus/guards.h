/* SPDX-License-Identifier: Apache-2.0
 *
 * guards — one name for each defect of the library (or rule of ours) that would
 * break the group, and, in the test build alone, a switch to leave it out.
 *
 * In the ordinary build guard_on() is the constant true and nothing can be
 * switched. With HOLDFAST_TEST_GUARDS the tests leave out one guard at a time and
 * show what then goes wrong: a guard without such a test is not known to work.
 */
#ifndef CONSENSUS_GUARDS_H_
#define CONSENSUS_GUARDS_H_

#include "base/base.h"

struct consensus;

enum cons_guard {
    GUARD_T1,          /* no forged success in the answer to a message of an old term */
    GUARD_T2,          /* received entries are cut before each CHANGE */
    GUARD_T2B,         /* an older CHANGE is committed in the library before a newer comes */
    GUARD_T3,          /* a rejection at or below the match index is old: drop */
    GUARD_T4,          /* a refused pre-vote tells our own, higher term */
    GUARD_T5,          /* entries below our snapshot are cut off */
    GUARD_T6,          /* the commit index never falls */
    GUARD_T7,          /* nothing is applied while a snapshot is installed */
    GUARD_T7B,         /* no CHANGE before an entry of the own term is committed */
    GUARD_T8,          /* durable up to below the first overwriting write only */
    GUARD_T9,          /* no AppendEntries of our own term while we lead */
    GUARD_T10,         /* vote results only as a candidate */
    GUARD_T11,         /* vote whatever our own, maybe stale, configuration says */
    GUARD_T12,         /* the disrupt flag only in the step that took TIMEOUT_NOW */
    GUARD_T14,         /* no SPARE role */
    GUARD_T15,         /* no CHANGE while another is pending */
    GUARD_TSOLO,       /* a sole voter leads only in a new term */
    GUARD_TSELF,       /* a leader never removes itself */
    GUARD_TSIZE,       /* one member a CHANGE, order kept */
    GUARD_R12,         /* no second snapshot while one is installed */
    GUARD_R15,         /* configuration bytes are checked before the library reads them */
    GUARD_R16,         /* hand over only to a follower that has everything */
    GUARD_R18,         /* no two snapshots at one index */
    GUARD_HOLD,        /* messages wait for the term and vote that they depend on */
    GUARD_VALIDATE,    /* messages are validated */
    GUARD_READ_PROBE,  /* a read waits for a majority's answers */
    GUARD_READ_NUMBER, /* only answers to the latest attempt count */
    GUARD_READ_READY,  /* no read before the own term's first commit */
    GUARD_READ_TERM,   /* a probe is answered for the durable term alone */
    GUARD_READ_CONFIG, /* the voters of the latest configuration answer, even uncommitted */
    GUARD_READ_SELF,   /* we count ourselves only if we are one of them */
    GUARD_READ_ROUND,  /* a read that comes while a probe is under way waits for the next */
    GUARD_READ_APPLY,  /* a read waits until the confirmed index is applied */
    GUARD_READ_ASKED,  /* a follower counts only the answer to its latest question */
    GUARD_PROMISE,     /* nobody votes or stands while a promise to its leader stands */
    GUARD_LIVE,        /* a CHANGE needs live voters */
    GUARD_ADMIN,       /* one CHANGE not yet applied at a time */
    GUARD_MEMBER,      /* results count from members alone */
    GUARD_ORDER,       /* entries are in our log before messages are filled from it */
    GUARD_SPLIT,       /* as many entries leave as the library believes */
    GUARD_FETCH,       /* entries read for an earlier leadership are dropped */
    GUARD_INFLIGHT,    /* unacknowledged bytes are bounded */
    GUARD_CONTACT,     /* a follower is silent after an election time-out, not sooner */
    GUARD_READY,       /* entries for a dead connection are dropped before they are read */
    GUARD_EMPTY,       /* no empty message for each proposal */
    GUARD_TRAILING,    /* the log is kept for members that lag and for streams */
    GUARD_CONFIG_STEP, /* a CHANGE that commits is stepped at once */
    GUARD_PRE_VOTE,    /* one who cannot win does not raise the term */
    GUARD_WINDOW,      /* the library's default of 32 entries throttles */
    GUARD_SEED,        /* members draw different time-outs */
    GUARD_TRACER,      /* the default tracer formats into static buffers */
    GUARD_CLOCK,       /* event.time never goes back */
    GUARD_FREEZE,      /* no time passes while asleep */
    GUARD_TIMER,       /* the next time-out is in the future */
    GUARD_BREAK,       /* nothing is stepped after the library has failed */
    GUARD_HEAP,        /* the library is never told that memory is out */
    GUARD_NR,
};

/* "T1", "TSOLO", …; NULL if out of range. */
const char *guard_name(enum cons_guard guard);

#ifdef HOLDFAST_TEST_GUARDS
#include "consensus/config.h"

/* Is it in force? Only tests switch one off. */
bool guard_on(const struct consensus *c, enum cons_guard guard);

/* Leave out every guard whose bit is set (1 << enum cons_guard). Call between
 * consensus_new() and consensus_start(). */
void consensus_test_guards_off(struct consensus *c, uint64_t mask);

/* Submit a configuration as it is, past the membership policy but not past T15 and
 * TSIZE; 0 or a negative ERR_*. */
int consensus_test_submit_change(struct consensus *c, uint64_t now_ms,
                                 const struct cons_config *config);
#else
#define guard_on(c, guard) ((void)(c), true)
#endif

#endif
