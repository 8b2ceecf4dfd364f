"""The peers: how each is built, and the settings of its search from fast to thorough.

A system has `questions` it makes sense for, an `environment` its process needs, and
`build(data, scratch, threads)`, `settings()` (pairs of a name and `search(query, k)`, which
returns row numbers, best first) and `size(scratch)` (bytes it takes when written, None if it
cannot tell). Libraries are imported on use: a missing one is an error of that peer alone.
"""

import json
import time
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
        codes = "PQ128x4fsr,Refine(SQ8)" if data.question == "faces" else "PQ128x4fs,RFlat"
        self.kind = f"IVF{self.cells},{codes}"
        index = faiss.index_factory(data.dimension, self.kind, faiss.METRIC_INNER_PRODUCT)
        faiss.extract_index_ivf(index).quantizer.add(self.coarse(self.cells).reconstruct_n())
        index.train(data.sample(100_000))
        return index


class FaissFlatPq(FaissRefined):
    """Small codes of everything, no cells: where cells say little, the bound is the scan's speed."""

    def make(self, data, n):
        fine = "Refine(SQ8)" if data.question == "faces" else "RFlat"
        self.kind = f"PQ128x4fs,{fine}"
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


class Scann(System):
    """A tree with spilling (SOAR), 4-bit anisotropic codes, float32 for the second look."""

    questions = BOTH

    def build(self, data, scratch, threads):
        from scann import scann_ops_pybind

        self.leaves = max(4, int(2 * np.sqrt(data.n)))
        rows = data.all()
        self.index = scann_ops_pybind.builder(rows, 10, "dot_product") \
            .set_n_training_threads(threads) \
            .tree(self.leaves, 100, training_sample_size=min(data.n, 250_000), spherical=True,
                  quantize_centroids=True, soar_lambda=1.5, overretrieve_factor=2.0) \
            .score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()

    def size(self, scratch):
        folder = scratch / "scann"
        folder.mkdir()
        self.index.serialize(str(folder))
        return tree_bytes(folder)

    def settings(self):
        for leaves, again in ((1, 20), (2, 30), (5, 30), (10, 50), (20, 100), (35, 150), (50, 200),
                              (100, 500), (200, 1_000), (400, 3_000), (800, 6_000)):
            if leaves > 2 * self.leaves:
                break
            leaves = min(leaves, self.leaves)
            yield (f"tree{self.leaves} SOAR AH2 leaves={leaves} reorder={again}",
                   lambda query, k, leaves=leaves, again=again: self.index.search(
                       query, k, max(again, k), leaves)[0])


class Hnswlib(System):
    questions = BOTH

    def build(self, data, scratch, threads):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=data.dimension)
        self.index.init_index(data.n, ef_construction=200, M=16)
        for at, chunk in data.chunks():
            self.index.add_items(chunk, np.arange(at, at + len(chunk)), num_threads=threads)
        self.index.set_num_threads(1)

    def size(self, scratch):
        return self.index.index_file_size()

    def settings(self):
        for breadth in BREADTHS:
            def search(query, k, breadth=breadth):
                self.index.set_ef(max(breadth, k))
                return self.index.knn_query(query, k, num_threads=1)[0]

            yield f"M=16 efConstruction=200 ef={breadth}", search


class Usearch(System):
    def build(self, data, scratch, threads):
        from usearch.index import Index

        self.index = Index(ndim=data.dimension, metric="ip", dtype="i8", connectivity=16,
                           expansion_add=128)
        for at, chunk in data.chunks():
            self.index.add(np.arange(at, at + len(chunk)), chunk, threads=threads)

    def size(self, scratch):
        return self.index.serialized_length

    def settings(self):
        for breadth in BREADTHS:
            self.index.expansion_search = breadth
            yield (f"i8 connectivity=16 expansion_search={breadth}",
                   lambda query, k: self.index.search(query, k, threads=1).keys)


