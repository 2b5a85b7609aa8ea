#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How cost grows: curves of puts and gets over ranges, nodes, clients, value sizes and data.

    tests/perf/curves.py --bin build/release/bin [--of ranges,nodes,clients,values,data]

Each curve has a cluster of its own on loopback (`nodes` one for each point), with default
settings except that ranges neither merge nor split by themselves. A point is a closed loop of
`holdfast bench` for --seconds, --rounds times; told are the medians, and each point's share of the
first one's. `ranges` waits until placement is at rest, so that leaders are spread. For `values`
the disk's synced sequential bandwidth is measured beside it, by as many writers as there are
nodes, each of which writes 1 MiB and syncs it before the next; the column values is what clients
put a second over what one of those writers did, log the same of a node's log, and disk what the
disk wrote (log, tables and files of values together; nothing else may write there) over what all
of them did.

Prints a table, and below it what must hold of the points that were measured: puts fall by less
than 35 % from 1 to 1,000 ranges, and values of 64 KiB are put at 70 % of one writer's bytes.
--judge makes that the exit status (0 or 1); --json prints one object instead: curve -> list of
points. It is over in a time that is bounded by points, rounds and seconds; nothing but loopback
is talked to.
"""
import argparse
import json
import os
import sys

from loopback import Cluster, Report, bench, disk_bytes_per_s, fill, medians, say, split_all

POINTS = {
    "ranges": (1, 10, 100, 1000),
    "nodes": (1, 3, 5, 7),
    "clients": (1, 4, 16, 64, 256, 1024),
    "values": (100, 1 << 10, 4 << 10, 16 << 10, 64 << 10),
    "data": (10_000, 100_000, 1_000_000, 5_000_000),
}
FALL_MOST = 0.35  # of puts, from 1 range to RANGES_MANY
RANGES_MANY = 1000
LARGE = 64 << 10
LARGE_LEAST = 0.7  # of what the disk does for one of the nodes


def point(c, curve, at, args, clients=64, value=100, keys=100_000, ops=("put", "get")):
    """Medians of the rounds, a row for each operation."""
    rows = []
    for op in ops:
        more = ("--no-load",) if op == "get" else ()
        row = medians([bench(c, op, args.seconds, clients, value, keys, more)
                       for _ in range(args.rounds)])
        row.update(curve=curve, at=at, op=op)
        rows.append(row)
        say(f"  {curve} {at} {op}: {row['ops_per_sec']:,.0f}/s p50 {row['p50_us']} us")
    return rows


def split_into(c, count, keys):
    """Cut the keys of the bench into `count` ranges of equal size, new cuts only."""
    step = keys // count
    starts = {r["start"].get("key") for r in c.json("range", "list")["ranges"] if r["start"]}
    cuts = [f"bench:{i * step:012d}" for i in range(1, count)]
    cuts = [cut for cut in cuts if cut not in starts]
    if cuts:
        split_all(c, cuts)
    c.rest()


def curve_ranges(args, at_points):
    rows = []
    with Cluster(args, 3) as c:
        for count in at_points:
            split_into(c, count, 100_000)
            rows += point(c, "ranges", count, args, clients=args.clients)
    return rows


def curve_nodes(args, at_points):
    rows = []
    for nodes in at_points:
        with Cluster(args, nodes) as c:
            c.run("placement", "settings", "replicas", str(nodes if nodes % 2 else nodes - 1))
            c.rest()
            rows += point(c, "nodes", nodes, args, clients=args.clients)
    return rows


def curve_clients(args, at_points):
    rows = []
    with Cluster(args, 3) as c:
        for clients in at_points:
            rows += point(c, "clients", clients, args, clients=clients)
    return rows


def curve_data(args, at_points):
    rows = []
    with Cluster(args, 3) as c:
        for keys in at_points:
            fill(c, keys, 100)
            rows += point(c, "data", keys, args, clients=args.clients, keys=keys)
    return rows


def curve_values(args, at_points):
    rows = []
    with Cluster(args, 3) as c:
        for value in at_points:
            disk = disk_bytes_per_s(c.dir, 3)
            # The same bytes at every size, so that flushes and the cache see the same.
            keys = max(1000, min(100_000, (256 << 20) // value))
            for row in point(c, "values", value, args, clients=args.clients, value=value,
                             keys=keys):
                row["disk_bytes_per_s"] = disk
                if row["op"] == "put":
                    row["value_share"] = row["ops_per_sec"] * value / disk
                    row["log_share"] = row["log_bytes_per_s"] / disk
                    if "disk_written_per_s" in row:
                        row["disk_share"] = row["disk_written_per_s"] / (disk * c.nodes)
                rows.append(row)
    return rows


CURVES = {"ranges": curve_ranges, "nodes": curve_nodes, "clients": curve_clients,
          "values": curve_values, "data": curve_data}


def print_table(rows):
    first = {}
    print(f"{'curve':8}{'at':>10} {'op':5}{'ops/s':>11}{'of first':>10}{'p50 us':>9}{'p99 us':>9}"
          f"{'p99.9':>9}{'node us/op':>12}{'values':>8}{'log':>6}{'disk':>6}")
    for row in rows:
        base = first.setdefault((row["curve"], row["op"]), row["ops_per_sec"])
        shares = "".join(f"{row[name]:{w}.2f}" if name in row else f"{'-':>{w}}"
                         for name, w in (("value_share", 8), ("log_share", 6), ("disk_share", 6)))
        print(f"{row['curve']:8}{row['at']:>10} {row['op']:5}{row['ops_per_sec']:>11,.0f}"
              f"{row['ops_per_sec'] / base:>10.2f}{row['p50_us']:>9,.0f}{row['p99_us']:>9,.0f}"
              f"{row['p999_us']:>9,.0f}{row['nodes_cpu_us_per_op']:>12.1f}{shares}")


def judge(rows):
    """What must hold, of the points that were measured."""
    puts = {(row["curve"], row["at"]): row for row in rows if row["op"] == "put"}
    report = Report()
    few, many = puts.get(("ranges", 1)), puts.get(("ranges", RANGES_MANY))
    if few and many:
        report.judge(f"puts of {RANGES_MANY} ranges to those of 1",
                     many["ops_per_sec"] / few["ops_per_sec"], 1 - FALL_MOST, is_least=True)
    large = puts.get(("values", LARGE))
    if large:
        report.judge("64 KiB values: bytes put to the disk's share of a node",
                     large["value_share"], LARGE_LEAST, is_least=True)
    return report


def points_of(text):
    name, _, points = text.partition("=")
    if name not in CURVES:
        raise argparse.ArgumentTypeError(f"{name}: not one of {', '.join(CURVES)}")
    try:
        at = tuple(int(p) for p in points.split("+")) if points else POINTS[name]
    except ValueError as e:
        raise argparse.ArgumentTypeError(f"{text}: {e}") from e
    if min(at) < 1 or (name == "nodes" and max(at) > 9):
        raise argparse.ArgumentTypeError(f"{text}: out of bounds")
    return name, at


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin", help="folder with holdfast")
    parser.add_argument("--of", default=[(name, POINTS[name]) for name in CURVES],
                        type=lambda text: [points_of(one) for one in text.split(",")],
                        metavar="CURVE[=N+N…],…", help="which curves, and their points")
    parser.add_argument("--clients", type=int, default=64, help="of each loop (64)")
    parser.add_argument("--seconds", type=int, default=5, help="of each measurement (5)")
    parser.add_argument("--rounds", type=int, default=1, help="measurements of a point (1)")
    parser.add_argument("--port", type=int, default=23300, help="9 ports from here on (23300)")
    parser.add_argument("--dir", default="/var/tmp", help="where data goes (/var/tmp)")
    parser.add_argument("--judge", action="store_true", help="exit status 1 if a bound is missed")
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    args = parser.parse_args()
    if args.judge and args.json:
        parser.error("--judge or --json")
    if min(args.clients, args.seconds, args.rounds) < 1:
        parser.error("clients, seconds and rounds from 1 on")
    args.bin = os.path.abspath(args.bin)
    rows = []
    for name, at_points in args.of:
        rows += CURVES[name](args, at_points)
    if not args.json:
        print_table(rows)
        report = judge(rows)
        return report.status() if args.judge else 0
    json.dump({"curves": rows}, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
