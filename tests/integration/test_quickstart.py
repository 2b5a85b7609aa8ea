#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every command of the program, on a cluster of three: results, JSON, exit codes."""
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time

from cluster import BIN, Cluster, check, main, wait_until


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


def expiries(c):
    """Every change may say when the value expires, or that it does as before."""
    def left(key):
        return c.json("get", key)["ttl_ms"]
    hour = range(3000_000, 3600_001)
    c.ok("put", "t", "1")
    check(left("t") == 0, "none")
    for change in (["incr", "t", "--ttl", "1h"], ["incr", "t"], ["append", "t", "0"],
                   ["cas", "t", "30", "31", "--keep-ttl"], ["put", "t", "32", "--keep-ttl"],
                   ["get-and-set", "t", "33", "--keep-ttl"]):
        c.ok(*change)
        check(left("t") in hour, change, left("t"))
    for change in (["append", "t", "3", "--ttl", "48h"], ["cas", "t", "333", "4", "--ttl", "48h"],
                   ["get-and-set", "t", "5", "--ttl", "48h"]):
        c.ok(*change)
        check(left("t") > 40 * 3600_000, change, left("t"))
        c.ok("put", "t", c.ok("get", "t"))
        check(left("t") == 0, "a put without --ttl")
    for change in (["cas", "t", "5", "6"], ["get-and-set", "t", "7"]):
        c.ok("put", "t", c.ok("get", "t"), "--ttl", "1h")
        c.ok(*change)
        check(left("t") == 0, change, left("t"))
    for change in (["incr", "t", "1"], ["append", "t", "x"], ["cas", "t", "7", "8"],
                   ["get-and-set", "t", "8"]):
        check("above 0" in exit_is(c, 2, *change, "--ttl", "0s").stderr, change)
    exit_is(c, 2, "put", "t", "8", "--ttl", "1h", "--keep-ttl")
    exit_is(c, 2, "incr", "t", "--keep-ttl")
    exit_is(c, 3, "incr", "t", "--if-absent")
    exit_is(c, 3, "append", "t", "x", "--if-value", "6")
    exit_is(c, 3, "get-and-set", "t", "x", "--if-version", "0")
    check(c.ok("get", "t") == "7", "nothing of that happened")
    check(c.ok("get-and-set", "gs", "1") == "", "there was none")
    check(c.ok("get-and-set", "gs", "2") == "1", "the value before")
    said = c.json("get-and-set", "gs", "")
    check(said["found"] and said["previous"] == "2" and said["version"] > 0, said)
    check(c.json("get-and-set", "gs", "3")["previous"] == "", "an empty one")
    c.ok("del", "gs")
    check(not c.json("get-and-set", "gs", "4")["found"], "none")


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


def modes(c):
    """Every way to read, and a span that is deleted."""
    for i in range(30):
        c.ok("put", f"m:{i:02}", "old")
    version = c.json("get", "m:03")["version"]
    c.ok("put", "m:03", "new")
    for args in (["--any-replica"], ["--read", "stale", "--max-age", "2s"], ["--read", "stale"]):
        for _ in range(6):  # whichever replica is asked: one write ago is not two seconds ago
            value = c.ok("get", "m:03", *args)
            check(value == "new" or args[:2] == ["--read", "stale"], args, value)
    check(c.ok("get", "m:03", "--at-version", str(version)) == "old", "of the past")
    exit_is(c, 1, "get", "m:03", "--at-version", str(2 ** 63))
    done = exit_is(c, 1, "get", "m:03", "--at-version", "1")
    check("VERSION_GONE" in done.stderr, done.stderr)
    lines = c.ok("scan", "m:", "--any-replica", "--keys-only").splitlines()
    check(len(lines) == 30, lines)
    exit_is(c, 2, "delete-range", "m:", "m:05")  # nobody is there to ask
    exit_is(c, 2, "delete-range", "m:", "--yes")
    for count, code in ((4097, 1), (5001, 2)):  # no bound is never taken for one that does not fit
        exit_is(c, code, "delete-range", "--prefix", "m" * count, "--yes")
    check(len(c.ok("scan", "m:", "--keys-only").splitlines()) == 30, "nothing of that happened")
    check(c.json("delete-range", "m:", "m:05", "--yes")["deleted"] == 5, "deleted")
    said = c.ok("delete-range", "m:10", "m:30", "--yes", "--step", "7")
    check(said == "20 keys deleted\n", said)
    check(c.json("delete-range", "--prefix", "m:", "--yes")["deleted"] == 5, "the rest")
    check(c.ok("scan", "m:") == "", "nothing is left")


