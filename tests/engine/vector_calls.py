#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: vector_calls.py PROGRAM CALL.C

Looks at the machine code of PROGRAM for what runs while the guest's vector registers are in the host's (translate/run.c), and prints
TAP: no instruction of it writes a vector register, an opmask or the x87, and nothing is called of which that is not known.

The disassembly is followed from where translated code comes back, instruction by instruction, with one of two states: the registers are
the guest's (GUEST), or they are at home (HOST), as they are behind a call of translate_vector_save until one of translate_vector_load, or
until translated code runs again. What is reached with GUEST is checked, calls are followed; functions of libc are followed in libc.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import run_cases  # pylint: disable=wrong-import-position

GUEST, HOST = "guest", "host"

# Where the run loop comes in. An indirect call in these, or in what the compiler left apart of them, runs translated code.
ROOTS = ("translate_again", "translate_run")
RUNNERS = (*ROOTS, "enter", "run_at")
# An indirect call in these runs a handler of the interpreter's; with GUEST only those that is_light names.
CALLERS = ("call_run", "run_handler")
SAVE, LOAD = "translate_vector_save", "translate_vector_load"

# Calls that are there, but not with GUEST: what tells is data.
NOT_WITH_GUEST = {
    "ram_make_writable": "mmu/walk.c and mmu/fill.c call it where they do not just try, which only handlers do, with the registers at home",
}
# What of libc may be called with GUEST. It is followed in the libc of this host, so far as calls in it are direct.
LIBC = {
    "pthread_mutex_lock": "the translator's lock, which is of the ordinary kind; it waits in futex(2)",
    "pthread_mutex_unlock": "as above",
    "syscall": "membarrier(2), futex(2)",
    "sched_yield": "waiting for other vCPUs to stop",
    "madvise": "a system call",
    "mmap64": "a system call",
    "mmap": "a system call",
    "mremap": "a system call",
    "munmap": "a system call",
    "__errno_location": "an address",
    "abort": "the end", "__stack_chk_fail": "the end", "__assert_fail": "the end",
}
# These go on elsewhere for mutexes of other kinds.
NO_TAIL_CALLS = ("pthread_mutex_lock", "pthread_mutex_unlock")
ENDS = ("abort", "__stack_chk_fail", "__assert_fail", "__fortify_fail", "__libc_fatal", "__libc_assert_fail", "__assert_fail_base",
        "futex_fatal_error")

VECTOR = re.compile(r"%(?:[xyz]?mm\d+|k[0-7]|st)\b")
STATE_INSNS = re.compile(r"f(?!emms)|emms|ldmxcsr|vldmxcsr|vzero|xrstor")
READERS = re.compile(r"v?(?:u?comis|ptest|testp|movmsk|pmovmsk)|k(?:or)?test|fxsave|fn?stcw|fn?stsw")


class Insn:
    __slots__ = ("at", "op", "args", "target", "name", "next")

    def __init__(self, at, op, args, comment):
        self.at, self.op, self.args, self.next = at, op, args, None
        m = re.match(r"([0-9a-f]+) <([^>+]+)(\+0x[0-9a-f]+)?>", args)
        self.target, self.name = (int(m.group(1), 16), m.group(2)) if m else (None, None)
        m = re.match(r"\s*([0-9a-f]+) <([^>]*)>", comment)
        self.args = f"{args} # {m.group(1)} {m.group(2)}" if m else args

    def writes_vector(self):
        args = self.args.split(" # ", maxsplit=1)[0]
        if STATE_INSNS.match(self.op):
            return not READERS.match(self.op)
        if not VECTOR.search(args) or READERS.match(self.op):
            return False
        # In AT&T's order the destination is last: a store only reads them, and so does what writes a general register.
        return bool(VECTOR.search(re.sub(r"\([^)]*\)", "", args).split(",")[-1]))


