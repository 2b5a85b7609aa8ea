#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A cluster of real processes on loopback that grows, loses nodes, starts again and moves its
ranges under load, with bounds on what its clients notice.

    tests/perf/growth.py grow|lose|restart|move [--mib N] [--small] [--dir DIR] [--keep]

grow     one node with the data; two more join, then two more. Replicas and leaders spread.
lose     leaders are handed over and replicas moved by hand, a node is decommissioned, nodes are
         killed with kill -9, the last one for ever.
restart  the whole cluster is killed, then stopped in order, and started again.
move     one replica of every range goes to an empty node, and to another one, …, while a
         foreground load is measured.

All but restart and move run under load: registers whose history is judged by history-check,
torture (each acknowledged write is remembered and looked for at the end), and puts of bench. No
operation of a client may fail. Ends with a line "growth WHAT: ok" or what was missed, and with
status 0 or 1. Talks to loopback only. Bounded: each wait has its end.
"""
import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import types

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "integration"), os.path.join(ROOT, "jepsen")]

import cluster as rig  # pylint: disable=wrong-import-position
from cluster import check, wait_until  # pylint: disable=wrong-import-position
from harness import clients, history, workloads  # pylint: disable=wrong-import-position

PREFIX = "bench:"
SETTLE_S = 600  # until a cluster must be even and quiet
WATCHED_S = 3500  # a run of torture at most
SLOW_LISTED = 1 << 20  # operations that torture lists at most
SMALL_SETTINGS = {"split": "off", "merge": "off"}
SMALL_RANGES = 12


# ---- the loads ------------------------------------------------------------------------------


class Registers:
    """Clients of a fault test, without the faults: reads, writes, compare-and-set, deletes."""

    def __init__(self, c, endpoints, rate, timeout_s):
        self.folder = os.path.join(c.dir, "registers")
        os.makedirs(self.folder, exist_ok=True)
        self.options = types.SimpleNamespace(
            concurrency=4, rate=rate, seed=7, timeout_ms=1000 * timeout_s, plant=None, bin=rig.BIN,
            read_mode="linearizable")
        self.control = types.SimpleNamespace(client_command=lambda argv: argv)
        self.cluster = types.SimpleNamespace(endpoints=endpoints)
        self.history = history.History()
        self.workload = workloads.Register(self.options)
        self.is_over = threading.Event()
        self.zero_ns = time.monotonic_ns()
        self.failures = []
        self.workers = [clients.Worker(self, i, "library") for i in range(4)]
        for worker in self.workers:
            worker.start()

    def note_failure(self, who, error):
        """Of a client thread."""
        self.failures.append(f"{who}: {type(error).__name__}: {error}")

    def stop(self):
        """How many operations there were; each must have succeeded, and all be linearizable."""
        self.is_over.set()
        for worker in self.workers:
            worker.join(60)
            check(not worker.is_alive(), worker.name, "hangs")
        check(not self.failures, self.failures)
        events = self.history.write(self.folder)
        failed = [e for e in events if e["type"] in ("fail", "info") and not e.get("mismatch")]
        check(not failed, len(failed), "operations on registers failed, the first:", failed[:3])
        for model in self.workload.models:
            verdict, said = history.judge(os.path.join(rig.BIN, "history-check"), model,
                                          os.path.join(self.folder, "history.jsonl"))
            fine = ("valid", "unknown") if model in self.workload.may_be_unknown else ("valid",)
            check(verdict in fine, "registers are", verdict, said[-2000:])
        return len(events) // 2


class Puts:
    """Puts of bench, a few seconds by each of many clients one after the other."""

    def __init__(self, c, endpoints, args):
        self.flags = ["bench", "put", "--json", "--rate", str(args.rate), "--seconds", "5",
                      "--clients", "100", "-v", "10KiB", "--keys", str(args.keys)]
        self.c, self.endpoints = c, endpoints
        self.is_over = threading.Event()
        self.done, self.failed = 0, None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            self.work()
        except Exception as error:  # pylint: disable=broad-except
            self.failed = f"{type(error).__name__}: {error}"

    def work(self):
        seed = 1000
        while not self.is_over.is_set() and self.failed is None:
            seed += 1
            done = self.c.run(*self.flags, "--seed", str(seed), endpoints=self.endpoints)
            figures = json.loads(done.stdout or "{}")
            self.done += figures.get("ops_in_all", 0)
            if done.returncode != 0 or figures.get("errors", 1) > 0:
                self.failed = done.stdout + done.stderr

    def stop(self):
        self.is_over.set()
        self.thread.join(90)
        check(not self.thread.is_alive(), "puts hang")
        check(self.failed is None and self.done > 0, "puts failed:", self.failed)
        return self.done


class Loads:
    """All three. `slow` has afterwards what torture was kept waiting for."""

    def __init__(self, c, args, endpoints):
        self.c, self.args, self.endpoints = c, args, endpoints
        self.clients = args.clients
        self.torture = c.torture(WATCHED_S, "--rate", str(args.ops), "--prefix", PREFIX, "--keys",
                                 str(args.keys), "--slow", "50ms", clients=args.clients, reads=50,
                                 pad=512, endpoints=endpoints, timeout=f"{args.timeout}s")
        self.registers = Registers(c, endpoints, 80, args.timeout)
        self.puts = Puts(c, endpoints, args)
        self.slow = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing goes on, whatever came of the test."""
        self.registers.is_over.set()
        if self.puts is not None:
            self.puts.is_over.set()
        if self.torture.is_running():
            self.torture.process.kill()

    def stop_puts(self):
        say("puts:", self.puts.stop())
        self.puts = None

    def stop(self):
        """End them; what they did must have been done right. Later: verify()."""
        if self.puts is not None:
            self.stop_puts()
        self.torture.process.send_signal(signal.SIGTERM)
        figures = self.torture.result()
        self.slow = self.torture.slow
        check(len(self.slow) < SLOW_LISTED, "more operations were slow than are listed")
        say("registers:", self.registers.stop(), "operations, linearizable, none failed")
        say("torture:", figures)
        check(figures["undetermined"] == 0 and figures["refused"] == 0, "operations failed")

    def verify(self):
        """Each acknowledged write is there, and all replicas are alike."""
        say("acknowledged and there:", self.torture.verify())
        said = self.c.ok("range", "check", "--all", timeout=600)
        say("range check:", said.count("alike: "), "ranges alike")


