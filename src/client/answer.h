/* SPDX-License-Identifier: Apache-2.0
 *
 * answer — does what a store said fit what it was asked for?
 *
 * A response that was decoded is well formed by itself (wire/response.h). Who takes it for the
 * answer to a request relies on more: a row for each key, keys of the span that was asked for and
 * in its order, a cursor behind them. A store that says anything else is not understood, like one
 * whose bytes make no sense.
 *
 * Of a change nothing is looked at here: that it was done is known by the status alone, and who
 * tells of its details looks whether they fit (client/lib/result.c). A status, an identity and
 * figures say by themselves whose they are.
 *
 * Errors     ERR_CORRUPT, and `err` says what does not fit.
 */
#ifndef CLIENT_ANSWER_H_
#define CLIENT_ANSWER_H_

#include "wire/request.h"
#include "wire/response.h"

/* `response` was accepted by response_decode(). */
int answer_check(const struct request *request, const struct response *response, struct err *err);

#endif
