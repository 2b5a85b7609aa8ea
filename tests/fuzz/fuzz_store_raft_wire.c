/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a Raft message between stores, or as a configuration of the group: what is
 * accepted reads the same once it is written again. */
#include <stdlib.h>

#include "consensus/config.h"
#include "store/raft_wire.h"
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_config(struct slice in)
{
    struct cons_config config, again;
    uint8_t raw[CONS_CONFIG_LEN_MAX];
    struct err err = {0};
    if (cons_config_decode(in, &config, &err) != 0) {
        ASSERT(err.code < 0 && err.msg[0] != 0);
        return;
    }
    size_t len = cons_config_encode(&config, raw);
    ASSERT(len <= sizeof raw);
    ASSERT(cons_config_decode(slice_of(raw, len), &again, NULL) == 0);
    ASSERT(cons_config_equal(&config, &again));
}

static void fuzz_message(struct slice in)
{
    static struct raft_wire wire, wire_again; /* large */
    struct cons_msg msg, again;
    struct raft_span span, span_again;
    struct err err = {0};
    if (raft_wire_decode(&wire, in, &msg, &span, &err) != 0) {
        ASSERT(err.code < 0 && err.msg[0] != 0);
        return;
    }
    struct buf frame;
    struct frame_reader reader;
    struct slice body;
    buf_init(&frame, FRAME_BODY_MAX + FRAME_PREFIX_LEN);
    raft_wire_encode(&wire_again, &msg, &span, &frame);
    ASSERT(!frame.failed);
    frame_reader_init(&reader, FRAME_BODY_MAX);
    frame_reader_feed(&reader, buf_slice(&frame));
    ASSERT(frame_reader_next(&reader, &body, NULL) == 0);
    ASSERT(raft_wire_decode(&wire_again, body, &again, &span_again, NULL) == 0);
    ASSERT(again.type == msg.type && again.term == msg.term && again.from == msg.from);
    ASSERT(slice_equal(span.start, span_again.start) && slice_equal(span.end, span_again.end));
    if (msg.type == CONS_MSG_APPEND)
        ASSERT(again.append.n == msg.append.n && again.append.commit == msg.append.commit);
    frame_reader_fini(&reader);
    buf_fini(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct slice in = slice_of(data + 1, size - 1);
    if (data[0] & 1)
        fuzz_config(in);
    else
        fuzz_message(in);
    return 0;
}
