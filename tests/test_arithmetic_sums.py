import math
import warnings

import pytest
import torch

import latentkit as lk
from latentkit.arithmetic import calculate, pulled_back, weigh
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, OffPriorWarning, ShapeError
from latentkit.priors import Joint, OneHot, normal_scores

PRIORS = {
    "normal": lk.Normal(6),
    "shifted normal": lk.Normal(6, mean=3.0, std=0.5),
    "uniform": lk.Uniform(6, low=-2.0),
    "sphere": lk.Sphere(6),
    "gaussian": lk.Empirical.fit(3 * lk.Normal(6).sample(100, seed=0) + 2),
}
#: Two far components of different size in two dimensions.
MIXTURE = lk.Empirical(
    torch.tensor([0.3, 0.7]), torch.tensor([[0.0, 0.0], [9.0, 3.0]]), torch.stack([torch.eye(2), 0.5 * torch.eye(2)])
)
MORE = {"mixture": MIXTURE, "joint": Joint(lk.Normal(4), lk.Uniform(3)), "classes": Joint(lk.Normal(4), OneHot(3))}
every_prior = pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)


# ---- groups


@every_prior
def test_a_group_is_its_members_with_their_share_of_the_weight(prior):
    a, b, c, d = prior.sample(4, seed=0)
    found = weigh([torch.stack([a, b]), c, d], [1.0, -1.0, 0.5], prior)
    torch.testing.assert_close(found.latent, lk.combine([a, b, c, d], [0.5, 0.5, -1.0, 0.5], prior))
    torch.testing.assert_close(found.plain, 0.5 * (a + b) - c + 0.5 * d)
    assert found.typicality == prior.typicality(found.latent[None]).item()
    assert found.plain_typicality == prior.typicality(found.plain[None]).item()
    assert found.note == ""
    swapped = weigh([d, torch.stack([b, a]), c], [0.5, 1.0, -1.0], prior)
    torch.testing.assert_close(swapped.latent, found.latent)


@every_prior
def test_one_latent_and_a_group_of_one_are_left_alone(prior):
    z = prior.sample(1, seed=0)
    for term in (z, z[0]):
        torch.testing.assert_close(weigh([term], [1.0], prior).latent, z[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype):
    found = weigh(lk.Normal(6).sample(3, seed=0).to(dtype), [1, 1, 1])
    assert found.latent.dtype == found.plain.dtype == dtype


def test_weights_are_taken_in_full_precision():
    z = lk.Normal(6).sample(10, seed=0).double()
    torch.testing.assert_close(weigh([z], [0.1]).plain, 0.1 * z.mean(0), rtol=1e-15, atol=0)
    torch.testing.assert_close(lk.combine([z[0]], [0.1]), z[0], rtol=1e-15, atol=0)


@every_prior
@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_unit_of_the_weights_does_not_matter(prior, unit):
    a, b, c = prior.sample(3, seed=0).double()
    torch.testing.assert_close(
        lk.combine([a, b, c], [unit, -unit, unit / 2], prior), lk.combine([a, b, c], [1, -1, 0.5], prior)
    )


def test_a_large_group_that_shares_an_attribute_leaves_the_prior_and_its_note_says_the_way_back():
    prior = lk.Normal(64)
    group = prior.sample(200, seed=0) + 1.0
    found = weigh([group], [1.0], prior)
    assert found.typicality < 1e-3
    assert "pulled_back" in found.note
    home = pulled_back(found.latent, prior)
    assert prior.typicality(home[None]).item() >= 0.05
    torch.testing.assert_close(home / home.norm(), found.latent / found.latent.norm())
    assert weigh([prior.sample(200, seed=0)], [1.0], prior).note == ""


# ---- the warning


def test_related_terms_are_warned_of_with_the_way_back():
    prior = lk.Normal(64)
    a, v, c = prior.sample(3, seed=0)
    for call in (
        lambda: lk.analogy(a, a + 0.01 * v, c),
        lambda: lk.combine([a, a + 0.1 * v], [0.5, 0.5]),
        lambda: lk.mean(torch.stack([a, a, a])),
    ):
        with pytest.warns(OffPriorWarning, match=r"left the prior \(typicality .*pulled_back") as caught:
            call()
        assert caught[0].filename == __file__
    with pytest.warns(OffPriorWarning, match="1 of 3 results have left the prior"):
        lk.analogy(
            *(prior.sample(3, seed=s).index_copy(0, torch.tensor([1]), a[None]) for s in (1, 2)),
            prior.sample(3, seed=3),
        )


def test_terms_that_were_off_the_prior_are_not_the_sums_fault():
    z = 5.0 * lk.Normal(64).sample(1, seed=0)[0]
    lk.combine([z], [1.0])
    lk.combine([z, lk.Normal(64).sample(1, seed=1)[0]], [1.0, 1.0])


def test_one_call_of_independent_draws_in_ten_thousand_warns():
    """The chance of a result below the threshold, and that of a call whatever the size of its batch."""
    prior = lk.Normal(3)
    a, b, c = prior.sample(900_000, seed=1).split(300_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OffPriorWarning)
        rare = int((prior.typicality(lk.analogy(a, b, c)) < 1e-4).sum())
    assert 10 <= rare <= 60, "30 of 300,000 are to be expected"
    for k in range(0, 300_000, 30_000):
        lk.analogy(a[k : k + 30_000], b[k : k + 30_000], c[k : k + 30_000])


def test_classes_between_classes_are_no_cause_for_warning():
    prior = MORE["classes"]
    z = prior.sample(8, seed=0)
    lk.mean(z, prior)
    found = weigh([z[:4], z[4:]], [0.5, 0.5], prior)
    assert found.typicality == 0.0
    assert found.note == ""


# ---- the way back


@pytest.mark.parametrize("prior", [*PRIORS.values(), *MORE.values()], ids=[*PRIORS, *MORE])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.001, 0.05, 0.5])
def test_what_is_pulled_back_is_typical_and_what_was_is_untouched(prior, dtype, level):
    draws = prior.sample(40, seed=0)
    spread = torch.cat([draws, prior.sample(20, seed=1) * 4 - 1, prior.sample(20, seed=2) * 0.1 + 0.01]).to(dtype)
    found = pulled_back(spread, prior, level=level)
    assert found.dtype == dtype
    assert (prior.typicality(found) >= level).all()
    enough = prior.typicality(spread) >= level
    assert found[enough].equal(spread[enough])
    assert pulled_back(found, prior, level=level).equal(found)
    assert pulled_back(spread[50], prior, level=level).equal(found[50])


