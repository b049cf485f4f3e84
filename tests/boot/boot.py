#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: boot.py CASE ...

Boots whole guests with the program in $SUBRING and the guests under $GUESTS (`make test-guest` puts
them there), and prints TAP. A case is a name in CASES; each yields (description, None or what is wrong).
"""
import hashlib
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Skip, run_cases  # pylint: disable=wrong-import-position

SUBRING = os.environ.get("SUBRING", "build/subring")
GUESTS = os.environ.get("GUESTS", "build")
KERNEL = {
    "cloud": os.path.join(GUESTS, "guest/vmlinuz"),
    "full": os.path.join(GUESTS, "test-guest/vmlinuz"),
    "686": os.path.join(GUESTS, "test-guest-i386/686/vmlinuz"),
    "686-pae": os.path.join(GUESTS, "test-guest-i386/686-pae/vmlinuz"),
}
INITRD = os.path.join(GUESTS, "test-guest/initrd.img")
# 32-bit kernels have a 32-bit busybox.
I386 = ("686", "686-pae")
INITRD_I386 = os.path.join(GUESTS, "test-guest-i386/initrd.img")
BUSYBOX_I386 = os.path.join(GUESTS, "test-guest-i386/bin/busybox")
OTHERS = os.path.join(GUESTS, "other-guests")
TIMEOUT = 240

# Kernel messages of level "warning" or worse that a PC prints as well, each with the reason.
EXPECTED_WARNINGS = [
]


def boot(kernel, run, cpus=1, engine="soft", extra=(), cmdline="", timeout=TIMEOUT, initrd=None):
    """Runs the test guest. Returns (status, console text)."""
    initrd = initrd or (INITRD_I386 if kernel in I386 else INITRD)
    for f in (KERNEL[kernel], initrd):
        if not os.path.exists(f):
            raise Skip(f"no {f}: run make test-guest other-guests")
    args = [SUBRING, "run", "--engine", engine, "--cpus", str(cpus), "--mem", "512M", "--kernel", KERNEL[kernel],
            "--initrd", initrd, "--cmdline", f"console=ttyS0 panic=-1 {cmdline} subring.run={run}", *extra]
    p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        out, _ = p.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        p.terminate()
        try:
            out, _ = p.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            p.kill()
            out, _ = p.communicate()
        return -1, out.decode(errors="replace").replace("\r", "") + "\n(timed out)"
    return p.returncode, out.decode(errors="replace").replace("\r", "")


def part(text, name):
    """What a command printed, without what the kernel told the console meanwhile."""
    m = re.search(rf"^<<< {name}$(.*?)^>>> {name}$", text, re.M | re.S)
    return re.sub(r"^\[ *\d+\.\d{6}\] .*\n", "", m.group(1), flags=re.M) if m else None


def tail(text, n=25):
    return "\n".join(text.splitlines()[-n:])


def known_sha(kernel):
    with open(BUSYBOX_I386 if kernel in I386 else "/bin/busybox", "rb") as f:
        return hashlib.sha256(f.read(1048576)).hexdigest()


def warnings(dmesg):
    bad = []
    for line in dmesg.splitlines():
        m = re.match(r"<(\d+)>(.*)", line)
        if m and int(m.group(1)) & 7 <= 4 and not any(re.search(e, line) for e in EXPECTED_WARNINGS):
            bad.append(m.group(2))
    return bad


def host_load():
    """What the host had to do besides: seconds that its hypervisor took away, and that somebody waited for a CPU."""
    tick = os.sysconf("SC_CLK_TCK")
    with open("/proc/stat", encoding="ascii") as f:
        stolen = int(f.readline().split()[8]) / tick
    try:
        with open("/proc/pressure/cpu", encoding="ascii") as f:
            waited = int(re.search(r"total=(\d+)", f.readline()).group(1)) / 1e6
    except OSError:
        waited = float("nan")
    return stolen, waited


def check_boot(kernel, cpus, engine="soft", cmdline=""):
    """One whole boot, looked at from all sides."""
    before = host_load()
    status, text = boot(kernel, "about,sha,vulnerabilities,smp,pipes,substitute,sleep,dmesg", cpus, engine, cmdline=cmdline)
    name = f"{kernel} kernel, {cpus} vCPU, {engine}"
    yield f"{name}: powers off with status 0", None if status == 0 else f"status {status}\n{tail(text)}"
    if status != 0:
        return
    about = (part(text, "about") or "").split()
    machine = "i686" if kernel in I386 else "x86_64"
    yield f"{name}: has its CPUs and the TSC as clock", None if about == [machine, str(cpus), "tsc"] else about
    yield f"{name}: sha256 of a known file", None if known_sha(kernel) in (part(text, "sha") or "") else part(text, "sha")
    turns = (part(text, "substitute") or "none").strip()
    yield f"{name}: what a shell substitutes is what was said", None if turns == "100 turns, 0 bad" else turns
    vulnerable = [v for v in (part(text, "vulnerabilities") or "none read").splitlines()
                  if v and not v.endswith(": Not affected")]
    yield f"{name}: no CPU vulnerability to mitigate", vulnerable or None
    up = (part(text, "sleep") or "0 0").split()
    slept = float(up[1]) - float(up[0])
    yield f"{name}: a second lasts a second", None if 0.95 <= slept <= 1.6 else f"{slept} s"
    dmesg = part(text, "dmesg") or ""
    calibrated = "Fast TSC calibration failed" not in dmesg and "Marking TSC unstable" not in dmesg \
        and re.search(r"tsc: Detected [\d.]+ MHz", dmesg)
    yield f"{name}: clocks calibrate on the first try", None if calibrated else \
        [line for line in dmesg.splitlines() if re.search("tsc|clocksource|calibrat", line, re.I)]
    stolen, waited = (b - a for a, b in zip(before, host_load()))
    yield f"{name}: no kernel warning", "\n".join(
        [*warnings(dmesg), f"meanwhile the host lost {stolen:.1f} s to others, tasks waited {waited:.1f} s for a CPU"]) \
        if warnings(dmesg) else None


def case_cloud():
    for cpus in (1, 2, 4):
        yield from check_boot("cloud", cpus)


def case_full():
    for cpus in (1, 2, 4):
        yield from check_boot("full", cpus)


def case_i386():
    # The kernel's tests of its cryptography take most of the boot: once is enough.
    for kernel in I386:
        for cpus in (1, 2):
            tested = kernel == "686-pae" and cpus == 2
            yield from check_boot(kernel, cpus, cmdline="" if tested else "cryptomgr.notests")


def check_dmesg(name, dmesg, wanted, unwanted):
    missing = [w for w in wanted if not re.search(w, dmesg)] + [f"not {u}" for u in unwanted if re.search(u, dmesg)]
    yield f"{name}: the kernel's messages say so", f"missing: {missing}\n{tail(dmesg, 300)}" if missing else None
    yield f"{name}: no kernel warning", "\n".join(warnings(dmesg)) or None


def case_pv():
    """The paravirtual interfaces of Linux's CONFIG_KVM_GUEST: used, chosen as the clock, not used, hidden."""
    smp = ["PV spinlocks enabled", "setup PV IPIs", "KVM setup pv remote TLB flush", "setup PV sched yield"]
    for name, cpus, extra, cmdline, clock, wanted, unwanted in (
            ("paravirtual interfaces, 2 vCPU", 2, [], "", "tsc", ["Hypervisor detected: KVM", "kvm-clock: Using msrs", *smp], []),
            ("clocksource=kvm-clock", 2, [], "clocksource=kvm-clock", "kvm-clock", smp, []),
            ("clocksource=tsc", 2, [], "clocksource=tsc", "tsc", smp, []),
            ("no-kvmclock no-steal-acc nopvspin", 2, [], "no-kvmclock no-steal-acc nopvspin", "tsc", ["setup PV IPIs"], ["kvm-clock"]),
            ("--cpu v3,-kvm", 2, ["--cpu", "v3,-kvm"], "", "tsc", [], ["Hypervisor detected: KVM", "kvm-clock", "PV IPIs"])):
        status, text = boot("cloud", "about,smp,pipes,sleep,dmesg", cpus, cmdline=cmdline, extra=extra)
        yield f"{name}: powers off with status 0", None if status == 0 else f"status {status}\n{tail(text)}"
        if status != 0:
            continue
        about = (part(text, "about") or "").split()
        yield f"{name}: the clock is {clock}", None if about == ["x86_64", str(cpus), clock] else about
        up = (part(text, "sleep") or "0 0").split()
        slept = float(up[1]) - float(up[0])
        yield f"{name}: a second lasts a second", None if 0.95 <= slept <= 1.6 else f"{slept} s"
        yield from check_dmesg(name, part(text, "dmesg") or "", wanted, unwanted)


