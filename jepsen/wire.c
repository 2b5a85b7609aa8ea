/* SPDX-License-Identifier: Apache-2.0
 *
 * jepsen-wire — a switch between network namespaces in which every link can be slow and
 * bad, for kernels without netem:
 *
 *   jepsen-wire NAMESPACE…      port 1, 2, 3 … in this order
 *
 * It makes a TAP device "eth0" in each namespace (/run/netns/NAMESPACE), with the address
 * 02:00:00:00:00:PORT, says "ready", and passes Ethernet frames on. Lines on standard
 * input set the link from one port to another, one way; 0 stands for all ports:
 *
 *   FROM TO delay_us jitter_us loss_ppm dup_ppm rate_kbit
 *
 * With jitter frames overtake each other. A rate (0: none) sends one frame after another;
 * one that would wait for more than QUEUE_US before its turn is lost, and so is a frame for
 * a full device, or beyond FRAMES_MAX waiting ones, as on a real switch. It ends with its
 * standard input, and says on a line of JSON what became of the frames.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <net/if_arp.h>

enum { PORTS_MAX = 32, FRAME_MAX = 2048, FRAMES_MAX = 65536, BURST = 64, QUEUE_US = 500000 };

struct link {
    unsigned delay_us, jitter_us, loss_ppm, dup_ppm, rate_kbit;
};

struct frame {
    uint64_t due_us;
    uint64_t number; /* equal times in order */
    int port;
    unsigned len;
    uint8_t bytes[FRAME_MAX];
};

static struct {
    int fds[PORTS_MAX + 1];
    int ports;
    struct link links[PORTS_MAX + 1][PORTS_MAX + 1];
    uint64_t busy_until_us[PORTS_MAX + 1][PORTS_MAX + 1]; /* of links with a rate */
    uint64_t passed, lost, doubled, delayed, queued, beyond_rate, beyond_memory;
    struct frame **heap; /* the earliest first */
    size_t waiting;
    uint64_t number;
    uint64_t random;
} wire;

static void die(const char *what)
{
    fprintf(stderr, "jepsen-wire: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static unsigned chance(unsigned below)
{
    wire.random ^= wire.random << 13;
    wire.random ^= wire.random >> 7;
    wire.random ^= wire.random << 17;
    return (unsigned)(wire.random % below);
}

/* ---- devices -------------------------------------------------------------------------- */

static int tap_open(const char *netns, int port)
{
    char path[300];
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(path, sizeof path, "/run/netns/%s", netns);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET) != 0)
        die(path);
    close(ns);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    memcpy(ifr.ifr_name, "eth0", 5);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) != 0)
        die("/dev/net/tun");
    ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(ifr.ifr_hwaddr.sa_data, (uint8_t[6]){2, 0, 0, 0, 0, (uint8_t)port}, 6);
    if (ioctl(fd, SIOCSIFHWADDR, &ifr) != 0)
        die("address of eth0");
    return fd;
}

/* ---- frames on their way ----------------------------------------------------------------- */

static bool is_earlier(const struct frame *a, const struct frame *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->number < b->number;
}

static void heap_push(struct frame *f)
{
    size_t i = wire.waiting++;
    while (i > 0 && is_earlier(f, wire.heap[(i - 1) / 2])) {
        wire.heap[i] = wire.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    wire.heap[i] = f;
}

static struct frame *heap_pop(void)
{
    struct frame *top = wire.heap[0], *last = wire.heap[--wire.waiting];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < wire.waiting; i = child) {
        if (child + 1 < wire.waiting && is_earlier(wire.heap[child + 1], wire.heap[child]))
            child++;
        if (!is_earlier(wire.heap[child], last))
            break;
        wire.heap[i] = wire.heap[child];
    }
    wire.heap[i] = last;
    return top;
}

static void send_now(int port, const uint8_t *bytes, size_t len)
{
    if (write(wire.fds[port], bytes, len) < 0 && errno != EAGAIN && errno != EIO &&
        errno != ENOBUFS)
        die("write a frame");
}

static void send_later(int port, const uint8_t *bytes, size_t len, uint64_t due_us)
{
    if (wire.waiting == FRAMES_MAX) {
        wire.beyond_memory++;
        return;
    }
    wire.delayed++;
    struct frame *f = malloc(sizeof *f);
    if (f == NULL)
        die("memory");
    f->due_us = due_us;
    f->number = ++wire.number;
    f->port = port;
    f->len = (unsigned)len;
    memcpy(f->bytes, bytes, len);
    heap_push(f);
}

/* How long a frame waits until the link has sent it; false if the link takes no more. */
static bool take_turn(int from, int to, size_t len, uint64_t now, uint64_t *ret_us)
{
    uint64_t *busy = &wire.busy_until_us[from][to];
    unsigned rate = wire.links[from][to].rate_kbit;
    uint64_t begin = *busy > now ? *busy : now;
    *ret_us = 0;
    if (rate == 0)
        return true;
    if (begin - now > QUEUE_US)
        return false;
    wire.queued += begin > now;
    *busy = begin + len * 8 * 1000 / rate;
    *ret_us = *busy - now;
    return true;
}

