#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an operation costs on which thread, how much a second core brings, and what follows from
both for machines with more.

    tests/perf/cores.py [--cores 1,2] [--clients 64] [--seconds 5] [--rounds 3]

For each number of cores a cluster of three nodes and the load are held on so many of them, and
closed loops of puts and gets are run. Told are, per operation, the CPU of: the leader's loop (the
one thread that all of a store's ranges share), its other threads (log, flush, compaction), the
same of a follower on average, and the client.

The model: a closed loop on N cores does at most N / (sum of all CPU), 1 / (the leader's loop) and
1 / (the client's loop) a second; what is measured below that at the most cores is waiting (for the
disk, for each other), and the rest is contention: the share by which an operation's CPU grows
from the first number of cores to the last, for each core more. With it the last table says what
stores with cores of their own would do, clients elsewhere and leaders spread over all stores,
until the disk (one sync for each batch) or the network is the limit; nothing of it is measured. It
takes batches to be as full as here: with fewer clients for each range, an operation costs
more (curves.py --of ranges).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

from loopback import TICKS, Cluster, fill, say

BEYOND = ((1, 2), (1, 4), (2, 4), (4, 8), (8, 16))  # stores of a machine, its cores
KEYS = 100_000


def cpu_of_threads(pid):
    """Seconds of (the loop's thread, all others). Threads that ended are lost; none do."""
    loop = rest = 0.0
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / TICKS
        if int(tid) == pid:
            loop += used
        else:
            rest += used
    return loop, rest


def run_load(c, op, args):
    """Figures of one closed loop, its CPU by part in microseconds for an operation."""
    pids = c.pids()
    leader = json.loads(c.run("local", "status", "--dir", c.dir, "--json"))["leader"] - 1
    before = [cpu_of_threads(pid) for pid in pids]
    command = [f"{c.bin}/holdfast", "bench", op, "--json", "--clients", str(args.clients),
               "--seconds", str(args.seconds), "--warmup", "500ms", "--keys", str(KEYS),
               *(["--no-load"] if op == "get" else [])]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=c.env())
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"bench {op}: exit {child.returncode}")
    result = json.loads(text)
    used = [tuple(b - a for a, b in zip(one, cpu_of_threads(pid)))
            for one, pid in zip(before, pids)]
    followers = [one for i, one in enumerate(used) if i != leader]
    seconds = dict(leader_loop=used[leader][0], leader_rest=used[leader][1],
                   follower_loop=statistics.mean(one[0] for one in followers),
                   follower_rest=statistics.mean(one[1] for one in followers),
                   client=usage.ru_utime + usage.ru_stime)
    row = {part: s * 1e6 / result["ops_in_all"] for part, s in seconds.items()}
    row["ops_per_sec"], row["p50_us"] = result["ops_per_sec"], result["p50_us"]
    return row


def total(row):
    return (row["leader_loop"] + row["leader_rest"] +
            2 * (row["follower_loop"] + row["follower_rest"]) + row["client"])


def limit(row, cores):
    """What the model allows, a second."""
    return 1e6 * min(cores / total(row), 1 / row["leader_loop"], 1 / row["client"])


def measure(cores, args):
    """Medians of the rounds: operation -> figures."""
    os.sched_setaffinity(0, sorted(args.allowed)[:cores])  # what is started inherits it
    with Cluster(args, 3) as c:
        fill(c, KEYS, 100)
        rows = {}
        for op in ("put", "get"):
            runs = [run_load(c, op, args) for _ in range(args.rounds)]
            rows[op] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
            say(f"  {cores} cores, {op}: {rows[op]['ops_per_sec']:,.0f}/s")
        return rows


def print_measured(op, rows):
    print(f"\n{op}: CPU of one, microseconds")
    print(f"{'cores':>6}{'leader':>9}{'… rest':>9}{'follower':>10}{'… rest':>9}{'client':>9}"
          f"{'sum':>9}{'ops/s':>11}{'allowed':>11}{'share':>7}")
    for cores, row in rows.items():
        allowed = limit(row, cores)
        print(f"{cores:>6}{row['leader_loop']:>9.2f}{row['leader_rest']:>9.2f}"
              f"{row['follower_loop']:>10.2f}{row['follower_rest']:>9.2f}{row['client']:>9.2f}"
              f"{total(row):>9.2f}{row['ops_per_sec']:>11,.0f}{allowed:>11,.0f}"
              f"{row['ops_per_sec'] / allowed:>7.2f}")


def print_model(op, rows):
    """Three machines, each with so many stores, of each of which a third of the ranges leads."""
    few, many = min(rows), max(rows)
    growth = 0.0
    if many > few:
        growth = max(0.0, (total(rows[many]) / total(rows[few]) - 1) / (many - few))
    row = rows[few]
    loop = (row["leader_loop"] + 2 * row["follower_loop"]) / 3
    rest = (row["leader_rest"] + 2 * row["follower_rest"]) / 3
    print(f"\n{op}, by the model: an operation's CPU grows by {growth:.3f} of itself for each core "
          f"more;\nof a store's loop one of the cluster takes {loop:.2f} us, of its other threads "
          f"{rest:.2f}")
    for stores, cores in BEYOND:
        dearer = 1 + growth * (cores - 1)
        by_loop = stores * 1e6 / (loop * dearer)
        by_cores = cores * 1e6 / ((loop + rest) * dearer)
        print(f"  three machines of {cores:2} cores, {stores} stores each: "
              f"{min(by_loop, by_cores):>12,.0f}/s, bound by "
              f"{'the loops' if by_loop < by_cores else 'all cores'}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin", help="folder with holdfast")
    parser.add_argument("--cores", default="1,2", help="numbers of cores, from few to many (1,2)")
    parser.add_argument("--clients", type=int, default=64, help="of a closed loop (64)")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement (5)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--port", type=int, default=23300, help="3 ports from here on (23300)")
    parser.add_argument("--dir", default="/var/tmp", help="where data goes (/var/tmp)")
    args = parser.parse_args()
    args.bin = os.path.abspath(args.bin)
    args.allowed = os.sched_getaffinity(0)
    try:
        args.cores = [int(one) for one in args.cores.split(",")]
    except ValueError:
        args.cores = [0]
    if min(args.cores) < 1 or max(args.cores) > len(args.allowed):
        parser.error(f"cores 1 to {len(args.allowed)}, which this process may use")
    if min(args.clients, args.seconds, args.rounds) < 1:
        parser.error("clients, seconds and rounds from 1 on")
    return args


def main():
    args = parse()
    measured = {cores: measure(cores, args) for cores in args.cores}
    for op in ("put", "get"):
        rows = {cores: one[op] for cores, one in measured.items()}
        print_measured(op, rows)
        print_model(op, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
