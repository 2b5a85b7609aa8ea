/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/hello.h"

#include "wire/hmac_internal.h"
#include "wire/msg_internal.h"

#define HELLO_AT(m) offsetof(struct hello, m)
static const struct msg_field hello_fields[] = {
    {1, MSG_U32, HELLO_AT(protocol_min), 0},
    {2, MSG_U32, HELLO_AT(protocol_max), 0},
    {3, MSG_ENUM, HELLO_AT(purpose), HELLO_PURPOSE_LAST},
    {4, MSG_U64, HELLO_AT(cluster_id), 0},
    {5, MSG_TEXT, HELLO_AT(name), HELLO_NAME_MAX},
    {6, MSG_U64, HELLO_AT(store_id), 0},
    {7, MSG_U64, HELLO_AT(boot), 0},
    {8, MSG_FIXED, HELLO_AT(store_uuid), STORE_UUID_LEN},
    {9, MSG_FIXED, HELLO_AT(nonce), HELLO_NONCE_LEN},
    {10, MSG_TEXT, HELLO_AT(address), HELLO_ADDRESS_MAX},
};
static const struct msg_table hello_table = MSG_TABLE("hello", hello_fields);

#define ACK_AT(m) offsetof(struct hello_ack, m)
static const struct msg_field ack_fields[] = {
    {1, MSG_U32, ACK_AT(protocol), 0},
    {2, MSG_U64, ACK_AT(cluster_id), 0},
    {3, MSG_U64, ACK_AT(store_id), 0},
    {4, MSG_U64, ACK_AT(boot), 0},
    {5, MSG_FIXED, ACK_AT(store_uuid), STORE_UUID_LEN},
    {6, MSG_FIXED, ACK_AT(nonce), HELLO_NONCE_LEN},
    {7, MSG_BOOL, ACK_AT(has_proof), 0},
    {8, MSG_FIXED, ACK_AT(proof), HELLO_PROOF_LEN},
    {9, MSG_U64, ACK_AT(wall_ms), 0},
    {10, MSG_U32, ACK_AT(requests_max), 0},
};
static const struct msg_table ack_table = MSG_TABLE("hello_ack", ack_fields);

static const struct msg_field auth_fields[] = {
    {1, MSG_FIXED, offsetof(struct auth, proof), HELLO_PROOF_LEN},
};
static const struct msg_table auth_table = MSG_TABLE("auth", auth_fields);

static const struct msg_field error_fields[] = {
    {1, MSG_CODE, offsetof(struct error_msg, code), 0},
    {2, MSG_TEXT, offsetof(struct error_msg, text), TEXT_MAX},
};
static const struct msg_table error_table = MSG_TABLE("error", error_fields);

static const struct msg_field ping_fields[] = {
    {1, MSG_U64, offsetof(struct ping, token), 0},
    {2, MSG_U64, offsetof(struct ping, wall_ms), 0},
    {3, MSG_U32, offsetof(struct ping, disk), 0},
};
static const struct msg_table ping_table = MSG_TABLE("ping", ping_fields);

void hello_encode(struct buf *buf, const struct hello *hello)
{
    ASSERT(hello->purpose >= HELLO_CLIENT && hello->purpose <= HELLO_PURPOSE_LAST);
    ASSERT(hello->protocol_min > 0 && hello->protocol_min <= hello->protocol_max);
    msg_write(buf, MSG_HELLO, &hello_table, hello);
}

/* Without control characters and blanks, as configurations take them: it is dialled, and put
 * down in logs, before its sender has proven anything. */
static bool is_address(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] == 0x7f)
            return false;
    }
    return true;
}

int hello_decode(struct slice body, struct hello *ret_hello, struct err *err)
{
    struct hello hello = {0};
    int rv = msg_read(body, MSG_HELLO, &hello_table, &hello, err);
    if (rv != 0)
        return rv;
    if (hello.purpose < HELLO_CLIENT)
        return err_set(err, ERR_CORRUPT, "hello without a purpose");
    if (hello.protocol_min == 0 || hello.protocol_min > hello.protocol_max)
        return err_set(err, ERR_CORRUPT, "hello with protocol versions %u to %u",
                       hello.protocol_min, hello.protocol_max);
    if (!is_address(hello.address))
        return err_set(err, ERR_CORRUPT,
                       "hello with an address that has control characters or blanks");
    *ret_hello = hello;
    return 0;
}

