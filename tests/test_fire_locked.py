"""A locked-down machine: another user, no home, packages that cannot be written, no display, a language of ASCII alone.

The commands run as that user in processes of their own, on folders that are not called in ASCII.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from latentkit import Checkpoint, Normal, wrap
from latentkit.nets import MLPCritic, MLPGenerator

pytestmark = [
    pytest.mark.promise("locked"),
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become the user that may do nothing"
    ),
]

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534

#: Becomes nobody and then the program. Where an installation lies in a folder that only root may enter (a virtual
#: environment below a private one), reading, but no writing, of other people's files is kept: CAP_DAC_READ_SEARCH.
BECOME = f"""
import ctypes, os, struct, sys
system, reading = ctypes.CDLL(None, use_errno=True), 1 << 2
keeps = sys.argv[1] == "reading"
if keeps and system.prctl(8, 1, 0, 0, 0):
    raise OSError(ctypes.get_errno(), "capabilities cannot be kept")
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
if keeps:
    header, held = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[reading] * 3, 0, 0, 0)
    if system.capset(header, held) or system.prctl(47, 2, 2, 0, 0):
        raise OSError(ctypes.get_errno(), "the capability to read cannot be handed on")
os.execv(sys.argv[2], sys.argv[2:])
"""

#: Runs several commands in one process. Their words are the process's own, decoded as the system does it.
SEVERAL = """
import json, sys, traceback
codes = []
while sys.argv[1:]:
    end = sys.argv.index("::", 1)
    words, sys.argv[1 : end + 1] = sys.argv[1:end], []
    try:
        if words[0] == "train":
            from trainers.__main__ import main
            codes.append(main(words[1:]))
        else:
            from latentkit.cli import main
            codes.append(main(words))
    except BaseException:
        traceback.print_exc()
        codes.append(1)
print(json.dumps(codes))
"""

#: What is asked of each command, and the file that it must leave; the checkpoint is called 点.
SMALL = ("--steps", "3", "--batch-size", "8", "--width", "8", "--holdout", "100")
COMMANDS = {
    "info": (("info", "{run}"), None),
    "sample": (("sample", "{run}", "--out", "{out}/a.png", "-n", "4"), "a.png"),
    "interpolate": (("interpolate", "{run}", "--out", "{out}/b.gif", "--steps", "4"), "b.gif"),
    "edit": (("edit", "{run}", "--out", "{out}/c.png", "--attribute", "radius", "-n", "2"), "c.png"),
    "invert": (("invert", "{run}", "--out", "{out}/d.npz", "-n", "2", "--steps", "5", "--pool", "50"), "d.npz"),
    "quality": (("quality", "{run}", "--out", "{out}/e.npz", "-n", "300"), "e.npz"),
    "tide": (("tide", "{run}", "--out", "{out}/f.gif", "-n", "300", "--frames", "4"), "f.gif"),
    "route": (("route", "{run}", "0", "1", "--out", "{out}/g.png", "-n", "300", "--steps", "8"), "g.png"),
    "project": (("project", "{run}", "--out", "{out}/h.png", "-n", "60", "--method", "pca"), "h.png"),
    "animate": (("animate", "{run}", "--out", "{out}/i.gif", "--keys", "3", "--frames", "4", "--json"), "i.gif"),
    "replay": (("replay", "{out}/i.gif", "--checkpoint", "{run}", "--out", "{out}/j.webp"), "j.webp"),
    "import": (
        ("import", "torchscript", "{run}/../scripted.pt", "--latent-dim", "2", "--out", "{out}/k"),
        "k/reference.json",
    ),
    "train gan": (("train", "gan", "--data", "ring", "--out", "{out}/gan", *SMALL), "gan/manifest.json"),
    "train vae": (("train", "vae", "--data", "{run}/../x.npy", "--out", "{out}/vae", *SMALL), "vae/manifest.json"),
}
#: Processes of their own: UMAP, whose kernels are compiled, and the page, once where a backend is asked for that needs
#: a screen.
ALONE = {
    "project": (("project", "{run}", "--out", "{out}/umap.png", "-n", "60"), "umap.png", {}),
    "report": (("report", "{run}", "--out", "{out}/page", "-n", "500"), "page/index.html", {"MPLBACKEND": "TkAgg"}),
}


def _way_in(place):
    """Return how nobody gets to run this Python with what is installed in it, or None."""
    for way in ("plain", "reading"):
        try:
            done = _run(way, place, ["-c", "import torch, latentkit.cli, trainers.__main__"])
        except OSError:
            continue
        if done.returncode == 0:
            return way
    return None


def _run(way, place, words, **more):
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "TMPDIR": f"{place}/tmp",
        "OMP_NUM_THREADS": "1",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-c", BECOME, way, sys.executable, *words],
        env=environment,
        capture_output=True,
        cwd=place,
        check=False,
        timeout=300,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that nobody may enter, with a checkpoint and other files to read, and folders of nobody's to fill."""
    # Pytest's own folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="latentkit-locked-"))
    try:
        folder.chmod(0o755)
        for name in ("実験 ü", "tmp"):
            (folder / name).mkdir()
            os.chown(folder / name, NOBODY, NOBODY)
        _checkpoint().save(folder / "点")
        np.save(folder / "x.npy", Normal(2).sample(300, seed=1).numpy())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript has been deprecated
            traced = torch.jit.trace(torch.nn.Flatten(), torch.zeros(3, 2))
            torch.jit.save(traced, folder / "scripted.pt")
        for path in (folder / "点").rglob("*"):
            path.chmod(0o644)
        yield folder
    finally:
        shutil.rmtree(folder)


