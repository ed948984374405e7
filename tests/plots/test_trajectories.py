import numpy as np
import pytest

from optlab.numpy_net.optimizers import SGD, Adam
from optlab.numpy_net.surfaces import ROSENBROCK, SADDLE, follow
from optlab.plots.palette import LineStyle
from optlab.plots.style import new_axes
from optlab.plots.trajectories import StepCurvesDisplay, TrajectoriesDisplay


@pytest.mark.parametrize("surface", [ROSENBROCK, SADDLE], ids=lambda surface: surface.name)
def test_every_path_is_drawn_in_the_surface_s_window(surface):
    paths = {
        "SGD": follow(surface, lambda point: SGD(point, lr=1e-3), 20),
        "Adam": follow(surface, lambda point: Adam(point, lr=0.1), 20),
    }
    style = LineStyle("#123456", (1.0, 2.0), "o")
    display = TrajectoriesDisplay(surface=surface, trajectories=paths, styles={"Adam": style})
    ax = display.plot().ax
    lines = display.artists["lines"]
    assert list(lines) == ["SGD", "Adam"]
    for label, line in lines.items():
        np.testing.assert_array_equal(line.get_xydata(), paths[label].points)
    assert lines["Adam"].get_color() == "#123456"
    assert (*ax.get_xlim(), *ax.get_ylim()) == surface.window
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()) == ("x", "y", 1)
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["SGD", "Adam", "start"] + (["minimum"] if surface.minimum else [])
    title, formula = (text.get_text() for text in display.figure.texts)
    assert (title, formula) == (surface.name, surface.formula)
    display.figure.canvas.draw()  # a formula that mathtext cannot read fails here


def test_path_that_diverged_can_be_drawn():
    path = follow(ROSENBROCK, lambda point: SGD(point, lr=1.0), 20)
    display = TrajectoriesDisplay(surface=ROSENBROCK, trajectories={"SGD": path})
    display.plot().figure.canvas.draw()


def test_step_curves_place_points_and_leave_gaps_at_zero():
    display = StepCurvesDisplay(
        curves={"a": np.array([1.0, 0.0, 0.25]), "b": np.array([2.0, 3.0])},
        ylabel="difference",
        at={"b": np.array([5, 9])},
    )
    ax, lines = display.plot().ax, display.artists["lines"]
    np.testing.assert_array_equal(lines["a"].get_xdata(), [0, 1, 2])
    np.testing.assert_array_equal(lines["a"].get_ydata(), [1.0, np.nan, 0.25])
    np.testing.assert_array_equal(lines["b"].get_xdata(), [5, 9])
    assert ax.get_yscale() == "log"
    assert "step" in ax.get_xlabel()
    assert ax.get_ylabel() == "difference"
    styles = {(line.get_color(), line.get_linestyle()) for line in lines.values()}
    assert len(styles) == 2


@pytest.mark.parametrize(("lowest", "bottom"), [(1e-200, 1e-12), (0.1, pytest.approx(0.09, 0.2))])
def test_floor_cuts_the_axis_only_where_a_curve_goes_below_it(lowest, bottom):
    curves = {"a": np.array([1.0, lowest])}
    display = StepCurvesDisplay(curves=curves, ylabel="f(x, y)", floor=1e-12).plot()
    assert display.ax.get_ylim()[0] == bottom


def test_paths_and_curves_draw_into_the_axes_they_are_given():
    path = follow(SADDLE, lambda point: SGD(point, lr=0.1), 5)
    left, right = new_axes(), new_axes()
    paths = TrajectoriesDisplay(surface=SADDLE, trajectories={"SGD": path}, legend=False)
    assert paths.plot(left).ax is left
    assert left.get_legend() is None
    curves = StepCurvesDisplay(curves={"SGD": path.values}, ylabel="f(x, y)", log=False)
    assert curves.plot(right).ax is right
    assert right.get_yscale() == "linear"
    np.testing.assert_array_equal(curves.artists["lines"]["SGD"].get_ydata(), path.values)
