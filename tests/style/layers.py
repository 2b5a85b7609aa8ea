#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The include graph: which room may know which, and who may touch the world.

    layers.py ROOT

The tables below are docs/ARCHITECTURE.md's arrows. A new arrow is a change of
the architecture: change the page and the table together.
"""
import re
import sys

import source

# room -> the rooms whose headers it may include (itself always)
ROOMS = {
    "base": (),
    "env": ("base",),
    "env/uv": ("base", "env"),
    "env/sim": ("base", "env"),
    "wire": ("base",),
    "lsm": ("base", "env"),
    "raftlog": ("base", "env"),
    "db": ("base", "env", "lsm", "raftlog"),
    "consensus": ("base", "env", "raftlog", "wire"),
    "range": ("base", "env", "lsm", "wire"),
    "net": ("base", "env", "wire"),
    "store": (
        "base", "env", "wire", "lsm", "raftlog", "consensus", "range", "net", "placement",
    ),
    "placement": ("base", "wire"),
    "client": ("base", "env", "wire"),
    "client/lib": ("base", "env", "env/uv", "wire", "client", "server", "store"),
    "server": (
        "base", "env", "env/uv", "wire", "lsm", "raftlog", "consensus", "range", "net", "store",
        "placement", "client",
    ),
}

# Where the world may be touched: env/uv, every file with a main(), all of tools/,
# and those named here with the reason.
WORLDLY_ROOMS = ("env/uv",)
WORLDLY_FILES = {
    "src/base/pages.c": "advice on how memory is mapped: nothing of the world is seen",
}

WORLD_HEADERS = re.compile(
    r"^(uv\.h|uv/.*|pthread\.h|threads\.h|semaphore\.h|time\.h|sys/time\.h|sys/timerfd\.h|fcntl\.h"
    r"|unistd\.h|dirent\.h|poll\.h|signal\.h|netdb\.h|ifaddrs\.h|sys/(socket|stat|statvfs|file|uio"
    r"|mman|random|epoll|eventfd|select|wait|syscall|sendfile|inotify)\.h|netinet/.*|arpa/.*"
    r"|net/if\.h|linux/.*|spawn\.h|aio\.h|liburing\.h)$"
)

WORLD_CALLS = re.compile(
    r"(?<![\w.>])(?<!->)("
    # clocks and sleeping
    r"clock_(?:gettime|getres|settime|nanosleep)|clock|time|gettimeofday|nanosleep|usleep|sleep|alarm|setitimer|timerfd_\w+"
    # randomness
    r"|s?rand|s?random|rand_r|[delmnj]rand48|getrandom|getentropy|arc4random\w*|RAND_\w+"
    # files
    r"|fopen|fdopen|freopen|open|openat|creat|pread|pwrite|readv|writev|preadv|pwritev|fsync"
    r"|fdatasync|syncfs|sync_file_range|rename|renameat|unlink|link|mkdir|rmdir|opendir|readdir"
    r"|fstat|lstat|statvfs|ftruncate|fallocate|flock|mmap|mkstemp|tmpfile"
    # threads and processes
    r"|pthread_\w+|thrd_\w+|mtx_\w+|cnd_\w+|fork|vfork|exec[vl]\w*|system|popen|posix_spawn\w*"
    # sockets
    r"|socket|socketpair|getaddrinfo|recv|recvfrom|recvmsg|sendto|sendmsg|setsockopt|epoll_\w+"
    # the environment of the process
    r"|getenv|secure_getenv|setenv|uv_\w+"
    r")\s*\("
)

# libraries that one room wraps for all
WRAPPED = (
    (re.compile(r"^raft(\.h|/)"), ("consensus",)),
    (re.compile(r"^msgpack"), ("wire",)),
    (re.compile(r"^lz4"), ("wire", "lsm")),
    (re.compile(r"^libaio"), ("env/uv",)),
    (re.compile(r"^cmocka"), ()),
)

# Only these write log lines; library rooms return errors.
LOGGING = ("base", "store", "placement", "client", "client/lib", "server")

# clumsy or unbounded, everywhere
BANNED = re.compile(
    r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atoll|alloca|strdupa)\s*\("
)

# of the consensus library, broken (R20, R13)
BROKEN = re.compile(r"\b(RAFT_CATCH_UP|raft_catch_up|catch_up)\b")

CMOCKA_HEADER = "tests/support/check.h"


def room_of(path):
    """'src/env/uv/loop.c' -> 'env/uv'; None outside src."""
    parts = path.split("/")
    if parts[0] != "src":
        return None
    two = "/".join(parts[1:3])
    return two if two in ROOMS else parts[1]


def room_of_include(target):
    parts = target.split("/")
    two = "/".join(parts[:2])
    if two in ROOMS:
        return two
    return parts[0] if len(parts) > 1 else None


def is_worldly(path, text):
    if path.startswith("tools/") or path in WORLDLY_FILES or room_of(path) in WORLDLY_ROOMS:
        return True
    return any(name == "main" for name, _, _ in source.functions(text))


def check_arrow(path, room, number, target):
    if target == "holdfast.h":
        ok = room in ("client", "client/lib", "server")
        return [] if ok else [f"{path}:{number}: {room} may not include the client's {target}"]
    other = room_of_include(target)
    if other is None or other not in ROOMS:
        return [f"{path}:{number}: include by room (\"{room}/{target}\"), or no such room"]
    if other != room and other not in ROOMS[room]:
        return [f"{path}:{number}: {room} may not include {other} ({target})"]
    if other != room and target.endswith("_internal.h"):
        return [f"{path}:{number}: {target} belongs to {other} alone"]
    return []


def check_library(path, room, number, target):
    for pattern, rooms in WRAPPED:
        if pattern.match(target) and room not in rooms and path != CMOCKA_HEADER:
            if room is None and path.startswith("tests/") and pattern.match("raft.h"):
                continue  # tests of the consensus room hold it against the bare library
            return [f"{path}:{number}: <{target}> is wrapped by {', '.join(rooms) or CMOCKA_HEADER}"]
    return []


def check_includes(path, text, worldly):
    problems = []
    room = room_of(path)
    for number, target, is_system in source.includes(text):
        if is_system:
            problems += check_library(path, room, number, target)
            if room is not None and not worldly and WORLD_HEADERS.match(target):
                problems.append(f"{path}:{number}: <{target}> is the world: go through env/env.h")
        elif room is not None:
            problems += check_arrow(path, room, number, target)
            if target == "base/log.h" and room not in LOGGING and not worldly:
                problems.append(f"{path}:{number}: {room} is a library room: errors, no log lines")
    return problems


def check_calls(path, text, worldly):
    problems = []
    in_src = room_of(path) is not None
    for number, line in enumerate(source.blank(text).split("\n"), 1):
        match = BANNED.search(line)
        if match:
            problems.append(f"{path}:{number}: {match.group(1)}() is not used here")
        match = BROKEN.search(line)
        if match and in_src:
            problems.append(f"{path}:{number}: {match.group(1)} of the library is broken")
        match = WORLD_CALLS.search(line)
        if match and in_src and not worldly:
            problems.append(f"{path}:{number}: {match.group(1)}() is the world: use env/env.h")
        if path.startswith("tests/") and re.search(r"(?<![\w.>])(u|nano)?sleep\s*\(", line):
            problems.append(f"{path}:{number}: a test never sleeps")
    return problems


def check(root):
    problems = []
    paths = source.files(root)
    for path in paths:
        text = source.read(root, path)
        room = room_of(path)
        if room is not None and room not in ROOMS:
            problems.append(f"{path}: room '{room}' is not in the table of {__file__}")
            continue
        worldly = is_worldly(path, text)
        problems += check_includes(path, text, worldly)
        problems += check_calls(path, text, worldly)
    return problems, len(paths)


if __name__ == "__main__":
    sys.exit(source.report("layers", *check(sys.argv[1])))
