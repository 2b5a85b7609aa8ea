/* SPDX-License-Identifier: Apache-2.0 */
#include "lsm/between.h"

#include "lsm/prefix.h"

enum { PLACE_BYTES = 16 }; /* behind what both have in common: as far as a double tells apart */

static bool is_in(uint8_t c, uint8_t first, uint8_t last)
{
    return c >= first && c <= last;
}

static bool is_hex(uint8_t c)
{
    return is_in(c, '0', '9') || is_in(c, 'a', 'f');
}

/* What may stand where `a` and `b` do: so many, the first and the last of them. */
static unsigned alphabet_of(uint8_t a, uint8_t b, uint8_t *ret_first, uint8_t *ret_last)
{
    bool is_text = is_in(a, ' ', '~') && is_in(b, ' ', '~');
    *ret_first = is_hex(a) && is_hex(b) ? '0' : is_text ? ' ' : 0;
    *ret_last = is_in(a, '0', '9') && is_in(b, '0', '9') ? '9'
                : is_hex(a) && is_hex(b)                 ? 'f'
                : is_text                                ? '~'
                                                         : UINT8_MAX;
    return *ret_last == 'f' ? 16 : (unsigned)(*ret_last - *ret_first + 1);
}

/* Places grow with keys, also with those that have at some place what is none of its alphabet:
 * such a key stands before or behind all that have the next one there. */
static double place_of(const struct between *b, struct slice key)
{
    double place = 0, scale = 1;
    for (size_t i = b->skip; i < b->skip + PLACE_BYTES && i < key.len; i++) {
        uint8_t c = key.data[i], first, last;
        uint8_t lo = i < b->lo.len ? b->lo.data[i] : '0';
        uint8_t hi = i < b->hi.len ? b->hi.data[i] : lo;
        unsigned count = alphabet_of(lo, hi, &first, &last);
        if (c < first)
            return place;
        if (c > last)
            return place + scale;
        bool is_letter = last == 'f' && c > '9';
        scale /= count;
        place += scale * (is_letter ? 10 + (MAX(c, (uint8_t)'a') - 'a') : c - first);
        if (is_letter && c < 'a')
            return place;
    }
    return place;
}

struct between between_of(struct slice lo, struct slice hi)
{
    struct between b = {.lo = lo, .hi = hi, .skip = prefix_common(lo, hi)};
    b.lo_place = place_of(&b, lo);
    b.hi_place = place_of(&b, hi);
    return b;
}

double between_share(const struct between *b, struct slice key)
{
    if (slice_compare(key, b->lo) <= 0)
        return 0;
    if (slice_compare(key, b->hi) >= 0)
        return 1;
    if (b->hi_place <= b->lo_place)
        return 0.5;
    double share = (place_of(b, key) - b->lo_place) / (b->hi_place - b->lo_place);
    return MIN(MAX(share, 0.0), 1.0);
}
