#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: gdb.py CASE ...

Drives `subring run --gdb` ($SUBRING) with the real gdb, over guests under $GUESTS, and prints TAP.
A case is a name in CASES; each yields (description, None or what is wrong).
"""
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Skip, Tap, run_cases  # pylint: disable=wrong-import-position

SUBRING = os.environ.get("SUBRING", "build/subring")
GUESTS = os.environ.get("GUESTS", "build")
KERNEL = os.path.join(GUESTS, "guest/vmlinuz")
INITRD = os.path.join(GUESTS, "test-guest/initrd.img")
TIMEOUT = 120
PROMPT = "(gdb) "


class Reader:
    """What a program has printed, and what was not looked at yet."""

    def __init__(self, process):
        self.process = process
        self.text = ""
        self.seen = 0

    def expect(self, what, timeout=TIMEOUT):
        """The text up to and with the regular expression @what; None when it does not come."""
        end = time.monotonic() + timeout
        while True:
            m = re.compile(what, re.M).search(self.text, self.seen)
            if m:
                text = self.text[self.seen:m.end()]
                self.seen = m.end()
                return text
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return None
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return None
            self.text += data.decode(errors="replace").replace("\r", "")


class Machine(Reader):
    def __init__(self, address, *args):
        super().__init__(subprocess.Popen([SUBRING, "run", "--gdb", address, *args], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        if self.expect("waiting for a debugger", 30) is None:
            raise RuntimeError(f"subring does not listen: {self.text}")

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def status(self, timeout=60):
        try:
            self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.end()
            return "did not end"
        return self.process.returncode

    def end(self):
        self.process.kill()
        self.process.wait()


class Gdb(Reader):
    def __init__(self, address):
        super().__init__(subprocess.Popen(
            ["gdb", "-q", "-nx", "-ex", "set confirm off", "-ex", "set pagination off", "-ex", "set width 0",
             "-ex", "set tcp connect-timeout 20"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        self.expect(re.escape(PROMPT))
        self.connected = self.do(f"target remote {address}")

    def send(self, command):
        self.process.stdin.write((command + "\n").encode())
        self.process.stdin.flush()

    def do(self, command, timeout=TIMEOUT):
        """What gdb answers to @command, up to its next prompt."""
        self.send(command)
        text = self.expect(re.escape(PROMPT), timeout)
        return "(no answer)" if text is None else text[:-len(PROMPT)].strip()

    def value(self, expression):
        m = re.search(r"= (-?\d+|0x[0-9a-f]+)$", self.do(f"p/x (unsigned long){expression}"))
        return int(m.group(1), 0) if m else None

    def bytes(self, address, count):
        text = self.do(f"x/{count}xb {address:#x}")
        return bytes(int(b, 16) for line in text.splitlines() for b in line.split(":", 1)[-1].split())

    def interrupt(self):
        """Ctrl-C while the guest runs."""
        self.process.send_signal(signal.SIGINT)
        text = self.expect(re.escape(PROMPT), 30)
        return "(no answer)" if text is None else text

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def tiny(name):
    """(path, entry, the code at the entry) of a small guest."""
    path = os.path.join(GUESTS, "tests/guests", name + ".elf")
    with open(path, "rb") as f:
        elf = f.read()
    entry, phoff = struct.unpack_from("<QQ", elf, 24)
    phentsize, phnum = struct.unpack_from("<HH", elf, 54)
    for i in range(phnum):
        kind, _, offset, vaddr, _, filesz = struct.unpack_from("<IIQQQQ", elf, phoff + i * phentsize)
        if kind == 1 and vaddr <= entry < vaddr + filesz:
            return path, entry, elf[offset + entry - vaddr:offset + filesz]
    raise RuntimeError(f"{path} has no code")


def differs(have, want):
    if have == want:
        return None
    return " != ".join(hex(v) if isinstance(v, int) else repr(v) for v in (have, want))


def lacks(text, what):
    return None if re.search(what, text) else text


def case_tiny():
    path, entry, code = tiny("exit")
    stack = struct.unpack_from("<I", code, 1)[0]  # mov $stack_top, %esp
    guest = entry + 10 + struct.unpack_from("<i", code, 6)[0]  # call guest
    for engine in ("soft", "soft,host=process"):
        port = free_port()
        m = Machine(f"127.0.0.1:{port}", "--engine", engine, "--mem", "32M", "--debug-exit", "--no-reboot", "--kernel", path)
        try:
            g = Gdb(f"127.0.0.1:{port}")
            yield f"{engine}: gdb connects, and the VM stands at its entry", differs(g.value("$rip"), entry)
            yield f"{engine}: memory reads", differs(g.bytes(entry, 16), code[:16])
            g.do("stepi")
            yield f"{engine}: a step executes one instruction", differs(g.value("$rip"), entry + 5)
            yield f"{engine}: registers read", differs(g.value("$rsp"), stack)
            g.do(f"break *{guest:#x}")
            yield f"{engine}: a breakpoint is hit", lacks(g.do("continue"), "Breakpoint 1") or differs(g.value("$rip"), guest)
            yield f"{engine}: the call has pushed its return address", \
                differs(g.bytes(stack - 4, 4), struct.pack("<I", entry + 10))
            g.do(f"set {{char}}{guest + 1:#x} = 30")  # mov $21, %al
            g.do("stepi")
            yield f"{engine}: memory that was written is executed", differs(g.value("$rax") & 0xff, 30)
            g.do("set $rax = 33")
            yield f"{engine}: registers write", differs(g.value("$rax"), 33)
            yield f"{engine}: gdb is told of the end", lacks(g.do("continue"), r"exited with code 0103")
            yield f"{engine}: the VM ends with what the register held", differs(m.status(), 33 << 1 | 1)
            g.end()
        finally:
            m.end()


def case_spin():
    path, entry, _ = tiny("spin")
    with tempfile.TemporaryDirectory() as folder:
        address = os.path.join(folder, "gdb")
        m = Machine(f"unix:{address}", "--mem", "32M", "--no-reboot", "--cpus", "2", "--kernel", path)
        try:
            g = Gdb(address)
            yield "gdb connects by a UNIX socket", differs(g.value("$rip"), entry)
            g.send("continue")
            time.sleep(0.5)
            yield "Ctrl-C interrupts a guest that spins", lacks(g.interrupt(), "SIGINT")
            where = g.value("$rip")
            yield "in its loop", None if where and entry < where < entry + 0x40 else f"{where}"
            g.do("stepi")
            yield "steps in a loop of one instruction stay there", differs(g.value("$rip"), where)
            yield "a CPU for each thread", differs(len(re.findall(r"^\*?\s+\d+\s+Thread", g.do("info threads"), re.M)), 2)
            g.do("thread 2")
            yield "of which the second has not started", None if g.value("$rip") in (0xfff0, 0xfffffff0, 0) else g.do("info registers")
            yield "gdb detaches", lacks(g.do("detach"), "detached|Detaching")
            g.end()
            g = Gdb(address)
            yield "and a second one finds it where it was", differs(g.value("$rip"), where)
            g.do("kill")
            yield "kill ends the run with status 0", differs(m.status(), 0)
            g.end()
        finally:
            m.end()


def check_linux(engine):
    with tempfile.TemporaryDirectory() as folder:
        address = os.path.join(folder, "gdb")
        m = Machine(f"unix:{address}", "--engine", engine, "--cpus", "2", "--mem", "256M", "--kernel", KERNEL, "--initrd",
                    INITRD, "--cmdline", "console=ttyS0 quiet panic=-1 nokaslr subring.run=read,dmesg")
        try:
            g = Gdb(address)
            entry = g.value("$rip")
            yield f"{engine}: the VM stands at the kernel's entry", None if entry and entry >= 0x1000000 else hex(entry or 0)
            steps = [g.do("stepi") and g.value("$rip") for _ in range(20)]
            yield f"{engine}: single steps go on from there", None if len(set(steps)) > 10 and entry not in steps else steps
            g.send("continue")
            yield f"{engine}: Linux boots", None if m.expect("^reading$") else m.text[-800:]
            time.sleep(0.3)
            yield f"{engine}: Ctrl-C interrupts it", lacks(g.interrupt(), "SIGINT")
            threads = g.do("info threads")
            yield f"{engine}: it has two threads", differs(len(re.findall(r"^\*?\s+\d+\s+Thread", threads, re.M)), 2)
            for thread in (1, 2):
                g.do(f"thread {thread}")
                where = g.value("$rip")
                yield f"{engine}: CPU {thread - 1} is in the kernel", None if where and where >> 47 == 0x1ffff else hex(where or 0)
                here = g.bytes(where, 8)
                yield f"{engine}: its code can be read by its virtual address", None if len(here) == 8 and any(here) else here
            # Both CPUs idle: the instruction after HLT is where they come by at each tick.
            g.do(f"break *{where:#x}")
            for i in range(3):
                yield f"{engine}: a breakpoint in the idle loop is hit, time {i + 1}", \
                    lacks(g.do("continue", 30), "Breakpoint 1|received signal SIGTRAP") or differs(g.value("$rip"), where)
            g.do("delete")
            stack = g.value("$rsp") - 1024
            was = g.bytes(stack, 8)
            g.do(f"set {{unsigned long}}{stack:#x} = 0x1122334455667788")
            yield f"{engine}: memory writes by a virtual address", \
                differs(g.bytes(stack, 8), bytes.fromhex("8877665544332211"))
            g.do(f"set {{unsigned long}}{stack:#x} = {int.from_bytes(was, 'little'):#x}")
            for _ in range(50):
                g.do("stepi")
            yield f"{engine}: 50 steps in a running kernel", None if g.value("$rip") else g.do("info registers")
            yield f"{engine}: nothing is mapped at 0x10", lacks(g.do("x/1xb 0x10"), "Cannot access memory")
            yield f"{engine}: gdb detaches", lacks(g.do("detach"), "detached|Detaching")
            g.end()
            m.type("words\n")
            yield f"{engine}: Linux has not noticed", None if m.expect("^read words$", 60) else m.text[-800:]
            dmesg = m.expect("test guest done", 60) or m.text
            # hrtimer says this when the host takes a vCPU's thread away at the wrong time.
            bad = [line for line in dmesg.splitlines()
                   if re.match(r"<(\d+)>", line) and int(line[1:line.index(">")]) & 7 <= 4 and "hrtimer: interrupt took" not in line]
            yield f"{engine}: and warns of nothing", "\n".join(bad) or None
            yield f"{engine}: it powers off with status 0", differs(m.status(), 0)
        finally:
            m.end()


def case_linux():
    for f in (KERNEL, INITRD):
        if not os.path.exists(f):
            raise Skip(f"no {f}: run make test-guest")
    for engine in ("soft", "soft,host=process"):
        yield from check_linux(engine)


CASES = {name[5:]: f for name, f in globals().items() if name.startswith("case_")}


def main():
    if not shutil.which("gdb"):
        tap = Tap()
        tap.skipped("gdb", "no gdb: install the package gdb")
        return tap.finish()
    return run_cases(CASES, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
