/* SPDX-License-Identifier: Apache-2.0
 *
 * steps — what placement wants done at a range that this store leads, as a request that
 * the store asks of itself (inner.h), once it is seen that the step fits what the range is
 * now: idempotent, and guarded by both epochs.
 */
#ifndef STORE_STEPS_H_
#define STORE_STEPS_H_

#include "wire/driver_msg.h"

struct store;

/* Take one of placement at `from_store`, in its term; step_done follows, unless the very
 * step is being done already. */
void steps_take(struct store *store, uint64_t from_store, uint64_t term,
                const struct step_order *step);

/* After env_stop(): nobody hears of what is in flight. */
void steps_free(struct store *store);

#endif
