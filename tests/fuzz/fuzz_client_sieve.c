/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as the token of a watch of which not all is told: as they are, and as bounds with the
 * head and the checksum that belong to them, in front of another token. What is accepted is the
 * same when it is written again. */
#include "base/err.h"
#include "client/sealed.h"
#include "client/sieve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_bytes(struct slice bytes)
{
    struct sieve sieve;
    struct buf again;
    struct slice rest = bytes;
    sieve_init(&sieve);
    buf_init(&again, SIZE_MAX);
    int rv = sieve_decode(&sieve, &rest);
    ASSERT(rv == 0 || (rv == ERR_INVALID && !sieve.is_on));
    ASSERT(rest.len <= bytes.len && (rv != 0 || sieve.is_on == (rest.len < bytes.len)));
    if (rv == 0) {
        sieve_encode(&sieve, &again);
        buf_append_slice(&again, rest);
        ASSERT(slice_equal(buf_slice(&again), bytes));
        (void)sieve_passes(&sieve, rest);
    }
    buf_fini(&again);
    sieve_fini(&sieve);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole;
    try_bytes(slice_of(data, size));
    buf_init(&whole, SIZE_MAX);
    buf_append_u8(&whole, 0xc1);
    buf_append(&whole, data, size);
    sealed_end(&whole, 0);
    buf_append_u8(&whole, 1);
    if (!whole.failed)
        try_bytes(buf_slice(&whole));
    buf_fini(&whole);
    return 0;
}
