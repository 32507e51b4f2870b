import math
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import latentkit as lk
from latentkit.calibration import calibrate_logits
from latentkit.errors import (
    ArgumentError,
    CheckpointError,
    CriticError,
    LabelError,
    LatentkitError,
    NonFiniteError,
    ShapeError,
)
from latentkit.quality import QualityMap, load_quality, score_latents
from latentkit.quality.islands import apportion

# The generator makes N(0, I) and the real samples are N((SHIFT, 0), I): the log ratio is SHIFT x - SHIFT^2 / 2.
SHIFT = 1.5
G = lk.wrap(lambda z: z, lk.Normal(2))


def truth(x):
    return SHIFT * x[:, 0] - SHIFT**2 / 2


def biased(x):
    """What training leaves: the true ratio with another slope and offset."""
    return 0.4 * truth(x) - 6.0


def noise(frequency):
    """Return a critic that scores by digits that mean nothing."""
    return lambda x: torch.sin(frequency * x[:, 0])


REAL = lk.Normal(2).sample(4000, seed=77) + torch.tensor([SHIFT, 0.0])


@pytest.fixture(scope="module")
def quality():
    return lk.quality_map(G, biased, REAL, n=5000, seed=3)


def test_the_map_holds_the_true_density_ratio(quality):
    wanted = truth(quality.latents)
    inner = wanted.abs() < 2.5
    assert (quality.density_ratio.log() - wanted)[inner].abs().max() < 0.3
    assert (quality.probability - torch.sigmoid(wanted)).abs().max() < 0.06
    # The mean of p_real / p_model over the model is 1.
    assert quality.density_ratio.mean().item() == pytest.approx(1, abs=0.1)
    assert quality.calibration.auc == pytest.approx(stats.norm.cdf(SHIFT / math.sqrt(2)), abs=0.02)
    assert quality.verdict.startswith("informative: ")


def test_the_map_is_the_seeds_own_draw(quality):
    assert len(quality) == 5000
    assert quality.latents.equal(G.prior.sample(5000, seed=3))
    assert quality.latents.equal(G.prior.sample(5000, seed=3)[quality.index])
    torch.testing.assert_close(quality.logits, biased(quality.latents))
    assert quality.typicality.equal(G.prior.typicality(quality.latents))
    assert quality.probability.equal(quality.calibration.probability(quality.logits))
    assert quality.density_ratio.equal(quality.calibration.density_ratio(quality.logits))
    assert quality.seed == 3


@pytest.mark.parametrize("fraction", [1e-9, 0.1, 0.25, 1.0])
def test_the_top_is_the_best_best_first(quality, fraction):
    best = quality.top(fraction)
    assert len(best) == max(1, round(5000 * fraction))
    assert (best.probability.diff() <= 0).all()
    assert best.logits.equal(quality.logits.sort(descending=True).values[: len(best)])
    assert quality.latents[best.index].equal(best.latents)
    assert best.top(1.0).latents.equal(best.latents)
    # By this critic the best are those furthest to the right.
    if fraction == 0.1:
        assert best.latents[:, 0].min() > stats.norm.ppf(0.87)


def test_among_equal_probabilities_the_larger_logit_comes_first():
    """An isotonic calibration has plateaus; the critic's own order decides within them."""
    best = lk.quality_map(G, biased, REAL[:100], n=400, seed=3, method="isotonic").top(0.5)
    assert len(best.probability.unique()) < len(best)
    assert (best.logits.diff() <= 0).all()


def test_above_keeps_the_order_and_may_be_empty(quality):
    good = quality.above(0.5)
    assert good.probability.min() >= 0.5
    assert (good.index.diff() > 0).all()
    assert len(good) == (quality.probability >= 0.5).sum()
    assert len(quality.above(0.0)) == 5000
    assert len(quality.above(1.0)) == 0


def test_rows_are_taken_in_the_order_asked(quality):
    few = quality.rows(torch.tensor([7, 2, 2]))
    for name in ("latents", "index", "logits", "probability", "density_ratio", "typicality"):
        assert getattr(few, name).equal(getattr(quality, name)[[7, 2, 2]])


