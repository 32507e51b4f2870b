"""Every public function that takes rows of numbers, against rows that are no latents and rows that are, in odd clothes.

What is wrong is refused in the house's words; what is right gives what plain float32 gives, and is left as it was.
"""

import inspect
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import latentkit as lk
from latentkit.errors import LatentkitError
from latentkit.nets.fitting import initialised
from latentkit.nets.settings import class_columns

pytestmark = pytest.mark.promise("latents")

DIM, WIDE, SIDE = 4, 6, 16
EXACT = torch.bfloat16  # every value of the clean rows is one of these, so that no dtype changes it


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(EXACT).float()


MIX = normal(DIM, WIDE, seed=90) * 0.5
GRID = normal(DIM, SIDE * SIDE, seed=91)


def mixed(z):
    return torch.tanh(z @ MIX.to(z.dtype)) + 0.25 * z.sum(1, keepdim=True)


def pictured(z):
    return torch.tanh(z @ GRID.to(z.dtype)).reshape(-1, 1, SIDE, SIDE)


def judged(x):
    return x.flatten(1).sum(1) * 0.5


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(DIM, 8)
        self.two = nn.Linear(8, WIDE)

    def forward(self, z):
        return self.two(torch.tanh(self.one(z)))


PRIOR = lk.Normal(DIM)
G = lk.wrap(mixed, PRIOR)
IMAGES = lk.wrap(pictured, PRIOR)
LABELS = torch.arange(12) % 2
UP = lk.Direction(torch.eye(DIM)[0], "up", "given", (-2.0, 2.0))


@cache
def blend():
    """Classes whose rows lie apart."""
    shift = normal(3, DIM, seed=92)
    generator = lk.wrap(lambda z, y: mixed(z + class_columns(y, len(z), 3) @ shift), PRIOR, classes=("a", "b", "c"))
    return lk.blend(generator)


@cache
def layers():
    return lk.wrap(initialised(Layers, 0).requires_grad_(False), PRIOR)


@cache
def quality():
    return lk.quality_map(G, judged, mixed(PRIOR.sample(300, seed=5)) + 0.5, n=200, seed=1)


@cache
def plane(rows=200, width=WIDE):
    return lk.project(normal(rows, width, seed=7), "pca", seed=0)


@cache
def matching():
    return lk.match_latents(G, SAMPLES, MORE, pool=200)


@cache
def support():
    return lk.fit_support(SAMPLES, MORE)


# ---- the clean arguments

CLEAN: dict[str, Tensor] = {
    "rows": normal(12, DIM, seed=1),
    "end": normal(DIM, seed=2),
    "samples": normal(60, WIDE, seed=3),
    "points": normal(60, 2, seed=4),
    "images": normal(8, 1, SIDE, SIDE, seed=5).clamp(-1, 1),
    "values": normal(60, seed=6),
    "times": torch.linspace(0, 1, 9),
    "anchors": normal(3, DIM, seed=8),
    "inner": normal(8, seed=9),
    "unit": torch.tensor([0.0, -1.0, 0.0, 0.0]),
}
#: How each is spoilt; every one of these has to be refused unless the function's row says that it takes it.
SPOILT: dict[str, Callable[[Tensor], Any]] = {
    "NaN": lambda z: with_value(z, float("nan")),
    "infinity": lambda z: with_value(z, float("inf")),
    "-infinity": lambda z: with_value(z, float("-inf")),
    "no rows": lambda z: z[:0],
    "no axis": lambda z: z.reshape(-1)[0],
    "an axis less": lambda z: z[0],
    "an axis more": lambda z: z[..., None],
    "an axis before": lambda z: z[None],
    "another width": lambda z: torch.cat([z, z[..., :1]], -1),
    "no width": lambda z: z[..., :0],
    "truth values": lambda z: z > 0,
    "complex": lambda z: z.to(torch.complex64),
    "text": lambda z: ["a", "b"],
    "nothing": lambda z: None,
    "ragged": lambda z: [[1.0], [1.0, 2.0]],
}
NONE = frozenset({"nothing"})
#: A loss is asked at every step, and says itself that something was not finite.
UNSEEN = frozenset({"NaN", "infinity", "-infinity"})
ROW, END = frozenset({"an axis less"}), frozenset({"an axis before"})


def with_value(z, value):
    z = z.clone()
    z.reshape(-1)[z[0].numel() if z.ndim > 1 else 1] = value  # the second row's first
    return z


