#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`holdfast range move|split|merge|transfer-leader` by hand, at random, while clients work and
nodes are killed (kill -9) and come back.

    HOLDFAST_BIN=build/release/bin tests/integration/orders.py --count 2000 --seed 7
    … --seconds 300 --nodes 4        until the time is over, however many orders that is
    … --kill-every 0                 nobody is killed
    … --json FILE                    figures and every text that an order was refused with

Six hands give orders to whatever ranges there are, five clients read, write, delete and
compare-and-set registers all over the key space, and one looks at `range list --json` all the
time. At the end every node runs, and it judges:
 - each list covers the key space exactly once, and of all that was ever listed no two ranges
   have the same key at the same epoch of their spans;
 - the history of the registers is linearizable (history-check);
 - ranges come to rest, each with as many voters as it should have, and all replicas of all
   ranges are alike (range check --all);
 - every order ended as one should: done, or refused or cut short with a text that says why;
   of each kind enough were done for the run to mean something.
Exit 0: all of that holds; 1: something does not, and it says what; 2: wrong flags.
Ends what it started and nothing else; deletes its data unless --dir keeps it.
"""
import argparse
import collections
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import types

from cluster import BIN, SMALL, Cluster, check, wait_until

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../jepsen"))
from harness import clients, history, workloads  # noqa: E402  pylint: disable=wrong-import-position

KINDS = ("move", "transfer-leader", "split", "merge")
HANDS, CLIENTS = 6, 5
RANGES_MIN, RANGES_MAX = 4, 16
ORDER_S = 20        # an order's --timeout …
HANG_S = 180        # … of each question that it asks: this long is no order under way any more
REST_S = 120        # until ranges must be at rest after the last fault
DONE_SHARE = 0.2    # of the orders of each kind …
JUDGED_AT = 40      # … but of fewer than these chance may have it that fewer were done


class Registers(workloads.Register):
    """As in the fault tests, but with keys all over the key space, so that every range has some
    that are in use."""

    def __init__(self, options):
        self.rng = random.Random(f"keys/{options.seed}")
        super().__init__(options)

    def new_key(self):
        self.made += 1
        return [f"{self.rng.randrange(1000):03}/{self.made:06}", 0]


class Run:
    """What the harness's client threads look at, and what all threads here share."""

    def __init__(self, c, args):
        self.options = types.SimpleNamespace(
            seed=args.seed, bin=BIN, read_mode="linearizable", timeout_ms=2000, plant=None,
            concurrency=CLIENTS, rate=args.rate)
        self.args = args
        self.cluster = c
        self.control = types.SimpleNamespace(client_command=lambda argv: argv)
        self.history = history.History()
        self.workload = Registers(self.options)
        self.zero_ns = time.monotonic_ns()
        self.is_over = threading.Event()      # for clients, and for who looks at the list
        self.hands_over = threading.Event()   # for hands, and for who kills
        self.lock = threading.Lock()
        self.stores = {s["store_id"] for s in c.json("node", "list")["stores"]}
        self.ranges = []                      # as they were listed last
        self.given = 0
        self.outcomes = collections.Counter()  # (kind, "done" | "refused" | …)
        self.texts = collections.Counter()     # (kind, text without its numbers)
        self.examples = {}
        self.longest = collections.Counter()   # seconds that an order of that kind took
        self.kills = collections.Counter()
        self.rest_s = None                     # how long it took until all were at rest
        self.wrong = []

    def fault(self, text):
        with self.lock:
            self.wrong.append(text)

    def note_failure(self, who, error):
        """Of a client thread."""
        self.fault(f"{who}: {type(error).__name__}: {error}")

    def given_of(self, kind):
        return sum(n for (k, _), n in self.outcomes.items() if k == kind)

    def lacking(self, under_way=0):
        """Kinds of which too few were done, or would be if so many more are not."""
        return [k for k in KINDS
                if self.outcomes[k, "done"] < max(1, DONE_SHARE * (self.given_of(k) + under_way))]

    def is_enough(self):
        """A run of so many seconds goes on until enough of each kind was done, or so much was
        ordered that it is no chance: a slow machine needs longer for that. (Twelve times as
        long is the end of it, so that something is said.)"""
        args = self.args
        with self.lock:
            is_judged = all(self.given_of(k) >= JUDGED_AT for k in self.lacking(HANDS))
            is_late = args.seconds and self.now() >= args.seconds and (
                is_judged or self.now() >= 12 * args.seconds)
            return len(self.wrong) > 0 or (args.count and self.given >= args.count) or is_late

    def now(self):
        return (time.monotonic_ns() - self.zero_ns) / 1e9


