"""Child processes: started, timed, and ended, however we ourselves end."""

import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time

_GRACE_S = 3  # In which a child that was told to end does so by itself.
_living = []


class Failed(Exception):
    """A run that gave no figure, and why."""


class Child:
    """A program, its output line by line, and what CPU time it took.

    It has a session of its own, so that a Ctrl-C reaches us alone and we end
    our children in order; and it is told when we die without a word.
    """

    def __init__(self, words, environment=None, stdin=None, name=None):
        words = [str(word) for word in words]
        # What stands before -- only takes it to the right host.
        program = words[words.index("--") + 1 if "--" in words else 0]
        self.name = name or os.path.basename(program)
        self.lines = []  # (monotonic time, text)
        self.cpu_s = 0.0  # All its threads, and the children it waited for.
        self.status = None
        self._errors = tempfile.TemporaryFile()
        self._complaints = ""
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *words],
            env={**os.environ, **(environment or {})},
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self._errors, text=True,
            errors="replace", start_new_session=True)
        _living.append(self)
        self.pid = self._process.pid
        self.stdin = self._process.stdin
        self._pidfd = os.pidfd_open(self.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append((time.monotonic(), line.rstrip("\n")))

    def text(self):
        return "\n".join(line for _, line in self.lines)

    def errors(self):
        """What it said on stderr, once it has ended."""
        return self._complaints

    def wait(self, limit_s):
        """The exit status (minus the signal), or None if it still runs."""
        if self.status is not None:
            return self.status
        if not select.select([self._pidfd], [], [], max(limit_s, 0))[0]:
            return None
        _, status, usage = os.wait4(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        self._process.returncode = self.status
        self.cpu_s = usage.ru_utime + usage.ru_stime
        os.close(self._pidfd)
        _living.remove(self)
        self._errors.seek(0)
        self._complaints = self._errors.read().decode(errors="replace")
        self._errors.close()
        # A grandchild may hold the pipe open; it has nothing to say to us.
        self._reader.join(_GRACE_S)
        if not self._reader.is_alive():
            self._process.stdout.close()
        return self.status

    def end(self):
        """Ends it and what else is in its session's first group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.status is not None:
                return
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass
            self.wait(_GRACE_S)

    def finish(self, limit_s):
        """Its output; Failed unless it ends well within the time."""
        status = self.wait(limit_s)
        if status is None:
            self.end()
            raise Failed(f"{self.name}: still running after {limit_s:.0f} s")
        if status != 0:
            raise Failed(self.complaint())
        return self.text()

    def complaint(self):
        said = [line.strip() for line in (self.errors() or
                                          self.text()).splitlines()
                if line.strip()]
        reason = said[-1] if said else f"ended with status {self.status}"
        return f"{self.name}: {reason}"


def end_all():
    # The youngest first: what holds a testbed up is the oldest.
    for child in reversed(list(_living)):
        child.end()


def free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def wait_listening(child, port, kind="tcp", limit_s=10):
    """Waits until somebody in the child's network namespace has this port."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if child.wait(0.01) is not None:
            raise Failed(child.complaint())
        for table in (kind, kind + "6"):
            try:
                with open(f"/proc/{child.pid}/net/{table}",
                          encoding="ascii") as rows:
                    if _has_port(rows.read(), port, kind == "tcp"):
                        return
            except OSError:
                continue
    raise Failed(f"{child.name}: does not listen")


def _has_port(text, port, listening):
    for line in text.splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port and (
                not listening or words[3] == "0A"):
            return True
    return False
