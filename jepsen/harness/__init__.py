# SPDX-License-Identifier: Apache-2.0
"""Fault tests of real processes: see jepsen/README.md."""
