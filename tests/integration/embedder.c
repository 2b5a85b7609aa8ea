/* SPDX-License-Identifier: Apache-2.0
 *
 * embedder — a program with a store inside, to be killed.
 *
 *   embedder write ENDPOINTS THREADS   each thread counts up its key, from what is there on,
 *                                      and prints "KEY NUMBER" when a number is acknowledged,
 *                                      for ever
 *   embedder read ENDPOINTS            "KEY VALUE" of all keys
 *
 * An error is one line on standard error and exit status 1.
 */
#include <holdfast.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

struct writer {
    struct hf_client *client;
    char key[16];
};

static void die(const char *what, int code, const struct hf_result *result)
{
    fprintf(stderr, "embedder: %s: %s %s\n", what, hf_code_name(code),
            result != NULL ? result->message : "");
    exit(1);
}

/* 0 if there is none yet. */
static uint64_t present(const struct writer *w)
{
    struct hf_result *result = NULL;
    uint64_t number = 0;
    int code = hf_get(w->client, hf_str(w->key), NULL, &result);
    if (code == HF_OK) {
        char text[32] = "";
        size_t len = result->items[0].value.len;
        memcpy(text, result->items[0].value.data, len < sizeof text ? len : sizeof text - 1);
        number = strtoull(text, NULL, 10);
    } else if (code != HF_ERR_NOT_FOUND) {
        die("get", code, result);
    }
    hf_result_free(result);
    return number;
}

/* In one call: lines of several threads do not mix, and nothing waits in a buffer when the
 * process is killed. */
static void say(const char *line)
{
    if (write(STDOUT_FILENO, line, strlen(line)) < 0)
        exit(1);
}

static void *count_up(void *data)
{
    const struct writer *w = data;
    for (uint64_t number = present(w) + 1;; number++) {
        char text[32], line[64];
        struct hf_result *result = NULL;
        snprintf(text, sizeof text, "%" PRIu64, number);
        int code = hf_put(w->client, hf_str(w->key), hf_str(text), NULL, NULL, &result);
        if (code != HF_OK)
            die("put", code, result);
        hf_result_free(result);
        snprintf(line, sizeof line, "%s %s\n", w->key, text);
        say(line);
    }
    return NULL;
}

static void write_for_ever(struct hf_client *client, int count)
{
    struct writer writers[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    for (int i = 0; i < count; i++) {
        writers[i].client = client;
        snprintf(writers[i].key, sizeof writers[i].key, "t%02d", i);
        if (pthread_create(&threads[i], NULL, count_up, &writers[i]) != 0)
            die("thread", HF_ERR_NOMEM, NULL);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void read_all(struct hf_client *client)
{
    struct hf_scan *scan;
    struct hf_item item;
    int rv = hf_scan_new(client, NULL, NULL, &scan);
    if (rv != HF_OK)
        die("scan", rv, NULL);
    while ((rv = hf_scan_next(scan, &item)) == 1)
        printf("%.*s %.*s\n", (int)item.key.len, (const char *)item.key.data, (int)item.value.len,
               (const char *)item.value.data);
    if (rv < 0)
        die(hf_scan_message(scan), rv, NULL);
    hf_scan_free(scan);
}

int main(int argc, char **argv)
{
    char message[512];
    struct hf_options options;
    struct hf_client *client;
    int threads = argc == 4 ? (int)strtol(argv[3], NULL, 10) : 1;
    if (argc < 3 || threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "usage: embedder write|read ENDPOINTS [THREADS]\n");
        return 2;
    }
    hf_options_init(&options);
    options.endpoints = argv[2];
    options.message = message;
    options.message_size = sizeof message;
    options.timeout_ms = 30000;
    int code = hf_open(&options, &client);
    if (code != HF_OK) {
        fprintf(stderr, "embedder: %s: %s\n", hf_code_name(code), message);
        return 1;
    }
    if (strcmp(argv[1], "write") == 0)
        write_for_ever(client, threads);
    else
        read_all(client);
    hf_close(client);
    return 0;
}
