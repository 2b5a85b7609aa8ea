#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts at a fixed rate for a long time, on a cluster of three nodes on loopback.

    tests/perf/steady.py pauses [--minutes 10] [--percent 50]
    tests/perf/steady.py long   [--minutes 60] [--percent 70]

First the capacity: puts a second of a closed loop of --clients clients, in the middle of --rounds
runs of 30 s (--capacity-seconds) on --keys keys that are there already. Then an open loop:
--percent of it are due each second, whatever the answers, and latency counts from when one was due.

pauses  p99.9 is at most 10 times p50, with a flush and a compaction on each node meanwhile.
long    done in the last sixth of the time is at least 0.95 of what was in the first; no node's
        memory (RSS) is more at its most in the last sixth than 1.1 times that in the second; no
        node's disk ever holds more than 1.5 times the live data plus budgets. Live data: all keys,
        and versions of the last 11 minutes, which readers may still ask for and which are at most
        what was put meanwhile; keys and values as given, without what a record costs on top.
        Budgets: the log's, with four segments, and of memtables, which wait for their flush.
        Capacity afterwards, in the same closed loop, is told beside the one before.

In both it is told how much of the time the machine itself stood still (a virtual one, held by
its host): that is in every latency.

In both no put may fail, and all that are due must have begun. A line for each figure with its
bound; --json FILE keeps the samples of all nodes, taken each --every seconds, a line each. Exit
status 1 if a bound is missed.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from loopback import CONF, KEY_BYTES, Cluster, Report, Stills, bench, fill, rss_bytes, say

MODES = {"pauses": (10, 50), "long": (60, 70)}  # minutes, percent
PAUSE_MOST = 10  # times p50
KEEP_LEAST = 0.95
MEMORY_MOST = 1.1
DISK_MOST = 1.5
HISTORY_S = 660  # ten minutes of versions, and the time until a compaction sees that they are over
SIXTHS = 6


