#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""100,000 random, truncated and mutated frames on the one port of peers, snapshots and
clients: no crash, no leak, no wedge; a logged reason; other clients do not notice."""
import collections
import contextlib
import fcntl
import json
import os
import re
import socket
import subprocess
import tempfile

from cluster import BIN, SMALL, Cluster, check, free_ports, main, wait_until

FRAMES = 100_000
# What a sanitizer keeps back of freed memory (256 MiB by default) is no growth of a node's.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=16"
MAD_FRAMES = 3_000  # of a proven peer, to each of two stores
SECRET = "a secret for the test of garbage"

# A slow machine is not what is judged here: no election but for what the frames do.
PATIENT = SMALL.replace("election_timeout = 500ms", "election_timeout = 5s")
REFUSALS_A_SECOND = 80  # lines; a second of the clock may have parts of two
PURPOSES = ("silent", "client", "peer", "snapshot")


def is_socket(path):
    try:
        return os.readlink(path).startswith("socket:")
    except OSError:
        return False  # closed since it was listed


def usage_of(c, i):
    """(sockets, resident KiB) of node i. Its files come and go with what is written."""
    pid = c.local_status()["nodes"][i - 1]["pid"]
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    fds = f"/proc/{pid}/fd"
    return sum(is_socket(f"{fds}/{fd}") for fd in os.listdir(fds)), rss


def cluster_with_secret(conf):
    path = f"/tmp/holdfast-test-secret-{os.getpid()}"
    with open(path, "w", encoding="ascii") as f:
        f.write(SECRET + "\n")
    os.chmod(path, 0o600)
    return Cluster(conf=conf + f"cluster_secret_file = {path}\n"), path


def start(c, i, frames, *more):
    return subprocess.Popen([f"{BIN}/garbage", c.address(i), "--frames", str(frames), "--seed",
                             str(i), *more], stdout=subprocess.PIPE, text=True)


def figures_of(process):
    out, _ = process.communicate(timeout=240)
    check(process.returncode == 0, "nobody answers any more:", out)
    figures = json.loads(out)
    print("  ", figures)
    check(figures["unanswered"] == 0, "neither an answer nor a close:", figures)
    return figures


def refusals_by_second(log):
    return collections.Counter(line[:19] for line in log.splitlines()
                               if " connection_refused " in line)


def check_log(c, i):
    """Closed with a reason; and nothing that a sanitizer or an assertion said."""
    log = c.log(i)
    reasons = set()
    for line in log.splitlines():
        if " connection_refused " in line:
            check('reason="' in line and 'reason=""' not in line, "no reason:", line)
            reasons.add(re.sub("[0-9]+", "N", line.split("reason=")[1]))
    for second, count in refusals_by_second(log).items():
        check(count <= 2 * REFUSALS_A_SECOND, count, "lines about refusals in", second)
    check(len(reasons) > 10, "few reasons for so much rubbish:", reasons)
    for word in ("Sanitizer", "runtime error", "ASSERT", "assertion"):
        check(word not in log, word, "in the log of node", i)


def test_strangers():
    c, secret = cluster_with_secret(PATIENT)
    with c:
        c.ok("put", "kept", "before")
        pids = [n["pid"] for n in c.local_status()["nodes"]]
        before = {i: usage_of(c, i) for i in (1, 2, 3)}
        torture = c.torture(seconds=10, clients=8, reads=50, timeout="30s")
        running = [start(c, i, FRAMES // 3 + 1) for i in (1, 2, 3)]
        for process in running:
            figures = figures_of(process)
            for purpose in PURPOSES:
                check(figures[purpose]["connections"] > 0, "no connection of a", purpose)
                check(figures[purpose]["closed"] > 0, "none of a", purpose, "was closed")
        others = torture.result()
        print("  ", others)
        check(others["refused"] + others["undetermined"] == 0, "others noticed:", others)
        torture.verify()
        check([n["pid"] for n in c.local_status()["nodes"]] == pids, "a node died")
        check(c.ok("get", "kept", "--timeout", "20s") == "before", "the value stands")
        c.ok("put", "kept", "after", "--timeout", "20s")
        for i in (1, 2, 3):
            check_log(c, i)
            check("connections_refused_untold" in c.log(i), "no limit was met by node", i)
            wait_until(f"node {i} closed all connections", 40,
                       lambda i=i: usage_of(c, i)[0] <= before[i][0] + 4)
            grown = usage_of(c, i)[1] - before[i][1]
            check(grown < 200 * 1024, "node", i, "grew by", grown, "KiB")
        stop_and_look(c)
    os.unlink(secret)


def stop_and_look(c):
    """A graceful stop, at which a sanitizer reports what leaked."""
    c.local("down")
    for i in (1, 2, 3):
        check("Sanitizer" not in c.log(i), "node", i, "leaked")
        check("stopped" in c.log(i), "node", i, "did not stop in order")


def test_mad_peer():
    """A proven peer says what it must not. It may stop this cluster from working (Raft
    trusts its members), but no process may die of it."""
    c, secret = cluster_with_secret(PATIENT)
    with c:
        c.ok("put", "kept", "before")
        status = c.json("cluster", "status")
        stats = {s["store_id"]: s for s in status["stores"]}
        pids = [n["pid"] for n in c.local_status()["nodes"]]
        # all is asked before the first frame: after it the cluster may answer no more
        truths = [{"group": status["range_id"], "term": stats[i]["term"],
                   "index": stats[i]["stats"]["raft.last"], "from": c.replica(3),
                   "to": c.replica(i)} for i in (1, 2)]
        running = []
        for i, truth in enumerate(truths, 1):
            flags = [part for key, value in truth.items() for part in (f"--{key}", str(value))]
            running.append(start(c, i, MAD_FRAMES, "--as", c.address(3), "--secret", SECRET,
                                 *flags))
        for process in running:
            figures = figures_of(process)
            check(figures["peer"]["connections"] > 0, "it was never taken for a peer")
            check(figures["peer"]["closed"] + figures["snapshot"]["closed"] > 0, "none was closed")
        check([n["pid"] for n in c.local_status()["nodes"]] == pids, "a node died")
        for i in (1, 2):
            check_log(c, i)
            for event in ("message_refused", "snapshot_dropped"):
                check(event in c.log(i), "no", event, "in the log of node", i)
        # of one node the peer may have talked the replica away before it came to this
        check(any("speaks for replica" in c.log(i) for i in (1, 2)), "nobody's replica was claimed")
    os.unlink(secret)


class UnreadLog:
    """A pipe for the standard error of a process."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        # another open file of the same pipe: O_NONBLOCK is not to be set for the process
        self.filler = os.open(f"/proc/self/fd/{self.writer}", os.O_WRONLY | os.O_NONBLOCK)

    def fill(self):
        for size in (4096, 1):
            try:
                while True:
                    os.write(self.filler, b"\n" * size)
            except BlockingIOError:
                pass

    def read(self):
        """The lines that are there."""
        text = b""
        try:
            while part := os.read(self.reader, 1 << 16):
                text += part
        except BlockingIOError:
            pass
        return [json.loads(line) for line in text.splitlines() if line]


