/* SPDX-License-Identifier: Apache-2.0 */
#include "support/wire_samples.h"

#include "support/wire_samples_client.h"
#include "support/wire_samples_driver.h"

#include "wire/command.h"
#include "wire/hello.h"
#include "wire/member_msg.h"
#include "wire/merge_msg.h"
#include "wire/peer_msg.h"
#include "wire/snapshot_msg.h"

#define S(text) slice_of("" text, sizeof(text) - 1)

static void touch(struct slice s)
{
    wire_touch(s);
}

/* ---- hello --------------------------------------------------------------- */

static void hello_sample(struct buf *buf)
{
    struct hello hello = {.protocol_min = 1,
                          .protocol_max = 3,
                          .purpose = HELLO_PEER,
                          .cluster_id = 0xfeedfacecafebeef,
                          .name = S("node-1"),
                          .store_id = 7,
                          .boot = 300};
    memset(hello.store_uuid, 0x11, sizeof hello.store_uuid);
    memset(hello.nonce, 0x22, sizeof hello.nonce);
    hello_encode(buf, &hello);
}

static int hello_try(struct slice body, struct err *err)
{
    struct hello hello;
    int rv = hello_decode(body, &hello, err);
    if (rv == 0)
        touch(hello.name);
    return rv;
}

static void hello_ack_sample(struct buf *buf)
{
    struct hello_ack ack = {.protocol = 1,
                            .cluster_id = 9,
                            .store_id = 3,
                            .boot = 2,
                            .has_proof = true,
                            .requests_max = 4096};
    memset(ack.store_uuid, 0x33, sizeof ack.store_uuid);
    memset(ack.nonce, 0x44, sizeof ack.nonce);
    memset(ack.proof, 0x55, sizeof ack.proof);
    hello_ack_encode(buf, &ack);
}

static int hello_ack_try(struct slice body, struct err *err)
{
    struct hello_ack ack;
    return hello_ack_decode(body, &ack, err);
}

static void auth_sample(struct buf *buf)
{
    struct auth auth;
    memset(auth.proof, 0x66, sizeof auth.proof);
    auth_encode(buf, &auth);
}

static int auth_try(struct slice body, struct err *err)
{
    struct auth auth;
    return auth_decode(body, &auth, err);
}

static void error_sample(struct buf *buf)
{
    error_msg_encode(buf,
                     &(struct error_msg){.code = ERR_UNAUTHORIZED, .text = S("wrong cluster")});
}

static int error_try(struct slice body, struct err *err)
{
    struct error_msg error;
    int rv = error_msg_decode(body, &error, err);
    if (rv == 0)
        touch(error.text);
    return rv;
}

static void ping_sample(struct buf *buf)
{
    ping_encode(buf, &(struct ping){.token = 70000, .wall_ms = 1700000000000, .disk = 3});
}

static int ping_try(struct slice body, struct err *err)
{
    struct ping ping;
    return ping_decode(body, &ping, err);
}

/* ---- peers --------------------------------------------------------------- */

static struct peer_msg peer_of(enum msg_kind kind)
{
    return (struct peer_msg){.kind = kind, .group = 1, .from_replica = 2, .to_replica = 300};
}

static void append_sample(struct buf *buf)
{
    static const struct peer_entry entries[] = {
        {.term = 5, .type = PEER_ENTRY_COMMAND, .data = {(const uint8_t *)"command", 7}},
        {.term = 5, .type = PEER_ENTRY_BARRIER},
        {.term = 6, .type = PEER_ENTRY_CHANGE, .data = {(const uint8_t *)"change", 6}},
    };
    struct peer_msg msg = peer_of(MSG_APPEND_ENTRIES);
    msg.append_entries = (struct append_entries){.version = 1,
                                                 .term = 6,
                                                 .prev_log_index = 1000,
                                                 .prev_log_term = 5,
                                                 .leader_commit = 990,
                                                 .entry_count = ARRAY_LEN(entries),
                                                 .entries = entries};
    peer_msg_encode(buf, &msg);
}

static void append_result_sample(struct buf *buf)
{
    struct peer_msg msg = peer_of(MSG_APPEND_ENTRIES_RESULT);
    msg.append_entries_result = (struct append_entries_result){.version = 1,
                                                               .term = 6,
                                                               .rejected = 8,
                                                               .last_log_index = 70000,
                                                               .features = 1,
                                                               .capacity = 513};
    peer_msg_encode(buf, &msg);
}

