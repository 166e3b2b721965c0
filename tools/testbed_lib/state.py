"""What is up: a file per testbed, which is also its lock.

Whatever is made is written there before it is made, so that `down` finds it
after any crash.
"""

import fcntl
import json
import os
from pathlib import Path

from testbed_lib.basics import Failure
from testbed_lib.layout import Layout

STATE_DIRECTORY = Path("/run/hawser-testbed")


class State:

    def __init__(self, name, fd):
        self.name, self.fd = name, fd
        self.data = {}

    @staticmethod
    def path(name, suffix="json"):
        return STATE_DIRECTORY / f"{name}.{suffix}"

    @classmethod
    def claim(cls, name):
        STATE_DIRECTORY.mkdir(exist_ok=True)
        try:
            fd = os.open(cls.path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL,
                         0o644)
        except FileExistsError:
            raise Failure(f"there is a testbed '{name}' already; "
                          f"`{command('down', name)}` takes it away") from None
        fcntl.flock(fd, fcntl.LOCK_EX)
        return cls(name, fd)

    @classmethod
    def find(cls, name):
        """The state, locked; None if there is no such testbed."""
        try:
            fd = os.open(cls.path(name), os.O_RDWR)
        except FileNotFoundError:
            return None
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink == 0:  # Taken down while we waited.
            os.close(fd)
            return None
        state = cls(name, fd)
        text = os.pread(fd, 1 << 24, 0).decode()
        # Empty: whoever claimed it was killed before the first word. What
        # stands behind the JSON is of an older state that was longer.
        if text:
            state.data = json.JSONDecoder().raw_decode(text)[0]
        return state

    @classmethod
    def get(cls, name):
        state = cls.find(name)
        if state and state.data.get("ready"):
            return state
        if state:
            raise Failure(f"testbed '{name}' was left half made; "
                          f"`{command('down', name)}` takes it away")
        others = sorted(p.stem for p in STATE_DIRECTORY.glob("*.json"))
        raise Failure(f"there is no testbed '{name}'; " + (
            f"up: {', '.join(others)} (choose with --name)" if others
            else "`tools/testbed up --planes 4` makes one"))

    def save(self):
        text = json.dumps(self.data, indent=1).encode() + b"\n"
        os.pwrite(self.fd, text, 0)
        os.ftruncate(self.fd, len(text))

    def close(self):
        os.close(self.fd)

    def layout(self):
        return Layout(self.name, self.data["hosts"], self.data["planes"],
                      self.data["routes"], self.data["dpdk"])


def command(verb, name, rest=""):
    words = [f"tools/testbed {verb}"]
    if name != "hawser":
        words.append(f"--name {name}")
    return " ".join(words + ([rest] if rest else []))
