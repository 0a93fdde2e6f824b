"""The same features and the same images through painter and other programs: `make agreement`.

Prints tables in Markdown. Features are drawn from a seed, and Inception's weights too; with
--reference and --generated your own images are used instead of synthetic landscapes.

All programs must be installed: pip install 'painter-gan[bench]'.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.scoring import draw, scipy_distance
from pipeline.bench.scoring import write_random_inception
from pipeline.core.extras import install_extra
from pipeline.data.images import ImageSet, open_images
from pipeline.scoring import metrics
from pipeline.scoring.extractors import EXTRACTORS, Extractor, make_extractor
from pipeline.scoring.features import extract
from pipeline.scoring.kernel_distance import kernel_distance
from pipeline.system.devices import default_device

Array = np.ndarray
Distance = Callable[[Array, Array], float]


# --- The programs; generated features come first


def torch_fidelity_fid(generated: Array, reference: Array) -> float:
    from torch_fidelity import metric_fid

    both = [
        metric_fid.fid_features_to_statistics(torch.from_numpy(x)) for x in (generated, reference)
    ]
    return float(
        metric_fid.fid_statistics_to_metric(*both, verbose=False)[metric_fid.KEY_METRIC_FID]
    )


def torch_fidelity_kid(generated: Array, reference: Array) -> float:
    from torch_fidelity import metric_kid

    both = [torch.from_numpy(x) for x in (generated, reference)]
    options = {"kid_subsets": 1, "kid_subset_size": len(reference), "verbose": False}
    return float(
        metric_kid.kid_features_to_metric(*both, **options)[metric_kid.KEY_METRIC_KID_MEAN]
    )


def pytorch_fid(generated: Array, reference: Array) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance

    moments = [(x.mean(0), np.cov(x, rowvar=False)) for x in (generated, reference)]
    return float(calculate_frechet_distance(*moments[0], *moments[1]))


class PrecomputedFeatures(nn.Module):
    """An identity in place of the network that torchmetrics expects: the inputs are features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def torchmetrics_of(metric: Any, generated: Array, reference: Array) -> float:
    metric = metric.set_dtype(torch.float64)
    metric.update(torch.from_numpy(reference), real=True)
    metric.update(torch.from_numpy(generated), real=False)
    found = metric.compute()
    return float(found[0] if isinstance(found, tuple) else found)


def torchmetrics_fid(generated: Array, reference: Array) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(PrecomputedFeatures(generated.shape[1]))
    return torchmetrics_of(metric, generated, reference)


def torchmetrics_kid(generated: Array, reference: Array) -> float:
    from torchmetrics.image.kid import KernelInceptionDistance

    metric = KernelInceptionDistance(PrecomputedFeatures(0), subsets=1, subset_size=len(reference))
    return torchmetrics_of(metric, generated, reference)


def torchmetrics_mifid(generated: Array, reference: Array) -> float:
    from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

    metric = MemorizationInformedFrechetInceptionDistance(PrecomputedFeatures(generated.shape[1]))
    return torchmetrics_of(metric, generated, reference)


def painter_kid(generated: Array, reference: Array) -> float:
    return kernel_distance(generated, reference, subsets=1, subset_size=len(reference)).mean


FID: dict[str, Distance] = {
    "painter": metrics.frechet_distance,
    "scipy.linalg.sqrtm": scipy_distance,
    "torch-fidelity": torch_fidelity_fid,
    "pytorch-fid": pytorch_fid,
    "torchmetrics": torchmetrics_fid,
}
KID: dict[str, Distance] = {
    "painter": painter_kid,
    "torch-fidelity": torch_fidelity_kid,
    "torchmetrics": torchmetrics_kid,
}


# --- The tables


def features(rows: int, width: int, seed: int, shift: float) -> Array:
    """Return non-negative features with very unequal variances, like a network's."""
    mixing = np.random.default_rng(0).normal(size=(width, width)) / np.sqrt(width)
    mixing *= np.geomspace(1, 1e-2, width)[:, None]
    numbers = np.random.default_rng(seed).normal(size=(rows, width))
    result: Array = np.abs(numbers @ mixing + shift)
    return result


