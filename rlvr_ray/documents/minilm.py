"""Sentence embeddings: all-MiniLM-L6-v2 as an int8 ONNX model, on the CPU."""

from collections.abc import Sequence

import numpy as np

from rlvr_ray.documents.embedder import Vectors
from rlvr_ray.generation.model_files import MINILM_L6_V2, MINILM_L6_V2_TOKENIZER


class MiniLM:
    """Unit vectors of 384 dimensions, so that a dot product is the cosine.

    Mean over the token vectors, then normalised, as the model card prescribes
    (sentence-transformers/all-MiniLM-L6-v2). Texts are cut at 256 word pieces, the length that
    the model was trained for. Safe to call from several threads.
    """

    name = "all-MiniLM-L6-v2-int8"
    dimensions = 384

    def __init__(self, *, threads: int = 1) -> None:
        import onnxruntime as ort
        from tokenizers import Tokenizer

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # an arena keeps the memory of the longest text
        self._session = ort.InferenceSession(
            str(MINILM_L6_V2.locate()), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(MINILM_L6_V2_TOKENIZER.locate()))
        self._tokenizer.enable_truncation(max_length=256)
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts: float32 of shape (len(texts), 384).

        One text a run: on a CPU the padding of a batch costs more than the batch saves, and a
        vector must not depend on its neighbours.
        """
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
            (hidden,) = self._session.run(
                ["last_hidden_state"],
                {
                    "input_ids": ids,
                    "attention_mask": np.ones_like(ids),
                    "token_type_ids": np.zeros_like(ids),
                },
            )
            mean = hidden[0].mean(axis=0)
            vectors[row] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return vectors
