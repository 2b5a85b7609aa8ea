#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The faults of the fault tests without a cluster: what each asks of the control interface, that
partitions have the shapes that they are named after, and that nothing of a fault is left when it
has ended, in whatever order faults begin and end."""
import contextlib
import itertools
import os
import random
import subprocess
import sys
import threading
import time
import types

from cluster import check, main

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "jepsen"))
from harness import clients, clocks, control, history, nemesis, net  # noqa: E402  pylint: disable=wrong-import-position
from harness import run, workloads  # noqa: E402  pylint: disable=wrong-import-position


class Machines(control.Control):
    """The control interface over nothing: it remembers what was asked."""

    def __init__(self, count):
        nodes = [control.Node(i, f"10.0.0.{i}", f"/n{i}") for i in range(1, count + 1)]
        super().__init__(types.SimpleNamespace(binary_b=None), nodes)
        self.running = {n.number for n in nodes}
        self.paused, self.full, self.spoiled = set(), set(), []
        self.clocks, self.disks, self.links, self.asked = {}, {}, [], []
        for node in nodes:
            node.is_wanted = True

    def is_running(self, node):
        return node.number in self.running

    def note(self, what, *nodes):
        self.asked.append((what, *(n.number for n in nodes)))

    def kill(self, node):
        self.note("kill", node)
        self.running.discard(node.number)
        self.paused.discard(node.number)
        node.is_wanted = False

    def stop(self, node, seconds=20):
        self.kill(node)

    def start(self, node):
        self.note("start", node)
        self.running.add(node.number)
        self.paused.discard(node.number)
        node.is_wanted = True

    def pause(self, node):
        self.note("pause", node)
        if self.is_running(node):
            self.paused.add(node.number)

    def resume(self, node):
        self.paused.discard(node.number)

    def reset(self, numbers, seconds):
        self.asked.append(("reset", *numbers))

    def apply_cuts(self):
        self.asked.append(("cuts", len(self.cuts)))

    def slow(self, orders):
        self.links = orders

    def set_clock(self, node, offset_s):
        self.clocks[node.number] = offset_s

    def disk_fault(self, node, **fields):
        self.disks.setdefault(node.number, {}).update(fields)

    def power_off(self, node, seed, mode=None):
        self.kill(node)
        self.note("power", node)
        return '{"sectors":7}'

    def fill(self, node, leave_bytes):
        self.full.add(node.number)

    def unfill(self, node):
        self.full.discard(node.number)

    def files(self, node):
        return [(f"{node.data}/log/{i}.raftlog", 4096, i) for i in range(3)] + [
            (f"{node.data}/engine/{i}.tbl", 9000, i) for i in range(3)] + [
                (f"{node.data}/engine/MANIFEST-1", 500, 9.0)]

    def flip(self, node, path, offset, bit):
        self.spoiled.append((node.number, path, offset))

    def truncate(self, node, path, size):
        self.spoiled.append((node.number, path, size))

    def empty(self, node):
        self.note("empty", node)


class Cluster:
    """Answers of an operator's commands, some of which fail."""

    def __init__(self, machines, rng):
        self.machines, self.rng, self.nodes = machines, rng, machines.nodes
        self.drained = set()
        self.rng_of_threads = random.Random(1)

    def leader(self):
        """Threads of faults have dice of their own: how often they ask is a matter of time."""
        is_main = threading.current_thread() is threading.main_thread()
        return (self.rng if is_main else self.rng_of_threads).choice([None, *self.nodes])

    def cli(self, *argv, **_more):
        is_done = self.rng.random() < 0.7
        if argv[0] == "node" and is_done:
            (self.drained.discard if argv[1] == "undrain" else self.drained.add)(int(argv[2]))
        return types.SimpleNamespace(returncode=0 if is_done else 4, stdout="", stderr="said")

    def probe(self):
        return {"range merge"}

    def ranges(self):
        return self.rng.choice([[], [1], [1, 5, 9]])

    def replicas(self):
        return self.rng.choice([{}, {self.nodes[0]: 4}])

    def store_id(self, node):
        return self.rng.choice([None, node.number])

    def stores(self):
        told = {n.number: self.rng.choice(["up", "removed"]) for n in self.nodes}
        self.drained -= {number for number, state in told.items() if state == "removed"}
        return told

    def renew(self, node):
        self.machines.empty(node)
        self.drained.discard(node.number)

    def wait_serving(self, _seconds):
        return True


