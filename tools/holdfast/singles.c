/* SPDX-License-Identifier: Apache-2.0 */
#include "singles.h"

#include "base/coding.h"
#include "base/crc32c.h"

enum { LOOK_MS = 1000 };

/* One record, in what is kept. */
struct record_view {
    uint64_t ttl_ms;
    struct slice key;
    struct slice value;
};

int singles_init(struct singles *s, struct hf_client *client)
{
    *s = (struct singles){.client = client};
    buf_init(&s->kept, SINGLES_BYTES_MAX);
    return hf_queue_new(client, &s->queue);
}

void singles_fini(struct singles *s)
{
    ASSERT(s->under_way == 0);
    if (s->queue != NULL)
        hf_queue_free(s->queue);
    s->queue = NULL;
    buf_fini(&s->kept);
}

bool singles_keep(struct singles *s, struct slice key, struct slice value, uint64_t ttl_ms)
{
    ASSERT(s->count < SINGLES_MAX);
    s->records[s->count++] =
        (struct single){.at = s->kept.len, .hash = crc32c(0, key.data, key.len)};
    buf_append_u64(&s->kept, ttl_ms);
    buf_append_u32(&s->kept, (uint32_t)key.len);
    buf_append_u32(&s->kept, (uint32_t)value.len);
    buf_append_slice(&s->kept, key);
    buf_append_slice(&s->kept, value);
    return !s->kept.failed;
}

void singles_clear(struct singles *s)
{
    ASSERT(s->under_way == 0);
    buf_clear(&s->kept);
    s->count = 0;
}

static struct record_view view_of(const struct singles *s, const struct single *record)
{
    struct record_view view;
    struct reader r = reader_of(slice_of(s->kept.data + record->at, s->kept.len - record->at));
    view.ttl_ms = read_u64(&r);
    uint32_t key_len = read_u32(&r);
    uint32_t value_len = read_u32(&r);
    view.key = read_bytes(&r, key_len);
    view.value = read_bytes(&r, value_len);
    ASSERT(!r.bad);
    return view;
}

/* Must it wait for one before it, whose key it has? Two keys of one hash wait for nothing. */
static bool waits_for_another(const struct singles *s, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (s->records[k].is_under_way && s->records[k].hash == s->records[i].hash)
            return true;
    }
    return false;
}

/* Begin it. An hf_code. */
static int begin(struct singles *s, struct single *record, const struct hf_call *call)
{
    struct record_view view = view_of(s, record);
    struct hf_change change;
    hf_change_init(&change);
    change.ttl_ms = view.ttl_ms;
    int rv = hf_put_async(s->client, hf_bytes(view.key.data, view.key.len),
                          hf_bytes(view.value.data, view.value.len), &change, call,
                          &(struct hf_then){.queue = s->queue, .data = record});
    record->is_under_way = rv == HF_OK;
    s->under_way += rv == HF_OK;
    return rv;
}

/* Begin what may be begun, from *next on. An hf_code. */
static int begin_some(struct singles *s, size_t *next, const struct hf_call *call)
{
    while (*next < s->count && s->under_way < SINGLES_AT_ONCE) {
        struct single *record = &s->records[*next];
        if (!record->is_in && waits_for_another(s, *next))
            return HF_OK;
        int rv = record->is_in ? HF_OK : begin(s, record, call);
        if (rv == HF_ERR_BUSY && s->under_way > 0)
            return HF_OK; /* there is room when one of them is over */
        if (rv != HF_OK)
            return rv;
        ++*next;
    }
    return HF_OK;
}

/* Wait for one that is under way. An hf_code: what it came to. Without `settle` one whose outcome
 * is unknown is left so. */
static int take_one(struct singles *s, singles_settle settle, void *data,
                    struct hf_result **ret_result)
{
    void *of = NULL;
    int code = HF_OK;
    while (hf_queue_wait(s->queue, LOOK_MS, &of, &code, ret_result) == 0)
        ; /* each has a deadline */
    struct single *record = of;
    if (code == HF_ERR_UNDETERMINED && settle != NULL)
        code = settle(data, ret_result);
    ASSERT(record->is_under_way && s->under_way > 0);
    record->is_under_way = false;
    record->is_in = code == HF_OK;
    s->under_way--;
    return code;
}

int singles_put(struct singles *s, const struct hf_call *call, singles_settle settle, void *data,
                struct hf_result **ret_result)
{
    size_t next = 0;
    int rv = HF_OK;
    *ret_result = NULL;
    for (;;) {
        if (rv == HF_OK)
            rv = begin_some(s, &next, call);
        if (s->under_way == 0)
            return rv;
        struct hf_result *result = NULL;
        bool is_open = rv == HF_ERR_UNDETERMINED; /* to ask for more of them would take long … */
        int code = take_one(s, is_open ? NULL : settle, data, &result); /* … and change nothing */
        bool is_told = code != HF_OK && (rv == HF_OK || code == HF_ERR_UNDETERMINED);
        hf_result_free(is_told ? *ret_result : result);
        if (is_told) {
            rv = code;
            *ret_result = result;
        }
    }
}
