#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each check of the style tests is proven to fail on a small tree with one thing
wrong in it, and to pass on the same tree without it.

    selftest.py [CC]
"""
import os
import subprocess
import sys
import tempfile
import unittest

import layers
import layout
import plants
import ruler
import source
import symbols

SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
CC = "cc"


def plant(folder, path, text):
    full = os.path.join(folder, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as f:
        f.write(text)


class Layers(unittest.TestCase):
    # (name, file, text, part of the complaint or None)
    ROWS = (
        ("clean", "src/lsm/a.c", '#include "env/env.h"\n#include <string.h>\n', None),
        ("upward", "src/lsm/a.c", '#include "range/range.h"\n', "lsm may not include range"),
        ("broken event", "src/consensus/a.c", "int e = RAFT_CATCH_UP;\n", "is broken"),
        ("sideways", "src/lsm/a.c", '#include "raftlog/log.h"\n', "may not include raftlog"),
        ("base knows nobody", "src/base/a.h", '#include "env/env.h"\n', "base may not include env"),
        ("real world from a room", "src/net/a.c", '#include "env/uv/loop.h"\n', "env/uv"),
        ("not by room", "src/lsm/a.c", '#include "table.h"\n', "include by room"),
        ("other's internals", "src/range/a.c", '#include "lsm/x_internal.h"\n', "alone"),
        ("unknown room", "src/attic/a.c", "", "not in the table"),
        ("uv.h", "src/net/a.c", "#include <uv.h>\n", "is the world"),
        ("uv.h in env/uv", "src/env/uv/a.c", "#include <uv.h>\n", None),
        ("threads", "src/store/a.c", "#include <pthread.h>\n", "is the world"),
        ("clock", "src/lsm/a.c", "int f(void)\n{\n    return clock_gettime(0, 0);\n}\n", "world"),
        ("file", "src/lsm/a.c", "int f(void)\n{\n    return open(0, 0);\n}\n", "open() is the"),
        ("member named open", "src/lsm/a.c", "int f(struct o *o)\n{\n    return o->open(0);\n}\n", None),
        ("in a comment", "src/lsm/a.c", "/* calls open() never */\n", None),
        ("in a string", "src/lsm/a.c", 'const char *const s = "open(x)";\n', None),
        ("random", "src/range/a.c", "int f(void)\n{\n    return rand();\n}\n", "rand() is the world"),
        ("random in a main", "src/server/m.c", "int main(void)\n{\n    return rand();\n}\n", None),
        ("socket", "src/net/a.c", "int f(void)\n{\n    return socket(1, 2, 3);\n}\n", "socket()"),
        ("tools may", "tools/x/a.c", "#include <uv.h>\n", None),
        ("raft.h", "src/range/a.c", "#include <raft.h>\n", "wrapped by consensus"),
        ("raft.h at home", "src/consensus/a.c", "#include <raft.h>\n", None),
        ("msgpack", "src/net/a.c", "#include <msgpack.h>\n", "wrapped by wire"),
        ("cmocka", "tests/unit/lsm/test_a.c", "#include <cmocka.h>\n", "wrapped by tests/support"),
        ("logging", "src/raftlog/a.c", '#include "base/log.h"\n', "no log lines"),
        ("logging store", "src/store/a.c", '#include "base/log.h"\n', None),
        ("strcpy", "tools/x/a.c", "int f(void)\n{\n    strcpy(a, b);\n}\n", "strcpy"),
        ("sleep in a test", "tests/unit/lsm/test_a.c", "int f(void)\n{\n    usleep(5);\n}\n", "sleeps"),
        ("public header", "src/lsm/a.c", '#include "holdfast.h"\n', "may not include the client"),
    )

    def test_rows(self):
        for name, path, text, want in self.ROWS:
            with self.subTest(name), tempfile.TemporaryDirectory() as root:
                plant(root, path, SPDX + text)
                problems, judged = layers.check(root)
                self.assertEqual(judged, 1)
                if want is None:
                    self.assertEqual(problems, [])
                else:
                    self.assertTrue(any(want in p for p in problems), problems)

    def test_table_points_down(self):
        """No room reaches itself: the table is a hierarchy."""
        for room in layers.ROOMS:
            seen, todo = set(), list(layers.ROOMS[room])
            while todo:
                other = todo.pop()
                self.assertIn(other, layers.ROOMS)
                self.assertNotEqual(other, room)
                if other not in seen:
                    seen.add(other)
                    todo += layers.ROOMS[other]


class Ruler(unittest.TestCase):
    @staticmethod
    def function(lines, name="f"):
        return f"int {name}(void)\n{{\n" + "    ;\n" * (lines - 3) + "}\n"

    def judge(self, *planted):
        with tempfile.TemporaryDirectory() as root:
            for path, text in planted:
                plant(root, path, text)
            return ruler.check(root)[0]

    def test_function_length(self):
        longest = self.function(ruler.FUNCTION_MAX)
        shorts = "".join(self.function(5, f"g{i}") for i in range(20))
        self.assertEqual(self.judge(("src/lsm/a.c", SPDX + shorts + longest)), [])
        longer = self.function(ruler.FUNCTION_MAX + 1)
        problems = self.judge(("src/lsm/a.c", SPDX + shorts + longer))
        self.assertEqual(len(problems), 1)
        self.assertIn("f() has 71 lines", problems[0])

    def test_percentile(self):
        many = "".join(self.function(ruler.FUNCTION_P90 + 1, f"g{i}") for i in range(9))
        problems = self.judge(("src/lsm/a.c", SPDX + many + self.function(4)))
        self.assertTrue(any("90th percentile" in p for p in problems), problems)

    def test_file_length(self):
        text = SPDX + "\n" * ruler.LINES_MAX
        self.assertTrue(any("lines, limit" in p for p in self.judge(("src/lsm/a.c", text))))
        self.assertEqual(self.judge(("src/lsm/a.c", SPDX + "\n" * (ruler.LINES_MAX - 1))), [])

    def test_columns_spdx_marker_guard(self):
        self.assertIn("columns", self.judge(("src/lsm/a.c", SPDX + "/" * 101 + "\n"))[0])
        self.assertIn("SPDX", self.judge(("src/lsm/a.c", "int x;\n"))[0])
        self.assertIn("marker", self.judge(("src/lsm/a.c", SPDX + "/* TO" + "DO */\n"))[0])
        guard = "#ifndef LSM_B_H_\n#define LSM_B_H_\n#endif\n"
        self.assertEqual(self.judge(("src/lsm/b.h", SPDX + guard)), [])
        self.assertIn("guard", self.judge(("src/lsm/c.h", SPDX + guard))[0])

    def test_prototypes(self):
        head = SPDX + "#ifndef LSM_A_H_\n#define LSM_A_H_\n"
        said = "/* Says what it does. */\nint a(void);\nint b(int x,\n      int y);\n\n"
        bare = "int c(void);\n"
        self.assertEqual(self.judge(("src/lsm/a.h", head + said + "#endif\n")), [])
        problems = self.judge(("src/lsm/a.h", head + said + bare + "#endif\n"))
        self.assertTrue(any("c() has no sentence" in p for p in problems), problems)

    def test_exception_must_be_needed(self):
        key = ("src/lsm/a.c", "f")
        ruler.LONGER[key] = (80, "test")
        try:
            shorts = "".join(self.function(5, f"g{i}") for i in range(20))
            self.assertEqual(self.judge((key[0], SPDX + shorts + self.function(80))), [])
            self.assertEqual(len(self.judge((key[0], SPDX + shorts + self.function(81)))), 1)
            problems = self.judge((key[0], SPDX + shorts + self.function(70)))
            self.assertIn("needs no exception", problems[0])
        finally:
            del ruler.LONGER[key]


class Symbols(unittest.TestCase):
    ROWS = (
        ("pure", "int f(int x) { return x + 1; }", None),
        ("constant", "const char *const t[] = {\"a\"}; const char *f(void) { return t[0]; }", None),
        ("clock by macro", "#include <time.h>\n#define NOW() time(0)\nlong f(void){return NOW();}",
         "asks for time()"),
        ("file", "#include <stdio.h>\nvoid *f(void){return fopen(\"a\", \"r\");}", "fopen"),
        ("thread", "#include <pthread.h>\nint f(pthread_mutex_t *m){return pthread_mutex_lock(m);}",
         "pthread_mutex_lock"),
        ("libuv", "int uv_run(void*,int);int f(void){return uv_run(0,0);}", "uv_run"),
        ("global", "int counter; int f(void) { return counter++; }", "'counter' is a mutable"),
        ("static local", "int f(void) { static int n = 4; return n++; }", "mutable global"),
        ("thread local", "_Thread_local int n; int f(void) { return n++; }", "mutable global"),
    )

    def test_rows(self):
        for name, text, want in self.ROWS:
            with self.subTest(name), tempfile.TemporaryDirectory() as root:
                plant(root, "a.c", text + "\n")
                objects = os.path.join(root, "a.o")
                archive = os.path.join(root, "libhf_lsm.a")
                subprocess.run([CC, "-O1", "-fPIC", "-c", os.path.join(root, "a.c"), "-o", objects],
                               check=True)
                subprocess.run(["ar", "rc", archive, objects], check=True)
                problems, judged = symbols.check(root)
                self.assertEqual(judged, 1)
                if want is None:
                    self.assertEqual(problems, [])
                else:
                    self.assertTrue(any(want in p for p in problems), problems)


class Layout(unittest.TestCase):
    def test_both_ways(self):
        tool = layout.find_tool()
        if tool is None:
            self.skipTest("no clang-format of that release")
        with tempfile.TemporaryDirectory() as root:
            plant(root, ".clang-format", "BasedOnStyle: LLVM\nIndentWidth: 4\n")
            plant(root, "src/a/a.c", "int x;\n")
            self.assertEqual(layout.check(root, tool), ([], 1))
            plant(root, "src/a/b.c", "int   x;\n")
            self.assertEqual(len(layout.check(root, tool)[0]), 1)


class Plants(unittest.TestCase):
    LIST = SPDX + "#define PLANT_LIST(X) X(lost_write, \"sim\", \"text\")\n"

    def names(self, path, text):
        with tempfile.TemporaryDirectory() as root:
            plant(root, plants.LIST, self.LIST)
            plant(root, path, SPDX + text)
            return plants.check_names(root)[0]

    def test_names(self):
        use = "int f(void)\n{\n    return PLANTED(lost_write);\n}\n"
        self.assertEqual(self.names("src/lsm/a.c", use), [])
        self.assertIn("nothing has", self.names("src/lsm/a.c", "int x;\n")[0])
        self.assertIn("no bug 'other'", self.names("src/lsm/a.c", use + "PLANTED(other)\n")[0])
        knows = use + "#ifdef HOLDFAST_PLANTED\n#endif\n"
        self.assertIn("known to", self.names("src/lsm/a.c", knows)[0])
        self.assertEqual(self.names("tests/sim/main.c", knows), [])

    def traces(self, text):
        with tempfile.TemporaryDirectory() as root:
            plant(root, plants.LIST, self.LIST)
            plant(root, "a.c", text)
            os.makedirs(os.path.join(root, "b", "lib"))
            archive = os.path.join(root, "b", "lib", "libhf_base.a")
            subprocess.run([CC, "-c", os.path.join(root, "a.c"), "-o", archive], check=True)
            problems, judged = plants.check_traces(root, os.path.join(root, "b"))
            self.assertEqual(judged, 1)
            return problems

    def test_traces(self):
        self.assertEqual(self.traces("int plan_is(int x) { return x; }\n"), [])
        self.assertIn("plant_is()", self.traces("int plant_is(int x) { return x; }\n")[0])
        name = "const char a[] = \"x\\0lost_write\";\n"
        self.assertIn("the name of", self.traces(name)[0])


class Source(unittest.TestCase):
    def test_functions(self):
        text = "int a(void)\n{\n    x(\"}\");\n}\n\nstatic int *b(int p,\n              int q)\n{\n}\n"
        self.assertEqual(source.functions(text), [("a", 1, 4), ("b", 6, 4)])

    def test_empty_tree_is_a_failure(self):
        with tempfile.TemporaryDirectory() as root:
            problems, judged = layers.check(root)
            self.assertEqual((problems, judged), ([], 0))
            self.assertEqual(source.report("layers", problems, judged), 1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        CC = sys.argv.pop(1)
    unittest.main(verbosity=1)
