"""Honest records are what their counts give; whatever was touched, in a record or in the settings, is found out."""

import copy
import re
from dataclasses import replace

import pytest

from gambeson.errors import RunError, UserError
from gambeson.evaluation import certified
from gambeson.evaluation.certified import settings_of
from gambeson.evaluation.procedures import full, of_a_grid
from gambeson.evaluation.replayed import replayer
from gambeson.evaluation.smoothing import smooth
from gambeson.inference import Form
from gambeson.smoothed.company import together

SMALL = {"noise": "gaussian:0.3", "draws": 2_000, "select_draws": 50, "alpha": 0.01}
GRID = {"radii": [0.0, 0.1, 0.2], "price": 1e5}
KINDS = {
    "fixed": {},
    "soft": {"smoothing": "soft"},
    "grid": GRID,
    "beta_mixture": {**GRID, "rule": "beta_mixture", "stop_wrong": True},
    "table": {"radii": GRID["radii"], "table_error": 0.05},
}


class Evidence:
    """An evaluation's settings and records, the images, and what is wrong with one of its records."""

    def __init__(self, trained, kind: str) -> None:
        self.data = trained.data.subset(range(25))
        evaluation = certified(trained.model, self.data, **KINDS[kind], **SMALL)
        self.smoothed = smooth(trained.model, self.data, noise="gaussian:0.3", seed=0, form=None, classes=3)
        self.settings, self.records = evaluation.settings, list(evaluation)
        self.problem = self.by(self.settings)

    def by(self, settings: dict):
        return replayer(self.smoothed, settings, 36)

    def row(self) -> int:
        """Of a claim that is neither certain nor empty, after several looks where there are any."""
        wanted = [r["p_lower"] < 0.99 and r["predict"] != -1 and len(r.get("looks") or "xx") > 1 for r in self.records]
        return wanted.index(True)

    def wrong(self, **changes) -> str | None:
        row = self.row()
        record = copy.deepcopy(self.records[row])
        changed = {name: change(record[name]) if callable(change) else change for name, change in changes.items()}
        return self.problem(record | changed, self.data.pixels([row])[0])


@pytest.fixture(scope="module")
def made(trained) -> dict[str, Evidence]:
    return {kind: Evidence(trained, kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def evidence(request, made) -> Evidence:
    return made[request.param]


def test_honest_records_are_what_their_counts_give(evidence) -> None:
    pixels = evidence.data.pixels()
    assert [evidence.problem(*pair) for pair in zip(evidence.records, pixels, strict=True)] == [None] * 25
    assert evidence.wrong() is None


def more(radii: dict) -> dict:
    return {**radii, "gaussian_l2": radii["gaussian_l2"] + 1e-4}


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("predict", lambda predict: (predict + 1) % 3),
        ("predict", -1),
        ("correct", lambda correct: not correct),
        ("reason", "p_lower <= 0.4"),
        ("selected", lambda selected: (selected + 1) % 3),
        ("nonfinite", 1),
        ("p_lower", lambda p: p + 1e-6),
        ("p_lower_two_sided", 0.25),
        ("p_upper_two_sided", 0.25),
        ("radii", more),
        ("radii", lambda radii: radii | {"invented_l2": 0.5}),
        ("radii_real", more),
        ("radii_real", lambda radii: radii | {"invented_l2": 0.5}),
        ("radius_kind", "exact"),
        ("undecided", [0.2]),
    ],
)
def test_a_touched_field_is_found_out(evidence, field: str, change) -> None:
    assert re.match(rf"{field}(\.\w+)? is", evidence.wrong(**{field: change}))


def test_of_a_field_with_parts_the_one_that_differs_is_named(made) -> None:
    assert made["fixed"].wrong(radii=more).startswith("radii.gaussian_l2 is 0.")


@pytest.mark.parametrize(
    ("field", "change", "words"),
    [
        ("label", lambda label: (label + 1) % 3, "is .*, its counts give|looks"),
        ("counts", lambda counts: [c + 2_000 for c in counts], "counts are"),
        ("counts", lambda counts: [-1, *counts[1:]], "counts are"),
        ("counts", lambda counts: counts[:2], "counts are"),
        ("counts", lambda counts: [max(0, c - 1) for c in counts], "is .*, its counts give|looks"),
        ("select_counts", lambda counts: [c + 1 for c in counts], "selection counts are"),
        ("select_counts", [], "selection counts are"),
    ],
)
def test_counts_that_no_draws_give_are_found_out(evidence, field: str, change, words: str) -> None:
    assert re.search(words, evidence.wrong(**{field: change}))


@pytest.mark.parametrize("kind", ["grid", "beta_mixture", "table"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda looks: [[looks[0][0] + 1, looks[0][1]], *looks[1:]], "where the procedure looks at 100 draws"),
        (lambda looks: [[looks[0][0], looks[0][0] + 1], *looks[1:]], "hits change by"),
        (lambda looks: [[looks[0][0], looks[-1][1] + 1], *looks[1:]], "hits change by"),
        (lambda looks: [*looks[:-1], [looks[-1][0], looks[-1][1] - 1]], "looks is"),
        (lambda looks: looks[:1], "counts are|hits change by"),
        (lambda looks: None, "looks is|hits change by|counts are"),
    ],
)
def test_looks_that_no_draws_give_are_found_out(made, kind: str, change, words: str) -> None:
    assert re.search(words, made[kind].wrong(looks=change))


