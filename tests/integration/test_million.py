#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The checkers of histories at full length: with an anomaly in the middle and without, each in
less than 60 s of processor time and 4 GiB. Five cases have 1,000,000 operations, the others
a tenth of it; HOLDFAST_OPERATIONS=1000000 gives it to all."""
import os
import resource
import subprocess

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
]


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    if "build/debug" not in BIN:  # a sanitizer's shadow has no room in it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def judge(model, plant):
    count = OPERATIONS or ("1000000" if (model, plant) in LONG else "100000")
    make = [f"{BIN}/history-make", model, "--ops", count]
    if plant:
        make += ["--plant", plant]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(make, stdout=subprocess.PIPE) as maker:
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
    main(test_million)
