#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What fault tests leave behind for people and other checkers: the EDN, the figures, and the
pictures of what the checkers find wrong. Nothing is started but the checkers."""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import types
from xml.etree import ElementTree

from cluster import BIN, check, main

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "jepsen"))
from harness import clients, history, report  # noqa: E402  pylint: disable=wrong-import-position
from harness import main as main_, run as run_  # noqa: E402  pylint: disable=wrong-import-position
from harness import workloads  # noqa: E402  pylint: disable=wrong-import-position

SVG = "{http://www.w3.org/2000/svg}"
TOKEN = re.compile(r'\s*(?:([{}\[\]])|("(?:[^"\\]|\\.)*")|([^\s,{}\[\]"]+)),?')


def read_edn(text):
    """A reader of EDN, as far as histories need it: keywords stay as they are."""
    found = list(TOKEN.finditer(text))
    check(sum(len(m.group()) for m in found) == len(text), "not EDN:", text)
    tokens = [next(g for g in m.groups() if g) for m in found]

    def form():
        token = tokens.pop(0)
        if token in "[{":
            parts = []
            while tokens[0] not in "]}":
                parts.append(form())
            tokens.pop(0)
            return parts if token == "[" else dict(zip(parts[::2], parts[1::2]))
        if token[0] == '"':
            return json.loads(token)
        return {"nil": None, "true": True, "false": False}.get(
            token, int(token) if token.lstrip("-").isdigit() else token)

    read = form()
    check(not tokens, "more than one form:", text)
    return read


def test_edn():
    """Registers carry their key with the value, transactions are Elle's."""
    for event, want in (
            ({"process": 3, "type": "info", "f": "cas", "key": 'a"b', "value": [None, "2"],
              "error": "NOT_KNOWN", "time": 9},
             {":index": 7, ":process": 3, ":type": ":info", ":f": ":cas",
              ":value": ['a"b', [None, "2"]], ":error": ":not-known", ":time": 9}),
            ({"process": 1, "type": "ok", "f": "read", "key": "k", "value": None, "time": -4,
              "version": 8},
             {":index": 7, ":process": 1, ":type": ":ok", ":f": ":read", ":value": ["k", None],
              ":time": -4, ":version": 8}),
            ({"process": 1, "type": "ok", "f": "txn", "time": 1,
              "value": [["append", "x", 1], ["r", "y", [2, 3]], ["r", "z", None]]},
             {":index": 7, ":process": 1, ":type": ":ok", ":f": ":txn", ":time": 1,
              ":value": [[":append", "x", 1], [":r", "y", [2, 3]], [":r", "z", None]]})):
        got = read_edn(history.edn_event(7, event))
        check(got == want, got, "is not", want)


