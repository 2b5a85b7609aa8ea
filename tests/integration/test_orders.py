#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ranges are moved, split, merged and led elsewhere by hand, under load, while nodes are
killed: orders.py, made small."""
import os

import orders
from cluster import main


def orders_of(*argv):
    return orders.perform(orders.parse([*argv, "--seed", str(os.getpid())]))


def test_kills():
    orders_of("--seconds", "25", "--nodes", "4", "--kill-every", "5")


if __name__ == "__main__":
    main(test_kills)
