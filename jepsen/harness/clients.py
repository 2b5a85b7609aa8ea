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

HERE = os.path.dirname(os.path.abspath(__file__))
LATE_S = 20  # beyond its own deadline, then a client process counts as hung


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
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return None
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
        self.failure = None

    def argv(self):
        run = self.run_
        if self.kind == "cli":
            program = [sys.executable, "-B", os.path.join(HERE, "cli_client.py"),
                       os.path.join(run.options.bin, "holdfast")]
        else:
            program = [os.path.join(run.options.bin, "jepsen-client"), "--endpoints"]
        nodes = run.cluster.endpoints.split(",")
        first = self.number % len(nodes)  # not all of them talk to the same one first
        endpoints = ",".join(nodes[first:] + nodes[:first])
        mode = [] if self.kind == "cli" else ["--read-mode", run.options.read_mode]
        return run.control.client_command([*program, endpoints, *mode])

    def run(self):
        try:
            self.work()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"{type(error).__name__}: {error}"
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

    def perform(self, op):
        """One operation, from its invocation to the history."""
        if self.agent is None:
            self.agent = Agent(self.argv(), self.run_.options.plant)
        timeout_ms = self.run_.options.timeout_ms
        request = {**op.request, "timeout_ms": timeout_ms}
        began = time.monotonic_ns()
        answer = self.agent.ask(request, timeout_ms / 1000 + LATE_S)
        ended = time.monotonic_ns()
        if answer is None:
            answer = {"type": "info", "error": "CLIENT_DIED", "t0": began, "t1": ended}
            self.agent.close()
            self.agent = None
        completion = self.run_.workload.complete(op, answer)
        base = self.run_.zero_ns
        self.run_.history.add(op.op, self.process, answer["t0"] - base, answer["t1"] - base,
                              completion)
        if completion["type"] == "info":
            self.process += self.run_.options.concurrency
            if self.agent is not None and self.rng.random() < 0.2:
                self.agent.close()
                self.agent = None
        return completion
