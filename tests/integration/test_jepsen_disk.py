#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The interposed file layer of fault tests: what a loss of power may take, and what not.

Each case runs a few calls in a process of its own under the layer, then takes away what
was not synced, and looks at what is left."""
import json
import os
import subprocess
import sys
import tempfile

from cluster import BIN, check, main

PRELUDE = """
import os, sys
R = os.environ["JEPSEN_DISK_ROOT"]
def o(name, flags=os.O_RDWR | os.O_CREAT):
    return os.open(R + "/" + name, flags, 0o644)
def w(fd, data, at): assert os.pwrite(fd, data, at) == len(data)
def sync_dir(name=""):
    fd = os.open(R + name, os.O_RDONLY | os.O_DIRECTORY); os.fsync(fd); os.close(fd)
"""


class Disk:
    def __init__(self):
        self.made = tempfile.TemporaryDirectory(prefix="holdfast-disk-")
        self.root, self.side = f"{self.made.name}/root", f"{self.made.name}/side"
        os.mkdir(self.root)
        os.mkdir(self.side)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.made.cleanup()

    def run(self, code, wants=0):
        done = subprocess.run([sys.executable, "-B", "-c", PRELUDE + code], env=self.layer(),
                              text=True, capture_output=True, timeout=60, check=False)
        check(done.returncode == wants, code, "exit", done.returncode, done.stderr)

    def layer(self):
        return dict(os.environ, LD_PRELOAD=f"{BIN}/jepsen_disk.so", JEPSEN_DISK_ROOT=self.root,
                    JEPSEN_DISK_SIDE=self.side)

    def power(self, *args, seed=1):
        done = subprocess.run([f"{BIN}/jepsen-power", "--root", self.root, "--side", self.side,
                               "--seed", str(seed), *args], capture_output=True, text=True,
                              timeout=60, check=False)
        check(done.returncode == 0, done.stderr)
        return json.loads(done.stdout)

    def content(self, name):
        try:
            with open(f"{self.root}/{name}", "rb") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def fault(self, at, value):
        with open(f"{self.side}/control", "r+b") as f:
            f.seek(at)
            f.write(value.to_bytes(4, "little"))


def after_all(code, *names):
    """What is left of the files when all that was not synced is lost."""
    with Disk() as d:
        d.run(code)
        d.power("--all")
        return [d.content(n) for n in names]


# (what is done, file, what must be left when power takes everything it may)
LEFT = [
    ("f=o('a'); w(f,b'x'*2000,0)", "a", None),
    ("f=o('a'); w(f,b'x'*2000,0); os.fsync(f)", "a", None),
    ("f=o('a'); w(f,b'x'*2000,0); sync_dir()", "a", b""),
    ("f=o('a'); w(f,b'x'*2000,0); os.fdatasync(f); sync_dir()", "a", b"x" * 2000),
    ("f=o('a'); w(f,b'x'*9,0); os.fsync(f); sync_dir(); w(f,b'y'*3,3)", "a", b"x" * 9),
    ("f=o('a'); w(f,b'x'*8192,0); os.fsync(f); sync_dir(); g=os.open('/proc/self/fd/%d' % f,"
     "os.O_WRONLY|os.O_DIRECT); os.pwritev(g,[b'y'*2048,b'z'*2048],4096,os.RWF_DSYNC)", "a",
     b"x" * 4096 + b"y" * 2048 + b"z" * 2048),
    ("f=o('a'); w(f,b'x'*8192,0); os.fsync(f); sync_dir(); g=os.open('/proc/self/fd/%d' % f,"
     "os.O_WRONLY|os.O_DIRECT); os.pwritev(g,[b'y'*2048,b'z'*2048],4096)", "a", b"x" * 8192),
    ("f=o('a'); w(f,b'x'*9,0); os.fsync(f); sync_dir(); w(f,b'y'*30,3)", "a", b"x" * 9),
    ("f=o('a'); w(f,b'x'*9,0); os.fsync(f); sync_dir(); w(f,b'y',3); os.fsync(f)", "a",
     b"xxxyxxxxx"),
    ("f=o('a'); w(f,b'x'*9,0); os.fsync(f); sync_dir(); os.ftruncate(f,2)", "a", b"x" * 9),
    ("f=o('a'); w(f,b'x'*9,0); os.fsync(f); sync_dir(); os.ftruncate(f,2); os.fsync(f)", "a",
     b"xx"),
    ("f=o('a'); w(f,b'x'*9,0); os.fsync(f); sync_dir(); os.ftruncate(f,50)", "a", b"x" * 9),
    ("f=o('a'); w(f,b'x',0); os.fsync(f); sync_dir(); os.unlink(R+'/a')", "a", b"x"),
    ("f=o('a'); w(f,b'x',0); os.fsync(f); sync_dir(); os.unlink(R+'/a'); sync_dir()", "a", None),
    ("f=o('a'); w(f,b'x',0); os.fsync(f); sync_dir(); os.rename(R+'/a',R+'/b')", "a", b"x"),
    ("f=o('a'); w(f,b'x',0); os.fsync(f); sync_dir(); os.rename(R+'/a',R+'/b')", "b", None),
    ("f=o('a'); w(f,b'x',0); os.fsync(f); sync_dir(); os.rename(R+'/a',R+'/b'); sync_dir()", "b",
     b"x"),
    ("f=o('a'); w(f,b'x',0); os.fsync(f); g=o('b'); w(g,b'y',0); os.fsync(g); sync_dir();"
     "os.rename(R+'/a',R+'/b')", "b", b"y"),
    ("f=o('a'); w(f,b'x',0); os.fsync(f); g=o('b'); w(g,b'y',0); os.fsync(g); sync_dir();"
     "os.rename(R+'/a',R+'/b'); sync_dir()", "b", b"x"),
    ("f=o('a'); w(f,b'x',0); os.fsync(f); sync_dir(); os.link(R+'/a',R+'/b')", "b", None),
    ("os.mkdir(R+'/d'); f=o('d/a'); w(f,b'x',0); os.fsync(f); sync_dir('/d')", "d/a", b"x"),
    ("os.chdir(R); f=os.open('a',os.O_RDWR|os.O_CREAT); w(f,b'x'*9,0); os.fsync(f); sync_dir();"
     "w(f,b'y',0)", "a", b"x" * 9),
    ("os.chdir(R); f=o('a'); w(f,b'x',0); os.fsync(f); sync_dir(); os.rename('a','b')", "a", b"x"),
    ("os.chdir(R); f=o('a'); w(f,b'x',0); os.fsync(f); sync_dir(); os.unlink('a')", "a", b"x"),
    ("os.chdir(R); os.mkdir('d'); f=o('d/a'); w(f,b'x',0); os.fsync(f)", "d/a", None),
    ("f=o('a'); os.write(f,b'x'*5); os.write(f,b'y'*5); os.fsync(f); sync_dir();"
     "os.write(f,b'z')", "a", b"x" * 5 + b"y" * 5),
    ("f=o('a'); w(f,b'x'*9,0); os.fsync(f); sync_dir(); g=o('a',os.O_WRONLY|os.O_TRUNC)", "a",
     b"x" * 9),
    ("for i in range(40000): f=o('a') if i==0 else f; w(f,b'%05d' % i,5*(i%7)); "
     "(os.fsync(f), sync_dir()) if i == 39990 else None", "a",
     b"".join(b"%05d" % i for i in (39984, 39985, 39986, 39987, 39988, 39989, 39990))),
]


def test_all_is_taken():
    for code, name, want in LEFT:
        got, = after_all(code.replace("for i in", "\nfor i in") if "for i" in code else code,
                         name)
        check(got == want, code, name, "is", got, "and not", want)


def test_a_directory_of_its_own():
    """A folder's own name is lost with what is in it, unless its parent was synced."""
    with Disk() as d:
        d.run("os.mkdir(R+'/d'); f=o('d/a'); w(f,b'x',0); os.fsync(f)")
        d.power("--all")
        check(not os.path.exists(f"{d.root}/d"), "the folder is there though nobody synced")


