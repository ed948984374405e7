"""The page: draw a digit, and every optimizer's model answers.

`optlab.web.app.create_app` makes the server; `scripts/serve.py` starts it. Nothing is imported
here, so that `optlab.web.optional_deps` can tell of what is not installed.
"""
