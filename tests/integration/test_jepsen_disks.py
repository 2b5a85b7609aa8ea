#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fault tests, in short: the nemeses that are not in `all`, because they need disks of their own
or spoil what is on one: full and rot."""
import json
import os
import subprocess
import sys
import tempfile

from cluster import BIN, SKIPPED, check, main, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "jepsen"))
from harness import needs, net  # noqa: E402  pylint: disable=wrong-import-position

RUN = os.path.join(ROOT, "jepsen", "run")


def run(out, *argv):
    done = subprocess.run([RUN, "--bin", BIN, "--nodes", "3", "--rate", "100", "--floor-ok", "3",
                           "--out", out, "--quiet", *argv], capture_output=True, text=True,
                          timeout=200, check=False)
    print("  ", done.stdout.strip())
    check(done.returncode == 0, "exit", done.returncode, done.stdout, done.stderr)
    with open(f"{out}/result.json", encoding="utf-8") as f:
        return json.load(f)


def disks(out):
    """The mounts of a run."""
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return [line for line in f if f" {out}/" in line]


def test_full():
    """Disks that are small and file systems of their own; gone afterwards, also after a run that
    was killed, but never while one is at work."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as out:
        result = run(out, "--nemesis", "full", "--time", "15", "--seed", "1")
        check({f["kind"] for f in result["timeline"]} == {"full"}, result["timeline"])
        check(not disks(out), disks(out))
        with subprocess.Popen([RUN, "--bin", BIN, "--nemesis", "full", "--time", "60", "--rate",
                               "50", "--nodes", "3", "--out", out], stdout=subprocess.PIPE,
                              text=True) as process:
            wait_until("it works", 60, lambda: "operations" in process.stdout.readline())
            check(len(disks(out)) == 3, disks(out))
            net.clean_mounts()
            check(len(disks(out)) == 3, "disks of a run at work are taken")
            process.kill()
        subprocess.run([RUN, "--clean"], check=True, capture_output=True, timeout=60)
        check(not disks(out), disks(out))
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
        check(f"hj{process.pid}-" not in left.stdout, left.stdout)


def test_rot():
    """Files of one node are spoiled, and it may end itself as it finds out; no other may."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as out:
        result = run(out, "--workload", "set", "--nemesis", "rot", "--time", "20", "--seed", "2")
        nodes = {name for f in result["timeline"] for name in f["nodes"]}
        check(len(nodes) == 1, nodes)
        spoiled = [f["text"] for f in result["timeline"] if "bytes" in f["text"]]
        check(spoiled, result["timeline"])
        check({e["node"] for e in result["exits"]} <= nodes, result["exits"])


if __name__ == "__main__":
    missing = needs.missing(["full", "rot"], BIN, [])
    if missing:
        print("skipped: fault tests in network namespaces cannot run here:", *missing)
        sys.exit(SKIPPED)
    main(test_full, test_rot)