def batches(c):
    c.ok("batch", stdin="put b:1 one\nput b:2 'two words'\nincr b:n 5\ndel s:00\n")
    check(c.ok("get", "b:2") == "two words", "batch")
    exit_is(c, 3, "get", "s:00")
    done = exit_is(c, 3, "batch", stdin="put b:1 changed\nabsent b:2\n")
    check("CONDITION_FAILED" in done.stderr, done.stderr)
    check(c.ok("get", "b:1") == "one", "all or none")
    failed = json.loads(exit_is(c, 3, "batch", "--json", stdin="put b:1 x\nabsent b:2\n").stdout)
    check(failed["operation"] == 2, failed)
    exit_is(c, 2, "batch", stdin="jump b:1\n")
    exit_is(c, 2, "batch", stdin="")
    # what stands behind a NUL byte is not skipped in silence
    done = exit_is(c, 2, "batch", stdin=b"put b:1 x\0y\nput b:3 z\n")
    check(b"line 1" in done.stderr, done.stderr)
    exit_is(c, 3, "get", "b:3")
    check(c.ok("batch", stdin="incr b:n -5\n").splitlines()[0] == "1: 0", "a sum of 0 is shown")


def shells(c):
    out = c.ok("shell", stdin="put sh \"a b\"\nget sh\n# comment\nincr sh:n 3\nscan sh\nquit\nget k\n")
    check("a b\n" in out and "3\n" in out and "sh:n\t3" in out, out)
    done = exit_is(c, 2, "shell", stdin="put sh\nget 'open\nnonsense\nput sh:2 x\n  quit  \nput sh:3 x")
    check("wants KEY VALUE" in done.stderr, "the next lines are no value", done.stderr)
    check("a quote is not closed" in done.stderr and "'nonsense'" in done.stderr, done.stderr)
    check(c.ok("scan", "sh:").splitlines() == ["sh:2\tx", "sh:n\t3"], "what came before quit")


def clusters(c):
    def all_answer():  # one may just be slow
        said = c.json("cluster", "status")
        check(len(said["stores"]) == 3, said)
        return said if said["leader_store_id"] and all(s["up"] for s in said["stores"]) else None
    status = wait_until("all answer", 30, all_answer)
    target = next(s for s in status["stores"] if s["store_id"] != status["leader_store_id"])
    c.ok("range", "transfer-leader", str(target["replica_id"]))
    check(c.ok("get", "name") == "Ada", "after a transfer")
    text = c.ok("cluster", "status")
    check("leader" in text and c.address(2) in text, text)

    def all_up():  # one may just be slow
        stores = c.json("node", "list")["stores"]
        return stores if all(n["state"] == "up" for n in stores) else None
    nodes = wait_until("all are up", 30, all_up)
    check([n["store_id"] for n in nodes] == [1, 2, 3] and all(n["state"] == "up" for n in nodes), nodes)
    check(nodes[0]["address"] == c.address(1) and nodes[0]["replicas"] == 2, nodes)
    check([s["store_id"] for s in c.json("store", "show", "2")["stores"]] == [2], "one of them")
    exit_is(c, 3, "node", "show", "77")

    def is_whole():  # placement may just have moved with the leader of range 1
        figures = {row["what"]: row["value"] for row in c.json("placement", "status")["placement"]}
        return (figures["stores"], figures["stores_reported"],
                figures["under_replicated"]) == ("3", "3", "0")
    wait_until("placement knows all", 30, is_whole)
    c.ok("placement", "pause")
    c.ok("placement", "resume")
    exit_is(c, 3, "placement", "settings", "nonsense", "1")
    exit_is(c, 3, "placement", "settings", "nonsense")
    check("replicas" in c.ok("placement", "settings"), "settings have names")


