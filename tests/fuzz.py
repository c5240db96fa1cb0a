"""Feeds spoilt files to everything that reads one: each must be read, or refused in one line, soon and cheaply.

    python tests/fuzz.py --rounds 10000
    python tests/fuzz.py --target record --first 1234 --rounds 1     # one input again

Round n of a target is the same input on every machine. The inputs are read in a process of its own with bounded
memory, so that one that kills its reader is found too. Prints one line of figures a target as JSON, then what went
wrong; ends with 1 if anything did.
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

SECONDS = 10
"""Processor time after which a reader hangs."""
GROWTH_MB = 400
"""A reader that takes more for a file of at most a megabyte blows up."""
LIMIT = 4 << 30
"""Bytes of address space that a target may take on top."""
MAX_LINE = 3000
MAX_PROBLEMS = 20


class Hang(BaseException):
    """An input took too long; no reader may catch this."""


def _alarm(*_: object) -> None:
    raise Hang


def feed(read: Any, data: bytes) -> tuple[str, str]:
    """Read one input.

    Returns:
        ``read``, ``refused`` or ``problem``, and what was said.
    """
    from ssl_skel.errors import SkelError

    try:
        read(data)
    except SkelError as error:
        said = error.format_message()
        wrong = "\n" in said or len(said) > MAX_LINE or not said.isprintable()
        return ("problem", f"the message is no clear line: {said[:200]!r}") if wrong else ("refused", said)
    except Hang:
        return "problem", f"took more than {SECONDS} s: {traceback.format_exc()[-600:]}"
    except BaseException:
        return "problem", traceback.format_exc()[-1500:]
    return "read", ""


class Figures:
    """What happened to the inputs of one target.

    Args:
        name: Of the target.
        first: Number of the next input.
    """

    def __init__(self, name: str, first: int) -> None:
        self.name, self.next = name, first
        self.counts = {"read": 0, "refused": 0}
        self.slowest_ms, self.grown_mb = 0.0, 0
        self.problems: list[dict[str, Any]] = []

    def line(self) -> str:
        """As JSON, without the problems."""
        return json.dumps({"target": self.name, "inputs": sum(self.counts.values()) + len(self.problems), **self.counts,
                           "slowest_ms": self.slowest_ms, "grown_mb": self.grown_mb, "problems": len(self.problems)})


def drive(name: str, seed: int, end: int, figures: Figures, folder: Path) -> None:
    """Feed a target with the inputs up to `end`, keeping `figures` in ``folder/progress``."""
    from helpers.fuzz_targets import TARGETS
    from ssl_skel.runtime import peak_resident_mb

    (folder / name).mkdir(parents=True, exist_ok=True)
    target = TARGETS[name](folder / name)
    for sample in target.samples:
        outcome, said = feed(target.read, sample)
        if outcome != "read":
            raise SystemExit(f"{name}: a sound file is refused: {said}")
    base = peak_resident_mb()
    while figures.next < end and len(figures.problems) < MAX_PROBLEMS:
        data = target.make(Random(f"{seed}/{name}/{figures.next}"))
        (folder / "progress").write_text(json.dumps(figures.__dict__))
        began = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        outcome, said = feed(target.read, data)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        figures.slowest_ms = max(figures.slowest_ms, round((time.process_time() - began) * 1000, 1))
        figures.grown_mb = max(figures.grown_mb, round(peak_resident_mb() - base))
        if peak_resident_mb() - base > GROWTH_MB:
            outcome, said, base = "problem", f"took {peak_resident_mb() - base:.0f} MB", peak_resident_mb()
        if outcome == "problem":
            figures.problems.append({"round": figures.next, "what": said})
        else:
            figures.counts[outcome] += 1
        figures.next += 1
    (folder / "progress").write_text(json.dumps(figures.__dict__))


def drive_all(folder: Path) -> None:
    """Body of the process that is fed: does what ``folder/work`` says."""
    work = json.loads((folder / "work").read_text())
    import helpers.fuzz_targets  # noqa: F401

    signal.signal(signal.SIGVTALRM, _alarm)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))  # rather this process than the machine
    for number, name in enumerate(work["names"]):
        figures = Figures(name, work["first"])
        if number == 0 and work["resume"]:
            figures.__dict__.update(work["resume"])
        drive(name, work["seed"], work["end"], figures, folder)
        print(json.dumps(figures.__dict__), flush=True)


def run(names: list[str], seed: int, first: int, rounds: int) -> Iterator[Figures]:
    """Feed targets in a process of its own, which is started anew after an input that killed it."""
    names, resume = list(names), None
    while names:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as text:
            folder = Path(text)
            (folder / "work").write_text(json.dumps(
                {"names": names, "seed": seed, "first": first, "end": first + rounds, "resume": resume}))
            command = [sys.executable, __file__, "--drive", text]
            # errors go to a file: nobody would empty a pipe before the process ends
            with (folder / "errors").open("w+") as errors, subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    figures = Figures("", 0)
                    figures.__dict__.update(json.loads(line))
                    yield figures
                    names.remove(figures.name)
                process.wait()
                errors.seek(0)
                said = errors.read()[-800:]
            if process.returncode == 0:
                return
            if not (folder / "progress").exists():
                raise SystemExit(said)
            resume = json.loads((folder / "progress").read_text())
            if resume["name"] != names[0]:
                raise SystemExit(said)
            resume["problems"].append({"round": resume["next"], "what": f"killed its process: {said}"})
            resume["next"] += 1


def main() -> int:
    """Run every target, or some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="inputs per target")
    parser.add_argument("--target", action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.drive:
        drive_all(asked.drive)
        return 0
    from helpers.fuzz_targets import TARGETS

    unknown = set(asked.target or ()) - set(TARGETS)
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there is {', '.join(TARGETS)}")
    wrong = 0
    for found in run(asked.target or list(TARGETS), asked.seed, asked.first, asked.rounds):
        print(found.line(), flush=True)
        for problem in found.problems:
            print(f"--- {found.name} round {problem['round']}\n{problem['what']}", flush=True)
        wrong += len(found.problems)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
