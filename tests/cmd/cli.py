#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""usage: cli.py

Runs the program in $SUBRING with bad usage and bad files, and holds its help against the man page in
$MANPAGE. Prints TAP. Some need the small guests in $GUESTS, none a Linux.
"""
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Tap  # pylint: disable=wrong-import-position

SUBRING = os.environ["SUBRING"]
MANPAGE = os.environ["MANPAGE"]
OK, USAGE, HOST, INPUT = 0, 2, 4, 6
TMP = tempfile.mkdtemp(prefix="subring-test-cli.")


def run(*args, env=None, limit=None):
    """Status, standard output, standard error."""
    p = subprocess.run([SUBRING, *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=120,
                       env=dict(os.environ, **(env or {})), errors="replace",
                       preexec_fn=(lambda: resource.setrlimit(*limit)) if limit else None)
    return p.returncode, p.stdout, p.stderr


def three_lines(result, status, *parts):
    """None, or what is wrong with an error: its form, its status, or a part that it should have."""
    got, out, err = result
    lines = err.rstrip("\n").split("\n")
    if got != status:
        return f"status {got}, not {status}: {err}"
    if out:
        return f"standard output is not empty: {out}"
    if len(lines) != 3 or not lines[0].startswith("subring: ") or not lines[1].startswith("  why: ") or \
            not lines[2].startswith("  fix: "):
        return f"not three lines: {err}"
    for line in lines:
        if not re.sub(r"^(subring|  why|  fix): ", "", line).strip():
            return f"an empty line: {err}"
    for part in parts:
        if part not in err:
            return f"'{part}' is not in: {err}"
    return None


def file(name, data):
    path = os.path.join(TMP, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def help_shows_the_commands():
    for args in (["help"], ["--help"], ["-h"]):
        status, out, err = run(*args)
        if status != OK or err or not all(c in out for c in ("run", "disk", "doctor", "net", "help", "version")):
            return f"{args}: {status} {out} {err}"
    status, out, err = run()
    if status != USAGE or "usage:" not in out + err:
        return f"without a command: {status} {out} {err}"


def version_is_one_line():
    for args in (["version"], ["--version"]):
        status, out, err = run(*args)
        if status != OK or not re.fullmatch(r"subring \d+\.\d+\.\d+\n", out) or err:
            return f"{args}: {status} {out} {err}"


def every_command_has_help():
    for command in ("run", "disk", "doctor", "net", "help", "version"):
        both = run("help", command), run(command, "--help")
        if both[0] != both[1] or both[0][0] != OK or "--help" not in both[0][1]:
            return f"{command}: {both}"
    if run("run", "--cpus", "2", "--help")[0] != OK:
        return "not after other options"
    return three_lines(run("help", "nothing"), USAGE)


def bad_usage_is_told_in_three_lines():
    for args, part in [
        (["rnu"], "did you mean 'subring run'"), (["nothing-like-it"], "subring help"), (["--cpus", "2"], "--cpus"),
        (["run", "--kernal", "x"], "--kernel"), (["run", "--cpu=2"], "CPU model"), (["run", "--cpu", "v3,-nothing"], "x2apic"),
        (["run", "--cpu", "v3,-sse2"], "64-bit mode"), (["run", "--cpu", "v3,+x2apic"], "la57"), (["run", "--cpu", "v3,avx"], "-FEATURE"),
        (["run", "-m", "512M"], "-m"),
        (["run", "vmlinuz"], "vmlinuz"), (["run", "--", "--cpus"], "--cpus"),
        (["run", "--cpus"], "needs a value"), (["run", "--kernel", "--initrd", "x"], "needs a value"),
        (["run", "--debug-exit=1"], "--debug-exit"),
        (["doctor", "--jsn"], "--json"), (["doctor", "now"], "now"), (["version", "2"], "2"), (["help", "a", "b"], "b"),
        (["net"], "ls, show or capture"), (["net", "lst"], "ls, show or capture"), (["net", "ls", "x"], "net show x"), (["net", "show"], "no name"),
        (["net", "show", "../x"], "no name of a switch"), (["net", "show", "a,mac=1"], "no name of a switch"),
        (["net", "capture"], "no name"), (["net", "capture", "t"], "--pcap"),
    ]:
        wrong = three_lines(run(*args), USAGE, part)
        if wrong:
            return f"{args}: {wrong}"


def absurd_values_are_refused():
    for option, values in [
        ("--cpus", ["0", "17", "-1", "99999999999999999999", "two", "", "1.5", "0x2"]),
        ("--mem", ["0", "1", "512", "1M", "15M", "2T", "-1G", "1.5G", "lots", "", "99999999999999999999G", "16385K"]),
        ("--serial", ["", "tty", "file:", "pty"]),
        ("--engine", ["xen", "", "soft,host=moon", "softer", "kvm,features=moon", "auto,host=process"]),
        ("--trace", ["", "nothing", "exits,,int", "exits,"]),
        ("--name", ["", "a b", "-x", "x" * 65, "../x", "a\nb"]),
        ("--gdb", ["", "1234", "host:", "unix:", "no.such.host.invalid:1"]),
    ]:
        for value in values:
            wrong = three_lines(run("run", "--kernel", "/dev/null", f"{option}={value}"), USAGE)
            if wrong:
                return f"{option}={value}: {wrong}"


def files_that_are_no_kernels_are_refused():
    elf32_arm = b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x28\x00\x01\x00\x00\x00" + bytes(1000)
    with open(SUBRING, "rb") as f:
        program = f.read(100000)
    for name, path in [
        ("missing", os.path.join(TMP, "missing")), ("a folder", TMP), ("empty", file("empty", b"")),
        ("/dev/null", "/dev/null"), ("one byte", file("one", b"M")), ("zeros", file("zeros", bytes(100000))),
        ("text", file("text", b"hello\n" * 10000)), ("another machine's", file("arm", elf32_arm)),
        ("a program", file("program", program)), ("a name too long", os.path.join(TMP, "x" * 300)),
        ("bzImage cut off", file("cut", bytes(0x1f1) + b"\x04" + bytes(0x202 - 0x1f2) + b"HdrS" + bytes(50))),
    ]:
        wrong = three_lines(run("run", "--kernel", path), INPUT)
        if wrong:
            return f"{name}: {wrong}"


def files_that_cannot_be_written_are_told():
    for args in (["--serial", "file:/no/such/folder/log"], ["--serial", f"file:{TMP}"],
                 ["--trace", "exits:/no/such/folder/log"]):
        wrong = three_lines(run("run", "--kernel", "/dev/null", *args), INPUT)
        if wrong:
            return f"{args}: {wrong}"


def guest(name):
    path = os.path.join(os.environ.get("GUESTS", ""), name + ".elf")
    return path if os.path.exists(path) else None


def output_that_is_lost_is_told():
    kernel = guest("serial")
    if not kernel:
        return "SKIP the small guests are not built"
    wrong = three_lines(run("run", "--kernel", kernel, "--debug-exit", "--serial", "file:/dev/full"), INPUT, "/dev/full")
    if wrong:
        return f"a full device: {wrong}"
    r, w = os.pipe()
    os.close(r)
    p = subprocess.run([SUBRING, "run", "--kernel", kernel, "--debug-exit"], stdin=subprocess.DEVNULL, stdout=w,
                       stderr=subprocess.PIPE, timeout=60, text=True)
    os.close(w)
    return three_lines((p.returncode, "", p.stderr), HOST, "standard output")


def output_goes_where_it_is_sent():
    kernel = guest("serial")
    if not kernel:
        return "SKIP the small guests are not built"
    log = os.path.join(TMP, "log")
    for args, out in (["--serial", "stdio"], "ok\n"), (["--serial", f"file:{log}"], ""), (["--serial=none"], ""):
        if run("run", "--kernel", kernel, "--debug-exit", *args) != (1, out, ""):
            return f"{args}: {run('run', '--kernel', kernel, '--debug-exit', *args)}"
    with open(log, encoding="ascii") as f:
        return None if f.read() == "ok\n" else "the file has something else"


def a_slow_reader_gets_everything():
    kernel = guest("serial")
    if not kernel:
        return "SKIP the small guests are not built"
    p = subprocess.Popen([SUBRING, "run", "--kernel", kernel, "--trace", "exits", "--debug-exit"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    out, err = p.communicate(timeout=60)
    if out != "ok\n" or p.returncode != 1:
        return f"{p.returncode} {out}"
    return None if len(re.findall(r"exits: vcpu0 out port 0x", err)) >= 4 else f"the trace: {err}"


def signals_end_a_run_with_status_0():
    kernel = guest("spin")
    if not kernel:
        return "SKIP the small guests are not built"
    for engine in ("soft", "soft,host=process"):
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            p = subprocess.Popen([SUBRING, "run", "--kernel", kernel, "--cpus", "2", "--engine", engine],
                                 stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, text=True)
            time.sleep(0.3)
            os.killpg(p.pid, sig)  # as a terminal does: the engine's process is in the group
            try:
                _, err = p.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                p.kill()
                p.communicate()
                return f"{engine} {sig}: does not end"
            if p.returncode != OK or err:
                return f"{engine} {sig}: {p.returncode} {err}"


def a_missing_default_guest_says_how_to_get_it():
    for env in ({"SUBRING_GUEST_DIR": os.path.join(TMP, "nothing")},
                {"SUBRING_GUEST_DIR": os.path.join(TMP, "x" * 5000)}):
        wrong = three_lines(run("run", env=env), INPUT, "make guest", "--kernel")
        if wrong:
            return wrong


def the_default_guest_is_found_where_it_should_be():
    guest = os.path.join(TMP, "data", "subring", "default")
    os.makedirs(guest)
    for name in ("vmlinuz", "initrd.img"):
        with open(os.path.join(guest, name), "w", encoding="ascii") as f:
            f.write("no kernel")
    for env in ({"SUBRING_GUEST_DIR": "", "XDG_DATA_HOME": os.path.join(TMP, "data")}, {"SUBRING_GUEST_DIR": guest}):
        wrong = three_lines(run("run", env=env), INPUT, guest)
        if wrong:
            return f"{env}: {wrong}"


def a_host_without_memory_is_told():
    if "ASAN_OPTIONS" not in os.environ:  # a sanitizer needs its address space
        wrong = three_lines(run("run", "--kernel", "/dev/null", limit=(resource.RLIMIT_AS, (128 << 20, 128 << 20))), HOST)
        if wrong:
            return f"little address space: {wrong}"
    return three_lines(run("run", "--mem", "1T", "--kernel", "/dev/null"), HOST)


def an_address_that_is_taken_is_told():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        return three_lines(run("run", "--kernel", "/dev/null", "--gdb", f":{s.getsockname()[1]}"), HOST)


def doctor_has_an_answer_for_people_and_for_programs():
    status, out, err = run("doctor")
    if status not in (OK, HOST) or err:
        return f"{status} {err}"
    for word in ("/dev/kvm", "hardware virtualization", "memfd", "membarrier", "default guest", "auto"):
        if word not in out:
            return f"'{word}' is not in: {out}"
    status_json, out, err = run("doctor", "--json")
    answer = json.loads(out)
    if status_json != status or err or answer["can_run"] != (status == OK):
        return f"--json: {status_json} {err} {answer}"
    for check in answer["checks"]:
        if check["state"] not in ("ok", "absent", "missing") or not check["detail"] or not check["title"]:
            return f"{check}"
        if check["state"] != "ok" and not check.get("fix"):
            return f"no word on how to get it: {check}"
    if not answer["engine"]["auto"] or not answer["engine"]["why"]:
        return f"{answer['engine']}"
    kvm = next(c for c in answer["checks"] if c["id"] == "kvm")
    failed = [p for p in kvm["parts"] if p["result"] == "failed"]
    if not all(p["name"] and p["detail"] for p in kvm["parts"]) or (kvm["state"] == "ok") == bool(failed):
        return f"{kvm}"
    if (answer["engine"]["auto"] == "kvm") != (kvm["state"] == "ok"):
        return f"{answer['engine']} {kvm}"


def doctor_tells_what_is_missing():
    status, out, _ = run("doctor", "--json", limit=(resource.RLIMIT_NOFILE, (14, 14)))
    checks = {c["id"]: c for c in json.loads(out)["checks"]}
    if status != HOST or checks["limit-nofile"]["state"] != "missing" or "ulimit" not in checks["limit-nofile"]["fix"]:
        return f"{status} {checks['limit-nofile']}"


def disk_images_are_made_and_changed():
    image, raw, again = (os.path.join(TMP, name) for name in ("disk.qcow2", "disk.raw", "again.qcow2"))
    for args in (["create", image, "--size", "8M"], ["snapshot", image, "--create", "one"], ["snapshot", image, "--apply", "one"],
                 ["snapshot", image, "--delete", "one"], ["resize", image, "--size", "16M"], ["check", image], ["check", image, "--repair"],
                 ["convert", image, "--output", raw, "--output-format", "raw"], ["create", again, "--backing", "disk.qcow2"],
                 ["commit", again], ["info", again], ["snapshot", image]):
        status, _, err = run("disk", *args)
        if status != OK or err:
            return f"{args}: {status} {err}"
    if os.stat(raw).st_size != 16 << 20 or os.stat(raw).st_blocks > 100:
        return "the raw image is not as large, or has no holes"
    info = json.loads(run("disk", "info", image, "--json")[1])
    if info["format"] != "qcow2" or info["size"] != 16 << 20 or info["snapshots"]:
        return f"{info}"
    check = json.loads(run("disk", "check", image, "--json")[1])
    return None if check["leaks"] == check["corruptions"] == 0 else f"{check}"


def disk_errors_are_told_in_three_lines():
    image, text = os.path.join(TMP, "errors.qcow2"), file("text.img", b"text" * 1000)
    run("disk", "create", image, "--size", "1M")
    for args, status, part in [
        ([], USAGE, "create"), (["crate", image], USAGE, "disk create"), (["info"], USAGE, "FILE"), (["create", image + "2"], USAGE, "size"),
        (["create", image, "--size", "1M"], INPUT, image), (["info", image, "--size", "1M"], USAGE, "--size"),
        (["info", image + "3"], INPUT, image + "3"), (["info", text, "--format", "qcow2"], INPUT, text), (["check", text], INPUT, "raw"),
        (["resize", image, "--size", "512K"], USAGE, "--shrink"), (["snapshot", image, "--apply", "none"], INPUT, "none"),
        (["snapshot", image, "--apply", "a", "--delete", "b"], USAGE, "--apply"), (["commit", image], INPUT, "backing"),
        (["convert", image], USAGE, "--output"), (["create", image + "4", "--size", "1M", "--format", "vmdk"], USAGE, "format"),
        (["create", image + "5", "--backing", "nothing"], INPUT, "nothing"), (["info", TMP], INPUT, TMP),
    ]:
        wrong = three_lines(run("disk", *args), status, part)
        if wrong:
            return f"{args}: {wrong}"


def net_tells_that_there_is_no_switch():
    env = {"XDG_RUNTIME_DIR": TMP}
    status, out, _ = run("net", "ls", env=env)
    if status != OK or "There is no switch" not in out:
        return f"{status} {out}"
    status, out, _ = run("net", "ls", "--json", env=env)
    if status != OK or json.loads(out) != []:
        return f"{status} {out}"
    return three_lines(run("net", "show", "t", env=env), HOST, "there is no such switch")


def start_switch(env):
    """Starts the switch t as a VM would, and gives its socket: the protocol is src/net/switch_private.h's."""
    run("net", "ls", env=env)
    path = os.path.join(env["XDG_RUNTIME_DIR"], "subring", "switch", "t.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        subprocess.run(["sh", "-c", f'exec "$0" --net-switch t 3<&{listener.fileno()}', SUBRING], env=dict(os.environ, **env),
                       timeout=60, check=True, pass_fds=[listener.fileno()])
    return path


