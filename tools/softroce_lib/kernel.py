"""Debian's stock kernel, unpacked beside the system and never installed, and
the ramdisk that mounts this machine's root file system under it."""

import fcntl
import hashlib
import lzma
import os
import platform
import shutil
import stat
from pathlib import Path

from .basics import Failure, call, missing

# What the ramdisk needs to reach its root; each after what it depends on.
ROOT_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "depmod": "kmod",
            "dpkg-deb": "dpkg", "apt-get": "apt", "rdma": "iproute2",
            "nft": "nftables"}
BUSYBOX = Path("/bin/busybox")  # Of busybox-static: alone in the ramdisk.


def home():
    """Where it is kept: $HAWSER_SOFTROCE, or the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HAWSER_SOFTROCE")
                or Path(cache) / "hawser" / "softroce")


def check_programs():
    if platform.machine() != "x86_64":
        raise missing(f"only x86-64 is emulated, and this is "
                      f"{platform.machine()}")
    absent = sorted({package for program, package in PROGRAMS.items()
                     if not (shutil.which(program) or
                             Path("/usr/sbin", program).exists())})
    if not BUSYBOX.exists():
        absent.append("busybox-static")
    if absent:
        raise missing(f"these packages are not installed: {' '.join(absent)}")


def prepare(here, tell, refresh=False):
    """Makes what is not there yet; returns where it is. Two that come at once
    do it one after the other."""
    check_programs()
    at = home()
    at.mkdir(parents=True, exist_ok=True)
    with open(at / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if refresh or not (at / "vmlinux").exists():
            unpack(at, tell)
        # The ramdisk carries a script of ours: with it, it is made again.
        script = (here / "init").read_bytes()
        mark = hashlib.sha256(script + BUSYBOX.read_bytes()).hexdigest()
        named = at / "ramdisk.mark"
        if refresh or not named.exists() or named.read_text() != mark:
            (at / "ramdisk").write_bytes(ramdisk(at, script))
            named.write_text(mark)
    return at


def unpack(at, tell):
    told = call("apt-cache", "show", "linux-image-amd64", refused=missing)
    name = next((word.strip(",") for line in told.splitlines()
                 if line.startswith("Depends: ") for word in line.split()
                 if word.startswith("linux-image-")), None)
    if name is None:
        raise missing("no package linux-image-amd64 is known here; "
                      "apt-get update may help")
    tell(f"fetching {name} (70 MB)")
    tree = at / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    for old in at.glob("*.deb"):
        old.unlink()
    call("apt-get", "-q", "-o", "APT::Sandbox::User=", "download", name,
         cwd=at, refused=missing)
    package = next(at.glob("*.deb"))
    call("dpkg-deb", "-x", package, tree)
    package.unlink()
    release = name.removeprefix("linux-image-")
    call(shutil.which("depmod") or "/usr/sbin/depmod", "-b", tree, release)
    (at / "release").write_text(release)
    (at / "vmlinux.new").write_bytes(
        elf_in((tree / "boot" / f"vmlinuz-{release}").read_bytes()))
    (at / "vmlinux.new").rename(at / "vmlinux")
    tell(f"Linux {release} is ready in {at}")


def elf_in(image):
    """The kernel inside a bzImage. To boot that itself saves the emulated
    machine 5 s of decompression."""
    begin = image.find(b"\xfd7zXZ\0")
    if begin >= 0:
        elf = lzma.LZMADecompressor().decompress(image[begin:])
        if elf.startswith(b"\x7fELF"):
            return elf
    raise Failure("the kernel's image is not compressed with xz; this knows "
                  "Debian 12's alone")


def in_order(tree, release):
    """The files of ROOT_MODULES and what they need, as modules.dep says."""
    base = tree / "lib" / "modules" / release
    needs = {}
    for line in (base / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = rest.split()
    by_name = {Path(name).name.removesuffix(".ko").replace("-", "_"): name
               for name in needs}
    found = []

    def add(name):
        for needed in reversed(needs[name]):
            add(needed)
        if name not in found:
            found.append(name)

    for module in ROOT_MODULES:
        if module in by_name:  # Else it is part of the kernel.
            add(by_name[module])
    return [base / name for name in found]


def ramdisk(at, script):
    """A cpio archive in the format "newc" (Linux: Documentation/
    driver-api/early-userspace/buffer-format.rst)."""
    out = bytearray()

    def entry(name, mode, content=b""):
        fields = (len(out) + 1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0,
                  len(name) + 1, 0)
        out.extend(b"070701" + b"".join(b"%08X" % field for field in fields))
        out.extend(name.encode() + b"\0")
        out.extend(bytes(-len(out) % 4))
        out.extend(content)
        out.extend(bytes(-len(out) % 4))

    for folder in ("bin", "dev", "proc", "sys", "modules", "lower", "upper",
                   "root"):
        entry(folder, stat.S_IFDIR | 0o755)
    entry("bin/busybox", stat.S_IFREG | 0o755, BUSYBOX.read_bytes())
    entry("init", stat.S_IFREG | 0o755, script)
    release = (at / "release").read_text()
    for number, module in enumerate(in_order(at / "tree", release)):
        entry(f"modules/{number:02}-{module.name}", stat.S_IFREG | 0o644,
              module.read_bytes())
    entry("TRAILER!!!", 0)
    return bytes(out)
