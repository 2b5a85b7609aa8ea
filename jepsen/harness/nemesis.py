# SPDX-License-Identifier: Apache-2.0
"""Faults. Each kind makes faults; a fault begins, lasts and ends, and several are on at once.

A fault says what it does (`text`) and whom it hits (`nodes`); `begin` and `end` go through
the control interface alone. `end` leaves nothing of it behind, whatever else has happened
to the node meanwhile."""
import json
import random
import threading
import time

from . import net

UNFINISHED_S = 60  # for orders to the cluster that must be taken back
THREAD_S = 60  # for a fault's own thread to end, which asks the cluster now and then


class Fault:
    """kind: its nemesis. Long faults are ended by the schedule; those with `is_instant` do
    all of their work in begin()."""
    is_instant = False
    shortest_s = 0
    longest_s = 8

    def __init__(self, kind, world, rng):
        self.kind, self.world, self.rng = kind, world, rng
        self.control = world.control
        self.text, self.nodes = kind, []
        self.token = object()
        self.stop = threading.Event()
        self.thread = None

    def pick(self, count):
        return sorted(self.rng.sample(self.world.nodes, count), key=lambda n: n.number)

    def some(self):
        """One, a minority, a majority or all; the fewer, the more often."""
        total = len(self.world.nodes)
        minority, majority = (total - 1) // 2, total // 2 + 1
        count = self.rng.choices([1, max(1, minority), majority, total], [6, 3, 2, 1])[0]
        return self.pick(count)

    def one(self):
        """One node, the leader in half of the cases."""
        leader = self.world.cluster.leader() if self.rng.random() < 0.5 else None
        return leader or self.rng.choice(self.world.nodes)

    def say(self, text, nodes):
        self.nodes = list(nodes)
        self.text = f"{text} {' '.join(n.name for n in self.nodes)}".strip()

    def go(self, work, *args):
        """Do it in a thread of its own, until halt()."""
        self.thread = threading.Thread(target=self.guarded, args=(work, *args), daemon=True,
                                       name=f"nemesis {self.kind}")
        self.thread.start()

    def guarded(self, work, *args):
        """What goes wrong in a thread would end the fault and leave the run to go on without it,
        so the run is told."""
        try:
            work(*args)
        except Exception as error:  # pylint: disable=broad-except
            self.world.note_failure(f"nemesis {self.kind}", error)

    def halt(self):
        """Its thread, if it has one, ends."""
        self.stop.set()
        if self.thread is not None:
            self.thread.join(THREAD_S)
            if self.thread.is_alive():
                raise RuntimeError(f"{self.text}: its thread does not end")

    def begin(self):
        raise NotImplementedError

    def end(self):
        pass


class Kill(Fault):
    def begin(self):
        nodes = [self.one()] if self.rng.random() < 0.5 else self.some()
        self.say("kill", nodes)
        in_threads(self.control.kill, nodes)

    def end(self):
        in_threads(self.control.start, self.nodes)


class Pause(Fault):
    longest_s = 5

    def begin(self):
        self.say("pause", [self.one()] if self.rng.random() < 0.5 else self.some())
        for node in self.nodes:
            self.control.pause(node)

    def end(self):
        for node in self.nodes:
            self.control.resume(node)


def both_ways(a, b):
    return {(x.number, y.number) for x in a for y in b} | {(y.number, x.number) for x in a
                                                          for y in b}


