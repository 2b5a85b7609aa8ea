#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of the second kind: the same lines of JSON as jepsen-client, but every operation
is one run of the program holdfast.

    cli_client.py PROGRAM ENDPOINTS
"""
import json
import subprocess
import sys
import time

PROGRAM, ENDPOINTS = sys.argv[1:]
DONE, ERROR, USAGE, NOT_MET, UNDETERMINED = range(5)


def argv_of(request):
    key, value = request.get("key"), request.get("value")
    f = request["f"]
    expiry = ["--ttl", f"{request['ttl_ms']}ms"] if request.get("ttl_ms") else []
    if f == "read":
        return ["get", key]
    if f == "write":
        return ["put", key, str(value), *expiry]
    if f == "delete":
        return ["del", key]
    if f == "cas" and value[0] is None:
        return ["put", key, str(value[1]), "--if-absent", *expiry]
    if f == "cas" and expiry:
        return ["put", key, str(value[1]), "--if-value", str(value[0]), *expiry]
    if f == "cas":
        return ["cas", key, str(value[0]), str(value[1])]
    if f == "add":
        return ["incr", key, str(value)]
    if f == "append":
        return ["append", key, str(value)]
    if f == "scan":
        return ["scan", key]
    raise ValueError(f"the program has no {f}")


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return {}


def version_of(said):
    return {"version": said["version"]} if said.get("version") else {}


def answer(request, code, out, err):
    """What the exit status and the output mean."""
    f = request["f"]
    said = parsed(out) if f != "scan" else {}
    if code == DONE and not said and f != "scan":
        return {"type": "info", "error": "NO_ANSWER"}
    if code == UNDETERMINED:
        return {"type": "info", "error": "UNDETERMINED", "message": err.strip()}
    if code == DONE:
        done = {"type": "ok"}
        if f == "scan":
            rows = [json.loads(line) for line in out.splitlines()]
            done["value"] = [[r["key"], r["value"], r["version"]] for r in rows]
        elif f == "read":
            done.update(value=said["value"], left_ms=said.get("ttl_ms", 0))
        elif f == "add" and "number" in said:
            done["number"] = said["number"]
        return {**done, **version_of(said)}
    if code == NOT_MET and f == "read":
        return {"type": "ok", "value": None}
    if code == NOT_MET:
        return {"type": "fail", "error": "CONDITION_FAILED", "mismatch": True,
                "seen": said.get("value"), **version_of(said)}
    if code == ERROR:
        return {"type": "fail", "error": "ERROR", "message": err.strip()}
    # killed by a signal, or a status that means nothing: anything may have happened
    return {"type": "info", "error": f"STATUS_{code}", "message": err.strip()}


def perform(request):
    timeout = f"{request['timeout_ms']}ms"
    began = time.monotonic_ns()
    done = subprocess.run([PROGRAM, *argv_of(request), "--endpoints", ENDPOINTS, "--timeout",
                           timeout, "--json"], capture_output=True, text=True, check=False)
    ended = time.monotonic_ns()
    return {**answer(request, done.returncode, done.stdout, done.stderr), "t0": began,
            "t1": ended}


def main():
    for line in sys.stdin:
        print(json.dumps(perform(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
