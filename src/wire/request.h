/* SPDX-License-Identifier: Apache-2.0
 *
 * request — what a client asks of a store. Requests are independent; responses
 * (response.h) come in any order and carry the request's id.
 *
 * Ownership  encoding borrows during the call; decoded slices and lists are
 *            borrowed from the body.
 * Errors     the decoder checks form, sizes and enumerations; limits that are
 *            configured (keys, values, pages) are for the server to test.
 * Limits     REQUEST_KEYS_MAX keys in a MULTI_GET; keys KEY_WIRE_MAX bytes.
 */
#ifndef WIRE_REQUEST_H_
#define WIRE_REQUEST_H_

#include "base/buf.h"
#include "wire/descriptor.h"
#include "wire/msg.h"
#include "wire/pack.h"

enum { REQUEST_KEYS_MAX = 10000, KEY_WIRE_MAX = 4096 };

/* Part of the protocol: never renumber, only append. */
enum request_kind {
    REQUEST_WRITE = 1,
    REQUEST_GET = 2,
    REQUEST_MULTI_GET = 3,
    REQUEST_SCAN = 4,
    REQUEST_STATUS = 5,   /* also the way to learn the route: descriptor and leader */
    REQUEST_IDENTIFY = 6, /* answered by a store that is not born, too */
    REQUEST_BOOTSTRAP = 7,
    REQUEST_TRANSFER_LEADER = 8,
    REQUEST_CHANGE_MEMBER = 9,
    REQUEST_FLUSH = 10,
    REQUEST_STATS = 11,
    REQUEST_CHECK_START = 12,  /* have all replicas digest the range at one index */
    REQUEST_CHECK_RESULT = 13, /* what came of it on the replica of this store */
    REQUEST_SPLIT = 14,        /* cut a range in two */
    REQUEST_WATCH = 15,        /* the next changes of a span */
    REQUEST_MERGE = 16,        /* take in the neighbour to the right */
    REQUEST_RETAIN = 17,       /* keep old versions of a range for so long */
    REQUEST_JOIN = 20,         /* a store asks for its id, or tells where it is */
    REQUEST_PLACEMENT = 21,    /* what an operator asks of placement, or tells it */
    REQUEST_KIND_LAST = REQUEST_PLACEMENT,
};

enum consistency {
    READ_LINEARIZABLE = 0,
    READ_LEASE = 1, /* only where the operator enabled it */
    READ_STALE = 2, /* any replica, not older than max_age_ms */
    READ_AT = 3,    /* as of at_version */
    CONSISTENCY_LAST = READ_AT,
};

/* WRITE: the command as encoded by command.h; not looked into here. */
struct request_write {
    struct slice command;
    struct slice rest; /* to be encoded: the end of the command, if it stands elsewhere */
};

/* How GET, MULTI_GET and SCAN read. */
struct request_read {
    uint32_t keyspace;
    enum consistency consistency;
    uint64_t max_age_ms; /* STALE; > 0 */
    uint64_t at_version; /* AT; > 0 */
    bool any_replica;    /* one that does not lead asks its leader, and answers itself */
};

struct request_get {
    struct request_read read;
    struct slice key;
};

struct request_multi_get {
    struct request_read read;
    struct pack_list keys; /* request_key_append(), request_key_next() */
};

struct request_scan {
    struct request_read read; /* a later page: AT the first page's version */
    struct slice start;       /* included; empty: from the first key */
    struct slice end;         /* excluded; empty: to the last key */
    bool is_reverse;          /* from the end downwards */
    bool is_keys_only;
    uint32_t limit_keys;  /* 0: the server's */
    uint32_t limit_bytes; /* 0: the server's */
};

/* WATCH: the changes of keys in a span, by versions above `after`. A store keeps nothing of
 * a watch between two requests: each says how far the one before came. */
struct request_watch {
    uint32_t keyspace;
    struct slice start;   /* included; empty: from the first key */
    struct slice end;     /* excluded; empty: to the last key */
    bool is_from_now;     /* answered at once: by no change, and the version of now */
    uint64_t after;       /* of each key in the span all changes up to it are known; 0 if
                             is_from_now */
    uint64_t upto;        /* go no further than to this version; 0: as far as there is */
    uint32_t wait_ms;     /* if there is nothing yet: how long to wait for something */
    uint32_t limit_bytes; /* 0: the server's */
};

/* STATUS: of the range that the request names, or that holds the key, or the first. */
struct request_status {
    struct slice key; /* on-disk key; empty: none is asked for */
    bool wants_size;  /* how large the range is, too: that takes a look at indexes */
};

struct request_bootstrap {
    uint64_t cluster_id; /* > 0 */
    uint32_t member_count;
    struct member members[DESCRIPTOR_MEMBERS_MAX];
};

struct request_transfer_leader {
    uint64_t target_replica; /* 0: whoever is best */
};

enum member_change {
    MEMBER_ADD_LEARNER = 1,
    MEMBER_PROMOTE = 2,
    MEMBER_REMOVE = 3,
    MEMBER_CHANGE_LAST = MEMBER_REMOVE,
};

struct request_change_member {
    enum member_change action;
    uint64_t replica_id;  /* PROMOTE, REMOVE; 0 for ADD_LEARNER */
    struct member member; /* ADD_LEARNER; its role does not count */
};

/* SPLIT: of the range that the request names, at exactly its span epoch. The right half
 * gets a new range id, and a new replica id for each member, which must never have been
 * used before and will not be again. */
