#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One node grows to four and one of them is lost, under load: tests/perf/growth.py, made small, and
not judged by how long things take."""
import os
import sys
import tempfile

from cluster import main

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.append(os.path.join(TESTS, "perf"))
import growth  # pylint: disable=wrong-import-position


def test_grows_and_loses_one():
    """Replicas and leaders spread, what was lost is there again, and no operation fails."""
    with tempfile.TemporaryDirectory(prefix="holdfast-growth-") as folder:
        args = growth.arguments(["grow", "--small", "--mib", "4", "--timeout", "20", "--dir", folder])
        with growth.cluster_of(args, 1, 4) as c:
            growth.settings(c, args)
            c.ok("placement", "settings", "store-down-after", "5s")
            growth.fill(c, args)
            with growth.Loads(c, args, c.address(1)) as loads:
                c.up("--nodes", "4")
                growth.settle(c, 4)
                leaders = {s["address"]: s["leaders"] for s in growth.Standing(c).stores}
                c.local("kill", str(max((2, 3, 4), key=lambda i: leaders[c.address(i)])))
                growth.settle(c, 3)
                loads.stop()
            loads.verify()


if __name__ == "__main__":
    main(test_grows_and_loses_one)
