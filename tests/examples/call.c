/* SPDX-License-Identifier: Apache-2.0 */
/* call [ENDPOINTS] — an asynchronous change with a callback; a read with a deadline and a trace
 * id of its own, and one of the past. */
#include <holdfast.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>

struct outcome {
    int code;
    uint64_t version;
    atomic_int is_done; /* written last, by the library's thread */
};

static void on_put(void *data, int code, struct hf_result *result)
{
    struct outcome *outcome = data;
    outcome->code = code;
    outcome->version = result != NULL ? result->version : 0;
    hf_result_free(result);
    atomic_store(&outcome->is_done, 1);
}

static int put(struct hf_client *client, const char *value, uint64_t *ret_version)
{
    struct outcome outcome = {0};
    struct hf_then then = {.callback = on_put, .data = &outcome};
    int code = hf_put_async(client, hf_str("called"), hf_str(value), NULL, NULL, &then);
    if (code != HF_OK)
        return code; /* not accepted: no callback will come */
    while (!atomic_load(&outcome.is_done))
        poll(NULL, 0, 1); /* a program would do something else meanwhile */
    *ret_version = outcome.version;
    return outcome.code;
}

static int show(struct hf_client *client, const struct hf_call *call)
{
    struct hf_result *result = NULL;
    int code = hf_get(client, hf_str("called"), call, &result);
    if (code == HF_OK)
        printf("'%.*s', trace %llx\n", (int)result->items[0].value.len,
               (const char *)result->items[0].value.data, (unsigned long long)result->trace_id);
    hf_result_free(result);
    return code;
}

static int run(struct hf_client *client)
{
    uint64_t first = 0, second = 0;
    struct hf_call call;
    int code = put(client, "before", &first);
    if (code == HF_OK)
        code = put(client, "after", &second);
    hf_call_init(&call);
    call.timeout_ms = 2000;
    call.trace_id = 0xcafe; /* the store's log calls it so */
    if (code == HF_OK)
        code = show(client, &call);
    call.consistency = HF_AT;
    call.at_version = first;
    return code == HF_OK ? show(client, &call) : code;
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
        fprintf(stderr, "call: %s\n", hf_strerror(code));
    return code == HF_OK ? 0 : 1;
}
