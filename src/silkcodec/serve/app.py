"""Define the HTTP routes of the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from silkcodec import __version__, codec
from silkcodec.baselines import catalogue
from silkcodec.serve import access, logs, sessions, uploads
from silkcodec.serve.pool import BusyError
from silkcodec.serve.processes import LostError, RefusedError
from silkcodec.serve.request_log import RequestLog
from silkcodec.serve.service import Service
from silkcodec.spec import SILK_FRAME_RATE

STATUS = {"too_long": 413, "too_large": 413, "bad_audio": 415, "not_supported": 415, "internal": 500, "not_stored": 503}
SILK_TYPE, JSON_TYPE = "application/vnd.silk", "application/json"
WAVE_TYPES = {"wav": "audio/wav", "flac": "audio/flac"}


class Problem(BaseModel):
    """The error that is returned for a failed request."""

    error: str = Field(description="Error code, e.g. unauthorized, too_large, bad_audio or busy.")
    message: str = Field(description="Explanation of the error.")
    request_id: str


class TokensOut(BaseModel):
    """The tokens of a recording."""

    codec: str
    sample_rate: int = Field(description="Sample rate of the decoded audio in Hz.")
    n_samples: int = Field(description="Length of the decoded audio in samples.")
    dims_per_token: int
    codebook_sizes: list[int]
    frame_rate: float = Field(description="Frames per second.")
    codes: list[list[int]] = Field(description="Frames, each with one code per codebook.")


class CodecOut(BaseModel):
    """The codec that this server runs."""

    name: str
    codec: str = Field(description="Codec name and hash of the weights, as stored in tokens.")
    sample_rate: int
    frame_rate: float
    codebook_sizes: list[int]


class CodecsOut(BaseModel):
    """The codec that this server runs, and all codecs that the installed package supports."""

    serving: CodecOut
    known: list[dict[str, Any]]


class Health(BaseModel):
    """The state of the server."""

    status: str
    workers: int
    file_workers: int


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem} for status in (*statuses, 401, 422, 429, 503)}


_FORMAT = Query(description="Format of the result. Overrides `Accept`.")
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TOKENS_IN = {
    "type": "object",
    "required": ["codes"],
    "properties": {
        "codes": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        },
        "n_samples": {"type": "integer", "minimum": 1},
        "dims_per_token": {"type": "integer", "minimum": 1, "maximum": 20, "default": 7},
        "codec": {"type": "string"},
    },
}
_ENCODE_BODY = {"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}}
_DECODE_BODY = {
    "requestBody": {
        "required": True,
        "content": {SILK_TYPE: _BINARY, JSON_TYPE: {"schema": _TOKENS_IN}},
    }
}


class ApiError(Exception):
    """Raised to send an error response."""

    def __init__(self, status: int, code: str, text: str, retry_s: float | None = None) -> None:
        super().__init__(text)
        self.status, self.code, self.retry_s = status, code, retry_s


def build(service: Service) -> FastAPI:
    """Create the ASGI application of a server. The application starts and stops the workers."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.pool.start()
        try:
            yield
        finally:
            await service.pool.close()

    app = FastAPI(
        title="Silk",
        version=__version__,
        description="A neural speech codec at 47.5 tokens per second. docs/protocol.md describes `/v1/stream`.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.service = service
    app.add_middleware(RequestLog, service=service)
    _add_errors(app, service)
    _add_health(app, service)
    _add_coding(app, service)
    return app


def _add_health(app: FastAPI, service: Service) -> None:
    def health(status: str) -> Health:
        n_streams, n_files = (len(service.pool.workers(role)) for role in ("streams", "files"))
        return Health(status=status, workers=n_streams, file_workers=n_files)

    @app.get("/health/live", tags=["health"])
    async def live() -> Health:
        """Report that the server process is running."""
        return health("live")

    @app.get("/health/ready", tags=["health"], responses={503: {"model": Health}})
    async def ready(response: Response) -> Health:
        """Report whether the server accepts requests."""
        state = "draining" if service.draining.is_set() else "ready" if service.pool.is_ready else "starting"
        response.status_code = 200 if state == "ready" else 503
        return health(state)

    @app.get("/metrics", tags=["health"], dependencies=[Depends(_guard(service))], responses=_problems())
    async def metrics() -> Response:
        """Return the metrics of the server in Prometheus format."""
        text, media_type = service.metrics.text()
        return Response(text, headers={"content-type": media_type})


def _add_coding(app: FastAPI, service: Service) -> None:
    guard = Depends(_guard(service))

    @app.get("/v1/codecs", tags=["codec"], dependencies=[guard], responses=_problems())
    async def codecs() -> CodecsOut:
        """Return the codec that this server runs, and the rates of all codecs that the installed package supports."""
        from silkcodec.spec import SILK_SAMPLE_RATE
        from silkcodec.tokens import codebook_sizes

        serving = CodecOut(
            name="silk",
            codec=service.pool.codec,
            sample_rate=SILK_SAMPLE_RATE,
            frame_rate=SILK_FRAME_RATE,
            codebook_sizes=list(codebook_sizes()),
        )
        known = await asyncio.to_thread(lambda: catalogue.rows(catalogue.measured(), codec.codecs()))
        return CodecsOut(serving=serving, known=known)

    @app.post(
        "/v1/encode",
        tags=["codec"],
        dependencies=[guard],
        openapi_extra=_ENCODE_BODY,
        response_class=Response,
        responses={
            200: {"content": {SILK_TYPE: _BINARY, JSON_TYPE: {"schema": TokensOut.model_json_schema()}}},
            **_problems(400, 408, 413, 415),
        },
    )
    async def encode(
        request: Request,
        format: Annotated[Literal["silk", "json"] | None, _FORMAT] = None,
        dims_per_token: Annotated[
            int, Query(ge=1, le=20, description="Dimensions per token: 7 gives 19 tokens per frame, 1 gives 128.")
        ] = 7,
        entropy: Annotated[bool, Query(description="Apply entropy coding for a smaller .silk file.")] = False,
    ) -> Response:
        """Encode an audio file (WAV, FLAC, OGG, Opus, MP3, AIFF, ...) to tokens. The request body is the file."""
        _refuse_form(request)
        wanted = format or ("json" if JSON_TYPE in request.headers.get("accept", "") else "silk")
        fields = {"given": "audio", "wanted": wanted, "dims_per_token": dims_per_token, "entropy": entropy}
        return await _coded(request, service, fields, JSON_TYPE if wanted == "json" else SILK_TYPE)

    @app.post(
        "/v1/decode",
        tags=["codec"],
        dependencies=[guard],
        openapi_extra=_DECODE_BODY,
        response_class=Response,
        responses={200: {"content": {kind: _BINARY for kind in WAVE_TYPES.values()}}, **_problems(400, 408, 413, 415)},
    )
    async def decode(
        request: Request,
        format: Annotated[Literal["wav", "flac"] | None, _FORMAT] = None,
    ) -> Response:
        """Decode a .silk file, or tokens in JSON, to an audio file (mono, 24 kHz, 16-bit)."""
        _refuse_form(request)
        wanted = format or ("flac" if WAVE_TYPES["flac"] in request.headers.get("accept", "") else "wav")
        given = "json" if JSON_TYPE in request.headers.get("content-type", "") else "silk"
        return await _coded(request, service, {"given": given, "wanted": wanted}, WAVE_TYPES[wanted])

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await sessions.handle(websocket, service)


async def _coded(request: Request, service: Service, fields: dict[str, Any], media_type: str) -> Response:
    """Save the request body to a file, convert it in a worker, and return the result as a response."""
    limits = service.limits
    client = request.client.host if request.client else "-"
    with service.uploads.one(client), uploads.request_folder(service.folder) as folder:
        source, target = folder / "upload", folder / f"result.{fields['wanted']}"
        max_bytes = limits.json_bytes if fields["given"] == "json" else limits.body_bytes
        await uploads.save(request, source, max_bytes, limits.upload_s)
        job = {"source": str(source), "target": str(target), "max_s": limits.duration_s, **fields}
        work = asyncio.create_task(service.pool.run_job(job))
        seconds = await uploads.unless_disconnected(request, work)
        n_bytes, pieces = uploads.open_result(target)
    service.metrics.audio_s.labels("encode" if fields["given"] == "audio" else "decode").inc(seconds)
    return StreamingResponse(pieces(), media_type=media_type, headers={"content-length": str(n_bytes)})


def _refuse_form(request: Request) -> None:
    if "multipart/" in request.headers.get("content-type", ""):
        text = "The body must be the file itself, not a form. With curl, use --data-binary @FILE instead of -F."
        raise ApiError(415, "form", text)


def _guard(service: Service) -> Any:
    """Return a FastAPI dependency that checks the bearer token and the request rate."""
    # The scheme only documents the token in OpenAPI. `admit` checks the token.
    scheme = HTTPBearer(auto_error=False, description="The bearer token of the server.")

    async def guard(request: Request, _: Annotated[Any, Depends(scheme)]) -> None:
        service.admit(request.client.host if request.client else "-", request.headers)
        if service.draining.is_set():
            raise ApiError(503, "draining", "The server is shutting down. Try again later.", 1.0)

    guard.__annotations__.update(_=Annotated[Any, Depends(scheme)], request=Request)
    return guard


def _add_errors(app: FastAPI, service: Service) -> None:
    late = f"Processing took longer than {service.limits.job_s:g} s. Send a shorter file."
    # type of the error -> function that returns the status, error code, message, and seconds until the next try
    responses: dict[type[Exception], Callable[[Any], tuple[int, str, str, float | None]]] = {
        ApiError: lambda error: (error.status, error.code, str(error), error.retry_s),
        access.DeniedError: lambda error: (401, "unauthorized", str(error), None),
        access.RateError: lambda error: (429, "rate", str(error), error.retry_s),
        uploads.BodyError: lambda error: (error.status, error.code, str(error), None),
        RefusedError: lambda error: (STATUS.get(error.code, 400), error.code, str(error), None),
        BusyError: lambda error: (503, "busy", str(error), 2.0),
        TimeoutError: lambda error: (503, "timeout", late, 5.0),
        LostError: lambda error: (500, "worker_lost", f"{error} A second process crashed as well.", None),
        ClientDisconnect: lambda error: (499, "gone", "The client disconnected.", None),  # only for the request log
        RequestValidationError: lambda error: (422, "bad_argument", _first_fault(error), None),
        Exception: lambda error: (500, "internal", "Internal server error.", None),
        HTTPException: lambda error: (error.status_code, "http", f"{error.detail}.", None),
    }

    def register(kind: type[Exception]) -> None:
        @app.exception_handler(kind)
        async def answer(_: Request, error: Exception) -> Response:
            status, code, text, retry_s = responses[kind](error)
            service.metrics.refused.labels(code).inc()
            headers = {"Retry-After": str(max(1, round(retry_s or 5.0)))} if status in (429, 503) else {}
            headers["X-Request-ID"] = logs.request_id.get()  # RequestLog does not see responses with status 500.
            if status == 401:
                headers["WWW-Authenticate"] = "Bearer"
            body = {"error": code, "message": text, "request_id": logs.request_id.get()}
            return JSONResponse(body, status, headers)

    for kind in responses:
        register(kind)


def _first_fault(error: RequestValidationError) -> str:
    first = error.errors()[0]
    return f"'{first['loc'][-1]}': {first['msg']}."