def test_latents_are_not_judged_by_themselves():
    """The draws that calibrate come after those that are mapped."""
    seen = []

    def spy(z):
        seen.append(z.clone())
        return z

    quality = lk.quality_map(lk.wrap(spy, G.prior), biased, REAL[:100], n=300, seed=3)
    rows = [tuple(row) for part in seen for row in part.tolist()]
    assert len(rows) == 400
    assert len(set(rows)) == 400
    assert {tuple(row) for row in quality.latents.tolist()} <= set(rows)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batches_and_modes_change_nothing(batch_size, build):
    net = build(lambda: nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)))
    critic = build(lambda: nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)), seed=1)
    net.train()
    critic.train()
    generator = lk.wrap(net, lk.Normal(2))
    real = REAL[:60]
    options = {"n": 50, "seed": 1, "allow_uninformative": True, "method": "logistic"}
    one = lk.quality_map(generator, critic, real, batch_size=batch_size, **options)
    two = lk.quality_map(generator, critic.eval(), real, batch_size=64, **options)
    torch.testing.assert_close(one.logits, two.logits)
    torch.testing.assert_close(one.probability, two.probability, rtol=1e-4, atol=1e-5)
    assert net.training
    assert net[1].training
    assert not critic.training
    torch.testing.assert_close(
        score_latents(generator, critic, one.latents), lk.score(critic, lk.generate(generator, one.latents))
    )


@pytest.mark.parametrize(
    "critic", [noise(12345.0), lambda x: 0 * x[:, 0], lambda x: -truth(x)], ids=["noise", "constant", "wrong sign"]
)
def test_a_critic_without_signal_is_refused(critic):
    with pytest.raises(CriticError, match=r"no quality map was made.*AUC.*allow_uninformative=True"):
        lk.quality_map(G, critic, REAL[:500], n=100)
    quality = lk.quality_map(G, critic, REAL[:500], n=100, allow_uninformative=True)
    assert quality.verdict.startswith("uninformative: ")
    assert len(quality) == 100


def test_hardly_any_random_critic_is_let_through():
    """The interval is one of 95 %, so by right one in 40 is."""
    refused = 0
    for frequency in range(5000, 25_000, 1000):
        try:
            lk.quality_map(G, noise(float(frequency)), REAL[:300], n=1, method="logistic")
        except CriticError:
            refused += 1
    assert refused >= 17


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: lk.quality_map(G, truth, REAL[:19]),
            ShapeError,
            "at least 20 held-out real and generated samples, got 19",
        ),
        (lambda: lk.quality_map(G, truth, REAL[:, :1]), ShapeError, r"one shape, got \(1,\) and \(2,\)"),
        (lambda: lk.quality_map(G, truth, REAL / 0), NonFiniteError, "must be finite"),
        (lambda: lk.quality_map(G, truth, REAL, n=0), ArgumentError, "n must be a whole number of at least 1, got 0"),
        (lambda: lk.quality_map(G, truth, REAL, seed=-1), ArgumentError, "seed must be a whole number"),
        (lambda: lk.quality_map(G, truth, REAL, method="x"), ArgumentError, "method must be one of"),
        (lambda: lk.quality_map(G, lambda x: x, REAL), ShapeError, "the critic must return one logit a sample"),
        (lambda: score_latents(G, truth, torch.zeros(3, 3)), ShapeError, r"must be \(N, 2\), got \(3, 3\)"),
    ],
)
def test_bad_calls_say_what_was_wanted(call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call()
    assert isinstance(caught.value, error)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.1, float("nan")])
def test_a_fraction_lies_above_nought_and_at_most_one(quality, value):
    with pytest.raises(ArgumentError, match="fraction must be a finite number, above 0 and at most 1, got"):
        quality.top(value)
    if value:
        with pytest.raises(ArgumentError, match="probability must be a finite number, at least 0 and at most 1, got"):
            quality.above(value)


# Three modes of real samples, with weights 4 : 2 : 1, where the generator makes one broad cloud: between the modes it
# makes what is not real.
CENTRES = torch.tensor([[-1.5, 0.0], [1.2, 1.0], [1.0, -1.3]])
WEIGHTS = torch.tensor([4.0, 2.0, 1.0]) / 7
SPREAD = 0.25


