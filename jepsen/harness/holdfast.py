# SPDX-License-Identifier: Apache-2.0
"""Holdfast itself: how nodes are configured and a cluster is born, and what its operator's
commands answer. All that the harness knows of the product, but for its clients, is here."""
import json
import os
import subprocess
import time

PORT = 4101

# Thresholds so small that what a busy week brings comes every few seconds.
SMALL = """
memtable_bytes = 1MiB
table_bytes = 512KiB
level_base_bytes = 2MiB
block_cache_bytes = 4MiB
log_segment_bytes = 1MiB
log_budget_bytes = 8MiB
log_cache_bytes = 1MiB
disk_low_bytes = 96MiB
disk_full_bytes = 64MiB
disk_reserve_bytes = 32MiB
election_timeout = 600ms
heartbeat = 60ms
"""


class Cluster:
    def __init__(self, control, options):
        self.control, self.options, self.nodes = control, options, control.nodes
        self.endpoints = ",".join(self.endpoint(n) for n in self.nodes)
        self.features = None

    @staticmethod
    def endpoint(node):
        return f"{node.address}:{PORT}"

    def configure(self):
        """Every node's configuration file."""
        members = ", ".join(f"{n.number}={self.endpoint(n)}" for n in self.nodes)
        for node in self.nodes:
            secret = f"{node.folder}/secret"
            self.control.write(secret, "only-for-this-run\n", node)
            self.control.write(
                node.conf, f"store_id = {node.number}\ndata_dir = {node.data}\n"
                f"listen = {self.endpoint(node)}\nmembers = {members}\n"
                f"cluster_secret_file = {secret}\n{SMALL}", node)

    def birth(self):
        """Start every node and make one cluster of them. Raises if it does not serve."""
        self.configure()
        for node in self.nodes:
            self.control.start(node)
        until = time.monotonic() + 60
        while True:
            done = self.cli("cluster", "bootstrap", timeout_s=30)
            if done.returncode == 0:
                break
            for node in self.nodes:
                self.control.watch(node)
            if time.monotonic() > until or self.control.exits:
                raise RuntimeError(f"no cluster was born: {done.stderr.strip()}")
            time.sleep(0.3)
        if not self.wait_serving(60):
            raise RuntimeError("the cluster was born and serves nothing")

    # ---- commands --------------------------------------------------------------------

    def cli(self, *args, timeout_s=10, endpoints=None, json_out=False):
        program = os.path.join(self.options.bin, "holdfast")
        argv = [program, *args, "--endpoints", endpoints or self.endpoints]
        if json_out:
            argv.append("--json")
        try:
            return subprocess.run(self.control.client_command(argv), capture_output=True,
                                  text=True, timeout=timeout_s + 10, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 4, "", "no end")

    def wait_serving(self, seconds):
        """Wait until a write is acknowledged."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.cli("put", "jepsen-ready", "1", "--timeout", "2s").returncode == 0:
                return True
            time.sleep(0.2)
        return False

    def leader(self):
        """The node that leads (the range asked about), or None."""
        done = self.cli("cluster", "status", "--timeout", "1s", json_out=True, timeout_s=5)
        try:
            status = json.loads(done.stdout)
        except ValueError:
            return None
        for store in status.get("stores", []):
            if store.get("up") and store.get("leader_store_id"):
                number = store["leader_store_id"]
                return next((n for n in self.nodes if n.number == number), None)
        number = status.get("leader_store_id")
        return next((n for n in self.nodes if n.number == number), None)

    def probe(self):
        """Which commands of an operator this product has: {"range split", …}"""
        if self.features is None:
            self.features = set()
            for group in ("range", "node", "store", "cluster"):
                done = self.cli_help(group)
                for line in done.splitlines():
                    words = line.split()
                    if line.startswith("  ") and words and words[0].replace("-", "").isalpha():
                        self.features.add(f"{group} {words[0]}")
        return self.features

    def cli_help(self, group):
        done = subprocess.run([os.path.join(self.options.bin, "holdfast"), group, "--help"],
                              capture_output=True, text=True, timeout=10, check=False)
        return done.stdout if done.returncode == 0 else ""

    def replicas_alike(self, seconds=90):
        """("alike" | "differ" | "incomplete", what was said)"""
        if "range check" not in self.probe():
            return "incomplete", "this product has no 'range check'"
        until = time.monotonic() + seconds
        while True:
            done = self.cli("range", "check", "--wait", "30s", timeout_s=60)
            said = (done.stdout + done.stderr).strip()
            if done.returncode in (0, 1) and "DIFFER" in said:
                return "differ", said
            if done.returncode == 0:
                return "alike", said
            if time.monotonic() > until:
                return "incomplete", said
            time.sleep(1)
