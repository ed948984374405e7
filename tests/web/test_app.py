"""The API as a client meets it."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_pictures import png, seven
from PIL import Image

from optlab.plots.palette import line_style
from optlab.web.app import STATIC
from optlab.web.middleware import MAX_BODY_BYTES, SECURITY_HEADERS

SCRIPTS = ["curves.js", *(file.name for file in STATIC.glob("*.js"))]
FIVE = ["adagrad", "adam", "adamw", "rmsprop", "sgd"]


def send(client: Any, body: bytes, kind: str = "image/png", query: str = "") -> Any:
    return client.post(f"/api/predict{query}", content=body, headers={"content-type": kind})


def test_health_counts_finished_runs(client: Any) -> None:
    answer = client.get("/api/health").json()
    assert (answer["status"], answer["num_models"]) == ("ok", 5)


def test_models_are_listed_with_what_a_reader_needs(client: Any) -> None:
    listed = client.get("/api/models").json()
    assert listed["default_study"] == "digits-mlp"
    (study,) = listed["studies"]
    assert (study["title"], study["reads"]) == ("Digits, MLP", "drawing")
    assert study["optimizers"] == FIVE
    assert sorted(model["optimizer"] for model in listed["models"]) == FIVE
    for model in listed["models"]:
        assert model["answers_by_default"]
        assert 0.5 < model["test_accuracy"] <= 1
        assert model["lr"] > 0
    assert {name: style["color"] for name, style in listed["styles"].items()} == {
        name: line_style(name).color for name in FIVE
    }


def test_no_answer_contains_the_path_of_the_models(client: Any, trained_outputs: Path) -> None:
    names = client.get("/api/models").json()["models"]
    urls = ["/api/models", "/api/studies/digits-mlp", f"/api/models/{names[0]['id']}"]
    texts = [client.get(url).text for url in urls] + [send(client, png(seven())).text]
    for text in texts:
        assert str(trained_outputs) not in text


def test_model_has_its_curve_and_confusion_matrix(client: Any) -> None:
    model = client.get("/api/models").json()["models"][0]
    detail = client.get(f"/api/models/{model['id']}").json()
    assert detail["curve"]["epochs"] == list(range(1, 21))
    assert np.array(detail["confusion_matrix"]).sum() == 360
    assert detail["run_name"] == model["run_name"]


def test_every_optimizer_answers_with_the_weights_of_a_moment(client: Any) -> None:
    study = client.get("/api/studies/digits-mlp").json()
    assert study["moments"] == [
        {"step": step, "epoch": epoch} for step, epoch in [(0, 0), (23, 1), (460, 20)]
    ]

    def answers(query: str) -> dict[str, Any]:
        said = send(client, png(seven()), query=query).json()
        return {each["optimizer"]: each["models"][0] for each in said["optimizers"]}

    start, between, end = answers("?step=0"), answers("?step=459"), answers("?step=460")
    assert {each["step"] for each in start.values()} == {0}
    first, *others = [each["probabilities"] for each in start.values()]
    assert all(other == first for other in others)  # all began at the same weights
    assert {each["step"] for each in between.values()} == {23}
    # the fixture's checkpoint is the last epoch; snapshots have half precision
    best = answers("")
    for optimizer, each in best.items():
        said = end[optimizer]["probabilities"]
        np.testing.assert_allclose(said, each["probabilities"], atol=0.01)
        assert start[optimizer]["probabilities"] != said


def test_model_has_its_losses_at_the_moments(client: Any) -> None:
    model = client.get("/api/models").json()["models"][0]
    detail = client.get(f"/api/models/{model['id']}").json()
    losses = detail["curve"]["train_loss"]
    assert detail["moments"]["steps"] == [0, 23, 460]
    # of 1, 3 and 47 batches; an epoch has 23, and the fixture gives all of them its mean
    end = (23 * losses[-1] + 23 * losses[-2] + losses[-3]) / 47
    assert detail["moments"]["train_loss"] == pytest.approx([losses[0], losses[1], end])


def test_run_without_snapshots_says_so_and_knows_no_moments(
    make_run: Callable[..., Path], client_for: Any, tmp_path: Path
) -> None:
    make_run(curve=[(1.0, 1.0, 0.5)])
    client = client_for(tmp_path)
    assert client.get("/api/studies/digits-mlp").json()["moments"] == []
    refused = send(client, png(seven()), query="?step=0")
    assert refused.status_code == 404
    assert "callbacks=snapshots" in refused.json()["detail"]


def test_study_has_a_row_and_a_curve_for_each_optimizer(client: Any) -> None:
    study = client.get("/api/studies/digits-mlp").json()
    rows = study["rows"]
    assert sorted(row["optimizer"] for row in rows) == FIVE
    accuracies = [row["val_accuracy"] for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    (sgd,) = [row for row in rows if row["optimizer"] == "sgd"]
    assert (sgd["num_runs"], sgd["num_diverged"], sgd["num_other_runs"]) == (1, 0, 1)
    curves = {curve["title"]: curve["lines"] for curve in study["curves"]}
    assert {line["name"] for line in curves["validation loss"]} == {
        *("Adagrad", "Adam", "AdamW", "RMSprop", "SGD with momentum")
    }
    assert {len(line["y"]) for line in curves["validation loss"]} == {20}


def test_study_counts_failed_runs_and_gives_their_reasons(
    client_for: Any,
    make_run: Callable[..., Path],
    make_failed_run: Callable[..., Path],
    tmp_path: Path,
) -> None:
    make_run(optimizer="sgd")
    for seed in (0, 1):
        make_failed_run(optimizer="muon", seed=seed)
    client = client_for(tmp_path)
    study = client.get("/api/studies/digits-mlp").json()
    rows = study["rows"]
    failures = [
        (row["optimizer"], row["num_runs"], row["num_failed"], row["reasons"]) for row in rows
    ]
    assert failures == [("sgd", 1, 0, []), ("muon", 0, 2, ["ValueError: momentum is 2.0"])]
    listed = client.get("/api/models").json()
    assert listed["unusable"] == []
    assert "muon" in listed["styles"]  # the page draws every row in its optimizer's color
    assert listed["studies"][0]["optimizers"] == ["sgd"]


@pytest.mark.parametrize("url", ["/api/models", "/api/studies/digits-mlp"])
def test_report_is_looked_for_in_a_thread_of_the_pool(
    client: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    monkeypatch.setattr(
        "optlab.web.run_index.Study.report_files",
        lambda _: threads.append(threading.current_thread().name) or {},
    )
    client.get(url)
    assert threads
    assert all(name.startswith("optlab-web") for name in threads)


def test_report_is_shown_in_a_sandbox_with_its_files_and_no_others(client: Any) -> None:
    url = client.get("/api/models").json()["studies"][0]["report_url"]
    assert url == "/api/studies/digits-mlp/report/index.html"
    report = client.get(url)
    assert "The report" in report.text
    assert report.headers["content-type"].startswith("text/html")
    policy = report.headers["content-security-policy"]
    assert policy.startswith("sandbox ")
    assert "allow-same-origin" not in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    folder = "/api/studies/digits-mlp/report"
    assert client.get(f"{folder}/summary.csv").text == "optimizer,test"
    for name in ("nothing.csv", "%2e%2e", "..%2fstudy.json", "%2e%2e%2fstudy.json", ""):
        assert client.get(f"{folder}/{name}").status_code == 404


def test_numbers_and_png_get_the_same_answer(client: Any) -> None:
    picture = seven()
    by_json = client.post("/api/predict", json={"pixels": picture.tolist()}).json()
    by_png = send(client, png(picture)).json()
    del by_json["elapsed_ms"], by_png["elapsed_ms"]
    assert by_json == by_png
    assert by_png["ensemble"]["name"] == "7"


def test_prediction_is_grouped_by_optimizer_with_the_ensemble(client: Any) -> None:
    answer = send(client, png(seven())).json()
    assert [said["optimizer"] for said in answer["optimizers"]] == FIVE
    assert not answer["blank"]
    ensemble = answer["ensemble"]
    assert ensemble["num_models"] == 5
    mean = np.mean([said["probabilities"] for said in answer["optimizers"]], axis=0)
    np.testing.assert_allclose(ensemble["probabilities"], mean)
    agreeing = [said for said in answer["optimizers"] if said["top"] == ensemble["top"]]
    assert ensemble["num_agreeing"] == len(agreeing)
    seen = answer["seen"]
    assert np.array(seen["pixels"]).shape == (seen["channels"], seen["side"], seen["side"])
    assert np.array(seen["pixels"]).max() == 255


def test_a_question_can_be_for_one_optimizer_or_one_model(client: Any) -> None:
    picture = png(seven())
    answer = send(client, picture, query="?optimizer=adam&optimizer=sgd").json()
    assert [said["optimizer"] for said in answer["optimizers"]] == ["adam", "sgd"]
    model = answer["optimizers"][0]["models"][0]
    single = send(client, picture, query=f"?model={model['id']}").json()
    (said,) = single["optimizers"]
    assert said["probabilities"] == model["probabilities"] == single["ensemble"]["probabilities"]


def test_saliency_comes_when_asked_for(client: Any) -> None:
    plain = send(client, png(seven())).json()
    assert plain["ensemble"]["saliency"] is None
    answer = send(client, png(seven()), query="?saliency=true").json()
    for said in [answer["ensemble"], *answer["optimizers"]]:
        levels = np.array(said["saliency"])
        assert levels.shape == (28, 28)
        assert (levels.min() >= 0, levels.max()) == (True, 255)
    assert plain["ensemble"]["top"] == answer["ensemble"]["top"]


def test_blank_canvas_has_no_answer(client: Any) -> None:
    answer = send(client, png(np.full((280, 280), 255, np.uint8))).json()
    assert answer["blank"]
    assert answer["ensemble"] is None
    assert answer["optimizers"] == []


def test_drawn_pictures_of_the_data_set_are_recognized(
    client: Any, embedded_digits: tuple[Any, Any]
) -> None:
    images, labels = embedded_digits
    right = 0
    for image, label in zip(images[1500:1540, 0].numpy(), labels[1500:1540], strict=True):
        large = Image.fromarray((255 - image * 255).astype(np.uint8)).resize((200, 200))
        canvas = Image.new("L", (280, 280), 255)
        canvas.paste(large, (30, 50))
        right += send(client, png(np.asarray(canvas))).json()["ensemble"]["top"] == label
    assert right >= 30


@pytest.mark.parametrize(
    ("query", "status", "named"),
    [
        ("?study=nothing", 404, "'nothing'"),
        ("?study=../digits-mlp", 404, "'../digits-mlp'"),
        ("?optimizer=muon", 404, "'muon'"),
        ("?model=0123456789ab", 404, "'0123456789ab'"),
        ("?model=" + "x" * 150, 404, "'" + "x" * 57 + "...'"),
        ("?study=digits-mlp&model=zz", 404, "'zz'"),
        ("?saliency=perhaps", 422, "saliency: "),
        ("?step=-1", 422, "step: "),
        ("?step=1.5", 422, "step: "),
        ("?optimiser=adam", 422, "optimiser: "),
        ("?study=", 422, "study: "),
        ("?study=" + "x" * 300, 422, "study: "),
        ("?" + "&".join(["model=a"] * 65), 422, "model: "),
        ("?study=%00", 404, r"'\x00'"),
    ],
)
def test_wrong_question_gets_a_sentence(client: Any, query: str, status: int, named: str) -> None:
    answer = send(client, png(seven()), query=query)
    assert answer.status_code == status
    assert named in answer.json()["detail"]
    assert len(answer.text) < 300


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("image/png", b"", 422),
        ("image/png", b"not a png", 422),
        ("image/jpeg", b"\xff\xd8\xff\xe0", 422),
        ("application/json", b"{", 422),
        ("application/json", b'{"pixels": [[NaN]]}', 422),
        ("application/json; charset=utf-8", b'{"pixels": "x"}', 422),
        ("image/gif", b"GIF89a", 422),
        ("image/svg+xml", b"<svg/>", 415),
        ("", b"x", 415),
        ("multipart/form-data; boundary=x", b"--x--", 422),
        ("multipart/form-data; boundary=x", b"junk", 400),
        ("multipart/form-data", b"junk", 400),
        ("image/png", b"\0" * (MAX_BODY_BYTES + 1), 413),
    ],
)
def test_wrong_body_gets_a_sentence_and_the_server_lives_on(
    client: Any, kind: str, body: bytes, status: int
) -> None:
    answer = send(client, body, kind)
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"]
    assert "Traceback" not in answer.text
    assert client.get("/api/health").status_code == 200


def test_too_many_pixels_are_refused(client: Any) -> None:
    answer = send(client, png(np.zeros((2100, 2100), np.uint8)))
    assert answer.status_code == 413
    assert "2100 x 2100 pixels" in answer.json()["detail"]


@pytest.mark.parametrize(
    "url",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%2fetc%2fpasswd",
        "/static/",
        "/api/models/..%2f..%2frecord.json",
        "/api/models/%00",
        "/api/studies/..",
        "/api/studies/%2e%2e/report",
        "/api/studies/..%2f..%2fetc/report",
        "/api/studies/digits-mlp%2freport/report",
        "/docs/",
        "/outputs/digits-mlp/study.json",
    ],
)
def test_paths_lead_nowhere(client: Any, url: str) -> None:
    answer = client.get(url)
    assert answer.status_code == 404
    assert list(answer.json()) == ["detail"]


def test_page_and_its_files_are_served_with_security_headers(client: Any) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    for name in SCRIPTS:
        answer = client.get(f"/static/{name}")
        assert answer.headers["content-type"].startswith("text/javascript")
    assert client.get("/static/page.css").headers["content-type"].startswith("text/css")
    tag = page.headers["etag"]
    assert client.get("/", headers={"if-none-match": tag}).status_code == 304
    for answer in (page, client.get("/nowhere"), client.get("/api/health")):
        for name in SECURITY_HEADERS.keys() - {"cache-control"}:
            assert answer.headers[name] == SECURITY_HEADERS[name]


def test_page_asks_nothing_of_other_hosts_and_has_no_inline_code(client: Any) -> None:
    texts = [client.get("/").text, client.get("/static/page.css").text]
    texts += [client.get(f"/static/{name}").text for name in SCRIPTS]
    for text in texts:
        assert "https://" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert " style=" not in texts[0]
    assert "<style" not in texts[0]
    assert "onclick" not in texts[0]


def test_every_error_that_occurs_is_declared(client: Any) -> None:
    document = client.get("/api/openapi.json").json()
    declared = set(document["paths"]["/api/predict"]["post"]["responses"])
    assert declared == {"200", "400", "404", "408", "413", "415", "422"}
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path


def test_without_a_trained_model_the_command_is_shown(client_for: Any, tmp_path: Path) -> None:
    client = client_for(tmp_path, is_training=lambda: True)
    models = client.get("/api/models").json()
    assert (models["studies"], models["default_study"], models["training"]) == ([], None, True)
    answer = send(client, png(seven()))
    assert answer.status_code == 404
    assert "python train.py -m optimizer=sgd,adam" in answer.json()["detail"]


def test_new_model_answers_without_a_restart(
    client_for: Any, make_run: Callable[..., Path], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("optlab.web.app.RunIndex", _always_looking())
    client = client_for(tmp_path)
    make_run(optimizer="sgd")
    first = send(client, png(seven())).json()
    make_run(optimizer="adam")
    second = send(client, png(seven())).json()
    assert [said["optimizer"] for said in first["optimizers"]] == ["sgd"]
    assert [said["optimizer"] for said in second["optimizers"]] == ["adam", "sgd"]


def _always_looking() -> Any:
    from optlab.web.run_index import RunIndex

    return lambda outputs: RunIndex(outputs, interval_s=0)


def test_more_models_than_one_request_may_ask_are_left_out_and_counted(
    client_for: Any, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    for seed in range(40):
        make_run(optimizer="adam", seed=seed)
    make_run(optimizer="sgd")
    answer = send(client_for(tmp_path), png(seven())).json()
    assert answer["num_left_out"] == 9  # 41 less the 32 of a request
    assert [len(said["models"]) for said in answer["optimizers"]] == [31, 1]


def test_photographs_are_for_color_networks(
    client_for: Any, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()  # noqa: SIM905
    dataset = {
        "name": "cifar10",
        "title": "CIFAR-10",
        "class_names": names,
        "in_channels": 3,
        "image_size": 32,
        "preparation": "center_crop",
        "mean": [0.49, 0.48, 0.45],
        "std": [0.25, 0.24, 0.26],
    }
    make_run(study="cifar10-cnn", dataset=dataset)
    make_run(optimizer="sgd")
    client = client_for(tmp_path)
    listed = client.get("/api/models").json()
    assert listed["default_study"] == "digits-mlp"
    assert {s["name"]: s["reads"] for s in listed["studies"]} == {
        "cifar10-cnn": "picture",
        "digits-mlp": "drawing",
    }
    photograph = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    answer = send(client, png(photograph), query="?study=cifar10-cnn&saliency=true").json()
    assert np.array(answer["seen"]["pixels"]).shape == (3, 32, 32)
    assert answer["ensemble"]["name"] in names


def test_failure_of_the_server_leaves_without_a_trace(
    client_for: Any, trained_outputs: Path, monkeypatch: Any
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret of the server")

    monkeypatch.setattr("optlab.web.question.prepare", fail)
    answer = send(client_for(trained_outputs), png(seven()))
    assert answer.status_code == 500
    assert list(answer.json()) == ["detail"]
    assert "secret" not in answer.text and "RuntimeError" not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_other_hosts_are_turned_away(client_for: Any, trained_outputs: Path) -> None:
    client = client_for(trained_outputs, allowed_hosts={"127.0.0.1"})
    assert client.get("/api/health").status_code == 200
    answer = client.get("/api/health", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "host" in answer.json()["detail"]


def test_outputs_may_vanish_under_a_running_server(
    client_for: Any, make_run: Callable[..., Path], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("optlab.web.app.RunIndex", _always_looking())
    make_run()
    client = client_for(tmp_path)
    assert client.get("/api/health").json()["num_models"] == 1
    for entry in os.scandir(tmp_path):
        shutil.rmtree(entry)
    assert client.get("/api/health").json()["num_models"] == 0
    assert send(client, png(seven())).status_code == 404


def test_form_upload_gets_the_answer_of_the_same_bytes(client: Any) -> None:
    body = png(seven())
    form = client.post("/api/predict", files={"file": ("seven.png", body, "image/png")})
    assert form.json()["ensemble"] == send(client, body).json()["ensemble"]
    for files in ({"picture": ("seven.png", body, "image/png")}, {"file": (None, "7")}):
        refused = client.post("/api/predict", files=files)
        assert refused.status_code in (400, 422)
        assert refused.json()["detail"]
    refused = client.post("/api/predict", files={"file": ("seven.txt", b"7", "text/plain")})
    assert refused.status_code == 415


def test_api_description_loads_nothing_from_other_hosts(client: Any) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http" not in page.text
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/static/{name}" in page.text
        assert len(client.get(f"/static/{name}").content) > 10_000
    assert "'unsafe-inline'" not in page.headers["content-security-policy"].split("style-src")[0]


def test_address_is_listed_with_its_qr_code(client_for: Any, tmp_path: Path) -> None:
    client = client_for(tmp_path, address="http://192.168.1.5:8000", train_command="train")
    listed = client.get("/api/models").json()
    assert (listed["address"], listed["train_command"]) == ("http://192.168.1.5:8000", "train")
    assert client.get("/api/qr.svg").text.startswith("<svg")
    assert client_for(tmp_path).get("/api/qr.svg").status_code == 404
