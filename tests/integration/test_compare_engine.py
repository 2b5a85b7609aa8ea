#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/compare-engine in small: every workload runs on Holdfast and on whoever else is installed
here, each ratio is there, and what makes no sense is refused. No figure is judged."""
import json
import os
import shutil
import subprocess

from cluster import BIN, check, main

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMPARE = os.path.join(ROOT, "tools", "compare-engine")
WORKLOADS = {"fillseq", "fillrandom", "overwrite", "readrandom", "readmissing", "seekrandom",
             "readseq"}


def run(*flags):
    return subprocess.run([COMPARE, "--bin", BIN, *flags], capture_output=True, text=True,
                          timeout=240, check=False)


def others():
    found = ["rocksdb"] if shutil.which("db_bench") else []
    return found + ["leveldb"] * os.path.exists("/usr/include/leveldb/c.h")


def test_all_workloads():
    there = others()
    print("beside Holdfast:", ", ".join(there) or "nobody is installed")
    done = run("--records", "2000", "--rounds", "1", "--logs", "none,synced", "--json",
               "--engines", ",".join(["holdfast", *there]))
    check(done.returncode == 0, done.stderr)
    told = json.loads(done.stdout)
    check(WORKLOADS <= set(told["ops_per_sec"]), told["ops_per_sec"])
    check("fillrandom_synced" in told["ops_per_sec"], told["ops_per_sec"])
    check(all(ops["holdfast"] > 0 for ops in told["ops_per_sec"].values()), told["ops_per_sec"])
    if "rocksdb" in there:
        check(WORKLOADS <= set(told["ratios"]), told["ratios"])
    if "leveldb" in there:  # which always has a log
        check({"readrandom", "fillrandom_synced"} <= set(told["ratios_leveldb"]),
              told["ratios_leveldb"])


def test_refusals():
    for flags, word in ((["--records", "5"], "1000 records"), (["--engines", "x"], "'x'"),
                        (["--engines", "rocksdb"], "without holdfast"),
                        (["--logs", "often"], "'often'"), (["--workloads", "readseq"], "fillseq")):
        done = run(*flags)
        check(done.returncode == 2 and word in done.stderr, flags, done.returncode, done.stderr)
    done = subprocess.run([COMPARE, "--bin", "/nowhere", "--engines", "holdfast"], check=False,
                          capture_output=True, text=True, timeout=60)
    check(done.returncode == 1 and "/nowhere/" in done.stderr, done.stderr)


if __name__ == "__main__":
    main(test_all_workloads, test_refusals)
