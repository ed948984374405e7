"""FastAPI application of the web page, on top of the run index and the models.

Disk access and inference run in a small thread pool, so they do not block the event loop. Each of
its threads runs torch on one core, because small networks are slower with several threads.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import torch
from fastapi import FastAPI, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.datastructures import UploadFile as FormFile
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from optlab import __version__
from optlab.data.preprocessing import prepare
from optlab.plots import interactive
from optlab.web import inference, schemas, summary, surfaces
from optlab.web.api_docs import swagger_page
from optlab.web.gallery import describe_gallery
from optlab.web.live_race import Commands, LiveRaces, RaceUnderWay
from optlab.web.look_inside import answer_feature_maps, answer_morph
from optlab.web.middleware import SECURITY_HEADERS, SecurityMiddleware, hash_sources
from optlab.web.novelty import References
from optlab.web.pictures import CONTENT_TYPES, Drawing, PictureTooLarge, UnreadablePicture
from optlab.web.prediction import answer_question
from optlab.web.qr_code import qr_svg
from optlab.web.question import UnsupportedType, Upload, read_picture
from optlab.web.run_index import RunIndex
from optlab.web.selection import NotFound, find_model, find_study, short

STATIC = Path(__file__).parent / "static"

# The report is one self-contained file. Only OptLab's two scripts run in it. The sandbox has no
# origin, so other content of its folder cannot access the page or the API.
REPORT_POLICY = (
    "sandbox allow-popups allow-downloads allow-scripts; default-src 'none'; "
    f"script-src {hash_sources(interactive.scripts())}; img-src data:; "
    "style-src 'unsafe-inline'; font-src data:; frame-ancestors 'none'"
)

RACE_POLL_SECONDS = 0.2

T = TypeVar("T")


def create_app(
    outputs: Path = Path("outputs"),
    *,
    allowed_hosts: Collection[str] | None = None,
    address: str | None = None,
    train_command: str | None = None,
    is_training: Callable[[], bool] = lambda: False,
    race_commands: Commands | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """Return the application that answers for all finished runs under `outputs`.

    Args:
        outputs: the folder of studies; may be missing or empty, and may fill up later.
        allowed_hosts: Host names to answer to, None for any.
        address: where other computers find the page; it is shown as a QR code.
        train_command: what the page without a model offers to copy; None offers nothing.
        is_training: whether models are being trained on this server's behalf right now.
        race_commands: the processes of a live race; None offers none.
        is_stopping: whether the server waits for open answers to end, as that of a live race.
    """
    run_index = RunIndex(outputs)
    store = inference.Networks()
    races = LiveRaces(race_commands) if race_commands else None
    references = References(store)
    pool = ThreadPoolExecutor(
        min(4, os.cpu_count() or 1),
        thread_name_prefix="optlab-web",
        initializer=lambda: torch.set_num_threads(1),
    )

    async def in_thread(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        call = partial(function, *arguments, **options)
        return await asyncio.get_running_loop().run_in_executor(pool, call)

    one_look = asyncio.Semaphore(1)

    async def in_turn(function: Callable[..., T], *arguments: Any) -> T:
        """Run slow requests one at a time, so that other answers stay fast."""
        async with one_look:
            return await in_thread(function, *arguments)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        warming = asyncio.ensure_future(in_thread(_load_default, run_index, store, references))
        yield
        warming.cancel()
        if races is not None:
            await asyncio.to_thread(races.stop)
        pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="OptLab",
        version=__version__,
        description="Ask every optimizer's model what a picture shows.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        responses=_problems({400: "Not a proper request", 422: "Something in it is wrong"}),
    )
    app.add_middleware(SecurityMiddleware, allowed_hosts=allowed_hosts)
    _explain_errors(app)
    _serve_static(app)

    @app.get("/api/health", tags=["server"])
    async def health() -> schemas.Health:
        """Whether the server is up, and how many models it could ask."""
        table = await in_thread(run_index.table)
        return schemas.Health(status="ok", version=app.version, num_models=len(table.models))

    @app.get("/api/models", tags=["models"])
    async def models() -> schemas.Models:
        """List all studies and finished runs, including those that finished since the start."""
        table = await in_thread(run_index.table)
        return await in_thread(
            summary.describe,
            table,
            store,
            training=is_training(),
            train_command=train_command,
            can_race=races is not None,
            address=address,
        )

    @app.get("/api/models/{model_id}", tags=["models"], responses=_missing("model"))
    async def model(model_id: str) -> schemas.ModelDetail:
        """One run with its curve and its confusion matrix."""
        table = await in_thread(run_index.table)
        return await in_thread(summary.describe_model, *find_model(table, model_id), store)

    @app.get("/api/studies/{study_name}", tags=["studies"], responses=_missing("study"))
    async def study(study_name: str) -> schemas.StudyDetail:
        """One study at a glance: a row and a curve for each optimizer."""
        table = await in_thread(run_index.table)
        return await in_thread(summary.describe_study, find_study(table, study_name))

    @app.get("/api/studies/{study_name}/gallery", tags=["studies"], responses=_missing("study"))
    async def gallery(study_name: str) -> schemas.Gallery:
        """Test images that only one optimizer gets wrong, or right."""
        table = await in_thread(run_index.table)
        return await in_thread(describe_gallery, find_study(table, study_name))

    @app.get(
        "/api/studies/{study_name}/report/{file_name}",
        tags=["studies"],
        response_class=Response,
        responses={
            200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
            **_missing("study or file"),
        },
    )
    async def report(study_name: str, file_name: str) -> Response:
        """A file of the study's report; index.html is the report itself."""
        table = await in_thread(run_index.table)
        files = await in_thread(find_study(table, study_name).report_files)
        if file_name not in files:  # no part of a path comes from a client
            raise NotFound(f"The report of this study has no file {short(file_name)}.")
        return FileResponse(files[file_name], headers={"content-security-policy": REPORT_POLICY})

    @app.get("/api/surfaces", tags=["surfaces"])
    async def surface_list() -> schemas.Surfaces:
        """The surfaces of two numbers on which the optimizers race."""
        return await in_thread(surfaces.describe_surfaces)

    @app.get("/api/surfaces/{surface_name}/race", tags=["surfaces"], responses=_missing("surface"))
    async def race(
        surface_name: str, question: Annotated[schemas.RaceQuestion, Query()]
    ) -> schemas.Race:
        """The paths of the optimizers from one point, step by step, with exact gradients."""
        return await in_thread(surfaces.race, surface_name, question)

    if races is not None:
        _serve_races(app, races, in_thread, is_stopping)

    if address is not None:

        @app.get("/api/qr.svg", tags=["server"], response_class=Response)
        async def qr_code() -> Response:
            """The address of the page as a QR code."""
            return Response(qr_svg(address), media_type="image/svg+xml")

    @app.post(
        "/api/predict",
        tags=["models"],
        openapi_extra={"requestBody": _PICTURE_BODY},
        responses=_missing("study, optimizer or model") | _PICTURE_PROBLEMS,
    )
    async def predict(
        request: Request, question: Annotated[schemas.Question, Query()]
    ) -> schemas.Prediction:
        """What the models see in a picture.

        Send numbers as JSON, the bytes of an image, or a form with an image as its field `file`.
        Preprocessing happens here.
        """
        upload = await _picture_of(request)
        run = in_turn if question.occlusion else in_thread
        return await run(answer_question, run_index, store, references, question, upload)

    @app.post(
        "/api/morph",
        tags=["models"],
        responses=_missing("study, optimizer or model") | _PICTURE_PROBLEMS,
    )
    async def morph(
        file: UploadFile, target: UploadFile, question: Annotated[schemas.MorphQuestion, Query()]
    ) -> schemas.Morph:
        """What the models see on the way from one picture to another.

        Both images are prepared, then mixed pixel by pixel. Each model answers all mixtures in one
        forward pass.
        """
        start, end = await _upload_of(file), await _upload_of(target)
        return await in_turn(answer_morph, run_index, store, question, start, end)

    @app.post(
        "/api/models/{model_id}/feature_maps",
        tags=["models"],
        openapi_extra={"requestBody": _PICTURE_BODY},
        responses=_missing("model") | _PICTURE_PROBLEMS,
    )
    async def maps(
        request: Request, model_id: str, step: Annotated[schemas.Step, Query()] = None
    ) -> schemas.FeatureMaps:
        """The output of the first layers of one model, for a picture as in `/api/predict`."""
        upload = await _picture_of(request)
        return await in_turn(answer_feature_maps, run_index, store, model_id, step, upload)

    return app


