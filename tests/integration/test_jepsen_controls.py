#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Controls of the fault tests, in short: the same harness finds etcd valid, and what answers
reads from members that may be behind invalid. Of systems that are not installed nothing is
tried, and said so."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

from cluster import BIN, SKIPPED, check, main

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "jepsen"))
from harness import main as main_, needs  # noqa: E402  pylint: disable=wrong-import-position


def run(folder, *argv):
    done = subprocess.run([os.path.join(ROOT, "jepsen", "run"), "--bin", BIN, "--quiet", "--rate",
                           "150", "--floor-ok", "3", "--floor-share", "0.3", "--nodes", "3",
                           "--out", folder, *argv],
                          capture_output=True, text=True, timeout=150, check=False)
    print("  ", done.stdout.strip().splitlines()[:1])
    check(done.returncode != 2, done.stdout, done.stderr)
    with open(f"{folder}/result.json", encoding="utf-8") as f:
        return done.returncode, json.load(f)


def is_there(program):
    if not shutil.which(program):
        print(f"   not tried: no {program}")
    return shutil.which(program) is not None


def test_etcd_is_valid():
    """Under faults, with versions, deletes, conditions; and as transactions."""
    if not is_there("etcd"):
        return
    for workload, nemeses in (("register", "kill,partition"), ("append", "pause")):
        with tempfile.TemporaryDirectory(prefix="holdfast-control-") as folder:
            status, result = run(folder, "--system", "etcd", "--workload", workload, "--nemesis",
                                 nemeses, "--time", "10", "--seed", "1")
            check(status == 0, result["why"])
            check(result["timeline"], "no fault came")
            least = {"register": {"read", "write", "cas", "delete"}, "append": {"txn"}}[workload]
            for f in least:
                check(result["operations"][f]["ok"] > 0, f, "never succeeded")


def found(system, program, model):
    """A few seeds, until stale reads are seen."""
    if not is_there(program):
        return
    for seed in range(1, 6):
        with tempfile.TemporaryDirectory(prefix="holdfast-control-") as folder:
            status, result = run(folder, "--system", system, "--workload", "register", "--nemesis",
                                 "partition", "--time", "8", "--seed", str(seed), "--expect",
                                 f"{model}:not-linearizable")
            if status == 0:
                check(result["checks"][model]["verdict"] == "invalid", result["why"])
                check("is not linearizable" in result["checks"][model]["said"], result["checks"])
                with open(f"{folder}/report.html", encoding="utf-8") as f:
                    check('stroke="#c00"' in f.read(), "the picture marks no operation")
                return
    check(False, system, "was never found invalid")


def test_old_reads_of_etcd():
    found("etcd-serializable", "etcd", "register")


def test_old_reads_of_redis():
    found("redis-replicas", "redis-server", "plain-register")


def test_expected():
    lost, stuck = ["strict-set:stale", "strict-set:lost"], ["stuck"]
    for verdict, causes, expected, want in (
            ("valid", [], "valid", 0), ("invalid", lost, "valid", 1), ("valid", [], "invalid", 1),
            ("invalid", stuck, "invalid", 0), ("void", [], "invalid", 2),
            ("unknown", [], "valid", 2), ("unknown", [], "strict-set", 2),
            ("invalid", lost, "strict-set:lost", 0), ("invalid", lost, "strict-set", 0),
            ("invalid", lost, "strict-set:twice", 1), ("invalid", lost, "stuck", 1),
            ("invalid", stuck, "strict-set:lost,stuck", 0), ("invalid", stuck, "strict-set", 1),
            ("valid", [], "strict-set:lost", 1)):
        got = main_.status_of({"verdict": verdict, "causes": causes}, expected)
        check(got == want, verdict, causes, expected, got)


if __name__ == "__main__":
    missing = needs.missing(["kill", "partition"], BIN, [])
    if missing:
        print("skipped: fault tests in network namespaces cannot run here:", *missing)
        sys.exit(SKIPPED)
    main(test_expected, test_etcd_is_valid, test_old_reads_of_etcd, test_old_reads_of_redis)
    if not shutil.which("etcd") and not shutil.which("redis-server"):
        print("skipped: no other system to judge here: neither etcd nor redis-server")
        sys.exit(SKIPPED)