static void vote_sample(struct buf *buf)
{
    struct peer_msg msg = peer_of(MSG_REQUEST_VOTE);
    msg.request_vote = (struct request_vote){.version = 2,
                                             .term = 7,
                                             .candidate_id = 2,
                                             .last_log_index = 44,
                                             .last_log_term = 6,
                                             .disrupt_leader = true,
                                             .pre_vote = true};
    peer_msg_encode(buf, &msg);
}

static void vote_result_sample(struct buf *buf)
{
    struct peer_msg msg = peer_of(MSG_REQUEST_VOTE_RESULT);
    msg.request_vote_result = (struct request_vote_result){.version = 3,
                                                           .term = 7,
                                                           .vote_granted = true,
                                                           .pre_vote = true,
                                                           .features = 1,
                                                           .capacity = 2};
    peer_msg_encode(buf, &msg);
}

static void install_sample(struct buf *buf)
{
    struct peer_msg msg = peer_of(MSG_INSTALL_SNAPSHOT);
    msg.install_snapshot = (struct install_snapshot){.version = 1,
                                                     .term = 9,
                                                     .last_index = 500,
                                                     .last_term = 8,
                                                     .conf_index = 3,
                                                     .configuration = S("configuration")};
    peer_msg_encode(buf, &msg);
}

static void timeout_now_sample(struct buf *buf)
{
    struct peer_msg msg = peer_of(MSG_TIMEOUT_NOW);
    msg.timeout_now =
        (struct timeout_now){.version = 1, .term = 9, .last_log_index = 501, .last_log_term = 9};
    peer_msg_encode(buf, &msg);
}

static void probe_sample(struct buf *buf)
{
    struct peer_msg msg = peer_of(MSG_PROBE);
    msg.probe = (struct probe){.term = 9, .number = UINT64_MAX};
    peer_msg_encode(buf, &msg);
}

static void probe_result_sample(struct buf *buf)
{
    struct peer_msg msg = peer_of(MSG_PROBE_RESULT);
    msg.probe_result = (struct probe_result){.term = 9, .number = UINT64_MAX, .promise_ms = 600};
    peer_msg_encode(buf, &msg);
}

static void read_ask_sample(struct buf *buf)
{
    struct peer_msg msg = peer_of(MSG_READ_ASK);
    msg.read_ask = (struct read_ask){.term = 9, .number = UINT64_MAX};
    peer_msg_encode(buf, &msg);
}

static void read_answer_sample(struct buf *buf)
{
    struct peer_msg msg = peer_of(MSG_READ_ANSWER);
    msg.read_answer = (struct read_answer){.term = 9, .number = UINT64_MAX, .index = 500};
    peer_msg_encode(buf, &msg);
}

static int peer_try(struct slice body, struct err *err)
{
    struct peer_entry entries[64];
    struct peer_msg msg;
    int rv = peer_msg_decode(body, entries, ARRAY_LEN(entries), &msg, err);
    if (rv == 0 && msg.kind == MSG_APPEND_ENTRIES) {
        for (uint32_t i = 0; i < msg.append_entries.entry_count; i++)
            touch(msg.append_entries.entries[i].data);
    }
    if (rv == 0 && msg.kind == MSG_INSTALL_SNAPSHOT)
        touch(msg.install_snapshot.configuration);
    return rv;
}

/* ---- snapshots ----------------------------------------------------------- */

static void snapshot_begin_sample(struct buf *buf)
{
    snapshot_begin_encode(buf, &(struct snapshot_begin){.group = 1,
                                                        .from_replica = 2,
                                                        .to_replica = 3,
                                                        .stream = 4,
                                                        .term = 9,
                                                        .last_index = 500,
                                                        .last_term = 8,
                                                        .conf_index = 3,
                                                        .configuration = S("configuration"),
                                                        .meta = S("meta")});
}

static int snapshot_begin_try(struct slice body, struct err *err)
{
    struct snapshot_begin begin;
    int rv = snapshot_begin_decode(body, &begin, err);
    if (rv == 0) {
        touch(begin.configuration);
        touch(begin.meta);
    }
    return rv;
}

static void snapshot_chunk_sample(struct buf *buf)
{
    snapshot_chunk_encode(buf, &(struct snapshot_chunk){.stream = 4, .seq = 17, .data = S("rows")});
}

