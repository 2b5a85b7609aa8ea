# SPDX-License-Identifier: Apache-2.0
"""A single Redis in place of the cluster: a control for workloads, faults and checkers. With
every write synced before it is answered nothing that was acknowledged may be lost; with a sync
a second, a loss of power takes what was acknowledged since, and the checkers must say so."""
import os
import shutil
import subprocess
import sys
import time

PORT = 6379
SERVER = "redis-server"
SYSTEMS = {"redis": "always", "redis-everysec": "everysec"}  # name: appendfsync
WORKLOADS = ("register", "set", "counter")
NEMESES = ("kill", "pause", "reset", "power")
CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "redis_client.py")


def install():
    """Debian's package, if there is no redis-server; None, or what went wrong. No service of it
    is started."""
    if shutil.which(SERVER):
        return None
    print("jepsen/run: apt-get install redis-server", flush=True)
    script = ("set -e; apt-get -q update || true; p=/usr/sbin/policy-rc.d; "
              "if [ ! -e $p ]; then printf '#!/bin/sh\\nexit 101\\n' > $p; chmod 755 $p; "
              "trap 'rm -f '$p EXIT; fi; "
              "DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "
              "redis-server")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    return None if shutil.which(SERVER) else f"{SERVER} is missing: {done.stderr.strip()[-300:]}"


class Cluster:
    """What harness/holdfast.py is for a cluster, as far as one server has it."""
    client_kind = "redis"

    def __init__(self, control, options):
        self.control, self.options, self.nodes = control, options, control.nodes
        self.endpoints = f"{self.nodes[0].address}:{PORT}"
        control.program = lambda node: [SERVER, node.conf]

    def birth(self):
        node = self.nodes[0]
        self.control.write(
            node.conf, f"bind {node.address}\nport {PORT}\nprotected-mode no\ndir {node.data}\n"
            f"appendonly yes\nappendfsync {SYSTEMS[self.options.system]}\nsave \"\"\n"
            "auto-aof-rewrite-percentage 0\n", node)
        self.control.start(node)
        if not self.wait_serving(30):
            raise RuntimeError(f"{SERVER} was started and serves nothing")

    def wait_serving(self, seconds):
        """Wait until a write is acknowledged."""
        until = time.monotonic() + seconds
        request = '{"f":"write","key":"jepsen-ready","value":"1","timeout_ms":1000}\n'
        argv = self.control.client_command([sys.executable, "-B", CLIENT, self.endpoints])
        while time.monotonic() < until:
            done = subprocess.run(argv, input=request, capture_output=True, text=True,
                                  timeout=20, check=False)
            if '"type": "ok"' in done.stdout:
                return True
            time.sleep(0.2)
        return False

    def leader(self):
        return self.nodes[0]

    def figures(self):
        return {}

    def replicas_alike(self):
        return "unsupported", "one server has no replicas"
