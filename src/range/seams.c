/* SPDX-License-Identifier: Apache-2.0 */
#include "range/seams.h"

#include <stdlib.h>

static struct slice key_of(const struct seam *seam)
{
    return slice_of(seam->key, seam->key_len);
}

void seams_init(struct seams *j)
{
    *j = (struct seams){0};
}

static void drop_last(struct seams *j)
{
    ASSERT(j->count > 0);
    j->count--;
    free(j->all[j->count].key);
    j->all[j->count] = (struct seam){0};
}

void seams_fini(struct seams *j)
{
    while (j->count > 0)
        drop_last(j);
}

static int append(struct seams *j, struct slice key, uint64_t version)
{
    ASSERT(j->count < SEAMS_MAX);
    ASSERT(key.len > 0);
    struct seam *seam = &j->all[j->count];
    uint8_t *copy = malloc(key.len);
    if (copy == NULL)
        return ERR_NOMEM;
    memcpy(copy, key.data, key.len);
    *seam = (struct seam){.version = version, .key = copy, .key_len = key.len};
    j->count++;
    return 0;
}

int seams_copy(struct seams *j, const struct seams *from)
{
    struct seams copy;
    int rv = 0;
    seams_init(&copy);
    for (uint32_t i = 0; i < from->count && rv == 0; i++)
        rv = append(&copy, key_of(&from->all[i]), from->all[i].version);
    if (rv != 0) {
        seams_fini(&copy);
        return rv;
    }
    *j = copy;
    return 0;
}

int seams_add(struct seams *j, struct slice key, uint64_t version)
{
    struct seam *last = j->count > 0 ? &j->all[j->count - 1] : NULL;
    ASSERT(last == NULL || slice_compare(key_of(last), key) < 0);
    if (version == 0 || (last != NULL && last->version >= version))
        return 0;
    if (j->count < SEAMS_MAX)
        return append(j, key, version);
    last->version = version;
    return 0;
}

void seams_forget_below(struct seams *j, uint64_t version)
{
    uint32_t gone = 0;
    while (gone < j->count && j->all[gone].version <= version)
        free(j->all[gone++].key);
    if (gone == 0)
        return;
    j->count -= gone;
    memmove(j->all, j->all + gone, j->count * sizeof j->all[0]);
    memset(j->all + j->count, 0, gone * sizeof j->all[0]);
}

void seams_cut(struct seams *j, struct slice end)
{
    while (j->count > 0 && slice_compare(key_of(&j->all[j->count - 1]), end) >= 0)
        drop_last(j);
}

uint64_t seams_least_at(const struct seams *j, struct slice key)
{
    uint64_t least = 0;
    for (uint32_t i = 0; i < j->count && slice_compare(key_of(&j->all[i]), key) <= 0; i++)
        least = j->all[i].version;
    return least;
}

uint64_t seams_least_below(const struct seams *j, struct slice end)
{
    uint64_t least = 0;
    for (uint32_t i = 0; i < j->count && slice_compare(key_of(&j->all[i]), end) < 0; i++)
        least = j->all[i].version;
    return least;
}

struct slice seams_end(const struct seams *j, struct slice key, uint64_t version)
{
    for (uint32_t i = 0; i < j->count; i++) {
        if (j->all[i].version > version && slice_compare(key_of(&j->all[i]), key) > 0)
            return key_of(&j->all[i]);
    }
    return (struct slice){0};
}

/* ---- bytes ------------------------------------------------------------------------- */

void seams_encode(const struct seams *j, struct buf *out)
{
    seams_check(j);
    buf_append_u8(out, (uint8_t)j->count);
    for (uint32_t i = 0; i < j->count; i++) {
        buf_append_u64(out, j->all[i].version);
        buf_append_varint(out, j->all[i].key_len);
        buf_append_slice(out, key_of(&j->all[i]));
    }
}

int seams_decode(struct slice in, struct seams *ret, struct err *err)
{
    struct reader r = reader_of(in);
    struct seams j;
    struct slice before = {0};
    uint64_t least = 0;
    int rv = 0;
    seams_init(&j);
    uint8_t count = read_u8(&r);
    if (count > SEAMS_MAX)
        r.bad = true;
    for (uint8_t i = 0; i < count && !r.bad && rv == 0; i++) {
        uint64_t version = read_u64(&r);
        struct slice key = read_bytes_prefixed(&r);
        if (version <= least || key.len > RANGE_KEY_MAX || slice_compare(key, before) <= 0)
            r.bad = true;
        if (!r.bad)
            rv = append(&j, key, version);
        before = key;
        least = version;
    }
    if (rv == 0 && (r.bad || r.left != 0))
        rv = err_set(err, ERR_CORRUPT, "seams: malformed");
    else if (rv != 0)
        err_set(err, rv, "seams");
    if (rv != 0) {
        seams_fini(&j);
        return rv;
    }
    *ret = j;
    return 0;
}

void seams_check(const struct seams *j)
{
    ASSERT(j->count <= SEAMS_MAX);
    for (uint32_t i = 0; i < j->count; i++) {
        ASSERT(j->all[i].version > 0);
        ASSERT(j->all[i].key_len > 0 && j->all[i].key_len <= RANGE_KEY_MAX);
        ASSERT(i == 0 || j->all[i].version > j->all[i - 1].version);
        ASSERT(i == 0 || slice_compare(key_of(&j->all[i - 1]), key_of(&j->all[i])) < 0);
    }
}