def fill(c, args):
    """All keys of bench, once. At the small size the ranges are cut by hand."""
    began = time.monotonic()
    if args.small:
        cuts = [f"{PREFIX}{i * args.keys // SMALL_RANGES:012}" for i in range(1, SMALL_RANGES)]
        c.ok("range", "split", *cuts, "--timeout", "20s")
    c.ok("bench", "get", "--keys", str(args.keys), "-v", str(args.value), "--seconds", "1",
         "--clients", "1", "--timeout", "20s", timeout=1200)
    say(f"{args.keys} records of {args.value} bytes put in {time.monotonic() - began:.0f} s")


# ---- how placement stands ---------------------------------------------------------------------


def say(*words):
    print(f"{time.strftime('%H:%M:%S')} ", *words, flush=True)


def answer(c, *words):
    """What a question of placement is answered; None while nobody can."""
    done = c.run(*words, "--json", "--timeout", "5s")
    return json.loads(done.stdout) if done.returncode == 0 else None


def status(c):
    told = answer(c, "placement", "status")
    return told and {row["what"]: int(row["value"]) for row in told["placement"]}


class Standing:
    """Stores and ranges as they are now."""

    def __init__(self, c):
        self.status, told = status(c), answer(c, "node", "list")
        ranges = answer(c, "range", "list")
        self.is_known = None not in (self.status, told, ranges)
        self.stores = [s for s in told["stores"] if s["state"] == "up"] if self.is_known else []
        self.ranges = ranges["ranges"] if self.is_known else []
        # for placement a replica has a MiB more than its bytes
        self.bytes = [s["bytes"] + (s["replicas"] << 20) for s in self.stores]
        self.leaders = [s["leaders"] for s in self.stores]
        self.largest = max((r["bytes"] for r in self.ranges), default=0)

    def where(self):
        return {r["id"]: {m["store"] for m in r["replicas"]} for r in self.ranges}

    def is_whole(self, count):
        return self.is_known and all(
            sum(m["role"] == "voter" for m in r["replicas"]) == len(r["replicas"]) == count and
            r["leader"] for r in self.ranges) and self.status["under_replicated"] == 0

    def is_even(self):
        """No two stores differ by more than a tenth, or one range, one leader."""
        most, least = max(self.bytes), min(self.bytes)
        is_even = most - least <= max(0.1 * most, self.largest + (1 << 20))
        most, least = max(self.leaders), min(self.leaders)
        return is_even and most - least <= max(0.1 * most, 1)

    def is_at_rest(self):
        return self.is_known and self.status["quiet"] == 1 and self.status["operators"] == 0

    def __str__(self):
        return (f"{len(self.ranges)} ranges, MiB {[b >> 20 for b in self.bytes]}, "
                f"largest range {self.largest >> 20}, leaders {self.leaders}, "
                f"operators started {self.status and self.status['operators_started']}")


