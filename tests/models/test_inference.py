"""The fast copy of a generator is the same function."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from pipeline.families.registry import build_generator
from pipeline.models.inference import FastGenerator, Float32Layer, SubPixelConvTranspose2d
from pipeline.models.precision import Precision
from tests.support.factories import CPU, tiny_generator_config

TINY = tiny_generator_config(image_size=64)


def trained(seed: int = 0) -> nn.Module:
    """Return a generator whose normalisations do something."""
    torch.manual_seed(seed)
    network = build_generator(TINY)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.01, 0.1)
    return network.eval()


def exact(network: nn.Module, z: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        images: torch.Tensor = network(z)
    return images


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (4, 4)])
def test_a_doubling_convolution_is_the_transposed_one(bias: bool, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(6, 3, 4, 2, 1, bias=bias).requires_grad_(False)
    assert SubPixelConvTranspose2d.can_replace(layer)
    x = torch.randn(2, 6, *shape)
    # 24 products of numbers around 1, each rounded to 2**-24.
    assert largest(SubPixelConvTranspose2d(layer)(x), layer(x)) < 1e-5


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(4, 4, 4),
        nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=2),
        nn.ConvTranspose2d(4, 4, 4, 2, 1, output_padding=1),
        nn.ConvTranspose2d(4, 4, 3, 2, 1),
        nn.Conv2d(4, 4, 4, 2, 1),
    ],
)
def test_other_layers_are_no_doubling_convolutions(layer: nn.Module) -> None:
    assert not SubPixelConvTranspose2d.can_replace(layer)


def test_in_float32_only_rounding_differs() -> None:
    network, z = trained(), torch.randn(5, 8)
    found = FastGenerator(network, Precision("float32", CPU))(z)
    assert found.dtype == torch.float32
    # Five layers, each relatively right to about 1e-6; far below half a step of uint8, 4e-3.
    assert largest(found, exact(network, z)) < 1e-4


def test_in_bfloat16_images_are_close_and_the_last_layer_is_float32() -> None:
    network, z = trained(), torch.randn(5, 8)
    fast = FastGenerator(network, Precision("bfloat16", CPU))
    found = fast(z)
    assert found.dtype == torch.float32
    # Four layers that round to 2**-9 relatively, of images within [-1, 1].
    assert largest(found, exact(network, z)) < 4 * 2**-7
    kinds = {type(m): m for m in fast.modules()}
    last = kinds[Float32Layer]
    assert {p.dtype for p in last.parameters()} == {torch.float32}
    assert {p.dtype for n, p in fast.named_parameters() if ".layer." not in n} == {torch.bfloat16}


def test_the_generator_itself_stays_as_it_is() -> None:
    network = trained().train()
    before = copy.deepcopy(network.state_dict())
    FastGenerator(network, Precision("bfloat16", CPU))(torch.randn(2, 8))
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


class Odd(nn.Module):
    """A family that the rewriting does not know: grouped, parametrised, without Sequential."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8 * 16)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8))
        self.last = parametrizations.spectral_norm(nn.Conv2d(8, 3, 1))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(z).view(-1, 8, 4, 4))
        return torch.tanh(self.last(self.grouped(x)))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_not_recognised_runs_as_it_is(precision: str) -> None:
    torch.manual_seed(0)
    network, z = Odd().eval(), torch.randn(3, 8)
    found = FastGenerator(network, Precision(precision, CPU))(z)
    bound = 1e-5 if precision == "float32" else 4 * 2**-7
    assert largest(found, exact(network, z)) < bound


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_images_are_the_same_up_to_rounding() -> None:
    network, z = trained(), torch.randn(5, 8)
    found = FastGenerator(network, Precision("float16", torch.device("cuda")))(z)
    assert largest(found.cpu(), exact(network, z)) < 4 * 2**-9
