#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How cost grows: curves of puts and gets over ranges, nodes, clients, value sizes and data.

    tests/perf/curves.py --bin build/release/bin [--of ranges,nodes,clients,values,data]

Each curve has a cluster of its own on loopback (`nodes` one for each point), with default
settings except that ranges neither merge nor split by themselves. A point is a closed loop of
`holdfast bench` for --seconds, --rounds times; told are the medians, and each point's share of the
first one's. `ranges` waits until placement is at rest, so that leaders are spread. For `values`
the disk's synced sequential bandwidth is measured beside it, by as many writers as there are
nodes, each of which writes 1 MiB and syncs it before the next; the column log is what a node's log wrote a
second over what one of those writers did, and disk what the disk wrote (log, tables and files
of values together; nothing else may write there) over what all of them did.

Prints a table; --json one object: curve -> list of points. It is over in a time that is bounded by
points, rounds and seconds; nothing but loopback is talked to.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

TICKS = os.sysconf("SC_CLK_TCK")
CONF = "disk_low_bytes = 96MiB\ndisk_full_bytes = 64MiB\ndisk_reserve_bytes = 32MiB\n"
POINTS = {
    "ranges": (1, 10, 100, 1000),
    "nodes": (1, 3, 5, 7),
    "clients": (1, 4, 16, 64, 256, 1024),
    "values": (100, 1 << 10, 4 << 10, 16 << 10, 64 << 10),
    "data": (10_000, 100_000, 1_000_000, 5_000_000),
}
SPLITS_AT_ONCE = 60
REST_S = 300
PROBE_BYTES = 256 << 20


def say(text):
    print(text, file=sys.stderr, flush=True)


