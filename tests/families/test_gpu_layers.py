"""Layers that a GPU computes in another way: the same functions, with channels last in memory.

Their formulas run on the CPU here, beside torch's own layers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own idiom
from torch.nn.utils import parametrizations

from pipeline.families.layers.gated import GatedLinearUnit, gate
from pipeline.families.layers.instance_norm import InstanceNorm2d, normalise
from pipeline.families.layers.pooling import Halve, halve
from pipeline.families.layers.spectral_norm import divided_by_norm, spectral_norm

LAST = torch.channels_last


def numbers(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = drawn.to(dtype)
    return (result.to(memory_format=LAST) if len(shape) == 4 else result).requires_grad_()


def parts(layer: nn.Module) -> tuple[torch.Tensor, Any]:
    """Return the weights below a spectral normalisation, and the normalisation."""
    below: Any = layer.parametrizations
    return below["weight"].original, below["weight"][0]


def weight_of(layer: nn.Module) -> torch.Tensor:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight


def test_the_gradient_of_the_normalisation_is_that_of_its_formula() -> None:
    images, gain, bias = numbers(2, 3, 4, 5), numbers(3), numbers(3)
    assert torch.autograd.gradcheck(partial(normalise, eps=1e-5), (images, gain, bias))
    expected = F.instance_norm(images, weight=gain, bias=bias)
    torch.testing.assert_close(normalise(images, gain, bias, 1e-5), expected)


def test_a_flat_image_is_normalised_to_the_bias_and_nothing_is_divided_by_zero() -> None:
    images = torch.full((1, 2, 8, 8), 3.0).to(memory_format=LAST).requires_grad_()
    gain, bias = torch.ones(2), torch.tensor([0.5, -1.0])
    result = normalise(images, gain, bias, 1e-5)
    # The variance is a difference of equal numbers: of float32, about 1e-6, below eps.
    torch.testing.assert_close(result, bias[None, :, None, None].expand(1, 2, 8, 8), atol=1e-2,
                               rtol=0)  # fmt: skip
    (gradient,) = torch.autograd.grad(result.sum(), images)
    assert torch.isfinite(gradient).all()


def test_the_gradient_of_the_gate_is_that_of_its_formula() -> None:
    features = numbers(2, 6, 3, 4)
    assert torch.autograd.gradcheck(gate, features)
    torch.testing.assert_close(gate(features), F.glu(features, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_keep_the_type_and_channels_last_in_memory(dtype: torch.dtype) -> None:
    images = numbers(3, 4, 8, 8, dtype=dtype)
    gain, bias = torch.ones(4), torch.zeros(4)
    own = nn.InstanceNorm2d(4, affine=True)
    for found, expected in (
        (normalise(images, gain, bias, 1e-5), own(images.float())),
        (gate(images), F.glu(images.float(), 1)),
    ):
        assert found.dtype is dtype
        assert found.is_contiguous(memory_format=LAST)
        # bfloat16 has eight binary digits; numbers here are below 4, and two are multiplied.
        close = 4 * 2**-8 if dtype is torch.bfloat16 else 1e-5
        torch.testing.assert_close(found.float(), expected, atol=close, rtol=close)
        (gradient,) = torch.autograd.grad(found.float().square().sum(), images)
        assert gradient.is_contiguous(memory_format=LAST)
        assert gradient.dtype is dtype


def test_a_cpu_takes_torchs_own_layers_bit_for_bit() -> None:
    images = numbers(2, 4, 8, 8, dtype=torch.float32)
    own = nn.InstanceNorm2d(4, affine=True)
    assert torch.equal(InstanceNorm2d(4)(images), own(images))
    assert torch.equal(GatedLinearUnit()(images), F.glu(images, 1))
    assert torch.equal(Halve()(images), F.avg_pool2d(images, 2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_computes_the_same(dtype: torch.dtype) -> None:
    norm = InstanceNorm2d(8).cuda()
    Function = Callable[[torch.Tensor], torch.Tensor]  # noqa: N806 - a type
    pairs: tuple[tuple[Function, Function], ...] = (
        (norm, lambda x: F.instance_norm(x, weight=norm.weight, bias=norm.bias)),
        (GatedLinearUnit(), lambda x: F.glu(x, 1)),
        (halve, lambda x: F.avg_pool2d(x, 2)),
    )
    for layer, reference in pairs:
        images = numbers(4, 8, 16, 16, dtype=dtype).detach().cuda().requires_grad_()
        wide = images.detach().double().requires_grad_()
        found, expected = layer(images), reference(wide.to(torch.float32)).double()
        assert found.is_contiguous(memory_format=LAST)
        close = 4 * 2**-8 if dtype is torch.bfloat16 else 1e-5
        torch.testing.assert_close(found.double(), expected, atol=close, rtol=close)
        weights = torch.linspace(-1, 1, found.numel(), device="cuda").view(found.shape)
        (gradient,) = torch.autograd.grad((found.float() * weights).sum(), images)
        (wanted,) = torch.autograd.grad((expected.float() * weights).sum(), wide)
        torch.testing.assert_close(gradient.double(), wanted, atol=2 * close, rtol=2 * close)
        assert gradient.is_contiguous(memory_format=LAST)


def test_weights_divided_by_their_norm_and_its_estimates_are_torchs() -> None:
    layer = parametrizations.spectral_norm(nn.Conv2d(3, 5, 4)).double()
    weight, own = parts(layer)
    u, v = own._u.clone(), own._v.clone()
    last = weight.detach().to(memory_format=LAST).requires_grad_()
    target = numbers(5, 3, 4, 4).detach()
    for _ in range(3):  # power iterations
        found = divided_by_norm(last, u, v, own.eps)
        expected = weight_of(layer)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(u, own._u)
        torch.testing.assert_close(v, own._v)
    (gradient,) = torch.autograd.grad((found * target).sum(), last)
    (wanted,) = torch.autograd.grad((expected * target).sum(), weight)
    torch.testing.assert_close(gradient, wanted)
    assert found.is_contiguous(memory_format=LAST)
    assert gradient.is_contiguous(memory_format=LAST)


def test_in_16_bits_the_normalised_weights_are_in_these() -> None:
    layer = spectral_norm(nn.Conv2d(3, 5, 4))
    weight, own = parts(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = divided_by_norm(weight, own._u.clone(), own._v.clone(), own.eps)
    assert found.dtype is torch.bfloat16
    (gradient,) = torch.autograd.grad(found.float().square().sum(), weight)
    assert gradient.dtype is torch.float32
    # Of the weights over their norm: float32's, rounded to eight binary digits.
    torch.testing.assert_close(found.float(), weight_of(layer), atol=0, rtol=2**-8)


def test_a_normalised_layer_saves_what_torchs_own_saves() -> None:
    torch.manual_seed(0)
    ours = spectral_norm(nn.Conv2d(3, 5, 4)).state_dict()
    torch.manual_seed(0)
    own = parametrizations.spectral_norm(nn.Conv2d(3, 5, 4)).state_dict()
    assert list(ours) == list(own)
    assert all(torch.equal(ours[name], value) for name, value in own.items())
