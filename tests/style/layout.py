#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every C file is laid out as .clang-format says.

    layout.py ROOT

Releases of clang-format disagree in corners, so only the one of Debian 12 (14)
judges; elsewhere, or without it, the check is skipped (exit status 77).
"""
import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess
import sys

import source

SKIPPED = 77
MAJOR = 14
AT_ONCE = 8


def find_tool():
    for name in (f"clang-format-{MAJOR}", "clang-format"):
        tool = shutil.which(name)
        if tool is None:
            continue
        text = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
        match = re.search(r"version (\d+)", text)
        if match and int(match.group(1)) == MAJOR:
            return tool
    return None


def digest_of(root, path, style):
    """Of all that the judgement depends on."""
    with open(os.path.join(root, path), "rb") as file:
        return hashlib.sha256(style + path.encode() + b"\0" + file.read()).hexdigest()


def read_good(path):
    """Digests of files that were found right before."""
    try:
        with open(path, encoding="ascii") as file:
            return set(file.read().split())
    except OSError:
        return set()


def write_good(path, digests):
    """Only a help for the next run: no folder, no file."""
    if os.path.isdir(os.path.dirname(path)):
        with open(f"{path}.{os.getpid()}", "w", encoding="ascii") as file:
            file.write("\n".join(sorted(digests)) + "\n")
        os.replace(file.name, path)


def find_wrong(root, tool, paths):
    style = f"--style=file:{os.path.join(root, '.clang-format')}"
    command = [tool, style, "--dry-run"]

    def say(some):
        files = [os.path.join(root, path) for path in some]
        if not files:
            return ""
        return subprocess.run(command + files, capture_output=True, text=True, check=True).stderr

    # clang-format works on one file after the other: several of it side by side.
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        said = "\n".join(pool.map(say, [paths[i::AT_ONCE] for i in range(AT_ONCE)]))
    return {os.path.relpath(line.split(":")[0], root)
            for line in said.split("\n") if "[-Wclang-format-violations]" in line}


def check(root, tool):
    paths = source.files(root)
    good_path = os.path.join(root, "build", "layout.good")
    with open(os.path.join(root, ".clang-format"), "rb") as file:
        style = f"{MAJOR}".encode() + file.read()
    digests = {path: digest_of(root, path, style) for path in paths}
    good = read_good(good_path)
    wrong = find_wrong(root, tool, [path for path in paths if digests[path] not in good])
    write_good(good_path, {digests[path] for path in paths if path not in wrong})
    problems = [f"{path}: not as .clang-format says; run: clang-format -i {path}"
                for path in sorted(wrong)]
    return problems, len(paths)


if __name__ == "__main__":
    TOOL = find_tool()
    if TOOL is None:
        print(f"layout: clang-format {MAJOR} is not here, nothing judged")
        sys.exit(SKIPPED)
    sys.exit(source.report("layout", *check(sys.argv[1], TOOL)))
