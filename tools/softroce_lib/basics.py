"""How softroce fails, and calls other programs."""

import subprocess


class Failure(Exception):
    """Ends the program with one line and this exit status."""

    def __init__(self, text, status=1):
        super().__init__(text)
        self.status = status


def missing(text):
    return Failure(text, 3)


def call(*words, cwd=None, refused=None):
    """Runs a program and returns what it said; `refused` turns its failure
    into ours."""
    try:
        done = subprocess.run([str(word) for word in words], cwd=cwd, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              check=False)
    except FileNotFoundError:
        raise missing(f"{words[0]} is not installed") from None
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr or done.stdout).strip().splitlines() or ["no reason"]
    raise (refused or Failure)(f"{' '.join(map(str, words[:4]))}: {said[-1]}")
