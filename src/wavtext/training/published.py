"""Published checkpoints -> modules of this wing.  (kind, file or folder) -> encoder or CLAP.

    panns-cnn14    PANNs, Cnn14_mAP=0.431.pth            log-mel -> representation
    htsat          HTSAT_AudioSet_Saved_1.ckpt           log-mel -> representation
    msclap-2022    CLAP_weights_2022.pth                 CNN14 and BERT
    msclap-2023    CLAP_weights_2023.pth                 HTSAT and GPT-2
    laion-clap     630k-audioset-best.pt and its kin     HTSAT (or PANNs) and RoBERTa
    hf-clap        a folder of transformers' ClapModel   HTSAT and RoBERTa

The originals differ from what is done here in ways that change embeddings (docs/training.md lists
them): they concatenate stereo channels, crop at random, and MS-CLAP 2023 takes every '!' for
padding. `compat` reproduces the last; wavtext.training.compat the others.
"""

from pathlib import Path
from typing import Any, Literal, cast, get_args

from torch import nn

from wavtext.errors import ConfigError, ModelError
from wavtext.training import layouts
from wavtext.training.checkpoint import Layout, read_tensors, shorten
from wavtext.training.clap import Clap
from wavtext.training.htsat import Htsat
from wavtext.training.projection import MlpProjection
from wavtext.training.text import TextEncoder

Kind = Literal["panns-cnn14", "htsat", "msclap-2022", "msclap-2023", "laion-clap", "hf-clap"]
_ALIASES = {"hf": "hf-clap", "huggingface": "hf-clap", "transformers": "hf-clap", "clap": "hf-clap"}


def load_published(
    kind: str, path: Path | str, *, compat: bool = False, num_text_heads: int | None = None
) -> nn.Module:
    """Weights that others published, in evaluation mode.

    Args:
        kind: Which layout: one of `Kind`.
        path: The file, .pth, .pt, .ckpt or .safetensors; for "hf-clap" the folder.
        compat: Also reproduce the original's errors, where they are in the network.
        num_text_heads: Attention heads of the text encoder, which the tensors do not tell; by
            default 64-wide ones, as in every published model.

    Returns:
        "panns-cnn14" and "htsat": `module(log_mel)` -> representation.  The others: a `Clap` with
        `embed_audio(log_mel)` and `embed_text(input_ids, attention_mask)`, of length 1.

    Raises:
        ModelError: The file is not of that layout; lists the names that are missing or unknown.
    """
    kind = _ALIASES.get(kind, kind)
    path = Path(path)
    if kind not in get_args(Kind):
        raise ConfigError(f"'{kind}' is no kind of checkpoint.", help=f"Known: {known_kinds()}.")
    if kind == "hf-clap":
        return _hugging_face(path).eval()
    tensors = read_tensors(path)
    if kind == "panns-cnn14":
        layout = Layout(tensors, path, "a PANNs Cnn14 checkpoint")
        model: nn.Module = layouts.cnn14(layout)
    elif kind == "htsat":
        prefix = "sed_model."
        if all(name.startswith(prefix) for name in tensors):  # HTSAT's Lightning module
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
        layout = Layout(tensors, path, "an HTSAT checkpoint")
        model = layouts.htsat(layout)
    elif kind == "laion-clap":
        layout = Layout(tensors, path, "a LAION CLAP checkpoint")
        model = _laion(layout, num_text_heads)
    else:
        layout = Layout(tensors, path, f"an MS-CLAP {kind.removeprefix('msclap-')} checkpoint")
        model = _msclap(layout, kind, num_text_heads, bang_is_padding=compat)
    layout.check()
    return model.eval()


def known_kinds() -> str:
    """The kinds, for messages."""
    return ", ".join(get_args(Kind))


def _msclap(
    layout: Layout, kind: str, num_text_heads: int | None, *, bang_is_padding: bool
) -> Clap:
    if kind == "msclap-2022":
        audio: nn.Module = layouts.cnn14(layout, "audio_encoder.base.")
    else:
        audio = layouts.htsat(layout, "audio_encoder.base.htsat.")
    text = layouts.text(
        layout,
        "caption_encoder.base.",
        pooling="cls",
        num_heads=num_text_heads,
        bang_is_padding=bang_is_padding and kind == "msclap-2023",
    )
    model = Clap(
        audio,
        text,
        layouts.residual_projection(layout, "audio_encoder.projection."),
        layouts.residual_projection(layout, "caption_encoder.projection."),
    )
    model.logit_scale = layouts.logit_scale(layout, "logit_scale")
    return model


def _laion(layout: Layout, num_text_heads: int | None) -> Clap:
    if layout.has("audio_branch.conv_block1."):
        audio: nn.Module = layouts.cnn14(layout, "audio_branch.")
    else:
        audio = layouts.htsat(layout, "audio_branch.")
    model = Clap(
        audio,
        layouts.text(layout, "text_branch.", pooling="pooler", num_heads=num_text_heads),
        layouts.mlp_projection(layout, "audio_projection."),
        layouts.mlp_projection(layout, "text_projection."),
    )
    model.logit_scale = layouts.logit_scale(layout, "logit_scale_a")  # the one that was trained
    layout.claim("logit_scale_t")
    # two further projections that took part in LAION's loss and take none in its embeddings
    transforms = [name for name in layout.tensors if name.split(".")[0].endswith("_transform")]
    layout.claim(*transforms, optional=True)
    return model


def _hugging_face(folder: Path) -> Clap:
    from transformers import ClapModel

    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no folder of a Hugging Face model: it has no config.json.")
    try:
        loaded = cast(Any, ClapModel).from_pretrained(
            str(folder), output_loading_info=True, local_files_only=True, weights_only=True
        )
    except Exception as error:  # transformers' readers raise what they like
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise ModelError(f"{folder}: cannot be read as a CLAP model: {reason}") from error
    hf, info = loaded
    problems = [
        f"{what}: {shorten(sorted(str(name) for name in info[key]))}"
        for what, key in (
            ("missing", "missing_keys"),
            ("unknown", "unexpected_keys"),
            ("of another shape", "mismatched_keys"),
        )
        if info[key]
    ]
    if problems:
        raise ModelError(f"{folder}: not a CLAP model of its config.json; {'; '.join(problems)}.")
    model = Clap(
        Htsat(hf.audio_model),
        TextEncoder(hf.text_model, "pooler"),
        _hugging_face_projection(hf.audio_projection),
        _hugging_face_projection(hf.text_projection),
    )
    model.logit_scale = nn.Parameter(hf.logit_scale_a.detach().clone())
    return model


def _hugging_face_projection(theirs: Any) -> MlpProjection:
    linear: nn.Linear = theirs.linear1
    ours = MlpProjection(linear.in_features, linear.out_features, activation=theirs.activation)
    ours.linear1, ours.linear2 = linear, theirs.linear2
    return ours
