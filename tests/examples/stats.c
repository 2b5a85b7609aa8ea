/* SPDX-License-Identifier: Apache-2.0 */
/* stats [ENDPOINTS] — what the client itself counted, and how long its operations took. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct hf_options options;
    struct hf_client *client;
    struct hf_client_stats stats = {.size = sizeof stats};
    struct hf_op_stats puts = {.size = sizeof puts};
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
    hf_client_op_stats(client, HF_OP_PUT, &puts);
    printf("%s: %" PRIu64 ", %" PRIu64 " failed, p50 %" PRIu64 " us, p99 %" PRIu64 " us\n",
           hf_op_kind_name(HF_OP_PUT), puts.count, puts.errors, puts.latency_us_p50,
           puts.latency_us_p99);
    hf_close(client);
    return code == HF_OK && stats.done == 1 && puts.count == 1 ? 0 : 1;
}
