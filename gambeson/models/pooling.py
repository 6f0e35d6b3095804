"""Max-pooling by 2, fast where no gradient is asked for."""

import torch
from torch import Tensor, nn


class MaxPool2(nn.Module):
    """Max-pooling 2x2 with stride 2, the values of `nn.MaxPool2d(2)`; an odd last row or column is left out.

    Without gradients it is two `torch.maximum` of strided halves: 5 to 10 times faster than torch's kernel on a CPU
    with channels_last, where pooling would cost more than the convolutions. Backward through strided halves is slow,
    hence torch's own kernel where a gradient is asked for.

    >>> x = torch.randn(2, 3, 5, 8)
    >>> with torch.no_grad():
    ...     torch.equal(MaxPool2()(x), nn.functional.max_pool2d(x, 2))
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            return nn.functional.max_pool2d(x, 2)
        height, width = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
        rows = torch.maximum(x[..., 0:height:2, :width], x[..., 1:height:2, :width])
        return torch.maximum(rows[..., 0::2], rows[..., 1::2])
