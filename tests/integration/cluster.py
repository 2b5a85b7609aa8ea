# SPDX-License-Identifier: Apache-2.0
"""A cluster of real processes for a test, driven through the program `holdfast`.

Environment: HOLDFAST_BIN, the folder with holdfast, holdfastd and torture.
Every wait is bounded, and whatever a test leaves running is killed at its end.
"""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

BIN = os.environ.get("HOLDFAST_BIN", "build/release/bin")
SKIPPED = 77  # exit status: what the test needs is not on this machine
CLAIMS = []  # locks of the ports that are ours, held until this process ends

# Small thresholds: rotation, flush and compaction within seconds.
SMALL = """
memtable_bytes = 1MiB
table_bytes = 512KiB
level_base_bytes = 2MiB
block_cache_bytes = 4MiB
log_segment_bytes = 1MiB
log_budget_bytes = 8MiB
log_cache_bytes = 1MiB
disk_low_bytes = 96MiB
disk_full_bytes = 64MiB
disk_reserve_bytes = 32MiB
election_timeout = 500ms
heartbeat = 50ms
"""


def check(condition, *message):
    """A test's only assertion: says what is wrong and ends the test."""
    if not condition:
        raise AssertionError(" ".join(str(part) for part in message))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def end_in_order(number, _frame):
    """Of a signal that asks for the end: what `with` opened is closed, so no node stays."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


for ending in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(ending) == signal.SIG_DFL:  # nohup has it ignored
        signal.signal(ending, end_in_order)


def claims_ports(first):
    """A test beside this one may look for ports, too, before ours are used: from the first look
    to the end of this process they are ours."""
    folder = os.path.join(tempfile.gettempdir(), f"holdfast-test-ports-{os.getuid()}")
    os.makedirs(folder, exist_ok=True)
    # pylint: disable-next=consider-using-with
    claim = open(os.path.join(folder, str(first)), "w", encoding="utf-8")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        claim.close()
        return False
    CLAIMS.append(claim)
    return True


def free_ports(count):
    """The first of `count` (at most 16) consecutive ports that are all free now. Below 32768:
    from there on the system gives ports to those who connect, and a client that dials a node
    which is down may get that very port and so keep the node from coming back."""
    ports = range(20000, 32000, 16)
    begin = os.getpid() % len(ports)
    check(count <= ports.step, count, "ports are too many")
    for first in [*ports[begin:], *ports[:begin]]:
        if not claims_ports(first):
            continue
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    sock = stack.enter_context(socket.socket())
                    sock.bind(("127.0.0.1", port))
                return first
            except OSError:
                continue
    raise RuntimeError("no free ports")


def wait_until(what, seconds, condition):
    """Poll until condition() is true; its value."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < until, "after", seconds, "s still not:", what)
        time.sleep(0.05)


