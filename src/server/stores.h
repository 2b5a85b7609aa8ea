/* SPDX-License-Identifier: Apache-2.0
 *
 * stores — from the configuration of a node to that of each of its stores.
 *
 *   store 1   as the file says: data_dir, listen
 *   store k   data_dir/store-k, every port + 100 × (k − 1), joins store 1's cluster
 *
 * Stores of a node carry the label node=…, so that placement keeps the replicas of a range
 * on different nodes. Sizes and bounds of the configuration are those of each store.
 */
#ifndef SERVER_STORES_H_
#define SERVER_STORES_H_

#include "server/config.h"

enum { STORES_MAX = 64, STORES_PORT_STEP = 100 };

/* The configuration of store k, 1 to config->stores. ERR_INVALID: a port that cannot be
 * counted up from, or names that grow too long. */
int stores_config(const struct config *config, uint32_t k, struct config *ret_config,
                  struct err *err);

#endif
