"""The peers by name: how each is built, and the settings of its search from fast to thorough."""

import numpy as np

import systems_faiss as faiss
from systems_form import BOTH, BREADTHS, ONE_THREAD, PROBES, System, tree_bytes


class Scann(System):
    """A tree with spilling (SOAR), 4-bit anisotropic codes, float32 for the second look."""

    questions = BOTH
    sweep = {  # leaves visited, and how many of their best are looked at again
        "faces": ((1, 20), (2, 30), (5, 30), (10, 50), (20, 100), (35, 150), (50, 200), (100, 500),
                  (200, 1_000), (400, 3_000), (800, 6_000), (1_600, 12_000)),
        "who": ((1, 10), (2, 10), (5, 10), (10, 10), (15, 20), (20, 20), (35, 20), (50, 50),
                (75, 50), (100, 50), (150, 100), (200, 100), (400, 200), (800, 200)),
    }

    def build(self, data, scratch, threads):
        from scann import scann_ops_pybind

        self.leaves, self.question = max(4, int(2 * np.sqrt(data.n))), data.question
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
        for leaves, again in self.sweep[self.question]:
            leaves = min(leaves, self.leaves)
            yield (f"tree{self.leaves} SOAR AH2 leaves={leaves} reorder={again}",
                   lambda query, k, leaves=leaves, again=again: self.index.search(
                       query, k, max(again, k), leaves)[0])
            if leaves == self.leaves:
                break


class ScannFlat(Scann):
    """The same codes without a tree."""

    def build(self, data, scratch, threads):
        from scann import scann_ops_pybind

        self.index = scann_ops_pybind.builder(data.all(), 10, "dot_product") \
            .set_n_training_threads(threads) \
            .score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()

    def settings(self):
        for again in (10, 20, 50, 100, 200, 500, 1_000, 2_000, 4_000, 8_000):
            yield (f"AH2 reorder={again}",
                   lambda query, k, again=again: self.index.search(query, k, max(again, k))[0])


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
    "exact": faiss.Exact,
    "faiss-ivf-sq8": faiss.FaissIvfSq8,
    "faiss-ivf-pq": faiss.FaissIvfPq,
    "faiss-ivf-rabitq": faiss.FaissIvfRabitq,
    "faiss-flat-pq": faiss.FaissFlatPq,
    "faiss-hnsw-sq8": faiss.FaissHnswSq8,
    "scann": Scann,
    "scann-flat": ScannFlat,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "glass": Glass,
    "svs-lvq": SvsLvq,
    "svs-float16": SvsFloat16,
    "rabitqlib-4bit": faiss.Rabitqlib,
    "rabitqlib-8bit": faiss.Rabitqlib8,
    "faceflash": Faceflash,
    "faceflash-cells": FaceflashCells,
    "turbovec-2bit": Turbovec2,
    "turbovec-4bit": Turbovec,
    "qdrant-edge": QdrantEdge,
    "milvus-lite": MilvusLite,
}
