"""A run takes the upscaler of a shipped model, and says what does not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import Config, apply_settings
from pipeline.core.errors import ConfigError
from pipeline.families.registry import build_generator
from pipeline.models import shipped
from pipeline.models.pretrained import shipped_upscaler
from pipeline.models.snapshot import Snapshot
from pipeline.models.snapshots import load_snapshot, with_upscaler, write_snapshot
from pipeline.runs.folder import RunFolder
from pipeline.training import loop
from pipeline.training.checkpoints import load_state
from tests.support.factories import CPU, data_about, noise_paintings, tiny_config

UPSCALER = {
    "family": "upscaler", "image_size": 128, "crop_size": 32, "upscale_factor": 4,
    "latent_size": 16, "generator_channels": 4, "discriminator_channels": 4, "residual_blocks": 1,
}  # fmt: skip


def snapshot_of(config: Config) -> Snapshot:
    torch.manual_seed(0)
    return Snapshot(build_generator(config).eval(), config, 0)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a model that has an upscaler, and one that has none."""
    generator = snapshot_of(tiny_config())
    upscaler = snapshot_of(apply_settings(Config(), UPSCALER))
    for name, snapshot in (("large", with_upscaler(generator, upscaler)), ("small", generator)):
        (tmp_path / "models" / name).mkdir(parents=True)
        write_snapshot(tmp_path / "models" / name / shipped.FILE, snapshot)
    monkeypatch.setattr(shipped, "PRETRAINED_FOLDER", tmp_path / "models")
    return tmp_path / "models"


def test_none_is_taken_unless_it_is_named() -> None:
    assert shipped_upscaler(tiny_config()) is None
    assert shipped_upscaler(tiny_config(upscaler="large")) is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"upscaler": "larg"}, r"no model 'larg'. Did you mean large[?] Models: large, small"),
        ({"upscaler": "small"}, "a model without an upscaler"),
        ({"upscaler": "large", "image_size": 64}, r"images of 32 pixels; .* image_size 64"),
    ],
)
def test_what_does_not_fit_is_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shipped_upscaler(tiny_config(**settings))


def test_every_snapshot_of_a_run_has_it_also_one_that_is_written_again(tmp_path: Path) -> None:
    config = tiny_config(images=8, upscaler="large", score_every=None, sample_count=4)
    pixels, run = noise_paintings(), RunFolder(tmp_path / "run")
    for _ in range(2):  # the second time it is written again from the state of the finished run
        loop.train(config, pixels, data_about(len(pixels)), run.path, device=CPU)
        written = load_snapshot(run.snapshot)
        assert written.upscaler is not None
        assert written.config.output.upscale == "learned"
        run.snapshot.unlink()
    assert load_state(run.state)["step"] == 2
