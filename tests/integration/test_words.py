#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the program `holdfast` makes of its words, flags and files: each command over a store in a
folder of its own (embedded:)."""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time

from cluster import BIN, Cluster, check, main

MIB = 1 << 20


class Store:
    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *args, stdin="", code=0, said="", endpoints=None):
        """Run `holdfast ARGS`, which must end so and say that on standard error."""
        env = dict(os.environ, HOLDFAST_ENDPOINTS=endpoints or f"embedded:{self.folder}/store")
        given = {"input": stdin} if isinstance(stdin, str) else {"stdin": stdin}
        done = subprocess.run([f"{BIN}/holdfast", *args], capture_output=True, text=True,
                              timeout=120, env=env, check=False, cwd=self.folder, **given)
        check(done.returncode == code and said in done.stderr, args, "exit", done.returncode,
              "want", code, said, "said", done.stdout[-500:], done.stderr[-500:])
        return done

    def json(self, *args, **more):
        return json.loads(self.run(*args, "--json", **more).stdout)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()


@contextlib.contextmanager
def store():
    folder = tempfile.mkdtemp(prefix="holdfast-words-")
    try:
        yield Store(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_values_too_large_together():
    """More than one answer holds: each key is shown all the same."""
    with store() as s:
        keys = ["a", "b", "c"]
        for key in keys:
            s.run("put", key, stdin=key * (7 * MIB))
        out = s.run("get", *keys).stdout
        check([line[:3] for line in out.splitlines()] == ["a\ta", "b\tb", "c\tc"], out[:20])
        check(len(out) == 3 * (7 * MIB + 3), len(out))
        items = s.json("get", "c", "none", "b", "a", code=3)["items"]
        check([i["found"] for i in items] == [True, False, True, True])
        check([len(i.get("value", "")) for i in items] == [7 * MIB, 0, 7 * MIB, 7 * MIB])


def test_a_cursor_over_its_own_stream():
    with store() as s:
        s.run("put", "a", "1")
        said = "would be one file"
        for file, cursor in (("c", "c"), ("c.new", "c"), ("c", "./c.new")):
            s.run("export", file, "--cursor", cursor, code=2, said=said)
        line = '{"key":"b","value":"2"}\n'
        s.write("dump.new", line)
        s.run("import", "dump.new", "--cursor", "dump", code=2, said=said)
        with open(s.path("dump.new"), encoding="utf-8") as f:
            s.run("import", "--cursor", "dump", stdin=f, code=2, said=said)
        check(s.read("dump.new") == line, "the input was touched")
        s.run("import", "dump.new", "--cursor", "dump.cursor")
        s.run("export", "c", "--cursor", "c.cursor")
        check(len(s.read("c").splitlines()) == 2 and sorted(os.listdir(s.folder)) ==
              ["c", "dump.new", "store"], os.listdir(s.folder))


def test_recover_in_the_shell():
    """It is another program that does it: the shell waits for that, and goes on."""
    with store() as s:
        s.run("put", "a", "1")
        recover = f"range recover --unsafe --lost 9 --data {s.path('none')}"
        done = s.run("shell", stdin=f"get a\n{recover}\nget a\n", code=1)
        check(done.stdout.splitlines().count("1") == 2, "lines were left out:", done.stdout)
        alone = s.run(*recover.split(), code=1)
        last = alone.stderr.strip().splitlines()[-1].split(": ", 1)[-1]
        check(last in done.stderr, "it said nothing of", last)


def test_a_watch_of_nobody():
    """It ends in time, and does not say that all went well."""
    with store() as s:
        s.run("watch", "--for", "7s", code=1, said="UNAVAILABLE: at its end",
              endpoints="127.0.0.1:1")
        began = time.monotonic()
        s.run("watch", "--timeout", "1s", code=1, said="longer than --timeout",
              endpoints="127.0.0.1:1")
        check(time.monotonic() - began < 4.5, "it took", time.monotonic() - began)
        s.run("watch", "--for", "1s")


def test_records_over_a_limit():
    """The line is named, and what would have been right; what stands before it is in."""
    def line(key, **more):
        return json.dumps({"key": key, "value": "v", **more}) + "\n"

    with store() as s:
        s.run("keyspace", "create", "h", "--partition", "hash", "--slots", "4")
        space = ["--keyspace", "h"]
        text = line("a") + line("k" * 4094) + "\n" + line("k" * 4095) + line("z")
        s.run("import", *space, stdin=text, code=1,
              said="line 4: in a hashed keyspace: a key of 4095 bytes, limit 4094 "
                   "(2 records are in)")
        s.run("import", stdin=text)
        century = 100 * 366 * 86400 * 1000
        for more in (space, []):
            text = line("t", ttl_ms=century) + line("u", ttl_ms=century + 1)
            s.run("import", *more, stdin=text, code=1,
                  said=f"line 2: a TTL of {century + 1} ms, limit {century}")
            s.run("get", "t", *more)
            s.run("get", "u", *more, code=3)
        s.run("import", stdin=line("x", ttl=60), code=1, said='line 1: unknown member "ttl"')


def test_a_bad_key_among_others():
    with store() as s:
        s.run("put", "a", "1")
        for verb in ("del", "get"):
            done = s.run(verb, "a", "", "b", code=1, said="the key is empty")
            check(done.stdout == "", done.stdout)
        s.run("get", "a")


def test_ids_that_are_none():
    with Cluster(nodes=1) as c:
        for args in (["store", "show", "0"], ["node", "show", "0"], ["node", "drain", "0"],
                     ["placement", "operators", "0"], ["placement", "explain", "0"],
                     ["placement", "plan", "--if-down", "0"]):
            done = c.run(*args)
            check(done.returncode == 2 and done.stdout == "", args, done.returncode, done.stdout)
        done = c.run("placement", "operators", "999999", "--timeout", "20s")
        check(done.returncode == 3 and "NOT_FOUND: no operator 999999" in done.stderr, done)
        done = c.run("placement", "operators", "999999", "--json")
        check(done.returncode == 3 and json.loads(done.stdout)["code"] == "NOT_FOUND", done)
        check(c.run("store", "show", "999").returncode == 3)
        check("OPERATOR" in c.ok("placement", "operators"))


def test_usage_as_json():
    """Whoever asked for JSON gets it, also where his flags are not understood."""
    with store() as s:
        for args in (["put", "--bogus", "--json"], ["nosuch", "--json"], ["range", "--json"],
                     ["--json"], ["range", "nosuch", "--json"], ["get", "--json", "--timeout"],
                     ["get", "--json"], ["scan", "--limit", "x", "--json"]):
            done = s.run(*args, code=2)
            said = json.loads(done.stdout)
            check(said["code"] == "USAGE" and not said["ok"] and done.stderr == "", args, said)
        for args in (["put", "--bogus", "--", "--json"], ["put", "--bogus"]):
            check(s.run(*args, code=2, said="unknown flag").stdout == "", args)
        check(s.run("put", "--", "a", "--json").stdout == "OK\n", "a word")
        check(s.run("get", "--if-value", "--json", code=2).stdout != "", "it looks so")
        check(s.run("put", "a", "b", "--if-value", "--json").stdout == "OK\n", "a value of a flag")
        done = s.run("shell", code=2, stdin="get a --json\nget --bogus\nget 'a\nget a\n")
        lines = done.stdout.splitlines()
        check(json.loads(lines[0])["value"] == "b" and lines[1:] == ["b"], lines)
        lines = s.run("shell", "--json", code=2, stdin="get --bogus\nget 'a\nget a\n").stdout
        check([json.loads(line)["ok"] for line in lines.splitlines()] == [False, False, True])


if __name__ == "__main__":
    main(test_values_too_large_together, test_a_cursor_over_its_own_stream,
         test_recover_in_the_shell,
         test_a_watch_of_nobody, test_records_over_a_limit,
         test_a_bad_key_among_others, test_ids_that_are_none, test_usage_as_json)
