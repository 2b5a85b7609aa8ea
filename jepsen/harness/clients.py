# SPDX-License-Identifier: Apache-2.0
"""Client processes, and the threads that give them work.

Each worker has a process of its own: jepsen-client (the C library) or cli_client.py (the
program holdfast). After an operation whose outcome is not known the worker goes on under a
new process number, with a new client process now and then."""
import json
import os
import random
import select
import subprocess
import sys
import threading
import time

PROCESSES_MAX = 10**6  # numbers of workers' own processes stay below
PARTS_FIRST = 8  # in as many: numbers of parts of an answer lie beyond those of seats
STALE_FIRST = 1000  # in as many, too: reads that may be old …
STALE_AT_ONCE = 1000  # … of which a worker's overlap, as they are told of
DRIFT_PPM = 500  # max_clock_drift, as it is if nobody says otherwise
HERE = os.path.dirname(os.path.abspath(__file__))
LATE_S = 20  # beyond its own deadline, then a client process counts as hung
EARLY_MS = 100  # before its deadline: the end of a deadline still
FORGOTTEN = "has forgotten the time of the first sending"


class Agent:
    """One client process: a line in, a line out."""

    def __init__(self, argv, plant):
        env = dict(os.environ, HOLDFAST_PLANT=plant) if plant else None
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, env=env,
                                        start_new_session=True)
        self.rest = b""

    def ask(self, request, seconds):
        """The answer, or None if the process died or hung."""
        return self.hear(seconds) if self.tell(request) else None

    def tell(self, request):
        """False: the process is gone."""
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return False
        return True

    def hear(self, seconds):
        until = time.monotonic() + seconds
        out = self.process.stdout.fileno()
        while b"\n" not in self.rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                return None
            more = os.read(out, 1 << 20)
            if not more:
                return None
            self.rest += more
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def close(self):
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Worker(threading.Thread):
    def __init__(self, run, number, kind):
        super().__init__(name=f"worker-{number}", daemon=True)
        self.run_, self.number, self.kind = run, number, kind
        self.process = number
        self.rng = random.Random(f"{run.options.seed}/{number}")
        self.agent = None
        self.read_mode = None  # as the run's
        self.stale = 0  # reads that might be old

    def argv(self):
        run = self.run_
        nodes = run.cluster.endpoints.split(",")
        first = self.number % len(nodes)  # not all of them talk to the same one first
        if self.kind == "control":
            return run.control.client_command(run.cluster.client_argv(first))
        if self.kind == "cli":
            program = [sys.executable, "-B", os.path.join(HERE, "cli_client.py"),
                       os.path.join(run.options.bin, "holdfast")]
        else:
            program = [os.path.join(run.options.bin, "jepsen-client"), "--endpoints"]
        endpoints = ",".join(nodes[first:] + nodes[:first])
        mode = [] if self.kind == "cli" else ["--read-mode", self.read_mode or run.options.read_mode]
        return run.control.client_command([*program, endpoints, *mode])

    def run(self):
        try:
            self.work()
        except Exception as error:  # pylint: disable=broad-except
            self.run_.note_failure(self.name, error)
        finally:
            if self.agent is not None:
                self.agent.close()

    def work(self):
        options = self.run_.options
        pace = options.concurrency / options.rate
        due = time.monotonic() + self.rng.random() * pace
        while not self.run_.is_over.is_set():
            wait = due - time.monotonic()
            if wait > 0:
                self.run_.is_over.wait(wait)
                continue
            due = max(due + self.rng.expovariate(1 / pace), time.monotonic() - 10 * pace)
            op = self.run_.workload.next(self.rng, self.kind, self.number)
            if op is not None:
                self.perform(op)
        self.finish()

    def finish(self):
        """What is still to be done when no operation begins any more."""

    def perform(self, op):
        """One operation, from its invocation to the history."""
        if self.agent is None:
            self.agent = Agent(self.argv(), self.run_.options.plant)
        timeout_ms = self.run_.options.timeout_ms
        request = {**op.request, "timeout_ms": timeout_ms}
        began = time.monotonic_ns()
        try:
            answer = self.agent.ask(request, timeout_ms / 1000 + LATE_S)
            ended = time.monotonic_ns()
            if answer is None:
                answer = {"type": "info", "error": "CLIENT_DIED", "t0": began, "t1": ended}
                self.agent.close()
                self.agent = None
            self.judge_undetermined(op, answer, timeout_ms)
            parts = self.run_.workload.record(op, answer)
        except Exception:
            self.record_unknown(op.op, self.process, began)
            raise
        completion = self.record(parts, answer)
        if completion["type"] == "info":
            self.process += self.run_.options.concurrency
            if self.agent is not None and self.rng.random() < 0.2:
                self.agent.close()
                self.agent = None
        return completion

    def record(self, parts, answer):
        """Into the history, and the completion. What went on side by side in one answer is told
        of processes of their own. So is a read that might be old: it is as good as one that was
        asked so much earlier, by a clock that may drift as much as stores are told."""
        base = self.run_.zero_ns
        began_ns, ended_ns = answer["t0"], answer["t1"]
        told, first = {}, 0
        if "max_age_ms" in answer and not self.run_.options.stale_as_new:
            began_ns -= answer["max_age_ms"] * (10**6 + 2 * DRIFT_PPM)
            self.stale += 1
            first = STALE_FIRST + self.stale % STALE_AT_ONCE
            told["asked"] = answer["t0"] - base
        for part, (asked, completion) in enumerate(parts):
            process = self.process + first * PROCESSES_MAX
            if part > 0:
                process += (PARTS_FIRST + part) * PROCESSES_MAX
            self.run_.history.add(asked, process, max(began_ns - base, 0), ended_ns - base,
                                  completion, told)
        return completion

    def record_unknown(self, op, process, began_ns):
        """What was begun when the harness failed may have happened: a history without it would
        accuse the cluster."""
        zero_ns = self.run_.zero_ns
        self.run_.history.add(op, process, began_ns - zero_ns, time.monotonic_ns() - zero_ns,
                              {"type": "info", "error": "HARNESS_FAILED"})

    def judge_undetermined(self, op, answer, timeout_ms):
        """The library goes on asking until the deadline: before it, nobody may hear that it cannot
        be told what came of a change, unless its range has forgotten when it was sent. One that is
        sent "once" has a shorter deadline, and then asks what became of it: of that somebody may
        be told at once that nobody can tell."""
        took_ms = (answer["t1"] - answer["t0"]) / 1e6
        if (self.kind not in ("library", "cli") or answer.get("error") != "UNDETERMINED"
                or op.request["f"] == "once" or took_ms + EARLY_MS >= timeout_ms
                or FORGOTTEN in answer.get("message", "")):
            return
        self.run_.gave_up.append({"f": op.op["f"], "took_ms": round(took_ms),
                                  "deadline_ms": timeout_ms,
                                  "message": answer.get("message", "")})


