/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges in the order of their start keys (equal starts: of their ids): a treap whose
 * priorities are mixed from the ids, so that its shape depends on nothing else.
 */
#include "base/hash.h"
#include "placement/placement_internal.h"

static int order(struct slice start, uint64_t id, const struct pl_range *b)
{
    int c = slice_compare(start, pl_range_start(b));
    return c != 0 ? c : (id > b->id) - (id < b->id);
}

/* Below (start, id) to the left, the others to the right. */
static void split(struct pl_range *t, struct slice start, uint64_t id, struct pl_range **ret_left,
                  struct pl_range **ret_right)
{
    while (t != NULL) {
        if (order(start, id, t) > 0) {
            *ret_left = t;
            ret_left = &t->right;
            t = t->right;
        } else {
            *ret_right = t;
            ret_right = &t->left;
            t = t->left;
        }
    }
    *ret_left = NULL;
    *ret_right = NULL;
}

void pl_tree_insert(struct placement *p, struct pl_range *r)
{
    struct pl_range **at = &p->tree;
    struct slice start = pl_range_start(r);
    r->priority = hash_mix(UINT64_C(0x7265616c6d), r->id);
    while (*at != NULL && (*at)->priority >= r->priority)
        at = order(start, r->id, *at) < 0 ? &(*at)->left : &(*at)->right;
    struct pl_range *below = *at;
    *at = r;
    split(below, start, r->id, &r->left, &r->right);
}

void pl_tree_remove(struct placement *p, struct pl_range *r)
{
    struct pl_range **at = &p->tree;
    while (*at != r) {
        ASSERT(*at != NULL);
        at = order(pl_range_start(r), r->id, *at) < 0 ? &(*at)->left : &(*at)->right;
    }
    struct pl_range *left = r->left;
    struct pl_range *right = r->right;
    while (left != NULL && right != NULL) {
        if (left->priority >= right->priority) {
            *at = left;
            at = &left->right;
            left = left->right;
        } else {
            *at = right;
            at = &right->left;
            right = right->left;
        }
    }
    *at = left != NULL ? left : right;
    r->left = r->right = NULL;
}

struct pl_range *pl_tree_floor(const struct placement *p, struct slice key)
{
    struct pl_range *best = NULL;
    for (struct pl_range *t = p->tree; t != NULL;) {
        if (slice_compare(pl_range_start(t), key) <= 0) {
            best = t;
            t = t->right;
        } else {
            t = t->left;
        }
    }
    return best;
}

struct pl_range *pl_tree_next(const struct placement *p, const struct pl_range *r)
{
    struct pl_range *best = NULL;
    for (struct pl_range *t = p->tree; t != NULL;) {
        if (order(pl_range_start(r), r->id, t) < 0) {
            best = t;
            t = t->left;
        } else {
            t = t->right;
        }
    }
    return best;
}

struct pl_range *pl_tree_first(const struct placement *p)
{
    struct pl_range *t = p->tree;
    while (t != NULL && t->left != NULL)
        t = t->left;
    return t;
}
