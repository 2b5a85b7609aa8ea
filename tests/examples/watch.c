/* SPDX-License-Identifier: Apache-2.0 */
/* watch [ENDPOINTS] — changes of keys that begin so, and how to go on later where one stopped. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print(const struct hf_event *event)
{
    if (event->kind == HF_EVENT_DELETE)
        printf("- %.*s\n", (int)event->key.len, (const char *)event->key.data);
    else
        printf("+ %.*s '%.*s'\n", (int)event->key.len, (const char *)event->key.data,
               (int)event->value.len, (const char *)event->value.data);
}

/* At least `count` changes; then *ret_token is where it stands, to be kept and freed. */
static int follow(struct hf_client *client, const struct hf_watch_options *how, size_t count,
                  struct hf_bytes *ret_token)
{
    struct hf_watch *watch;
    struct hf_watch_batch *batch;
    struct hf_bytes token;
    int rv = hf_watch_open(client, how, &watch);
    if (rv != HF_OK)
        return rv;
    while (count > 0 && (rv = hf_watch_next(watch, 10000, &batch)) == 1) {
        for (size_t i = 0; i < batch->count; i++)
            print(&batch->events[i]);
        count -= batch->count < count ? batch->count : count;
        hf_watch_batch_free(batch);
    }
    if (rv < 0)
        fprintf(stderr, "watch: %s\n", hf_watch_message(watch));
    rv = rv == 1 ? hf_watch_token(watch, &token) : rv < 0 ? rv : HF_ERR_TIMEOUT;
    void *copy = rv == HF_OK ? malloc(token.len) : NULL;
    if (copy != NULL)
        *ret_token = hf_bytes(memcpy(copy, token.data, token.len), token.len);
    hf_watch_close(watch);
    return rv == HF_OK && copy == NULL ? HF_ERR_NOMEM : rv;
}

static int run(struct hf_client *client)
{
    struct hf_watch_options how;
    struct hf_result *result = NULL;
    struct hf_bytes token = {0}, later = {0};
    int code = hf_put(client, hf_str("user/ada"), hf_str("here"), NULL, NULL, &result);
    hf_watch_options_init(&how);
    how.prefix = hf_str("user/");
    how.from_version = result != NULL ? result->version : 0; /* 0 would be: from now on */
    hf_result_free(result);
    if (code == HF_OK)
        code = follow(client, &how, 1, &token);
    if (code == HF_OK)
        code = hf_delete(client, hf_str("user/ada"), NULL, NULL, NULL);
    hf_watch_options_init(&how);
    how.token = token; /* nothing is missed, and nothing told twice */
    if (code == HF_OK)
        code = follow(client, &how, 1, &later);
    free((void *)token.data);
    free((void *)later.data);
    return code;
}

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *client;
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "embedded:example";
    int code = hf_open(&options, &client);
    if (code == HF_OK) {
        code = run(client);
        hf_close(client);
    }
    if (code != HF_OK)
        fprintf(stderr, "watch: %s\n", hf_strerror(code));
    return code == HF_OK ? 0 : 1;
}