static int snapshot_chunk_try(struct slice body, struct err *err)
{
    struct snapshot_chunk chunk;
    int rv = snapshot_chunk_decode(body, &chunk, err);
    if (rv == 0)
        touch(chunk.data);
    return rv;
}

static void snapshot_end_sample(struct buf *buf)
{
    snapshot_end_encode(buf, &(struct snapshot_end){
                                 .stream = 4, .chunks = 18, .bytes = 99999, .crc32c = UINT32_MAX});
}

static int snapshot_end_try(struct slice body, struct err *err)
{
    struct snapshot_end end;
    return snapshot_end_decode(body, &end, err);
}

static void member_ask_sample(struct buf *buf)
{
    member_ask_encode(buf, &(struct member_ask){
                               .group = 7, .replica_id = 21, .conf_epoch = 4, .is_asleep = true});
}

static int member_ask_try(struct slice body, struct err *err)
{
    struct member_ask ask;
    int rv = member_ask_decode(body, &ask, err);
    ASSERT(rv != 0 || (ask.group > 0 && ask.replica_id > 0));
    return rv;
}

static void member_answer_sample(struct buf *buf)
{
    member_answer_encode(
        buf, &(struct member_answer){
                 .group = 7, .replica_id = 21, .verdict = MEMBER_ASK, .store_id = UINT64_MAX});
}

static int member_answer_try(struct slice body, struct err *err)
{
    struct member_answer answer;
    int rv = member_answer_decode(body, &answer, err);
    ASSERT(rv != 0 || (answer.verdict > 0 && answer.verdict <= MEMBER_VERDICT_LAST));
    return rv;
}

static void merge_sample(struct buf *buf)
{
    struct buf seats;
    struct merge_msg msg = {
        .verb = MERGE_PREPARE,
        .attempt = UINT64_MAX,
        .left_range = 7,
        .right_range = 8,
        .left_conf = 3,
        .left_span = 4,
        .key = S("middle"),
    };
    buf_init(&seats, 64);
    merge_seat_append(&msg.seats, &seats, 1, MEMBER_VOTER);
    merge_seat_append(&msg.seats, &seats, 2, MEMBER_LEARNER);
    merge_msg_encode(buf, &msg);
    buf_fini(&seats);
}

static int merge_try(struct slice body, struct err *err)
{
    struct merge_msg msg;
    int rv = merge_msg_decode(body, &msg, err);
    if (rv != 0)
        return rv;
    ASSERT(msg.attempt > 0 && msg.right_range > 0);
    touch(msg.key);
    touch(msg.text);
    touch(msg.seats.raw);
    return 0;
}

static void snapshot_ack_sample(struct buf *buf)
{
    snapshot_ack_encode(
        buf, &(struct snapshot_ack){
                 .stream = 4, .status = ERR_NO_SPACE, .bytes = 5000, .text = S("no space")});
}

static int snapshot_ack_try(struct slice body, struct err *err)
{
    struct snapshot_ack ack;
    int rv = snapshot_ack_decode(body, &ack, err);
    if (rv == 0)
        touch(ack.text);
    return rv;
}

/* ---- commands ------------------------------------------------------------ */

static void command_sample(struct buf *buf)
{
    static const struct op ops[] = {
        {.kind = OP_PUT,
         .key = {(const uint8_t *)"a", 1},
         .value = {(const uint8_t *)"one", 3},
         .ttl_ms = 1000,
         .cond = COND_VALUE,
         .cond_value = {(const uint8_t *)"two", 3},
         .flags = OP_RETURN_PREVIOUS},
        {.kind = OP_INCREMENT, .key = {(const uint8_t *)"n", 1}, .delta = -300},
        {.kind = OP_DELETE,
         .key = {(const uint8_t *)"d", 1},
         .cond = COND_VERSION,
         .cond_version = 1u << 30},
        {.kind = OP_CHECK, .key = {(const uint8_t *)"c", 1}, .cond = COND_ABSENT},
    };
    command_encode(buf, &(struct command){.session = 5,
                                          .sequence = 6,
                                          .lowest_unanswered = 4,
                                          .first_sent_ms = 1700000000000,
                                          .keyspace = 2,
                                          .op_count = ARRAY_LEN(ops),
                                          .ops = ops});
}