AVX512_INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
echo "<<< avx512"
avx512
echo ">>> avx512"
echo "<<< cpuinfo"
grep -m 1 flags /proc/cpuinfo
echo ">>> cpuinfo"
poweroff -f
"""


def case_avx512():
    """--cpu host: processes keep ZMM registers and opmasks over context switches and signals; v3 has none of it."""
    here = os.path.dirname(os.path.abspath(__file__))
    program = os.path.join(GUESTS, "tests/guests/avx512")
    with open("/proc/cpuinfo", encoding="ascii") as f:
        if "avx512bw" not in f.read():
            raise Skip("this host has no AVX-512")
    if not os.path.exists(program):
        raise Skip(f"no {program}: it could not be built")
    with tempfile.TemporaryDirectory() as d:
        init, initrd = os.path.join(d, "init"), os.path.join(d, "initrd.img")
        with open(init, "w", encoding="ascii") as f:
            f.write(AVX512_INIT)
        subprocess.run([os.path.join(here, "../../guests/make-initramfs"), init, initrd, f"{program}=/bin/avx512"], check=True)
        for cpu, engine, cpus, wanted in (("host", "soft", 2, "ok"), ("host", "soft,tier=interp", 1, "ok"),
                                          ("v3", "soft", 1, "no AVX-512")):
            name = f"--cpu {cpu}, {engine}, {cpus} vCPU"
            status, text = boot("cloud", "", cpus, engine, ["--cpu", cpu], initrd=initrd)
            said = (part(text, "avx512") or "").strip()
            yield f"{name}: the program says '{wanted}'", None if (status, said) == (0, wanted) else f"status {status}\n{tail(text)}"
            flags = (part(text, "cpuinfo") or "").split()
            yield f"{name}: so does /proc/cpuinfo", None if ("avx512f" in flags) == (cpu == "host") else f"{flags}"


class Shared:
    """A guest that computes on one of the host's processors."""

    def __init__(self, processor):
        args = ["taskset", "-c", str(processor), SUBRING, "run", "--engine", "soft", "--mem", "256M", "--kernel", KERNEL["cloud"],
                "--initrd", INITRD, "--cmdline", "console=ttyS0 panic=-1 subring.run=steal"]
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.text = ""

    def expect(self, pattern, timeout=TIMEOUT):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            left = end - time.monotonic()
            data = os.read(self.p.stdout.fileno(), 65536) \
                if left > 0 and select.select([self.p.stdout], [], [], left)[0] else b""
            if not data:
                return False
            self.text += data.decode(errors="replace").replace("\r", "")
        return True

    def go_on(self):
        self.p.stdin.write(b"\n")
        self.p.stdin.flush()

    def delayed(self):
        """Seconds for which the vCPU's thread has waited for a processor."""
        tasks = f"/proc/{self.p.pid}/task"
        for tid in os.listdir(tasks):
            with open(f"{tasks}/{tid}/comm", encoding="ascii") as f:
                vcpu = f.read().startswith("vcpu")
            if vcpu:
                with open(f"{tasks}/{tid}/schedstat", encoding="ascii") as f:
                    return int(f.read().split()[1]) / 1e9
        raise RuntimeError("no thread of a vCPU")

    def stolen(self):
        """What the guest says, in seconds, in the order in which it did."""
        return [int(line.split()[8]) / 100 for line in re.findall(r"^cpu .*", self.text, re.M)]