def world(count, seed):
    rng = random.Random(f"cluster/{seed}")
    machines = Machines(count)
    made = types.SimpleNamespace(
        control=machines, nodes=machines.nodes, cluster=Cluster(machines, rng), slow_orders={},
        rotten=None, zero_ns=time.monotonic_ns(), faults_over=threading.Event(), failures=[],
        workload=types.SimpleNamespace(some_key=lambda rng: f"k{rng.randrange(9)}"))
    made.apply_slow = lambda: machines.slow(
        [o for orders in made.slow_orders.values() for o in orders])
    made.note_failure = lambda who, error: made.failures.append((who, str(error)))
    made.nemesis = nemesis.Nemesis(made, list(nemesis.KINDS), seed, 3, 3)
    return made


def heard_by(pairs, nodes):
    """{number: of whom it hears, itself with them}"""
    numbers = [n.number for n in nodes]
    return {b: {a for a in numbers if (a, b) not in pairs} for b in numbers}


def is_mutual(pairs):
    return all((b, a) in pairs for a, b in pairs)


def groups(heard):
    """The sets that one can walk to from each."""
    found = []
    for start in heard:
        seen, todo = {start}, [start]
        while todo:
            more = heard[todo.pop()] - seen
            seen |= more
            todo += more
        found.append(frozenset(seen))
    return set(found)