def log_ratio(x):
    """The log of p_real / p_model, exactly."""
    squares = (x[:, None] - CENTRES).square().sum(2) / SPREAD**2
    real = torch.logsumexp(WEIGHTS.log() - squares / 2, 1) - 2 * math.log(SPREAD)
    return real + x.square().sum(1) / 2


def three_modes(n, seed):
    generator = torch.Generator().manual_seed(seed)
    mode = torch.multinomial(WEIGHTS, n, replacement=True, generator=generator)
    return CENTRES[mode] + SPREAD * torch.randn(n, 2, generator=generator)


def nearest_mode(x):
    return torch.cdist(x, CENTRES).argmin(1)


@pytest.fixture(scope="module")
def modes():
    return lk.quality_map(G, log_ratio, three_modes(4000, 0), n=4000, seed=5)


def test_the_threshold_lets_all_but_a_twentieth_of_the_real_samples_through(modes):
    fresh = modes.calibration.probability(log_ratio(three_modes(4000, 1)))
    assert (fresh >= modes.threshold).double().mean().item() == pytest.approx(0.95, abs=0.015)
    bare = QualityMap.of(G.prior, modes.latents, modes.logits, modes.calibration, 5)
    with pytest.raises(ArgumentError, match="does not know how real samples score"):
        bare.threshold  # noqa: B018 - reading it is what is tested


def test_the_islands_are_the_modes(modes):
    classes = (modes.latents[:, 0] > 0).long()
    found = modes.islands(labels=classes)
    assert len(found) == 3
    good = modes.probability >= found.threshold
    assert (found.labels[~good] == -1).all()
    assert found.good == good.sum()
    assert (found.count.diff() <= 0).all()
    mode = nearest_mode(modes.latents)
    for k in range(3):
        rows = found.rows(k)
        assert len(mode[rows].unique()) == 1
        assert found.count[k] == len(rows)
        assert found.share[k].item() == pytest.approx(len(rows) / found.good)
        assert found.probability[k].item() == pytest.approx(modes.probability[rows].mean().item())
        assert found.makeup[k].tolist() == pytest.approx(
            [(classes[rows] == c).double().mean().item() for c in range(2)]
        )
        # Its representative is the one that is nearest to all others.
        gaps = torch.cdist(modes.latents[rows].double(), modes.latents[rows].double()).mean(1)
        assert found.labels[found.representative[k]] == k
        assert rows[gaps.argmin()] == found.representative[k]
    # The share of good draws is that of the prior within each mode's reach.
    assert found.share.sum() > 0.99
    assert "3 islands" in found.summary


def test_islands_and_bottlenecks_say_the_same_at_every_tide(modes):
    some = torch.arange(60)
    i, j = (side.reshape(-1) for side in torch.meshgrid(some, some, indexing="ij"))
    level = modes.bottleneck(i, j).nan_to_num(0.0)
    before = None
    for threshold in (0.05, 0.2, 0.5, 0.8, 0.95):
        labels = modes.islands(threshold, least=1).labels
        together = (labels[i] == labels[j]) & (labels[i] >= 0)
        assert together.equal(level >= threshold)
        # A rising tide parts what hung together, and joins nothing.
        assert before is None or not (together & ~before).any()
        before = together


def test_the_bottleneck_is_the_pass_between_two_modes(modes):
    """Two modes' likeliest latents: the best way leads over the saddle of the ratio, found on a fine grid."""
    tops = [int(torch.where(nearest_mode(modes.latents) == k, modes.probability, 0.0).argmax()) for k in (1, 2)]
    axis = torch.linspace(-2.5, 2.5, 201)
    grid = torch.cartesian_prod(axis, axis)
    height = log_ratio(grid).reshape(201, 201).numpy()
    from scipy import ndimage

    places = [((modes.latents[row] + 2.5) / 0.025).round().long().tolist() for row in tops]
    low, high = -20.0, float(height.max())
    for _ in range(30):
        middle = (low + high) / 2
        parts = ndimage.label(height >= middle)[0]
        joined = parts[tuple(places[0])] == parts[tuple(places[1])] != 0
        low, high = (middle, high) if joined else (low, middle)
    wanted = modes.calibration.probability(torch.tensor([low])).item()
    assert modes.bottleneck(*tops).item() == pytest.approx(wanted, abs=0.05)
    assert modes.bottleneck(*tops).equal(modes.bottleneck(*tops[::-1]))
    assert modes.bottleneck(tops[0], tops[0]).item() == modes.probability[tops[0]]


