#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fault tests, in short: a minute of registers under kills and partitions, and that the
harness says what is wrong, refuses what it cannot do, and leaves nothing behind."""
import contextlib
import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types

from cluster import BIN, SKIPPED, check, main, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "jepsen"))
from harness import clients, control, history, matrix  # noqa: E402  pylint: disable=wrong-import-position
from harness import net, report  # noqa: E402  pylint: disable=wrong-import-position
from harness import main as main_, run as run_  # noqa: E402  pylint: disable=wrong-import-position

RUN = os.path.join(ROOT, "jepsen", "run")
SECONDS = os.environ.get("HOLDFAST_JEPSEN_SECONDS", "60")


def run(*argv, timeout=280):
    """What it said, and the process id that it had."""
    with subprocess.Popen([RUN, "--bin", BIN, *argv], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        finally:
            process.terminate()  # it takes everything down; no harm if it has ended
    return types.SimpleNamespace(returncode=process.returncode, stdout=out, stderr=err,
                                 pid=process.pid)


def left_by(pid):
    """What is left of the run that had this process id; others may be at work meanwhile."""
    done = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line.startswith(f"hj{pid}-")]


def test_refusals():
    for argv, words in ((("--workload", "frob"), "no workload 'frob'"),
                        (("--nemesis", "frob"), "no nemesis 'frob'"),
                        (("--nodes", "2"), "--nodes is 3 to 9"),
                        (("--rate", "0"), "--rate above 0"),
                        (("--binary-b", "/nowhere"), "--binary-b: /nowhere is no program"),
                        (("--workload", "set", "--clients", "sender"), "no clients of the kind"),
                        (("--system", "redis", "--workload", "bank"), "has the workloads"),
                        (("--system", "redis", "--nemesis", "partition"), "has the nemeses"),
                        (("--system", "etcd", "--workload", "watch"), "has the workloads"),
                        (("--system", "etcd", "--nemesis", "kill,power"), "has the nemeses"),
                        (("--expect", "strict-set:lost"), "register cannot be wrong by"),
                        (("--expect", "invalid,register:lost"), "register cannot be wrong by"),
                        (("--bin", "/nowhere"), "jepsen-client is not in /nowhere")):
        done = run(*argv)
        check(done.returncode == 2 and words in done.stderr, argv, done.returncode, done.stderr)


def test_folder_in_use():
    """Two runs in one folder would wipe each other's nodes."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as out:
        handle = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = run("--time", "1", "--out", out)
        os.close(handle)
        check(done.returncode == 2 and "another run uses" in done.stderr, done.stderr)