#: The same numbers otherwise held: as a dtype, in memory that is read-only or scattered, followed by gradients.
DRESSED: dict[str, Callable[[Tensor], Any]] = {
    "half": lambda z: z.half(),
    "bfloat16": lambda z: z.to(torch.bfloat16),
    "float64": lambda z: z.double(),
    "scattered": lambda z: scattered(z),
    "read-only": lambda z: quietly(read_only(z)),
    "read-only array": lambda z: read_only(z),
    "with gradients": lambda z: z.clone().requires_grad_(),
    "an array": lambda z: z.numpy().copy(),
    "lists": lambda z: z.tolist(),
}


def scattered(z):
    """A view whose elements lie apart and in another order."""
    wide = torch.empty(*z.shape[::-1], 2)
    wide[..., 1] = z.permute(*range(z.ndim - 1, -1, -1))
    view = wide[..., 1].permute(*range(z.ndim - 1, -1, -1))
    assert view.equal(z)
    return view


#: What is no tensor: it may be refused as well, in words.
BARE = ("read-only array", "an array", "lists")
FEW = ("bfloat16", "read-only", "with gradients")


def quietly(array):
    """Return a tensor over an array that cannot be written to, of which torch only warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(array)


def read_only(z):
    array = z.numpy().copy()
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class Call:
    """A call of a public function with one argument of a kind.

    Attributes: `run`, which calls it; `like`, the kind of argument; `takes`, what of `SPOILT` is right here; `keeps`,
    whether the result has the argument's dtype, or what that and the dtype `beside` it make; `followed`, whether
    gradients pass on purpose; `slack`, of results; `slow`, for which a few clothes must do; `heavy`, for which none.
    """

    run: Callable[[Any], Any]
    like: str = "rows"
    takes: frozenset[str] = frozenset()
    keeps: bool = False
    followed: bool = False
    slack: float = 1e-4
    beside: torch.dtype | None = None
    slow: bool = False
    heavy: bool = False


WIDTH = frozenset({"another width"})
#: To a function as a critic may be, samples of any shape are samples.
ANY_SAMPLES = WIDTH | {"an axis more", "an axis before", "no width"}
OTHER_END = normal(DIM, seed=20)
ROWS = CLEAN["rows"]
SAMPLES, MORE = CLEAN["samples"], normal(60, WIDE, seed=21) + 0.5
POINTS = normal(60, 2, seed=22)
RING, WIDER = lk.ring_mixture(), lk.Mixture(lk.ring_mixture().means, 0.4)


def pair(name, like, call, other, **options):
    """The two rows of a function of two arguments of one kind."""
    first, second = name
    return {
        f"{first}({second[0]})": Call(lambda z: call(z, other), like, **options),
        f"{first}({second[1]})": Call(lambda z: call(other, z), like, **options),
    }


def curves():
    ends = {"like": "end", "keeps": True, "beside": torch.float32, "takes": END}
    made: dict[str, Call] = {}
    for name in ("lerp", "slerp", "interpolate"):
        made |= pair((name, "ab"), call=getattr(lk, name), other=OTHER_END, **ends)
    made |= pair(("circle", "ab"), call=lk.circle, other=OTHER_END, **{**ends, "takes": frozenset()})
    made |= pair(
        ("geodesic", "ab"),
        "end",
        lambda a, b: lk.geodesic(G, a, b, points=5, steps=3),
        OTHER_END,
        keeps=True,
        beside=torch.float32,
    )
    for name in ("loop", "tour", "spline"):
        made[f"{name}(keys)"] = Call(getattr(lk, name), takes=WIDTH, keeps=True)
    made["anchor_grid(anchors)"] = Call(lambda z: lk.anchor_grid(z, 3).latents, "anchors", WIDTH, keeps=True)
    made["orbit(centre)"] = Call(lambda z: lk.orbit(z, 1.0, seed=1, prior=PRIOR), "end", END, keeps=True)
    # A curve of times alone: any number of them, or one.
    some = WIDTH | {"no rows", "no axis", "an axis less", "no width"}
    made["Curve(t)"] = Call(lk.lerp(torch.zeros(DIM), OTHER_END), "times", some)
    for name, other in (("times", "place"), ("place", "times")):
        made[f"retimed({name})"] = Call(
            lambda z, name=name, other=other: lk.retimed(
                lk.lerp(torch.zeros(DIM), OTHER_END), **{name: z, other: CLEAN["times"]}
            ),
            "times",
        )
    return made


def arithmetic():
    made = {
        "mean(latents)": Call(lambda z: lk.mean(z, PRIOR), keeps=True),
        "combine(latents)": Call(lambda z: lk.combine(z, [1.0 / 12] * 12, PRIOR), keeps=True),
        "combine(weights)": Call(lambda z: lk.combine(SAMPLES[:, :DIM], z, PRIOR), "values"),
        "weigh(weights)": Call(lambda z: lk.weigh(list(SAMPLES[:, :DIM]), z, PRIOR), "values"),
        "weigh(terms)": Call(
            lambda z: lk.weigh([z, OTHER_END], [1.0, 0.5], PRIOR), "end", END, keeps=True, beside=torch.float32
        ),
        "calculate(latents)": Call(
            lambda z: lk.calculate("a + 0.5 * b", {"a": z, "b": OTHER_END}, PRIOR),
            "end",
            END,
            keeps=True,
            beside=torch.float32,
        ),
        "vicinity(latent)": Call(lambda z: lk.vicinity(z, 3, scale=0.5, seed=1, prior=PRIOR), "end", keeps=True),
        "pulled_back(z)": Call(lambda z: lk.pulled_back(z, PRIOR), takes=ROW, keeps=True),
        "truncate(latents)": Call(lambda z: lk.truncate(z, torch.zeros(DIM), 0.7), keeps=True),
        "truncate(mean)": Call(lambda z: lk.truncate(ROWS, z, 0.7), "end"),
    }
    a, b = normal(DIM, seed=23), normal(DIM, seed=24)
    made["analogy(a)"] = Call(lambda z: lk.analogy(z, a, b, PRIOR), "end", keeps=True, beside=torch.float32)
    made["analogy(b)"] = Call(lambda z: lk.analogy(a, z, b, PRIOR), "end")
    made["analogy(c)"] = Call(lambda z: lk.analogy(a, b, z, PRIOR), "end")
    return made


def directions():
    made = {}
    for fit in (lk.mean_difference, lk.svm_boundary, lk.logistic_boundary):
        made[f"{fit.__name__}(latents)"] = Call(lambda z, fit=fit: fit(z, LABELS, name="x", prior=PRIOR), slack=2e-3)
    return made | {
        "stability(latents)": Call(
            lambda z: lk.stability(
                lambda rows, labels: lk.mean_difference(rows, labels, name="x"), z, LABELS, resamples=3
            ),
            takes=WIDTH,
            slack=3e-3,
        ),
        "pca_directions(rows)": Call(lambda z: lk.pca_directions(z, 2), takes=WIDTH, slack=2e-3),
        "pca_directions(latents)": Call(
            lambda z: lk.pca_directions(SAMPLES[:12], 2, latents=z, prior=PRIOR), slack=2e-3
        ),
        "factorised(weights)": Call(lambda z: lk.factorised(z, 2, prior=PRIOR), slack=2e-3),
        "extremes(values)": Call(lambda z: lk.extremes(z, 0.2), "values", WIDTH | {"truth values"}),
        "Direction(vector)": Call(lambda z: lk.Direction(z, "x", "given", (-1.0, 1.0)), "unit", WIDTH),
        "jacobian_directions(latents)": Call(lambda z: lk.jacobian_directions(G, 2, latents=z), takes=NONE, slack=2e-3),
    }


def models():
    view = lk.layers_of(layers())
    return {
        "generate(latents)": Call(lambda z: lk.generate(G, z)),
        "stream(latents)": Call(lambda z: lk.stream(G, z)),
        "effective_rank(latents)": Call(lambda z: lk.effective_rank(G, z)),
        "local_geometry(latents)": Call(lambda z: lk.local_geometry(G, z), slack=1e-3),
        "jacobian(latents)": Call(lambda z: lk.jacobian(G, z)),
        "sweep(latents)": Call(lambda z: lk.sweep(G, UP, z, [-1.0, 0.0, 1.0]), slack=5e-3),
        "sweep(strengths)": Call(lambda z: lk.sweep(G, UP, ROWS, z), "values", WIDTH | NONE),
        "editability(latents)": Call(lambda z: lk.editability(z, G, judged, n=4)),
        "editability(directions)": Call(lambda z: lk.editability(ROWS, G, judged, directions=z, n=4), takes=NONE),
        "edited_layer(vector)": Call(lambda z: lk.edited_layer(layers(), view[0], z, 1.0)(ROWS), "inner"),
        "project_samples(latents)": Call(lambda z: lk.project_samples(G, z, "pca"), slack=1e-3),
        "sample_features(latents)": Call(lambda z: lk.sample_features(G, z)),
        "class_tour(z)": Call(lambda z: lk.class_tour(blend(), z, ["a", "b", "c"]), "end"),
        "class_walk(z_a)": Call(lambda z: lk.class_walk(blend(), z, "a", OTHER_END, "b"), "end"),
        "class_walk(z_b)": Call(lambda z: lk.class_walk(blend(), OTHER_END, "a", z, "b"), "end"),
        "animate(curve)": Call(lambda z: next(iter(lk.animate(IMAGES, z).frames())).astype(float), slack=1.0),
        **pair(
            ("bake_off", "ab"),
            "end",
            lambda a, b: lk.bake_off(G, a, b, quality=quality(), critic=judged, steps=8),
            OTHER_END,
            slow=True,
        ),
        **pair(("route", "ab"), "end", lambda a, b: lk.route(quality(), G, judged, a, b), OTHER_END, slow=True),
        **pair(
            ("compare_routes", "ab"),
            "end",
            lambda a, b: lk.compare_routes(quality(), G, judged, a, b, steps=8),
            OTHER_END,
            slow=True,
        ),
        **pair(
            ("journey", "ab"),
            "end",
            lambda a, b: lk.journey(quality(), G, judged, a, b, plane=plane(), steps=8),
            OTHER_END,
            slow=True,
        ),
    }


def inverted_in_a_store(x):
    with tempfile.TemporaryDirectory() as folder:
        store = lk.invert_to(f"{folder}/found", G, x, steps=2, starts=1, pool=20)
        return torch.from_numpy(np.array(store["error"][:]))


def samples():
    own = {"like": "samples"}
    made = {
        "score(samples)": Call(lambda x: lk.score(judged, x), takes=ANY_SAMPLES | {"no rows"}, **own),
        "gate_threshold(real)": Call(lambda x: lk.gate_threshold(judged, x, 0.1), takes=ANY_SAMPLES, **own),
        # What can be measured goes by the shape alone.
        "attributes_of(samples)": Call(
            lambda x: [torch.tensor([float(ord(one[0])) for one in lk.attributes_of(x)])],
            "images",
            UNSEEN | {"no rows", "an axis less", "another width", "no width"},
        ),
        "class_scores(real)": Call(
            lambda x: lk.class_scores(x, [0, 1] * 30, ["a", "b"]), takes=WIDTH | {"an axis more"}, **own
        ),
        "nearest_rows(rows)": Call(lambda x: lk.nearest_rows(x, 3), takes=WIDTH, **own),
        "neighbour_graph(features)": Call(lambda x: lk.neighbour_graph(x, 5), takes=WIDTH, **own),
        "project(features)": Call(
            lambda x: lk.project(x, "pca"), takes=WIDTH | {"an axis more", "an axis before"}, slack=1e-3, **own
        ),
        "toy_truth(points)": Call(lambda x: lk.toy_truth(x, RING), "points"),
        "density_ratio_error(points)": Call(
            lambda x: lk.density_ratio_error(torch.zeros(60), x, RING, WIDER), "points", slack=1e-3
        ),
        "density_ratio_error(log_ratio)": Call(
            lambda x: lk.density_ratio_error(x, POINTS, RING, WIDER), "values", slack=1e-3
        ),
        "invert(samples)": Call(lambda x: lk.invert(G, x, steps=2, starts=1, pool=20).error, slack=1e-2, **own),
        "invert_without_gradients(samples)": Call(
            lambda x: lk.invert_without_gradients(G, x, generations=2, starts=1, pool=20).error,
            slack=1e-2, **own,
        ),
        "find_holes(train)": Call(lambda x: lk.find_holes(matching(), x), takes=WIDTH | {"an axis more"}, **own),
        "repair(train)": Call(
            lambda x: lk.repair(layers(), x, torch.arange(60) < 1, rounds=1, steps=1, pool=200), heavy=True, **own
        ),
        "invert_to(samples)": Call(inverted_in_a_store, slack=1e-2, slow=True, **own),
        "quality_map(real)": Call(
            lambda x: lk.quality_map(G, judged, x, n=40, allow_uninformative=True), slack=1e-3, **own
        ),
        "judge(real)": Call(lambda x: lk.judge(G, judged, x).calibration.auc, slack=1e-3, **own),
        "second_opinion(real)": Call(
            lambda x: lk.second_opinion(G, x, steps=2, holdout=0.2).real, slack=1e-3, slow=True, **own
        ),
        "metropolis(real_logits)": Call(
            lambda x: lk.metropolis(G, judged, 4, steps=4, real_logits=x).latents, "values", WIDTH | NONE, slack=1e-3
        ),
    }  # fmt: skip
    takes_samples = frozenset({"an axis more"})
    for name, slack in (
        ("frechet_distance", 1e-3),
        ("mmd", 1e-4),
        ("sample_quality", 1e-4),
        ("sliced_wasserstein", 1e-4),
    ):
        options = {"mmd": {"resamples": 20}, "frechet_distance": {"features": "x"}}.get(name, {})
        function = lambda a, b, name=name, options=options: getattr(lk, name)(a, b, **options)  # noqa: E731
        second = "real_features", "generated_features"
        made |= pair(
            (name, second if name == "frechet_distance" else ("real", "generated")),
            "samples",
            function,
            MORE,
            slack=slack,
            takes=takes_samples,
        )
    made |= pair(
        ("calibrate", ("real", "generated")), "samples", lambda a, b: lk.calibrate(judged, a, b), MORE, takes=WIDTH
    )
    for name in ("pixel_loss", "pyramid_loss"):
        made |= pair(
            (name, ("made", "wanted")), "images", getattr(lk, name), CLEAN["images"] * 0.5, followed=True, takes=UNSEEN
        )
    made |= pair(("fit_support", ("train", "held_out")), "samples", lambda a, b: lk.fit_support(a, b).reach, MORE)
    made |= pair(
        ("match_latents", ("train", "held_out")),
        "samples",
        lambda a, b: lk.match_latents(G, a, b, pool=200).distance,
        MORE,
        slow=True,
        takes=frozenset({"an axis more"}),
    )
    made |= pair(
        ("refine", ("train", "held_out")),
        "samples",
        lambda a, b: lk.refine(G, a, b, mend=False, pool=200),
        MORE,
        heavy=True,
    )
    for number, name in enumerate(("train", "held_out", "generated")):

        def copies(x, number=number):
            rows = [SAMPLES * 0.9, MORE, SAMPLES * 1.1]
            rows[number] = x
            return lk.copy_ratio(*rows, resamples=20)

        made[f"copy_ratio({name})"] = Call(copies, takes=takes_samples, **own)
    return made


def methods():
    made = {
        "Support.of_rows(rows)": Call(lambda x: support().of_rows(x), "samples", frozenset({"no rows"})),
        "Projection.transform(features)": Call(lambda x: plane().transform(x), "samples", frozenset({"an axis more"})),
    }
    for prior in (
        PRIOR,
        lk.Uniform(DIM, -4.0, 4.0),
        lk.Sphere(DIM),
        lk.Empirical.fit(SAMPLES[:, :DIM]),
        lk.Joint(lk.Normal(2), lk.Normal(2)),
        lk.Tied(lk.Normal(2), 2),
    ):
        name = type(prior).__name__
        made[f"{name}.log_prob(z)"] = Call(prior.log_prob, followed=True)
        made[f"{name}.typicality(z)"] = Call(prior.typicality)
    return made


def calls():
    return curves() | arithmetic() | directions() | models() | samples() | methods()


# ---- what comes back, as tensors


def flat(value: Any) -> Iterator[Any]:
    """Yield the tensors and numbers of a result, wherever they are in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, np.ndarray):
        yield torch.from_numpy(value)
    elif isinstance(value, bool | int | float):
        yield torch.tensor(float(value))
    elif isinstance(value, lk.Curve):
        yield value([0.0, 0.2, 0.5, 1.0])
    elif isinstance(value, dict):
        for one in value.values():
            yield from flat(one)
    elif isinstance(value, tuple | list | Iterator):
        for one in value:
            yield from flat(one)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from flat(getattr(value, field.name))


