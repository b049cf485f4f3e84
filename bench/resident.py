# SPDX-License-Identifier: GPL-2.0-or-later
"""How much memory a monitor takes beyond its guest's RAM.

The pages that are resident in all processes of the VM, less those of the guest's RAM, which is the memfd "subring-ram" or, for QEMU, the
anonymous mapping of just the guest's size. Shared memory that is mapped more than once counts once (its proportional share, Pss, since nobody else maps it);
all else counts as often as a process has it (Rss). Page tables and what the kernel keeps for the processes are not in it.
"""
import os
import re

SHARED = ("/memfd:", "/dev/zero")


def processes(pid):
    """@pid and its descendants."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
            for child in f.read().split():
                found += processes(int(child))
    return found


def mappings(pid):
    """(name, {"Size": KiB, "Rss": KiB, "Pss": KiB, ...}) of each mapping."""
    found = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as f:
        for line in f:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                found.append(((line.split(None, 5) + [""])[5].strip(), {}))
            elif line.endswith(" kB\n"):
                key, value, _ = line.split()
                found[-1][1][key[:-1]] = int(value)
    return found


def is_ram(name, size, ram):
    return name.startswith("/memfd:subring-ram") or (not name and size == ram)


def beyond_ram(pid, ram):
    """KiB beyond guest RAM of @ram KiB; and, to compare, smaps_rollup's Rss less the Rss of guest RAM."""
    total = rollup = 0
    ram_seen = False
    for p in processes(pid):
        with open(f"/proc/{p}/smaps_rollup", encoding="ascii") as f:
            rollup += int(re.search(r"^Rss: +(\d+)", f.read(), re.M)[1])
        for name, size in mappings(p):
            if is_ram(name, size["Size"], ram):
                ram_seen = True
                rollup -= size["Rss"]
            else:
                total += size["Pss" if name.startswith(SHARED) else "Rss"]
    if not ram_seen:
        raise RuntimeError(f"no mapping of process {pid} is the guest's RAM")
    return total, rollup
