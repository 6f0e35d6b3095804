"""Any model, any data: what is taken, what is refused with its remedy, and what is left as it was found."""

import pytest
import torch
from torch import nn

import gambeson
from gambeson.data import Dataset, examples
from gambeson.errors import UserError
from gambeson.evaluation.plan import Evaluation, inspect
from gambeson.evaluation.work import at_once
from gambeson.models.modes import evaluating


def test_bring_your_own_in_ten_lines() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    data = [(torch.rand(1, 4, 4), label % 3) for label in range(6)]
    clean = list(gambeson.clean(model, data))
    attacked = list(gambeson.attacked(model, data, eps=8 / 255, steps=3))
    certified = list(gambeson.certified(model, data, noise="gaussian:0.25", draws=200, select_draws=20))
    assert [len(records) for records in (clean, attacked, certified)] == [6, 6, 6]
    assert all(isinstance(record, dict) for record in clean + attacked + certified)
    assert [record["index"] for record in certified] == list(range(6))


class Frozen(nn.Module):
    """Logits through `change`."""

    def __init__(self, inner, change) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, x):
        return self.change(self.inner(x))


def picky(z):
    assert len(z) > 1, "batches only"
    return z


@pytest.mark.parametrize("kind", ["clean", "attacked", "certified"])
@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (None, lambda pairs: [(x * 255, y) for x, y in pairs], "divide by 255"),
        (None, lambda pairs: [(x, y + 3) for x, y in pairs], "gives 3 logits but the data has"),
        (None, lambda pairs: [(x.repeat(3, 1, 1), y) for x, y in pairs], "the model fails on images of shape"),
        (lambda m: Frozen(m, lambda z: (z, z)).eval(), None, "wrap it in a module"),
        (lambda m: Frozen(m, lambda z: {}["logits"]).eval(), None, "the model fails on images .*KeyError"),
        (lambda m: Frozen(m, lambda z: picky(z)).eval(), None, "the model fails on an image alone .*AssertionError"),
        (lambda m: Frozen(m, lambda z: z.argmax(1)).eval(), None, "logits must be"),
        (lambda m: Frozen(m, lambda z: z + torch.rand_like(z)).eval(), None, "random in its forward"),
        (lambda m: Frozen(m, lambda z: z - z.mean(0)).eval(), None, "other images in the batch"),
        (lambda m: Frozen(m, lambda z: z * float("nan")).eval(), None, "NaN or infinite"),
    ],
)
def test_the_usual_mistakes_are_refused_with_their_remedy(trained, kind, model, data, message) -> None:
    options = {"clean": {}, "attacked": {"eps": 0.1}, "certified": {}}[kind]
    made = model(trained.model) if model else trained.model
    given = data(trained.pairs[:20]) if data else trained.pairs
    with pytest.raises(UserError, match=message):
        getattr(gambeson, kind)(made, given, **options)


@pytest.mark.parametrize("kind", ["clean", "attacked", "certified"])
def test_a_model_in_training_mode_is_refused_and_left_alone(trained, kind) -> None:
    """Batch-norm statistics too: one forward pass in training mode would change them."""
    options = {"clean": {}, "attacked": {"eps": 0.1}, "certified": {}}[kind]
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    with evaluating(trained.model):
        trained.model.train()
        with pytest.raises(UserError, match=r"call model\.eval\(\)"):
            getattr(gambeson, kind)(trained.model, trained.pairs, **options)
        assert trained.model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.model.state_dict().items())


def test_probabilities_are_doubted(trained) -> None:
    evaluation = gambeson.clean(Frozen(trained.model, nn.Softmax(1)).eval(), trained.pairs)
    (flag,) = evaluation.flags
    assert (flag.name, flag.severity) == ("probabilities", "doubt")
    assert "remove the last softmax" in flag.message
    assert gambeson.clean(trained.model, trained.pairs).flags == []


def test_a_data_set_without_images_is_refused(trained) -> None:
    with pytest.raises(UserError, match="no image to evaluate"):
        gambeson.certified(trained.model, trained.data.subset([]))


def test_classes_come_from_the_data_or_from_the_model(trained) -> None:
    assert inspect(trained.model, trained.data) == (3, [])
    two = [pair for pair in trained.pairs if pair[1] < 2]
    assert inspect(trained.model, examples(two))[0] == 3  # pairs do not know how many classes there are
    wrong = Dataset("d", "test", trained.data.images, trained.data.labels, 255, tuple("abcd"), trained.data.indices)
    with pytest.raises(UserError, match="3 logits but the data has 4 classes"):
        inspect(trained.model, wrong)


def test_records_are_judged_in_batches_that_are_fixed_in_advance(trained) -> None:
    judged = []

    def judge(part):
        rows = (part.indices // 20).tolist()
        judged.append(rows)
        return [{"row": row} for row in rows]

    evaluation = Evaluation("clean", {}, trained.data, 25, at_once(judge))
    assert [record["row"] for record in evaluation] == list(range(60))
    assert [len(rows) for rows in judged] == [25, 25, 10]
    judged.clear()
    done = set((torch.arange(30) * 20).tolist())
    rest = list(evaluation.records(done))
    assert [record["row"] for record in rest] == list(range(30, 60))
    assert [record["index"] for record in rest] == [20 * row for row in range(30, 60)]
    assert judged == [list(range(25, 50)), list(range(50, 60))]  # whole batches, so that nothing depends on the cut
    assert list(evaluation.records(set((torch.arange(60) * 20).tolist()))) == []
    hashes = trained.data.hashes()
    assert [record["hash"] for record in rest] == hashes[30:]
