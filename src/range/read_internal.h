/* SPDX-License-Identifier: Apache-2.0
 *
 * read_internal — what gets (read.c) and scans (scan.c) share.
 */
#ifndef RANGE_READ_INTERNAL_H_
#define RANGE_READ_INTERNAL_H_

#include "range/read.h"

/* Is a record with this expiry to be seen? ERR_STATE (and needs_stamp) if only a
 * stamp can tell. */
int read_judge(struct range_read *read, uint64_t expiry_ms, bool *ret_is_visible);

/* Append a row that is visible. */
void read_add_row(struct range_read *read, struct slice key, struct slice value, uint64_t version,
                  uint64_t expiry_ms);

/* Would `more` bytes of keys and values be too many to be copied here, on the loop? */
bool read_is_too_long(const struct range_read *read, size_t more, unsigned flags);

/* Are keys to be read at the read's version, of which none below `least` is good (seams.h)?
 * 0 or ERR_VERSION_GONE. */
int read_check_seam(struct range_read *read, uint64_t least);

/* Bounds on disk from the bounds asked for. ERR_INVALID, ERR_RANGE_CHANGED, ERR_VERSION_GONE,
 * ERR_NOMEM. */
int read_scan_begin(const struct range *range, struct range_read *read);

/* Go on with a scan between lower and upper. ERR_WOULD_BLOCK only with
 * LSM_READ_NO_IO; then lower and upper are what is left. */
int read_scan(struct range_read *read, unsigned flags);

#endif
