/* SPDX-License-Identifier: Apache-2.0 */
/* keyspace [ENDPOINTS] — a hashed keyspace is made if it is not there, opened by its name, and
 * what stands in it is read in order of keys. */
#include <holdfast.h>
#include <stdio.h>

/* Make it; that it is there already is fine. */
static int make(struct hf_client *client, const char *name)
{
    struct hf_placement_ask ask = {.size = sizeof ask,
                                   .verb = HF_PLACEMENT_KEYSPACE_CREATE,
                                   .name = name,
                                   .value = hf_str("slots=64,ranges=4")};
    int code;
    do
        code = hf_placement(client, &ask, NULL, NULL);
    while (code == HF_ERR_BUSY); /* placement is beginning: soon */
    return code == HF_ERR_EXISTS ? HF_OK : code;
}

static int show(struct hf_client *client, const struct hf_call *call)
{
    struct hf_scan *scan = NULL;
    struct hf_item item;
    int code = hf_scan_new(client, NULL, call, &scan);
    if (code != HF_OK)
        return code;
    while ((code = hf_scan_next(scan, &item)) == 1)
        printf("%.*s\n", (int)item.key.len, (const char *)item.key.data);
    hf_scan_free(scan);
    return code;
}

static int run(struct hf_client *client)
{
    struct hf_call call;
    struct hf_result *result = NULL;
    int code = make(client, "events");
    hf_call_init(&call);
    if (code == HF_OK)
        code = hf_keyspace_open(client, "events", NULL, &result);
    if (code == HF_OK)
        call.keyspace = result->keyspace;
    hf_result_free(result);
    for (int i = 0; i < 5 && code == HF_OK; i++) {
        char key[16];
        snprintf(key, sizeof key, "event-%d", i);
        code = hf_put(client, hf_str(key), hf_str("seen"), NULL, &call, NULL);
    }
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
        fprintf(stderr, "keyspace: %s\n", hf_strerror(code));
    return code == HF_OK ? 0 : 1;
}
