/* SPDX-License-Identifier: Apache-2.0
 *
 * sealed — bytes that a program keeps for us and brings back: cursors and tokens. A checksum over
 * all of them ends them, so that what was mistyped, cut off or damaged on its way is refused
 * before any of it is believed.
 *
 *   bytes … | u32 crc32c of them
 */
#ifndef CLIENT_SEALED_H_
#define CLIENT_SEALED_H_

#include "base/buf.h"

enum { SEALED_SUM_LEN = 4 };

/* End what stands in `out` from `begin` on. */
void sealed_end(struct buf *out, size_t begin);

/* Are those bytes as they were ended? Then *ret_inside is what the checksum is over. */
bool sealed_open(struct slice bytes, struct slice *ret_inside);

#endif
