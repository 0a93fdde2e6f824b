"""What stands out in a run, and what is advised: each rule by numbers that are beyond its limit."""

from typing import Any, cast

import pytest

from pipeline.config import load_preset
from pipeline.reports.findings import Finding, findings, next_steps
from pipeline.reports.run_settings import settings_in
from pipeline.scoring.record import Score

GOOD: dict[str, Any] = {
    "mifid": 90.0,
    "near_duplicates": 0.0,
    "vendi_ratio": 0.5,
    "copies": 0.0,
    "memorization_penalty": 1.0,
    "n_generated": 7000,
    "warnings": [],
    "nearest": [{"image": f"{n}.jpg", "painting": f"p{n}.jpg"} for n in range(24)],
}
DEMO = settings_in(load_preset("demo").to_dict())


def found(
    score: dict[str, Any] | None = None,
    curves: dict[str, list[float]] | None = None,
    validation: list[float] | None = None,
    **more: Any,
) -> list[Finding]:
    lines = [{"fid": fid, "images_seen": 50_000 * n} for n, fid in enumerate(validation or [], 1)]
    chosen, settings = more.pop("chosen", None), DEMO | more.pop("settings", {})
    return findings(cast(Score, GOOD | (score or {})), curves, lines, chosen, settings, **more)


def curves(seen: float = 200_000, points: int = 40, **columns: float) -> dict[str, list[float]]:
    steps = [seen * (n + 1) / points for n in range(points)]
    values = {"loss_d": 1.0, "loss_g": 1.0, "d_real": 0.7, "d_fake_before": 0.2} | columns
    return {"images_seen": steps} | {key: [value] * points for key, value in values.items()}


def titles(found: list[Finding]) -> list[str]:
    return [finding.title for finding in found]


def test_a_good_run_has_no_findings_and_goes_on_to_more() -> None:
    assert found(curves=curves()) == []
    steps = next_steps([], DEMO, scored=True, chosen=False)
    assert [step for step in steps if "docs/choosing.md" in step]
    assert next_steps([], DEMO, scored=True, chosen=True) == steps[1:]
    assert next_steps([], DEMO, scored=False, chosen=False) == []


@pytest.mark.parametrize(
    ("score", "title", "words", "advice"),
    [
        ({"near_duplicates": 0.0549}, "The generator repeats itself", "5.49%", "learning_rate"),
        ({"vendi_ratio": 0.0342}, "The images vary little", "3.42%", "learning_rate"),
        ({"copies": 0.0123}, "The generator copies", "1.23%", "--holdout"),
        ({"memorization_penalty": 0.09}, "MiFID is penalised", "0.090", "--holdout"),
    ],
)
def test_what_the_score_warns_of_is_serious_and_has_advice(
    score: dict[str, Any], title: str, words: str, advice: str
) -> None:
    (one,) = found(score)
    assert (one.title, one.serious) == (title, True)
    assert words in one.detail
    assert any(advice in step for step in next_steps([one], DEMO, scored=True, chosen=False))
    assert not any("docs/choosing" in step for step in next_steps([one], DEMO, True, False))


def test_warnings_of_early_versions_stay_in_their_words() -> None:
    early = {key: value for key, value in GOOD.items() if key != "copies"}
    lines = {"warnings": ["The images vary little: 9%.", "There is no recall."]}
    both = findings(cast(Score, early | lines), None, [], None, DEMO)
    assert titles(both) == ["The images vary little", "About the score"]
    assert [one.serious for one in both] == [True, False]


def test_of_translations_it_is_the_mirror_images_that_repeat() -> None:
    chosen = {"sources": [{"photos": None}, {"photos": {"count": 3000}}]}
    (one,) = found({"near_duplicates": 0.2}, chosen=chosen)
    assert ["--photos" in step for step in next_steps([one], {}, True, True)] == [True]


def test_one_training_image_nearest_to_most_is_told_from_a_few() -> None:
    same = [{"image": f"{n}.jpg", "painting": "p.jpg"} for n in range(12)]
    assert titles(found({"nearest": same + GOOD["nearest"][:12]})) == [
        "One training image is nearest to most"
    ]
    assert found({"nearest": same[:11] + GOOD["nearest"][:13]}) == []
    assert found({"nearest": same[:7]}) == []


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        (0.95, 0.05, ["The discriminator is too strong"]),
        (0.5, 0.49, ["The discriminator tells nothing"]),
        (0.8, 0.1, []),
    ],
)
def test_the_discriminators_outputs_at_the_end(
    real: float, fake: float, expected: list[str]
) -> None:
    at_end = curves(d_real=real, d_fake_before=fake)
    assert titles(found(curves=at_end)) == expected
    assert titles(found(curves=at_end, settings={"loss": "minimax"})) == expected
    for loss in ("hinge", "lsgan", "wgan-gp", "two-headed"):  # mean logits, wherever they lie
        assert found(curves=at_end, settings={"loss": loss}) == []
    assert found(curves=curves(points=19, d_real=real, d_fake_before=fake)) == []


