#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that goes away under a running node: it ends with one clear line, the others go
on, nothing is lost, and once the disk is back so is the node.

Needs to be root with loop devices: the node's folder is a file system that is shut down.
"""
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import tempfile

from cluster import SKIPPED, Cluster, check, main, wait_until

EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_FLUSHING = 2
WRITING_S = 180  # longer than all waits while it goes on


def mount(image, point):
    """On a loop device of its own. `mount -o loop` would take the one that the image has still
    if another namespace of mounts has not let go of it, and with it the file system that was
    shut down."""
    found = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True,
                           check=False)
    if found.returncode != 0:
        return False
    device = found.stdout.strip()
    done = subprocess.run(["mount", device, point], capture_output=True, check=False)
    # as soon as it is mounted nowhere any more
    subprocess.run(["losetup", "--detach", device], capture_output=True, check=False)
    return done.returncode == 0


def make_disk(image, point):
    """A file system of its own; False if this machine cannot."""
    if os.geteuid() != 0:
        return False
    os.makedirs(point)
    with open(image, "wb") as f:
        f.truncate(256 << 20)
    done = subprocess.run(["mkfs.ext4", "-q", "-F", image], capture_output=True, check=False)
    return done.returncode == 0 and mount(image, point)


def pull_out(point):
    """From now on every access is an I/O error, and what was not flushed is gone."""
    fd = os.open(point, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
    finally:
        os.close(fd)


def test_disk_gone():
    folder = tempfile.mkdtemp(prefix="holdfast-gone-")
    image, point = os.path.join(folder, "disk-2"), os.path.join(folder, "node-2", "data")
    try:
        if not make_disk(image, point):
            print("   skipped: no loop devices here")
            sys.exit(SKIPPED)
        with Cluster(folder=folder) as c:
            for round_number in range(2):
                lose_it(c, round_number, image, point)
    finally:
        subprocess.run(["umount", "-l", point], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def lose_it(c, round_number, image, point):
    state = lambda: c.local_status()["nodes"][1]["state"]
    if round_number == 0:
        # under the leader first; for whoever leads already there is nothing to do
        for _ in range(2):
            c.ok("range", "transfer-leader", str(c.replica(2)), "--timeout", "20s")
    # Only who writes finds out that a disk is gone: it goes on until the node has ended.
    torture = c.torture(seconds=WRITING_S, seed=round_number)
    before = c.applied(1) or 0
    wait_until("writing", 60, lambda: (c.applied(1) or 0) > before + 100)
    pull_out(point)
    wait_until("node 2 ended", 60, lambda: state() == "stopped")
    check(torture.is_running(), "the writing was over before the node ended")
    torture.end()
    said = [line for line in c.log(2).splitlines() if line.startswith("fatal:")]
    check(len(said) == round_number + 1 and "Input/output error" in said[-1], c.log(2)[-2000:])
    print("  ", torture.result())
    torture.verify()
    done = subprocess.run(["umount", point], capture_output=True, text=True, check=False)
    check(done.returncode == 0 and mount(image, point), "put it back:", done.stderr)
    c.local("restart", "2")
    target = c.applied(c.leader())
    wait_until("node 2 caught up", 60, lambda: (c.applied(2) or 0) >= target)


if __name__ == "__main__":
    main(test_disk_gone)
