"""The page: draw a digit, and every optimizer's model answers.

`create_app` makes the server; `scripts/serve.py` starts it.
"""

from optlab.web.app import create_app

__all__ = ["create_app"]
