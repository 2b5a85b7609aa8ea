/* SPDX-License-Identifier: Apache-2.0 */
#include "store/book.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/coding.h"
#include "base/crc32c.h"

/* The file:
 *
 *   offset  size  field
 *        0     8  magic "HFBOOK01"
 *        8     4  crc32c of everything behind it
 *       12     …  count u32 | entries
 *   entry: store id u64 | version u64 | removed u8 | uuid[16] | address (varint length, bytes)
 */
#define BOOK_MAGIC "HFBOOK01"
enum {
    BOOK_HEAD = 12,
    BOOK_ENTRY_MAX = 8 + 8 + 1 + IDENTITY_UUID_LEN + 2 + ENV_ADDRESS_MAX,
    BOOK_FILE_MAX = BOOK_HEAD + 4 + BOOK_MAX * BOOK_ENTRY_MAX,
};

static void path_of(const struct book *book, const char *name, char out[ENV_PATH_MAX])
{
    int n = snprintf(out, ENV_PATH_MAX, "%s/%s", book->dir, name);
    ASSERT(n > 0 && n < ENV_PATH_MAX);
}

/* ---- the file ------------------------------------------------------------------------- */

static void encode(const struct book *book, struct buf *out)
{
    buf_append(out, BOOK_MAGIC, 8);
    buf_append_u32(out, 0);
    buf_append_u32(out, book->count);
    for (uint32_t i = 0; i < book->count; i++) {
        const struct book_entry *e = &book->entries[i];
        buf_append_u64(out, e->store_id);
        buf_append_u64(out, e->version);
        buf_append_u8(out, e->is_removed);
        buf_append(out, e->uuid, sizeof e->uuid);
        buf_append_varint(out, strlen(e->address));
        buf_append_str(out, e->address);
    }
    if (!out->failed)
        put_u32(out->data + 8, crc32c(0, out->data + BOOK_HEAD, out->len - BOOK_HEAD));
}

static bool decode_entry(struct reader *r, struct book_entry *e)
{
    *e = (struct book_entry){.store_id = read_u64(r), .version = read_u64(r)};
    uint8_t removed = read_u8(r);
    struct slice uuid = read_bytes(r, IDENTITY_UUID_LEN);
    struct slice address = read_bytes_prefixed(r);
    if (r->bad || e->store_id == 0 || removed > 1 || address.len == 0 ||
        address.len >= sizeof e->address)
        return false;
    e->is_removed = removed == 1;
    memcpy(e->uuid, uuid.data, sizeof e->uuid);
    memcpy(e->address, address.data, address.len);
    return true;
}

static int decode(struct book *book, struct slice raw, struct err *err)
{
    struct reader r = reader_of(raw);
    struct slice magic = read_bytes(&r, 8);
    uint32_t crc = read_u32(&r);
    if (r.bad || memcmp(magic.data, BOOK_MAGIC, 8) != 0)
        return err_set(err, ERR_CORRUPT, "not an address book");
    if (crc32c(0, r.pos, r.left) != crc)
        return err_set(err, ERR_CORRUPT, "bad checksum");
    uint32_t count = read_u32(&r);
    for (uint32_t i = 0; i < count; i++) {
        struct book_entry e;
        if (!decode_entry(&r, &e))
            return err_set(err, ERR_CORRUPT, "malformed");
        int rv = book_learn(book, &e, err);
        if (rv < 0)
            return rv;
    }
    return r.left == 0 ? 0 : err_set(err, ERR_CORRUPT, "malformed");
}

int book_load(struct book *book, struct err *err)
{
    char path[ENV_PATH_MAX];
    struct env_file *file = NULL;
    size_t len = 0;
    uint8_t *raw = malloc(BOOK_FILE_MAX);
    ASSERT(book->count == 0);
    if (raw == NULL)
        return err_set(err, ERR_NOMEM, "read the address book");
    path_of(book, "BOOK", path);
    int rv = env_file_open(book->env, path, ENV_OPEN_READ, &file, err);
    if (rv == ERR_NOT_FOUND) {
        free(raw);
        return 0;
    }
    if (rv == 0)
        rv = env_file_read(file, 0, raw, BOOK_FILE_MAX, &len, err);
    env_file_close(file);
    if (rv == 0)
        rv = decode(book, slice_of(raw, len), err);
    free(raw);
    if (rv != 0)
        book->count = 0;
    book->is_dirty = rv != 0;
    return rv == 0 ? 0 : err_wrap(err, rv, "read '%s'", path);
}

