"""Pictures of runs and studies, one Display class each, as scikit-learn has them.

A Display holds arrays; `plot(ax=None)` draws them and returns the Display. `display.ax`,
`display.figure` and `display.artists` hold what was drawn.

    from optlab.plots.curves import LossCurvesDisplay

    display = LossCurvesDisplay.from_configurations(workload.configurations).plot()
    display.save("loss.png")

Colors and line styles are in `palette`, type and axes in `style`. `palette` needs no matplotlib.
"""
