#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a store must refuse: one clear line, exit status 1, nothing harmed."""
import os
import shutil
import socket
import subprocess
import tempfile

from cluster import BIN, Cluster, check, free_ports, main, wait_until


def serve(*args, timeout=60, env=None):
    """Run holdfastd, which must end by itself; (exit status, output)."""
    done = subprocess.run([f"{BIN}/holdfastd", *args], capture_output=True, text=True,
                          timeout=timeout, check=False, env=env)
    return done.returncode, done.stdout + done.stderr


def refuses(want, *args, status=1, env=None):
    """The last line says why, in words that are all of `want`."""
    code, text = serve(*args, env=env)
    check(code == status, "exit", code, text[-1500:])
    last = text.strip().splitlines()[-1] if text.strip() else ""
    check(all(word in last for word in want), "says", repr(last), "and not all of", want)


def flags(folder, port):
    return ["--data", folder, "--listen", f"127.0.0.1:{port}"]


def test_bad_configuration():
    with tempfile.TemporaryDirectory() as folder:
        conf = os.path.join(folder, "c")
        with open(conf, "w", encoding="ascii") as f:
            f.write("read_threads = 1\nmemtable_byte = 5\n")
        refuses(["c:2: unknown key 'memtable_byte'"], "--config", conf)
        for old, want in (("store_id = 1", "gets its id from the cluster"),
                          ("members = 1=a:1", "give the others 'join")):
            with open(conf, "w", encoding="ascii") as f:
                f.write(f"data_dir = {folder}/d\n{old}\n")
            refuses(["c:2:", want], "--config", conf)
        refuses(["No such file"], "--config", os.path.join(folder, "nothing"))
        refuses(["unknown flag"], "--nonsense", status=2)


def test_check_config():
    sample = os.path.join(os.path.dirname(__file__), "../../conf/holdfast.conf")
    code, text = serve("--config", sample, "--check-config")
    check(code == 0 and "data_dir = /var/lib/holdfast" in text and "memtables_max = 4" in text, code, text)
    code, text = serve("--config", sample, "--memtable-bytes", "1MiB", "--check-config")
    check(code == 0 and "memtable_bytes = 1MiB" in text, "flags win", text)


def test_port_in_use():
    with tempfile.TemporaryDirectory() as folder, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refuses(["in use"], *flags(folder, taken.getsockname()[1]))


def test_any_address():
    """However it is spelt, others cannot dial it."""
    with tempfile.TemporaryDirectory() as folder:
        for host, want in (("0", "0.0.0.0:"), ("0x0", "0.0.0.0:"), ("[::0]", "[::]:"),
                           ("[::ffff:0:0]", "[::ffff:0.0.0.0]:")):
            if host[0] == "[" and not os.path.exists("/proc/net/if_inet6"):
                continue
            refuses(["advertise: is needed", want], "--data", os.path.join(folder, "data"),
                    "--listen", f"{host}:0")


def test_folder_that_cannot_be_made():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        with open(path, "w", encoding="ascii"):
            pass
        refuses(["file"], *flags(os.path.join(path, "data"), free_ports(1)))


def test_folder_that_cannot_be_written():
    with tempfile.TemporaryDirectory() as folder:
        is_root = os.geteuid() == 0
        if is_root:
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", folder],
                                  capture_output=True, check=False)
            if done.returncode != 0:
                print("   skipped: no mounts here")
                return
        else:
            os.chmod(folder, 0o500)
        try:
            want = ["Read-only file system" if is_root else "Permission denied", folder]
            refuses(want, *flags(folder, free_ports(1)))
            refuses(want, *flags(os.path.join(folder, "data"), free_ports(1)))
        finally:
            if is_root:
                subprocess.run(["umount", folder], capture_output=True, check=False)
            else:
                os.chmod(folder, 0o700)


def test_folder_of_an_earlier_version():
    """… is refused, not misread."""
    with Cluster(nodes=1) as c:
        c.local("down")
        with open(c.path(1, "data/STORE"), "r+b") as f:
            f.write(b"HFSTORE1")
        refuses(["earlier version", "export"], *flags(c.path(1, "data"), free_ports(1)))


def test_two_processes_on_one_folder():
    with Cluster(nodes=1) as c:
        refuses(["lock folder", "in use by process"], *flags(c.path(1, "data"), free_ports(1)))
        c.ok("put", "k", "v")


def test_wiped_folder():
    """A store whose folder was lost must not come back as the store that it was."""
    with Cluster() as c:
        c.ok("put", "k", "v")
        leader = c.leader()
        lost = leader % 3 + 1
        c.local("kill", str(lost))
        shutil.rmtree(c.path(lost, "data"))
        for _ in range(2):  # the second time its folder is there again, and as new as before
            refuses(["does not let this store join", c.address(lost)], "--config",
                    c.path(lost, "holdfast.conf"))
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
            refuses(["cluster secret", "cluster_secret_file"], "--config", other)
            c.ok("put", "k", "w")
            check(c.ok("get", "k") == "w", "the others go on")
            c.local("restart", str(odd))
            target = c.applied(c.leader())
            wait_until("it is back", 30, lambda: (c.applied(odd) or 0) >= target)


def test_clock_years_off():
    """At its start, with the clock of its process alone set wrong."""
    years = 2 * 365 * 86400
    with Cluster() as c:
        c.ok("put", "k", "v")
        odd = c.leader() % 3 + 1
        c.local("kill", str(odd))
        for seconds, want in ((years, "ahead of"), (-years, "behind")):
            env = dict(os.environ, LD_PRELOAD=f"{BIN}/wrong_clock.so",
                       WRONG_CLOCK_SECONDS=str(seconds),
                       ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0")
            refuses(["the system clock is", want, "set it"], "--config",
                    c.path(odd, "holdfast.conf"), env=env)
            c.ok("put", "k", want)
        c.local("restart", str(odd))
        target = c.applied(c.leader())
        wait_until("it is back", 30, lambda: (c.applied(odd) or 0) >= target)
        check(c.ok("get", "k") == "behind", "nothing was harmed")


if __name__ == "__main__":
    main(test_bad_configuration, test_check_config, test_port_in_use, test_any_address,
         test_folder_that_cannot_be_made, test_two_processes_on_one_folder, test_wiped_folder,
         test_wrong_secret, test_clock_years_off, test_folder_that_cannot_be_written,
         test_folder_of_an_earlier_version)
