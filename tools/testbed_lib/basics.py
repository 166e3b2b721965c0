"""How the testbed fails, stops, and calls other programs."""

import signal
import subprocess


class Failure(Exception):
    """Ends the program with one line and this exit status."""

    def __init__(self, text, status=1):
        super().__init__(text)
        self.status = status


def missing(text):
    return Failure(text, 3)


class Stopped(BaseException):
    """A signal: like KeyboardInterrupt, nothing on the way may swallow it."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def hold_signals():
    """From here on they wait, until release_signals() gets what this returns;
    and then they raise Stopped. So there is no moment at which something is
    made, and nobody yet there to take it away."""
    def stop(number, _):
        raise Stopped(number)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    for number in STOPPING:
        signal.signal(number, stop)
    return mask


def release_signals(mask):
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def ignore_signals():
    """For the time of cleaning up, which a second Ctrl-C must not break."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def call(*words, text=None, needs=None):
    """Runs a program; `needs` names what a refusal means."""
    done = subprocess.run([str(word) for word in words], input=text, text=True,
                          stdin=None if text is not None
                          else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr or done.stdout).strip().splitlines() or ["no reason"]
    what = f"{' '.join(map(str, words[:6]))}: {said[0]}"
    if needs:
        raise missing(f"this kernel or container does not offer {needs} "
                      f"({what})")
    raise Failure(what)


def batch(program, namespace, lines, needs=None):
    """Lines for ip, tc or bridge, carried out in a namespace."""
    if lines:
        call(program, "-n", namespace, "-batch", "-", needs=needs,
             text="\n".join(lines) + "\n")
