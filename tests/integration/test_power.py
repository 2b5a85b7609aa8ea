#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A node on the interposed file layer of fault tests, whose power goes. Not with sanitizers: their
library wants to be in front of that layer."""
import contextlib
import subprocess

from cluster import BIN, check, free_ports, main, wait_until
from test_jepsen_disk import Disk


class Node:
    """A cluster of one on such a disk."""

    def __init__(self, disk):
        self.disk, self.address, self.process = disk, f"127.0.0.1:{free_ports(1)}", None

    def client(self, *args):
        return subprocess.run([f"{BIN}/holdfast", *args, "--endpoints", self.address],
                              capture_output=True, text=True, timeout=60, check=False)

    @contextlib.contextmanager
    def up(self):
        """A process of it that serves; killed at the end, if it runs then."""
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [f"{BIN}/holdfastd", "--data", f"{self.disk.root}/data", "--listen", self.address],
            env=self.disk.layer(), stderr=subprocess.DEVNULL)
        try:
            wait_until("the node serves", 60, lambda: self.client("get", "none").returncode in (0, 3)
                       or self.process.poll() is not None)
            check(self.process.poll() is None, "the node ended:", self.process.returncode)
            yield
        finally:
            self.process.kill()
            self.process.wait()

    def put(self, key, value):
        """Whether it was acknowledged."""
        return self.client("put", key, value, "--timeout", "2s").returncode == 0


def test_power_goes_after_a_failed_sync_and_a_start():
    """The log's last batch is not on the disk, though the next process can read it; what that
    one writes behind it must not come to stand behind a hole. Batches are of whole blocks only
    where a batch has filled one before."""
    with Disk() as d:
        node = Node(d)
        with node.up():
            check(node.put("large", "l" * 9000) and node.put("a", "1"), "no put is done")
            d.fault(4, 1)
            node.put("b", "2")
            check(node.process.wait(60) != 0, "a failed sync ended nobody")
        with node.up():
            check(node.put("c", "3"), "no put is done after it")
        d.power("--all")
        with node.up():
            for key, value in (("a", "1"), ("c", "3"), ("large", "l" * 9000)):
                told = node.client("get", key)
                check(told.stdout.strip() == value, key, "is", told.stdout[:99], told.stderr)


if __name__ == "__main__":
    main(test_power_goes_after_a_failed_sync_and_a_start)
