#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`holdfast range list|show|split|merge` on real processes: ranges are cut and made one
again under load, nothing is lost, and all replicas of all ranges stay alike."""
import json
import os
import signal
import socket
import subprocess
import threading

from cluster import BIN, Cluster, check, main, wait_until


def ranges(c):
    """As they stand, once the whole space of keys is covered and led."""
    def whole():
        done = c.run("range", "list", "--json")
        if done.returncode != 0:
            return None
        found = json.loads(done.stdout)["ranges"]
        ends = [r["end"] for r in found]
        starts = [r["start"] for r in found]
        is_whole = starts[0] is None and ends[-1] is None and starts[1:] == ends[:-1]
        return found if is_whole and all(r["leader"] for r in found) else None
    return wait_until("ranges cover all keys", 30, whole)


def fill(c, count):
    c.ok("import", stdin="".join(json.dumps({"key": f"key{i:05d}", "value": f"value of {i}"}) + "\n"
                                 for i in range(count)))


def values(c):
    return [json.loads(line) for line in c.ok("export").splitlines()]


def fault_client(c, **op):
    """What a client of the fault tests says of an operation."""
    line = json.dumps({**op, "timeout_ms": 10000}) + "\n"
    done = subprocess.run([f"{BIN}/jepsen-client", "--endpoints", c.endpoints], input=line,
                          capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(done.stdout)
    check(answer["type"] == "ok", answer)
    return answer


def read_at_once(c, *keys):
    answer = fault_client(c, f="reads", value=list(keys))
    check([v for _, v in answer["value"]] == [f"value of {int(k[3:])}" for k in keys], answer)
    return answer


def test_by_hand():
    with Cluster() as c:
        fill(c, 2000)
        first = ranges(c)
        check(len(first) == 1 and len(first[0]["replicas"]) == 3, first)
        c.ok("range", "split", "key00500", "key01000")
        found = ranges(c)
        check([r["start"] and r["start"]["key"] for r in found] == [None, "key00500", "key01000"],
              found)
        check(found[0]["id"] == first[0]["id"] and len({r["id"] for r in found}) == 3, found)
        check(len(values(c)) == 2000)
        answer = read_at_once(c, "key00100", "key00700")
        check(answer.get("parted") is True and "version" not in answer, "two ranges:", answer)
        answer = read_at_once(c, "key00700", "key00600")
        check("parted" not in answer and answer["version"] > 0, "one range:", answer)
        answer = fault_client(c, f="scan", key="key0", value=[300, 0])
        moments = [moment for *_, moment in answer["value"]]
        check(moments == [1] * 500 + [2] * 500 + [3] * 1000 and "version" not in answer, moments)
        answer = fault_client(c, f="scan", key="key006", value=[30, 0])
        check({m for *_, m in answer["value"]} == {1} and answer.get("version", 0) > 0, answer)
        why = c.ok("placement", "explain", str(first[0]["id"]))
        check("3 of 3 voters healthy" in why and "replica " in why, why)
        check("is up" in c.ok("placement", "why-not", "1"), "why-not")
        check("stores carry" in c.ok("placement", "plan"), "a plan of what is")
        check("for want of a place" in c.ok("placement", "plan", "--if-gone", "1"), "a plan")
        check(c.run("placement", "explain", "999").returncode == 3, "a range that is not")
        check(c.ok("range", "check", "--all", timeout=120).count("alike: ") == 4, "range 1, too")
        check([r["id"] for r in c.json("range", "list", "--system")["ranges"]] ==
              [1, *(r["id"] for r in found)], "range 1 before the others")
        c.ok("put", "key00700", "new")
        check(c.ok("get", "key00700").strip() == "new")
        one = c.json("range", "show", str(found[1]["id"]))["ranges"]
        check(len(one) == 1 and one[0]["start"]["key"] == "key00500", one)
        check("'key00500'" in c.ok("range", "list"))
        check("took in" in c.ok("range", "merge", str(found[1]["id"]), str(found[2]["id"])))
        found = ranges(c)
        check(len(found) == 2 and found[1]["end"] is None, found)
        c.ok("range", "merge", str(found[0]["id"]), str(found[1]["id"]))
        check(len(ranges(c)) == 1)
        check(c.ok("get", "key00700").strip() == "new" and len(values(c)) == 2000)
        c.ok("range", "check", "--all", timeout=120)


def all_stores(c):
    """The number of the node of each store. Who joins while a leader dies may get a later id."""
    stores = c.json("node", "list")["stores"]
    return {s["store_id"]: next(i for i in range(1, c.nodes + 1) if c.address(i) == s["address"])
            for s in stores}


def stores_of(c, range_id, endpoints=None):
    shown = c.json("range", "show", str(range_id), endpoints=endpoints)["ranges"]
    return {m["store"] for m in shown[0]["replicas"]}


def move_without_a_cluster(c):
    """Who waits for a move is told when nobody is there any more who could tell of it."""
    here = stores_of(c, 2)
    stores = all_stores(c)
    target = (stores.keys() - here).pop()
    with open(c.path(stores[target], "pid"), encoding="ascii") as f:
        os.kill(int(f.read().split()[0]), signal.SIGSTOP)  # it cannot get its replica
    done = []
    waits = threading.Thread(target=lambda: done.append(c.run(
        "range", "move", "2", "--from", str(min(here)), "--to", str(target), timeout=300)))
    waits.start()
    wait_until("it goes on", 30, lambda: any(
        o["state"] == "running" for o in c.json("placement", "operators")["operators"]) or done)
    check(not done, done)
    c.local("kill", "all")
    waits.join()
    check(done[0].returncode == 4 and "no word of operator" in done[0].stderr, done[0].stderr)


def test_moves():
    """A replica goes where it is told to, by whoever leads; what is told is done when the
    command ends, and what cannot be done is refused with the reason."""
    with Cluster(nodes=4) as c:
        fill(c, 500)
        wait_until("range 2 has three replicas", 30, lambda: len(stores_of(c, 2)) == 3)
        c.rest("settings", "balance", "off")
        c.ok("range", "split", "key00250")
        for i in range(1, 5):  # also by a store that has no replica of the first range
            listed = json.loads(c.ok("range", "list", "--json", endpoints=c.address(i)))["ranges"]
            check([r["id"] for r in listed] == [r["id"] for r in ranges(c)] and
                  listed[0]["id"] == 2, "by node", i, listed)
        here = stores_of(c, 2)
        leader = ranges(c)[0]["leader"]
        target = (all_stores(c).keys() - here).pop()
        c.ok("range", "move", "2", "--from", str(leader), "--to", str(target))
        # the store that it left, too, though it may not have heard of that
        for asked in (c.endpoints, c.address(leader)):
            check(stores_of(c, 2, asked) == here - {leader} | {target}, asked, stores_of(c, 2))
        second = next(r["id"] for r in ranges(c) if r["id"] != 2)
        check("OK" in c.ok("range", "merge", "2", str(second)), "a merge over other stores")
        check(len(ranges(c)) == 1)
        other = (stores_of(c, 2) - {ranges(c)[0]["leader"]}).pop()
        c.ok("range", "transfer-leader", "--range", "2", "--to", str(other))
        wait_until("it leads", 10, lambda: ranges(c)[0]["leader"] == other)
        done = c.json("range", "scatter", "2")
        shown = c.json("placement", "operators", str(done["operator"]))["operators"]
        check(len(shown) == 1 and shown[0]["state"] == "done", shown)
        here = stores_of(c, 2)
        gone = (all_stores(c).keys() - here).pop()
        for argv, want, said in ((["move", "2"], 2, "--from"),
                                 (["move", "x", "--from", "1"], 2, "RANGE"),
                                 (["move", "2", "--from", str(gone)], 3, "no replica on store"),
                                 (["move", "77", "--from", "1"], 3, "no range 77"),
                                 (["move", "2", "--from", str(min(here)), "--to", "99"], 3, ""),
                                 (["add-replica", "2"], 1, "has its 3 voters"),
                                 (["remove-replica", "2", "--from", str(max(here))], 1, "needs its 3"),
                                 (["transfer-leader", "7", "--range", "2"], 2, "either")):
            done = c.run("range", *argv)
            check(done.returncode == want and said in done.stderr, argv, done.returncode,
                  done.stderr)
        c.rest("pause")
        c.ok("range", "add-replica", "2")
        check(len(stores_of(c, 2)) == 4, stores_of(c, 2))
        leads = ranges(c)[0]["leader"]
        c.ok("range", "remove-replica", "2", "--from", str((stores_of(c, 2) - {leads}).pop()))
        check(len(stores_of(c, 2)) == 3 and len(values(c)) == 500)
        c.ok("range", "check", "--all", timeout=120)
        move_without_a_cluster(c)


def test_refused():
    nobody = Cluster(nodes=1)
    with socket.socket() as place:  # so that no other test's node comes to be there
        host, port = nobody.endpoints.split(":")
        place.bind((host, int(port)))
        done = nobody.run("range", "list", "--json", "--timeout", "1s")
    check(done.returncode == 1 and json.loads(done.stdout)["ok"] is False, done.stdout)
    nobody.end(failed=False)
    with Cluster() as c:
        fill(c, 10)
        c.ok("range", "split", "key00003", "key00006")
        found = ranges(c)
        left, middle, right = (str(r["id"]) for r in found)
        for args, want, said in ((["merge", left, right], 1, "does not begin where"),
                                 (["merge", right, left], 1, "does not begin where"),
                                 (["merge", left, left], 2, "two different"),
                                 (["merge", left], 2, ""),
                                 (["merge", "0", left], 2, "above 0"),
                                 (["merge", left, "77", "--timeout", "1s"], 1, "no range 77"),
                                 (["show", "77", "--timeout", "1s"], 1, "no range 77"),
                                 (["split"], 2, "either"),
                                 (["split", "a", "--range", "2"], 2, "either"),
                                 (["split", "k" * 4097], 2, "1 to 4096 bytes"),
                                 (["split", "key00003"], 1, "not inside")):
            done = c.run("range", *args)
            check(done.returncode == want and said in done.stderr and done.stderr, args,
                  done.returncode, done.stderr)
        check(ranges(c) == found or len(ranges(c)) == 3)
        c.ok("range", "merge", left, middle)


def test_under_load():
    with Cluster() as c:
        fill(c, 500)
        torture = c.torture(seconds=12)
        done = 0
        for i in range(6):
            c.ok("range", "split", f"key{100 + 50 * i:05d}", "t")
            while len(ranges(c)) > 1:
                found = ranges(c)
                if i == 3 and done % 2 == 0:
                    leader = found[0]["leader"]
                    c.local("kill", str(leader))
                    c.local("restart", str(leader))
                    found = ranges(c)
                answer = c.run("range", "merge", str(found[0]["id"]), str(found[1]["id"]),
                               "--timeout", "20s")
                check(answer.returncode in (0, 1), answer.stdout, answer.stderr)
                done += answer.returncode == 0
        check(done >= 6, done)
        torture.result()
        check(c.run("range", "check", "--all", timeout=120).returncode == 0)


if __name__ == "__main__":
    main(test_by_hand, test_moves, test_refused, test_under_load)
