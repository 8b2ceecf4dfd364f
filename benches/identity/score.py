"""How right a clustering is; the definitions are in ingest/src/cluster/score.rs."""

import numpy as np

FACES_OF_NOTE = 5


def score(people, found):
    """The scores of `found`, an identity a face, against `people`, under the keys of a line."""
    people = np.unique(people, return_inverse=True)[1].astype(np.int64)
    found = np.unique(found, return_inverse=True)[1].astype(np.int64)
    of_people, of_found = np.bincount(people), np.bincount(found)
    cells, both = np.unique(people * len(of_found) + found, return_counts=True)
    of_person, of_identity = of_people[cells // len(of_found)], of_found[cells % len(of_found)]
    n = len(people)

    together = _pairs(both)
    p, r = _share(together, _pairs(of_found)), _share(together, _pairs(of_people))
    bcubed = float((both ** 2 / of_identity).sum() / n), float((both ** 2 / of_person).sum() / n)
    information = float((both / n * np.log(both * n / (of_person * of_identity))).sum())
    entropies = (_entropy(of_people) + _entropy(of_found)) / 2
    return {
        "pairwise_p": round(p, 5), "pairwise_r": round(r, 5), "pairwise_f": round(_f(p, r), 5),
        "bcubed_f": round(_f(*bcubed), 5),
        "nmi": round(min(max(information / entropies, 0.0), 1.0), 5) if entropies else 1.0,
        "identities": len(of_found),
        "identities_5plus": int((of_found >= FACES_OF_NOTE).sum()),
        "true_identities_5plus": int((of_people >= FACES_OF_NOTE).sum()),
        "fragments_per_person": round(len(cells) / len(of_people), 5),
    }


def _pairs(sizes):
    sizes = sizes.astype(np.int64)
    return int((sizes * (sizes - 1)).sum())


def _share(part, whole):
    return part / whole if whole else 1.0


def _f(p, r):
    return 2 * p * r / (p + r) if p + r else 0.0


def _entropy(sizes):
    shares = sizes / sizes.sum()
    return float(-(shares * np.log(shares)).sum())
