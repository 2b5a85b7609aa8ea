#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shell on a terminal: history, completion of commands and keys, paging."""
import contextlib
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import termios
import time

from cluster import BIN, SMALL, Cluster, check, main, wait_until

PROMPT = b"holdfast> "


@contextlib.contextmanager
def scratch():
    folder = tempfile.mkdtemp(prefix="holdfast-shell-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Shell:
    """`holdfast shell` on a terminal of ten lines."""

    def __init__(self, folder, *words, **more):
        env = dict(os.environ, TERM="dumb", HOLDFAST_ENDPOINTS=f"embedded:{folder}/store",
                   HOLDFAST_HISTORY=f"{folder}/history", PAGER="sed s/^/paged:/")
        env.update(more)
        self.terminal, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 200, 0, 0))
        self.process = subprocess.Popen([f"{BIN}/holdfast", "shell", *words], stdin=slave,
                                        stdout=slave, stderr=slave, env=env,
                                        start_new_session=True, preexec_fn=self.take_terminal)
        os.close(slave)
        self.seen = b""
        self.until(PROMPT)

    @staticmethod
    def take_terminal():
        """In the child: what is typed there may be a signal."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def is_editing(self):
        return termios.tcgetattr(self.terminal)[3] & termios.ICANON == 0

    def until(self, *whats):
        """Everything up to and with the first of these that is there."""
        deadline = time.monotonic() + 60
        while not any(what in self.seen for what in whats):
            ready, _, _ = select.select([self.terminal], [], [], 1)
            if ready:
                try:
                    self.seen += os.read(self.terminal, 65536)
                except OSError:
                    check(False, "the shell ended:", self.seen, "want", whats)
            check(time.monotonic() < deadline, "want", whats, "seen", self.seen)
        what = min((w for w in whats if w in self.seen), key=self.seen.index)
        found, self.seen = self.seen.split(what, 1)
        return (found + what).decode(errors="replace")

    def type(self, keys):
        wait_until("it reads keys, not lines", 60, self.is_editing)
        os.write(self.terminal, keys.encode())

    def run(self, line):
        """Type a line; what it printed."""
        self.type(line + "\n")
        self.until(b"\n")  # its echo
        return self.until(PROMPT).replace("\r", "")[:-len(PROMPT)]

    def end(self):
        self.type("quit\n")
        check(self.process.wait(timeout=60) == 0, self.process.returncode)
        os.close(self.terminal)


def put(folder, text):
    done = subprocess.run([f"{BIN}/holdfast", "shell", "--endpoints", f"embedded:{folder}/store"],
                          input=text, capture_output=True, text=True, timeout=120, check=False)
    check(done.returncode == 0 and done.stderr == "", done.stderr)


def test_completion():
    with scratch() as folder:
        keys = [f"m/{i:03}" for i in range(100)] + ["m/9z"]
        put(folder, "".join(f"put {key} v{key}\n" for key in keys) +
            "put user/ada Ada\nput user/bob Bob\nput 'with blank' x\n")
        shell = Shell(folder)
        check("OK" in shell.run("pu\tuser/cid Cid"), "a command")
        check(shell.run("get user/b\t") == "Bob\n", "a key")
        check("leader" in shell.run("clu\tsta\t"), "a command under a command")
        # The first keys that are found have more in common than all of them.
        check(shell.run("get m/\t9z") == "vm/9z\n", "no more than all keys have in common")
        check(shell.run("get m/04\t2") == "vm/042\n", "what is there stays")
        check("no such key" in shell.run("get nothing\t"), "no candidate, no change")
        shell.type("get user/\t\t")
        listing = shell.until(b"cid")
        shell.until(PROMPT + b"get user/")
        check("user/ada" in listing and "user/bob" in listing, listing)
        check(shell.run("ada") == "Ada\n", "and the line goes on")
        shell.end()
        put(folder, "put --keyspace 7 user/zoe Zoe\n")
        shell = Shell(folder, "--keyspace", "7")
        check(shell.run("get user/\t") == "Zoe\n", "keys of the shell's own keyspace")
        shell.end()


def test_hashed_keys():
    """Keys behind slots are completed as others are."""
    with scratch() as folder:
        put(folder, "keyspace create h --partition hash --slots 8\n")
        put(folder, "".join(f"put --keyspace h user/{name} {name}\n" for name in ("ada", "zoe")))
        shell = Shell(folder, "--keyspace", "h")
        check(shell.run("get user/z\t") == "zoe\n", "a key of a hashed keyspace")
        shell.end()


def test_ctrl_c():
    """A line that is typed, and a command that goes on for ever: both end, the shell does not."""
    with scratch() as folder:
        put(folder, "put a 1\n")
        shell = Shell(folder)
        shell.type("put a wrong\x03")
        shell.until(PROMPT)
        check(shell.run("get a") == "1\n", "the line was not given up")
        shell.type("watch\n")
        shell.until(b"\n")
        wait_until("it does not read lines", 60, lambda: not shell.is_editing())
        os.write(shell.terminal, b"\x03")
        check(shell.until(PROMPT).endswith("\n" + PROMPT.decode()), "a prompt behind the ^C")
        check(shell.run("get a") == "1\n", "the shell ended")
        shell.end()


def begun(shell, line, sign):
    """Type a command that goes on until it is ended; then it has said `sign`."""
    shell.type(line + "\n")
    shell.until(b"\n")
    shell.until(sign)


def stopped(shell):
    """Ctrl-C: what it said then, up to the prompt."""
    os.write(shell.terminal, b"\x03")
    return shell.until(PROMPT)


def stopped_in(shell, line, sign):
    """Ctrl-C in a command that tells nothing until it ends, typed again until it had begun when
    that came: what it said, with `sign` in it."""
    said = ""
    for _ in range(100):
        shell.type(line + "\n")
        shell.until(b"\n")
        wait_until("it does not read lines", 60, lambda: not shell.is_editing())
        said = stopped(shell)
        if sign in said:
            return said
    check(False, line, "never said", sign, said)
    return said


def test_ctrl_c_of_what_repeats():
    """What is shown each second ends, and so do deletions that go on step by step."""
    with scratch() as folder:
        shell = Shell(folder, PAGER="")
        for line, sign in (("range list", b"START"), ("range show 2", b"START"),
                           ("node list", b"ADDRESS"), ("store show 1", b"ADDRESS"),
                           ("placement status", b"quiet")):
            begun(shell, line + " --watch", sign)
            shell.until(sign)  # the second time
            stopped(shell)
        rows = "".join(f"put k{i:05} v\n" for i in range(10_000))
        batch = os.path.join(folder, "batch")
        with open(batch, "w", encoding="ascii") as f:
            f.write(rows)
        store = ["--endpoints", f"embedded:{folder}/store"]
        shell.end()
        subprocess.run([f"{BIN}/holdfast", "batch", batch, *store], check=True, timeout=120)
        shell = Shell(folder, PAGER="")
        begun(shell, "delete-range '' '' --yes --step 1", b"keys deleted")
        said = stopped(shell)
        check("go on at: k" in said and "interrupted after " in said, said)
        left = shell.run("scan -k -n 1")
        check(left.startswith("k"), "something is left", left)
        check(f"go on at: {left.strip()}" in said, said, left)
        said = stopped_in(shell, "delete-range '' '' --yes --step 1 --json", "go_on_at")
        said = json.loads(said[said.index("{"):said.rindex("}") + 1])
        left = shell.run("scan -k -n 1").strip()
        check(said["ok"] is False and said["go_on_at"] == left, said, left)
        shell.end()


def test_cursor_of_a_sweep():
    """In a hashed keyspace it is hexadecimal, and one that is mistyped is not taken for another."""
    with scratch() as folder:
        store = ["--endpoints", f"embedded:{folder}/store", "--keyspace", "h"]
        put(folder, "keyspace create h --partition hash --slots 8 --ranges 1\n")
        put(folder, "".join(f"put --keyspace h k{i:03} v\n" for i in range(400)))
        shell = Shell(folder, "--keyspace", "h", PAGER="")
        begun(shell, "delete-range k z --yes --step 1", b"keys deleted")
        said = stopped(shell)
        for_programs = stopped_in(shell, "delete-range k z --yes --step 1 --json", '"cursor"')
        check("range" in shell.run("range list --system").lower(), "--system beside the shell's own")
        check("no users' keys" in shell.run("range list --system --keyspace h"), "both")
        shell.end()
        for_programs = for_programs[for_programs.index("{"):for_programs.rindex("}") + 1]
        check("go on with the same bounds and --cursor " in said, said)
        cursor = said.split("--cursor ")[1].split()[0]

        def sweep(*lines):
            text = "".join(f"delete-range {line} --yes\n" for line in lines) + "scan -k\n"
            return subprocess.run([f"{BIN}/holdfast", "shell", *store], input=text, timeout=120,
                                  capture_output=True, text=True, check=False)
        newer = json.loads(for_programs)["cursor"]
        check(newer[:4] >= cursor[:4] and len(newer) == len(cursor), cursor, newer)
        cursor = newer
        wrong = [cursor[:i] + ("0" if cursor[i] != "0" else "1") + cursor[i + 1:]
                 for i in range(len(cursor))]
        lines = [f"k z --cursor {w}" for w in (*wrong, cursor[:-2], cursor[2:], "00")]
        lines += [f"{bounds} --cursor {cursor}" for bounds in
                  ("k y", "j z", "'' ''", "k z --keyspace 7", "--prefix k")]
        done = sweep(*lines)
        check(done.stderr.count("or is mistyped") == len(lines), len(lines), done.stderr)
        check("keys deleted" not in done.stdout and "k" in done.stdout, done.stdout)
        done = sweep(f"k z --cursor {cursor}")
        check(done.returncode == 0 and done.stdout.split()[1:] == ["keys", "deleted"],
              "keys were passed by", done.stdout, done.stderr)


def test_ctrl_c_of_a_check():
    """Of megabytes, at a slow pace."""
    with scratch() as folder:
        slow = f"embedded:{folder}/store?check_bytes_per_s=64KiB"
        shell = Shell(folder, HOLDFAST_ENDPOINTS=slow)
        for i in range(12):
            shell.run(f"put big{i} {'x' * 3000}")
            for _ in range(7):
                shell.run(f"append big{i} {'x' * 3000}")
        begun(shell, "range check 2", b"of 1 replicas")
        said = stopped(shell)
        check("interrupted: 0 ranges were checked, and 1 are under way" in said, said)
        check(shell.run("put a 1") == "OK\n", "the shell goes on")
        shell.end()


def placement_host(c):
    rows = {row["what"]: row["value"] for row in c.json("placement", "status")["placement"]}
    return int(rows["store"])


def store_state(c, store_id):
    return next(s["state"] for s in c.json("store", "list")["stores"] if s["store_id"] == store_id)


def test_ctrl_c_of_orders():
    """An order that cannot be carried out: the store that should get a replica stands still."""
    with scratch() as folder, Cluster(nodes=4, conf=SMALL) as c:
        shell = Shell(folder, HOLDFAST_ENDPOINTS=c.address(1))
        wait_until("three replicas", 60, lambda: len(
            c.json("range", "show", "2")["ranges"][0]["replicas"]) == 3)
        c.rest("pause")
        stores = {r["store"] for r in c.json("range", "show", "2")["ranges"][0]["replicas"]}
        idle = ({1, 2, 3, 4} - stores).pop()
        if placement_host(c) == idle:  # who stands still takes no order
            others = {r["store"] for r in c.json("range", "show", "1")["ranges"][0]["replicas"]}
            c.ok("range", "transfer-leader", "--range", "1", "--to", str(min(others - {idle})))
            wait_until("another store hosts placement", 60, lambda: placement_host(c) != idle)
        address = next(s["address"] for s in c.json("store", "list")["stores"]
                       if s["store_id"] == idle)
        node = next(i for i in range(1, 5) if c.address(i) == address)
        if node == 1:
            shell.end()
            shell = Shell(folder, HOLDFAST_ENDPOINTS=c.address(2))
        pid = c.local_status()["nodes"][node - 1]["pid"]
        said = ""
        while "step 1 of" not in said:
            # One that was not up is so again once its heartbeats have been heard.
            wait_until("the store is up", 60, lambda: store_state(c, idle) == "up")
            shell.run("placement status")  # it knows the way: that costs none of the three seconds
            shell.type(f"range move 2 --from {min(stores)} --to {idle} --timeout 50s")
            os.kill(pid, signal.SIGSTOP)  # in three seconds it is suspect: no order is taken then
            shell.type("\n")
            said = shell.until(b"step 1 of", b"is suspect")
            if "step 1 of" not in said:  # so long did this machine take
                os.kill(pid, signal.SIGCONT)
                shell.until(PROMPT)
        said = stopped(shell)
        check("still runs: holdfast placement operators" in said, said)
        check("OK" in shell.run("put a 1"), "the shell goes on")
        shell.end()
        os.kill(pid, signal.SIGCONT)


def test_lines():
    """Not a terminal: a line of its own does not become another cluster; and what was counted."""
    with scratch() as folder:
        done = subprocess.run(
            [f"{BIN}/holdfast", "shell", "--endpoints", f"embedded:{folder}/store"],
            input="stats\nput a 1\nget a\nget b\nget a --endpoints 127.0.0.1:1\nstats\n"
                  "stats --json\n", capture_output=True, text=True, timeout=120, check=False)
        check("the shell has its cluster" in done.stderr, done.stderr)
        lines = done.stdout.splitlines()
        check(lines[:3] == ["nothing yet", "OK", "1"], lines)
        rows = {line.split()[0]: line.split() for line in lines[4:-1]}
        check(rows["get"][1:3] == ["2", "1"] and rows["get"][-2:] == ["NOT_FOUND", "1"], rows)
        check(rows["put"][1:3] == ["1", "0"] and len(rows) == 2, rows)
        seen = json.loads(lines[-1])
        check(seen["get"]["count"] == 2 and seen["get"]["errors_by_code"] == {"NOT_FOUND": 1}, seen)
        check(0 < seen["put"]["min_us"] <= seen["put"]["p50_us"] <= seen["put"]["max_us"], seen)


def test_exit_codes():
    """A script can trust it: that of the first line that failed, whatever came behind."""
    with scratch() as folder:
        for text, want in (("put a 1\nget a\n", 0), ("", 0), ("# get b\n", 0),
                           ("get a\nget b\nput c\nput a 1\n", 3), ("incr a x\nget b\n", 2),
                           ("put t text\nincr t\nget b\nquit\nput t\n", 1),
                           ("get 'a\n", 2), ("nonsense\n", 2), ("get a\0\n", 2),
                           ("get a --keyspace nobody\nput a\n", 3), ("get b\nquit\n", 3),
                           ("quit\nget b\n", 0)):
            done = subprocess.run(
                [f"{BIN}/holdfast", "shell", "--endpoints", f"embedded:{folder}/store"],
                input=text, capture_output=True, text=True, timeout=120, check=False)
            check(done.returncode == want, text, done.returncode, "want", want, done.stderr)
        full = subprocess.run(["sh", "-c", 'exec "$0" shell > /dev/full', f"{BIN}/holdfast"],
                              input="get a\n", text=True, capture_output=True, timeout=120,
                              check=False, env=dict(os.environ, HOLDFAST_ENDPOINTS=
                                                    f"embedded:{folder}/store"))
        check(full.returncode == 1, full.returncode, full.stderr)
        shell = Shell(folder)
        check("no such key" in shell.run("get b"), "the same at a terminal …")
        shell.end()  # … where the end is a good one


def test_files():
    """What other commands read from standard input is named in the shell, where that is the next
    commands; and Ctrl-C ends what goes on for long."""
    with scratch() as folder:
        batch, out = (os.path.join(folder, name) for name in ("batch", "out"))
        with open(batch, "w", encoding="ascii") as f:
            f.write("put a 1\nincr a 5\n")
        done = subprocess.run(
            [f"{BIN}/holdfast", "shell", "--endpoints", f"embedded:{folder}/store"],
            input=f"batch\nimport\nimport -\nbatch {batch}\nget a\nexport {out}\n",
            capture_output=True, text=True, timeout=120, check=False)
        check(done.returncode == 2 and done.stderr.count("wants FILE") == 3, done.stderr)
        check(done.stdout.split() == ["2:", "6", "OK", "6"], done.stdout)
        with open(out, encoding="ascii") as f:
            check(json.loads(f.read()) == {"key": "a", "value": "6"})
        shell = Shell(folder)
    with scratch() as folder, Cluster(nodes=1) as c:
        rows, out = os.path.join(folder, "rows"), os.path.join(folder, "out")
        with open(rows, "w", encoding="ascii") as f:
            f.writelines(f'{{"key":"k{i}","value":"v"}}\n' for i in range(10))
        shell = Shell(folder, "--timeout", "500ms", HOLDFAST_ENDPOINTS=c.endpoints)
        shell.run("get k0")
        with open(out, "w", encoding="ascii") as f:
            f.write("of yesterday\n")
        c.local("pause", "1")
        for line in (f"import {rows}", f"export {out}"):  # they would wait a minute for a leader
            said = stopped_in(shell, line, " records")
            check("ported" not in said, line, said)
        with open(out, encoding="ascii") as f:
            check(f.read() == "of yesterday\n", "an export that read nothing changed its file")
        c.local("resume", "1")
        check("imported 10 records" in shell.run(f"import {rows} --timeout 20s"), "it goes on")
        check("exported 10 records" in shell.run(f"export {out} --timeout 20s"), "it goes on")
        with open(out, encoding="ascii") as f:
            check(len(f.readlines()) == 10 and not os.path.exists(f"{out}.new"), "the whole of it")
        shell.end()


def test_what_is_wrong_is_named():
    """Not only that it is: what stands there, and which argument it is."""
    with scratch() as folder:
        put(folder, "put a 1\n")
        done = subprocess.run(
            [f"{BIN}/holdfast", "shell", "--endpoints", f"embedded:{folder}/store"],
            input="cas a 2 3\ncas b 2 3\nresolve 00\ndelete-range z a --yes\nscan --cursor ''\n",
            capture_output=True, text=True, timeout=120, check=False)
        said = [line for line in done.stderr.splitlines() if not line.startswith("try: ")]
        check(len(said) == 5, said)
        for line, want in zip(said, ("and value '1'", "the key is absent", "is no token",
                                     "START is behind END", "the name of a file")):
            check(want in line, line, "want", want)
        check(done.stdout == "", done.stdout)


def test_history():
    with scratch() as folder:
        path = f"{folder}/history"
        with open(path, "w", encoding="ascii") as f:
            f.writelines(f"get old{i}\n" for i in range(2500))
            f.write("x" * 10000 + "\n")
        os.chmod(path, 0o644)
        shell = Shell(folder)
        shell.run("put a 1")
        shell.run(" put secret 2")
        check(shell.run("\x1b[A").endswith("OK\n"), "the line before comes back")
        shell.end()
        with open(path, encoding="ascii") as f:
            lines = f.read().split("\n")
        check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, oct(os.stat(path).st_mode))
        check(lines[-5:] == ["get old2499", "put a 1", "put a 1", "quit", ""], lines[-6:])
        check(len(lines) <= 1000 + 4 and "get old1500" in lines, len(lines))
        check(os.listdir(folder).count("history") == 1 and
              not [n for n in os.listdir(folder) if n.startswith("history.")], os.listdir(folder))
        shell = Shell(folder)  # another day
        check(shell.run("\x1b[A\x1b[A").endswith("OK\n"), "the line of last time comes back")
        shell.end()
        shell = Shell(folder, HOLDFAST_HISTORY="")
        shell.run("put not-kept 1")
        shell.end()
        with open(path, encoding="ascii") as f:
            check("not-kept" not in f.read(), "an empty name keeps none")
        shell = Shell(folder, HOLDFAST_HISTORY=f"{folder}/no/such/folder")
        check("OK" in shell.run("put b 1"), "it goes on without one")
        shell.end()


def test_paging():
    with scratch() as folder:
        put(folder, "".join(f"put k{i:02} v\n" for i in range(30)))
        shell = Shell(folder)
        lines = shell.run("scan --keys-only").strip().split("\n")
        check(lines == [f"paged:k{i:02}" for i in range(30)], lines)
        check(shell.run("scan --keys-only --limit 3") == "k00\nk01\nk02\n", "short output is not")
        check(shell.run("get k01") == "v\n", "nothing is left over")
        shell.end()
        shell = Shell(folder, PAGER="head -1")  # somebody leaves early
        check(shell.run("scan --keys-only") == "k00\n", "one line")
        check(shell.run("get k01") == "v\n", "and the shell goes on")
        shell.end()
        shell = Shell(folder, PAGER="")
        check(shell.run("scan --keys-only").startswith("k00\nk01\n"), "no pager")
        shell.end()


if __name__ == "__main__":
    main(test_completion, test_hashed_keys, test_ctrl_c, test_ctrl_c_of_what_repeats,
         test_cursor_of_a_sweep, test_ctrl_c_of_a_check, test_ctrl_c_of_orders, test_lines, test_exit_codes, test_files,
         test_what_is_wrong_is_named, test_history, test_paging)
