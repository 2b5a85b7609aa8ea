/* SPDX-License-Identifier: Apache-2.0 */
#include "range/meta.h"

#include "base/coding.h"

enum {
    META_FORMAT = 1,
    META_FORMAT_MERGES = 2,
    META_FORMAT_SEAMS = 3, /* merges, too, if there are any or not */
    LOCAL_PREFIX = 0x00,
    LOCAL_META = 'm',
    LOCAL_GONE = 'x',
    LOCAL_SPAN_KEY_LEN = 9
};

/* Why these numbers cannot be, or NULL. */
static const char *meta_problem(const struct range_meta *m)
{
    if (m->applied_index == 0 || m->applied_term == 0)
        return "applied index or term 0";
    if (m->conf_index > m->applied_index)
        return "configuration from beyond the applied index";
    if (m->time_ms > RANGE_TIME_MAX)
        return "range time out of bounds";
    if (m->safe_version > m->last_version && m->safe_version - m->last_version > 1)
        return "safe point above the last version";
    return NULL;
}

void range_meta_init(struct range_meta *meta)
{
    *meta = (struct range_meta){0};
    buf_init(&meta->conf, RANGE_CONF_MAX);
    sessions_init(&meta->sessions);
    merges_init(&meta->merges);
    seams_init(&meta->seams);
}

void range_meta_fini(struct range_meta *meta)
{
    range_descriptor_fini(&meta->descriptor);
    buf_fini(&meta->conf);
    sessions_fini(&meta->sessions);
    merges_fini(&meta->merges);
    seams_fini(&meta->seams);
}

int range_meta_copy(struct range_meta *meta, const struct range_meta *from)
{
    ASSERT(meta->descriptor.start == NULL);
    ASSERT(meta->conf.len == 0);
    struct range_meta copy = *from;
    copy.descriptor = (struct range_descriptor){0};
    buf_init(&copy.conf, RANGE_CONF_MAX);
    sessions_init(&copy.sessions);
    merges_init(&copy.merges);
    seams_init(&copy.seams);
    buf_append_slice(&copy.conf, buf_slice(&from->conf));
    int rv = range_descriptor_copy(&copy.descriptor, &from->descriptor);
    if (rv == 0 && copy.conf.failed)
        rv = ERR_NOMEM;
    if (rv == 0)
        rv = sessions_copy(&copy.sessions, &from->sessions);
    if (rv == 0)
        rv = merges_copy(&copy.merges, &from->merges);
    if (rv == 0)
        rv = seams_copy(&copy.seams, &from->seams);
    if (rv != 0) {
        range_meta_fini(&copy);
        return rv;
    }
    *meta = copy;
    return 0;
}

static void encode_merges(const struct range_meta *meta, struct buf *out)
{
    struct buf merges;
    buf_init(&merges, MERGES_LEN_MAX);
    merges_encode(&meta->merges, &merges);
    out->failed |= merges.failed;
    buf_append_varint(out, merges.len);
    buf_append_slice(out, buf_slice(&merges));
    buf_fini(&merges);
}

static void encode_seams(const struct range_meta *meta, struct buf *out)
{
    struct buf seams;
    buf_init(&seams, SEAMS_LEN_MAX);
    seams_encode(&meta->seams, &seams);
    out->failed |= seams.failed;
    buf_append_varint(out, seams.len);
    buf_append_slice(out, buf_slice(&seams));
    buf_fini(&seams);
}

/* The least that can hold it, for builds that know no other. */
static uint8_t format_of(const struct range_meta *meta)
{
    if (meta->seams.count > 0)
        return META_FORMAT_SEAMS;
    return merges_is_empty(&meta->merges) ? META_FORMAT : META_FORMAT_MERGES;
}

void range_meta_encode(const struct range_meta *meta, struct buf *out)
{
    uint8_t format = format_of(meta);
    range_meta_check(meta);
    buf_append_u8(out, format);
    buf_append_u64(out, meta->applied_index);
    buf_append_u64(out, meta->applied_term);
    buf_append_u64(out, meta->time_ms);
    buf_append_u64(out, meta->last_version);
    buf_append_u64(out, meta->safe_version);
    buf_append_u64(out, meta->retention_ms);
    buf_append_u64(out, meta->floor_ms);
    buf_append_u64(out, meta->history_hash);
    buf_append_u64(out, meta->conf_index);

    struct buf descriptor;
    buf_init(&descriptor, RANGE_DESCRIPTOR_MAX);
    range_descriptor_encode(&meta->descriptor, &descriptor);
    out->failed |= descriptor.failed;
    buf_append_varint(out, descriptor.len);
    buf_append_slice(out, buf_slice(&descriptor));
    buf_fini(&descriptor);
    buf_append_varint(out, meta->conf.len);
    buf_append_slice(out, buf_slice(&meta->conf));
    buf_append_varint(out, sessions_len(&meta->sessions));
    sessions_encode(&meta->sessions, out);
    if (format >= META_FORMAT_MERGES)
        encode_merges(meta, out);
    if (format >= META_FORMAT_SEAMS)
        encode_seams(meta, out);
}

