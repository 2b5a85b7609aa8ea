/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "client/lib/lib_internal.h"

/* One result that waits to be fetched. */
struct completion {
    struct list in_queue;
    void *data;
    int code;
    struct hf_result *result;
};

struct hf_queue {
    struct hf_client *client; /* borrowed */
    struct env_uv_mutex lock;
    struct env_uv_cond filled;
    struct list results;   /* guarded */
    struct list free_ones; /* guarded: one for each call in flight, so that a result
                              never lacks memory to be told */
    uint32_t in_flight;    /* guarded */
    int fd;
};

int hf_queue_new(struct hf_client *client, struct hf_queue **ret_queue)
{
    if (client == NULL || ret_queue == NULL)
        return HF_ERR_INVALID;
    struct hf_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL)
        return HF_ERR_NOMEM;
    int rv = env_uv_notify_open(&queue->fd, NULL);
    if (rv != 0) {
        free(queue);
        return rv;
    }
    queue->client = client;
    env_uv_mutex_init(&queue->lock);
    env_uv_cond_init(&queue->filled);
    list_init(&queue->results);
    list_init(&queue->free_ones);
    *ret_queue = queue;
    return HF_OK;
}

static void completions_free(struct list *list)
{
    struct list *link;
    while ((link = list_pop_front(list)) != NULL) {
        struct completion *c = list_entry(link, struct completion, in_queue);
        hf_result_free(c->result);
        free(c);
    }
}

int hf_queue_free(struct hf_queue *queue)
{
    if (queue == NULL)
        return HF_OK;
    env_uv_mutex_lock(&queue->lock);
    bool is_idle = queue->in_flight == 0;
    env_uv_mutex_unlock(&queue->lock);
    if (!is_idle)
        return HF_ERR_STATE;
    completions_free(&queue->results);
    completions_free(&queue->free_ones);
    env_uv_notify_close(queue->fd);
    env_uv_cond_fini(&queue->filled);
    env_uv_mutex_fini(&queue->lock);
    free(queue);
    return HF_OK;
}

int hf_queue_fd(const struct hf_queue *queue)
{
    return queue != NULL ? queue->fd : HF_ERR_INVALID;
}

int queue_begin(struct hf_queue *queue)
{
    struct completion *c = calloc(1, sizeof *c);
    if (c == NULL)
        return HF_ERR_NOMEM;
    list_init(&c->in_queue);
    env_uv_mutex_lock(&queue->lock);
    list_push_back(&queue->free_ones, &c->in_queue);
    queue->in_flight++;
    env_uv_mutex_unlock(&queue->lock);
    return 0;
}

void queue_abandon(struct hf_queue *queue)
{
    env_uv_mutex_lock(&queue->lock);
    ASSERT(queue->in_flight > 0);
    queue->in_flight--;
    struct list *link = list_pop_front(&queue->free_ones);
    env_uv_mutex_unlock(&queue->lock);
    free(list_entry(link, struct completion, in_queue));
}

void queue_push(struct hf_queue *queue, void *data, int code, struct hf_result *result)
{
    env_uv_mutex_lock(&queue->lock);
    ASSERT(queue->in_flight > 0);
    struct list *link = list_pop_front(&queue->free_ones);
    struct completion *c = list_entry(link, struct completion, in_queue);
    c->data = data;
    c->code = code;
    c->result = result;
    if (list_is_empty(&queue->results))
        env_uv_notify_set(queue->fd);
    list_push_back(&queue->results, &c->in_queue);
    queue->in_flight--;
    env_uv_cond_signal(&queue->filled); /* under the lock: the queue may be freed after */
    env_uv_mutex_unlock(&queue->lock);
}

/* The first result, with the lock held; NULL if there is none. */
static struct completion *queue_take(struct hf_queue *queue)
{
    struct list *link = list_pop_front(&queue->results);
    if (link != NULL && list_is_empty(&queue->results))
        env_uv_notify_clear(queue->fd);
    return link != NULL ? list_entry(link, struct completion, in_queue) : NULL;
}

static int completion_give(struct completion *c, void **ret_data, int *ret_code,
                           struct hf_result **ret_result)
{
    if (c == NULL)
        return 0;
    if (ret_data != NULL)
        *ret_data = c->data;
    if (ret_code != NULL)
        *ret_code = c->code;
    if (ret_result != NULL)
        *ret_result = c->result;
    else
        hf_result_free(c->result);
    free(c);
    return 1;
}

int hf_queue_poll(struct hf_queue *queue, void **ret_data, int *ret_code,
                  struct hf_result **ret_result)
{
    if (ret_result != NULL)
        *ret_result = NULL;
    if (queue == NULL)
        return HF_ERR_INVALID;
    env_uv_mutex_lock(&queue->lock);
    struct completion *c = queue_take(queue);
    env_uv_mutex_unlock(&queue->lock);
    return completion_give(c, ret_data, ret_code, ret_result);
}

int hf_queue_wait(struct hf_queue *queue, uint32_t timeout_ms, void **ret_data, int *ret_code,
                  struct hf_result **ret_result)
{
    if (ret_result != NULL)
        *ret_result = NULL;
    if (queue == NULL)
        return HF_ERR_INVALID;
    if (client_is_own_thread(queue->client))
        return HF_ERR_STATE;
    uint64_t deadline_us = env_now_us(queue->client->env) + (uint64_t)timeout_ms * 1000;
    bool is_in_time = true;
    env_uv_mutex_lock(&queue->lock);
    while (list_is_empty(&queue->results) && is_in_time)
        is_in_time = env_uv_cond_wait_until(&queue->filled, &queue->lock, deadline_us);
    struct completion *c = queue_take(queue);
    env_uv_mutex_unlock(&queue->lock);
    return completion_give(c, ret_data, ret_code, ret_result);
}
