/* SPDX-License-Identifier: Apache-2.0 */
#include "support/wire_samples_driver.h"

#include "wire/driver_msg.h"
#include "wire/pulse_msg.h"
#include "wire/snapshot_msg.h"

/* Read every byte, so that a sanitizer sees a slice that points elsewhere. */
void wire_touch(struct slice s)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < s.len; i++)
        sum = (uint8_t)(sum + s.data[i]);
}

#define S(text) slice_of("" text, sizeof(text) - 1)

void store_beat_sample(struct buf *buf)
{
    struct store_beat beat = {.seq = 1,
                              .term = 2,
                              .boot = 3,
                              .store_uuid = "0123456789abcde",
                              .address = S("a:1"),
                              .labels = S("zone=a"),
                              .capacity = UINT64_MAX,
                              .free_bytes = 70000,
                              .mark = 1,
                              .requests = 4,
                              .write_bytes = 5,
                              .snapshots_in = 6,
                              .snapshots_out = 7,
                              .is_stalled = true,
                              .lead = STORE_LEAD_NEVER,
                              .level = STORE_LEVEL};
    store_beat_encode(buf, &beat);
}

int store_beat_try(struct slice body, struct err *err)
{
    struct store_beat beat;
    int rv = store_beat_decode(body, &beat, err);
    if (rv != 0)
        return rv;
    wire_touch(beat.address);
    wire_touch(beat.labels);
    return 0;
}

void store_beat_again(struct slice body, struct buf *buf)
{
    struct store_beat m;
    ASSERT(store_beat_decode(body, &m, NULL) == 0);
    store_beat_encode(buf, &m);
}

void range_beat_sample(struct buf *buf)
{
    struct range_state range = {
        .range_id = 2,
        .start = S("a"),
        .end = S("b"),
        .conf_epoch = 1,
        .span_epoch = 2,
        .term = 3,
        .replica_id = 4,
        .is_leader = true,
        .is_asleep = true,
        .bytes = 5,
        .keys = 6,
        .requests = 7,
        .write_bytes = 8,
        .last_index = 9,
        .retention_ms = 10,
        .member_count = 2,
        .members = {{4, 1, MEMBER_VOTER, 9, 0}, {5, 2, MEMBER_LEARNER, 8, UINT32_MAX}}};
    struct range_beat beat = {.term = 1, .is_report = true, .is_last = true, .chunk = 3};
    struct buf raw;
    buf_init(&raw, 4096);
    range_state_append(&raw, &range);
    range_state_append(&raw, &range);
    beat.ranges = (struct pack_list){.count = 2, .raw = buf_slice(&raw)};
    range_beat_encode(buf, &beat);
    buf_fini(&raw);
}

int range_beat_try(struct slice body, struct err *err)
{
    struct range_beat beat;
    int rv = range_beat_decode(body, &beat, err);
    struct unpack u = unpack_of(rv == 0 ? beat.ranges.raw : (struct slice){0});
    for (uint32_t i = 0; rv == 0 && i < beat.ranges.count; i++) {
        struct range_state range;
        range_state_next(&u, &range);
        wire_touch(range.start);
        wire_touch(range.end);
    }
    return rv != 0 ? rv : unpack_finish(&u, "ranges", err);
}

void range_beat_again(struct slice body, struct buf *buf)
{
    struct range_beat m;
    ASSERT(range_beat_decode(body, &m, NULL) == 0);
    range_beat_encode(buf, &m);
}

void driver_word_sample(struct buf *buf)
{
    struct book_item item = {.store_id = 2, .version = 3, .is_removed = true, .address = S("b:1")};
    struct step_order split = {.operator_id = 1,
                               .number = 2,
                               .range_id = 3,
                               .conf_epoch = 4,
                               .span_epoch = 5,
                               .kind = STEP_SPLIT,
                               .key = S("m"),
                               .is_by_load = true,
                               .new_range_id = 6,
                               .retention_ms = 600000,
                               .child_count = 1,
                               .children = {{1, 7}}};
    struct driver_word word = {.term = 9,
                               .seq = 8,
                               .verdict = DRIVER_WELCOME,
                               .wants_report = true,
                               .report_chunk = 7,
                               .is_draining = true};
    struct buf peers, steps;
    buf_init(&peers, 4096);
    buf_init(&steps, 4096);
    book_item_append(&peers, &item);
    step_order_append(&steps, &split);
    word.peers = (struct pack_list){.count = 1, .raw = buf_slice(&peers)};
    word.steps = (struct pack_list){.count = 1, .raw = buf_slice(&steps)};
    driver_word_encode(buf, &word);
    buf_fini(&peers);
    buf_fini(&steps);
}