def test_losses_that_are_no_numbers_any_more_are_dated() -> None:
    broken = curves()
    broken["loss_g"][10:] = [float("nan")] * 30
    (one,) = found(curves=broken)
    assert one.title == "The training broke down"
    assert "generator" in one.detail
    assert "55,000 images" in one.detail  # point 11 of 40, of 200,000
    broken["loss_g"][-1] = 1.0
    assert found(curves=broken) == []


def test_a_training_whose_numbers_broke_down_is_told_in_the_words_of_its_log() -> None:
    said = "A loss was not finite by step 25 (loss_d nan)."
    for lines in (None, curves()):
        (one,) = found(curves=lines, diverged=said)
        assert (one.title, one.serious) == ("The training broke down", True)
        assert one.detail.startswith(said)
    assert "learning_rate" in next_steps([one], DEMO, True, False)[0]


def test_a_training_that_has_hardly_begun_is_told_so_before_all_else() -> None:
    short = found({"near_duplicates": 1.0}, curves(5_888))
    assert titles(short) == ["The training has hardly begun", "The generator repeats itself"]
    (step,) = next_steps(short, DEMO, True, False)
    assert "--minutes" in step
    assert titles(found(curves=curves(5_888))) == ["The training was short"]
    translator = settings_in(load_preset("photo2monet").to_dict())
    told = findings(
        cast(Score, GOOD | {"near_duplicates": 1.0}), curves(5_888), [], None, translator
    )
    assert titles(told) == ["The generator repeats itself", "The training was short"]


def test_validation_scores_tell_a_run_that_got_worse_from_one_that_could_go_on() -> None:
    assert titles(found(validation=[200, 150, 160])) == ["It got worse towards the end"]
    assert titles(found(validation=[200, 160, 150])) == ["It was still getting better"]
    assert found(validation=[200, 150, 155]) == []
    assert found(validation=[150, 200]) == []
    lines = [
        {"fid": fid, "images_seen": seen, "features": "inception" if fid < 100 else "lite0"}
        for seen, fid in enumerate((80, 90, 150, 120, 110), 1)
    ]
    (one,) = findings(cast(Score, GOOD), None, lines, None, DEMO)  # 80 and 90 are of another scale
    assert one.title == "It was still getting better"


def test_validation_scores_are_judged_by_what_chose_the_best_snapshot() -> None:
    def judged(key: str, values: list[float]) -> list[str]:
        falling = [{"fid": 300.0 - n, "mifid": 300.0 - n} for n in range(len(values))]
        lines = [
            line | {key: value, "images_seen": n}
            for n, (line, value) in enumerate(zip(falling, values, strict=True), 1)
        ]
        return titles(findings(cast(Score, GOOD), None, lines, None, DEMO))

    assert judged("holdout_kid", [0.3, 0.1, 0.2]) == ["It got worse towards the end"]
    assert judged("holdout_kid", [0.3, 0.1, 0.11]) == []
    assert judged("holdout_kid", [0.3, -0.001, 0.0015]) == ["It got worse towards the end"]
    for near in ([-0.001, -0.0009, -0.00099], [0.01, 0.0, 0.00001], [0.0002, 0.0001, 0.0004]):
        assert judged("holdout_kid", near) == []
    assert judged("mifid", [150.0, 100.0, 120.0]) == ["It got worse towards the end"]
    assert judged("holdout_fid", [1.0, 2.0, 3.0]) == ["It was still getting better"]


def test_few_images_and_a_score_of_others_are_said() -> None:
    assert titles(found({"n_generated": 100})) == ["The score is of few images"]
    assert titles(found(stale=True)) == ["The score is of other images"]
    assert titles(found(outdated=True)) == ["The images are of an earlier snapshot"]
    early = found({"near_duplicates": 1.0}, curves(5_888), outdated=True)
    assert any("painter generate" in step for step in next_steps(early, DEMO, True, False))


def test_what_the_settings_already_do_is_not_advised() -> None:
    strong = found(curves=curves(d_real=0.95, d_fake_before=0.05))
    augmented = settings_in(load_preset("monet-dcgan").to_dict())
    plain = next_steps(strong, DEMO | {"real_label": 1.0}, True, False)
    assert [name for name in ("diffaugment", "real_label") if any(name in s for s in plain)] == [
        "diffaugment", "real_label",
    ]  # fmt: skip
    assert not any(
        "diffaugment" in s or "real_label" in s for s in next_steps(strong, augmented, True, False)
    )
    collapsed = found({"near_duplicates": 1.0})
    longer = found({"near_duplicates": 1.0}, curves(60_000))
    assert not any("--minutes" in step for step in next_steps(longer, DEMO, True, False))
    moved = next_steps(collapsed, DEMO | {"noise": "gamma(2, 1)"}, True, False)
    assert "gamma law" in moved[0]
    assert not any("gamma law" in step for step in next_steps(collapsed, DEMO, True, False))
    slow = DEMO | {"learning_rate": 1e-4}
    assert any("learning_rate=1e-4" in step for step in next_steps(collapsed, DEMO, True, False))
    assert not any("learning_rate" in step for step in next_steps(collapsed, slow, True, False))
