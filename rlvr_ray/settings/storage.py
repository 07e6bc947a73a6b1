"""Settings of stored data: passages, dataset files, the ledger."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from rlvr_ray.settings.section import MAX_TOP_K, Section


class RetrievalSettings(Section):
    url: str | None = Field(default=None, pattern="^https?://[^/]+")
    """A Qdrant server, such as `http://localhost:6333`; none means a local store under data_dir."""
    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """gRPC port of the Qdrant server. None means 6334, if the URL's port is 6333 and 6334 answers;
    otherwise, and with 0, gRPC is not used."""
    api_key: SecretStr | None = None
    """Key of the Qdrant server."""
    collection: str = Field(default="documents", pattern="^[A-Za-z0-9_-]{1,64}$")
    """Qdrant collection."""
    top_k: int = Field(default=5, ge=1, le=MAX_TOP_K)
    """Passages for each question, unless the request says otherwise."""
    chunk_chars: int = Field(default=1000, ge=100)
    """Longest passage, in characters."""
    chunk_overlap: int = Field(default=200, ge=0)
    """Characters that neighbouring passages share."""

    @model_validator(mode="after")
    def _overlap_is_smaller(self) -> Self:
        if self.chunk_overlap >= self.chunk_chars:
            raise ValueError("chunk_overlap must be smaller than chunk_chars")
        return self


class DatasetSettings(Section):
    seal_rows: int = Field(default=1000, ge=1)
    """Number of rows at which a Parquet part is sealed."""
    seal_seconds: float = Field(default=600, gt=0)
    """Seconds after which a Parquet part is sealed with fewer rows; shutdown seals, too."""
    parquet_uri: str | None = None
    """Place of the Parquet parts: `s3://…`, `gs://…`, `file:///…`; none means data_dir."""


class LedgerSettings(Section):
    min_free_mb: int = Field(default=512, ge=0)
    """MiB that must be free on the disk of data_dir; with less, asks get 503."""
    retention_days: int | None = Field(default=None, ge=1)
    """Days after which a past month is dropped from the ledger; its files and ids stay. None keeps
    everything."""