struct request_split {
    struct slice key;    /* the first on-disk key of the right half */
    uint64_t conf_epoch; /* as the client knows it */
    uint64_t new_range_id;
    uint32_t child_count;
    struct request_child {
        uint64_t store_id;
        uint64_t replica_id;
    } children[DESCRIPTOR_MEMBERS_MAX];
};

/* MERGE: of the range that the request names, at exactly its span epoch, with the one that
 * begins where it ends. Both must have their replicas on the same stores in the same roles. */
struct request_merge {
    uint64_t conf_epoch;  /* of the left one, as the client knows it */
    uint64_t right_range; /* > 0 */
    uint64_t right_conf;  /* its epoch; 0: whatever it is */
    uint64_t right_span;
};

/* RETAIN: the range that the request names, at exactly its epochs. */
struct request_retain {
    uint64_t conf_epoch;
    uint64_t retention_ms; /* > 0 */
};

/* CHECK_START, CHECK_RESULT */
struct request_check {
    uint64_t range_id; /* 0: that of the store */
    uint64_t index;    /* CHECK_RESULT: as CHECK_START answered it; > 0 */
};

/* JOIN: only from who has proven the cluster's secret. The same uuid gets the same id,
 * however often it asks. */
struct request_join {
    uint8_t store_uuid[STORE_UUID_LEN];
    uint64_t cluster_id; /* 0: it has none yet */
    uint64_t store_id;   /* 0: likewise */
    uint64_t boot;
    struct slice address; /* what others shall dial */
};

/* Part of the protocol. What PLACEMENT asks; tables and texts come as they are shown. */
enum placement_verb {
    VERB_STORES = 1,   /* a table of all stores, or of store `id` */
    VERB_STATUS = 2,   /* how placement is */
    VERB_SETTINGS = 3, /* a table */
    VERB_SET = 4,      /* `name` to `value` */
    VERB_PAUSE = 5,
    VERB_RESUME = 6,
    VERB_EXPLAIN = 7,    /* what is done with range `id`, and why */
    VERB_WHY_NOT = 8,    /* why nothing comes to store `id` or leaves it */
    VERB_PLAN = 9,       /* what would be done; `name` "down", "gone": if store `id` were so */
    VERB_OPERATORS = 10, /* a table of what runs, and what ended; or of operator `id` */
    VERB_DRAIN = 11,     /* store `id` */
    VERB_UNDRAIN = 12,
    VERB_DECOMMISSION = 13,
    VERB_REMOVE_STORE = 14,    /* forget it */
    VERB_RANGES = 15,          /* a table of ranges from key `value` on */
    VERB_COMMAND = 16,         /* `name`: "move", "split", …; range `id`, stores, key `value` */
    VERB_KEYSPACES = 17,       /* a table of those with names, or of the one called `name` */
    VERB_KEYSPACE_CREATE = 18, /* `name`, `value`: "slots=256,replicas=3,retention=1h" */
    VERB_KEYSPACE_ALTER = 19,  /* likewise, what may change */
    VERB_KEYSPACE_DROP =
        20, /* `name`: nobody may open it any more; `id`: only if that is its number */
    VERB_KEYSPACE_FORGET = 21, /* likewise, once it is dropped: its data is gone */
    VERB_LAST = VERB_KEYSPACE_FORGET,
};

struct request_placement {
    enum placement_verb verb;
    uint64_t id; /* of a store, a range or an operator; 0: none */
    struct slice name;
    struct slice value;
    uint64_t from_store;
    uint64_t to_store;
};

struct request {
    uint64_t id; /* > 0; the client's, unique on the connection */
    uint64_t trace_id;
    uint64_t range_id;   /* 0: not known; the store looks at the key */
    uint64_t span_epoch; /* as the client knows it; 0: not known */
    uint32_t timeout_ms; /* left when it was sent; > 0 */
    enum request_kind kind;
    union {
        struct request_write write;
        struct request_get get;
        struct request_multi_get multi_get;
        struct request_scan scan;
        struct request_watch watch;
        struct request_status status;
        struct request_bootstrap bootstrap;
        struct request_transfer_leader transfer_leader;
        struct request_change_member change_member;
        struct request_split split;
        struct request_merge merge;
        struct request_retain retain;
        struct request_check check;
        struct request_join join;
        struct request_placement placement;
    };
};

/* Of the detail only what belongs to the kind is read, written or copied: the rest of the union,
 * which is far larger than most kinds need, is left as it is. */
void request_encode(struct buf *buf, const struct request *request);
int request_decode(struct slice body, struct request *ret_request, struct err *err);

/* What is read of a request that request_decode() refused, so that it can be answered. */
struct request_head {
    uint64_t id;
    uint64_t trace_id;
    uint32_t kind; /* known or not */
};

/* False: it is no request at all, or has no id. */
bool request_head_decode(struct slice body, struct request_head *ret_head);
bool request_kind_is_known(uint32_t kind);

void request_copy(struct request *to, const struct request *from);

/* Empty it for one of that kind. */
void request_init(struct request *request, enum request_kind kind);

/* `request` was decoded from a body at `from`, of which there is a copy at `to`: it borrows from
 * that now. For the kinds whose detail holds no more than its fields: reads, writes, watches. */
void request_rebase(struct request *request, const uint8_t *from, const uint8_t *to);

/* Does it leave everything as it was, so that it may be sent again at will? */
bool request_is_read_only(const struct request *request);

/* For people: "get", "transfer_leader"; "unknown" for anything else. */
const char *request_kind_name(uint32_t kind);

/* Append one key to a buf that becomes the `raw` of a list of keys. */
void request_key_append(struct buf *raw, struct slice key);

/* The next key of a list that request_decode() accepted (a cursor over its raw). */
struct slice request_key_next(struct unpack *cursor);

#endif
