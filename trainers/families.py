"""The families that the command line trains: what each is, and where its trainer and its settings are.

Nothing is imported before a family is known, so that help and mistakes do not wait for torch.
"""

import argparse
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints

from latentkit.errors import ArgumentError

__all__ = ["FAMILIES", "MEASURES", "Family", "add_options", "add_settings", "given_settings", "made_config"]


@dataclass(frozen=True)
class Family:
    """A trainer on the command line.

    Args:
        about: one line of help.
        home: its module in `trainers`.
        trainer: the function there.
        config: its settings: a class, or a recipe that is a method of one, there as well.
        example: arguments of a command that shows it.
        size: side of a folder's images where none is given.
    """

    about: str
    home: str
    trainer: str
    config: str
    example: str
    size: int = 32

    def function(self) -> Any:
        """Return the trainer."""
        return getattr(self._module(), self.trainer)

    def settings(self) -> Any:
        """Return what makes the settings from keywords."""
        made: Any = self._module()
        for name in self.config.split("."):
            made = getattr(made, name)
        return made

    def defaults(self) -> Any:
        """Return the settings without any keyword."""
        return self.settings()()

    def _module(self) -> Any:
        return importlib.import_module(f"trainers.{self.home}")


FAMILIES: dict[str, Family] = {
    "gan": Family(
        "a GAN by the default recipe, for images or points",
        "gan",
        "train_gan",
        "GANConfig",
        "--data digits --out runs/digits",
    ),
    "dcgan": Family(
        "DCGAN with its published settings, at 64x64 for a folder of images",
        "gan",
        "train_gan",
        "GANConfig.dcgan",
        "--data folder --data-dir photos/ --out runs/photos",
        size=64,
    ),
    "wgan": Family(
        "Wasserstein GAN with weight clipping, as published",
        "gan",
        "train_gan",
        "GANConfig.wgan",
        "--data ring --out runs/wgan --steps 3000",
    ),
    "wgan-gp": Family(
        "Wasserstein GAN with gradient penalty, as published",
        "gan",
        "train_gan",
        "GANConfig.wgan_gp",
        "--data grid25 --out runs/wgan-gp",
    ),
    "progressive": Family(
        "a GAN that grows from 4x4 to the size of the images",
        "progressive",
        "train_progressive",
        "ProgressiveConfig",
        "--data digits --out runs/progressive",
    ),
    "semi": Family(
        "a semi-supervised GAN whose critic is a classifier (K + 1 classes)",
        "semi",
        "train_semi_supervised",
        "SemiConfig",
        "--data digits --labels-per-class 10 --out runs/semi",
    ),
    "glo": Family(
        "generative latent optimisation: a free latent a sample, no critic",
        "glo",
        "train_glo",
        "GLOConfig",
        "--data digits --out runs/glo",
    ),
    "vae": Family(
        "a variational autoencoder, whose encoder is kept",
        "vae",
        "train_vae",
        "VAEConfig",
        "--data digits --out runs/vae",
    ),
}


#: How a latent-size study measures: no trainer, but settings that become options in the same way.
MEASURES = Family("the measures of a study", "study_measures", "measure", "StudyConfig", "")


def _field_help(config: type) -> dict[str, str]:
    """Return each setting's line in the `Args:` of the class or those above it."""
    found: dict[str, str] = {}
    for kind in reversed(config.__mro__):
        section = (kind.__doc__ or "").partition("Args:")[2].partition("Raises:")[0]
        # A line that goes on is indented further than the eight spaces of a name.
        lines = re.findall(r"^ {8}(\w+): (.+(?:\n {9,}.+)*)", section, re.MULTILINE)
        found |= {name: " ".join(text.split()).rstrip(".") for name, text in lines}
    return found


def add_settings(parser: argparse.ArgumentParser, family: Family, *, without: tuple[str, ...] = ()) -> None:
    """Give a parser an option for each setting of a family."""
    about = "a value in brackets is the default, by the kind of data"
    add_options(parser, family, title="settings", about=about, without=without)


def add_options(
    parser: argparse.ArgumentParser,
    family: Family,
    *,
    title: str,
    about: str | None = None,
    without: tuple[str, ...] = (),
) -> None:
    """Give a parser a group of options, one for each field of a family's settings."""
    config = family.defaults()
    group = parser.add_argument_group(title, about)
    lines, hints = _field_help(type(config)), get_type_hints(type(config))
    for field in fields(config):
        if field.name in without:
            continue
        kind = next(part for part in (*get_args(hints[field.name]), hints[field.name]) if part is not type(None))
        default, option = getattr(config, field.name), f"--{field.name.replace('_', '-')}"
        text = lines[field.name] if default is None else f"{lines[field.name].partition(' [')[0]} [{default}]"
        if kind is bool:
            group.add_argument(
                option, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text.replace("%", "%%")
            )
            continue
        group.add_argument(
            option,
            dest=field.name,
            type=kind,
            default=argparse.SUPPRESS,
            metavar={int: "N", float: "X"}.get(kind, "NAME"),
            help=text.replace("%", "%%"),
        )


def given_settings(arguments: argparse.Namespace, family: Family) -> dict[str, Any]:
    """Return the settings that were typed."""
    names = {field.name for field in fields(family.defaults())}
    return {name: value for name, value in vars(arguments).items() if name in names}


def made_config(family: Family, given: Mapping[str, Any], begun: Mapping[str, Any]) -> Any:
    """Return a family's settings: those that were typed, over those of a run that goes on, over the defaults."""
    make = family.settings()
    try:
        return make(**{**begun, **given})
    except ArgumentError as error:
        # The error begins with the field's name; who types options knows it by that of its option.
        name, _, rest = str(error).partition(" ")
        option = f"--{name.replace('_', '-')}" if name in given else name
        raise ArgumentError(f"{option} {rest}") from error
