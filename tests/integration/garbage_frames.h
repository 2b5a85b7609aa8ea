/* SPDX-License-Identifier: Apache-2.0
 *
 * garbage_frames — frames that a hostile or broken client, peer or sender of a snapshot
 * might send: random bytes, headers that promise too much, good messages of every kind,
 * the same mutated under a checksum that is right, compressed bodies damaged inside.
 *
 * Ownership  a maker borrows its rng; garbage_maker_fini() frees its buffers.
 */
#ifndef TESTS_INTEGRATION_GARBAGE_FRAMES_H_
#define TESTS_INTEGRATION_GARBAGE_FRAMES_H_

#include "base/buf.h"
#include "base/rng.h"
#include "wire/hello.h"

/* What a member of the group knows: with it, messages come near to what is acted on. */
struct garbage_truth {
    uint64_t group;
    uint64_t term;
    uint64_t last_index;
    uint64_t from_replica;
    uint64_t to_replica;
};

struct garbage_maker {
    struct rng *rng;
    struct garbage_truth truth;
    uint64_t in_stream; /* frames of this snapshot stream so far; the caller sets it to 0 */
    bool claims;        /* the next frame to a peer speaks for the replica it is sent to */
    /* private */
    struct buf body;
    struct buf part;
};

void garbage_maker_init(struct garbage_maker *m, struct rng *rng);
void garbage_maker_fini(struct garbage_maker *m);

enum garbage_made {
    GARBAGE_NOTHING, /* it would have changed who is a member or who leads */
    GARBAGE_FRAME,
    GARBAGE_TORN, /* what follows it would be taken for its end */
};

/* One frame at the end of `out`, for a connection of `purpose`. */
enum garbage_made garbage_make(struct garbage_maker *m, enum hello_purpose purpose,
                               struct buf *out);

#endif