def check_shape(text, pairs, nodes):
    """Is it what its text says?"""
    count, heard = len(nodes), heard_by(pairs, nodes)
    check(all(a != b for a, b in pairs), text, "cuts a node from itself")
    if text.startswith("one way"):
        check(not is_mutual(pairs) and pairs, text, pairs)
        sides = ({a for a, _ in pairs}, {b for _, b in pairs})
        check(1 in map(len, sides), text, pairs)
        return
    check(is_mutual(pairs), text, pairs)
    if text.startswith("halves"):
        check({len(g) for g in groups(heard)} == {count // 2, count - count // 2}, text, heard)
    elif text.startswith("isolate"):
        check({len(g) for g in groups(heard)} == {1, count - 1}, text, heard)
    elif text.startswith("majorities ring"):
        check(all(len(h) > count / 2 for h in heard.values()), text, heard)
        check(len({frozenset(h) for h in heard.values()}) == count, text, heard)
        check(pairs, text, "cuts nothing")
    else:
        check(text.startswith("bridge over n"), text)
        over = int(text[len("bridge over n"):text.index(":")])
        check(heard[over] == set(heard), text, heard)
        apart = groups({n: h - {over} for n, h in heard.items() if n != over})
        check(len(apart) == 2, text, apart)


def test_shapes_of_partitions():
    """For 3 to 9 nodes; every shape comes."""
    for count in range(3, 10):
        made, texts = world(count, count), set()
        for seed in range(300):
            fault = nemesis.Partition("partition", made, random.Random(seed))
            fault.begin()
            pairs = made.control.cuts[fault.token]
            check_shape(fault.text, pairs, made.nodes)
            texts.add(fault.text.split(" n")[0].split(":")[0])
            fault.end()
            check(not made.control.cuts, fault.text, "is left")
        want = {"halves", "isolate", "isolate the leader", "one way"}
        want |= {"majorities ring", "bridge over"} if count > 3 else set()
        check(texts == want, count, texts)


def test_cuts_add_up():
    """Two partitions at once: what either cuts is cut, and the end of one leaves the other."""
    made = world(3, 1)
    power = made.control
    power.cut("a", {(1, 2)})
    power.cut("b", {(1, 2), (3, 2)})
    drops = lambda: {n.number: set(power.rules_of(n)[0]) for n in made.nodes}  # noqa: E731
    check(drops() == {1: set(), 2: {"10.0.0.1", "10.0.0.3"}, 3: set()}, drops())
    power.heal("b")
    check(drops() == {1: set(), 2: {"10.0.0.1"}, 3: set()}, drops())
    power.heal("a")
    check(not any(drops().values()), drops())


@contextlib.contextmanager
def hurried():
    """Faults that wait for what nobody does here do not."""
    real, nemesis.time = nemesis.time, types.SimpleNamespace(
        sleep=lambda _s: None, monotonic=time.monotonic, monotonic_ns=time.monotonic_ns)
    tear_s, nemesis.Power.TEAR_S = nemesis.Power.TEAR_S, 0
    try:
        yield
    finally:
        nemesis.time, nemesis.Power.TEAR_S = real, tear_s


def check_nothing_left(made, what):
    power = made.control
    check(not power.cuts and not power.resets, what, "cuts", power.cuts)
    check(power.links == [] and not made.slow_orders, what, "slow links", power.links)
    check(not any(power.clocks.values()), what, "clocks", power.clocks)
    check(not any(v for d in power.disks.values() for v in d.values()), what, power.disks)
    check(not power.full and not power.paused, what, power.full, power.paused)
    check(power.running == {n.number for n in made.nodes}, what, "down", power.running)
    left = {n.number: n.is_expendable for n in made.nodes if n.is_expendable}
    rotten = {made.rotten.number: 1} if made.rotten else {}
    check(left == rotten, what, "expendable", left)
    check(not made.cluster.drained, what, "drained", made.cluster.drained)


def test_each_fault_ends():
    """Every kind alone, many times: it does something, tells what, and nothing is left."""
    with hurried():
        for kind, seed in itertools.product(nemesis.KINDS, range(30)):
            made = world(5, seed)
            made.nemesis.rng.seed(seed)
            before = len(made.control.asked)
            made.nemesis.begin_one(kind)
            entry = made.nemesis.timeline[0]
            check(entry["text"] != "" and entry["kind"] == kind, entry)
            if kind in ("kill", "pause", "partition", "reset", "power", "roll", "rot"):
                check(len(made.control.asked) > before, kind, "asks for nothing")
            made.nemesis.heal()
            check(entry["end"] is not None and entry["end"] >= entry["begin"], entry)
            check_nothing_left(made, f"{kind} of seed {seed}: {entry['text']}:")
            check(not made.failures, kind, seed, made.failures)


def test_orders_are_taken_back():
    """What was refused is asked for again at the end, but not of a store that is gone; and the run
    is told if it never could be."""
    for stores, want in (({}, 1), ({2: "up"}, 1), ({2: "draining"}, 1), ({2: "removed"}, 0),
                         ({1: "up"}, 0)):
        for kind in (nemesis.Drain, nemesis.Replace):
            made = world(3, 1)
            made.cluster.stores = lambda stores=stores: stores
            made.cluster.store_id = lambda node: 2
            made.cluster.cli = lambda *_a, **_m: types.SimpleNamespace(returncode=4)
            fault = kind("drain", made, random.Random(1))
            fault.begin()
            fault.end()
            seconds, nemesis.UNFINISHED_S = nemesis.UNFINISHED_S, 0.05
            try:
                left = made.nemesis.heal()
            finally:
                nemesis.UNFINISHED_S = seconds
            check(left == want, kind.__name__, stores, left, "are left")


def schedule(seed, lags=0):
    """A run of steps without waiting, but so often for faults that have a thread: the timeline
    without its times."""
    made = world(5, seed)
    for _ in range(60):
        made.nemesis.step()
        if lags > 0 and any(getattr(f, "thread", None) for f, _ in made.nemesis.on):
            lags -= 1
            threading.Event().wait(0.25)
        check(len(made.nemesis.on) <= made.nemesis.at_once, "too many at once")
        for entry in made.nemesis.timeline:  # as if seconds had passed
            entry["begin"] -= 4
    made.nemesis.heal()
    check_nothing_left(made, f"seed {seed}:")
    return [(e["kind"], *((e["text"], e["nodes"]) if e["kind"] != "depose" else ("", ())))
            for e in made.nemesis.timeline]


def test_faults_together():
    """Composed at random, in the order of a seed, and the same again with the same seed, however
    often the threads of some come to throw dice meanwhile."""
    names = set()
    with hurried():
        for seed in range(12):
            first = schedule(seed)
            check(schedule(seed, 3) == first, "seed", seed, "differs")
            names |= {kind for kind, _, _ in first}
    check(names == set(nemesis.KINDS), set(nemesis.KINDS) - names, "never came")


def test_rot_spares_what_no_disk_can_tell():
    """One node in all of a run; never the newest segment of the log, nor the manifest."""
    for seed in range(40):
        made = world(5, seed)
        for _ in range(6):
            fault = nemesis.Rot("rot", made, random.Random(seed))
            fault.begin()
            fault.end()
        nodes = {number for number, _, _ in made.control.spoiled}
        check(len(nodes) == 1, seed, "spoils", nodes)
        for _, path, _ in made.control.spoiled:
            check(not path.endswith(("2.raftlog", "MANIFEST-1")), path)


def test_who_leads_is_cut_off():
    """And the next one in its place, as soon as it leads; never two at once."""
    made = world(5, 1)
    cuts, leaders = [], [None, 2, 2, None, 4, 4, 2]
    is_done = threading.Event()

    def leader():
        if not leaders:
            is_done.set()
            return None
        number = leaders.pop(0)
        return number and made.nodes[number - 1]

    made.cluster.leader = leader
    made.control.apply_cuts = lambda: cuts.append(set().union(*made.control.cuts.values()))
    fault = nemesis.Depose("depose", made, random.Random(1))
    fault.begin()
    check(is_done.wait(20), "nobody asks who leads")
    fault.end()
    want = [nemesis.both_ways([made.nodes[i]], fault.others(made.nodes[i])) for i in (1, 3, 1)]
    check(cuts == [*want, set()], cuts)
    check(fault.text == "depose n2 n4 n2", fault.text)


def test_errors_come_through():
    """What goes wrong with one of many nodes at once is not lost in its thread."""
    def fails(node):
        if node == 2:
            raise control.ControlError("no way there")
    try:
        nemesis.in_threads(fails, [1, 2, 3])
    except control.ControlError as error:
        check(str(error) == "no way there", error)
    else:
        check(False, "the error is lost")


def wait_for(what, condition):
    until = time.monotonic() + 20
    while not condition():
        check(time.monotonic() < until, "not:", what)
        threading.Event().wait(0.005)


def fails(*_args):
    raise KeyError("no such thing")


def test_failures_in_threads_of_faults():
    """A fault whose thread fails does not just end: the run is told, and its end still comes."""
    def no_cut(made):
        made.control.cut = fails

    def no_leader(made):
        made.cluster.leader = fails

    def no_clock(made):
        real, calls = made.control.set_clock, []

        def third_fails(node, offset_s):
            calls.append(node)
            return fails() if len(calls) == 3 else real(node, offset_s)
        made.control.set_clock = third_fails

    for kind, name, spoil in ((nemesis.Flapping, "partition", no_cut),
                              (nemesis.Depose, "depose", no_leader),
                              (nemesis.Clock, "clock", no_clock)):
        made = world(5, 1)
        made.cluster.leader = lambda made=made: made.nodes[0]
        rng = random.Random(3)
        if kind is nemesis.Clock:
            rng.random = lambda: 0.1  # it strobes
        fault = kind(name, made, rng)
        spoil(made)
        fault.begin()
        wait_for(f"{name} told", lambda made=made: made.failures)
        check(made.failures == [(f"nemesis {name}", "'no such thing'")], made.failures)
        fault.end()
        check(not fault.thread.is_alive() and len(made.failures) == 1, made.failures)


def test_failures_of_the_nemesis():
    """What a fault's begin or end raises in the nemesis' own thread is told, and its entry in the
    timeline says so."""
    made = world(3, 1)
    made.nemesis.kinds, made.nemesis.pace_s = ["kill"], 0.5
    made.control.kill = fails
    made.nemesis.start()
    made.nemesis.join(20)
    check(not made.nemesis.is_alive(), "it goes on")
    check(made.failures == [("the nemesis", "'no such thing'")], made.failures)
    check("it failed: 'no such thing'" in made.nemesis.timeline[0]["text"], made.nemesis.timeline)


def run_of(made, **more):
    """A run over nothing, that can be taken down and judged."""
    one = run.Run.__new__(run.Run)
    for name, value in {
            "result": {}, "say": lambda _text: None, "failures": [], "workers": [],
            "is_over": threading.Event(), "faults_over": made.faults_over, "control": made.control,
            "nodes": made.nodes, "nemesis": made.nemesis, "zero_ns": made.zero_ns,
            "options": types.SimpleNamespace(timeout_ms=10), "conclude": lambda: None,
            "cluster": types.SimpleNamespace(birth=lambda: None), **more}.items():
        setattr(one, name, value)
    made.note_failure = one.note_failure
    return one


def test_taking_down_goes_on():
    """Whatever fails as a run ends: every other step is done, on every node, each failure is told,
    and none escapes."""
    made, done = world(3, 1), []
    made.control.set_up = lambda: None
    made.control.fetch_logs = fails
    made.control.tear_down = lambda: done.append("down")

    def stop(node, _seconds=20):
        if node.number == 2:
            raise OSError("no way there")
        done.append(node.name)
    made.control.stop = stop
    made.control.resume = lambda node: fails() if node.number == 1 else done.append(
        f"{node.name} goes on")
    one = run_of(made, work=fails)
    one.perform()
    check(sorted(done) == ["down", "n1", "n2 goes on", "n3", "n3 goes on"], done)
    told = [(f["who"], f["error"]) for f in one.failures]
    check(told == [("the run", "KeyError: 'no such thing'"),
                   ("taking down nodes", "KeyError: 'no such thing'"),
                   ("taking down logs", "KeyError: 'no such thing'")], told)
    check("in fails" in one.failures[0]["trace"], one.failures[0])


def test_a_run_cut_short_ends_its_faults():
    """Threads of faults have ended before nodes are stopped: none of them starts one again."""
    made, at_stop = world(3, 1), []
    made.nemesis.kinds, made.nemesis.pace_s = ["depose"], 0.5
    made.cluster.leader = lambda: made.nodes[0]
    made.control.set_up = made.control.fetch_logs = made.control.tear_down = lambda: None
    made.control.stop = lambda node, _s: at_stop.append(
        made.nemesis.is_alive() or made.nemesis.on[0][0].thread.is_alive())

    def work():
        made.nemesis.start()
        wait_for("a fault is on", lambda: made.nemesis.on)
        raise run.Void("enough")
    one = run_of(made, work=work)
    one.perform()
    check(at_stop == [False] * 3 and one.result == {"void": "enough"}, at_stop, one.result)
    check(not one.failures, one.failures)


def test_what_a_network_leaves():
    """A switch that died, and a namespace that does not go: the others go, and it is told."""
    gone = []
    links = net.Network(["n1", "n2"], "wire")
    links.made = ["n1", "n2", "c"]
    links.remove = lambda name: fails() if name == "n1" else gone.append(name)
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as links.wire:
        links.wire.wait(20)
        links.wire.stdin.write("0 0 0 0 0 0 0\n")  # that nobody reads
        try:
            links.tear_down()
        except RuntimeError as error:
            check("jepsen-wire ended with status 3" in str(error), error)
        else:
            check(False, "nobody is told of the switch")
    check(gone == ["n2", "c"] and links.made == [], gone, links.made)


class Agent:
    """A client process that answers from a list; None: it died."""
    answers = []

    def __init__(self, *_):
        pass

    def ask(self, _request, _seconds):
        return Agent.answers.pop(0)

    def tell(self, _request):
        return True

    def hear(self, _seconds):
        answer = Agent.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self):
        pass


class Range:
    """Stands for jepsen-sender and a cluster of two ranges, each with a time of its own: a stamp
    that is more than 15 minutes behind it, or ahead of it, is refused, as by a store."""
    KEEP_MS = 15 * 60000
    times, done, refused = {}, {}, 0

    def __init__(self, *_):
        self.answer = None

    def tell(self, request):
        at = time.monotonic_ns()
        if request["f"] == "time":
            self.answer = {"type": "ok", "now_ms": 1000 * self.KEEP_MS, "t0": at, "t1": at}
            return True
        label = (request["session"], request["sequence"])
        now = Range.times[request["key"][0]]
        self.answer = {"type": "ok", "version": 1, "t0": at, "t1": at}
        if label not in Range.done and not now - self.KEEP_MS < request["first_sent"] <= now:
            self.answer = {"type": "fail", "error": "SESSION_EXPIRED", "time_ms": now, "t0": at,
                           "t1": at}
            Range.refused += 1
        else:
            Range.done[label] = request["key"]
        return True

    def hear(self, _seconds):
        return self.answer

    def close(self):
        pass


def repeater(agent):
    made = types.SimpleNamespace(
        options=types.SimpleNamespace(seed=1, timeout_ms=10, concurrency=4, plant=None),
        history=history.History(), zero_ns=0, gave_up=[], failures=[],
        workload=workloads.Session(types.SimpleNamespace()))
    made.note_failure = lambda who, error: made.failures.append((who, str(error)))
    worker = clients.Repeater(made, 0, "sender")
    for seat in worker.seats:
        seat.argv = lambda: []
    worker.argv = lambda: []
    worker.rng.choice = lambda some, choice=worker.rng.choice: (
        0 if set(some) <= {0, 0.002, 0.02} else choice(some))  # no pauses
    clients.Agent = agent
    return made, worker


def test_stamps_follow_each_range():
    """After the clock of one range has jumped by an hour, and back: its changes go on under stamps
    that it takes, those of the other as before; what was refused is done under another stamp."""
    real = clients.Agent
    try:
        made, worker = repeater(Range)
        now_ms = 1000 * Range.KEEP_MS
        Range.times, Range.done, Range.refused = {"n": now_ms, "x": now_ms}, {}, 0
        for jump_ms, key in ((0, "x"), (3600000, "x"), (7200000, "n"), (7200000, "x")):
            Range.times[key] = max(Range.times[key], now_ms + jump_ms)
            before = Range.refused
            for at in range(40):
                for name in ("n", "x"):
                    op = made.workload.same("write", f"{name}0000-{at % 6}", str(at))
                    check(worker.perform(op)["type"] == "ok", key, jump_ms, at, name)
            check(Range.refused - before <= 24, "at jump", jump_ms, Range.refused - before)
        worker.finish()
    finally:
        clients.Agent = real
    done = [e for e in made.history.events if e["type"] == "ok"]
    stamps = {}
    for event in made.history.events:
        stamps.setdefault(event["stamp"], set()).add(event["key"])
    check(all(len(keys) == 1 for keys in stamps.values()), "two changes under one stamp")
    check(len(done) > 0.9 * len(made.history.events) / 2, len(done), len(made.history.events) / 2)


def test_what_nobody_can_tell_is_not_asked_for():
    """A change that is open, and that its range has forgotten, is not sent again and again."""
    real = clients.Agent
    at = time.monotonic_ns()
    lost = {"type": "info", "error": "UNDETERMINED", "t0": at, "t1": at}
    try:
        made, worker = repeater(Agent)
        worker.rng.random = lambda: 0.5
        made.workload.learn_time("x0000-1", 5)
        gone = {"type": "fail", "error": "SESSION_EXPIRED", "time_ms": 9, "t0": at, "t1": at}
        Agent.answers = [lost, lost, gone]
        done = worker.perform(made.workload.same("write", "x0000-1", "1"))
    finally:
        clients.Agent = real
    check(done["type"] == "info" and Agent.answers == [], done, Agent.answers)
    check(worker.session is None, "its lowest may pass what is open")


def test_failures_of_clients():
    """What a client had begun when its thread failed is in the history, of unknown outcome, and
    the run is told."""
    real = clients.Agent
    try:
        made, worker = repeater(Agent)
        made.workload.learn_time("x0000-1", 5)
        at = time.monotonic_ns()
        worker.rng.random = lambda: 0.5
        Agent.answers = [{"type": "ok", "version": 3, "t0": at, "t1": at}, ValueError("no JSON")]
        ops = [made.workload.same("write", "x0000-1", "1")]
        made.is_over = threading.Event()
        made.options.rate = 1e9
        made.workload.next = lambda *_: ops.pop(0)
        worker.start()
        worker.join(20)
        check(made.failures == [("worker-0", "no JSON")], made.failures)
        done = [e for e in made.history.events if e["type"] != "invoke"]
        check([e["type"] for e in done] == ["ok", "info"], done)
        check(done[0]["stamp"] == done[1]["stamp"] and done[1]["error"] == "HARNESS_FAILED", done)
        made.history.events.clear()
        worker = clients.Worker(made, 1, "library")
        worker.argv = lambda: []
        Agent.answers = ["no answer"]
        try:
            worker.perform(made.workload.same("write", "k", "1"))
        except TypeError:
            check([e["type"] for e in made.history.events] == ["invoke", "info"],
                  made.history.events)
        else:
            check(False, "nonsense is taken for an answer")
    finally:
        clients.Agent = real


def test_how_far_clocks_were_off():
    """What was ever ahead, what is behind meanwhile, and what stands still, for each operation."""
    off = clocks.Clocks()
    off.set(1, 3, 10.0, 10.1)
    off.set(1, 0, 12.0, 12.1)
    off.set(2, -60, 20.0, 20.1)
    off.set(2, 0, 25.0, 25.5)
    off.stop(3, 40.0)
    off.go_on(3, 43.0)
    off.stop(3, 60.0)
    rows = ((1, 2, "ok", 0, 0), (9, 9.9, "ok", 0, 0), (9, 10.5, "ok", 3000, 0),
            (15, 16, "fail", 3000, 0), (19, 20.05, "ok", 3000, 60000),
            (22, 23, "ok", 3000, 60000), (26, 26.1, "ok", 3000, 60000), (28, 29, "ok", 3000, 0),
            (42, 42.5, "ok", 3000, 3000), (44, 45, "ok", 3000, 5000), (46, 47, "ok", 3000, 0),
            (47, 48, "info", 3000, 21000), (79, 80, "ok", 3000, 21000))
    events = []
    for process, (begin, end, kind, _, _) in enumerate(rows):
        events += [{"process": process, "type": "invoke", "time": int((begin - 5) * 1e9)},
                   {"process": process, "type": kind, "time": int((end - 5) * 1e9)}]
    off.tell(events, int(5e9))
    for row, done in zip(rows, events[1::2]):
        check((done["ahead_ms"], done["behind_ms"]) == row[3:], row, done)


def test_renumbered():
    """After an outcome that is not known, also when its own client process died, a process goes on
    under another number, which no other one ever has."""
    made = types.SimpleNamespace(
        options=types.SimpleNamespace(seed=1, timeout_ms=10, concurrency=4, plant=None),
        history=history.History(), zero_ns=0,
        workload=workloads.Register(types.SimpleNamespace()))
    real, clients.Agent = clients.Agent, Agent
    try:
        for number in range(4):
            worker = clients.Worker(made, number, "library")
            worker.argv = lambda: []
            for kind in ("ok", "info", "fail", "info", None, "ok"):
                at = len(made.history.events)
                Agent.answers = [kind and {"type": kind, "t0": at, "t1": at + 1}]
                worker.perform(made.workload.op("write", "k", "1"))
    finally:
        clients.Agent = real
    ended = set()
    for event in made.history.events:
        check(event["process"] not in ended, event, "goes on")
        if event["type"] == "info":
            ended.add(event["process"])
    check(len(ended) == 12 and len({p % 4 for p in ended}) == 4, ended)


if __name__ == "__main__":
    main(test_shapes_of_partitions, test_cuts_add_up, test_each_fault_ends,
         test_orders_are_taken_back, test_who_leads_is_cut_off, test_errors_come_through,
         test_failures_in_threads_of_faults, test_failures_of_the_nemesis,
         test_taking_down_goes_on, test_a_run_cut_short_ends_its_faults,
         test_what_a_network_leaves, test_rot_spares_what_no_disk_can_tell, test_faults_together,
         test_renumbered, test_stamps_follow_each_range,
         test_what_nobody_can_tell_is_not_asked_for, test_failures_of_clients,
         test_how_far_clocks_were_off)
