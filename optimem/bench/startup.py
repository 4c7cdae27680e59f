"""How long `import optimem` takes: `python -m optimem.bench.startup`.

The ceiling is the interpreter itself; both are measured in the same run, in turn.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from optimem.bench.report import Check, print_report

_ROUNDS = 15


def main() -> None:
    """Measure, print, and end with one JSON line."""
    argparse.ArgumentParser("optimem bench startup", description=__doc__).parse_args()
    bare: list[float] = []
    ours: list[float] = []
    for _ in range(_ROUNDS):
        bare.append(_seconds("pass"))
        ours.append(_seconds("import optimem"))
    ceiling, measured = statistics.median(bare), statistics.median(ours)
    extra = (measured - ceiling) * 1000
    print(
        f"interpreter alone {ceiling * 1000:.1f} ms; with import optimem {measured * 1000:.1f} ms"
    )
    results = {
        "interpreter_ms": round(ceiling * 1000, 2),
        "with_import_ms": round(measured * 1000, 2),
        "import_ms": round(extra, 2),
        "share": round(ceiling / measured, 3),
    }
    print_report("startup", results, [Check("import optimem", round(extra, 2), "<=", 100, "ms")])


def _seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
