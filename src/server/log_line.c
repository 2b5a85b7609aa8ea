/* SPDX-License-Identifier: Apache-2.0 */
#include "server/log_line.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

enum { AROUND_MAX = 128 }; /* time, level and store of a line of text */
_Static_assert(LOG_LINE_MAX + AROUND_MAX <= LOG_LINE_OUT_MAX, "a line of text is never cut");

static size_t format_text(const struct log_line *line, char *out)
{
    int n = snprintf(out, LOG_LINE_OUT_MAX, "%s %-5s store=%llu %s\n", line->time,
                     log_level_name(line->level), (unsigned long long)line->store_id, line->text);
    return MIN((size_t)n, (size_t)LOG_LINE_OUT_MAX - 1);
}

static void append_json(const struct log_line *line, struct slice event, struct slice message,
                        struct buf *out)
{
    struct json_writer w;
    buf_printf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"store\":%llu,\"event\":", line->time,
               log_level_name(line->level), (unsigned long long)line->store_id);
    json_begin(&w, out);
    json_string(&w, event);
    buf_append_str(out, ",\"message\":");
    json_begin(&w, out);
    json_string(&w, message);
    buf_append_str(out, "}\n");
}

static size_t format_json(const struct log_line *line, char *out)
{
    const char *space = strchr(line->text, ' ');
    struct slice event = slice_str(line->text);
    struct slice message = slice_str(space == NULL ? "" : space + 1);
    struct buf buf;
    size_t len = 0;
    if (space != NULL)
        event.len = (size_t)(space - line->text);
    buf_init(&buf, (size_t)LOG_LINE_MAX * 8);
    append_json(line, event, message, &buf);
    while (buf.len > LOG_LINE_OUT_MAX && message.len > 0) {
        message.len /= 2;
        buf_clear(&buf);
        append_json(line, event, message, &buf);
    }
    if (!buf.failed && buf.len <= LOG_LINE_OUT_MAX) {
        len = buf.len;
        memcpy(out, buf.data, len);
    }
    buf_fini(&buf);
    return len;
}

size_t log_line_format(enum config_log_format format, const struct log_line *line, char *out)
{
    return format == CONFIG_LOG_JSON ? format_json(line, out) : format_text(line, out);
}