class Glass(System):
    def build(self, data, scratch, threads):
        import glass

        glass.set_num_threads(threads)
        rows = data.all()
        self.graph = glass.Index(index_type="HNSW", metric="IP", quant="SQ8U", R=32,
                                 L=200).build(rows)
        self.searcher = glass.Searcher(graph=self.graph, data=rows, metric="IP",
                                       quantizer="SQ4U", refine_quant="FP16")
        self.searcher.optimize(num_threads=1)
        glass.set_num_threads(1)

    def settings(self):
        for breadth in BREADTHS:
            def search(query, k, breadth=breadth):
                self.searcher.set_ef(max(breadth, k))
                found = self.searcher.search(query, k)
                return found[0] if isinstance(found, tuple) else found

            yield f"HNSW R=32 L=200 SQ4U+FP16 ef={breadth}", search


class SvsFloat16(System):
    kind = "float16"

    def build(self, data, scratch, threads):
        import svs

        parameters = svs.VamanaBuildParameters(graph_max_degree=32, alpha=0.95, window_size=128)
        self.index = svs.Vamana.build(parameters, self.rows(svs, data, scratch),
                                      distance_type=svs.DistanceType.MIP, num_threads=threads)
        self.index.num_threads = 1

    def rows(self, svs, data, scratch):
        out = np.empty((data.n, data.dimension), np.float16)
        for at, chunk in data.chunks():
            out[at:at + len(chunk)] = chunk
        return out

    def size(self, scratch):
        parts = [scratch / part for part in ("config", "graph", "data")]
        self.index.save(*map(str, parts))
        return sum(tree_bytes(part) for part in parts)

    def settings(self):
        for breadth in BREADTHS:
            def search(query, k, breadth=breadth):
                self.index.search_window_size = max(breadth, k)
                return self.index.search(query[None], k)[0]

            yield f"Vamana degree=32 {self.kind} window={breadth}", search


class SvsLvq(SvsFloat16):
    """Codes of 4 and 8 bits; the library has them for Intel's processors alone."""

    kind = "LVQ4x8"

    def rows(self, svs, data, scratch):
        file = scratch / "rows.fvecs"
        with open(file, "wb") as out:
            for _, chunk in data.chunks():
                head = np.full((len(chunk), 1), data.dimension, np.int32).view(np.float32)
                np.hstack([head, chunk]).tofile(out)
        return svs.LVQLoader(
            svs.VectorDataLoader(str(file), svs.DataType.float32, dims=data.dimension),
            primary=4, residual=8, strategy=svs.LVQStrategy.Turbo, padding=32)


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