static int command_try(struct slice body, struct err *err)
{
    struct op ops[64];
    struct command command;
    int rv = command_decode(body, &command_limits_default, ops, ARRAY_LEN(ops), &command, err);
    if (rv != 0)
        return rv;
    for (uint32_t i = 0; i < command.op_count; i++) {
        touch(ops[i].key);
        touch(ops[i].value);
        touch(ops[i].cond_value);
    }
    ASSERT(command_op_count(body) == command.op_count);
    ASSERT(command_check(&command, &command_limits_default, NULL) == 0);
    return 0;
}

static void command_result_sample(struct buf *buf)
{
    static const struct op_result results[] = {
        {.version = 77, .has_value = true, .value = {(const uint8_t *)"old", 3}},
        {.version = 77, .number = -5, .expiry_ms = 123456789},
        {.version = 0, .has_value = true},
    };
    command_result_encode(buf, &(struct command_result){.version = 77,
                                                        .result_count = ARRAY_LEN(results),
                                                        .results = results});
}

static int command_result_try(struct slice body, struct err *err)
{
    struct op_result results[64];
    struct command_result result;
    int rv = command_result_decode(body, results, ARRAY_LEN(results), &result, err);
    if (rv != 0)
        return rv;
    for (uint32_t i = 0; i < result.result_count; i++)
        touch(results[i].value);
    ASSERT(command_result_count(body) == result.result_count);
    return 0;
}

/* ---- there and back ------------------------------------------------------ */

static void hello_again(struct slice body, struct buf *buf)
{
    struct hello m;
    ASSERT(hello_decode(body, &m, NULL) == 0);
    hello_encode(buf, &m);
}

static void hello_ack_again(struct slice body, struct buf *buf)
{
    struct hello_ack m;
    ASSERT(hello_ack_decode(body, &m, NULL) == 0);
    hello_ack_encode(buf, &m);
}

static void auth_again(struct slice body, struct buf *buf)
{
    struct auth m;
    ASSERT(auth_decode(body, &m, NULL) == 0);
    auth_encode(buf, &m);
}

static void error_again(struct slice body, struct buf *buf)
{
    struct error_msg m;
    ASSERT(error_msg_decode(body, &m, NULL) == 0);
    error_msg_encode(buf, &m);
}

static void snapshot_begin_again(struct slice body, struct buf *buf)
{
    struct snapshot_begin m;
    ASSERT(snapshot_begin_decode(body, &m, NULL) == 0);
    snapshot_begin_encode(buf, &m);
}

static void snapshot_chunk_again(struct slice body, struct buf *buf)
{
    struct snapshot_chunk m;
    ASSERT(snapshot_chunk_decode(body, &m, NULL) == 0);
    snapshot_chunk_encode(buf, &m);
}

static void snapshot_end_again(struct slice body, struct buf *buf)
{
    struct snapshot_end m;
    ASSERT(snapshot_end_decode(body, &m, NULL) == 0);
    snapshot_end_encode(buf, &m);
}

static void snapshot_ack_again(struct slice body, struct buf *buf)
{
    struct snapshot_ack m;
    ASSERT(snapshot_ack_decode(body, &m, NULL) == 0);
    snapshot_ack_encode(buf, &m);
}

static void ping_again(struct slice body, struct buf *buf)
{
    struct ping m;
    uint32_t kind = 0;
    ASSERT(ping_decode(body, &m, NULL) == 0);
    ASSERT(msg_kind(body, &kind, NULL) == 0);
    if (kind == MSG_PING)
        ping_encode(buf, &m);
    else
        pong_encode(buf, &m);
}

static void peer_again(struct slice body, struct buf *buf)
{
    struct peer_entry entries[64];
    struct peer_msg m;
    ASSERT(peer_msg_decode(body, entries, ARRAY_LEN(entries), &m, NULL) == 0);
    peer_msg_encode(buf, &m);
}

static void command_again(struct slice body, struct buf *buf)
{
    struct op ops[64];
    struct command m;
    ASSERT(command_decode(body, &command_limits_default, ops, ARRAY_LEN(ops), &m, NULL) == 0);
    command_encode(buf, &m);
}

static void member_ask_again(struct slice body, struct buf *buf)
{
    struct member_ask m;
    ASSERT(member_ask_decode(body, &m, NULL) == 0);
    member_ask_encode(buf, &m);
}