@pytest.mark.parametrize("prior", [lk.Normal(64), lk.Normal(64, mean=2.0, std=3.0), lk.Uniform(64)])
@pytest.mark.parametrize("factor", [0.5, 1.3])
def test_the_way_back_is_straight_and_no_longer_than_needed(prior, factor):
    scores = normal_scores(prior, prior.sample(20, seed=0))
    scores = 8.0 * factor * scores / scores.norm(dim=1, keepdim=True)
    z = lk.priors.from_normal_scores(prior, scores)
    found = pulled_back(z, prior, level=0.1)
    torch.testing.assert_close(prior.typicality(found), torch.full((20,), 0.1).double(), rtol=1e-3, atol=0)
    ratio = normal_scores(prior, found) / scores
    torch.testing.assert_close(ratio, ratio[:, :1].expand(20, 64))


def test_a_part_that_is_at_home_is_not_moved():
    prior = Joint(lk.Normal(8), lk.Uniform(3))
    z = prior.sample(1, seed=3).double()
    z[:, :8] *= 4
    found = pulled_back(z, prior)
    assert found[:, 8:].equal(z[:, 8:])
    torch.testing.assert_close(prior.typicality(found).item(), 0.05, rtol=1e-3, atol=0)


class Own:
    """A prior that latentkit has never seen."""

    dim = 4

    def typicality(self, z):
        return torch.zeros(len(z)).double()


Z = lk.Normal(4).sample(3, seed=0)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: pulled_back(Z, level=0.0), ArgumentError, "level must be .* above 0 and at most 0.9, got 0"),
        (lambda: pulled_back(Z, level=0.95), ArgumentError, "at most 0.9, got 0.95"),
        (lambda: pulled_back(Z[None]), ShapeError, r"latents must be \(D,\) or \(N, D\), got \(1, 3, 4\)"),
        (lambda: pulled_back(Z, lk.Normal(5)), ShapeError, "the prior's 5 coordinates, got 4"),
        (lambda: pulled_back(Z / 0), NonFiniteError, "latents must be finite"),
        (lambda: pulled_back(torch.stack([Z[0], 0 * Z[0]])), ArgumentError, "latent 1 is the prior's centre"),
        (lambda: pulled_back(0 * Z, lk.Sphere(4)), ArgumentError, "latent 0 is the prior's centre"),
        (lambda: pulled_back(Z, Own()), ArgumentError, "the shells of latentkit's own priors, got Own"),
        (lambda: weigh([], []), ArgumentError, "weigh needs at least one term, got none"),
        (lambda: weigh([Z, Z[0]], [1.0]), ArgumentError, r"one weight a term, \(2,\), got \(1,\)"),
        (lambda: weigh([Z, Z[0]], [0.0, 0.0]), ArgumentError, "must not all be zero"),
        (lambda: weigh([Z, Z[0]], ["x", 1]), ArgumentError, "one weight a term, got"),
        (lambda: weigh([Z, Z[0]], [1.0, math.inf]), NonFiniteError, "weights must be finite"),
        (lambda: weigh([Z, Z[0, :3]], [1.0, 1.0]), ShapeError, r"term 1 must be .* the others' D, got \(3,\)"),
        (lambda: weigh([Z[:0], Z[0]], [1.0, 1.0]), ShapeError, r"term 0 must be .*, got \(0, 4\)"),
        (lambda: weigh([torch.tensor(1.0)], [1.0]), ShapeError, r"term 0 must be .*, got \(\)"),
        (lambda: weigh([Z / 0], [1.0]), NonFiniteError, "term 0 must be finite"),
        (lambda: weigh([Z], [1e200]), ArgumentError, "too large for torch.float32"),
    ],
)
def test_bad_arguments_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)


