/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "env/sim/disk_internal.h"

static struct sim_page *page_new(const struct sim_page *from)
{
    struct sim_page *page = malloc(sizeof *page);
    ASSERT(page != NULL);
    page->refs = 1;
    if (from != NULL)
        memcpy(page->data, from->data, SIM_PAGE);
    else
        memset(page->data, 0, SIM_PAGE);
    return page;
}

static struct sim_page *page_ref(struct sim_page *page)
{
    if (page != NULL)
        page->refs++;
    return page;
}

static void page_unref(struct sim_page *page)
{
    if (page == NULL)
        return;
    ASSERT(page->refs > 0);
    if (--page->refs == 0)
        free(page);
}

/* The page at *slot, for this slot alone to write. */
static struct sim_page *page_own(struct sim_page **slot)
{
    if (*slot != NULL && (*slot)->refs == 1)
        return *slot;
    struct sim_page *page = page_new(*slot);
    page_unref(*slot);
    *slot = page;
    return page;
}

static bool is_zero(const uint8_t *p, size_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Bits of the sectors that [from, to) of a chunk touches. */
static uint8_t sector_mask(size_t from, size_t to)
{
    ASSERT(from < to);
    ASSERT(to <= SIM_PAGE);
    unsigned first = (unsigned)(from / SIM_SECTOR);
    unsigned last = (unsigned)((to - 1) / SIM_SECTOR);
    return (uint8_t)((BIT(last + 1) - 1) & ~(BIT(first) - 1));
}

static void chunks_reserve(struct sim_inode *inode, size_t count)
{
    size_t old = inode->chunk_count;
    if (count <= old)
        return;
    size_t next = MAX(count, MIN(old * 2, old + 4096));
    inode->chunks = realloc(inode->chunks, next * sizeof *inode->chunks);
    ASSERT(inode->chunks != NULL);
    memset(inode->chunks + old, 0, (next - old) * sizeof *inode->chunks);
    inode->chunk_count = next;
}

/* `mask` of chunk `at` is about to differ from the platter. */
static void chunk_touch(struct sim_inode *inode, size_t at, uint8_t mask)
{
    struct sim_chunk *chunk = &inode->chunks[at];
    if (chunk->dirty == 0) {
        ASSERT(chunk->stable == NULL);
        chunk->stable = page_ref(chunk->cur);
        inode->dirty_list = sim_grow(inode->dirty_list, &inode->dirty_cap, inode->dirty_count + 1,
                                     sizeof *inode->dirty_list);
        inode->dirty_list[inode->dirty_count++] = (uint32_t)at;
    }
    chunk->dirty |= mask;
    chunk->lost &= (uint8_t)~mask;
}

/* The sectors of `mask` reach the platter. Does not leave the dirty list. */
static void chunk_settle(struct sim_chunk *chunk, uint8_t mask)
{
    mask &= chunk->dirty;
    if (mask == 0)
        return;
    if (mask == chunk->dirty) {
        page_unref(chunk->stable);
        chunk->stable = NULL;
        chunk->dirty = chunk->lost = 0;
        return;
    }
    struct sim_page *page = page_own(&chunk->stable);
    for (unsigned i = 0; i < SIM_PAGE_SECTORS; i++) {
        if (!(mask & BIT(i)))
            continue;
        uint8_t *to = page->data + i * SIM_SECTOR;
        if (chunk->cur != NULL)
            memcpy(to, chunk->cur->data + i * SIM_SECTOR, SIM_SECTOR);
        else
            memset(to, 0, SIM_SECTOR);
    }
    chunk->dirty &= (uint8_t)~mask;
    chunk->lost &= (uint8_t)~mask;
}

/* Take the chunks that became clean off the list. */
static void dirty_list_sweep(struct sim_inode *inode)
{
    size_t kept = 0;
    for (size_t i = 0; i < inode->dirty_count; i++)
        if (inode->chunks[inode->dirty_list[i]].dirty != 0)
            inode->dirty_list[kept++] = inode->dirty_list[i];
    inode->dirty_count = kept;
}

void sim_bytes_read(const struct sim_inode *inode, uint64_t offset, void *data, size_t len)
{
    ASSERT(offset <= inode->size);
    ASSERT(len <= inode->size - offset);
    uint8_t *p = data;
    while (len > 0) {
        size_t at = (size_t)(offset / SIM_PAGE);
        size_t from = (size_t)(offset % SIM_PAGE);
        size_t n = MIN(len, SIM_PAGE - from);
        if (at < inode->chunk_count && inode->chunks[at].cur != NULL)
            memcpy(p, inode->chunks[at].cur->data + from, n);
        else
            memset(p, 0, n);
        p += n;
        offset += n;
        len -= n;
    }
}

void sim_bytes_write(struct sim_inode *inode, uint64_t offset, const void *data, size_t len)
{
    ASSERT(!inode->is_dir);
    ASSERT(offset + len <= SIM_DISK_FILE_MAX);
    const uint8_t *p = data;
    uint64_t end = offset + len;
    if (len == 0)
        return;
    while (offset < end) {
        size_t at = (size_t)(offset / SIM_PAGE);
        size_t from = (size_t)(offset % SIM_PAGE);
        size_t n = (size_t)MIN(end - offset, (uint64_t)(SIM_PAGE - from));
        bool is_hole = at >= inode->chunk_count || inode->chunks[at].cur == NULL;
        bool is_clean = at >= inode->chunk_count || inode->chunks[at].dirty == 0;
        bool zeroes = is_hole && is_zero(p, n);
        if (!zeroes || !is_clean) {
            chunks_reserve(inode, at + 1);
            chunk_touch(inode, at, sector_mask(from, from + n));
            if (!zeroes)
                memcpy(page_own(&inode->chunks[at].cur)->data + from, p, n);
        }
        p += n;
        offset += n;
    }
    inode->size = MAX(inode->size, end);
}

/* Zero the page cache from `from` of chunk `at` on. */
static void chunk_zero_tail(struct sim_inode *inode, size_t at, size_t from)
{
    struct sim_chunk *chunk = &inode->chunks[at];
    if (chunk->cur == NULL)
        return;
    chunk_touch(inode, at, sector_mask(from, SIM_PAGE));
    if (from == 0) {
        page_unref(chunk->cur);
        chunk->cur = NULL;
    } else {
        memset(page_own(&chunk->cur)->data + from, 0, SIM_PAGE - from);
    }
}

void sim_bytes_truncate(struct sim_inode *inode, uint64_t size)
{
    ASSERT(!inode->is_dir);
    ASSERT(size <= SIM_DISK_FILE_MAX);
    if (size < inode->size) {
        size_t at = (size_t)(size / SIM_PAGE);
        size_t from = (size_t)(size % SIM_PAGE);
        for (; at < inode->chunk_count; at++, from = 0)
            chunk_zero_tail(inode, at, from);
        inode->cut_size = MIN(inode->cut_size, size);
    }
    inode->size = size;
}

void sim_bytes_sync(struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->dirty_count; i++) {
        struct sim_chunk *chunk = &inode->chunks[inode->dirty_list[i]];
        chunk_settle(chunk, (uint8_t)~chunk->lost);
    }
    dirty_list_sweep(inode);
    inode->stable_size = inode->cut_size = inode->size;
}

