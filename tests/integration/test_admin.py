#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator types at node, store, range and placement: tables and their watching, what
is asked before it is done, and whether a refusal says why and what to do."""
import json

from cluster import Cluster, check, main, wait_until


def says(c, code, part, *args):
    """The command ends so, and tells that."""
    done = c.run(*args)
    check(done.returncode == code and part in done.stdout + done.stderr, args, "exit",
          done.returncode, done.stdout, done.stderr)


def whole(c):
    return wait_until("three replicas", 30, lambda: all(
        len(r["replicas"]) == 3 for r in c.json("range", "list")["ranges"]))


def watching(c):
    lines = c.ok("range", "list", "--watch", "--times", "2", "--json").splitlines()
    check(len(lines) == 2 and all(json.loads(line)["ranges"] for line in lines), lines)
    for group in ("node", "store"):
        check(c.ok(group, "list", "--watch", "--times", "2").count("STORE_ID") == 2, group)
    check(c.ok("placement", "status", "--watch", "--times", "1").count("WHAT") == 1, "once")


def asking(c):
    for verb in ("decommission", "remove"):
        says(c, 2, "say --yes if that is meant", "node", verb, "3")
    check(c.json("node", "show", "3")["stores"][0]["state"] == "up", "nothing was done")
    says(c, 0, "how far that is: holdfast placement why-not 3", "node", "decommission", "3", "--yes")
    wait_until("it is known to be stuck", 20, lambda: "have nowhere to go" in c.ok(
        "placement", "why-not", "3"))
    wait_until("the way back is told", 20, lambda: "or take it back: holdfast node undrain 3" in
               c.ok("placement", "explain", "2"))
    c.ok("node", "undrain", "3")
    says(c, 1, "decommission it, or stop it and", "node", "remove", "3", "--yes")
    says(c, 3, "no store 9 in this cluster: removed, or never there", "node", "drain", "9")


def settings(c):
    check(c.ok("placement", "settings", "replicas").splitlines()[1].split()[:2] ==
          ["replicas", "3"], "one setting")
    says(c, 3, "no setting 'nonsense'", "placement", "settings", "nonsense")
    c.ok("placement", "set", "merge-after", "20m")
    check(c.json("placement", "settings", "merge-after")["settings"][0]["value"] == "20m", "set")


def plans(c):
    says(c, 0, "of 1024.0 GiB with zone=b:", "placement", "plan", "--if-add", "zone=b:1TiB")
    says(c, 0, "if store 2 were lost:", "placement", "plan", "--if-down", "2")
    says(c, 2, "--if-add wants", "placement", "plan", "--if-add", "zone=b")
    says(c, 2, "either in", "placement", "plan", "--if-add", "zone=b:1TiB", "--labels", "zone=c")
    says(c, 2, "one thing", "placement", "plan", "--if-add", "1TiB", "--if-down", "2")


def restarts(c):
    says(c, 0, "keeps a majority without store 2", "node", "restart-safe", "2")
    c.local("kill", "3")
    wait_until("it is missed", 20, lambda: c.run("node", "restart-safe", "2").returncode == 1)
    says(c, 1, "not safe: without store 2", "node", "restart-safe", "2")
    wait_until("silence", 20, lambda: "(suspect, silent for" in c.ok("placement", "explain", "2"))
    says(c, 0, "if it does not come back within", "placement", "explain", "2")
    says(c, 1, "not all replicas of range", "range", "merge",
         *(str(r["id"]) for r in c.json("range", "list")["ranges"]))
    c.local("kill", "2")
    says(c, 1, "are most of its stores up?", "placement", "status", "--timeout", "3s")
    c.local("restart", "2", "3")


def test_words():
    with Cluster() as c:
        c.ok("put", "a", "1")
        whole(c)
        c.ok("range", "split", "m")
        watching(c)
        settings(c)
        plans(c)
        asking(c)
        restarts(c)
        wait_until("all are back", 30, lambda: c.run("node", "restart-safe", "1").returncode == 0)
        left, right = (str(r["id"]) for r in c.json("range", "list")["ranges"])
        c.ok("range", "merge", left, right)
        wait_until("it is told", 20, lambda: f"was merged into range {left}" in c.run(
            "range", "show", right).stderr)
        says(c, 0, "OK: transfer-leader", "range", "transfer-leader", "--range", left)


if __name__ == "__main__":
    main(test_words)
