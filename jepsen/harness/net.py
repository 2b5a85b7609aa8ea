# SPDX-License-Identifier: Apache-2.0
"""A network of namespaces on this machine.

Each node, and the clients, has a network namespace with one device eth0 in it, all joined
by a switch. The switch is a bridge, in a namespace of its own, so that nothing of the
machine's own network is touched; or, if links are to be slow and the kernel has no netem,
the program jepsen-wire. Partitions are rules of nftables in the namespaces.

Names begin with hj and the process id of the run: hj4711-n1, hj4711-c, hj4711-sw.
"""
import contextlib
import fcntl
import functools
import json
import os
import re
import subprocess
import time

NETWORK = "10.77.0."
SMALL_DISK = "holdfast-jepsen"  # a tmpfs by its name
QUEUE_US, FRAME_BITS = 500000, 12000  # how long a link with a rate makes wait; of a full frame


def address(index):
    """Of the member with this index, from 1; clients come last."""
    return f"{NETWORK}{index}"


def attempt_all(steps):
    """Do each, whatever became of those before it; then raise what the first raised that failed."""
    raised = []
    for step in steps:
        try:
            step()
        except Exception as error:  # pylint: disable=broad-except
            raised.append(error)
    if raised:
        raise raised[0]


def table(name):
    """The rules that a namespace begins with: nothing is dropped. The resets that rules send pass
    through both chains themselves, and must not be rejected there."""
    return (f"table inet {name} {{\n"
            "  set silenced { type ipv4_addr; }\n"
            "  set resets { type ipv4_addr; }\n"
            "  chain incoming { type filter hook input priority 0;\n"
            "    ip saddr @silenced drop\n"
            "    tcp flags & rst == rst accept\n"
            "    ip saddr @resets meta l4proto tcp reject with tcp reset\n  }\n"
            "  chain outgoing { type filter hook output priority 0;\n"
            "    tcp flags & rst == rst accept\n"
            "    ip daddr @resets meta l4proto tcp reject with tcp reset\n  }\n}\n")


def rules(name, dropped, reset):
    """What changes: whose packets are dropped, and whose connections are reset."""
    lines = [f"flush set inet {name} silenced", f"flush set inet {name} resets"]
    if dropped:
        lines.append(f"add element inet {name} silenced {{ {', '.join(sorted(dropped))} }}")
    if reset:
        lines.append(f"add element inet {name} resets {{ {', '.join(sorted(reset))} }}")
    return "\n".join(lines) + "\n"


def netem_command(device, order):
    delay_us, jitter_us, loss_ppm, dup_ppm, rate_kbit = order
    if not any(order):
        return f"tc qdisc del dev {device} root 2>/dev/null || true"
    rate = ""
    if rate_kbit:  # netem counts packets, and its queue holds those that are delayed as well
        frames = rate_kbit * (QUEUE_US + delay_us + jitter_us) // (FRAME_BITS * 1000)
        rate = f" rate {rate_kbit}kbit limit {max(10, frames)}"
    return (f"tc qdisc replace dev {device} root netem delay {delay_us}us {jitter_us}us "
            f"loss {loss_ppm / 10000}% duplicate {dup_ppm / 10000}%{rate}")


def worst(orders, number):
    """Of all orders that bind what this member sends, (delay_us, jitter_us, loss_ppm,
    dup_ppm, rate_kbit): the most of each, but of rates the least."""
    mine = [o[2:] for o in orders if o[0] in (0, number)]
    most = [max((o[i] for o in mine), default=0) for i in range(4)]
    return (*most, min((o[4] for o in mine if o[4]), default=0))