def test_stopping_early_is_found_out(made) -> None:
    """Fewer looks, with counts to match: what the plan would not have stopped at."""
    grid = made["grid"]
    row = next(row for row, r in enumerate(grid.records) if len(r["looks"]) > 2)
    record = copy.deepcopy(grid.records[row])
    draws, hits = record["looks"][0]  # all its misses were of one other class, say
    counts = [0, 0, 0]
    counts[record["selected"]], counts[record["selected"] - 1] = hits, draws - hits
    record |= {"looks": record["looks"][:1], "draws": draws, "counts": counts}
    assert "where the procedure looks at" in grid.problem(record, grid.data.pixels([row])[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: [s[0] + 1, *s[1:]], "its scores are"),
        (lambda s: [s[0] + s[-1] + 9, *s[1:-1], -9], "its scores are"),
        (lambda s: s[:-1], "its scores are"),
        (lambda s: [s[0] + sum(s[1:]), *[0] * (len(s) - 1)], "p_lower is"),
        (lambda s: None, "its scores are"),
    ],
)
def test_scores_that_were_touched_are_found_out(made, change, words: str) -> None:
    assert words in made["soft"].wrong(scores=change)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tau", 0.5),
        ("max_radius", {"gaussian_l2": 9.0}),
        ("rounding_distance", {"l2": 0.0, "l1": 0.0}),
        ("block", 7),
        ("draws", 2_001),
    ],
)
def test_settings_that_do_not_fit_are_found_out(evidence, field: str, value) -> None:
    with pytest.raises(RunError, match="the settings are not consistent"):
        evidence.by({**evidence.settings, field: value})


def test_noise_of_another_generator_is_evidence_too(made) -> None:
    fixed = made["fixed"]
    problem = fixed.by({name: value for name, value in fixed.settings.items() if name != "generator"})
    assert not any(map(problem, fixed.records, fixed.data.pixels()))


def test_looks_chosen_afterwards_are_found_out(made) -> None:
    settings = made["grid"].settings
    budget = {**settings["budget"], "looks": settings["budget"]["looks"][1:]}
    with pytest.raises(RunError, match=r"budget\.looks is"):
        made["grid"].by({**settings, "budget": budget})


def test_scores_in_other_bins_are_not_read(made) -> None:
    with pytest.raises(RunError, match=r"score_bins\.steps is"):
        made["soft"].by({**made["soft"].settings, "score_bins": {"octaves": 20, "steps": 7}})


def test_draws_that_do_not_fill_the_rows_prove_nothing(made) -> None:
    with pytest.raises(UserError, match="give a multiple of 200"):
        made["fixed"].by({**made["fixed"].settings, "positions": "mixture", "draws": 1_999})


@pytest.mark.parametrize("budget", ["grid", "fixed"])
def test_calls_of_fewer_rows_than_those_that_certified_refute_nothing(trained, budget: str) -> None:
    """Where an image's logits depend on its row, looks follow from the rows of a call."""
    data, same = trained.data.subset(range(5)), {name: SMALL[name] for name in ("draws", "select_draws", "alpha")}
    rows = {
        batch: smooth(trained.model, data, noise="gaussian:0.3", seed=0, form=Form(batch=batch), classes=3)
        for batch in (125, 62)
    }
    mixture = replace(rows[125], base=replace(rows[125].base, positions="mixture"))
    if budget == "fixed":
        road = full(mixture, 36, same)
    else:
        road = of_a_grid(mixture, 36, same, [0.0, 0.1], price=1e5, rule="beta_mixture", stop_wrong=False)
    settings, labels = settings_of(mixture, road, 36), data.labels.tolist()
    begun = [road.begin(*pair, None) for pair in zip(data.pixels(), labels, strict=True)]
    problem = replayer(rows[62], settings, 36)
    for row, found in enumerate(together(mixture, begun, data.pixels(), data.indices.tolist())):
        about = {"index": row, "hash": "", "label": labels[row], "seconds": 0.0}
        record = found | about | {"correct": found["predict"] == labels[row]}
        assert problem(record, data.pixels([row])[0]) is None


def test_records_of_another_rule_are_found_out(trained) -> None:
    """Where the rules differ, a bound by one is not the bound by the other."""
    data = trained.data.subset(range(40))
    smoothed = smooth(trained.model, data, noise="gaussian:0.3", seed=0, form=None, classes=3)
    evaluation = certified(trained.model, data, radii=[0.025 * step for step in range(20)], price=1e6, **SMALL)
    settings, records = evaluation.settings, list(evaluation)
    other = {**settings, "budget": {**settings["budget"], "rule": "beta_mixture"}}
    assert not any(map(replayer(smoothed, settings, 36), records, data.pixels()))
    assert any(map(replayer(smoothed, other, 36), records, data.pixels()))