int driver_word_try(struct slice body, struct err *err)
{
    struct driver_word word;
    int rv = driver_word_decode(body, &word, err);
    struct unpack u = unpack_of(rv == 0 ? word.peers.raw : (struct slice){0});
    for (uint32_t i = 0; rv == 0 && i < word.peers.count; i++) {
        struct book_item item;
        book_item_next(&u, &item);
        wire_touch(item.address);
    }
    u = unpack_of(rv == 0 ? word.steps.raw : (struct slice){0});
    for (uint32_t i = 0; rv == 0 && i < word.steps.count; i++) {
        struct step_order step;
        step_order_next(&u, &step);
        wire_touch(step.key);
    }
    return rv;
}

void driver_word_again(struct slice body, struct buf *buf)
{
    struct driver_word m;
    ASSERT(driver_word_decode(body, &m, NULL) == 0);
    driver_word_encode(buf, &m);
}

void step_done_sample(struct buf *buf)
{
    struct step_done done = {.term = 1,
                             .range_id = 2,
                             .operator_id = 3,
                             .number = 4,
                             .status = ERR_BUSY,
                             .text = S("why")};
    step_done_encode(buf, &done);
}

int step_done_try(struct slice body, struct err *err)
{
    struct step_done done;
    int rv = step_done_decode(body, &done, err);
    if (rv == 0)
        wire_touch(done.text);
    return rv;
}

void step_done_again(struct slice body, struct buf *buf)
{
    struct step_done m;
    ASSERT(step_done_decode(body, &m, NULL) == 0);
    step_done_encode(buf, &m);
}

void pulse_sample(struct buf *buf)
{
    struct pulse pulse = {.boot = 5, .items = {.count = PULSE_KIND_LAST}};
    struct pulse_item item = {.version = 1,
                              .group = 7,
                              .from_replica = 21,
                              .to_replica = 22,
                              .term = 3,
                              .index = 1000,
                              .prev_term = 2,
                              .commit = 999,
                              .rejected = 1,
                              .features = 2,
                              .capacity = 3};
    struct buf raw;
    buf_init(&raw, 4096);
    for (item.kind = PULSE_BEAT; item.kind <= PULSE_KIND_LAST; item.kind++)
        pulse_item_append(&raw, &item);
    pulse.items.raw = buf_slice(&raw);
    pulse_encode(buf, &pulse);
    buf_fini(&raw);
}

int pulse_try(struct slice body, struct err *err)
{
    struct pulse pulse;
    int rv = pulse_decode(body, &pulse, err);
    struct unpack u = unpack_of(rv == 0 ? pulse.items.raw : (struct slice){0});
    for (uint32_t i = 0; rv == 0 && i < pulse.items.count; i++) {
        struct pulse_item item;
        pulse_item_next(&u, &item);
        ASSERT(item.group > 0 && item.from_replica > 0 && item.to_replica > 0);
    }
    return rv != 0 ? rv : unpack_finish(&u, "items", err);
}

void pulse_again(struct slice body, struct buf *buf)
{
    struct pulse m;
    ASSERT(pulse_decode(body, &m, NULL) == 0);
    pulse_encode(buf, &m);
}

void snapshot_resume_sample(struct buf *buf)
{
    snapshot_resume_encode(buf, &(struct snapshot_resume){.group = 2,
                                                          .from_replica = 3,
                                                          .to_replica = 4,
                                                          .stream = UINT64_MAX,
                                                          .term = 6,
                                                          .last_index = 700,
                                                          .last_term = 5});
}

int snapshot_resume_try(struct slice body, struct err *err)
{
    struct snapshot_resume resume;
    int rv = snapshot_resume_decode(body, &resume, err);
    if (rv != 0)
        return rv;
    ASSERT(resume.group > 0 && resume.stream > 0 && resume.last_index > 0);
    return 0;
}

void snapshot_resume_again(struct slice body, struct buf *buf)
{
    struct snapshot_resume m;
    ASSERT(snapshot_resume_decode(body, &m, NULL) == 0);
    snapshot_resume_encode(buf, &m);
}