def settle(c, stores, copies=3, seconds=None):
    """Until so many stores are up, even and at rest; how long it took."""
    seconds = seconds or c.settle_s
    began = shown = time.monotonic()
    while True:
        now = Standing(c)
        if (now.is_known and len(now.stores) == stores and now.is_whole(copies) and
                now.is_even() and now.is_at_rest()):
            say(f"settled after {time.monotonic() - began:.0f} s: {now}")
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            say(c.run("placement", "operators").stdout[-3000:])
            say(c.run("placement", "plan").stdout[-3000:])
            check(False, "not settled after", seconds, "s:", now)
        if time.monotonic() - shown > 20:
            shown = time.monotonic()
            say(f"… {now}")
        time.sleep(1)


def stays_quiet(c, seconds):
    """For so long no operator begins."""
    first = wait_until("placement answers", 20, lambda: status(c))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        now = wait_until("placement answers", 20, lambda: status(c))
        if (now["term"], now["operators_started"]) != (first["term"], first["operators_started"]):
            say(c.run("placement", "operators").stdout[-3000:])
            check(False, "placement was not quiet:", first, now)
        time.sleep(1)
    say(f"quiet for {seconds} s: {Standing(c)}")


# ---- grow ------------------------------------------------------------------------------------


def grow(args, report):
    with cluster_of(args, 1, 5) as c:
        settings(c, args)
        fill(c, args)
        with Loads(c, args, c.address(1)) as loads:
            time.sleep(args.rest)
            for nodes in (3, 5):
                say(f"to {nodes} nodes, under load")
                c.up("--nodes", str(nodes))
                took = settle(c, nodes)
                report.bound(f"{nodes} nodes even and at rest after", took, SETTLE_S, "s")
                watch_quiet(c, args, loads, is_last=nodes == 5)
            loads.stop()
        report_slow(report, "of all operations, the longest", loads.slow, 3000)
        loads.verify()


def watch_quiet(c, args, loads, is_last):
    """Without puts of bench, which make ranges grow, so that they are rightly split; the other
    loads go on."""
    loads.stop_puts()
    settle(c, len(Standing(c).stores))
    stays_quiet(c, args.quiet)
    if not is_last:
        loads.puts = Puts(c, loads.endpoints, args)


# ---- lose ------------------------------------------------------------------------------------


class Window:
    """A span of time, and the operations that torture had in it."""

    def __init__(self):
        self.begin = now_ms()
        self.end = None

    def close(self):
        self.end = now_ms()
        return self

    def times(self, slow, keys=None):
        """Milliseconds of what was slow in it, of keys in [first, last) if it matters."""
        return [took for at, took, key in slow
                if at + took >= self.begin and at <= self.end and
                (keys is None or keys[0] <= key < keys[1])]


def now_ms():
    return time.monotonic_ns() // 1000000


def report_slow(report, what, slow, bound):
    report.bound(what, max((took for _, took, _ in slow), default=0), bound, "ms")


def keys_of(r, args):
    """The numbers of bench's keys in a range."""
    def number(end, otherwise):
        text = (end or {}).get("key", "")
        digits = text[len(PREFIX):len(PREFIX) + 12]
        return int(digits) if text.startswith(PREFIX) and digits.isdigit() else otherwise
    return number(r["start"], 0), number(r["end"], args.keys)


def hand_over(c, args, rounds):
    """Leaders go, one after the other: [(window, keys)]."""
    windows = []
    for i in range(rounds):
        ranges = [r for r in Standing(c).ranges if keys_of(r, args)[1] > keys_of(r, args)[0]]
        r = ranges[i * 7 % len(ranges)]
        to = next(m["store"] for m in r["replicas"] if m["store"] != r["leader"])
        window = Window()
        done = c.run("range", "transfer-leader", "--range", str(r["id"]), "--to", str(to))
        time.sleep(0.3)
        if done.returncode == 0:
            windows.append((window.close(), keys_of(r, args)))
    return windows