def refused(port):
    """Be a stranger that says rubbish, and is closed for it."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"rubbish, and not the hello that it should be" * 4)
        with contextlib.suppress(ConnectionResetError):
            sock.recv(4096)


def test_log_that_nobody_reads():
    """Strangers fill it. The store goes on, says later how many lines were lost, and ends when
    told to."""
    port = free_ports(1)
    log = UnreadLog()
    with tempfile.TemporaryDirectory() as folder:
        with subprocess.Popen([f"{BIN}/holdfastd", "--data", f"{folder}/d", "--listen",
                               f"127.0.0.1:{port}", "--log-format", "json"],
                              stderr=log.writer) as node:
            try:
                judge_unread(node, log, port)
            finally:
                node.kill()


def holdfast(port, *args):
    done = subprocess.run([f"{BIN}/holdfast", *args, "--endpoints", f"127.0.0.1:{port}"],
                          capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == 0, args, done.stdout, done.stderr)
    return done.stdout.strip()


def judge_unread(node, log, port):
    wait_until("it listens", 20, lambda: any(e["event"] == "listening" for e in log.read()))
    holdfast(port, "put", "k", "before", "--timeout", "20s")
    log.fill()
    for _ in range(20):
        refused(port)
    holdfast(port, "put", "k", "after")
    check(holdfast(port, "get", "k") == "after", "it does not serve")
    log.read()

    def told():
        refused(port)
        return [e for e in log.read() if e["event"] == "log_lines_dropped"]

    lines = wait_until("it says what was dropped", 20, told)
    check(len(lines) == 1 and int(lines[0]["message"].split("=")[1]) > 0, lines)
    check(fcntl.fcntl(log.writer, fcntl.F_GETFL) & os.O_NONBLOCK == 0, "others find it changed")
    log.fill()
    node.terminate()
    check(node.wait(timeout=40) == 0, "exit", node.returncode)


if __name__ == "__main__":
    main(test_log_that_nobody_reads, test_strangers, test_mad_peer)
