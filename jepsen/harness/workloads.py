# SPDX-License-Identifier: Apache-2.0
"""What clients do: operations, and how answers become lines of the history.

A workload is asked for operations by many threads at once; its own state is under a lock.
An operation has two faces: `op` for the history (tests/support/history/history.h) and
`request` for a client process (jepsen/client.c)."""
import bisect
import threading


class Op:
    def __init__(self, op, request, note=None):
        self.op, self.request, self.note = op, request, note


class Workload:
    name = None
    models = ()        # of history-check
    may_be_unknown = ()  # models whose search may be given up in a valid run
    clients = ("library", "cli")
    needs = None       # a feature of the product's client library
    depends_on_clocks = False  # its checker wants to know how far they were off (clocks.py)

    def __init__(self, options):
        self.options = options
        self.lock = threading.Lock()

    def next(self, rng, kind, number):
        """The next Op for a client of this kind; None: nothing now."""
        raise NotImplementedError

    def complete(self, op, answer):
        """The completion for the history."""
        done = {"type": answer["type"]}
        for name in ("error", "mismatch", "seen", "number", "version", "resolved"):
            if name in answer:
                done[name] = answer[name]
        if done["type"] == "ok" and "value" in answer:
            done["value"] = answer["value"]
        return done

    def record(self, op, answer):
        """What goes into the history, [(operation, completion)]: one, unless what the client
        asked for at once did not happen at one moment."""
        return [(op.op, self.complete(op, answer))]

    def note_sending(self, label):
        """A change of that stamp was sent once more (clients.Repeater)."""

    def some_key(self, rng):
        """A key of the store that is in use, for those who split there."""
        raise NotImplementedError

    def first(self):
        """Operations before all others, one after another."""
        return []

    def void(self):
        """Why a run of it proves nothing, as it went; None if it does not."""

    def last(self):
        """Operations after the last heal, one after another."""
        return []


class Register(Workload):
    """Reads, writes, compare-and-set and deletes of registers. A few keys are in use at a
    time, each for some hundred operations: the search for an order stays short, and there
    is always a key that no fault has met yet."""
    name = "register"
    models = ("register", "plain-register")
    may_be_unknown = ("plain-register",)
    ACTIVE, OPERATIONS = 8, 300

    def __init__(self, options):
        super().__init__(options)
        self.made = 0
        self.value = 0
        self.keys = [self.new_key() for _ in range(self.ACTIVE)]
        self.seen = {}

    def new_key(self):
        self.made += 1
        return [f"r{self.made:06}", 0]

    def take(self, rng):
        slot = rng.randrange(self.ACTIVE)
        self.keys[slot][1] += 1
        if self.keys[slot][1] > self.OPERATIONS:
            self.seen.pop(self.keys[slot][0], None)
            self.keys[slot] = self.new_key()
        return self.keys[slot][0]

    def next(self, rng, kind, number):
        with self.lock:
            key = self.take(rng)
            draw = rng.random()
            if draw < 0.5:
                return self.op("read", key, None)
            if draw < 0.55:
                return self.op("delete", key, None)
            self.value += 1
            if draw < 0.8:
                return self.op("write", key, str(self.value))
            return self.op("cas", key, [self.seen.get(key), str(self.value)])

    def some_key(self, rng):
        return self.keys[rng.randrange(self.ACTIVE)][0]

    @staticmethod
    def op(f, key, value):
        request = {"f": f, "key": key}
        if value is not None:
            request["value"] = value
        return Op({"f": f, "key": key, "value": value}, request)

    def complete(self, op, answer):
        done = super().complete(op, answer)
        f, key = op.op["f"], op.op["key"]
        if done["type"] == "ok" and f != "delete":
            now = {"read": done.get("value"), "write": op.op["value"]}.get(f)
            with self.lock:
                self.seen[key] = op.op["value"][1] if f == "cas" else now
        elif done.get("mismatch") and "seen" in done:
            with self.lock:
                self.seen[key] = done["seen"]
        return done

    def last(self):
        with self.lock:
            return [self.op("read", key, None) for key, _ in self.keys]


