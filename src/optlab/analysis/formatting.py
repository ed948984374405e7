"""Format numbers for tables: fractions as percent, seconds with their unit, missed targets."""

import math

from optlab.analysis.statistics import Estimate

NOTHING = "-"  # a value that does not exist
MINUS = "\N{MINUS SIGN}"
MOST_NAMED = 5  # names in one sentence


def percent(fraction: float | None) -> str:
    """0.9783 as 97.83; the unit is in the column's heading."""
    return NOTHING if fraction is None else f"{100 * fraction:.2f}"


def percent_estimate(estimate: Estimate | None) -> str:
    """Mean and half of the 95 % interval: 97.83 ± 0.12.

    Where the interval is cut at 0 or 100, both ends: 99.83 (99.41 to 100.00).
    """
    if estimate is None:
        return NOTHING
    mean, low, high = estimate.mean, estimate.low, estimate.high
    if low is None or high is None:
        return percent(mean)
    if math.isclose(high - mean, mean - low, rel_tol=1e-6, abs_tol=1e-9):
        return f"{percent(mean)} ± {100 * (high - low) / 2:.2f}"
    return f"{percent(mean)} ({percent(low)} to {percent(high)})"


def share(fraction: float | None) -> str:
    """A part of a whole: 12 %, or 0.4 %."""
    return NOTHING if fraction is None else f"{100 * fraction:.2g} %"


def points(fraction: float | None) -> str:
    """A difference of accuracies in percentage points, always signed: +0.12, or 0.00 for none.

    An interval that just leaves out 0 ends at -0.00.
    """
    if fraction is None:
        return NOTHING
    return f"{100 * fraction:+.2f}".replace("-", MINUS) if abs(fraction) > 1e-9 else "0.00"


def seconds(value: float | None) -> str:
    """12.3 s, 3 min 20 s, 2 h 5 min; `missed` for a target that was never reached."""
    if value is None or not math.isfinite(value):
        return _not_finite(value)
    if value < 100:
        return f"{value:.1f} s" if value >= 1 else f"{value:.2g} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(value: float | None) -> str:
    """A count or a median of counts, with thousands separated: 9,380."""
    if value is None or not math.isfinite(value):
        return _not_finite(value)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def size(num_bytes: float | None) -> str:
    """Bytes as 512 B, 1.9 MB or 4.1 GB, of 1,000 each as disks have them."""
    if num_bytes is None:
        return NOTHING
    for unit in ("B", "kB", "MB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} GB"


def _not_finite(value: float | None) -> str:
    return NOTHING if value is None or math.isnan(value) else "missed"


def joined(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def join_first(names: list[str]) -> str:
    """The names, as many as a sentence holds: `a, b, c, d, e and 3 more`."""
    rest = len(names) - MOST_NAMED
    return joined([*names[:MOST_NAMED], f"{rest} more"] if rest > 0 else names)
