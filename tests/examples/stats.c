/* SPDX-License-Identifier: Apache-2.0 */
/* stats [ENDPOINTS] — what the client itself counted. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *client;
    struct hf_client_stats stats = {.size = sizeof stats};
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "embedded:example";
    int code = hf_open(&options, &client);
    if (code != HF_OK) {
        fprintf(stderr, "stats: %s\n", hf_strerror(code));
        return 1;
    }
    code = hf_put(client, hf_str("counted"), hf_str("once"), NULL, NULL, NULL);
    hf_client_stats(client, &stats);
    printf("%" PRIu64 " done in %" PRIu64 " sendings, %" PRIu64 " bytes\n", stats.done,
           stats.sendings, stats.bytes_out);
    hf_close(client);
    return code == HF_OK && stats.done == 1 ? 0 : 1;
}
