"""What a StyleGAN is built from: sizes from the shapes of its weights, the rest from the settings stored beside."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from latentkit.errors import CheckpointError
from latentkit.nets.stylegan import bands

__all__ = ["critic_settings", "generator_settings"]

#: Settings that say how a network is trained or run, and not what it computes in float32.
_IDLE = {
    "fp16_channels_last",
    "freeze_embed",
    "freeze_layers",
    "fused_modconv_default",
    "magnitude_ema_beta",
    "num_fp16_res",
    "use_fp16",
    "w_avg_beta",
}
#: Settings that the shapes of the weights tell as well.
_SHAPES = {
    "architecture",
    "c_dim",
    "channel_base",
    "channel_max",
    "cmap_dim",
    "conv_kernel",
    "embed_features",
    "img_channels",
    "img_resolution",
    "layer_features",
    "mbstd_num_channels",
    "num_layers",
    "use_noise",
    "use_radial_filters",
    "w_dim",
    "z_dim",
}
#: Settings that have one value here.
_FIXED = {"activation": "lrelu", "resample_filter": [1, 3, 3, 1]}
_GROUPS = ("mapping_kwargs", "synthesis_kwargs", "block_kwargs", "epilogue_kwargs", "layer_kwargs")


def generator_settings(
    state: Mapping[str, Tensor], about: Mapping[str, Any], source: str
) -> tuple[str, dict[str, Any]]:
    """Return the name of a generator's network and its arguments.

    Args:
        state: its weights by their published names.
        about: the arguments that it was published with; empty if they are not known.
        source: what the weights are called in errors.

    Raises:
        CheckpointError: if the weights are those of something else, or a setting is not one of these networks.
    """
    if "b4.out.weight" in state:
        raise CheckpointError(f"{source} holds a discriminator where a generator is wanted; nothing was loaded")
    needed = ("mapping.fc0.weight", "mapping.w_avg")
    lacking = [key for key in needed if key not in state]
    if lacking:
        shown = ", ".join(list(state)[:3])
        raise CheckpointError(f"{source} is no StyleGAN generator: it has no {lacking[0]} (but {shown}, ...)")
    own = _known(about, source)
    depth = sum(re.fullmatch(r"mapping\.fc\d+\.weight", key) is not None for key in state)
    w_dim = len(state["mapping.w_avg"])
    classes = state["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in state else 0
    settings = {
        "latent_dim": state["mapping.fc0.weight"].shape[1] - (w_dim if classes else 0),
        "w_dim": w_dim,
        "mapping_depth": depth,
        "classes": classes,
        "lr_multiplier": own.pop("lr_multiplier", 0.01),
    }
    if any(key.startswith("synthesis.input.") for key in state):
        return "stylegan3-generator", {**settings, **_aliasfree(state, own, source)}
    settings.update(_styled(state, own, source))
    _none_left(own, source)
    return "stylegan2-generator", settings


def _known(about: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the settings that shapes don't tell, in one level."""
    flat: dict[str, Any] = {}
    for key, value in about.items():
        flat.update(_known(value, source) if key in _GROUPS and isinstance(value, Mapping) else {key: value})
    for key, wanted in _FIXED.items():
        came = flat.pop(key, wanted)
        if (list(came) if isinstance(came, (list, tuple)) else came) != wanted:
            raise CheckpointError(f"{source} has {key} {came!r}, and only {wanted!r} is known; nothing was loaded")
    return {key: value for key, value in flat.items() if key not in _IDLE | _SHAPES}


def _none_left(own: Mapping[str, Any], source: str) -> None:
    if own:
        raise CheckpointError(
            f"{source} has settings that these networks do not ({', '.join(sorted(own))}); nothing was loaded"
        )


def _sides(state: Mapping[str, Tensor], pattern: str, source: str) -> dict[int, int]:
    """Return the channels of each side, from the first axis of the weights whose keys match."""
    found = {int(match[1]): state[key].shape[0] for key in state if (match := re.fullmatch(pattern, key))}
    if not found:
        raise CheckpointError(f"{source} has no layers that a StyleGAN has; nothing was loaded")
    return found


def _widths(channels: Mapping[int, int]) -> dict[str, int]:
    """Return `channel_base` and `channel_max` for the channels of each side."""
    most = max(channels.values())
    narrow = [side * count for side, count in channels.items() if count < most]
    return {"channel_max": most, "channel_base": max(narrow) if narrow else most * max(channels)}


def _architecture(state: Mapping[str, Tensor], size: int, small: str, skip: str) -> str:
    if small in state and size > 4:
        return "skip"
    return "resnet" if skip in state else "orig"