class Program:
    """A disassembled file."""

    def __init__(self, path):
        self.path, self.insn, self.function, self.entry = path, {}, {}, {}
        out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], check=True, stdout=subprocess.PIPE, text=True).stdout
        name, last = None, None
        for line in out.splitlines():
            m = re.match(r"([0-9a-f]+) <([^>]+)>:", line)
            if m:
                name = re.sub(r"@@?GLIBC.*", "", m.group(2))
                self.entry.setdefault(name, []).append(int(m.group(1), 16))
                continue
            m = re.match(r"\s*([0-9a-f]+):\t(?:(?:lock|rep|repz|repnz|notrack|bnd|data16|cs|ds|xacquire|xrelease) )*(\S+)\s*([^#]*)(?:#(.*))?$", line)
            if not m:
                continue
            i = Insn(int(m.group(1), 16), m.group(2), m.group(3).strip(), m.group(4) or "")
            self.insn[i.at], self.function[i.at] = i, name
            if last:
                last.next = i.at
            last = i
        with open(path, "rb") as f:
            self.bytes = f.read()
        out = subprocess.run(["readelf", "-SW", path], check=True, stdout=subprocess.PIPE, text=True).stdout
        self.rodata = [(int(m.group(1), 16), int(m.group(2), 16), int(m.group(3), 16)) for m in
                       re.finditer(r"\.rodata\S*\s+PROGBITS\s+([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)", out)]

    def base(self, at):
        """The function's name without what a compiler appends to a part of it."""
        return re.sub(r"\.(cold|part|isra|constprop|lto_priv|llvm)\b.*", "", self.function[at] or "?")

    def table(self, at):
        """Targets of the tables of offsets that the function at @at has, for its `jmp *REGISTER`."""
        name, targets = self.base(at), set()
        for i in (i for a, i in self.insn.items() if i.op == "lea" and self.base(a) == name):
            m = re.search(r" # ([0-9a-f]+) ", i.args + " ")
            start = int(m.group(1), 16) if m else 0
            for address, offset, size in self.rodata:
                for k in range(start, address + size - 3, 4) if address <= start < address + size else ():
                    b = self.bytes[k - address + offset:k - address + offset + 4]
                    to = start + int.from_bytes(b, "little", signed=True)
                    if to not in self.insn or self.base(to) != name:
                        break
                    targets.add(to)
        return targets


