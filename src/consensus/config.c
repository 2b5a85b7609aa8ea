/* SPDX-License-Identifier: Apache-2.0 */
#include "consensus/config.h"

#include <stdio.h>

#include "base/coding.h"

enum { CONFIG_VERSION = 1, STORE_DIGITS_MAX = 20 };

static int member_check(const struct cons_config *config, uint32_t i, struct err *err)
{
    const struct cons_member *m = &config->members[i];
    if (m->replica_id == 0 || m->replica_id > CONS_ID_MAX)
        return err_set(err, ERR_INVALID, "member %u: replica id out of range", i);
    if (m->store_id == 0 || m->store_id > CONS_ID_MAX)
        return err_set(err, ERR_INVALID, "member %u: store id out of range", i);
    if (m->role != CONS_LEARNER && m->role != CONS_VOTER)
        return err_set(err, ERR_INVALID, "member %u: role %d", i, (int)m->role);
    for (uint32_t k = 0; k < i; k++) {
        if (config->members[k].replica_id == m->replica_id)
            return err_set(err, ERR_INVALID, "replica %llu stands twice",
                           (unsigned long long)m->replica_id);
        if (config->members[k].store_id == m->store_id)
            return err_set(err, ERR_INVALID, "store %llu stands twice",
                           (unsigned long long)m->store_id);
    }
    return 0;
}

int cons_config_validate(const struct cons_config *config, struct err *err)
{
    if (config->n == 0 || config->n > CONS_MEMBERS_MAX)
        return err_set(err, ERR_INVALID, "%u members, limit %d", config->n, CONS_MEMBERS_MAX);
    for (uint32_t i = 0; i < config->n; i++) {
        int rv = member_check(config, i, err);
        if (rv != 0)
            return rv;
    }
    return 0;
}

size_t cons_config_encode(const struct cons_config *config, uint8_t out[CONS_CONFIG_LEN_MAX])
{
    ASSERT(config->n > 0);
    ASSERT(config->n <= CONS_MEMBERS_MAX);
    uint8_t *p = out;
    *p++ = CONFIG_VERSION;
    put_u64(p, config->n);
    p += 8;
    for (uint32_t i = 0; i < config->n; i++) {
        const struct cons_member *m = &config->members[i];
        char text[STORE_DIGITS_MAX + 1];
        int len = snprintf(text, sizeof text, "%llu", (unsigned long long)m->store_id);
        ASSERT(len > 0 && len <= STORE_DIGITS_MAX);
        put_u64(p, m->replica_id);
        p += 8;
        memcpy(p, text, (size_t)len + 1);
        p += len + 1;
        *p++ = (uint8_t)m->role;
    }
    ASSERT(p <= out + CONS_CONFIG_LEN_MAX);
    return (size_t)(p - out);
}

/* Decimal without sign or leading zero, NUL-terminated: the one spelling that
 * cons_config_encode() writes. 0 and `bad` for anything else. */
static uint64_t read_store_id(struct reader *r)
{
    uint64_t v = 0;
    for (size_t digits = 0; digits <= STORE_DIGITS_MAX; digits++) {
        uint8_t c = read_u8(r);
        if (r->bad)
            return 0;
        if (c == 0 && digits > 0)
            return v;
        if (c < '0' || c > '9' || (c == '0' && digits == 0) || v > CONS_ID_MAX)
            break;
        v = v * 10 + (uint64_t)(c - '0');
    }
    r->bad = true;
    return 0;
}

int cons_config_decode(struct slice in, struct cons_config *ret_config, struct err *err)
{
    struct reader r = reader_of(in);
    struct cons_config config = {0};

    uint8_t version = read_u8(&r);
    uint64_t n = read_u64(&r);
    if (r.bad)
        return err_set(err, ERR_CORRUPT, "configuration of %zu bytes", in.len);
    if (version != CONFIG_VERSION)
        return err_set(err, ERR_CORRUPT, "configuration version %u", version);
    if (n == 0 || n > CONS_MEMBERS_MAX)
        return err_set(err, ERR_CORRUPT, "configuration of %llu members", (unsigned long long)n);
    config.n = (uint32_t)n;
    for (uint32_t i = 0; i < config.n; i++) {
        config.members[i].replica_id = read_u64(&r);
        config.members[i].store_id = read_store_id(&r);
        config.members[i].role = (enum cons_role)read_u8(&r);
    }
    if (r.bad)
        return err_set(err, ERR_CORRUPT, "configuration cut short or malformed");
    /* The library pads what it encodes to 8 bytes with zeroes. */
    if (r.left >= 8)
        return err_set(err, ERR_CORRUPT, "%zu bytes behind a configuration", r.left);
    while (r.left > 0) {
        if (read_u8(&r) != 0)
            return err_set(err, ERR_CORRUPT, "configuration padded with data");
    }
    if (cons_config_validate(&config, err) != 0)
        return err_wrap(err, ERR_CORRUPT, "configuration");
    *ret_config = config;
    return 0;
}

const struct cons_member *cons_config_find(const struct cons_config *config, uint64_t replica_id)
{
    for (uint32_t i = 0; i < config->n; i++) {
        if (config->members[i].replica_id == replica_id)
            return &config->members[i];
    }
    return NULL;
}

uint32_t cons_config_voters(const struct cons_config *config)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < config->n; i++)
        n += config->members[i].role == CONS_VOTER;
    return n;
}

bool cons_config_is_sole_voter(const struct cons_config *config, uint64_t replica_id)
{
    const struct cons_member *m = cons_config_find(config, replica_id);
    return m != NULL && m->role == CONS_VOTER && cons_config_voters(config) == 1;
}

bool cons_config_equal(const struct cons_config *a, const struct cons_config *b)
{
    if (a->n != b->n)
        return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const struct cons_member *x = &a->members[i];
        const struct cons_member *y = &b->members[i];
        if (x->replica_id != y->replica_id || x->store_id != y->store_id || x->role != y->role)
            return false;
    }
    return true;
}
