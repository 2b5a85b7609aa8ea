# SPDX-License-Identifier: Apache-2.0
"""How far nodes' wall clocks were off the true time, for checkers of what depends on time.

The nemesis says what it does to clocks, and whom it makes stand still: a process that was
stopped may act by what its clock said before. Everything is an upper bound."""
import math
import threading
import time

AFTER_S = 1  # a process may still act by what its clock said so long ago


class Clocks:
    def __init__(self):
        self.lock = threading.Lock()
        self.jumps = []   # (seconds, offset): from then on one node's clock may be so far ahead
        self.behind = []  # [begin, end or None, node, offset or None: it stands still]

    def set(self, node, offset_s, began, ended):
        """The node's clock was set at some moment between these, seconds of the monotonic clock."""
        with self.lock:
            self.jumps.append((began, offset_s))
            self.close(node, False, ended)
            if offset_s < 0:
                self.behind.append([began, None, node, offset_s])

    def stop(self, node, now=None):
        with self.lock:
            self.behind.append([time.monotonic() if now is None else now, None, node, None])

    def go_on(self, node, now=None):
        with self.lock:
            self.close(node, True, time.monotonic() if now is None else now)

    def close(self, node, is_stop, now):
        for span in self.behind:
            if span[1] is None and span[2] == node and (span[3] is None) == is_stop:
                span[1] = now

    def tell(self, events, zero_ns):
        """Each completion of the history gets `ahead_ms`, how far ahead of the true time any clock
        had ever been by its end, and `behind_ms`, how far behind it any clock was meanwhile: for
        ever, if nobody knows when the operation ended."""
        base = zero_ns / 1e9
        last = max((e["time"] for e in events), default=0) / 1e9
        ahead = Ahead(self.jumps)
        behind = Behind(self.behind, base + last)
        begun = {}
        for event in sorted(events, key=lambda e: e["time"]):
            at = base + event["time"] / 1e9
            if event["type"] == "invoke":
                begun[event["process"]] = at
                continue
            end = base + last if event["type"] == "info" else at
            event["ahead_ms"] = math.ceil(ahead.by(at) * 1000)
            event["behind_ms"] = math.ceil(behind.within(begun.pop(event["process"]), end) * 1000)


class Ahead:
    """The greatest offset up to a moment; moments are asked for in their order."""

    def __init__(self, jumps):
        self.jumps = sorted(jumps)
        self.at, self.most = 0, 0

    def by(self, moment):
        while self.at < len(self.jumps) and self.jumps[self.at][0] <= moment:
            self.most = max(self.most, self.jumps[self.at][1])
            self.at += 1
        return self.most


class Behind:
    """The greatest lag of any clock, second by second."""

    def __init__(self, spans, last):
        self.most = {}
        for begin, end, _, offset in spans:
            end = (last if end is None else end) + AFTER_S
            for second in range(math.floor(begin), math.floor(max(begin, end)) + 1):
                lag = second + 1 - begin if offset is None else -offset
                self.most[second] = max(self.most.get(second, 0), lag)
        self.last = max(self.most, default=-1)

    def within(self, begin, end):
        seconds = range(math.floor(begin), min(math.floor(end), self.last) + 1)
        return max((self.most.get(s, 0) for s in seconds), default=0)
