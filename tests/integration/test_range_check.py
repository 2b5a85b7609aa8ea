#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`holdfast range check` on real processes: alike under load, incomplete when a replica
is away, and a replica that was changed behind its back is found."""
import glob
import json
import os
import subprocess
import time

from cluster import BIN, Cluster, check, main, wait_until


def fill(c, count):
    lines = "".join(json.dumps({"key": f"key{i:05d}", "value": f"value of {i}"}) + "\n"
                    for i in range(count))
    c.ok("import", stdin=lines)


def range_checks(c, *args, want):
    """A line for each range."""
    done = c.run("range", "check", "--json", *args, timeout=120)
    check(done.returncode == want, "range check: exit", done.returncode, "want", want,
          done.stdout, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def range_check(c, *args, want):
    answer, = range_checks(c, *args, want=want)
    return answer


def engine_of(c, i):
    found = [os.path.dirname(p) for p in glob.glob(c.path(i, "**/CURRENT"), recursive=True)]
    check(len(found) == 1, "engine folders of node", i, found)
    return found[0]


def settle(c):
    """Everybody has applied what the leader has."""
    target = c.applied(c.leader())
    for i in range(1, c.nodes + 1):
        wait_until(f"node {i} caught up", 30, lambda i=i: (c.applied(i) or 0) >= target)


def test_alike():
    with Cluster() as c:
        empty = range_check(c, want=0)
        check(empty["verdict"] == "alike" and len(empty["replicas"]) == 3, empty)
        fill(c, 3000)
        torture = c.torture(seconds=6)
        for args in ([], ["--all"], [str(empty["range_id"])]):
            answers = range_checks(c, *args, want=0)
            check(all(a["ok"] and a["verdict"] == "alike" for a in answers), answers)
            ids = [1] * ("--all" in args) + [empty["range_id"]]
            check([a["range_id"] for a in answers] == ids, answers)
            check(all(r["keys"] >= 3000 for r in answers[-1]["replicas"]), answers)
        torture.result()
        text = c.ok("range", "check")
        check("alike: all 3 replicas" in text, text)
        for args, want in ((["0"], 2), (["x"], 2), (["2", "--all"], 2), (["77"], 1)):
            done = c.run("range", "check", *args)
            check(done.returncode == want and done.stderr, args, done.returncode, done.stderr)


def test_incomplete():
    with Cluster() as c:
        fill(c, 100)
        away = c.leader() % 3 + 1
        c.local("kill", str(away))
        answer = range_check(c, "--wait", "20s", want=4)
        check(answer["verdict"] == "incomplete" and not answer["ok"], answer)
        states = {r["store_id"]: r["state"] for r in answer["replicas"]}
        check(states.pop(away) == "silent" and set(states.values()) == {"done"}, answer)
        text = c.run("range", "check")
        check(f"on store {away} took no part" in text.stdout, text.stdout)
        c.local("restart", str(away))
        settle(c)
        check(range_check(c, want=0)["verdict"] == "alike")


def test_all_of_them():
    """A range that is split before its turn is checked whole: only a few are checked at once."""
    with Cluster() as c:
        fill(c, 300)
        wait_until("three replicas", 30, lambda: all(
            len(r["replicas"]) == 3 for r in c.json("range", "list")["ranges"]))
        c.rest("settings", "balance", "off")  # one store leads no user's range
        for at in range(10, 130, 10):
            c.ok("range", "split", f"key{at:05}")
        away = next(i for i in range(1, 4) if i not in (
            {r["leader"] for r in c.json("range", "list")["ranges"]} | {c.leader()}))
        c.local("kill", str(away))  # whom the check of each waits for
        checking = subprocess.Popen(
            [f"{BIN}/holdfast", "range", "check", "--all", "--json", "--endpoints", c.endpoints],
            stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        c.ok("range", "split", "key00200")
        want = [r["id"] for r in c.json("range", "list", "--system")["ranges"]]
        told, _ = checking.communicate(timeout=120)
        checked = [json.loads(line)["range_id"] for line in told.splitlines()]
        check(len(want) == 15 and checked == want, "checked", checked, "of", want)
        check(checking.returncode == 4, checking.returncode)


def falsify(c, victim, *args):
    c.local("kill", str(victim))
    subprocess.run([f"{BIN}/falsify", engine_of(c, victim), *args], check=True, timeout=60)
    c.local("restart", str(victim))
    settle(c)


def find_falsified(c, victim):
    answer = range_check(c, want=1)
    check(answer["verdict"] == "differ", answer)
    odd = [r for r in answer["replicas"] if r["group"] != 0]
    check([r["store_id"] for r in odd] == [victim], "the odd one:", answer)
    check(odd[0]["differs_in"] == ["keys"], odd[0])
    stretches = odd[0]["stretches"]
    check(len(stretches) == 1 == odd[0]["stretch_count"], stretches)
    after, through = stretches[0]["after"], stretches[0]["through"]
    low = after["key"] if after else ""
    high = through["key"] if through else "~"
    check(low < "key01234" <= high, "not in", low, high)
    check(stretches[0]["keys_there"] < 1000, stretches)
    return stretches[0]


def flush_all(c):
    """A clean stop writes everything out, so that what is falsified is not replayed over."""
    c.local("down")
    c.up()
    settle(c)


def test_difference():
    with Cluster() as c:
        c.rest("settings", "balance", "off")  # this test alone moves leaders
        fill(c, 5000)
        flush_all(c)
        victim = c.leader() % 3 + 1
        falsify(c, victim, "key01234", "put", "another value")
        stretch = find_falsified(c, victim)
        check(stretch["keys_there"] == stretch["keys_here"], stretch)
        text = c.run("range", "check")
        check(text.returncode == 1 and "DIFFER" in text.stdout and
              f"replica {c.replica(victim)} on store {victim} differs" in text.stdout, text.stdout)
        print(text.stdout)
        # reading tells nothing: the leader is right, if an election has not made it the victim
        if c.leader() == victim:
            c.ok("range", "transfer-leader", str(c.replica(victim % 3 + 1)))
            wait_until("another one leads", 30, lambda: c.leader() != victim)
        check(c.ok("get", "key01234").strip() == "value of 1234")
        # written again everywhere: alike again
        c.ok("put", "key01234", "new")
        check(range_check(c, want=0)["verdict"] == "alike")


def test_difference_of_the_leader():
    with Cluster() as c:
        c.rest("settings", "balance", "off")  # it would take back what is transferred
        fill(c, 5000)
        flush_all(c)
        victim = c.leader() % 3 + 1
        falsify(c, victim, "key01234", "delete")
        c.ok("range", "transfer-leader", str(c.replica(victim)))
        wait_until("the falsified one leads", 30, lambda: c.leader() == victim)
        stretch = find_falsified(c, victim)
        check(stretch["keys_there"] == stretch["keys_here"] + 1, stretch)


if __name__ == "__main__":
    main(test_alike, test_incomplete, test_all_of_them, test_difference,
         test_difference_of_the_leader)
