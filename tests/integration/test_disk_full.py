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


def fill(c, folder):
    c.ok("put", "first", "value")
    torture = c.torture(seconds=2)
    torture.result()
    # a ballast file on each disk, down to below the mark at which puts are refused
    for i in (1, 2, 3):
        space = os.statvfs(c.path(i))
        free = space.f_bavail * space.f_frsize
        with open(c.path(i, "ballast"), "wb") as f:
            os.posix_fallocate(f.fileno(), 0, max(free - (48 << 20), 1 << 20))
    done = wait_until("puts are refused", 30, lambda: refused(c))
    check("NO_SPACE" in done.stderr, done.stderr)
    check(c.ok("get", "first") == "value", "reads go on")
    torture.verify()
    c.ok("del", "first")
    for i in (1, 2, 3):
        os.unlink(c.path(i, "ballast"))
    wait_until("service is back", 30,
               lambda: c.run("put", "second", "value", "--timeout", "2s").returncode == 0)
    torture.verify()


def refused(c):
    done = c.run("put", "more", "x" * 1000, "--timeout", "2s")
    return done if done.returncode != 0 else None


if __name__ == "__main__":
    main(test_disk_full)
