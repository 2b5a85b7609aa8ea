/* SPDX-License-Identifier: Apache-2.0
 *
 * "host:port" in text and in the kernel's form.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "env/uv/real_internal.h"

enum { PORT_MAX = 65535, PRIVATE_NAME_MAX = 64 };

static bool is_port(const char *text, bool is_zero_allowed)
{
    size_t len = strlen(text);
    if (len == 0 || len > 5 || strspn(text, "0123456789") != len)
        return false;
    long port = strtol(text, NULL, 10);
    return port <= PORT_MAX && (port > 0 || is_zero_allowed);
}

int real_address_split(const char *address, bool is_zero_allowed, struct real_host_port *ret_parts,
                       struct err *err)
{
    size_t len = strlen(address);
    const char *colon = strrchr(address, ':');
    if (len >= ENV_ADDRESS_MAX || colon == NULL)
        return err_set(err, ERR_INVALID, "address '%.140s' is not host:port", address);
    const char *host = address;
    size_t host_len = (size_t)(colon - address);
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    } else if (memchr(host, ':', host_len) != NULL) {
        return err_set(err, ERR_INVALID, "address '%s': write [IPv6]:port", address);
    }
    if (host[0] == '@' && (host_len < 2 || host_len > PRIVATE_NAME_MAX))
        return err_set(err, ERR_INVALID, "address '%s': a private name has 1 to %d bytes", address,
                       PRIVATE_NAME_MAX - 1);
    if (host_len == 0)
        return err_set(err, ERR_INVALID, "address '%s' names no host", address);
    if (!is_port(colon + 1, is_zero_allowed))
        return err_set(err, ERR_INVALID, "address '%s': the port is not 1..65535", address);
    ASSERT(host_len < sizeof ret_parts->host);
    memcpy(ret_parts->host, host, host_len);
    ret_parts->host[host_len] = '\0';
    snprintf(ret_parts->port, sizeof ret_parts->port, "%s", colon + 1);
    return 0;
}

bool real_address_numeric(const struct real_host_port *parts, struct sockaddr_storage *ret_addr)
{
    struct sockaddr_storage addr = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&addr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&addr;
    uint16_t port = htons((uint16_t)strtol(parts->port, NULL, 10));
    if (inet_pton(AF_INET, parts->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
    } else if (inet_pton(AF_INET6, parts->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
    } else {
        return false;
    }
    *ret_addr = addr;
    return true;
}

/* Names that begin with a NUL are the kernel's own: they need no file, and are gone with their
 * last descriptor, however the process ends. */
bool real_address_private(const struct real_host_port *parts, struct sockaddr_un *ret_addr,
                          socklen_t *ret_len)
{
    if (parts->host[0] != '@')
        return false;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int len = snprintf(addr.sun_path + 1, sizeof addr.sun_path - 1, "holdfast/%s:%s",
                       parts->host + 1, parts->port);
    ASSERT(len > 0 && (size_t)len < sizeof addr.sun_path - 1); /* real_address_split() saw to it */
    *ret_addr = addr;
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    return true;
}

bool real_private_is_own(int fd)
{
    struct ucred who;
    socklen_t len = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.pid == getpid();
}

void real_address_format(const struct sockaddr *addr, char text[ENV_ADDRESS_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, ENV_ADDRESS_MAX, "%s:%u", host, ntohs(v4->sin_port));
    } else if (addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, ENV_ADDRESS_MAX, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else {
        snprintf(text, ENV_ADDRESS_MAX, "%s",
                 addr->sa_family == AF_UNIX ? "this process" : "unknown");
    }
}

bool real_address_is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_UNIX)
        return true;
    if (addr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;
        return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (addr->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)addr)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(v6) ||
               (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == IN_LOOPBACKNET);
    }
    return false;
}
