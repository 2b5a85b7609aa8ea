/* SPDX-License-Identifier: Apache-2.0
 *
 * client — the pieces of jepsen-client: an operation as it is asked for and answered.
 */
#ifndef JEPSEN_CLIENT_H_
#define JEPSEN_CLIENT_H_

#include "base/buf.h"
#include "base/json.h"
#include "holdfast.h"

enum { TEXTS_MAX = 1 << 20 };

struct watching;

/* An operation on its way: what was asked, and the answer as it is written. */
struct op {
    struct hf_client *hf;
    struct hf_client *other; /* with connections of its own */
    struct hf_call call;
    const struct json_node *nodes;
    struct buf texts; /* of keys and values; reserved once, so that slices into it stay */
    struct hf_bytes key;
    const struct json_node *value; /* NULL: none */
    struct json_writer out;
    struct watching *watching; /* kept from operation to operation */
};

uint64_t client_now_ns(void);

/* The text of a node (a number in its digits), or an empty one. */
struct hf_bytes client_text(struct op *op, const struct json_node *node);

/* Element `index` of the list `list`; NULL if it has none. */
const struct json_node *client_element(const struct op *op, const struct json_node *list,
                                       size_t index);

/* "type", and "error" and "message" if there is one. */
void client_put_type(struct op *op, int code, const char *message);

/* One that watches nothing yet; NULL: no memory, or this library cannot watch. */
struct watching *watching_new(void);
void watching_free(struct watching *w); /* NULL is fine */

/* f "watch". 0, or -1 if it was asked for nonsense. */
int watching_run(struct op *op);

/* Can this library watch? */
bool watching_is_there(void);

#endif
