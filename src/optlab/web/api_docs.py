"""Serve the interactive API documentation with installed scripts, not from a CDN."""

import re

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from optlab.web.middleware import hash_sources


def swagger_page(app: FastAPI) -> HTMLResponse:
    """Return FastAPI's usual page; it may run its own inline script and no other."""
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=f"{app.title}: API",
        swagger_js_url="/static/swagger-ui-bundle.js",
        swagger_css_url="/static/swagger-ui.css",
        swagger_favicon_url="/static/icon.svg",
    )
    scripts = re.findall(r"<script>(.*?)</script>", bytes(page.body).decode(), re.DOTALL)
    page.headers["content-security-policy"] = (
        f"default-src 'none'; script-src 'self' {hash_sources(scripts)}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return page