def test_parts_are_taken():
    """Over many seeds: never what was synced, sometimes a torn write, never anything that
    was not written; of two writes of a sector never the second without the first."""
    seen = set()
    for seed in range(60):
        with Disk() as d:
            d.run("f=o('a'); w(f,b'A'*4096,0); os.fsync(f); sync_dir();"
                  "w(f,b'B'*2048,0); w(f,b'C'*1024,512)")
            d.power(seed=seed)
            left = d.content("a")
            check(len(left) == 4096 and left[2048:] == b"A" * 2048, "synced bytes are gone")
            sectors = [left[i:i + 512] for i in range(0, 2048, 512)]
            check(all(len(set(s)) == 1 for s in sectors), "a sector is torn")
            got = "".join(chr(s[0]) for s in sectors)
            check(set(got[0] + got[3]) <= set("AB") and set(got[1:3]) <= set("ABC"), got)
            seen.add(got)
    check("AAAA" in seen and "BCCB" in seen, "neither all nor nothing:", seen)
    check(len(seen) > 6, "hardly ever torn:", seen)


def test_the_next_process_may_lose_it():
    """SIGKILL takes nothing; what the dead process had not synced can still be lost."""
    with Disk() as d:
        d.run("f=o('a'); sync_dir(); w(f,b'x',0); os.kill(os.getpid(), 9)", wants=-9)
        d.run("assert os.pread(o('a'), 9, 0) == b'x'")
        check(d.content("a") == b"x", "a kill lost something")
        d.power("--all")
        check(d.content("a") == b"", "power took nothing")