static void read_numbers(struct reader *r, struct range_meta *m)
{
    m->applied_index = read_u64(r);
    m->applied_term = read_u64(r);
    m->time_ms = read_u64(r);
    m->last_version = read_u64(r);
    m->safe_version = read_u64(r);
    m->retention_ms = read_u64(r);
    m->floor_ms = read_u64(r);
    m->history_hash = read_u64(r);
    m->conf_index = read_u64(r);
}

int range_meta_decode(struct slice in, struct range_meta *ret_meta, struct err *err)
{
    ASSERT(ret_meta->descriptor.start == NULL);
    struct reader r = reader_of(in);
    struct range_meta m;
    range_meta_init(&m);

    uint8_t format = read_u8(&r);
    if (!r.bad && (format < META_FORMAT || format > META_FORMAT_SEAMS))
        return err_set(err, ERR_UNSUPPORTED, "meta record of format %u", format);
    read_numbers(&r, &m);
    struct slice descriptor = read_bytes_prefixed(&r);
    struct slice conf = read_bytes_prefixed(&r);
    struct slice sessions = read_bytes_prefixed(&r);
    struct slice merges = {0};
    struct slice seams = {0};
    if (format >= META_FORMAT_MERGES)
        merges = read_bytes_prefixed(&r);
    if (format >= META_FORMAT_SEAMS)
        seams = read_bytes_prefixed(&r);
    if (r.bad || r.left != 0)
        return err_set(err, ERR_CORRUPT, "meta record: cut short or bytes behind it");
    if (conf.len > RANGE_CONF_MAX || sessions.len > SESSIONS_BYTES_MAX)
        return err_set(err, ERR_CORRUPT, "meta record: a part is over its limit");
    const char *problem = meta_problem(&m);
    if (problem != NULL)
        return err_set(err, ERR_CORRUPT, "meta record: %s", problem);

    int rv = range_descriptor_decode(descriptor, &m.descriptor, err);
    if (rv == 0 && format >= META_FORMAT_MERGES)
        rv = merges_decode(merges, &m.merges, err);
    if (rv == 0 && format >= META_FORMAT_SEAMS)
        rv = seams_decode(seams, &m.seams, err);
    buf_append_slice(&m.conf, conf);
    if (rv == 0)
        rv = m.conf.failed ? err_set(err, ERR_NOMEM, "configuration")
                           : sessions_decode(sessions, &m.sessions, err);
    if (rv != 0) {
        range_meta_fini(&m);
        return err_wrap(err, rv, "meta record");
    }
    *ret_meta = m;
    return 0;
}

void range_meta_check(const struct range_meta *meta)
{
    ASSERT(meta_problem(meta) == NULL);
    ASSERT(!meta->conf.failed);
    range_descriptor_check(&meta->descriptor);
    merges_check(&meta->merges);
    seams_check(&meta->seams);
}

void range_meta_key(uint64_t replica_id, uint8_t out[RANGE_LOCAL_KEY_LEN])
{
    ASSERT(replica_id != 0);
    out[0] = LOCAL_PREFIX;
    put_u64be(out + 1, replica_id);
    out[9] = LOCAL_META;
}

static bool local_key_parse(struct slice key, uint8_t what, uint64_t *ret_replica_id)
{
    if (key.len != RANGE_LOCAL_KEY_LEN || key.data[0] != LOCAL_PREFIX || key.data[9] != what)
        return false;
    if (get_u64be(key.data + 1) == 0)
        return false;
    *ret_replica_id = get_u64be(key.data + 1);
    return true;
}

bool range_meta_key_parse(struct slice key, uint64_t *ret_replica_id)
{
    return local_key_parse(key, LOCAL_META, ret_replica_id);
}

void range_gone_key(uint64_t replica_id, uint8_t out[RANGE_LOCAL_KEY_LEN])
{
    range_meta_key(replica_id, out);
    out[RANGE_LOCAL_KEY_LEN - 1] = LOCAL_GONE;
}

bool range_gone_key_parse(struct slice key, uint64_t *ret_replica_id)
{
    return local_key_parse(key, LOCAL_GONE, ret_replica_id);
}

struct range_span range_local_span(uint64_t replica_id, uint8_t buf[2 * RANGE_LOCAL_KEY_LEN])
{
    ASSERT(replica_id != 0);
    ASSERT(replica_id < UINT64_MAX);
    uint8_t *end = buf + RANGE_LOCAL_KEY_LEN;
    buf[0] = LOCAL_PREFIX;
    put_u64be(buf + 1, replica_id);
    end[0] = LOCAL_PREFIX;
    put_u64be(end + 1, replica_id + 1);
    return (struct range_span){
        .start = slice_of(buf, LOCAL_SPAN_KEY_LEN),
        .end = slice_of(end, LOCAL_SPAN_KEY_LEN),
    };
}
