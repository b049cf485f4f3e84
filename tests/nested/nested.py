#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: nested.py [CASE ...]                    tests, as TAP: doctor, tiny, trace, linux, travel; or all
       nested.py sh [-f FILE=/PATH] ... [-o FILE] [-t SECONDS] [-c CPUS] COMMANDS

Runs the program in $SUBRING where AMD-V is real to it, whatever this host has: in Debian's full kernel, with its kvm-amd,
inside of QEMU, whose emulated CPU (TCG, -cpu max,+svm,+npt) does SVM with nested paging as the manual says.

"sh" runs the shell COMMANDS there and gives what they print and their status:

    SUBRING=build/subring GUESTS=build tests/nested/nested.py sh \\
        'subring run --engine kvm,features=host --kernel /guest/vmlinuz --initrd /guest/initrd.img --cmdline "console=ttyS0 subring.run=about"'

What is in there: busybox's commands; subring and its libraries; /dev/kvm, opened by root; in /guest Debian's cloud kernel
and the test guest's initrd (guests/test/init), in /guest/tiny the small guests (tests/guests). -f takes another file in, with
its libraries when it is a program. -o makes a disk, /dev/vda, of FILE (512 MiB when it is not there), by which data
come out. -t ends it after SECONDS (default 120); what was printed until then is shown, the status is 124.
-c gives the outer machine CPUS processors. The default is one: with two, QEMU 7.2 sometimes ends in a standstill of the outer
kernel (both processors busy, soft lockups).

$SUBRING is the program, $GUESTS the build folder (`make test-guest`: kernels, modules, initrd). $MODULES may name another
folder of modules for the outer kernel, $QEMU another QEMU. Without these, cases are skipped.

