# SPDX-License-Identifier: Apache-2.0
"""A cluster of etcd in the place of Holdfast: a control for workloads, faults and checkers. Its
histories must be valid; with reads that any member answers by itself (serializable, in its
words) those of registers must not be, for such reads may be old.

Its program is without libc, so that neither the file layer nor libfaketime reaches it."""
import json
import os
import subprocess
import sys
import time

from . import needs

PORT, PEER_PORT = 2379, 2380
SERVER = "etcd"
SYSTEMS = {"etcd": "linearizable", "etcd-serializable": "serializable"}  # name: its reads
WORKLOADS = ("register", "set", "append", "bank", "counter", "scan")
CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "etcd_client.py")


def nemeses(_system):
    return ("kill", "pause", "partition", "reset", "slow", "roll")


def nodes_of(_system, nodes):
    return nodes


def install():
    return needs.install(SERVER, "etcd-server")


class Cluster:
    client_kind = "control"

    def __init__(self, control, options):
        self.control, self.options, self.nodes = control, options, control.nodes
        self.endpoints = ",".join(self.endpoint(n) for n in self.nodes)
        control.program = self.program

    @staticmethod
    def endpoint(node):
        return f"{node.address}:{PORT}"

    def program(self, node):
        """Thresholds are small, as Holdfast's are: snapshots come every few seconds."""
        clients, peers = f"http://{self.endpoint(node)}", f"http://{node.address}:{PEER_PORT}"
        members = ",".join(f"{n.name}=http://{n.address}:{PEER_PORT}" for n in self.nodes)
        return [SERVER, "--name", node.name, "--data-dir", f"{node.data}/etcd",
                "--listen-client-urls", clients, "--advertise-client-urls", clients,
                "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
                "--initial-cluster", members, "--initial-cluster-state", "new",
                "--heartbeat-interval", "60", "--election-timeout", "600",
                "--snapshot-count", "500"]

    def client_argv(self, first):
        """A client process that talks to the node with this index before the others."""
        nodes = self.endpoints.split(",")
        return [sys.executable, "-B", CLIENT, SYSTEMS[self.options.system],
                ",".join(nodes[first:] + nodes[:first])]

    def birth(self):
        for node in self.nodes:
            self.control.start(node)
        if not self.wait_serving(30):
            raise RuntimeError(f"{SERVER} was started and serves nothing")

    def asked(self, f, **more):
        """The answer of one operation; {} if there is none."""
        request = json.dumps({"f": f, "timeout_ms": 1000, **more}) + "\n"
        done = subprocess.run(self.control.client_command(self.client_argv(0)), input=request,
                              capture_output=True, text=True, timeout=20, check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {}

    def wait_serving(self, seconds):
        """Wait until a write is acknowledged."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.asked("write", key="jepsen-ready", value="1").get("type") == "ok":
                return True
            time.sleep(0.2)
        return False

    def leader(self):
        leads = self.asked("leader").get("value")
        return next((n for n in self.nodes if self.endpoint(n) == leads), None)

    def figures(self):
        return {}

    def replicas_alike(self, _seconds):
        return "unsupported", "etcd is asked nothing about its replicas"