def plug_into_switch(port, path):
    port.settimeout(60)
    port.connect(path)
    port.send(struct.pack("=IIII6s65s24sx", 0x53525753, 1, 1, 1, b"\2\0\0\0\0\7", b"one\x1b[m", b""))
    return struct.unpack("=IIi", port.recv(2000)[:12])[2] == 0


def net_capture_writes_the_frames_of_a_switch_until_its_last_port_leaves():
    env, pcap = {"XDG_RUNTIME_DIR": tempfile.mkdtemp(dir=TMP)}, os.path.join(TMP, "x.pcap")
    wrong = three_lines(run("net", "capture", "t", "--pcap", pcap, env=env), HOST, "there is no such switch")
    if wrong:
        return wrong
    path = start_switch(env)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as port:
        if not plug_into_switch(port, path):
            return "it does not let us in"
        wrong = three_lines(run("net", "capture", "t", "--pcap", "/nowhere/x", env=env), INPUT, "/nowhere/x")
        if wrong:
            return wrong
        p = subprocess.Popen([SUBRING, "net", "capture", "t", "--pcap", pcap], env=dict(os.environ, **env), stdout=subprocess.PIPE)
        for _ in range(600):
            if len(json.loads(run("net", "show", "t", "--json", env=env)[1])["ports"]) == 2:
                break
            time.sleep(0.1)
        # To its own address: only who is promiscuous gets that.
        for i in range(3):
            port.send(bytes(10) + b"\2\0\0\0\0\7" + b"\2\0\0\0\0\7" + bytes(50 + i))
    out = p.communicate(timeout=60)[0]
    with open(pcap, "rb") as f:
        data = f.read()
    if p.returncode != OK or out != b"3 frames, 0 missing\n" or len(data) != 24 + 3 * 16 + 62 + 63 + 64:
        return f"{p.returncode} {out} {len(data)}"
    for _ in range(600):
        if not os.path.exists(path):
            return None
        time.sleep(0.1)
    return "the switch is still there"


