#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`holdfast scan --cursor`: a scan whose every page is of a process of its own, while leaders change
and ranges are split and merged; of a hashed keyspace; and what becomes of a cursor that is too old,
damaged, or of something else."""
import os
import random

from cluster import Cluster, check, main, wait_until

KEYS = 400
PAGE = 23


def fill(c, value, *more):
    """All keys at once, or, where they are of several ranges, one by one."""
    lines = "".join(f'{{"key":"k{i:03}","value":"{value}"}}\n' for i in range(KEYS))
    c.ok("import", "-", *more, stdin=lines)


def page(c, cursor, *more):
    out = c.ok("scan", "-n", str(PAGE), "--cursor", cursor, *more)
    return [tuple(line.split("\t")) for line in out.splitlines()]


def all_pages(c, cursor, between, *more):
    """Page by page until the cursor is gone."""
    found = []
    for number in range(10 * KEYS // PAGE):
        rows = page(c, cursor, *more)
        found += rows
        if not os.path.exists(cursor):
            return found
        check(len(rows) == PAGE, "a short page in the middle", rows)
        between(number)
    raise AssertionError("it does not end")


def keys_of(rows):
    return [row[0] for row in rows]


ALL = [f"k{i:03}" for i in range(KEYS)]


def test_one_version_of_a_range():
    """Of one range all pages are of the version of the first, whoever leads."""
    with Cluster() as c:
        cursor = c.path(0, "cursor")
        os.makedirs(os.path.dirname(cursor), exist_ok=True)
        fill(c, "before")

        def between(number):
            if number == 0:
                fill(c, "after")
                c.ok("del", "k399")
            if number % 4 == 0:
                c.run("range", "transfer-leader", timeout=30)
        rows = all_pages(c, cursor, between)
        check(rows == [(key, "before") for key in ALL], "not as of one version", rows[:3], len(rows))
        rows = all_pages(c, cursor, lambda number: None, "--reverse", "--keys-only")
        check(keys_of(rows) == ALL[-2::-1], "downwards", len(rows))
        check(all(len(row) == 1 for row in rows), "values though keys alone were asked for")
        check(page(c, cursor, "--prefix", "nobody") == [] and not os.path.exists(cursor))


def test_over_splits_and_merges():
    with Cluster() as c:
        rng = random.Random(5)
        cursor = c.path(0, "cursor")
        os.makedirs(os.path.dirname(cursor), exist_ok=True)
        fill(c, "before")
        done = {"split": 0, "merge": 0, "transfer-leader": 0}

        def order(kind, *args):
            if c.run("range", kind, *args, timeout=60).returncode == 0:
                done[kind] += 1

        def between(_number):
            ranges = c.json("range", "list")["ranges"]
            kind = rng.choice(["split", "split", "merge", "transfer-leader"])
            if kind == "merge" and len(ranges) > 2:
                at = rng.randrange(1, len(ranges) - 1)
                order("merge", str(ranges[at]["id"]), str(ranges[at + 1]["id"]))
            elif kind == "transfer-leader":
                order("transfer-leader", "--range", str(rng.choice(ranges)["id"]))
            else:
                order("split", rng.choice(ALL))
            c.ok("put", rng.choice(ALL), "after")
        for direction in ([], ["--reverse"], []):
            rows = all_pages(c, cursor, between, "k", *direction)
            check(keys_of(rows) == ALL[::-1 if direction else 1], "keys twice or not at all",
                  len(rows))
            check({row[1] for row in rows} <= {"before", "after"})
        check(all(count > 0 for count in done.values()), "nothing happened meanwhile", done)


def test_hashed():
    with Cluster() as c:
        cursor = c.path(0, "cursor")
        os.makedirs(os.path.dirname(cursor), exist_ok=True)
        c.ok("keyspace", "create", "h", "--partition", "hash", "--slots", "16", "--ranges", "4")
        space = ["--keyspace", "h"]
        fill(c, "before", *space)
        for direction in ([], ["--reverse"]):
            rows = all_pages(c, cursor, lambda number: None, *space, *direction)
            check(keys_of(rows) == ALL[::-1 if direction else 1], "hashed", len(rows))
        # The version of a slot is that of its first page: what is put behind is not seen.
        rows = page(c, cursor, *space)
        fill(c, "after", *space)
        while os.path.exists(cursor):
            rows += page(c, cursor, *space)
        check(rows == [(key, "before") for key in ALL], "a slot changed its version")
        page(c, cursor, *space)
        done = c.run("scan", "--cursor", cursor)
        check(done.returncode == 1 and "name it with --keyspace" in done.stderr, done.stderr)


def test_refused():
    with Cluster(nodes=1) as c:
        cursor = c.path(0, "cursor")
        os.makedirs(os.path.dirname(cursor), exist_ok=True)
        fill(c, "v")
        page(c, cursor, "k")
        with open(cursor, "rb") as f:
            kept = f.read()

        def refused(want, said, *args):
            done = c.run("scan", "--cursor", cursor, *args)
            check(done.returncode == want and said in done.stderr, args, done.returncode,
                  done.stderr)
            check(done.stdout == "", "it said something", done.stdout)
        for other in (["--prefix", "k1"], ["--start", "k"], ["k", "--reverse"],
                      ["k", "--keys-only"], ["--keyspace", "9"]):
            refused(2, "a scan of other keys", *other)
        check(c.run("scan", "--renew").returncode == 2, "--renew alone")
        for bad in (kept[:-1], kept[:20], b"x", kept + b"x", kept[:30] + b"x" + kept[31:]):
            with open(cursor, "wb") as f:
                f.write(bad)
            refused(1, "was not written by a scan, or is damaged")
        with open(cursor, "wb") as f:
            f.write(kept[:4] + b"\x02" + kept[5:])
        refused(1, "another version of holdfast")
        with open(cursor, "wb") as f:
            f.write(kept)
        with Cluster(nodes=1) as other:
            done = other.run("scan", "--cursor", cursor)
            check(done.returncode == 1 and done.stdout == "", done.returncode, done.stderr)
            check("cluster" in done.stderr, done.stderr)
        with open(cursor, "rb") as f:
            check(f.read() == kept, "it changed by what was refused")
        check(len(page(c, cursor)) == PAGE, "it goes on without bounds")


def test_too_old():
    with Cluster(nodes=1) as c:
        cursor = c.path(0, "cursor")
        os.makedirs(os.path.dirname(cursor), exist_ok=True)
        c.ok("keyspace", "create", "short", "--retention", "1s")
        space = ["--keyspace", "short"]
        wait_until("the keyspace can be used", 60,
                   lambda: c.run("put", "a", "v", *space).returncode == 0)
        fill(c, "before", *space)
        page(c, cursor, "k", *space)

        def is_gone():
            c.ok("put", "k399", "after", *space)
            done = c.run("scan", "-n", str(PAGE), "--cursor", cursor, *space)
            return done.returncode == 1 and "--renew" in done.stderr
        wait_until("the version is gone", 60, is_gone)
        with open(cursor, "rb") as f:
            kept = f.read()
        check(is_gone(), "and stays so")
        with open(cursor, "rb") as f:
            check(f.read() == kept, "the place was lost")
        out = c.ok("scan", "--cursor", cursor, "--renew", *space)
        rows = [tuple(line.split("\t")) for line in out.splitlines()]
        check(keys_of(rows)[-1] == "k399" and rows[-1][1] == "after", rows[-1])
        check(keys_of(rows) == ALL[-len(rows):], "it went on elsewhere", rows[0])
        check(not os.path.exists(cursor), "it is over")


if __name__ == "__main__":
    main(test_one_version_of_a_range, test_over_splits_and_merges, test_hashed, test_refused,
         test_too_old)
