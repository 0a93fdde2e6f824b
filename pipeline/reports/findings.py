"""What stands out in a run, worst first, and what to try next: the top of its report.

Each rule looks at one kind of numbers and says what it found and what may help. A rule's limit
stands beside it with where it comes from. Advice names settings, and the guide that tells more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.advice import per_cent
from pipeline.reports.charts import FEW_POINTS
from pipeline.runs.curves import gives_probabilities, losses, score_in
from pipeline.scoring.diversity import ALIKE, COPIES, PENALISED, REPEATS
from pipeline.scoring.evaluation import score_warnings
from pipeline.scoring.metric_table import METRIC, SNAPSHOT_CRITERIA, comparable_scores
from pipeline.scoring.record import Score

SHORT_TRAINING = 100_000
"""Training images. The shipped models have seen 113,000 to 400,000; from 64,000 to 168,000 a DCGAN
gained 50 to 65 in FID (docs/results.md, What pays)."""
CLOUDS = 20_000
"""Training images until which a DCGAN's images may all be alike (`painter demo` says the same)."""
FEW_IMAGES = 1_000
"""Generated images. A score of 500 lies 5 to 7 above that of 7,000 of the same model
(docs/report.md)."""
RECENT = 0.2
"""Share of the curves that says how the training ended."""
SURE, UNSURE = 0.8, 0.05
"""D(real) - D(generated), as probabilities. In the run of preset monet-dcgan it is 0.45 to 0.58."""
WORSE = {"holdout_kid": 1.15, "mifid": 1.05, "fid": 1.05}
"""The last validation score over the best one. Between sets of 1,000 images of one model FID has a
standard deviation of 0.8 %, KID against 60 held-out paintings of 3 % (monet-dcgan, n = 4)."""
LEAST_KID = 0.002
"""And by how much at least: near 0, where a KID may be negative, a share of it means nothing. The
standard deviation of a KID of 0.06 is as large."""
SAME_PAINTING = 0.5
"""Share of the images listed that have the same nearest training image."""
MIN_LISTED = 8
"""Images from which that share means something."""


@dataclass(frozen=True)
class Advice:
    """What may help; `words` between backticks are code."""

    text: str
    setting: str = ""
    helps: Callable[[object], bool] = bool
    """Tells of the setting's value whether changing it may help."""

    def fits(self, settings: Mapping[str, object]) -> bool:
        """Tell whether it says anything new to who has these settings."""
        return not self.setting or (self.setting in settings and self.helps(settings[self.setting]))


AUGMENT = Advice(
    "Let the discriminator see shifted images, so that it does not know them all: `--set "
    'diffaugment=["translation"]` (docs/training.md).',
    "diffaugment",
    lambda value: not value,
)
SLOW = 1e-4
"""The rate that is advised where a training is too fast, to those whose rate is above it."""


def _is_faster(rate: object) -> bool:
    return not isinstance(rate, int | float) or rate > SLOW


SLOWER = Advice(
    "Learn more slowly: `--set learning_rate=1e-4` (docs/training.md).", "learning_rate", _is_faster
)


@dataclass(frozen=True)
class Finding:
    """Something that stands out."""

    title: str
    detail: str
    advice: tuple[Advice, ...] = ()
    serious: bool = True
    """Whether something is wrong, and not only worth knowing."""