def test_failed_sync():
    """What a failed sync should have written is lost, whatever a later one says."""
    with Disk() as d:
        d.run("f=o('a'); sync_dir()")
        d.fault(4, 1)
        d.run("""
f = o('a'); w(f, b'x'*600, 0)
try: os.fsync(f)
except OSError as e: assert e.errno == 5
else: raise SystemExit(3)
os.fsync(f); w(f, b'y', 700); os.fsync(f)
""")
        d.power("--none")
        left = d.content("a")
        check(left is not None and b"x" not in left[:512], "a doomed write survived:", left)


def test_written_anew_after_a_failed_sync():
    """A file that is written from its beginning again, and synced, is whole: data and size."""
    with Disk() as d:
        d.run("f=o('a'); sync_dir()")
        d.fault(4, 1)
        d.run("""
f = o('a'); w(f, b'old' * 50, 0)
try: os.fsync(f)
except OSError as e: assert e.errno == 5
else: raise SystemExit(3)
f = o('a', os.O_WRONLY | os.O_TRUNC); w(f, b'new' * 50, 0); os.fsync(f)
""")
        d.power("--all")
        check(d.content("a") == b"new" * 50, "what was synced is gone:", d.content("a"))


def test_torn_write():
    """The first write that goes over the end of a sector stops at one, at which it is drawn."""
    cuts = set()
    for before in range(12):
        with Disk() as d:
            d.run("f=o('a'); sync_dir()")
            d.fault(12, 1)
            d.run(f"f=o('a'); [w(f,b'w',i) for i in range({before})]; w(f,b'w'*200,100);"
                  "w(f,b'x'*2000,300)", wants=-9)
            left = d.content("a")
            check(len(left) % 512 == 0 and 512 <= len(left) < 2300, "torn at", len(left))
            check(left[300:] == b"x" * (len(left) - 300), "what is left of it is wrong")
            cuts.add(len(left))
    check(len(cuts) > 1, "always torn at", cuts)


if __name__ == "__main__":
    main(test_all_is_taken, test_a_directory_of_its_own, test_parts_are_taken,
         test_the_next_process_may_lose_it, test_failed_sync, test_written_anew_after_a_failed_sync,
         test_torn_write)
