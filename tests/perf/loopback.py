# SPDX-License-Identifier: Apache-2.0
"""What the measuring scripts of this folder share: a cluster of `holdfast local` that is gone
afterwards, one run of `holdfast bench` with what it cost, what the disk does by itself, and
figures that are held against a bound. Nothing but loopback is talked to."""
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

TICKS = os.sysconf("SC_CLK_TCK")
# Marks of a full disk that a machine for tests can keep.
CONF = "disk_low_bytes = 96MiB\ndisk_full_bytes = 64MiB\ndisk_reserve_bytes = 32MiB\n"
REST_S = 300
SPLITTERS = 24
SPLITS_AT_ONCE = 60  # keys in one command
PROBE_BYTES = 256 << 20
STILL_S = 0.004
KEY_BYTES = 18  # of a key of `holdfast bench`


def say(text):
    print(text, file=sys.stderr, flush=True)


class Report:
    """Figures with their bounds, a line each; `missed` counts those out of bounds."""

    def __init__(self):
        self.rows = []
        self.missed = 0

    def judge(self, what, value, bound, unit="", is_least=False):
        """`value` is at most `bound`, or at least when `is_least`. None is out of bounds."""
        is_fine = value is not None and (value >= bound if is_least else value <= bound)
        self.missed += not is_fine
        self.rows.append({"what": what, "value": value, "bound": bound, "unit": unit,
                          "is_least": is_least, "is_fine": is_fine})
        text = "-" if value is None else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
        print(f"{what:58} {text:>10} {unit:6} ({'at least' if is_least else 'at most'} "
              f"{bound:,g}) {'ok' if is_fine else 'MISSED'}", flush=True)

    def status(self):
        return 1 if self.missed else 0


def watch_stills(pipe):
    """In a process of its own, before all others: each millisecond it asks for a turn. What it
    waits beyond STILL_S is time in which the machine itself stood still."""
    stills = []
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        pipe.send(True)
    except OSError:
        pipe.send(False)
        return
    last = time.monotonic()
    while not pipe.poll():
        time.sleep(0.001)
        now = time.monotonic()
        if now - last > STILL_S:
            stills.append(now - last)
        last = now
    pipe.send(stills)


class Stills:
    """How often, and how long, nothing of this machine ran: a host may give a virtual one no
    more than its share, and every latency has that in it. Without the right to go before others
    it is not known."""

    def __init__(self):
        self.pipe, other = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=watch_stills, args=(other,), daemon=True)
        self.began = time.monotonic()
        self.process.start()
        other.close()  # so that its end is seen here
        self.is_known = self.pipe.recv()

    def end(self):
        if not self.is_known:
            self.process.join()
            return "how long the machine stood still is not known"
        self.pipe.send(True)
        stills = self.pipe.recv()
        self.process.join()
        seconds = time.monotonic() - self.began
        longest = max(stills, default=0)
        return (f"the machine stood still {len(stills) / seconds:.1f} times a second, "
                f"{sum(stills) / seconds:.1%} of the time, {longest * 1e3:.0f} ms at the longest")


