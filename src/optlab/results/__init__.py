"""From run records to tables, statistics, figures and the report. No torch here.

    study = read_study("outputs/mnist-mlp")
    summary = summarize(study.problems[0])
    make_report("outputs/mnist-mlp")

Figures are in `optlab.results.figures`; matplotlib is imported with them, not with this package.
"""

from optlab.results.groups import Group, Problem
from optlab.results.records import Run, read_run
from optlab.results.report import make_report
from optlab.results.study import Study, read_study
from optlab.results.summary import GroupSummary, ProblemSummary, summarize
from optlab.results.tables import summary_table
from optlab.results.terminal import print_summary

__all__ = [
    "Group",
    "GroupSummary",
    "Problem",
    "ProblemSummary",
    "Run",
    "Study",
    "make_report",
    "print_summary",
    "read_run",
    "read_study",
    "summarize",
    "summary_table",
]
