/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/text.h"

void json_begin(struct json_writer *w, struct buf *buf)
{
    *w = (struct json_writer){.buf = buf};
}

/* What stands in front of every value: nothing after a key, else a comma. */
static void json_value(struct json_writer *w)
{
    ASSERT(w->depth <= JSON_DEPTH_MAX);
    ASSERT(w->has_key == w->is_object[w->depth]);
    if (!w->has_key && w->has_member[w->depth])
        buf_append_u8(w->buf, ',');
    w->has_member[w->depth] = true;
    w->has_key = false;
}

static void json_open(struct json_writer *w, bool is_object)
{
    json_value(w);
    ASSERT(w->depth < JSON_DEPTH_MAX);
    w->depth++;
    w->has_member[w->depth] = false;
    w->is_object[w->depth] = is_object;
    buf_append_u8(w->buf, is_object ? '{' : '[');
}

static void json_close(struct json_writer *w, bool is_object)
{
    ASSERT(w->depth > 0);
    ASSERT(!w->has_key);
    ASSERT(w->is_object[w->depth] == is_object);
    w->depth--;
    buf_append_u8(w->buf, is_object ? '}' : ']');
}

void json_object_begin(struct json_writer *w)
{
    json_open(w, true);
}

void json_object_end(struct json_writer *w)
{
    json_close(w, true);
}

void json_array_begin(struct json_writer *w)
{
    json_open(w, false);
}

void json_array_end(struct json_writer *w)
{
    json_close(w, false);
}

/* What stands behind the backslash for `c`; 0: it has no form of two characters. */
static char json_short_form(uint8_t c)
{
    static const char forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof forms; i += 2) {
        if (c == (uint8_t)forms[i])
            return forms[i + 1];
    }
    return 0;
}

static void json_escape(struct buf *buf, uint8_t c)
{
    char form = json_short_form(c);
    if (form == 0) {
        buf_printf(buf, "\\u%04x", c);
        return;
    }
    buf_append_u8(buf, '\\');
    buf_append_u8(buf, (uint8_t)form);
}

static bool json_is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != 0x7f;
}

/* Length of the UTF-8 character at `i`, 0 if it is none. */
static size_t json_char(struct slice text, size_t i)
{
    for (size_t n = 2; n <= 4 && n <= text.len - i; n++) {
        if (text_is_utf8(slice_of(text.data + i, n)))
            return n;
    }
    return 0;
}

static void json_quoted(struct buf *buf, struct slice text)
{
    buf_append_u8(buf, '"');
    for (size_t i = 0; i < text.len;) {
        size_t run = 0;
        while (i + run < text.len && json_is_plain(text.data[i + run]))
            run++;
        buf_append(buf, text.data + i, run);
        i += run;
        if (i == text.len)
            break;
        if (text.data[i] < 0x80) {
            json_escape(buf, text.data[i++]);
            continue;
        }
        size_t n = json_char(text, i);
        if (n == 0)
            buf_append_str(buf, "\xef\xbf\xbd");
        else
            buf_append(buf, text.data + i, n);
        i += MAX(n, (size_t)1);
    }
    buf_append_u8(buf, '"');
}

void json_key(struct json_writer *w, const char *name)
{
    ASSERT(w->is_object[w->depth]);
    ASSERT(!w->has_key);
    if (w->has_member[w->depth])
        buf_append_u8(w->buf, ',');
    json_quoted(w->buf, slice_str(name));
    buf_append_u8(w->buf, ':');
    w->has_key = true;
}

void json_string(struct json_writer *w, struct slice text)
{
    json_value(w);
    json_quoted(w->buf, text);
}

void json_text(struct json_writer *w, const char *text)
{
    json_string(w, slice_str(text));
}

void json_u64(struct json_writer *w, uint64_t v)
{
    json_value(w);
    buf_printf(w->buf, "%" PRIu64, v);
}

void json_i64(struct json_writer *w, int64_t v)
{
    json_value(w);
    buf_printf(w->buf, "%" PRId64, v);
}

void json_double(struct json_writer *w, double v)
{
    /* by integers: printf("%f") writes the locale's decimal point */
    if (!isfinite(v) || fabs(v) > 9e15) {
        json_null(w);
        return;
    }
    json_value(w);
    uint64_t thousandths = (uint64_t)(fabs(v) * 1000 + 0.5);
    buf_printf(w->buf, "%s%" PRIu64, v < 0 && thousandths > 0 ? "-" : "", thousandths / 1000);
    if (thousandths % 1000 == 0)
        return;
    char digits[8];
    int n = snprintf(digits, sizeof digits, "%03u", (unsigned)(thousandths % 1000));
    while (n > 1 && digits[n - 1] == '0')
        digits[--n] = 0;
    buf_printf(w->buf, ".%s", digits);
}

void json_bool(struct json_writer *w, bool v)
{
    json_value(w);
    buf_append_str(w->buf, v ? "true" : "false");
}

void json_null(struct json_writer *w)
{
    json_value(w);
    buf_append_str(w->buf, "null");
}

static void json_base64_member(struct json_writer *w, const char *name, struct slice bytes)
{
    char name_b64[64];
    int n = snprintf(name_b64, sizeof name_b64, "%s_b64", name);
    ASSERT(n > 0 && (size_t)n < sizeof name_b64);
    json_key(w, name_b64);
    json_value(w);
    buf_append_u8(w->buf, '"');
    text_append_base64(w->buf, bytes);
    buf_append_u8(w->buf, '"');
}

void json_bytes_member(struct json_writer *w, const char *name, struct slice bytes)
{
    if (!text_is_utf8(bytes)) {
        json_base64_member(w, name, bytes);
        return;
    }
    json_key(w, name);
    json_string(w, bytes);
}

/* Do escapes make it more than twice as long? */
static bool json_is_long(struct slice text)
{
    size_t len = text.len;
    for (size_t i = 0; i < text.len && len <= 2 * text.len; i++) {
        uint8_t c = text.data[i];
        if (c < 0x80 && !json_is_plain(c))
            len += json_short_form(c) != 0 ? 1 : 5;
    }
    return len > 2 * text.len;
}

void json_short_member(struct json_writer *w, const char *name, struct slice bytes)
{
    if (json_is_long(bytes))
        json_base64_member(w, name, bytes);
    else
        json_bytes_member(w, name, bytes);
}
