"""What a forger does to a checkpoint's folder: other contents under hashes that are right."""

import hashlib
import json
from pathlib import Path

from latentkit.manifest import MANIFEST


def signed(folder: Path, role: str, data: bytes) -> None:
    """Put other bytes in the place of a part, and sign them."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    digest = hashlib.sha256(data).hexdigest()
    name = f"{role}-{digest[:16]}.{'json' if role == 'about' else 'safetensors'}"
    (folder / name).write_bytes(data)
    manifest["files"][role] = {"name": name, "bytes": len(data), "sha256": digest}
    (folder / MANIFEST).write_text(json.dumps(manifest))
