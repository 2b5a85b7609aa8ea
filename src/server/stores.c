/* SPDX-License-Identifier: Apache-2.0 */
#include "server/stores.h"

#include <stdio.h>

#include "base/err.h"
#include "base/text.h"

enum { PORT_MAX = 65535 };

/* "host:port" of store 1 becomes that of store k. */
static int move_port(char *address, size_t size, uint32_t k, const char *what, struct err *err)
{
    char *colon = strrchr(address, ':');
    uint64_t port = 0;
    if (address[0] == 0)
        return 0;
    if (colon == NULL || text_parse_u64(slice_str(colon + 1), &port) != 0 || port == 0)
        return err_set(err, ERR_INVALID, "stores: several need a port in %s, not %s", what,
                       address);
    port += (uint64_t)(k - 1) * STORES_PORT_STEP;
    if (port > PORT_MAX)
        return err_set(err, ERR_INVALID, "stores: store %u would be on port %llu (%s)", k,
                       (unsigned long long)port, what);
    size_t left = size - (size_t)(colon + 1 - address);
    if ((size_t)snprintf(colon + 1, left, "%llu", (unsigned long long)port) >= left)
        return err_set(err, ERR_INVALID, "stores: %s is too long", what);
    return 0;
}

/* What tells the node from others: where its first store is. */
static const char *node_name(const struct config *config)
{
    return config->advertise[0] != 0 ? config->advertise : config->listen;
}

static bool has_node_label(const char *labels)
{
    return strncmp(labels, "node=", 5) == 0 || strstr(labels, ",node=") != NULL;
}

static int add_label(const struct config *config, struct config *to, struct err *err)
{
    size_t len = strlen(to->labels);
    size_t left = sizeof to->labels - len;
    char name[CONFIG_ADDRESS_MAX];
    if (has_node_label(to->labels))
        return 0;
    snprintf(name, sizeof name, "%s", node_name(config));
    for (char *p = name; *p != 0; p++) {
        if (*p == ':' || *p == '[' || *p == ']')
            *p = '-';
    }
    if ((size_t)snprintf(to->labels + len, left, "%snode=%s", len > 0 ? "," : "", name) >= left)
        return err_set(err, ERR_INVALID, "labels: no room for node=%s", name);
    return 0;
}

int stores_config(const struct config *config, uint32_t k, struct config *ret_config,
                  struct err *err)
{
    ASSERT(k >= 1 && k <= config->stores && config->stores <= STORES_MAX);
    *ret_config = *config;
    if (config->stores == 1)
        return 0;
    int rv = move_port(ret_config->listen, sizeof ret_config->listen, k, "listen", err);
    if (rv == 0)
        rv = move_port(ret_config->advertise, sizeof ret_config->advertise, k, "advertise", err);
    if (rv == 0)
        rv = add_label(config, ret_config, err);
    if (rv != 0 || k == 1)
        return rv;
    size_t size = sizeof ret_config->data_dir;
    if ((size_t)snprintf(ret_config->data_dir, size, "%s/store-%u", config->data_dir, k) >= size)
        return err_set(err, ERR_INVALID, "data_dir: no room for /store-%u", k);
    if (config->join_count == 0) {
        ret_config->join_count = 1;
        snprintf(ret_config->join[0], sizeof ret_config->join[0], "%s", node_name(config));
    }
    return 0;
}