def test_unsupported():
    """A product without watches: the workload is named, and nothing is started."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as folder:
        for name in os.listdir(BIN):
            os.symlink(os.path.join(BIN, name), os.path.join(folder, name))
        client = os.path.join(folder, "jepsen-client")
        os.unlink(client)
        with open(client, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\necho register\n")
        os.chmod(client, 0o755)
        done = run("--bin", folder, "--workload", "watch")
        check(done.returncode == 2 and "unsupported: workload watch" in done.stderr, done.stderr)


def test_smoke():
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as out:
        done = run("--workload", "register", "--nemesis", "kill,partition", "--time", SECONDS,
                   "--nodes", "5", "--rate", "200", "--seed", "1", "--floor-ok", "5",
                   "--out", out, "--quiet")
        print("  ", done.stdout.strip())
        check(done.returncode == 0, "exit", done.returncode, done.stdout, done.stderr)
        with open(f"{out}/result.json", encoding="utf-8") as f:
            result = json.load(f)
        check(result["replicas"]["verdict"] == "alike", result["replicas"])
        kinds = {f["kind"] for f in result["timeline"]}
        check(kinds == {"kill", "partition"}, "faults are missing:", kinds)
        for name in ("history.jsonl", "history.edn", "report.html", "n1/log"):
            check(os.path.getsize(f"{out}/{name}") > 0, name, "is empty")
        spoil(f"{out}/history.jsonl")
    check(left_by(done.pid) == [], "namespaces are left:", left_by(done.pid))


def test_sent_twice():
    """Clients that send every change twice: results come back for both, and are judged."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as out:
        done = run("--workload", "session", "--clients", "sender", "--nemesis", "reset", "--time",
                   "5", "--nodes", "3", "--rate", "100", "--concurrency", "6", "--seed", "1",
                   "--floor-ok", "5", "--out", out, "--quiet")
        print("  ", done.stdout.strip())
        check(done.returncode == 0, "exit", done.returncode, done.stdout, done.stderr)
        with open(f"{out}/history.jsonl", encoding="utf-8") as f:
            events = [json.loads(line) for line in f]
        results = {}
        for event in events:
            if event["type"] == "ok" and "stamp" in event:
                results.setdefault(event["stamp"], []).append(event)
        twice = [r for r in results.values() if len(r) > 1]
        check(len(twice) >= 10, "only", len(twice), "changes have two results")
        twice[0][-1]["change"] += 1
        with open(f"{out}/history.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps(e) + "\n" for e in events)
        done = subprocess.run([f"{BIN}/history-check", "session", f"{out}/history.jsonl"],
                              capture_output=True, text=True, timeout=200, check=False)
        check(done.returncode == 1 and "results differ" in done.stdout, done.stdout)


def test_values_expire():
    """Both doors set times to live and tell what is left; the checker sees a value of this very
    history that comes back after it was gone."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as out:
        done = run("--workload", "ttl", "--nemesis", "leader,pause", "--time", "16", "--nodes", "3",
                   "--rate", "150", "--seed", "1", "--floor-ok", "5", "--out", out, "--quiet")
        print("  ", done.stdout.strip())
        check(done.returncode == 0, "exit", done.returncode, done.stdout, done.stderr)
        with open(f"{out}/history.jsonl", encoding="utf-8") as f:
            events = [json.loads(line) for line in f]
        check(all("ahead_ms" in e for e in events if e["type"] != "invoke"), "clocks are not told")
        for f, more in (("write", "ttl_ms"), ("cas", "ttl_ms"), ("read", "left_ms")):
            for is_cli in (True, False):  # every sixth client is the program
                found = [e for e in events if e["f"] == f and e["type"] == "ok" and e.get(more)
                         and e["process"] < clients.PROCESSES_MAX
                         and (e["process"] % 20 % 6 == 0) == is_cli]
                check(found, "no", f, "with", more, "of the program" if is_cli else "the library")
        gone = bring_back(events)
        with open(f"{out}/history.jsonl", "w", encoding="utf-8") as f:
            f.writelines(json.dumps(e) + "\n" for e in events)
        done = subprocess.run([f"{BIN}/history-check", "ttl", f"{out}/history.jsonl"],
                              capture_output=True, text=True, timeout=200, check=False)
        check(done.returncode == 1 and "came back: " in done.stdout, gone, done.stdout)


def bring_back(events):
    """Of two reads of a key that found it absent after a value had been seen, the second sees that
    value. One that was surely written: of others the checker cannot tell when they were."""
    written = {(e["key"], e["value"]) for e in events if e["type"] == "ok" and e["f"] == "write"}
    seen, gone = {}, {}
    for event in events:
        key = event["key"]
        if event["type"] != "ok" or event["f"] != "read":
            continue
        if event["value"] is not None:
            seen[key] = event
            gone.pop(key, None)
        elif key in seen and (key, seen[key]["value"]) not in written:
            continue
        elif key in seen and key not in gone:
            gone[key] = event
        elif key in gone and event["time"] > gone[key]["time"] + 2e9:
            event.update(value=seen[key]["value"], left_ms=seen[key].get("left_ms", 0))
            return event
    raise AssertionError("nothing expired")


def spoil(path):
    """The checker sees a read of this very history that was changed: it judges what was
    recorded, and not nothing."""
    with open(path, encoding="utf-8") as f:
        events = [json.loads(line) for line in f]
    read = next(e for e in reversed(events) if e["f"] == "read" and e.get("version"))
    read["value"] = "changed"
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(e) + "\n" for e in events)
    done = subprocess.run([f"{BIN}/history-check", "register", path], capture_output=True,
                          text=True, timeout=200, check=False)
    check(done.returncode == 1, "a changed read passes:", done.stdout)


def test_second_build():
    """Nodes change from one build to the other and back with each start (here a copy stands
    for the other), and the run knows if that never happened."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as folder:
        other = os.path.join(folder, "holdfastd-other")
        shutil.copy(os.path.join(BIN, "holdfastd"), other)
        short = ("--nodes", "3", "--rate", "50", "--floor-ok", "3", "--seed", "1", "--quiet",
                 "--binary-b", other)
        done = run("--nemesis", "roll", "--time", "15", "--out", f"{folder}/roll", *short)
        print("  ", done.stdout.strip())
        check(done.returncode == 0, "exit", done.returncode, done.stdout, done.stderr)
        with open(f"{folder}/roll/result.json", encoding="utf-8") as f:
            result = json.load(f)
        starts = {name: build["starts"] for name, build in result["builds"].items()}
        check(all(n > 0 for build in starts.values() for n in build.values()), starts)
        texts = [f["text"] for f in result["timeline"]]
        check("n1 b" in texts[0] and "n2 b" in texts[0], texts)
        with open(f"{folder}/roll/report.html", encoding="utf-8") as f:
            check(other in f.read(), "the report does not name the second build")
        done = run("--nemesis", "none", "--time", "1", "--out", f"{folder}/none", *short)
        check(done.returncode == 2 and "no node ever ran the second build" in done.stdout,
              done.returncode, done.stdout, done.stderr)


def test_dry():
    """What would run: the matrix, a suite with flags for all of its lines, seeds in a row."""
    with tempfile.NamedTemporaryFile("w", suffix=".suite") as suite:
        suite.write("# a comment\n--workload set --nemesis kill\n--workload bank\n")
        suite.flush()
        for argv, lines, last in (
                (("--all", "--time", "60"), 171,
                 "jepsen/run --workload ttl --nemesis all --time 60"),
                (("--all", "--workload", "set", "--nemesis", "kill,power"), 2,
                 "jepsen/run --workload set --nemesis power"),
                (("--suite", suite.name, "--rate", "9"), 2, "jepsen/run --workload bank --rate 9"),
                (("--suite", suite.name, "--test-count", "3", "--seed", "7"), 6,
                 "jepsen/run --workload bank --seed 9"),
                (("--test-count", "3", "--seed", "3"), 3, "jepsen/run --seed 5")):
            done = subprocess.run([RUN, "--dry", *argv], capture_output=True, text=True,
                                  timeout=60, check=False)
            said = done.stdout.splitlines()
            of_faults = "2 h 51 min" if lines == 171 else f"{lines} min"
            check(done.returncode == 0 and
                  said[-1].startswith(f"{lines} runs with {of_faults} of faults"), argv, said[-1])
            check(len(said) == lines + 1 and said[-2] == last, argv, said[-2])
        suite.write("--all --time 5\n")
        suite.flush()
        done = run("--suite", suite.name)
        check(done.returncode == 2 and "line 4: a line is a run" in done.stderr, done.stderr)
    done = run("--suite", "/nowhere")
    check(done.returncode == 2 and "/nowhere" in done.stderr, done.returncode, done.stderr)


def test_many():
    """Their page and their exit status: invalid before void, unsupported ones left out."""
    ends = {"a": (0, "valid"), "b": (1, "invalid"), "c": (2, "void"), "d": (2, "unsupported: b")}

    def single(argv, folder):
        status, text = ends[argv[0]]
        result = {"figures": {"operations": 1234, "ok_share": 0.5, "unavailable_share": 0.25},
                  "verdict": text, "why": "<so>", "causes": [], "seed": 1, "workload": "set",
                  "nemesis": [], "timeline": [1, 2]}
        return status, f"{text}\n   {folder}", None if "unsupported" in text else result

    for names, want, counted in (("a", 0, "1 as they must be, 0 not"), ("ad", 0, "1 unsupported"),
                                 ("d", 2, "0 as they must be"), ("abc", 1, "1 not, 1 void"),
                                 ("cab", 1, "1 not, 1 void"), ("ac", 2, "1 void or unknown")):
        with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as folder:
            with contextlib.redirect_stdout(io.StringIO()) as said:
                got = matrix.several(single, [([n], f"run-{n}") for n in names], folder)
            check(got == want and counted in said.getvalue(), names, got, said.getvalue())
            with open(f"{folder}/index.html", encoding="utf-8") as f:
                page = f.read()
            for n in names.replace("d", ""):
                check(f'href="run-{n}/report.html"' in page and "1,234" in page, names, page)
            check(("&lt;so&gt;" in page) == (names != "d"), names, page)
            with open(f"{folder}/results.json", encoding="utf-8") as f:
                check([row["label"][-1] for row in json.load(f)] == list(names), names)


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[1] == "never" else
              lambda *_: sys.exit(int(sys.argv[1])))