It takes 4 seconds until the first command. Everything inside is some 20 times slower than hardware: judge by what happens, not
by how long it takes. A kernel of Debian's boots under subring in there in about half a minute.
"""
import argparse
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import traces

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Skip, Tap  # pylint: disable=wrong-import-position

SUBRING = os.environ.get("SUBRING", "build/subring")
GUESTS = os.environ.get("GUESTS", "build")
QEMU = os.environ.get("QEMU", "qemu-system-x86_64")
KERNEL = os.path.join(GUESTS, "test-guest/vmlinuz")
MODULES = os.environ.get("MODULES", os.path.join(GUESTS, "test-guest/modules"))
INNER_KERNEL = os.path.join(GUESTS, "guest/vmlinuz")
INNER_INITRD = os.path.join(GUESTS, "test-guest/initrd.img")
TINY = os.path.join(GUESTS, "tests/guests")
DISK_SIZE = 512 << 20
KVM = "kvm,features=host"  # the emulated CPU lacks some of the model's
TIMEOUT = 400
TRAVEL = os.path.join(os.path.dirname(os.path.abspath(SUBRING)), "tests/nested/travel")
DISK_PART = 256  # MiB of the disk for each traveller's state
DISK = os.path.join(tempfile.gettempdir(), f"subring-nested-{os.getpid()}.disk")

INIT = """#!/bin/sh
export PATH=/bin HOME=/
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
for m in $(cat /modules.order); do insmod "/modules/$m" || echo "insmod $m: status $?"; done
dmesg -n 1
stty -onlcr -F /dev/ttyS0
cd /tmp
echo "<<< inside"
sh /commands
echo ">>> inside $?"
poweroff -f
"""


# --- an initramfs (Documentation/driver-api/early-userspace/buffer-format.rst in Linux: "newc") ---

class Cpio:
    def __init__(self):
        self.names = set()
        self.parts = []

    def _entry(self, name, mode, data):
        if name in self.names:
            return
        if name:
            parent = os.path.dirname(name)
            if parent and parent not in self.names:
                self._entry(parent, stat.S_IFDIR | 0o755, b"")
            self.names.add(name)
        raw = (name or "TRAILER!!!").encode() + b"\0"
        head = [len(self.parts) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0]
        entry = b"070701" + b"".join(b"%08X" % n for n in head) + raw
        entry += b"\0" * (-len(entry) % 4) + data
        self.parts.append(entry + b"\0" * (-len(entry) % 4))

    def add(self, path, data, mode=0o644):
        self._entry(path.strip("/"), stat.S_IFREG | mode, data)

    def file(self, path, source):
        with open(source, "rb") as f:
            self.add(path, f.read(), 0o755 if os.access(source, os.X_OK) else 0o644)

    def link(self, path, to):
        self._entry(path.strip("/"), stat.S_IFLNK | 0o777, to.encode())

    def folder(self, path):
        self._entry(path.strip("/"), stat.S_IFDIR | 0o755, b"")

    def program(self, path, source):
        """A file, and the shared libraries that it needs, at the places where it looks for them."""
        self.file(path, source)
        out = subprocess.run(["ldd", source], capture_output=True, text=True, check=False)
        if out.returncode == 0:
            for lib in re.findall(r"(/\S+) \(0x", out.stdout):
                self.file(lib, lib)

    def bytes(self):
        self._entry("", 0, b"")
        return b"".join(self.parts)


def module_files():
    """Every module of the outer kernel by its name."""
    return {f[:-3].replace("-", "_"): os.path.join(d, f)
            for d, _, names in os.walk(MODULES) for f in names if f.endswith(".ko")}


def modules_in_order(wanted):
    """The files of the modules @wanted and of what they depend on, these first. What is not there is built in."""
    files, order = module_files(), []

    def take(name):
        path = files.get(name.replace("-", "_"))
        if not path or path in order:
            return
        with open(path, "rb") as f:
            depends = re.search(rb"\0depends=([^\0]*)\0", f.read())
        for d in depends.group(1).decode().split(",") if depends else []:
            take(d)
        order.append(path)

    for name in wanted:
        take(name)
    if not any(p.endswith("kvm-amd.ko") for p in order):
        raise Skip(f"no module kvm-amd in {MODULES}")
    return order


def initramfs(commands, files, disk):
    c = Cpio()
    for d in ("dev", "proc", "sys", "tmp"):
        c.folder(d)
    c.file("bin/busybox", "/bin/busybox")
    for applet in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            c.link("bin/" + applet, "busybox")
    c.add("init", INIT.encode(), 0o755)
    c.add("commands", commands.encode())
    wanted = ["ccp", "kvm-amd"] + (["virtio_pci", "virtio_blk"] if disk else [])
    order = modules_in_order(wanted)
    for path in order:
        c.file("modules/" + os.path.basename(path), path)
    c.add("modules.order", "\n".join(os.path.basename(p) for p in order).encode())
    c.program("bin/subring", SUBRING)
    c.file("guest/vmlinuz", INNER_KERNEL)
    c.file("guest/initrd.img", INNER_INITRD)
    if os.path.isdir(TINY):
        for f in os.listdir(TINY):
            if f.endswith((".elf", ".bin")):
                c.file("guest/tiny/" + f, os.path.join(TINY, f))
    for source, path in files:
        c.program(path, source)
    return c.bytes()


# --- the outer machine ---

def check_needs():
    if not shutil.which(QEMU):
        raise Skip(f"no {QEMU}: install qemu-system-x86")
    for f in (KERNEL, INNER_KERNEL, INNER_INITRD):
        if not os.path.exists(f):
            raise Skip(f"no {f}: run make test-guest")
    if not os.path.isdir(MODULES):
        raise Skip(f"no {MODULES}: run make test-guest")


def inside(commands, files=(), disk=None, timeout=120, show=False, cpus=1):
    """Runs shell commands inside. Returns (status, text): the status is None when their end was not seen."""
    check_needs()
    with tempfile.TemporaryDirectory() as tmp:
        initrd = os.path.join(tmp, "initrd")
        with open(initrd, "wb") as f:
            f.write(initramfs(commands, files, disk))
        # One thread: QEMU's multi-threaded emulation of SVM is what comes to a standstill.
        args = [QEMU, "-nodefaults", "-M", "q35", "-m", "1536", "-smp", str(cpus), "-accel", "tcg,thread=single",
                "-cpu", "max,+svm,+npt,la57=off", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", KERNEL,
                "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr"]
        if disk:
            if not os.path.exists(disk):
                with open(disk, "wb") as f:
                    f.truncate(DISK_SIZE)
            args += ["-drive", f"file={disk},if=virtio,format=raw"]
        p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=None if show else subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        try:
            out, _ = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            p.kill()
            out, _ = p.communicate()
    text = out.decode(errors="replace").replace("\r", "")
    m = re.search(r"^<<< inside$\n(.*?)(?:^>>> inside (\d+)$|\Z)", text, re.M | re.S)
    if not m:
        return None, text
    return int(m.group(2)) if m.group(2) else None, m.group(1)


def shell(argv):
    o = argparse.ArgumentParser(prog="nested.py sh")
    o.add_argument("-f", action="append", default=[], metavar="FILE=/PATH")
    o.add_argument("-o", metavar="FILE")
    o.add_argument("-t", type=int, default=120, metavar="SECONDS")
    o.add_argument("-c", type=int, default=1, metavar="CPUS")
    o.add_argument("commands")
    a = o.parse_args(argv)
    try:
        status, text = inside(a.commands, [f.split("=", 1) for f in a.f], a.o, a.t, cpus=a.c)
    except Skip as e:
        print("nested.py:", e, file=sys.stderr)
        return 77
    sys.stdout.write(text)
    return 124 if status is None else status


# --- the cases: each gives commands with names, and looks at what they printed ---

class Part:
    """What one command printed, and its status."""

    def __init__(self, text, status):
        self.text, self.status = text, status


def doctor():
    yield "doctor", "subring doctor --json"


def doctor_checks(part):
    d = part["doctor"]
    kvm = next((c for c in json.loads(d.text)["checks"] if c["id"] == "kvm"), {}) if d.status == 0 else {}
    yield "doctor finds a KVM that works, in all its parts", None if kvm.get("state") == "ok" and \
        all(p["result"] == "ok" for p in kvm["parts"]) else d.text
    yield "doctor says that auto takes engine kvm", None if \
        d.status == 0 and json.loads(d.text)["engine"]["auto"] == "kvm" else d.text


TINY_RUNS = (("exit", 1, 43, ""), ("halt", 1, 0, ""), ("halt", 2, 0, ""), ("serial", 1, 1, "ok\n"), ("triple", 1, 8, "fix:"))


def tiny():
    for name, cpus, _, _ in TINY_RUNS:
        yield f"tiny {name} {cpus}", f"timeout -s KILL 30 subring run --engine {KVM} --cpus {cpus} --mem 64M --no-reboot " \
            f"--debug-exit --kernel /guest/tiny/{name}.elf </dev/null 2>&1"


def tiny_checks(part):
    for name, cpus, status, says in TINY_RUNS:
        p = part[f"tiny {name} {cpus}"]
        yield f"guest {name}, {cpus} vCPU, ends with status {status}", None if p.status == status and says in p.text else \
            f"{p.status}\n{p.text}"


def trace():
    for guest in traces.NAMES:
        # The exit status is the guest's; the trace follows.
        command = " ".join(f"'{a}'" for a in traces.args(guest, KVM, "/tmp/trace")).replace(traces.guest_file(guest),
                                                                                          f"/guest/tiny/trace_{guest}.elf")
        yield f"trace {guest}", f"timeout -s KILL 30 subring {command} </dev/null; s=$?; cat /tmp/trace; rm -f /tmp/trace; (exit $s)"


def trace_checks(part):
    for guest in traces.NAMES:
        soft, _ = traces.run(guest, "soft")
        p = part[f"trace {guest}"]
        yield f"guest {guest} leaves the same trace on kvm as on soft, known defects of QEMU aside", \
            traces.compare("tcg", guest, soft, p.text)


def linux():
    for cpus in (1, 2):
        yield f"linux {cpus}", f"timeout -s KILL 150 subring run --engine {KVM} --cpus {cpus} --mem 256M --no-reboot " \
            "--kernel /guest/vmlinuz --initrd /guest/initrd.img " \
            "--cmdline 'console=ttyS0 panic=-1 subring.run=about,sha' </dev/null 2>&1"


def linux_checks(part):
    with open("/bin/busybox", "rb") as f:
        sha = hashlib.sha256(f.read(1048576)).hexdigest()
    for cpus in (1, 2):
        p = part[f"linux {cpus}"]
        good = p.status == 0 and re.search(rf"^<<< about\nx86_64\n{cpus}\n", p.text, re.M) and sha in p.text
        yield f"Debian's cloud kernel boots to /init with {cpus} vCPU, computes, and powers off with status 0", \
            None if good else f"status {p.status}\n" + "\n".join(p.text.splitlines()[-25:])


# A VM that travels: booted on soft here, on kvm in there, and here on soft to its end; and one that began on kvm. What all of a
# VM's legs printed must be what one that stays at home prints.

# engine at the begin, CPUs
TRAVELLERS = (("soft", 2), ("kvm", 1))


def travel_leg(engine, cpus, kernel, initrd, *way):
    return ["timeout", "-s", "KILL", "150", "travel", engine, str(cpus), kernel, initrd, *way]


def travel_here(cpus, *way):
    """A leg on engine soft, here. Returns (status, text)."""
    leg = travel_leg("soft", cpus, INNER_KERNEL, INNER_INITRD, *way)
    leg[4] = TRAVEL
    p = subprocess.run(leg, capture_output=True, text=True, errors="replace", check=False,
                       env=dict(os.environ, SUBRING_EXE=SUBRING))
    return p.returncode, p.stdout.replace("\r", "") + p.stderr


def travel_begin(tmp):
    """Files that go inside."""
    files = [(TRAVEL, "/bin/travel")]
    for begin, cpus in TRAVELLERS:
        if begin == "soft":
            out = os.path.join(tmp, "begun")
            travel.begun = travel_here(cpus, "-", "tick 40 ", out)
            if travel.begun[0] == 0:
                files.append((out, "/begun"))
    return files


def travel():
    for n, (begin, cpus) in enumerate(TRAVELLERS):
        source = "-" if begin == "kvm" else "/begun"
        yield f"travel {begin}", " ".join(f"'{a}'" for a in travel_leg(
            KVM, cpus, "/guest/vmlinuz", "/guest/initrd.img", source, "tick 90 " if source != "-" else "tick 40 ", "/tmp/out")) + \
            f" 2>&1; s=$?; dd if=/tmp/out of=/dev/vda bs=1M seek={n * DISK_PART} 2>/dev/null; rm -f /tmp/out /begun; (exit $s)"


def job(text):
    """What the job printed, without the one line that tells a time."""
    m = re.search(r"^<<< state\n(.*?)^>>> state$", text, re.M | re.S)
    return [line for line in m.group(1).splitlines() if not line.startswith("slept")] if m else None


def travel_checks(part):
    _, home = travel_here(1, "-", "-", "-")
    for n, (begin, cpus) in enumerate(TRAVELLERS):
        p = part[f"travel {begin}"]
        start = travel.begun if begin == "soft" else (0, "")
        name = f"a Linux with {cpus} vCPU, " + ("begun on soft, goes on under kvm" if begin == "soft" else "begun under kvm")
        yield f"{name}, and is saved there", None if (start[0], p.status) == (0, 0) else f"{start} {p.status} {p.text[-2000:]}"
        with tempfile.NamedTemporaryFile() as f, open(DISK, "rb") as disk:
            disk.seek(n * DISK_PART << 20)
            f.write(disk.read(DISK_PART << 20))
            f.flush()
            status, end = travel_here(cpus, f.name, "-", "-")
        text = start[1] + p.text + end
        yield f"{name}, and comes to its end on soft", None if status == 0 else f"{status} {end[-2000:]}"
        yield f"{name}; its job prints what it prints at home", None if job(home) and job(text) == job(home) else text[-3000:]


CASES = {f.__name__: (f, globals()[f.__name__ + "_checks"]) for f in (doctor, tiny, trace, linux, travel)}


def tests(names):
    """The cases, in one boot of the outer machine."""
    commands = [c for name in names for c in CASES[name][0]()]
    script = "".join(f"echo '<<< {name}'\n({command})\necho \">>> {name} $?\"\n" for name, command in commands)
    tap = Tap()
    try:
        check_needs()
        with tempfile.TemporaryDirectory() as tmp:
            moving = "travel" in names
            files = travel_begin(tmp) if moving else []
            _, text = inside(script, files, disk=DISK if moving else None, timeout=TIMEOUT)
    except Skip as e:
        tap.skipped("nested", e)
        return tap.finish()
    part = {}
    for name, _ in commands:
        m = re.search(rf"^<<< {name}$\n(.*?)(?:^>>> {name} (\d+)$|\Z)", text, re.M | re.S)
        part[name] = Part(m.group(1) if m else "it did not come to this:\n" + text[-2000:], int(m.group(2) or -1) if m else -1)
    for name in names:
        for what, wrong in CASES[name][1](part):
            tap.told("under AMD-V in QEMU: " + what, wrong)
    return tap.finish()


if __name__ == "__main__":
    try:
        sys.exit(shell(sys.argv[2:]) if sys.argv[1:2] == ["sh"] else tests(sys.argv[1:] or list(CASES)))
    finally:
        if os.path.exists(DISK):
            os.unlink(DISK)
