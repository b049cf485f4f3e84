#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: cards.py CASE ...

Debian's cloud kernel with the drivers of its package on virtio cards: the guest is guests/cards/init, in an initramfs that is made here. The program is
$SUBRING, and `make test-guest` puts kernel and drivers under $GUESTS. Prints TAP, as boot.py.
"""
import glob
import hashlib
import http.server
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
sys.path.insert(0, HERE)
from boot import GUESTS, KERNEL, SUBRING, part, tail  # pylint: disable=wrong-import-position
from tap import Skip, run_cases  # pylint: disable=wrong-import-position

# In the order in which they can be loaded.
DRIVERS = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio-rng", "failover", "net_failover",
           "virtio_net", "virtio_blk", "crc16", "mbcache", "jbd2", "crc32c_generic", "ext4", "af_packet"]
ENGINES = ("soft", "soft,host=process")
MIB = 1 << 20


def initramfs(tmp):
    found = {os.path.basename(f)[:-3]: f for f in glob.glob(os.path.join(GUESTS, "guest/modules/**/*.ko"), recursive=True)}
    if not os.path.exists(KERNEL["cloud"]) or "virtio_pci" not in found:
        raise Skip(f"no kernel with drivers in {GUESTS}/guest: run make test-guest")
    drivers = [d for d in DRIVERS if d in found] # others are built in
    order = os.path.join(tmp, "order")
    with open(order, "w", encoding="ascii") as f:
        f.writelines(f"{d}\n" for d in drivers)
    image = os.path.join(tmp, "initrd.img")
    subprocess.run([os.path.join(HERE, "../../guests/make-initramfs"), os.path.join(HERE, "../../guests/cards/init"), image,
                    f"{order}=/lib/drivers/order", *(f"{found[d]}=/lib/drivers/{d}.ko" for d in drivers)], check=True)
    return image


class Guest:
    """A run; a context manager that makes the initramfs and ends the program."""

    def __init__(self, run, options, engine="soft", cpus=1, cmdline=""):
        self.tmp = tempfile.TemporaryDirectory()
        self.args = [SUBRING, "run", "--engine", engine, "--cpus", str(cpus), "--kernel", KERNEL["cloud"], "--initrd",
                     initramfs(self.tmp.name), "--cmdline", f"console=ttyS0 quiet panic=-1 subring.run={run} {cmdline}", *options]
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.tmp.cleanup()

    def text(self, timeout=120):
        try:
            out, _ = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
            out += b"\n(timed out)"
        return out.decode(errors="replace").replace("\r", "")


def lines(text, name):
    return (part(text, name) or "").strip().split("\n")


def case_rng():
    for engine in ENGINES:
        with Guest("rng", ["--rng"], engine) as guest:
            text = guest.text()
        yield f"{engine}: the guest gets the host's entropy", None if lines(text, "rng") == ["virtio_rng.0", "65536", "differ"] else tail(text)


def sha(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def case_disk():
    for engine in ENGINES:
        for cpus in (1, 2):
            with tempfile.TemporaryDirectory() as tmp:
                disk = os.path.join(tmp, "a,b.raw")
                with open(disk, "wb") as f:
                    f.write(random.randbytes(9 * MIB + 512))
                before = sha(disk)
                with Guest("disk", ["--disk", disk.replace(",", ",,") + ",format=raw,serial=first-disk"], engine, cpus) as guest:
                    text = guest.text()
                got = lines(text, "disk")
                name = f"{engine}, {cpus} vCPU"
                yield f"{name}: size and serial number", None if got[:2] == ["18433", "first-disk"] else tail(text)
                yield f"{name}: what was there is read", None if got[-2].startswith(before) else tail(text)
                yield f"{name}: what the guest wrote is there", None if got[-1].startswith(sha(disk)) and sha(disk) != before else tail(text)


def case_files():
    with tempfile.TemporaryDirectory() as tmp:
        disk = os.path.join(tmp, "disk.raw")
        with open(disk, "wb") as f:
            f.truncate(64 * MIB)
        mkfs = subprocess.run(["sh", "-c", "PATH=$PATH:/sbin:/usr/sbin mkfs.ext4 -q \"$0\"", disk], check=False)
        if mkfs.returncode:
            raise Skip("no mkfs.ext4: install e2fsprogs")
        with Guest("files", ["--disk", disk], cpus=2) as guest:
            text = guest.text()
        yield "files are there after a mount", None if lines(text, "files") == ["190", "same"] else tail(text)
        fsck = subprocess.run(["sh", "-c", "PATH=$PATH:/sbin:/usr/sbin fsck.ext4 -fn \"$0\"", disk], check=False, capture_output=True, text=True)
        yield "the file system is clean", None if fsck.returncode == 0 else fsck.stdout
        used = os.stat(disk).st_blocks * 512
        yield "holes stay holes", None if used < 32 * MIB else f"{used} bytes in use"
        with Guest("readonly", ["--disk", disk + ",readonly"]) as guest:
            text = guest.text()
        yield "a read-only disk is one for the guest", None if lines(text, "readonly")[0] == "1" else tail(text)
        first, second = Guest("readonly", ["--disk", disk]), None
        with first:
            time.sleep(0.3)
            second = subprocess.run([SUBRING, "run", "--kernel", KERNEL["cloud"], "--disk", disk], stdin=subprocess.DEVNULL, capture_output=True,
                                    text=True, check=False, timeout=30)
            first.text()
        yield "a disk that another VM writes to is refused", None if second.returncode and disk in second.stderr else second.stderr


def case_qcow2():
    with tempfile.TemporaryDirectory() as tmp:
        base, disk, raw = (os.path.join(tmp, name) for name in ("base.raw", "disk.qcow2", "again.raw"))
        with open(base, "wb") as f:
            f.write(random.randbytes(9 * MIB))
        before = sha(base)
        subprocess.run([SUBRING, "disk", "create", disk, "--backing", base, "--backing-format", "raw"], check=True, timeout=60)
        for options, stays in ((",snapshot", True), ("", False)):
            with Guest("disk", ["--disk", disk + options], cpus=2) as guest:
                text = guest.text()
            got = lines(text, "disk")
            subprocess.run([SUBRING, "disk", "convert", disk, "--output", raw, "--output-format", "raw"], check=True, timeout=60)
            yield f"qcow2{options}: what its backing file has is read", None if got[-2].startswith(before) else tail(text)
            want = before if stays else got[-1].split()[0]
            yield f"qcow2{options}: what the guest wrote is {'forgotten' if stays else 'there'}", None if sha(raw) == want else tail(text)
            os.unlink(raw)
        yield "the backing file is as it was", None if sha(base) == before else "it changed"
        p = subprocess.run([SUBRING, "disk", "check", disk], capture_output=True, text=True, check=False, timeout=60)
        yield "the image is sound", None if p.returncode == 0 else p.stdout + p.stderr


def case_switch():
    """Two VMs on a switch: one serves, the other asks."""
    with tempfile.TemporaryDirectory() as runtime:
        os.environ["XDG_RUNTIME_DIR"] = runtime
        net = ["--net", "switch=cards"]
        with Guest("neighbour", ["--name", "one", *net], cmdline="subring.ip=10.9.0.1 subring.peer=10.9.0.2") as one, \
                Guest("neighbour", ["--name", "two", *net], cmdline="subring.ip=10.9.0.2 subring.peer=10.9.0.1") as two:
            end, ports = time.monotonic() + 30, 0
            while ports != 2 and time.monotonic() < end:
                p = subprocess.run([SUBRING, "net", "show", "cards", "--json"], capture_output=True, text=True, check=False, timeout=30)
                ports = len(json.loads(p.stdout)["ports"]) if p.returncode == 0 else 0
            yield "the switch has two ports", None if ports == 2 else f"{ports}"
            for guest, peer in ((one, "two"), (two, "one")):
                text = guest.text()
                yield f"{peer} answers", None if "5 packets received" in (part(text, "neighbour") or "") else tail(text)


class Words(http.server.BaseHTTPRequestHandler):
    body = b""

    def do_GET(self): # pylint: disable=invalid-name
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_): # pylint: disable=arguments-differ
        pass


def case_net():
    Words.body = random.randbytes(3 * MIB)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Words)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for engine in ENGINES:
        with tempfile.TemporaryDirectory() as tmp:
            pcap = os.path.join(tmp, "frames.pcap")
            with Guest("net", ["--name", "card-test", "--net", f"user,pcap={pcap}"], engine, 2, f"subring.port={server.server_port}") as guest:
                text = guest.text()
            got = lines(text, "net")
            size = os.path.getsize(pcap)
        yield f"{engine}: an address by DHCP", None if any("lease of 10.0.2.15 obtained" in g for g in got) else tail(text)
        yield f"{engine}: pings come back", None if any("3 packets received" in g for g in got) else tail(text)
        yield f"{engine}: 3 MiB from the host", None if got[-1].startswith(hashlib.sha256(Words.body).hexdigest()) else tail(text)
        yield f"{engine}: all of it was captured", None if size > 3 * MIB else f"{size} bytes"
    server.shutdown()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ask(port):
    """One attempt to read what the guest serves."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            return s.recv(100)
    except OSError:
        return b""


