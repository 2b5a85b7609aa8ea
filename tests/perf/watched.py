#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A watcher over very many changes while ranges are split and leaders move: real processes on
loopback.

    tests/perf/watched.py --bin build/release/bin [--changes 10000000] [--splits 100]
                          [--transfers 100] [--port 5201] [--dir DIR] [--seconds 3600]

`watched` puts and watches, and ends with an error at the first change that is missing, repeated or
out of order. Meanwhile ranges are cut at its keys and leadership is handed on, evenly over the
run (which must be long enough for that: a million changes take half a minute, as many splits and
transfers a minute or two). Printed are the rates, how many splits and transfers came through, and the memory of the
watcher and of each node at a tenth of the run and at its end. Exit status 1: a change was told
wrongly, fewer splits or transfers than wanted came through, or the watcher's memory grew by more
than 64 MiB.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import shutil
import time

KEYS = 500
GROWTH_KIB_MAX = 64 << 10


class Run:
    def __init__(self, args):
        self.args = args
        self.dir = args.dir or tempfile.mkdtemp(prefix="holdfast-watched-")
        self.endpoints = ",".join(f"127.0.0.1:{args.port + i}" for i in range(3))
        self.rng = random.Random(1)
        self.splits = self.transfers = 0
        self.places = list(range(KEYS // (args.splits + 1), KEYS,
                                 max(KEYS // (args.splits + 1), 1)))[:args.splits]
        self.rng.shuffle(self.places)

    def holdfast(self, *args, check=False):
        env = dict(os.environ, HOLDFAST_ENDPOINTS=self.endpoints)
        done = subprocess.run([f"{self.args.bin}/holdfast", *args], capture_output=True, text=True,
                              timeout=120, env=env, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"holdfast {args}: {done.stdout[-300:]} {done.stderr[-600:]}")
        return done

    def local(self, verb, *args):
        return self.holdfast("local", verb, *args, "--dir", self.dir, check=True)

    def nodes_kib(self):
        nodes = json.loads(self.local("status", "--json").stdout)["nodes"]
        sizes = []
        for node in nodes:
            with open(f"/proc/{node['pid']}/status", encoding="utf-8") as f:
                sizes.append(int(f.read().split("VmRSS:")[1].split()[0]))
        return sizes

    def split(self):
        if self.splits == self.args.splits:
            return
        done = self.holdfast("range", "split", f"watched:{self.places[self.splits]:06}")
        self.splits += done.returncode == 0

    def transfer(self):
        if self.transfers == self.args.transfers:
            return
        ranges = json.loads(self.holdfast("range", "list", "--json").stdout or "{}")
        ranges = ranges.get("ranges", ranges) if isinstance(ranges, dict) else ranges
        if not ranges:
            return
        at = self.rng.choice(ranges)
        done = self.holdfast("range", "transfer-leader", "--range",
                             str(at.get("range_id", at.get("range", at.get("id")))), "--to",
                             str(self.rng.randint(1, 3)))
        self.transfers += done.returncode == 0

    def follow(self, child):
        """Split and transfer, evenly over the run; the watcher's last line, and the memory at a
        tenth of it."""
        last, early, until = {}, None, time.monotonic() + self.args.seconds
        for line in child.stdout:
            words = line.split()
            last = {words[i]: int(words[i + 1]) for i in range(0, len(words), 2)}
            share = last["seen"] / self.args.changes
            if early is None and share >= 0.1:
                early = (last["kib"], self.nodes_kib())
            while child.poll() is None and (
                    self.splits < self.args.splits * min(share * 1.25, 1) or
                    self.transfers < self.args.transfers * min(share * 1.25, 1)):
                before = (self.splits, self.transfers)
                if self.splits <= self.transfers:
                    self.split()
                self.transfer()
                if before == (self.splits, self.transfers):
                    break  # refused: in the next second again
            if time.monotonic() > until:
                child.terminate()
                raise RuntimeError(f"not done in {self.args.seconds} s: {last}")
        return last, early

    def run(self):
        self.local("up", "--nodes", "3", "--port-base", str(self.args.port))
        with subprocess.Popen([f"{self.args.bin}/watched", self.endpoints, "--changes",
                               str(self.args.changes), "--keys", str(KEYS)],
                              stdout=subprocess.PIPE, text=True) as child:
            last, early = self.follow(child)
        if child.returncode != 0 or early is None:
            print("the watcher has failed", last)
            return 1
        print(f"{last['seen']} changes told, each once and in order, in {last['ms'] / 1000:.0f} s "
              f"({last['seen'] * 1000 // last['ms']}/s); {self.splits} splits, {self.transfers} "
              f"transfers; puts settled by asking {last['resolved']}, fenced {last['fenced']}, "
              f"refused and sent anew {last['again']}")
        print(f"memory in KiB at a tenth and at the end: watcher {early[0]}, {last['kib']}; nodes "
              f"{early[1]}, {self.nodes_kib()}")
        return int(self.splits < self.args.splits or self.transfers < self.args.transfers or
                   last["kib"] > early[0] + GROWTH_KIB_MAX)

    def end(self):
        self.holdfast("local", "kill", "all", "--dir", self.dir)
        if self.args.dir is None:
            shutil.rmtree(self.dir, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--changes", type=int, default=10_000_000)
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--transfers", type=int, default=100)
    parser.add_argument("--port", type=int, default=5201)
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--dir")
    run = Run(parser.parse_args())
    try:
        return run.run()
    finally:
        run.end()


if __name__ == "__main__":
    sys.exit(main())
