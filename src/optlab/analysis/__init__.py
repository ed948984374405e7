"""Group run records, rank them, test differences, conclude. No torch, no plotting.

    study = read_study("outputs/mnist-mlp")
    summary = summarize(study.workloads[0])
    summary_table([summary])

Pictures are in `optlab.plots`, the report and the terminal table in `optlab.report`.
"""

from optlab.analysis.records import Run, read_run
from optlab.analysis.study import Study, read_study
from optlab.analysis.summary import ConfigurationSummary, WorkloadSummary, summarize
from optlab.analysis.tables import summary_table
from optlab.analysis.workloads import Configuration, Workload

__all__ = [
    "Configuration",
    "ConfigurationSummary",
    "Run",
    "Study",
    "Workload",
    "WorkloadSummary",
    "read_run",
    "read_study",
    "summarize",
    "summary_table",
]