def _checkpoint():
    """A generator of points with a critic that can tell real ones from them: those lie farther out."""
    from latentkit.nets.fitting import initialised

    generator = initialised(lambda: MLPGenerator(2, 2, 16, 2), seed=0)
    critic = initialised(lambda: MLPCritic(2, 16, 2), seed=1)
    real = 2.0 * Normal(2).sample(600, seed=5)
    z = Normal(2).sample(600, seed=6)
    optimiser = torch.optim.Adam(critic.parameters(), lr=0.01)
    for _ in range(150):
        loss = (
            torch.nn.functional.softplus(-critic(real)).mean()
            + torch.nn.functional.softplus(critic(generator(z).detach())).mean()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Checkpoint(
        generator=wrap(generator.eval().requires_grad_(False), Normal(2)),
        critic=critic.eval().requires_grad_(False),
        holdout=2.0 * Normal(2).sample(400, seed=7),
        classes=("零", "ü"),
        data="実験 😀",
        trainer="gan",
    )


@pytest.fixture(scope="module")
def way(place):
    found = _way_in(place)
    if found is None:
        pytest.skip("another user cannot run this Python: it, or what is installed, lies in a folder of root's alone")
    return found


@pytest.fixture(scope="module")
def answers(place, way):
    """The exit code of each command, run one after another in one process, and what they said."""
    words = ["-c", SEVERAL]
    for command, _ in COMMANDS.values():
        words += [word.format(run=place / "点", out=place / "実験 ü") for word in command] + ["::"]
    done = _run(way, place, words)
    said = done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")
    codes = json.loads(said[0].splitlines()[-1]) if done.returncode == 0 else [None] * len(COMMANDS)
    return dict(zip(COMMANDS, codes, strict=True)), said


def test_nobody_can_write_to_the_packages(place, way):
    code = (
        "import os, pathlib, latentkit, numba, matplotlib\n"
        "for package in (latentkit, numba, matplotlib):\n"
        "    try:\n"
        "        (pathlib.Path(package.__file__).parent / 'probe').touch()\n"
        "    except PermissionError:\n"
        "        continue\n"
        "    raise SystemExit('it can be written')\n"
        "assert os.getuid() == 65534 and not os.path.exists(os.path.expanduser('~'))\n"
    )
    done = _run(way, place, ["-c", code])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_works(name, place, answers):
    codes, (_, err) = answers
    assert codes[name] == 0, err
    file = COMMANDS[name][1]
    assert file is None or (place / "実験 ü" / file).stat().st_size > 0
    assert "Traceback" not in err


def test_names_are_said_as_they_are_called(place, answers):
    _, (out, _) = answers
    assert f"{place}/実験 ü/a.png" in out
    assert json.loads(next(line for line in out.splitlines() if line.startswith("{")))["wrote"] == (
        f"{place}/実験 ü/i.gif"
    )


@pytest.mark.parametrize("name", ALONE)
def test_a_process_of_its_own_works(name, place, way):
    command, file, more = ALONE[name]
    words = ["-m", "latentkit.cli", *(word.format(run=place / "点", out=place / "実験 ü") for word in command)]
    done = _run(way, place, words, **more)
    err = done.stderr.decode("utf-8", "replace")
    assert (done.returncode, "Traceback" in err) == (0, False), err
    assert (place / "実験 ü" / file).stat().st_size > 0


def test_nothing_is_left_in_the_temporary_folder(place, way, answers):
    left = [path.name for path in (place / "tmp").iterdir()]
    assert not [name for name in left if not name.startswith("torchinductor_")]  # PyTorch keeps its own there