class Cluster:
    """`grows_to`: as many nodes may come later, by up(); `port`: the first one's."""

    def __init__(self, nodes=3, conf=SMALL, folder=None, grows_to=None, port=None):
        self.made_folder = folder is None
        self.dir = folder or tempfile.mkdtemp(prefix="holdfast-test-")
        self.begins_with = nodes
        self.nodes = nodes = grows_to or nodes
        self.port = port or free_ports(nodes)
        self.endpoints = ",".join(self.address(i) for i in range(1, nodes + 1))
        self.conf = os.path.join(self.dir, "test.conf")
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(conf)

    def __enter__(self):
        try:
            self.up("--nodes", str(self.begins_with), "--port-base", str(self.port), "--conf",
                    self.conf)
        except BaseException:
            self.end(failed=True)
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.end(failed=kind is not None)

    def tell(self):
        """For whoever reads why a test failed: what the nodes say of themselves."""
        for args in (("local", "status", "--dir", self.dir), ("range", "list", "--system"),
                     ("cluster", "status", "--json", "--timeout", "2s")):
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = self.run(*args)
                print(f"---- holdfast {' '.join(args)}: exit {done.returncode}", file=sys.stderr)
                print(done.stdout[-20000:], done.stderr[-2000:], file=sys.stderr)

    def end(self, failed):
        if failed:
            self.tell()
        subprocess.run([f"{BIN}/holdfast", "local", "kill", "all", "--dir", self.dir],
                       capture_output=True, timeout=60, check=False)
        if failed:
            for i in range(1, self.nodes + 1):
                print(f"---- the end of node {i}'s log", file=sys.stderr)
                print(self.log(i)[-3000:], file=sys.stderr)
        if self.made_folder:
            shutil.rmtree(self.dir, ignore_errors=True)

    def address(self, i):
        return f"127.0.0.1:{self.port + i - 1}"

    def path(self, i, name=""):
        return os.path.join(self.dir, f"node-{i}", name)

    def log(self, i):
        try:
            with open(self.path(i, "log"), encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    # ---- the program ---------------------------------------------------------

    def run(self, *args, stdin="", timeout=60, endpoints=None):
        """Run `holdfast ARGS`; bytes in and out if stdin is bytes."""
        env = dict(os.environ, HOLDFAST_ENDPOINTS=endpoints or self.endpoints)
        is_text = isinstance(stdin, str)
        return subprocess.run([f"{BIN}/holdfast", *args], input=stdin, capture_output=True,
                              text=is_text, timeout=timeout, env=env, check=False)

    def ok(self, *args, **more):
        """… which must succeed; its standard output."""
        done = self.run(*args, **more)
        check(done.returncode == 0, "holdfast", args, "exit", done.returncode, done.stdout[-500:],
              done.stderr[-2000:])
        return done.stdout

    def json(self, *args, **more):
        return json.loads(self.ok(*args, "--json", **more))

    def local(self, verb, *args):
        return self.ok("local", verb, *args, "--dir", self.dir, timeout=120)

    def up(self, *args):
        return self.local("up", *args)

    def local_status(self):
        return json.loads(self.local("status", "--json"))

    def leader(self):
        """The number of the node that leads, once there is one."""
        return wait_until("a leader", 20, lambda: self.local_status()["leader"])

    def applied(self, i):
        """How far node i has applied; None while it does not answer."""
        done = self.run("cluster", "status", "--json", "--timeout", "2s")
        try:
            for store in json.loads(done.stdout)["stores"]:
                if store["address"] == self.address(i) and store["up"]:
                    return store["stats"].get("raft.applied")
        except (ValueError, KeyError):
            pass
        return None

    def has_operators(self):
        return any(o["state"] == "running"
                   for o in self.json("placement", "operators")["operators"])

    def has_learners(self):
        return any(m["role"] != "voter" for r in self.json("range", "list", "--system")["ranges"]
                   for m in r["replicas"])

    def is_at_rest(self):
        """No operator runs, no range has a learner. Stays so where nothing begins by itself."""
        return not self.has_operators() and not self.has_learners()

    def rest(self, *order):
        """Placement gets an order with which nothing begins by itself, and ends what it began. What
        ended with its host, half done, is left as it is by a paused one: then it may go on."""
        until = time.monotonic() + 60
        self.ok("placement", *order)
        while not self.is_at_rest():
            check(time.monotonic() < until, "after 60 s still not: no operator runs")
            if order == ("pause",) and not self.has_operators():
                self.ok("placement", "resume")
                wait_until("no learner is left", 60, lambda: not self.has_learners())
                self.ok("placement", "pause")
            time.sleep(0.05)

    def replica(self, i):
        """The id of the first range's replica on node i."""
        stores = self.json("cluster", "status")["stores"]
        return next(s["replica_id"] for s in stores if s["address"] == self.address(i))

    # ---- torture ----------------------------------------------------------------

    def torture(self, seconds, *more, clients=64, reads=20, timeout="5s", seed=1, pad=0,
                endpoints=None):
        """Start clients that write and remember, with `more` flags; finish with .result()."""
        return Torture(self, seconds, ["--clients", str(clients), "--reads", str(reads),
                                       "--timeout", timeout, "--seed", str(seed), "--pad", str(pad),
                                       "--endpoints", endpoints or self.endpoints, *more], seed)


def longest_run(values, is_in):
    """(begin, end) of the longest run of values that are in; None without any."""
    best, begin = None, None
    for i, value in enumerate([*values, None]):
        if value is not None and is_in(value):
            begin = i if begin is None else begin
        elif begin is not None:
            if best is None or i - begin > best[1] - best[0]:
                best = (begin, i)
            begin = None
    return best


class Torture:
    def __init__(self, cluster, seconds, flags, seed):
        self.cluster = cluster
        self.out = os.path.join(cluster.dir, f"promises-{seed}")
        self.seconds = seconds
        self.process = subprocess.Popen(
            [f"{BIN}/torture", "run", "--seconds", str(seconds), "--out", self.out, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def is_running(self):
        return self.process.poll() is None

    def end(self):
        """The writing ends now, whatever is left of its time."""
        self.process.terminate()

    def result(self):
        """Wait for the end of writing: figures; wrong reads fail the test."""
        out, err = self.process.communicate(timeout=self.seconds + 60)
        check(self.process.returncode == 0, "torture:", out, err[-2000:])
        figures = json.loads(out)
        self.buckets = figures.pop("buckets")  # operations in each tenth of a second
        self.slow = figures.pop("slow")  # [when it began in ms, how many it took, key of bench]
        return figures

    def recovery_ms(self):
        """After the longest silence: from its beginning until half of the rate before it
        is there again, taken over half a second."""
        rates = self.buckets
        quiet = longest_run(rates, lambda rate: rate == 0)
        if quiet is None:
            return 0
        before = sorted(rates[:quiet[0]])[quiet[0] // 2]
        for i in range(quiet[1], len(rates) - 5):
            if sum(rates[i:i + 5]) * 2 >= before * 5:
                return (i - quiet[0]) * 100
        return len(rates) * 100

    def verify(self):
        """Every acknowledged write is there."""
        done = subprocess.run([f"{BIN}/torture", "verify", self.out, "--endpoints",
                               self.cluster.endpoints],
                              capture_output=True, text=True, timeout=300, check=False)
        check(done.returncode == 0, "verify:", done.stdout, done.stderr[-2000:])
        figures = json.loads(done.stdout)
        check(figures["acked"] > 0, "nothing was acknowledged: the test proves nothing")
        return figures


def main(*tests):
    """Run the test functions; the program's exit status is the verdict."""
    names = sys.argv[1:]
    for test in tests:
        if names and test.__name__ not in names:
            continue
        began = time.monotonic()
        print(f"{test.__name__} …", flush=True)
        test()
        print(f"{test.__name__} ok, {time.monotonic() - began:.1f} s", flush=True)
