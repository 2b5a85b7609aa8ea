# SPDX-License-Identifier: Apache-2.0
"""Holdfast itself: how nodes are configured and a cluster is born, and what its operator's
commands answer. All that the harness knows of the product, but for its clients, is here."""
import json
import os
import subprocess
import time

PORT = 4101
FIGURES = ("engine.flushes", "engine.compactions", "engine.table_bytes", "log.syncs")

# Thresholds so small that what a busy week brings comes every few seconds.
SMALL = """
memtable_bytes = 32KiB
table_bytes = 32KiB
level_base_bytes = 128KiB
block_cache_bytes = 1MiB
log_segment_bytes = 64KiB
log_budget_bytes = 256KiB
log_cache_bytes = 64KiB
disk_low_bytes = 96MiB
disk_full_bytes = 64MiB
disk_reserve_bytes = 32MiB
election_timeout = 600ms
heartbeat = 60ms
"""


class Cluster:
    client_kind = None  # the workload's

    def __init__(self, control, options):
        self.control, self.options, self.nodes = control, options, control.nodes
        self.endpoints = ",".join(self.endpoint(n) for n in self.nodes)
        self.features = None

    @staticmethod
    def endpoint(node):
        return f"{node.address}:{PORT}"

    def configure(self, whose):
        """Each node's configuration file; `whose` tells of its cluster."""
        for node in self.nodes:
            self.configure_one(node, whose(node))

    def configure_one(self, node, cluster):
        secret = f"{node.folder}/secret"
        self.control.write(secret, "only-for-this-run\n", node)
        self.control.write(
            node.conf, f"data_dir = {node.data}\nlisten = {self.endpoint(node)}\n"
            f"{cluster}\ncluster_secret_file = {secret}\n{SMALL}{self.leases()}", node)

    def leases(self):
        return "lease_reads = on\n" if self.options.read_mode in ("lease", "mixed") else ""

    def renew(self, node):
        """It was removed from the cluster, and does not run: with an empty folder it is to ask
        all others to take it in."""
        self.control.empty(node)
        others = ", ".join(self.endpoint(n) for n in self.nodes if n is not node)
        self.configure_one(node, f"join = {others}")

    def birth(self):
        """Start every node and make one cluster of them. Raises if it does not serve."""
        done = subprocess.run([os.path.join(self.options.bin, "holdfastd"), "--help"],
                              capture_output=True, text=True, timeout=10, check=False)
        if "--members" in done.stdout:
            self.birth_by_list()
        else:
            self.birth_by_joining()
        if not self.wait_serving(60):
            raise RuntimeError("the cluster was born and serves nothing")

    def birth_by_list(self):
        """All know all others, and are told once that they are a cluster."""
        members = ", ".join(f"{n.number}={self.endpoint(n)}" for n in self.nodes)
        self.configure(lambda n: f"store_id = {n.number}\nmembers = {members}")
        for node in self.nodes:
            self.control.start(node)
        self.wait_for("no cluster was born",
                      lambda: self.cli("cluster", "bootstrap", timeout_s=30).returncode == 0)

    def birth_by_joining(self):
        """The first node founds a cluster, the others join it by its address, and in the end
        every range has as many voters as it is to have."""
        first = self.nodes[0]
        self.configure(lambda n: "" if n is first else f"join = {self.endpoint(first)}")
        self.control.start(first)
        self.wait_for("the first node founds no cluster", lambda: self.wait_serving(1))
        for node in self.nodes[1:]:
            self.control.start(node)
        self.wait_for("the others do not join", self.is_complete)

    def is_complete(self):
        """Is every node a store of the cluster, and has the range its three voters?"""
        stores = self.asked("node", "list").get("stores", [])
        voters = [s for s in self.status().get("stores", []) if s.get("up")]
        return sum(s["state"] == "up" for s in stores) == len(self.nodes) and len(voters) >= 3

    def wait_for(self, what, condition, seconds=60):
        until = time.monotonic() + seconds
        while not condition():
            for node in self.nodes:
                self.control.watch(node)
            if time.monotonic() > until or self.control.exits:
                raise RuntimeError(what)
            time.sleep(0.3)

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

    def asked(self, *args):
        """What a command says in JSON; {} if it says nothing of use."""
        done = self.cli(*args, "--timeout", "1s", json_out=True, timeout_s=5)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {}

    def status(self):
        return self.asked("cluster", "status")

    def leader(self):
        """The node that leads (the range asked about), or None."""
        address = self.status().get("leader_address")
        return next((n for n in self.nodes if self.endpoint(n) == address), None)

    def figures(self, tries=10):
        """{name of a figure: the sum over all stores} of what shows that engines and logs
        were at work; {} if nobody tells."""
        sums = {}
        while not sums and tries > 0:
            tries -= 1
            for store in self.status().get("stores", []):
                for name, value in store.get("stats", {}).items():
                    if name in FIGURES:
                        sums[name] = sums.get(name, 0) + int(value)
        return sums

    def store_id(self, node):
        """By which the operator's commands know it; None if nobody can tell."""
        stores = self.asked("node", "list").get("stores", [])
        return next((s["store_id"] for s in stores if s["address"] == self.endpoint(node)), None)

    def stores(self):
        """{store id: state}; {} if nobody tells."""
        return {s["store_id"]: s["state"] for s in self.asked("node", "list").get("stores", [])}

    def replicas(self):
        """{node: replica id} of the range's members."""
        stores = {s["address"]: s["replica_id"] for s in self.status().get("stores", [])
                  if s.get("replica_id")}
        return {n: stores[self.endpoint(n)] for n in self.nodes if self.endpoint(n) in stores}

    def ranges(self):
        """Range ids in the order of their keys."""
        return [r["id"] for r in self.asked("range", "list").get("ranges", [])]

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

    def cli_help(self, *group):
        done = subprocess.run([os.path.join(self.options.bin, "holdfast"), *group, "--help"],
                              capture_output=True, text=True, timeout=10, check=False)
        return done.stdout if done.returncode == 0 else ""

    def replicas_alike(self, seconds):
        """("alike", "differ", "incomplete" or "unsupported", what was said)"""
        if "range check" not in self.probe():
            return "unsupported", "this product has no 'range check'"
        until = time.monotonic() + seconds
        everywhere = ["--all"] if "--all" in self.cli_help("range", "check") else []
        while True:
            done = self.cli("range", "check", *everywhere, "--wait", f"{min(seconds, 30)}s",
                            timeout_s=60)
            said = (done.stdout + done.stderr).strip()
            if done.returncode in (0, 1) and "DIFFER" in said:
                return "differ", said
            if done.returncode == 0:
                return "alike", said
            if time.monotonic() > until:
                return "incomplete", said
            time.sleep(1)
