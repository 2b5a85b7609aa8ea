/* SPDX-License-Identifier: Apache-2.0 */
#include "range/descriptor.h"

#include <stdlib.h>

#include "base/coding.h"

enum { DESCRIPTOR_FORMAT = 1 };

static bool role_is_known(uint64_t role)
{
    return role == RANGE_ROLE_VOTER || role == RANGE_ROLE_LEARNER;
}

/* Why this descriptor cannot be, or NULL. */
static const char *head_problem(uint64_t range_id, struct range_epoch epoch, struct range_span span)
{
    if (range_id == 0)
        return "range id 0";
    if (epoch.conf == 0 || epoch.span == 0)
        return "epoch 0";
    if (span.start.len > RANGE_KEY_MAX || span.end.len > RANGE_KEY_MAX)
        return "key too long";
    if (slice_compare(span.start, span.end) >= 0)
        return "empty span";
    return NULL;
}

static const char *replicas_problem(const struct range_replica *replicas, size_t count)
{
    if (count > RANGE_REPLICAS_MAX)
        return "too many replicas";
    for (size_t i = 0; i < count; i++) {
        if (replicas[i].replica_id == 0 || replicas[i].store_id == 0)
            return "replica or store id 0";
        if (!role_is_known(replicas[i].role))
            return "unknown role";
        for (size_t j = 0; j < i; j++) {
            if (replicas[i].replica_id == replicas[j].replica_id)
                return "replica id twice";
            if (replicas[i].store_id == replicas[j].store_id)
                return "two replicas on one store";
        }
    }
    return NULL;
}

/* malloc(0) may be NULL: one byte more keeps NULL for failure alone. */
static uint8_t *copy_bytes(struct slice s)
{
    uint8_t *p = malloc(s.len + 1);
    if (p != NULL && s.len > 0)
        memcpy(p, s.data, s.len);
    return p;
}

int range_descriptor_init(struct range_descriptor *d, uint64_t range_id, struct range_epoch epoch,
                          struct range_span span, const struct range_replica *replicas,
                          size_t replica_count, struct err *err)
{
    ASSERT(d != NULL);
    const char *problem = head_problem(range_id, epoch, span);
    if (problem == NULL)
        problem = replicas_problem(replicas, replica_count);
    if (problem != NULL)
        return err_set(err, ERR_INVALID, "descriptor: %s", problem);

    uint8_t *start = copy_bytes(span.start);
    uint8_t *end = copy_bytes(span.end);
    if (start == NULL || end == NULL) {
        free(start);
        free(end);
        return err_set(err, ERR_NOMEM, "descriptor");
    }
    *d = (struct range_descriptor){
        .range_id = range_id,
        .epoch = epoch,
        .start = start,
        .end = end,
        .start_len = (uint32_t)span.start.len,
        .end_len = (uint32_t)span.end.len,
        .replica_count = (uint32_t)replica_count,
    };
    for (size_t i = 0; i < replica_count; i++)
        d->replicas[i] = replicas[i];
    range_descriptor_check(d);
    return 0;
}

int range_descriptor_copy(struct range_descriptor *d, const struct range_descriptor *from)
{
    ASSERT(d != from);
    range_descriptor_check(from);
    return range_descriptor_init(d, from->range_id, from->epoch, range_descriptor_span(from),
                                 from->replicas, from->replica_count, NULL);
}

void range_descriptor_fini(struct range_descriptor *d)
{
    ASSERT(d != NULL);
    free(d->start);
    free(d->end);
    *d = (struct range_descriptor){0};
}

int range_descriptor_set_replicas(struct range_descriptor *d, uint64_t conf_epoch,
                                  const struct range_replica *replicas, size_t replica_count,
                                  struct err *err)
{
    range_descriptor_check(d);
    const char *problem = replicas_problem(replicas, replica_count);
    if (problem == NULL && conf_epoch == 0)
        problem = "epoch 0";
    if (problem != NULL)
        return err_set(err, ERR_INVALID, "descriptor: %s", problem);
    memset(d->replicas, 0, sizeof d->replicas);
    for (size_t i = 0; i < replica_count; i++)
        d->replicas[i] = replicas[i];
    d->replica_count = (uint32_t)replica_count;
    d->epoch.conf = conf_epoch;
    range_descriptor_check(d);
    return 0;
}

