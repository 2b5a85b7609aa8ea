/* SPDX-License-Identifier: Apache-2.0 */
/* queue ENDPOINTS [COUNT] — many puts at once, their results fetched through a
 * descriptor that any event loop can watch. */
#include <holdfast.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { WINDOW = 256 };

struct progress {
    int started;
    int ended;
    int failed;
};

/* Start as many as fit into the window. */
static int fill(struct hf_client *client, struct hf_queue *queue, struct progress *p, int count)
{
    struct hf_then then = {.queue = queue};
    while (p->started < count && p->started - p->ended < WINDOW) {
        char key[32];
        snprintf(key, sizeof key, "queue/%08d", p->started);
        int code = hf_put_async(client, hf_str(key), hf_str("value"), NULL, NULL, &then);
        if (code == HF_ERR_BUSY)
            break; /* some must end first */
        if (code != HF_OK)
            return code;
        p->started++;
    }
    return HF_OK;
}

static void collect(struct hf_queue *queue, struct progress *p)
{
    int code;
    struct hf_result *result;
    while (hf_queue_poll(queue, NULL, &code, &result) == 1) {
        p->ended++;
        p->failed += code != HF_OK;
        hf_result_free(result);
    }
}

static int run(struct hf_client *client, int count)
{
    struct hf_queue *queue;
    struct progress p = {0};
    int code = hf_queue_new(client, &queue);
    if (code != HF_OK)
        return 1;
    while (p.ended < count && code == HF_OK) {
        code = fill(client, queue, &p, count);
        struct pollfd fd = {.fd = hf_queue_fd(queue), .events = POLLIN};
        if (p.started > p.ended && poll(&fd, 1, 1000) >= 0)
            collect(queue, &p);
    }
    while (p.ended < p.started) { /* those in flight end by their deadlines */
        struct pollfd fd = {.fd = hf_queue_fd(queue), .events = POLLIN};
        poll(&fd, 1, 1000);
        collect(queue, &p);
    }
    hf_queue_free(queue);
    printf("%d puts, %d failed\n", p.ended, p.failed);
    return code == HF_OK && p.failed == 0 ? 0 : 1;
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
    int status = run(client, argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1000);
    hf_close(client);
    return status;
}
