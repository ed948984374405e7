"""The report of a study: one page, every picture as PNG, every table as CSV, a terminal table."""

from optlab.report.report import make_report
from optlab.report.terminal import print_summary

__all__ = ["make_report", "print_summary"]
