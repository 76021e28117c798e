"""How long a start takes, as a ratio to a bare interpreter in the same run; floors: 0.2 s and 0.3 s."""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
POLYMODAL = shutil.which("polymodal", path=str(Path(sys.executable).parent)) or "polymodal"
COMMANDS = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "import polymodal": ([sys.executable, "-c", "import polymodal"], 0.2),
    "polymodal list": ([POLYMODAL, "list"], 0.3),
    "polymodal --help": ([POLYMODAL, "--help"], 0.3),
}


def seconds(words: list[str]) -> float:
    """Wall time of one whole process."""
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Interleaved rounds, medians; 1 where a bar is missed."""
    for words, _ in COMMANDS.values():
        seconds(words)  # warm the file cache
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, (words, _) in COMMANDS.items():
            times[name].append(seconds(words))
    bare = statistics.median(times["python -c pass"])
    missed = 0
    for name, (_, bar) in COMMANDS.items():
        median = statistics.median(times[name])
        print(
            f"{name:<18} {median:6.3f} s  {median / bare:5.1f} x bare" + (f"  (bar {bar} s)" if bar else "")
        )
        missed += bar is not None and median > bar
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
