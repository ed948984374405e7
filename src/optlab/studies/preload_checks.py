# ruff: noqa: F401
"""Imports of the fork server for plan=true: only what checks configs."""

from optlab.studies.fork_server import server_imports

with server_imports():
    import optlab.training.build  # Lightning
    import optlab.training.validate
