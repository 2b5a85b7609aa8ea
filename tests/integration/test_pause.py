#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Frozen processes: no majority means no success, and an old leader serves nothing old."""
import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import time

from cluster import BIN, Cluster, check, main, wait_until

ROUNDS = int(os.environ.get("HOLDFAST_ROUNDS", "6"))


def fails_in_time(c, command, endpoints):
    began = time.monotonic()
    done = c.run(*command, "--timeout", "1s", timeout=30, endpoints=endpoints)
    check(done.returncode in (1, 4), command, "exit", done.returncode, done.stdout)
    check("UNDETERMINED" in done.stderr or "UNAVAILABLE" in done.stderr or
          "TIMEOUT" in done.stderr, command, done.stderr)
    check(time.monotonic() - began < 10, command, "ignored its deadline")


def all_fail(c, awake):
    """Commands of every kind, to all nodes and to the one that runs; those of a wave side by
    side, for each waits for nothing but its own deadline. Reads come when any lease is over."""
    for wave in ((("put", "k", "during"), ("incr", "n")),
                 (("get", "k"), ("scan",), ("del", "k", "--if-value", "never"),
                  ("cas", "k", "before", "during"))):
        with concurrent.futures.ThreadPoolExecutor(2 * len(wave)) as pool:
            for waits in [pool.submit(fails_in_time, c, command, endpoints) for command in wave
                          for endpoints in (c.endpoints, c.address(awake))]:
                waits.result()


def test_two_of_three_paused():
    """No majority: nothing succeeds, and everything ends by its deadline. The one that
    runs on is the leader, or it is not."""
    with Cluster() as c:
        for keeps_leader in (True, False):
            c.ok("put", "k", "before", "--timeout", "20s")
            c.ok("put", "n", "1")
            leader = c.leader()
            awake = leader if keeps_leader else leader % 3 + 1
            c.local("pause", *(str(i) for i in (1, 2, 3) if i != awake))
            all_fail(c, awake)
            c.local("resume", "all")
            value = c.ok("get", "k", "--timeout", "20s")
            check(value in ("before", "during"), value)  # an undetermined put may have happened
            c.ok("put", "k", "after", "--timeout", "20s")
            check(c.ok("get", "k") == "after", "service is back")


def test_undetermined_is_settled():
    """A change that left and was not answered by its deadline says how to settle it; once it
    is settled it stays so, and the value agrees."""
    told = {"done": 0, "not done: and never will be": 0}
    with Cluster() as c:
        c.ok("put", "n", "0", "--timeout", "20s")
        want = 0
        for _ in range(ROUNDS):
            leader = c.leader()
            c.ok("incr", "n", "0", "--timeout", "20s")
            c.local("pause", *(str(i) for i in (1, 2, 3) if i != leader))
            lost = c.run("incr", "n", "--timeout", "500ms", "--json", timeout=30,
                         endpoints=c.address(leader))
            c.local("resume", "all")
            failure = json.loads(lost.stdout)
            if failure["code"] != "UNDETERMINED":
                continue
            token = failure["token"]
            outcome = c.ok("resolve", token, "--timeout", "20s")
            check(outcome.strip() in told, outcome)
            told[outcome.strip()] += 1
            want += outcome.strip() == "done"
            for node in (1, 2, 3):
                check(c.ok("resolve", token, "--timeout", "20s",
                           endpoints=c.address(node)) == outcome, "it changed its mind")
            check(c.ok("get", "n", "--timeout", "20s") == str(want), "value and word differ")
        check(sum(told.values()) > 0, "nothing was ever undetermined")
        print("  ", told)
        rubbish = c.run("resolve", "zz")
        check(rubbish.returncode == 2 and "is no token" in rubbish.stderr, rubbish.stderr)
        check(c.run("resolve", token[:-2]).returncode == 1, "a token cut short")