const struct range_replica *range_descriptor_find(const struct range_descriptor *d,
                                                  uint64_t replica_id)
{
    ASSERT(d->replica_count <= RANGE_REPLICAS_MAX);
    for (size_t i = 0; i < d->replica_count; i++)
        if (d->replicas[i].replica_id == replica_id)
            return &d->replicas[i];
    return NULL;
}

bool range_descriptor_equal(const struct range_descriptor *a, const struct range_descriptor *b)
{
    struct range_span sa = range_descriptor_span(a);
    struct range_span sb = range_descriptor_span(b);
    if (a->range_id != b->range_id || a->epoch.conf != b->epoch.conf ||
        a->epoch.span != b->epoch.span || a->replica_count != b->replica_count)
        return false;
    if (!slice_equal(sa.start, sb.start) || !slice_equal(sa.end, sb.end))
        return false;
    for (size_t i = 0; i < a->replica_count; i++) {
        const struct range_replica *x = &a->replicas[i];
        const struct range_replica *y = &b->replicas[i];
        if (x->replica_id != y->replica_id || x->store_id != y->store_id || x->role != y->role)
            return false;
    }
    return true;
}

void range_descriptor_encode(const struct range_descriptor *d, struct buf *out)
{
    range_descriptor_check(d);
    buf_append_u8(out, DESCRIPTOR_FORMAT);
    buf_append_varint(out, d->range_id);
    buf_append_varint(out, d->epoch.conf);
    buf_append_varint(out, d->epoch.span);
    buf_append_varint(out, d->start_len);
    buf_append(out, d->start, d->start_len);
    buf_append_varint(out, d->end_len);
    buf_append(out, d->end, d->end_len);
    buf_append_varint(out, d->replica_count);
    for (size_t i = 0; i < d->replica_count; i++) {
        buf_append_varint(out, d->replicas[i].replica_id);
        buf_append_varint(out, d->replicas[i].store_id);
        buf_append_u8(out, (uint8_t)d->replicas[i].role);
    }
}

int range_descriptor_decode(struct slice in, struct range_descriptor *ret_d, struct err *err)
{
    struct reader r = reader_of(in);
    struct range_replica replicas[RANGE_REPLICAS_MAX];
    struct range_epoch epoch;
    struct range_span span;

    uint8_t format = read_u8(&r);
    if (!r.bad && format != DESCRIPTOR_FORMAT)
        return err_set(err, ERR_UNSUPPORTED, "descriptor format %u", format);
    uint64_t range_id = read_varint(&r);
    epoch.conf = read_varint(&r);
    epoch.span = read_varint(&r);
    span.start = read_bytes_prefixed(&r);
    span.end = read_bytes_prefixed(&r);
    uint64_t count = read_varint(&r);
    if (r.bad || count > RANGE_REPLICAS_MAX)
        return err_set(err, ERR_CORRUPT, "descriptor: cut short or too many replicas");
    for (size_t i = 0; i < count; i++) {
        replicas[i].replica_id = read_varint(&r);
        replicas[i].store_id = read_varint(&r);
        uint8_t role = read_u8(&r);
        if (!role_is_known(role))
            r.bad = true;
        replicas[i].role = r.bad ? RANGE_ROLE_VOTER : (enum range_role)role;
    }
    if (r.bad || r.left != 0)
        return err_set(err, ERR_CORRUPT, "descriptor: cut short or bytes behind it");
    int rv = range_descriptor_init(ret_d, range_id, epoch, span, replicas, count, err);
    return rv == ERR_INVALID ? err_wrap(err, ERR_CORRUPT, "decode") : rv;
}

void range_descriptor_check(const struct range_descriptor *d)
{
    ASSERT(d->start != NULL);
    ASSERT(d->end != NULL);
    ASSERT(head_problem(d->range_id, d->epoch, range_descriptor_span(d)) == NULL);
    ASSERT(replicas_problem(d->replicas, d->replica_count) == NULL);
}
