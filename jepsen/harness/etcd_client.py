#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of etcd: the same lines of JSON as jepsen-client, through the gateway for JSON that
every etcd has.

    etcd_client.py linearizable|serializable HOST:PORT,…

It talks to the first endpoint, and to the next one when that fails. What failed after it was
sent is not known if it could change something. Versions are etcd's revisions."""
import base64
import http.client
import json
import sys
import time

import answers


class Lost(Exception):
    """No answer that tells what became of it."""

    def __init__(self, why, is_change):
        super().__init__(why)
        self.is_change = is_change


class Unmet(Exception):
    """A condition was not met: certainly not done."""

    def __init__(self, **more):
        super().__init__()
        self.more = more


def b64(text):
    return base64.b64encode(str(text).encode()).decode()


def text_of(kv):
    return base64.b64decode(kv.get("value", "")).decode()


def pair_of(answer):
    """(value, revision) of a range of one key; (None, 0): it is not there."""
    kvs = answer.get("kvs", [])
    return (text_of(kvs[0]), int(kvs[0]["mod_revision"])) if kvs else (None, 0)


def revision_of(answer):
    return int(answer["header"]["revision"])


def end_of(prefix):
    """The first key that does not begin with it."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def unchanged(key, revision):
    return {"key": b64(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def put(key, value):
    return {"request_put": {"key": b64(key), "value": b64(value)}}


class Client:
    def __init__(self, endpoints, is_serializable):
        self.endpoints, self.is_serializable = endpoints, is_serializable
        self.connection = None
        self.until = 0

    # ---- asking ---------------------------------------------------------------------

    def connect(self):
        while self.connection is None:
            left = self.until - time.monotonic()
            if left <= 0:
                raise Lost("no endpoint answers", False)
            host, port = self.endpoints[0].rsplit(":", 1)
            # one that is cut off gets a share of the time, for the others may answer
            connection = http.client.HTTPConnection(host, int(port), timeout=min(left, 0.4))
            try:
                connection.connect()
                self.connection = connection
            except OSError:
                self.next_endpoint()
                time.sleep(0.01)

    def next_endpoint(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        self.endpoints = self.endpoints[1:] + self.endpoints[:1]

    def ask(self, path, body, is_change=False):
        self.connect()
        try:
            self.connection.sock.settimeout(max(0.001, self.until - time.monotonic()))
            self.connection.request("POST", "/v3/" + path, json.dumps(body),
                                    {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            said = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.next_endpoint()
            raise Lost(f"{type(error).__name__}: {error}", is_change) from None
        if response.status != 200:
            self.next_endpoint()
            raise Lost(said.decode(errors="replace")[:200], is_change)
        return json.loads(said)

    def range(self, key, **more):
        return {"key": b64(key), "serializable": self.is_serializable, **more}

    def get(self, key):
        return pair_of(self.ask("kv/range", self.range(key)))

    def get_all(self, keys):
        """[(value, revision)] of one moment."""
        body = {"success": [{"request_range": self.range(k)} for k in keys]}
        return [pair_of(r["response_range"])
                for r in self.ask("kv/txn", body).get("responses", [])]

    def commit(self, compare, success, failure=()):
        """The answer of a transaction that changes something if all comparisons hold."""
        return self.ask("kv/txn", {"compare": compare, "success": success,
                                   "failure": list(failure)}, is_change=True)

    # ---- operations -----------------------------------------------------------------

    def read(self, key, _value):
        value, revision = self.get(key)
        return {"value": value, **({"version": revision} if revision else {})}

    def write(self, key, value):
        said = self.ask("kv/put", {"key": b64(key), "value": b64(value)}, is_change=True)
        return {"version": revision_of(said)}

    def delete(self, key, _value):
        self.ask("kv/deleterange", {"key": b64(key)}, is_change=True)
        return {}

    def cas(self, key, value):
        expected, after = value
        compare = {"key": b64(key), "result": "EQUAL"}
        if expected is None:
            compare.update(target="CREATE", create_revision="0")
        else:
            compare.update(target="VALUE", value=b64(expected))
        said = self.commit([compare], [put(key, after)], [{"request_range": {"key": b64(key)}}])
        if said.get("succeeded"):
            return {"version": revision_of(said)}
        seen, revision = pair_of(said["responses"][0]["response_range"])
        raise Unmet(seen=seen, **({"version": revision} if revision else {}))

    def add(self, key, delta):
        while True:
            value, revision = self.get(key)
            after = int(value or 0) + delta
            said = self.commit([unchanged(key, revision)], [put(key, after)])
            if said.get("succeeded"):
                return {"number": after, "version": revision_of(said)}

    def reads(self, _key, keys):
        return {"value": [[k, v] for k, (v, _) in zip(keys, self.get_all(keys))]}

    def changes(self, _key, changes):
        """Values before; appends are to what is there when all is done at once."""
        while True:
            keys = [change[1] for change in changes]
            before = self.get_all(keys)
            after = [(value or "") + change[2] if change[0] == "append" else change[2]
                     for change, (value, _) in zip(changes, before)]
            said = self.commit([unchanged(k, r) for k, (_, r) in zip(keys, before)],
                               [put(k, v) for k, v in zip(keys, after)])
            if said.get("succeeded"):
                return {"value": [v for v, _ in before], "version": revision_of(said)}

    def transfer(self, _key, value):
        source, target, amount = value
        rows = self.get_all([source, target])
        if any(v is None for v, _ in rows) or int(rows[0][0]) < amount:
            raise Unmet()
        said = self.commit([unchanged(k, r) for k, (_, r) in zip((source, target), rows)],
                           [put(source, int(rows[0][0]) - amount),
                            put(target, int(rows[1][0]) + amount)])
        if not said.get("succeeded"):
            raise Unmet()
        return {}

    def scan(self, key, value):
        """Pages with pauses, all at the first one's revision."""
        page, pause_ms = value
        rows, start, revision = [], b64(key), 0
        while True:
            said = self.ask("kv/range", {
                "key": start, "range_end": b64(end_of(key)), "limit": str(page),
                "revision": str(revision), "serializable": self.is_serializable})
            revision = revision or revision_of(said)
            kvs = said.get("kvs", [])
            rows += [[base64.b64decode(kv["key"]).decode(), text_of(kv), int(kv["mod_revision"])]
                     for kv in kvs]
            if not said.get("more"):
                return {"value": rows, "version": revision}
            start = base64.b64encode(base64.b64decode(kvs[-1]["key"]) + b"\0").decode()
            time.sleep(pause_ms / 1000)

    def leader(self, _key, _value):
        """Where the one is that leads, by the first that answers; None: they do not say."""
        said = self.ask("maintenance/status", {})
        leader = said.get("leader", "0")
        for endpoint in list(self.endpoints) if leader != "0" else []:
            self.next_endpoint()
            self.endpoints = [endpoint, *(e for e in self.endpoints if e != endpoint)]
            try:
                if self.ask("maintenance/status", {})["header"]["member_id"] == leader:
                    return {"value": endpoint}
            except Lost:
                pass
        return {"value": None}

    OPERATIONS = {"read": read, "write": write, "delete": delete, "cas": cas, "add": add,
                  "reads": reads, "changes": changes, "transfer": transfer, "scan": scan,
                  "leader": leader}

    def perform(self, request):
        self.until = time.monotonic() + request["timeout_ms"] / 1000
        try:
            operation = self.OPERATIONS[request["f"]]
            return {"type": "ok", **operation(self, request.get("key"), request.get("value"))}
        except Unmet as unmet:
            return {"type": "fail", "error": "CONDITION_FAILED", "mismatch": True, **unmet.more}
        except Lost as lost:
            return {"type": "info" if lost.is_change else "fail", "error": "LOST",
                    "message": str(lost)}


if __name__ == "__main__":
    answers.serve(Client(sys.argv[2].split(","), sys.argv[1] == "serializable"))