COLLAPSED = (
    Advice(
        "Take noise around 0: with a moved mean or the gamma law all images are alike. `--set "
        "'noise=normal(0, 1)'` (docs/results.md, Which noise).",
        "noise",
        lambda value: value != "normal(0, 1)",
    ),
    Advice(
        "Look below at the sample grids for when the images were still varied, and stop there: "
        "`--set images=N` in a new run."
    ),
    AUGMENT,
    SLOWER,
)
MEMORISED = (
    Advice(
        "Hold paintings out, `--holdout 0.2`: a score against them tells learning from copying "
        "(docs/scoring.md, Held-out images).",
        "holdout",
        lambda value: not value,
    ),
    AUGMENT,
    Advice("Stop earlier: `--set images=N` in a new run."),
)
TOO_SURE = (
    AUGMENT,
    Advice(
        "Keep it from being certain: `--set real_label=0.9` (docs/training.md).",
        "real_label",
        lambda value: value == 1,
    ),
    Advice(
        "Let it learn more slowly: `--set discriminator_learning_rate=1e-4`.",
        "discriminator_learning_rate",
        _is_faster,
    ),
)
TOO_UNSURE = (
    Advice("Let the discriminator learn faster: `--set discriminator_learning_rate=4e-4`."),
    Advice("Widen it: `--set discriminator_channels=96` in a new run (docs/training.md)."),
)
BROKEN = (
    Advice(
        "Train anew at a lower rate, `--set learning_rate=1e-4`, or with `--set precision=float32` "
        "(docs/training.md)."
    ),
)
LONGER = (
    Advice(
        "Train on: the same `painter train` with more `--minutes`, and `--set images=N` if that "
        "limit ended it; or an hour on Kaggle's GPU (docs/kaggle.md)."
    ),
)
MIRRORED = (
    Advice(
        "A photo and its mirror image count as near-duplicates: give more `--photos`, or ask for "
        "fewer images (docs/choosing.md)."
    ),
)
CHANGED = (
    "The images have been made anew since: number, warnings and neighbours are of the old ones."
)
AGAIN = Advice("Score the new images: `painter score`.")
EARLIER = (
    "The run was trained on since: images, number and neighbours are of a snapshot that is no "
    "longer there."
)
ANEW = Advice("Make images of the snapshot that is there, and score them: `painter generate`.")
MORE_IMAGES = (
    Advice("For a score to compare, and a submission: `--count 7000` (docs/scoring.md)."),
)
CHOOSE = (
    "Keep the best part of more images, of one model or several: `--choose-from` "
    "(docs/choosing.md)."
)
COMPARE = (
    "Compare settings over several seeds: two seeds of the same settings differ by 19 in FID "
    "(docs/studies.md)."
)
SUBMIT = "Submit it (docs/first-submission.md)."
BEGUN, SHORT = "The training has hardly begun", "The training was short"
_ADVICE = {REPEATS: COLLAPSED, ALIKE: COLLAPSED, COPIES: MEMORISED, PENALISED: MEMORISED}


def findings(
    score: Score | None,
    stats: Mapping[str, Sequence[float]] | None,
    scores: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, Any] | None,
    settings: Mapping[str, object],
    diverged: str | None = None,
    stale: bool = False,
    outdated: bool = False,
) -> list[Finding]:
    """Return what stands out, serious things first.

    Args:
        score: of the run's images.
        stats: the curves of its training; None if it was not trained here.
        scores: the validation scores.
        chosen: how the images were chosen, if they were.
        settings: of the run, by name.
        diverged: how the training ended, where its numbers broke down.
        stale: whether the score is of other images than those in the run now.
        outdated: whether the images are of a snapshot that is not in the run now.
    """
    found = [] if not stale else [Finding("The score is of other images", CHANGED, (AGAIN,))]
    found += [Finding("The images are of an earlier snapshot", EARLIER, (ANEW,))] * outdated
    found += [] if score is None else [*_of_score(score, chosen), *_of_nearest(score)]
    found += _of_divergence(diverged, stats)
    if stats is not None:
        found += _of_outputs(stats) if gives_probabilities(settings) else []
        begun = list(_of_beginning(stats, found)) if "noise" in settings else []
        found = [*begun, *found, *(() if begun else _of_length(stats))]
    found += _of_validation(scores)
    return sorted(found, key=lambda finding: not finding.serious)


def next_steps(
    found: Sequence[Finding], settings: Mapping[str, object], scored: bool, chosen: bool
) -> list[str]:
    """Return what to try next, each thing once: the advice of the findings, then what is general.

    Args:
        found: what stands out.
        settings: of the run; what they already do is not advised.
        scored: whether the run's images have a score.
        chosen: whether they were chosen of more images.
    """
    advice = [one for finding in found for one in finding.advice if one.fits(settings)]
    if any(finding.title == BEGUN for finding in found):  # the rest may pass by itself
        advice = [one for one in advice if one in (*LONGER, COLLAPSED[0], AGAIN, ANEW)]
    elif any(finding.advice is COLLAPSED for finding in found):
        advice = [one for one in advice if one not in LONGER]
    steps = [one.text for one in advice]
    if scored and not any(finding.serious for finding in found):
        short = any(finding.title == SHORT for finding in found)
        steps += [] if short else [*(() if chosen else (CHOOSE,)), COMPARE]
        steps.append(SUBMIT)
    return list(dict.fromkeys(steps))


def _of_score(score: Score, chosen: Mapping[str, Any] | None) -> Iterator[Finding]:
    photos = any(source.get("photos") for source in (chosen or {}).get("sources", []))
    for warning in score_warnings(score):
        title, colon, detail = warning.partition(": ")
        if colon and title in _ADVICE:
            advice = MIRRORED if photos and title == REPEATS else _ADVICE[title]
            yield Finding(title, detail[:1].upper() + detail[1:], advice)
        else:
            yield Finding("About the score", warning, serious=False)
    count = score.get("n_generated", FEW_IMAGES)
    if count < FEW_IMAGES:
        detail = f"{count:,} images were scored. FID falls as images are added: compare equal n."
        yield Finding("The score is of few images", detail, MORE_IMAGES, serious=False)