def case_publish():
    port = free_port()
    with Guest("net,serve", ["--net", "user", "--publish", f"{port}:80"], cmdline=f"subring.port={port}") as guest:
        end, got = time.monotonic() + 60, b""
        while time.monotonic() < end and guest.process.poll() is None and not got:
            got = ask(port)
            time.sleep(0.2)
        text = guest.text(30)
    yield "the host reads what the guest serves", None if got == b"served by the guest\n" else f"{got}\n{tail(text)}"


def case_refused():
    """What is wrong with an option is said in three lines, and nothing runs."""
    for options, word in ((["--disk", "/nonexistent/disk"], "/nonexistent/disk"), (["--disk", "x,format=vhd"], "format=vhd"), (["--disk", ""], "--disk"),
                          (["--net", "carrier-pigeon"], "carrier-pigeon"), (["--publish", "80:80"], "80:80"),
                          (["--disk", "x,serial=" + 21 * "x"], "serial")):
        p = subprocess.run([SUBRING, "run", "--kernel", KERNEL["cloud"], *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           check=False, timeout=30)
        wrong = None if p.returncode and len(p.stderr.strip().splitlines()) == 3 and word in p.stderr else p.stderr
        yield " ".join(options) + " is refused", wrong


CASES = {name[5:]: f for name, f in list(globals().items()) if name.startswith("case_")}

if __name__ == "__main__":
    sys.exit(run_cases(CASES, sys.argv[1:]))
