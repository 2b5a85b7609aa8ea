# SPDX-License-Identifier: Apache-2.0
"""One run: a cluster, clients, faults, and the verdict."""
import hashlib
import json
import os
import re
import threading
import time
import traceback

from . import clients, control, history, nemesis, net, report, systems, workloads

TELLING = re.compile(r"^holdfastd: |Z error |assertion|damaged")
FIRST_S = 30  # of a cluster without faults, for each of the first operations
# Of invalid, beside checks; those that are so whatever became of the harness come first.
OTHER_CAUSES = ("ended", "replicas", "stuck", "gave_up", "drained", "incomplete")
EXCUSED_CAUSES = OTHER_CAUSES[2:]
WEAK_SHARE = 0.5  # of a kind of operation: with fewer answers the run says little of it
WEAK_OPERATIONS = 20  # fewer are no share
WORKERS_S = 60  # for clients to end, beyond the deadline of what they have begun
NEMESIS_S = 60
SETTLE_S = 90  # after the last heal, until the cluster must serve


class Void(Exception):
    """The run proves nothing."""


class Run:
    def __init__(self, options, say):
        self.options, self.say = options, say
        self.workload = workloads.ALL[options.workload](options)
        self.history = history.History()
        self.is_over = threading.Event()      # for clients
        self.faults_over = threading.Event()  # for the nemesis
        self.workers = []
        self.slow_orders = {}
        self.failures = []  # of the harness itself, in whatever thread
        self.gave_up = []  # operations whose outcome was called unknown before their deadline
        self.lone = clients.PROCESSES_MAX  # the process number of those who work one by one
        self.rotten = None  # the node whose files a fault spoils
        self.zero_ns = time.monotonic_ns()
        self.result = {"workload": options.workload, "nemesis": options.nemesis,
                       "seed": options.seed, "time_s": options.time, "nodes": options.nodes,
                       "concurrency": options.concurrency, "rate": options.rate,
                       "command": options.command, "plant": options.plant,
                       "system": options.system}
        nodes = [control.Node(i, net.address(i), os.path.join(options.out, f"n{i}"))
                 for i in range(1, options.nodes + 1)]
        if options.ssh:
            hosts = options.ssh
            nodes = [control.Node(i, h.split("@")[-1], f"{options.there}/n{i}")
                     for i, h in enumerate(hosts, 1)]
            self.control = control.SshControl(options, nodes, hosts)
        else:
            self.control = control.LocalControl(options, nodes)
            self.control.net.wire_program = os.path.join(options.bin, "jepsen-wire")
        self.nodes = nodes
        self.cluster = systems.ALL[options.system].Cluster(self.control, options)
        self.nemesis = None
        if options.nemesis:
            self.nemesis = nemesis.Nemesis(self, options.nemesis, options.seed, options.pace,
                                           options.at_once)

    def apply_slow(self):
        self.control.slow([o for orders in self.slow_orders.values() for o in orders])

    # ---- phases ---------------------------------------------------------------------------

    def perform(self):
        """All of it; the result, which is written to the folder as well."""
        try:
            self.control.set_up()
            self.cluster.birth()
            self.zero_ns = time.monotonic_ns()
            self.control.began = self.zero_ns / 1e9  # ends of nodes stand beside faults
            self.work()
        except (Void, RuntimeError, control.ControlError) as error:
            self.result["void"] = str(error)
        except Exception as error:  # pylint: disable=broad-except
            self.note_failure("the run", error)
        finally:
            self.is_over.set()
            self.faults_over.set()
            self.take_down()
        self.conclude()
        return self.result

    def take_down(self):
        """Everything ends. What one step cannot do does not keep the next ones from theirs, and is
        told; the nemesis comes first, so that nothing starts a node any more."""
        for what, step in (("the nemesis", self.end_nemesis), ("clients", self.end_workers),
                           ("nodes", self.stop_nodes), ("logs", self.control.fetch_logs),
                           ("the rest", self.control.tear_down)):
            try:
                step()
            except Exception as error:  # pylint: disable=broad-except
                self.note_failure(f"taking down {what}", error)

    def note_failure(self, who, error):
        """Of the harness itself, from any thread: the run proves nothing, and tells why."""
        self.failures.append({"at": round((time.monotonic_ns() - self.zero_ns) / 1e9, 1),
                              "who": who, "error": f"{type(error).__name__}: {error}",
                              "trace": "".join(traceback.format_exception(error))[-4000:]})
        self.say(f"{who} failed: {type(error).__name__}: {error}")

    def check_failures(self):
        if self.failures:
            raise Void(told_of(self.failures))

    def one_by_one(self, operations, seconds):
        """One after another, each again and again until it succeeds. What one of them never
        did in so many seconds; None if all succeeded."""
        worker = clients.Worker(self, 0, self.cluster.client_kind or "library")
        worker.process = self.lone
        worker.read_mode = "linearizable"  # what is left at the end must be what was written
        stuck = None
        for op in operations:
            until = time.monotonic() + seconds
            while stuck is None and worker.perform(op)["type"] != "ok":
                if time.monotonic() > until:
                    stuck = f"{op.op['f']} of {op.op.get('key', 'all')} never succeeded"
                worker.process += 1
                time.sleep(0.5)
            worker.process += 1
        self.lone = worker.process
        if worker.agent is not None:
            worker.agent.close()
        return stuck

    def work(self):
        stuck = self.one_by_one(self.workload.first(), FIRST_S)
        if stuck:
            raise Void(f"{stuck} though no fault was on yet")
        kinds = self.client_kinds()
        self.workers = [self.worker(i, kinds[i % len(kinds)])
                        for i in range(self.options.concurrency)]
        for worker in self.workers:
            worker.start()
        if self.nemesis:
            self.nemesis.start()
        self.wait_time()
        if self.nemesis:
            self.nemesis_ends()
            self.say("all faults are over; the cluster must serve again")
            began = time.monotonic()
            if not self.cluster.wait_serving(SETTLE_S):
                self.result["stuck"] = f"no write succeeded for {SETTLE_S} s after the last heal"
            self.result["settled_s"] = round(time.monotonic() - began, 2)
            time.sleep(2)  # of full rate without faults, for the figures
        self.result["engine"] = self.cluster.figures()
        self.end_workers()
        self.check_failures()
        if "stuck" not in self.result:
            stuck = self.one_by_one(self.workload.last(), SETTLE_S)
            if stuck:
                self.result["stuck"] = f"{stuck} for {SETTLE_S} s after the last heal"
            self.compare_replicas()

    def end_workers(self):
        """No operation begins any more; wait for those that are under way."""
        self.is_over.set()
        until = time.monotonic() + self.options.timeout_ms / 1000 + WORKERS_S
        for worker in self.workers:
            worker.join(max(0, until - time.monotonic()))
        if self.workers and "measured_s" not in self.result:
            self.result["measured_s"] = (time.monotonic_ns() - self.zero_ns) / 1e9
        late = [worker.name for worker in self.workers if worker.is_alive()]
        if late:  # what they do is not in the history
            raise Void(f"{', '.join(late)}: no end of it")

    def worker(self, number, kind):
        return (clients.Repeater if kind == "sender" else clients.Worker)(self, number, kind)

    def client_kinds(self):
        kind = self.cluster.client_kind or self.options.clients
        has = self.workload.clients
        if kind == "mixed" and "sender" in has:
            return ["sender", "library"]
        if kind == "mixed":
            return ["cli"] + ["library"] * 5 if "cli" in has else ["library"]
        return [kind]

    def wait_time(self):
        until = time.monotonic() + self.options.time
        shown = time.monotonic()
        while time.monotonic() < until:
            time.sleep(self.control.watch_every_s)
            for node in self.nodes:
                self.control.watch(node)
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                self.say(f"{int(self.options.time - (until - shown))} s: "
                         f"{len(self.history.events) // 2} operations"
                         + (f", faults: {'; '.join(f.text for f, _ in self.nemesis.on)}"
                            if self.nemesis else ""))
            self.check_failures()
            if any(not e[3] for e in self.control.exits) and self.options.stop_early:
                return

    def join_nemesis(self):
        self.faults_over.set()
        self.nemesis.join(NEMESIS_S)
        if self.nemesis.is_alive():
            raise Void("the nemesis does not end")

    def end_nemesis(self):
        """In a run that was cut short, too."""
        if self.nemesis is not None and self.nemesis.ident is not None:
            net.attempt_all([self.join_nemesis, self.nemesis.halt])

    def nemesis_ends(self):
        self.join_nemesis()
        left = self.nemesis.heal()
        self.check_failures()
        if left > 0:
            self.result["not_taken_back"] = left

    def compare_replicas(self):
        """A node that is down for good, or damaged where no other could take its place, is not
        waited for so long: it is not judged either."""
        down = [n.name for n in self.nodes if not self.control.is_running(n)]
        is_alone = self.rotten is not None and len(self.nodes) <= 3
        verdict, said = self.cluster.replicas_alike(20 if down or is_alone else 90)
        down += [n.name for n in self.nodes
                 if n.name not in down and not self.control.is_running(n)]
        self.result["replicas"] = {"verdict": verdict, "said": said[-4000:], "down": down}

    def stop_nodes(self):
        """One that cannot be reached does not keep the others running."""
        net.attempt_all([lambda: nemesis.in_threads(self.control.resume, self.nodes),
                         lambda: nemesis.in_threads(lambda n: self.control.stop(n, 20),
                                                    self.nodes)])

    # ---- verdict -------------------------------------------------------------------------------

    def conclude(self):
        options, result = self.options, self.result
        if self.workload.depends_on_clocks:
            self.control.clocks.tell(self.history.events, self.zero_ns)
        events = self.history.write(options.out)
        result["operations"] = count = {}
        for event in events:
            if event["type"] != "invoke":
                per = count.setdefault(event["f"], {"ok": 0, "fail": 0, "info": 0})
                per[event["type"]] += 1
        result["checks"] = {}
        path = os.path.join(options.out, "history.jsonl")
        for model in self.workload.models:
            if not events:
                break
            verdict, said = history.judge(os.path.join(options.bin, "history-check"), model, path)
            result["checks"][model] = {"verdict": verdict, "said": said[-200000:]}
        result["exits"] = [{"at": round(e[0], 1), "node": e[1], "status": e[2], "expected": e[3]}
                           for e in self.control.exits]
        result["slow_stops"] = [{"at": round(at, 1), "node": n}
                                for at, n in self.control.slow_stops]
        result["frames"] = self.control.frames()
        result["failures"] = self.failures
        result["gave_up"] = self.gave_up
        if options.binary_b:
            result["builds"] = self.builds()
        result["timeline"] = self.nemesis.timeline if self.nemesis else []
        why = self.workload.void()
        if why:
            result.setdefault("void", why)
        result["figures"] = report.figures(events, result)
        result["weak"] = weak(result["figures"])
        result["verdict"], result["why"] = self.verdict(result)
        with open(os.path.join(options.out, "result.json"), "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
        report.write(options.out, events, result, self.nodes)

    def builds(self):
        """Which two there were, and how often nodes were started with each."""
        found = {}
        for name, path in (("a", self.control.binary_a()), ("b", self.options.binary_b)):
            is_b = name == "b"
            found[name] = {"path": path, "starts": {
                n.name: n.starts_b if is_b else n.starts - n.starts_b for n in self.nodes}}
            if not self.options.ssh:
                with open(path, "rb") as f:
                    found[name]["sha256"] = hashlib.sha256(f.read()).hexdigest()
        return found

    def last_words(self, name):
        """The last line of a node's log that tells of more than its end."""
        with open(os.path.join(self.options.out, name, "log"), encoding="utf-8",
                  errors="replace") as f:
            lines = [line.strip() for line in f if line.strip()]
        telling = [line for line in lines[-40:] if TELLING.search(line)]
        return (telling or lines or ["(it said nothing)"])[-1][:300]

    def wrongs(self, result):
        """(cause, why) of all that makes it invalid, the first of which the verdict tells."""
        for exit_ in result["exits"]:
            if not exit_["expected"]:
                yield "ended", (f"{exit_['node']} ended by itself with status {exit_['status']}, "
                                f"and no fault explains it: {self.last_words(exit_['node'])}")
        for model, check in result["checks"].items():
            if check["verdict"] == "invalid":
                names = history.anomalies(model, check["said"])
                why = f"the history breaks the rules of {model}"
                for name in names or [""]:
                    yield (f"{model}:{name}" if name else model,
                           f"{why}: {', '.join(names)}" if name else why)
        replicas = result.get("replicas", {})
        if replicas.get("verdict") == "differ":
            yield "replicas", "replicas differ"
        if "stuck" in result:
            yield "stuck", result["stuck"]
        if result.get("gave_up"):
            first = result["gave_up"][0]
            yield "gave_up", (f"{len(result['gave_up'])} changes were undetermined before their "
                              f"deadline; the first, {first['f']}, after {first['took_ms']} ms "
                              f"of {first['deadline_ms']}: {first['message']}")
        if "not_taken_back" in result:
            yield "drained", (f"{result['not_taken_back']} drained nodes could not be taken back "
                              f"for {nemesis.UNFINISHED_S} s after the last heal")
        if replicas.get("verdict") == "incomplete" and not replicas["down"] and not self.rotten:
            yield "incomplete", "no check of the replicas came to an end though every node ran"

    def verdict(self, result):
        """("valid" | "invalid" | "void" | "unknown", why); notes all causes of invalid."""
        wrongs = list(self.wrongs(result))
        failures = result.get("failures")
        if failures:  # a cluster may be stuck for want of a harness, but not break its promises
            wrongs = [w for w in wrongs if w[0] not in EXCUSED_CAUSES]
        result["causes"] = list(dict.fromkeys(cause for cause, _ in wrongs))
        if wrongs:
            return "invalid", wrongs[0][1]
        if failures:
            return "void", told_of(failures)
        if "void" in result:
            return "void", result["void"]
        for model, check in result["checks"].items():
            if check["verdict"] == "unknown" and model not in self.workload.may_be_unknown:
                return "unknown", f"the checker of {model} came to no verdict"
        if self.options.binary_b and not any(n.starts_b for n in self.nodes):
            return "void", ("no node ever ran the second build: a nemesis that starts nodes is "
                            "needed")
        figures = result["figures"]
        if figures["ok"] < self.options.floor_ok * self.options.time:
            return "void", (f"only {figures['ok']} operations succeeded, less than "
                            f"{self.options.floor_ok:g} a second")
        if figures["ok_share"] < self.options.floor_share:
            return "void", f"only {figures['ok_share']:.0%} of the operations succeeded"
        return "valid", "every check passed"


def told_of(failures):
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return f"the harness failed: {failures[0]['who']}: {failures[0]['error']}{more}"


def weak(figures):
    """Lines about kinds of operations of which most came to nothing: of these a valid run says
    little."""
    return [f"of {n['operations']} operations of the kind {kind} only {n['answered']} were answered"
            for kind, n in figures["by_kind"].items()
            if n["operations"] >= WEAK_OPERATIONS
            and n["answered"] < WEAK_SHARE * n["operations"]]