class Seat:
    """A process of its own, jepsen-sender, that sends what it is told to."""

    def __init__(self, worker, number):
        self.worker = worker
        self.process = (number + 2) * PROCESSES_MAX + worker.number
        self.number = number
        self.agent = None
        self.began = None
        self.change = None  # what it sends, until it has been heard

    def argv(self):
        run = self.worker.run_
        nodes = run.cluster.endpoints.split(",")
        first = (self.worker.number + 2 * self.number) % len(nodes)
        return run.control.client_command(
            [os.path.join(run.options.bin, "jepsen-sender"), "--endpoints",
             ",".join(nodes[first:] + nodes[:first])])

    def tell(self, request, change=None):
        if self.agent is None:
            self.agent = Agent(self.argv(), self.worker.run_.options.plant)
        self.began, self.change = time.monotonic_ns(), change
        self.agent.tell(request)

    def hear(self, seconds):
        answer = self.agent.hear(seconds)
        if answer is None:
            answer = self.died()
        return answer

    def died(self):
        self.close()
        return {"type": "info", "error": "CLIENT_DIED", "t0": self.began,
                "t1": time.monotonic_ns()}

    def close(self):
        if self.agent is not None:
            self.agent.close()
            self.agent = None


class Stamped:
    """A change under its stamp: what its sendings have in common."""

    def __init__(self, op, session, sequence, lowest, first_sent):
        self.op, self.sequence = op, sequence
        self.label = f"{session}/{sequence}"
        self.stamp = {"session": session, "sequence": sequence, "lowest": lowest,
                      "first_sent": first_sent}
        self.has_result = self.is_open = False
        self.told_ms = 0  # by a refusal: a first_sent that the range would take

    def is_refused(self):
        """For its time alone, and certainly nothing was done: under another one it may be."""
        return self.told_ms != 0 and not self.is_open and not self.has_result

    def is_forgotten(self):
        """The range cannot tell any more whether it was done, so asking again tells nothing."""
        return self.told_ms > self.stamp["first_sent"]


