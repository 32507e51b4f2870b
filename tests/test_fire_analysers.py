"""Analysers behave like estimators: what is fitted depends on the rows alone, and always says the same of a row.

A class is tried with eight laws on five draws. There is no object before a fit: what cannot be fitted is refused.
"""

import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import latentkit as lk
from latentkit.calibration.verdict import calibrate_logits
from latentkit.errors import LatentkitError
from latentkit.projection import load_projection

pytestmark = pytest.mark.promise("analysers")

ROWS, DIM = 240, 4


def labelled(rows):
    return rows[:, 0] + 0.5 * rows[:, 1] > 0.1


def logits_of(rows):
    """Half of the rows play the real ones, a little higher."""
    return rows[:, 0] + 0.8 * (torch.arange(len(rows)) % 2 == 0)


@dataclass(frozen=True)
class Case:
    """How a class is fitted to rows (N, D) and asked about them; how near it stays if their order changes."""

    fit: Any
    ask: Any
    order: float = 1e-5
    save: Any = None
    alone: float = 1e-5


def of_logits(method):
    def fit(rows):
        halves = torch.arange(len(rows)) % 2 == 0
        return calibrate_logits(logits_of(rows)[halves], logits_of(rows)[~halves], method=method)

    return Case(fit, lambda found, rows: found.probability(rows[:, 0]))


def boundary(method):
    return Case(lambda rows: method(rows, labelled(rows), prior=lk.Normal(DIM)), lambda found, rows: found.score(rows))


def components(rows):
    return lk.pca_directions(rows, 3, prior=lk.Normal(DIM))


def saved(found, folder):
    return load_projection(found.save(folder / "plane.npz"))


CASES = {
    "mean difference": boundary(lk.mean_difference),
    "support vector boundary": boundary(lk.svm_boundary),
    "logistic boundary": boundary(lk.logistic_boundary),
    "principal directions": Case(components, lambda found, rows: torch.stack([d.score(rows) for d in found], 1)),
    "isotonic calibration": of_logits("isotonic"),
    "logistic calibration": of_logits("logistic"),
    "beta calibration": of_logits("beta"),
    "support": Case(lambda rows: lk.fit_support(rows[:160], rows[160:]), lambda found, rows: found(rows), order=0.0),
    "empirical prior": Case(lambda rows: lk.Empirical.fit(rows, 1, seed=3), lambda found, rows: found.log_prob(rows)),
    "nearest rows": Case(
        lambda rows: lk.neighbour_graph(rows, 5), lambda found, rows: found.components(torch.ones(len(rows)) > 0)
    ),
    "PCA projection": Case(
        lambda rows: lk.project(rows, "pca", seed=2), lambda found, rows: found.transform(rows), save=saved
    ),
    # A layout is another one in another order; what of it can be relied upon is not the places.
    "UMAP projection": Case(
        lambda rows: lk.project(rows, "umap", seed=2, neighbours=8),
        lambda found, rows: found.transform(rows),
        order=float("inf"),
        save=saved,
    ),
}
# These answer for the rows that they were fitted on and no others.
WHOLE = {"nearest rows"}

LAWS = {}


def law(check):
    LAWS[check.__name__.replace("_", " ")] = check
    return check


def rows_of(seed):
    rows = lk.Normal(DIM).sample(ROWS, seed=seed)
    return rows + 2.5 * torch.sign(rows[:, 2:3]) * torch.tensor([0.0, 0.0, 1.0, 0.0])


def close(found, wanted, near):
    torch.testing.assert_close(found.double(), wanted.double(), rtol=near, atol=near)


@law
def two_fits_are_one(case, rows, name, folder):
    assert case.ask(case.fit(rows), rows).equal(case.ask(case.fit(rows.clone()), rows))


@law
def the_order_of_rows_does_not_matter(case, rows, name, folder):
    order = torch.randperm(ROWS // 2, generator=torch.Generator().manual_seed(1))
    # Where the rows have two parts, each stays in its own.
    order = torch.stack([2 * order, 2 * order + 1], 1).reshape(-1)
    if name == "support":
        order = torch.cat([order[order < 160], order[order >= 160]])
    if name in WHOLE:
        groups = case.ask(case.fit(rows), rows)
        others = case.ask(case.fit(rows[order]), rows[order])
        # Numbers of groups are names; who is with whom is what counts.
        assert ((groups[order][:, None] == groups[order]) == (others[:, None] == others)).all()
    elif case.order == float("inf"):
        first, second = case.fit(rows), case.fit(rows[order])
        assert abs(first.trustworthiness - second.trustworthiness) < 0.05
        assert second.features.equal(first.features[order])
    else:
        close(case.ask(case.fit(rows[order]), rows), case.ask(case.fit(rows), rows), max(case.order, 1e-6))


@law
def a_part_is_told_as_in_the_whole(case, rows, name, folder):
    found = case.fit(rows)
    if name in WHOLE:
        assert len(case.ask(found, rows)) == ROWS
        return
    part = torch.arange(3, ROWS, 7)
    close(case.ask(found, rows[part]), case.ask(found, rows)[part], case.alone)


@law
def one_by_one_is_all_at_once(case, rows, name, folder):
    found = case.fit(rows)
    if name in WHOLE:
        assert case.ask(found, rows).equal(case.ask(found, rows))
        return
    some = torch.cat([case.ask(found, rows[k : k + 1]) for k in range(0, ROWS, 40)])
    close(some, case.ask(found, rows)[::40], case.alone)


@law
def what_is_given_stays(case, rows, name, folder):
    before = rows.clone()
    found = case.fit(rows)
    first = case.ask(found, rows)
    assert rows.equal(before)
    rows += 1.0  # nor does what was fitted change with what it was fitted to
    if name not in WHOLE:
        close(case.ask(found, before), first, case.alone)


@law
def other_memory_and_precision_say_the_same(case, rows, name, folder):
    wanted = case.ask(case.fit(rows), rows)
    spread = torch.zeros(ROWS, 2 * DIM)[:, ::2]
    spread[:] = rows
    assert case.ask(case.fit(spread), spread).equal(wanted)
    double = case.ask(case.fit(rows.double()), rows)
    if case.order < 1.0 and name not in WHOLE:
        close(double, wanted, 1e-3)


@law
def what_cannot_be_fitted_is_refused(case, rows, name, folder):
    for bad in (rows[:0], torch.where(torch.arange(ROWS)[:, None] == 7, torch.nan, rows)):
        with pytest.raises(LatentkitError):
            case.fit(bad)


@law
def it_can_be_kept(case, rows, name, folder):
    found = case.fit(rows)
    wanted = case.ask(found, rows)
    assert case.ask(pickle.loads(pickle.dumps(found)), rows).equal(wanted)
    if case.save is not None:
        assert case.ask(case.save(found, folder), rows).equal(wanted)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule", LAWS)
@pytest.mark.parametrize("name", CASES)
def test_laws(name, rule, seed, tmp_path):
    LAWS[rule](CASES[name], rows_of(seed), name, tmp_path)
