"""How long `import optimem` takes: `python -m optimem.bench.startup`.

The ceiling is the interpreter itself; all are measured in the same run, in turn. The package's
names are looked up when they are first used, so what a program waits for is `Memory` too:
it is shown beside numpy, which is a part of it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from optimem.bench.report import Check, print_report

_ROUNDS = 15
_PROGRAMS = ("pass", "import optimem", "import numpy", "from optimem import Memory")


def main() -> None:
    """Measure, print, and end with one JSON line."""
    argparse.ArgumentParser("optimem bench startup", description=__doc__).parse_args()
    rounds = [[_seconds(program) for program in _PROGRAMS] for _ in range(_ROUNDS)]
    ceiling, measured, *others = map(statistics.median, zip(*rounds, strict=True))
    extra = (measured - ceiling) * 1000
    numpy, memory = ((seconds - ceiling) * 1000 for seconds in others)
    print(
        f"interpreter alone {ceiling * 1000:.1f} ms; with import optimem {measured * 1000:.1f} ms"
    )
    print(f"Memory takes {memory:.0f} ms, of which numpy takes {numpy:.0f}")
    results = {
        "interpreter_ms": round(ceiling * 1000, 2),
        "with_import_ms": round(measured * 1000, 2),
        "import_ms": round(extra, 2),
        "share": round(ceiling / measured, 3),
        "numpy_ms": round(numpy, 1),
        "memory_ms": round(memory, 1),
    }
    print_report("startup", results, [Check("import optimem", round(extra, 2), "<=", 100, "ms")])


def _seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