def net_shows_the_ports_of_a_switch():
    env = {"XDG_RUNTIME_DIR": tempfile.mkdtemp(dir=TMP)}
    path = start_switch(env)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as port:
        if not plug_into_switch(port, path):
            return "it does not let us in"
        port.send(bytes(10) + b"\xff" * 6 + b"\2\0\0\0\0\7" + bytes(50))
        status, out, err = run("net", "ls", "--json", env=env)
        if status != OK or [(s["name"], s["ports"], s["uplink"]) for s in json.loads(out)] != [("t", 1, None)]:
            return f"ls: {status} {out} {err}"
        status, out, err = run("net", "show", "t", "--json", env=env)
        shown = json.loads(out) if status == OK else {}
        ports = [(p["vm"], p["address"], p["isolated"], p["in_frames"], p["in_bytes"]) for p in shown.get("ports", [])]
        if ports != [("one?[m", "02:00:00:00:00:07", True, 1, 62)] or \
                [(a["address"], a["port"]) for a in shown["addresses"]] != [("02:00:00:00:00:07", 0)]:
            return f"show: {status} {out} {err}"
        status, out, err = run("net", "show", "t", env=env)
        if status != OK or "one?[m" not in out or "isolated" not in out:
            return f"table: {status} {out} {err}"
    for _ in range(600):
        if not os.path.exists(path):
            return None
        time.sleep(0.1)
    return "the switch is still there after its last port has left"


