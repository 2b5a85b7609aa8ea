/* SPDX-License-Identifier: Apache-2.0
 *
 * inner — requests that a store asks of itself, through the same doors as a client's:
 * what placement keeps in range 1, and the steps that it wants done at leaders.
 *
 * Ownership  the caller's memory, which stays in place until `cb` has run or the store
 *            is freed.
 * Errors     exactly one callback for each call, unless the store is freed first; it may
 *            come from inside the call.
 */
#ifndef STORE_INNER_H_
#define STORE_INNER_H_

#include "wire/request.h"
#include "wire/response.h"

struct store;
struct inner_call;

/* Everything in `response` is borrowed until return. The call may be used again inside. */
typedef void (*inner_cb)(struct inner_call *call, const struct response *response);

struct inner_call {
    void *data; /* caller's */
    inner_cb cb;
    uint64_t only_term; /* a write: proposed in this term of the range or not at all; 0: any */
};

/* Ask. `request` needs neither id nor trace id; its bytes are copied. */
void inner_ask(struct store *store, struct inner_call *call, struct request *request);

#endif