static void pass(int from, int to, const uint8_t *bytes, size_t len)
{
    const struct link *l = &wire.links[from][to];
    if (l->loss_ppm > 0 && chance(1000000) < l->loss_ppm) {
        wire.lost++;
        return;
    }
    int copies = l->dup_ppm > 0 && chance(1000000) < l->dup_ppm ? 2 : 1;
    wire.doubled += copies == 2;
    for (int i = 0; i < copies; i++) {
        uint64_t wait, now = now_us();
        if (!take_turn(from, to, len, now, &wait)) {
            wire.beyond_rate++;
            continue;
        }
        wire.passed++;
        wait += l->delay_us + (l->jitter_us > 0 ? chance(l->jitter_us + 1) : 0);
        if (wait == 0)
            send_now(to, bytes, len);
        else
            send_later(to, bytes, len, now + wait);
    }
}

static void receive(int from)
{
    uint8_t bytes[FRAME_MAX];
    ssize_t len = 0;
    for (int i = 0; i < BURST && (len = read(wire.fds[from], bytes, sizeof bytes)) > 0; i++) {
        int to = len >= 6 && memcmp(bytes, (uint8_t[5]){2, 0, 0, 0, 0}, 5) == 0 ? bytes[5] : 0;
        for (int port = 1; port <= wire.ports; port++)
            if (port != from && (to == port || (len > 0 && bytes[0] & 1)))
                pass(from, port, bytes, (size_t)len);
    }
    if (len < 0 && errno != EAGAIN && errno != EIO)
        die("read a frame");
}

/* ---- orders -----------------------------------------------------------------------------------
 */

static void order(const char *line)
{
    int from, to;
    struct link l;
    if (sscanf(line, "%d %d %u %u %u %u %u", &from, &to, &l.delay_us, &l.jitter_us, &l.loss_ppm,
               &l.dup_ppm, &l.rate_kbit) != 7 ||
        from < 0 || to < 0 || from > wire.ports || to > wire.ports) {
        fprintf(stderr, "jepsen-wire: not understood: %s", line);
        return;
    }
    for (int a = 1; a <= wire.ports; a++)
        for (int b = 1; b <= wire.ports; b++)
            if ((from == 0 || from == a) && (to == 0 || to == b))
                wire.links[a][b] = l;
}

/* False at the end of standard input. */
static bool orders(void)
{
    static char text[65536];
    static size_t len;
    ssize_t n = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    len += (size_t)n;
    text[len] = '\0';
    char *at = text;
    for (char *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        *end = '\0';
        order(at);
    }
    len = (size_t)(text + len - at);
    memmove(text, at, len);
    return len < sizeof text - 1;
}

static void run(void)
{
    struct pollfd polls[PORTS_MAX + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    for (int i = 1; i <= wire.ports; i++)
        polls[i] = (struct pollfd){.fd = wire.fds[i], .events = POLLIN};
    for (;;) {
        struct timespec wait = {0}, *limit = NULL;
        if (wire.waiting > 0) {
            uint64_t now = now_us(), due = wire.heap[0]->due_us;
            uint64_t left = due > now ? due - now : 0;
            wait = (struct timespec){(time_t)(left / 1000000), (long)(left % 1000000) * 1000};
            limit = &wait;
        }
        if (ppoll(polls, (nfds_t)wire.ports + 1, limit, NULL) < 0 && errno != EINTR)
            die("poll");
        if (polls[0].revents != 0 && !orders())
            return;
        for (int i = 1; i <= wire.ports; i++)
            if (polls[i].revents != 0)
                receive(i);
        for (uint64_t now = now_us(); wire.waiting > 0 && wire.heap[0]->due_us <= now;) {
            struct frame *f = heap_pop();
            send_now(f->port, f->bytes, f->len);
            free(f);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > PORTS_MAX + 1) {
        fprintf(stderr, "usage: jepsen-wire NAMESPACE NAMESPACE…\n");
        return 2;
    }
    wire.ports = argc - 1;
    wire.random = now_us() | 1;
    wire.heap = calloc(FRAMES_MAX, sizeof *wire.heap);
    if (wire.heap == NULL)
        die("memory");
    for (int i = 1; i <= wire.ports; i++)
        wire.fds[i] = tap_open(argv[i], i);
    printf("ready\n");
    fflush(stdout);
    run();
    printf("{\"passed\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"doubled\":%" PRIu64
           ",\"delayed\":%" PRIu64 ",\"queued\":%" PRIu64 ",\"beyond_rate\":%" PRIu64
           ",\"beyond_memory\":%" PRIu64 "}\n",
           wire.passed, wire.lost, wire.doubled, wire.delayed, wire.queued, wire.beyond_rate,
           wire.beyond_memory);
    return 0;
}
