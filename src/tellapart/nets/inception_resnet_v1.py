"""Inception-ResNet-v1 as used in face recognition: an embedding of 512 values per face, then the logits.

Szegedy, Ioffe, Vanhoucke and Alemi 2016, "Inception-v4, Inception-ResNet and the impact of residual connections on learning",
arXiv 1602.07261: the schema (figure 15), stem (14), blocks A, B, C (10, 11, 13) and the two reductions (7 with k, l, m, n =
192, 192, 256, 384 from table 1, and 12), the scaling of residuals (section 3.3: .1 to .3) and a dropout that keeps .8.

Published nets for faces (after FaceNet: Schroff et al. 2015, arXiv 1503.03832) differ from the paper, and are followed here:
residuals are scaled by .17, .10 and .20; the last block C is unscaled and without ReLU; a linear layer with batch norm gives
the embedding; batch norm adds .001 to the variance. Maps are averaged over the remaining size, 3×3 at 160×160. Convolutions are
initialized as in He et al. 2015: the paper does not specify it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, cat, nn

from tellapart.nets import _layers
from tellapart.nets._layers import he_normal, measured_width
from tellapart.nets.base import GlobalPool, HeadedNet, Net, NetOptions, StagedNet, image_shape

_Count = Annotated[int, Field(ge=0)]
_EPS = 1e-3
_SCALES = (0.17, 0.10, 0.20)


class InceptionResNetV1(Net):
    """Inception-ResNet-v1: stem, blocks A, reduction, blocks B, reduction, blocks C, pooling, dropout, embedding, logits."""

    class Options(NetOptions):
        """Options of `net: inception_resnet_v1`."""

        blocks: tuple[_Count, _Count, _Count] = Field(
            default=(5, 10, 5), description="numbers of blocks A, B and C; one more block C, without ReLU, follows"
        )
        dropout: float = Field(default=0.2, ge=0, lt=1, description="dropout rate between pooling and embedding")
        embedding: int = Field(default=512, ge=1, description="length of the embedding; the logits are linear in it")

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> HeadedNet:
        """See the class.

        Raises:
            RecipeError: The input is too small for the strides.
        """
        shape = image_shape(shape, "inception_resnet_v1")
        a, b, c = options.blocks
        trunk = nn.Sequential(
            _stem(shape[0]),
            nn.Sequential(*(_block_a() for _ in range(a))),
            _reduction_a(),
            nn.Sequential(*(_block_b() for _ in range(b))),
            _reduction_b(),
            nn.Sequential(*(_block_c() for _ in range(c)), _block_c(last=True)),
            nn.Sequential(
                GlobalPool(),
                nn.Dropout(options.dropout),
                nn.Linear(1792, options.embedding, bias=False),
                nn.BatchNorm1d(options.embedding, eps=_EPS),
            ),
        )
        he_normal(trunk)
        return StagedNet(trunk, nn.Linear(measured_width(trunk, shape, "inception_resnet_v1"), classes))


class _Branches(nn.Module):
    """Parallel branches whose outputs are concatenated along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cat([branch(x_BCHW) for branch in self.branches], 1)


class _Residual(nn.Module):
    """x + scale · (branches of x, projected to the width of x by a 1×1 convolution), then ReLU."""

    def __init__(self, width: int, branched: int, scale: float, *branches: nn.Module, relu: bool = True) -> None:
        super().__init__()
        self.mixed = _Branches(*branches)
        self.back = nn.Conv2d(branched, width, 1)
        self.scale = scale
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.relu(x_BCHW + self.scale * self.back(self.mixed(x_BCHW)))


def _conv(channels: int, width: int, kernel: int | tuple[int, int] = 1, stride: int = 1, *, same: bool = True) -> nn.Sequential:
    """Convolution, batch norm, ReLU; `same` keeps the size of the map, otherwise there is no padding (V in the figures)."""
    height, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, wide // 2) if same else 0
    return _layers.conv_norm(channels, width, kernel, stride, padding, eps=_EPS)


def _stem(channels: int) -> nn.Sequential:
    """Figure 14: 256 channels, 17×17 at 160×160."""
    return nn.Sequential(
        _conv(channels, 32, 3, 2, same=False),
        _conv(32, 32, 3, same=False),
        _conv(32, 64, 3),
        nn.MaxPool2d(3, 2),
        _conv(64, 80),
        _conv(80, 192, 3, same=False),
        _conv(192, 256, 3, 2, same=False),
    )


def _block_a() -> nn.Module:
    """Figure 10."""
    return _Residual(
        256, 96, _SCALES[0],
        _conv(256, 32),
        nn.Sequential(_conv(256, 32), _conv(32, 32, 3)),
        nn.Sequential(_conv(256, 32), _conv(32, 32, 3), _conv(32, 32, 3)),
    )  # fmt: skip


def _reduction_a() -> nn.Module:
    """Figure 7: 256 → 896 channels at half the size."""
    return _Branches(
        _conv(256, 384, 3, 2, same=False),
        nn.Sequential(_conv(256, 192), _conv(192, 192, 3), _conv(192, 256, 3, 2, same=False)),
        nn.MaxPool2d(3, 2),
    )


def _block_b() -> nn.Module:
    """Figure 11."""
    deep = nn.Sequential(_conv(896, 128), _conv(128, 128, (1, 7)), _conv(128, 128, (7, 1)))
    return _Residual(896, 256, _SCALES[1], _conv(896, 128), deep)


def _reduction_b() -> nn.Module:
    """Figure 12: 896 → 1,792 channels at half the size."""
    return _Branches(
        nn.Sequential(_conv(896, 256), _conv(256, 384, 3, 2, same=False)),
        nn.Sequential(_conv(896, 256), _conv(256, 256, 3, 2, same=False)),
        nn.Sequential(_conv(896, 256), _conv(256, 256, 3), _conv(256, 256, 3, 2, same=False)),
        nn.MaxPool2d(3, 2),
    )


def _block_c(*, last: bool = False) -> nn.Module:
    """Figure 13."""
    deep = nn.Sequential(_conv(1792, 192), _conv(192, 192, (1, 3)), _conv(192, 192, (3, 1)))
    scale = 1.0 if last else _SCALES[2]
    return _Residual(1792, 384, scale, _conv(1792, 192), deep, relu=not last)
