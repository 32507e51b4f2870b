"""Every example runs as it stands, in an empty folder, and the README shows the first one."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
WRITES = {
    "quickstart": ["best.gif", "report/index.html", "runs/digits/manifest.json"],
    "high_quality_manifold": ["landscape.png", "tide.gif"],
    "one_latent_every_class": ["classes.png"],
    "wrap_your_model": ["waves.gif"],
    "walk_evenly": ["loop.gif", "classes.gif"],
    "arithmetic_on_real_samples": ["sums.png"],
    "audit_a_direction": ["area.png", "area.gif"],
    "invert_and_edit": ["edited.png"],
    "stylegan2": ["styles.gif"],
    "diffusers_decoder": ["digits.gif"],
    "own_module": ["blobs.gif"],
    "onnx_generator": ["waves.gif"],
}


NEEDS = {"diffusers_decoder": "diffusers", "onnx_generator": "onnxruntime"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(example, tmp_path):
    library = NEEDS.get(example.stem)
    if library is not None and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::UserWarning"}
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example says what it found"
    for name in WRITES.get(example.stem, []):
        assert (tmp_path / name).stat().st_size > 0
    for film in tmp_path.glob("*.gif"):
        with Image.open(film) as frames:
            assert frames.n_frames > 10


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_is_one_idea(example):
    lines = example.read_text(encoding="utf-8").splitlines()
    assert 10 <= len(lines) <= 40
    assert "argparse" not in "\n".join(lines)


def words(code: str) -> list[str]:
    """Return the code without comments, docstring, blank lines and the widths of spaces."""
    lines = [re.sub(r"\s+", " ", line.split("  #")[0]).strip() for line in code.splitlines()]
    return [line for line in lines if line and not line.startswith(('"""', "#"))]


def test_the_readme_shows_the_quickstart():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = words(readme.split("```python\n")[1].split("```")[0])
    real = words((ROOT / "examples" / "quickstart.py").read_text(encoding="utf-8"))
    # The example also prints what it found, which the README leaves out.
    assert shown == [line for line in real if line in shown]
    assert all(line.startswith("print(") for line in real if line not in shown)