def same_features(width: int) -> None:
    many = features(3 * width, width, 1, 0.1), features(3 * width, width, 2, 0.0)
    few = many[0], many[1][: width // 7]
    print(f"\n### The same features, {width:,} numbers an image\n")
    print(f"| program | FID, {3 * width:,} images a side | FID against {len(few[1])} | KID |")
    print("|---|---|---|---|")
    for name, distance in FID.items():
        kid = f"{KID[name](*many):.9f}" if name in KID else "-"
        print(f"| {name} | {distance(*many):.7f} | {distance(*few):.7f} | {kid} |")


def share(found: Array, expected: Array) -> str:
    """Return the largest difference as a share of the largest feature."""
    return f"{np.abs(found - expected).max() / np.abs(expected).max():.1e}"


def first_pixels(images: ImageSet, count: int) -> torch.Tensor:
    """Return the first images as uint8 (count, 3, H, W)."""
    few = images.names[:count]
    return torch.from_numpy(np.stack([np.asarray(images.read_rgb(name)) for name in few])).permute(
        0, 3, 1, 2
    )


def random_weights(path: Path, images: ImageSet) -> Path:
    """Write random Inception weights whose normalisation fits the images."""
    return write_random_inception(path, first_pixels(images, 8))


def same_images(images: ImageSet, weights: Path) -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3(
        "inception-v3-compat",
        ["2048", "logits_unbiased"],
        feature_extractor_weights_path=io.BytesIO(weights.read_bytes()),
    )
    few = images.subset(images.names[:16])
    expected = [x.numpy() for x in network(first_pixels(few, 16))]
    print(f"\n### The same {len(few)} images as in torch-fidelity: the largest difference\n")
    print("| painter's Inception | features | logits |")
    print("|---|---|---|")
    for exact in (True, False):
        extractor = make_extractor("inception", weights, default_device(), exact)
        found = extract(few, extractor, extractor.precision, quiet=True)
        assert found.logits is not None
        differences = share(found.values, expected[0]), share(found.logits, expected[1])
        print(f"| {extractor.precision} | {differences[0]} | {differences[1]} |")


def fast_and_exact(generated: ImageSet, reference: ImageSet, weights: Path) -> None:
    print(f"\n### {len(generated):,} images against {len(reference):,}: FID, fast and exact\n")
    print("| extractor | exact | fast | difference |")
    print("|---|---|---|---|")
    for name in EXTRACTORS:
        exact, fast = (
            fid_of_images(
                generated,
                reference,
                make_extractor(
                    name, weights if name == "inception" else None, default_device(), exact
                ),
            )
            for exact in (True, False)
        )
        print(f"| {name} | {exact:.4f} | {fast:.4f} | {100 * (fast / exact - 1):+.3f}% |")


def fid_of_images(generated: ImageSet, reference: ImageSet, extractor: Extractor) -> float:
    a, b = (
        extract(images, extractor, extractor.name, quiet=True).values
        for images in (generated, reference)
    )
    return metrics.frechet_distance(a, b)


def memorization_example() -> None:
    """Print what two programs report for a generator that copies one training image of four."""
    numbers = np.random.default_rng(0)
    training = np.repeat(5 * np.eye(4), 25, axis=0) + numbers.uniform(0, 0.2, (100, 4))
    generated = training[:25].repeat(4, axis=0) + numbers.uniform(0, 0.2, (100, 4))
    fid = metrics.frechet_distance(generated, training)
    over_generated = metrics.memorization_distance(generated, training)
    over_training = metrics.memorization_distance(training, generated)
    print("\n### A generator that copies: 100 images, all near one of four groups of real images\n")
    print("| program | mean of the smallest distances over | distance | FID | MiFID |")
    print("|---|---|---|---|---|")
    mifid = metrics.memorization_informed_fid(fid, over_generated)
    print(
        f"| painter, Kaggle | generated images | {over_generated:.5f} | {fid:.3f} | {mifid:.1f} |"
    )
    theirs = torchmetrics_mifid(generated, training)
    print(f"| torchmetrics | training images | {over_training:.5f} | {fid:.3f} | {theirs:.1f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=512, help="numbers an image; 2048 takes long")
    parser.add_argument("--images", type=int, default=300, help="at most, of each set")
    parser.add_argument("--generated", type=Path, help="folder, zip or array of images")
    parser.add_argument("--reference", type=Path, help="folder, zip or array of real images")
    parser.add_argument("--weights", type=Path, help="Inception's [default: drawn from a seed]")
    arguments = parser.parse_args()
    if missing := [n for n in ("pytorch_fid", "torchmetrics") if not importlib.util.find_spec(n)]:
        sys.exit(f"{' and '.join(missing)} not installed: {install_extra('bench')}")
    warnings.filterwarnings("ignore")  # the other programs' own
    same_features(arguments.width)
    memorization_example()
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name), arguments.images)
        generated, reference = (
            open_images(given or Path(name) / drawn)
            for given, drawn in (
                (arguments.generated, "generated"),
                (arguments.reference, "reference"),
            )
        )
        generated, reference = (
            s.subset(s.names[: arguments.images]) for s in (generated, reference)
        )
        weights = arguments.weights or random_weights(Path(name) / "fitting.pth", reference)
        same_images(reference, weights)
        fast_and_exact(generated, reference, weights)


if __name__ == "__main__":
    main()
