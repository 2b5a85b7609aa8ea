#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""500 clients with a connection each, 100 of them stuck: none of the others starves. How long
they wait is for tests/perf/crowd to measure, not to judge here."""
import subprocess

from cluster import BIN, Cluster, check, main


def test_crowd():
    with Cluster() as c:
        r = subprocess.run([f"{BIN}/crowd", c.address(c.leader()), "--clients", "500", "--stuck",
                            "100", "--seconds", "8", "--think-ms", "500", "--ratio-max", "0"],
                           capture_output=True, text=True, timeout=120, check=False)
        print(r.stdout, flush=True)
        check(r.returncode == 0, r.stdout, r.stderr)


if __name__ == "__main__":
    main(test_crowd)