print("ready", flush=True)
time.sleep(60)
"""


def test_ends_are_judged():
    """A node that is stopped must end in order: another status is like an end of its own, and
    one that does not end is told of. What libfaketime left of it is gone."""
    node = control.Node(1, "nowhere", "/nowhere")
    for how, exits, slow in (("0", [], 0), ("3", [("n1", 3, False)], 0), ("never", [], 1)):
        power = control.LocalControl.__new__(control.LocalControl)
        control.Control.__init__(power, types.SimpleNamespace(has_clock=True), [node])
        power.gone = set()
        with subprocess.Popen([sys.executable, "-c", STUBBORN, how],
                              stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            left = [f"/dev/shm/{name}_{process.pid}" for name in ("faketime_shm",
                                                                 "sem.faketime_sem")]
            for path in left:
                with open(path, "w", encoding="utf-8") as f:
                    f.write("x")
            power.processes = {1: process}
            power.stop(node, 1 if how == "never" else 20)
        check([e[1:] for e in power.exits] == exits, how, power.exits)
        check(len(power.slow_stops) == slow, how, power.slow_stops)
        check(not any(map(os.path.exists, left)), how, left, "are left")


def test_verdicts():
    """What makes a run invalid, void or unknown, though its history may be fine."""
    judge = run_.Run.__new__(run_.Run)
    judge.options = types.SimpleNamespace(binary_b=None, floor_ok=1, floor_share=0.5, time=10)
    judge.workload = types.SimpleNamespace(may_be_unknown=("b",))
    judge.nodes, judge.rotten = [], None
    fine = {"exits": [], "checks": {"a": {"verdict": "valid"}, "b": {"verdict": "unknown"}},
            "replicas": {"verdict": "alike", "down": []}, "figures": {"ok": 100, "ok_share": 0.9}}
    incomplete = {"verdict": "incomplete", "down": []}
    broken = [{"who": "the nemesis", "error": "KeyError: 'x'"}]
    lost = {"strict-set": {"verdict": "invalid",
                           "said": "lost: element '1', line 1\nlost 1, stale 0\n"}}
    for change, want, causes in (
            ({}, "valid", []), ({"stuck": "never"}, "invalid", ["stuck"]),
            ({"void": "no"}, "void", []), ({"not_taken_back": 1}, "invalid", ["drained"]),
            ({"gave_up": []}, "valid", []),
            ({"gave_up": [{"f": "write", "took_ms": 3, "deadline_ms": 2000, "message": ""}]},
             "invalid", ["gave_up"]),
            ({"checks": {"a": {"verdict": "unknown"}}}, "unknown", []),
            ({"checks": lost, "void": "no"}, "invalid", ["strict-set:lost"]),
            ({"checks": {"counter": {"verdict": "invalid", "said": "new words"}}}, "invalid",
             ["counter"]),
            ({"replicas": {"verdict": "differ", "down": []}, "stuck": "never"}, "invalid",
             ["replicas", "stuck"]),
            ({"replicas": incomplete}, "invalid", ["incomplete"]),
            ({"replicas": {**incomplete, "down": ["n2"]}}, "valid", []),
            ({"failures": broken}, "void", []),
            ({"failures": broken, "stuck": "never"}, "void", []),
            ({"failures": broken, "checks": lost}, "invalid", ["strict-set:lost"]),
            ({"figures": {"ok": 9, "ok_share": 0.9}}, "void", []),
            ({"figures": {"ok": 100, "ok_share": 0.4}}, "void", [])):
        result = {**fine, **change}
        got = judge.verdict(result)
        check(got[0] == want and result["causes"] == causes, change, got, result["causes"])
        if "failures" in change and want == "void":
            check(got[1] == "the harness failed: the nemesis: KeyError: 'x'", got)


def test_weak():
    """A kind of operation of which most came to nothing is told of, in a valid run too."""
    figures = {"by_kind": {"read": {"operations": 100, "answered": 90},
                           "write": {"operations": 100, "answered": 49},
                           "cas": {"operations": 19, "answered": 0}}}
    said = run_.weak(figures)
    check(said == ["of 100 operations of the kind write only 49 were answered"], said)
    result = {"figures": {"operations": 219, "ok_share": 0.6, "rate": 9}, "verdict": "valid",
              "workload": "register", "seed": 1, "timeline": [], "why": "so", "weak": said}
    text = main_.summary(result, "there")
    check(f"\n         WEAK: {said[0]}\n" in text, text)


NONSENSE = """#!/bin/sh
case $1 in --features) echo register; exit;; esac
read line && echo nonsense
"""


def test_failing_client():
    """A thread of a client that fails makes the run void, and the report tells of it."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as folder:
        programs, out = os.path.join(folder, "bin"), os.path.join(folder, "out")
        os.mkdir(programs)
        for name in os.listdir(BIN):
            os.symlink(os.path.abspath(os.path.join(BIN, name)), os.path.join(programs, name))
        client = os.path.join(programs, "jepsen-client")
        os.unlink(client)
        with open(client, "w", encoding="utf-8") as f:
            f.write(NONSENSE)
        os.chmod(client, 0o755)
        done = run("--bin", programs, "--clients", "library", "--nemesis", "kill", "--time", "30",
                   "--nodes", "3", "--out", out, "--quiet")
        check(done.returncode == 2 and "VOID" in done.stdout, done.stdout, done.stderr)
        with open(f"{out}/result.json", encoding="utf-8") as f:
            result = json.load(f)
        check(any(f["who"].startswith("worker-") and "JSONDecodeError" in f["error"]
                  for f in result["failures"]), result["failures"])
        with open(f"{out}/report.html", encoding="utf-8") as f:
            page = f.read()
        check("failed at" in page and "JSONDecodeError" in page, "the report does not tell of it")
    check(left_by(done.pid) == [], "namespaces are left:", left_by(done.pid))


