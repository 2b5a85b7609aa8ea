# SPDX-License-Identifier: Apache-2.0
"""Power over nodes: the one interface that nemeses and births use, and its two kinds.

    LocalControl   nodes in network namespaces of this machine (net.py)
    SshControl     nodes on machines of their own, reached by ssh

Both end only processes that they started, by id, and remove only what they made. All
operations may be repeated, and come in any order: starting what runs, killing what is
dead, resuming what is not paused are no errors, because several faults act at once.
"""
import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time

from . import clocks, disk, net, needs


ENDED_S = 20  # until a process that was killed is gone
UNMOUNT_S = 10  # until nothing holds a small disk any more whose node has ended


class ControlError(Exception):
    """The run cannot go on: it is void."""


class Node:
    def __init__(self, number, address, folder):
        self.number, self.address, self.folder = number, address, folder
        self.name = f"n{number}"
        self.data = f"{folder}/data"
        self.side = f"{folder}/side"
        self.conf = f"{folder}/holdfast.conf"
        self.log = f"{folder}/log"
        self.clock = f"{folder}/clock"
        self.lock = threading.RLock()
        self.is_wanted = False  # should it run?
        self.is_expendable = 0  # faults that may make it end by itself
        self.starts = 0
        self.starts_b = 0  # of them with the second build


