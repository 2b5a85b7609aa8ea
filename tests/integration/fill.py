#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write many bytes to a cluster of three and watch what each node takes of memory and disk.

    HOLDFAST_BIN=build/release/bin tests/integration/fill.py --gib 5 --value-size 10240
    … --conf small        small memtables, caches and queues instead of the defaults
    … --conf FILE         keys of a configuration file
    … --json FILE         all samples, one a line

Every second it samples each node: resident memory, the bytes of the engine's and the log's
files, and the engine's own figures. At the end it prints a table and judges:
 - memory never exceeded the formula of docs/OPERATIONS.md plus what a process has anyway;
 - the log's files never exceeded their budget by more than what may be in flight;
 - once compaction is quiet, tables take little more than the live data and the versions of
   the last ten minutes, which readers may still ask for;
 - no write failed.
Exit 1 when one of them does not hold. Not part of tools/test, which runs the same at a
smaller size (test_bounds.py).
"""
import argparse
import json
import math
import os
import subprocess
import sys
import time

from cluster import BIN, Cluster, check

MIB = 1 << 20
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "": 1}
# For a small machine. The log budget bounds how far a member may fall behind before it needs
# a snapshot of everything, so it is not small.
SMALL = """
memtable_bytes = 8MiB
table_bytes = 4MiB
level_base_bytes = 32MiB
block_cache_bytes = 8MiB
log_segment_bytes = 8MiB
log_budget_bytes = 256MiB
log_cache_bytes = 8MiB
requests_bytes_max = 80MiB
"""
MEMORY_KEYS = ("memtable_bytes", "memtables_max", "block_cache_bytes", "log_cache_bytes",
               "requests_bytes_max")

# What a process has beside its bounds: program and libraries, stacks of its threads, buffers
# of connections, the block that is being built.
BASE_BYTES = 48 * MIB
# Free space that the allocator has not given back.
SLACK = 1.10
# Of what must be kept: half-empty levels, files that wait for their last reader.
DISK_FACTOR = 1.2
HISTORY_SECONDS = 600 + 60
SLICE_SECONDS = 10
SETTLE_SECONDS = 180


def number(text):
    """A number of the configuration: 64MiB, 4."""
    for unit, scale in UNITS.items():
        if unit and text.endswith(unit):
            return int(text[:-len(unit)]) * scale
    return int(text)


def settings(c):
    """What is in effect on node 1, as a dict of texts."""
    out = subprocess.run([f"{BIN}/holdfastd", "--config", c.path(1, "holdfast.conf"),
                          "--check-config"], capture_output=True, text=True, check=True).stdout
    pairs = (line.split("=", 1) for line in out.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def memory_bound(conf):
    """The formula of docs/OPERATIONS.md, bytes."""
    memtable, frozen, blocks, log, requests = (number(conf[key]) for key in MEMORY_KEYS)
    return (frozen + 1) * memtable + blocks + log + requests


def memory_limit(conf):
    """What a process may take in all, bytes."""
    return int(memory_bound(conf) * SLACK) + BASE_BYTES


def status_kib(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name + ":"))


def folder_bytes(path):
    total = 0
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_blocks * 512
                except FileNotFoundError:
                    pass
    except FileNotFoundError:
        pass
    return total


def stats_of(c):
    done = c.run("cluster", "status", "--json", "--timeout", "5s")
    try:
        return {s["store_id"]: s["stats"] for s in json.loads(done.stdout)["stores"] if s["up"]}
    except (ValueError, KeyError):
        return {}


class Watch:
    """Samples of all nodes, and their maxima."""

    def __init__(self, c, out):
        self.c = c
        self.out = out
        self.began = time.monotonic()
        self.pids = [n["pid"] for n in c.local_status()["nodes"]]
        self.most = [dict(rss=0, log=0, engine=0) for _ in self.pids]
        self.progress = []  # (seconds, bytes written until then)

    def written_lately(self, seconds):
        now = time.monotonic()
        before = [done for when, done in self.progress if when < now - seconds]
        return self.progress[-1][1] - (before[-1] if before else 0)

    def sample(self, written):
        self.progress.append((time.monotonic(), written))
        stats = stats_of(self.c)
        for i, pid in enumerate(self.pids, 1):
            row = {
                "seconds": round(time.monotonic() - self.began, 1),
                "node": i,
                "written": written,
                "rss": status_kib(pid, "VmRSS") * 1024,
                "log": folder_bytes(self.c.path(i, "data/log")),
                "engine": folder_bytes(self.c.path(i, "data/engine")),
            }
            for key, value in stats.get(i, {}).items():
                if key.split(".")[0] in ("engine", "log", "net", "queue") or key == "memory_bytes":
                    row[key] = value
            most = self.most[i - 1]
            for key in most:
                most[key] = max(most[key], row[key])
            if self.out is not None:
                print(json.dumps(row), file=self.out, flush=True)
        return stats


def start_bench(c, args, seed, keys):
    return subprocess.Popen(
        [f"{BIN}/holdfast", "bench", "put", "--endpoints", c.endpoints, "--clients",
         str(args.clients), "--seconds", str(SLICE_SECONDS), "--value-size", str(args.value_size),
         "--keys", str(keys), "--seed", str(seed), "--timeout", "60s", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fill(c, args, watch):
    """Put until so many bytes are in: (bytes, errors, longest gap in ms)."""
    goal = int(args.gib * (1 << 30))
    check(goal > 0 and args.clients > 0, "nothing to write")
    keys = max(1, goal // (args.value_size + 18))
    written = errors = gap = 0
    for seed in range(1, 1 << 20):
        bench = start_bench(c, args, seed * 100000, keys)
        while bench.poll() is None:
            watch.sample(written)
            time.sleep(1)
        out, err = bench.communicate()
        check(bench.returncode == 0, "bench:", out, err[-1000:])
        figures = json.loads(out)
        # each client's last put ends after the time is over, and is not counted
        written += (figures["ops"] + args.clients) * (args.value_size + 18)
        errors += figures["errors"]
        gap = max(gap, figures["longest_gap_ms"])
        if args.verbose:
            print(f"   {watch_line(watch, written, figures)}", flush=True)
        if written >= goal:
            return written, errors, gap
    return written, errors, gap


def watch_line(watch, written, figures):
    nodes = "  ".join(f"{m['rss'] // MIB:5} {m['log'] // MIB:6} {m['engine'] // MIB:6}"
                      for m in watch.most)
    return (f"{time.monotonic() - watch.began:6.0f} s {written // MIB:6} MiB "
            f"{figures['ops_per_sec']:8.0f}/s p99 {figures['p99_us'] / 1000:7.1f} ms  "
            f"gap {figures['longest_gap_ms']:5} ms  most MiB (memory log engine): {nodes}")


def settle(c, watch, written):
    """Wait until flushes, compactions and snapshots of all nodes have come to rest."""
    before = None
    until = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < until:
        stats = watch.sample(written)
        now = [(s["engine.flushes"], s["engine.compactions"], s["engine.table_bytes"])
               for s in stats.values()]
        # what a snapshot has brought so far is no table yet
        now += [folder_bytes(c.path(i, "data/engine")) for i in range(1, c.nodes + 1)]
        if len(stats) == c.nodes and now == before:
            return
        before = now
        time.sleep(5)


def kept_bytes(args, watch, written):
    """What tables must hold: puts draw evenly from the keys that make up the goal (a fast
    machine writes more than that), and what was overwritten in the time that history is
    kept."""
    goal = args.gib * (1 << 30)
    live = goal * (1 - math.exp(-written / goal))
    return int(live + (written - live) * watch.written_lately(HISTORY_SECONDS) / written)


def judge(c, args, watch, bound, log_bound, written):
    kept = kept_bytes(args, watch, written)
    for i, most in enumerate(watch.most, 1):
        peak = status_kib(watch.pids[i - 1], "VmHWM") * 1024
        rest = folder_bytes(c.path(i, "data/engine"))
        print(f"   node {i}: memory {peak // MIB} MiB at most, "
              f"{status_kib(watch.pids[i - 1], 'VmRSS') // 1024} at the end; log "
              f"{most['log'] // MIB} MiB at most; engine {most['engine'] // MIB} MiB at most, "
              f"{rest // MIB} at rest, {rest / kept:.2f} × what must be kept", flush=True)
        check(peak <= bound, "node", i, "took", peak // MIB, "MiB, limit", bound // MIB)
        check(most["log"] <= log_bound, "log of node", i, most["log"] // MIB, "MiB")
        check(rest <= kept * DISK_FACTOR + 64 * MIB, "tables of node", i, rest // MIB, "MiB")


def run(args, conf):
    out = open(args.json, "w", encoding="utf-8") if args.json else None
    with Cluster(conf=conf, folder=args.dir) as c:
        c.leader()
        values = settings(c)
        bound = memory_limit(values)
        # over the budget by what waits for its flush, and by spare segments
        log_bound = (number(values["log_budget_bytes"]) + 4 * number(values["log_segment_bytes"]) +
                     (number(values["memtables_max"]) + 1) * number(values["memtable_bytes"]))
        print(f"   formula {memory_bound(values) // MIB} MiB, limit {bound // MIB} MiB; "
              f"log limit {log_bound // MIB} MiB", flush=True)
        watch = Watch(c, out)
        written, errors, gap = fill(c, args, watch)
        settle(c, watch, written)
        print(f"   {written // MIB} MiB written, {errors} errors, longest gap {gap} ms")
        judge(c, args, watch, bound, log_bound, written)
        check(errors == 0, errors, "writes failed")
    if out is not None:
        out.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=5)
    parser.add_argument("--value-size", type=int, default=10240)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--conf", default="default", help="default, small, or a file")
    parser.add_argument("--dir", help="folder of the cluster; default: a new one, removed")
    parser.add_argument("--json", help="file for all samples")
    args = parser.parse_args(namespace=argparse.Namespace(verbose=True))
    conf = {"default": "", "small": SMALL}.get(args.conf)
    if conf is None:
        with open(args.conf, encoding="utf-8") as f:
            conf = f.read()
    run(args, conf)


if __name__ == "__main__":
    try:
        main()
    except AssertionError as failure:
        sys.exit(f"FAILED: {failure}")