def test_undetermined_too_soon():
    """Who is told before the deadline that an outcome is unknown was given up."""
    unknown = {"error": "UNDETERMINED", "message": "the connection is lost"}
    forgotten = "the range has forgotten the time of the first sending, and cannot tell any more"
    for kind, f, took_ms, answer, want in (
            ("library", "write", 1200, unknown, 1), ("cli", "add", 1200, unknown, 1),
            ("library", "write", 1950, unknown, 0), ("library", "write", 2300, unknown, 0),
            ("library", "once", 50, unknown, 0), ("control", "write", 1200, unknown, 0),
            ("library", "write", 1200, {**unknown, "message": forgotten}, 0),
            ("library", "write", 1200, {"error": "CLIENT_DIED"}, 0),
            ("library", "write", 3, {"type": "ok"}, 0)):
        owner = types.SimpleNamespace(options=types.SimpleNamespace(seed=1), gave_up=[])
        worker = clients.Worker(owner, 0, kind)
        op = types.SimpleNamespace(op={"f": "add"}, request={"f": f})
        worker.judge_undetermined(op, {**answer, "t0": 5 * 10**9,
                                       "t1": 5 * 10**9 + took_ms * 10**6}, 2000)
        check(len(owner.gave_up) == want, kind, f, took_ms, answer, owner.gave_up)