def move_by_hand(c, args, rounds):
    windows = []
    for i in range(rounds):
        now = Standing(c)
        ranges = [r for r in now.ranges if keys_of(r, args)[1] > keys_of(r, args)[0]]
        r = ranges[i * 5 % len(ranges)]
        here = {m["store"] for m in r["replicas"]}
        target = next((s["store_id"] for s in now.stores if s["store_id"] not in here), None)
        window = Window()
        done = c.run("range", "move", str(r["id"]), "--from", str(r["leader"]), "--to",
                     str(target), timeout=120)
        time.sleep(0.3)
        if done.returncode == 0:
            windows.append((window.close(), keys_of(r, args)))
    return windows


def judge_windows(report, what, windows, slow, bound):
    """The pause of the range in each; half of them must be below the bound even where other
    work takes the processors away, and the report says how many were not."""
    check(windows, "nothing was done:", what)
    longest = sorted(max(window.times(slow, keys), default=0) for window, keys in windows)
    over = sum(ms >= bound for ms in longest)
    say(f"{what}: {len(longest)} times, longest pause {longest[-1]} ms, {over} of {bound} ms and "
        "more (below 50 ms is counted as 0)")
    report.bound(f"{what}, median of the pauses", statistics.median(longest), bound, "ms")


def kill_leader(c):
    """kill -9 of the node that leads most ranges; its store id and number."""
    stores = wait_until("stores", 20, lambda: Standing(c).stores)
    store = max(stores, key=lambda s: s["leaders"])
    number = next(i for i in range(1, c.nodes + 1) if c.address(i) == store["address"])
    c.local("kill", str(number))
    return store["store_id"], number


def decommission(c, args, report):
    victim = wait_until("stores", 20, lambda: Standing(c).stores)[-1]["store_id"]
    window = Window()
    say("decommission of store", victim)
    c.ok("node", "decommission", str(victim), "--yes")
    began = time.monotonic()
    wait_until("its replicas have left", SETTLE_S, lambda: (lambda told: told and all(
        s["store_id"] != victim or s["state"] == "removed" for s in told["stores"]))(
            answer(c, "node", "list")))
    report.bound("decommission", time.monotonic() - began, SETTLE_S, "s")
    return window.close()


