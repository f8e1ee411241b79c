"""The standard health question of gRPC: ``grpc.health.v1.Health/Check`` for the server as a whole.

Question and answer are so small that they are written and read here: an empty message, and one field, the status.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from consulguard.model import Reaction

EXTRA = "needs the extra: pip install 'consulguard[grpc]'"
_METHOD = "/grpc.health.v1.Health/Check"
_WINDOW = 64 * 1024  # bytes the other side may send before we read
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"
_ABSENT = (5, 12)  # NOT_FOUND, UNIMPLEMENTED: nobody answers the question there


def available() -> bool:
    """Whether the extra is installed."""
    return find_spec("grpclib") is not None


async def check(address: str, port: int, timeout_s: float) -> tuple[Reaction, str]:
    """Raises OSError, TimeoutError."""
    from grpclib.client import Channel
    from grpclib.config import Configuration
    from grpclib.const import Cardinality
    from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

    small = Configuration(http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW)
    channel = Channel(address, port, codec=_codec(), config=small)
    try:
        async with channel.request(_METHOD, Cardinality.UNARY_UNARY, bytes, bytes, timeout=timeout_s) as stream:
            await stream.send_message(b"", end=True)
            answer = await stream.recv_message()
    except GRPCError as error:
        if error.status.value in _ABSENT:
            return Reaction.UNSURE, f"gRPC {error.status.name}"
        return Reaction.BADLY, f"gRPC {error.status.name}"
    except (ProtocolError, StreamTerminatedError) as error:
        return Reaction.BADLY, str(error) or type(error).__name__
    finally:
        channel.close()
    if answer == _SERVING:
        return Reaction.WELL, ""
    return (Reaction.BADLY, "NOT_SERVING") if answer == _NOT_SERVING else (Reaction.UNSURE, "health unknown")


def _codec() -> Any:
    """Bytes as they are: no generated code and no protobuf for two bytes."""
    from grpclib.encoding.base import CodecBase

    class Plain(CodecBase):
        __content_subtype__ = "proto"

        def encode(self, message: Any, message_type: Any) -> bytes:
            return bytes(message)

        def decode(self, data: bytes, message_type: Any) -> Any:
            return data

    return Plain()
