/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a segment file: scanning ends, reads nothing outside, and what it calls
 * good can be walked. Checksums would stop most of it, so the first byte may ask to have
 * them put right at the places that look like records. */
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"
#include "raftlog/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED = 7 };

static void fuzz_mend(uint8_t *bytes, size_t len)
{
    size_t pos = HEAD_LEN;
    while (pos + RECORD_LEN <= len) {
        uint8_t *p = bytes + pos;
        size_t head_len = record_head_len((enum record_type)p[8], p[9], get_u32(p + 12));
        if (head_len > len - pos)
            return;
        put_u32(p + 36, crc32c(0, p + RECORD_LEN, head_len - RECORD_LEN));
        put_u32(p, crc32c(SEED, p + 4, RECORD_LEN - 4));
        uint32_t length = get_u32(p + 4);
        if (length < RECORD_LEN || length > len - pos)
            return;
        pos += length;
    }
}

static void fuzz_entry(void *data, uint64_t index, uint32_t offset, const struct entry_head *entry,
                       struct slice bytes)
{
    (void)index, (void)offset, (void)entry;
    uint32_t *sum = data;
    for (size_t i = 0; i < bytes.len; i++)
        *sum += bytes.data[i];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_LEN + 1)
        return 0;
    size_t len = size - 1;
    uint8_t *bytes = malloc(len);
    ASSERT(bytes != NULL);
    memcpy(bytes, data + 1, len);
    if (data[0] & 1)
        fuzz_mend(bytes, len);
    struct head head;
    if (head_decode(bytes, &head))
        ASSERT(head.number > 0 && head.first_live <= head.number);
    struct scan scan = scan_of(slice_of(bytes, len), SEED);
    struct record record;
    enum scan_result result;
    uint32_t before = 0, sum = 0;
    while ((result = scan_next(&scan, &record)) != SCAN_END) {
        ASSERT(scan.pos > before && scan.pos <= len);
        before = scan.pos;
        if (result != SCAN_RECORD)
            continue;
        struct slice in = scan_record_bytes(&scan, &record);
        ASSERT(record_walk(&record, in, fuzz_entry, &sum));
        for (uint32_t i = 0; record.type == RECORD_COPY && i < record.count; i++)
            sum += (uint32_t)record_source(&record, bytes + scan.at, i);
    }
    free(bytes);
    return 0;
}
