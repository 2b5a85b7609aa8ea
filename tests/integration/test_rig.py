#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rig of these tests itself: a test that is told to end leaves no node and no folder."""
import os
import signal
import socket
import subprocess
import sys

import cluster as rig
from cluster import Cluster, check, wait_until

SECONDS = 60


def wait_for_the_end():
    """What the test below starts: a cluster of one node, until a signal comes."""
    with Cluster(nodes=1) as c:
        print(c.dir, c.port, flush=True)
        signal.sigtimedwait([], SECONDS)


def is_open(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_told_to_end():
    for number in (signal.SIGTERM, signal.SIGHUP):
        with subprocess.Popen([sys.executable, __file__, wait_for_the_end.__name__],
                              stdout=subprocess.PIPE, text=True) as child:
            folder, port = child.stdout.readline().split()
            check(is_open(int(port)), "there is no node that could be left")
            child.send_signal(number)
            check(child.wait(SECONDS) == 128 + number, "exit status", child.returncode)
        wait_until("no node is left", 10, lambda port=port: not is_open(int(port)))
        check(not os.path.exists(folder), folder, "is left")


if __name__ == "__main__":
    if sys.argv[1:] == [wait_for_the_end.__name__]:
        wait_for_the_end()
    else:
        rig.main(test_told_to_end)
