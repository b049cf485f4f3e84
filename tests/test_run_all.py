#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests/run-all makes of the output of test programs: how many cases, and why some were skipped."""
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
from tap import Tap  # pylint: disable=wrong-import-position


def load(path):
    loader = importlib.machinery.SourceFileLoader("run_all", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("run_all", loader))
    loader.exec_module(module)
    return module


# What it is, a program's output and result, the cases (passed, failed, skipped), and what is printed.
EXAMPLES = [
    ("cases_are_counted", "1..3\nok 1 - a\nnot ok 2 - b\n  ok 3 - c\n", "FAIL", (2, 1, 0), ""),
    ("a_skipped_case_of_python_has_its_reason", "ok 1 - a # SKIP no such thing\n", "OK", (0, 0, 1), "skipped: a: no such thing\n"),
    ("a_skipped_case_of_cmocka_has_the_reason_that_it_printed_before",
     "ok 1 - a\nskipped: no such thing\nnot ok 2 # SKIP b\nok 3 - c\n", "OK", (2, 0, 1), "skipped: b: no such thing\n"),
    ("a_reason_counts_for_one_case", "skipped: part of a\nok 1 - a\nnot ok 2 # SKIP b\n", "OK", (1, 0, 1),
     "skipped: b: no reason given\n"),
    ("a_skipped_program_has_its_reason", "skipped: /dev/kvm: No such file or directory\n", "SKIP", (0, 0, 1),
     "skipped: prog: /dev/kvm: No such file or directory\n"),
    ("a_program_without_cases_is_one", "hello\n", "OK", (1, 0, 0), ""),
    ("a_program_that_crashed_has_failed", "ok 1 - a\n", "ERROR", (1, 1, 0), ""),
]


def main():
    tap = Tap()
    run_all = load(os.path.join(HERE, "run-all"))
    for what, stdout, result, cases, printed in EXAMPLES:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            got = run_all.count_cases("prog", stdout, result)
        tap.told(what, None if (got, out.getvalue()) == (cases, printed) else f"{got} {out.getvalue()!r}")
    return tap.finish()


if __name__ == "__main__":
    sys.exit(main())