def _styled(state: Mapping[str, Tensor], own: dict[str, Any], source: str) -> dict[str, Any]:
    channels = _sides(state, r"synthesis\.b(\d+)\.conv1\.weight", source)
    size = max(channels)
    image = f"synthesis.b{size}.torgb.weight"
    if image not in state:
        raise CheckpointError(f"{source} lacks {image}; nothing was loaded")
    return {
        "size": size,
        "channels": state[image].shape[0],
        **_widths(channels),
        "architecture": _architecture(state, size, "synthesis.b4.torgb.weight", f"synthesis.b{size}.skip.weight"),
        "conv_clamp": own.pop("conv_clamp", None),
    }


def _aliasfree(state: Mapping[str, Tensor], own: dict[str, Any], source: str) -> dict[str, Any]:
    pattern = r"synthesis\.L(\d+)_(\d+)_(\d+)\.weight"
    layers = sorted((tuple(map(int, match.groups())), key) for key in state if (match := re.fullmatch(pattern, key)))
    if len(layers) < 2:
        raise CheckpointError(f"{source} has no layers that a StyleGAN3 has; nothing was loaded")
    (depth, size, channels), _ = layers[-1]
    published = {
        "critical": own.pop("num_critical", 2),
        "first_cutoff": own.pop("first_cutoff", 2.0),
        "first_stopband": own.pop("first_stopband", 2.0**2.1),
        "last_stopband_rel": own.pop("last_stopband_rel", 2.0**0.3),
        "margin": own.pop("margin_size", 10),
    }
    others = {
        "kernel": state[layers[0][1]].shape[-1],
        "radial": any(key.endswith(".down_filter") and state[key].ndim == 2 for key in state),
        "output_scale": own.pop("output_scale", 0.25),
        "filter_size": own.pop("filter_size", 6),
        "oversampling": own.pop("lrelu_upsampling", 2),
        "conv_clamp": own.pop("conv_clamp", 256),
    }
    _none_left(own, source)
    counts = [count for (_, _, count), _ in layers]
    most = max(counts[:-1])
    # The bands don't depend on the widths; the narrowest layer tells the base to within its rounding.
    plan = bands(size, channels, depth=depth, channel_base=1, channel_max=1, **published)
    for exponent in range(8, 21):
        base = 2**exponent
        if [round(min(base / 2.0 / band.cutoff, most)) for band in plan[:-1]] == counts[:-1]:
            widths = {"channel_base": base, "channel_max": most}
            return {"size": size, "channels": channels, "depth": depth, **widths, **published, **others}
    raise CheckpointError(f"{source} has layers of {counts[:-1]} channels, which no StyleGAN3 has; nothing was loaded")


def critic_settings(state: Mapping[str, Tensor], about: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the arguments of a discriminator's network; see `generator_settings`.

    Raises:
        CheckpointError: if the weights are those of something else, or a setting is not one of these networks.
    """
    if "b4.out.weight" not in state or "b4.conv.weight" not in state:
        raise CheckpointError(f"{source} is no StyleGAN discriminator: it has no b4.out.weight; nothing was loaded")
    own = _known(about, source)
    channels = _sides(state, r"b(\d+)\.conv0\.weight", source)
    size = max(channels)
    channels[4] = state["b4.fc.weight"].shape[0]
    seen = state.get(f"b{size}.fromrgb.weight")
    if seen is None:
        raise CheckpointError(f"{source} lacks b{size}.fromrgb.weight; nothing was loaded")
    classes = state["mapping.embed.weight"].shape[1] if "mapping.embed.weight" in state else 0
    compared = state["b4.conv.weight"].shape[1] - channels[4]
    if compared > 1:
        raise CheckpointError(f"{source} compares samples by {compared} maps, and only one is known")
    group = own.pop("mbstd_group_size", 4) or 4
    settings = {
        "channels": seen.shape[1],
        "size": size,
        **_widths(channels),
        "classes": classes,
        "architecture": _architecture(state, size, "b4.fromrgb.weight", f"b{size}.skip.weight"),
        "conv_clamp": own.pop("conv_clamp", None),
        "group": group if compared else None,
        "cmap_dim": state["b4.out.weight"].shape[0] if classes else None,
        "mapping_depth": sum(re.fullmatch(r"mapping\.fc\d+\.weight", key) is not None for key in state) or 8,
    }
    if own.pop("lr_multiplier", 0.01) != 0.01:
        raise CheckpointError(f"{source} embeds its classes at an unusual rate of learning; nothing was loaded")
    _none_left(own, source)
    return settings