def case_steal():
    """Two VMs on one processor of the host: what each believes to have lost is what the host says."""
    for f in (KERNEL["cloud"], INITRD):
        if not os.path.exists(f):
            raise Skip(f"no {f}: run make test-guest")
    processor = max(os.sched_getaffinity(0))
    guests = [Shared(processor), Shared(processor)]
    try:
        if not all(g.expect(r"(?m)^ready$") for g in guests):
            yield "two VMs on one processor boot", "\n".join(tail(g.text) for g in guests)
            return
        before = [g.delayed() for g in guests]
        for g in guests:
            g.go_on()
        begun = all(g.expect(r"(?m)^cpu .*\n") for g in guests)
        began = [g.delayed() for g in guests]
        done = begun and all(g.expect(r"(?m)^computed$") for g in guests)
        end = [g.delayed() for g in guests]
        for g in guests:
            g.go_on()
        done = done and all(g.expect(r"(?m)^>>> steal$") for g in guests)
        after = [g.delayed() for g in guests]
        if not done:
            yield "two VMs on one processor compute", "\n".join(tail(g.text) for g in guests)
            return
    finally:
        for g in guests:
            g.p.kill()
            g.p.wait()
    for i, g in enumerate(guests):
        stolen = g.stolen()[1] - g.stolen()[0]
        told = f"stolen {stolen:.2f} s; by the host between {end[i] - began[i]:.2f} and {after[i] - before[i]:.2f} s"
        # The guest counts in hundredths, and its ticks are 4 ms apart.
        good = end[i] - began[i] - 0.1 <= stolen <= after[i] - before[i] + 0.02
        yield f"VM {i} of two on one processor: stolen time is the host's run delay", None if good else told
        # Each computes for 4 s of its own clock; whoever ends last was alone for a while at most.
        yield f"VM {i} of two on one processor: a good part is stolen", None if stolen >= 1.0 else told