class Cluster:
    """Nodes of `holdfast local`, in a folder that is gone afterwards. Ranges neither merge nor
    split by themselves."""

    def __init__(self, args, nodes, conf=CONF):
        self.bin = args.bin
        self.nodes = nodes
        self.conf = conf
        self.dir = tempfile.mkdtemp(prefix="holdfast-perf-", dir=args.dir)
        self.endpoints = ",".join(f"127.0.0.1:{args.port + i}" for i in range(nodes))
        self.port = args.port

    def __enter__(self):
        conf = os.path.join(self.dir, "perf.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(self.conf)
        try:
            self.run("local", "up", "--dir", self.dir, "--nodes", str(self.nodes), "--port-base",
                     str(self.port), "--conf", conf)
            self.run("placement", "settings", "merge", "off")
            self.run("placement", "settings", "split", "off")
            self.rest()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        subprocess.run([f"{self.bin}/holdfast", "local", "kill", "all", "--dir", self.dir],
                       capture_output=True, timeout=60, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def env(self):
        return dict(os.environ, HOLDFAST_ENDPOINTS=self.endpoints)

    def run(self, *words, timeout=300):
        done = subprocess.run([f"{self.bin}/holdfast", *words], capture_output=True, text=True,
                              timeout=timeout, env=self.env(), check=False)
        if done.returncode != 0:
            raise RuntimeError(f"holdfast {' '.join(words[:4])}: exit {done.returncode} "
                               f"{done.stderr[-500:]}")
        return done.stdout

    def json(self, *words, **more):
        return json.loads(self.run(*words, "--json", **more))

    def rest(self):
        """Until every range has its replicas and no operator has run for three seconds."""
        until = time.monotonic() + REST_S
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 3:
            if time.monotonic() > until:
                raise RuntimeError(f"placement is not at rest after {REST_S} s")
            ranges = self.json("range", "list")["ranges"]
            is_whole = all(len(r["replicas"]) >= min(3, self.nodes) for r in ranges)
            if not is_whole or self.json("placement", "operators").get("running"):
                quiet_since = time.monotonic()
            time.sleep(0.3)

    def pids(self):
        status = json.loads(self.run("local", "status", "--dir", self.dir, "--json"))
        return [node["pid"] for node in status["nodes"]]

    def cpu_s(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
        return total

    def stats(self):
        """Figures of all stores, by store."""
        return [store["stats"] for store in self.json("cluster", "status")["stores"]]

    def log_bytes(self):
        return sum(stats["log.append_bytes"] for stats in self.stats()) / self.nodes

    def disk_bytes(self):
        """Of each node: what the files of log and engine take."""
        sizes = []
        for node in range(1, self.nodes + 1):
            total = 0
            for folder, _, names in os.walk(os.path.join(self.dir, f"node-{node}", "data")):
                for name in names:
                    try:
                        total += os.stat(os.path.join(folder, name)).st_blocks * 512
                    except FileNotFoundError:  # a file's end is no fault
                        pass
            sizes.append(total)
        return sizes


def rss_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) * 1024


# ---- ranges ----------------------------------------------------------------------------


def levels_of(keys):
    """In halves, halves of halves …: each level cuts ranges that an earlier one has made."""
    levels = []
    parts = [keys]
    while parts:
        levels.append([part[len(part) // 2] for part in parts])
        halves = [h for p in parts for h in (p[:len(p) // 2], p[len(p) // 2 + 1:])]
        parts = [h for h in halves if h]
    return levels


def split_all(c, keys):
    """Cut at all keys, by several at once."""
    def work(some):
        for at in range(0, len(some), SPLITS_AT_ONCE):
            c.run("range", "split", *some[at:at + SPLITS_AT_ONCE], timeout=600)

    with ThreadPoolExecutor(SPLITTERS) as pool:
        for level in levels_of(keys):
            list(pool.map(work, [level[i::SPLITTERS] for i in range(SPLITTERS)]))


# ---- loads ------------------------------------------------------------------------------


def fill(c, keys, value):
    """`bench get` puts all keys before it reads."""
    c.run("bench", "get", "--keys", str(keys), "--value-size", str(value), "--seconds", "1",
          timeout=3600)


def bench(c, op, seconds, clients, value, keys, more=(), warmup="1s"):
    """One closed loop, and what it cost the nodes."""
    cpu, log, disk, begin = c.cpu_s(), c.log_bytes(), disk_written(c.dir), time.monotonic()
    result = c.json("bench", op, "--clients", str(clients), "--value-size", str(value), "--keys",
                    str(keys), "--seconds", str(seconds), "--warmup", warmup, *more,
                    timeout=seconds + 300)
    ops = result["ops_in_all"]
    if result["errors"]:
        raise RuntimeError(f"bench {op}: {result['errors']} errors")
    took = time.monotonic() - begin
    disk = None if disk is None else (disk_written(c.dir) - disk) / took
    return {"ops": ops, "ops_per_sec": result["ops_per_sec"], "p50_us": result["p50_us"],
            "p99_us": result["p99_us"], "p999_us": result["p999_us"],
            "nodes_cpu_us_per_op": (c.cpu_s() - cpu) * 1e6 / ops,
            "log_bytes_per_s": (c.log_bytes() - log) / took, "disk_written_per_s": disk}


def medians(runs):
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]
            if runs[0][name] is not None}


# ---- the disk by itself -------------------------------------------------------------------


def disk_written(folder):
    """Bytes written so far by the disk under `folder`; None if that is no disk."""
    dev = os.stat(folder).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(dev)}:{os.minor(dev)}/stat", encoding="ascii") as f:
            return int(f.read().split()[6]) * 512
    except OSError:
        return None


def probe_file(folder, number):
    """A file that is on the disk already, so that a sync in it writes no metadata."""
    path = os.path.join(folder, f"probe-{number}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.unlink(path)
    for _ in range(PROBE_BYTES >> 20):
        os.write(fd, bytes(1 << 20))
    os.fdatasync(fd)
    return fd


def write_synced(fd):
    piece = os.urandom(1 << 20)
    for at in range(0, PROBE_BYTES, len(piece)):
        os.pwrite(fd, piece, at)
        os.fdatasync(fd)


def disk_bytes_per_s(folder, writers):
    """What each of so many writers gets, who write a MiB after the other and sync each."""
    files = [probe_file(folder, i) for i in range(writers)]
    try:
        begin = time.monotonic()
        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(write_synced, files))
        return PROBE_BYTES / (time.monotonic() - begin)
    finally:
        for fd in files:
            os.close(fd)