def settings(c):
    """Bytes of the keys of the configuration that bound what a node holds beside its data."""
    out = subprocess.run([f"{c.bin}/holdfastd", "--config",
                          os.path.join(c.dir, "node-1", "holdfast.conf"), "--check-config"],
                         capture_output=True, text=True, check=True).stdout
    pairs = dict((part.strip() for part in line.split("=", 1))
                 for line in out.splitlines() if "=" in line)

    def number(key):
        text = pairs[key]
        for unit, scale in (("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)):
            if text.endswith(unit):
                return int(text[:-len(unit)]) * scale
        return int(text)

    return (number("log_budget_bytes") + 4 * number("log_segment_bytes") +
            (number("memtables_max") + 1) * number("memtable_bytes"))


def capacity(c, args):
    """Puts a second of a closed loop, and how many there were in all."""
    runs = [bench(c, "put", args.capacity_seconds, args.clients, args.value_size, args.keys,
                  ("--seed", str(number + 1))) for number in range(args.rounds)]
    rates = [one["ops_per_sec"] for one in runs]
    say("closed loop: " + ", ".join(f"{rate:,.0f}" for rate in rates) + " puts a second")
    return statistics.median(rates), sum(one["ops"] for one in runs)


class Samples:
    """Of all nodes, since the load began."""

    def __init__(self, c, args, out):
        self.c, self.args, self.out = c, args, out
        self.pids = c.pids()
        self.began = time.monotonic()
        self.rows = []

    def take(self):
        stats, disk = self.c.stats(), self.c.disk_bytes()
        row = {"seconds": time.monotonic() - self.began, "nodes": [
            {"rss": rss_bytes(pid), "disk": disk[i],
             "flushes": stats[i]["engine.flushes"], "compactions": stats[i]["engine.compactions"],
             "table_bytes": stats[i]["engine.table_bytes"],
             "stop_us": stats[i]["engine.stall_stop_us"]} for i, pid in enumerate(self.pids)]}
        self.rows.append(row)
        if self.out is not None:
            print(json.dumps(row), file=self.out, flush=True)

    def most(self, name, from_s, to_s):
        """Of each node, the most of `name` in this time; None if it was never looked at."""
        rows = [row for row in self.rows if from_s <= row["seconds"] < to_s]
        return [max(row["nodes"][i][name] for row in rows) for i in range(len(self.pids))] \
            if rows else None

    def grown(self, name):
        """Of the node where it grew least."""
        first, last = self.rows[0]["nodes"], self.rows[-1]["nodes"]
        return min(last[i][name] - first[i][name] for i in range(len(self.pids)))


def open_loop(c, args, rate, samples):
    """The bench's figures, and how many were done in each second."""
    command = [f"{c.bin}/holdfast", "bench", "put", "--json", "--progress", "--rate", str(rate),
               "--seconds", str(args.minutes * 60), "--warmup", "5s", "--value-size",
               str(args.value_size), "--keys", str(args.keys), "--seed", "1000"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as progress:
        child = subprocess.Popen(command, stdout=out, stderr=progress, env=c.env())
        try:
            until = time.monotonic() + args.minutes * 60 + 120
            while child.poll() is None:
                if time.monotonic() > until:
                    raise RuntimeError("bench does not end")
                samples.take()
                try:
                    child.wait(args.every)
                except subprocess.TimeoutExpired:
                    pass
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        samples.take()
        out.seek(0)
        progress.seek(0)
        lines = [line.split() for line in progress]
        seconds = [int(words[2]) for words in lines if words[1:2] == ["s"]]
        if child.returncode != 0:
            raise RuntimeError(f"bench: exit {child.returncode}: {lines[-3:]}")
        return json.load(out), seconds


def judge_all(report, result, rate):
    say(f"open loop: {rate:,} a second due, {result['ops_per_sec']:,.0f} done; p50 "
        f"{result['p50_us']} us, p99 {result['p99_us']}, p99.9 {result['p999_us']}, longest "
        f"{result['max_us']}; longest time without a success {result['longest_gap_ms']} ms")
    report.judge("puts that failed", result["errors"], 0)
    report.judge("puts that were due and never began", result["never_begun"], 0)


def judge_pauses(report, result, samples):
    report.judge("flushes meanwhile, of the node with fewest", samples.grown("flushes"), 1,
                 is_least=True)
    report.judge("compactions meanwhile, of the node with fewest", samples.grown("compactions"), 1,
                 is_least=True)
    report.judge("p99.9 of puts to their p50", result["p999_us"] / result["p50_us"], PAUSE_MOST)


def kept_bytes(args, earlier, seconds, until_s):
    """What must be on a node's disk `until_s` seconds after the load began."""
    since = max(0, int(until_s) - HISTORY_S)
    versions = sum(seconds[since:int(until_s)]) + (earlier if until_s < HISTORY_S else 0)
    return (args.keys + versions) * (KEY_BYTES + args.value_size)


def judge_long(report, args, seconds, samples, earlier, budgets):
    # The first seconds are the warm-up, in which what is done does not count.
    counted = seconds[6:]
    sixth = max(1, args.minutes * 60 // SIXTHS)
    first, last = sum(counted[:sixth]), sum(counted[-sixth:])
    report.judge("done in the last sixth to the first", last / first if first else None,
                 KEEP_LEAST, is_least=True)
    whole = args.minutes * 60
    early = samples.most("rss", whole / SIXTHS, 2 * whole / SIXTHS)
    late = samples.most("rss", whole * 5 / SIXTHS, whole + 60)
    for i in range(len(samples.pids)):
        report.judge(f"memory of node {i + 1}, last sixth to second ({late[i] >> 20} MiB)"
                     if early and late else f"memory of node {i + 1}",
                     late[i] / early[i] if early and late else None, MEMORY_MOST)
    for i in range(len(samples.pids)):
        shares = [max(0, row["nodes"][i]["disk"] - budgets) /
                  kept_bytes(args, earlier, seconds, row["seconds"]) for row in samples.rows]
        most = max(row["nodes"][i]["disk"] for row in samples.rows)
        report.judge(f"disk of node {i + 1} beyond budgets to live data "
                     f"({most / (1 << 30):.1f} GiB)", max(shares), DISK_MOST)


def run(args, out):
    report = Report()
    with Cluster(args, 3, args.conf) as c:
        budgets = settings(c)
        fill(c, args.keys, args.value_size)
        before, earlier = capacity(c, args)
        rate = max(1, int(before * args.percent / 100))
        samples = Samples(c, args, out)
        stills = Stills()
        result, seconds = open_loop(c, args, rate, samples)
        judge_all(report, result, rate)
        say(stills.end())
        if args.mode == "pauses":
            judge_pauses(report, result, samples)
        else:
            judge_long(report, args, seconds, samples, earlier, budgets)
            after, _ = capacity(c, args)
            say(f"closed loop: {before:,.0f} puts a second before, {after:,.0f} after: "
                f"{after / before:.2f}")
    return report.status()


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--bin", default="build/release/bin", help="folder with holdfast")
    parser.add_argument("--minutes", type=int, help="of the open loop (10, 60)")
    parser.add_argument("--percent", type=int, help="of capacity (50, 70)")
    parser.add_argument("--clients", type=int, default=64, help="of the closed loops (64)")
    parser.add_argument("--rounds", type=int, default=3, help="closed loops (3)")
    parser.add_argument("--capacity-seconds", type=int, default=30, help="of each (30)")
    parser.add_argument("--value-size", type=int, default=100, help="bytes of a value (100)")
    parser.add_argument("--keys", type=int, default=1000000, help="different keys (1000000)")
    parser.add_argument("--every", type=int, default=5, help="seconds between samples (5)")
    parser.add_argument("--conf", help="file with keys of a configuration; default: defaults")
    parser.add_argument("--port", type=int, default=23300, help="3 ports from here on (23300)")
    parser.add_argument("--dir", default="/var/tmp", help="where data goes (/var/tmp)")
    parser.add_argument("--json", metavar="FILE", help="where all samples go")
    args = parser.parse_args()
    minutes, percent = MODES[args.mode]
    args.minutes = minutes if args.minutes is None else args.minutes
    args.percent = percent if args.percent is None else args.percent
    if not (1 <= args.minutes <= 1440 and 1 <= args.percent <= 100 and
            min(args.clients, args.rounds, args.capacity_seconds, args.keys, args.every) >= 1):
        parser.error("minutes 1 to 1440, percent 1 to 100, all others from 1 on")
    args.bin = os.path.abspath(args.bin)
    return args


def main():
    args = parse()
    if args.conf is None:
        args.conf = CONF
    else:
        with open(args.conf, encoding="utf-8") as f:
            args.conf = f.read()
    if args.json is None:
        return run(args, None)
    with open(args.json, "w", encoding="utf-8") as out:
        return run(args, out)


if __name__ == "__main__":
    sys.exit(main())
