#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that fills up: writes are refused with a clear error, reads go on, nothing
is lost, and service resumes when there is space again.

Needs to be root with loop devices: each node's folder is a small file system.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

from cluster import SKIPPED, SMALL, Cluster, check, main, wait_until

DISK_MIB = 256


def mount_disk(folder, i):
    """A file system of its own for node i; False if this machine cannot."""
    image = os.path.join(folder, f"disk-{i}")
    point = os.path.join(folder, f"node-{i}")
    os.makedirs(point)
    with open(image, "wb") as f:
        f.truncate(DISK_MIB << 20)
    for command in (["mkfs.ext4", "-q", "-F", image], ["mount", "-o", "loop", image, point]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print("   skipped:", command, done.stderr.strip())
            return False
    return True


def test_disk_full():
    folder = tempfile.mkdtemp(prefix="holdfast-disk-")
    try:
        if os.geteuid() != 0 or not all(mount_disk(folder, i) for i in (1, 2, 3)):
            sys.exit(SKIPPED)
        with Cluster(conf=SMALL, folder=folder) as c:
            fill(c, folder)
    finally:
        for i in (1, 2, 3):
            subprocess.run(["umount", "-l", os.path.join(folder, f"node-{i}")],
                           capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


MIB = 1 << 20
FULL = 48 * MIB  # between disk_full_bytes and disk_reserve_bytes of SMALL
END = 16 * MIB   # below disk_reserve_bytes


def take_space(c, i, leave):
    """A ballast file on node i's disk, so that `leave` bytes are free; 0: none any more."""
    path = c.path(i, "ballast")
    if os.path.exists(path):
        os.unlink(path)
    space = os.statvfs(c.path(i))
    free = space.f_bavail * space.f_frsize
    if leave:
        with open(path, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, max(free - leave, MIB))


def fill(c, folder):
    c.ok("put", "first", "value")
    torture = c.torture(seconds=2)
    torture.result()
    all_full(c, torture)
    followers_full(c)
    at_the_end(c)
    killed_when_full(c, torture)


def all_full(c, torture):
    """Puts are refused with a reason, reads and deletes go on; then everything does."""
    for i in (1, 2, 3):
        take_space(c, i, FULL)
    refused(c)
    check(c.ok("get", "first") == "value", "reads go on")
    torture.verify()
    c.ok("del", "first")
    for i in (1, 2, 3):
        take_space(c, i, 0)
    accepted(c)
    torture.verify()


def steadily_accepted(c):
    """Puts are taken for three seconds on end: stores tell each other of their disks each
    second, so by then nobody acts on what was true before."""
    until = time.monotonic() + 60
    since = time.monotonic()
    while time.monotonic() < since + 3:
        if c.run("put", "steady", "value", "--timeout", "2s").returncode != 0:
            since = time.monotonic()
        check(since < until, "puts are not taken steadily")


def followers_full(c):
    """The leader has room, and hears that no majority has."""
    steadily_accepted(c)
    leader = c.leader()
    one, other = (i for i in (1, 2, 3) if i != leader)
    take_space(c, one, FULL)
    told = time.monotonic() + 3
    while time.monotonic() < told:  # one full follower stops nothing
        c.ok("put", "third", "value")
    take_space(c, other, FULL)
    done = refused(c)
    check("too many stores" in done.stderr, done.stderr)
    check(c.ok("get", "third") == "value", "reads go on")
    c.ok("del", "third")
    take_space(c, one, 0)
    accepted(c)  # `other` is as full as before
    take_space(c, other, 0)


def at_the_end(c):
    """Below the reserve nothing is written, and everything can be read."""
    c.ok("put", "fourth", "value")
    for i in (1, 2, 3):
        take_space(c, i, END)
    wait_until("deletes are refused", 30, lambda: no_space(c.run("del", "none", "--timeout", "2s")))
    check(c.ok("get", "fourth") == "value", "reads go on")
    for i in (1, 2, 3):
        take_space(c, i, FULL)
    wait_until("deletes are back", 30,
               lambda: c.run("del", "fourth", "--timeout", "2s").returncode == 0)
    refused(c)


def killed_when_full(c, torture):
    """kill -9 of all on full disks: they start, serve reads, and have everything."""
    c.local("kill", "all")
    c.local("restart", "all")
    c.leader()
    torture.verify()
    refused(c)
    for i in (1, 2, 3):
        take_space(c, i, 0)
    accepted(c)
    torture.verify()


def no_space(done):
    return done if done.returncode != 0 and "NO_SPACE" in done.stderr else None


def refused(c):
    return wait_until("puts are refused", 30,
                      lambda: no_space(c.run("put", "more", "x" * 1000, "--timeout", "2s")))


def accepted(c):
    wait_until("puts are back", 30,
               lambda: c.run("put", "second", "value", "--timeout", "2s").returncode == 0)


if __name__ == "__main__":
    main(test_disk_full)
