"""Settings of events, traces, logs and the HTTP API."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from rlvr_ray.settings.section import Section

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class MirrorSettings(Section):
    url: SecretStr | None = None
    """RabbitMQ, `amqp://user:password@host:5672/`; none leaves the mirror off."""
    exchange: str = Field(default="rlvr_events", pattern="^[A-Za-z0-9_.:-]{1,200}$")
    """The topic exchange that events are published to."""
    timeout_s: float = Field(default=30, gt=0)
    """Longest wait for a connection or for the broker's confirms, in seconds."""

    @model_validator(mode="after")
    def _url_is_one(self) -> Self:
        if self.url is not None and not self.url.get_secret_value().startswith(
            ("amqp://", "amqps://")
        ):
            raise ValueError("url must start with amqp:// or amqps://")
        return self


class TracingSettings(Section):
    endpoint: str | None = Field(default=None, pattern="^https?://[^/]+")
    """Where OpenTelemetry traces go, by OTLP over HTTP, such as `http://localhost:4318`; none
    leaves tracing off."""
    sample: float = Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    """Share of the batches that are traced."""


class LogSettings(Section):
    format: Literal["text", "json"] = "text"
    """Format of the log lines of every process: text, or one JSON object a line."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level that is logged."""


class ApiSettings(Section):
    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs a key."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port."""
    key: SecretStr | None = None
    """Bearer token that every request but /livez and /readyz must carry."""
    max_asks: int = Field(default=16, ge=1)
    """Asks processed at the same time by one Ask replica; as many again wait, others get 503."""

    @property
    def url(self) -> str:
        """As this machine reaches it."""
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104 - to, not at
            self.host, self.host
        )
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @model_validator(mode="after")
    def _open_only_with_a_key(self) -> Self:
        if self.key is not None and not self.key.get_secret_value().strip():
            raise ValueError("the key is blank; give one, or leave it out")
        if self.key is None and self.host not in LOOPBACK:
            raise ValueError(f"listening on {self.host} needs api.key; without one, use 127.0.0.1")
        return self
