/* SPDX-License-Identifier: Apache-2.0 */
/* cursor [ENDPOINTS] — a scan that stops after every tenth key, and is gone on with from bytes that
 * could as well have been in a file, and read by another program. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    void *bytes; /* a cursor; NULL: none yet */
    size_t len;
};

static int fill(struct hf_client *client)
{
    char key[32];
    int code = HF_OK;
    for (int i = 0; i < 25 && code == HF_OK; i++) {
        snprintf(key, sizeof key, "page/%02d", i);
        code = hf_put(client, hf_str(key), hf_str("x"), NULL, NULL, NULL);
    }
    return code;
}

/* Where the scan stands, instead of what was kept before. */
static int keep(struct hf_scan *scan, struct kept *kept)
{
    struct hf_bytes cursor;
    int code = hf_scan_cursor(scan, &cursor);
    void *bytes = code == HF_OK ? malloc(cursor.len) : NULL;
    if (bytes == NULL)
        return code == HF_OK ? HF_ERR_NOMEM : code;
    memcpy(bytes, cursor.data, cursor.len);
    free(kept->bytes);
    *kept = (struct kept){bytes, cursor.len};
    return HF_OK;
}

/* The next ten keys: how many there were, or a negative code. */
static int ten(struct hf_client *client, struct kept *kept)
{
    struct hf_span span;
    struct hf_scan *scan;
    struct hf_item item;
    hf_span_init(&span);
    span.prefix = hf_str("page/"); /* for the first time; then the cursor says it */
    span.cursor = hf_bytes(kept->bytes, kept->len);
    int code = hf_scan_new(client, &span, NULL, &scan);
    if (code != HF_OK)
        return code;
    int count = 0;
    while (count < 10 && (code = hf_scan_next(scan, &item)) != 0) {
        if (code == HF_ERR_VERSION_GONE) /* the bytes are too old: what comes, as of now */
            code = hf_scan_renew(scan);
        else if (code == 1)
            printf("%.*s%c", (int)item.key.len, (const char *)item.key.data,
                   ++count < 10 ? ' ' : '\n');
        if (code < 0)
            break;
    }
    if (code >= 0)
        code = keep(scan, kept);
    hf_scan_free(scan);
    return code < 0 ? code : count;
}

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *client;
    struct kept kept = {0};
    int total = 0;
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "embedded:example";
    int code = hf_open(&options, &client);
    if (code == HF_OK) {
        code = fill(client);
        while (code == HF_OK && (code = ten(client, &kept)) > 0) {
            total += code;
            code = HF_OK;
        }
        hf_close(client);
    }
    free(kept.bytes);
    printf("\n%d keys\n", total);
    if (code < 0)
        fprintf(stderr, "cursor: %s\n", hf_strerror(code));
    return code == HF_OK && total == 25 ? 0 : 1;
}
