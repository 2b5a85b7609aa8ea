/* SPDX-License-Identifier: Apache-2.0 */
/* sweep [ENDPOINTS] — delete all keys of a span, step by step. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fill(struct hf_client *client)
{
    char key[32];
    int code = HF_OK;
    for (int i = 0; i < 25 && code == HF_OK; i++) {
        snprintf(key, sizeof key, "tmp/%02d", i);
        code = hf_put(client, hf_str(key), hf_str("x"), NULL, NULL, NULL);
    }
    return code;
}

static int run(struct hf_client *client, struct hf_span *span)
{
    struct hf_result *result = NULL;
    uint64_t deleted = 0;
    void *cursor = NULL;
    int has_more = 1;
    int code = HF_OK;
    while (code == HF_OK && has_more) {
        code = hf_delete_range(client, span, NULL, &result);
        if (code == HF_OK) {
            deleted += result->deleted;
            has_more = result->has_more;
            free(cursor);
            cursor = malloc(result->cursor.len + 1); /* the next step begins there */
            if (cursor == NULL)
                code = HF_ERR_NOMEM;
            else
                memcpy(cursor, result->cursor.data, result->cursor.len);
            span->cursor = (struct hf_bytes){cursor, result->cursor.len};
        }
        hf_result_free(result);
        result = NULL;
    }
    free(cursor);
    if (code != HF_OK)
        fprintf(stderr, "sweep: %s\n", hf_strerror(code));
    fprintf(stderr, "%" PRIu64 " keys are gone\n", deleted);
    return code == HF_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *client;
    struct hf_span span;
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "embedded:example";
    int code = hf_open(&options, &client);
    if (code != HF_OK) {
        fprintf(stderr, "open: %s\n", hf_strerror(code));
        return 1;
    }
    hf_span_init(&span);
    span.start = hf_str("tmp/");
    span.end = hf_str("tmp0"); /* the byte after '/' */
    span.limit_keys = 10;      /* of a step */
    int status = fill(client) != HF_OK || run(client, &span) != 0;
    hf_close(client);
    return status;
}
