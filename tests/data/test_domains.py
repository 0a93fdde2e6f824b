"""Which folder of a tree of images is used, wherever it lies."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import DataError
from pipeline.data.domains import ALL_DOMAINS, DomainSelection, count_domains, select_domain


def tree(**counts: int) -> list[str]:
    """Return the names of images in folders, given as `a__b=3`."""
    folders = {name.replace("__", "/"): count for name, count in counts.items()}
    return sorted(f"{folder}/{n}.jpg" for folder, count in folders.items() for n in range(count))


def picked(names: Sequence[str], domain: str | None = None) -> DomainSelection:
    return select_domain(names, domain, "data")


COMPETITION = tree(monet_jpg=2, photo_jpg=3)
WRAPPED = tree(gan__monet_jpg=2, gan__photo_jpg=3)
TWICE_WRAPPED = tree(a__gan__monet_jpg=2, a__gan__photo_jpg=3)
BESIDE_OTHERS = tree(gan__monet_jpg=2, gan__photo_jpg=3, out=4)


@pytest.mark.parametrize("names", [COMPETITION, WRAPPED, TWICE_WRAPPED])
@pytest.mark.parametrize("domain", [None, "monet_jpg"])
def test_the_paintings_have_the_same_names_and_domain_however_they_are_wrapped(
    names: list[str], domain: str | None
) -> None:
    found = picked(names, domain)
    assert found.domain == "monet_jpg"
    assert list(found.stored) == ["monet_jpg/0.jpg", "monet_jpg/1.jpg"]
    assert list(found.stored.values()) == [n for n in names if "/monet_jpg/" in f"/{n}"]


def test_what_was_picked_finds_itself_again() -> None:
    twice = tree(monet_jpg__monet_jpg=2, monet_jpg__photo_jpg=3)
    for names in (COMPETITION, WRAPPED, TWICE_WRAPPED, BESIDE_OTHERS, twice):
        found = picked(names)
        assert len(found.stored) == 2
        assert picked(names, found.domain) == found


def test_what_lies_beside_the_wrapping_folder_changes_no_names() -> None:
    found = picked(BESIDE_OTHERS)
    assert (found.domain, list(found.stored)) == ("monet_jpg", list(picked(WRAPPED).stored))
    assert list(found.stored.values()) == [n for n in BESIDE_OTHERS if "monet" in n]
    assert picked(BESIDE_OTHERS, "monet_jpg") == found
    assert picked(BESIDE_OTHERS, "gan\\monet_jpg/") == found


def test_one_of_several_folders_of_a_name_keeps_its_path() -> None:
    names = tree(gan__monet_jpg=2, gan__photo_jpg=3, copy__monet_jpg=4)
    found = picked(names, "gan/monet_jpg")
    assert found.domain == "gan/monet_jpg"
    assert found.stored == {n: n for n in names if n.startswith("gan/monet")}
    assert picked(names, found.domain) == found


@pytest.mark.parametrize(
    "names",
    [
        tree(monet_jpg=3),
        ["loose.jpg", *tree(monet_jpg=3)],
        tree(train__cat=2, train__dog=2),
        tree(cars=2, vans=3),
        tree(deep__down=2),
        ["a.jpg", "b.jpg"],
    ],
)
def test_where_nothing_is_picked_names_stay_as_they_are(names: list[str]) -> None:
    assert picked(names).domain is None
    assert picked(names).stored == {name: name for name in names}
    assert picked(names, ALL_DOMAINS).domain == ALL_DOMAINS
    assert list(picked(names, ALL_DOMAINS).stored) == names


def test_a_folder_at_the_top_is_picked_as_ever() -> None:
    assert picked(WRAPPED, "gan").stored == {name: name for name in WRAPPED}
    assert picked(WRAPPED, "gan").domain == "gan"
    assert list(picked(["x.jpg", *COMPETITION], "photo_jpg").stored) == COMPETITION[2:]


def test_several_folders_of_one_name_are_listed_and_told_apart_by_path() -> None:
    names = tree(a__monet_jpg=2, b__monet_jpg=3)
    for domain in (None, "monet_jpg"):
        with pytest.raises(DataError, match=r"a/monet_jpg \(2\), b/monet_jpg \(3\).*--domain a/m"):
            picked(names, domain)
    assert picked(names, "b/monet_jpg").domain == "b/monet_jpg"
    assert len(picked(names, "b/monet_jpg").stored) == 3


@pytest.mark.parametrize("domain", ["vangogh", "", ".", "/", "..", "photo"])
def test_an_unknown_domain_lists_what_is_there(domain: str) -> None:
    with pytest.raises(DataError, match=r"no domain .*; found: gan/monet_jpg, gan/photo_jpg\."):
        picked(WRAPPED, domain)


def test_the_line_says_which_folder_and_how_many_are_left_aside() -> None:
    line = picked(WRAPPED).message or ""
    assert "2 images from gan/monet_jpg, 3 left aside (gan/photo_jpg 3)" in line
    assert "--domain" in line
    assert ": 1 image from a, 2 left aside" in (picked(tree(a=1, b=2), "a").message or "")
    assert picked(tree(monet_jpg=3), "monet_jpg").message is None
    together = picked(tree(**{f"f{n}": n for n in range(1, 9)})).message or ""
    assert "all 36 images, from 8 folders (f8 8, f7 7, f6 6" in together
    assert together.endswith("2 more).")


def test_manifests_count_domains_below_what_wraps_them() -> None:
    assert count_domains(COMPETITION) == count_domains(WRAPPED) == {"monet_jpg": 2, "photo_jpg": 3}
    assert count_domains(tree(monet_jpg=2)) == {"monet_jpg": 2}
    assert count_domains(["a.jpg", "x/b.jpg"]) == {".": 1, "x": 1}
    assert count_domains([]) == {}


PARTS = st.sampled_from(["monet_jpg", "photo_jpg", "a", "b"])


@given(st.lists(st.lists(PARTS, min_size=0, max_size=3).map("/".join), min_size=1, max_size=6))
def test_a_pick_is_a_part_of_the_tree_and_repeatable(folders: list[str]) -> None:
    names = sorted({f"{folder}/{n}.jpg".lstrip("/") for n, folder in enumerate(folders)})
    try:
        found = picked(names)
    except DataError:  # several folders of that name
        return
    assert set(found.stored.values()) <= set(names)
    assert len(found.stored) == len(set(found.stored.values()))
    if found.domain is not None:
        assert picked(names, found.domain).stored == found.stored
