"""The live race with stand-ins for its runs: scripts that write reports."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from waiting import wait_for

from optlab.web.live_race import LiveRaces, RaceUnderWay

PIXELS = np.full((1, 28, 28), 7, np.uint8)
REPORT = {"step": 5, "val_accuracy": 0.5, "probabilities": [0.1] * 10}
WRITES = f"""
import json, pathlib, sys, time
folder, name, until = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with (folder / f"{{name}}.jsonl").open("a") as file:
    file.write(json.dumps({REPORT}) + "\\n" + '{{"step": 10')
while until == "ever" and not (folder / "go").exists():
    time.sleep(0.01)
sys.exit("no luck" if until == "fails" else 0)
"""

Commands = Callable[[Path], Mapping[str, list[str]]]


def runs(**until: str) -> Commands:
    return lambda folder: {
        name: [sys.executable, "-c", WRITES, str(folder), name, end] for name, end in until.items()
    }


@pytest.fixture
def races() -> Iterator[Callable[..., LiveRaces]]:
    made = []

    def make(**until: str) -> LiveRaces:
        made.append(LiveRaces(runs(**until)))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_whole_reports_are_read_once_and_the_drawing_can_change(races: Any) -> None:
    live = races(adam="ever", sgd="ever")
    assert live.start(PIXELS) == ["adam", "sgd"]
    np.testing.assert_array_equal(np.load(live.race.path / "drawing.npy"), PIXELS)
    seen: dict[str, int] = {}
    reports: list[Any] = []

    def has_both() -> bool:
        reports.extend(live.race.reports(seen))
        return len(reports) == 2

    wait_for(has_both)
    assert {each.optimizer for each in reports} == {"adam", "sgd"}
    assert reports[0].model_dump(exclude={"optimizer"}) == REPORT
    assert list(live.race.reports(seen)) == []  # half a line is none
    live.draw(PIXELS + 1)
    assert np.load(live.race.path / "drawing.npy").min() == 8
    live.draw(None)
    assert not (live.race.path / "drawing.npy").exists()


def test_one_race_at_a_time_which_ends_with_the_server(races: Any) -> None:
    live = races(adam="ever")
    live.start(None)
    with pytest.raises(RaceUnderWay):
        live.start(None)
    race = live.race
    live.stop()
    assert not race.is_running
    assert not race.path.exists()
    live.start(None)  # another one
    assert live.race.is_running


def test_runs_end_when_another_one_cannot_start() -> None:
    children = psutil.Process().children
    before = children()
    live = LiveRaces(lambda folder: {**runs(adam="ever")(folder), "sgd": [str(folder / "none")]})
    with pytest.raises(FileNotFoundError):
        live.start(None)
    assert children() == before
    assert live.race is None


def test_api_streams_reports_until_the_end_and_names_failed_runs(
    client_for: Any, tmp_path: Path
) -> None:
    client = client_for(tmp_path, race_commands=runs(adam="ends", sgd="fails"))
    assert client.get("/api/models").json()["can_race"]
    assert client.get("/api/race/events").status_code == 404
    started = client.post("/api/race", json={"pixels": [[255, 0], [0, 255]]})
    assert started.status_code == 202
    assert started.json()["styles"]["adam"]["title"] == "Adam"
    stream = client.get("/api/race/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    *reports, end = stream.text.strip().split("\n\n")
    data = [json.loads(each.removeprefix("data: ")) for each in reports]
    assert sorted(each["optimizer"] for each in data) == ["adam", "sgd"]
    assert end == 'event: end\ndata: ["sgd"]'
    paths = client.get("/api/openapi.json").json()["paths"]
    content = paths["/api/race/events"]["get"]["responses"]["200"]["content"]
    event = content["text/event-stream"]["schema"]  # of one event, as its parsers give it
    assert (event["type"], event["required"]) == ("object", ["data"])


def test_api_refuses_what_is_no_picture_and_a_second_race_and_ends_the_runs_with_the_server(
    client_for: Any, tmp_path: Path
) -> None:
    app = client_for(tmp_path, race_commands=runs(adam="ever", sgd="ever")).app
    picture = {"pixels": [[255, 0], [0, 255]]}
    children = psutil.Process().children
    before = children()

    async def while_the_server_runs() -> None:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
        ):
            # what a form of another site could send
            for kind in ("text/plain", "multipart/form-data; boundary=x"):
                headers = {"content-type": kind}
                refused = await client.post("/api/race", content=b"x", headers=headers)
                assert refused.status_code == 415
            drawn = await client.put("/api/race/drawing", json=picture)  # there is no race
            assert (drawn.status_code, children()) == (204, before)
            assert (await client.post("/api/race", json=picture)).status_code == 202
            assert (await client.post("/api/race", json=picture)).status_code == 409
            assert (await client.put("/api/race/drawing", json=picture)).status_code == 204
            assert len(children()) == len(before) + 2

    asyncio.run(while_the_server_runs())
    assert children() == before


def test_stream_ends_when_the_server_stops(client_for: Any, tmp_path: Path) -> None:
    client = client_for(tmp_path, race_commands=runs(adam="ends"), is_stopping=lambda: True)
    client.post("/api/race", json={"pixels": [[255, 0], [0, 255]]})
    assert client.get("/api/race/events").text == ""


def test_server_without_a_race_offers_none(client_for: Any, tmp_path: Path) -> None:
    client = client_for(tmp_path)
    assert not client.get("/api/models").json()["can_race"]
    assert client.post("/api/race", json={"pixels": [[255, 0], [0, 255]]}).status_code in (404, 405)