class Partition(Fault):
    """Of every shape; each returns (text, pairs that are cut, one way each)."""

    def halves(self):
        some = self.pick(len(self.world.nodes) // 2)
        rest = [n for n in self.world.nodes if n not in some]
        return "halves: cut off " + names(some), both_ways(some, rest)

    def isolate(self):
        node = self.one()
        return f"isolate {node.name}", both_ways([node], self.others(node))

    def isolate_leader(self):
        node = self.world.cluster.leader() or self.one()
        return f"isolate the leader {node.name}", both_ways([node], self.others(node))

    def ring(self):
        """Every node sees a majority, and no two see the same."""
        order = self.rng.sample(self.world.nodes, len(self.world.nodes))
        count = len(order)
        reach = (count // 2 + 1) // 2
        pairs = set()
        for i, a in enumerate(order):
            for j, b in enumerate(order):
                away = min((i - j) % count, (j - i) % count)
                if away > reach:
                    pairs.add((a.number, b.number))
        return "majorities ring " + names(order), pairs

    def bridge(self):
        """Two halves that see each other through one node alone."""
        order = self.rng.sample(self.world.nodes, len(self.world.nodes))
        half = len(order) // 2
        left, right = order[:half], order[half + 1:]
        return (f"bridge over {order[half].name}: {names(left)} | {names(right)}",
                both_ways(left, right))

    def one_way(self):
        node = self.one()
        others = self.rng.sample(self.others(node), self.rng.randint(1, len(self.world.nodes) - 1))
        pairs = {(node.number, o.number) for o in others}
        if self.rng.random() < 0.5:
            return f"one way: {names(others)} do not hear {node.name}", pairs
        return (f"one way: {node.name} does not hear {names(others)}",
                {(b, a) for a, b in pairs})

    def others(self, node):
        return [n for n in self.world.nodes if n is not node]

    def begin(self):
        shapes = [self.halves, self.isolate, self.isolate_leader, self.one_way]
        if len(self.world.nodes) > 3:
            shapes += [self.ring, self.bridge]
        self.text, pairs = self.rng.choice(shapes)()
        self.control.cut(self.token, pairs)

    def end(self):
        self.control.heal(self.token)


class Flapping(Partition):
    """One node comes and goes, several times a second."""

    def begin(self):
        node = self.one()
        self.say("flapping", [node])
        self.go(self.flap, node)

    def flap(self, node):
        while not self.stop.is_set():
            self.control.cut(self.token, both_ways([node], self.others(node)))
            self.stop.wait(self.rng.uniform(0.1, 0.8))
            self.control.heal(self.token)
            self.stop.wait(self.rng.uniform(0.1, 0.5))

    def end(self):
        self.halt()
        self.control.heal(self.token)


class Swizzle(Partition):
    """Links are cut one by one, and heal in another order."""

    def begin(self):
        victims = self.some()
        self.say("swizzle", victims)
        self.pairs = {v: both_ways([v], self.others(v)) for v in victims}
        for i in range(len(victims)):
            self.control.cut(self.token, set().union(*(self.pairs[v] for v in victims[:i + 1])))
            time.sleep(self.rng.uniform(0.05, 0.4))

    def end(self):
        left = self.rng.sample(self.nodes, len(self.nodes))
        while left:
            left.pop()
            self.control.cut(self.token, set().union(*(self.pairs[v] for v in left)))
            time.sleep(self.rng.uniform(0.05, 0.4))
        self.control.heal(self.token)


class Depose(Partition):
    """Who leads is cut off, and as soon as another one leads, that one in its place. So one comes
    back with a tail of entries that never committed, and hears first of a leader after the next:
    the tail may reach beyond the place where that leader would go on."""
    shortest_s = 3
    POLL_S = 0.02

    def begin(self):
        self.deposed = []
        self.go(self.chase)

    def chase(self):
        while not self.stop.wait(self.POLL_S):
            node = self.world.cluster.leader()
            if node is not None and node not in self.deposed[-1:]:
                self.deposed.append(node)
                self.control.cut(self.token, both_ways([node], self.others(node)))
                self.say("depose", self.deposed)

    def end(self):
        self.halt()
        self.control.heal(self.token)


class Reset(Fault):
    """Connections end in resets."""
    is_instant = True

    def begin(self):
        self.say("reset connections of", self.some())
        self.control.reset([n.number for n in self.nodes], self.rng.uniform(0.2, 0.8))


class Slow(Fault):
    """Links that delay, lose, double and reorder, and of few bytes a second."""

    def begin(self):
        nodes = [self.one()] if self.rng.random() < 0.6 else self.world.nodes
        delay = self.rng.choice((2000, 10000, 40000, 150000))
        jitter = self.rng.choice((0, delay // 2, delay))
        loss = self.rng.choice((0, 0, 10000, 50000))
        dup = self.rng.choice((0, 0, 20000))
        rate = self.rng.choice((0, 0, 0, 32, 128, 512))
        self.say(f"slow: {delay // 1000} ms + {jitter // 1000}, loss {loss // 10000} %, "
                 f"double {dup // 10000} %, {f'{rate} kbit/s' if rate else 'any rate'}:", nodes)
        orders = []
        for node in nodes:
            orders.append((node.number, 0, delay, jitter, loss, dup, rate))
            if self.rng.random() < 0.5:
                orders.append((0, node.number, delay, jitter, loss, dup, rate))
        self.world.slow_orders[self.token] = orders
        self.world.apply_slow()

    def end(self):
        self.world.slow_orders.pop(self.token, None)
        self.world.apply_slow()


class Clock(Fault):
    """Wall clocks jump, stay off, or jump to and fro."""

    def begin(self):
        nodes = self.some()
        if self.rng.random() < 0.3:
            self.say("strobe the clock of", nodes)
            self.go(self.strobe)
            return
        by = self.rng.choice((-1, 1)) * self.rng.choice((0.2, 3, 60, 3600))
        self.say(f"clock {by:+g} s on", nodes)
        for node in nodes:
            self.control.set_clock(node, by)

    def strobe(self):
        while not self.stop.is_set():
            for node in self.nodes:
                self.control.set_clock(node, self.rng.choice((0, self.rng.uniform(-5, 5))))
            self.stop.wait(0.2)

    def end(self):
        self.halt()
        for node in self.nodes:
            self.control.set_clock(node, 0)


class Disk(Fault):
    """Syncs that are slow, writes that fail or are torn in the middle. A node that ends itself
    then is right. In the end its power goes, whether it has ended or not."""
    FAULTS = ("sync_delay_us", "sync_delay_us", "tear", "write_fail")

    def begin(self):
        node = self.one()
        self.fault = self.rng.choice(self.FAULTS)
        value = self.rng.choice((5000, 50000, 300000)) if self.fault == "sync_delay_us" else 1
        words = {"sync_delay_us": f"syncs {value // 1000} ms slower on", "tear": "torn write on",
                 "sync_fail": "failing sync on", "write_fail": "failing write on"}
        self.say(words[self.fault], [node])
        node.is_expendable += self.fault != "sync_delay_us"
        self.control.disk_fault(node, **{self.fault: value})

    def end(self):
        node = self.nodes[0]
        self.control.disk_fault(node, **{self.fault: 0})
        if self.fault == "sync_delay_us":
            return
        with node.lock:
            self.control.power_off(node, self.rng.getrandbits(32),
                                   self.rng.choice((None, "--none", "--all")))
            self.control.start(node)
            node.is_expendable -= 1


class Sync(Disk):
    """A sync fails, and a moment later power goes: what the sync should have written must
    not have counted."""
    FAULTS = ("sync_fail",)
    longest_s = 3


class Rot(Fault):
    """While a node is down, bits of one of its files flip or the file's end is gone. It is
    the same node in all of a run, for of the same bytes a majority must stay sound; it may end
    itself as it finds out, or go on without what is damaged.

    The end of the newest log segment and of the manifest are spared: there damage looks
    like a write that power cut short, and no disk alone can tell (raftlog/README.md)."""

    def begin(self):
        world = self.world
        if world.rotten is None:
            world.rotten = self.rng.choice(world.nodes)
            world.rotten.is_expendable += 1  # for good
        node = world.rotten
        self.say("kill and spoil", [node])
        with node.lock:
            self.control.kill(node)
            self.text += self.spoil(node)

    def spoil(self, node):
        files = sorted(self.control.files(node))
        newest = max((f for f in files if f[0].endswith(".raftlog")), key=lambda f: f[2],
                     default=None)
        may = [f for f in files if f[1] > 0 and f is not newest and
               f[0].endswith((".tbl", ".val", ".raftlog", "CURRENT", "STORE"))]
        if not may:
            return ": it has no file yet"
        path, size, _ = self.rng.choice(may)
        name = path.rsplit("/", 1)[-1]
        if self.rng.random() < 0.25:
            left = self.rng.randrange(size)
            self.control.truncate(node, path, left)
            return f": {name} cut to {left} of {size} bytes"
        first = self.rng.randrange(size)
        flips = self.rng.choice((1, 1, 3))
        for _ in range(flips):
            at = min(size - 1, first + self.rng.randrange(512)) if flips > 1 else first
            self.control.flip(node, path, at, self.rng.randrange(8))
        return f": {name}, {flips} bits near byte {first} of {size}"

    def end(self):
        self.control.start(self.nodes[0])


class Power(Fault):
    """Nodes, mostly all of them, lose power at once, and what they had not synced. In half of
    the cases it goes in the middle of a write of each, which stops at the end of a sector."""
    longest_s = 3
    TEAR_S = 0.3  # for each to come to such a write; those behind a leader that died may not

    def begin(self):
        everyone = self.rng.random() < 0.6
        nodes = self.world.nodes if everyone else self.some()
        is_torn = self.rng.random() < 0.5
        torn = self.tear(nodes) if is_torn else 0
        self.say("power off", nodes)
        in_threads(self.control.kill, nodes)
        lost = 0
        for node in nodes:
            node.is_expendable -= is_torn
            said = self.control.power_off(node, self.rng.getrandbits(32), self.rng.choice(
                (None, "--none") if is_torn else (None, None, "--all")))
            lost += json.loads(said)["sectors"]
        self.text += (f" ({torn} writes are torn, " if is_torn else " (")
        self.text += f"{lost} sectors that were not synced are lost)"

    def tear(self, nodes):
        """How many died in the middle of a write."""
        for node in nodes:
            node.is_expendable += 1
            self.control.disk_fault(node, tear=1)
        until = time.monotonic() + self.TEAR_S
        while any(self.control.is_running(n) for n in nodes) and time.monotonic() < until:
            time.sleep(0.01)
        torn = sum(not self.control.is_running(n) for n in nodes)
        for node in nodes:
            self.control.disk_fault(node, tear=0)
        return torn

    def end(self):
        in_threads(self.control.start, self.nodes)


class Full(Fault):
    """The disk of one node, or of a majority, is full but for what its reserve needs."""

    def begin(self):
        nodes = [self.one()] if self.rng.random() < 0.6 else self.some()
        leave = self.rng.choice((24, 48, 60))
        self.say(f"disk full but for {leave} MiB on", nodes)
        for node in nodes:
            self.control.fill(node, leave << 20)

    def end(self):
        for node in self.nodes:
            self.control.unfill(node)


class Leader(Fault):
    """Leadership is handed on, again and again."""
    is_instant = True

    def begin(self):
        replicas = self.world.cluster.replicas()
        if not replicas:
            self.text = "transfer leadership: nobody tells who could have it"
            return
        node = self.rng.choice(list(replicas))
        done = self.world.cluster.cli("range", "transfer-leader", str(replicas[node]), "--timeout",
                                      "2s")
        self.say(f"transfer leadership ({'done' if done.returncode == 0 else 'not done'}) to",
                 [node])


class Roll(Fault):
    """Every node is stopped in order and started again: an upgrade, and with a second build
    (--binary-b) a real one, or the way back."""
    is_instant = True

    def begin(self):
        self.say("rolling restart", self.rng.sample(self.world.nodes, len(self.world.nodes)))
        builds = []
        for node in self.nodes:
            if self.world.faults_over.is_set():
                break
            self.control.stop(node)
            self.control.start(node)
            builds.append(f"{node.name} {'b' if self.control.is_b(node) else 'a'}")
            self.world.cluster.wait_serving(5)
        if self.control.options.binary_b:
            self.text = "rolling restart, now " + ", ".join(builds)


class Ranges(Fault):
    """Splits at keys that are in use, and merges of neighbours."""
    is_instant = True
    COMMANDS = ("split", "merge")
    RANGES_MAX = 8

    def begin(self):
        cluster = self.world.cluster
        ids = cluster.ranges() if "range merge" in cluster.probe() else []
        if len(ids) > 1 and (len(ids) > self.RANGES_MAX or self.rng.random() < 0.4):
            at = self.rng.randrange(len(ids) - 1)
            argv = ["merge", str(ids[at]), str(ids[at + 1])]
        else:
            argv = ["split", self.world.workload.some_key(self.rng)]
        done = cluster.cli("range", *argv, "--timeout", "5s", timeout_s=15)
        said = (done.stdout or done.stderr).strip().splitlines()
        self.text = f"{' '.join(argv)}: {said[0][:100] if said else done.returncode}"


class Drain(Fault):
    """All replicas leave a node, for a while."""
    longest_s = 20

    def begin(self):
        node = self.rng.choice(self.world.nodes)
        self.id = self.world.cluster.store_id(node)
        begun = self.id is not None and self.order("drain")
        self.say(f"drain ({'begun' if begun else 'not begun'})", [node])

    def order(self, verb):
        sure = ("--yes",) if verb == "decommission" else ()
        done = self.world.cluster.cli("node", verb, str(self.id), *sure, "--timeout", "3s")
        return done.returncode == 0

    def is_gone(self):
        """Has the cluster forgotten the store, or removed it? Then nothing is to be taken back."""
        stores = self.world.cluster.stores()
        return bool(stores) and stores.get(self.id, "removed") == "removed"

    def end(self):
        if self.id is not None and not self.order("undrain"):
            self.world.nemesis.unfinished.append(lambda: self.is_gone() or self.order("undrain"))


class Move(Fault):
    """A range's replica or leader goes to another store, at random."""
    is_instant = True

    def begin(self):
        ids = self.world.cluster.ranges()
        argv = ["scatter", str(self.rng.choice(ids))] if ids else []
        if not argv:
            self.text = "move: nobody tells which ranges there are"
            return
        done = self.world.cluster.cli("range", *argv, "--no-wait", "--timeout", "3s", timeout_s=8)
        said = (done.stdout or done.stderr).strip().splitlines()
        self.text = f"{' '.join(argv)}: {said[0][:100] if said else done.returncode}"


class Replace(Drain):
    """A node is decommissioned; once the cluster has forgotten it, it comes back with an empty
    folder, as a store that never was. If that takes too long, all is taken back."""
    shortest_s = 12
    longest_s = 30

    def begin(self):
        node = self.rng.choice(self.world.nodes)
        node.is_expendable += 1  # it ends when it hears that it was removed
        self.id = self.world.cluster.store_id(node)
        self.is_begun = self.id is not None and self.order("decommission")
        self.say(f"decommission ({'begun' if self.is_begun else 'not begun'})", [node])

    def settle(self):
        """True: the node is what it was, or a new one."""
        node = self.nodes[0]
        if self.id is not None and self.is_gone():
            self.control.kill(node)
            self.world.cluster.renew(node)
            self.control.start(node)
            self.text += ", replaced"
        elif self.id is not None and not self.order("undrain"):
            return False
        node.is_expendable -= 1
        return True

    def end(self):
        if not self.settle():
            self.world.nemesis.unfinished.append(self.settle)


KINDS = {
    "kill": (Kill,), "pause": (Pause,), "reset": (Reset,), "slow": (Slow,), "clock": (Clock,),
    "partition": (Partition, Partition, Partition, Flapping, Swizzle), "disk": (Disk,),
    "depose": (Depose,), "sync": (Sync,), "power": (Power,), "full": (Full,), "leader": (Leader,),
    "roll": (Roll,), "ranges": (Ranges,), "drain": (Drain,), "move": (Move,),
    "replace": (Replace,), "rot": (Rot,),
}
ALL = tuple(k for k in KINDS if k not in ("full", "rot"))
NEEDS_COMMAND = {"leader": ("range transfer-leader",), "drain": ("node drain",),
                 "move": ("range scatter",), "replace": ("node decommission",),
                 "ranges": tuple(f"range {c}" for c in Ranges.COMMANDS)}


def names(nodes):
    return " ".join(n.name for n in nodes)


def in_threads(call, nodes):
    """All at once: what happens to many nodes should happen together. Raises what one of them
    raised."""
    raised = []

    def one(node):
        try:
            call(node)
        except Exception as error:  # pylint: disable=broad-except
            raised.append(error)
    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


class Nemesis(threading.Thread):
    """The schedule: every 0.5 to `pace` seconds a fault begins or one of those that are on
    ends; never more than `at_once`."""

    def __init__(self, world, kinds, seed, pace_s, at_once):
        super().__init__(name="nemesis", daemon=True)
        self.world, self.kinds = world, kinds
        self.rng = random.Random(f"nemesis/{seed}")
        self.pace_s, self.at_once = pace_s, at_once
        self.on = []  # (fault, entry)
        self.unfinished = []  # what an end could not do while other faults were on
        self.timeline = []  # {"kind","text","nodes","begin","end"}, seconds

    def now(self):
        return (time.monotonic_ns() - self.world.zero_ns) / 1e9

    def run(self):
        try:
            while not self.world.faults_over.wait(self.rng.uniform(0.5, self.pace_s)):
                self.step()
        except Exception as error:  # pylint: disable=broad-except
            self.world.note_failure("the nemesis", error)

    def step(self):
        late = [e for e in self.on if self.now() - e[1]["begin"] > e[0].longest_s]
        ripe = [e for e in self.on if self.now() - e[1]["begin"] >= e[0].shortest_s]
        if late or len(self.on) >= self.at_once or (ripe and self.rng.random() < 0.5):
            if late or ripe:
                self.end_one(late[0] if late else self.rng.choice(ripe))
            return
        free = [k for k in self.kinds if not any(f.kind == k for f, _ in self.on)]
        self.begin_one(self.rng.choice(free or self.kinds))

    def begin_one(self, kind):
        # dice of its own: how often a thread of it throws them must not change what comes later
        fault = self.rng.choice(KINDS[kind])(kind, self.world,
                                             random.Random(self.rng.getrandbits(64)))
        entry = {"kind": kind, "begin": self.now(), "end": None}
        self.timeline.append(entry)
        try:
            fault.begin()
        except Exception as error:
            entry.update(text=f"{fault.text}: it failed: {error}")
            raise
        entry.update(text=fault.text, nodes=[n.name for n in fault.nodes])
        if fault.is_instant:
            entry["end"] = self.now()
        else:
            self.on.append((fault, entry))

    def end_one(self, pair):
        self.on.remove(pair)
        pair[0].end()
        pair[1].update(text=pair[0].text, nodes=[n.name for n in pair[0].nodes], end=self.now())

    def halt(self):
        """Threads of faults that are on end, whatever else they have done stays: all will be taken
        down."""
        net.attempt_all([fault.halt for fault, _ in self.on])

    def heal(self):
        """After the thread has ended: all faults end, every node runs. How many orders to the
        cluster could not be taken back."""
        for pair in list(self.on):
            self.end_one(pair)
        self.start_all()
        until = time.monotonic() + UNFINISHED_S
        while self.unfinished and time.monotonic() < until:
            self.unfinished = [order for order in self.unfinished if not order()]
        return len(self.unfinished)

    def start_all(self):
        """Every node runs that did not die wrongly."""
        for node in self.world.nodes:
            self.world.control.watch(node)
            self.world.control.resume(node)
            died_wrongly = any(e[1] == node.name and not e[3]
                               for e in self.world.control.exits)
            if not died_wrongly:
                self.world.control.start(node)
