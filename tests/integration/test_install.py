#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `cmake --install` leaves behind: programs, pages, header, library, pkg-config file and
CMake package, from which C and C++ programs are built and run."""
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


CONSUMER = """
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C CXX)
find_package(holdfast %(version)s REQUIRED)
add_executable(in_c %(c)s)
add_executable(in_cxx %(cxx)s)
foreach(program in_c in_cxx)
    target_compile_options(${program} PRIVATE %(flags)s)
    target_link_options(${program} PRIVATE %(flags)s)
    target_link_libraries(${program} PRIVATE holdfast::holdfast)
endforeach()
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


def project(folder, version, sources, flags):
    """A project outside of ours that wants our package in that version."""
    os.makedirs(folder)
    with open(os.path.join(folder, "CMakeLists.txt"), "w", encoding="ascii") as f:
        f.write(CONSUMER % {"version": version, "c": sources[0], "cxx": sources[1],
                            "flags": " ".join(flags)})
    return ["cmake", "-S", folder, "-B", os.path.join(folder, "build")]


def consume(folder, prefix, version, sources, flags):
    """Programs of a project that finds the package by its prefix alone."""
    find_it = f"-DCMAKE_PREFIX_PATH={prefix}"
    right, wrong = os.path.join(folder, "right"), os.path.join(folder, "wrong")
    run(*project(right, version, sources, flags), find_it)
    run("cmake", "--build", os.path.join(right, "build"))
    major, minor, _ = version.split(".")
    done = subprocess.run([*project(wrong, f"{major}.{int(minor) + 1}", sources, flags), find_it],
                          capture_output=True, text=True, timeout=300, check=False)
    check(done.returncode != 0 and "version" in done.stderr, "a later version was found:",
          done.stderr[-1000:])
    return [os.path.join(right, "build", name) for name in ("in_c", "in_cxx")]


def soname(library):
    for line in run("readelf", "-d", library).splitlines():
        if "SONAME" in line:
            return line.split("[")[1].rstrip("]")
    return None


def test_install():
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, "prefix")
        run("cmake", "--install", os.path.dirname(BIN), "--prefix", prefix)
        headers = [name for _, _, names in os.walk(os.path.join(prefix, "include"))
                   for name in names]
        check(sorted(headers) == ["holdfast.h", "holdfast_stats.h"], headers)
        library = find(prefix, "libholdfast.so")
        for line in run("nm", "-D", "--defined-only", library).splitlines():
            name = line.split()[-1]
            check(name.startswith("hf_") or line.split()[-2] == "A", "is visible:", line)

        pages = {name for _, _, names in os.walk(os.path.join(prefix, "share/man"))
                 for name in names}
        check({"holdfast.1", "holdfast.conf.5", "holdfastd.8"} <= pages, pages)
        calls = {line.split()[-1].split("@")[0]
                 for line in run("nm", "-D", "--defined-only", library).splitlines()}
        missing = {name for name in calls if name.startswith("hf_") and f"{name}.3" not in pages}
        check(not missing, "no page was installed of", missing)

        for script in ("bash-completion/completions/holdfast", "zsh/site-functions/_holdfast",
                       "fish/vendor_completions.d/holdfast.fish"):
            text = run("cat", os.path.join(prefix, "share", script))
            check("range list" in text, script)

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
        check(soname(library) == "libholdfast.so.0", soname(library))
        outs = []
        for name, command in programs:
            outs.append(os.path.join(folder, name))
            run(*command, "-o", outs[-1], *flags)
        outs += consume(folder, prefix, version, (hello, cpp), sanitizers(library))
        with Cluster(nodes=1) as c:
            for out in outs:
                c.ok("del", "from")
                print("  ", os.path.basename(out),
                      run(out, c.endpoints, env=env).strip().splitlines()[-1])
                if "++" in out or "cxx" in out:
                    check(c.ok("get", "from") == "C++", "what the C++ program wrote")


if __name__ == "__main__":
    main(test_install)
