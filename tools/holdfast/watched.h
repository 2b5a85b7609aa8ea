/* SPDX-License-Identifier: Apache-2.0
 *
 * watched — which keys the token of a watch is of, as far as it takes to refuse it for others.
 *
 * The library has no call that tells. What stands at the head of its tokens (client/progress.h,
 * client/lib/watch.c) is compared with that of a token that is made for the keys which were asked
 * for: whatever the library makes of a prefix or of slots is the same in both.
 */
#ifndef TOOLS_HOLDFAST_WATCHED_H_
#define TOOLS_HOLDFAST_WATCHED_H_

#include "base/base.h"

struct hf_client;
struct hf_watch_options;

/* The head of a token. Slices point into it. */
struct watched {
    uint32_t keyspace;
    struct slice start; /* as stored: in a hashed keyspace slots included … */
    struct slice end;
    struct slice bounds; /* … and what of them is wanted, as it stands there; empty: all */
};

/* False: it is none that is known here. */
bool watched_parse(struct slice token, struct watched *ret_watched);

/* Is the token of other keys than `asked` says, of its own keyspace? */
bool watched_is_other(struct hf_client *client, const struct hf_watch_options *asked,
                      const struct watched *was);

#endif