class Follower:
    def __init__(self, program, libc, handlers=()):
        self.p, self.libc, self.handlers = program, libc, handlers
        self.ends = {}      # (entry, state): the states with which it returns
        self.changed = False
        self.bad = {}
        self.at, self.came = None, {} # the function under way, with its state, and who called one first
        self.checked = set()
        self.reaches_load = self.callers_of(LOAD)

    def callers_of(self, name):
        direct = {}
        for at, i in self.p.insn.items():
            if i.name and i.op in ("call", "callq", "jmp", "jmpq"):
                direct.setdefault(i.name, set()).add(self.p.function[at])
        found, work = {name}, [name]
        while work:
            for f in direct.get(work.pop(), ()):
                if f not in found:
                    found.add(f)
                    work.append(f)
        return found

    def wrong(self, i, what):
        path, at = [], self.at
        while at and at not in path:
            path.append(at)
            at = self.came.get(at)
        by = " < ".join(self.p.function[a] or "?" for a, _ in path)
        self.bad[(self.p.function[i.at], what)] = f"{i.at:x}: {i.op} {i.args}: {what}; in {by}"

    def call(self, i, state):
        """The states behind a call or a jump to another function; none when it does not come back."""
        if i.target is None:
            return self.call_indirect(i, state)
        name = i.name.split("@")[0]
        if name == SAVE:
            return {HOST}
        if name == LOAD:
            return {GUEST}
        if "@plt" in i.name:
            if state == GUEST and self.libc and name not in LIBC:
                self.wrong(i, f"{name}, which is not known to leave vector registers alone")
            elif state == GUEST and self.libc:
                self.libc.follow_export(name)
            return set() if name in ENDS else {state}
        if name in ENDS:
            return set()
        if state == GUEST and self.libc and name in NOT_WITH_GUEST:
            return {GUEST}
        if state == HOST and i.name not in self.reaches_load:
            return {HOST} if self.returns(i.target) else set()
        if not self.libc and not self.returns(i.target):
            return set() # libc's last words
        self.came.setdefault((i.target, state), self.at)
        return self.run(i.target, state)

    def call_indirect(self, i, state):
        name = self.p.base(i.at)
        if name in RUNNERS:
            return {GUEST}
        if state == GUEST and name in CALLERS:
            for at in (at for h in self.handlers for at in self.p.entry[h]):
                self.came.setdefault((at, GUEST), self.at)
                self.run(at, GUEST)
            return {GUEST}
        if state == GUEST:
            self.wrong(i, "a call through a pointer")
        return {state}

    def returns(self, entry):
        """Whether the function ever does, whatever it calls."""
        if entry not in self.ends:
            self.ends[entry] = True # while it is being looked at
            seen, work, found = set(), [entry], False
            while work and not found:
                at = work.pop()
                if at in seen or at not in self.p.insn:
                    continue
                seen.add(at)
                i = self.p.insn[at]
                if i.op.startswith("ret"):
                    found = True
                elif i.op.startswith("jmp") and i.target is None:
                    targets = self.p.table(at)
                    work += targets
                    found = not targets and "*0x" in i.args # a tail call; else a longjmp
                elif i.op.startswith("call") and i.target is not None and \
                        (i.name.split("@")[0] in ENDS or "@plt" not in i.name and not self.returns(i.target)):
                    continue
                else:
                    work += self.successors(i)
            self.ends[entry] = found
        return self.ends[entry]

    def successors(self, i):
        if i.op.startswith("jmp"):
            return [i.target]
        if i.op in ("ud2", "hlt", "int3"):
            return []
        after = [i.next]
        if i.op.startswith("j") and i.target is not None:
            after.append(i.target)
        return after

    def run(self, entry, state):
        """Follows the function at @entry; the states with which it returns."""
        key = (entry, state)
        if key in self.ends:
            return self.ends[key]
        self.ends[key] = set()
        while True: # until nothing more is learnt of a function that calls itself
            self.changed = False
            ends = self.once(entry, state)
            if ends <= self.ends[key] and not self.changed:
                return self.ends[key]
            self.changed |= not ends <= self.ends[key]
            self.ends[key] |= ends

    def once(self, entry, state):
        seen, work, ends, here = set(), [(entry, state)], set(), (entry, state)
        while work:
            self.at = here
            at, state = work.pop()
            if (at, state) in seen or at is None or at not in self.p.insn:
                continue
            seen.add((at, state))
            i = self.p.insn[at]
            if state == GUEST:
                self.checked.add(self.p.function[at])
                if i.writes_vector():
                    self.wrong(i, "writes vector state")
            if i.op.startswith("ret"):
                ends.add(state)
            elif i.op.startswith("call"):
                work += [(i.next, s) for s in self.call(i, state)]
            elif i.op.startswith("jmp") and i.target is None:
                targets = self.p.table(at)
                work += [(t, state) for t in targets]
                if not targets and state == GUEST:
                    self.wrong(i, "a jump through a pointer")
            elif i.op.startswith("j") and i.target is not None and self.p.base(i.target) != self.p.base(at):
                if not self.libc and self.p.base(at).strip("_") in NO_TAIL_CALLS:
                    work += [(i.next, state)] if not i.op.startswith("jmp") else []
                    continue
                ends |= self.call(i, state) # a tail call
                work += [(i.next, state)] if not i.op.startswith("jmp") else []
            else:
                work += [(a, state) for a in self.successors(i)]
        return ends

    def follow_export(self, name):
        for at in self.p.entry.get(name) or self.p.entry.get("__" + name) or ():
            self.run(at, GUEST)


def light_handlers(call_c):
    """Names of the handlers that is_light in @call_c, translate/call.c, lets run with the registers the guest's."""
    with open(call_c, encoding="utf-8") as f:
        body = re.search(r"^static bool is_light.*?^}", f.read(), re.M | re.S)
    return [m.lower() for m in re.findall(r"INSN_ID_(\w+)", body.group(0))]


def case_program():
    program = Program(sys.argv[1])
    libs = subprocess.run(["ldd", sys.argv[1]], check=True, stdout=subprocess.PIPE, text=True).stdout
    m = re.search(r"libc\.so\.6 => (\S+)", libs)
    libc = Follower(Program(os.path.realpath(m.group(1))), None) if m else None
    f = Follower(program, libc, light_handlers(sys.argv[2]))
    for root in ROOTS:
        for at in program.entry[root]:
            f.run(at, HOST)
    known = [n for n in ("mmu_try_fill", "slot_fill", "syscall", "jumps_select") if n in f.checked]
    yield "what runs with the guest's vector registers was found", None if len(known) == 4 and len(f.checked) > 30 else f"{sorted(f.checked)}"
    print(f"# {len(f.checked)} functions: {' '.join(sorted(f.checked))}")
    yield "it writes no vector register", "\n".join(f.bad.values()) or None
    if libc:
        print(f"# {len(libc.checked)} functions of libc: {' '.join(sorted(x or '?' for x in libc.checked))}")
        yield "nor does what it calls of libc", "\n".join(libc.bad.values()) or None


if __name__ == "__main__":
    sys.setrecursionlimit(20000)
    sys.exit(run_cases({"program": case_program}, ["program"]))