def made(*argv):
    """The events of a history that history-make wrote."""
    done = subprocess.run([f"{BIN}/history-make", *argv], capture_output=True, text=True,
                          timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_edn_of_a_history():
    """Every line of both files is the same operation."""
    events = made("append", "--ops", "500", "--seed", "3")
    with tempfile.TemporaryDirectory(prefix="holdfast-report-") as folder:
        record = history.History()
        record.events = events
        record.write(folder)
        with open(f"{folder}/history.edn", encoding="utf-8") as f:
            lines = f.read().splitlines()
        with open(f"{folder}/history.jsonl", encoding="utf-8") as f:
            written = [json.loads(line) for line in f]
    check(len(lines) == len(events) == len(written), len(lines), len(events))
    for at, (line, event) in enumerate(zip(lines, written)):
        form = read_edn(line)
        check(form[":index"] == at and form[":time"] == event["time"], line)
        check(form[":value"] == [[f":{m[0]}", *m[1:]] for m in event["value"]], line)


def op_txn(process, value, begin_s, end_s):
    return [{"process": process, "type": kind, "f": "txn", "value": value, "time": int(at * 1e9)}
            for kind, at in (("invoke", begin_s), ("ok", end_s))]


def test_names_of_anomalies():
    """What the checkers say is known by name, whatever else they say."""
    planted = [("register", "stale", "not-linearizable"), ("strict-set", "lost", "lost"),
               ("strict-set", "twice", "twice"), ("counter", "lost", "out-of-bounds"),
               ("bank", "torn", "wrong-sum"),
               *(("append", name, name) for name in (
                   "G0", "G1a", "G1b", "G1c", "G-single", "G2", "G0-realtime",
                   "G-single-realtime", "lost"))]
    for model, plant, name in planted:
        maker = "set" if model == "strict-set" else model
        check_names(model, made(maker, "--ops", "200", "--plant", plant), {name})
        check_names(model, made(maker, "--ops", "200"), None)
    group = [["g/0", "1", 5], ["g/1", "1", 5]]
    one, two = op(0, "write", "a", 1, 0, 1, version=5), op(0, "write", "a", 2, 2, 3, version=6)
    by_hand = (
        ("plain-register", [*op(0, "read", "k", "9", 0, 1)], "not-linearizable"),
        ("strict-set", [*op(0, "read", "k", [9], 0, 1)], "from-nowhere"),
        ("strict-set", [*op(0, "add", "k", 1, 0, 1), *op(0, "read", "k", [], 2, 3),
                        *op(0, "read", "k", [1], 4, 5)], "stale"),
        ("append", [*op_txn(0, [["append", "k", 1], ["r", "k", []]], 0, 1),
                    *op_txn(0, [["r", "k", [1]]], 2, 3)], "internal"),
        ("append", [*op_txn(0, [["r", "k", [1]]], 0, 1)], "from-nowhere"),
        ("append", [*op_txn(0, [["append", "k", 1]], 0, 1),
                    *op_txn(0, [["r", "k", [1, 1]]], 2, 3)], "duplicate"),
        ("append", [*op_txn(0, [["append", "k", 1]], 0, 9), *op_txn(1, [["append", "k", 2]], 0, 9),
                    *op_txn(2, [["r", "k", [1, 2]]], 0, 9), *op_txn(3, [["r", "k", [2, 1]]], 0, 9)],
         "incompatible-order"),
        ("bank", [*op(0, "open", "", [["a", 1], ["b", 2]], 0, 1),
                  *op(0, "read", "", [["a", -1], ["b", 4]], 2, 3)], "negative"),
        ("bank", [*op(0, "open", "", [["a", 1], ["b", 2]], 0, 1),
                  *op(0, "read", "", [["a", None], ["b", 3]], 2, 3)], "missing-account"),
        ("bank", [*op(0, "open", "", [["a", 1], ["b", 2]], 0, 1),
                  *op(0, "read", "", [["a", 3]], 2, 3)], "missing-account"),
        ("session", [dict(e, stamp="1/1") for e in (*op(0, "write", "k", "1", 0, 1, version=5),
                                                    *op(1, "write", "k", "1", 0, 1, version=6))],
         "two-results"),
        ("scan", [*op(0, "write", "g", ["1", 2], 0, 1, version=5),
                  *op(1, "scan", "k", group[:1], 2, 3, version=6)], "torn"),
        ("scan", [*op(0, "write", "g", ["1", 2], 0, 1, version=5),
                  *op(1, "scan", "k", [], 2, 3, version=6)], "lost"),
        ("scan", [*op(0, "write", "g", ["1", 2], 0, 1, version=5),
                  *op(1, "scan", "k", group[::-1], 2, 3, version=6)], "order"),
        ("scan", [*op(0, "write", "g", ["1", 2], 0, 9, version=5),
                  *op(1, "scan", "k", group, 2, 3, version=4)], "too-new"),
        ("scan", [*op(0, "write", "g", ["1", 2], 0, 1, version=5),
                  *op(0, "write", "g", ["2", 2], 2, 9, version=7),
                  *op(1, "scan", "k", group, 3, 4, version=8)], "missed-write"),
        ("watch", [*one, *two, *op(0, "write", "a", 3, 4, 5, version=7),
                   *op(1, "watch", "w", [["a", 1, 5], ["a", 3, 7]], 0, 9)], "gap"),
        ("watch", [*one, *op(1, "watch", "w", [["a", 1, 5], ["a", 1, 5]], 0, 9)], "repeat"),
        ("watch", [*one, *two, *op(1, "watch", "w", [["a", 2, 6], ["a", 1, 5]], 0, 9)], "order"),
        ("watch", [*op(1, "watch", "w", [["a", 2, 6]], 0, 9)], "from-nowhere"),
        ("ttl", [*op_ttl(0, "write", "k", "1", 0, 1, 1), *op(0, "read", "k", "1", 9, 9.1,
                                                             left_ms=1)], "late"),
        ("ttl", [*op_ttl(0, "write", "k", "1", 0, 1, 9), *op(0, "read", "k", None, 2, 3)], "early"),
        ("ttl", [*op_ttl(0, "write", "k", "1", 0, 1, 2), *op(0, "read", "k", None, 2, 2.1),
                 *op(0, "read", "k", "1", 2.2, 2.3, left_ms=1)], "came-back"),
        ("ttl", [*op_ttl(0, "write", "k", "1", 0, 1, 2),
                 *op(0, "read", "k", "1", 1.2, 1.3, left_ms=2001)], "left"),
        ("watch", [*one, *op(0, "write", "a", 2, 2, 3, version=5),
                   *op(1, "watch", "w", [["a", 1, 5]], 0, 9)], "two-values"))
    for model, events, name in by_hand:
        check_names(model, events, {name})
    known = {(model, name) for model, _, name in (*planted, *by_hand)}
    for model, names in history.ANOMALIES.items():
        if model not in ("session", "append"):  # they share words with others
            left = {n for n in names if (model, n) not in known} - {"not-linearizable"}
            check(not left, model, left, "were never said")


def op_ttl(process, f, key, value, begin_s, end_s, ttl_s):
    return [dict(e, ttl_ms=ttl_s * 1000) for e in op(process, f, key, value, begin_s, end_s)]


def check_names(model, events, want):
    """None: a valid history."""
    with tempfile.TemporaryDirectory(prefix="holdfast-report-") as folder:
        record = history.History()
        record.events = events
        record.write(folder)
        verdict, said = history.judge(f"{BIN}/history-check", model, f"{folder}/history.jsonl")
    names = set(history.anomalies(model, said))
    check(verdict == ("invalid" if want else "valid"), model, want, verdict, said)
    check(names >= want if want else not names, model, want, names, said)


def judged(folder, model, events):
    """What the checker says of them, and a page about it: (said, page)"""
    record = history.History()
    record.events = events
    events = record.write(folder)
    verdict, said = history.judge(f"{BIN}/history-check", model, f"{folder}/history.jsonl")
    check(verdict == "invalid", verdict, said)
    result = {"workload": "register", "nemesis": ["kill"], "verdict": verdict, "why": "wrong",
              "command": "jepsen/run", "nodes": 3, "concurrency": 2, "measured_s": 10,
              "checks": {model: {"verdict": verdict, "said": said}}, "operations": {},
              "exits": [{"at": 2.5, "node": "n1", "status": 1, "expected": False}],
              "timeline": [{"kind": "kill", "text": "kill <n1>", "begin": 2, "end": 4}]}
    result["figures"] = report.figures(events, result)
    node = types.SimpleNamespace(name="n1")
    os.makedirs(f"{folder}/n1")
    with open(f"{folder}/n1/log", "w", encoding="utf-8") as f:
        f.write("a line <of> the log\n")
    report.write(folder, events, result, [node])
    with open(f"{folder}/report.html", encoding="utf-8") as f:
        page = f.read()
    with open(f"{folder}/result.json", "w", encoding="utf-8") as f:
        json.dump(result, f)
    for name in ("rate", "latency", "faults"):
        check(ElementTree.parse(f"{folder}/{name}.svg").getroot().tag == f"{SVG}svg", name)
    main_.make_folder(folder)  # what is in it is of a run: it may be emptied for another
    check(not os.listdir(folder), os.listdir(folder))
    return said, page


def pictures(page):
    """Every SVG of a page; each must be whole."""
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.S)]