class Repeater(Worker):
    """Sends every change twice or more under one stamp (session, sequence), by processes that
    know nothing of each other, each over connections of its own: at once, one after the other,
    or seconds later, when the range may have split, merged, moved or changed its leader. Some
    die with their question on the way. Each sending is an operation of the history, and all
    those of a change have one "stamp". Reads go through the C library."""
    SEATS, LATE_MAX, OPEN_S = 3, 8, 10
    STAMPS_MAX = 4  # of one change, when clocks jump while it is sent

    def __init__(self, run, number, kind):
        super().__init__(run, number, kind)
        self.seats = [Seat(self, i) for i in range(self.SEATS)]
        self.session = None
        self.sequence = 0
        self.late = []  # (when, Stamped)

    def perform(self, op):
        try:
            return self.perform_either(op)
        except Exception:
            for seat in self.seats:
                if seat.change is not None:
                    self.record_unknown({**seat.change.op.op, "stamp": seat.change.label},
                                        seat.process, seat.began)
            raise

    def perform_either(self, op):
        now = time.monotonic()
        for due in [entry for entry in self.late if entry[0] <= now]:
            self.late.remove(due)
            self.send(self.rng.choice(self.seats), due[1])
        if op.op["f"] == "read":
            return super().perform(op)
        change, told_ms = None, 0
        for _ in range(self.STAMPS_MAX):
            change = self.stamped(op, told_ms)
            if change is None:
                return {"type": "fail"}  # nobody tells the time: nothing was sent
            self.send_until_known(change)
            if not change.is_refused():
                break
            told_ms = change.told_ms
        if change.is_open and not change.has_result:
            self.session = None  # its lowest must not pass what may be asked for again
        if len(self.late) < self.LATE_MAX and self.rng.random() < 0.5:
            self.late.append((time.monotonic() + self.rng.choice((0.2, 1, 3, 8)), change))
        return {"type": "ok" if change.has_result else "info" if change.is_open else "fail"}

    def send_until_known(self, change):
        """Twice or more; no longer where nobody can tell what came of it."""
        self.send_twice(change)
        until = time.monotonic() + self.OPEN_S
        while (change.is_open and not change.has_result and not change.is_forgotten()
               and time.monotonic() < until):
            time.sleep(self.rng.choice((0, 0.01, 0.1)))  # a refusal comes at once
            self.send(self.rng.choice(self.seats), change)

    def finish(self):
        """The last word on some of the changes: long after, when all faults are over."""
        for _, change in self.late:
            self.send(self.rng.choice(self.seats), change)
        for seat in self.seats:
            seat.close()

    def stamped(self, op, told_ms=0):
        """The operation under a stamp. Each range has a time of its own, hours from the others'
        once a clock has jumped: so first_sent is what a refusal of this change told; or the
        last of its key, or its neighbour's; only else what a store says when it is greeted."""
        first_sent = told_ms or self.run_.workload.time_of(op.op["key"]) or self.ask_time()
        if first_sent == 0:
            return None
        if self.session is None:
            self.session, self.sequence = self.rng.getrandbits(62) + 1, 0
        self.sequence += 1
        waiting = [c.sequence for _, c in self.late if c.stamp["session"] == self.session]
        return Stamped(op, self.session, self.sequence, min([*waiting, self.sequence]), first_sent)

    def ask_time(self):
        """0: nobody tells."""
        seat = self.rng.choice(self.seats)
        seat.tell({"f": "time", "timeout_ms": 500})
        answer = seat.hear(LATE_S)
        return answer["now_ms"] if answer["type"] == "ok" else 0

    def request(self, change):
        timeout_ms = self.rng.choice((5, 50, 500, 2000))
        return {**change.op.request, **change.stamp, "timeout_ms": timeout_ms}

    def send_twice(self, change):
        """At once or nearly, or the second after the first."""
        first, second = self.rng.sample(self.seats, 2)
        if self.rng.random() < 0.3:
            self.send(first, change)
            self.send(second, change)
            return
        first.tell(self.request(change), change)
        time.sleep(self.rng.choice((0, 0, 0.002, 0.02)))
        second.tell(self.request(change), change)
        self.hear(first, change)
        self.hear(second, change)

    def send(self, seat, change):
        seat.tell(self.request(change), change)
        self.hear(seat, change)

    def hear(self, seat, change):
        """The end of a sending, which now and then the sender's own death is."""
        run = self.run_
        answer = seat.died() if self.rng.random() < 0.03 else seat.hear(LATE_S)
        completion = run.workload.complete(change.op, answer)
        op = {**change.op.op, "stamp": change.label}
        run.history.add(op, seat.process, answer["t0"] - run.zero_ns,
                        answer["t1"] - run.zero_ns, completion)
        seat.change = None
        if answer.get("error") == "SESSION_EXPIRED" and "time_ms" in answer:
            change.told_ms = answer["time_ms"]
            run.workload.learn_time(change.op.op["key"], answer["time_ms"])
        if completion["type"] == "info":
            change.is_open = True
            seat.process += run.options.concurrency
        elif completion["type"] == "ok" or completion.get("mismatch"):
            change.has_result = True
        run.workload.note_sending(change.label)
