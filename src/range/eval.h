/* SPDX-License-Identifier: Apache-2.0
 *
 * eval — what the commands of one entry do: decode, judge, compute. Reads the state
 * before the entry from the engine, and what the entry itself wrote from the
 * overlay; writes the overlay alone.
 *
 *   eval_begin ─▶ eval_command … eval_command ─▶ overlay ─▶ (engine) ─▶ eval_end
 *                    │ ERR_WOULD_BLOCK
 *                    └─▶ eval_collect … eval_collect ─▶ prefetch ─▶ begin again
 *
 * A command of a session is looked up first: what was done before is answered with the
 * result that it had, and nothing is done. The session learns the result of one that is
 * judged, but for refusals after which it may be sent again (ERR_RANGE_CHANGED, ERR_BUSY).
 * Then, in a command: every key is compared with the span; then every condition is judged,
 * against the state before the command; then the operations are done in order, each
 * seeing those before it. Whatever stops one of them stops the command, and nothing
 * of it is done.
 *
 * Ownership  results and overlay records are borrowed until eval_end().
 * Errors     what a command does wrong is in its result. An error is the engine's
 *            (ERR_CORRUPT, ERR_IO), ERR_NOMEM, or ERR_UNSUPPORTED: a command of a
 *            later format, which this replica must not skip.
 * Invariants a pure function of commands, state, span and time.
 * Limits     RANGE_ENTRY_WORK_MAX, RANGE_RESULT_MAX (range.h).
 */
#ifndef RANGE_EVAL_H_
#define RANGE_EVAL_H_

#include "base/arena.h"
#include "lsm/lsm.h"
#include "range/descriptor.h"
#include "range/overlay.h"
#include "range/prefetch.h"
#include "range/sessions.h"
#include "wire/command.h"

struct eval_pin;

struct eval {
    struct overlay overlay;
    struct session_stage stage; /* what the entry adds to the sessions */
    /* private */
    struct arena arena;
    struct lsm *lsm;
    struct prefetch *prefetch;       /* what was read for this entry; NULL: nothing */
    struct lsm_view *view;           /* taken at the first read */
    struct eval_pin *pins;           /* values that results may point into */
    const struct sessions *sessions; /* before the entry */
    uint64_t floor_ms;
    struct range_span span;
    uint64_t time_ms;     /* expired at or before; ttl counts from here */
    struct buf result;    /* scratch: an encoded result for the sessions */
    size_t work;          /* bytes of values read or made by this entry */
    bool wants_digest;    /* a command of this entry asks for one */
    bool is_spent;        /* a command passed the limit: no later one may read */
    struct slice blocked; /* after ERR_WOULD_BLOCK: the key that is not in memory */
};

/* `hash_key` seeds the overlay's table. */
void eval_init(struct eval *eval, const uint64_t hash_key[2]);

/* Free everything; usable after. */
void eval_fini(struct eval *eval);

/* The state before an entry; all of it is borrowed until eval_end(). */
struct eval_state {
    struct lsm *lsm;
    struct prefetch *prefetch; /* what was read for this entry; NULL: nothing */
    const struct sessions *sessions;
    uint64_t floor_ms; /* of the sessions */
    struct range_span span;
    uint64_t time_ms; /* of the entry */
};

/* An entry begins. */
void eval_begin(struct eval *eval, const struct eval_state *state);

/* Do one encoded command at `version`. *ret_result says what came of it. */
int eval_command(struct eval *eval, struct slice command, uint64_t version,
                 struct command_result *ret_result, struct err *err);

/* Note in the prefetch which keys the command needs that are not in memory, until
 * `wanted_max` are noted. */
int eval_collect(struct eval *eval, struct slice command, uint32_t wanted_max);

/* Forget the entry. */
void eval_end(struct eval *eval);

/* A decimal 64-bit integer in the one form that eval writes: no sign but '-', no
 * leading zero, no space. ERR_NOT_NUMBER, untouched on error. */
int eval_parse_number(struct slice text, int64_t *ret_number);

#endif
