import numpy as np
import pytest
import torch

from latentkit import checks, errors
from latentkit.errors import ArgumentError, LatentkitError, NonFiniteError, ShapeError

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("name", [n for n in errors.__all__ if n.endswith("Error")])
def test_every_error_is_ours_and_a_builtin(name):
    kind = getattr(errors, name)
    assert issubclass(kind, LatentkitError)
    if kind is not LatentkitError:
        builtin = [base for base in kind.__mro__ if base.__module__ == "builtins" and base not in (Exception, object)]
        assert builtin[0] not in (BaseException,), f"{name} is no builtin that a caller would expect"


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1, np.int64(7), torch.tensor(3)])
def test_seeds_are_whole_numbers_of_64_bits(seed):
    assert checks.as_seed(seed) == int(seed)
    assert type(checks.as_seed(seed)) is int


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, "1", None, True, NAN])
def test_other_seeds_are_refused(seed):
    with pytest.raises(ArgumentError, match=r"seed must be a whole number.*, got"):
        checks.as_seed(seed)


@pytest.mark.parametrize("value", [0, -3, 1.5, "2", None, True, NAN])
def test_counts_are_whole_numbers_of_at_least_one(value):
    assert checks.as_count(np.int32(1), "n") == 1
    with pytest.raises(ArgumentError, match=r"n must be a whole number.*, got"):
        checks.as_count(value, "n")


@pytest.mark.parametrize("value", [NAN, INF, -INF, None, "x", 10**400, -1.0, 2.5, [1, 2], "1", b"1", True])
def test_numbers_are_finite_and_in_range(value):
    assert checks.as_number(np.float32(0.5), "x", least=0.0, most=2.0) == 0.5
    with pytest.raises(ArgumentError, match=r"x must be a .*number.*, got"):
        checks.as_number(value, "x", least=0.0, most=2.0)


def test_an_open_bound_leaves_the_bound_out():
    assert checks.as_number(0, "x", least=0.0) == 0.0
    with pytest.raises(ArgumentError, match="above 0, got 0"):
        checks.as_number(0, "x", least=0.0, open_least=True)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (torch.zeros(16), r"must be \(N, 16\), got \(16,\); for one latent pass z\[None\]"),
        (torch.zeros(3, 8), r"must be \(N, 16\), got \(3, 8\)"),
        (torch.zeros(3, 16, 1), r"got \(3, 16, 1\)"),
        (torch.zeros(0, 16), "at least 1 rows, got 0"),
        (torch.zeros(3, 16, dtype=torch.bool), "tensor of floats, got dtype torch.bool"),
        (torch.zeros(3, 16, dtype=torch.complex64), "tensor of floats, got dtype torch.complex64"),
        ("abc", "tensor of floats, got str"),
        (None, "tensor of floats, got NoneType"),
    ],
)
def test_latents_of_a_wrong_shape_or_type_say_what_was_wanted(values, wanted):
    with pytest.raises(ShapeError, match=wanted):
        checks.as_latents(values, 16)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_values_that_are_not_finite_name_their_rows(bad):
    z = torch.zeros(50, 8)
    z[[3, 7], 2] = bad
    with pytest.raises(NonFiniteError, match=r"in 2 of 50 rows \(3, 7\)"):
        checks.as_latents(z)


def test_latents_are_neither_copied_nor_changed():
    z = torch.zeros(3, 2, dtype=torch.float16, requires_grad=True)
    taken = checks.as_latents(z)
    assert taken.data_ptr() == z.data_ptr()
    assert taken.dtype == torch.float16
    assert not taken.requires_grad
    assert checks.as_latents(np.ones((2, 3), dtype=np.int64)).dtype == torch.float32


def test_a_choice_lists_the_choices():
    assert checks.one_of("a", "method", ["a", "b"]) == "a"
    with pytest.raises(ArgumentError, match="method must be one of a, b; got 'c'"):
        checks.one_of("c", "method", ["a", "b"])
