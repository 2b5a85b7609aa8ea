/* SPDX-License-Identifier: Apache-2.0 */
/* watch ENDPOINTS PREFIX COUNT FILE — print COUNT changes of keys that begin so; FILE holds
 * how far it came, so that the next run goes on there. */
#include <holdfast.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKEN_MAX = 1 << 20 };

static size_t load(const char *path, char *token)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    size_t len = fread(token, 1, TOKEN_MAX, file);
    fclose(file);
    return len;
}

static int save(const char *path, struct hf_watch *watch)
{
    struct hf_bytes token;
    int code = hf_watch_token(watch, &token);
    FILE *file = code == HF_OK ? fopen(path, "wb") : NULL;
    if (file == NULL)
        return 1;
    size_t len = fwrite(token.data, 1, token.len, file);
    return fclose(file) != 0 || len != token.len;
}

static void print(const struct hf_event *event)
{
    if (event->kind == HF_EVENT_DELETE)
        printf("- %.*s\n", (int)event->key.len, (const char *)event->key.data);
    else
        printf("+ %.*s %.*s\n", (int)event->key.len, (const char *)event->key.data,
               (int)event->value.len, (const char *)event->value.data);
}

static int run(struct hf_watch *watch, unsigned long count, const char *path)
{
    while (count > 0) {
        struct hf_watch_batch *batch;
        int rv = hf_watch_next(watch, 10000, &batch);
        if (rv < 0) {
            fprintf(stderr, "watch: %s: %s\n", hf_strerror(rv), hf_watch_message(watch));
            return 1;
        }
        if (rv == 0)
            return 1; /* nothing for ten seconds */
        for (size_t i = 0; i < batch->count; i++)
            print(&batch->events[i]);
        count -= batch->count < count ? batch->count : count;
        hf_watch_batch_free(batch);
        if (save(path, watch) != 0)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static char token[TOKEN_MAX];
    struct hf_options options;
    struct hf_watch_options how;
    struct hf_client *client;
    struct hf_watch *watch;
    if (argc != 5) {
        fprintf(stderr, "usage: watch ENDPOINTS PREFIX COUNT FILE\n");
        return 2;
    }
    hf_options_init(&options);
    options.endpoints = argv[1];
    if (hf_open(&options, &client) != HF_OK)
        return 1;
    hf_watch_options_init(&how);
    how.prefix = hf_str(argv[2]);
    how.from_version = 0; /* from now on, unless … */
    how.token = hf_bytes(token, load(argv[4], token));
    int code = hf_watch_open(client, &how, &watch);
    if (code != HF_OK) {
        fprintf(stderr, "watch: %s\n", hf_strerror(code));
        hf_close(client);
        return 1;
    }
    int status = run(watch, strtoul(argv[3], NULL, 10), argv[4]);
    hf_watch_close(watch);
    hf_close(client);
    return status;
}
