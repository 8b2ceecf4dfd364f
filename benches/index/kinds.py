"""The two kinds of corpora: how many faces people have, and how faces lie around people."""

import numpy as np

DIMENSION = 512


def unit(x):
    """The rows of `x` at length 1."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


class Tv:
    """People of a broadcaster: on average 90 faces each and at least 10, in tracks of about 6.

    A face is the person, plus what a track changes (pose, light, make-up), plus a little noise.
    """

    name = "tv"
    faces_per_person = 90
    faces_min = 10
    track_faces_mean = 6.0
    size_exponent = 0.8
    spectrum_exponent = 0.38  # of the standard deviations; gives about 100 effective dimensions
    track_shape, track_scale, track_range = 6.0, 0.145, (0.35, 1.8)
    noise = 0.45

    def sizes(self, n, rng):
        people = max(1, n // self.faces_per_person)
        weights = 1 / np.arange(1, people + 1) ** self.size_exponent
        spare = n - min(self.faces_min, n // people) * people
        sizes = (n - spare) // people + np.floor(weights / weights.sum() * spare).astype(np.int64)
        sizes[0] += n - sizes.sum()
        return rng.permutation(sizes)

    def prepare(self, rng):
        spectrum = np.arange(1, DIMENSION + 1) ** -self.spectrum_exponent
        self.spectrum = (spectrum / np.sqrt((spectrum ** 2).sum())).astype(np.float32)

    def directions(self, count, rng):
        return unit(rng.standard_normal((count, DIMENSION), dtype=np.float32) * self.spectrum)

    def people(self, count, rng):
        """The means of new people."""
        return self.directions(count, rng)

    def spreads(self, sizes, rng):
        """How far each person's tracks stray from the mean: gamma, the same at every size.

        A few people have a good part of all faces. Walking the quantiles in golden steps from the
        largest person to the smallest keeps their luck out of the corpus' statistics.
        """
        drawn = np.sort(rng.gamma(self.track_shape, self.track_scale, 100_000))
        rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
        quantile = (rng.random() + rank * (np.sqrt(5) - 1) / 2) % 1
        spread = drawn[(quantile * len(drawn)).astype(np.int64)]
        return np.clip(spread, *self.track_range).astype(np.float32)

    def track_changes(self, count, rng):
        return self.directions(count, rng)

    def faces(self, means, spread, changes, rng):
        track = unit(means + spread[:, None] * changes)
        return unit(track + self.noise * self.directions(len(track), rng))


class Crowd:
    """Passers-by: about 10 faces a person on average but 3 in the median, some with thousands.

    40 groups of people who look alike; a face strays from its person half in any direction, half
    within 48 dimensions common to all (pose, age, light). Faces of a track differ like any two.
    """

    name = "crowd"
    faces_per_person = 10
    faces_max = 3_000
    track_faces_mean = 1.5
    size_exponent = 1.15
    groups, group_weight = 40, 0.35
    nuisance_dimensions, nuisance_weight = 48, 0.5
    quality = (9.0, 2.6)  # Beta: the cosine between a face and its person's mean
    quality_range = (0.3, 0.97)

    def sizes(self, n, rng):
        sizes, total = [], 0
        while total < n:
            drawn = (2 * (rng.pareto(self.size_exponent, 50_000) + 1)).astype(np.int64)
            sizes.append(np.minimum(drawn, min(self.faces_max, max(2, n // 20))))
            total += int(sizes[-1].sum())
        sizes = np.concatenate(sizes)
        last = int(np.searchsorted(np.cumsum(sizes), n))
        sizes = sizes[:last + 1]
        sizes[last] -= sizes.sum() - n
        return sizes

    def prepare(self, rng):
        spectrum = (np.arange(1, DIMENSION + 1) + 20.0) ** -0.25
        self.spectrum = (spectrum / np.sqrt((spectrum ** 2).sum())).astype(np.float32)
        self.group_means = self.directions(self.groups, rng)
        basis, _ = np.linalg.qr(rng.standard_normal((DIMENSION, self.nuisance_dimensions)))
        self.nuisance = np.ascontiguousarray(basis.T, dtype=np.float32)

    def directions(self, count, rng):
        return unit(rng.standard_normal((count, DIMENSION), dtype=np.float32) * self.spectrum)

    def people(self, count, rng):
        group = rng.integers(0, self.groups, count)
        means = self.directions(count, rng) + self.group_weight * self.group_means[group]
        return unit(means)

    def spreads(self, sizes, rng):
        return np.zeros(len(sizes), np.float32)

    def track_changes(self, count, rng):
        return np.zeros((count, 1), np.float32)

    def faces(self, means, spread, changes, rng):
        count = len(means)
        cosine = np.clip(rng.beta(*self.quality, count), *self.quality_range).astype(np.float32)
        common = rng.standard_normal((count, self.nuisance_dimensions), dtype=np.float32)
        stray = self.directions(count, rng) + self.nuisance_weight * (unit(common) @ self.nuisance)
        stray -= (stray * means).sum(1, keepdims=True) * means
        cosine = cosine[:, None]
        return cosine * means + np.sqrt(1 - cosine ** 2) * unit(stray)


KINDS = {kind.name: kind for kind in (Tv, Crowd)}
