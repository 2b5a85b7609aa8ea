/* SPDX-License-Identifier: Apache-2.0
 *
 * list — an intrusive, circular, doubly linked list.
 *
 * Ownership  the list owns nothing; a link must be removed before its struct is
 *            freed. A link names its list: `in_pending`.
 */
#ifndef BASE_LIST_H_
#define BASE_LIST_H_

#include "base/base.h"

struct list {
    struct list *next;
    struct list *prev;
};

/* Both heads and links start here: an unlinked link points at itself. */
static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_has_one(const struct list *head)
{
    return head->next != head && head->next == head->prev;
}

static inline bool list_is_linked(const struct list *link)
{
    return link->next != link;
}

static inline void list_push_back(struct list *head, struct list *link)
{
    ASSERT(!list_is_linked(link));
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_push_front(struct list *head, struct list *link)
{
    list_push_back(head->next, link);
}

/* Unlink; harmless on an unlinked link. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* First link, unlinked; NULL if empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *link = head->next;
    if (link == head)
        return NULL;
    list_remove(link);
    return link;
}

#define list_entry(link, type, member) container_of(link, type, member)
#define list_first(head, type, member) container_of((head)->next, type, member)

/* `it` is a struct list *; the current link may be removed in the body. */
#define LIST_FOREACH(it, head)                                                                     \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

#endif
