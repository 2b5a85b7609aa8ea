#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the archives of the pure rooms ask of the linker, and what they keep.

    symbols.py LIBDIR

A macro or an inline function can hide a call from layers.py, but not from nm.
And whatever stands in .data or .bss is a mutable global, however it is spelled.
"""
import os
import re
import subprocess
import sys

import source

PURE = (
    "base", "env", "env_sim", "wire", "lsm", "raftlog", "consensus", "range", "net", "store",
    "placement", "client",
)

WORLD = re.compile(
    r"^(uv_\w+|pthread_\w+|thrd_\w+|mtx_\w+|cnd_\w+|sem_\w+"
    r"|clock_(gettime|getres|settime|nanosleep)|clock|time|gettimeofday|nanosleep|usleep|sleep|timerfd_\w+"
    r"|s?rand|s?random|rand_r|[delmnj]rand48|getrandom|getentropy|arc4random\w*|RAND_\w+"
    r"|fopen(64)?|fdopen|freopen(64)?|open(64)?|openat(64)?|creat(64)?|read|write|p?(read|write)v?(64)?"
    r"|fsync|fdatasync|rename\w*|unlink\w*|link|mkdir\w*|rmdir|opendir|readdir(64)?|[fl]?stat(64)?"
    r"|ftruncate(64)?|fallocate(64)?|flock|mmap(64)?|mkstemp\w*|tmpfile(64)?"
    r"|fork|vfork|exec[vl]\w*|system|popen|posix_spawn\w*"
    r"|socket\w*|bind|listen|accept4?|connect|send\w*|recv\w*|getaddrinfo|poll|select|epoll_\w+"
    r"|getenv|secure_getenv|setenv)$"
)

# Left by the compiler's instrumentation, not by us.
INSTRUMENTED = re.compile(r"^(__odr_asan|__asan|__ubsan|__tsan|__gcov|__llvm|\.L|__sancov)")

# What may change at file scope in a room, with the reason. None so far.
GLOBALS_ALLOWED = {
    # "symbol": why
}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def undefined(archive):
    for line in run("nm", "-u", archive).split("\n"):
        match = re.match(r"\s+U (\S+)", line)
        if match:
            yield match.group(1).split("@")[0]


def mutable(archive):
    """Named objects in writable sections that stay writable after loading."""
    for line in run("objdump", "-t", archive).split("\n"):
        match = re.match(r"[0-9a-f]+ .{7} (\S+)\s+([0-9a-f]+)\s+(\S+)$", line)
        if not match:
            continue
        section, size, name = match.groups()
        if section.startswith(".data.rel.ro") or int(size, 16) == 0:
            continue
        if re.match(r"\.(data|bss|tdata|tbss)|\*COM\*", section):
            if name != section and not INSTRUMENTED.match(name):
                yield name


def check_archive(archive):
    problems = []
    name = os.path.basename(archive)
    for symbol in sorted(set(undefined(archive))):
        if WORLD.match(symbol):
            problems.append(f"{name}: asks for {symbol}(): the world is reached through env alone")
    for symbol in sorted(set(mutable(archive))):
        if re.sub(r"\.\d+$", "", symbol) not in GLOBALS_ALLOWED:
            problems.append(f"{name}: '{symbol}' is a mutable global")
    return problems


def check(libdir):
    problems = []
    judged = 0
    for room in PURE:
        archive = os.path.join(libdir, f"libhf_{room}.a")
        if os.path.exists(archive):
            judged += 1
            problems += check_archive(archive)
    return problems, judged


if __name__ == "__main__":
    sys.exit(source.report("symbols", *check(sys.argv[1])))
