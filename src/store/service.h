/* SPDX-License-Identifier: Apache-2.0
 *
 * service — what clients ask of this store, and the answers.
 *
 *   net ─▶ service_on_request() ─▶ replica_write() / replica_read() / admin.c
 *                                        └──▶ service_answer_*() ─▶ net
 *
 * Invariants (A1) each request is answered once, or its connection is gone.
 *            (A2) a status other than 0 and ERR_UNDETERMINED means that nothing
 *            has happened and nothing will.
 */
#ifndef STORE_SERVICE_H_
#define STORE_SERVICE_H_

#include "store/replica.h"
#include "wire/command.h"
#include "wire/response.h"

struct store;

/* net_hooks.on_request. */
int service_on_request(void *data, uint64_t client, struct slice body, struct err *err);
void service_on_client_drained(void *data, uint64_t client);
void service_on_client_gone(void *data, uint64_t client);

/* Begin what was admitted: `request` is what `body` holds. */
void service_serve(struct store *store, struct answer_to *to, const struct request *request,
                   struct slice body);

/* An answer without content; `text` may be NULL. NOT_LEADER carries the hint. */
void service_answer_status(struct store *store, const struct answer_to *to, int status,
                           const char *text);

/* BUSY: come again in `retry_after_ms`. */
void service_answer_busy(struct store *store, const struct answer_to *to, uint32_t retry_after_ms,
                         const char *text);

/* The stored result of a session's command, in its encoded form. */
void service_answer_stored(struct store *store, const struct answer_to *to, struct slice result);
void service_answer_write(struct store *store, const struct answer_to *to,
                          const struct command_result *result);
void service_answer_read(struct store *store, const struct answer_to *to, enum request_kind kind,
                         const struct range_read *read);

/* The same in two steps, of which the first may be taken off the loop: it touches nothing but what
 * it is given. ERR_NOMEM, and `out` is of no use. */
int service_make_read(struct buf *out, const struct answer_to *to, enum request_kind kind,
                      const struct range_read *read);
void service_answer_made(struct store *store, const struct answer_to *to, struct buf *made,
                         size_t rows_len);

/* ERR_VERSION_GONE, and what the read knows of the why. */
void service_answer_gone(struct store *store, const struct answer_to *to, enum request_kind kind,
                         const struct range_read *read);

/* Encode and send. `response->id` and trace id are taken from `to`. */
void service_answer(struct store *store, const struct answer_to *to, struct response *response);

/* ---- admin.c ------------------------------------------------------------------- */

/* Requests about stores, members and leaders; answered exactly once, now or later. */
void admin_on_request(struct store *store, struct answer_to *to, const struct request *request);

/* Answer what waited and is decided now. */
void admin_tick(struct store *store);
void admin_free(struct store *store);

#endif