class Control:
    """What both kinds share: settings, the union of all cuts, the record of exits."""

    def __init__(self, options, nodes):
        self.options, self.nodes = options, nodes
        self.cuts = {}  # token -> set of (from, to) numbers
        self.resets = set()
        self.lock = threading.RLock()
        self.exits = []  # (seconds, node, status, was it expected)
        self.slow_stops = []  # (seconds, node): was killed because it did not end
        self.began = time.monotonic()
        self.clocks = clocks.Clocks()
        self.ballast = set()
        self.program = None  # node -> argv, in place of holdfastd
        self.everyone = [n.address for n in nodes]  # whose connections a reset ends
        self.watch_every_s = 0.2

    # ---- for nemeses --------------------------------------------------------------

    def cut(self, token, pairs):
        """No packet from a to b for each (a, b), until heal(token)."""
        with self.lock:
            self.cuts[token] = set(pairs)
            self.apply_cuts()

    def heal(self, token):
        with self.lock:
            if self.cuts.pop(token, None) is not None:
                self.apply_cuts()

    def reset(self, numbers, seconds):
        """Every connection of these nodes that speaks meanwhile is reset."""
        with self.lock:
            self.resets |= set(numbers)
            self.apply_cuts()
        time.sleep(seconds)
        with self.lock:
            self.resets -= set(numbers)
            self.apply_cuts()

    def rules_of(self, node):
        """(addresses whose packets it drops, addresses to whom it sends resets)"""
        heard = {a for pairs in self.cuts.values() for a, b in pairs if b == node.number}
        is_reset = node.number in self.resets
        return (frozenset(self.nodes[a - 1].address for a in heard),
                frozenset(self.everyone if is_reset else ()))

    def environment(self, node):
        """Of the node's process."""
        env, preload = {}, []
        if self.options.plant:
            env["HOLDFAST_PLANT"] = self.options.plant
        if self.options.has_clock:
            preload.append(self.options.faketime)
            env.update(FAKETIME_TIMESTAMP_FILE=node.clock, FAKETIME_NO_CACHE="1",
                       FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_DISABLE_SHM="1")
        if self.options.has_disk:
            preload.append(os.path.join(self.options.bin_there, "jepsen_disk.so"))
            env.update(JEPSEN_DISK_ROOT=node.data, JEPSEN_DISK_SIDE=node.side)
        if preload:
            env["LD_PRELOAD"] = " ".join(preload)
        return env

    def command(self, node):
        """What runs there, or will with the next start."""
        if self.program is not None:
            return self.program(node)
        return [self.binary(node), "--config", node.conf]

    def binary(self, node):
        """Of two builds each start has the one that the last start had not, so that every
        fault that starts a node changes it, and data of each is opened by the other."""
        return self.options.binary_b if self.is_b(node) else self.binary_a()

    def is_b(self, node):
        return bool(self.options.binary_b) and node.starts > 0 and node.starts % 2 == 0

    def binary_a(self):
        return os.path.join(self.options.bin_there, "holdfastd")

    def note_exit(self, node, status):
        """It ended, and nobody here asked for it."""
        self.exits.append((time.monotonic() - self.began, node.name, status,
                           node.is_expendable > 0))

    def kill(self, node):
        with node.lock:
            self.watch(node)
            node.is_wanted = False
            self.signal(node, signal.SIGKILL)
            self.wait(node, 20)

    def stop(self, node, seconds=20):
        """SIGTERM; SIGKILL when it takes too long. An end that is not orderly is noted like
        one that nobody asked for, but for a process so young that it knows no SIGTERM."""
        with node.lock:
            self.watch(node)
            was_running = self.is_running(node)
            node.is_wanted = False
            self.signal(node, signal.SIGCONT)
            self.signal(node, signal.SIGTERM)
            status = self.wait(node, seconds)
            if status is None:
                self.slow_stops.append((time.monotonic() - self.began, node.name))
                self.signal(node, signal.SIGKILL)
                self.wait(node, 20)
            elif was_running and status not in (0, -signal.SIGTERM):
                self.note_exit(node, status)

    def pause(self, node):
        self.clocks.stop(node.number)
        self.signal(node, signal.SIGSTOP)

    def resume(self, node):
        self.signal(node, signal.SIGCONT)
        self.clocks.go_on(node.number)

    def start(self, node):
        with node.lock:
            self.watch(node)
            if self.is_running(node):
                self.resume(node)
                return
            node.is_wanted = True
            node.starts += 1
            node.starts_b += self.is_b(node)
            self.spawn(node)

    def watch(self, node):
        """Notice an exit that nobody asked for."""
        with node.lock:
            if node.is_wanted and not self.is_running(node):
                node.is_wanted = False
                self.note_exit(node, self.wait(node, 0))

    def power_off(self, node, seed, mode=None):
        """The process ends and what it had not synced is lost, or a part of it."""
        self.kill(node)
        return self.run(node, [os.path.join(self.options.bin_there, "jepsen-power"), "--root",
                               node.data, "--side", node.side, "--seed", str(seed),
                               *([mode] if mode else [])])

    def files(self, node):
        """(path, bytes, when it was written last) of all that it has stored."""
        listed = self.run(node, ["find", node.data, "-type", "f", "-printf", "%s %T@ %p\\n"])
        rows = [line.split(" ", 2) for line in listed.splitlines()]
        return [(path, int(size), float(when)) for size, when, path in rows]

    def flip(self, node, path, offset, bit):
        """One bit of a file is another from now on."""
        said = self.run(node, ["od", "-An", "-tu1", "-j", str(offset), "-N1", path])
        octal = f"\\{int(said) ^ 1 << bit:03o}"
        self.run(node, ["sh", "-c", 'printf "$1" | dd of="$2" bs=1 seek="$3" conv=notrunc status=none',
                        "flip", octal, path, str(offset)])

    def truncate(self, node, path, size):
        self.run(node, ["truncate", "-s", str(size), path])

    def empty(self, node):
        """All that it ever stored is gone, and what the file layer knows of it; orders to
        that layer stand."""
        with node.lock:
            self.run(node, ["find", node.data, "-mindepth", "1", "-delete"])
            self.run(node, ["find", node.side, "-mindepth", "1", "!", "-name", "control",
                            "-delete"])

    def set_clock(self, node, offset_s):
        began = time.monotonic()
        self.write(node.clock, f"{offset_s:+.3f}s\n", node)
        self.clocks.set(node.number, offset_s, began, time.monotonic())


