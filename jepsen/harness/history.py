# SPDX-License-Identifier: Apache-2.0
"""What clients did and saw, as it is recorded, written and judged."""
import json
import os
import re
import subprocess
import threading


class History:
    """Operations with their completions, in the order of time once it is written."""

    def __init__(self):
        self.events = []
        self.lock = threading.Lock()

    def add(self, op, process, began, ended, completion, told=None):
        """One operation: `op` has f, key, value; `completion` at least its type; `told` is more of
        its invocation: when it was "asked", if it is judged as if that had been at `began`."""
        invoke = {"process": process, "type": "invoke", **op, **(told or {}), "time": began}
        complete = {"process": process, **{**op, **completion}, "time": ended}
        with self.lock:
            self.events.append(invoke)
            self.events.append(complete)

    def sorted(self):
        return sorted(self.events, key=lambda e: e["time"])

    def write(self, folder):
        events = self.sorted()
        with open(os.path.join(folder, "history.jsonl"), "w", encoding="utf-8") as f:
            for event in events:
                f.write(json.dumps(event, separators=(",", ":"), ensure_ascii=False) + "\n")
        with open(os.path.join(folder, "history.edn"), "w", encoding="utf-8") as f:
            for index, event in enumerate(events):
                f.write(edn_event(index, event) + "\n")
        return events


# ---- EDN, as Knossos and Elle read it ---------------------------------------------------


def edn(value):
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(edn(v) for v in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def edn_value(event):
    """Transactions as Elle has them, [:append k v] and [:r k [v …]]; registers and the
    like with their key, [k v], as jepsen.independent does."""
    value = event.get("value")
    if event["f"] == "txn" and value is not None:
        return "[" + " ".join(f"[:{m[0]} {edn(m[1])} {edn(m[2])}]" for m in value) + "]"
    return f"[{edn(event['key'])} {edn(value)}]" if "key" in event else edn(value)


def edn_event(index, event):
    parts = [f":index {index}", f":process {event['process']}", f":type :{event['type']}",
             f":f :{event['f']}", f":value {edn_value(event)}", f":time {event['time']}"]
    if "version" in event:
        parts.append(f":version {event['version']}")
    parts += [f":{name.replace('_', '-')} {event[name]}" for name in ("ttl_ms", "left_ms")
              if name in event]
    if "stamp" in event:
        parts.append(f":stamp {edn(event['stamp'])}")
    if "error" in event:
        parts.append(f":error :{event['error'].lower().replace('_', '-')}")
    return "{" + ", ".join(parts) + "}"


# ---- judgement ------------------------------------------------------------------------------

NOT_LINEARIZABLE = {"not-linearizable": r" is not linearizable;"}
SETS = {"lost": "^lost: ", "stale": "^stale: ", "from-nowhere": "^from nowhere: ",
        "twice": "^twice: "}
CYCLES = {name: rf"^{name} \(in " for kind in ("G0", "G1c", "G-single", "G2")
          for name in (kind, f"{kind}-realtime")}

# model: {anomaly: how a line about it looks in what the checker says}
ANOMALIES = {
    "register": NOT_LINEARIZABLE,
    "plain-register": NOT_LINEARIZABLE,
    "strict-set": SETS,
    "counter": {"out-of-bounds": "; it can be -?[0-9]+ to "},
    "append": {**CYCLES, "G1a": r"^G1a \(", "G1b": r"^G1b \(", "lost": r"^lost \(",
               "from-nowhere": "^from nowhere: ", "internal": "^internal: ",
               "duplicate": "^duplicate: ", "incompatible-order": "^incompatible order: "},
    "bank": {"wrong-sum": "^a read sums up to ", "negative": "^a negative balance ",
             "missing-account": "^(an account is gone|not every account once): "},
    "session": {**SETS, **NOT_LINEARIZABLE, "two-results": "^results differ in "},
    "ttl": {**NOT_LINEARIZABLE, "early": "^early: ", "late": "^late: ",
            "came-back": "^came back: ", "left": "^left: "},
    "scan": {"torn": "^torn: ", "lost": "^lost: ", "order": "^not in order: ",
             "too-new": "^newer than the scan's moment: ",
             "missed-write": "^the scan's moment is after a write ", **NOT_LINEARIZABLE},
    "watch": {"gap": "^gap, it misses: ", "repeat": "^repeat: ", "order": "^order: ",
              "from-nowhere": "^from nowhere: ", "two-values": "^one version with two values: "},
}


def anomalies(model, said):
    """The names of those that the checker found."""
    return [name for name, line in ANOMALIES[model].items()
            if re.search(line, said, re.MULTILINE)]


WORDS = {0: "valid", 1: "invalid", 2: "unknown"}


def judge(program, model, path, seconds=600, options=()):
    """(verdict, what the checker said)"""
    try:
        done = subprocess.run([program, model, *options, path], capture_output=True, text=True,
                              timeout=seconds, check=False, errors="replace")
    except subprocess.TimeoutExpired:
        return "unknown", f"the checker did not end within {seconds} s"
    verdict = WORDS.get(done.returncode, "unknown")
    said = done.stdout + done.stderr
    if done.returncode not in WORDS:
        said += f"the checker ended with status {done.returncode}\n"
    return verdict, said
