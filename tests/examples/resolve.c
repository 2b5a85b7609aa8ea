/* SPDX-License-Identifier: Apache-2.0 */
/* resolve [ENDPOINTS] — a change that may have been left open by its deadline is settled, here
 * with the token of one that was given a millisecond. */
#include <holdfast.h>
#include <stdio.h>

/* Until somebody could be asked. */
static int settle(struct hf_client *client, struct hf_bytes token)
{
    for (;;) {
        struct hf_result *result = NULL;
        int code = hf_resolve(client, token, NULL, &result);
        hf_result_free(result);
        if (code != HF_ERR_UNDETERMINED && code != HF_ERR_UNAVAILABLE && code != HF_ERR_BUSY)
            return code;
    }
}

static int run(struct hf_client *client)
{
    struct hf_call call;
    struct hf_result *result = NULL;
    hf_call_init(&call);
    call.timeout_ms = 1; /* too short, often */
    int code = hf_put(client, hf_str("money"), hf_str("100"), NULL, &call, &result);
    printf("the put: %s\n", hf_code_name(code));
    if (code == HF_ERR_UNDETERMINED) {
        code = settle(client, result->token); /* a program that may end keeps the token */
        printf("settled: %s\n", hf_code_name(code));
    }
    hf_result_free(result);
    switch (code) { /* all of these are certain; STATE: the only store was about to begin */
    case HF_ERR_FENCED:
    case HF_ERR_TIMEOUT:
    case HF_ERR_UNAVAILABLE:
    case HF_ERR_STATE:
        return HF_OK;
    default:
        return code;
    }
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
        fprintf(stderr, "resolve: %s\n", hf_strerror(code));
    return code == HF_OK ? 0 : 1;
}