void sim_bytes_sync_fail(struct sim_inode *inode, struct rng *rng)
{
    struct sim_keep keep = sim_keep_draw(rng, inode->dirty_count * SIM_PAGE_SECTORS);
    for (size_t i = 0; i < inode->dirty_count; i++) {
        struct sim_chunk *chunk = &inode->chunks[inode->dirty_list[i]];
        uint8_t mask = 0;
        for (unsigned s = 0; s < SIM_PAGE_SECTORS; s++)
            if (sim_keep_one(&keep, rng, i * SIM_PAGE_SECTORS + s))
                mask |= (uint8_t)BIT(s);
        chunk_settle(chunk, (uint8_t)(mask & ~chunk->lost));
        chunk->lost = chunk->dirty;
    }
    dirty_list_sweep(inode);
}

void sim_bytes_writeback(struct sim_inode *inode, struct rng *rng)
{
    /* A truncation that waits comes first, and it is one with the sync. */
    if (inode->dirty_count == 0 || inode->cut_size < inode->stable_size)
        return;
    size_t at = inode->dirty_list[rng_below(rng, inode->dirty_count)];
    struct sim_chunk *chunk = &inode->chunks[at];
    unsigned sector = (unsigned)rng_below(rng, SIM_PAGE_SECTORS);
    uint64_t end = (uint64_t)at * SIM_PAGE + (sector + 1) * SIM_SECTOR;
    if (!(chunk->dirty & ~chunk->lost & BIT(sector)))
        return;
    chunk_settle(chunk, (uint8_t)BIT(sector));
    dirty_list_sweep(inode);
    if (MIN(end, inode->size) > inode->stable_size)
        inode->stable_size = inode->cut_size = MIN(end, inode->size);
}

