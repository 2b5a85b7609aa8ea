#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every command of the program, on a cluster of three: results, JSON, exit codes."""
import json
import os

from cluster import Cluster, check, main


def exit_is(cluster, code, *args, **more):
    done = cluster.run(*args, **more)
    check(done.returncode == code, args, "exit", done.returncode, "want", code, done.stderr)
    return done


def keys(c):
    c.ok("put", "name", "Ada")
    check(c.ok("get", "name") == "Ada", "get writes the bare value")
    exit_is(c, 3, "get", "nobody")
    got = c.json("get", "name")
    check(got["key"] == "name" and got["value"] == "Ada" and got["version"] > 0, got)

    blob = bytes(range(256)) * 40
    c.ok("put", "blob", stdin=blob)
    check(c.ok("get", "blob", stdin=b"") == blob, "bytes come back as they went in")
    check("value_b64" in c.json("get", "blob"), "bytes that are no text are base64 in JSON")

    c.ok("del", "blob")
    exit_is(c, 3, "get", "blob")
    c.ok("del", "blob")  # once more is fine


def conditions(c):
    c.ok("put", "k", "1")
    c.ok("cas", "k", "1", "2")
    done = exit_is(c, 3, "cas", "k", "1", "3")
    check("CONDITION_FAILED" in done.stderr, done.stderr)
    failed = json.loads(exit_is(c, 3, "cas", "k", "1", "3", "--json").stdout)
    check(failed["value"] == "2" and not failed["ok"], failed)
    version = c.json("get", "k")["version"]
    c.ok("cas", "k", "4", "--if-version", str(version))
    exit_is(c, 3, "cas", "k", "5", "--if-version", str(version))
    exit_is(c, 3, "put", "k", "x", "--if-absent")
    c.ok("put", "fresh", "x", "--if-absent")
    exit_is(c, 3, "put", "never", "x", "--if-present")
    exit_is(c, 3, "put", "k", "x", "--if-value", "wrong")
    check(c.ok("get", "k") == "4", "nothing of all that happened")


def numbers(c):
    check(c.ok("incr", "n") == "1\n", "an absent number counts from 0")
    check(c.ok("incr", "n", "41") == "42\n", "sum")
    check(c.ok("incr", "n", "-2") == "40\n", "negative")
    exit_is(c, 1, "incr", "name")
    exit_is(c, 2, "incr", "n", "lots")
    c.ok("append", "text", "ab")
    c.ok("append", "text", "cd")
    check(c.ok("get", "text") == "abcd", "append")


def scans(c):
    for i in range(25):
        c.ok("put", f"s:{i:02}", f"v{i}")
    lines = c.ok("scan", "s:").splitlines()
    check(lines == [f"s:{i:02}\tv{i}" for i in range(25)], lines)
    lines = c.ok("scan", "--start", "s:05", "--end", "s:08", "--keys-only").splitlines()
    check(lines == ["s:05", "s:06", "s:07"], lines)
    lines = c.ok("scan", "s:", "--reverse", "--limit", "2", "--keys-only").splitlines()
    check(lines == ["s:24", "s:23"], lines)
    rows = [json.loads(line) for line in c.ok("scan", "s:", "--json").splitlines()]
    check(len(rows) == 25 and rows[3]["value"] == "v3", rows[:4])


def batches(c):
    c.ok("batch", stdin="put b:1 one\nput b:2 'two words'\nincr b:n 5\ndel s:00\n")
    check(c.ok("get", "b:2") == "two words", "batch")
    exit_is(c, 3, "get", "s:00")
    done = exit_is(c, 3, "batch", stdin="put b:1 changed\nabsent b:2\n")
    check("CONDITION_FAILED" in done.stderr, done.stderr)
    check(c.ok("get", "b:1") == "one", "all or none")
    exit_is(c, 2, "batch", stdin="jump b:1\n")
    exit_is(c, 2, "batch", stdin="")


def shells(c):
    out = c.ok("shell", stdin="put sh \"a b\"\nget sh\n# comment\nincr sh:n 3\nscan sh\nquit\nget k\n")
    check("a b\n" in out and "3\n" in out and "sh:n\t3" in out, out)


def clusters(c):
    status = c.json("cluster", "status")
    check(len(status["stores"]) == 3 and all(s["up"] for s in status["stores"]), status)
    target = next(s for s in status["stores"] if s["store_id"] != status["leader_store_id"])
    c.ok("range", "transfer-leader", str(target["replica_id"]))
    check(c.ok("get", "name") == "Ada", "after a transfer")
    text = c.ok("cluster", "status")
    check("leader" in text and c.address(2) in text, text)
    exit_is(c, 0, "cluster", "bootstrap")  # again: nothing to do


def usage(c):
    exit_is(c, 2, "get")
    exit_is(c, 2, "nonsense")
    exit_is(c, 2, "put", "a", "b", "--nonsense")
    exit_is(c, 0, "--help")
    exit_is(c, 0, "local", "up", "--help")
    exit_is(c, 1, "put", "k" * 5000, "v")
    exit_is(c, 1, "get", "k", endpoints="127.0.0.1:1", timeout=30)


def restarts(c):
    """Everything is there after all stopped and started; `up` may be repeated."""
    c.up()
    before = c.ok("scan", "--json")
    c.local("down")
    states = {n["state"] for n in c.local_status()["nodes"]}
    check(states == {"stopped"}, states)
    c.up()
    check(c.ok("scan", "--json") == before, "the data stays")


def dumps(c):
    c.local("down")
    data = c.path(1, "data")
    folders = [os.path.join(data, name) for name in sorted(os.listdir(data))]
    logs = [f for f in folders if os.path.isdir(f) and "log" in os.path.basename(f)]
    check(logs, "no log folder in", folders)
    check(c.ok("debug", "log", "dump", logs[0]), "a log has records")
    c.up()


def test_quickstart():
    with Cluster() as c:
        for part in (keys, conditions, numbers, scans, batches, shells, clusters, usage, restarts,
                     dumps):
            print("  ", part.__name__, flush=True)
            part(c)


def test_import_export():
    """100,000 records in by one node's address, out by another's, in key order."""
    count = 100_000
    records = [{"key": f"w:{i * 7919 % count:06}", "value": f"value {i}"} for i in range(count)]
    text = "\n".join(json.dumps(r) for r in records) + "\n"
    with Cluster() as c:
        c.ok("import", stdin=text, timeout=300, endpoints=c.address(1))
        out = c.ok("export", timeout=300, endpoints=c.address(3))
        got = [json.loads(line) for line in out.splitlines()]
        check(got == sorted(records, key=lambda r: r["key"].encode()), "records differ")


if __name__ == "__main__":
    main(test_quickstart, test_import_export)
