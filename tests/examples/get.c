/* SPDX-License-Identifier: Apache-2.0 */
/* get [ENDPOINTS] — one key, and several at once. */
#include <holdfast.h>
#include <stdio.h>

static void print(const struct hf_item *item)
{
    if (item->status == HF_OK)
        printf("%.*s = '%.*s'\n", (int)item->key.len, (const char *)item->key.data,
               (int)item->value.len, (const char *)item->value.data);
    else
        printf("%.*s: %s\n", (int)item->key.len, (const char *)item->key.data,
               hf_strerror(item->status));
}

static int run(struct hf_client *client)
{
    struct hf_bytes keys[] = {hf_str("tea"), hf_str("coffee"), hf_str("milk")};
    struct hf_result *result = NULL;
    int code = hf_put(client, keys[0], hf_str("green"), NULL, NULL, NULL);
    if (code == HF_OK)
        code = hf_put(client, keys[1], hf_str("black"), NULL, NULL, NULL);
    if (code == HF_OK)
        code = hf_get(client, keys[0], NULL, &result);
    if (code == HF_OK)
        print(&result->items[0]);
    hf_result_free(result);
    if (code != HF_OK)
        return code;

    result = NULL;
    code = hf_multi_get(client, keys, 3, NULL, &result);
    for (size_t i = 0; code == HF_OK && i < result->count; i++)
        print(&result->items[i]); /* in the order of `keys` */
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
        code = run(client);
        hf_close(client);
    }
    if (code != HF_OK)
        fprintf(stderr, "get: %s\n", hf_strerror(code));
    return code == HF_OK ? 0 : 1;
}