def test_no_way_is_not_known_rather_than_bad():
    """A generator of two clouds far apart: nothing lies between them."""
    apart = lk.wrap(lambda z: z + torch.tensor([100.0, 0.0]) * z[:, :1].sign(), lk.Normal(2))
    quality = lk.quality_map(apart, lambda x: x[:, 1], REAL[:, [1, 0]], n=300, seed=1)
    side = quality.latents[:, 0] > 0
    a, b = int(side.nonzero()[0]), int((~side).nonzero()[0])
    assert quality.bottleneck(a, b).isnan().all()
    assert not quality.bottleneck(a, int(side.nonzero()[1])).isnan().any()


def test_the_top_may_be_one_mode_and_the_balanced_top_is_not(modes):
    islands = modes.islands()
    count = len(modes.top(0.03))
    balanced = modes.top_balanced(0.03)
    assert len(balanced) == count
    assert (balanced.probability.diff() <= 0).all()
    found = nearest_mode(balanced.latents).bincount(minlength=3)
    wanted = islands.share * count / islands.share.sum()
    names = nearest_mode(modes.latents[islands.representative])
    assert ((found[names] - wanted).abs() < 1).all()
    # Within an island they are its best.
    for k in range(3):
        rows = islands.rows(k)
        best = modes.probability[rows].sort(descending=True).values[: int(found[names[k]])]
        assert balanced.probability[nearest_mode(balanced.latents) == names[k]].tolist() == best.tolist()
    even = modes.top_weighted(0.03, islands, torch.ones(3))
    assert nearest_mode(even.latents).bincount(minlength=3).float().std() <= 0.6
    only = modes.top_weighted(0.03, islands, torch.tensor([0.0, 1.0, 0.0]))
    assert nearest_mode(only.latents).unique().tolist() == [int(names[1])]
    everything = modes.top_balanced(1.0)
    assert len(everything) == int(islands.count.sum())


def test_quotas_are_whole_proportional_and_hold_to_their_caps():
    assert apportion(10, torch.tensor([1.0, 1.0, 1.0]), torch.tensor([9, 9, 9])).tolist() == [4, 3, 3]
    assert apportion(10, torch.tensor([5.0, 3.0, 2.0]), torch.tensor([99, 99, 99])).tolist() == [5, 3, 2]
    assert apportion(10, torch.tensor([8.0, 1.0, 1.0]), torch.tensor([2, 99, 99])).tolist() == [2, 4, 4]
    assert apportion(10, torch.tensor([1.0, 0.0]), torch.tensor([3, 99])).tolist() == [3, 0]
    for total in range(20):
        found = apportion(total, torch.tensor([0.7, 0.2, 0.1]), torch.tensor([8, 8, 2]))
        assert found.sum() == min(total, 18)
        assert (found <= torch.tensor([8, 8, 2])).all()


def test_a_map_of_draws_is_that_of_its_latents_whatever_the_chart(modes):
    """Latents that are not charted lie where their samples do."""
    few = lk.quality_map(G, log_ratio, three_modes(4000, 0), n=4000, seed=5, graph_limit=1500)
    assert len(few.chart) == 1500
    good = few.probability >= few.threshold
    charted = torch.zeros(4000, dtype=torch.bool)
    charted[torch.isin(few.probability, few.chart.probability)] = True
    assert charted[good][: int(0.5 * 1500)].all(), "good ones come first"
    assert few.latents.equal(modes.latents)
    gaps = torch.cdist(few.latents.double(), few.chart.latents.double())
    assert few.places.long().equal(gaps.argmin(1))
    islands, wanted = few.islands(), modes.islands()
    assert len(islands) == 3
    together = islands.labels >= 0
    assert (
        nearest_mode(few.latents)[together]
        == nearest_mode(few.latents[islands.representative])[islands.labels[together]]
    ).all()
    assert together.sum() == pytest.approx(int((wanted.labels >= 0).sum()), rel=0.02)


