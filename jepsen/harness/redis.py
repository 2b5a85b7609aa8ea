# SPDX-License-Identifier: Apache-2.0
"""Redis in place of the cluster: a control for workloads, faults and checkers. With every write
synced before it is answered a single one may lose nothing that was acknowledged; with a sync a
second, a loss of power takes what was acknowledged since, and with replicas that hear of writes
after they were acknowledged, those who read there see what is old: the checkers must say so."""
import os
import subprocess
import sys
import time

from . import needs

PORT = 6379
SERVER = "redis-server"
# name: appendfsync
SYSTEMS = {"redis": "always", "redis-everysec": "everysec", "redis-replicas": "always"}
WORKLOADS = ("register", "set", "counter")
CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "redis_client.py")


def nemeses(system):
    if system == "redis-replicas":
        return ("kill", "pause", "partition", "reset", "power")
    return ("kill", "pause", "reset", "power")


def nodes_of(system, nodes):
    return nodes if system == "redis-replicas" else 1


def install():
    return needs.install(SERVER, "redis-server")


class Cluster:
    """What harness/holdfast.py is for a cluster, as far as Redis has it. The first node is the
    primary for good."""
    client_kind = "control"

    def __init__(self, control, options):
        self.control, self.options, self.nodes = control, options, control.nodes
        self.endpoints = ",".join(f"{n.address}:{PORT}" for n in self.nodes)
        control.program = lambda node: [SERVER, node.conf]

    def client_argv(self, first):
        """A client process that reads at the node with this index."""
        nodes = self.endpoints.split(",")
        return [sys.executable, "-B", CLIENT, nodes[0], nodes[first]]

    def birth(self):
        for node in self.nodes:
            follow = "" if node is self.nodes[0] else f"replicaof {self.nodes[0].address} {PORT}\n"
            self.control.write(
                node.conf, f"bind {node.address}\nport {PORT}\nprotected-mode no\n"
                f"dir {node.data}\nappendonly yes\n"
                f"appendfsync {SYSTEMS[self.options.system]}\nsave \"\"\n"
                f"auto-aof-rewrite-percentage 0\nrepl-diskless-sync-delay 0\n{follow}", node)
            self.control.start(node)
        if not self.wait_serving(30):
            raise RuntimeError(f"{SERVER} was started and serves nothing")
        if not all(self.is_seen(i) for i in range(len(self.nodes))):
            raise RuntimeError("a replica does not follow")

    def says(self, first, request, words, seconds):
        """Wait until a client that reads at that node says so."""
        until = time.monotonic() + seconds
        argv = self.control.client_command(self.client_argv(first))
        while time.monotonic() < until:
            done = subprocess.run(argv, input=request, capture_output=True, text=True,
                                  timeout=20, check=False)
            if words in done.stdout:
                return True
            time.sleep(0.2)
        return False

    def wait_serving(self, seconds):
        """Wait until a write is acknowledged."""
        return self.says(0, '{"f":"write","key":"jepsen-ready","value":"1","timeout_ms":1000}\n',
                         '"type": "ok"', seconds)

    def is_seen(self, first):
        """Has the node heard of what was written?"""
        return self.says(first, '{"f":"read","key":"jepsen-ready","timeout_ms":1000}\n',
                         '"value": "1"', 20)

    def leader(self):
        return self.nodes[0]

    def figures(self):
        return {}

    def replicas_alike(self, _seconds):
        return "unsupported", "Redis is asked nothing about its replicas"