class Faceflash(System):
    """512-bit codes of every face compared with the query's, the best looked at again."""

    environment = ONE_THREAD

    def build(self, data, scratch, threads):
        from faceflash import FaceIndex

        self.index = FaceIndex(dim=data.dimension, n_bits=512)
        for at, chunk in data.chunks(rows=max(1_024, data.n // 4)):
            self.index.add_batch(chunk, [""] * len(chunk))

    def size(self, scratch):
        return self.index.float_vectors.nbytes + self.index.vectors.nbytes

    def settings(self):
        for candidates in (20, 50, 100, 200, 500, 1_000, 3_000, 10_000):
            yield (f"512 bits candidates={candidates}",
                   lambda query, k, candidates=candidates: [
                       hit[2] for hit in self.index.search(query, k, max(candidates, k))])


class FaceflashCells(Faceflash):
    def build(self, data, scratch, threads):
        super().build(data, scratch, threads)
        self.index.build_clusters()

    def settings(self):
        for visited, candidates in PROBES["faces"][1:]:
            yield (f"512 bits, clusters probes={visited} candidates={candidates}",
                   lambda query, k, visited=visited, candidates=candidates: [
                       hit[2] for hit in self.index.search(query, k, max(candidates, k), visited)])


class Turbovec(System):
    """Every face in 4 bits a dimension; nothing to turn."""

    environment = ONE_THREAD
    bits = 4

    def build(self, data, scratch, threads):
        from turbovec import TurboQuantIndex

        self.index = TurboQuantIndex(dim=data.dimension, bit_width=self.bits)
        self.index.calibrate(data.sample(4_096))
        for _, chunk in data.chunks():
            self.index.add(chunk)
        self.index.prepare()

    def size(self, scratch):
        path = scratch / "turbovec"
        self.index.write(str(path), durable=False)
        return tree_bytes(path)

    def settings(self):
        yield (f"flat, {self.bits} bits",
               lambda query, k: self.index.search(query[None], k)[1])


class Turbovec2(Turbovec):
    bits = 2


class QdrantEdge(System):
    """A whole database in the process: HNSW over 8-bit codes, rescored with float32."""

    def build(self, data, scratch, threads):
        import qdrant_edge as qdrant

        self.qdrant, self.folder = qdrant, scratch / "qdrant"
        self.folder.mkdir()
        config = qdrant.EdgeConfig(
            vectors=qdrant.EdgeVectorParams(size=data.dimension, distance=qdrant.Distance.Dot),
            hnsw_config=qdrant.HnswIndexConfig(m=16, ef_construct=200, full_scan_threshold=1_000,
                                               max_indexing_threads=threads),
            quantization_config=qdrant.ScalarQuantizationConfig(
                type=qdrant.ScalarType.Int8, always_ram=True),
            optimizers=qdrant.EdgeOptimizersConfig(default_segment_number=1,
                                                   indexing_threshold=1_000,
                                                   max_segment_size=100_000_000),
            max_search_threads=1)
        self.index = qdrant.EdgeShard.create(str(self.folder), config)
        for at, chunk in data.chunks(rows=5_000):
            self.index.update(qdrant.UpdateOperation.upsert_points(
                [qdrant.Point(at + i, row.tolist(), None) for i, row in enumerate(chunk)]))
        self.index.flush()
        self.index.optimize()

    def size(self, scratch):
        return tree_bytes(self.folder)

    def settings(self):
        qdrant = self.qdrant
        for breadth in BREADTHS:
            parameters = qdrant.SearchParams(
                hnsw_ef=breadth, quantization=qdrant.QuantizationSearchParams(rescore=True))

            def search(query, k, parameters=parameters):
                request = qdrant.SearchRequest(
                    query=qdrant.Query.Nearest(query.tolist()), limit=k, params=parameters)
                return [point.id for point in self.index.search(request)]

            yield f"HNSW m=16 ef_construct=200 int8 rescore hnsw_ef={breadth}", search


class MilvusLite(System):
    """A whole database in the process, asked through its client: HNSW over 8-bit codes.

    How many threads it searches with can only be said to its process, so it is built with one, too.
    """

    environment = ONE_THREAD

    def build(self, data, scratch, threads):
        from pymilvus import DataType, MilvusClient

        self.file = scratch / "milvus.db"
        self.client = MilvusClient(str(self.file))
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=data.dimension)
        self.client.create_collection("faces", schema=schema)
        for at, chunk in data.chunks(rows=2_000):
            self.client.insert("faces", [{"id": at + i, "vector": row}
                                         for i, row in enumerate(chunk)])
        self.client.flush("faces")
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type="HNSW_SQ", metric_type="IP",
                        params={"M": 16, "efConstruction": 200, "sq_type": "SQ8"})
        self.client.create_index("faces", index)
        self.client.load_collection("faces")

    def size(self, scratch):
        return tree_bytes(self.file)

    def settings(self):
        for breadth in BREADTHS:
            def search(query, k, breadth=breadth):
                found = self.client.search("faces", [query], limit=k,
                                           search_params={"params": {"ef": max(breadth, k)}})
                return [hit["id"] for hit in found[0]]

            yield f"HNSW_SQ M=16 efConstruction=200 SQ8 ef={breadth}", search


SYSTEMS = {
    "exact": Exact,
    "faiss-ivf-sq8": FaissIvfSq8,
    "faiss-ivf-pq": FaissIvfPq,
    "faiss-ivf-rabitq": FaissIvfRabitq,
    "faiss-flat-pq": FaissFlatPq,
    "faiss-hnsw-sq8": FaissHnswSq8,
    "scann": Scann,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "glass": Glass,
    "svs-lvq": SvsLvq,
    "svs-float16": SvsFloat16,
    "rabitqlib-4bit": Rabitqlib,
    "rabitqlib-8bit": Rabitqlib8,
    "faceflash": Faceflash,
    "faceflash-cells": FaceflashCells,
    "turbovec-2bit": Turbovec2,
    "turbovec-4bit": Turbovec,
    "qdrant-edge": QdrantEdge,
    "milvus-lite": MilvusLite,
}
