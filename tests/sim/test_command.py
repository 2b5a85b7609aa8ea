#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What scripts rely on: the output of holdfast-sim, its exit status, that it can be stopped and
goes on, and that nothing but the seed decides a run."""
import os
import re
import subprocess
import sys
import tempfile

SIM = sys.argv[1]
SMALL = ["--seconds", "3"]


def run(*args, want=0, env=None, prefix=()):
    full = dict(os.environ, **(env or {}))
    done = subprocess.run([*prefix, SIM, *args], capture_output=True, text=True, env=full)
    if done.returncode != want:
        sys.exit(f"{args}: status {done.returncode}, want {want}\n{done.stdout}{done.stderr}")
    return done.stdout, done.stderr


def hashes(out):
    return dict(re.findall(r"^seed (\d+) hash ([0-9a-f]{16}) ", out, re.M))


def last(out):
    return out.rstrip("\n").splitlines()[-1]


def must(condition, text):
    if not condition:
        sys.exit(text)


def test_usage():
    out, _ = run("--help")
    must("--shrink" in out and "register" in out, "--help does not tell")
    for bad in (["--seeds", "5..1"], ["--seed", "x"], ["--nodes", "10"], ["--faults", "kill,"],
                ["--faults", "wind"], ["--workload", "?"], ["--minutes", "0"], ["--what"],
                ["--seed"], ["--seeds", "1..2", "--shrink"]):
        _, err = run(*bad, want=2)
        must("holdfast-sim:" in err, f"{bad}: says nothing")


def test_nothing_leaks(folder):
    """One, two processes; another heap, environment and address layout: the same runs."""
    first, _ = run("--seeds", "1..4", *SMALL, "--jobs", "1")
    must(last(first) == "4 passed, 0 failed", last(first))
    want = hashes(first)
    must(len(want) == 4, "four lines with a hash")
    others = [run("--seeds", "1..4", *SMALL, "--jobs", "2"),
              run("--seeds", "1..4", *SMALL, "--jobs", "2",
                  env={"MALLOC_PERTURB_": "165", "LONG": "x" * 5000, "TZ": "Asia/Tokyo"})]
    for out, _ in others:
        must(hashes(out) == want, f"other hashes:\n{first}{out}")
    one, _ = run("--seed", "2", *SMALL, "--trace", f"{folder}/a")
    two, _ = run("--seed", "2", *SMALL, "--trace", f"{folder}/b", env={"MALLOC_PERTURB_": "90"})
    must(hashes(one) == hashes(two) == {"2": want["2"]}, "a trace changes the run")
    a = open(f"{folder}/a", "rb").read()
    must(a and a == open(f"{folder}/b", "rb").read(), "two traces differ")


def test_state(folder):
    """Half of it, then all of it: only the rest is run, and the sums are of both."""
    path = f"{folder}/state"
    whole, _ = run("--seeds", "1..4", *SMALL)
    cut = path + ".cut"
    run("--seeds", "1..4", *SMALL, "--state", path)
    text = open(path).read()
    with open(cut, "w") as f: # as it stood when seeds 3 and 4 were still to come
        f.write(re.sub(r"done 1\.\.4", "done 1..2", text))
    rest, _ = run("--seeds", "1..4", *SMALL, "--state", cut)
    must(sorted(hashes(rest)) == ["3", "4"], f"not the rest:\n{rest}")
    must({k: v for k, v in hashes(whole).items() if k in "34"} == hashes(rest), "other hashes")
    again, _ = run("--seeds", "1..4", *SMALL, "--state", path)
    must(hashes(again) == {} and last(again) == "4 passed, 0 failed", again)
    _, err = run("--seeds", "1..4", "--seconds", "4", "--state", path, want=2)
    must("other arguments" in err, err)
    with open(path, "w") as f:
        f.write(text[: len(text) // 2])
    run("--seeds", "1..4", *SMALL, "--state", path, want=2)


def test_choice():
    out, _ = run("--seeds", "1..2", *SMALL, "--nodes", "5", "--workload", "ttl", "--faults", "none")
    must(out.count(" nodes 5 ttl ") == 2 and " crashes 0 " in out, out)


with tempfile.TemporaryDirectory() as tmp:
    test_usage()
    test_nothing_leaks(tmp)
    test_state(tmp)
    test_choice()