def test_reads_that_may_be_old():
    """They are told of as asked so much earlier, and side by side with others of their worker."""
    made = history.History()
    options = types.SimpleNamespace(seed=1, stale_as_new=False)
    worker = clients.Worker(types.SimpleNamespace(options=options, history=made, zero_ns=10**9),
                            3, "library")
    read, done = {"f": "read", "key": "k"}, {"type": "ok", "value": None}
    t0 = 20 * 10**9
    for max_age_ms in (100, 5000, None, 60_000):
        answer = {"t0": t0, "t1": t0 + 10**6}
        if max_age_ms is not None:
            answer["max_age_ms"] = max_age_ms
        worker.record([(read, done)], answer)
        t0 += 10**7
    began = [e["time"] for e in made.events if e["type"] == "invoke"]
    check(began == [18_899_900_000, 14_005_000_000, 19_020_000_000, 0], began)
    check([report.asked(e) for e in made.events[::2]] ==
          [19 * 10**9 + n * 10**7 for n in range(4)], made.events)
    check(len({e["process"] for e in made.events}) == 4, made.events)
    options.stale_as_new = True
    worker.record([(read, done)], {"t0": t0, "t1": t0 + 1, "max_age_ms": 5000})
    check(made.events[-2]["time"] == t0 - 10**9 and made.events[-2]["process"] == 3, made.events)


