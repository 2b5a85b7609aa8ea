#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""holdfast-enginebench: every workload runs under every log setting, finds what it wrote,
and says no to what makes no sense."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

BENCH = os.path.join(os.environ["HOLDFAST_BIN"], "holdfast-enginebench")
ALL = ("fillseq,readseq,readreverse,fillrandom,overwrite,deleterandom,readrandom,readmissing,"
       "seekrandom,readwhilewriting,readrandomwriterandom,mixed,flush,compact,waitforcompaction,"
       "verify,readseq")


def run(*flags):
    return subprocess.run([BENCH, *flags], capture_output=True, text=True, timeout=120,
                          check=False)


def check(ok, text):
    if not ok:
        print(f"FAILED: {text}")
        sys.exit(1)


def every_workload(folder, num, flags):
    done = run("--db", folder, "--num", str(num), "--write_buffer_size", "64KiB", "--threads", "2",
               "--seek_nexts", "10", "--benchmarks", ALL, "--json", "--histogram", *flags)
    check(done.returncode == 0, f"{flags}: {done.stderr}")
    said = json.loads(done.stdout)
    by_name = {}
    for result in said["results"]:
        by_name.setdefault(result["name"], result)
    for name in ALL.split(","):
        check(by_name[name]["ops"] > 0, f"{flags}: nothing done by {name}")
    check(by_name["readseq"]["found"] == num * 2, f"{flags}: two threads see {num} keys each")
    check(by_name["readmissing"]["found"] == 0, f"{flags}: found what is not there")
    check(by_name["readrandom"]["found"] > 0, f"{flags}: found nothing")
    check(by_name["fillrandom"]["p50_us"] <= by_name["fillrandom"]["max_us"], "percentiles")
    check(said["write_amplification"] > 0, f"{flags}: nothing written")
    return said


def reopen(folder, num):
    """What was acknowledged under a log is there for the next process."""
    wrote = run("--db", folder, "--num", str(num), "--benchmarks", "fillseq", "--sync")
    check(wrote.returncode == 0, wrote.stderr)
    read = run("--db", folder, "--num", str(num), "--benchmarks", "readseq", "--use_existing_db",
               "--json")
    check(read.returncode == 0, read.stderr)
    check(json.loads(read.stdout)["results"][0]["found"] == num, "records lost at reopen")


def edits(folder, num):
    """One edit takes out a tenth of the keys, and puts it back; the folder shrinks and grows.
    Tables are small, so that the tenth has some whole ones: one that shows nine tenths stays."""
    done = run("--db", folder, "--num", str(num), "--disable_wal", "--json",
               "--target_file_size_base", "64KiB", "--benchmarks",
               "fillseq,compact,excise,readseq,replace,readseq,verify,excise")
    check(done.returncode == 0, done.stderr)
    results = json.loads(done.stdout)["results"]
    excise, rest, replace, full = [r for r in results if r["name"] in ("excise", "readseq",
                                                                       "replace")][:4]
    check(rest["found"] == num - num // 10, f"after excise {rest['found']} of {num} keys")
    check(full["found"] == num, f"after replace {full['found']} of {num} keys")
    check(excise["folder_after"] < 0.95 * excise["folder_before"], f"no space back: {excise}")
    check(replace["folder_after"] > 1.05 * replace["folder_before"], f"no files in: {replace}")
    check(excise["loop_ns"] > 0 and replace["loop_ns"] > 0, "not measured")


def values(folder):
    """Large values are written about once, and garbage stays in its bounds."""
    done = run("--db", folder, "--num", "4000", "--value_size", "16KiB", "--value_threshold", "4KiB",
               "--write_buffer_size", "1MiB", "--target_file_size_base", "1MiB",
               "--compression_type", "none", "--disable_wal", "--json", "--benchmarks",
               "fillrandom,overwrite,waitforcompaction,readrandom,readseq,verify")
    check(done.returncode == 0, done.stderr)
    said = json.loads(done.stdout)
    by_name = {r["name"]: r for r in said["results"]}
    keys = by_name["readseq"]["found"]
    check(3000 < keys < 4000 and by_name["readrandom"]["found"] > 3000, "records are missing")
    check(said["value_live_bytes"] >= keys * 16384, f"not in value files: {said}")
    check(said["write_amplification"] < 1.6, f"amplification {said['write_amplification']}")
    check(said["value_live_bytes"] > 0.7 * said["value_bytes"], "more than 30 % is garbage")


def refusals(folder):
    for flags in (["--benchmarks", "nonsense", "--db", folder], ["--benchmarks", "fillseq"],
                  ["--db", folder, "--num", "0"], ["--db", folder, "--sync", "--disable_wal"],
                  ["--db", folder, "--no_such_flag"], ["--db", folder, "a word"],
                  ["--db", folder, "--compression_type", "zip"]):
        done = run(*flags)
        check(done.returncode != 0 and done.stderr.startswith("holdfast-enginebench: "),
              f"{flags}: status {done.returncode}, says '{done.stderr}'")
    for flag, value in (("--bloom_bits", "31"), ("--subcompactions", "17"), ("--block_size", "100"),
                        ("--value_garbage", "101"), ("--memory_budget", "1MiB")):
        done = run("--db", folder, flag, value)
        check(done.returncode != 0 and flag in done.stderr, f"{flag} {value}: '{done.stderr}'")
    check("readwhilewriting" in run("--help").stdout, "--help lists the workloads")


def foreign(folder):
    """A fill empties its database first; what is no database's stays, all of it."""
    wrote = run("--db", folder, "--num", "200", "--benchmarks", "fillseq")
    check(wrote.returncode == 0, wrote.stderr)
    before = sorted(os.listdir(os.path.join(folder, "lsm")))
    for name in ("log/syslog", "lsm/notes.tbl", "lsm/000001.tbl.bak"):
        path = os.path.join(folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write("not yours")
        done = run("--db", folder, "--num", "200", "--benchmarks", "fillseq")
        check(done.returncode != 0 and name in done.stderr, f"{name}: {done.stderr}")
        check(os.path.exists(path), f"{name} was removed")
        os.unlink(path)
        check(sorted(os.listdir(os.path.join(folder, "lsm"))) == before, f"{name}: others are gone")
    again = run("--db", folder, "--num", "200", "--benchmarks", "fillseq")
    check(again.returncode == 0, again.stderr)
    shutil.rmtree(os.path.join(folder, "lsm"))  # the log that is left may be a store's
    log = sorted(os.listdir(os.path.join(folder, "log")))
    os.unlink(os.path.join(folder, "LOCK"))
    done = run("--db", folder, "--num", "200", "--benchmarks", "fillseq")
    check(done.returncode != 0 and "/log'" in done.stderr, f"a log alone: {done.stderr}")
    check(sorted(os.listdir(os.path.join(folder, "log"))) == log, "a log alone is gone")
    check(not os.path.exists(os.path.join(folder, "LOCK")), "a LOCK is left where it was refused")


def main():
    with tempfile.TemporaryDirectory(prefix="enginebench-") as work:
        every_workload(os.path.join(work, "none"), 20000, ["--disable_wal"])
        every_workload(os.path.join(work, "unsynced"), 20000, [])
        every_workload(os.path.join(work, "synced"), 200, ["--sync"])
        reopen(os.path.join(work, "reopen"), 200)
        values(os.path.join(work, "values"))
        edits(os.path.join(work, "edits"), 20000)
        refusals(os.path.join(work, "refusals"))
        foreign(os.path.join(work, "foreign"))
    print("ok")


if __name__ == "__main__":
    main()