struct sim_keep sim_keep_draw(struct rng *rng, uint64_t count)
{
    static const uint32_t shares[] = {0, 8, 4, 1, 7};
    struct sim_keep keep = {0};
    size_t pick = (size_t)rng_below(rng, ARRAY_LEN(shares) + 1);
    if (pick < ARRAY_LEN(shares)) {
        keep.of_8 = shares[pick];
    } else {
        keep.is_prefix = true;
        keep.below = rng_between(rng, 0, count);
    }
    return keep;
}

bool sim_keep_one(const struct sim_keep *keep, struct rng *rng, uint64_t position)
{
    if (keep->is_prefix)
        return position < keep->below;
    return rng_chance(rng, keep->of_8, 8);
}

/* Zero what lies at and after `from` in a chunk that is clean. */
static void chunk_cut(struct sim_chunk *chunk, size_t from)
{
    ASSERT(chunk->dirty == 0);
    if (chunk->cur == NULL || from >= SIM_PAGE)
        return;
    if (from == 0) {
        page_unref(chunk->cur);
        chunk->cur = NULL;
    } else {
        memset(page_own(&chunk->cur)->data + from, 0, SIM_PAGE - from);
    }
}

/* Go back to the platter, which has `keep` of chunk `at` and nothing of the rest. */
static void chunk_revert(struct sim_chunk *chunk, uint8_t keep)
{
    chunk_settle(chunk, keep);
    if (chunk->dirty == 0)
        return;
    page_unref(chunk->cur);
    chunk->cur = chunk->stable;
    chunk->stable = NULL;
    chunk->dirty = chunk->lost = 0;
}

/* Where [at, at + SIM_PAGE) crosses `limit`, as a place in the chunk. */
static size_t chunk_place(size_t at, uint64_t limit)
{
    uint64_t start = (uint64_t)at * SIM_PAGE;
    return limit <= start ? 0 : (size_t)MIN(limit - start, (uint64_t)SIM_PAGE);
}

/* One dirty chunk at a loss of power. Platter bytes past `cut` are gone if the
 * truncation happened (`is_cut`), and page cache bytes past it never came if not. */
static void chunk_power_loss(struct sim_chunk *chunk, size_t at, uint64_t cut, bool is_cut,
                             const struct sim_keep *keep, struct rng *rng, uint64_t *counts)
{
    size_t place = chunk_place(at, cut);
    uint8_t mask = 0;
    for (unsigned s = 0; s < SIM_PAGE_SECTORS; s++) {
        bool is_past = (s + 1) * SIM_SECTOR > place;
        bool is_kept = sim_keep_one(keep, rng, (uint64_t)at * SIM_PAGE_SECTORS + s);
        if (is_kept && (is_cut || !is_past))
            mask |= (uint8_t)BIT(s);
    }
    mask &= (uint8_t)~chunk->lost;
    counts[SIM_COUNT_LOST_CHUNK] += mask == 0;
    counts[SIM_COUNT_TORN_CHUNK] += mask != 0 && (mask & chunk->dirty) != chunk->dirty;
    if (is_cut && place < SIM_PAGE && chunk->stable != NULL) {
        memset(page_own(&chunk->stable)->data + place, 0, SIM_PAGE - place);
    }
    chunk_revert(chunk, mask);
}

