#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`holdfast keyspace` on real processes: names and numbers, the ranges that a keyspace gets,
what is refused, and what is left when one is dropped."""
import json

from cluster import Cluster, check, main, wait_until


def keyspaces(c):
    return {k["name"]: k for k in c.json("keyspace", "list")["keyspaces"]}


def wait_ready(c, *names):
    def ready():
        found = keyspaces(c)
        return found if all(found[n]["state"] == "ready" for n in names) else None
    return wait_until("keyspaces have their ranges", 60, ready)


def test_names():
    with Cluster() as c:
        check(keyspaces(c) == {})
        c.ok("keyspace", "create", "users")
        c.ok("keyspace", "create", "events", "--partition", "hash", "--slots", "64", "--ranges", "8")
        c.ok("keyspace", "create", "one", "--replicas", "1")
        found = wait_ready(c, "users", "events", "one")
        check(len({k["keyspace"] for k in found.values()}) == 3)
        check(all(k["keyspace"] >= 65536 for k in found.values()), found)
        check(found["events"]["partition"] == "hash" and found["events"]["slots"] == 64, found)
        check(found["events"]["ranges"] == 8, found)
        check(found["users"]["partition"] == "range" and found["users"]["ranges"] == 1, found)
        wait_until("one has one replica", 60, lambda: any(
            len(r["replicas"]) == 1 for r in c.json("range", "list")["ranges"]))
        check("64" in c.ok("keyspace", "show", "events"))
        for args, want, said in (
                (["create", "users"], 1, "already"),
                (["create", "Users"], 1, "a-z"),
                (["create", "12"], 1, "not a number alone"),
                (["create", "h", "--partition", "list"], 2, "range or hash"),
                (["create", "h", "--slots", "4"], 2, "--partition hash"),
                (["create", "h", "--partition", "hash", "--slots", "65537"], 1, "65536"),
                (["create", "h", "--replicas", "2"], 1, "odd"),
                (["alter", "users"], 2, "nothing to change"),
                (["alter", "users", "--ranges", "4"], 1, "slots"),
                (["show", "nobody"], 3, "no keyspace 'nobody'"),
                (["drop", "nobody", "--yes"], 3, "no keyspace 'nobody'"),
                (["drop", "users"], 2, "--yes")):
            done = c.run("keyspace", *args)
            check(done.returncode == want and said in done.stderr, args, done.returncode,
                  done.stderr)
        c.ok("keyspace", "alter", "events", "--ranges", "16")
        check(wait_ready(c, "events")["events"]["ranges"] == 16)
        c.ok("keyspace", "drop", "one", "--yes")
        check("one" not in keyspaces(c))
        c.ok("keyspace", "create", "one")
        check(keyspaces(c)["one"]["keyspace"] > found["one"]["keyspace"], "a number came back")


if __name__ == "__main__":
    main(test_names)
