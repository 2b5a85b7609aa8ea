/* SPDX-License-Identifier: Apache-2.0 */
/* open [ENDPOINTS] — a store inside this program, or a cluster; what the library has to say goes
 * to a log, and why it could not be opened into a message. */
#include <holdfast.h>
#include <stdio.h>

static void on_log(void *data, int level, const char *line)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    fprintf(data, "%s: %s\n", names[level], line);
}

int main(int argc, char **argv)
{
    char message[256];
    struct hf_options options;
    struct hf_client *client;
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "embedded:example";
    options.name = "open";
    options.timeout_ms = 10000;
    options.log = on_log;
    options.log_data = stderr;
    options.message = message;
    options.message_size = sizeof message;
    int code = hf_open(&options, &client);
    if (code != HF_OK) {
        fprintf(stderr, "%s: %s\n", hf_code_name(code), message);
        return 1;
    }
    struct hf_result *result = NULL;
    code = hf_identify(client, NULL, NULL, &result);
    if (code == HF_OK)
        printf("cluster %016llx\n", (unsigned long long)result->info->cluster_id);
    hf_result_free(result);
    hf_close(client);
    return code == HF_OK ? 0 : 1;
}
