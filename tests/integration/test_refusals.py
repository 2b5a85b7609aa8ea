#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a store must refuse: one clear line, exit status 1, nothing harmed."""
import os
import shutil
import socket
import subprocess
import tempfile

from cluster import BIN, Cluster, check, free_ports, main, wait_until


def serve(*args, timeout=20):
    """Run holdfastd, which must end by itself; (exit status, output)."""
    done = subprocess.run([f"{BIN}/holdfastd", *args], capture_output=True, text=True,
                          timeout=timeout, check=False)
    return done.returncode, done.stdout + done.stderr


def refuses(want, *args, status=1):
    code, text = serve(*args)
    check(code == status, "exit", code, text[-1500:])
    last = text.strip().splitlines()[-1] if text.strip() else ""
    check(any(word in text for word in want), "says", repr(last), "and none of", want)


def flags(folder, port):
    return ["--store-id", "1", "--data-dir", folder, "--listen", f"127.0.0.1:{port}", "--members",
            f"1=127.0.0.1:{port}"]


def test_bad_configuration():
    with tempfile.TemporaryDirectory() as folder:
        conf = os.path.join(folder, "c")
        with open(conf, "w", encoding="ascii") as f:
            f.write("store_id = 1\nmemtable_byte = 5\n")
        refuses(["c:2: unknown key 'memtable_byte'"], "--config", conf)
        refuses(["No such file"], "--config", os.path.join(folder, "nothing"))
        refuses(["unknown flag"], "--nonsense", status=2)


def test_check_config():
    sample = os.path.join(os.path.dirname(__file__), "../../conf/holdfast.conf")
    code, text = serve("--config", sample, "--check-config")
    check(code == 0 and "store_id = 1" in text and "memtables_max = 4" in text, code, text)
    code, text = serve("--config", sample, "--memtable-bytes", "1MiB", "--check-config")
    check(code == 0 and "memtable_bytes = 1MiB" in text, "flags win", text)


def test_port_in_use():
    with tempfile.TemporaryDirectory() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refuses(["in use"], *flags(folder, taken.getsockname()[1]))


def test_folder_that_cannot_be_made():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        with open(path, "w", encoding="ascii"):
            pass
        refuses(["file"], *flags(os.path.join(path, "data"), free_ports(1)))


def test_two_processes_on_one_folder():
    with Cluster(nodes=1) as c:
        refuses(["lock", "LOCK"], *flags(c.path(1, "data"), free_ports(1)))
        c.ok("put", "k", "v")


def test_wiped_folder():
    """A store whose folder was lost must not come back under its old number."""
    with Cluster() as c:
        c.ok("put", "k", "v")
        leader = c.leader()
        lost = leader % 3 + 1
        c.local("kill", str(lost))
        shutil.rmtree(c.path(lost, "data"))
        c.run("local", "restart", str(lost), "--dir", c.dir, timeout=60)
        state = lambda: c.local_status()["nodes"][lost - 1]["state"]
        wait_until("it ended", 20, lambda: state() == "stopped")
        check("folder was wiped" in c.log(lost), "and says why")
        c.ok("put", "k", "w")
        # the two others alone carry the cluster: without one of them nothing may succeed
        other = next(i for i in (1, 2, 3) if i not in (lost, leader))
        c.local("pause", str(other))
        done = c.run("put", "k", "x", "--timeout", "2s", timeout=30)
        check(done.returncode in (1, 4), "a wiped store gave its vote:", done.stdout)
        c.local("resume", str(other))
        c.ok("put", "k", "y", "--timeout", "20s")


def test_wrong_secret():
    """A member with another secret is kept out and says so; the others go on."""
    with tempfile.TemporaryDirectory() as folder:
        secrets = []
        for name in ("good", "bad"):
            secrets.append(os.path.join(folder, name))
            with open(secrets[-1], "w", encoding="ascii") as f:
                f.write(f"the {name} secret\n")
            os.chmod(secrets[-1], 0o600)
        conf = f"cluster_secret_file = {secrets[0]}\n"
        with Cluster(conf=conf) as c:
            c.ok("put", "k", "v")
            odd = c.leader() % 3 + 1
            c.local("kill", str(odd))
            with open(c.path(odd, "holdfast.conf"), encoding="utf-8") as f:
                text = f.read()
            text = text.replace(secrets[0], secrets[1])
            other = os.path.join(folder, "odd.conf")
            with open(other, "w", encoding="utf-8") as f:
                f.write(text)
            process = subprocess.Popen([f"{BIN}/holdfastd", "--config", other],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                c.ok("put", "k", "w")
                logs = lambda: "".join(c.log(i) for i in (1, 2, 3))
                wait_until("somebody says why", 20,
                           lambda: "secret" in logs() or process.poll() is not None)
                done = c.run("get", "k", "--timeout", "2s")
                check(done.stdout == "w", "the others go on")
            finally:
                process.kill()
                process.communicate()


if __name__ == "__main__":
    main(test_bad_configuration, test_check_config, test_port_in_use,
         test_folder_that_cannot_be_made, test_two_processes_on_one_folder, test_wiped_folder,
         test_wrong_secret)