# ---- orders ---------------------------------------------------------------------------------

OUTCOMES = {0: "done", 1: "refused", 3: "refused", 4: "undetermined"}


class Hand(threading.Thread):
    def __init__(self, run, number):
        super().__init__(name=f"hand-{number}", daemon=True)
        self.run_, self.rng = run, random.Random(f"hand/{run.args.seed}/{number}")
        self.failure = None

    def run(self):
        try:
            while not self.run_.hands_over.is_set() and not self.run_.is_enough():
                self.give()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{type(error).__name__}: {error}"

    def words(self, ranges):
        """An order that may well be carried out: as a person would give it."""
        rng = self.rng
        kind = rng.choices(KINDS, (4, 2, 3, 3))[0]
        if len(ranges) <= RANGES_MIN and kind == "merge":
            kind = "split"
        if len(ranges) >= RANGES_MAX and kind == "split":
            kind = "merge"
        if kind == "split":
            tail = rng.choice(("", rng.choice("abc")))  # a key that is in use, or right behind it
            return ["split", self.run_.workload.some_key(rng) + tail]
        at = rng.randrange(len(ranges) - (kind == "merge"))
        if kind == "merge":
            return ["merge", str(ranges[at]["id"]), str(ranges[at + 1]["id"])]
        one, here = ranges[at], [r["store"] for r in ranges[at]["replicas"]]
        free = sorted(self.run_.stores - set(here))
        if kind == "move" and here and free:
            to = rng.choice(([], ["--to", str(rng.choice(free))]))
            return ["move", str(one["id"]), "--from", str(rng.choice(here)), *to]
        others = [s for s in here if s != one["leader"]] or [1]
        to = rng.choice(([], ["--to", str(rng.choice(others))]))
        return ["transfer-leader", "--range", str(one["id"]), *to]

    def give(self):
        run = self.run_
        with run.lock:
            ranges = run.ranges
        if not ranges:
            run.is_over.wait(0.1)
            return
        argv = self.words(ranges)
        began = run.now()
        try:
            done = run.cluster.run("range", *argv, "--timeout", f"{ORDER_S}s",
                                   timeout=HANG_S)
            code, said = done.returncode, done.stderr.strip()
        except subprocess.TimeoutExpired:
            code, said = None, f"did not end within {HANG_S} s"
        with run.lock:
            run.longest[argv[0]] = max(run.longest[argv[0]], run.now() - began)
        self.note(argv, code, said)

    def note(self, argv, code, said):
        run, kind = self.run_, argv[0]
        if code not in OUTCOMES or (code != 0 and not said):
            run.fault(f"range {' '.join(argv)}: exit {code}, said: {said!r}")
        with run.lock:
            run.given += 1
            run.outcomes[kind, OUTCOMES.get(code, "wrong")] += 1
            if code != 0:
                text = re.sub(r"\d+", "N", re.sub(r"'[^']*'", "'KEY'", said))
                run.texts[kind, text] += 1
                run.examples.setdefault((kind, text), f"{' '.join(argv)} → {code}: {said}")


# ---- spans ------------------------------------------------------------------------------------

