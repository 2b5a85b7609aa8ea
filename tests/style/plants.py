#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Planted bugs (src/base/plant.h) stay where they belong.

    plants.py ROOT BUILD

The list and what the code asks for are the same set of names; who may know of a planted
build is named here; and nothing that an ordinary build made holds a trace of a bug.
"""
import os
import re
import subprocess
import sys

import source

LIST = "src/base/plant_list.h"
# The only files that may be different in a planted build, beside the macro itself.
KNOWING = ("src/base/plant.h", "src/env/uv/env_uv.c", "tests/sim/main.c", "tests/sim/ranges.c",
           "tests/consensus/main.c", "tests/model/placement_sim.c", "tests/model/engine_sim.c")
SYMBOLS = re.compile(r"\bplant_(is|choose|chosen|name|harness|text)\b")
SKIPPED = 77


def listed(root):
    return re.findall(r"\bX\((\w+),", source.blank(source.read(root, LIST)))


def check_names(root):
    problems, used, judged = [], set(), 0
    names = listed(root)
    for name in sorted({n for n in names if names.count(n) > 1}):
        problems.append(f"{LIST}: '{name}' stands there twice")
    for path in source.files(root):
        judged += 1
        text = source.blank(source.read(root, path))
        if "HOLDFAST_PLANTED" in text and path not in KNOWING:
            problems.append(f"{path}: HOLDFAST_PLANTED is known to {', '.join(KNOWING)} alone")
        if path == "src/base/plant.h":
            continue
        for name in re.findall(r"\bPLANTED\((\w+)\)", text):
            used.add(name)
            if name not in names:
                problems.append(f"{path}: no bug '{name}' in {LIST}")
    for name in sorted(set(names) - used):
        problems.append(f"{LIST}: nothing has the bug '{name}'")
    return problems, judged


def made(build):
    for folder in ("lib", "bin"):
        base = os.path.join(build, folder)
        for name in sorted(os.listdir(base)) if os.path.isdir(base) else ():
            if name.startswith(("libhf_", "libholdfast", "holdfast")):
                yield os.path.join(base, name)


def check_traces(root, build):
    problems, judged = [], 0
    names = listed(root)
    for path in made(build):
        judged += 1
        said = subprocess.run(["nm", path], capture_output=True, text=True, check=False).stdout
        match = SYMBOLS.search(said)
        if match:
            problems.append(f"{path}: holds {match.group(0)}()")
        with open(path, "rb") as f:
            data = f.read()
        for name in names:
            if b"\0" + name.encode() + b"\0" in data:
                problems.append(f"{path}: holds the name of the bug '{name}'")
    return problems, judged


def is_planted(build):
    with open(os.path.join(build, "CMakeCache.txt"), encoding="utf-8") as f:
        return re.search(r"^HOLDFAST_PLANTED:\w+=(ON|1|TRUE)$", f.read(), re.MULTILINE)


def check(root, build):
    problems, judged = check_names(root)
    traces, count = check_traces(root, build)
    return problems + traces, judged + count


if __name__ == "__main__":
    if is_planted(sys.argv[2]):
        print("plants: a planted build, where bugs belong")
        sys.exit(SKIPPED)
    sys.exit(source.report("plants", *check(sys.argv[1], sys.argv[2])))
