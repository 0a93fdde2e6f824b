"""Recorded steps compute what plain ones do: which are recorded when, and what changes in between.

On the CPU a tape stands in for CUDA graphs; the tests of the real ones need a GPU.
"""

import copy
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.compare import TRAININGS
from pipeline.config import Config
from pipeline.core.user_warnings import reset_warnings
from pipeline.families.adversarial.objective import AdversarialObjective
from pipeline.families.cyclegan.objective import CycleConsistency
from pipeline.families.family import Batch
from pipeline.training import cuda_graphs, loop
from pipeline.training.batches import Batches
from pipeline.training.cuda_graphs import CudaGraphs, step_function
from pipeline.training.distributed.context import SINGLE_PROCESS, DistributedContext
from pipeline.training.distributed.sync_batch_norm import convert_sync_batchnorm
from pipeline.training.recorded_steps import MAX_KINDS, RecordedSteps, step_kind
from pipeline.training.state import TrainingState
from pipeline.training.step import StepSettings, TakeStep, train_step
from tests.support.factories import CPU, data_about, noise_paintings, tiny_config
from tests.support.rank_processes import run_ranks
from tests.support.tape import TapeRecorder
from tests.training.test_recordable_step import config_of, set_up

STEPS = 12
"""By default, of a training of small steps; of four kinds each comes three times."""


def take(
    config: Config,
    take_step: TakeStep,
    steps: int = STEPS,
    device: torch.device = CPU,
    before: Callable[[TrainingState, Batches], None] = lambda *_: None,
    distributed: DistributedContext = SINGLE_PROCESS,
    synchronised: bool = False,
) -> tuple[TrainingState, list[dict[str, float]]]:
    """Take steps at a falling learning rate; return the state and what each step logged."""
    state, batches, precision = set_up(config, device)
    logged = []
    for network in state.networks.values() if synchronised else ():
        convert_sync_batchnorm(network)
    for step in range(1, steps + 1):
        before(state, batches)
        state.learning_rate_factor = 1 - step / (2 * STEPS)
        found = take_step(state, batches(step), precision, StepSettings(3), distributed)
        state.objective.update(found, config.training.batch_size)
        logged.append({name: value.clone() for name, value in found.items()})
    return state, [{n: v.item() for n, v in values.items()} for values in logged]


def flat(state: TrainingState) -> torch.Tensor:
    """Return all that a state holds as numbers."""
    values: list[torch.Tensor] = []
    for part in state._stateful().values():
        pending = [part.state_dict()]
        while pending:
            found = pending.pop()
            more = found.values() if isinstance(found, dict) else found
            if isinstance(found, torch.Tensor):
                values.append(found.detach().double().flatten().cpu())
            elif isinstance(found, dict | list | tuple):
                pending.extend(more)
    return torch.cat(values)


