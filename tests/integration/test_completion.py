#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What bash, zsh and fish complete: the scripts against --help, and in the shells themselves,
as far as they are on this machine."""
import contextlib
import functools
import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time

from cluster import BIN, check, main

HOLDFAST = os.path.abspath(f"{BIN}/holdfast")


@contextlib.contextmanager
def scratch():
    folder = tempfile.mkdtemp(prefix="holdfast-completion-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def has(shell):
    found = shutil.which(shell) is not None
    if not found:
        print(f"  skipped: there is no {shell} on this machine")
    return found


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == 0 and done.stderr == "", words, done.stderr)
    return done.stdout


# ---- the scripts ---------------------------------------------------------------------------


@functools.cache
def tables():
    """{path: what stands there}, from what --help says: commands, or flags with their letters."""
    found = {}
    left = [""]
    while left:
        path = left.pop()
        text = run(HOLDFAST, *path.split(), "--help")
        flags = re.search(r"^flags:\n(.*?)\n\n", text, re.M | re.S)
        if flags:
            found[path] = re.findall(r"^ *(?:-(\w), )?--([\w-]+)(?: (\S+))?  ", flags[1], re.M)
            continue
        commands = re.search(r"^commands:\n(.*?)(?:\n\n|\Z)", text, re.M | re.S)[1]
        found[path] = re.findall(r"^  ([\w-]+)  ", commands, re.M)
        left += [f"{path} {name}".strip() for name in found[path]]
    return found


def words_of(there):
    return [word if isinstance(word, str) else f"--{word[1]}" for word in there]


def test_bash_script():
    text = run(HOLDFAST, "completion", "bash")
    known = {path: words.split() for path, words in re.findall(r"^ +\['(.*)'\]='(.*)'$", text, re.M)}
    wanted = {path or "holdfast": words_of(there) for path, there in tables().items()}
    check(known == wanted, known, "want", wanted)


def test_zsh_script():
    text = run(HOLDFAST, "completion", "zsh")
    check(text.startswith("#compdef holdfast\n"), "found by compinit")
    known, takes = text.split("    takes=(")
    lines = {path: [line.split(":")[0] for line in words.split("\n")]
             for path, words in re.findall(r"^ +'([^']+)' '((?:[^']|'\\'')*)'$", known, re.M)}
    wanted = {path or "holdfast": words_of(there) for path, there in tables().items()}
    check(lines == wanted, lines, "want", wanted)
    rows = set(re.findall(r"^ +'([^']+) (--?[\w-]+)' '(\S+)'$", takes, re.M))
    values = set()
    for path, there in tables().items():
        for letter, name, value in (flag for flag in there if not isinstance(flag, str) and flag[2]):
            values.add((path, f"--{name}", value))
            if letter:
                values.add((path, f"-{letter}", value))
    check(rows == values, rows ^ values)


def test_fish_script():
    text = run(HOLDFAST, "completion", "fish")
    check(sorted(re.findall(r"^set -a __holdfast_paths '(.*)'$", text, re.M)) ==
          sorted(path for path in tables() if path), "all paths")
    seen = {}
    for path, rest in re.findall(r"""^complete -c holdfast -n '__holdfast_at "(.*)"' (.*)$""", text,
                                 re.M):
        check(re.search(r" -d '([^'\\]|\\.)+'$", rest), rest)
        command = re.match(r"-f -a ([\w-]+) ", rest)
        flag = re.match(r"-l ([\w-]+)(?: -s (\w))?( -[xr])?", rest)
        seen.setdefault(path, []).append(
            command[1] if command else (flag[2] or "", flag[1], bool(flag[3])))
    wanted = {path: [f if isinstance(f, str) else (f[0], f[1], f[2] != "") for f in there]
              for path, there in tables().items()}
    check(seen == wanted, seen, "want", wanted)


def test_an_unknown_shell():
    done = subprocess.run([HOLDFAST, "completion", "csh"], capture_output=True, text=True,
                          timeout=60, check=False)
    check(done.returncode == 2 and "bash, zsh and fish" in done.stderr, done.stderr)


# ---- the shells ----------------------------------------------------------------------------

ROWS = (
    (("ge",), ["get", "get-and-set"]),
    (("get-",), ["get-and-set"]),
    (("range", "li"), ["list"]),
    (("--json", "range", "li"), ["list"]),
    (("range", "list", "--js"), ["--json"]),
    (("put", "k", "v", "--if-a"), ["--if-absent"]),
    (("get", "--read", "st"), ["stale"]),
    (("scan", "--read", "a"), ["at"]),
    (("local", "up", "--no"), ["--nodes"]),
    (("debug", "log", "du"), ["dump"]),
)

BASH = r"""
source <("$0" completion bash)
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_holdfast
printf '%s\n' "${COMPREPLY[@]}"
"""


def by_bash(*words):
    return run("bash", "-u", "-e", "-c", BASH, HOLDFAST, "holdfast", *words).split()


def test_bash():
    for words, want in ROWS + ((("nothing",), []), (("get", "k"), [])):
        check(by_bash(*words) == want, words, by_bash(*words), "want", want)
    check(len(by_bash("")) > 20, "all commands")
    with scratch() as folder:
        os.mkdir(os.path.join(folder, "inside"))
        check(by_bash("local", "up", "--dir", f"{folder}/in") == [f"{folder}/inside"], "folders")


def by_fish(*words):
    line = " ".join(("holdfast", *words))
    text = run("fish", "--no-config", "-c", "source (echo $argv[1] | psub); complete -C $argv[2]",
               run(HOLDFAST, "completion", "fish"), line)
    return [row.split("\t")[0] for row in text.splitlines()]


def test_fish():
    if not has("fish"):
        return
    for words, want in ROWS + ((("put", "k", "--ttl", ""), []),):
        check(by_fish(*words) == want, words, by_fish(*words), "want", want)
    check(len(by_fish("")) > 20, "all commands")
    with scratch() as folder:
        os.mkdir(os.path.join(folder, "inside"))
        with open(os.path.join(folder, "in-a-file"), "wb"):
            pass
        for flag in ("--dir", "-d"):
            check(by_fish("local", "up", flag, f"{folder}/in") == [f"{folder}/inside/"], "folders")
        check(by_fish("scan", "--cursor", f"{folder}/in-") == [f"{folder}/in-a-file"], "files")


class Zsh:
    """On a terminal, for only there it completes. A command line that is run says what it is."""

    def __init__(self, folder):
        env = dict(os.environ, TERM="dumb", HOME=folder, ZDOTDIR=folder)
        self.terminal, slave = pty.openpty()
        self.process = subprocess.Popen(["zsh", "-f", "-i"], stdin=slave, stdout=slave,
                                        stderr=slave, env=env, cwd=folder, start_new_session=True)
        os.close(slave)
        self.seen = ""

    def until(self, what):
        deadline = time.monotonic() + 60
        while what not in self.seen:
            if select.select([self.terminal], [], [], 1)[0]:
                self.seen += os.read(self.terminal, 65536).decode(errors="replace")
            check(time.monotonic() < deadline, "want", repr(what), "seen", repr(self.seen))
        found, self.seen = self.seen.split(what, 1)
        return found

    def say(self, line):
        os.write(self.terminal, f"{line}\n".encode())

    def ran(self, line):
        self.say(line)
        self.until("ran<")
        return self.until(">")

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


def walk(zsh):
    for words, want in ROWS[1:]:
        line = " ".join(words[:-1] + tuple(want))
        said = zsh.ran(" ".join(("holdfast", *words)) + "\t")
        check(said == line, words, said, "want", want)
    for flag in ("--dir", "-d"):
        said = zsh.ran(f"holdfast local up {flag} in\t")  # the line's end takes the slash off
        check(said.rstrip("/") == f"local up {flag} inside", said)
    check(zsh.ran("holdfast scan --cursor in-\t") == "scan --cursor in-a-file", "files")
    check(zsh.ran("holdfast rang\tli\t") == "range list", "word after word")


def test_zsh():
    if not has("zsh"):
        return
    with scratch() as folder:
        os.mkdir(os.path.join(folder, "inside"))
        with open(os.path.join(folder, "in-a-file"), "wb"):
            pass
        functions = os.path.join(folder, "functions")
        os.mkdir(functions)
        with open(os.path.join(functions, "_holdfast"), "w", encoding="utf-8") as f:
            f.write(run(HOLDFAST, "completion", "zsh"))
        for begin in (f"fpath=({functions} $fpath); autoload -U compinit; compinit -u -D",
                      f"autoload -U compinit; compinit -u -D; source {functions}/_holdfast"):
            zsh = Zsh(folder)
            try:
                zsh.say(begin)
                zsh.say("PS1=; holdfast() { print -r -- \"ran\"\"<$*>\" }")
                walk(zsh)
            finally:
                zsh.end()


if __name__ == "__main__":
    main(test_bash_script, test_zsh_script, test_fish_script, test_an_unknown_shell, test_bash,
         test_fish, test_zsh)
