#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several stores in one process: one cluster with others like it, replicas of a range on
different nodes, and an end in which none is forgotten."""
import json
import os
import signal
import socket
import subprocess
import tempfile

from cluster import BIN, SMALL, check, free_ports, main, wait_until


class Node:
    def __init__(self, folder, port, stores, join=None):
        self.folder, self.port = folder, port
        os.makedirs(folder, exist_ok=True)
        conf = os.path.join(folder, "conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(SMALL)
        argv = [f"{BIN}/holdfastd", "--config", conf, "--data", os.path.join(folder, "data"),
                "--listen", f"127.0.0.1:{port}", "--stores", str(stores)]
        if join is not None:
            argv += ["--join", f"127.0.0.1:{join}"]
        with open(os.path.join(folder, "log"), "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(60)

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8") as f:
            return f.read()


class Nodes:
    """Ended with the test, whatever came of it."""

    def __init__(self):
        self.all = []

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for node in self.all:
            if node.process.poll() is None:
                node.end(signal.SIGKILL)
            if kind is not None:
                print("---- the end of a log\n" + node.log()[-3000:])

    def start(self, *args, **more):
        self.all.append(Node(*args, **more))
        return self.all[-1]


def run(port, *args):
    return subprocess.run([f"{BIN}/holdfast", *args, "--endpoints", f"127.0.0.1:{port}"],
                          capture_output=True, text=True, timeout=60, check=False)


def stores(port):
    done = run(port, "node", "list", "--json")
    return json.loads(done.stdout)["stores"] if done.returncode == 0 else []


def up(port, count):
    return wait_until(f"{count} stores are up", 60, lambda: (
        lambda all_: all_ if sum(s["state"] == "up" for s in all_) == count else None)(stores(port)))


def test_alone():
    with tempfile.TemporaryDirectory() as folder, Nodes() as nodes:
        port = free_ports(1)
        node = nodes.start(folder, port, 3)
        all_ = up(port, 3)
        check({s["address"] for s in all_} == {f"127.0.0.1:{port + 100 * k}" for k in range(3)},
              all_)
        check(len({s["labels"] for s in all_}) == 1 and "node=" in all_[0]["labels"], all_)
        for i in range(50):
            check(run(port, "put", f"k{i}", str(i)).returncode == 0)
        node.end(signal.SIGKILL)
        node = nodes.start(folder, port, 3)
        up(port, 3)
        check(run(port + 200, "get", "k49").stdout.strip() == "49", "by another store")
        check(node.end() == 0, node.log()[-1000:])
        check(node.log().count("stopped in order") == 3, node.log()[-1000:])
        for stores_ in (1, 2):
            node = nodes.start(folder, port, stores_)
            check(node.process.wait(60) == 1, node.log()[-1000:])
            check(node.log().endswith("then move its folder away\n") and
                  "start with --stores 3" in node.log(), node.log()[-1000:])


def test_one_for_each_core():
    with tempfile.TemporaryDirectory() as folder, Nodes() as nodes:
        port = free_ports(1)
        ours = os.sched_getaffinity(0)
        cores = set(sorted(ours)[:2])

        def starts(stores_, want):
            os.sched_setaffinity(0, cores)  # the process inherits it
            node = nodes.start(folder, port, stores_)
            os.sched_setaffinity(0, ours)
            up(port, want)
            check(node.end() == 0, node.log()[-1000:])
        starts("cores", len(cores))
        starts(len(cores) + 1, len(cores) + 1)
        starts("cores", len(cores) + 1)  # none of those that are there is left out


def test_on_three_nodes():
    """No two replicas of a range on one node."""
    with tempfile.TemporaryDirectory() as folder, Nodes() as nodes:
        port = free_ports(3)
        for i in range(3):
            nodes.start(f"{folder}/{i}", port + i, 2, join=None if i == 0 else port)
            if i == 0:
                up(port, 2)
        label = {s["store_id"]: s["labels"] for s in up(port, 6)}

        def spread():
            done = run(port, "range", "list", "--system", "--json")
            if done.returncode != 0:
                return False
            where = [[label[m["store"]] for m in r["replicas"] if m["role"] == "voter"]
                     for r in json.loads(done.stdout)["ranges"]]
            return all(len(w) == 3 and len(set(w)) == 3 for w in where)
        wait_until("three replicas on three nodes", 60, spread)
        check(run(port, "put", "k", "v").returncode == 0)
        check(nodes.all[0].end(signal.SIGKILL) != 0)
        wait_until("the others go on", 30,
                   lambda: run(port + 1, "get", "k", "--timeout", "2s").stdout.strip() == "v")
        check(nodes.all[1].end() == 0 and nodes.all[2].end() == 0)


def test_refusals():
    with tempfile.TemporaryDirectory() as folder, Nodes() as nodes:
        port = free_ports(1)
        for listen, want in (("127.0.0.1:0", "need a port"), ("127.0.0.1:65500", "port 65600")):
            done = subprocess.run([f"{BIN}/holdfastd", "--data", f"{folder}/x", "--listen", listen,
                                   "--stores", "2"], capture_output=True, text=True, timeout=30,
                                  check=False)
            check(done.returncode == 1 and want in done.stderr, done.stderr)
            check(not os.path.exists(f"{folder}/x"), "nothing was made")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port + 100))
            taken.listen()
            node = nodes.start(folder, port, 2)
            check(node.process.wait(60) == 1, node.log())
            check(f"127.0.0.1:{port + 100}" in node.log(), node.log())
            check("stopped in order" in node.log(), "the other store ended in order", node.log())


if __name__ == "__main__":
    main(test_alone, test_one_for_each_core, test_on_three_nodes, test_refusals)
