#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What do sessions (changes that take effect once, however often they are sent) cost of the rate
of puts? `holdfast bench put` with and without them, in turns, on one cluster of real processes on
loopback.

    tests/perf/sessions.py --bin build/release/bin [--pairs 10] [--seconds 3] [--clients 64]
                           [--limit 10] [--port 5301] [--dir DIR] [--json]

Each pair is one run with and one without, in alternating order, so that what grows slower or
faster in the course of time counts for both. Printed are the rates of each pair, the medians, and
the cost: the median over the pairs of the share that is missing with sessions. Where other work
runs on the machine single pairs say nothing; the middle half of them is printed beside the median.
Exit status 1: the cost is more than --limit percent, or some put failed.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile


class Run:
    def __init__(self, args):
        self.args = args
        self.dir = args.dir or tempfile.mkdtemp(prefix="holdfast-sessions-")
        self.endpoints = ",".join(f"127.0.0.1:{args.port + i}" for i in range(3))
        self.errors = 0

    def holdfast(self, *argv):
        env = dict(os.environ, HOLDFAST_ENDPOINTS=self.endpoints)
        done = subprocess.run([f"{self.args.bin}/holdfast", *argv], capture_output=True, text=True,
                              timeout=self.args.seconds + 120, env=env, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"holdfast {argv}: {done.stdout[-300:]} {done.stderr[-600:]}")
        return done.stdout

    def rate(self, *more):
        said = json.loads(self.holdfast("bench", "put", "--clients", str(self.args.clients),
                                        "--seconds", str(self.args.seconds), "--warmup", "500ms",
                                        "--json", *more))
        self.errors += said["errors"]
        return said["ops_per_sec"]

    def pair(self, number):
        if number % 2 == 0:
            with_, without = self.rate(), self.rate("--no-sessions")
        else:
            without, with_ = self.rate("--no-sessions"), self.rate()
        if not self.args.json:
            print(f"pair {number + 1}: {with_:.0f}/s with sessions, {without:.0f}/s without, "
                  f"{100 * (1 - with_ / without):+.1f} %", flush=True)
        return with_, without

    def run(self):
        self.holdfast("local", "up", "--dir", self.dir, "--nodes", "3", "--port-base",
                      str(self.args.port))
        self.rate()  # all keys are there, and everything is warm
        pairs = [self.pair(i) for i in range(self.args.pairs)]
        costs = [100 * (1 - with_ / without) for with_, without in pairs]
        low, cost, high = statistics.quantiles(costs, n=4, method="inclusive")
        figures = {"with_per_s": round(statistics.median(p[0] for p in pairs)),
                   "without_per_s": round(statistics.median(p[1] for p in pairs)),
                   "cost_percent": round(cost, 2), "cost_percent_p25": round(low, 2),
                   "cost_percent_p75": round(high, 2), "pairs": len(pairs),
                   "clients": self.args.clients, "errors": self.errors}
        if self.args.json:
            print(json.dumps(figures))
        else:
            print(f"medians: {figures['with_per_s']}/s with sessions, {figures['without_per_s']}/s "
                  f"without; sessions cost {cost:.1f} % (middle half of the pairs: {low:.1f} to "
                  f"{high:.1f} %); {self.errors} errors")
        return int(cost > self.args.limit or self.errors > 0)

    def end(self):
        try:
            self.holdfast("local", "kill", "all", "--dir", self.dir)
        except RuntimeError as error:
            print(error, file=sys.stderr)
        if self.args.dir is None:
            shutil.rmtree(self.dir, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--limit", type=float, default=10, help="percent")
    parser.add_argument("--port", type=int, default=5301)
    parser.add_argument("--dir")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.pairs < 2 or args.seconds < 1 or args.clients < 1:
        parser.error("at least 2 pairs, 1 second and 1 client")
    run = Run(args)
    try:
        return run.run()
    finally:
        run.end()


if __name__ == "__main__":
    sys.exit(main())
