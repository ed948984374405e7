"""Races on surfaces: paths by arithmetic, what became of them, and the bounds of a question."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optlab.web import schemas
from optlab.web.surfaces import GRID, SURFACES, best_rates, describe_surfaces, race


def walk_of(surface: str, optimizer: str, **question: Any) -> schemas.Walk:
    walks = race(surface, schemas.RaceQuestion(**question)).walks
    return next(walk for walk in walks if walk.optimizer == optimizer)


def test_plain_sgd_on_the_ravine_shrinks_each_coordinate_by_its_own_factor() -> None:
    walk = walk_of("ravine", "sgd_plain", x=-4, y=1.5, lr_multiplier=0.5, num_steps=20)
    assert walk.lr == pytest.approx(best_rates("ravine")["sgd_plain"] / 2)
    # f = (x^2 + 50 y^2) / 2
    steps = np.arange(21)
    expected = np.stack([-4 * (1 - walk.lr) ** steps, 1.5 * (1 - 50 * walk.lr) ** steps], axis=1)
    np.testing.assert_allclose(walk.points, expected, atol=1e-5)


def test_path_ends_at_the_step_at_which_it_diverged() -> None:
    walk = walk_of("ravine", "sgd_plain", x=0, y=1, lr_multiplier=3)
    growth = abs(1 - 50 * walk.lr)
    assert growth > 1
    assert walk.diverged_at == np.ceil(np.log(100) / np.log(growth))
    assert len(walk.points) == walk.diverged_at
    assert walk.arrived_at is None


def test_saddle_is_left_where_y_has_grown_to_the_edge_of_the_window() -> None:
    walk = walk_of("saddle", "sgd_plain", x=-2, y=1e-3)
    assert walk.arrived_at == np.ceil(np.log(2.4 / 1e-3) / np.log(1.05))
    assert walk.diverged_at is None
    held = walk_of("saddle", "sgd_plain", x=-2, y=0)  # on the line that leads into it
    assert (held.arrived_at, held.diverged_at) == (None, None)
    # x is multiplied by 1 - 5 and leaves the window first: up the walls is not down
    assert walk_of("saddle", "sgd_plain", x=-2, y=1e-3, lr_multiplier=100).diverged_at


def test_start_in_the_minimum_has_arrived_and_every_surface_has_a_best_rate_that_arrives() -> None:
    assert walk_of("valley", "adam", x=1, y=1).arrived_at == 0
    for name in ("valley", "ravine"):
        x, y = SURFACES[name].start
        walks = race(name, schemas.RaceQuestion(x=x, y=y, num_steps=500)).walks
        assert any(walk.arrived_at for walk in walks)
        assert not [walk.optimizer for walk in walks if walk.diverged_at]


def test_heights_are_lowest_at_the_minimum() -> None:
    for entry in describe_surfaces().surfaces:
        heights = np.array(entry.heights)
        assert heights.shape == GRID[::-1]
        assert (heights.min(), heights.max()) == (0, 1)
        if entry.minimum:
            row, column = np.unravel_index(heights.argmin(), heights.shape)
            left, right, bottom, top = entry.window
            x = left + (right - left) * column / (GRID[0] - 1)
            y = bottom + (top - bottom) * row / (GRID[1] - 1)
            np.testing.assert_allclose((x, y), entry.minimum, atol=0.06)  # of cells 0.04 to 0.07


def test_api_races_without_a_model_and_refuses_what_is_out_of_bounds(
    client_for: Any, tmp_path: Path
) -> None:
    client = client_for(tmp_path)
    names = [each["name"] for each in client.get("/api/surfaces").json()["surfaces"]]
    assert names == ["valley", "saddle", "ravine"]
    answer = client.get("/api/surfaces/ravine/race?x=1&y=1&momentum=0&num_steps=5").json()
    assert all(len(walk["points"]) == 6 for walk in answer["walks"])
    assert client.get("/api/surfaces/hill/race?x=1&y=1").status_code == 404
    for wrong in ("x=1", "x=nan&y=1", "x=11&y=1", "x=1&y=1&lr_multiplier=101", "x=1&y=1&momentum=1",
                  "x=1&y=1&num_steps=501", "x=1&y=1&rate=1"):  # fmt: skip
        refused = client.get(f"/api/surfaces/ravine/race?{wrong}")
        assert refused.status_code == 422, wrong
        assert refused.json()["detail"]
