#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory stays inside its configured bounds, and one client's greed is its own harm."""
import base64
import json
import random
import subprocess

import fill
from cluster import BIN, SMALL, Cluster, check, main

TIGHT = SMALL + """
requests_bytes_max = 32MiB
client_queue_bytes = 4MiB
client_stall = 2s
"""

# Sanitizers keep freed memory (256 MiB of it) and shadows of all.
SANITIZED_KIB = 1200 * 1024


def peak_kib(c, i):
    pid = c.local_status()["nodes"][i - 1]["pid"]
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def is_sanitized():
    with open(f"{BIN}/holdfastd", "rb") as f:
        return b"__asan_init" in f.read()


def limit_kib(c):
    """The formula of docs/OPERATIONS.md and what a process has anyway."""
    return SANITIZED_KIB if is_sanitized() else fill.memory_limit(fill.settings(c)) // 1024


def test_memory():
    with Cluster(conf=TIGHT) as c:
        limit = limit_kib(c)
        for seed in range(3):
            c.ok("bench", "put", "--seconds", "4", "--clients", "64", "--value-size", "64KiB",
                 "--keys", "2000", "--seed", str(seed), "--timeout", "20s", timeout=120)
        c.ok("bench", "scan", "--seconds", "2", "--clients", "8", "--no-load", timeout=120)
        for i in (1, 2, 3):
            peak = peak_kib(c, i)
            print(f"   node {i}: {peak // 1024} MiB at most")
            check(peak < limit, "node", i, "took", peak, "KiB, limit", limit)


def test_client_that_never_reads():
    with Cluster(conf=TIGHT) as c:
        limit = limit_kib(c)
        c.ok("put", "big", stdin="x" * (16 << 10))
        leader = c.leader()
        torture = c.torture(seconds=8, clients=16, reads=50)
        hog = subprocess.run([f"{BIN}/garbage", c.address(leader), "--hog", "big"],
                             capture_output=True, text=True, timeout=90, check=False)
        check(hog.returncode == 0, "it was never closed:", hog.stdout)
        print("  ", json.loads(hog.stdout))
        figures = torture.result()
        print("  ", figures)
        check(figures["refused"] + figures["undetermined"] == 0, "others noticed:", figures)
        torture.verify()
        check(peak_kib(c, leader) < limit, "memory:", peak_kib(c, leader), "KiB")
        check("reason" in c.log(leader), "no reason in the log")


def test_value_longer_than_the_queue():
    """What can be written can be read, however few bytes of answers may wait for a client."""
    value = base64.b64encode(random.Random(1).randbytes(6_000_000)).decode()  # not compressible
    with Cluster(nodes=1, conf=TIGHT.replace("client_queue_bytes = 4MiB",
                                             "client_queue_bytes = 64KiB")) as c:
        c.ok("put", "big", stdin=value)
        for _ in range(3):
            check(c.ok("get", "big").rstrip("\n") == value, "another value")
        check("too many replies" not in c.log(1), "closed for its own answer")


if __name__ == "__main__":
    main(test_memory, test_client_that_never_reads, test_value_longer_than_the_queue)