def _serve_races(
    app: FastAPI, races: LiveRaces, in_thread: Callable[..., Any], is_stopping: Callable[[], bool]
) -> None:
    """Serve the live race. It starts with a picture, which a page of another site cannot send."""

    def read_pixels(upload: Upload) -> np.ndarray | None:
        picture = read_picture(upload)
        prepared = prepare(picture, preparation="digits", in_channels=1, image_size=28)
        return None if prepared.blank else prepared.pixels

    # No form, which a page of another site can send
    body = {"requestBody": {"required": True, "content": _PICTURE_TYPES}}

    @app.post(
        "/api/race",
        tags=["race"],
        status_code=202,
        openapi_extra=body,
        responses=_PICTURE_PROBLEMS | _problems({409: "A race is under way"}),
    )
    async def start(request: Request) -> schemas.LiveRaceStart:
        """Start a race: five runs train now, and their reports classify the picture."""
        pixels = await in_thread(read_pixels, await _body_of(request))
        optimizers = await in_thread(races.start, pixels)
        styles = {name: summary.style(name) for name in optimizers}
        return schemas.LiveRaceStart(optimizers=optimizers, styles=styles)

    @app.put(
        "/api/race/drawing",
        tags=["race"],
        status_code=204,
        openapi_extra=body,
        responses=_PICTURE_PROBLEMS,
    )
    async def draw(request: Request) -> None:
        """Let the next reports classify another picture."""
        pixels = await in_thread(read_pixels, await _body_of(request))
        await in_thread(races.draw, pixels)

    @app.get(
        "/api/race/events",
        tags=["race"],
        response_class=Response,
        responses={
            200: {"content": {"text/event-stream": {"schema": _RACE_EVENT}}},
            **_missing("race"),
        },
    )
    async def events() -> StreamingResponse:
        """Reports of the newest race from its start, as server-sent events; `end` is the last.

        The data of `end` are the names of the optimizers whose run failed.
        """
        race = races.race
        if race is None:
            raise NotFound("No race has been started.")

        async def stream() -> AsyncIterator[str]:
            seen: dict[str, int] = {}
            while not is_stopping():
                is_running = race.is_running  # read first, so that the last reports are not missed
                for report in await in_thread(lambda: list(race.reports(seen))):
                    yield f"data: {report.model_dump_json()}\n\n"
                if not is_running:
                    yield f"event: end\ndata: {json.dumps(await in_thread(race.failed))}\n\n"
                    return
                await asyncio.sleep(RACE_POLL_SECONDS)

        return StreamingResponse(stream(), media_type="text/event-stream")


