"""The interactive description of the API, with scripts that are installed and not loaded."""

import base64
import hashlib
import re
from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css")


def swagger_files() -> dict[str, bytes]:
    """Return Swagger UI's files by name."""
    folder = files("fastapi_offline") / "static"
    return {name: (folder / name).read_bytes() for name in ASSETS}


def swagger_page(app: FastAPI) -> HTMLResponse:
    """Return FastAPI's usual page; it may run its own inline script and no other."""
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=f"{app.title}: API",
        swagger_js_url=f"/static/{ASSETS[0]}",
        swagger_css_url=f"/static/{ASSETS[1]}",
        swagger_favicon_url="/static/icon.svg",
    )
    scripts = re.findall(rb"<script>(.*?)</script>", bytes(page.body), re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    page.headers["content-security-policy"] = (
        f"default-src 'none'; script-src 'self' {allowed}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return page
