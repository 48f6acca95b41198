"""The Pareto front of several settings: what one costs and brings."""

import operator

# A distance and what is gained for it, for the curve; the first pair that was
# measured is drawn.
_TRADE_OFFS = (
    ("kernel_distance", "r_precision"),
    ("frechet_distance", "clip_score"),
)


def trade_off(rows):
    """Names of the two scores to hold against each other, or `None`."""
    for names in _TRADE_OFFS:
        if all(name in row for row in rows for name in names):
            return names
    return None


def mark_front(rows):
    """Adds `"on_front"`: whether no other setting is better in both scores."""
    names = trade_off(rows)
    if len(rows) < 2 or names is None:
        return
    points = [(-row[names[0]], row[names[1]]) for row in rows]
    for row, point in zip(rows, points, strict=True):
        row["on_front"] = not any(
            other != point and all(map(operator.ge, other, point))
            for other in points
        )


def draw_front(rows, path):
    """Draws the settings as points, and their front as a line."""
    from matplotlib.figure import Figure

    distance, gain = trade_off(rows)
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for split in dict.fromkeys(row["split"] for row in rows):
        points = [row for row in rows if row["split"] == split]
        drawn = axes.scatter(
            [row[gain] for row in points],
            [row[distance] for row in points],
            label=split,
        )
        front = sorted(
            (row[gain], row[distance]) for row in points if row.get("on_front")
        )
        if front:
            axes.plot(*zip(*front, strict=True), color=drawn.get_facecolor()[0])
        for row in points:
            axes.annotate(
                f" {row['guidance_scale']:g} / {row['num_steps']}",
                (row[gain], row[distance]),
                fontsize="x-small",
            )
    axes.set_xlabel(f"{gain} (more is better); labels: guidance / steps")
    axes.set_ylabel(f"{distance} (less is better)")
    axes.legend()
    figure.savefig(path, dpi=150)
