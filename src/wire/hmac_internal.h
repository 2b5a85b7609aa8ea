/* SPDX-License-Identifier: Apache-2.0
 *
 * hmac_internal — HMAC-SHA256 by libcrypto, behind a prototype of its own: the
 * library's headers and base/err.h both define ERR_STATE, so the one file that
 * includes the former may not see the latter.
 */
#ifndef WIRE_HMAC_INTERNAL_H_
#define WIRE_HMAC_INTERNAL_H_

#include "base/base.h"

enum { HMAC_LEN = 32 };

/* False, with `ret_mac` untouched, if libcrypto could not do it. */
bool hmac_sha256(struct slice key, struct slice text, uint8_t ret_mac[HMAC_LEN]);

#endif
