"""What a command works on: numbers as people write them, subsets, the model of a run."""

import pytest
from PIL import Image

from gambeson.cli.target import choose, numbers, resolve, subset_rule
from gambeson.errors import UserError
from gambeson.smoothed.classifier import SmoothedClassifier

OPTIONS = {"data": None, "data_dir": None, "split": "test", "every": 1, "limit": None, "out": None, "weights": None}
OPTIONS |= {"factory": None, "mean": None, "std": None, "device": "cpu"}


def test_numbers_may_be_fractions() -> None:
    assert numbers("0, 8/255,1e-2 ,0.5", "--eps") == [0.0, 8 / 255, 0.01, 0.5]


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1/0", "1//2", "nan", "inf", "1e400", "0.1;0.2"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(UserError, match=r"--eps is .* separated by commas"):
        numbers(text, "--eps")


def test_subsets_follow_the_stable_index() -> None:
    whole = choose("digits", None, "test", 1, None)
    part = choose("digits", None, "test", 20, 7)
    assert part.indices.tolist() == [i for i in whole.indices.tolist() if i % 20 == 0][:7]
    assert subset_rule("test", 20, 7) == "every 20th test image, the first 7"
    assert subset_rule("test", 1, None) == "all test images"


def test_a_run_knows_its_model_and_its_images(run) -> None:
    target = resolve(str(run), **OPTIONS)
    assert not target.model.training
    assert (target.data.name, target.data.split, len(target.data)) == ("digits", "test", 359)
    held = resolve(str(run), **{**OPTIONS, "split": "validation"}).data
    rest = resolve(str(run), **{**OPTIONS, "split": "train"}).data
    assert len(held) == 100
    assert not set(held.indices.tolist()) & set(rest.indices.tolist())  # what it was trained on


def test_a_run_keeps_its_own_records(run, tmp_path) -> None:
    with pytest.raises(UserError, match=r"is a run folder and keeps its records itself: leave --out out"):
        resolve(str(run), **{**OPTIONS, "out": tmp_path / "other"})
    assert resolve(str(run), **{**OPTIONS, "out": run}).run.path == run


def test_a_run_without_data_asks_for_it(run) -> None:
    path = run / "header.json"
    path.write_text(path.read_text().replace('"dataset": "digits"', '"dataset": null'))
    with pytest.raises(UserError, match="give --data NAME"):
        resolve(str(run), **OPTIONS)
    assert resolve(str(run), **{**OPTIONS, "data": "digits"}).data.name == "digits"


@pytest.mark.parametrize("command", ["train", "certify", "attack", "check", "verify", "predict"])
def test_a_device_that_forms_do_not_name_is_refused(gambeson, run, tmp_path, command) -> None:
    """Sampling would be on another GPU than the model."""
    picture = tmp_path / "picture.png"
    Image.new("L", (8, 8)).save(picture)
    words = {"train": ["digits-noisy", "--out", tmp_path / "trained"], "predict": [picture, "--model", run]}
    assert gambeson("certify", run, "--noise", "gaussian:0.25", "--draws", 100, "--limit", 1).status == 0
    done = gambeson(command, *words.get(command, [run]), "--device", "cuda:1")
    assert (done.status, "must be auto, cpu or cuda (CUDA_VISIBLE_DEVICES" in done.err) == (2, True), done.err
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES"):
        SmoothedClassifier.from_run(run, device="cuda:1")
