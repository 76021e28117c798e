"""Line coverage of the floors that must hold 95 %; `make test` runs it after the suite."""

import sys

import coverage

FLOOR = 95.0
PLACES = ("media/", "metrics/", "chat/", "judge/", "runs/", "training/", "cli/")


def main() -> int:
    """0 where every place holds the floor, else 1."""
    read = coverage.Coverage()
    read.load()
    low = 0
    for place in PLACES:
        lines = gone = 0
        for path in read.get_data().measured_files():
            if f"/polymodal/{place}" in path.replace("\\", "/"):
                _, statements, _, missing, _ = read.analysis2(path)
                lines, gone = lines + len(statements), gone + len(missing)
        share = 100 * (lines - gone) / lines if lines else 0.0
        print(f"coverage {place:<10} {share:5.1f} % of {lines} lines")
        low += share < FLOOR
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