# ---- formulas

NAMED = dict(zip("abc", lk.Normal(4).sample(3, seed=0), strict=True)) | {"group": lk.Normal(4).sample(5, seed=1)}


@pytest.mark.parametrize(
    ("formula", "weights"),
    [
        ("a", {"a": 1}),
        ("a - b + c", {"a": 1, "b": -1, "c": 1}),
        ("0.5*(a+b) - c", {"a": 0.5, "b": 0.5, "c": -1}),
        ("-(a - 2*b)/4", {"a": -0.25, "b": 0.5}),
        ("mean(a, b, c)", {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        ("mean(a, -b) * (1 + 1)", {"a": 1, "b": -1}),
        ("a - +(-b) * 3e-1", {"a": 1, "b": 0.3}),
        ("  group - a\n", {"group": 1, "a": -1}),
        ("(a +\n b)", {"a": 1, "b": 1}),
        ("a + b - a", {"b": 1}),
        ("0.1*a + 0.2*a - 0.3*a + c", {"c": 1}),
        ("+".join(["a"] * 400), {"a": 400}),
    ],
)
def test_a_formula_is_its_weighted_sum(formula, weights):
    found = calculate(formula, NAMED)
    wanted = weigh([NAMED[name] for name in weights], list(weights.values()))
    torch.testing.assert_close(found.latent, wanted.latent)
    torch.testing.assert_close(found.plain, wanted.plain)


def test_a_formula_is_matched_to_its_prior():
    prior = lk.Uniform(4)
    a, b = prior.sample(2, seed=0)
    assert calculate("a - b", {"a": a, "b": b}, prior).latent.equal(lk.combine([a, b], [1, -1], prior))


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("a - d", "at character 5: unknown name 'd', known are a, b, c, group"),
        ("a * b", "a product of two latents"),
        ("2 / a", "divided by a number"),
        ("a + 1", "a number cannot be added to a latent"),
        ("mean(a, 2)", "at character 9: a number cannot be added"),
        ("1 + 2", "is the number 3, not a latent; use one of a, b, c, group"),
        ("a - a", "all latents cancel out"),
        ("0.1*a + 0.2*a - 0.3*a", "all latents cancel out"),
        ("0 * a", "all latents cancel out"),
        ("a / 0", "division by zero"),
        ("a * 1e999", "at character 5: a number is too large"),
        ("9" * 400 + "*a", "a number is too large"),
        ("1e300 * 1e300 * a", "a number is too large"),
        ("a +", "at character 4: invalid syntax"),
        ("  a b", "at character 5: invalid syntax"),
        ("(a", "at character 1: .* never closed"),
        ("a = b", "at character 3: invalid syntax"),
        ("a;b", "at character 2: invalid syntax"),
        ("2if", "invalid syntax"),
        ("a ** 2", "only names, numbers"),
        ("a // 2", "only names, numbers"),
        ("a @ b", "only names, numbers"),
        ("a.norm()", "only names, numbers"),
        ("a[0]", "only names, numbers"),
        ("__import__('os')", "only names, numbers"),
        ("(lambda: a)()", "only names, numbers"),
        ("[x for x in a]", "only names, numbers"),
        ("a if b else c", "only names, numbers"),
        ("True * a", "True is no number"),
        ("1j * a", "1j is no number"),
        ("'a'", "'a' is no number"),
        ("mean()", "mean takes one or more terms"),
        ("mean(a, weight=b)", "mean takes one or more terms"),
        ("mean(*a)", "only names, numbers"),
        ("", "must not be empty"),
        (None, "must be text.*got NoneType"),
        ("a" * 1001, "at most 1,000 characters, got 1,001"),
        ("(" * 400 + "a" + ")" * 400, "too many nested parentheses"),
        ("a + \0", "the formula"),
    ],
)
def test_a_bad_formula_is_one_line_that_says_where(formula, text):
    with pytest.raises(ArgumentError, match=text) as caught:
        calculate(formula, NAMED)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
