#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""holdfast bench: what it counts is what happened; an open loop hides no pause."""
import json
import os
import subprocess
import sys

from cluster import BIN, Cluster, check, free_ports, main

SESSIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../perf/sessions.py")


def bench(c, *args):
    env = dict(os.environ, HOLDFAST_ENDPOINTS=c.endpoints)
    return subprocess.Popen([f"{BIN}/holdfast", "bench", *args, "--json", "--timeout", "60s"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def test_open_loop_counts_a_pause():
    """Half of the time nobody answers: whoever was due then waited, and is counted so."""
    with Cluster() as c:
        c.ok("put", "k", "v", "--timeout", "20s")
        c.local("pause", "all")
        child = bench(c, "put", "--rate", "250", "--seconds", "4", "--keys", "100", "--progress")
        for line in child.stderr:
            if line.split()[:2] == ["2", "s"]:
                break
        c.local("resume", "all")
        out, err = child.communicate(timeout=120)
        check(child.returncode == 0, out, err)
        seen = json.loads(out)
        check(seen["errors"] == 0, seen)
        check(seen["rate"] == 250 and seen["clients"] == 1000, seen)
        check(seen["ops_in_all"] + seen["never_begun"] == 1000, "each was due once", seen)
        check(seen["max_us"] > 1500000 and seen["p90_us"] > 500000, "the pause shows", seen)


def test_open_loop_over_capacity():
    """More is due than one client can do: the rest is told."""
    with Cluster() as c:
        seen = c.json("bench", "put", "--rate", "1000000", "--clients", "1", "--seconds", "1")
        check(seen["never_begun"] > 0, seen)
        check(seen["ops_in_all"] + seen["never_begun"] == 1000000, seen)


def test_closed_loop():
    with Cluster() as c:
        for kind in ("put", "get", "mixed", "scan"):
            seen = c.json("bench", kind, "--clients", "4", "--seconds", "1", "--keys", "100")
            check(seen["rate"] == 0 and seen["never_begun"] == 0, seen)
            check(seen["ops_in_all"] >= seen["ops"] > 0 and seen["errors"] == 0, seen)
            order = [seen[name] for name in ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")]
            check(order == sorted(order), seen)
            check(seen["errors_by_code"] == {} and ("get" in seen) == (kind == "mixed"), seen)
            if kind == "mixed":
                check(seen["get"]["ops"] + seen["put"]["ops"] == seen["ops"], seen)
                check(max(seen["get"]["max_us"], seen["put"]["max_us"]) == seen["max_us"], seen)


def test_cost_of_sessions():
    """The measurement itself, not what comes of it: puts of both kinds, and its limit counts."""
    for limit, want in (("101", 0), ("-1000000", 1)):
        done = subprocess.run(
            [sys.executable, "-B", SESSIONS, "--bin", BIN, "--pairs", "2", "--seconds", "1",
             "--clients", "4", "--port", str(free_ports(3)), "--limit", limit, "--json"],
            capture_output=True, text=True, timeout=120, check=False)
        check(done.returncode == want, limit, done.returncode, done.stdout, done.stderr)
        seen = json.loads(done.stdout)
        check(seen["with_per_s"] > 0 and seen["without_per_s"] > 0 and seen["errors"] == 0, seen)
        check(seen["cost_percent_p25"] <= seen["cost_percent"] <= seen["cost_percent_p75"], seen)


def test_refuses():
    with Cluster() as c:
        for wrong in (("--rate", "x"), ("--rate", "10000001"), ("--clients", "0")):
            done = c.run("bench", "put", *wrong)
            check(done.returncode == 2, wrong, done)


if __name__ == "__main__":
    main(test_open_loop_counts_a_pause, test_open_loop_over_capacity, test_closed_loop,
         test_cost_of_sessions, test_refuses)
