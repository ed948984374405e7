# ruff: noqa: F401
"""Modules that the fork server imports for plan=true: only those that validate configs."""

from optlab.studies.fork_server import server_imports

with server_imports():
    import optlab.training.build  # Lightning
    import optlab.training.validate