void hello_ack_encode(struct buf *buf, const struct hello_ack *ack)
{
    ASSERT(ack->protocol > 0);
    msg_write(buf, MSG_HELLO_ACK, &ack_table, ack);
}

int hello_ack_decode(struct slice body, struct hello_ack *ret_ack, struct err *err)
{
    struct hello_ack ack = {0};
    int rv = msg_read(body, MSG_HELLO_ACK, &ack_table, &ack, err);
    if (rv != 0)
        return rv;
    if (ack.protocol == 0)
        return err_set(err, ERR_CORRUPT, "hello_ack without a protocol version");
    *ret_ack = ack;
    return 0;
}

void auth_encode(struct buf *buf, const struct auth *auth)
{
    msg_write(buf, MSG_AUTH, &auth_table, auth);
}

int auth_decode(struct slice body, struct auth *ret_auth, struct err *err)
{
    struct auth auth = {0};
    int rv = msg_read(body, MSG_AUTH, &auth_table, &auth, err);
    if (rv == 0)
        *ret_auth = auth;
    return rv;
}

void error_msg_encode(struct buf *buf, const struct error_msg *error)
{
    ASSERT(error->code < 0);
    msg_write(buf, MSG_ERROR, &error_table, error);
}

int error_msg_decode(struct slice body, struct error_msg *ret_error, struct err *err)
{
    struct error_msg error = {0};
    int rv = msg_read(body, MSG_ERROR, &error_table, &error, err);
    if (rv != 0)
        return rv;
    if (error.code == 0)
        return err_set(err, ERR_CORRUPT, "error without a code");
    *ret_error = error;
    return 0;
}

void ping_encode(struct buf *buf, const struct ping *ping)
{
    msg_write(buf, MSG_PING, &ping_table, ping);
}

void pong_encode(struct buf *buf, const struct ping *ping)
{
    msg_write(buf, MSG_PONG, &ping_table, ping);
}

int ping_decode(struct slice body, struct ping *ret_ping, struct err *err)
{
    uint32_t kind;
    int rv = msg_kind(body, &kind, err);
    if (rv != 0)
        return rv;
    struct ping ping = {0};
    rv = msg_read(body, kind == MSG_PONG ? MSG_PONG : MSG_PING, &ping_table, &ping, err);
    if (rv == 0)
        *ret_ping = ping;
    return rv;
}

int hello_negotiate(const struct hello *hello, uint32_t newest, uint32_t *ret_protocol,
                    struct err *err)
{
    ASSERT(hello->protocol_min <= hello->protocol_max);
    ASSERT(newest >= PROTOCOL_VERSION_MIN);
    if (hello->protocol_min > newest || hello->protocol_max < PROTOCOL_VERSION_MIN)
        return err_set(err, ERR_UNSUPPORTED,
                       "the other side speaks protocol versions %u to %u, this one %d to %u",
                       hello->protocol_min, hello->protocol_max, PROTOCOL_VERSION_MIN, newest);
    *ret_protocol = MIN(hello->protocol_max, newest);
    return 0;
}

int hello_proof(struct slice secret, enum hello_side side, const struct hello *hello,
                const struct hello_ack *ack, uint8_t ret_proof[HELLO_PROOF_LEN])
{
    ASSERT(secret.len > 0);
    struct hello bare_hello = *hello;
    struct hello_ack bare = *ack;
    bare_hello.address = (struct slice){0};
    bare.has_proof = false;
    memset(bare.proof, 0, sizeof bare.proof);

    /* Our own encoding of both is the transcript: the same fields give the same
     * bytes on both sides. Two short messages fit well below this bound. */
    struct buf text;
    buf_init(&text, 4096);
    buf_append_str(&text, side == HELLO_CONNECTED ? "holdfast connect 1" : "holdfast accept 1");
    hello_encode(&text, &bare_hello);
    hello_ack_encode(&text, &bare);
    bool is_done = !text.failed && hmac_sha256(secret, buf_slice(&text), ret_proof);
    buf_fini(&text);
    return is_done ? 0 : ERR_NOMEM;
}

bool hello_proof_equal(const uint8_t a[HELLO_PROOF_LEN], const uint8_t b[HELLO_PROOF_LEN])
{
    uint8_t differ = 0;
    for (size_t i = 0; i < HELLO_PROOF_LEN; i++)
        differ |= a[i] ^ b[i];
    return differ == 0;
}
