# SPDX-License-Identifier: Apache-2.0
"""Reading C for the style tests: which files there are, their text without
comments and strings, their functions and prototypes.

This is no C parser. It leans on the layout that clang-format enforces (a
function's braces stand alone in column 0), which layout.py checks first.
"""
import os
import re

FOLDERS = ("include", "src", "tools", "tests", "jepsen")


class Problem(Exception):
    """The tree cannot be judged at all."""


def files(root, folders=FOLDERS, suffixes=(".c", ".h")):
    """Paths relative to root, in order."""
    found = []
    for folder in folders:
        for base, dirs, names in os.walk(os.path.join(root, folder)):
            dirs[:] = sorted(d for d in dirs if not d.startswith(".") and d != "__pycache__")
            for name in sorted(names):
                if name.endswith(suffixes):
                    found.append(os.path.relpath(os.path.join(base, name), root))
    return found


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


TOKEN = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL
)


def blank(text, keep_strings=False):
    """The same text with comments (and strings) turned into blanks, line by line."""

    def wipe(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token if keep_strings else token[0] + " " * (len(token) - 2) + token[0]
        return re.sub(r"[^\n]", " ", token)

    return TOKEN.sub(wipe, text)


def includes(text):
    """(line number, what stands between the quotes or brackets, is it a system one)"""
    out = []
    for number, line in enumerate(blank(text, keep_strings=True).split("\n"), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            out.append((number, match.group(2), match.group(1) == "<"))
    return out


def functions(text):
    """(name, first line of the signature, number of lines to the closing brace)"""
    lines = blank(text).split("\n")
    out = []
    begin = None
    for i, line in enumerate(lines):
        if line == "{" and i > 0:
            begin = i
        elif line.startswith("}") and begin is not None:
            head = begin
            while head > 0 and lines[head - 1].strip() and not re.search(
                r"[;}]\s*$|^#", lines[head - 1]
            ):
                head -= 1
            signature = " ".join(lines[head:begin])
            name = re.search(r"(\w+)\s*\((?!\()", re.sub(r"__attribute__\s*\(\(.*?\)\)|PRINTF_LIKE\([^)]*\)", "", signature))
            if name and line == "}":
                out.append((name.group(1), head + 1, i - head + 1))
            begin = None
    return out


def prototypes(text):
    """(name, line, is it documented) of every function declared in a header.

    Documented: a comment on its own line, or one that ends right above the run of
    lines without a blank one that it stands in.
    """
    lines = text.split("\n")
    code = blank(text).split("\n")
    out = []
    depth = 0
    i = 0
    while i < len(lines):
        start = i
        begins = depth == 0 and re.match(r"[A-Za-z_][\w\s*]*\b\w+\s*\(", code[i])
        depth += code[i].count("{") - code[i].count("}")
        if begins and not re.match(r"\s*(typedef|static|#|return)\b", code[i]):
            statement = code[i]
            while i + 1 < len(lines) and not re.search(r"[;{]\s*$", statement):
                i += 1
                statement += " " + code[i].strip()
                depth += code[i].count("{") - code[i].count("}")
            if statement.rstrip().endswith(";"):
                name = re.search(r"(\w+)\s*\(", statement).group(1)
                if name != "_Static_assert":
                    out.append((name, start + 1, is_documented(lines, code, start, i)))
        i += 1
    return out


def is_documented(lines, code, first, last):
    for i in range(first, last + 1):
        if len(lines[i].rstrip()) > len(code[i].rstrip()):
            return True  # a trailing comment was blanked out
    i = first - 1
    while i >= 0 and lines[i].strip():
        if code[i].strip() == "":
            return True  # a line of comment in the same paragraph
        if code[i].lstrip().startswith("#"):
            return False
        i -= 1
    return False


def report(name, problems, judged):
    """Print and return the exit status of a check."""
    for problem in problems:
        print(problem)
    print(f"{name}: {judged} judged, {len(problems)} wrong")
    return 1 if problems or judged == 0 else 0
