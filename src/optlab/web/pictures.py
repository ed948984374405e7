"""Read the bytes of a request as pixels; reject images that are too large or unreadable.

Sizes are read from the header and checked before a single pixel is decoded.
"""

import base64
import io
import logging
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from optlab.data.pictures import FORMATS, apply_orientation

log = logging.getLogger(__name__)

MAX_IMAGE_PIXELS = 4 * 1024 * 1024  # a decoded color image of this size takes 12 MiB
MAX_SIDE = 4096  # of an uploaded image
MAX_JSON_SIDE = 1024  # of pixels sent as numbers
CONTENT_TYPES = [f"image/{name.lower()}" for name in FORMATS]

_Level = Annotated[float, Field(ge=0, le=255, allow_inf_nan=False, strict=True)]
_Row = Annotated[list[_Level], Field(min_length=1, max_length=MAX_JSON_SIDE), FailFast()]


class Drawing(BaseModel):
    """A gray picture as numbers."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"pixels": [[255, 0], [255, 0]]}]}
    )

    pixels: Annotated[list[_Row], Field(min_length=1, max_length=MAX_JSON_SIDE), FailFast()] = (
        Field(
            description="Rows from top to bottom, all of one length (others are refused), "
            "0 (black) to 255 (white). Dark ink on light paper or light on dark, "
            "any size: preprocessing happens here."
        )
    )


class UnreadablePicture(ValueError):
    """Bytes that are not the picture they should be; the message is a sentence for the sender."""


class PictureTooLarge(ValueError):
    """The picture has more pixels than the server decodes."""


def picture_from_json(body: bytes) -> np.ndarray:
    """Return (height, width) float32 from `{"pixels": [[...], ...]}`.

    Raises:
        UnreadablePicture: what is wrong, as a sentence.
    """
    try:
        rows = Drawing.model_validate_json(body).pixels
    except ValidationError as error:
        raise UnreadablePicture(first_problem(error)) from None
    if len({len(row) for row in rows}) != 1:
        raise UnreadablePicture("pixels: every row must have the same length.")
    return np.array(rows, np.float32)


def picture_from_image(body: bytes) -> np.ndarray:
    """Return (height, width) or (height, width, 3) uint8, upright and without transparency.

    Raises:
        PictureTooLarge: more than `MAX_IMAGE_PIXELS`, or a side above `MAX_SIDE`.
        UnreadablePicture: the bytes are no such image.
    """
    try:
        with Image.open(io.BytesIO(body), formats=list(FORMATS)) as image:  # reads the header only
            width, height = image.size
            if width * height > MAX_IMAGE_PIXELS or max(width, height) > MAX_SIDE:
                raise PictureTooLarge(
                    f"The image has {width} x {height} pixels; at most {MAX_IMAGE_PIXELS:,} "
                    f"and {MAX_SIDE} on a side are read."
                )
            return np.asarray(apply_orientation(image))
    except PictureTooLarge:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureTooLarge(
            f"The image has far more than the {MAX_IMAGE_PIXELS:,} pixels that are read."
        ) from None
    except Exception:  # damaged files set off a dozen kinds, AssertionError among them
        log.info("an image could not be decoded", exc_info=True)
        raise UnreadablePicture("The body is not a readable image.") from None


def png_in_base64(pixels: np.ndarray) -> str:
    """Return (height, width) or (height, width, 3) uint8 as a PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def first_problem(error: ValidationError) -> str:
    """Return the first problem that pydantic found, as a sentence that names the field."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}." if where else f"{problem['msg']}."
