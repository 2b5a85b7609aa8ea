/* SPDX-License-Identifier: Apache-2.0
 *
 * options — from what the operator wrote (config.h) to what the store takes.
 *
 * Ownership  *ret_options borrows texts of `config` and bytes of `secret`.
 */
#ifndef SERVER_OPTIONS_H_
#define SERVER_OPTIONS_H_

#include "server/config.h"
#include "store/store.h"

/* Every option that a key stands for; the rest as store_options_init() leaves it. */
void options_of_config(const struct config *config, struct slice secret,
                       const struct logger *logger, struct store_options *ret_options);

#endif