def usage(c):
    exit_is(c, 2, "get")
    exit_is(c, 2, "nonsense")
    exit_is(c, 2, "put", "a", "b", "--nonsense")
    exit_is(c, 0, "--help")
    exit_is(c, 0, "local", "up", "--help")
    exit_is(c, 1, "put", "k" * 5000, "v")
    exit_is(c, 1, "get", "k", endpoints="127.0.0.1:1", timeout=30)
    done = exit_is(c, 2, "put", "k", "v", "--ttl", "0s")
    check("--ttl is above 0" in done.stderr, done.stderr)
    exit_is(c, 2, "batch", stdin="put k v 0s\n")
    for args in (("--nonsense", "get", "k"), ("put", "k", "v", "--ttl", "5"), ("scan", "a", "b"),
                 ("put", "k", "v", "--if-absent", "--if-present"), ("scan", "--limit", "-1"),
                 ("scan", "--prefix", "a", "b"), ("get", "k", "--timeout", "0s"), ("get", "--json"),
                 ("get", "k", "--read", "at"), ("get", "k", "--max-age", "1s"), ("debug", "log"), ("version", "x"),
                 ("incr", "n", "9223372036854775808"), ("debug", "log", "dump", "-e", "x")):
        exit_is(c, 2, *args)
    exit_is(c, 2, "get", "k", "--endpoints", "")
    exit_is(c, 2, "get", "k", "--endpoints", "nowhere")
    for command in (("get", ""), ("put", "", "v"), ("del", ""), ("cas", "", "a", "b"), ("incr", ""),
                    ("append", "", "v"), ("get-and-set", "", "v")):
        done = exit_is(c, 1, *command)
        check("the key is empty" in done.stderr, done.stderr)
    done = exit_is(c, 1, "get", "k", "--read", "lease")
    check("UNSUPPORTED" in done.stderr, done.stderr)


def limits(c):
    """The largest that is taken, and one more. What a machine that is busy with other things needs
    for 8 MiB three times over, with sanitizers, is not what is tested."""
    slow = {"timeout": 120}
    patient = ("--timeout", "90s")
    value = bytes(8 << 20)
    c.ok("put", "large", *patient, stdin=value, **slow)
    check(c.ok("get", "large", *patient, stdin=b"", **slow) == value, "8 MiB")
    exit_is(c, 1, "put", "large", *patient, stdin=value + b"x", **slow)
    exit_is(c, 1, "append", "large", "x", *patient, **slow)
    c.ok("del", "large", *patient, **slow)
    c.ok("put", "k" * 4096, "v")
    c.ok("del", "k" * 4096)
    exit_is(c, 1, "put", "k" * 4097, "v")
    c.ok("put", "empty", "")
    check(c.ok("get", "empty") == "", "an empty value")
    c.ok("batch", *patient, stdin="".join(f"put l:{i} v\n" for i in range(10000)), **slow)
    exit_is(c, 1, "batch", *patient, stdin="".join(f"put l:{i} v\n" for i in range(10001)), **slow)
    c.ok("batch", *patient, stdin="".join(f"del l:{i}\n" for i in range(10000)), **slow)


def outputs(c):
    """Standard output that cannot be written is an error, not silence."""
    for how in ("> /dev/full", ">&-"):
        done = subprocess.run(["sh", "-c", f'exec "$0" get name {how}', f"{BIN}/holdfast"],
                              stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                              env=dict(os.environ, HOLDFAST_ENDPOINTS=c.endpoints))
        check(done.returncode == 1 and "standard output" in done.stderr, how, done)


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def strangers(c):
    """A port where something else answers."""
    with socket.socket() as web:
        web.bind(("127.0.0.1", 0))
        web.listen()
        port = web.getsockname()[1]
        done = exit_is(c, 1, "get", "name", "--timeout", "2s", endpoints=f"127.0.0.1:{port}")
        check(len(done.stderr.splitlines()) == 1, done.stderr)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        done = exit_is(c, 1, "get", "name", "--timeout", "2s",
                       endpoints=f"127.0.0.1:{web.server_port}")
        check(len(done.stderr.splitlines()) == 1, done.stderr)
        web.shutdown()