def op(process, f, key, value, begin_s, end_s, done="ok", **more):
    """Both lines of an operation."""
    asked = None if f == "read" else value
    return [{"process": process, "type": "invoke", "f": f, "key": key, "value": asked,
             "time": int(begin_s * 1e9)},
            {"process": process, "type": done, "f": f, "key": key, "value": value,
             "time": int(end_s * 1e9), **more}]


def test_picture_of_a_stale_read():
    """The operations that show it, and no others, as bars; the read is marked."""
    events = [*op(0, "cas", "a", [None, "1"], 1, 1.1, version=1),
              *op(1, "write", "a", "2", 1.2, 1.3, version=2),
              *op(2, "write", "b", "7", 1.2, 1.3, version=1),
              *op(1, "cas", "a", ["1", "9"], 1.31, 1.39, "fail", mismatch=True, seen="2"),
              *op(3, "read", "a", "1", 1.4, 1.5, version=1)]
    with tempfile.TemporaryDirectory(prefix="holdfast-report-") as folder:
        _, page = judged(folder, "register", events)
    drawn = pictures(page)
    check(len(drawn) == 4, len(drawn), "pictures: the anomaly, rate, latency, faults")
    texts = ["".join(t.itertext()) for t in drawn[0].iter(f"{SVG}text")]
    for want in ("cas a absent → 1 (version 1)", "write a 2 (version 2)",
                 "read a 1 (version 1)"):
        check(want in texts, want, "is not in", texts)
    check(not any(" b " in t for t in texts), "an operation of another key:", texts)
    red = [r for r in drawn[0].iter(f"{SVG}rect") if r.get("stroke") == "#c00"]
    check(len(red) == 1, len(red), "bars are marked")
    row = next(t for t in drawn[0].iter(f"{SVG}text") if t.text.startswith("read a 1"))
    check(abs(float(row.get("y")) - float(red[0].get("y")) - 15) < 1, "another bar is marked")
    for want in ('href="n1/log"', 'href="history.jsonl"', "a line &lt;of&gt; the log",
                 "kill &lt;n1&gt;"):
        check(want in page, want, "is not in the page")


