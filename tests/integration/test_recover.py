#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two of three nodes are destroyed: the third goes on with what it has, and is joined by new ones."""
import os
import shutil

from cluster import Cluster, check, main, wait_until


def recover(c, *args, code=0):
    done = c.run("range", "recover", "--unsafe", "--config", c.path(1, "holdfast.conf"), *args)
    check(done.returncode == code, "recover", args, "exit", done.returncode, done.stdout,
          done.stderr)
    return done.stdout + done.stderr


def refuse_nonsense(c):
    said = recover(c, "--lost", "2,3", code=1)
    check("lock" in said, "its store runs", said)
    c.local("kill", "1")
    recover(c, "--lost", "2,x", code=1)
    check("itself" in recover(c, "--lost", "1,2", code=1), "the survivor is not lost")
    check("not touched" in recover(c, "--lost", "3", code=1), "two of three are a majority")
    recover(c, code=2)


def voters(c):
    rows = c.json("range", "list", "--timeout", "10s")["ranges"]
    return [len(r["replicas"]) for r in rows]


def test_one_of_three_is_left():
    with Cluster() as c:
        for i in range(0, 200, 20):
            c.ok("put", f"k{i:03}", f"v{i}")
        c.ok("range", "split", "k100")
        c.ok("put", "k150", "late")
        wait_until("it is applied everywhere", 20,
                   lambda: len({c.applied(i) for i in (1, 2, 3)}) == 1)
        c.local("kill", "2", "3")
        shutil.rmtree(c.path(2))
        shutil.rmtree(c.path(3))
        refuse_nonsense(c)
        plan = recover(c, "--lost", "2,3")
        check("goes on with replica" in plan and "nothing was changed" in plan, plan)
        check(plan == recover(c, "--lost", "2,3"), "a plan changes nothing")
        check("start this store" in recover(c, "--lost", "2,3", "--yes"), "it is done")
        check("keeps its majority" in recover(c, "--lost", "2,3", code=1), "once is enough")
        only = c.address(1)
        c.local("restart", "1")
        for i in range(0, 200, 20):
            got = c.ok("get", f"k{i:03}", "--timeout", "20s", endpoints=only)
            check(got == f"v{i}", "it has what it had", i, got)
        check(c.ok("get", "k150", endpoints=only) == "late", "also on the other side of the cut")
        c.ok("put", "new", "life", endpoints=only)
        c.ok("placement", "settings", "store-down-after", "5s", endpoints=only)
        for store in ("2", "3"):
            wait_until("the lost store is down", 30, lambda s=store: c.run(
                "node", "remove", s, "--yes", endpoints=only).returncode == 0)
        c.up("--nodes", "3")
        wait_until("three replicas again", 60, lambda: min(voters(c)) == 3)
        c.local("kill", "1")
        check(c.ok("get", "new", "--timeout", "20s") == "life", "the new ones have it")
        check(os.path.isdir(c.path(2)), "node 2 is a new one")


if __name__ == "__main__":
    main(test_one_of_three_is_left)
