"""Under attack, only equal attacks on equal images are compared."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import FORM, fake_run

from gambeson.reports.read import read
from gambeson.reports.sections.attacked_pairs import attacked_pairs
from gambeson.reports.sections.pairs import pairs
from gambeson.reports.writers import to_csv
from gambeson.stats.paired import paired

ATTACKS = [("linf", "base"), ("l2", "base"), ("l2", "smoothed")]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    a = fake_run(root / "a", method="plain", quality=1.2, examples=30, attacks=ATTACKS)
    return read([a, fake_run(root / "b", quality=2.4, seed=3, examples=25, attacks=ATTACKS)])


def rows(exhibit):
    return list(csv.DictReader(to_csv(exhibit.table).splitlines()))


def changed(source, keep=lambda settings: True, **settings):
    """The source with other settings in the attacks on its base classifier, and only the attacks to keep."""
    kept = [attacked for attacked in source.attacked if keep(attacked.settings)]
    found = [replace(x, settings=x.settings | settings) if x.settings["target"] == "base" else x for x in kept]
    return replace(source, attacked=tuple(found))


def test_a_row_is_the_paired_comparison_of_the_shared_images_at_its_eps(sources):
    exhibits, skipped = attacked_pairs(sources)
    stems = {exhibit.stem: exhibit for exhibit in exhibits}
    assert (set(stems), skipped) == ({"pairs-attacked-mnist-linf", "pairs-attacked-mnist-l2"}, [])
    seen = []
    for norm in ("linf", "l2"):
        exhibit = stems[f"pairs-attacked-mnist-{norm}"]
        assert "content hash" in exhibit.caption
        for row in rows(exhibit):
            eps, target = float(row[f"{norm} eps"]), row["target"].split()[0]
            wanted = {"norm": norm, "eps": eps, "target": target}
            one, other = (
                next(x for x in source.attacked if wanted.items() <= x.settings.items()).images.correct[:25]
                for source in sources
            )
            expected = paired(one, other, 0.05)
            assert (row["a"], row["b"], row["images"]) == ("a", "b", "25")
            assert [int(row[f"correct by {side} only"]) for side in "ab"] == [expected.only_a, expected.only_b]
            names = ("difference a − b", "95% interval, lower", "95% interval, upper", "McNemar p")
            values = [expected.difference, expected.lower, expected.upper, expected.p_value]
            assert [float(row[name]) for name in names] == pytest.approx(values, abs=1e-12)
            shares = [float(row[f"natural accuracy (base, no noise) of {side}"]) for side in "ab"]
            assert shares == [source.clean[0].right / source.clean[0].total for source in sources]
            seen.append((norm, target, eps, expected.difference != 0))
    eps = [("linf", "base", 0.05), ("linf", "base", 0.1)]
    eps += [("l2", target, eps) for target in ("smoothed", "base") for eps in (0.25, 0.5, 1.0)]
    assert [place[:3] for place in sorted(seen, key=lambda place: place[:2], reverse=True)] == eps  # eps ascending
    assert any(differs for *_, differs in seen)


def test_only_an_eps_above_0_that_both_have_is_compared(sources):
    a = changed(sources[0], lambda s: s["norm"] == "l2" and s["target"] == "base" and s["eps"] != 0.5)
    b = changed(sources[1], lambda s: s["eps"] != 1.0)
    both = []
    for source in (a, b):
        first = next(x for x in source.attacked if (x.settings["norm"], x.settings["target"]) == ("l2", "base"))
        unmoved = replace(first, settings=first.settings | {"eps": 0.0, "step_size": 0.0})
        both.append(replace(source, attacked=(*source.attacked, unmoved)))
    ((exhibit,), _) = attacked_pairs(both)
    assert [(row["l2 eps"], row["target"]) for row in rows(exhibit)] == [("0.25", "base")]


@pytest.mark.parametrize("setting", [{"steps": 50}, {"restarts": 2}, {"seed": 1}, {"loss": "margin"}])
def test_runs_under_other_attacks_are_not_compared(sources, setting):
    exhibits, _ = attacked_pairs([changed(sources[0], **setting), sources[1]])
    assert {row["target"] for exhibit in exhibits for row in rows(exhibit)} == {"smoothed gaussian:0.5"}
    exhibits, _ = attacked_pairs([changed(source, **setting) for source in sources])
    assert {row["target"] for exhibit in exhibits for row in rows(exhibit)} == {"base", "smoothed gaussian:0.5"}


def test_a_base_and_a_smoothed_classifier_and_two_data_sets_are_not_compared(sources):
    a, b = (changed(s, lambda x, t=t: x["target"] == t) for s, t in zip(sources, ("base", "smoothed"), strict=True))
    assert attacked_pairs([a, b]) == ([], [])
    digits = replace(sources[1], header=sources[1].header | {"dataset": "digits"})
    assert attacked_pairs([sources[0], digits]) == ([], [])
    assert attacked_pairs(sources[:1]) == ([], [])


def test_other_images_of_equal_index_are_named_once_per_attack(tmp_path, sources):
    other = fake_run(tmp_path / "c", examples=10, image_seed=5, attacks=[("linf", "base")])
    section = pairs([sources[0], *read([other])])
    assert section.exhibits == []
    told = [line for line in section.text if "under attack A1 are not paired" in line]
    assert told == [
        "a and c under attack A1 are not paired: 10 of the 10 images with equal index have other content "
        "(image 0 first)."
    ]


def turned(source, order):
    """The source with the images of every attack in another order."""
    found = []
    for x in source.attacked:
        rows = np.arange(x.images.total)[order]
        arrays = {name: getattr(x.images, name)[rows] for name in ("index", "label", "predict", "correct")}
        images = replace(x.images, **arrays, hash=tuple(x.images.hash[row] for row in rows))
        found.append(replace(x, images=images, predict_clean=x.predict_clean[rows], success=x.success[rows]))
    return replace(source, attacked=tuple(found))


@pytest.mark.parametrize("side", [0, 1])
def test_images_are_matched_by_content_whatever_their_order(sources, side):
    other = [turned(s, slice(None, None, -1)) if place == side else s for place, s in enumerate(sources)]
    (exhibits, _), (expected, _) = attacked_pairs(other), attacked_pairs(sources)
    assert [rows(exhibit) for exhibit in exhibits] == [rows(exhibit) for exhibit in expected]


def test_a_run_is_not_compared_with_itself_on_fewer_images(sources):
    fewer = turned(sources[0], slice(0, 20))
    assert attacked_pairs([replace(sources[0], attacked=(*sources[0].attacked, *fewer.attacked))]) == ([], [])


def test_the_section_shows_certified_pairs_first_and_says_what_a_difference_under_attack_is(sources):
    section = pairs(sources)
    first, *rest = [exhibit.stem for exhibit in section.exhibits]
    assert (first, set(rest)) == ("pairs-mnist-l2", {"pairs-attacked-mnist-linf", "pairs-attacked-mnist-l2"})
    assert "upper bound" in section.text[1]
    alone = [replace(source, attacked=()) for source in sources]
    assert len(pairs(alone).text) == 1
    assert len(pairs([replace(source, certified=()) for source in sources]).exhibits) == 2


def test_runs_attacked_in_their_own_inference_forms_are_compared(sources):
    other = {"form": {**FORM, "dtype": "bfloat16"}}
    again = [replace(x, settings=x.settings | other) if x.settings["form"] else x for x in sources[1].attacked]
    exhibits, _ = attacked_pairs([sources[0], replace(sources[1], attacked=tuple(again))])
    smoothed = [row for exhibit in exhibits for row in rows(exhibit) if row["target"].startswith("smoothed")]
    same = [row for exhibit in attacked_pairs(sources)[0] for row in rows(exhibit) if row["target"] != "base"]
    cards = [(row.pop("attack card"), known.pop("attack card")) for row, known in zip(smoothed, same, strict=True)]
    assert smoothed == same
    assert {len(a.split(" and ")) - len(b.split(" and ")) for a, b in cards} == {1}  # two cards, both named
