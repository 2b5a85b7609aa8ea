#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A store inside a program: killed at any instant it loses nothing that it acknowledged; and its
folder goes to holdfastd, to a cluster of three, and back."""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile

from cluster import BIN, SMALL, check, free_ports, main, wait_until

ROUNDS = 12
KEYS = "&".join(line.replace(" ", "") for line in SMALL.split("\n") if line)


@contextlib.contextmanager
def scratch():
    folder = tempfile.mkdtemp(prefix="holdfast-embedded-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def embedded(folder):
    return f"embedded:{folder}?{KEYS}"


def run(*command, code=0):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    check(done.returncode == code, command, "exit", done.returncode, done.stdout[-500:],
          done.stderr[-2000:])
    return done


def read_all(endpoints):
    lines = run(f"{BIN}/embedder", "read", endpoints).stdout.split("\n")
    return {key: int(value) for key, value in (line.split() for line in lines if line)}


def write_and_kill(endpoints, count):
    """Let it acknowledge `count` numbers, kill it, and return the greatest of each key."""
    process = subprocess.Popen([f"{BIN}/embedder", "write", endpoints, "8"],
                               stdout=subprocess.PIPE, text=True)
    acked = {}
    for _ in range(count):
        line = process.stdout.readline()
        check(line.endswith("\n"), "it ended by itself:", process.poll())
        key, number = line.split()
        acked[key] = int(number)
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    check(process.wait(timeout=60) == -signal.SIGKILL, "it ended by itself:", process.returncode)
    process.stdout.close()
    for line in rest.split("\n")[:-1]:
        key, number = line.split()
        acked[key] = int(number)
    return acked


def test_kill():
    seed = random.randrange(1 << 32)
    print("   seed", seed)
    rng = random.Random(seed)
    with scratch() as folder:
        endpoints = embedded(f"{folder}/store")
        counts = [1, 20, 400, 1500]
        rng.shuffle(counts)
        acked = {}
        for i in range(ROUNDS):
            acked.update(write_and_kill(endpoints, counts[i % len(counts)]))
            there = read_all(endpoints)
            for key, number in acked.items():
                check(there[key] in (number, number + 1), key, "acknowledged", number, "there",
                      there[key])
            acked = there
        check(sum(acked.values()) > 1000, acked)


class Daemon:
    """A holdfastd on a folder."""

    def __init__(self, folder, port, *more):
        self.address = f"127.0.0.1:{port}"
        conf = f"{folder}.conf"
        with open(conf, "w", encoding="ascii") as f:
            f.write(SMALL)
        self.log = open(f"{folder}.log", "a", encoding="utf-8")
        self.process = subprocess.Popen([f"{BIN}/holdfastd", "--config", conf, "--data", folder,
                                         "--listen", self.address, *more], stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM if kind is None else signal.SIGKILL)
        check(self.process.wait(timeout=60) == 0 or kind is not None, "holdfastd exit",
              self.process.returncode)
        self.log.close()


def cli(endpoints, *words, code=0):
    return run(f"{BIN}/holdfast", *words, "--endpoints", endpoints, code=code).stdout


def test_move_to_a_cluster():
    with scratch() as folder:
        store = f"{folder}/one"
        port = free_ports(3)
        cli(embedded(store), "put", "from", "embedded")
        with Daemon(store, port) as one:
            check(cli(one.address, "get", "from") == "embedded", "what the program wrote")
            done = run(f"{BIN}/holdfast", "get", "from", "--endpoints", embedded(store), code=1)
            check(f"in use by process {one.process.pid}" in done.stderr, done.stderr)
            cli(one.address, "put", "by", "holdfastd")
        check(cli(embedded(store), "get", "by") == "holdfastd", "what the daemon wrote")
        cli(embedded(store), "put", "again", "embedded")

        one = Daemon(store, port)
        two = Daemon(f"{folder}/two", port + 1, "--join", one.address)
        three = Daemon(f"{folder}/three", port + 2, "--join", one.address)
        with one, two, three:
            wait_until("three replicas", 90, lambda: all_have_three(one.address))
            one.process.send_signal(signal.SIGKILL)
            one.process.wait(timeout=60)
            others = f"{two.address},{three.address}"
            for key, value in (("from", "embedded"), ("by", "holdfastd"), ("again", "embedded")):
                check(cli(others, "get", key, "--timeout", "30s") == value, key)
            done = run(f"{BIN}/holdfast", "get", "from", "--endpoints", embedded(store), code=1)
            check("cluster with" in done.stderr and "holdfastd" in done.stderr, done.stderr)
            one.process = subprocess.Popen(one.process.args, stderr=one.log)
            wait_until("the first one is back", 60,
                       lambda: subprocess.run([f"{BIN}/holdfast", "get", "from", "--endpoints",
                                               one.address, "--timeout", "2s"],
                                              capture_output=True, check=False).returncode == 0)


def all_have_three(endpoints):
    table = json.loads(cli(endpoints, "range", "list", "--json"))
    ranges = table["ranges"] if isinstance(table, dict) else table
    return len(ranges) > 0 and all(
        sum(m["role"] == "voter" for m in r["replicas"]) == 3 for r in ranges)


if __name__ == "__main__":
    main(test_kill, test_move_to_a_cluster)