class LocalControl(Control):
    def __init__(self, options, nodes):
        super().__init__(options, nodes)
        self.net = net.Network([n.name for n in nodes], options.links)
        self.everyone.append(net.address(len(nodes) + 1))  # the clients
        self.processes = {}
        self.gone = set()
        self.mounts = []

    def set_up(self):
        self.net.set_up()
        for node in self.nodes:
            os.makedirs(node.folder)
            os.makedirs(node.data)
            if self.options.has_full:
                self.mount(node)
            os.makedirs(node.side)
            self.write(node.clock, "+0.000s\n", node)

    def mount(self, node):
        """A small disk of its own, on which the folders of data and side are."""
        place = f"{node.folder}/disk"
        os.makedirs(place)
        if needs.has_loop():
            image = f"{node.folder}/disk.img"
            with open(image, "wb") as f:
                f.truncate(self.options.disk_mib << 20)
            run(["mkfs.ext4", "-q", "-m", "0", image])
            run(["mount", "-o", "loop", image, place])
        else:
            run(["mount", "-t", "tmpfs", "-o", f"size={self.options.disk_mib}m", net.SMALL_DISK,
                 place])
        self.mounts.append(place)
        os.rmdir(node.data)
        node.data, node.side = f"{place}/data", f"{place}/side"
        os.makedirs(node.data)

    def tear_down(self):
        """Whatever of it fails, the rest is done; then the first failure is raised."""
        processes = list(self.processes.values())
        net.attempt_all([
            *(functools.partial(end_now, p) for p in processes),
            *(functools.partial(self.ended, p, ENDED_S) for p in processes),
            *(functools.partial(unmount, place) for place in self.mounts),
            *(functools.partial(self.clear, node) for node in self.nodes),
            self.net.tear_down])

    def clear(self, node):
        """Of its folder what the run does not keep."""
        if os.path.exists(f"{node.folder}/disk.img"):
            os.unlink(f"{node.folder}/disk.img")
        if not self.options.keep_data:
            for path in (node.data, node.side, f"{node.folder}/disk"):
                shutil.rmtree(path, ignore_errors=True)

    # ---- what the two kinds do differently ------------------------------------------

    def write(self, path, text, _node=None):
        with open(f"{path}.next", "w", encoding="utf-8") as f:
            f.write(text)
        os.replace(f"{path}.next", path)

    def run(self, node, argv):
        """Run a command where the node is; its output."""
        return run(self.net.inside(node.name, argv))

    def spawn(self, node):
        with open(node.log, "ab") as log:
            self.processes[node.number] = subprocess.Popen(
                self.net.inside(node.name, self.command(node)), stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env=dict(os.environ, **self.environment(node)),
                start_new_session=True)

    def is_running(self, node):
        process = self.processes.get(node.number)
        return process is not None and process.poll() is None

    def signal(self, node, number):
        with node.lock:
            if self.is_running(node):
                self.processes[node.number].send_signal(number)

    def wait(self, node, seconds):
        process = self.processes.get(node.number)
        if process is None:
            return 0
        try:
            return self.ended(process, seconds)
        except subprocess.TimeoutExpired:
            return None

    def ended(self, process, seconds=None):
        """Its status; at the first time what it left is removed: another may have its id later."""
        status = process.wait(seconds)
        if process not in self.gone:
            self.gone.add(process)
            if self.options.has_clock:
                net.forget_clock(process.pid)
        return status

    def apply_cuts(self):
        for node in self.nodes:
            self.net.apply(node.name, *self.rules_of(node))

    def slow(self, orders):
        self.net.slow(orders)

    def disk_fault(self, node, **fields):
        disk.set_fields(f"{node.side}/control", **fields)

    def fill(self, node, leave_bytes):
        """A file that leaves so much of the node's disk."""
        st = os.statvfs(node.data)
        size = st.f_bavail * st.f_frsize - leave_bytes
        path = os.path.join(os.path.dirname(node.data), "ballast")
        if size > 0:
            with open(path, "ab") as f:
                os.posix_fallocate(f.fileno(), 0, size)
            self.ballast.add(path)

    def unfill(self, node):
        path = os.path.join(os.path.dirname(node.data), "ballast")
        if path in self.ballast:
            os.unlink(path)
            self.ballast.discard(path)

    def frames(self):
        """What became of those on slow links, once all is down; None if nobody counted."""
        return self.net.frames

    def client_command(self, argv):
        return self.net.inside("c", argv)

    def fetch_logs(self):
        """They are here already."""