def test_undetermined_append_is_settled():
    """One that is too large was not done: that is an answer, and no failure to get one."""
    told = []
    with Cluster() as c:
        c.ok("put", "large", "--timeout", "90s", stdin=bytes(8 << 20), timeout=120)
        for _ in range(ROUNDS):
            leader = c.leader()
            c.ok("incr", "n", "0", "--timeout", "20s")
            c.local("pause", *(str(i) for i in (1, 2, 3) if i != leader))
            lost = c.run("append", "large", "x", "--timeout", "500ms", "--json", timeout=30,
                         endpoints=c.address(leader))
            c.local("resume", "all")
            failure = json.loads(lost.stdout)
            if failure["code"] == "UNDETERMINED":
                told.append(c.json("resolve", failure["token"], "--timeout", "20s")["outcome"])
        print("  ", told)
        check("TOO_LARGE" in told and set(told) <= {"TOO_LARGE", "NOT_DONE"}, told)


def waiting_connections(port):
    """How many connections to `port` hold bytes that their owner has not read."""
    local = f"0100007F:{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f][1:]
    return sum(row[1] == local and row[3] == "01" and int(row[4].split(":")[1], 16) > 0
               for row in rows)


@contextlib.contextmanager
def stubborn(c, node):
    """The node's process, which as a leader believes in itself for 30 s without hearing of
    anybody: long after the others have elected another one."""
    c.local("kill", str(node))
    with open(c.path(node, "log"), "ab") as log, subprocess.Popen(
            [f"{BIN}/holdfastd", "--config", c.path(node, "holdfast.conf"), "--election-timeout",
             "30s", "--heartbeat", "50ms"], stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


def paused_round(c, process, rest, new):
    """Counts of reads that lay in the sockets of the paused leader, node 1."""
    clients = 8
    wait_until("node 1 leads", 30,
               lambda: c.run("range", "transfer-leader", str(c.replica(1)), "--timeout",
                             "5s").returncode == 0)
    with subprocess.Popen([f"{BIN}/torture", "hold", "k", "--endpoints", c.address(1),
                           "--clients", str(clients), "--timeout", "10s"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hold:
        try:
            check(hold.stdout.readline() == "ready\n", "readers are not ready")
            process.send_signal(signal.SIGSTOP)
            # killed before they ask node 1 for votes: nothing of the next term lies in its
            # sockets, behind which the reads would come
            c.local("kill", "2", "3")
            c.local("restart", "2", "3")
            c.ok("put", "k", new, "--timeout", "20s", endpoints=rest)
            before = waiting_connections(c.port)
            hold.stdin.write(new + "\n")
            hold.stdin.flush()
            check(hold.stdout.readline() == "sent\n", "nothing was sent")
            wait_until("the reads wait at the old leader", 6,
                       lambda: waiting_connections(c.port) >= before + clients)
        finally:
            process.send_signal(signal.SIGCONT)
        out = hold.communicate(timeout=60)[0]
        check(hold.returncode == 0, "an old value:", out)
        return json.loads(out)


def test_paused_leader_serves_nothing_old():
    """Reads wait in the sockets of a leader that sleeps, sent after another leader
    acknowledged a newer value: they are what it sees first when it wakes up, and it does
    not doubt that it leads. Only asking a majority keeps it from an old answer."""
    right = none = 0
    with Cluster() as c:
        c.ok("put", "k", "old", "--timeout", "20s")
        rest = ",".join(c.address(i) for i in (2, 3))
        with stubborn(c, 1) as process:
            for round_number in range(ROUNDS):
                new = f"new {round_number}"
                figures = paused_round(c, process, rest, new)
                right += figures["right"]
                none += figures["none"]
                # and one that comes in later, straight to the one that led
                got = c.run("get", "k", "--timeout", "5s", endpoints=c.address(1))
                check(got.returncode != 0 or got.stdout == new, "an old value:", got.stdout)
        print("  ", right, "reads with the new value,", none, "without an answer")
        check(right > 0, "not one read was answered")


def test_pauses_under_load():
    with Cluster() as c:
        torture = c.torture(seconds=10, reads=50, timeout="2s")
        for _ in range(3):
            time.sleep(0.5)
            leader = str(c.leader())
            c.local("pause", leader)
            time.sleep(1.2)
            c.local("resume", leader)
        print("  ", torture.result())
        torture.verify()


if __name__ == "__main__":
    main(test_two_of_three_paused, test_undetermined_is_settled,
         test_undetermined_append_is_settled,
         test_paused_leader_serves_nothing_old, test_pauses_under_load)
