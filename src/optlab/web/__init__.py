"""Web page: draw a digit, and every optimizer's model classifies it.

`optlab.web.app.create_app` makes the server; `scripts/serve.py` starts it. Nothing is imported
here, so that `optlab.web.optional_deps` can report missing packages.
"""
