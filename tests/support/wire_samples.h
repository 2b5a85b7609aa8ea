/* SPDX-License-Identifier: Apache-2.0
 *
 * wire_samples — one good body of every message there is, with every field set,
 * and every decoder behind one prototype: for mutation tests and fuzz targets.
 */
#ifndef TESTS_SUPPORT_WIRE_SAMPLES_H_
#define TESTS_SUPPORT_WIRE_SAMPLES_H_

#include "base/buf.h"
#include "base/err.h"

struct wire_sample {
    const char *name;
    void (*encode)(struct buf *buf); /* append a good body */
    /* Decode and, if that succeeds, look at all that was decoded: read every
     * borrowed byte, walk every list. */
    int (*decode)(struct slice body, struct err *err);
    /* Append what was decoded from a body that decode() accepts. */
    void (*recode)(struct slice body, struct buf *buf);
};

extern const struct wire_sample wire_samples[];
extern const size_t wire_samples_count;

#endif