def test_orders_of_links():
    """Several faults slow one link: it has the worst of each; a queue of bytes is a queue of
    frames for netem."""
    orders = [(1, 0, 2000, 0, 0, 20000, 4000), (0, 2, 10000, 5000, 100, 0, 64),
              (3, 0, 150000, 0, 0, 0, 0)]
    for number, want in ((1, (10000, 5000, 100, 20000, 64)), (2, (10000, 5000, 100, 0, 64)),
                         (3, (150000, 5000, 100, 0, 64))):
        got = net.worst(orders, number)
        check(got == want, number, got)
    check(net.worst([], 1) == (0, 0, 0, 0, 0), "no order")
    check("qdisc del" in net.netem_command("eth0", net.worst([], 1)), "no order")
    check(net.netem_command("eth0", (2000, 0, 0, 0, 4000)).endswith("rate 4000kbit limit 167"),
          net.netem_command("eth0", (2000, 0, 0, 0, 4000)))


RECEIVE = """
import socket
with socket.create_server(("", 4000)) as server:
    print("listens", flush=True)
    peer, _ = server.accept()
    count = 0
    while more := peer.recv(65536):
        count += len(more)
    print(count)
"""
SEND = """
import socket, sys
socket.create_connection((sys.argv[1], 4000)).sendall(bytes(int(sys.argv[2])))
"""


def through_a_link(orders, size):
    """So many bytes over one connection from member 1 to member 2: (bytes that came, seconds,
    the switch's figures)."""
    links = net.Network(["n1"], "wire")
    links.wire_program = os.path.join(BIN, "jepsen-wire")
    try:
        links.set_up()
        links.slow(orders)
        with subprocess.Popen(links.inside("c", [sys.executable, "-c", RECEIVE]), text=True,
                              stdout=subprocess.PIPE) as receiver:
            check(receiver.stdout.readline() == "listens\n", "no receiver")
            began = time.monotonic()
            subprocess.run(links.inside("n1", [sys.executable, "-c", SEND, net.address(2),
                                               str(size)]), check=True, timeout=60)
            arrived = int(receiver.stdout.readline())
            seconds = time.monotonic() - began
    finally:
        links.tear_down()
    return arrived, seconds, links.frames


def test_rate_of_a_link():
    """256 kbit/s: 100,000 bytes take 3.1 s at least, and what the link's queue of half a
    second has no room for is lost, counted, and sent again. Without an order nothing is."""
    if not os.path.exists("/dev/net/tun"):
        print("   not tried: no /dev/net/tun")
        return
    arrived, seconds, frames = through_a_link([(1, 0, 0, 0, 0, 0, 256)], 100000)
    print(f"   {arrived} bytes in {seconds:.2f} s, {frames}")
    check(arrived == 100000 and seconds >= 100000 * 8 / 256000, arrived, seconds)
    check(frames["beyond_rate"] > 0 and frames["queued"] > 0, frames)
    arrived, _, frames = through_a_link([], 100000)
    check(arrived == 100000 and frames["delayed"] == 0 == frames["queued"], frames)


LISTEN = """
import socket
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("", 4001))
udp.settimeout(20)
print("listens", flush=True)
while (word := udp.recv(99).decode()) != "end":
    print(word, flush=True)
"""
TELL = 'echo -n "$2" > "/dev/udp/$1/4001" || true'  # rules on the way out may refuse it


