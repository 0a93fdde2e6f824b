"""Several runs as one model: which generator paints what, and what does not fit together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.cli import run_command
from pipeline.config import apply_settings
from pipeline.core.errors import ConfigError, RunError
from pipeline.families.noise.sampler import NoiseSampler
from pipeline.families.registry import build_generator
from pipeline.models.ensemble import MAX_GENERATORS, GeneratorEnsemble, members
from pipeline.models.inference import FastGenerator
from pipeline.models.precision import Precision
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, save_snapshot, with_upscaler, write_snapshot
from pipeline.models.weights import WeightPrecision
from pipeline.reports.listing import list_runs
from pipeline.reports.report import write_report
from pipeline.runs.folder import RunFolder
from pipeline.runs.training_data import TrainingData
from pipeline.stages.mix import mix, mix_snapshots
from pipeline.system.storage import write_json
from pipeline.training.loop import train
from tests.support.factories import CPU, data_about, tiny_config

TINY = tiny_config(images=8, output_size=32, log_every=1)
UPSCALER: dict[str, Any] = {"family": "upscaler", "latent_size": 16, "generator_channels": 4}
DATA = data_about(10, content_hash="abc" * 20)


class Plain(nn.Module):
    """Paints one value everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.full((len(z), 3, 2, 2), self.value)


def trained(path: Path, data: TrainingData = DATA, **settings: Any) -> RunFolder:
    pixels = (torch.rand(10, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255).byte()
    train(apply_settings(TINY, settings), pixels, data, path, CPU)
    return RunFolder(path)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    folder = tmp_path_factory.mktemp("runs")
    return [trained(folder / "a"), trained(folder / "b", seed=1)]


def fresh(seed: int, **settings: Any) -> Snapshot:
    config = apply_settings(TINY, settings)
    torch.manual_seed(seed)
    return Snapshot(build_generator(config).eval(), config, 100 + seed)


def test_the_largest_of_the_first_numbers_of_z_picks_the_generator() -> None:
    mixture = GeneratorEnsemble([Plain(0.1), Plain(0.2), Plain(0.3)])
    z = torch.tensor([[3.0, 1, 2, 9], [1, 3, 2, 9], [1, 2, 3, 9], [-1, -3, -2, 9]])
    assert mixture(z)[:, 0, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.1])


@pytest.mark.parametrize("noise", ["normal(0, 1)", "uniform(-1, 1)", "gamma(2, 1)"])
def test_each_generator_is_as_likely(noise: str) -> None:
    count, most = 2000, 3
    config = apply_settings(TINY, {"noise": noise})
    z = NoiseSampler(replace(fresh(0), config=config), 0, CPU).latents(range(count))
    shares = np.bincount(z[:, :most].argmax(1), minlength=most) / count
    # Four deviations of a share of 1/3 among 2,000.
    assert np.abs(shares - 1 / most).max() < 4 * np.sqrt(2 / 9 / count)


def test_an_image_does_not_depend_on_those_beside_it() -> None:
    mixture = mix_snapshots([fresh(0), fresh(1)])
    sampler = NoiseSampler(mixture, 0, CPU)
    together = np.stack(sampler(range(8)))
    # Another batch size: sums in another order may cross a rounding step of uint8.
    alone = np.stack([sampler([index])[0] for index in range(8)])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_every_generator_is_run_fast_and_paints_what_it_painted() -> None:
    networks = [fresh(seed).generator for seed in (0, 1)]
    fast = FastGenerator(GeneratorEnsemble(networks), Precision("float32", CPU))
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    whose = z[:, :2].argmax(1)
    assert set(whose.tolist()) == {0, 1}
    with torch.inference_mode():
        expected = torch.stack([networks[w](z[i : i + 1])[0] for i, w in enumerate(whose)])
    # Folding normalisations changes float32's last digits.
    torch.testing.assert_close(fast(z), expected, rtol=0, atol=1e-5)
    names = [
        name for name, module in fast.named_modules() if type(module).__name__ == "Float32Layer"
    ]
    assert len(names) == 2


def test_a_mixture_is_kept_in_a_snapshot(tmp_path: Path) -> None:
    mixture = mix_snapshots([fresh(0), mix_snapshots([fresh(1), fresh(2)])])
    assert (len(members(mixture.generator)), mixture.images_seen) == (3, 303)
    # Weights of 11 bits: about one level of 255. 8 bits have their own test.
    for weights, levels in ((WeightPrecision.FLOAT32, 1e-9), (WeightPrecision.FLOAT16, 1)):
        write_snapshot(tmp_path / "m.safetensors", mixture, weights)
        again = load_snapshot(tmp_path / "m.safetensors")
        assert len(members(again.generator)) == 3
        before, after = (np.stack(NoiseSampler(s, 0, CPU)(range(8))) for s in (mixture, again))
        assert np.abs(before.astype(int) - after).mean() < levels