def the_man_page_names_every_option_and_its_value_and_no_other():
    with open(MANPAGE, encoding="utf-8") as f:
        page = f.read()
    shown = set()
    for command in ("run", "disk", "doctor", "net"):
        section = re.search(rf"^\.Sh OPTIONS OF {command.upper()}$(.*?)^\.Sh ", page, re.M | re.S).group(1)
        in_page = set(re.findall(r"^\.It Fl Fl ([a-z-]+)(?: Ar ([A-Z]+))?", section, re.M))
        in_help = set(re.findall(r"^  --([a-z-]+)(?: ([A-Z]+))?", run("help", command)[1], re.M))
        shown |= in_help
        if in_page != in_help:
            return f"{command}: in one only: {in_page ^ in_help}"
    synopsis = re.search(r"^\.Sh SYNOPSIS$(.*?)^\.Sh ", page, re.M | re.S).group(1)
    if set(re.findall(r"Fl Fl ([a-z-]+)(?: Ar ([A-Z]+))?", synopsis)) != shown - {("help", "")}:
        return "the synopsis differs"


def the_man_page_names_every_command_topic_and_status():
    with open(MANPAGE, encoding="utf-8") as f:
        page = f.read()
    for command in re.findall(r"^  ([a-z]+) ", run("help")[1], re.M):
        if f".It Cm {command}" not in page:
            return f"command {command}"
    topics = re.search(r"topics out of: ([a-z, ]+);", run("run", "--trace", "x")[2]).group(1)
    for topic in topics.split(", "):
        if f".It Cm {topic}" not in page:
            return f"topic {topic}"
    for status in (0, 2, 4, 6, 8, 10):
        if not re.search(rf"^\.It {status}$", page, re.M):
            return f"status {status}"


