"""What the peers have in common: the form of a system, and how far their knobs are turned.

A system has `questions` it makes sense for, an `environment` its process needs, and
`build(data, scratch, threads)`, `settings()` (pairs of a name and `search(query, k)`, which
returns row numbers, best first) and `size(scratch)` (bytes it takes when written, None if it
cannot tell). Libraries are imported on use: a missing one is an error of that peer alone.
"""

from pathlib import Path

import numpy as np

BOTH = ("faces", "who")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
              "RAYON_NUM_THREADS": "1"}
# Cells visited, and how many of their best are looked at again with finer codes.
PROBES = {
    "faces": ((1, 50), (2, 50), (4, 100), (8, 100), (16, 100), (32, 200), (64, 400), (128, 800),
              (256, 1_600), (512, 4_000), (1_024, 8_000)),
    "who": ((1, 10), (2, 10), (4, 10), (6, 10), (8, 10), (12, 10), (16, 20), (24, 20), (32, 20),
            (48, 50), (64, 50), (96, 100), (128, 100), (192, 100), (256, 200), (512, 200)),
}
BREADTHS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024)


def cells(n):
    """How many cells an inverted file of `n` rows gets: about 4 sqrt(n), a power of two."""
    return int(min(2 ** np.round(np.log2(4 * np.sqrt(n))), max(1, n // 8)))


def probes(question, cells):
    """The pairs of PROBES that there are cells for; the last one visits all if none comes near."""
    inside = [pair for pair in PROBES[question] if pair[0] < cells]
    if cells <= PROBES[question][-1][0]:
        inside.append((cells, PROBES[question][len(inside)][1]))
    return inside


def tree_bytes(path):
    """What a file or a folder takes on disk: less than its length where nothing was written yet."""
    path = Path(path)
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(min(f.stat().st_size, f.stat().st_blocks * 512) for f in files)


class System:
    questions = ("faces",)
    environment = {}
    exact = False

    def size(self, scratch):
        return None