def test_new_latents_are_scored_and_placed_like_the_maps_own(modes):
    more = G.prior.sample(200, seed=5, start=3900)
    found = modes.scored(G, log_ratio, more, batch_size=17)
    torch.testing.assert_close(found.probability[:100], modes.probability[3900:])
    assert found.latents.equal(more)
    assert found.places[:100].equal(modes.places[3900:])
    assert found.threshold == modes.threshold
    labels = found.islands().labels
    assert set(labels.tolist()) <= {-1, 0, 1, 2}
    assert ((labels >= 0) == ((found.probability >= modes.threshold) & (labels >= 0))).all()
    with pytest.raises(ArgumentError, match="pass the same features="):
        modes.scored(G, log_ratio, more, features=lambda x: x[:, :1])


def test_features_say_which_samples_are_alike(modes):
    """Seen from the side, two of the modes lie above each other, with many bad samples among the good ones."""
    beside = modes.charted(G, features=lambda x: x[:, :1])
    assert beside.chart.custom
    assert len(beside.islands()) == 2
    assert len(modes.islands()) == 3


def test_rows_keep_the_chart(modes):
    best = modes.top(0.1)
    assert best.latents.equal(modes.latents[best.index])
    labels = modes.islands(0.5).labels
    found = best.islands(0.5)
    for k in range(len(found)):
        assert len(labels[best.index[found.rows(k)]].unique()) == 1
    torch.testing.assert_close(best.bottleneck(0, 5), modes.bottleneck(best.index[0], best.index[5]))


def test_a_calibrated_critic_is_not_calibrated_again(modes):
    seen = []

    def spy(x):
        seen.append(len(x))
        return log_ratio(x)

    real = three_modes(100, 3)
    again = lk.quality_map(G, spy, real, n=50, calibration=modes.calibration)
    assert again.calibration is modes.calibration
    assert sum(seen) == 150
    with pytest.raises(ArgumentError, match="a calibration is given"):
        lk.quality_map(G, spy, real, n=50, calibration=modes.calibration, method="isotonic")
    with pytest.raises(ShapeError, match="real and generated samples must have one shape"):
        lk.quality_map(G, spy, torch.zeros(100, 7), n=50, calibration=modes.calibration)


@pytest.mark.parametrize("kind", ["drawn", "given", "without a chart", "rows"])
def test_a_saved_map_comes_back_exactly(modes, kind, tmp_path):
    few = lk.quality_map(G, log_ratio, three_modes(500, 0), n=200, seed=2**63 + 5, graph_limit=150)
    made = {
        "drawn": few,
        "given": few.scored(G, log_ratio, G.prior.sample(30, seed=1)),
        "without a chart": QualityMap.of(G.prior, few.latents.double(), few.logits, few.calibration, 7),
        "rows": few.top(0.2),
    }[kind]
    path = made.save(tmp_path / "map.npz")
    back = load_quality(path)
    names = ("latents", "index", "logits", "probability", "density_ratio", "typicality", "real_logits")
    with np.load(path) as arrays:
        for name in names:
            assert getattr(back, name).equal(getattr(made, name)), name
            assert getattr(back, name).dtype == getattr(made, name).dtype
            np.testing.assert_array_equal(arrays[name], getattr(made, name))
        assert arrays["seed"] == made.seed
        assert str(arrays["verdict"]) == made.verdict
    assert (back.seed, back.prior, back.verdict) == (made.seed, made.prior, made.verdict)
    fresh = torch.linspace(-9, 9, 50)
    assert back.calibration.probability(fresh).equal(made.calibration.probability(fresh))
    assert back.calibration.auc_interval == made.calibration.auc_interval
    assert (back.chart is None) == (made.chart is None)
    if made.chart is not None:
        assert back.places.equal(made.places)
        assert back.islands(0.5, least=3).labels.equal(made.islands(0.5, least=3).labels)
    assert (back.given is None) == (made.given is None)


