from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

from optlab.numpy_net.figures import CurvesFigure, TrajectoryFigure
from optlab.numpy_net.optimizers import SGD, Adam
from optlab.numpy_net.test_functions import ROSENBROCK, SADDLE, SURFACES, follow

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
def test_trajectory_figure_draws_every_path_in_the_surface_s_window(surface):
    paths = {
        "SGD": follow(surface, lambda point: SGD(point, lr=1e-3), 20),
        "Adam": follow(surface, lambda point: Adam(point, lr=0.1), 20),
    }
    figure = TrajectoryFigure(
        surface, paths, styles={"Adam": SimpleNamespace(color="#123456", linestyle=":")}
    )
    ax = figure.plot()
    assert figure.ax is ax
    assert list(figure.lines) == ["SGD", "Adam"]
    for label, line in figure.lines.items():
        np.testing.assert_array_equal(line.get_xydata(), paths[label].points)
    adam = figure.lines["Adam"]
    assert (adam.get_color(), adam.get_linestyle()) == ("#123456", ":")
    assert (*ax.get_xlim(), *ax.get_ylim()) == surface.window
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "y")
    assert surface.name in ax.get_title()
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["SGD", "Adam", "start"] + (["minimum"] if surface.minimum else [])
    ax.figure.canvas.draw()  # a formula that mathtext cannot read fails here


def test_trajectory_figure_draws_a_path_that_diverged():
    path = follow(ROSENBROCK, lambda point: SGD(point, lr=1.0), 20)
    TrajectoryFigure(ROSENBROCK, {"SGD": path}).plot().figure.canvas.draw()


def test_curves_figure_places_points_and_leaves_gaps_at_zero():
    figure = CurvesFigure(
        {"a": np.array([1.0, 0.0, 0.25]), "b": np.array([2.0, 3.0])},
        ylabel="difference",
        at={"b": np.array([5, 9])},
    )
    ax = figure.plot()
    np.testing.assert_array_equal(figure.lines["a"].get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(figure.lines["a"].get_ydata(), [1.0, np.nan, 0.25])
    np.testing.assert_array_equal(figure.lines["b"].get_xdata(), [5, 9])
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("optimizer step", "difference")
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.lines.values()}
    assert len(styles) == 2


def test_floor_cuts_the_axis_only_where_a_curve_goes_below_it():
    deep = CurvesFigure({"a": np.array([1.0, 1e-200])}, ylabel="f(x, y)", floor=1e-12).plot()
    assert deep.get_ylim()[0] == 1e-12
    shallow = CurvesFigure({"a": np.array([1.0, 0.1])}, ylabel="f(x, y)", floor=1e-12).plot()
    assert 0.01 < shallow.get_ylim()[0] < 0.1


def test_trajectory_figure_keeps_angles_and_can_go_without_legend():
    path = follow(SADDLE, lambda point: SGD(point, lr=0.1), 5)
    ax = TrajectoryFigure(SADDLE, {"SGD": path}, legend=False).plot()
    assert ax.get_aspect() == 1 and ax.get_legend() is None


def test_figures_draw_into_the_axes_they_are_given():
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, 2)
    path = follow(SADDLE, lambda point: SGD(point, lr=0.1), 5)
    assert TrajectoryFigure(SADDLE, {"SGD": path}).plot(axes[0]) is axes[0]
    curves = CurvesFigure({"SGD": path.values}, ylabel="f(x, y)", log=False)
    assert curves.plot(axes[1]) is axes[1]
    assert axes[1].get_yscale() == "linear"
    np.testing.assert_array_equal(curves.lines["SGD"].get_ydata(), path.values)
