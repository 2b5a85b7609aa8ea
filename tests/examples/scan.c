/* SPDX-License-Identifier: Apache-2.0 */
/* scan ENDPOINTS [PREFIX] — all keys that begin so, in order, as of one version. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>

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
    options.endpoints = argc > 1 ? argv[1] : "127.0.0.1:7000";
    int code = hf_open(&options, &client);
    if (code != HF_OK) {
        fprintf(stderr, "open: %s\n", hf_strerror(code));
        return 1;
    }
    int status = run(client, argc > 2 ? argv[2] : "");
    hf_close(client);
    return status;
}