class Ttl(Workload):
    """Registers most of whose values expire. Many keys, each changed seldom, so that values live
    long enough for that; reads also of keys that were given up long ago, for what has expired is to
    stay away, over changes of leaders, restarts, snapshots, splits and moves."""
    name = "ttl"
    models = ("ttl",)
    needs = "ttl"
    depends_on_clocks = True
    ACTIVE, OPERATIONS, OLD_MAX = 120, 50, 400
    TTLS_MS = (200, 1000, 1000, 3000, 3000, 8000, 20000)

    def __init__(self, options):
        super().__init__(options)
        self.made = 0
        self.value = 0
        self.keys = [self.new_key() for _ in range(self.ACTIVE)]
        self.old = []
        self.seen = {}

    def new_key(self):
        self.made += 1
        return [f"t{self.made:06}", 0]

    def take(self, rng):
        slot = rng.randrange(self.ACTIVE)
        self.keys[slot][1] += 1
        if self.keys[slot][1] > self.OPERATIONS:
            self.old.append(self.keys[slot][0])
            del self.old[:-self.OLD_MAX]
            self.seen.pop(self.keys[slot][0], None)
            self.keys[slot] = self.new_key()
        return self.keys[slot][0]

    def next(self, rng, kind, number):
        with self.lock:
            draw = rng.random()
            if draw < 0.1 and self.old:
                return self.op("read", rng.choice(self.old))
            key = self.take(rng)
            if draw < 0.6:
                return self.op("read", key)
            if draw < 0.64:
                return self.op("delete", key)
            self.value += 1
            after = str(self.value)
            ttl_ms = rng.choice(self.TTLS_MS) if rng.random() < 0.85 else 0
            if draw < 0.8:
                return self.op("write", key, after, ttl_ms)
            return self.op("cas", key, [self.seen.get(key), after], ttl_ms)

    def some_key(self, rng):
        return self.keys[rng.randrange(self.ACTIVE)][0]

    @staticmethod
    def op(f, key, value=None, ttl_ms=0):
        request = {"f": f, "key": key}
        if value is not None:
            request["value"] = value
        if ttl_ms:
            request["ttl_ms"] = ttl_ms
        return Op({"f": f, "key": key, "value": value, **({"ttl_ms": ttl_ms} if ttl_ms else {})},
                  request)

    def complete(self, op, answer):
        done = super().complete(op, answer)
        f, key = op.op["f"], op.op["key"]
        if f == "read" and done["type"] == "ok" and answer.get("left_ms"):
            done["left_ms"] = answer["left_ms"]
        with self.lock:
            if done["type"] == "ok" and f != "delete":
                now = {"read": done.get("value"), "write": op.op["value"]}.get(f)
                self.seen[key] = op.op["value"][1] if f == "cas" else now
            elif done.get("mismatch") and "seen" in done:
                self.seen[key] = done["seen"]
        return done

    def last(self):
        """What is left of all of them that are remembered."""
        with self.lock:
            return [self.op("read", key) for key in [*self.old, *(k for k, _ in self.keys)]]


