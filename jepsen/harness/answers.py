# SPDX-License-Identifier: Apache-2.0
"""The lines of a client process of a control: a request in, an answer out, with the moments
right before and after it."""
import json
import sys
import time


def serve(client):
    """client.perform(request) is the answer without its times."""
    for line in sys.stdin:
        began = time.monotonic_ns()
        answer = client.perform(json.loads(line))
        print(json.dumps({**answer, "t0": began, "t1": time.monotonic_ns()}), flush=True)
