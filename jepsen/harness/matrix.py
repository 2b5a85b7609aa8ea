# SPDX-License-Identifier: Apache-2.0
"""Many runs in a row: the matrix, a suite, seeds; and a page about all of them."""
import html
import json
import os
import random
import re
import shlex
import time

from . import nemesis, report, workloads


def strip(argv, names):
    """argv without these flags and their values."""
    out, skip = [], False
    for word in argv:
        if skip:
            skip = False
        elif word in names:
            skip = True
        elif not any(word.startswith(n + "=") for n in names):
            out.append(word)
    return out


def given(argv, name):
    return any(word == name or word.startswith(name + "=") for word in argv)


def seeds_of(parser, argv, label):
    """The run of this label, as often as its --test-count says."""
    options = parser.parse_args(argv)
    if options.test_count <= 1:
        return [(argv, label)]
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    rest = strip(argv, ("--seed", "--test-count"))
    return [([*rest, "--seed", str(first + i)], f"{label}seed-{first + i}")
            for i in range(options.test_count)]


def suite(path, rest):
    """(argv, label) of each line; raises ValueError for one that is no run."""
    found = []
    with open(path, encoding="utf-8") as f:
        for number, text in enumerate(f, 1):
            line = shlex.split(text, comments=True)
            if {"--suite", "--all"} & {word.split("=")[0] for word in line}:
                raise ValueError(f"{path}, line {number}: a line is a run, not many")
            if line:
                words = "-".join(w.lstrip("-") for w in line)[:80]
                found.append(([*strip(line, ("--out",)), *rest],
                              f"{len(found) + 1:02}-" + re.sub(r"[^\w.,-]", "-", words) + "-"))
    return found


def runs_of(parser, options, argv):
    """(argv, label) of each run; None: there is one."""
    if options.suite:
        base = suite(options.suite, strip(argv, ("--suite", "--out")))
    elif options.all:
        rest = [w for w in strip(argv, ("--workload", "--nemesis", "--out")) if w != "--all"]
        rows = [options.workload] if given(argv, "--workload") else workloads.ALL
        columns = [*nemesis.KINDS, "all"]
        if given(argv, "--nemesis"):
            columns = options.nemesis.split(",")
        base = [(["--workload", w, "--nemesis", k, *rest], f"{w}-{k}-")
                for w in rows for k in columns]
    elif options.test_count > 1:
        base = [(strip(argv, ("--out",)), "")]
    else:
        return None
    many = [run for argv_, label in base for run in seeds_of(parser, argv_, label)]
    return [(argv_, label.rstrip("-")) for argv_, label in many]


def duration(seconds):
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def show(parser, runs):
    """What several() would do."""
    for argv, _ in runs:
        print(shlex.join(["jepsen/run", *argv]))
    faults = sum(parser.parse_args(argv).time for argv, _ in runs)
    plural = "s" if len(runs) > 1 else ""
    print(f"{len(runs)} run{plural} with {duration(faults)} of faults; birth, checks and end of "
          "each come to it")
    return 0


def several(single, runs, folder):
    """All of them, by single(argv, folder) -> (exit status, line about it, result or None); the
    worst status: invalid before void. Unsupported ones do not count."""
    rows = []
    os.makedirs(folder, exist_ok=True)
    for argv, label in runs:
        print(f"== {shlex.join(argv)}", flush=True)
        began = time.monotonic()
        status, text, result = single(argv, os.path.join(folder, label))
        print(text, flush=True)
        if text.startswith("unsupported: "):
            status = None
        rows.append({"command": shlex.join(["jepsen/run", *argv]), "label": label,
                     "status": status, "said": text.split("\n")[0], "result": result,
                     "took_s": round(time.monotonic() - began)})
        write(folder, rows, len(runs))
    print(f"{counted(rows)}\n{folder}/index.html")
    statuses = [row["status"] for row in rows if row["status"] is not None]
    return 1 if 1 in statuses else 2 if 2 in statuses or not statuses else 0


def counted(rows):
    count = {s: sum(row["status"] == s for row in rows) for s in (0, 1, 2, None)}
    return (f"{count[0]} as they must be, {count[1]} not, {count[2]} void or unknown, "
            f"{count[None]} unsupported")


# ---- the page ---------------------------------------------------------------------------

COLOURS = {0: "valid", 1: "invalid", 2: "void", None: "void"}
WORDS = {0: "as it must be", 1: "not as it must be", 2: "void or unknown", None: "unsupported"}


def row_of(row):
    result = row["result"]
    cells = [f'<td><span class="verdict {COLOURS[row["status"]]}">{WORDS[row["status"]]}</span>'
             "</td>"]
    command = f"<code>{html.escape(row['command'])}</code>"
    if result is None:
        return "".join([*cells, f"<td>{command}</td><td colspan=6>{html.escape(row['said'])}</td>"])
    f = result["figures"]
    link = html.escape(f"{row['label']}/report.html")
    for cell in (f"{f['operations']:,}", f"{f['ok_share']:.1%}", len(result["timeline"]),
                 f"{f['unavailable_share']:.1%}", f"{row['took_s']} s",
                 f"{result['verdict']}: {result['why']}"):
        cells.append(f"<td>{html.escape(str(cell))}</td>")
    cells.insert(1, f'<td><a href="{link}">{command}</a></td>')
    return "".join(cells)


def write(folder, rows, count):
    """index.html and results.json, about the runs so far."""
    head = ("", "run", "operations", "answered", "faults", "without an answer", "took", "verdict")
    page = (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{len(rows)} of {count} '
            f"runs</title><style>{report.STYLE}.verdict{{padding:2px 8px;font-size:13px;"
            "white-space:nowrap}body{max-width:1500px}</style>"
            f"<h1>{len(rows)} of {count} runs</h1><p>{counted(rows)}</p><table><tr>"
            + "".join(f"<th>{h}</th>" for h in head) + "</tr>\n"
            + "\n".join(f"<tr>{row_of(row)}</tr>" for row in rows) + "</table></html>\n")
    with open(os.path.join(folder, "index.html"), "w", encoding="utf-8") as f:
        f.write(page)
    short = [{**row, "result": row["result"] and {
        k: row["result"][k] for k in ("verdict", "why", "causes", "seed", "workload", "nemesis")}}
             for row in rows]
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as f:
        json.dump(short, f, indent=1)
