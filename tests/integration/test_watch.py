#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watchers of real processes: every acknowledged change once and in order while nodes are
killed; watchers that die and go on from their file; a watcher that stands still."""
import json
import os
import random
import signal
import subprocess
import time

from cluster import BIN, SMALL, Cluster, check, main, wait_until

RNG = random.Random(7)
SECONDS = int(os.environ.get("HOLDFAST_SECONDS", "15"))
KEYS = 6
# What a sanitizer keeps back of freed memory (256 MiB by default) is no growth of anybody's.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8"


class Watcher:
    def __init__(self, cluster, name, *args):
        self.cluster = cluster
        self.args = args
        self.out = os.path.join(cluster.dir, name)
        self.process = None
        self.start()

    def start(self):
        env = dict(os.environ, HOLDFAST_ENDPOINTS=self.cluster.endpoints)
        with open(self.out, "ab") as out, open(self.out + ".said", "ab") as said:
            self.process = subprocess.Popen(
                [f"{BIN}/holdfast", "watch", "--json", *self.args], stdout=out, stderr=said,
                env=env)

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(timeout=30)

    def said(self):
        """On standard error."""
        with open(self.out + ".said", encoding="utf-8") as f:
            return f.read()

    def lines(self):
        """What it has printed; the last line may be cut off when it was killed."""
        found = []
        with open(self.out, encoding="utf-8") as f:
            for line in f:
                for piece in line.replace("}{", "}\n{").split("\n"):
                    try:
                        found.append(json.loads(piece))
                    except ValueError:
                        pass
        return found

    def count(self):
        with open(self.out, "rb") as f:
            return f.read().count(b'{"change"')

    def changes(self):
        return [(line["key"], line["version"]) for line in self.lines() if "change" in line]


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def node_pid(cluster, i):
    return cluster.local_status()["nodes"][i - 1]["pid"]


def write_one(cluster, acked):
    """One change of a hot key. Notes it if it was acknowledged."""
    key = f"w:{RNG.randrange(KEYS)}"
    done = cluster.run("incr", key, "--json", "--timeout", "10s")
    if done.returncode == 0:
        acked.append((key, json.loads(done.stdout)["version"]))


def in_order(changes):
    last = {}
    for key, version in changes:
        check(version > last.get(key, 0), "of", key, version, "was told behind", last.get(key))
        last[key] = version


def test_kill_nodes():
    """Nodes die; the watcher lives: each change once, in order."""
    with Cluster() as c:
        first = c.json("put", "first", "0")["version"]
        watcher = Watcher(c, "watch", "--prefix", "w:", "--from-version", str(first))
        acked = []
        began = time.monotonic()
        kills = 0
        # A machine that has much else to do takes its time, but not for ever.
        while time.monotonic() < began + (SECONDS if len(acked) > 20 else 10 * SECONDS):
            for _ in range(RNG.randrange(1, 12)):
                write_one(c, acked)
            victim = str(c.leader() if RNG.random() < 0.7 else RNG.randint(1, 3))
            c.local("kill", victim)
            kills += 1
            for _ in range(RNG.randrange(0, 4)):
                write_one(c, acked)
            c.local("restart", victim)
        write_one(c, acked)
        wait_until("the watcher knows all", 60, lambda: set(acked) <= set(watcher.changes()))
        watcher.kill()
        changes = watcher.changes()
        in_order(changes)  # and so none twice
        print("  ", kills, "kills,", len(acked), "acknowledged,", len(changes), "told")
        check(len(acked) > 20, "hardly anything was written")


def test_kill_watchers():
    """The watcher dies at any moment and goes on from its file: nothing is missing, and
    what comes twice is what it could not note down."""
    with Cluster() as c:
        place = os.path.join(c.dir, "place")
        acked = []
        write_one(c, acked)
        first = acked[0][1]
        watcher = Watcher(c, "watch", "--prefix", "w:", "--resume", place, "--from-version",
                          str(first))
        until = time.monotonic() + SECONDS
        deaths = 0
        while time.monotonic() < until:
            for _ in range(RNG.randrange(1, 10)):
                write_one(c, acked)
            if RNG.random() < 0.4:
                watcher.kill()
                deaths += 1
                if RNG.random() < 0.3:
                    victim = str(c.leader())
                    c.local("kill", victim)
                    c.local("restart", victim)
                watcher.start()
        wait_until("the watcher knows all", 60, lambda: set(acked) <= set(watcher.changes()))
        watcher.kill()
        changes = watcher.changes()
        repeats = len(changes) - len(set(changes))
        print("  ", deaths, "deaths,", len(acked), "acknowledged,", repeats, "told twice")
        # a graceful end writes down all: from there on nothing comes twice
        quiet = c.ok("watch", "--prefix", "w:", "--resume", place, "--for", "2s", "--json")
        check(all(json.loads(line)["version"] == changes[-1][1] for line in quiet.splitlines()),
              quiet)
        check(c.ok("watch", "--prefix", "w:", "--resume", place, "--for", "2s") == "")


def test_resumes_its_own():
    """The file of one watch is not gone on with by a watch of other keys, another keyspace."""
    with Cluster(nodes=1) as c:
        os.makedirs(c.path(0))
        c.ok("keyspace", "create", "plain")
        c.ok("keyspace", "create", "hashed", "--partition", "hash", "--slots", "8", "--ranges", "2")
        spans = ([], ["k1"], ["--prefix", "k"], ["--start", "k", "--end", "m"], ["--start", "k"],
                 ["--end", "m"])
        spaces = ([], ["--keyspace", "7"], ["--keyspace", "plain"], ["--keyspace", "hashed"])
        for space in spaces:
            wait_until("the keyspace can be used", 60,
                       lambda space=space: c.run("put", "k1", "v", *space).returncode == 0)
        for i, space in enumerate(spaces):
            for k, span in enumerate(spans if i in (0, 3) else spans[1:3]):
                place = c.path(0, f"place-{i}-{k}")
                first = c.json("put", "k1", "first", *space)["version"]
                c.ok("watch", *span, *space, "--resume", place, "--from-version", str(first),
                     "--limit", "1", "--for", "20s")
                c.ok("put", "k1", "next", *space)
                with open(place, "rb") as f:
                    kept = f.read()
                others = [s for s in spans if s not in (span, [])] + [["k"], ["--prefix", "k1"]]
                for other in [*(o + space for o in others),
                              *(span + s for s in spaces if s not in (space, []))]:
                    done = c.run("watch", *other, "--resume", place, "--for", "5s")
                    check(done.returncode == 2 and "a watch of other keys" in done.stderr, span,
                          space, other, done.returncode, done.stderr)
                    check(done.stdout == "", "it showed something", done.stdout)
                with open(place, "rb") as f:
                    check(f.read() == kept, "it changed by what was refused")
                for same in (span + space, space):
                    with open(place, "wb") as f:
                        f.write(kept)
                    told = c.ok("watch", *same, "--resume", place, "--limit", "1", "--for", "20s")
                    check(told.splitlines()[-1] == "put\tk1\tnext", span, space, told)


def test_stands_still():
    """A watcher that does not read: neither it nor the nodes grow by what it misses, and
    when it goes on it gets all of it."""
    with Cluster() as c:
        first = c.json("put", "holdfast-bench", "begun")["version"]
        watcher = Watcher(c, "slow", "--prefix", "holdfast-bench", "--from-version", str(first))
        wait_until("it is told the first", 30, lambda: watcher.count() == 1)
        os.kill(watcher.process.pid, signal.SIGSTOP)
        before = {i: rss_kib(node_pid(c, i)) for i in (1, 2, 3)}
        written = 0
        for seed in range(20):
            if written * 8 // 1024 > 64:  # more than the nodes may grow by
                break
            done = c.ok("bench", "put", "--seconds", "3", "--clients", "16", "--value-size",
                        "8KiB", "--keys", "300", "--prefix", "holdfast-bench", "--seed",
                        str(seed), "--no-load", "--json", timeout=120)
            written += json.loads(done.splitlines()[-1])["ops"]
        after = {i: rss_kib(node_pid(c, i)) for i in (1, 2, 3)}
        grown = {i: (after[i] - before[i]) // 1024 for i in after}
        os.kill(watcher.process.pid, signal.SIGCONT)
        wait_until("it gets all of it", 120, lambda: watcher.count() >= written + 1)
        peak = rss_kib(watcher.process.pid) // 1024
        watcher.kill()
        in_order(watcher.changes())
        print("  ", written, "changes of 8 KiB; nodes grew by", grown, "MiB, the watcher has", peak)
        check(written * 8 // 1024 > 60, "too little was written to tell")
        check(max(grown.values()) < written * 8 // 1024, "a node keeps what a watcher misses")
        check(peak < 100, "the watcher keeps what it was told")


def test_what_is_refused():
    with Cluster(nodes=1) as c:
        c.ok("put", "a", "1")
        done = c.run("watch", "--resume", c.conf)
        check(done.returncode == 1 and "was not written by a watch" in done.stderr, done.stderr)
        for args in (["k", "--prefix", "p"], ["--from-version", "0"], ["--start", "b", "--end", "a"],
                     ["a", "b"], [""]):
            done = c.run("watch", *args, "--for", "1s")
            check(done.returncode in (1, 2) and done.stdout == "", args, done.returncode, done.stderr)
        done = c.run("watch", "--from-version", str(2 ** 63), "--for", "2s")
        check(done.returncode == 0 and done.stdout == "", done.returncode, done.stderr)
        done = c.run("watch", "--from-version", "1", "--for", "20s")
        check(done.returncode == 1 and "versions are times" in done.stderr, done.stderr)


def test_out_of_reach():
    """Quiet or not to be reached: the watcher says which, goes on by itself, and misses nothing;
    with --timeout it ends."""
    with Cluster(nodes=1) as c:
        first = c.json("put", "w:0", "0")["version"]
        watcher = Watcher(c, "watch", "--prefix", "w:", "--from-version", str(first))
        wait_until("it is told the first", 30, lambda: watcher.count() == 1)
        time.sleep(17)  # longer than it takes to notice: a quiet span is no trouble
        check(watcher.said() == "", watcher.said())
        c.local("kill", "1")
        wait_until("it says that it is alone", 30, lambda: "cannot be followed" in watcher.said())
        check(watcher.process.poll() is None, "it goes on")
        done = c.run("watch", "--timeout", "1s", timeout=30)
        check(done.returncode == 1 and "longer than --timeout" in done.stderr, done)
        check(done.stdout == "", done.stdout)
        c.local("restart", "1")
        wait_until("it serves", 60, lambda: c.run("put", "w:1", "1").returncode == 0)
        wait_until("it is told", 30, lambda: watcher.count() >= 2)
        wait_until("it says so", 30, lambda: "followed again" in watcher.said())
        watcher.kill()
        check(watcher.said().count("cannot be followed") == 1, watcher.said())
        in_order(watcher.changes())


def test_retention():
    """Old versions can be read, and changes be watched, as far back as the configuration says
    with which the cluster was founded; another one of a later start changes nothing."""
    with Cluster(nodes=1, conf=SMALL + "retention = 3s\n") as c:
        old = str(c.json("put", "k", "old")["version"])
        at_old = ["get", "k", "--read", "at", "--at-version", old]
        check(c.ok(*at_old).strip() == "old", "it is read while it is kept")
        c.local("kill", "all")
        with open(c.conf, "w", encoding="utf-8") as f:
            f.write(SMALL + "retention = 1h\n")
        c.up("--nodes", "1", "--port-base", str(c.port), "--conf", c.conf)
        stats = wait_until("it serves", 30, lambda: c.json("cluster", "status")["stores"][0]
                           .get("stats", {}))
        check(stats["range.retention_ms"] == 3000, stats)

        def is_gone():
            c.ok("put", "k", "new", "--timeout", "20s")  # the range's time moves with its changes
            done = c.run(*at_old)
            check(done.returncode in (0, 1), done)
            return done.returncode == 1 and "not kept any more" in done.stderr
        wait_until("it is not kept any more", 60, is_gone)
        done = c.run("watch", "--from-version", old, "--for", "20s")
        check(done.returncode == 1 and "retention" in done.stderr, done.returncode, done.stderr)
        fresh = str(c.json("put", "k", "fresh")["version"])
        check(c.ok("watch", "--from-version", fresh, "--for", "2s") != "", "the newest is told")


if __name__ == "__main__":
    main(test_kill_nodes, test_kill_watchers, test_resumes_its_own, test_stands_still,
         test_what_is_refused, test_out_of_reach, test_retention)