class Spans:
    """All that was ever listed."""

    def __init__(self):
        self.rows = {}  # (id, span epoch) → (start, end)
        self.lists = self.unanswered = 0

    @staticmethod
    def key(place, if_none):
        return if_none if place is None else (1, place["key"].encode())

    def add(self, ranges):
        """What is wrong with this list; None if nothing is."""
        self.lists += 1
        at = (0, b"")
        for r in ranges:
            start, end = self.key(r["start"], (0, b"")), self.key(r["end"], (2, b""))
            if start != at or not start < end:
                return f"range {r['id']} begins at {start}, and what is before it ends at {at}"
            at = end
            before = self.rows.setdefault((r["id"], r["epoch"]["span"]), (start, end))
            if before != (start, end):
                return (f"range {r['id']} has two spans at epoch {r['epoch']['span']}: {before} "
                        f"and {(start, end)}")
        return None if at[0] == 2 else f"the last range ends at {at}"

    def overlaps(self):
        """Ranges that had a key at one epoch of their spans."""
        by_epoch = collections.defaultdict(list)
        for (number, epoch), (start, end) in self.rows.items():
            by_epoch[epoch].append((start, end, number))
        for epoch, spans in by_epoch.items():
            spans.sort()
            for a, b in zip(spans, spans[1:]):
                if b[0] < a[1]:
                    yield f"ranges {a[2]} and {b[2]} overlap at epoch {epoch}: {a[:2]}, {b[:2]}"


class Eye(threading.Thread):
    def __init__(self, run):
        super().__init__(name="eye", daemon=True)
        self.run_, self.spans, self.failure = run, Spans(), None

    def run(self):
        try:
            while not self.run_.is_over.wait(0.1):
                self.look()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{type(error).__name__}: {error}"

    def look(self):
        done = self.run_.cluster.run("range", "list", "--json", "--timeout", "5s", timeout=120)
        if done.returncode != 0:
            self.spans.unanswered += 1
            return
        ranges = json.loads(done.stdout)["ranges"]
        wrong = self.spans.add(ranges)
        if wrong:
            self.run_.fault(f"range list: {wrong}")
        with self.run_.lock:
            self.run_.ranges = ranges


# ---- faults -----------------------------------------------------------------------------------

class Killer(threading.Thread):
    """Each node in its turn, in an order that is drawn; now and then two, or all, at once."""

    def __init__(self, run):
        super().__init__(name="killer", daemon=True)
        self.run_, self.rng = run, random.Random(f"killer/{run.args.seed}")
        self.turn, self.failure = [], None

    def run(self):
        every = self.run_.args.kill_every
        try:
            while not self.run_.hands_over.wait(self.rng.uniform(0.5, 1.5) * every):
                self.strike()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{type(error).__name__}: {error}"

    def strike(self):
        run, nodes = self.run_, list(range(1, self.run_.args.nodes + 1))
        count = self.rng.choices((1, 2, len(nodes)), (8, 2, 1))[0]
        victims = []
        while len(victims) < count:
            if not self.turn:
                self.turn = self.rng.sample(nodes, len(nodes))
            victim = self.turn.pop()
            if victim not in victims:
                victims.append(victim)
        run.cluster.local("kill", *map(str, victims))
        for victim in victims:
            run.kills[victim] += 1
        run.hands_over.wait(self.rng.choice((0, 0.5, 2, 4)))
        run.cluster.local("restart", *map(str, victims))


# ---- the verdict --------------------------------------------------------------------------------

def unrest(run):
    """What is not at rest: an operator runs, or a range is not led or has not the voters that
    it should have. Empty: nothing."""
    c = run.cluster
    status = c.run("placement", "status", "--json", "--timeout", "5s")
    if status.returncode != 0:
        return status.stdout
    figures = {row["what"]: row["value"] for row in json.loads(status.stdout)["placement"]}
    moving = {name: figures[name] for name in ("operators", "under_replicated", "unavailable")
              if figures[name] != "0"}
    if moving:
        return moving
    listed = c.run("range", "list", "--json", "--timeout", "5s")
    if listed.returncode != 0:
        return listed.stdout
    return [r for r in json.loads(listed.stdout)["ranges"]
            if not r["leader"] or len(r["replicas"]) != 3 or
            any(m["role"] != "voter" for m in r["replicas"])]


