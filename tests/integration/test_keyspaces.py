#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`holdfast keyspace` on real processes: names and numbers, the ranges that a keyspace gets,
what is refused, and what is left when one is dropped."""
import json
import os
import struct
import tempfile

from cluster import Cluster, check, crc32c, main, wait_until


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


def may_have(r, keyspace):
    """Can the range have keys of it? A place is its keyspace and a key."""
    def place(bound):
        return (bound["keyspace"], bound.get("key", bound.get("key_b64")))
    return ((r["start"] is None or r["start"]["keyspace"] <= keyspace) and
            (r["end"] is None or place(r["end"]) > (keyspace, "")))


def only_its_ranges(c, found):
    """`range list --keyspace`; and where the flag means nothing it is not ignored."""
    everything = c.json("range", "list")["ranges"]
    for name, number in (("users", found["users"]["keyspace"]), ("0", 0), ("7", 7),
                         ("events", found["events"]["keyspace"])):
        listed = c.json("range", "list", "--keyspace", name)["ranges"]
        want = [r["id"] for r in everything if may_have(r, number)]
        check([r["id"] for r in listed] == want, name, listed, "want", want)
        check(0 < len(want) < len(everything), "all of them", name, want)
    check(len(c.json("range", "list", "--keyspace", "events")["ranges"]) == 8, "its eight")
    said = c.ok("--keyspace", "users", "shell", stdin="range list --json\nnode list --json\n")
    check(len(json.loads(said.splitlines()[0])["ranges"]) == 1, said)
    check(c.run("range", "list", "--keyspace", "nobody").returncode == 3, "no such keyspace")
    for args in (["cluster", "status"], ["node", "list"], ["store", "show", "1"],
                 ["placement", "status"], ["placement", "settings"], ["placement", "plan"],
                 ["range", "show", "2"], ["range", "move", "2", "--from", "1"], ["range", "check"],
                 ["range", "merge", "2", "3"], ["range", "transfer-leader"], ["resolve", "00"],
                 ["keyspace", "list"], ["version"]):
        done = c.run(*args, "--keyspace", "users")
        check(done.returncode == 2 and "--keyspace means nothing here" in done.stderr, args,
              done.returncode, done.stderr)
        check(done.stdout == "" and "--keyspace" not in c.ok(*args, "--help"), args)
    check(c.run("range", "list", "--keyspace", "0", "--system").returncode == 2, "either")
    for args in (["range", "list"], ["range", "show", "2"], ["node", "list"],
                 ["placement", "status"]):
        done = c.run(*args, "--times", "2")
        check(done.returncode == 2 and "--times is for --watch" in done.stderr, args, done.stderr)
        said = c.ok(*args, "--watch", "--times", "2", "--json", "--timeout", "30s", timeout=120)
        check(len(said.splitlines()) == 2, args, said)


def refused_export(c, *args):
    """What cannot be read at all is not written over what the file has."""
    with tempfile.TemporaryDirectory() as folder:
        target, cursor = os.path.join(folder, "out.ndjson"), os.path.join(folder, "cursor")
        with open(target, "w") as f:
            f.write("kept\n")
        for more in ([], ["--cursor", cursor]):
            done = c.run("export", target, *args, *more)
            check(done.returncode == 1, args, more, done.returncode, done.stderr)
            with open(target) as f:
                check(f.read() == "kept\n", "the file was touched", args, more)
            check(not os.path.exists(cursor), "a cursor of nothing", args)


def test_keys():
    with Cluster() as c:
        c.ok("keyspace", "create", "users")
        c.ok("keyspace", "create", "events", "--partition", "hash", "--slots", "64", "--ranges", "8")
        found = wait_ready(c, "users", "events")
        number = str(found["events"]["keyspace"])
        for place, value in (([], "zero"), (["--keyspace", "7"], "seven"),
                             (["--keyspace", "users"], "users"),
                             (["--keyspace", "events"], "events")):
            c.ok("put", "k", value, *place)
            check(c.ok("get", "k", *place).strip() == value)
        check(c.ok("get", "k").strip() == "zero")
        c.ok("put", "by-number", "n", "--keyspace", number)
        check(c.ok("get", "by-number", "--keyspace", "events").strip() == "n", "behind its slot")
        check(c.ok("get", "k", "--keyspace", number).strip() == "events")
        c.ok("del", "by-number", "--keyspace", number)
        done = c.run("put", "k", "v", "--keyspace", "9999999")
        check(done.returncode == 1, "no such keyspace", done.stdout, done.stderr)
        for name, want, said in (("nobody", 3, "no keyspace"), ("No", 2, "a-z"),
                                 ("9999999999", 2, "no such numbers")):
            done = c.run("get", "k", "--keyspace", name)
            check(done.returncode == want and said in done.stderr, name, done.stderr)
        check(c.ok("--keyspace", "events", "shell", stdin="get k\nget k --keyspace users\nget k\n")
              .split() == ["events", "users", "events"])
        only_its_ranges(c, found)
        c.ok("del", "k", "--keyspace", "events")
        for place, key, cut in (("users", "m", "m"), ("events", "slotted", "slotted")):
            said = c.ok("range", "split", "--keyspace", place, key)
            check(cut in said and f"{found[place]['keyspace']}/" in said, said)
        done = c.run("range", "split", "--keyspace", "events", "k" * 4095)
        check(done.returncode == 2 and "1 to 4094 bytes in a hashed" in done.stderr, done.stderr)

        begin = str(c.json("put", "mark", "1", "--keyspace", "events")["version"])
        c.ok("del", "mark", "--keyspace", "events")
        names = [f"event{i:05d}" for i in range(1500)]
        c.ok("import", "--keyspace", "events", timeout=200, stdin="".join(
            json.dumps({"key": n, "value": n.upper()}) + "\n" for n in names))
        leader = c.json("range", "list")["ranges"][1]["leader"]
        c.local("kill", str(leader))
        c.ok("incr", "event-n", "5", "--keyspace", "events", "--timeout", "30s")
        check(c.ok("get", "event-n", "--keyspace", "events").strip() == "5")
        c.local("restart", str(leader))
        c.ok("del", "event-n", "--keyspace", "events")
        got = c.ok("scan", "--keys-only", "--keyspace", "events").split()
        check(got == names, "a scan is in order of keys, and whole", len(got))
        check(c.ok("scan", "event000", "-k", "-r", "--keyspace", "events").split() ==
              names[99::-1])
        check(c.ok("scan", "--start", "event00998", "-n", "4", "-k", "--keyspace", "events")
              .split() == names[998:1002])
        check([json.loads(line)["key"] for line in c.ok("export", "--keyspace", "events")
               .splitlines()] == names)
        seen = c.ok("watch", "--prefix", "event0099", "--from-version", begin, "--limit", "10",
                    "--for", "30s", "--keyspace", "events").splitlines()
        check(sorted(w for line in seen for w in line.split() if w in names) == names[990:1000],
              "a prefix of a hashed keyspace is watched in all slots", seen)
        with tempfile.TemporaryDirectory() as folder:
            place = os.path.join(folder, "place")
            c.ok("watch", "--prefix", "event0099", "--from-version", begin, "--limit", "10",
                 "--for", "30s", "--keyspace", "events", "--resume", place)
            c.ok("put", "elsewhere", "1", "--keyspace", "events")
            c.ok("put", "event00995", "again", "--keyspace", "events")
            seen = c.ok("watch", "--limit", "1", "--for", "30s", "--keyspace", "events",
                        "--resume", place)
            check("again" in seen and "elsewhere" not in seen, "it goes on with its prefix", seen)
            c.ok("del", "elsewhere", "--keyspace", "events")
        said = c.ok("delete-range", "--prefix", "event0099", "--yes", "--keyspace", "events")
        check(said == "10 keys deleted\n", said)
        done = c.json("delete-range", "event00100", "event00300", "--yes", "--step", "7",
                      "--keyspace", "events")
        check(done["deleted"] == 200 and done["steps"] >= 64, "a span is in every slot", done)
        left = c.ok("scan", "--keys-only", "--keyspace", "events").split()
        check(left == names[:100] + names[300:990] + names[1000:], "nothing beside it", len(left))

        def summed(cursor, start, end):
            """A cursor as it is printed: its checksum is over what it is of, too."""
            head = struct.pack("<III", int(number), len(start), len(end))
            return (cursor + struct.pack("<I", crc32c(head + start + end + cursor))).hex()
        place = summed(b"\x00\x3eevent00", b"event00", b"event000")
        done = c.json("delete-range", "event00", "event000", "--yes", "--cursor", place,
                      "--keyspace", "events")
        check(done["deleted"] == 0 and done["steps"] == 1, "of the last two slots", done)
        for cursor, want in (("xy", "hexadecimal"), (place, "or is mistyped"),
                             (summed(b"\xff\xff\x00", b"event", b"f"),
                              "no sweep of these bounds")):
            done = c.run("delete-range", "event", "f", "--yes", "--cursor", cursor, "--keyspace",
                         "events")
            check(done.returncode == 2 and want in done.stderr, cursor, done.stderr)
        c.ok("keyspace", "alter", "events", "--replicas", "1")
        shown = c.json("keyspace", "show", "events")["keyspaces"]
        check(len(shown) == 1 and shown[0]["ranges"] == 9 and shown[0]["replicas"] == 1, shown)

        done = c.json("keyspace", "drop", "events", "--yes", timeout=120)
        check(done["keys_deleted"] == 1290, done)
        check(c.run("get", names[0], "--keyspace", "events").returncode == 3)
        check(c.ok("scan", "-k", "--keyspace", number) == "", "nothing is left")
        refused_export(c, "--keyspace", number)
        check(c.ok("get", "k", "--keyspace", "users").strip() == "users")


def test_retention():
    with Cluster(nodes=1) as c:
        c.ok("keyspace", "create", "long", "--retention", "24h")
        c.ok("keyspace", "create", "plain")
        found = wait_ready(c, "long", "plain")
        check(found["long"]["retention_ms"] == 24 * 3600 * 1000, found)
        check(found["plain"]["retention_ms"] == 600 * 1000, found)
        for args, want, said in (
                (["create", "bad", "--retention", "999ms"], 1, "1s to 720h"),
                (["create", "bad", "--retention", "721h"], 1, "1s to 720h"),
                (["create", "bad", "--retention", "ten"], 2, "a duration"),
                (["alter", "long", "--retention", "-1s"], 2, "a duration"),
                (["alter", "nobody", "--retention", "1h"], 3, "no keyspace 'nobody'")):
            done = c.run("keyspace", *args)
            check(done.returncode == want and said in done.stderr, args, done.returncode,
                  done.stderr)
        check("bad" not in keyspaces(c))

        at = {}
        for name in ("long", "plain"):
            at[name] = str(c.json("put", "k", "old", "--keyspace", name)["version"])
            c.ok("put", "k", "new", "--keyspace", name)

        def read_old(name):
            return c.run("get", "k", "--read", "at", "--at-version", at[name], "--keyspace", name)
        check(read_old("long").stdout.strip() == "old" == read_old("plain").stdout.strip())

        c.ok("keyspace", "alter", "long", "--retention", "1s")
        check(wait_ready(c, "long")["long"]["retention_ms"] == 1000)

        def is_gone():
            c.ok("put", "k", "newer", "--keyspace", "long")
            done = read_old("long")
            return done.returncode == 1 and "not kept any more" in done.stderr
        wait_until("a shorter retention acts", 30, is_gone)
        done = c.run("watch", "--prefix", "k", "--from-version", at["long"], "--for", "20s",
                     "--keyspace", "long")
        check(done.returncode == 1 and "retention" in done.stderr, done.returncode, done.stderr)
        check(read_old("plain").stdout.strip() == "old", "another keyspace is as it was")

        c.ok("keyspace", "alter", "long", "--retention", "24h")
        wait_ready(c, "long")
        check(is_gone(), "a longer retention brings nothing back")
        kept = str(c.json("put", "k", "kept", "--keyspace", "long")["version"])
        c.local("kill", "all")
        c.up("--nodes", "1", "--port-base", str(c.port))
        wait_until("it serves", 30, lambda: c.run("get", "k", "--keyspace", "long").returncode == 0)
        check(c.ok("get", "k", "--read", "at", "--at-version", kept, "--keyspace", "long").strip()
              == "kept", "it is durable")
        check(wait_ready(c, "long")["long"]["retention_ms"] == 24 * 3600 * 1000)

        c.ok("placement", "set", "retention", "1s")
        wait_until("the setting holds where a keyspace does not say", 30,
                   lambda: wait_ready(c, "plain")["plain"]["retention_ms"] == 1000)
        check(wait_ready(c, "long")["long"]["retention_ms"] == 24 * 3600 * 1000)
        done = c.run("placement", "set", "retention", "1ms")
        check(done.returncode == 1 and "1s to 720h" in done.stderr, done.stderr)


if __name__ == "__main__":
    main(test_names, test_keys, test_retention)