def by_hand(c, args):
    """Transfers and moves, one after the other, while nothing else is moved."""
    c.ok("placement", "settings", "balance", "off")
    handed = hand_over(c, args, args.rounds)
    moved = move_by_hand(c, args, max(2, args.rounds // 2))
    c.ok("placement", "settings", "balance", "on")
    return handed, moved


def kill_some(c, args):
    """Leaders, one after the other; all come back but the last one."""
    kills = []
    for i in range(args.kills):
        kills.append(Window())
        store, number = kill_leader(c)
        is_last = i + 1 == args.kills
        say("kill -9 of store", store, "for ever" if is_last else "")
        time.sleep(4)
        kills[-1].close()
        if not is_last:
            c.local("restart", str(number))
            settle(c, 4)
    return kills


def lose(args, report):
    with cluster_of(args, 5, 5) as c:
        settings(c, args)
        c.ok("placement", "settings", "store-down-after", f"{args.down_after}s")
        fill(c, args)
        settle(c, 5)
        with Loads(c, args, c.endpoints) as loads:
            time.sleep(args.rest)
            nothing = Window()
            time.sleep(4 * args.rest)
            nothing.close()
            handed, moved = by_hand(c, args)
            left = decommission(c, args, report)
            settle(c, 4)
            kills = kill_some(c, args)
            repair = Window()
            took = settle(c, 3)
            report.bound("fully replicated again, and even, after", took + 4, SETTLE_S, "s")
            repair.close()
            loads.stop_puts()
            settle(c, 3)
            stays_quiet(c, args.quiet)
            loads.stop()
        judge_windows(report, "transfer of a leader", handed, loads.slow, 100)
        judge_windows(report, "move of the leader's replica", moved, loads.slow, 100)
        for what, window in (("nothing planned", nothing), ("decommission", left),
                             ("repair", repair)):
            times = window.times(loads.slow)
            say(f"{what}: {sum(t >= 100 for t in times)} operations of 100 ms and more in "
                f"{(window.end - window.begin) / 1000:.0f} s, the longest {max(times, default=0)}")
        for window in kills:
            report.bound("pause at a leader's death", max(window.times(loads.slow), default=0),
                         3000, "ms")
        loads.verify()


# ---- restart -----------------------------------------------------------------------------------


def until_serving(c, args, ranges, began):
    """A write to each range is answered; seconds since then."""
    argv = [os.path.join(rig.BIN, "jepsen-client"), "--endpoints", c.endpoints]
    agent = clients.Agent(argv, None)
    try:
        for r in ranges:
            first = keys_of(r, args)[0]
            request = {"f": "write", "key": f"{PREFIX}{first:012}:serves", "value": "x",
                       "timeout_ms": 60000}
            got = agent.ask(request, 70)
            check(got is not None and got["type"] == "ok", "a range does not serve:", r, got)
    finally:
        agent.close()
    return time.monotonic() - began


def restart(args, report):
    with cluster_of(args, 3, 3) as c:
        settings(c, args)
        fill(c, args)
        settle(c, 3)
        for how in ("kill -9 of all", "stop in order"):
            before = Standing(c)
            if how == "stop in order":
                c.local("down")
            else:
                c.local("kill", "all")
            began = time.monotonic()
            c.up("--nodes", "3")
            took = until_serving(c, args, before.ranges, began)
            report.bound(f"{how}: all {len(before.ranges)} ranges serve after", took, 10, "s")
            settle(c, 3, seconds=120)
            stays_quiet(c, args.quiet)
            after = Standing(c)
            check(before.where() == after.where(), "replicas moved:", before.where(),
                  after.where())
            say(f"{how}: leaders {before.leaders}, then {after.leaders}; replicas stayed; handed "
                f"over {after.status['leaders_moved']}, added {after.status['replicas_added']}")
            check(after.status["replicas_added"] == 0, "replicas were added")
        said = c.ok("range", "check", "--all", timeout=600)
        say("range check:", said.count("alike: "), "ranges alike")


# ---- move --------------------------------------------------------------------------------------


def foreground(c, args, seed):
    """p99 of some seconds of reads and writes, in ms."""
    told = c.json("bench", "mixed", "--reads", "50", "--no-load", "--rate", str(args.ops),
                  "--seconds", str(args.rest), "--clients", "200", "--keys", str(args.keys), "-v",
                  "1KiB", "--seed", str(seed))
    check(told["errors"] == 0, told)
    return told["p99_us"] / 1000


def paces(c):
    """How fast each store lets snapshots go now, and what its syncs take at rest."""
    told = answer(c, "cluster", "status")
    stats = [store.get("stats", {}) for store in told["stores"]] if told else []
    return ([f.get("snapshot.bytes_per_s", 0) >> 20 for f in stats],
            [f.get("snapshot.rest_us", 0) for f in stats])


class Mover(threading.Thread):
    """Brings one replica of every range from store to store, two ranges at a time."""

    def __init__(self, c, ranges):
        super().__init__(daemon=True)
        self.c, self.ranges = c, ranges
        self.bytes, self.failed = 0, None
        self.is_over = threading.Event()

    def move(self, r):
        here = {m["store"] for m in r["replicas"]}
        target = next(iter({1, 2, 3, 4} - here), None)
        if target is None:
            return  # a move of it is not over yet
        done = self.c.run("range", "move", str(r["id"]), "--from", str(r["leader"]), "--to",
                          str(target), timeout=300)
        if done.returncode != 0:
            self.failed = done.stderr
        self.bytes += r["bytes"]

    def run(self):
        while not self.is_over.is_set() and self.failed is None:
            todo = list(Standing(self.c).ranges)

            def work(todo=todo):
                while todo and not self.is_over.is_set():
                    self.move(todo.pop())
            pair = [threading.Thread(target=work) for _ in range(4)]
            for thread in pair:
                thread.start()
            for thread in pair:
                thread.join()


def move(args, report):
    with cluster_of(args, 4, 4) as c:
        settings(c, args)
        fill(c, args)
        settle(c, 4)
        for name in ("balance", "merge", "split"):
            c.ok("placement", "settings", name, "off")
        rounds = max(3, args.rounds // 2)
        idle = [foreground(c, args, i) for i in range(rounds)]
        say("p99 at rest, ms:", idle)
        mover = Mover(c, Standing(c).ranges)
        began = time.monotonic()
        mover.start()
        busy = []
        while mover.bytes < args.moved << 20 and time.monotonic() - began < SETTLE_S:
            busy.append(foreground(c, args, 100 + len(busy)))
            say("p99, ms:", busy[-1], "MiB moved:", mover.bytes >> 20,
                "MiB a second at most, us of a sync at rest:", *paces(c))
        mover.is_over.set()
        mover.join(300)
        took = time.monotonic() - began
        check(mover.failed is None, "a move failed:", mover.failed)
        check(mover.bytes >= args.moved << 20, "only so many bytes were moved:", mover.bytes)
        say("p99 while moving, ms:", busy)
        say(f"{mover.bytes >> 20} MiB moved in {took:.0f} s")
        idle += [foreground(c, args, 50 + i) for i in range(rounds)]
        at_rest, moving = statistics.median(idle), statistics.median(busy)
        say(f"p99 at rest {at_rest:.1f} ms, while moving {moving:.1f} ms (medians)")
        report.bound("p99 while moving, of that at rest", moving / at_rest, 2, "x")


# ---- all -----------------------------------------------------------------------------------------


class Report:
    def __init__(self):
        self.missed = []

    def bound(self, name, value, bound, unit):
        is_fine = value < bound
        say(f"{name}: {value:.1f} {unit} (bound {bound}) {'ok' if is_fine else 'MISSED'}")
        if not is_fine:
            self.missed.append(name)


def cluster_of(args, nodes, grows_to):
    conf = rig.SMALL if args.small else ""
    c = rig.Cluster(nodes=nodes, conf=conf, folder=args.dir, grows_to=grows_to, port=args.port)
    c.settle_s = 100 if args.small else SETTLE_S
    return c


def settings(c, args):
    for name, value in (SMALL_SETTINGS if args.small else {}).items():
        c.ok("placement", "settings", name, value, "--timeout", "20s")


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("grow", "lose", "restart", "move"))
    parser.add_argument("--small", action="store_true", help="a minute: MiB where GiB are meant")
    parser.add_argument("--mib", type=int, help="of data, before copies (2048; restart: 5120)")
    parser.add_argument("--moved", type=int, default=10240, help="move: MiB to bring elsewhere")
    parser.add_argument("--value", type=int, default=4096, help="bytes of a record")
    parser.add_argument("--rate", type=int, default=100, help="puts of 10 KiB a second")
    parser.add_argument("--ops", type=int, default=500, help="other operations a second")
    parser.add_argument("--clients", type=int, default=128, help="of torture, over all ranges")
    parser.add_argument("--timeout", type=int, default=5, help="of an operation, seconds")
    parser.add_argument("--quiet", type=int, default=180, help="seconds that placement is watched")
    parser.add_argument("--down-after", type=int, default=20, dest="down_after",
                        help="lose: setting store-down-after, seconds (default of stores: 10 min)")
    parser.add_argument("--rounds", type=int, default=20, help="of transfers by hand")
    parser.add_argument("--kills", type=int, default=3, help="lose: of leaders, one by one")
    parser.add_argument("--dir", help="of the cluster (a new one, deleted at the end)")
    parser.add_argument("--port", type=int, help="of the first node (some that is free)")
    parser.add_argument("--keep", action="store_true", help="leave the folder as it is")
    args = parser.parse_args(argv)
    if args.mib is None:
        args.mib = 8 if args.small else 5120 if args.what == "restart" else 2048
    if args.small:
        args.quiet, args.rounds, args.kills, args.moved = 5, 4, 2, 16
        args.down_after, args.clients, args.rate, args.value = 5, 32, 5, 1000
    args.rest = 2 if args.small else 10
    args.keys = (args.mib << 20) // args.value
    return args


def main():
    args = arguments()
    is_own = args.dir is None
    args.dir = args.dir or tempfile.mkdtemp(prefix="holdfast-growth-")
    os.makedirs(args.dir, exist_ok=True)
    report = Report()
    try:
        globals()[args.what](args, report)
    except AssertionError as error:
        say(error)
        report.missed.append(str(error).splitlines()[0][:200])
    finally:
        if is_own and not args.keep:
            shutil.rmtree(args.dir, ignore_errors=True)
    print(f"growth {args.what}:", "ok" if not report.missed else "; ".join(report.missed))
    sys.exit(1 if report.missed else 0)


if __name__ == "__main__":
    main()
