/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a document of JSON, which an import reads from people's files: the nodes
 * that come out tile the document, and texts and numbers of them can be taken. */
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NODES = 256 };

static void fuzz_node(const struct json_node *nodes, size_t count, size_t at, struct slice text)
{
    const struct json_node *node = &nodes[at];
    ASSERT(node->next > at && node->next <= count);
    ASSERT(node->raw.data >= text.data && node->raw.len <= text.len);
    ASSERT((size_t)(node->raw.data - text.data) <= text.len - node->raw.len);
    size_t child = at + 1;
    for (size_t i = 0; i < node->child_count; i++) {
        ASSERT(child < node->next);
        child = nodes[child].next;
    }
    ASSERT(child == node->next);
}

static void fuzz_values(const struct json_node *node)
{
    struct buf out;
    uint64_t number;
    int64_t signed_number;
    bool truth;
    buf_init(&out, node->raw.len + 1);
    if (node->type == JSON_STRING && json_node_string(node, &out) == 0)
        ASSERT(out.len <= node->raw.len);
    (void)json_node_u64(node, &number);
    (void)json_node_i64(node, &signed_number);
    (void)json_node_bool(node, &truth);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_node nodes[NODES];
    struct slice text = slice_of(data, size);
    struct err err = {0};
    size_t count = 0;
    if (json_parse(text, nodes, NODES, &count, &err) != 0) {
        ASSERT(err.code < 0 && err.msg[0] != 0);
        return 0;
    }
    ASSERT(count > 0 && count <= NODES);
    ASSERT(nodes[0].next == count);
    for (size_t i = 0; i < count; i++) {
        fuzz_node(nodes, count, i, text);
        fuzz_values(&nodes[i]);
    }
    return 0;
}
