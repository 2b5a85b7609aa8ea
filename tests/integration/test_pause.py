#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Frozen processes: no majority means no success, and an old leader serves nothing old."""
import time

from cluster import Cluster, check, main


def test_two_of_three_paused():
    with Cluster() as c:
        c.ok("put", "k", "before")
        leader = c.leader()
        others = [i for i in (1, 2, 3) if i != leader]
        c.local("pause", *map(str, others))
        for command in (("put", "k", "during"), ("get", "k"), ("incr", "n")):
            began = time.monotonic()
            done = c.run(*command, "--timeout", "2s", timeout=30)
            check(done.returncode in (1, 4), command, "exit", done.returncode, done.stdout)
            check(time.monotonic() - began < 10, command, "ignored its deadline")
        c.local("resume", "all")
        value = c.ok("get", "k", "--timeout", "20s")
        check(value in ("before", "during"), value)  # an undetermined put may have happened
        c.ok("put", "k", "after", "--timeout", "20s")
        check(c.ok("get", "k") == "after", "service is back")


def test_paused_leader_serves_nothing_old():
    with Cluster() as c:
        for round_number in range(4):
            old, new = f"old {round_number}", f"new {round_number}"
            c.ok("put", "k", old, "--timeout", "20s")
            leader = c.leader()
            rest = ",".join(c.address(i) for i in (1, 2, 3) if i != leader)
            c.local("pause", str(leader))
            c.ok("put", "k", new, "--timeout", "20s", endpoints=rest)
            c.local("resume", str(leader))
            # straight to the one that still believes to lead
            for _ in range(5):
                got = c.run("get", "k", "--timeout", "5s", endpoints=c.address(leader))
                check(got.returncode != 0 or got.stdout == new, "an old value:", got.stdout)


def test_pauses_under_load():
    with Cluster() as c:
        torture = c.torture(seconds=10, reads=50, timeout="2s")
        for _ in range(3):
            time.sleep(0.5)
            leader = str(c.leader())
            c.local("pause", leader)
            time.sleep(1.2)
            c.local("resume", leader)
        print("  ", torture.result())
        torture.verify()


if __name__ == "__main__":
    main(test_two_of_three_paused, test_paused_leader_serves_nothing_old, test_pauses_under_load)
