#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Streams that are killed and go on: import and export with a cursor. And keys of several ranges
at once."""
import json
import os
import signal
import subprocess
import time

from cluster import BIN, Cluster, check, crc32c, main, wait_until

COUNT = 60_000
PAD = "x" * 300


def start(c, *args):
    env = dict(os.environ, HOLDFAST_ENDPOINTS=",".join(c.address(i) for i in (1, 2, 3)))
    return subprocess.Popen([f"{BIN}/holdfast", *args], env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def progress(cursor):
    """What the cursor says: records that are done, 0 while there is none."""
    try:
        with open(cursor) as f:
            return int(f.read().split("records=")[1].split()[0])
    except (FileNotFoundError, IndexError):
        return 0


def kill_in_the_middle(c, cursor, *args):
    """Start it, kill it when a part is done; what is done then."""
    child = start(c, *args)
    until = time.monotonic() + 120
    while progress(cursor) == 0 and child.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return progress(cursor)


def test_streams():
    with Cluster() as c:
        source, cursor = c.path(0, "in.ndjson"), c.path(0, "in.cursor")
        os.makedirs(os.path.dirname(source), exist_ok=True)
        with open(source, "w") as f:
            for i in range(COUNT):
                f.write(json.dumps({"key": f"s:{i:06}", "value": f"{i} {PAD}"}) + "\n")
        done = kill_in_the_middle(c, cursor, "import", source, "--cursor", cursor)
        check(0 < done < COUNT, "it was not killed in the middle:", done)
        other = c.path(0, "other.ndjson")
        with open(other, "w") as f:
            f.write(json.dumps({"key": "other", "value": "x" * 10_000_000}) + "\n")
        r = c.run("import", other, "--cursor", cursor)
        check(r.returncode == 1 and "does not begin like" in r.stderr, r.stderr)
        r = c.json("import", source, "--cursor", cursor, timeout=200)
        check(r["records"] == COUNT and not os.path.exists(cursor), r)
        check(c.run("get", "other").returncode == 3, "something of the other input is in")

        target, cursor = c.path(0, "out.ndjson"), c.path(0, "out.cursor")
        done = kill_in_the_middle(c, cursor, "export", target, "--prefix", "s:", "--cursor", cursor)
        check(0 < done < COUNT, "it was not killed in the middle:", done)
        with open(target, "a") as f: # what was written behind the cursor counts for nothing
            f.write('{"key":"half a li')
        c.ok("put", "t:beyond", "the prefix")
        c.ok("export", target, "--prefix", "s:", "--cursor", cursor, timeout=200)
        check(not os.path.exists(cursor), "the cursor is still there")
        with open(source) as f, open(target) as g:
            want, got = ([json.loads(line) for line in h] for h in (f, g))
        check(got == want, "the export is not what was imported:", len(got))
        r = c.run("export", "--cursor", cursor)
        check(r.returncode == 2, "a cursor for standard output")


def test_cursors_of_others():
    """A cursor is of a cluster, a keyspace and bounds: with others it would leave keys out, or mix
    them."""
    with Cluster(nodes=1) as c, Cluster(nodes=1) as other:
        os.makedirs(c.path(0))
        source, target = c.path(0, "in.ndjson"), c.path(0, "out.ndjson")
        cursor = c.path(0, "cursor")
        with open(source, "w") as f:
            for i in range(COUNT):
                f.write(json.dumps({"key": f"s:{i:06}", "value": f"{i} {PAD}"}) + "\n")

        def refused(cluster, said, *args):
            with open(cursor, "rb") as f:
                kept = f.read()
            r = cluster.run(*args, "--cursor", cursor, timeout=200)
            check(r.returncode == 2 and said in r.stderr, args, r.returncode, r.stderr)
            with open(cursor, "rb") as f:
                check(f.read() == kept, args, "changed the cursor")

        done = kill_in_the_middle(c, cursor, "import", source, "--cursor", cursor)
        check(0 < done < COUNT, "it was not killed in the middle:", done)
        refused(c, "another keyspace", "import", source, "--keyspace", "7")
        refused(other, "another cluster", "import", source)
        check(c.run("export", target, "--cursor", cursor).returncode == 1, "of another kind")
        c.ok("import", source, "--cursor", cursor, timeout=200)

        done = kill_in_the_middle(c, cursor, "export", target, "--prefix", "s:", "--cursor", cursor)
        check(0 < done < COUNT, "it was not killed in the middle:", done)
        size = os.path.getsize(target)
        for args in (["--prefix", "s:0"], ["--prefix", "s"], [], ["--start", "s:"],
                     ["--start", "s:", "--end", "s"]):
            refused(c, "other keys", "export", target, *args)
        refused(c, "another keyspace", "export", target, "--prefix", "s:", "--keyspace", "7")
        refused(other, "another cluster", "export", target, "--prefix", "s:")
        check(os.path.getsize(target) == size, "it wrote something")
        c.ok("export", target, "--start", "s:", "--end", "s;", "--cursor", cursor, timeout=200)
        with open(source) as f, open(target) as g:
            check(sorted(map(json.loads, f), key=lambda r: r["key"]) ==
                  [json.loads(line) for line in g], "not what was imported")


def test_export_outlives_its_versions():
    """Who reads slowly: the versions that it began at are gone before it is over. The rest is of
    newer ones, each key once; that is said."""
    count = 4000
    with Cluster(nodes=1) as c:
        c.ok("keyspace", "create", "plain", "--retention", "1s")
        c.ok("keyspace", "create", "hashed", "--retention", "1s", "--partition", "hash", "--slots",
             "4", "--ranges", "2")
        lines = "".join(json.dumps({"key": f"k{i:04}", "value": f"before {'x' * 6000}"}) + "\n"
                        for i in range(count))
        for name in ("plain", "hashed"):
            space = ["--keyspace", name]
            wait_until("the keyspace can be used", 60,
                       lambda space=space: c.run("put", "k", "v", *space).returncode == 0)
            c.ok("del", "k", *space)
            c.ok("import", *space, stdin=lines, timeout=400)
            child = start(c, "export", *space)
            first = os.read(child.stdout.fileno(), 1).decode()  # it has its first page, and waits
            version = c.json("put", f"k{count - 1:04}", "after", *space)["version"]

            def is_gone(space=space, version=version):
                for key in range(0, count, 50):  # time moves on in all ranges
                    c.ok("put", f"k{key:04}!", "new", *space)
                return "VERSION_GONE" in c.run("get", f"k{count - 1:04}", "--at-version",
                                               str(version), *space).stderr
            wait_until("the versions are gone", 120, is_gone)
            rest, err = child.communicate(timeout=200)
            got = [json.loads(line) for line in (first + rest).splitlines()]
            check(child.returncode == 0 and "what follows is of now" in err, err)
            keys = [r["key"] for r in got if not r["key"].endswith("!")]
            check(keys == [f"k{i:04}" for i in range(count)], name, "keys:", len(keys))
            check(got[-1]["value"] == "after", name, got[-1]["value"][:20])
            c.ok("keyspace", "alter", name, "--retention", "1h")

            def is_at_once(space=space):
                r = c.run("export", "/dev/null", "--json", *space, timeout=200)
                check(r.returncode == 0, r.stderr)
                return json.loads(r.stderr)["renewals"] == 0
            wait_until("it is read at the versions it began at", 60, is_at_once)


def test_each_record_once():
    """Leaders stop answering while batches are under way: what became of those is asked for, and no
    record is put twice."""
    with Cluster() as c:
        source, cursor = c.path(0, "in.ndjson"), c.path(0, "in.cursor")
        os.makedirs(os.path.dirname(source), exist_ok=True)
        with open(source, "w") as f:
            for i in range(COUNT):
                f.write(json.dumps({"key": f"s:{i:06}", "value": f"{i} {PAD}"}) + "\n")
        begin = c.json("put", "mark", "x")["version"]
        child = start(c, "import", source, "--cursor", cursor, "--timeout", "200ms")
        for share in (0, 0.2, 0.4):
            until = time.monotonic() + 120
            while (progress(cursor) <= COUNT * share and child.poll() is None and
                   time.monotonic() < until):
                time.sleep(0.002)
            old = c.leader()
            c.local("pause", str(old))
            wait_until("another leader", 30, lambda old=old: c.local_status()["leader"] not in
                       (None, 0, old))
            c.local("resume", str(old))
        out, err = child.communicate(timeout=200)
        check(child.returncode == 0, out, err)
        c.ok("put", "s:end", "x")
        told = c.ok("watch", "--prefix", "s:", "--from-version", str(begin), "--limit",
                    str(COUNT + 1), "--for", "90s", "--json", timeout=100)
        keys = [json.loads(line)["key"] for line in told.splitlines()]
        check(len(keys) == COUNT + 1, "changes are missing:", COUNT + 1 - len(keys))
        check(keys[-1] == "s:end" and len(set(keys)) == len(keys), "records that were put twice:",
              len(keys) - len(set(keys)), "the last:", keys[-1])


def test_hashed_each_record_once():
    """Where a batch would cross ranges its records go one by one, many at once: likewise none is put
    twice, and of lines with the same key the last one wins."""
    count, keys = 12_000, 10_000
    with Cluster() as c:
        source, cursor = c.path(0, "in.ndjson"), c.path(0, "in.cursor")
        os.makedirs(os.path.dirname(source), exist_ok=True)
        c.ok("keyspace", "create", "h", "--partition", "hash", "--slots", "64", "--ranges", "8")
        space = ["--keyspace", "h"]
        wait_until("the keyspace can be used", 60,
                   lambda: c.run("put", "mark", "x", *space).returncode == 0)
        with open(source, "w") as f:
            for i in range(count):  # keys come again soon, in the same batch
                key = i if i % 6 else i - i % 600
                f.write(json.dumps({"key": f"s:{key % keys:06}", "value": str(i)}) + "\n")
        begin = c.json("put", "mark", "y", *space)["version"]
        began = time.monotonic()
        child = start(c, "import", source, "--cursor", cursor, "--timeout", "500ms", *space)
        for share in (0, 0.3):
            until = time.monotonic() + 120
            while (progress(cursor) <= count * share and child.poll() is None and
                   time.monotonic() < until):
                time.sleep(0.002)
            node = str(c.leader())
            c.local("pause", node)
            time.sleep(1.5)  # others lead its ranges
            c.local("resume", node)
        out, err = child.communicate(timeout=300)
        print(f"   {count} records in {time.monotonic() - began:.1f} s")
        check(child.returncode == 0, out, err)
        want = {}
        with open(source) as f:
            for record in map(json.loads, f):
                want.setdefault(record["key"], []).append(record["value"])
        got = dict(line.split("\t") for line in c.ok("scan", "s:", *space).splitlines())
        check(got == {key: values[-1] for key, values in want.items()}, "not the last one",
              [(k, v, want.get(k)) for k, v in got.items() if want.get(k, [""])[-1] != v][:5])
        told = c.ok("watch", "--prefix", "s:", "--from-version", str(begin), "--for", "20s", *space,
                    timeout=100)
        seen = {}
        for line in told.splitlines():
            _, key, value = line.split("\t")
            seen.setdefault(key, []).append(value)
        check(seen == want, "put twice, or in another order",
              [(k, v, want.get(k)) for k, v in seen.items() if want.get(k) != v][:5])


def test_export_goes_on_behind_the_longest_key():
    with Cluster() as c:
        os.makedirs(c.path(0))
        target, cursor = c.path(0, "out.ndjson"), c.path(0, "out.cursor")
        keys = ["a", "k" * 4096, "m"]
        for key in keys:
            c.ok("put", key, "v")
        c.ok("export", target)
        with open(target, "rb") as f:
            lines = f.readlines()
        done = b"".join(lines[:2])
        with open(target, "wb") as f:
            f.write(done)
        stands = (f"export offset={len(done)} line=2 records=2 bytes=4099 "
                  f"sum={crc32c(done):08x}\n")
        with open(cursor, "w") as f:
            f.write("holdfast-cursor 1\n" + stands)
        r = c.run("export", target, "--cursor", cursor)
        check(r.returncode == 1 and "earlier version" in r.stderr, r.returncode, r.stderr)
        cluster = c.json("cluster", "status")["cluster_id"]
        with open(cursor, "w") as f:
            f.write(f"holdfast-cursor 2\n{stands}of cluster={cluster} keyspace=0 "
                    f"span={crc32c(bytes(4)):08x}\n")
        c.ok("export", target, "--cursor", cursor)
        with open(target, "rb") as f:
            check(f.readlines() == lines, "each record once, in order")


def test_several_ranges():
    with Cluster() as c:
        for key in ("a", "b", "m", "z"):
            c.ok("put", key, f"value of {key}")
        c.ok("range", "split", "c", "n")
        out = c.ok("get", "z", "a", "m", "b")
        check(out.splitlines() == [f"{k}\tvalue of {k}" for k in ("z", "a", "m", "b")], out)
        r = c.run("get", "z", "none", "a", "--json")
        items = json.loads(r.stdout)["items"]
        check(r.returncode == 3 and [i["found"] for i in items] == [True, False, True], items)


if __name__ == "__main__":
    main(test_streams, test_cursors_of_others, test_export_outlives_its_versions,
         test_each_record_once, test_hashed_each_record_once, test_export_goes_on_behind_the_longest_key, test_several_ranges)