KINDS = {"lecam-r1": 2, "wgan-gp": 2, "fastgan": 4, "fastgan-adaptive": 4}
"""Kinds of step, of the trainings that have more than one."""
OTHERWISE = (
    "dcgan", "augmented", "adaptive", "lecam-r1", "wgan-gp", "classes", "fastgan-adaptive",
    "upscaler-of-images", "cyclegan", "cut",
)  # fmt: skip
"""Trainings whose steps do what those of no other of these do; the rest are variants."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in OTHERWISE else pytest.mark.slow) for n in TRAININGS],
)
def test_steps_that_are_repeated_equal_plain_ones_bit_for_bit(name: str) -> None:
    config, kinds = config_of(name), KINDS.get(name, 1)
    # So that each comes plainly, recorded, and repeated, and a buffer of images is full before.
    steps = 3 if kinds == 1 and name in OTHERWISE else STEPS
    plain, expected = take(config, train_step, steps)
    recorder = TapeRecorder()
    recorded = RecordedSteps(recorder, plain_steps=0)
    repeated, found = take(config, recorded, steps)
    assert found == expected
    assert torch.equal(flat(repeated), flat(plain))
    assert recorded.replayed_kinds == recorder.recorded == kinds
    assert recorder.ran + recorder.replayed == steps
    assert recorder.replayed >= 2 * kinds


def test_so_they_are_in_16_bits_with_scaled_losses() -> None:
    def scaled(state: TrainingState, _: Any) -> None:
        if not state.scaler.is_enabled():
            state.scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)

    config = config_of("dcgan", "precision=bfloat16")
    plain, expected = take(config, train_step, before=scaled)
    repeated, found = take(config, RecordedSteps(TapeRecorder(), 1), before=scaled)
    assert found == expected
    assert torch.equal(flat(repeated), flat(plain))
    assert repeated.scaler.get_scale() > 256


def test_a_step_is_recorded_when_its_kind_comes_again_after_the_first_plain_steps() -> None:
    recorder = TapeRecorder()
    steps = RecordedSteps(recorder, plain_steps=3)
    ran = []
    take(config_of("dcgan"), steps, before=lambda *_: ran.append(recorder.replayed))
    assert ran == [0, 0, 0, 0, *range(1, STEPS - 3)]


def test_images_of_earlier_steps_are_exchanged_once_there_are_enough() -> None:
    config = config_of("cyclegan", "image_buffer=8", "batch_size=2")
    recorder = TapeRecorder()
    steps = RecordedSteps(recorder, plain_steps=0)
    plain, expected = take(config, train_step)
    repeated, found = take(config, steps)
    assert isinstance(repeated.objective, CycleConsistency)
    assert found == expected
    assert torch.equal(flat(repeated), flat(plain))
    assert recorder.ran == 4 + 1  # until the buffer is full, and the first of the kind after


def test_another_shape_is_another_kind() -> None:
    state, batches, _ = set_up(config_of("dcgan"))
    batch = batches(1)
    half = batch.map(lambda tensor: tensor[:2])
    assert step_kind(state, batch) == step_kind(state, batches(2))
    assert step_kind(state, batch) != step_kind(state, half)
    assert step_kind(state, batch) != step_kind(state, batch.map(torch.Tensor.double))


def test_no_more_kinds_are_recorded_than_memory_is_meant_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def by_step(_: Any, batch: Batch) -> Hashable:
        return batch.step % (MAX_KINDS + 1)

    monkeypatch.setattr(AdversarialObjective, "step_kind", by_step)
    steps = RecordedSteps(TapeRecorder(), plain_steps=0)
    take(config_of("fully-connected"), steps, 3 * (MAX_KINDS + 1))
    assert steps.replayed_kinds == MAX_KINDS


def test_an_objective_that_does_not_say_what_its_steps_depend_on_is_never_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(AdversarialObjective, "step_kind")
    recorder = TapeRecorder()
    take(config_of("dcgan"), RecordedSteps(recorder, plain_steps=0))
    assert (recorder.recorded, recorder.ran) == (0, STEPS)


def test_where_recording_fails_training_goes_on_without_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of("dcgan")
    plain, expected = take(config, train_step)
    original = AdversarialObjective.generator_loss

    def reads(self: Any, *arguments: Any) -> Any:
        loss, logged = original(self, *arguments)
        assert loss.item() == loss.item()  # what a graph cannot hold
        return loss, logged

    monkeypatch.setattr(AdversarialObjective, "generator_loss", reads)
    reset_warnings()
    recorder = TapeRecorder()
    steps = RecordedSteps(recorder, plain_steps=1)
    state, found = take(config, steps)
    assert found == expected
    assert torch.equal(flat(state), flat(plain))
    assert (recorder.recorded, recorder.ran) == (0, STEPS)
    said = capsys.readouterr().err
    assert said.count("cannot be recorded") == 1
    assert "reads a number back" in said


def test_the_rates_that_are_saved_are_numbers() -> None:
    state, _ = take(config_of("dcgan"), RecordedSteps(TapeRecorder(), plain_steps=0))
    saved = copy.deepcopy(state.to_dict())
    assert all(type(o.param_groups[0]["lr"]) is float for o in state.optimizers.values())
    other, _, _ = set_up(config_of("dcgan"))
    other.load(saved)
    assert torch.equal(flat(other), flat(state))


def test_a_resumed_run_equals_an_uninterrupted_one_recorded_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "step_function", lambda *_: RecordedSteps(TapeRecorder(), 1))
    pixels = noise_paintings()

    def run(name: str, images: int) -> None:
        config = tiny_config(images=images, minutes=None)
        loop.train(config, pixels, data_about(10), tmp_path / name, CPU)

    run("whole", 40)
    run("parts", 20)
    run("parts", 40)
    whole, parts = (tmp_path / name / "snapshot.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


def test_only_a_gpu_records_and_only_if_it_is_to() -> None:
    config = tiny_config()
    assert step_function(config, CPU) is train_step
    assert step_function(tiny_config(cuda_graphs=False), torch.device("cuda")) is train_step


def test_only_a_training_of_some_length_searches_for_algorithms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    monkeypatch.setattr(cuda_graphs, "CudaGraphs", lambda _, search: asked.append(search))
    device = torch.device("cuda")
    for minutes in (None, 15.0, 14.0):
        step_function(tiny_config(minutes=minutes, images=8), device)
    step_function(tiny_config(minutes=None, images=8), device, short=True)
    assert asked == [True, True, False, False]


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@GPU
@pytest.mark.parametrize("name", TRAININGS)
def test_a_gpu_repeats_steps_as_it_computes_them(name: str) -> None:
    device = torch.device("cuda")
    config = config_of(name)
    plain, expected = take(config, train_step, device=device)
    again, _ = take(config, train_step, device=device)
    steps = RecordedSteps(CudaGraphs(device))
    repeated, found = take(config, steps, 3 * STEPS, device)
    assert steps.replayed_kinds >= 1
    # The library sums in another order; after each step the runs are further apart, in chaos. So
    # the first repeated steps are compared closely, by what they log (some of it signs, of few).
    for step in range(STEPS // 2):
        for key, value in expected[step].items():
            assert found[step][key] == pytest.approx(value, rel=0.05, abs=0.05), (step, key)
    assert torch.isfinite(flat(repeated)).all()
    assert flat(plain).shape == flat(again).shape == flat(repeated).shape


@GPU
def test_a_gpu_goes_on_where_recording_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = AdversarialObjective.generator_loss

    def reads(self: Any, *arguments: Any) -> Any:
        loss, logged = original(self, *arguments)
        assert loss.item() == loss.item()
        return loss, logged

    device = torch.device("cuda")
    config = config_of("augmented")
    _, expected = take(config, train_step, device=device)
    monkeypatch.setattr(AdversarialObjective, "generator_loss", reads)
    reset_warnings()
    steps = RecordedSteps(CudaGraphs(device))
    _, found = take(config, steps, device=device)
    assert steps.replayed_kinds == 0
    assert "cannot be recorded" in capsys.readouterr().err
    for key, value in expected[5].items():
        assert found[5][key] == pytest.approx(value, rel=0.05, abs=0.05)


@GPU
def test_dropout_in_a_repeated_step_is_that_of_its_step() -> None:
    device = torch.device("cuda")
    config = replace_dropout(config_of("augmented"))
    first = RecordedSteps(CudaGraphs(device))
    _, found = take(config, first, device=device)
    _, again = take(config, RecordedSteps(CudaGraphs(device)), device=device)
    assert found[6] == pytest.approx(again[6], rel=0.05, abs=0.05)


def replace_dropout(config: Config) -> Config:
    return replace(config, network=replace(config.network, generator_dropout=0.5))  # type: ignore[call-arg]  # the family's own


@GPU
def test_what_ranks_exchange_is_recorded_with_the_step(tmp_path: Path) -> None:
    """One rank that counts itself twice: the library allows no two on one GPU."""
    device = torch.device("cuda")
    torch.distributed.init_process_group(
        "nccl", init_method=f"file://{tmp_path / 'ranks'}", rank=0, world_size=1
    )
    try:
        two = DistributedContext(0, 2)
        config = config_of("dcgan")
        _, expected = take(config, train_step, device=device, distributed=two, synchronised=True)
        steps = RecordedSteps(CudaGraphs(device))
        _, found = take(config, steps, device=device, distributed=two, synchronised=True)
        assert steps.replayed_kinds == 1
        for key, value in expected[5].items():
            assert found[5][key] == pytest.approx(value, rel=0.05, abs=0.05)
    finally:
        torch.distributed.destroy_process_group()


def steps_of_a_rank(distributed: DistributedContext) -> list[list[float]]:
    """Return what plain and what recorded steps end with."""
    config = config_of("dcgan", "batch_size=4")
    found = []
    for take_step in (train_step, RecordedSteps(TapeRecorder(), plain_steps=1)):
        state, _ = take(config, take_step, 5, distributed=distributed, synchronised=True)
        found.append(flat(state).tolist())
    return found


def test_ranks_exchange_gradients_and_statistics_in_recorded_steps_too() -> None:
    for plain, recorded in run_ranks(2, steps_of_a_rank):
        assert plain == recorded
