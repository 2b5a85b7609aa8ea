/* SPDX-License-Identifier: Apache-2.0
 *
 * crc32c — the Castagnoli checksum (RFC 3720 B.4) that stands over every byte at
 * rest and on the wire. Uses the processor's instruction where there is one.
 */
#ifndef BASE_CRC32C_H_
#define BASE_CRC32C_H_

#include "base/base.h"

/* Continue `crc` (0 to begin) over `len` bytes:
 * crc32c(crc32c(0, a), b) == crc32c(0, a followed by b). */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