def test_a_damaged_file_or_a_later_one_is_refused(modes, tmp_path):
    path = lk.quality_map(G, log_ratio, three_modes(500, 0), n=50, seed=1).save(tmp_path / "map.npz")
    whole = path.read_bytes()
    for cut in (whole[: len(whole) // 2], whole[:100], b"", b"what?"):
        path.write_bytes(cut)
        with pytest.raises(CheckpointError, match="damaged or no quality map"):
            load_quality(path)
    with zipfile.ZipFile(tmp_path / "map.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
    with pytest.raises(CheckpointError):
        load_quality(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    path.write_bytes(bytes(flipped))
    with pytest.raises(CheckpointError):
        load_quality(path)
    np.savez(path, latents=np.zeros(3))
    with pytest.raises(CheckpointError, match="no quality map"):
        load_quality(path)
    path.write_bytes(whole)
    with np.load(path) as arrays:
        stored = {name: arrays[name] for name in arrays.files}
    stored["about"] = np.array(str(stored["about"]).replace('"format": 1', '"format": 2'))
    np.savez(path, **stored)
    with pytest.raises(CheckpointError, match="format 2, this version of latentkit reads 1; update"):
        load_quality(path)
    with pytest.raises(CheckpointError, match="there is no file"):
        load_quality(tmp_path / "nothing.npz")


def test_a_map_takes_memory_by_the_latent_not_by_its_dimension(tmp_path):
    """100,000 latents of 256 dimensions are 102 MB, their samples as much again; the map of them is 4 MB."""
    wide = lk.wrap(lambda z: z, lk.Normal(256))
    calibration = calibrate_logits(truth(REAL), truth(lk.Normal(2).sample(4000, seed=0)), method="logistic")
    critic = lambda x: truth(x)  # noqa: E731 - a function of the first coordinate
    tracemalloc.start()
    quality = lk.quality_map(
        wide,
        critic,
        wide.prior.sample(200, seed=9),
        n=100_000,
        seed=1,
        batch_size=4096,
        calibration=calibration,
        graph_limit=0,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    held = sum(
        value.numel() * value.element_size() for value in vars(quality).values() if isinstance(value, torch.Tensor)
    )
    assert held < 45 * len(quality)
    # NumPy's part of it, in which latents are drawn: a block, not all.
    assert peak < 100e6
    some = torch.tensor([99_999, 3, 70_000, 3])
    assert quality.latents_of(some).equal(torch.cat([wide.prior.sample(1, seed=1, start=int(k)) for k in some]))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda q: q.rows(torch.arange(3)).islands(labels=[0, 1]), LabelError, "one class number a latent"),
        (lambda q: q.islands(2.0), ArgumentError, "threshold must be"),
        (lambda q: q.islands(least=0), ArgumentError, "least must be"),
        (lambda q: q.bottleneck(0, 4000), ArgumentError, "rows must lie in 0 to 3999, got 4000"),
        (lambda q: q.top_weighted(0.1, q.islands(), torch.ones(2)), ShapeError, r"one an island, \(3,\), got \(2,\)"),
        (lambda q: q.top_weighted(0.1, q.islands(), torch.zeros(3)), ArgumentError, "not all 0"),
        (lambda q: q.top_balanced(0.1, q.islands(1.0)), ArgumentError, "there must be an island"),
        (lambda q: q.top(0.5).top_balanced(0.1, q.islands()), ShapeError, "those of 4,000 latents"),
        (lambda q: q.charted(G, graph_limit=0), ArgumentError, "graph_limit must be"),
        (lambda q: q.charted(G, features=lambda x: x[:3]), ShapeError, "one row a sample"),
        (
            lambda q: QualityMap.of(G.prior, q.latents, q.logits, q.calibration, 5).islands(0.5),
            ArgumentError,
            "no chart",
        ),
    ],
)
def test_bad_questions_to_a_map_say_what_was_wanted(modes, call, error, text):
    with pytest.raises(LatentkitError, match=text) as caught:
        call(modes)
    assert isinstance(caught.value, error)