def the_man_page_is_well_formed():
    try:
        p = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", MANPAGE], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "SKIP mandoc is not installed"
    return p.stdout or None


TESTS = [
    help_shows_the_commands, version_is_one_line, every_command_has_help, bad_usage_is_told_in_three_lines,
    absurd_values_are_refused, files_that_are_no_kernels_are_refused, files_that_cannot_be_written_are_told,
    output_that_is_lost_is_told, output_goes_where_it_is_sent, a_slow_reader_gets_everything, signals_end_a_run_with_status_0,
    a_missing_default_guest_says_how_to_get_it, the_default_guest_is_found_where_it_should_be,
    a_host_without_memory_is_told, an_address_that_is_taken_is_told, doctor_has_an_answer_for_people_and_for_programs,
    doctor_tells_what_is_missing, disk_images_are_made_and_changed, disk_errors_are_told_in_three_lines,
    net_tells_that_there_is_no_switch, net_shows_the_ports_of_a_switch,
    net_capture_writes_the_frames_of_a_switch_until_its_last_port_leaves,
    the_man_page_names_every_option_and_its_value_and_no_other,
    the_man_page_names_every_command_topic_and_status, the_man_page_is_well_formed,
]


def main():
    # A shell that starts the tests in the background has these ignored, and programs keep that.
    for sig in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(sig, signal.SIG_DFL)
    tap = Tap()
    for test in TESTS:
        wrong = test()
        if wrong and wrong.startswith("SKIP "):
            tap.skipped(test.__name__, wrong[5:])
        else:
            tap.told(test.__name__, wrong or None)
    subprocess.run(["rm", "-rf", TMP], check=False)
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
