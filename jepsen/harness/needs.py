# SPDX-License-Identifier: Apache-2.0
"""What a run needs of this machine, and what of it is missing."""
import glob
import os
import shutil
import subprocess

FAKETIME = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))
PROGRAMS = ("holdfast", "holdfastd", "jepsen-client", "jepsen-sender", "history-check")


def install(program, package):
    """Debian's package, if there is no such program; None, or what went wrong. No service of
    it is started."""
    if shutil.which(program):
        return None
    print(f"jepsen/run: apt-get install {package}", flush=True)
    script = ("set -e; apt-get -q update || true; p=/usr/sbin/policy-rc.d; "
              "if [ ! -e $p ]; then printf '#!/bin/sh\\nexit 101\\n' > $p; chmod 755 $p; "
              "trap 'rm -f '$p EXIT; fi; "
              "DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "
              + package)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    return None if shutil.which(program) else f"{program} is missing: {done.stderr.strip()[-300:]}"


def faketime_library():
    return FAKETIME[0] if FAKETIME else None


def can_make_namespaces():
    """A network namespace of one's own, with nft in it."""
    done = subprocess.run(["unshare", "--net", "nft", "list", "tables"], capture_output=True,
                          check=False)
    return done.returncode == 0


def has_netem():
    """Does this kernel know netem?"""
    done = subprocess.run(["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem",
                           "delay", "1ms"], capture_output=True, check=False)
    return done.returncode == 0


def has_loop():
    return os.path.exists("/dev/loop-control") and shutil.which("mkfs.ext4") is not None


def missing(nemeses, bin_dir, ssh):
    """Lines that say what is missing; none if the run can begin."""
    lines = []
    for name in PROGRAMS:
        if not os.access(os.path.join(bin_dir, name), os.X_OK):
            lines.append(f"{name} is not in {bin_dir}: cmake --preset release && "
                         "cmake --build --preset release, or --bin DIR")
    if {"power", "disk", "sync"} & set(nemeses):
        for name in ("jepsen_disk.so", "jepsen-power"):
            if not os.path.exists(os.path.join(bin_dir, name)):
                lines.append(f"{name} is not in {bin_dir}: build it like the rest")
    if ssh:
        if shutil.which("ssh") is None:
            lines.append("ssh is missing: apt-get install openssh-client")
        return lines
    if os.geteuid() != 0:
        lines.append("not root: network namespaces need it (sudo jepsen/run …)")
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("unshare", "util-linux"),
                             ("mount", "mount")):
        if shutil.which(program) is None:
            lines.append(f"the program {program} is missing: apt-get install {package}")
    if not lines and not can_make_namespaces():
        lines.append("this machine lets nobody make network namespaces with nftables in them")
    if "clock" in nemeses and faketime_library() is None:
        lines.append("libfaketime is missing (nemesis clock): apt-get install faketime")
    if not lines and "slow" in nemeses and not has_netem() and not os.path.exists("/dev/net/tun"):
        lines.append("neither netem nor /dev/net/tun is here (nemesis slow)")
    return lines
