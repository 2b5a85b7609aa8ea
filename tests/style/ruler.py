#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A ruler that only tightens: sizes of functions and files, documented
prototypes, licence lines.

    ruler.py ROOT [--figures]

When the code has become better than a limit, lower the limit; never raise one.
"""
import re
import sys

import source

LINES_MAX = 1000  # of a file
COLUMNS_MAX = 100
FUNCTION_MAX = 70  # lines, signature and braces included
FUNCTION_P90 = 45
DOCUMENTED_MIN = 95  # percent of the prototypes that other rooms see

# Functions that may be longer, up to the number here, with the reason. An entry
# that is not needed any more is an error.
LONGER = {
    # ("src/room/file.c", "function"): (80, "one flat switch over all messages"),
}


def percentile(values, percent):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0


def check_functions(path, text, lengths, used):
    problems = []
    for name, line, length in source.functions(text):
        lengths.append(length)
        limit = FUNCTION_MAX
        if (path, name) in LONGER and length > FUNCTION_MAX:
            limit = LONGER[(path, name)][0]
            used.add((path, name))
        if length > limit:
            problems.append(f"{path}:{line}: {name}() has {length} lines, limit {limit}")
    return problems


def check_lines(path, text):
    problems = []
    lines = text.split("\n")
    if len(lines) - 1 > LINES_MAX:
        problems.append(f"{path}: {len(lines) - 1} lines, limit {LINES_MAX}")
    if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines[:3]):
        problems.append(f"{path}:1: no SPDX line")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            problems.append(f"{path}:{number}: {len(line)} columns, limit {COLUMNS_MAX}")
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            problems.append(f"{path}:{number}: finish it or file it, but leave no marker")
    return problems


def check_guard(path, text):
    """Headers: FOLDER_FILE_H_ after the path below src."""
    if not path.endswith(".h") or not path.startswith("src/"):
        return []
    want = re.sub(r"[^A-Z0-9]", "_", path[len("src/"):].upper()) + "_"
    if f"#ifndef {want}\n#define {want}\n" not in text:
        return [f"{path}: the include guard must be {want}"]
    return []


def check(root, figures=False):
    problems = []
    lengths = []
    used = set()
    documented = []
    bare = []
    paths = source.files(root)
    for path in paths:
        text = source.read(root, path)
        problems += check_lines(path, text)
        problems += check_guard(path, text)
        problems += check_functions(path, text, lengths, used)
        is_public = path.endswith(".h") and not path.endswith("_internal.h")
        if is_public and path.startswith(("src/", "include/")):
            for name, line, is_documented in source.prototypes(text):
                documented.append(is_documented)
                if not is_documented:
                    bare.append(f"{path}:{line}: {name}() has no sentence")
    for key in sorted(set(LONGER) - used):
        problems.append(f"{key[0]}: {key[1]}() needs no exception any more: remove it")
    p90 = percentile(lengths, 90)
    if p90 > FUNCTION_P90:
        problems.append(f"functions: 90th percentile {p90} lines, limit {FUNCTION_P90}")
    share = 100 * sum(documented) / len(documented) if documented else 100
    if share < DOCUMENTED_MIN:
        problems += bare
        problems.append(f"prototypes: {share:.1f} % documented, limit {DOCUMENTED_MIN} %")
    if figures:
        print(f"functions {len(lengths)}, median {percentile(lengths, 50)}, p90 {p90}, "
              f"longest {max(lengths, default=0)}; prototypes {len(documented)}, "
              f"documented {share:.1f} %")
    return problems, len(paths)


if __name__ == "__main__":
    sys.exit(source.report("ruler", *check(sys.argv[1], figures=True)))