void sim_bytes_power_loss(struct sim_inode *inode, struct rng *rng, uint64_t *counts)
{
    uint64_t cut = inode->cut_size;
    bool is_cut = cut == inode->stable_size || rng_chance(rng, 1, 2);
    struct sim_keep keep =
        sim_keep_draw(rng, (MAX(inode->size, cut) + SIM_SECTOR - 1) / SIM_SECTOR);
    uint64_t size = inode->stable_size;
    if (is_cut) {
        uint64_t choices[] = {cut, inode->size, rng_between(rng, cut, inode->size)};
        size = choices[rng_below(rng, ARRAY_LEN(choices))];
    }
    /* Position order, so that a prefix of the file is one of the outcomes. */
    for (size_t at = 0; inode->dirty_count > 0 && at < inode->chunk_count; at++)
        if (inode->chunks[at].dirty != 0)
            chunk_power_loss(&inode->chunks[at], at, cut, is_cut, &keep, rng, counts);
    inode->dirty_count = 0;
    for (size_t at = (size_t)(size / SIM_PAGE); at < inode->chunk_count; at++)
        chunk_cut(&inode->chunks[at], chunk_place(at, size));
    inode->size = inode->stable_size = inode->cut_size = size;
}

static void page_flip(struct sim_page **slot, size_t at, uint8_t mask)
{
    page_own(slot)->data[at] ^= mask;
}

void sim_bytes_flip(struct sim_inode *inode, uint64_t bit)
{
    uint64_t offset = bit / 8;
    ASSERT(offset < inode->size);
    size_t at = (size_t)(offset / SIM_PAGE);
    uint8_t mask = (uint8_t)BIT(bit % 8);
    chunks_reserve(inode, at + 1);
    struct sim_chunk *chunk = &inode->chunks[at];
    page_flip(&chunk->cur, (size_t)(offset % SIM_PAGE), mask);
    if (chunk->dirty != 0 && offset < inode->stable_size)
        page_flip(&chunk->stable, (size_t)(offset % SIM_PAGE), mask);
}

void sim_bytes_clone(struct sim_inode *to, const struct sim_inode *from)
{
    to->size = from->size;
    to->stable_size = from->stable_size;
    to->cut_size = from->cut_size;
    if (from->chunk_count > 0) {
        to->chunks = sim_alloc(from->chunk_count * sizeof *to->chunks);
        memcpy(to->chunks, from->chunks, from->chunk_count * sizeof *to->chunks);
        to->chunk_count = from->chunk_count;
    }
    for (size_t i = 0; i < to->chunk_count; i++) {
        page_ref(to->chunks[i].cur);
        page_ref(to->chunks[i].stable);
    }
    if (from->dirty_count > 0) {
        to->dirty_list = sim_grow(NULL, &to->dirty_cap, from->dirty_count, sizeof *to->dirty_list);
        memcpy(to->dirty_list, from->dirty_list, from->dirty_count * sizeof *to->dirty_list);
        to->dirty_count = from->dirty_count;
    }
}

void sim_bytes_free(struct sim_inode *inode)
{
    for (size_t i = 0; i < inode->chunk_count; i++) {
        page_unref(inode->chunks[i].cur);
        page_unref(inode->chunks[i].stable);
    }
    free(inode->chunks);
    free(inode->dirty_list);
    inode->chunks = NULL;
    inode->dirty_list = NULL;
    inode->chunk_count = inode->dirty_count = inode->dirty_cap = 0;
}

void sim_bytes_check(const struct sim_inode *inode)
{
    ASSERT(inode->cut_size <= inode->size);
    ASSERT(inode->cut_size <= inode->stable_size);
    size_t dirty = 0;
    for (size_t i = 0; i < inode->chunk_count; i++) {
        const struct sim_chunk *chunk = &inode->chunks[i];
        dirty += chunk->dirty != 0;
        ASSERT((chunk->lost & ~chunk->dirty) == 0);
        ASSERT(chunk->dirty != 0 || chunk->stable == NULL);
        size_t place = chunk_place(i, inode->size);
        if (chunk->cur != NULL && place < SIM_PAGE)
            ASSERT(is_zero(chunk->cur->data + place, SIM_PAGE - place));
    }
    ASSERT(dirty == inode->dirty_count);
}