def odd_ones(run, eye):
    """What placement says of those ranges, of all that ever were, that are not as they should."""
    for number in sorted({number for number, _ in eye.spans.rows}):
        said = run.cluster.run("placement", "explain", str(number)).stdout
        if "was merged into" not in said and "nothing is wrong with it" not in said:
            yield said


def wait_for_rest(run, eye):
    """… and if it does not come, what placement says of it."""
    began = time.monotonic()
    until = began + REST_S
    while what := unrest(run):
        if time.monotonic() > until:
            said = [run.cluster.run("placement", "operators").stdout,
                    run.cluster.run("range", "list").stdout, *odd_ones(run, eye)]
            check(False, "after", REST_S, "s ranges are not at rest:", what, *said)
        time.sleep(0.5)
    run.rest_s = time.monotonic() - began


def last_reads(run):
    """One of each register that is in use, until it succeeds."""
    reader = clients.Worker(run, 0, "library")
    reader.process = 1000000
    for op in run.workload.last():
        until = time.monotonic() + REST_S
        while reader.perform(op)["type"] != "ok":
            check(time.monotonic() < until, op.op["key"], "was not read within", REST_S, "s")
            reader.process += 1
        reader.process += 1
    reader.agent.close()


def judge(run, eye):
    """After the last fault: raises what is wrong."""
    c = run.cluster
    check(not run.wrong, "; ".join(run.wrong[:5]))
    overlaps = list(eye.spans.overlaps())
    check(not overlaps, overlaps[:5])
    check(eye.spans.lists > 0, "no list was answered")
    wait_for_rest(run, eye)
    last_reads(run)
    wrong = eye.spans.add(c.json("range", "list")["ranges"])
    check(not wrong, wrong)
    alike = c.run("range", "check", "--all", "--wait", "2m", timeout=300)
    check(alike.returncode == 0, "range check --all:", alike.stdout[-2000:], alike.stderr)
    run.history.write(c.dir)
    path = os.path.join(c.dir, "history.jsonl")
    verdict, said = history.judge(os.path.join(BIN, "history-check"), "register", path)
    check(verdict == "valid", "the history is", verdict, said[-4000:])
    for kind in run.lacking():
        check(False, kind, "was done", run.outcomes[kind, "done"], "times of", run.given_of(kind))
    oks = sum(e["type"] == "ok" for e in run.history.events)
    check(oks >= 100, "only", oks, "operations of clients succeeded")


def figures_of(run, eye):
    events = collections.Counter(e["type"] for e in run.history.events)
    return {
        "seed": run.args.seed, "nodes": run.args.nodes, "seconds": round(run.now(), 1),
        "orders": run.given,
        "outcomes": {k: {o: n for (kk, o), n in sorted(run.outcomes.items()) if kk == k}
                     for k in KINDS},
        "longest_s": {k: round(run.longest[k], 1) for k in KINDS},
        "rest_s": run.rest_s and round(run.rest_s, 1),
        "kills": {f"node {n}": run.kills[n] for n in range(1, run.args.nodes + 1)},
        "lists": eye.spans.lists, "lists_unanswered": eye.spans.unanswered,
        "operations": {"ok": events["ok"], "fail": events["fail"], "info": events["info"]},
        "texts": [{"kind": k, "count": n, "text": t, "example": run.examples[k, t]}
                  for (k, t), n in run.texts.most_common()],
    }


