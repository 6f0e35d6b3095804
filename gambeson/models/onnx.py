"""Models in ONNX files, by onnxruntime (the extra `onnx`): black boxes, for they have no gradient."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from gambeson.errors import UserError, first_line
from gambeson.models.black_box import BlackBox
from gambeson.models.factory import wrap
from gambeson.models.layers import normalize


def from_onnx(
    path: str | Path, *, mean: Sequence[float] | None = None, std: Sequence[float] | None = None
) -> nn.Module:
    """The model in an ONNX file as a `BlackBox`: one float32 input (N, C, H, W), the first output its logits (N, K).

    mean, std: one value per channel in [0, 1] pixel units, for a model that does not normalise its inputs itself. A
    batch dimension that is fixed in the file is filled up, and what is left over ignored. On the CPU.

    Raises UserError where onnxruntime is missing, and for a file that is none or asks for anything else. Weights in
    files beside it (external data) are not followed.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist")
    content = Path(path).read_bytes()
    session = _Session(content, str(path))
    model = BlackBox(session, identity=hashlib.sha256(content).hexdigest())
    if mean is None and std is None:
        return model.eval()
    return wrap(normalize((len(mean or std or ()), 1, 1), mean, std), model).eval()


class _Session:
    """The file's content, and what runs it; other processes get the content."""

    def __init__(self, content: bytes, path: str) -> None:
        self.content, self.path = content, path
        self._open()

    def __getstate__(self) -> tuple[bytes, str]:
        return self.content, self.path

    def __setstate__(self, state: tuple[bytes, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __call__(self, x: NDArray[np.float32]) -> NDArray[Any]:
        if self.rows is None or not len(x):
            return self._run(x)
        found = []
        for at in range(0, len(x), self.rows):
            part = x[at : at + self.rows]
            filled = np.concatenate([part, np.repeat(part[-1:], self.rows - len(part), 0)])
            found.append(self._run(filled)[: len(part)])
        return np.concatenate(found)

    def _run(self, x: NDArray[np.float32]) -> NDArray[Any]:
        found: NDArray[Any] = self.session.run([self.output], {self.input: x})[0]
        return found

    def _open(self) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(f"{self.path} needs onnxruntime: pip install 'gambeson[onnx]'") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(self.content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of many kinds, all the file's
            raise UserError(f"{self.path} is no ONNX model that can be run ({first_line(error)})") from None
        inputs, output = self.session.get_inputs(), self.session.get_outputs()[0]
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            told = ", ".join(f"{one.name} {one.type}" for one in inputs)
            raise UserError(f"{self.path} takes {told}; it must take one float32 tensor, images (N, C, H, W)")
        first = (inputs[0].shape or [None])[0]
        self.input, self.output = inputs[0].name, output.name
        self.rows = first if isinstance(first, int) else None
