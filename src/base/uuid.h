/* SPDX-License-Identifier: Apache-2.0
 *
 * uuid — 128-bit identities of stores and clusters (RFC 9562, version 4), as
 * "6ba7b810-9dad-41d1-80b4-00c04fd430c8" in text.
 */
#ifndef BASE_UUID_H_
#define BASE_UUID_H_

#include "base/base.h"

enum { UUID_LEN = 16, UUID_TEXT_MAX = 37 }; /* with the NUL */

struct uuid {
    uint8_t bytes[UUID_LEN];
};

/* Turn 16 random bytes into a version 4 uuid. */
struct uuid uuid_make(const uint8_t random[UUID_LEN]);

/* Lower-case text with its NUL. */
void uuid_format(const struct uuid *uuid, char ret_text[UUID_TEXT_MAX]);

/* 0, or ERR_INVALID unless `text` is exactly the canonical form (either case). */
int uuid_parse(struct slice text, struct uuid *ret_uuid);

/* The zero uuid stands for "none". */
bool uuid_is_zero(const struct uuid *uuid);

/* The same 16 bytes? */
bool uuid_equal(const struct uuid *a, const struct uuid *b);

#endif
