"""What is counted: how many true neighbours were found, and how many people named rightly."""

import numpy as np

UNKNOWN = -1
FPIR = 0.01


def recall(found, truth, k):
    """The share of each query's `k` best rows of `truth` among the first `k` of `found`, averaged.

    Both hold a row of numbers a query; -1 in `found` stands for nothing.
    """
    k = min(k, truth.shape[1])
    hits = [len(np.intersect1d(f[:k], t[:k])) for f, t in zip(found, truth, strict=True)]
    return float(np.mean(hits)) / k


def rank1(named, meant):
    """The share of known queries that were given the right identity; None without known ones."""
    known = meant != UNKNOWN
    return float((named[known] == meant[known]).mean()) if known.any() else None


def fnir_at_fpir(named, scores, meant, fpir=FPIR):
    """The share of known queries missed at the threshold that lets in `fpir` of the unknown ones.

    A query is accepted if its best score is above the threshold. With u unknown queries, the
    threshold is the highest at which floor(fpir * u) of them are accepted. A known query is missed
    if it is not accepted or named wrongly. None if there are too few unknown queries to accept one.
    """
    known = meant != UNKNOWN
    strangers = np.sort(scores[~known])[::-1]
    accepted = int(np.floor(fpir * len(strangers) + 1e-9))
    if accepted == 0 or not known.any():
        return None
    threshold = strangers[accepted] if accepted < len(strangers) else -np.inf
    right = (scores[known] > threshold) & (named[known] == meant[known])
    return float(1 - right.mean())