def heard(links, name, senders):
    """Of which of these members that one hears a packet; "c" of the clients comes through."""
    index = links.members.index(name) + 1
    with subprocess.Popen(links.inside(name, [sys.executable, "-c", LISTEN]), text=True,
                          stdout=subprocess.PIPE) as listener:
        check(listener.stdout.readline() == "listens\n", "no listener")
        for sender in (*senders, "c"):
            for word in [sender, "end"] if sender == "c" else [sender]:
                subprocess.run(links.inside(sender, ["bash", "-c", TELL, "tell",
                                                     net.address(index), word]),
                               check=True, timeout=20)
        return set(listener.stdout.read().split()) - {"c"}


def test_rules_cut():
    """One way alone, until the rules say otherwise; through the bridge and through jepsen-wire."""
    for kind in ("bridge", "wire") if os.path.exists("/dev/net/tun") else ("bridge",):
        links = net.Network(["n1", "n2", "n3"], kind)
        links.wire_program = os.path.join(BIN, "jepsen-wire")
        try:
            links.set_up()
            links.apply("n2", frozenset([net.address(1)]), frozenset())
            got = heard(links, "n2", ["n1", "n3"]), heard(links, "n1", ["n2", "n3"])
            check(got == ({"n3"}, {"n2", "n3"}), kind, got)
            links.apply("n2", frozenset(), frozenset())
            got = heard(links, "n2", ["n1", "n3"])
            check(got == {"n1", "n3"}, kind, got)
        finally:
            links.tear_down()


SPEAK = """
import socket, sys
peer = socket.create_connection((sys.argv[1], 4000), 10)
print("connected", flush=True)
sys.stdin.readline()
try:
    peer.sendall(b"more")
    peer.settimeout(5)
    peer.recv(1)
    print("nothing")
except ConnectionResetError:
    print("reset")
except TimeoutError:
    print("silence")
"""


def test_rules_reset():
    """A connection that speaks while rules of n1 say so ends in a reset, whoever of both speaks."""
    for speaks, listens, index in (("c", "n1", 1), ("n1", "c", 2)):
        links = net.Network(["n1"], "bridge")
        try:
            links.set_up()
            with subprocess.Popen(links.inside(listens, [sys.executable, "-c", RECEIVE]),
                                  text=True, stdout=subprocess.PIPE) as receiver:
                check(receiver.stdout.readline() == "listens\n", "no receiver")
                with subprocess.Popen(
                        links.inside(speaks, [sys.executable, "-c", SPEAK, net.address(index)]),
                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as speaker:
                    check(speaker.stdout.readline() == "connected\n", "no connection")
                    everyone = frozenset([net.address(1), net.address(2)])
                    links.apply("n1", frozenset(), everyone)
                    said, _ = speaker.communicate("go\n", timeout=30)
                receiver.kill()
            check(said == "reset\n", speaks, "speaks:", said)
        finally:
            links.tear_down()


def test_interrupted():
    """SIGINT in the middle: processes and namespaces are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="holdfast-jepsen-") as out:
        with subprocess.Popen([RUN, "--bin", BIN, "--nemesis", "kill", "--time", "60", "--rate",
                               "50", "--nodes", "3", "--out", out], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            wait_until("it works", 60, lambda: "operations" in process.stdout.readline())
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            check(process.returncode == 2 and "ended by SIGINT" in err, process.returncode, err)
    check(left_by(process.pid) == [], "namespaces are left:", left_by(process.pid))
    done = subprocess.run(["pgrep", "-f", f"{out}/n1"], capture_output=True, text=True, check=False)
    check(done.stdout == "", "processes are left:", done.stdout)


if __name__ == "__main__":
    missing = subprocess.run([sys.executable, "-B", "-c", f"""
import sys; sys.path.insert(0, {ROOT!r} + "/jepsen")
from harness import needs
print("\\n".join(needs.missing(["kill", "partition"], {BIN!r}, [])))"""], capture_output=True,
                             text=True, check=True).stdout.strip()
    if missing:
        print("skipped: fault tests in network namespaces cannot run here:", missing)
        sys.exit(SKIPPED)
    main(test_refusals, test_folder_in_use, test_unsupported, test_dry,
         test_many, test_ends_are_judged, test_verdicts, test_weak, test_undetermined_too_soon,
         test_reads_that_may_be_old, test_orders_of_links, test_rate_of_a_link,
         test_rules_cut, test_rules_reset, test_smoke, test_sent_twice, test_second_build,
         test_values_expire, test_failing_client, test_interrupted)