def show(figures):
    print(f"{figures['orders']} orders in {figures['seconds']} s, seed {figures['seed']}, "
          f"{figures['nodes']} nodes")
    for kind, outcomes in figures["outcomes"].items():
        print(f"  {kind:16}" + ", ".join(f"{n} {o}" for o, n in outcomes.items()) +
              f"; the longest took {figures['longest_s'][kind]} s")
    print(f"  at rest after   {figures['rest_s']} s")
    print("  kills           " + ", ".join(f"{k}: {n}" for k, n in figures["kills"].items()))
    print(f"  lists           {figures['lists']} whole, {figures['lists_unanswered']} unanswered")
    print("  operations      " + ", ".join(f"{n} {o}" for o, n in figures["operations"].items()))
    for row in figures["texts"][:12]:
        print(f"  {row['count']:5} × {row['kind']}: {row['text'][:140]}")


def settle(c, nodes):
    """A cluster that is whole, its first range cut so that there is something to order."""
    wait_until("three replicas", 60, lambda: all(
        len(r["replicas"]) == 3 for r in c.json("range", "list")["ranges"]))
    check(len(c.json("node", "list")["stores"]) == nodes, "stores")
    c.ok("range", "split", *(f"{n}00/" for n in range(2, 10, 2)))


def work(run, eye):
    """Until enough orders were given; then everybody runs again, and clients go on a while."""
    workers = [clients.Worker(run, n, "cli" if n == 0 else "library") for n in range(CLIENTS)]
    hands = [Hand(run, n) for n in range(HANDS)]
    killers = [Killer(run)] if run.args.kill_every > 0 else []
    for thread in (*workers, eye):
        thread.start()
    wait_until("a list", 30, lambda: run.ranges or run.wrong)
    for thread in (*hands, *killers):
        thread.start()
    said = time.monotonic()
    while any(h.is_alive() for h in hands):
        time.sleep(0.2)
        if time.monotonic() - said > 30:
            said = time.monotonic()
            print(f"{run.now():.0f} s: {run.given} orders, {len(run.history.events) // 2} "
                  f"operations, {sum(run.kills.values())} kills", flush=True)
    run.hands_over.set()
    for thread in killers:
        thread.join(120)
    run.cluster.up()
    time.sleep(2)
    run.is_over.set()
    for thread in (*workers, eye):
        thread.join(180)  # longer than what it waits for itself, which says more
    for thread in (*workers, *hands, *killers, eye):
        check(not thread.is_alive(), thread.name, "hangs")
    for thread in (*hands, *killers, eye):
        check(not thread.failure, thread.name, thread.failure)


def perform(args):
    """The figures of a run that was as it should be; else raises."""
    with tempfile.TemporaryDirectory(prefix="holdfast-orders-") as made:
        with Cluster(nodes=args.nodes, conf=SMALL, folder=args.dir or made,
                     port=args.port_base) as c:
            settle(c, args.nodes)
            run = Run(c, args)
            eye = Eye(run)
            try:
                work(run, eye)
                judge(run, eye)
            finally:
                figures = figures_of(run, eye)
                show(figures)
                if args.json:
                    with open(args.json, "w", encoding="utf-8") as f:
                        json.dump(figures, f, indent=1)
    return figures


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=0, help="so many orders (default: 500)")
    parser.add_argument("--seconds", type=float, default=0, help="… or for so long")
    parser.add_argument("--seed", type=int, default=None, help="of orders, keys and kills")
    parser.add_argument("--nodes", type=int, default=5, choices=range(4, 8), help="default: 5")
    parser.add_argument("--kill-every", type=float, default=6, help="seconds; 0: never")
    parser.add_argument("--rate", type=float, default=150, help="operations a second of clients")
    parser.add_argument("--port-base", type=int, default=None, help="default: free ones are found")
    parser.add_argument("--dir", default=None, help="an empty folder, which is kept")
    parser.add_argument("--json", default=None, help="write figures and texts to this file")
    args = parser.parse_args(argv)
    if not args.count and not args.seconds:
        args.count = 500
    if args.seed is None:
        args.seed = random.randrange(1 << 32)
    return args


def run_as_program():
    args = parse()
    print(f"seed {args.seed}", flush=True)
    try:
        perform(args)
    except AssertionError as error:
        print(f"WRONG: {error}", file=sys.stderr)
        return 1
    print("as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(run_as_program())
