#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A flood on a cluster of which each node has a small share of a core, so that clients on the same
machine can ask for ten times what it can do (needs root, for a cgroup of each node).

    sudo tests/perf/flooded.py --bin build/release/bin [--share 4] [--rounds 3] [--port 5301]
                               [--dir DIR] [-- FLAGS OF flood]

The share is in percent of a core, given in periods of 30 ms. Each round is one of `flood`, on a
cluster of its own, with --handles 4 --timeout-ms 2000 --keep-min 90 unless other flags are given.
Exit status 1: a round was not as flood wants it.
"""
import argparse
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

PERIOD_US = 30000
FLAGS = ["--handles", "4", "--timeout-ms", "2000", "--keep-min", "90"]


class Share:
    """A cgroup (of version 1 or 2) with a share of a core."""

    def __init__(self, name, percent):
        quota = PERIOD_US * percent // 100
        self.is_v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        self.path = f"/sys/fs/cgroup/{'' if self.is_v2 else 'cpu/'}{name}"
        if self.is_v2:
            self.write("/sys/fs/cgroup/cgroup.subtree_control", "+cpu")
        os.mkdir(self.path)
        if self.is_v2:
            self.write(f"{self.path}/cpu.max", f"{quota} {PERIOD_US}")
        else:
            self.write(f"{self.path}/cpu.cfs_period_us", str(PERIOD_US))
            self.write(f"{self.path}/cpu.cfs_quota_us", str(quota))

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="ascii") as f:
            f.write(text)

    def take(self, pid):
        self.write(f"{self.path}/cgroup.procs", str(pid))

    def free(self):
        os.rmdir(self.path)


def run_round(args, folder):
    def local(verb, *more):
        return subprocess.run([f"{args.bin}/holdfast", "local", verb, *more, "--dir", folder],
                              capture_output=True, text=True, check=True, timeout=120).stdout

    shares = []
    local("up", "--nodes", "3", "--port-base", str(args.port))
    try:
        status = json.loads(local("status", "--json"))
        for node in status["nodes"]:
            shares.append(Share(f"flooded-{os.getpid()}-{node['node']}", args.share))
            shares[-1].take(node["pid"])
        leader = status["nodes"][status["leader"] - 1]["pid"]
        done = subprocess.run([f"{args.bin}/flood", status["endpoints"], "--pid", str(leader),
                               *(args.flags or FLAGS)], check=False, timeout=600)
        return done.returncode == 0
    finally:
        local("kill", "all")
        for share in shares:
            share.free()
        for path in glob.glob(f"{folder}/*"):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--share", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=5301)
    parser.add_argument("--dir")
    parser.add_argument("flags", nargs="*")
    args = parser.parse_args()
    folder = args.dir or tempfile.mkdtemp(prefix="holdfast-flooded-")
    fine = [run_round(args, folder) for _ in range(args.rounds)]
    print(f"{sum(fine)} of {len(fine)} rounds were as wanted")
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