class Cluster:
    """Nodes of `holdfast local`, in a folder that is gone afterwards."""

    def __init__(self, args, nodes):
        self.bin = args.bin
        self.nodes = nodes
        self.dir = tempfile.mkdtemp(prefix="holdfast-curves-", dir=args.dir)
        self.endpoints = ",".join(f"127.0.0.1:{args.port + i}" for i in range(nodes))
        self.port = args.port

    def __enter__(self):
        conf = os.path.join(self.dir, "curves.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(CONF)
        try:
            self.run("local", "up", "--dir", self.dir, "--nodes", str(self.nodes), "--port-base",
                     str(self.port), "--conf", conf)
            self.run("placement", "settings", "merge", "off")
            self.run("placement", "settings", "split", "off")
            self.rest()
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        subprocess.run([f"{self.bin}/holdfast", "local", "kill", "all", "--dir", self.dir],
                       capture_output=True, timeout=60, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *words, timeout=300):
        env = dict(os.environ, HOLDFAST_ENDPOINTS=self.endpoints)
        done = subprocess.run([f"{self.bin}/holdfast", *words], capture_output=True, text=True,
                              timeout=timeout, env=env, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"holdfast {' '.join(words[:4])}: exit {done.returncode} "
                               f"{done.stderr[-500:]}")
        return done.stdout

    def json(self, *words, **more):
        return json.loads(self.run(*words, "--json", **more))

    def rest(self):
        """Until every range has its replicas and no operator has run for three seconds."""
        until = time.monotonic() + REST_S
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 3:
            if time.monotonic() > until:
                raise RuntimeError(f"placement is not at rest after {REST_S} s")
            ranges = self.json("range", "list")["ranges"]
            is_whole = all(len(r["replicas"]) >= min(3, self.nodes) for r in ranges)
            if not is_whole or self.json("placement", "operators").get("running"):
                quiet_since = time.monotonic()
            time.sleep(0.3)

    def pids(self):
        status = json.loads(self.run("local", "status", "--dir", self.dir, "--json"))
        return [node["pid"] for node in status["nodes"]]

    def cpu_s(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                fields = f.read().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
        return total

    def log_bytes(self):
        stores = self.json("cluster", "status")["stores"]
        return sum(store["stats"]["log.append_bytes"] for store in stores) / self.nodes


def disk_written(folder):
    """Bytes written so far by the disk under `folder`; None if that is no disk."""
    dev = os.stat(folder).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(dev)}:{os.minor(dev)}/stat", encoding="ascii") as f:
            return int(f.read().split()[6]) * 512
    except OSError:
        return None


def bench(c, op, args, clients, value, keys, more=()):
    cpu, log, disk, begin = c.cpu_s(), c.log_bytes(), disk_written(c.dir), time.monotonic()
    result = c.json("bench", op, "--clients", str(clients), "--value-size", str(value), "--keys",
                    str(keys), "--seconds", str(args.seconds), "--warmup", "1s", *more)
    ops = result["ops_in_all"]
    if result["errors"]:
        raise RuntimeError(f"bench {op}: {result['errors']} errors")
    seconds = time.monotonic() - begin
    disk = None if disk is None else (disk_written(c.dir) - disk) / seconds
    return {"ops_per_sec": result["ops_per_sec"], "p50_us": result["p50_us"],
            "p99_us": result["p99_us"], "p999_us": result["p999_us"],
            "nodes_cpu_us_per_op": (c.cpu_s() - cpu) * 1e6 / ops,
            "log_bytes_per_s": (c.log_bytes() - log) / seconds, "disk_written_per_s": disk}


def point(c, curve, at, args, clients=64, value=100, keys=100_000, ops=("put", "get")):
    """Medians of the rounds, a row for each operation."""
    rows = []
    for op in ops:
        runs = [bench(c, op, args, clients, value, keys, ("--no-load",) if op == "get" else ())
                for _ in range(args.rounds)]
        row = {name: statistics.median(run[name] for run in runs) for name in runs[0]
               if runs[0][name] is not None}
        row.update(curve=curve, at=at, op=op)
        rows.append(row)
        say(f"  {curve} {at} {op}: {row['ops_per_sec']:,.0f}/s p50 {row['p50_us']} us")
    return rows


def split_into(c, count, keys):
    """Cut the keys of the bench into `count` ranges of equal size, new cuts only."""
    step = keys // count
    starts = {r["start"] for r in c.json("range", "list")["ranges"]}
    cuts = [f"bench:{i * step:012d}" for i in range(1, count)]
    cuts = [cut for cut in cuts if cut not in starts]
    for at in range(0, len(cuts), SPLITS_AT_ONCE):
        c.run("range", "split", *cuts[at:at + SPLITS_AT_ONCE], timeout=600)
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
            c.run("bench", "get", "--keys", str(keys), "--seconds", "1", timeout=1800)
            rows += point(c, "data", keys, args, clients=args.clients, keys=keys)
    return rows


def write_synced(path):
    piece = os.urandom(1 << 20)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(fd, 0, PROBE_BYTES)
        for at in range(0, PROBE_BYTES, len(piece)):
            os.pwrite(fd, piece, at)
            os.fdatasync(fd)
    finally:
        os.close(fd)
        os.unlink(path)


def disk_bytes_per_s(folder, writers):
    """What each of so many writers gets, one after the other synced piece by piece."""
    begin = time.monotonic()
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write_synced, [os.path.join(folder, f"probe-{i}") for i in range(writers)]))
    return PROBE_BYTES / (time.monotonic() - begin)


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
          f"{'p99.9':>9}{'node us/op':>12}{'log':>6}{'disk':>6}")
    for row in rows:
        base = first.setdefault((row["curve"], row["op"]), row["ops_per_sec"])
        shares = "".join(f"{row[name]:6.2f}" if name in row else f"{'-':>6}"
                         for name in ("log_share", "disk_share"))
        print(f"{row['curve']:8}{row['at']:>10} {row['op']:5}{row['ops_per_sec']:>11,.0f}"
              f"{row['ops_per_sec'] / base:>10.2f}{row['p50_us']:>9,.0f}{row['p99_us']:>9,.0f}"
              f"{row['p999_us']:>9,.0f}{row['nodes_cpu_us_per_op']:>12.1f}{shares}")


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
    parser.add_argument("--json", action="store_true", help="one object on standard output")
    args = parser.parse_args()
    args.bin = os.path.abspath(args.bin)
    rows = []
    for name, at_points in args.of:
        rows += CURVES[name](args, at_points)
    if args.json:
        json.dump({"curves": rows}, sys.stdout, indent=1)
        print()
    else:
        print_table(rows)


if __name__ == "__main__":
    main()
