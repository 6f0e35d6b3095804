"""Single sections against numbers that are known."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from fake_runs import fake_run

from gambeson.reports.palette import DARK_SERIES, SERIES
from gambeson.reports.read import read
from gambeson.reports.references import references
from gambeson.reports.sections.attacked import attacked
from gambeson.reports.sections.bounds import bounds
from gambeson.reports.sections.gallery import _scale
from gambeson.reports.sections.published import published
from gambeson.reports.sections.two_by_two import two_by_two
from gambeson.reports.writers import to_csv


def rows(exhibit):
    return list(csv.DictReader(to_csv(exhibit.table).splitlines()))


def test_bounds_agree_with_the_published_comparison(tmp_path):
    (exhibit,) = bounds(read([fake_run(tmp_path / "a", examples=3)])).exhibits
    row = next(row for row in rows(exhibit) if row["p"] == "0.9")
    values = [float(value) for name, value in row.items() if name != "p"]
    assert values == pytest.approx([1.28155, 1.03193, 0.39027], abs=1e-5)  # Cohen, Li, Lecuyer at p = .9


def test_gains_separate_training_from_bound(tmp_path):
    noisy = fake_run(tmp_path / "n", method="noisy", quality=1.5)
    sources = read([noisy, fake_run(tmp_path / "s", seed=1, quality=2.4)])
    figure, gains = two_by_two(sources).exhibits
    assert len(figure.drawn.lines) == 4
    for row in rows(gains):
        cell = {(m, b): float(row[f"certified accuracy: {m}, {b}"]) for m in "ns" for b in ("Renyi", "Gaussian")}
        training = row["training gains (Gaussian): s − n"]
        assert float(training) == pytest.approx(cell["s", "Gaussian"] - cell["n", "Gaussian"])
        gain = float(row["bound gains: Gaussian − Renyi, n"])
        assert gain == pytest.approx(cell["n", "Gaussian"] - cell["n", "Renyi"])
        assert gain >= 0  # the Renyi radius never exceeds the Gaussian one


def test_references_are_complete_and_marked():
    for ref in references():
        assert len(ref.radii) == len(ref.accuracy) > 0
        assert all(0 <= accuracy <= 1 for accuracy in ref.accuracy)
        assert sorted(ref.accuracy, reverse=True) == list(ref.accuracy)
        assert set(ref.verified.split(", ")) <= {"paper", "code", "log", "review", "board"}
        assert ref.sound in ("yes", "no", "in doubt")
        assert ref.sound == "yes" or ref.correction
    doubted = [(ref.radii, ref.accuracy) for ref in references() if ref.sound != "yes"]
    assert doubted == [((1.58,), (0.69,)), ((36 / 255,), (0.656,)), ((1.2,), (0.0,))]


def test_published_numbers_stand_beside_ours_of_the_same_noise_and_bound_only(tmp_path):
    noisy = fake_run(tmp_path / "n", method="noisy", noises=("gaussian:1",), quality=0.5)
    sources = read([fake_run(tmp_path / "s"), noisy])
    (exhibit,) = published(sources).exhibits
    for row in rows(exhibit):
        stability = "STN" in row["published method"] or "Stability" in row["published method"]
        expected = {("gaussian:0.5", True): "s", ("gaussian:1", False): "n"}
        assert row["this report: run"] == expected.get((row["noise"], stability), "")
        assert row["sound"] in ("yes", "no", "in doubt")
        clean = {"s": sources[0], "n": sources[1]}.get(row["this report: run"])
        natural = row["this report: natural accuracy (base, no noise)"]
        assert natural == ("" if clean is None else str(clean.clean[0].right / 40))
    assert sources[0].clean[0].right != sources[1].clean[0].right  # else a swap would not be seen
    assert published(read([fake_run(tmp_path / "d", dataset="digits")])) is None


@pytest.mark.parametrize(("largest", "scale"), [(0.1, 5.0), (0.03, 10.0), (0.3, 1.0), (0.0, 1.0), (0.007, 70.0)])
def test_the_perturbation_is_scaled_by_a_factor_that_never_clips(largest, scale):
    assert _scale(np.array([0.0, -largest])) == scale
    assert scale * largest <= 0.5


@pytest.mark.parametrize(("palette", "page"), [(SERIES, "#ffffff"), (DARK_SERIES, "#14171a")])
def test_lines_have_contrast_with_the_page(palette, page):
    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in palette:
        low, high = sorted((luminance(colour), luminance(page)))
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_many_attacks_are_drawn_apart_each_curve_once(tmp_path):
    paths = [fake_run(tmp_path / name, examples=5, attacks=[("linf", "smoothed")]) for name in ("a", "b")]
    sources = []
    for source, most in zip(read(paths), (4, 3), strict=True):  # five lines of each attack
        few = [replace(x, settings=x.settings | {"attack": name, "steps": steps})
               for name in ("pgd", "fgsm") for steps in range(1, most) for x in source.attacked]  # fmt: skip
        sources.append(replace(source, attacked=tuple(few)))
    shown = {x.stem: x for x in attacked(sources).exhibits}
    figures = {stem: exhibit.drawn.lines for stem, exhibit in shown.items() if stem.startswith("attacked-")}
    assert {stem: len(lines) for stem, lines in figures.items()} == {
        f"attacked-mnist-linf-smoothed-gaussian-0.5-{name}": 5 for name in ("pgd", "fgsm")
    }
    names = [line.name for lines in figures.values() for line in lines]
    assert len(set(names)) == len(names) == 10


def test_the_attacks_of_one_run_are_drawn_together(tmp_path):
    (source,) = read([fake_run(tmp_path / "a", examples=5, attacks=[("linf", "smoothed")])])
    many = [replace(x, settings=x.settings | {"attack": name, "steps": steps})
            for name in ("pgd", "fgsm") for steps in range(1, 6) for x in source.attacked]  # fmt: skip
    shown = [x for x in attacked([replace(source, attacked=tuple(many))]).exhibits if x.stem.startswith("attacked-")]
    assert [len(exhibit.drawn.lines) for exhibit in shown] == [10]


def test_one_attack_of_many_settings_is_drawn_apart_by_these(tmp_path):
    paths = [fake_run(tmp_path / name, examples=5, attacks=[("linf", "base")]) for name in "abcde"]
    sources = [
        replace(source, attacked=tuple(replace(x, settings=x.settings | {"loss": loss})
                                       for loss in ("cross_entropy", "margin") for x in source.attacked))
        for source in read(paths)
    ]  # fmt: skip
    shown = [x for x in attacked(sources).exhibits if x.stem.startswith("attacked-")]
    assert [len(exhibit.drawn.lines) for exhibit in shown] == [5, 5]
    assert ["margin" in exhibit.stem for exhibit in shown] == [False, True]
