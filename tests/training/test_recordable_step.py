"""What a step computes can be recorded once and repeated: it asks the device for nothing.

As a CUDA graph, say. So in a step no number is read back, no tensor's size follows from another's
values, and nothing is random but torch's generator, which was seeded before.
"""

import copy
import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.compare import TRAININGS, settings_of
from pipeline.config import Config, apply_settings, resolve
from pipeline.families.registry import takes_photos
from pipeline.models.precision import Precision
from pipeline.training.batches import Batches
from pipeline.training.loop import precision_of
from pipeline.training.state import TrainingState
from pipeline.training.step import (
    StepScalars,
    StepSettings,
    seed_dropout,
    take_step,
    train_step,
)
from tests.support.factories import batches_of

CPU = torch.device("cpu")
STEPS = 4
"""So that the R1 penalty is due in the last; of a discriminator's steps, two come with none of
the generator's."""


@functools.cache
def follows_numbers(func: Any) -> bool:
    """Tell whether an operation gives a number back, or a shape that follows from numbers."""
    tags = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
    return any(tag in func.tags for tag in tags)


class Recordable(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Fails where numbers are read back, or where a shape follows from numbers."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        reads = follows_numbers(func)
        if func is torch.ops.aten.index.Tensor:  # by numbers its shape is known, by a mask not
            chosen = [i for i in args[1] if i is not None]
            reads = any(i.dtype in (torch.bool, torch.uint8) for i in chosen)
        assert not reads, f"{func} cannot be recorded"
        return func(*args, **(kwargs or {}))


def recordable() -> AbstractContextManager[Any]:
    """Return the guard."""
    guard: AbstractContextManager[Any] = Recordable()  # type: ignore[no-untyped-call]  # see above
    return guard


def fail(*_: Any, **__: Any) -> Any:
    raise AssertionError("not in a step that is to be recorded")


def forbid_all_else(patch: pytest.MonkeyPatch) -> None:
    """Refuse numbers from elsewhere, seeding, and what reads memory without the dispatcher."""
    patch.setattr(np.random, "Philox", fail)
    patch.setattr(np.random, "default_rng", fail)
    patch.setattr(torch, "manual_seed", fail)
    for name in ("tolist", "numpy", "cpu"):
        patch.setattr(torch.Tensor, name, fail)


def config_of(name: str, *more: str) -> Config:
    config = resolve("dcgan64", None, [*settings_of(name), *more])
    classes = {"class_names": ("a", "b")} if name == "classes" else {}
    return apply_settings(config, classes)


def set_up(config: Config, device: torch.device = CPU) -> tuple[TrainingState, Batches, Precision]:
    precision = precision_of(config, device)
    state = TrainingState.fresh(config, precision)
    numbers = torch.Generator().manual_seed(0)
    size, channels = config.data.image_size, config.data.channels

    def noise(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=numbers)

    labels = torch.arange(10) % 2 if config.data.conditional else None
    sources = noise(4, 3, size // 2, size // 2) if config.family == "upscaler" else None
    if takes_photos(config):
        sources = noise(7, 3, size, size)
    pixels = noise(10, channels, size, size)
    batches = batches_of(pixels, config, device, labels=labels, source_images=sources)
    return state, batches, precision


def as_numbers(state: TrainingState) -> StepScalars:
    return StepScalars(0.3, state.ema.weight(state.step + 1))


def as_tensors(state: TrainingState) -> StepScalars:
    numbers = as_numbers(state)
    return StepScalars(
        torch.tensor(numbers.learning_rate_factor, dtype=torch.float64),
        torch.tensor(numbers.ema_weight, dtype=torch.float32),
    )


def steps(
    config: Config,
    scalars: Callable[[TrainingState], StepScalars],
    scaled: bool = False,
    guard: Callable[[], AbstractContextManager[Any]] = recordable,
) -> TrainingState:
    """Take some steps, each under guard, and adapt the objective after each."""
    state, batches, precision = set_up(config)
    if scaled:
        state.scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    settings = StepSettings.from_config(config)
    for _ in range(STEPS):
        batch, now = batches(state.step + 1), scalars(state)
        seed_dropout(settings, state.step)
        with pytest.MonkeyPatch.context() as patch, guard():
            forbid_all_else(patch)
            take_step(state, batch, precision, now)
            state.step += 1
            state.objective.update(state.all_metrics(), config.training.batch_size)
    return state


@pytest.mark.parametrize("name", TRAININGS)
def test_a_step_reads_nothing_back_and_its_scalars_may_be_tensors(name: str) -> None:
    config = config_of(name)
    first = steps(config, as_numbers, guard=nullcontext)  # what is recorded has tensors
    second = steps(config, as_tensors)
    for network in first.networks:
        weights = first.networks[network].state_dict(), second.networks[network].state_dict()
        assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    average = second.ema.network.state_dict()
    for key, value in first.ema.network.state_dict().items():
        assert torch.equal(value, average[key])


@pytest.mark.parametrize("name", ["dcgan", "fastgan", "upscaler", "cyclegan", "cut"])
def test_so_it_is_in_16_bits_and_with_scaled_losses(name: str) -> None:
    state = steps(config_of(name, "precision=bfloat16"), as_tensors, scaled=True)
    assert all(torch.isfinite(value) for value in state.all_metrics().values())


@pytest.mark.parametrize(
    "read",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.tolist(),
        lambda x: torch.equal(x, x),
        lambda _: torch.manual_seed(0),
    ],
)
def test_the_guard_sees_what_cannot_be_recorded(read: Callable[[torch.Tensor], Any]) -> None:
    numbers = torch.ones(3)
    with pytest.MonkeyPatch.context() as patch, recordable():
        forbid_all_else(patch)
        with pytest.raises(AssertionError, match="recorded"):
            read(numbers)


def test_what_a_recorded_step_looks_at_keeps_its_place() -> None:
    state, _, _ = set_up(config_of("fastgan-adaptive"))
    objective: Any = state.objective
    strength, anchors = objective.strength, objective.ema_logits
    objective.update({name: torch.tensor(1.0) for name in
                      ("d_real_sign", "d_real_logit", "d_fake_logit")}, 4)  # fmt: skip
    assert strength.item() > 0
    state.objective.load_state_dict({"strength": torch.tensor(0.25), "anchors": torch.ones(2)})
    assert (strength.item(), anchors.tolist()) == (0.25, [1.0, 1.0])
    assert objective.strength is strength
    assert objective.ema_logits is anchors


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "name", ["dcgan", "adaptive", "lecam-r1", "classes", "fastgan", "cyclegan", "cut"]
)
def test_a_step_recorded_on_a_gpu_computes_what_it_computed(name: str) -> None:
    gpu, config = torch.device("cuda"), config_of(name)
    state, batches, precision = set_up(config, gpu)
    settings = StepSettings.from_config(config)
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # the first steps choose algorithms and allocate
        for _ in range(STEPS - 1):
            train_step(state, batches(state.step + 1), precision, settings)
    torch.cuda.current_stream().wait_stream(aside)
    before = copy.deepcopy(state.to_dict())
    other = TrainingState.fresh(config, precision)
    other.load(before)
    batch = batches(state.step + 1)
    expected = train_step(other, batch, precision, settings)

    weight = state.ema.weight(state.step + 1)
    scalars = StepScalars(torch.ones((), device=gpu), torch.tensor(weight, device=gpu))
    for optimizer in state.optimizers.values():
        optimizer.param_groups[0]["capturable"] = True
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        take_step(state, batch, precision, scalars)
    seed_dropout(settings, state.step)
    graph.replay()
    torch.cuda.synchronize()
    found = state.all_metrics()
    # The library may sum in another order while it records: a float32 has seven digits, of which
    # a loss over a hundred thousand products keeps four.
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-3)
    start, plain, recorded = (
        torch.cat([value.float().flatten() for value in weights.values()])
        for weights in (
            before["generator"],
            other.generator.state_dict(),
            state.generator.state_dict(),
        )
    )
    # Adam turns the sign of a gradient near zero into a whole step: a few of these may differ.
    moved, apart = (plain - start).abs().mean(), (plain - recorded).abs().mean()
    assert moved > 0
    assert apart <= 0.05 * moved