class Network:
    def __init__(self, names, links):
        """links: "bridge", "netem" (a bridge too) or "wire"."""
        self.prefix = f"hj{os.getpid()}-"
        self.members = [*names, "c"]
        self.links = links
        self.made = []
        self.rules = {}
        self.wire = None
        self.frames = None  # what became of them, once it is down
        self.wire_program = None

    def ns(self, name):
        return self.prefix + name

    def inside(self, name, argv):
        return ["ip", "netns", "exec", self.ns(name), *argv]

    def ip(self, *args):
        done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"ip {' '.join(args)}: {done.stderr.strip()}")

    def add_namespace(self, name):
        self.ip("netns", "add", self.ns(name))
        self.made.append(name)
        self.ip("-n", self.ns(name), "link", "set", "lo", "up")

    def nft(self, name, text):
        done = subprocess.run(self.inside(name, ["nft", "-f", "-"]), input=text, text=True,
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"nft in {name}: {done.stderr.strip()}")

    def set_up(self):
        for name in self.members:
            self.add_namespace(name)
            self.nft(name, table("jepsen"))
        if self.links == "wire":
            self.start_wire()
        else:
            self.add_bridge()
        for i, name in enumerate(self.members, 1):
            self.ip("-n", self.ns(name), "addr", "add", f"{address(i)}/24", "dev", "eth0")
            self.ip("-n", self.ns(name), "link", "set", "eth0", "up")

    def add_bridge(self):
        self.add_namespace("sw")
        switch = self.ns("sw")
        self.ip("-n", switch, "link", "add", "br0", "type", "bridge")
        self.ip("-n", switch, "link", "set", "br0", "up")
        for i, name in enumerate(self.members, 1):
            self.ip("-n", switch, "link", "add", f"port{i}", "type", "veth", "peer", "name",
                    "eth0", "netns", self.ns(name))
            self.ip("-n", switch, "link", "set", f"port{i}", "master", "br0", "up")

    def start_wire(self):
        self.wire = subprocess.Popen([self.wire_program, *(self.ns(n) for n in self.members)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     start_new_session=True)
        if self.wire.stdout.readline() != "ready\n":
            raise RuntimeError("jepsen-wire did not start")

    def apply(self, name, dropped, reset):
        if self.rules.get(name, (frozenset(), frozenset())) != (dropped, reset):
            self.nft(name, rules("jepsen", dropped, reset))
            self.rules[name] = (dropped, reset)

    def slow(self, orders):
        """(from, to, delay_us, jitter_us, loss_ppm, dup_ppm, rate_kbit) each; of members 0 is
        all, a rate of 0 is none. They replace those that were in force."""
        if self.links == "wire":
            lines = ["0 0 0 0 0 0 0", *(" ".join(map(str, o)) for o in orders)]
            self.wire.stdin.write("\n".join(lines) + "\n")
            self.wire.stdin.flush()
            return
        for i, name in enumerate(self.members, 1):
            subprocess.run(self.inside(name, ["sh", "-c", netem_command("eth0", worst(orders, i))]),
                           check=False, capture_output=True)

    def tear_down(self):
        """All of it goes, also if the switch has died before."""
        made, self.made = self.made, []
        attempt_all([self.end_wire, *(functools.partial(self.remove, name) for name in made)])

    def end_wire(self):
        wire, self.wire = self.wire, None
        if wire is None:
            return
        try:
            with contextlib.suppress(BrokenPipeError):
                wire.stdin.close()
            status = wire.wait(5)
            self.frames = json.loads(wire.stdout.readline() or "null")
            if status != 0:
                raise RuntimeError(f"jepsen-wire ended with status {status}")
        finally:
            wire.kill()
            wire.wait()
            wire.stdout.close()

    def remove(self, name):
        done = subprocess.run(["ip", "netns", "del", self.ns(name)], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise RuntimeError(f"ip netns del {self.ns(name)}: {done.stderr.strip()}")


def clean():
    """Remove what runs left that were killed before they could: (namespaces, mounts)."""
    done = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    count = 0
    for line in done.stdout.splitlines():
        match = re.match(r"(hj(\d+)-\w+)", line)
        if not match or os.path.exists(f"/proc/{match.group(2)}"):
            continue
        for pid in pids_in(match.group(1)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
            forget_clock(pid)
        until = time.monotonic() + 10  # what still ends holds mounts
        while pids_in(match.group(1)) and time.monotonic() < until:
            time.sleep(0.05)
        subprocess.run(["ip", "netns", "del", match.group(1)], check=False, capture_output=True)
        count += 1
    return count, clean_mounts()


def pids_in(namespace):
    return subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True,
                          check=False).stdout.split()


def clean_mounts():
    """Small disks OUT/nN/disk of runs that do not hold the lock of OUT any more."""
    count = 0
    with open("/proc/self/mounts", encoding="utf-8") as f:
        mounts = [line.split()[:2] for line in f]
    for source, place in mounts:
        match = re.fullmatch(r"(/.*)/n\d/disk", place)
        if match and is_small_disk(source, place) and not is_locked(match.group(1)):
            subprocess.run(["umount", place], check=False, capture_output=True)
            count += not os.path.ismount(place)
    return count


def is_small_disk(source, place):
    """Did a run mount it? From an image beside it, or from memory under a name of ours."""
    try:
        with open(f"/sys/block/{os.path.basename(source)}/loop/backing_file",
                  encoding="utf-8") as f:
            return f.read().strip() == f"{place}.img"
    except OSError:
        return source == SMALL_DISK


def is_locked(folder):
    """Does a run hold it?"""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def forget_clock(pid):
    """What libfaketime leaves of a process that was killed, the semaphore last: it takes one
    without the other for an error."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        with contextlib.suppress(OSError):
            os.unlink(f"/dev/shm/{name}")