@pytest.mark.parametrize("count", [0, -1, 2, MAX_GENERATORS + 1, "two"])
def test_a_wrong_number_of_generators_is_refused(tmp_path: Path, count: object) -> None:
    import safetensors.torch

    path = tmp_path / "s.safetensors"
    save_snapshot(path, fresh(0).generator, TINY, 1)
    about = json.loads((tmp_path / "s.json").read_text()) | {"generators": count}
    del about["content_sha256"]  # as an earlier version would have written it
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file(tensors, path, {"about": json.dumps(about)})
    with pytest.raises(RunError, match="does not fit this version"):
        load_snapshot(path)


def test_a_mixed_run_is_used_like_any_other(two: list[RunFolder], tmp_path: Path) -> None:
    target = RunFolder(tmp_path / "mixed")
    arguments = ["mix", *(str(run.path) for run in two), "--run", str(target.path)]
    assert run_command(arguments) == 0
    about = target.read_provenance()
    assert [member["seed"] for member in about["mixed"]] == [0, 1]
    assert about["data"] == two[0].read_provenance()["data"]
    assert run_command(["generate", "--run", str(target.path), "--count", "4"]) == 0
    assert target.images.exists()
    (row,) = list_runs(tmp_path)
    assert (row.run, row.images_seen, row.problem) == ("mixed", 16, None)
    page = write_report(target.path, None).read_text()
    assert "Its images come from 2 runs" in page
    assert "Curves" not in page
    assert (
        run_command(
            ["export", "--run", str(target.path), "--name", "m", "--out", str(tmp_path / "models")]
        )
        == 0
    )
    card = (tmp_path / "models" / "m" / "README.md").read_text()
    assert "2 generators, of which z picks one an image, of family `dcgan`" in card
    assert "the generators have seen 8, 8" in card


def test_a_mixture_is_not_trained(two: list[RunFolder], tmp_path: Path) -> None:
    target = RunFolder(tmp_path / "mixed")
    mix(two, target)
    before = target.snapshot.read_bytes()
    with pytest.raises(RunError, match="holds a mixture of runs"):
        target.check_same_run(target.read_config(), DATA)
    assert target.snapshot.read_bytes() == before


def test_what_exists_is_not_written_over(two: list[RunFolder], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"exists\. Choose another --run"):
        mix(two, two[0])


def test_the_upscaler_of_one_is_that_of_all() -> None:
    upscaler = fresh(0, **UPSCALER)
    with_one = with_upscaler(fresh(1), upscaler)
    for runs in ([fresh(0), with_one], [with_one, fresh(0)]):
        mixture = mix_snapshots(runs)
        assert mixture.upscaler is upscaler
        assert mixture.config.output.upscale == "learned"
    assert mix_snapshots([fresh(0), fresh(1)]).upscaler is None


def test_paintings_are_held_out_only_if_all_runs_held_them_out() -> None:
    held, other = (fresh(0, holdout=0.2, holdout_seed=seed) for seed in (0, 1))
    assert mix_snapshots([held, held]).config.data.holdout == 0.2
    assert mix_snapshots([held, other]).config.data.holdout == 0
    assert mix_snapshots([held, fresh(0)]).config.data.holdout == 0


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"generator_channels": 8}, "generator_channels: 4 in the first, 8 in this"),
        ({"noise": "uniform(-1, 1)"}, "noise: 'normal"),
    ],
)
def test_runs_of_another_kind_do_not_fit(
    two: list[RunFolder], tmp_path: Path, settings: dict[str, Any], found: str
) -> None:
    other = trained(tmp_path / "other", **settings)
    with pytest.raises(ConfigError, match="does not fit") as error:
        mix([two[0], other], RunFolder(tmp_path / "mixed"))
    assert found in str(error.value)
    assert not (tmp_path / "mixed").exists()


def test_runs_of_other_images_do_not_fit(two: list[RunFolder], tmp_path: Path) -> None:
    other = trained(tmp_path / "other", replace(DATA, content_hash="d" * 60))
    with pytest.raises(ConfigError, match="trained on other images"):
        mix([two[0], other], RunFolder(tmp_path / "mixed"))


def test_one_run_or_too_many_are_refused(two: list[RunFolder], tmp_path: Path) -> None:
    for runs, count in (([two[0]], 1), (two * 3, 6)):
        with pytest.raises(ConfigError, match=f"Generators to mix: {count}; expected 2 to 4"):
            mix(runs, RunFolder(tmp_path / "mixed"))


def test_an_upscaler_is_not_mixed(two: list[RunFolder], tmp_path: Path) -> None:
    upscaler = RunFolder(tmp_path / "up")
    save_snapshot(upscaler.snapshot, fresh(0, **UPSCALER).generator, fresh(0, **UPSCALER).config, 1)
    write_json(upscaler.provenance, {"data": DATA.to_dict()})
    with pytest.raises(ConfigError, match="an upscaler"):
        mix([two[0], upscaler], RunFolder(tmp_path / "mixed"))
