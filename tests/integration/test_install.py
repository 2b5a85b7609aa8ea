#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `cmake --install` leaves behind: programs, header, library and pkg-config file,
from which C and C++ programs are built and run."""
import os
import subprocess
import tempfile

from cluster import BIN, Cluster, check, main

HERE = os.path.dirname(os.path.abspath(__file__))

CPP = r"""
#include <holdfast.h>
#include <string>
#include <cstdio>

int main(int argc, char **argv)
{
    hf_options options;
    hf_client *client = nullptr;
    hf_result *result = nullptr;
    hf_options_init(&options);
    options.endpoints = argc > 1 ? argv[1] : "";
    if (hf_open(&options, &client) != HF_OK)
        return 1;
    int code = hf_put(client, hf_str("from"), hf_str("C++"), nullptr, nullptr, nullptr);
    if (code == HF_OK)
        code = hf_get(client, hf_str("from"), nullptr, &result);
    std::string value;
    if (code == HF_OK)
        value.assign(static_cast<const char *>(result->items[0].value.data),
                     result->items[0].value.len);
    hf_result_free(result);
    hf_close(client);
    std::printf("%s: %s\n", hf_code_name(code), value.c_str());
    return code == HF_OK ? 0 : 1;
}
"""


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **more)
    check(done.returncode == 0, command, "exit", done.returncode, done.stdout[-2000:],
          done.stderr[-3000:])
    return done.stdout


def find(prefix, name):
    for folder, _, names in os.walk(prefix):
        if name in names:
            return os.path.join(folder, name)
    raise AssertionError(f"{name} was not installed")


def sanitizers(library):
    """A library with sanitizers wants programs that have them."""
    symbols = run("nm", "-D", library)
    return ["-fsanitize=address,undefined"] if "__asan" in symbols else []


def test_install():
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, "prefix")
        run("cmake", "--install", os.path.dirname(BIN), "--prefix", prefix)
        headers = [name for _, _, names in os.walk(os.path.join(prefix, "include"))
                   for name in names]
        check(headers == ["holdfast.h"], headers)
        library = find(prefix, "libholdfast.so")
        for line in run("nm", "-D", "--defined-only", library).splitlines():
            name = line.split()[-1]
            check(name.startswith("hf_") or line.split()[-2] == "A", "is visible:", line)

        env = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(find(prefix, "holdfast.pc")),
                   LD_LIBRARY_PATH=os.path.dirname(library))
        version = run("pkg-config", "--modversion", "holdfast", env=env).strip()
        for program in ("holdfast", "holdfastd"):
            text = run(os.path.join(prefix, "bin", program), "--version")
            check(text == f"{program} {version}\n", text)
        flags = run("pkg-config", "--cflags", "--libs", "holdfast", env=env).split()
        check(any(flag.startswith(f"-I{prefix}") or "holdfast" in flag for flag in flags), flags)

        cpp = os.path.join(folder, "hello.cc")
        with open(cpp, "w", encoding="ascii") as f:
            f.write(CPP)
        strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", *sanitizers(library)]
        hello = os.path.join(HERE, "../examples/hello.c")
        programs = (
            ("c17", ["cc", "-std=c17", *strict, hello]),
            ("c++11", ["c++", "-std=c++11", *strict, cpp]),
            ("c++20", ["c++", "-std=c++20", *strict, cpp]),
        )
        with Cluster(nodes=1) as c:
            for name, command in programs:
                out = os.path.join(folder, name)
                run(*command, "-o", out, *flags)
                print("  ", name, run(out, c.endpoints, env=env).strip().splitlines()[-1])
            check(c.ok("get", "from") == "C++", "what the C++ program wrote")


if __name__ == "__main__":
    main(test_install)