def short(script):
    """So much of it that one can tell which it is."""
    first = script.split("\n")[0]
    return first if len(first) <= 100 else f"{first[:99]}…"


# What starts a node's process there: tells its id, and in the end its status.
START = """#!/bin/sh
"$@" </dev/null >>log 2>&1 &
echo $! >pid.next
mv pid.next pid
wait $!
echo $? >status
"""


class SshControl(Control):
    """The same over ssh. The machines need sh, nft and, for what runs there, the folder
    options.bin_there with the programs; they can be reached without a password, as a user
    who may use nft. Rules stand in a table of their own and drop what comes from other nodes
    alone, so that ssh is never cut off. For the full nemesis options.there must be on a small file
    system of its own already."""

    TABLE = "holdfast_jepsen"
    FULL_MAX = 4 << 30  # bytes of a disk that may be filled

    def __init__(self, options, nodes, hosts):
        super().__init__(options, nodes)
        self.hosts = dict(zip((n.number for n in nodes), hosts))
        self.pids = {}
        self.rules = {}
        self.made = []  # nodes whose folder and rules are this run's
        self.watch_every_s = 3  # each look is an ssh

    def ssh(self, node, script, check=True):
        host = self.hosts[node.number]
        try:
            done = subprocess.run(["ssh", "-oBatchMode=yes", "-oConnectTimeout=10", host, "sh -s"],
                                  input=script, text=True, capture_output=True, timeout=120,
                                  check=False)
        except subprocess.TimeoutExpired:
            if check:
                raise ControlError(f"{host}: no end after 120 s: {short(script)}") from None
            return ""
        if check and done.returncode != 0:
            raise ControlError(f"{host}: {done.stderr.strip()}: {short(script)}")
        return done.stdout

    def set_up(self):
        """What another run, or an earlier one, left there is not touched."""
        for node in self.nodes:
            said = self.ssh(node, f"mkdir -p {self.options.there}\n"
                                  f"if nft list table inet {self.TABLE} >/dev/null 2>&1\n"
                                  f"then echo 'another run is at work, or was killed: it has a "
                                  f"table {self.TABLE}'\n"
                                  f"elif ! mkdir {node.folder} 2>&1\n"
                                  "then echo ' (of another run? remove it, or another --there)'\n"
                                  "fi\n")
            if said:
                raise ControlError(f"{self.hosts[node.number]}: {' '.join(said.split())}")
            self.made.append(node)
            self.ssh(node, f"set -e; cd {node.folder}; {self.small_disk()}"
                           f"mkdir data side; echo '+0.000s' > clock; "
                           f"cat > start <<'E'\n{START}E\n"
                           f"nft -f - <<'E'\n{net.table(self.TABLE)}\nE\n")

    def small_disk(self):
        """Nobody's disk is to be filled by mistake."""
        if not self.options.has_full:
            return ""
        return (f"if [ $(stat -c %d .) = $(stat -c %d /) ] || "
                f"[ $(df --output=size -B1 . | tail -n1) -gt {self.FULL_MAX} ]; then "
                f"echo --there is no disk of its own of at most {self.FULL_MAX >> 30} GiB, as the "
                "nemesis full needs >&2; exit 1; fi; ")

    def tear_down(self):
        """Whatever of it fails on one machine, the others' is done."""
        net.attempt_all([functools.partial(self.leave, node) for node in self.made])

    def leave(self, node):
        with contextlib.suppress(ControlError):
            self.signal(node, signal.SIGKILL)
            self.wait(node, ENDED_S)
        self.ssh(node, f"nft delete table inet {self.TABLE}", check=False)
        if not self.options.keep_data:
            self.ssh(node, f"rm -rf {node.folder}", check=False)

    def write(self, path, text, node):
        self.ssh(node, f"cat > {path}.next <<'E'\n{text}E\nmv {path}.next {path}\n")

    def run(self, node, argv):
        return self.ssh(node, shlex.join(argv))

    def spawn(self, node):
        env = shlex.join(["env", *(f"{k}={v}" for k, v in self.environment(node).items())])
        pid = self.ssh(node, f"set -e; cd {node.folder}; rm -f pid status\n"
                             f"setsid sh ./start {env} {shlex.join(self.command(node))} "
                             "</dev/null >/dev/null 2>&1 &\n"
                             "until [ -e pid ]; do sleep 0.02; done; pid=$(cat pid)\n"
                             f"until [ -e status ] || {self.is_it(node, '$pid')}; do sleep 0.02; "
                             "done; echo $pid")
        self.pids[node.number] = int(pid)

    def is_it(self, node, pid):
        """For the shell: does its program run under this id?"""
        return f'[ "$(readlink /proc/{pid}/exe)" = "$(readlink -f {self.command(node)[0]})" ]'

    def is_running(self, node):
        pid = self.pids.get(node.number)
        return pid is not None and self.ssh(
            node, f"if {self.is_it(node, pid)}; then echo yes; fi").strip() == "yes"

    def signal(self, node, number):
        if self.is_running(node):
            self.ssh(node, f"kill -{int(number)} {self.pids[node.number]}", check=False)

    def wait(self, node, seconds):
        until = time.monotonic() + seconds
        while self.is_running(node):
            if time.monotonic() > until:
                return None
            time.sleep(0.2)
        return self.status(node)

    def status(self, node):
        """With which it ended, as subprocess tells it."""
        if node.number not in self.pids:
            return 0
        pid = self.pids[node.number]
        said = self.ssh(node, f"cd {node.folder}; for i in 1 2 3 4 5; do [ -e status ] && break; "
                              f"sleep 0.2; done; cat status; rm -f /dev/shm/faketime_shm_{pid} "
                              f"/dev/shm/sem.faketime_sem_{pid}", check=False)
        try:
            code = int(said or 0)
        except ValueError:
            raise ControlError(f"{self.hosts[node.number]}: no exit status: {said!r}") from None
        return code if code < 128 else 128 - code

    def apply_cuts(self):
        for node in self.nodes:
            wanted = self.rules_of(node)
            if self.rules.get(node.number, (frozenset(), frozenset())) != wanted:
                self.ssh(node, f"nft -f - <<'E'\n{net.rules(self.TABLE, *wanted)}\nE\n")
                self.rules[node.number] = wanted

    def slow(self, orders):
        """netem on every node: the worst of what the orders ask for it."""
        for node in self.nodes:
            self.ssh(node, net.netem_command("$(ip -o route get "
                     f"{self.nodes[node.number % len(self.nodes)].address} | "
                     "sed 's/.* dev \\([^ ]*\\).*/\\1/')", net.worst(orders, node.number)))

    def disk_fault(self, node, **fields):
        for offset, value in disk.offsets(**fields):
            octal = "".join(f"\\{b:03o}" for b in value.to_bytes(4, "little"))
            self.ssh(node, f"printf '{octal}' | dd of={node.side}/control bs=1 seek={offset} "
                           "conv=notrunc status=none")

    def fill(self, node, leave_bytes):
        self.ssh(node, f"cd {node.folder}; left=$(df --output=avail -B1 data | tail -n1); "
                       f"fallocate -l $((left - {leave_bytes})) ballast")

    def unfill(self, node):
        self.ssh(node, f"rm -f {node.folder}/ballast")

    def frames(self):
        """Nobody counted."""
        return None

    def client_command(self, argv):
        return argv

    def fetch_logs(self):
        for node in self.made:
            os.makedirs(os.path.join(self.options.out, node.name), exist_ok=True)
            with open(os.path.join(self.options.out, node.name, "log"), "w",
                      encoding="utf-8") as f:
                f.write(self.ssh(node, f"cat {node.log}", check=False))


def run(argv):
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        raise ControlError(f"{shlex.join(argv)}: no end after 120 s") from None
    if done.returncode != 0:
        raise ControlError(f"{shlex.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def end_now(process):
    if process.poll() is None:
        process.kill()


def unmount(place):
    until = time.monotonic() + UNMOUNT_S
    while True:
        done = subprocess.run(["umount", place], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        if time.monotonic() > until:
            raise ControlError(f"umount {place}: {done.stderr.strip()}")
        time.sleep(0.1)
