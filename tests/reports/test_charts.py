"""Charts: what is drawn, and that a page of any colours can hold several of them."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from pipeline.reports.charts import (
    Points,
    Series,
    extremes,
    histogram_bins,
    histogram_chart,
    line_chart,
    place_chart,
    scatter_chart,
    shared_limits,
    short_number,
    smooth,
    smoothing_window,
)

SVG = "{http://www.w3.org/2000/svg}"
STEPS = 2000


def chart(name: str = "losses", count: int = STEPS, description: str = "Losses") -> str:
    generator = np.random.Generator(np.random.Philox(5))
    x = np.arange(count) * 640.0
    lines = [Series(label, generator.random(count).tolist()) for label in ("one", "two", "three")]
    return line_chart(name, x.tolist(), lines, description=description, x_label="images seen")


def ids(svg: str) -> list[str]:
    return [e.attrib["id"] for e in ET.fromstring(svg).iter() if "id" in e.attrib]


def test_chart_is_one_svg_element_with_a_spoken_description() -> None:
    root = ET.fromstring(chart(description='a < b & "c"'))
    assert root.tag == f"{SVG}svg"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == 'a < b & "c"'
    assert "width" not in root.attrib
    assert "height" not in root.attrib


def test_text_stays_text() -> None:
    texts = [element.text for element in ET.fromstring(chart()).iter(f"{SVG}text")]
    assert "images seen" in texts
    assert "500k" in texts


def test_every_colour_comes_from_the_page() -> None:
    svg = chart()
    variables = re.findall(r"var\(--series-(\d), #[0-9a-f]{6}\)", svg)
    assert set(variables) == {"1", "2", "3"}
    without = re.sub(r"var\(--series-\d, #[0-9a-f]{6}\)", "", svg)
    colours = set(re.findall(r"(?:fill|stroke|color): *([^;\"]+)", without))
    assert colours <= {"none", "currentColor", " ", ""}
    assert "#" not in re.sub(r"url\(#|href=\"#", "", without)
    for text in ET.fromstring(svg).iter(f"{SVG}text"):
        assert "fill: currentColor" in text.attrib["style"]


def test_nothing_reaches_out_of_the_chart() -> None:
    svg = chart()
    assert "<style" not in svg
    assert "<metadata" not in svg
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]


def test_charts_can_share_a_page() -> None:
    first, second = chart("losses"), chart("outputs")
    assert not set(ids(first)) & set(ids(second))
    for svg in (first, second):
        named = ids(svg)
        assert len(named) == len(set(named))
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(named)


def test_same_values_make_the_same_chart() -> None:
    assert chart() == chart()


def test_long_runs_stay_small() -> None:
    # 200 stretches x 2 points + 300 points a line, about 25 characters each: under 60 kB.
    assert len(chart(count=50_000)) < 80_000


@pytest.mark.parametrize("values", [[math.nan], [0.5], [math.nan, math.inf, math.nan], [1.0, 1.0]])
def test_short_and_empty_lines_are_drawn(values: list[float]) -> None:
    svg = line_chart(
        "a", list(range(len(values))), [Series("x", values)], description="d", x_label="x"
    )
    assert ET.fromstring(svg).tag == f"{SVG}svg"
    assert "nan" not in svg.lower()


def test_a_single_value_is_a_dot() -> None:
    svg = line_chart("a", [1.0], [Series("x", [0.5])], description="d", x_label="x")
    assert ET.fromstring(svg).find(f".//{SVG}use") is not None


def test_limits_are_the_axis() -> None:
    svg = line_chart(
        "a", [0, 1], [Series("x", [0.4, 0.6])], description="d", x_label="x", limits=(0.0, 1.0)
    )
    texts = {element.text for element in ET.fromstring(svg).iter(f"{SVG}text")}
    assert {"0.0", "1.0"} <= texts


def test_smooth_is_the_centred_average_shorter_at_the_ends() -> None:
    np.testing.assert_array_equal(smooth([1.0, 2.0, 6.0, 10.0], 3), [1.5, 3.0, 6.0, 8.0])
    np.testing.assert_array_equal(smooth([1.0, 5.0], 1), [1.0, 5.0])


def test_smooth_leaves_out_what_is_not_finite() -> None:
    nan = math.nan
    np.testing.assert_array_equal(smooth([1.0, nan, 3.0, math.inf], 3), [1.0, 2.0, 3.0, 3.0])
    np.testing.assert_array_equal(smooth([nan, nan], 1), [nan, nan])


def test_a_huge_value_changes_no_window_that_it_is_not_in() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(400)
    values[[3, 100]] = 1e17, math.nan
    for window in (1, 2, 5, 8, 399, 1000):
        expected = []
        for centre in range(len(values)):
            near = values[max(0, centre - window // 2) : centre + (window + 1) // 2]
            expected.append(near[np.isfinite(near)].mean() if np.isfinite(near).any() else math.nan)
        # Sums of up to 400 numbers of one sign: each addition rounds by 1e-16 of them.
        np.testing.assert_allclose(smooth(values, window), expected, rtol=1e-13)


def test_smoothing_window_is_two_in_a_hundred() -> None:
    assert [smoothing_window(n) for n in (1, 50, 1000)] == [1, 1, 20]


def test_thinning_keeps_every_peak() -> None:
    x, y = np.arange(10_000.0), np.zeros(10_000)
    y[4321], y[8765], y[17] = 50.0, -7.0, math.nan
    thin_x, thin_y = extremes(x, y, 100)
    assert len(thin_x) <= 200
    assert (np.diff(thin_x) > 0).all()
    assert thin_y[thin_x == 4321] == 50.0
    assert thin_y[thin_x == 8765] == -7.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (20_000, "20k"), (1.2e6, "1.2M"), (3e9, "3G"), (math.nan, "–")],
)
def test_short_number(value: float, text: str) -> None:
    assert short_number(value) == text


def scatter(*groups: Points) -> ET.Element:
    return ET.fromstring(
        scatter_chart("scores", groups, description="Scores", x_label="local", y_label="public")
    )


def test_a_scatter_chart_names_its_points_and_axes() -> None:
    groups = (Points("a", [1.0, 2.0], [3.0, 4.0], ["one", "two <b>"]), Points("b", [5], [6], ["x"]))
    texts = [element.text for element in scatter(*groups).iter(f"{SVG}text")]
    assert {"one", "two <b>", "x", "local", "public"} <= set(texts)


def test_each_group_of_points_has_its_colour_and_shape() -> None:
    groups = [Points(n, [float(n)], [float(n)], [n]) for n in "123"]
    svg = ET.tostring(scatter(*groups), "unicode")
    assert set(re.findall(r"var\(--series-(\d)", svg)) == {"1", "2", "3"}


def test_a_single_point_makes_a_chart() -> None:
    assert scatter(Points("a", [80.0], [78.0], ["first"])).tag == f"{SVG}svg"


def test_a_histogram_has_a_bar_for_each_range_and_a_line_at_the_median() -> None:
    svg = histogram_chart(
        "sizes", [1.0, 2.0, 2.0, 9.0], description="Sizes", x_label="kB", y_label="images"
    )
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == "Sizes"
    bars = re.findall(r"fill: var\(--series-2", svg)
    assert len(bars) == histogram_bins([1.0, 2.0, 2.0, 9.0])[0]
    assert len(re.findall(r"stroke: var\(--series-1", svg)) == 1
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"kB", "images"} <= set(texts)


@pytest.mark.parametrize(
    ("values", "bins", "covered"),
    [
        ([1.0, 3.0], 5, (1.0, 3.0)),
        ([10.0, 10.0], 5, (9.0, 11.0)),
        ([float(n) for n in range(1000)], 20, (0.0, 999.0)),  # Rice's rule: twice the cube root
    ],
)
def test_histogram_bins(values: list[float], bins: int, covered: tuple[float, float]) -> None:
    assert histogram_bins(values) == (bins, covered)


def test_several_charts_share_a_scale_that_one_of_them_does_not_spoil() -> None:
    charts = [[Series("a", [low, low + 1.0])] for low in (0.0, 0.5, 1.0)]
    # Each reaches 5 % beyond its values; the medians then lie 0.5 from the outer two.
    assert shared_limits(charts) == pytest.approx((-0.05, 2.05))
    wild = [Series("b", [0.0, 500.0])]
    assert shared_limits([*charts, wild])[1] == pytest.approx(1.55 + 5 * 1.1)
    assert shared_limits([charts[0], wild])[1] == pytest.approx(1.05 + 5 * 1.1)
    assert shared_limits([[]]) == (0.0, 1.0)


def test_the_axes_can_be_set() -> None:
    texts = [
        re.findall(r"<text[^>]*>([^<]*)</text>", line_chart(
            "x", x, [Series("a", [0.5, 0.6])], description="", x_label="n",
            limits=(0, 1), x_limits=(0, 10),
        ))
        for x in ([1, 2], [5, 9])
    ]  # fmt: skip
    assert texts[0] == texts[1]


def test_a_place_is_a_point_on_the_scores_of_all() -> None:
    scores = [40.0, *(50.0 + n for n in range(19)), 400.0]
    svg = place_chart("p", scores, 1, description="d", x_label="place", y_label="score")
    texts = [float(t) for t in re.findall(r"<text[^>]*>([\d.]+)</text>", svg)]
    assert max(texts) < 100  # the last team is beyond the chart
    last = place_chart("p", scores, 21, description="d", x_label="place", y_label="score")
    assert max(float(t) for t in re.findall(r"<text[^>]*>([\d.]+)</text>", last)) >= 400


def test_what_has_scales_of_its_own_has_no_line_of_equality() -> None:
    groups = [Points("a", [1.0, 2.0], [1.0, 2.0], ["x", "y"])]
    dashed = [
        "stroke-dasharray"
        in scatter_chart("s", groups, description="", x_label="", y_label="", equality=equality)
        for equality in (True, False)
    ]
    assert dashed == [True, False]
