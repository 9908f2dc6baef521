"""What the Python lanes share: named cases, one after the other, and the lines that tests/lanes/lane.sh counts.

usage of every lane: LANE.py --port N [--suffix TEXT] [--only TEXT] [--theirs]

A case is a function that takes its Case. It fails by raising; what it opened is closed after it. Nothing sleeps:
everything waits for a condition, at most WAIT_S_MAX seconds.
"""

import argparse
import os
import traceback

WAIT_S_MAX = 20
HOST = "127.0.0.1"


class Case:
    """One run of a function: its broker, a root for its topics, and what has to be closed at its end."""

    count = 0

    def __init__(self, port, is_ours):
        Case.count += 1
        self.port = port
        # False if the broker is not this project's: cases skip what the standard leaves to the broker.
        self.is_ours = is_ours
        self.root = f"case{Case.count}"
        self.closing = []
        self._names = 0

    def topic(self, rest):
        """A topic that no other case uses."""
        return f"{self.root}/{rest}"

    def name(self, rest=None):
        """A client id that no other case uses, of at most 23 characters, as 3.1 asks."""
        self._names += 1
        return f"{os.getpid() % 100000}-{self.root[4:]}-{rest or self._names}"[:23]


class Lane:
    """Runs cases and prints `pass:`, `fail:` or `skip:` for each."""

    def __init__(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--suffix", default="")
        parser.add_argument("--only", default="")
        parser.add_argument("--theirs", action="store_true", help="the broker is not this project's")
        self.arguments = parser.parse_args()

    def case(self, text, function, *arguments):
        """Runs function(Case, *arguments) as the case `text`."""
        if self.is_wanted(text):
            self.judge(text, lambda: self.run(function, arguments))

    def is_wanted(self, text):
        """Whether --only names the case."""
        return self.arguments.only in text

    def judge(self, text, run):
        """Calls run and prints its verdict."""
        text += self.arguments.suffix
        try:
            run()
        except Exception:
            print(f"fail: {text}", flush=True)
            for line in traceback.format_exc().splitlines():
                print(f"  | {line}", flush=True)
        else:
            print(f"pass: {text}", flush=True)

    def run(self, function, arguments):
        """Runs one case to its end, and closes what it opened."""
        case = Case(self.arguments.port, not self.arguments.theirs)
        try:
            function(case, *arguments)
        finally:
            for close in reversed(case.closing):
                close()


def same(actual, expected, what=""):
    """Fails unless both are equal, and shows both."""
    if actual != expected:
        raise AssertionError(f"{what or 'value'}\n expected: {expected!r:.2000}\n actual:   {actual!r:.2000}")


def holds(condition, what):
    """Fails unless the condition is true."""
    if not condition:
        raise AssertionError(what)