_RACE_EVENT: dict[str, Any] = {  # of each event: before OpenAPI 3.2 there is no itemSchema
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["message", "end"], "default": "message"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "a RaceReport, or at the end the names of the optimizers that failed",
        },
    },
    "required": ["data"],
}
_FILE = {"type": "string", "format": "binary"}
_PICTURE_TYPES: dict[str, Any] = {
    "application/json": {"schema": Drawing.model_json_schema()},
    **{kind: {"schema": _FILE} for kind in CONTENT_TYPES},
}
_FORM = {"type": "object", "properties": {"file": _FILE}, "required": ["file"]}
_PICTURE_BODY = {
    "required": True,
    "content": _PICTURE_TYPES | {"multipart/form-data": {"schema": _FORM}},
}


async def _picture_of(request: Request) -> Upload:
    """Return the body, or the file of a form.

    Raises:
        UnreadablePicture: the form has no field `file` with a file.
    """
    if _media_type(request.headers.get("content-type")) != "multipart/form-data":
        return await _body_of(request)
    async with request.form(max_files=1, max_fields=0) as form:
        if isinstance(file := form.get("file"), FormFile):
            return await _upload_of(file)
    raise UnreadablePicture("The form has no file called `file`.")


async def _body_of(request: Request) -> Upload:
    return Upload(_media_type(request.headers.get("content-type")), await request.body())


async def _upload_of(file: FormFile) -> Upload:
    return Upload(_media_type(file.content_type), await file.read())


def _media_type(content_type: str | None) -> str:
    return (content_type or "").split(";")[0].strip().lower()


def _problems(descriptions: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Declare the errors of an address by their status."""
    return {
        status: {"model": schemas.Problem, "description": text}
        for status, text in descriptions.items()
    }


def _missing(what: str) -> dict[int | str, dict[str, Any]]:
    return _problems({404: f"No such {what}"})


_PICTURE_PROBLEMS = _problems(
    {
        408: "The body took too long",
        413: "Too many bytes or pixels",
        415: "Neither JSON nor an image that is read",
    }
)


def _load_default(run_index: RunIndex, store: inference.Networks, references: References) -> None:
    """Load the models that answer by default, so that the first drawing is answered at once."""
    study = run_index.table().default_study()
    if study is None:
        return
    for models in study.answering.values():
        for model in models:
            store.get(model)
    references.get(study)


def _explain_errors(app: FastAPI) -> None:
    """Answer every error with `{"detail": sentence}`, without details of the server."""

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"][1:])
        return JSONResponse({"detail": f"{where}: {problem['msg']}."}, 422)

    @app.exception_handler(HTTPException)
    async def explain(_: Request, error: HTTPException) -> JSONResponse:
        detail = {404: "There is nothing here.", 405: "This address does not take that method."}
        sentence = detail.get(error.status_code, error.detail)
        return JSONResponse({"detail": sentence}, error.status_code, error.headers)

    statuses: dict[type[Exception], int] = {
        NotFound: 404,
        RaceUnderWay: 409,
        PictureTooLarge: 413,
        UnsupportedType: 415,
        UnreadablePicture: 422,
    }
    for kind, status in statuses.items():

        @app.exception_handler(kind)
        async def say(_: Request, error: Exception, status: int = status) -> JSONResponse:
            return JSONResponse({"detail": str(error)}, status)

    @app.exception_handler(Exception)  # outside all middleware, so the headers come here
    async def on_server_error(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse(
            {"detail": "The server failed; see its log for the reason."}, 500, SECURITY_HEADERS
        )


class _Static(StaticFiles):
    """Static files that a browser revalidates before each use."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def _serve_static(app: FastAPI) -> None:
    """Serve the page's own files and those of the description of the API."""
    static = _Static(
        directory=STATIC, packages=[("optlab.plots", "static"), ("fastapi_offline", "static")]
    )
    app.mount("/static", static)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        return await static.get_response("index.html", request.scope)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return swagger_page(app)
