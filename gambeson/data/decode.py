"""From compressed pictures to one tensor."""

from collections.abc import Iterable
from io import BytesIO

import numpy as np
import torch
from torch import Tensor

from gambeson.errors import UserError

CHANNELS = {"L": 1, "RGB": 3}


def decode(pictures: Iterable[tuple[str, bytes]]) -> Tensor:
    """Pictures (bytes of PNG, JPEG, ...) as uint8 (N, C, H, W), C = 1 (grey) or 3 (RGB); none is resized or converted.

    Args:
        pictures: pairs (where, bytes); `where` names the file and the row in an error.

    Raises:
        UserError: no picture, an unreadable one, a mode other than L and RGB, or another size or mode than the first.

    >>> from PIL import Image
    >>> file = BytesIO()
    >>> Image.new("L", (2, 1), 7).save(file, "png")
    >>> decode([("row 0", file.getvalue())]).tolist()
    [[[[7, 7]]]]
    """
    from PIL import Image, UnidentifiedImageError

    buffer, first, form = bytearray(), "", None
    for where, content in pictures:
        try:
            with Image.open(BytesIO(content)) as picture:
                found, pixels = (picture.mode, *picture.size), picture.tobytes()
        except UnidentifiedImageError as error:  # its message names an object of ours
            raise UserError(f"{where}: the picture cannot be read (it is of no known kind); replace it") from error
        except Exception as error:  # Pillow raises many kinds for a damaged file
            raise UserError(f"{where}: the picture cannot be read ({error}); replace it") from error
        if form is None:
            first, form = where, found
        if found[0] not in CHANNELS:
            raise UserError(f"{where}: the mode is {found[0]}; it must be L (grey) or RGB: convert the picture")
        if found != form:
            shapes = "{1}x{2} {0} but {4}x{5} {3}".format(*found, *form)
            raise UserError(f"{where}: the picture is {shapes} in {first}; all must have one size and mode")
        buffer += pixels
    if form is None:
        raise UserError("there are no pictures to decode; at least one is needed")
    mode, width, height = form
    rows = np.frombuffer(buffer, np.uint8).reshape(-1, height, width, CHANNELS[mode])
    return torch.from_numpy(np.ascontiguousarray(rows.transpose(0, 3, 1, 2)))
