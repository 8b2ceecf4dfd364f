"""faiss' indexes, and RaBitQ's own library, which is given faiss' cells."""

import json
import time

import numpy as np

from systems_form import BOTH, BREADTHS, System, cells, probes, tree_bytes


class Faiss(System):
    """What the faiss indexes have in common."""

    questions = BOTH

    def build(self, data, scratch, threads):
        import faiss

        self.faiss, self.data = faiss, data
        faiss.omp_set_num_threads(threads)
        self.index = self.make(data, data.n)
        for _, chunk in data.chunks():
            self.index.add(chunk)
        faiss.omp_set_num_threads(1)

    def size(self, scratch):
        # Counted as it is written, kept nowhere.
        total = 0

        def count(data):
            nonlocal total
            total += len(data)
            return len(data)

        writer = self.faiss.PyCallbackIOWriter(count)
        self.faiss.write_index(self.index, writer)
        return total

    def search(self, query, k):
        return self.index.search(query[None], k)[1][0]

    def coarse(self, count):
        """A quantizer with `count` cells. Centroids are shared between peers, their time is not."""
        faiss, data = self.faiss, self.data
        path = data.path.with_name(f"cells-{data.question}-{count}.npy")
        note = path.with_suffix(".json")
        state = data.path.stat().st_mtime_ns
        if path.exists() and note.exists() and json.loads(note.read_text())["of"] == state:
            centroids = np.load(path)
            self.reused_s = json.loads(note.read_text())["seconds"]
        else:
            began = time.perf_counter()
            means = faiss.Kmeans(data.dimension, count, niter=8, spherical=True, seed=3,
                                 max_points_per_centroid=64, min_points_per_centroid=1)
            means.train(data.sample(64 * count))
            centroids = means.centroids
            np.save(path, centroids)
            note.write_text(json.dumps({"of": state, "seconds": time.perf_counter() - began}))
        quantizer = faiss.IndexFlatIP(data.dimension)
        quantizer.add(centroids)
        return quantizer


class Exact(Faiss):
    """Every face, in float32: what it finds is the truth, which its accuracies are read from."""

    exact = True

    def make(self, data, n):
        return self.faiss.IndexFlatIP(data.dimension)

    def settings(self):
        yield "flat float32", self.search


class FaissIvfSq8(Faiss):
    def make(self, data, n):
        faiss, self.cells = self.faiss, cells(n)
        self.quantizer = self.coarse(self.cells)
        index = faiss.IndexIVFScalarQuantizer(
            self.quantizer, data.dimension, self.cells, faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT)
        index.train(data.sample(50_000))
        return index

    def settings(self):
        for visited, _ in probes(self.data.question, self.cells):
            self.index.nprobe = visited
            yield f"IVF{self.cells},SQ8 nprobe={visited}", self.search


class FaissRefined(Faiss):
    """An inverted file of small codes, its best looked at again with finer ones."""

    def settings(self):
        inner = self.faiss.downcast_index(self.index.base_index)
        for visited, refined in probes(self.data.question, self.cells):
            inner.nprobe = visited
            yield f"{self.kind} nprobe={visited} refined={refined}", self.refined(refined)

    def refined(self, count):
        def search(query, k):
            self.index.k_factor = max(1.0, count / k)
            return self.index.search(query[None], k)[1][0]

        return search


class FaissIvfPq(FaissRefined):
    def make(self, data, n):
        faiss, self.cells = self.faiss, cells(n)
        # Means are few: their refinement may be float32. Faces get 8 bits.
        codes = f"PQ{data.dimension // 4}x4fs"
        codes += "r,Refine(SQ8)" if data.question == "faces" else ",RFlat"
        self.kind = f"IVF{self.cells},{codes}"
        index = faiss.index_factory(data.dimension, self.kind, faiss.METRIC_INNER_PRODUCT)
        faiss.extract_index_ivf(index).quantizer.add(self.coarse(self.cells).reconstruct_n())
        index.train(data.sample(100_000))
        return index


class FaissFlatPq(FaissRefined):
    """Small codes of everything, no cells: where cells say little, the bound is the scan's speed."""

    def make(self, data, n):
        fine = "Refine(SQ8)" if data.question == "faces" else "RFlat"
        self.kind = f"PQ{data.dimension // 4}x4fs,{fine}"
        index = self.faiss.index_factory(data.dimension, self.kind,
                                         self.faiss.METRIC_INNER_PRODUCT)
        index.train(data.sample(100_000))
        return index

    def settings(self):
        for refined in (10, 20, 50, 100, 200, 500, 1_000, 2_000, 4_000, 8_000):
            yield f"{self.kind} refined={refined}", self.refined(refined)


class FaissIvfRabitq(FaissRefined):
    def make(self, data, n):
        faiss, self.cells = self.faiss, cells(n)
        self.kind = f"IVF{self.cells},RaBitQfs,Refine(SQ8)"
        self.quantizer = self.coarse(self.cells)
        self.inner = faiss.IndexIVFRaBitQFastScan(
            self.quantizer, data.dimension, self.cells, faiss.METRIC_INNER_PRODUCT)
        self.fine = faiss.IndexScalarQuantizer(
            data.dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        sample = data.sample(100_000)
        self.inner.train(sample)
        self.fine.train(sample)
        return faiss.IndexRefine(self.inner, self.fine)


class FaissHnswSq8(Faiss):
    def make(self, data, n):
        faiss = self.faiss
        index = faiss.IndexHNSWSQ(data.dimension, faiss.ScalarQuantizer.QT_8bit, 16,
                                  faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        index.train(data.sample(50_000))
        return index

    def settings(self):
        for breadth in BREADTHS:
            self.index.hnsw.efSearch = breadth
            yield f"HNSW16,SQ8 efConstruction=200 efSearch={breadth}", self.search


class Rabitqlib(Faiss):
    """RaBitQ's own library; cells and who is in which are found with faiss."""

    questions = ("faces",)
    bits = 4

    def build(self, data, scratch, threads):
        import faiss
        from rabitqlib import IvfIndex

        self.faiss, self.data, self.cells = faiss, data, cells(data.n)
        faiss.omp_set_num_threads(threads)
        quantizer = self.coarse(self.cells)
        rows, cell = data.all(), np.empty(data.n, np.uint32)
        for at in range(0, data.n, 65_536):
            cell[at:at + 65_536] = quantizer.search(rows[at:at + 65_536], 1)[1].ravel()
        self.index = IvfIndex(dim=data.dimension, max_elements=data.n, num_clusters=self.cells,
                              nbits=self.bits, metric="ip")
        centroids = np.ascontiguousarray(quantizer.reconstruct_n())
        self.index.build(rows, centroids, cell, num_threads=threads, fast_quantization=True)
        faiss.omp_set_num_threads(1)

    def size(self, scratch):
        path = scratch / "rabitq"
        self.index.save(str(path))
        return tree_bytes(path)

    def settings(self):
        for visited, _ in probes("faces", self.cells):
            yield (f"IVF{self.cells} {self.bits}-bit nprobe={visited}",
                   lambda query, k, visited=visited: self.index.search(
                       query[None], k=k, nprobe=visited, high_accuracy=True, num_threads=1)[0])


class Rabitqlib8(Rabitqlib):
    bits = 8