class Set(Workload):
    """Elements are added, each once; reads see all of them. A new set is begun when one is
    full, and at the end all are read. An element stands in the store with a value that it
    tells, now and then of several sectors of a disk: with another it is another element."""
    name = "set"
    models = ("strict-set",)
    ELEMENTS = 300

    def __init__(self, options):
        super().__init__(options)
        self.element = 0

    def some_key(self, rng):
        """In the middle of the set that is being filled."""
        now = self.element // self.ELEMENTS
        return f"s{now:05}/{max(1, self.element - rng.randrange(self.ELEMENTS)):08}"

    @staticmethod
    def read(number):
        return Op({"f": "read", "key": f"s{number:05}", "value": None},
                  {"f": "scan", "key": f"s{number:05}/", "value": [1000, 0]})

    @staticmethod
    def value(element):
        return f"{element} " * (200 if element % 12 == 0 else 1)

    def next(self, rng, kind, number):
        with self.lock:
            now = self.element // self.ELEMENTS
            if rng.random() < 0.15:
                return self.read(max(0, now - rng.choice((0, 0, 0, 1))))
            self.element += 1
            name = f"s{now:05}"
            element = self.element
        return Op({"f": "add", "key": name, "value": element},
                  {"f": "write", "key": f"{name}/{element:08}", "value": self.value(element)})

    def seen(self, key, value):
        element = int(key.split("/")[1])
        return element if value == self.value(element) else f"{element}: {value[:32]}"

    def complete(self, op, answer):
        done = super().complete(op, answer)
        done.pop("version", None)
        if done["type"] == "ok" and op.op["f"] == "read":
            done["value"] = [self.seen(row[0], row[1]) for row in answer["value"]]
        elif done["type"] == "ok":
            done["value"] = op.op["value"]
        return done

    def last(self):
        return [self.read(n) for n in range(self.element // self.ELEMENTS + 1)]


class Counter(Workload):
    """Additions to numbers, and reads."""
    name = "counter"
    models = ("counter", "register")
    ACTIVE, OPERATIONS = 4, 200

    def __init__(self, options):
        super().__init__(options)
        self.count = 0

    def some_key(self, rng):
        epoch = self.count // (self.ACTIVE * self.OPERATIONS)
        return f"c{epoch:04}-{rng.randrange(self.ACTIVE)}"

    def next(self, rng, kind, number):
        with self.lock:
            self.count += 1
            epoch = self.count // (self.ACTIVE * self.OPERATIONS)
        key = f"c{epoch:04}-{rng.randrange(self.ACTIVE)}"
        if rng.random() < 0.4:
            return self.read(key)
        least = -5 if kind == "library" else 1
        by = rng.randint(least, 5) or 1
        return Op({"f": "increment", "key": key, "value": by},
                  {"f": "add", "key": key, "value": by})

    @staticmethod
    def read(key):
        return Op({"f": "read", "key": key, "value": None}, {"f": "read", "key": key})

    def complete(self, op, answer):
        done = super().complete(op, answer)
        if op.op["f"] == "read" and done["type"] == "ok" and done["value"] is not None:
            done["value"] = int(done["value"])
        return done

    def last(self):
        epochs = self.count // (self.ACTIVE * self.OPERATIONS) + 1
        return [self.read(f"c{e:04}-{i}") for e in range(epochs) for i in range(self.ACTIVE)]


class Append(Workload):
    """Transactions of appends to lists and reads of them, several keys at once. The product
    has no transactions with reads and writes yet but batches, whose appends tell what was
    there before, and reads of several keys at one version: both are transactions. A batch over
    several ranges is refused; a read over several ranges is no transaction but a read of each
    key at a moment of its own (hf_multi_get), and is recorded as that."""
    name = "append"
    models = ("append",)
    clients = ("library",)
    needs = "append"
    ACTIVE, APPENDS = 6, 24

    def __init__(self, options):
        super().__init__(options)
        self.made = 0
        self.keys = [self.new_key() for _ in range(self.ACTIVE)]
        self.whole = self.parted = 0  # reads of several keys, at one version and at several

    def new_key(self):
        self.made += 1
        return [f"l{self.made:06}", 0]

    def next(self, rng, kind, number):
        with self.lock:
            slots = rng.sample(range(self.ACTIVE), rng.choice((1, 2, 2, 3)))
            if rng.random() < 0.4:
                keys = [self.keys[s][0] for s in slots]
                return Op({"f": "txn", "value": [["r", k, None] for k in keys]},
                          {"f": "reads", "value": keys})
            mops, changes = [], []
            for slot in slots:
                entry = self.keys[slot]
                entry[1] += 1
                key, element = entry
                mops += [["r", key, None], ["append", key, element]]
                changes.append(["append", key, f"{element} "])
                if entry[1] >= self.APPENDS:
                    self.keys[slot] = self.new_key()
        return Op({"f": "txn", "value": mops}, {"f": "changes", "value": changes})

    def some_key(self, rng):
        return self.keys[rng.randrange(self.ACTIVE)][0]

    @staticmethod
    def elements_of(text):
        return [int(word) for word in (text or "").split()]

    def complete(self, op, answer):
        done = super().complete(op, answer)
        done.pop("version", None)
        done["value"] = op.op["value"]
        if done["type"] != "ok":
            return done
        if op.request["f"] == "reads":
            done["value"] = [["r", k, self.elements_of(v)] for k, v in answer["value"]]
        else:
            if len(answer["value"]) < len(op.op["value"][1::2]):
                # a repeat whose first result was too large to be kept: done, reads not known
                done["value"] = op.op["value"][1::2]
                return done
            value = []
            for before, mop in zip(answer["value"], op.op["value"][1::2]):
                value += [["r", mop[1], self.elements_of(before)], mop]
            done["value"] = value
        return done

    def record(self, op, answer):
        done = self.complete(op, answer)
        is_parted = done["type"] == "ok" and answer.get("parted", False)
        if done["type"] == "ok" and op.request["f"] == "reads" and len(done["value"]) > 1:
            with self.lock:
                self.parted += is_parted
                self.whole += not is_parted
        if not is_parted:
            return [(op.op, done)]
        return [({**op.op, "value": [["r", key, None]]}, {**done, "value": [["r", key, seen]]})
                for _, key, seen in done["value"]]

    def void(self):
        """Keys change after some appends, so a split is soon behind those in use."""
        if self.parted <= self.whole:
            return None
        return (f"{self.parted} reads of several keys were over several ranges, and only "
                f"{self.whole} at one version")

    def last(self):
        """One by one: of several ranges each key would be read at a moment of its own."""
        every = [f"l{n:06}" for n in range(1, self.made + 1)]
        return [Op({"f": "txn", "value": [["r", k, None]]}, {"f": "reads", "value": [k]})
                for k in every]


class Bank(Workload):
    """Transfers between accounts; the sum never changes."""
    name = "bank"
    models = ("bank",)
    clients = ("library",)
    needs = "bank"
    ACCOUNTS, BALANCE = 8, 100

    def some_key(self, rng):
        """Beside the accounts: over two ranges there are no transfers yet."""
        return rng.choice(("a", "b"))

    def accounts(self):
        return [f"a{i}" for i in range(self.ACCOUNTS)]

    def first(self):
        value = [[a, self.BALANCE] for a in self.accounts()]
        return [Op({"f": "open", "value": value},
                   {"f": "changes", "value": [["write", a, str(b)] for a, b in value]})]

    def read(self):
        return Op({"f": "read", "value": None}, {"f": "reads", "value": self.accounts()})

    def next(self, rng, kind, number):
        if rng.random() < 0.5:
            return self.read()
        value = [*rng.sample(self.accounts(), 2), rng.randint(1, 20)]
        return Op({"f": "transfer", "value": value}, {"f": "transfer", "value": value})

    def complete(self, op, answer):
        done = super().complete(op, answer)
        done.pop("version", None)
        done.pop("seen", None)
        done["value"] = op.op["value"]
        if answer.get("parted"):  # the run is void: a sum over several moments proves nothing
            raise RuntimeError("the accounts lie in several ranges, though no fault splits there")
        if done["type"] == "ok" and op.op["f"] == "read":
            done["value"] = [[a, int(b) if b is not None else None] for a, b in answer["value"]]
        return done

    def last(self):
        return [self.read()]


class Scan(Workload):
    """Groups of keys whose values are always written together, and long scans, page by page
    with pauses, that must see every group whole and all of them at one moment. Over several
    ranges there is a moment for each, and of a group that lies in two both are told."""
    name = "scan"
    models = ("scan",)
    clients = ("library",)
    needs = "scan"
    GROUPS, MEMBERS = 16, 6

    def __init__(self, options):
        super().__init__(options)
        self.value = 0

    def some_key(self, rng):
        """A split between members would make every later write of the group one over two
        ranges; so mostly it is between groups."""
        member = rng.choice(("", "", "", "/3"))
        return f"g{rng.randrange(self.GROUPS):02}{member}"

    def write(self, group):
        self.value += 1
        name, value = f"g{group:02}", str(self.value)
        changes = [["write", f"{name}/{i}", value] for i in range(self.MEMBERS)]
        return Op({"f": "write", "key": name, "value": [value, self.MEMBERS]},
                  {"f": "changes", "value": changes})

    @staticmethod
    def scan(page, pause_ms):
        return Op({"f": "scan", "value": None},
                  {"f": "scan", "key": "g", "value": [page, pause_ms]})

    def first(self):
        return [self.write(g) for g in range(self.GROUPS)]

    def next(self, rng, kind, number):
        if number % 4 == 0:
            return self.scan(rng.choice((5, 7, 40)), rng.choice((1, 10, 50)))
        with self.lock:
            return self.write(rng.randrange(self.GROUPS))

    def complete(self, op, answer):
        done = super().complete(op, answer)
        if op.op["f"] == "write":
            done["value"] = op.op["value"]
        return done

    def last(self):
        return [self.scan(1000, 0)]


class Session(Workload):
    """Changes that would show if they happened twice. Half of the clients repeat every change
    themselves, over other connections (clients.Repeater): elements at the end of lists,
    increments, and registers that are created, swapped, written, deleted. The others leave that
    to the library: elements with short deadlines, so that many answers are lost and it sends
    again; what is still open is asked for with hf_resolve() by another client: once done, or
    never."""
    name = "session"
    models = ("session",)
    clients = ("library", "sender")
    needs = "session"
    ELEMENTS, ACTIVE, OPERATIONS = 150, 6, 60

    def __init__(self, options):
        super().__init__(options)
        self.element = 0
        self.value = 0
        self.count = 0
        self.sendings = {}  # how many of each stamp
        self.times = {}  # key: the range's time, as its last refusal told
        self.timed_keys = []  # in order

    def some_key(self, rng):
        return rng.choice((f"e{self.element // self.ELEMENTS:05}", self.other_key(rng, "x"),
                           self.other_key(rng, "n")))

    def other_key(self, rng, letter):
        """Of those that change their names after some operations."""
        epoch = self.count // (self.ACTIVE * self.OPERATIONS)
        return f"{letter}{epoch:04}-{rng.randrange(self.ACTIVE)}"

    @staticmethod
    def read(number):
        key = f"e{number:05}"
        return Op({"f": "read", "key": key, "value": None}, {"f": "read", "key": key})

    def next(self, rng, kind, number):
        with self.lock:
            now = self.element // self.ELEMENTS
            if rng.random() < 0.2:
                return self.read(max(0, now - rng.choice((0, 0, 1))))
            if kind == "sender" and rng.random() < 0.7:
                return self.other(rng)
            self.element += 1
            key, element = f"e{now:05}", self.element
        request = {"f": "once", "key": key, "value": [f"{element} ", rng.choice((5, 50, 500))]}
        if kind == "sender":
            request = {"f": "add", "key": key, "value": f"{element} "}
        return Op({"f": "add", "key": key, "value": element}, request)

    def other(self, rng):
        """Of numbers and registers."""
        self.count += 1
        if rng.random() < 0.3:
            return self.same("increment", self.other_key(rng, "n"), rng.randint(1, 9))
        key, f = self.other_key(rng, "x"), rng.choice(("read", "delete", "write", "swap", "cas",
                                                       "cas"))
        self.value += 1
        after = str(self.value)
        value = {"read": None, "delete": None, "cas": [None, after]}.get(f, after)
        return self.same(f, key, value)

    @staticmethod
    def same(f, key, value):
        return Op({"f": f, "key": key, "value": value}, {"f": f, "key": key, "value": value})

    def note_sending(self, label):
        with self.lock:
            self.sendings[label] = self.sendings.get(label, 0) + 1

    def learn_time(self, key, time_ms):
        """A range refused a stamp of that key for its time, and told one that it takes."""
        with self.lock:
            if key not in self.times:
                bisect.insort(self.timed_keys, key)
            self.times[key] = time_ms

    def time_of(self, key):
        """What that key's range told; else that of the next key before it, which may be of the
        same range, or behind it; 0: no range has told any yet. It stays of use though time goes on:
        a range takes stamps that are minutes old."""
        with self.lock:
            at = bisect.bisect_right(self.timed_keys, key)
            return self.times[self.timed_keys[max(0, at - 1)]] if self.timed_keys else 0

    def complete(self, op, answer):
        done = super().complete(op, answer)
        if "change" in answer:
            done["change"] = answer["change"]
        if op.op["key"].startswith("e"):
            done.pop("version", None)
        if done["type"] == "ok":
            done["value"] = op.op["value"]
            if op.op["f"] == "read":
                done["value"] = self.seen_in(op.op["key"], answer["value"])
        return done

    @staticmethod
    def seen_in(key, text):
        return [int(word) for word in (text or "").split()] if key.startswith("e") else text

    def void(self):
        """Why the run proves nothing; None if it does not."""
        twice = sum(n > 1 for n in self.sendings.values())
        has_senders = self.options.clients != "library"
        return None if twice >= 10 or not has_senders else f"only {twice} changes were sent more than once"

    def last(self):
        yield from (self.read(n) for n in range(self.element // self.ELEMENTS + 1))
        for epoch in range(self.count // (self.ACTIVE * self.OPERATIONS) + 1):
            for i in range(self.ACTIVE):
                for letter in "xn":
                    yield self.same("read", f"{letter}{epoch:04}-{i}", None)


class Watch(Workload):
    """Watchers of a prefix see every change below it, once and in the order of each key,
    however often they are cut off. In the end every key gets a last value, and every watcher
    must come to see it."""
    name = "watch"
    models = ("watch",)
    clients = ("library",)
    needs = "watch"
    KEYS, PREFIX, LISTEN_MS, LAST_MS = 12, "w/", 300, 30000

    def __init__(self, options):
        super().__init__(options)
        self.value = 0
        self.tokens = {}

    def some_key(self, rng):
        return f"{self.PREFIX}{rng.randrange(self.KEYS):02}"

    def watch(self, watcher, wait_ms, until):
        token = self.tokens.get(watcher, "")
        return Op({"f": "watch", "key": watcher, "value": None},
                  {"f": "watch", "key": self.PREFIX, "value": [wait_ms, token, until]})

    def write(self, key):
        self.value += 1
        return Op({"f": "write", "key": key, "value": str(self.value)},
                  {"f": "write", "key": key, "value": str(self.value)})

    def next(self, rng, kind, number):
        if number % 5 == 0:
            return self.watch(f"watcher-{number}", self.LISTEN_MS, "")
        key = self.some_key(rng)
        with self.lock:
            if rng.random() < 0.15:
                return Op({"f": "delete", "key": key, "value": None},
                          {"f": "delete", "key": key, "value": "present"})
            return self.write(key)

    def complete(self, op, answer):
        done = super().complete(op, answer)
        done.pop("version", None)
        if op.op["f"] != "watch":
            done.pop("seen", None)
            if done["type"] == "ok":
                done["version"] = answer["change"]
        elif done["type"] == "ok":
            self.tokens[op.op["key"]] = answer["token"]
        else:
            done.pop("value", None)
        return done

    def last(self):
        """Each key's last value; then every watcher listens until it has seen the last of all,
        and a little longer, for other ranges."""
        yield from (self.write(f"{self.PREFIX}{i:02}") for i in range(self.KEYS))
        last = str(self.value)
        for watcher in sorted(self.tokens):
            yield self.watch(watcher, self.LAST_MS, last)
            yield self.watch(watcher, 500, "")


ALL = {w.name: w for w in (Register, Set, Append, Bank, Counter, Session, Watch, Scan, Ttl)}
