"""`whisper-pair compare A/report.json B/report.json ...`: pairs side by side, with intervals of their differences."""

import argparse
import subprocess
import sys

SUMMARY = "put the reports of several pairs side by side"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("reports", nargs="+", metavar="REPORT", help="report.json files, or the folders that hold them")


def run(args: argparse.Namespace) -> int:
    """Runs the comparison in a process of the eval stage."""
    command = [sys.executable, "-m", "whisper_pair.stages.eval.reading.compare", *args.reports]
    return subprocess.run(command + (["--debug"] if args.debug else [])).returncode
