#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory and disk stay inside their bounds while a cluster is filled: fill.py, made small."""
import argparse

import fill
from cluster import main


def fill_with(value_size, gib, clients):
    fill.run(argparse.Namespace(gib=gib, value_size=value_size, clients=clients, dir=None,
                                json=None, verbose=False), fill.SMALL)


def test_small_values():
    fill_with(value_size=100, gib=0.02, clients=64)


def test_values_of_a_page():
    fill_with(value_size=10 << 10, gib=0.25, clients=64)


def test_large_values():
    fill_with(value_size=1 << 20, gib=0.25, clients=16)


if __name__ == "__main__":
    main(test_small_values, test_values_of_a_page, test_large_values)
