/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a manifest, and as the record of one: decoding ends, reads nothing
 * outside, and what it accepts is sane and comes out the same when written again. */
#include <stdlib.h>

#include "lsm/manifest.h"
#include "lsm/version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_record(void *data, uint64_t seq, struct slice payload, struct err *err)
{
    struct edit edit = {0}, again = {0};
    struct buf raw;
    (void)data, (void)seq;
    int rv = edit_decode(payload, &edit, err);
    if (rv != 0)
        return rv;
    buf_init(&raw, 64 << 20);
    edit_encode(&edit, &raw);
    ASSERT(!raw.failed);
    ASSERT(edit_decode(buf_slice(&raw), &again, NULL) == 0);
    ASSERT(again.add_count == edit.add_count && again.drop_count == edit.drop_count);
    for (size_t i = 0; i < edit.add_count; i++)
        ASSERT(slice_compare(edit.adds[i].piece->lo, edit.adds[i].piece->hi) < 0);
    struct version *empty = version_new(), *v = NULL;
    ASSERT(empty != NULL);
    if (version_apply(empty, &edit, &v, NULL) == 0)
        version_unref(v);
    version_unref(empty);
    edit_fini(&edit);
    edit_fini(&again);
    buf_fini(&raw);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool is_torn;
    if (size == 0)
        return 0;
    struct slice rest = slice_of(data + 1, size - 1);
    if (data[0] & 1)
        fuzz_record(NULL, 1, rest, NULL);
    else
        manifest_parse(rest, 7, fuzz_record, NULL, &is_torn, NULL);
    return 0;
}