/* In the background: written aside, synced, renamed. */
static void save_execute(struct env_work *work)
{
    struct book *book = work->data;
    struct env_file *file = NULL;
    char path[ENV_PATH_MAX], path_new[ENV_PATH_MAX];
    path_of(book, "BOOK", path);
    path_of(book, "BOOK.new", path_new);
    int rv = env_file_open(book->env, path_new,
                           ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNCATE, &file, NULL);
    if (rv == 0)
        rv = env_file_write(file, 0, book->image.data, book->image.len, NULL);
    if (rv == 0)
        rv = env_file_sync(file, NULL);
    env_file_close(file);
    if (rv == 0)
        rv = env_file_rename(book->env, path_new, path, NULL);
    if (rv == 0)
        rv = env_dir_sync(book->env, book->dir, NULL);
    book->status = rv;
}

static void save_complete(struct env_work *work)
{
    struct book *book = work->data;
    book->is_writing = false;
    if (book->status != 0)
        book->is_dirty = true;
}

void book_save(struct book *book)
{
    if (!book->is_dirty || book->is_writing)
        return;
    buf_clear(&book->image);
    encode(book, &book->image);
    if (book->image.failed)
        return; /* out of memory: the next call tries again */
    book->is_dirty = false;
    book->is_writing = true;
    env_work_init(&book->work, save_execute, save_complete, book);
    env_work_submit(book->env, ENV_LANE_READ, &book->work);
}

/* ---- memory ---------------------------------------------------------------------------- */

void book_init(struct book *book, struct env *env, const char *dir)
{
    *book = (struct book){.env = env};
    snprintf(book->dir, sizeof book->dir, "%s", dir);
    buf_init(&book->image, BOOK_FILE_MAX);
}

void book_fini(struct book *book)
{
    free(book->entries);
    buf_fini(&book->image);
    book->entries = NULL;
    book->count = book->cap = 0;
}

/* The first entry whose store id is not below. */
static uint32_t seek(const struct book *book, uint64_t store_id)
{
    uint32_t lo = 0;
    uint32_t hi = book->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (book->entries[mid].store_id < store_id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct book_entry *book_find(const struct book *book, uint64_t store_id)
{
    uint32_t at = seek(book, store_id);
    return at < book->count && book->entries[at].store_id == store_id ? &book->entries[at] : NULL;
}

const struct book_entry *book_at(const struct book *book, uint32_t position)
{
    return position < book->count ? &book->entries[position] : NULL;
}

/* The oldest of those that were removed gives its place; false: none was. */
static bool forget_one(struct book *book)
{
    uint32_t at = 0;
    while (at < book->count && !book->entries[at].is_removed)
        at++;
    if (at == book->count)
        return false;
    book->count--;
    memmove(&book->entries[at], &book->entries[at + 1],
            (book->count - at) * sizeof book->entries[0]);
    return true;
}

static int insert(struct book *book, const struct book_entry *entry, struct err *err)
{
    if (book->count == BOOK_MAX && !forget_one(book))
        return err_set(err, ERR_BUSY, "more than %d stores", BOOK_MAX);
    uint32_t at = seek(book, entry->store_id);
    if (book->count == book->cap) {
        uint32_t cap = book->cap == 0 ? 8 : book->cap * 2;
        struct book_entry *entries = realloc(book->entries, cap * sizeof *entries);
        if (entries == NULL)
            return err_set(err, ERR_NOMEM, "address book");
        book->entries = entries;
        book->cap = cap;
    }
    memmove(&book->entries[at + 1], &book->entries[at],
            (book->count - at) * sizeof book->entries[0]);
    book->entries[at] = *entry;
    book->entries[at].revision = ++book->revision;
    book->count++;
    book->is_dirty = true;
    return 1;
}

int book_learn(struct book *book, const struct book_entry *entry, struct err *err)
{
    ASSERT(entry->store_id != 0);
    ASSERT(entry->address[0] != 0);
    uint32_t at = seek(book, entry->store_id);
    if (at == book->count || book->entries[at].store_id != entry->store_id)
        return insert(book, entry, err);
    struct book_entry *known = &book->entries[at];
    if (memcmp(known->uuid, entry->uuid, sizeof known->uuid) != 0)
        return err_set(err, ERR_INVALID, "store %llu is known under another uuid",
                       (unsigned long long)entry->store_id);
    bool is_news = entry->is_removed || entry->version > known->version;
    if (known->is_removed || !is_news)
        return 0;
    *known = *entry;
    known->revision = ++book->revision;
    book->is_dirty = true;
    return 1;
}

void book_check(const struct book *book)
{
    ASSERT(book->count <= book->cap && book->count <= BOOK_MAX);
    for (uint32_t i = 0; i < book->count; i++) {
        ASSERT(book->entries[i].store_id != 0);
        ASSERT(book->entries[i].address[0] != 0);
        ASSERT(i == 0 || book->entries[i - 1].store_id < book->entries[i].store_id);
    }
}
