"""Opens films' folders the way video-labeler does: `labeler.py DATA_DIR`.

Reads trajectories.jsonl, clusters.json, predictions.json and images/ of each *-data folder, asserts what it
asserts, and prints what it would show: a line of JSON a film.
"""

import json
import sys
from pathlib import Path


def tag(movie, frame, box):
    return f"{movie}:{frame}:" + "_".join(str(side) for side in box)


def evenly(items, count):
    """At most `count` of `items`, evenly spaced."""
    if len(items) <= count:
        return items
    step = (len(items) - 1) / (count - 1)
    return [items[round(i * step)] for i in range(count)]


def open_film(folder):
    movie = int(folder.name.removesuffix("-data"))
    with open(folder / "trajectories.jsonl", encoding="utf-8") as file:
        trajectories = [json.loads(line) for line in file]
    clusters = json.loads((folder / "clusters.json").read_text(encoding="utf-8"))["clusters"]
    predictions = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))["predictions"]
    images = {path.name for path in (folder / "images").iterdir()}

    assert len(clusters) == len(trajectories), (len(clusters), len(trajectories))
    assert len(predictions) == len(set(clusters)), (len(predictions), len(set(clusters)))
    assert set(predictions) == {str(i) for i in range(len(predictions))}, predictions
    shown = {}
    for number, (trajectory, cluster) in enumerate(zip(trajectories, clusters)):
        assert trajectory["index"] == number, (trajectory["index"], number)
        assert trajectory["movie_id"] == movie
        assert len(trajectory["bbs"]) == len(trajectory["detected"]) == trajectory["len"]
        tags = [tag(movie, trajectory["start"] + i, box) for i, box in enumerate(trajectory["bbs"])]
        there = [name for name in tags if name + ".jpeg" in images]
        assert there, f"trajectory {number} has no picture"
        shown.setdefault(cluster, []).extend(evenly(there, 2))
    names = {}
    for cluster, actors in predictions.items():
        assert all(0.05 < p <= 1 and round(p, 5) == p for p in actors.values()), actors
        likely = sorted(actors.items(), key=lambda item: -item[1])
        names[cluster] = [actor for actor, p in likely if p > 0.40]
    return {"movie": movie, "trajectories": len(trajectories), "clusters": len(predictions),
            "images": sum(len(tags) for tags in shown.values()), "names": names,
            "starts": [trajectory["start"] for trajectory in trajectories], "of": clusters}


def main():
    films = sorted(Path(sys.argv[1]).glob("*-data"))
    assert films, "no film"
    for folder in films:
        print(json.dumps(open_film(folder)))


if __name__ == "__main__":
    main()
