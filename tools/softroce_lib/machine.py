"""One emulated machine, from its start to its end."""

import os
import selectors
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .basics import Failure, missing

# Nothing here is secret or exposed, and every cycle is emulated: no address
# randomisation, no mitigations, no self-tests.
KERNEL_WORDS = ("console=ttyS0 quiet loglevel=5 panic=-1 nokaslr "
                "mitigations=off tsc=reliable no_timer_check "
                "cryptomgr.notests")
PORTS = ("out", "err", "status")


def command_script(options):
    """What the machine runs: this environment, this directory, the command."""
    lines = [f"export {name}={shlex.quote(value)}"
             for name, value in os.environ.items()
             if name.replace("_", "a").isalnum() and not name[0].isdigit()]
    lines.append(f"cd {shlex.quote(os.getcwd())}")
    lines.append("exec " + shlex.join(options.command))
    return "\n".join(lines) + "\n"


def plan_script(home, options):
    """What the machine's second stage reads first."""
    return "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in (
        ("home", home), ("planes", options.planes), ("paths", options.paths),
        ("mtu", options.mtu),
        ("keep", " ".join(str(Path(d).resolve()) for d in options.keep))))


def share(number, tag, folder, readonly):
    return ("-fsdev", f"local,id=fs{number},path={folder},security_model=none,"
            f"multidevs=remap{',readonly=on' if readonly else ''}",
            "-device", f"virtio-9p-pci,fsdev=fs{number},mount_tag={tag}")


def qemu_words(here, home, desk, options, pipes):
    words = ["qemu-system-x86_64", "-machine", "pc",
             "-accel", "tcg,thread=multi", "-cpu", "max,-la57",
             "-smp", str(options.cpus), "-m", options.memory,
             "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
             "-kernel", home / "vmlinux", "-initrd", home / "ramdisk",
             "-append", f"{KERNEL_WORDS} softroce.here={here} "
             f"softroce.desk={desk}",
             "-chardev", f"file,id=log,path={desk}/log",
             "-serial", "chardev:log", "-device", "virtio-serial-pci"]
    for name in PORTS:
        words += ["-chardev", f"file,id={name},path=/dev/fd/{pipes[name][1]}",
                  "-device", f"virtserialport,chardev={name},name={name}"]
    words += share(0, "root", "/", True)
    for number, folder in enumerate(options.keep):
        words += share(number + 1, f"keep{number}", Path(folder).resolve(),
                       False)
    return [str(word) for word in words]


def relay(process, pipes, deadline):
    """Copies the machine's output to ours until it ends; returns the text of
    its status, or None when time ran out."""
    ways = {pipes["out"][0]: sys.stdout.buffer,
            pipes["err"][0]: sys.stderr.buffer}
    status = bytearray()
    with selectors.DefaultSelector() as selector:
        for name in PORTS:
            selector.register(pipes[name][0], selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            for key, _ in selector.select(left):
                got = os.read(key.fd, 1 << 16)
                if not got:
                    selector.unregister(key.fd)
                elif key.fd in ways:
                    ways[key.fd].write(got)
                    ways[key.fd].flush()
                else:
                    status += got
    process.wait()
    return status.decode(errors="replace").strip()


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run(here, home, options):
    for folder in options.keep:
        if not Path(folder).is_dir():
            raise Failure(f"--keep {folder}: no such directory", 2)
    # SIGTERM unwinds as Ctrl-C does, so that no machine is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    with tempfile.TemporaryDirectory(prefix="softroce.") as desk:
        Path(desk, "plan").write_text(plan_script(home, options))
        Path(desk, "command").write_text(command_script(options))
        pipes = {name: os.pipe() for name in PORTS}
        deadline = time.monotonic() + options.timeout
        process = subprocess.Popen(
            qemu_words(here, home, desk, options, pipes),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(Path(desk, "qemu"), "wb"),
            pass_fds=[pipes[name][1] for name in PORTS])
        for name in PORTS:
            os.close(pipes[name][1])
        try:
            status = relay(process, pipes, deadline)
        finally:
            end(process)
            for name in PORTS:
                os.close(pipes[name][0])
        log = Path(desk, "log").read_text(errors="replace") \
            if Path(desk, "log").exists() else ""
        if options.log:
            Path(options.log).write_text(log)
        if status and status.isdigit():
            return int(status)
        if status and status.startswith("missing: "):
            raise missing(status.removeprefix("missing: "))
        last = log.splitlines()[-15:] + \
            Path(desk, "qemu").read_text(errors="replace").splitlines()
        print(*last, sep="\n", file=sys.stderr)
        if status is None:
            raise Failure(f"time ran out after {options.timeout} s", 124)
        raise Failure("the machine ended without a result", 125)
