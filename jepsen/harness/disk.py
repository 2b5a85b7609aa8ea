# SPDX-License-Identifier: Apache-2.0
"""The control page of the interposed file layer: struct disk_control of jepsen/disk.h."""
import struct

FIELDS = {"sync_delay_us": 0, "sync_fail": 4, "write_fail": 8, "tear": 12}  # byte offsets
COUNTERS = struct.Struct("<QQ")
COUNTERS_AT = 16


def offsets(**fields):
    return [(FIELDS[name], value) for name, value in fields.items()]


def set_fields(path, **fields):
    try:
        with open(path, "r+b") as f:
            for offset, value in offsets(**fields):
                f.seek(offset)
                f.write(struct.pack("<I", value))
    except FileNotFoundError:
        pass  # the process has not been started yet


def counters(path):
    """(syncs, writes) so far."""
    try:
        with open(path, "rb") as f:
            f.seek(COUNTERS_AT)
            return COUNTERS.unpack(f.read(COUNTERS.size))
    except (FileNotFoundError, struct.error):
        return (0, 0)
