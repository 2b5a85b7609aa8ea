/* SPDX-License-Identifier: Apache-2.0
 *
 * driver — who hosts placement (placement/placement.h): on the store that leads range 1,
 * for as long as it leads in one term.
 *
 *   OFF ─leads, all of its log applied─▶ LOADING ─all rows of range 1 read─▶ RUNNING
 *    ▲____________________________________|______________________________________|
 *             leads no more, or in another term; a write of its own failed
 *
 *   store_beat, range_beat, step_done, JOIN, PLACEMENT ─▶ placement ─▶ rows: writes that
 *       are proposed in this very term or not at all ─▶ range 1
 *                                          └─ after a probe: steps ─▶ driver_word ─▶ leaders
 *
 * Everybody's address that a heartbeat or a join tells goes into our own book, and what is
 * new in there to every store with its next answer.
 *
 * Invariants (V1) no two terms in one placement. (V2) one write at a time, and what it
 *            makes durable is told to nobody before. (V3) nothing planned goes out unless
 *            leadership was confirmed by a probe since the last round.
 * Limits     those of placement; one page of answers to an operator; WORDS_MAX words of
 *            operators that wait to be durable, others are answered BUSY.
 */
#ifndef STORE_DRIVER_H_
#define STORE_DRIVER_H_

#include "base/base.h"

struct answer_to;

struct driver;
struct err;
struct request;
struct store;

/* Allocate it, at the start of a store; ERR_NOMEM. */
int driver_new(struct store *store, struct err *err);
void driver_free(struct store *store);

/* The store has a cluster: begin to look whether we lead range 1. Harmless when repeated. */
void driver_start(struct store *store);

/* Look again soon: who leads may have changed. */
void driver_poke(struct store *store);

/* Nobody has answered for long: learn where the stores are from what is applied here of range 1,
 * if this store has it and its book does not know all of its members. */
void driver_recall_book(struct store *store);

/* The term in which it runs; 0: it does not. For tests and status. */
uint64_t driver_term(const struct store *store);

/* A store that has the range of this on-disk key (empty: any), as placement here knows; 0:
 * it is not here, or does not know. */
uint64_t driver_route(const struct store *store, struct slice key);

/* From peers. */
int driver_on_store_beat(struct store *store, uint64_t from_store, struct slice body,
                         struct err *err);
int driver_on_range_beat(struct store *store, uint64_t from_store, struct slice body,
                         struct err *err);
int driver_on_step_done(struct store *store, uint64_t from_store, struct slice body,
                        struct err *err);

/* JOIN and PLACEMENT: answered once, now or later. */
void driver_on_join(struct store *store, struct answer_to *to, const struct request *request);
void driver_on_request(struct store *store, struct answer_to *to, const struct request *request);

#endif
