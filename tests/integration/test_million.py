#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The checkers of histories at full length: with an anomaly in the middle and without, each in
less than 60 s of processor time and 4 GiB. Five cases have 1,000,000 operations, the others
a tenth of it; HOLDFAST_OPERATIONS=1000000 gives it to all."""
import json
import os
import resource
import subprocess
import sys

from cluster import BIN, check, main

OPERATIONS = os.environ.get("HOLDFAST_OPERATIONS")
LONG = {("register", "stale"), ("set", "lost"), ("append", None), ("append", "G2"),
        ("append", "G-single-realtime")}
CPU_S, MEMORY = 60, 4 << 30

# model, anomaly (None: a valid history), what the checker must name
CASES = [
    ("register", None, "valid"), ("register", "stale", 'key "p" is not linearizable'),
    ("set", None, "valid"), ("set", "lost", "lost: element '1'"),
    ("counter", None, "valid"), ("counter", "lost", "of 'p'; it can be 1 to 1"),
    ("bank", None, "valid"), ("bank", "torn", "sums up to 599"),
    ("append", None, "valid"), ("append", "G0", "G0 (in 1 groups"), ("append", "G1a", "G1a"),
    ("append", "G1b", "G1b"), ("append", "G1c", "G1c (in 1 groups"),
    ("append", "G-single", "G-single (in 1 groups"), ("append", "G2", "G2 (in 1 groups"),
    ("append", "G0-realtime", "G0-realtime (in 1 groups"),
    ("append", "G-single-realtime", "G-single-realtime (in 1 groups"),
    ("append", "lost", "lost (no later read sees it): key 'p'"),
    ("session", None, "valid"), ("session", "twice", "twice: element"),
    ("session", "two results", "results differ in the version of the change"),
    ("scan", None, "valid"), ("scan", "torn", "torn: a group"),
    ("watch", None, "valid"), ("watch", "gap", "gap, it misses"),
    ("ttl", None, "valid"), ("ttl", "back", "came back: a value"), ("ttl", "early", "early: "),
]


# ---- histories that history-make does not make ----------------------------------------------


def operation(number, process, f, key, value, result, **more):
    """Both lines; one operation after another."""
    op = {"process": process, "f": f, "key": key}
    if "stamp" in more:
        op["stamp"] = more.pop("stamp")
    return (json.dumps({**op, "type": "invoke", "value": value, "time": 2 * number}) + "\n"
            + json.dumps({**op, "type": "ok", "value": result, "time": 2 * number + 1, **more})
            + "\n")


def sessions(count, plant):
    """Lists of 98 elements, each sent twice, and two reads of each list."""
    seen = []
    for n in range(count):
        number, step = divmod(n, 198)
        key, is_wrong = f"e{number}", number == count // 396
        if step < 196:
            element = n - n % 2
            other = plant == "two results" and is_wrong and step == 1
            seen = ([] if step == 0 else seen) + ([] if n % 2 else [element])
            yield operation(n, n % 2, "add", key, element, element, stamp=f"1/{element}",
                            change=element + 1 + other)
        else:
            twice = seen[:1] if plant == "twice" and is_wrong else []
            yield operation(n, 2, "read", key, None, seen + twice)


def scans(count, plant):
    """Sixteen groups of four, written in turn; each hundredth operation is a scan."""
    groups = {f"g{i:02}": (0, 0) for i in range(16)}
    for n in range(count):
        if n % 100 < 99:
            name = f"g{n % 16:02}"
            groups[name] = (n, n + 1)
            yield operation(n, 0, "write", name, [str(n), 4], [str(n), 4], version=n + 1)
        else:
            rows = [[f"{g}/{i}", str(value), version] for g, (value, version) in groups.items()
                    if version for i in range(4)]
            if plant and n // 100 == count // 200:
                rows[1][1] = "torn"
            yield operation(n, 1, "scan", "g", None, rows, version=n + 1)


def watches(count, plant):
    """Twelve keys, written in turn; each hundredth operation tells a watcher of the last 99."""
    events = []
    for n in range(count):
        if n % 100 < 99:
            key = f"k{n % 12:02}"
            events.append([key, str(n), n + 1])
            yield operation(n, 0, "write", key, str(n), str(n), version=n + 1)
        else:
            if plant and n // 100 == count // 200:
                del events[50]
            yield operation(n, 1, "watch", "w", None, events)
            events = []


def ttls(count, plant):
    """Every eight seconds a key is written for five, read twice while it is there, and once when it
    is gone; keys in turn."""
    for n in range(count):
        number, step = divmod(n, 4)
        at_ns = (number * 8000 + (0, 1000, 2000, 7500)[step]) * 10**6
        gone = {"back": (1,), "early": (1, 2)}.get(plant, ()) if number == count // 8 else ()
        is_there = step < 3 and step not in gone
        op = {"process": n % 8, "f": "read" if step else "write", "key": f"t{number % 5000}",
              **({} if step else {"ttl_ms": 5000})}
        done = {"left_ms": 5000 - 1000 * step} if step and is_there else {}
        yield (json.dumps({**op, "type": "invoke", "value": None if step else number,
                           "time": at_ns}) + "\n"
               + json.dumps({**op, "type": "ok", "value": number if is_there else None,
                             "time": at_ns + 1000, **done}) + "\n")


MADE_HERE = {"session": sessions, "scan": scans, "watch": watches, "ttl": ttls}


def make(model, count, plant):
    """The command that writes such a history."""
    if model in MADE_HERE:
        return [sys.executable, "-B", os.path.abspath(__file__), model, str(count), plant or ""]
    return [f"{BIN}/history-make", model, "--ops", str(count),
            *(["--plant", plant] if plant else [])]


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    if "build/debug" not in BIN:  # a sanitizer's shadow has no room in it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def judge(model, plant):
    count = OPERATIONS or ("1000000" if (model, plant) in LONG else "100000")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(make(model, count, plant), stdout=subprocess.PIPE) as maker:
        done = subprocess.run([f"{BIN}/history-check", model], stdin=maker.stdout,
                              capture_output=True, text=True, preexec_fn=limit, timeout=600,
                              check=False)
        maker.stdout.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime - before.ru_utime, after.ru_maxrss // 1024


def test_million():
    for model, plant, names in CASES:
        done, seconds, mib = judge(model, plant)
        print(f"   {model:9} {plant or 'no anomaly':18} {seconds:5.1f} s of CPU with its making, "
              f"{mib} MiB at most so far", flush=True)
        check(done.returncode == (1 if plant else 0), model, plant, "exit", done.returncode,
              done.stdout[-2000:], done.stderr[-500:])
        check(names in done.stdout, model, plant, "is not named:", done.stdout[-2000:])


if __name__ == "__main__":
    if len(sys.argv) == 4:
        sys.stdout.writelines(MADE_HERE[sys.argv[1]](int(sys.argv[2]), sys.argv[3]))
        sys.exit(0)
    main(test_million)
