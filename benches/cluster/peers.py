"""The peers that see all faces at once: those of benches/identity/systems.py, and streamface's method.

`peers.py --corpus FOLDER --system streamface --thresholds 0.7,0.5` prints a JSON line a threshold.
"""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).parents[1] / "identity")]

import numpy as np

import systems

BATCH = 20_000
MEANS = 2
MEANS_MAX = 40_000  # clusters whose distances still fit 16 GB: 6.4 GB, and the tree's own copy


class Streamface:
    """Batches by complete linkage on cosine distance, then twice the means of what came of them.

    Re-created from its description; a threshold is 1 - the distance at which trees are cut. What
    it merges because faces follow each other in the video has no part here: the corpora have no
    such pairs.
    """

    offline = True
    trees = None

    def run(self, data, threshold):
        from scipy.cluster.hierarchy import fcluster, linkage

        x, cut = data.vectors, 1 - threshold
        if self.trees is None:
            self.trees = [linkage(systems.AverageLinkage().distances(x[at:at + BATCH]), "complete")
                          for at in range(0, len(x), BATCH)]
        labels, count = [], 0
        for tree in self.trees:
            found = fcluster(tree, cut, "distance") - 1
            labels.append(found + count)
            count += found.max() + 1
        labels = np.concatenate(labels)
        for _ in range(MEANS):
            labels = np.unique(labels, return_inverse=True)[1]
            sums = np.zeros((labels.max() + 1, x.shape[1]), np.float32)
            np.add.at(sums, labels, x)
            if len(sums) > MEANS_MAX:
                raise MemoryError(f"{len(sums):,} clusters came of the batches, too many for a tree")
            if len(sums) < 2:
                break
            # The cosine does not change with a vector's length: a sum is as good as a mean.
            units = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
            tree = linkage(systems.AverageLinkage().distances(units), "complete")
            labels = fcluster(tree, cut, "distance")[labels] - 1
        return labels


class Whispers07(systems.ChineseWhispers):
    """As in streamface's experiments: neighbours from a cosine of 0.7 on, whatever is asked for."""

    grid, fine = (0.7,), False


systems.SYSTEMS["streamface"] = Streamface
systems.SYSTEMS["chinese-whispers-0.7"] = Whispers07

if __name__ == "__main__":
    sys.exit(systems.main())
