import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from reliability import PROMISES, Tallies

torch.set_num_threads(1)

#: A command of its own, whose fuzzer is none of the tests' requirements.
collect_ignore = ["fuzz.py"]

DRIVER, BROWSER = Path("/usr/bin/chromedriver"), Path("/usr/bin/chromium")


def pytest_addoption(parser):
    parser.addoption("--reliability", type=Path, metavar="PAGE", help="write what was counted into this page's table")


def _own_cache():
    """Batch sizes that are measured beside other tests are no user's; what is compiled for him serves here too."""
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("NUMBA_CACHE_DIR", str(users / "latentkit" / "numba"))
    os.environ.setdefault("MPLCONFIGDIR", str(users / "matplotlib"))
    folder = tempfile.TemporaryDirectory(prefix="latentkit-tests-")
    os.environ["XDG_CACHE_HOME"] = folder.name
    return folder


def pytest_configure(config):
    if not hasattr(config, "workerinput"):  # workers inherit it
        config.stash[CACHE] = _own_cache()
    config.stash[TALLIES] = Tallies()
    config.pluginmanager.register(_Counting(config), "reliability-counting")


class _Counting:
    def __init__(self, config):
        self._config = config

    def pytest_runtest_logreport(self, report):
        self._config.stash[TALLIES].add(report)

    def pytest_sessionfinish(self):
        page = self._config.getoption("reliability")
        if page and not hasattr(self._config, "workerinput"):
            self._config.stash[TALLIES].write(page)


def pytest_unconfigure(config):
    if CACHE in config.stash:
        config.stash[CACHE].cleanup()


def pytest_collection_modifyitems(items):
    """What takes longest, the README's own example, comes first: at the end one process alone would wait for it."""
    items.sort(key=lambda item: item.path.name != "test_examples.py")


CACHE, TALLIES = pytest.StashKey(), pytest.StashKey()


@pytest.fixture(autouse=True)
def _promise(request, record_property):
    marker = request.node.get_closest_marker("promise")
    if marker is not None:
        (name,) = marker.args
        assert name in PROMISES, f"{name} is no promise of tests/reliability.py"
        record_property("promise", name)


@pytest.fixture
def tally(record_property):
    """Return tally(n): this test, which has a promise, tried n cases, not one."""
    return lambda n: record_property("cases", n)


def _global_states():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - it is what must not move
    return random.getstate(), (kind, keys.tobytes(), *rest), torch.get_rng_state().numpy().tobytes()


@pytest.fixture(autouse=True)
def _global_state_stays():
    """No test, and so no public call, may move a global random state or the number of threads."""
    before = _global_states()
    yield
    after = _global_states()
    moved = [name for name, a, b in zip(("random", "numpy", "torch"), before, after, strict=True) if a != b]
    assert not moved, f"the global random state of {', '.join(moved)} moved"
    assert torch.get_num_threads() == 1


@pytest.fixture
def build():
    """Return build(make, seed=0): a network whose initialisation leaves the global state alone."""

    def _build(make, seed=0):
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(seed)
            return make()

    return _build


@pytest.fixture
def draw():
    """Return draw(*shape, seed=0): standard normals from a generator of their own, float32."""

    def _draw(*shape, seed=0):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

    return _draw


def _checkpoint(generator, critic, prior_dim, holdout, **about):
    """A checkpoint of untrained networks: its critic knows nothing, which a report must say."""
    from latentkit import Checkpoint, Normal, wrap

    return Checkpoint(
        generator=wrap(generator.eval().requires_grad_(False), Normal(prior_dim)),
        critic=critic.eval().requires_grad_(False),
        holdout=holdout,
        settings={"steps": 0},
        history={"step": [1.0, 2.0], "critic_loss": [1.4, 1.3], "generator_loss": [0.7, 0.8]},
        **about,
    )


@pytest.fixture(scope="session")
def image_checkpoint():
    """Untrained networks for grey 32x32 images with 8 latent dimensions."""
    from latentkit.nets import ConvCritic, ConvGenerator
    from trainers.data import digits
    from trainers.loop import initialised

    generator = initialised(lambda: ConvGenerator(8, 1, 32, 4), seed=0)
    critic = initialised(lambda: ConvCritic(1, 32, 4), seed=1)
    with torch.no_grad():
        critic.score.weight.zero_()  # every sample gets the same logit
    data = digits()
    return _checkpoint(generator, critic, 8, data.floats(slice(0, 200)), data="digits", trainer="gan")


@pytest.fixture(scope="session")
def point_checkpoint():
    """Untrained networks for points of the plane with 2 latent dimensions."""
    from latentkit.nets import MLPCritic, MLPGenerator
    from trainers.data import ring
    from trainers.loop import initialised

    generator = initialised(lambda: MLPGenerator(2, 2, 16, 2), seed=0)
    critic = initialised(lambda: MLPCritic(2, 16, 2), seed=1)
    return _checkpoint(generator, critic, 2, ring(200).samples, data="ring", trainer="gan")


@pytest.fixture(scope="session")
def conditional_checkpoint():
    """Untrained networks for grey 32x32 images of three classes with 8 latent dimensions."""
    from latentkit import Checkpoint, Normal, wrap
    from latentkit.nets import ConvCritic, ConvGenerator
    from trainers.data import digits
    from trainers.loop import initialised

    generator = initialised(lambda: ConvGenerator(8, 1, 32, 4, classes=3), seed=0)
    critic = initialised(lambda: ConvCritic(1, 32, 4, classes=3), seed=1)
    data = digits()
    rows = (data.labels < 3).nonzero()[:200, 0]
    classes = ("zero", "One", "two & more")
    return Checkpoint(
        generator=wrap(generator.eval().requires_grad_(False), Normal(8), classes=classes),
        critic=critic.eval().requires_grad_(False),
        holdout=data.floats(rows),
        holdout_labels=data.labels[rows],
        classes=classes,
        data="digits",
        trainer="gan",
        settings={"steps": 0},
    )


@pytest.fixture(scope="session")
def conditional_run(conditional_checkpoint, tmp_path_factory):
    """The folder of the conditional checkpoint."""
    return conditional_checkpoint.save(tmp_path_factory.mktemp("runs") / "conditional")


@pytest.fixture(scope="session")
def image_run(image_checkpoint, tmp_path_factory):
    """The folder of the image checkpoint."""
    return image_checkpoint.save(tmp_path_factory.mktemp("runs") / "images")


@pytest.fixture(scope="session")
def point_run(point_checkpoint, tmp_path_factory):
    """The folder of the point checkpoint."""
    return point_checkpoint.save(tmp_path_factory.mktemp("runs") / "points")


@pytest.fixture(scope="session")
def driver():
    """A headless Chromium that tells what it complains of and what it asks for; without one its tests are skipped."""
    webdriver = pytest.importorskip("selenium.webdriver", reason='needs selenium: pip install "latentkit[test]"')
    if not (DRIVER.exists() and BROWSER.exists()):
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    with tempfile.TemporaryDirectory() as profile:
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # The driver is told, so that nothing looks for another one over the network.
        service = webdriver.ChromeService(str(DRIVER), env={**os.environ, "HOME": profile})
        browser = webdriver.Chrome(options=options, service=service)
        try:
            browser.get("about:blank")  # rather than its own first page, which asks for things
            yield browser
        finally:
            browser.quit()
