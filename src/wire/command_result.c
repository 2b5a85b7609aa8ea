/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/command.h"
#include "wire/msg_internal.h"
#include "wire/pack.h"

enum result_field { F_STATUS = 0, F_VERSION = 1, F_FAILED_OP = 2, F_RESULTS = 3 };

enum op_result_field {
    OF_STATUS = 0,
    OF_VERSION = 1, /* left out where it is the command's own */
    OF_VALUE = 2,   /* there iff has_value */
    OF_NUMBER = 3,
    OF_EXPIRY = 4,
};

static void op_result_encode(struct buf *buf, const struct op_result *result, uint64_t version)
{
    ASSERT(result->status <= 0 && result->status >= STATUS_MIN);
    ASSERT(result->has_value || result->value.len == 0);
    struct pack_fields f = pack_fields_begin(buf);
    pack_field_int(&f, OF_STATUS, result->status);
    if (result->version != version) {
        pack_field(&f, OF_VERSION);
        pack_uint(buf, result->version);
    }
    if (result->has_value) {
        pack_field(&f, OF_VALUE);
        pack_bin(buf, result->value);
    }
    pack_field_int(&f, OF_NUMBER, result->number);
    pack_field_uint(&f, OF_EXPIRY, result->expiry_ms);
    pack_fields_end(&f);
}

void command_result_encode(struct buf *buf, const struct command_result *result)
{
    ASSERT(result->status <= 0 && result->status >= STATUS_MIN);
    ASSERT(result->status == 0 || result->result_count <= 1);
    struct pack_fields f = pack_fields_begin(buf);
    pack_field_int(&f, F_STATUS, result->status);
    pack_field_uint(&f, F_VERSION, result->version);
    pack_field_uint(&f, F_FAILED_OP, result->failed_op);
    if (result->result_count > 0) {
        pack_field(&f, F_RESULTS);
        pack_array(buf, result->result_count);
        for (uint32_t i = 0; i < result->result_count; i++)
            op_result_encode(buf, &result->results[i], result->version);
    }
    pack_fields_end(&f);
}

static int read_status(struct unpack *u)
{
    int64_t status = unpack_int(u);
    if (status <= 0 && status >= STATUS_MIN)
        return (int)status;
    u->bad = true;
    return 0;
}

static void op_result_read(struct unpack *u, uint64_t version, struct op_result *result)
{
    *result = (struct op_result){.version = version};
    uint64_t seen = 0;
    uint32_t pairs = unpack_map(u);
    for (uint32_t i = 0; i < pairs && !u->bad; i++) {
        switch (unpack_key(u, &seen)) {
        case OF_STATUS:
            result->status = read_status(u);
            break;
        case OF_VERSION:
            result->version = unpack_uint(u);
            break;
        case OF_VALUE:
            result->has_value = true;
            result->value = unpack_bin(u);
            break;
        case OF_NUMBER:
            result->number = unpack_int(u);
            break;
        case OF_EXPIRY:
            result->expiry_ms = unpack_uint(u);
            break;
        default:
            unpack_skip(u);
        }
    }
}

/* The head, and the results as a list that is well formed but not looked into:
 * `version` must be known before they are, wherever it stands. */
static void result_read(struct unpack *u, struct command_result *result, struct pack_list *list)
{
    *result = (struct command_result){0};
    *list = (struct pack_list){0};
    uint64_t seen = 0;
    uint32_t pairs = unpack_map(u);
    for (uint32_t i = 0; i < pairs && !u->bad; i++) {
        switch (unpack_key(u, &seen)) {
        case F_STATUS:
            result->status = read_status(u);
            break;
        case F_VERSION:
            result->version = unpack_uint(u);
            break;
        case F_FAILED_OP:
            result->failed_op = (uint32_t)unpack_uint_max(u, COMMAND_OPS_MAX);
            break;
        case F_RESULTS:
            *list = unpack_list(u, COMMAND_OPS_MAX);
            break;
        default:
            unpack_skip(u);
        }
    }
    result->result_count = list->count;
    if (result->status != 0 && result->result_count > 1)
        u->bad = true;
}

uint32_t command_result_count(struct slice in)
{
    struct unpack u = unpack_of(in);
    struct command_result result;
    struct pack_list list;
    result_read(&u, &result, &list);
    return u.bad ? 0 : result.result_count;
}

uint64_t command_result_version(struct slice in)
{
    struct unpack u = unpack_of(in);
    struct command_result result;
    struct pack_list list;
    result_read(&u, &result, &list);
    return u.bad ? 0 : result.version;
}

int command_result_decode(struct slice in, struct op_result *results, size_t results_cap,
                          struct command_result *ret_result, struct err *err)
{
    struct unpack u = unpack_of(in);
    struct command_result result;
    struct pack_list list;
    result_read(&u, &result, &list);
    int rv = unpack_finish(&u, "command result", err);
    if (rv != 0)
        return rv;
    if (result.result_count > results_cap)
        return err_set(err, ERR_TOO_LARGE, "%u results, room for %zu", result.result_count,
                       results_cap);
    struct unpack each = unpack_of(list.raw);
    for (uint32_t i = 0; i < result.result_count; i++)
        op_result_read(&each, result.version, &results[i]);
    rv = unpack_finish(&each, "operation result", err);
    if (rv != 0)
        return rv;
    result.results = results;
    *ret_result = result;
    return 0;
}
