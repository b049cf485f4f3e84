#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: traces.py          as TAP

The same guest, the same exits: each guest in tests/guests/trace_*.S runs on engine soft and on engine kvm, and its traces
(--trace exits) must be equal, step by step (the guests mark their steps). $SUBRING is the program, $GUESTS the build folder.

Left out of the comparison is what an engine may choose: when it asks for an ExtINT window, and which access to an MSR that no CPU
of the model has it leaves to the monitor.

HOST_DEFECTS is the one table of what is known to differ, and whose fault it is. A difference that is not in it is a failure, and so is a
row that has become untrue on the host that it is about.
"""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Tap  # pylint: disable=wrong-import-position

SUBRING = os.environ.get("SUBRING", "build/subring")
GUESTS = os.environ.get("GUESTS", "build")
KVM = "kvm,features=host"
NAMES = ["prot", "iret", "real", "long", "user", "io", "pic", "ioapic", "apic", "smp"]

# What is below engine kvm: "emulated", a KVM without hardware (doctor tells); "tcg", the AMD-V of QEMU's TCG 7.2.
# (host, guest, step): why the step differs there. Step "from N": the guest gets no further than into step N.
HOST_DEFECTS = {
    ("emulated", "prot", "from 10"): "BOUND is missing",
    ("emulated", "iret", "from 1"): "INT3 and 32-bit IRET are missing",
    ("emulated", "long", 11): "MOV to CR0 with PG and without PE does not fault",
    ("emulated", "long", "from 14"): "x87 and SSE are missing",
    ("emulated", "user", "from 1"): "SYSCALL from ring 3 arrives with CPL 3",
    ("emulated", "ioapic", 1): "an EOI is told when the interrupt is delivered, and again when the guest makes it",
    ("emulated", "ioapic", 2): "as step 1: the line is up once more",
    ("emulated", "apic", 3): "interrupts are looked for only at exits: a few instructions with IF set pass unseen",
    ("emulated", "apic", 4): "as step 3",
    ("emulated", "apic", 5): "as step 3",
    ("emulated", "smp", "from 1"): "32-bit IRET is missing",
    ("tcg", "prot", 6): "limits of data segments are not checked",
    ("tcg", "prot", 7): "as step 6, for a segment that expands down",
    ("tcg", "prot", 8): "types of data segments are not checked: a store to code",
    ("tcg", "prot", 9): "null selectors are not checked",
    ("tcg", "long", 4): "an address by RBP that is not canonical is #GP, not #SS",
    ("tcg", "long", 9): "a reserved bit's page fault has P clear in its error code",
    ("tcg", "long", 11): "MOV to CR0 with PG and without PE does not fault",
    ("tcg", "long", 17): "SSE exceptions are never raised",
}


def args(guest, engine, trace):
    return ["run", "--engine", engine, "--cpus", "2" if guest == "smp" else "1", "--mem", "64M", "--no-reboot", "--debug-exit",
            "--kernel", guest_file(guest), "--trace", f"exits:{trace}"]


def guest_file(guest):
    return os.path.join(GUESTS, "tests/guests", f"trace_{guest}.elf")


def steps(trace):
    """A trace as a list of steps, each a list of exits."""
    found = [[]]
    for line in trace.splitlines():
        m = re.search(r"vcpu\d+ .*", line)
        if not m or re.search(r"extint window|rdmsr|wrmsr", m.group(0)):
            continue
        if re.search(r"out port 0x0080 size 4 <- 0x5ec0", m.group(0)):
            found.append([])
        found[-1].append(m.group(0))
    return found


def excerpt(exits, begin):
    """What is worth reading of a step, from a bit before where it differs."""
    some = [re.sub(r"out port 0x0080 size 4 <- ", "says ", e) for e in exits[max(begin - 2, 0):begin + 5]]
    return " | ".join(some) + (f" | ... ({len(exits)} in all)" if len(exits) > begin + 5 else "")


def differences(soft, kvm):
    """The numbers of the steps that differ, and a text about each; "from N" when one of them got only into step N."""
    a, b = steps(soft), steps(kvm)
    last = min(len(a), len(b)) - 1
    for n in range(last + 1):
        if a[n] == b[n] and not (n == last and len(a) != len(b)):
            continue
        at = next((i for i, (x, y) in enumerate(zip(a[n], b[n])) if x != y), min(len(a[n]), len(b[n])))
        cut = n == last and (len(a) != len(b) or a[n][-1:] != b[n][-1:])
        yield (f"from {n}" if cut else n), f"step {n}:\n  soft: {excerpt(a[n], at)}\n  kvm:  {excerpt(b[n], at)}"


def compare(host, guest, soft, kvm):
    """What is wrong, as text, or None."""
    known = {step: why for (h, g, step), why in HOST_DEFECTS.items() if (h, g) == (host, guest)}
    found = dict(differences(soft, kvm))
    wrong = [text for step, text in found.items() if step not in known]
    wrong += [f"step {step} is no different any more: {why}" for step, why in known.items() if step not in found]
    return "\n".join(wrong) or None


def run(guest, engine, seconds=20):
    """The trace, and how the run ended."""
    with tempfile.NamedTemporaryFile(mode="r", errors="replace") as f:
        p = subprocess.Popen([SUBRING, *args(guest, engine, f.name)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace")
        try:
            out, _ = p.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            p.kill()
            out, _ = p.communicate()
            return f.read(), f"no end after {seconds} s"
        return f.read(), p.returncode if p.returncode == 1 else f"{p.returncode} {out}"


def host_kind():
    """What is below engine kvm here: None, "hardware" or "emulated"."""
    out = subprocess.run([SUBRING, "doctor"], capture_output=True, text=True, check=False).stdout
    if re.search(r"^ok +/dev/kvm", out, re.M):
        return "hardware"
    return "emulated" if re.search(r"^ok +a virtual machine", out, re.M) else None


def main():
    host, tap = host_kind(), Tap()

    for guest in NAMES:
        soft, end = run(guest, "soft")
        tap.told(f"guest {guest} ends on soft", None if end == 1 else end)
        tap.told(f"guest {guest}: soft, again, leaves the same trace", compare("none", guest, soft, run(guest, "soft")[0]))
        if host:
            tap.told(f"guest {guest}: kvm ({host}) leaves the same trace as soft, known host defects aside",
                     compare(host, guest, soft, run(guest, KVM, 4 if host == "emulated" else 20)[0]))
        else:
            tap.skipped(f"guest {guest}: kvm leaves the same trace as soft", "no usable /dev/kvm")
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