def _of_nearest(score: Score) -> Iterator[Finding]:
    names = [str(pair.get("painting")) for pair in score.get("nearest", [])]
    most = max(map(names.count, names), default=0)
    if len(names) >= MIN_LISTED and most >= SAME_PAINTING * len(names):
        detail = (
            f"Of {len(names)} images spread over the set, {most} have the same nearest one: the "
            "set is one picture, more or less."
        )
        yield Finding("One training image is nearest to most", detail, COLLAPSED)


def _of_divergence(
    diverged: str | None, stats: Mapping[str, Sequence[float]] | None
) -> Iterator[Finding]:
    """Look whether the numbers broke down: the log says so, of early versions the losses."""
    title = "The training broke down"
    if diverged is not None:
        yield Finding(title, f"{diverged} The snapshot is of before.", BROKEN)
        return
    for name, values in losses(stats or {}).items():
        tail = values[-FEW_POINTS:]
        if stats and len(values) > 1 and not any(map(math.isfinite, tail)):
            first = next(i for i in range(len(values)) if not any(map(math.isfinite, values[i:])))
            seen = stats["images_seen"][first]
            detail = f"The loss of the {name} is no number any more after {seen:,.0f} images."
            yield Finding(title, detail, BROKEN)
            return


def _of_outputs(stats: Mapping[str, Sequence[float]]) -> Iterator[Finding]:
    """Look how far apart the probabilities are that the discriminator gives at the end."""
    if not {"d_real", "d_fake_before"} <= set(stats):
        return
    both = list(zip(stats["d_real"], stats["d_fake_before"], strict=True))
    recent = [pair for pair in both[-round(RECENT * len(both)) :] if all(map(math.isfinite, pair))]
    if len(both) < FEW_POINTS or not recent:
        return
    real, fake = (sum(values) / len(recent) for values in zip(*recent, strict=True))
    ends = f"In the last fifth it gave real images {real:.2f} and generated ones {fake:.2f}"
    if real - fake > SURE:
        yield Finding(
            "The discriminator is too strong",
            f"{ends}: it knows nearly all, and the generator learns little from it.",
            TOO_SURE,
        )
    if abs(real - fake) < UNSURE:
        yield Finding(
            "The discriminator tells nothing",
            f"{ends}: it cannot tell them apart, so the generator learns nothing from it.",
            TOO_UNSURE,
        )


def _of_beginning(
    stats: Mapping[str, Sequence[float]], found: Sequence[Finding]
) -> Iterator[Finding]:
    """Look whether images are alike because the training has hardly begun."""
    seen = stats["images_seen"][-1]
    if seen < CLOUDS and any(finding.advice is COLLAPSED for finding in found):
        detail = (
            f"It has seen {seen:,.0f} images. From noise, clouds of colour come with 15,000 to "
            "20,000; until then all images are alike, which the rest of this list may be due to."
        )
        yield Finding(BEGUN, detail, LONGER)


def _of_length(stats: Mapping[str, Sequence[float]]) -> Iterator[Finding]:
    seen = stats["images_seen"][-1]
    if seen < SHORT_TRAINING:
        detail = (
            f"{seen:,.0f} images. The models that come with painter have seen 113,000 to 400,000."
        )
        yield Finding(SHORT, detail, LONGER, serious=False)


def _of_validation(scores: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Look where the best validation score lies: long before the end, or at it."""
    scores = comparable_scores(scores)
    keys = (*SNAPSHOT_CRITERIA, "fid")  # the last of early versions
    key = next((k for k in keys if any(math.isfinite(score_in(s, k)) for s in scores)), keys[-1])
    known = [(score_in(line, key), line["images_seen"]) for line in scores]
    known = [(value, seen) for value, seen in known if math.isfinite(value)]
    if len(known) < 3:
        return
    (best, at), (last, end) = min(known), known[-1]
    metric = METRIC[key]
    low, high = metric.text(best), metric.text(last)
    least = LEAST_KID if key == "holdout_kid" else 0.0
    if last - best > max((WORSE[key] - 1) * best, least):
        more = f", {per_cent(last / best - 1)} more" if best > 0 else ""
        detail = (
            f"{metric.title} was {low} after {at:,} images and is {high} after {end:,}{more}. "
            "`generate` takes the best snapshot."
        )
        yield Finding("It got worse towards the end", detail, (AUGMENT, SLOWER), serious=False)
    elif best == last:
        detail = f"The last {metric.label}, {high} after {end:,} images, is the best."
        yield Finding("It was still getting better", detail, LONGER, serious=False)