def test_picture_of_lost_elements():
    """All that are named, none of them marked, and the fault behind them."""
    events = [*op(0, "add", "s", 1, 1.9, 2.1), *op(0, "add", "s", 2, 2.2, 2.3),
              *op(0, "add", "s", 3, 2.4, 2.5), *op(1, "read", "s", [2], 5, 5.1)]
    with tempfile.TemporaryDirectory(prefix="holdfast-report-") as folder:
        _, page = judged(folder, "strict-set", events)
    drawn = pictures(page)[0]
    texts = ["".join(t.itertext()) for t in drawn.iter(f"{SVG}text")]
    check("add s 1" in texts and "add s 3" in texts and "add s 2" not in texts, texts)
    check(not [r for r in drawn.iter(f"{SVG}rect") if r.get("stroke") == "#c00"], "a bar is marked")
    titles = [t.text for t in drawn.iter(f"{SVG}title")]
    check(titles == ["kill <n1>"], titles)
    check(report.NAMED_BELOW in page and report.FITS_NOWHERE not in page, "it says another thing")


def test_words_of_operations():
    for pair, want in (
            (op(0, "cas", "k", ["1", "2"], 0, 1, "fail", mismatch=True, seen=None),
             "cas k 1 → 2 ✗ saw absent"),
            (op(0, "cas", "k", ["1", "2"], 0, 1, "fail", mismatch=True),
             "cas k 1 → 2 ✗ condition not met"),
            (op(0, "write", "k", "5", 0, 1, "info"), "write k 5 ? not known"),
            (op(0, "write", "k", "5", 0, 1, "fail"), "write k 5 ✗ not done"),
            (op(0, "read", "k", None, 0, 1), "read k absent"),
            (op_ttl(0, "write", "k", "5", 0, 1, 3), "write k 5 for 3 s"),
            (op(0, "read", "k", "5", 0, 1, left_ms=1500), "read k 5 (1.5 s left)"),
            (op(0, "delete", "k", None, 0, 1), "delete k")):
        got = report.describe(*pair)
        check(got == want, got, "is not", want)


