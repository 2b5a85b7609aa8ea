#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many ranges on one cluster of three nodes on loopback: what a range costs that nobody uses.

    tests/perf/many_ranges.py --bin build/release/bin [--ranges 10000] [--dir DIR] [--keep]

Makes the ranges by splits, and measures when all of them sleep: CPU of each node at rest, memory
of a replica beyond the engine (the difference of RSS at a tenth of the ranges and at all of
them), how long a cold range takes for its first write, and how long a restart of one node and of
all takes until every range answers. Prints one line for each figure with its bound, and ends
with exit status 1 if one is missed. Talks to loopback only, and is over in 15 minutes.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from loopback import split_all

TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE_S = 900
CONF = """
memtable_bytes = 32MiB
block_cache_bytes = 32MiB
disk_low_bytes = 96MiB
disk_full_bytes = 64MiB
disk_reserve_bytes = 32MiB
"""


class Cluster:
    def __init__(self, args):
        self.bin = args.bin
        self.dir = args.dir or tempfile.mkdtemp(prefix="holdfast-ranges-")
        self.port = args.port
        self.endpoints = ",".join(f"127.0.0.1:{self.port + i}" for i in range(3))
        self.conf = os.path.join(self.dir, "test.conf")
        os.makedirs(self.dir, exist_ok=True)
        with open(self.conf, "w", encoding="utf-8") as f:
            f.write(CONF)

    def run(self, *args, timeout=120, check=True):
        env = dict(os.environ, HOLDFAST_ENDPOINTS=self.endpoints)
        done = subprocess.run([f"{self.bin}/holdfast", *args], capture_output=True, text=True,
                              timeout=timeout, env=env, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"holdfast {args[:4]}: {done.stdout[-300:]} {done.stderr[-600:]}")
        return done

    def local(self, verb, *args):
        return self.run("local", verb, *args, "--dir", self.dir)

    def up(self):
        self.local("up", "--nodes", "3", "--port-base", str(self.port), "--conf", self.conf)

    def pid(self, node):
        with open(os.path.join(self.dir, f"node-{node}", "pid"), encoding="utf-8") as f:
            return int(f.read().split()[0])

    def figures(self):
        """Of each store that answers, by its name."""
        done = self.run("cluster", "status", "--json", check=False)
        stores = json.loads(done.stdout or "{}").get("stores", [])
        return [dict(s["stats"], store_id=s.get("id", s.get("store_id")))
                for s in stores if s.get("stats")]


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def beyond_engine_kib(c):
    """RSS of each node without what its engine and the log's cache hold, by their own count."""
    ours = {f.get("store_id"): f for f in c.figures()}
    kib = []
    for node in (1, 2, 3):
        f = ours.get(node, {})
        held = sum(int(f.get(name, 0)) for name in
                   ("engine.memtable_bytes", "engine.cache_bytes", "log.cache_bytes"))
        kib.append(rss_kib(c.pid(node)) - held / 1024)
    return kib


def key_of(i):
    return f"k{i:06d}"


def wait_asleep(c, count, seconds):
    """Until all but range 1 sleep on every store; how many do on each."""
    until = time.monotonic() + seconds
    while True:
        asleep = [int(f.get("ranges.asleep", 0)) for f in c.figures()]
        if len(asleep) == 3 and min(asleep) >= count:
            return asleep
        if time.monotonic() > until:
            raise RuntimeError(f"not asleep in {seconds} s: {asleep} of {count}")
        time.sleep(1)


def cpu_at_rest(c, seconds):
    pids = [c.pid(i) for i in (1, 2, 3)]
    before = [cpu_s(p) for p in pids]
    time.sleep(seconds)
    return [100 * (cpu_s(p) - b) / seconds for p, b in zip(pids, before)]


class Report:
    def __init__(self):
        self.missed = 0

    def say(self, name, value, bound, unit):
        is_fine = value < bound
        self.missed += not is_fine
        print(f"{name:44} {value:10.2f} {unit:5} (bound {bound}) {'ok' if is_fine else 'MISSED'}",
              flush=True)


