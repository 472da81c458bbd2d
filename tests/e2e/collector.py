"""A collector of traces on loopback: takes OTLP over HTTP as any would, and shows what it was told."""

import asyncio
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Seen:
    """One span as it was exported.

    Attributes:
        links: the traces that it names beside its own.
        failed: it says that something went wrong.
    """

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    said: Mapping[str, Any]
    links: Sequence[str]
    failed: bool
    began_ns: int
    ended_ns: int
    resource: Mapping[str, Any]


@dataclass
class Collector:
    """A real server; open it with `async with`."""

    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._server = TestServer(app)
        await self._server.start_server()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        """Write its address, as an operator would."""
        return str(self._server.make_url("")).rstrip("/")

    @property
    def spans(self) -> list[Seen]:
        """List every span, in the order of arrival."""
        return [
            _seen(span, _values(group.resource.attributes))
            for request in self.requests
            for group in request.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Seen]:
        """List the spans of a name."""
        return [span for span in self.spans if span.name == name]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = await asyncio.to_thread(gzip.decompress, body)
        self.requests.append(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")


def _seen(span: Any, resource: Mapping[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=span.kind,
        said=_values(span.attributes),
        links=[link.trace_id.hex() for link in span.links],
        failed=span.status.code == 2,
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        resource=resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
