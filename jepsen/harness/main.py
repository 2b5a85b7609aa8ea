# SPDX-License-Identifier: Apache-2.0
"""The command line of jepsen/run."""
import argparse
import contextlib
import fcntl
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback

from . import history, matrix, needs, nemesis, net, run, systems, workloads

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STALE_RATE_MAX = 150  # of a client's reads that may be 5 s old, fewer than 1,000 overlap
EXITS = {"valid": 0, "invalid": 1, "void": 2, "unknown": 2, "unsupported": 2}


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TARGETS = ("holdfastd", "holdfast_cli", "jepsen-client", "jepsen-sender", "jepsen_disk",
           "jepsen-power", "jepsen-wire", "history-check")


class Refused(Exception):
    """What was asked for cannot be done."""


class Stopped(BaseException):
    """A signal asked for the end; no failure, so nothing that handles failures may take it for
    one."""


def parser_of(doc):
    p = argparse.ArgumentParser(prog="jepsen/run", description=doc,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    add = p.add_argument
    add("--workload", default="register", metavar="W",
        help=", ".join(workloads.ALL))
    add("--nemesis", default="all", metavar="N,…",
        help="all, none, or some of: " + ", ".join(nemesis.KINDS))
    add("--time", type=float, default=60, metavar="S", help="seconds with faults (60)")
    add("--system", choices=tuple(systems.ALL), default="holdfast",
        help="what is tested, or a control: one Redis that syncs every write, or once a second "
             "(it must lose some when power goes), or with replicas where clients read (they must "
             "see what is old); a cluster of etcd, or one with reads that any member answers by "
             "itself (the same). Installs Debian's package of it if there is none")
    add("--nodes", type=int, default=5, metavar="N", help="3 to 9 (5)")
    add("--concurrency", type=int, default=20, metavar="N", help="client processes (20)")
    add("--rate", type=float, default=500, metavar="R", help="operations a second, of all (500)")
    add("--seed", type=int, metavar="S", help="of faults and operations; default: drawn")
    add("--test-count", type=int, default=1, metavar="N", help="runs, with seeds S, S + 1, …")
    add("--out", metavar="DIR", help="default: build/jepsen/<time>")
    add("--clients", choices=("mixed", "library", "cli", "sender"), default="mixed",
        help="the C library, the program holdfast, or those that a workload has (mixed); sender, of "
             "session alone: every change is sent twice or more by clients themselves")
    add("--read-mode", choices=("linearizable", "any", "lease", "mixed", "stale"),
        default="linearizable",
        help="of the library's reads: at the leader, any replica, by lease, or all in turn; stale, "
             "of register alone: from 10 ms to 5 s old, judged by that")
    add("--stale-as-new", action="store_true",
        help="--read-mode stale: judge its reads as if they might not be old; to see that some are")
    add("--timeout-ms", type=int, default=2000, metavar="MS", help="deadline of operations (2000)")
    add("--bin", metavar="DIR", help="programs; default: build/release/bin")
    add("--binary-b", metavar="FILE",
        help="another build of holdfastd: nodes start as they do without it, then each start of "
             "a node is of the other build than its last (--ssh: a path there)")
    add("--plant", metavar="BUG", help="a bug of docs/PLANTED.md; --bin is of the preset planted")
    add("--at-once", type=int, default=3, metavar="N", help="faults on at a time (3)")
    add("--pace", type=float, default=3, metavar="S",
        help="every 0.5 to S seconds a fault begins or ends (3)")
    add("--floor-ok", type=float, default=20, metavar="R",
        help="with fewer answers a second a run is void (20)")
    add("--floor-share", type=float, default=0.5, metavar="X",
        help="with a smaller share of answers a run is void (0.5)")
    add("--expect", default="valid", metavar="WHAT",
        help="invalid: of a control that must be; its exit status is 0 then, and 1 if it is valid. "
             "CHECK:ANOMALY (strict-set:lost), CHECK, or " + ", ".join(run.OTHER_CAUSES) + ": the "
             "same, but only if that is what is wrong; several with commas: one of them")
    add("--disk-mib", type=int, default=256, metavar="N", help="size of small disks (256)")
    add("--keep-data", action="store_true", help="leave the nodes' data folders")
    add("--ssh", metavar="HOST,…", help="on these machines instead of namespaces")
    add("--there", default="/var/tmp/holdfast-jepsen", metavar="DIR",
        help="--ssh: folder to make on each machine")
    add("--bin-there", metavar="DIR", help="--ssh: where the programs are on each machine")
    add("--all", action="store_true",
        help="every workload against every nemesis and all at once, a run each; with --workload or "
             "--nemesis that row or those columns of it")
    add("--suite", metavar="FILE",
        help="a line of flags for each run; flags given beside it are added to every line")
    add("--dry", action="store_true", help="say what would run, and end: a line for each run")
    add("--clean", action="store_true", help="remove what killed runs left, and end")
    add("--list", action="store_true", help="workloads and nemeses, and what this build has")
    add("--quiet", action="store_true", help="verdicts only")
    return p


def fail(text):
    print(f"jepsen/run: {text}", file=sys.stderr)
    return 2


def features(bin_dir):
    """What the client of this build can do."""
    try:
        done = subprocess.run([os.path.join(bin_dir, "jepsen-client"), "--features"],
                              capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return set()
    return set(done.stdout.split())


def commands(bin_dir):
    """Which operator's commands the program holdfast has."""
    found = set()
    for group in ("range", "node", "store"):
        try:
            done = subprocess.run([os.path.join(bin_dir, "holdfast"), group, "--help"],
                                  capture_output=True, text=True, timeout=10, check=False)
        except OSError:
            continue
        for line in done.stdout.splitlines():
            if line.startswith("  ") and done.returncode == 0:
                found.add(f"{group} {line.split()[0]}")
    return found


def unsupported(workload, kinds, bin_dir):
    """Why this product cannot run it; None if it can."""
    if workload not in features(bin_dir):
        return (f"workload {workload}: the client library of this version has no "
                f"{workloads.ALL[workload].needs or workload}")
    for kind in kinds:
        wanted = nemesis.NEEDS_COMMAND.get(kind)
        if wanted and not set(wanted) & commands(bin_dir):
            return f"nemesis {kind}: 'holdfast' of this version has none of: {', '.join(wanted)}"
    return None


def kinds_of(text, bin_dir):
    """The list of nemeses; raises ValueError naming an unknown one."""
    if text == "none":
        return []
    kinds = []
    for name in text.split(","):
        if name == "all":
            has = commands(bin_dir)
            kinds += [k for k in nemesis.ALL
                      if not nemesis.NEEDS_COMMAND.get(k) or set(nemesis.NEEDS_COMMAND[k]) & has]
        elif name in nemesis.KINDS:
            kinds.append(name)
        else:
            raise ValueError(f"no nemesis '{name}': all, none, {', '.join(nemesis.KINDS)}")
    return list(dict.fromkeys(kinds))


def build():
    """From a fresh clone, or one with newer sources, to programs. False after saying what went
    wrong."""
    folder = os.path.join(ROOT, "build", "release")
    is_built = all(os.path.exists(os.path.join(folder, "bin", p)) for p in needs.PROGRAMS)
    make = ["cmake", "--build", "--preset", "release", "--target", *TARGETS]
    with locked(os.path.join(ROOT, "build"), wait=True):
        if is_built and shutil.which("cmake") is None:
            return True  # programs that were brought here
        if is_built:
            return succeeds(make, "building what is older than its sources …")
        print("building (once) …", flush=True)
        return all(map(succeeds, (["tools/deps"], ["cmake", "--preset", "release"], make)))


def succeeds(command, if_long=None):
    """Run it here, and tell now and then how far it is, after the text; all that it says is
    shown if it fails."""
    said, shown = [], time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as process:
        for line in process.stdout:
            said.append(line)
            if time.monotonic() - shown > 10:
                print(*([if_long] if if_long else []), f"  {line.rstrip()[:90]}", sep="\n",
                      flush=True)
                shown, if_long = time.monotonic(), None
    if process.returncode != 0:
        print(f"jepsen/run: {shlex.join(command)}:\n{''.join(said)[-6000:]}", file=sys.stderr)
    return process.returncode == 0


def check_sizes(options):
    """What holds for every system."""
    if not 1 <= options.concurrency <= 500 or not 0 < options.rate <= 100000:
        return "--concurrency is 1 to 500, --rate above 0 and at most 100000"
    if not 1 <= options.time <= 86400 or options.test_count < 1 or options.timeout_ms < 1:
        return "--time is 1 to 86400 s, --test-count and --timeout-ms at least 1"
    if options.at_once < 1 or options.pace <= 0.5 or not 128 <= options.disk_mib <= 4096:
        return "--at-once is at least 1, --pace above 0.5, --disk-mib 128 to 4096"
    return None


def check_expected(options):
    """What is wrong with --expect; None if nothing is."""
    if options.expect in ("valid", "invalid"):
        return None
    names = list(run.OTHER_CAUSES)
    for model in workloads.ALL[options.workload].models:
        names += [model, *(f"{model}:{a}" for a in history.ANOMALIES[model])]
    for cause in options.expect.split(","):
        if cause not in names:
            return (f"--expect: {options.workload} cannot be wrong by '{cause}': valid, invalid, "
                    + ", ".join(names))
    return None


def check_control(options):
    """What is wrong for a system that is not Holdfast: it has a few workloads and faults."""
    name, system = f"--system {options.system}", systems.ALL[options.system]
    nemeses = system.nemeses(options.system)
    if options.workload not in system.WORKLOADS:
        return f"{name} has the workloads {', '.join(system.WORKLOADS)}"
    if not set(options.nemesis.split(",")) <= {"all", "none", *nemeses}:
        return f"{name} has the nemeses {', '.join(nemeses)}"
    if (options.ssh or options.binary_b or options.plant or options.clients != "mixed"
            or options.read_mode != "linearizable" or options.stale_as_new):
        return f"{name} takes no --ssh, --binary-b, --plant, --clients, --read-mode"
    if options.nemesis == "all":
        options.nemesis = ",".join(nemeses)
    options.nodes = system.nodes_of(options.system, options.nodes)
    return check_sizes(options) or system.install()


def check(options):
    """What is wrong with the flags; None if nothing is."""
    if options.workload not in workloads.ALL:
        return f"no workload '{options.workload}': {', '.join(workloads.ALL)}"
    if not 3 <= options.nodes <= 9:
        return "--nodes is 3 to 9"
    wrong = check_expected(options)
    if wrong:
        return wrong
    if options.system != "holdfast":
        return check_control(options)
    if options.read_mode == "stale" and options.workload != "register":
        return "--read-mode stale: its reads are judged in register alone"
    if options.read_mode == "stale" and options.rate > STALE_RATE_MAX * options.concurrency:
        return (f"--read-mode stale: at most {STALE_RATE_MAX} operations a second of a client "
                "(--rate, --concurrency)")
    if options.stale_as_new and options.read_mode != "stale":
        return "--stale-as-new is of --read-mode stale"
    if options.clients not in ("mixed", *workloads.ALL[options.workload].clients):
        return f"--clients: {options.workload} has no clients of the kind {options.clients}"
    if options.ssh and not re.fullmatch(r"/[\w./-]+", options.there):
        return "--there is an absolute path of letters, digits and ._-/"
    if options.binary_b and not options.ssh and not os.access(options.binary_b, os.X_OK):
        return f"--binary-b: {options.binary_b} is no program"
    if options.binary_b and options.ssh and not options.binary_b.startswith("/"):
        return "--binary-b is an absolute path with --ssh"
    return check_sizes(options)


def prepare(options):
    """Fill in what follows from the flags. None, or (exit status, text)."""
    options.bin = os.path.abspath(options.bin or os.path.join(ROOT, "build", "release", "bin"))
    wrong = check(options)
    if wrong:
        return 2, wrong
    try:
        options.nemesis = kinds_of(options.nemesis, options.bin)
    except ValueError as error:
        return 2, str(error)
    options.ssh = options.ssh.split(",") if options.ssh else []
    lines = needs.missing(options.nemesis, options.bin, options.ssh)
    if lines:
        return 2, "cannot run here:\n  " + "\n  ".join(lines)
    why = unsupported(options.workload, options.nemesis, options.bin)
    if why:
        return 2, f"unsupported: {why}"
    if options.ssh:
        options.nodes = len(options.ssh)
    options.bin_there = options.bin_there or options.bin
    if options.binary_b and not options.ssh:
        options.binary_b = os.path.abspath(options.binary_b)
    options.faketime = needs.faketime_library()
    options.has_clock = "clock" in options.nemesis
    options.has_disk = bool({"power", "disk", "sync"} & set(options.nemesis))
    options.has_full = "full" in options.nemesis
    options.links = "bridge"
    if "slow" in options.nemesis:
        options.links = "netem" if needs.has_netem() else "wire"
    options.stop_early = True
    return None


def make_folder(folder):
    """An empty one; what an earlier run left in it goes, and nothing else."""
    os.makedirs(folder, exist_ok=True)
    names = os.listdir(folder)
    ours = ["history.jsonl", "history.edn", "result.json", "report.html", "rate.svg",
            "latency.svg", "faults.svg", *(f"n{i}" for i in range(1, 10))]
    if names and not ("n1" in names and set(names) <= set(ours)):
        raise Refused(f"{folder} is not empty, and not of a run: another --out")
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def perform(options, argv, seed, folder):
    """One run; its result."""
    options.seed, options.out = seed, os.path.abspath(folder)
    with locked(options.out):
        return perform_in(options, argv, seed)


@contextlib.contextmanager
def locked(folder, wait=False):
    """The folder is this run's alone: two in one would spoil each other's nodes."""
    os.makedirs(folder, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Refused(f"another run uses {folder}: another --out") from None
        yield
    finally:
        os.close(handle)


def perform_in(options, argv, seed):
    make_folder(options.out)
    options.command = shlex.join(["jepsen/run", *argv, *([] if "--seed" in argv
                                                         else ["--seed", str(seed)])])

    def say(text):
        if not options.quiet:
            print(f"  {text}", flush=True)

    return run.Run(options, say).perform()


def summary(result, folder):
    f = result["figures"]
    return (f"{result['verdict'].upper() if result['verdict'] != 'valid' else 'valid':8} "
            f"{result['workload']:9} seed {result['seed']}: {f['operations']} operations, "
            f"{f['ok_share']:.0%} answered, {f['rate']:g}/s, {len(result['timeline'])} faults; "
            f"{result['why']}\n" + "".join(f"         WEAK: {line}\n" for line in result["weak"])
            + f"         {folder}/report.html")


def single(parser, argv, folder, quiet):
    """Parse, prepare and perform one run; (exit status, line about it, result or None)."""
    options = parser.parse_args(argv)
    options.quiet = options.quiet or quiet
    wrong = prepare(options)
    if wrong:
        return *wrong, None
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    folder = options.out or folder
    try:
        result = perform(options, argv, seed, folder)
    except Refused as error:
        return 2, str(error), None
    except Exception as error:  # pylint: disable=broad-except
        text = "".join(traceback.format_exception(error))
        return 2, f"no verdict, for the harness failed: {type(error).__name__}: {error}\n{text}", None
    status, text = status_of(result, options.expect), summary(result, folder)
    if status == 1 and options.expect != "valid":
        text += f"\n         not as expected: {options.expect}"
    return status, text, result


def status_of(result, expected):
    """Void and unknown are never what was expected, and invalid only by a cause that was."""
    status = EXITS[result["verdict"]]
    if expected == "valid" or status == 2:
        return status
    causes = [name for cause in result["causes"] for name in (cause, cause.split(":")[0])]
    is_it = expected == "invalid" or set(expected.split(",")) & set(causes)
    return 0 if status == 1 and is_it else 1


def on_signal(number, _frame):
    """The first one ends the run; while it is taken down, which is bounded, others are not heard."""
    for each in SIGNALS:
        signal.signal(each, lambda *_: None)
    raise Stopped(signal.Signals(number).name)


def main(doc):
    parser = parser_of(doc)
    argv = sys.argv[1:]
    options = parser.parse_args(argv)
    argv = [word for word in argv if word != "--dry"]
    if options.clean:
        namespaces, mounts = net.clean()
        print(f"of killed runs {namespaces} namespaces and {mounts} mounts are removed")
        return 0
    try:
        many = matrix.runs_of(parser, options, argv)
    except (OSError, ValueError) as error:
        return fail(f"--suite: {error}")
    if options.dry:
        return matrix.show(parser, many or [(argv, "")])
    if options.bin is None and not build():
        return 2
    bin_dir = os.path.abspath(options.bin or os.path.join(ROOT, "build", "release", "bin"))
    if options.list:
        for name in workloads.ALL:
            print(f"workload {name:10} {unsupported(name, [], bin_dir) or 'yes'}")
        for kind in nemesis.KINDS:
            print(f"nemesis  {kind:10} {unsupported('register', [kind], bin_dir) or 'yes'}")
        return 0
    folder = options.out or os.path.join(ROOT, "build", "jepsen",
                                         time.strftime("%Y-%m-%d-%H%M%S"))
    for number in SIGNALS:
        signal.signal(number, on_signal)
    try:
        if many is not None:
            return matrix.several(lambda argv, out: single(parser, argv, out, True), many,
                                  os.path.abspath(folder))
        status, text, _ = single(parser, argv, folder, False)
    except Stopped as error:
        return fail(f"ended by {error}; everything was taken down")
    if status == 2 and "\n         " not in text:
        return fail(text)
    print(text)
    return status