def first_writes(c, count, ranges):
    """Milliseconds of writes to ranges that sleep, by a client that knows where they are: each
    is written to once before, and sleeps again."""
    env = dict(os.environ, HOLDFAST_ENDPOINTS=c.endpoints)
    keys = [key_of((i * 7919) % ranges) + "x" for i in range(count)]
    shell = subprocess.Popen([f"{c.bin}/holdfast", "shell"], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True, env=env, bufsize=1)

    def put(key):
        begin = time.monotonic()
        shell.stdin.write(f"put {key} v\n")
        shell.stdin.flush()
        shell.stdout.readline()
        return 1000 * (time.monotonic() - begin)

    try:
        for key in keys:
            put(key)
        wait_asleep(c, ranges, 60)
        times = []
        for key in keys:
            times.append(put(key))
            time.sleep(0.1)
        return sorted(times)
    finally:
        shell.stdin.close()
        shell.wait(10)


def serves_all(c, ranges, sample):
    """Does each of a sample of ranges answer a write?"""
    for i in range(0, ranges, max(1, ranges // sample)):
        done = c.run("put", key_of(i) + "y", "v", "--timeout", "2s", check=False, timeout=10)
        if done.returncode != 0:
            return False
    return True


def until_serving(c, ranges, begin):
    while not serves_all(c, ranges, 50):
        if time.monotonic() - begin > 120:
            raise RuntimeError("not serving in 120 s")
    return time.monotonic() - begin


def measure(c, args, report):
    few = max(args.ranges // 10, 2)
    begin = time.monotonic()
    split_all(c, [key_of(i) for i in range(1, few)])
    print(f"{few} ranges after {time.monotonic() - begin:.0f} s", flush=True)
    wait_asleep(c, few, 120)
    time.sleep(5)
    rss_few = beyond_engine_kib(c)
    split_all(c, [key_of(i) for i in range(few, args.ranges)])
    print(f"{args.ranges} ranges after {time.monotonic() - begin:.0f} s", flush=True)
    wait_asleep(c, args.ranges, 240)
    time.sleep(5)
    rss_all = beyond_engine_kib(c)
    added = args.ranges - few
    for i in range(3):
        print(f"node {i + 1}: {rss_few[i]:.0f} KiB beyond the engine, then {rss_all[i]:.0f} KiB",
              flush=True)
    for i in range(3):
        report.say(f"memory of a replica asleep, node {i + 1}",
                   (rss_all[i] - rss_few[i]) / added, 4, "KiB")
    for i, percent in enumerate(cpu_at_rest(c, args.seconds)):
        report.say(f"CPU of a node at rest, node {i + 1}", percent, 2, "%")
    times = first_writes(c, 40, args.ranges)
    report.say("first write to a cold range, median", times[len(times) // 2], 10, "ms")
    report.say("first write to a cold range, most", times[-1], 10, "ms")
    begin = time.monotonic()
    c.local("kill", "2")
    c.up()
    report.say("one node killed and restarted, all serve", until_serving(c, args.ranges, begin),
               10, "s")
    wait_asleep(c, args.ranges, 240)
    begin = time.monotonic()
    c.local("kill", "all")
    c.up()
    report.say("all nodes killed and restarted, all serve", until_serving(c, args.ranges, begin),
               10, "s")
    wait_asleep(c, args.ranges, 240)
    print(f"all sleep again after {time.monotonic() - begin:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--ranges", type=int, default=10000)
    parser.add_argument("--dir")
    parser.add_argument("--port", type=int, default=22000)
    parser.add_argument("--seconds", type=int, default=20, help="of the measurement of CPU")
    parser.add_argument("--keep", action="store_true", help="leave nodes and folder as they are")
    args = parser.parse_args()
    c = Cluster(args)
    report = Report()
    try:
        c.up()
        for name, value in (("merge", "off"), ("balance", "off")):
            c.run("placement", "settings", name, value)
        measure(c, args, report)
    finally:
        if not args.keep:
            c.run("local", "kill", "all", "--dir", c.dir, check=False)
            shutil.rmtree(c.dir, ignore_errors=True)
    sys.exit(1 if report.missed else 0)


if __name__ == "__main__":
    main()
