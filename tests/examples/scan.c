/* SPDX-License-Identifier: Apache-2.0 */
/* scan [ENDPOINTS] [PREFIX] — all keys that begin so, in order, each range as of one version. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>

static int fill(struct hf_client *client)
{
    static const char *const keys[] = {"fruit/apple", "fruit/pear", "stone"};
    int code = HF_OK;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && code == HF_OK; i++)
        code = hf_put(client, hf_str(keys[i]), hf_str("here"), NULL, NULL, NULL);
    return code;
}

static int run(struct hf_client *client, const char *prefix)
{
    struct hf_span span;
    struct hf_scan *scan;
    struct hf_item item;
    uint64_t count = 0;
    hf_span_init(&span);
    span.prefix = hf_str(prefix);
    int code = hf_scan_new(client, &span, NULL, &scan);
    if (code != HF_OK) {
        fprintf(stderr, "scan: %s\n", hf_strerror(code));
        return 1;
    }
    while ((code = hf_scan_next(scan, &item)) == 1) {
        printf("%.*s\t%.*s\n", (int)item.key.len, (const char *)item.key.data, (int)item.value.len,
               (const char *)item.value.data);
        count++;
    }
    if (code < 0)
        fprintf(stderr, "scan: %s: %s\n", hf_strerror(code), hf_scan_message(scan));
    else
        fprintf(stderr, "%" PRIu64 " keys at version %" PRIu64 "\n", count, hf_scan_version(scan));
    hf_scan_free(scan);
    return code < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *client;
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "embedded:example";
    int code = hf_open(&options, &client);
    if (code != HF_OK) {
        fprintf(stderr, "open: %s\n", hf_strerror(code));
        return 1;
    }
    int status = fill(client) != HF_OK || run(client, argc > 2 ? argv[2] : "fruit/") != 0;
    hf_close(client);
    return status;
}
