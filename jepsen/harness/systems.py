# SPDX-License-Identifier: Apache-2.0
"""What can be tested: Holdfast, and as controls systems that are known for what they do.

A system is a module with a class Cluster. A control also has SYSTEMS (its names), WORKLOADS,
nemeses(name), nodes_of(name, nodes asked for), and install()."""
from . import etcd, holdfast, redis

ALL = {"holdfast": holdfast, **dict.fromkeys(redis.SYSTEMS, redis),
       **dict.fromkeys(etcd.SYSTEMS, etcd)}
