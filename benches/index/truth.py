"""The truth of a corpus: the best faces of each query by exact search, and how right that is."""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

import metrics

VERSION = 1
BEST = 100
BLOCK_ROWS = 16_384


def make(folder):
    """Writes truth_faces.npy, truth_cosines.npy and truth.json, unless there. Returns the last."""
    folder = Path(folder)
    corpus = json.loads((folder / "corpus.json").read_text())
    key = {k: corpus[k] for k in ("name", "n", "seed", "key") if k in corpus}
    key |= {"corpus_version": corpus["version"], "truth_version": VERSION}
    path = folder / "truth.json"
    if path.exists():
        known = json.loads(path.read_text())
        if all(known.get(k) == v for k, v in key.items()):
            return known
        path.unlink()
    began = time.perf_counter()
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    queries = np.load(folder / "queries.npy")
    faces, cosines = best(vectors, queries, min(BEST, len(vectors)))
    np.save(folder / "truth_faces.npy", faces)
    np.save(folder / "truth_cosines.npy", cosines)
    meant = np.load(folder / "query_identities.npy")
    named = np.load(folder / "identities.npy").astype(np.int64)[faces[:, 0]]
    known = meant != metrics.UNKNOWN
    truth = {**key, "rank1": metrics.rank1(named, meant),
             "fnir_at_fpir_1pct": metrics.fnir_at_fpir(named, cosines[:, 0], meant),
             **_spread("known", cosines[known]), **_spread("unknown", cosines[~known]),
             "seconds": round(time.perf_counter() - began, 1)}
    part = folder / "truth.json.part"
    part.write_text(json.dumps(truth, indent=1) + "\n")
    part.rename(path)
    return truth


def best(vectors, queries, k, block_rows=BLOCK_ROWS):
    """The `k` rows of `vectors` with the highest inner product, best first, ties to the lower row.

    Returns rows (int64) and products (float32), queries x k. Products are float32 of whatever the
    vectors are rounded to; a block of vectors at a time is multiplied with all queries.
    """
    count = len(queries)
    rows = np.zeros((count, 0), np.int64)
    products = np.zeros((count, 0), np.float32)
    for at in range(0, len(vectors), block_rows):
        block = np.asarray(vectors[at:at + block_rows], np.float32)
        fresh = queries @ block.T
        if rows.shape[1] < k:
            candidates = np.broadcast_to(np.arange(at, at + len(block)), fresh.shape)
            rows, products = _top(np.hstack([rows, candidates]), np.hstack([products, fresh]), k)
            continue
        # Later rows lose ties, so only what is strictly better than the last place can enter.
        where, column = np.nonzero(fresh > products[:, -1:])
        changed, start = np.unique(where, return_index=True)
        for query, better in zip(changed, np.split(column, start[1:])):
            r, p = _top(np.append(rows[query], at + better)[None],
                        np.append(products[query], fresh[query, better])[None], k)
            rows[query], products[query] = r[0], p[0]
    return rows, products


def _top(rows, products, k):
    if products.shape[1] > 4 * k:
        # Everything equal to the last place stays in until ties are settled.
        cut = -np.partition(-products, k - 1, axis=1)[:, k - 1:k]
        width = int((products >= cut).sum(1).max())
        keep = np.argsort(~(products >= cut), axis=1, kind="stable")[:, :width]
        rows, products = (np.take_along_axis(a, keep, 1) for a in (rows, products))
    order = np.lexsort((rows, -products))[:, :k]
    return tuple(np.take_along_axis(a, order, 1) for a in (rows, products))


def _spread(name, cosines):
    if not len(cosines):
        return {}
    last = min(9, cosines.shape[1] - 1)
    return {f"{name}_best_median": round(float(np.median(cosines[:, 0])), 4),
            f"{name}_best_p99": round(float(np.quantile(cosines[:, 0], 0.99)), 4),
            f"{name}_tenth_median": round(float(np.median(cosines[:, last])), 4)}


def lines(truth):
    """The truth as lines of text."""
    fnir = truth["fnir_at_fpir_1pct"]
    shown = "unknown" if fnir is None else f"{fnir:.4f}"
    return [f"exact face search: rank-1 {truth['rank1']:.4f}, FNIR at FPIR 1 % {shown}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print("\n".join(lines(make(parser.parse_args().folder))), file=sys.stderr)


if __name__ == "__main__":
    main()
