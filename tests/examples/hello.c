/* SPDX-License-Identifier: Apache-2.0 */
/* hello ENDPOINTS — write, read, count, and change a value only if it is still what we
 * read: libholdfast's blocking calls. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>

/* Print what went wrong and how certain that is. */
static int failed(const char *what, int code, const struct hf_result *result)
{
    fprintf(stderr, "%s: %s%s%s\n", what, hf_strerror(code), result != NULL ? ": " : "",
            result != NULL ? result->message : "");
    return code == HF_ERR_UNDETERMINED ? 4 : 1;
}

static int run(struct hf_client *client)
{
    struct hf_result *result = NULL;
    int code = hf_put(client, hf_str("greeting"), hf_str("hello"), NULL, NULL, &result);
    if (code != HF_OK) {
        int status = failed("put", code, result);
        hf_result_free(result);
        return status;
    }
    printf("put at version %" PRIu64 "\n", result->version);
    hf_result_free(result);

    result = NULL;
    code = hf_get(client, hf_str("greeting"), NULL, &result);
    if (code != HF_OK) {
        int status = failed("get", code, result);
        hf_result_free(result);
        return status;
    }
    const struct hf_item *item = &result->items[0];
    printf("got '%.*s'\n", (int)item->value.len, (const char *)item->value.data);
    uint64_t version = item->version;
    hf_result_free(result);

    result = NULL;
    code =
        hf_cas_version(client, hf_str("greeting"), version, hf_str("hello, world"), NULL, &result);
    if (code == HF_ERR_CONDITION_FAILED)
        printf("somebody was faster: now at version %" PRIu64 "\n", result->items[0].version);
    else if (code == HF_OK)
        printf("swapped\n");
    int status = code == HF_OK || code == HF_ERR_CONDITION_FAILED ? 0 : failed("cas", code, result);
    hf_result_free(result);
    return status;
}

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *client;
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "embedded:example";
    options.name = "hello";
    int code = hf_open(&options, &client);
    if (code != HF_OK)
        return failed("open", code, NULL);
    int status = run(client);
    hf_close(client);
    return status;
}
