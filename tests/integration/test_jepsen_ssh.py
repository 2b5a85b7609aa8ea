#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fault tests over ssh, without machines: three namespaces that the test makes stand for
them, and a program named ssh goes into the one with that address. The harness runs in a
fourth one and knows nothing of it."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

from cluster import BIN, SKIPPED, check, main

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PREFIX = f"hs{os.getpid()}-"
NODES = 3
NEMESES = "kill,pause,partition,power,reset,clock,disk,sync,roll"
SSH = """#!/bin/sh
# ssh -oX -oY HOST COMMAND
exec ip netns exec {prefix}${{3##*.}} $4
"""


def ip(*args):
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    check(done.returncode == 0, "ip", args, done.stderr)


class Machines:
    """Namespaces 1, 2, 3 and 4 (the harness) with 10.78.0.1 … .4, joined in a fifth."""

    def __init__(self):
        self.made = []

    def add(self, name):
        ip("netns", "add", PREFIX + name)
        self.made.append(PREFIX + name)
        ip("-n", PREFIX + name, "link", "set", "lo", "up")

    def __enter__(self):
        try:
            self.add("sw")
            ip("-n", PREFIX + "sw", "link", "add", "br0", "type", "bridge")
            ip("-n", PREFIX + "sw", "link", "set", "br0", "up")
            for i in range(1, NODES + 2):
                self.add(str(i))
                ip("-n", PREFIX + "sw", "link", "add", f"p{i}", "type", "veth", "peer", "name",
                   "eth0", "netns", PREFIX + str(i))
                ip("-n", PREFIX + "sw", "link", "set", f"p{i}", "master", "br0", "up")
                ip("-n", PREFIX + str(i), "addr", "add", f"10.78.0.{i}/24", "dev", "eth0")
                ip("-n", PREFIX + str(i), "link", "set", "eth0", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def run_over_ssh(folder, *argv):
    """One run of the harness in the fourth namespace, by the program named ssh in FOLDER/bin."""
    hosts = ",".join(f"root@10.78.0.{i}" for i in range(1, NODES + 1))
    done = subprocess.run(
        ["ip", "netns", "exec", f"{PREFIX}{NODES + 1}", f"{ROOT}/jepsen/run", "--bin", BIN, "--ssh",
         hosts, "--there", f"{folder}/there", "--workload", "register", "--rate", "100",
         "--floor-ok", "3", "--seed", "4", "--quiet", *argv],
        env=dict(os.environ, PATH=f"{folder}/bin:{os.environ['PATH']}"), capture_output=True,
        text=True, timeout=250, check=False)
    print("  ", done.stdout.strip())
    return done


def in_namespace(number, *argv):
    return subprocess.run(["ip", "netns", "exec", f"{PREFIX}{number}", *argv], check=True,
                          capture_output=True, text=True).stdout


def check_nothing_left(folder):
    for i in range(1, NODES + 1):
        tables = in_namespace(i, "nft", "list", "tables")
        check(tables == "", "rules are left:", tables)
        pids = subprocess.run(["ip", "netns", "pids", PREFIX + str(i)], capture_output=True,
                              text=True, check=True).stdout
        check(pids == "", "processes are left:", pids)
        check(not os.path.exists(f"{folder}/there/n{i}"), "the folder of node", i, "is left")


def ends_of(folder):
    with open(f"{folder}/result.json", encoding="utf-8") as f:
        return json.load(f)


def test_over_ssh():
    with tempfile.TemporaryDirectory(prefix="holdfast-ssh-") as folder, Machines():
        os.mkdir(f"{folder}/bin")
        with open(f"{folder}/bin/ssh", "w", encoding="utf-8") as f:
            f.write(SSH.format(prefix=PREFIX))
        os.chmod(f"{folder}/bin/ssh", 0o755)
        kinds = set()
        for seconds in ("40", "100"):  # a slow machine comes to a few faults in the first
            shutil.rmtree(f"{folder}/out", ignore_errors=True)
            done = run_over_ssh(folder, "--nemesis", NEMESES, "--time", seconds, "--pace", "1",
                                "--out", f"{folder}/out")
            check(done.returncode == 0, "exit", done.returncode, done.stdout, done.stderr)
            kinds = {fault["kind"] for fault in ends_of(f"{folder}/out")["timeline"]}
            if len(kinds) >= 5:
                break
        check(len(kinds) >= 5, "only these faults came:", kinds)
        for i in range(1, NODES + 1):
            check(os.path.getsize(f"{folder}/out/n{i}/log") > 0, "no log of node", i)
        check_nothing_left(folder)
        leaves_to_others(folder)
        tells_how_nodes_end(folder)


def leaves_to_others(folder):
    """What stands there and is not of this run: it says so, ends, and touches nothing of it."""
    os.makedirs(f"{folder}/there/n2/data")
    done = run_over_ssh(folder, "--nemesis", "kill", "--time", "5", "--out", f"{folder}/second")
    check(done.returncode == 2 and "another --there" in done.stdout, done.stdout, done.stderr)
    check(os.listdir(f"{folder}/there") == ["n2"] and os.path.isdir(f"{folder}/there/n2/data"),
          os.listdir(f"{folder}/there"))
    os.rmdir(f"{folder}/there/n2/data")
    os.rmdir(f"{folder}/there/n2")
    in_namespace(2, "nft", "add", "table", "inet", "holdfast_jepsen")
    done = run_over_ssh(folder, "--nemesis", "kill", "--time", "5", "--out", f"{folder}/third")
    check(done.returncode == 2 and "another run is at work" in done.stdout, done.stdout)
    check("holdfast_jepsen" in in_namespace(2, "nft", "list", "tables"), "its rules are gone")
    in_namespace(2, "nft", "delete", "table", "inet", "holdfast_jepsen")
    done = run_over_ssh(folder, "--nemesis", "full", "--time", "5", "--out", f"{folder}/fourth")
    check(done.returncode == 2 and "no disk of its own" in done.stdout, done.stdout)
    check_nothing_left(folder)


def tells_how_nodes_end(folder):
    """A node that ends by itself, and with which status; here what stands for holdfastd does."""
    os.mkdir(f"{folder}/there-bin")
    with open(f"{folder}/there-bin/holdfastd", "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\necho no way\nexit 7\n")
    os.chmod(f"{folder}/there-bin/holdfastd", 0o755)
    done = run_over_ssh(folder, "--nemesis", "kill", "--time", "5", "--out", f"{folder}/fifth",
                        "--bin-there", f"{folder}/there-bin")
    check(done.returncode == 1, done.stdout, done.stderr)
    ends = ends_of(f"{folder}/fifth")["exits"]
    check(ends and ends[0]["status"] == 7, ends)
    check_nothing_left(folder)


if __name__ == "__main__":
    missing = subprocess.run([sys.executable, "-B", "-c", f"""
import sys; sys.path.insert(0, {ROOT!r} + "/jepsen")
from harness import needs
print("\\n".join(needs.missing(["kill"], {BIN!r}, [])))"""], capture_output=True, text=True,
                             check=True).stdout.strip()
    if missing:
        print("skipped: no namespaces to stand for machines:", missing)
        sys.exit(SKIPPED)
    main(test_over_ssh)
