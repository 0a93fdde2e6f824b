"""Convolutions as matrix products, against the library's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom

from pipeline.families.layers import matmul_conv
from pipeline.families.layers.matmul_conv import (
    DownsampleConv2d,
    UpsampleConvTranspose2d,
    gather_patches,
    scatter_patches,
)

Layer = type[DownsampleConv2d] | type[UpsampleConvTranspose2d]
LAYERS: list[tuple[Layer, tuple[int, ...]]] = [
    (DownsampleConv2d, (3, 5, 8, 8)),
    (UpsampleConvTranspose2d, (3, 5, 4, 4)),
]
ids = pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=["halving", "doubling"])


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[-1]))


def test_patches_are_those_of_unfold() -> None:
    images = numbers(2, 3, 8, 12)
    expected = F.unfold(images, 4, padding=1, stride=2)  # (N, C * 16, h * w), channels outermost
    found = gather_patches(images).view(2, 24, 16, 3).permute(0, 3, 2, 1).reshape(2, 48, 24)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_scattering_is_the_adjoint_of_gathering() -> None:
    images, some = numbers(2, 3, 8, 12).double(), numbers(48, 48).double()
    back = scatter_patches(some, 2, 4, 6)
    # The sums are taken in float32: seven digits.
    torch.testing.assert_close(
        (gather_patches(images) * some).sum(), (images * back).sum(), rtol=1e-6, atol=1e-6
    )
    assert back.is_contiguous(memory_format=torch.channels_last)


def results(layer: nn.Module, images: torch.Tensor, weighed: torch.Tensor) -> list[torch.Tensor]:
    """Return a layer's output and the gradients of a weighed sum of it."""
    images = images.clone().requires_grad_()
    output = layer(images)
    wanted = [images, *layer.parameters()]
    return [output.detach(), *torch.autograd.grad((output * weighed).sum(), wanted)]


@ids
def test_in_bfloat16_on_a_cpu_it_is_the_same_function(
    layer: Layer, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    one, images = layer(shape[1], 7), numbers(*shape)
    weighed = torch.randn_like(one(images))
    exact = results(one, images, weighed)
    calls: list[int] = []
    gather = matmul_conv.gather_patches

    def counted(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return gather(x)

    monkeypatch.setattr(matmul_conv, "gather_patches", counted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results(one, images, weighed)
    assert calls
    for value, expected in zip(found, exact, strict=True):
        assert value.shape == expected.shape
        # bfloat16 has 8 digits: 2**-9 each for two factors and for the result, in sums of up to
        # 112 products whose errors mostly cancel. Measured: 0.6 % of the largest.
        assert (value - expected).abs().max() <= 0.02 * expected.abs().max()


@ids
def test_a_bias_counts(layer: Layer, shape: tuple[int, ...]) -> None:
    one, images = layer(shape[1], 7).requires_grad_(False), numbers(*shape)
    without = one(images)
    one.bias = nn.Parameter(torch.arange(7.0), requires_grad=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = one(images)
    expected = without + torch.arange(7.0)[:, None, None]
    # As above: 0.02 of the largest, here about 7.
    assert (found - expected).abs().max() <= 0.02 * expected.abs().max()


@ids
def test_elsewhere_the_library_computes_it(
    layer: Layer, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul_conv, "gather_patches", pytest.fail)
    monkeypatch.setattr(matmul_conv, "scatter_patches", pytest.fail)
    one = layer(shape[1], 7)
    one(numbers(*shape))  # float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one(numbers(*shape[:2], 16, 16))  # many pixels


@ids
def test_weights_have_the_names_and_shapes_of_the_library_s(
    layer: Layer, shape: tuple[int, ...]
) -> None:
    plain = nn.Conv2d if layer is DownsampleConv2d else nn.ConvTranspose2d
    theirs = plain(5, 7, 4, 2, 1, bias=False).state_dict()
    assert {n: w.shape for n, w in layer(5, 7).state_dict().items()} == {
        n: w.shape for n, w in theirs.items()
    }


@ids
def test_only_what_is_asked_for_has_a_gradient(layer: Layer, shape: tuple[int, ...]) -> None:
    one = layer(shape[1], 7).requires_grad_(False)
    images = numbers(*shape).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one(images).float().sum().backward()
    assert images.grad is not None
    assert one.weight.grad is None


def test_a_second_derivative_is_refused_in_16_bits() -> None:
    one, images = DownsampleConv2d(5, 7), numbers(3, 5, 8, 8).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        squares = one(images).float().square().sum()
    (gradient,) = torch.autograd.grad(squares, images, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped


def test_its_result_may_be_changed_in_place() -> None:
    layer = DownsampleConv2d(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = F.leaky_relu(layer(torch.randn(2, 3, 8, 8)), 0.2, inplace=True)
    (slope,) = torch.autograd.grad(result.float().sum(), [layer.weight])
    assert slope.abs().sum() > 0
