/* SPDX-License-Identifier: Apache-2.0 */
/* batch [ENDPOINTS] — move money from one account to another, all or not at all, only if it is
 * there. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>

/* The balance must still be as it was read. */
static int fill(struct hf_batch *batch, uint64_t version)
{
    struct hf_change change;
    hf_change_init(&change);
    change.condition = HF_IF_VERSION;
    change.if_version = version;
    int code = hf_batch_check(batch, hf_str("account/ada"), &change);
    if (code == HF_OK)
        code = hf_batch_increment(batch, hf_str("account/ada"), -30, NULL);
    if (code == HF_OK)
        code = hf_batch_increment(batch, hf_str("account/bob"), 30, NULL);
    return code;
}

static int move(struct hf_client *client, struct hf_batch *batch)
{
    struct hf_result *result = NULL;
    int code = hf_put(client, hf_str("account/ada"), hf_str("100"), NULL, NULL, &result);
    uint64_t version = result != NULL ? result->version : 0;
    hf_result_free(result);
    if (code == HF_OK)
        code = fill(batch, version);
    if (code != HF_OK)
        return code;
    result = NULL;
    code = hf_batch_commit(client, batch, NULL, &result);
    if (code == HF_OK)
        printf("ada has %" PRId64 "\n", result->items[1].number);
    else if (code == HF_ERR_CONDITION_FAILED)
        printf("somebody was faster: operation %zu\n", result->failed_op);
    hf_result_free(result);
    return code;
}

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *client;
    struct hf_batch *batch = NULL;
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "embedded:example";
    int code = hf_open(&options, &client);
    if (code == HF_OK) {
        code = hf_batch_new(&batch);
        if (code == HF_OK)
            code = move(client, batch);
        hf_batch_free(batch);
        hf_close(client);
    }
    if (code != HF_OK)
        fprintf(stderr, "batch: %s\n", hf_strerror(code));
    return code == HF_OK ? 0 : 1;
}
