"""How long a new process takes to its first page, for `optimem.bench.render`."""

from __future__ import annotations

import subprocess
import sys
import tempfile

_COLD = """
import time, numpy
from optimem.renderers.atlas import load_atlas
from optimem.modes import Tier
begun = time.perf_counter()
atlas = load_atlas()
atlas.raster(numpy.zeros((64, 128), numpy.intp), Tier.BASE)
print(time.perf_counter() - begun)
"""

_SIGNS = """
import os, sys, time
from itertools import islice
os.environ["OPTIMEM_CACHE"] = sys.argv[1]
from optimem.bench.corpus import pages_of
from optimem.messages import parse
from optimem.modes import Tier
from optimem.renderers.atlas import load_atlas
from optimem.renderers.page import page_png
covered = filter(load_atlas().covered, range(0x4E00, 0x9FA6, 7))
text = "".join(map(chr, islice(covered, 600)))
page = pages_of([parse({"role": "user", "content": text})])[0]
begun = time.process_time()
page_png(page, Tier.BASE)
print(time.process_time() - begun)
"""


def cold_start() -> float:
    """Seconds from the atlas file to a first page, in a process that had neither."""
    done = subprocess.run([sys.executable, "-c", _COLD], check=True, capture_output=True)
    return float(done.stdout)


def chinese_start() -> tuple[float, float]:
    """CPU seconds of a page whose glyphs no process has drawn yet, and of the same page again."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _SIGNS, folder]
        first, again = (
            float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(2)
        )
    return first, again
