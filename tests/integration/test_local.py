#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""holdfast local: a cluster on this machine, in every order that one may think of."""
import contextlib
import os
import socket
import tempfile

from cluster import Cluster, check, free_ports, main, wait_until


def states(c):
    return [node["state"] for node in c.local_status()["nodes"]]


def local(c, code, verb, *args, folder=None):
    done = c.run("local", verb, *args, "--dir", folder or c.dir, timeout=120)
    check(done.returncode == code, "local", verb, args, "exit", done.returncode, "want", code,
          done.stdout, done.stderr)
    return done.stdout + done.stderr


@contextlib.contextmanager
def listening(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
        yield


def test_odd_orders():
    with Cluster() as c:
        local(c, 0, "up")  # again: what runs goes on
        local(c, 0, "pause", "1", "1")
        local(c, 0, "pause", "1")
        check(states(c) == ["paused", "running", "running"], states(c))
        local(c, 0, "kill", "1")
        local(c, 0, "kill", "1")
        check("not running" in local(c, 1, "pause", "1"), "a stopped node cannot be paused")
        local(c, 0, "pause", "2")
        local(c, 1, "resume", "all")  # 1 cannot, which is no reason to leave 2 frozen
        check(states(c) == ["stopped", "running", "running"], states(c))
        local(c, 0, "pause", "2")
        local(c, 0, "restart", "all")  # stopped, paused and running
        check(states(c) == ["running"] * 3, states(c))
        c.ok("put", "k", "v", "--timeout", "20s")
        local(c, 0, "pause", "all")
        local(c, 0, "up")
        check(states(c) == ["running"] * 3, states(c))
        local(c, 0, "pause", "all")
        local(c, 0, "down")
        local(c, 0, "down")
        check(states(c) == ["stopped"] * 3, states(c))
        check("who leads" in local(c, 1, "kill", "leader"), "nobody leads")
        local(c, 2, "kill", "4")
        local(c, 2, "kill", "somebody")
        local(c, 2, "kill")
        local(c, 2, "up", "--endpoints", c.endpoints)
        local(c, 1, "up", "--nodes", "2")  # fewer: only by decommission
        local(c, 0, "up")
        check(c.ok("get", "k", "--timeout", "20s") == "v", "the data stays")


def voters(c):
    """Of the first range, as its leader says."""
    status = c.json("cluster", "status")
    return sum(1 for s in status["stores"] if s["role"] != "learner")


def test_growth():
    """From one node to three and to four, on one folder, while it is written to."""
    with Cluster(nodes=1) as c:
        c.ok("put", "k", "v")
        check(voters(c) == 1, "one node, one replica")
        c.port = int(c.endpoints.rsplit(":", 1)[1])
        torture = c.torture(seconds=6, clients=8)
        c.up("--nodes", "3")
        c.nodes = 3
        c.endpoints = ",".join(c.address(i) for i in range(1, 4))
        wait_until("three replicas", 30, lambda: voters(c) == 3)
        figures = torture.result()
        print("  ", {k: v for k, v in figures.items() if k != "buckets"})
        torture.verify()
        c.local("kill", "leader")
        check(c.ok("get", "k", "--timeout", "20s") == "v", "two of three go on")
        c.up("--nodes", "4")
        check(len(c.json("node", "list")["stores"]) == 4, "four nodes")
        check(c.ok("get", "k", "--timeout", "20s") == "v", "the data stays")


def test_kill_and_restart_at_once():
    """When 'kill' is done the port and the folder are free: nothing is left of the process."""
    with Cluster() as c:
        torture = c.torture(seconds=3, pad=1000)
        while torture.is_running():
            c.local("kill", "all")
            c.up()
        torture.result()
        torture.verify()


def test_down_hands_over():
    """One SIGTERM a node: a second one would mean to leave at once."""
    with Cluster() as c:
        torture = c.torture(seconds=20)
        wait_until("writing", 20, lambda: (c.applied(1) or 0) > 30)
        c.local("down")
        for i in (1, 2, 3):
            check(c.log(i).count("signal number=15") == 1, c.log(i)[-1000:])
            check("stopped in order" in c.log(i), c.log(i)[-1000:])
        c.up()
        torture.end()
        torture.result()
        torture.verify()


def test_term_under_load():
    """SIGTERM of the leader under 64 clients, and of all one after another."""
    with Cluster() as c:
        torture = c.torture(seconds=8)
        c.local("restart", "leader")
        for i in (1, 2, 3):
            c.local("restart", str(i))
        figures = torture.result()
        print("  ", {k: v for k, v in figures.items() if k != "buckets"})
        torture.verify()
        for i in (1, 2, 3):
            check("stopped in order" in c.log(i), c.log(i)[-1000:])


def test_ports_of_others():
    """Whoever has a port of ours is told of, and never passes for a node."""
    with Cluster() as c, tempfile.TemporaryDirectory() as folder:
        text = local(c, 1, "up", "--port-base", str(c.port), folder=folder)
        check("in use" in text and str(c.port) in text, text)
        check(not os.path.exists(os.path.join(folder, "node-1")), "something was started")
        free = free_ports(3)
        with listening(free + 1):
            text = local(c, 1, "up", "--port-base", str(free), folder=folder)
            check("node 2" in text and "in use" in text, text)
        # nothing is fixed yet: other ports may be had
        local(c, 0, "up", "--port-base", str(free), "--nodes", "1", folder=folder)
        local(c, 0, "down", folder=folder)
        # a node of a cluster that is there already
        c.local("kill", "2")
        with listening(c.port + 1):
            check("in use" in local(c, 1, "restart", "2"), "restart")
            check("in use" in local(c, 1, "up"), "up")
        local(c, 0, "up")


def test_other_folders():
    with Cluster(nodes=1) as c, tempfile.TemporaryDirectory() as folder:
        check("no cluster" in local(c, 1, "status", folder=folder), "says so")
        check(os.listdir(folder) == [], "and leaves nothing there", os.listdir(folder))
        local(c, 1, "status", folder=os.path.join(folder, "nowhere"))
        odd = os.path.join(folder, "a#b")
        local(c, 1, "up", folder=odd)
        check(not os.path.exists(odd), "a name that a configuration cannot hold")


if __name__ == "__main__":
    main(test_odd_orders, test_growth, test_kill_and_restart_at_once, test_down_hands_over,
         test_term_under_load, test_ports_of_others,
         test_other_folders)
