# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests in Python print: the Test Anything Protocol, which Meson and tests/run-all read."""


class Skip(Exception):
    """A case cannot be run here; the text says why."""


class Tap:
    """Numbers and prints results; finish() ends the output and gives the exit status."""

    def __init__(self):
        self.number = self.failed = 0

    def told(self, what, wrong):
        """@wrong: None, or what is wrong, as something to print."""
        self.number += 1
        self.failed += wrong is not None
        print(f"{'ok' if wrong is None else 'not ok'} {self.number} - {what}", flush=True)
        if wrong is not None:
            print("\n".join("# " + line for line in str(wrong).splitlines()), flush=True)

    def skipped(self, what, why):
        self.number += 1
        print(f"ok {self.number} - {what} # SKIP {why}", flush=True)

    def finish(self):
        print(f"1..{self.number}")
        return 1 if self.failed else 0


def run_cases(cases, names):
    """Runs the cases @names (all when empty) of a dict of generators of (what, wrong). The exit status."""
    tap = Tap()
    for name in names or cases:
        try:
            for what, wrong in cases[name]():
                tap.told(what, wrong)
        except Skip as e:
            tap.skipped(name, e)
    return tap.finish()