def test_picture_of_a_cycle():
    """A box for every transaction of it, and an arrow for every edge."""
    for plant, edges in (("G2", 2), ("G1c", 2), ("G-single-realtime", 2)):
        with tempfile.TemporaryDirectory(prefix="holdfast-report-") as folder:
            said, page = judged(folder, "append", made("append", "--ops", "300", "--plant", plant))
        picture = pictures(page)[0]
        arrows = [p for p in picture.iter(f"{SVG}path") if p.get("marker-end")]
        boxes = [r for r in picture.iter(f"{SVG}rect") if r.get("rx") == "6"]
        check(len(arrows) >= edges and len(arrows) == len(boxes), plant, len(arrows), len(boxes))
        first = report.EDGE.search(said)
        texts = " ".join("".join(t.itertext()) for t in picture.iter(f"{SVG}text"))
        check(f"line {first.group(1)}," in texts and f"line {first.group(3)}," in texts, texts)


def test_recovery():
    """Ten operations a second, none from 2 to 5 s; a fault from 2 to 4 s."""
    times = [t / 10 for t in range(100) if not 20 <= t < 50]
    events = [e for t in times for e in op(0, "write", "k", "1", t, t + 0.01)]
    result = {"measured_s": 10,
              "timeline": [{"kind": "kill", "text": "kill n1", "begin": 2, "end": 4}]}
    figures = report.figures(events, result)
    want = {"kind": "kill", "text": "kill n1", "silence_s": 2, "first_success_s": 1.01,
            "full_rate_s": 1.01}
    check(figures["recovery"] == [want], figures["recovery"])
    early = report.recovery({"kind": "kill", "begin": 2, "end": 4.4}, [4.9], [0] * 8 + [0, 9, 9, 0],
                            10)  # what was waiting comes at once: not before the first of it
    check((early["first_success_s"], early["full_rate_s"]) == (0.5, 0.5), early)
    check(figures["unavailable_share"] == 0.3, figures["unavailable_share"])
    check(figures["rate_without_faults"] == 10, figures["rate_without_faults"])
    check(figures["by_kind"] == {"write": {"operations": 70, "answered": 70}}, figures["by_kind"])
    check(figures["operations"] == figures["ok"] == 70 and figures["ok_share"] == 1, figures)


def test_overlapping_faults():
    """Faults of one kind that are on together stand side by side, in as few lanes as that takes."""
    faults = [{"kind": "clock", "begin": b, "end": e} for b, e in ((1, 9), (2, 4), (3, 5), (4, 6))]
    placed, lanes = report.in_lanes(faults)
    check([lane for _, lane in placed] == [0, 1, 2, 1] and lanes == 3, placed, lanes)
    check(report.in_lanes([]) == ([], 1), "no faults")
    drawn = ElementTree.fromstring(report.timeline_plot(faults, {"clock": "#123456"}, [], 10))
    bars = [r for r in drawn.iter(f"{SVG}rect") if r.get("fill") == "#123456"]
    spans = [(float(r.get("y")), float(r.get("y")) + float(r.get("height"))) for r in bars]
    check(len({s for s in spans}) == 3 and len(bars) == 4, spans)
    check(spans[0][1] < spans[1][0] and spans[1][1] < spans[2][0], spans)


