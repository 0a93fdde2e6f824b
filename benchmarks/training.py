"""Training speed against a plain DCGAN loop, alternating in one run: `make bench-train`.

The baseline is what tutorials do: files decoded by a DataLoader each epoch, float32, NCHW, two
discriminator passes, losses read back every step. Both train the same networks at 64 pixels and
batch 64 on drawn landscapes. Prints images a second and their ratio: median and spread.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.measure import alternating, machine, ratios, seconds, table
from pipeline.config import load_preset
from pipeline.data.images import decode_rgb, load_images, open_images
from pipeline.data.painterly import draw_landscape
from pipeline.networks import build_discriminator, build_generator
from pipeline.training.batches import Batches
from pipeline.training.loop import train_step
from pipeline.training.objective import NonSaturating
from pipeline.training.precision import Precision, choose_precision, default_device
from pipeline.training.state import TrainingState

CONFIG = load_preset("monet64")
BATCH = CONFIG.training.batch_size


class Files(Dataset[torch.Tensor]):
    """JPEG files, decoded whenever they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob("*.jpg"))
        self._transform = transforms.Compose(
            [
                transforms.Resize(64),
                transforms.CenterCrop(64),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            ]
        )

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image: torch.Tensor = self._transform(decode_rgb(self._paths[index].read_bytes()))
        return image


class Baseline:
    """A plain training loop."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._device = device
        self._loader = DataLoader(Files(folder), BATCH, shuffle=True, drop_last=True)
        self._g = build_generator(CONFIG.network, CONFIG.data).to(device)
        self._d = build_discriminator(CONFIG).to(device)
        self._adam_g = torch.optim.Adam(self._g.parameters(), 2e-4, (0.5, 0.999))
        self._adam_d = torch.optim.Adam(self._d.parameters(), 2e-4, (0.5, 0.999))
        self._loss = nn.BCEWithLogitsLoss()

    def train(self, steps: int) -> None:
        """Take some steps."""
        done = 0
        while done < steps:
            for paintings in self._loader:
                self._step(paintings.to(self._device))
                done += 1
                if done == steps:
                    return

    def _step(self, real: torch.Tensor) -> None:
        ones = torch.full((len(real),), 0.8, device=self._device)
        tenths = torch.full((len(real),), 0.1, device=self._device)
        self._d.zero_grad()
        loss_real = self._loss(self._d(real), ones)
        loss_real.backward()
        fake = self._g(torch.randn(len(real), CONFIG.network.latent_size, device=self._device))
        loss_fake = self._loss(self._d(fake.detach()), tenths)
        loss_fake.backward()
        self._adam_d.step()
        self._g.zero_grad()
        loss_g = self._loss(self._d(fake), ones)
        loss_g.backward()
        self._adam_g.step()
        _ = loss_real.item() + loss_fake.item() + loss_g.item()


class Painter:
    """The product's own step, without logging and saving, as between two log lines."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._precision = Precision(choose_precision("auto", device), device)
        self._state = TrainingState.fresh(CONFIG, self._precision)
        images = load_images(open_images(folder), CONFIG.data.image_size)
        self._batches = Batches(images.pixels, CONFIG, device)
        self._objective = NonSaturating.from_config(CONFIG.training)
        self.precision = self._precision.name

    def train(self, steps: int) -> None:
        """Take some steps."""
        for _ in range(steps):
            batch = self._batches(self._state.step + 1)
            train_step(self._state, self._objective, batch, self._precision)


def draw(folder: Path, count: int = 300) -> None:
    """Fill a folder with landscapes as JPEG files."""
    for index in range(count):
        buffer = io.BytesIO()
        draw_landscape(index % 20, seed=index // 20).save(buffer, "JPEG", quality=75)
        (folder / f"{index:03d}.jpg").write_bytes(buffer.getvalue())


def rate(trainer: Baseline | Painter, steps: int, device: torch.device) -> float:
    """Return images a second over some steps."""
    return steps * BATCH / seconds(lambda: trainer.train(steps), device)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    device = default_device()
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name))
        baseline, painter = Baseline(Path(name), device), Painter(Path(name), device)
        trainers: dict[str, Baseline | Painter] = {
            "baseline float32": baseline,
            f"painter {painter.precision}": painter,
        }
        for trainer in trainers.values():
            rate(trainer, 2, device)
        rates = alternating(
            {n: partial(rate, t, arguments.steps, device) for n, t in trainers.items()},
            arguments.rounds,
        )
    print(machine(device, f"batch {BATCH}"))
    print(table("Training at 64 pixels", "images/s", rates))
    print(table("Ratio", "times", {"painter over baseline": ratios(rates, *reversed(rates))}))


if __name__ == "__main__":
    main()
