#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The man pages: nothing is missing in them or too much, roff finds no fault, and their examples
run as printed."""
import functools
import os
import re
import subprocess
import sys
import tempfile

from cluster import BIN, check, free_ports, main

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
PAGES = os.path.join(ROOT, "docs/man")
LIB = os.path.join(BIN, "../lib")


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)
    check(done.returncode == 0, command, "exit", done.returncode, done.stdout[-2000:],
          done.stderr[-2000:])
    return done.stdout


def pages():
    names = sorted(name for name in os.listdir(PAGES) if re.search(r"\.[1-8]$", name))
    check(len(names) > 10, names)
    for name in names:
        with open(os.path.join(PAGES, name), encoding="utf-8") as f:
            yield name, f.read()


def page(name):
    return dict(pages())[name]


def test_up_to_date():
    """A public call without a page, a flag that only one of page and program has."""
    print("  ", run(sys.executable, "-B", os.path.join(ROOT, "tools/manpages"), "--check",
                    BIN).strip())


def test_lint():
    known = {(name.rsplit(".", 1)[0], name[-1]) for name, _ in pages()}
    for name, text in pages():
        said = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", os.path.join(PAGES, name)],
                              capture_output=True, text=True, timeout=60, check=False).stdout
        check(said == "", said)
        for other, section in re.findall(r"^\.Xr (\S+) (\d)", text, flags=re.M):
            check((other, section) in known or other == "poll", name, "refers to", other, section)


def test_all_listed():
    """Who begins with libholdfast(3) finds every other page of its calls."""
    listed = set(re.findall(r"^\.It Xr (\S+) 3 ", page("libholdfast.3"), flags=re.M))
    there = {name[:-2] for name, _ in pages() if name.endswith(".3")} - {"libholdfast"}
    check(listed == there, listed ^ there)


def flags_of(text):
    return set(re.findall(r"^  (?:-\w, |    )--([\w-]+)", text, flags=re.M))


@functools.cache
def help_of(*words):
    return run(f"{BIN}/holdfast", *words, "--help")


def leaves(words=()):
    text = help_of(*words)
    if "\ncommands:\n" not in text:
        return [(" ".join(words), flags_of(text))]
    table = text.split("\ncommands:\n")[1].split("\n\n")[0]
    return [leaf for line in table.split("\n") for leaf in leaves((*words, line.split()[0]))]


def test_flags_both_ways():
    """Read from page and programs by other means than those that made the page."""
    text = page("holdfast.1")
    common = set(re.findall(r"Fl Fl ([\w-]+)", text.split('begin common')[1].split('\\" end')[0]))
    told = {}
    for item in re.split(r"^\.It Nm Cm ", text, flags=re.M)[1:]:
        head, rest = item.split("\n", 1)
        words = head.split(" Ar ")[0]
        told[words] = set(re.findall(r"^\.It .*Fl Fl ([\w-]+)", rest.split('\\" end')[0], re.M))
    there = dict(leaves())
    check(set(told) == set(there), set(told) ^ set(there))
    for words, flags in there.items():
        check(flags - common == told[words] - common and flags & common <= common, words,
              (flags - common) ^ told[words])
    shown = run(f"{BIN}/holdfastd", "--data", "/x", "--check-config")
    keys = set(re.findall(r"^(?:# )?(\w+) =", shown, flags=re.M))
    in_page = set(re.findall(r"^\.It Ic (\w+)", page("holdfast.conf.5"), flags=re.M))
    check(keys == in_page, keys ^ in_page)
    own = flags_of(run(f"{BIN}/holdfastd", "--help")) - {key.replace("_", "-") for key in keys}
    in_page = set(re.findall(r"^\.It Fl .*?Fl Fl ([\w-]+)|^\.It Fl Fl ([\w-]+)",
                             page("holdfastd.8"), flags=re.M))
    check(own == {a or b for a, b in in_page}, own, in_page)


def test_help_in_page():
    """What a command says behind its flags stands in the page, word for word."""
    text = page("holdfast.1").split('begin commands')[1].split('\\" end')[0]
    items = {}
    for item in re.split(r"^\.It Nm Cm ", text, flags=re.M)[1:]:
        head, rest = item.split("\n", 1)
        plain = re.sub(r"^\.(Pp|Bd .*|Ed|Bl .*|El|It .*)$", "", rest, flags=re.M)
        items[head.split(" Ar ")[0]] = " ".join(plain.replace("\\&", "").replace("\\e", "\\").split())
    told = 0
    for words, _ in leaves():
        said = help_of(*words.split())
        if "\nexamples:\n" not in said:
            continue
        for part in said.split("\nexamples:\n")[1].split("\nexit codes: ")[0].split("\n\n"):
            check(" ".join(part.split()) in items[words], words, part)
            told += 1
    check(told > 40, told)
    for word in ("absent KEY", "present KEY", "version KEY V", "value KEY X", "\\xNN"):
        check(word in items["batch"], word)
    check("ttl_ms" in items["import"], items["import"])


def example(text):
    """What stands in the last display of the page's examples, as it is printed."""
    shown = text.split(".Sh EXAMPLES")[1].split(".Bd -literal\n")[-1].split("\n.Ed")[0]
    return shown.replace("\\&", "").replace("\\e", "\\") + "\n"


def programs(text):
    """All displays of the page's examples that are programs."""
    parts = text.split(".Sh EXAMPLES")[1].split(".Bd -literal\n")[1:]
    return [example(".Sh EXAMPLES.Bd -literal\n" + part) for part in parts]


def test_programs():
    symbols = run("nm", "-D", os.path.join(LIB, "libholdfast.so"))
    flags = ["-fsanitize=address,undefined"] if "__asan" in symbols else []
    for name, text in pages():
        if not name.endswith(".3"):
            continue
        found = programs(text)
        check(len(found) > 0, name, "shows no program")
        for text_of_one in found:
            build_and_run(name, text_of_one, flags)


def build_and_run(name, text, flags):
    """Twice: the second run finds what the first one left."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "x.c"), os.path.join(folder, "x")
        with open(source, "w", encoding="utf-8") as f:
            f.write(text)
        run("cc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", *flags, "-I",
            os.path.join(ROOT, "include"), source, "-o", program, "-L", LIB, "-lholdfast")
        for _ in range(2):
            out = run(program, cwd=folder, env=dict(os.environ, LD_LIBRARY_PATH=LIB))
        print("  ", name, (out.split("\n") or [""])[0])


def test_transcripts():
    for name in ("holdfast.1", "holdfastd.8"):
        text = example(page(name)).replace("4101", str(free_ports(1)))
        lines = text.rstrip("\n").split("\n")
        commands = [line[2:] for line in lines if line.startswith("$ ")]
        want = [line for line in lines if not line.startswith("$ ")]
        check(len(commands) > 3, name, commands)
        with tempfile.TemporaryDirectory() as folder:
            path = f"{os.path.abspath(BIN)}:{os.environ['PATH']}"
            out = run("sh", "-e", "-c", "\n".join(commands), cwd=folder,
                      env=dict(os.environ, PATH=path))
            check(out.rstrip("\n").split("\n") == want, name, out, "want", want)


def test_configuration():
    with tempfile.TemporaryDirectory() as folder:
        conf = os.path.join(folder, "x.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(example(page("holdfast.conf.5")))
        shown = run(f"{BIN}/holdfastd", "--config", conf, "--check-config")
        check("block_cache_bytes = 1GiB" in shown, shown)


if __name__ == "__main__":
    main(test_up_to_date, test_lint, test_all_listed, test_flags_both_ways, test_help_in_page,
         test_programs, test_transcripts, test_configuration)