static void member_answer_again(struct slice body, struct buf *buf)
{
    struct member_answer m;
    ASSERT(member_answer_decode(body, &m, NULL) == 0);
    member_answer_encode(buf, &m);
}

static void merge_again(struct slice body, struct buf *buf)
{
    struct merge_msg m;
    ASSERT(merge_msg_decode(body, &m, NULL) == 0);
    merge_msg_encode(buf, &m);
}

static void command_result_again(struct slice body, struct buf *buf)
{
    struct op_result results[64];
    struct command_result m;
    ASSERT(command_result_decode(body, results, ARRAY_LEN(results), &m, NULL) == 0);
    command_result_encode(buf, &m);
}

/* New ones go to the end: kept inputs of the fuzz target name a decoder by its place. */
const struct wire_sample wire_samples[] = {
    {"hello", hello_sample, hello_try, hello_again},
    {"hello_ack", hello_ack_sample, hello_ack_try, hello_ack_again},
    {"auth", auth_sample, auth_try, auth_again},
    {"error", error_sample, error_try, error_again},
    {"ping", ping_sample, ping_try, ping_again},
    {"append_entries", append_sample, peer_try, peer_again},
    {"append_entries_result", append_result_sample, peer_try, peer_again},
    {"request_vote", vote_sample, peer_try, peer_again},
    {"request_vote_result", vote_result_sample, peer_try, peer_again},
    {"install_snapshot", install_sample, peer_try, peer_again},
    {"timeout_now", timeout_now_sample, peer_try, peer_again},
    {"probe", probe_sample, peer_try, peer_again},
    {"probe_result", probe_result_sample, peer_try, peer_again},
    {"read_ask", read_ask_sample, peer_try, peer_again},
    {"read_answer", read_answer_sample, peer_try, peer_again},
    {"member_ask", member_ask_sample, member_ask_try, member_ask_again},
    {"member_answer", member_answer_sample, member_answer_try, member_answer_again},
    {"merge", merge_sample, merge_try, merge_again},
    {"snapshot_begin", snapshot_begin_sample, snapshot_begin_try, snapshot_begin_again},
    {"snapshot_chunk", snapshot_chunk_sample, snapshot_chunk_try, snapshot_chunk_again},
    {"snapshot_end", snapshot_end_sample, snapshot_end_try, snapshot_end_again},
    {"snapshot_ack", snapshot_ack_sample, snapshot_ack_try, snapshot_ack_again},
    {"command", command_sample, command_try, command_again},
    {"command_result", command_result_sample, command_result_try, command_result_again},
    {"write", request_write_sample, request_try, request_again},
    {"get", request_get_sample, request_try, request_again},
    {"multi_get", request_multi_get_sample, request_try, request_again},
    {"scan", request_scan_sample, request_try, request_again},
    {"watch", request_watch_sample, request_try, request_again},
    {"bootstrap", request_bootstrap_sample, request_try, request_again},
    {"change_member", request_change_member_sample, request_try, request_again},
    {"transfer_leader", request_transfer_sample, request_try, request_again},
    {"split", request_split_sample, request_try, request_again},
    {"merge_request", request_merge_sample, request_try, request_again},
    {"check_result", request_check_sample, request_try, request_again},
    {"join", request_join_sample, request_try, request_again},
    {"placement", request_placement_sample, request_try, request_again},
    {"store_beat", store_beat_sample, store_beat_try, store_beat_again},
    {"range_beat", range_beat_sample, range_beat_try, range_beat_again},
    {"driver_word", driver_word_sample, driver_word_try, driver_word_again},
    {"step_done", step_done_sample, step_done_try, step_done_again},
    {"write_response", response_write_sample, response_try, response_again},
    {"scan_response", response_scan_sample, response_try, response_again},
    {"status_response", response_status_sample, response_try, response_again},
    {"identify_response", response_identify_sample, response_try, response_again},
    {"watch_response", response_watch_sample, response_try, response_again},
    {"check_response", response_check_sample, response_try, response_again},
    {"pulse", pulse_sample, pulse_try, pulse_again},
    {"snapshot_resume", snapshot_resume_sample, snapshot_resume_try, snapshot_resume_again},
    {"retain", request_retain_sample, request_try, request_again},
    {"status", request_status_sample, request_try, request_again},
};
const size_t wire_samples_count = ARRAY_LEN(wire_samples);
