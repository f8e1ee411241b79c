"""The section ``tracing``: whether and where the way from an observation to its result is told as a trace."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from consulguard.config import values
from consulguard.config.values import SecretFile, SomeShare
from consulguard.plan.strict import Strict


class Tracing(Strict):
    enabled: bool = Field(False, description="Send OpenTelemetry traces; needs `consulguard[otel]`.")
    endpoint: str = Field(
        "http://127.0.0.1:4318/v1/traces",
        description="The collector's whole URL for OTLP over HTTP. $OTEL_EXPORTER_OTLP_ENDPOINT goes over it.",
    )
    headers_file: SecretFile = Field(
        "", description="File of 'Name: value' lines sent along; read again when it changes."
    )
    ca_file: str = Field("", description="CA certificates to trust, PEM. Empty: the system's.")
    sample_ratio: SomeShare = Field(1.0, description="Of the incidents; the same ones on every replica.")

    @field_validator("endpoint")
    @classmethod
    def _url(cls, value: str, info: ValidationInfo) -> str:
        """Of a collector that is not to be used nothing is asked: the variable may be there for others."""
        if not info.data.get("enabled"):
            return value
        if not value:
            raise values.wrong("must be the collector's URL")
        return values.base_url(value)