def difference(found, clean, slack):
    """Return what differs between two results, or None."""
    if len(found) != len(clean):
        return f"{len(found)} tensors instead of {len(clean)}"
    for one, wanted in zip(found, clean, strict=True):
        a, b = one.detach().double(), wanted.detach().double()
        if a.shape != b.shape:
            return f"{tuple(a.shape)} instead of {tuple(b.shape)}"
        coarse = 2e-2 if one.dtype in (torch.half, torch.bfloat16) else slack
        if not torch.allclose(a, b, rtol=coarse, atol=coarse, equal_nan=True):
            return f"{one.dtype} off by {float((a - b).abs().max()):.2g}"
    return None


CALLS = calls()


@pytest.fixture(autouse=True)
def _each_warning():
    """Let torch warn every time, so that each of these cases stands for itself."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


def refusal(call, rows):
    """Return what a call says against its argument, or None if it takes it."""
    try:
        list(flat(call.run(rows)))
    except LatentkitError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", CALLS)
def test_rows_that_are_none_are_refused_in_words(name, tally):
    call = CALLS[name]
    tried = 0
    for way, spoil in SPOILT.items():
        if way in call.takes:
            continue
        tried += 1
        why = refusal(call, spoil(CLEAN[call.like]))
        assert why is not None, f"{way} were taken"
        assert re.search("must|got|need|name|give|take|pass|leave", why), (way, why)
        assert "\n" not in why
    tally(tried)


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if not call.heavy])
def test_rows_in_any_clothes_give_what_plain_ones_give(name, tally):
    call = CALLS[name]
    rows = CLEAN[call.like]
    clean = list(flat(call.run(rows.clone())))
    assert clean
    assert not any(bool(one.isnan().all()) for one in clean if one.numel() > 1)
    ways = FEW if call.slow else tuple(DRESSED)
    for way in ways:
        given = DRESSED[way](rows)
        why = refusal(call, given) if way in BARE else None
        if why is not None:
            assert re.search("must|got", why), (way, why)
            continue
        found = list(flat(call.run(given)))
        assert difference(found, clean, call.slack) is None, way
        again = torch.as_tensor(np.array(given)) if way in BARE else given.detach()
        assert again.double().equal(rows.double()), f"{way} were changed"
        assert call.followed or not any(one.requires_grad for one in found), f"{way} leave a graph"
        if call.keeps and isinstance(given, Tensor):
            wanted = torch.promote_types(given.dtype, call.beside or given.dtype)
            assert {one.dtype for one in found if one.ndim and one.is_floating_point()} == {wanted}, way
    tally(len(ways))


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if not call.heavy])
def test_whole_numbers_are_taken_for_the_same_floats_or_refused(name):
    call = CALLS[name]
    whole = (4 * CLEAN[call.like]).round()
    why = refusal(call, whole.to(torch.int64))
    if why is None:
        wanted = list(flat(call.run(whole.clone())))
        found = list(flat(call.run(whole.to(torch.int64))))
        assert difference(found, wanted, call.slack) is None
    else:
        assert re.search("must|got|need|norm", why), why
        assert "float" in why or refusal(call, whole) is not None, why


# ---- nothing is forgotten

#: Arguments that hold tensors and are no rows that a caller brings.
OTHERS = {
    **{f"{name}(labels)": "labels, which tests of directions and of data try" for name in (
        "class_scores", "judge", "logistic_boundary", "mean_difference", "project", "project_samples", "stability",
        "svm_boundary",
    )},
    **{f"{name}(t)": "a function of times that `eased` checks" for name in (
        "ease_in", "ease_in_out", "ease_out", "smootherstep", "smoothstep",
    )},
    "audit(strengths)": "numbers, which `sweep` takes too",
    "captions_of(values)": "numbers that are shown",
    "from_flow(context)": "what another library's model is asked under",
    "from_pythae(images)": "samples that another library's model encodes",
    "load_pythae(images)": "samples that another library's model encodes",
    "neighbour_graph(knn)": "neighbours, whose numbers are compared with the rows'",
    "over_prompts(embeddings)": "what another library's model is asked for",
    "prepared(probe)": "what a copy is tried with, of which only its equality with the model is asked",
    "repair(unreached)": "truth values",
    "tide(levels)": "thresholds, numbers from 0 to 1",
}  # fmt: skip


def arguments():
    """Return "function(argument)" for each argument of a public function that is a tensor, or may be."""
    found = set()
    for name in lk.__all__:
        function = getattr(lk, name)
        if not inspect.isfunction(function):
            continue
        for argument in inspect.signature(function).parameters.values():
            said = re.sub(r"Callable\[\[[^\]]*\], [\w.\[\]]+\]", "", str(argument.annotation))
            rows = argument.annotation is Any and argument.name in ("latents", "features", "samples")
            if "Tensor" in said or rows:
                found.add(f"{name}({argument.name})")
    return found


def test_every_public_function_has_its_row():
    found, known = arguments(), {*CALLS, *OTHERS}
    assert len(found) > 100
    assert found - known == set(), "give these a row in the table, or say why they have none"
    assert {one for one in OTHERS if one not in found} == set()
    assert {one for one in CALLS if one[0].islower() and "." not in one} - found == set()