def until(args, pattern, timeout):
    """Runs the program until it prints @pattern. Returns (seen, the text without escape sequences)."""
    p = subprocess.Popen([SUBRING, "run", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
    text, end = "", time.monotonic() + timeout
    try:
        while not re.search(pattern, text):
            left = end - time.monotonic()
            if left <= 0 or not select.select([p.stdout], [], [], left)[0]:
                return False, text
            data = os.read(p.stdout.fileno(), 65536)
            if not data:
                return False, text
            text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", data.decode(errors="replace").replace("\r", ""))
        return True, text
    finally:
        p.kill()
        p.wait()


def other_guest(name):
    path = os.path.join(OTHERS, name)
    if not os.path.exists(path):
        raise Skip(f"no {path}: run make other-guests")
    return path


def case_memtest():
    """Test 3 comes after two of addresses; a whole pass is for outside CI."""
    for width in ("ia32", "x64"):
        kernel = other_guest(f"memtest86+{width}.bin")
        # A short test may pass between two looks at the screen.
        seen, text = until(["--kernel", kernel, "--mem", "32M", "--cmdline", "console=ttyS0"], r"#(?:[3-9] |10) \[", 120)
        yield f"memtest86+ {width} reaches its third test", None if seen else tail(text)
        wrong = re.findall(r"Errors: +[1-9]\d*", text)
        yield f"memtest86+ {width} finds no error", wrong or None


def case_xen():
    kernel = other_guest("xen-4.17-amd64")
    for cpus in (1, 2):
        seen, text = until(["--kernel", kernel, "--mem", "512M", "--no-reboot", "--cpus", str(cpus), "--cmdline",
                            "xen console=com1 com1=115200"], r"dom0 kernel not specified", 60)
        yield f"Xen, {cpus} vCPU, by Multiboot 2, misses its dom0", None if seen else tail(text)
        yield f"Xen, {cpus} vCPU, is told who loaded it", None if "Bootloader: Subring" in text else tail(text)
        yield f"Xen, {cpus} vCPU, gets its command line", None if "Command line: console=com1" in text else tail(text)


def case_process():
    for cpus in (1, 2):
        yield from check_boot("cloud", cpus, "soft,host=process")


def stress_options(rng):
    """Switches of the translator (docs/translator.md) that make what is rare frequent."""
    choices = [
        ["flags=exact"], ["hot=0", "hot=1", "hot=100"], ["insns=1", "insns=2", "insns=7", "insns=64"],
        ["cache=256", "cache=1024", "cache=8192"], ["flush=300", "flush=3000", "flush=20000"], ["interp=2", "interp=17"],
        ["stir=2", "stir=50"],
        ["mixed=0", "mixed=1", "mixed=5"],
    ]
    options = [rng.choice(c) for c in choices if rng.random() < 0.5]
    # Everything made at once, and gone at once, takes minutes for what the others do in seconds; so do blocks of one instruction that are not linked.
    if {"insns=1", "insns=2", "hot=0", "hot=1"} & set(options):
        options = [o for o in options if o != "flush=300"]
    if {"insns=1", "insns=2"} & set(options):
        options = [o for o in options if o != "interp=2"]
    return options


def case_stress():
    """
    Boots with random switches; STRESS_SEED runs the same again, STRESS_BOOTS says how many of 64-bit kernels (2), STRESS_BOOTS_I386 how many of
    32-bit ones (1).
    """
    seed = int(os.environ.get("STRESS_SEED", time.time_ns() % 10**9))
    rng = random.Random(seed)
    kernels = ["cloud"] * int(os.environ.get("STRESS_BOOTS", "2"))
    if os.path.exists(INITRD_I386):
        kernels += [rng.choice(I386) for _ in range(int(os.environ.get("STRESS_BOOTS_I386", "1")))]
    for kernel in kernels:
        options = stress_options(rng)
        if rng.random() < 0.3:
            options.append("host=process")
        cpus = rng.choice((1, 2, 4))
        print(f"# STRESS_SEED={seed}: {kernel}, {cpus} vCPU, {options}", flush=True)
        cmdline = "cryptomgr.notests" if kernel in I386 else ""
        for what, wrong in check_boot(kernel, cpus, ",".join(["soft", *options]), cmdline):
            if what.endswith("a second lasts a second"):
                continue # starting sleep(1) alone may take longer
            # The switches make an interrupt's handler take long, which is all that this line says.
            if what.endswith("no kernel warning") and wrong and "hrtimer: interrupt took" in wrong and \
                    len(wrong.splitlines()) == 2:
                wrong = None
            yield what, wrong


class Terminal:
    """The program on a pseudo-terminal, as a person has it."""

    def __init__(self, args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(args[0], args)
        self.text = ""

    def expect(self, pattern, timeout=TIMEOUT):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                return False
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                return bool(re.search(pattern, self.text))
            self.text += data.decode(errors="replace")
        return True

    def send(self, text):
        os.write(self.fd, text.encode())

    def status(self, timeout=20):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.expect("(?!)", 0.05)
            pid, st = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(st)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return "did not end"


def case_terminal():
    if not os.path.exists(KERNEL["cloud"]):
        raise Skip("no default guest: run make guest")
    t = Terminal([SUBRING, "run", "--mem", "256M"])
    yield "the default guest reaches a shell prompt", None if t.expect(r"subring:~# ") else tail(t.text)
    t.send("echo $((6 * 7)) is the answer\n")
    yield "the shell answers", None if t.expect("42 is the answer", 20) else tail(t.text)
    t.send("\x01h")
    yield "Ctrl-a h helps", None if t.expect(r"Ctrl-a x", 10) else tail(t.text)
    t.send("exit\n")
    status = t.status()
    yield "leaving the shell powers off with status 0", None if status == 0 else f"{status}\n{tail(t.text)}"
    t = Terminal([SUBRING, "run", "--mem", "256M"])
    t.expect(r"subring:~# ")
    t.send("\x01x")
    status = t.status()
    yield "Ctrl-a x leaves with status 0", None if status == 0 else f"{status}\n{tail(t.text)}"


def case_ends():
    status, text = boot("cloud", "halt")
    yield "halt -f ends the run with status 0", None if status == 0 else f"status {status}\n{tail(text)}"
    status, text = boot("cloud", "reboot", extra=["--no-reboot"])
    yield "reboot -f with --no-reboot ends the run with status 0", None if status == 0 else f"{status}\n{tail(text)}"
    status, text = boot("cloud", "panic", extra=["--no-reboot"])
    ok = status == 0 and "Kernel panic" in text
    yield "a kernel panic with panic=-1 and --no-reboot ends the run", None if ok else f"{status}\n{tail(text)}"


def tiny(name, *extra, timeout=60):
    """Runs a small guest of tests/guests. Returns (status, output)."""
    elf = os.path.join(GUESTS, "tests/guests", name + ".elf")
    p = subprocess.run([SUBRING, "run", "--mem", "64M", "--no-reboot", "--debug-exit", "--kernel", elf, *extra],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout,
                       check=False)
    return p.returncode, p.stdout.decode(errors="replace")


def case_tiny():
    for name, cpus, want, says in (
            ("exit", 1, 43, ""), ("halt", 1, 0, ""), ("halt", 4, 0, ""), ("serial", 1, 1, "ok\n"),
            ("a20", 1, 1, ""), ("a20", 3, 1, ""), ("smi", 1, 1, ""), ("smi", 2, 1, ""), ("triple", 1, 8, "fix:"), ("nowhere", 1, 8, "fix:")):
        for engine in ("soft", "soft,hot=0", "soft,host=process"):
            status, text = tiny(name, "--engine", engine, "--cpus", str(cpus))
            good = status == want and says in text.replace("\r", "")
            yield f"guest {name}, {cpus} vCPU, {engine}, ends with status {want}", None if good else f"{status}\n{text}"
    # What random device accesses do is the guest's own doing: it may power off or halt; the monitor ends in order.
    for name in ("ports", "mmio"):
        try:
            status, text = tiny(name)
        except subprocess.TimeoutExpired:
            status, text = "timed out", ""
        good = status in (0, 8) or isinstance(status, int) and status > 0 and status & 1  # odd: the debug exit port
        yield f"guest {name}: random accesses end in order", None if good else f"{status}\n{text}"
    t = Terminal([SUBRING, "run", "--mem", "64M", "--kernel", os.path.join(GUESTS, "tests/guests/spin.elf")])
    time.sleep(1)
    t.send("\x01x")
    status = t.status()
    yield "Ctrl-a x leaves a guest that spins with interrupts off", None if status == 0 else f"{status}\n{t.text}"


CASES = {name[5:]: f for name, f in globals().items() if name.startswith("case_")}


if __name__ == "__main__":
    sys.exit(run_cases(CASES, sys.argv[1:]))
