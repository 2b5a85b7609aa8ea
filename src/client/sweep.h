/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep — delete the keys of a span, one bounded step at a time.
 *
 *   SCAN, keys only, linearizable ──▶ one WRITE that deletes what was found ──▶ cb
 *     ▲                                  │ the keys lie in two ranges by now: not done
 *     └──────────────────────────────────┘
 *
 * A step deletes keys of one range by one command: all of them or none, in one entry of
 * the log, and, with a session, exactly once: a key that somebody puts again after its
 * deletion stays. It says where the next step begins; between two steps nothing is kept
 * anywhere, so that whoever knows the cursor can go on.
 *
 * In a hashed keyspace the span is in every slot: slot after slot is swept, and a step looks at
 * some that have nothing until it finds one that has. Cursor and command name keys as they are
 * stored, behind their slots. What stands behind no slot is of no span between bounds. A span
 * without bounds is swept as if there were no slots.
 *
 * Ownership  the caller owns sweep and op, and the bytes of start, end and from, until cb. What is
 *            in the outputs stays until client_sweep_fini() or the next start.
 * Threads    as the client.
 * Errors     as of client_submit(). The cb's result has no response. With ERR_UNDETERMINED
 *            `op` is the change whose outcome is unknown, and `command` says of which keys. With
 *            any other error nothing was deleted.
 * Limits     SWEEP_KEYS_MAX keys and SWEEP_BYTES_MAX bytes of keys a step; SWEEP_SLOTS_MAX
 *            scans that find nothing.
 */
#ifndef CLIENT_SWEEP_H_
#define CLIENT_SWEEP_H_

#include "client/client.h"

enum { SWEEP_KEYS_MAX = 1000, SWEEP_BYTES_MAX = 1 << 20, SWEEP_SLOTS_MAX = 64 };

struct client_sweep;

/* May start the sweep again, or free it. */
typedef void (*client_sweep_cb)(struct client_sweep *sweep, const struct client_result *result);

struct client_sweep {
    /* in; the rest zeroed before the first start */
    void *data;           /* caller's */
    struct client_op *op; /* idle; time-out and trace id are the caller's to set */
    uint32_t keyspace;
    uint32_t slots;      /* of the keyspace; 0: it is not hashed */
    struct slice start;  /* included; empty: from the first key */
    struct slice end;    /* excluded; empty: to the last key */
    struct slice from;   /* the cursor of the step before; empty: this is the first */
    uint32_t limit_keys; /* of this step; 0: SWEEP_KEYS_MAX */
    client_sweep_cb cb;

    /* out */
    uint64_t deleted; /* keys that the scan found and the command deleted: also those that another
                         has deleted in between, which only a read of each could tell */
    uint64_t version; /* of their deletion; 0: there was none */
    bool has_more;    /* go on at `cursor` */
    bool is_range_end;
    bool is_forgotten; /* undetermined because the range has forgotten the first sending, which may
                          be before the deadline */
    struct buf cursor;
    struct buf command; /* of the deletion, encoded, without a stamp; empty: none was sent */

    /* private */
    struct client *client;
    uint64_t deadline_us;
    struct buf key; /* the first one */
    struct buf low; /* what is scanned, as it is stored */
    struct buf high;
    uint32_t slot;
    uint32_t found;
    uint32_t tries;  /* because ranges changed */
    uint32_t passed; /* scans that found nothing */
};

/* Do one step. An error: nothing was started and no callback comes. ERR_INVALID: the span is
 * upside down, or the cursor is none of it; ERR_TOO_LARGE: no key behind a slot is that long. */
int client_sweep_start(struct client *client, struct client_sweep *sweep);

/* While the op is idle. Accepts zeroes. */
void client_sweep_fini(struct client_sweep *sweep);

#endif
