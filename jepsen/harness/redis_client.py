#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client of Redis: the same lines of JSON as jepsen-client, in RESP over one connection to
each of the two that it is told: where it writes, and where it reads.

    redis_client.py PRIMARY_HOST:PORT READS_HOST:PORT
"""
import socket
import sys
import time

import answers

READS = ("read", "scan")
# What one command does is done as one: Redis runs a script to its end.
CAS = """local now = redis.call('GET', KEYS[1])
local met = ARGV[1] == 'absent' and not now or ARGV[1] == 'value' and now == ARGV[2]
if met then redis.call('SET', KEYS[1], ARGV[3]) return {1} end
return {0, now}"""
SCAN = """local rows = {}
local keys = redis.call('KEYS', KEYS[1] .. '*')
table.sort(keys)
for i, key in ipairs(keys) do rows[2 * i - 1] = key; rows[2 * i] = redis.call('GET', key) end
return rows"""


class Refused(Exception):
    """Redis says that it did nothing."""


class Connection:
    def __init__(self, endpoint, until):
        host, port = endpoint.rsplit(":", 1)
        left = max(0.001, until - time.monotonic())
        self.socket = socket.create_connection((host, int(port)), left)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def ask(self, words, until):
        parts = [str(w).encode() for w in words]
        out = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        self.socket.settimeout(max(0.001, until - time.monotonic()))
        self.socket.sendall(out)
        return self.answer(until)

    def more(self, until):
        self.socket.settimeout(max(0.001, until - time.monotonic()))
        got = self.socket.recv(1 << 16)
        if not got:
            raise ConnectionResetError
        self.rest += got

    def line(self, until):
        while b"\r\n" not in self.rest:
            self.more(until)
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line.decode()

    def answer(self, until):
        line = self.line(until)
        kind, text = line[0], line[1:]
        if kind == "-":
            raise Refused(text)
        if kind == "+":
            return text
        if kind == ":":
            return int(text)
        count = int(text)
        if count < 0:
            return None
        if kind == "*":
            return [self.answer(until) for _ in range(count)]
        while len(self.rest) < count + 2:
            self.more(until)
        value, self.rest = self.rest[:count], self.rest[count + 2:]
        return value.decode()


def words_of(request):
    f, key, value = request["f"], request["key"], request.get("value")
    if f == "cas":
        how = "absent" if value[0] is None else "value"
        return ["EVAL", CAS, 1, key, how, value[0] or "", value[1]]
    return {"read": ["GET", key], "write": ["SET", key, value], "delete": ["DEL", key],
            "add": ["INCRBY", key, value], "scan": ["EVAL", SCAN, 1, key]}[f]


def done(request, said):
    f = request["f"]
    if f == "cas" and said[0] == 0:
        return {"type": "fail", "error": "CONDITION_FAILED", "mismatch": True,
                "seen": said[1] if len(said) > 1 else None}
    if f == "read":
        return {"type": "ok", "value": said}
    if f == "scan":
        return {"type": "ok", "value": [[k, v, 0] for k, v in zip(said[::2], said[1::2])]}
    if f == "add":
        return {"type": "ok", "number": said}
    return {"type": "ok"}


class Client:
    def __init__(self, primary, reads_at):
        self.endpoints = {False: primary, True: reads_at}
        self.connections = {}  # endpoint -> Connection

    def connection(self, endpoint, until):
        if endpoint not in self.connections:
            self.connections[endpoint] = Connection(endpoint, until)
        return self.connections[endpoint]

    def perform(self, request):
        until = time.monotonic() + request["timeout_ms"] / 1000
        is_read = request["f"] in READS
        endpoint, connection = self.endpoints[is_read], None
        while connection is None:
            try:
                connection = self.connection(endpoint, until)
            except OSError as error:
                if time.monotonic() > until - 0.05:
                    return {"type": "fail", "error": "UNAVAILABLE", "message": str(error)}
                time.sleep(0.05)
        try:
            return done(request, connection.ask(words_of(request), until))
        except Refused as error:
            return {"type": "fail", "error": "REFUSED", "message": str(error)}
        except OSError as error:
            self.connections.pop(endpoint).socket.close()
            return {"type": "fail" if is_read else "info", "error": "LOST", "message": str(error)}


if __name__ == "__main__":
    answers.serve(Client(*sys.argv[1:3]))
