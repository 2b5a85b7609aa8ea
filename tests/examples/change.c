/* SPDX-License-Identifier: Apache-2.0 */
/* change [ENDPOINTS] — conditions, time to live, numbers, and the value before. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>

/* A lock that lets go by itself: only where there is none, for 30 seconds. */
static int take_lock(struct hf_client *client)
{
    struct hf_change change;
    struct hf_result *result = NULL;
    hf_change_init(&change);
    change.condition = HF_IF_ABSENT;
    change.ttl_ms = 30000;
    int code = hf_put(client, hf_str("lock"), hf_str("mine"), &change, NULL, &result);
    if (code == HF_ERR_CONDITION_FAILED)
        printf("held by '%.*s'\n", (int)result->items[0].value.len,
               (const char *)result->items[0].value.data);
    else if (code == HF_OK)
        printf("taken\n");
    hf_result_free(result);
    return code == HF_ERR_CONDITION_FAILED ? HF_OK : code;
}

static int count(struct hf_client *client)
{
    struct hf_result *result = NULL;
    int code = hf_increment(client, hf_str("visits"), 1, NULL, NULL, &result);
    if (code == HF_OK)
        printf("visit %" PRId64 "\n", result->items[0].number);
    hf_result_free(result);
    return code;
}

static int replace(struct hf_client *client)
{
    struct hf_result *result = NULL;
    int code = hf_get_and_set(client, hf_str("last"), hf_str("now"), NULL, NULL, &result);
    if (code == HF_OK && result->items[0].has_value)
        printf("there was one before\n");
    hf_result_free(result);
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
        code = take_lock(client);
        if (code == HF_OK)
            code = count(client);
        if (code == HF_OK)
            code = replace(client);
        if (code == HF_OK)
            code = hf_delete(client, hf_str("lock"), NULL, NULL, NULL);
        hf_close(client);
    }
    if (code != HF_OK)
        fprintf(stderr, "change: %s\n", hf_strerror(code));
    return code == HF_OK ? 0 : 1;
}