def test_one_clock():
    """Ends of nodes and faults count their seconds from the same moment, however long the
    birth of the cluster took."""
    run = run_.Run.__new__(run_.Run)
    run.control = types.SimpleNamespace(began=time.monotonic(), set_up=lambda: None,
                                        fetch_logs=lambda: None, tear_down=lambda: None)
    run.cluster = types.SimpleNamespace(birth=lambda: time.sleep(0.3))
    run.result, run.is_over = {}, types.SimpleNamespace(set=lambda: None)
    run.faults_over, run.nemesis, run.say = run.is_over, None, print
    run.failures = []
    run.work = run.end_workers = run.stop_nodes = run.conclude = lambda: None
    run.perform()
    check(not run.failures, run.failures)
    check(abs(run.control.began - run.zero_ns / 1e9) < 1e-6, run.control.began, run.zero_ns)


def lists(keys, seen, **more):
    """A read of lists, and its answer."""
    asked = workloads.Op({"f": "txn", "value": [["r", k, None] for k in keys]},
                         {"f": "reads", "value": list(keys)})
    return asked, {"type": "ok", "value": list(zip(keys, seen)), **more}


def appends(keys):
    """The first element of each list, and the answer."""
    asked = workloads.Op({"f": "txn", "value": [m for k in keys
                                                for m in (["r", k, None], ["append", k, 1])]},
                         {"f": "changes", "value": [["append", k, "1 "] for k in keys]})
    return asked, {"type": "ok", "value": [None for _ in keys], "version": 7}


def told(*done):
    """The history of (process, operation and answer, begin, end), and its workload."""
    owner = types.SimpleNamespace(options=types.SimpleNamespace(seed=1), zero_ns=0,
                                  workload=workloads.Append(None), history=history.History())
    for process, (asked, answer), begin, end in done:
        worker = clients.Worker(owner, process, "library")
        answer = {**answer, "t0": begin, "t1": end}
        worker.record(owner.workload.record(asked, answer), answer)
    return owner.history.events, owner.workload


def test_reads_over_several_ranges():
    """Of a range with the list a, whose leader comes back first, and one with b and c: an
    append to a has ended before c is read without the element that is appended to b and c, and
    a read of a and b sees the second append, not the first. At one moment that cannot be; a
    read over two ranges promises a moment of each. Each must still be a moment of the read."""
    def events(**more):
        return told((0, appends("a"), 0, 50), (1, appends("bc"), 0, 70),
                    (2, lists("ab", (None, "1 "), **more), 40, 80), (3, lists("c", [None]), 60, 65),
                    *((4 + i, lists(k, ["1 "]), 90, 95) for i, k in enumerate("abc")))
    check_names("append", events(version=9)[0], {"G2-realtime"})
    found, workload = events(parted=True)
    check_names("append", found, None)
    check([e["value"] for e in found if e["time"] == 80] == [[["r", "a", []]], [["r", "b", [1]]]],
          found)
    check(workload.void() is not None and events(version=9)[1].void() is None, "void")
    for seen, want in ((("1 ", "1 "), None), ((None, "1 "), {"G-single-realtime"}),
                       (("1 ", None), {"G-single-realtime"}), (("1 ", "2 "), {"from-nowhere"})):
        late = told((0, appends("ab"), 0, 50), (2, lists("ab", seen, parted=True), 60, 80),
                    *((4 + i, lists(k, ["1 "]), 90, 95) for i, k in enumerate("ab")))
        check_names("append", late[0], want)


def test_accounts_in_several_ranges():
    """Their sum proves nothing then: the run is void."""
    bank = workloads.Bank(None)
    answer = {"type": "ok", "value": [[a, "100"] for a in bank.accounts()]}
    done = bank.complete(bank.read(), {**answer, "version": 5})
    check(done["value"] == [[a, 100] for a in bank.accounts()], done)
    try:
        bank.complete(bank.read(), {**answer, "parted": True})
    except RuntimeError as error:
        check("several ranges" in str(error), error)
    else:
        check(False, "a read of several moments was taken")


if __name__ == "__main__":
    main(test_edn, test_edn_of_a_history, test_names_of_anomalies, test_picture_of_a_stale_read,
         test_picture_of_lost_elements, test_words_of_operations, test_picture_of_a_cycle,
         test_recovery, test_overlapping_faults, test_one_clock, test_reads_over_several_ranges,
         test_accounts_in_several_ranges)
