#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""100,000 random, truncated and mutated frames: no crash, no leak, no wedge."""
import json
import os
import subprocess

from cluster import BIN, SMALL, Cluster, check, main, wait_until

FRAMES = 100_000


def usage_of(c, i):
    """(descriptors, resident KiB) of node i."""
    pid = c.local_status()["nodes"][i - 1]["pid"]
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        rss = next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
    return len(os.listdir(f"/proc/{pid}/fd")), rss


def test_garbage():
    secret = "/tmp/holdfast-test-secret"
    with open(secret, "w", encoding="ascii") as f:
        f.write("a secret for the test of garbage\n")
    os.chmod(secret, 0o600)
    with Cluster(conf=SMALL + f"cluster_secret_file = {secret}\n") as c:
        c.ok("put", "k", "before")
        pids = [n["pid"] for n in c.local_status()["nodes"]]
        before = {i: usage_of(c, i) for i in (1, 2, 3)}
        running = [subprocess.Popen([f"{BIN}/garbage", c.address(i), "--frames", str(FRAMES // 3),
                                     "--seed", str(i)], stdout=subprocess.PIPE, text=True)
                   for i in (1, 2, 3)]
        for process in running:
            out, _ = process.communicate(timeout=300)
            check(process.returncode == 0, "nobody answers any more:", out)
            figures = json.loads(out)
            print("  ", figures)
            check(figures["closed"] > 0, "nothing of all that was refused?")
        check([n["pid"] for n in c.local_status()["nodes"]] == pids, "a node died")
        check(c.ok("get", "k", "--timeout", "20s") == "before", "the value stands")
        c.ok("put", "k", "after", "--timeout", "20s")
        for i in (1, 2, 3):
            check("reason=" in c.log(i) or "refused" in c.log(i) or "closed" in c.log(i),
                  "no reason in the log of node", i)
            wait_until(f"node {i} closed all connections", 40,
                       lambda i=i: usage_of(c, i)[0] <= before[i][0] + 4)
            grown = usage_of(c, i)[1] - before[i][1]
            check(grown < 200 * 1024, "node", i, "grew by", grown, "KiB")
    os.unlink(secret)


if __name__ == "__main__":
    main(test_garbage)