def bad_records(c):
    """An import that is cut short says exactly what is in."""
    good = '{"key":"im:1","value":"v"}\n\n'
    for line, want in (("nonsense", "line 3"), ('{"key":"a"}', 'no "value"'),
                       ('{"value":"a"}', 'no "key"'), ('{"key":"","value":"v"}', "is empty"),
                       ('{"key_b64":"?","value":"v"}', "base64"), ("[1]", "no JSON object"),
                       ('{"key":"a","value":"%s"}' % ("x" * (9 << 20)), "over"),
                       ("x" * (25 << 20), "too long")):
        done = exit_is(c, 1, "import", stdin=good + line + "\n", timeout=120)
        check(want in done.stderr and "line 3" in done.stderr and "(1 records are in)" in done.stderr,
              line[:40], done.stderr[:500])
    check(c.ok("get", "im:1") == "v", "what stands before the bad line")


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
    check(c.ok("debug", "manifest", "dump", os.path.join(data, "engine")), "a manifest has records")
    damaged_dumps(c, logs[0], os.path.join(data, "engine"))
    c.up()


def flip(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ 0x10]))


def damaged_dumps(c, log, engine):
    """Damage is shown, named, and makes the exit code 1; on a copy."""
    copy = os.path.join(c.dir, "copy")
    shutil.copytree(log, os.path.join(copy, "log"))
    shutil.copytree(engine, os.path.join(copy, "engine"))
    segments = sorted(os.listdir(os.path.join(copy, "log")))
    used = next(s for s in segments
                if f"{s} @0 group 0: segment " in c.ok("debug", "log", "dump", log))
    flip(os.path.join(copy, "log", used), 80)
    done = exit_is(c, 1, "debug", "log", "dump", os.path.join(copy, "log"))
    check("DAMAGED" in done.stdout and "damaged places" in done.stderr, done.stderr)
    tables = [f for f in os.listdir(os.path.join(copy, "engine")) if f.endswith(".tbl")]
    check(tables, "nothing was flushed at the stop")
    table = os.path.join(copy, "engine", tables[0])
    check("records=" in c.ok("debug", "sst", "dump", table), "a table")
    c.ok("debug", "sst", "dump", table, "--records", "--json")
    check("sound" in c.ok("debug", "sst", "verify", table), "a sound table")
    check(" 0 damaged places" in c.ok("debug", "manifest", "verify", os.path.join(copy, "engine")),
          "a sound engine")
    flip(table, 20)
    done = exit_is(c, 1, "debug", "sst", "verify", table)
    check("block at 0: bad crc" in done.stderr and tables[0] in done.stderr, done.stderr)
    check("bad crc" in exit_is(c, 1, "debug", "sst", "dump", table).stderr, "a damaged table")
    with open(table, "wb"):
        pass
    exit_is(c, 1, "debug", "sst", "dump", table)
    with open(os.path.join(copy, "engine", "CURRENT"), "w", encoding="ascii") as f:
        f.write("nonsense\n")
    exit_is(c, 1, "debug", "manifest", "dump", os.path.join(copy, "engine"))
    repairs(c, os.path.join(copy, "engine"), table)
    for kind in ("log", "sst", "manifest"):
        exit_is(c, 1, "debug", kind, "dump", os.path.join(copy, "nothing"))
    os.makedirs(os.path.join(copy, "empty"))
    exit_is(c, 1, "debug", "log", "dump", os.path.join(copy, "empty"))


def repairs(c, engine, table):
    """An engine with an empty table and without CURRENT: what is left becomes a new one."""
    new = engine + ".new"
    files = sorted(os.listdir(engine))
    exit_is(c, 1, "debug", "manifest", "verify", engine)
    said = c.ok("debug", "manifest", "repair", engine)
    check(os.path.basename(table) in said and "nothing was written" in said, said)
    check(not os.path.exists(new), "a dry run wrote something")
    check("written to" in c.ok("debug", "manifest", "repair", engine, "--into", new), "no repair")
    check(" 0 damaged places" in c.ok("debug", "manifest", "verify", new), "it verifies")
    check(sorted(os.listdir(engine)) == files, "the old folder changed")
    exit_is(c, 1, "debug", "manifest", "repair", engine, "--into", new)


def test_quickstart():
    with Cluster() as c:
        for part in (keys, conditions, numbers, expiries, scans, modes, batches, shells, clusters, usage, limits,
                     outputs, strangers, bad_records, restarts, dumps):
            began = time.monotonic()
            part(c)
            print(f"   {part.__name__} {time.monotonic() - began:.1f} s", flush=True)


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
