"""A look at a generator before it is used: what its output is, and what would spoil an analysis."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentkit.checks import as_seed
from latentkit.errors import ArgumentError
from latentkit.protocols.detection import Finding, layout_of, part_of, range_of
from latentkit.protocols.kinds import ConditionalGenerator
from latentkit.protocols.outputs import Output
from latentkit.protocols.running import evaluating, modules_of, place_of

__all__ = ["Inspection", "InspectionWarning", "inspect_generator"]

#: Latents that a generator is tried with.
TRIED = 8

#: Numbers by which two runs of the same latents may differ, as a share of the samples' spread.
ROUNDING = 1e-3


class InspectionWarning(UserWarning):
    """What `wrap(..., output="detect")` found in a module's output, where that is not samples as they should be."""


@dataclass(frozen=True)
class Inspection:
    """What `inspect_generator` found; as text, one line a finding.

    Attributes: `findings`; `output`, what to give `wrap` as its output, or None if that can't be told; `as_is`,
    whether the output is samples already; `shape` of one sample, without the first axis; `device` and `dtype` of the
    model's weights.
    """

    findings: tuple[Finding, ...]
    output: Output | None
    as_is: bool
    shape: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype

    @property
    def amiss(self) -> tuple[str, ...]:
        """The texts of the findings that are not good."""
        return tuple(finding.text for finding in self.findings if not finding.good)

    @property
    def said(self) -> str:
        """What was taken for the output and what else is amiss, in one line."""
        taken = "samples as they are" if self.as_is else f"output={self.output}"
        return "; ".join((f"took {taken}", *self.amiss))

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of a name."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise ArgumentError(f"no finding is called {name!r}; there are {', '.join(f.name for f in self.findings)}")

    def __str__(self) -> str:
        return "\n".join(f"{'ok ' if f.good else 'SEE'} {f.name}: {f.text}" for f in self.findings)


def inspect_generator(generator: Any, *, seed: int = 0) -> Inspection:
    """Try a generator with 8 latents and say what its output is and what would spoil an analysis.

    Looked at are: the kind of output and where the samples are in it, the range of images and the place of their
    channels, whether samples are finite and depend on the latents, whether a sample is the same alone and in other
    company, whether two calls agree, whether training mode gives other samples, whether gradients reach the latents,
    and where the weights are. No weights, statistics or modes are left changed.

    Args:
        generator: what `wrap` returned, or any other generator; its output need not be samples yet.
        seed: of the latents.

    Raises:
        ArgumentError: if it has no prior, or fails when it is called with latents of it.

    Examples:
        >>> import latentkit as lk
        >>> found = inspect_generator(lk.wrap(lambda z: {"sample": z.sigmoid().reshape(-1, 1, 2, 2)}, lk.Normal(4)))
        >>> found.output
        Output(low=0.0, high=1.0, channels='first', key='sample', shape=None)
    """
    prior = getattr(generator, "prior", None)
    if prior is None or not callable(generator):
        raise ArgumentError("what is inspected is a generator; make it one first: wrap(module, Normal(128))")
    z = prior.sample(TRIED, seed=as_seed(seed))
    with torch.random.fork_rng(devices=[]):  # a model may draw noise of its own
        return _inspected(generator, z)


def _inspected(generator: Any, z: Tensor) -> Inspection:
    device, dtype = place_of(generator)
    z = z.to(device, dtype)
    labels = None
    if isinstance(generator, ConditionalGenerator):
        labels = torch.arange(TRIED, device=device) % len(generator.classes)

    def run(rows: slice | list[int], latents: Tensor = z) -> Any:
        return generator(latents[rows]) if labels is None else generator(latents[rows], labels[rows])

    where = f"{str(dtype).removeprefix('torch.')} on {device}"
    place = Finding("place", True, f"the weights are {where}" if modules_of(generator) else "no module was found in it")
    with evaluating(generator), torch.no_grad():
        raw = _tried(run, slice(None))
        key, part, first = part_of(raw, TRIED)
        if part is None:
            return Inspection((first, place), None, False, (), device, dtype)
        layout, picture = layout_of(part)
        bounds, ranged = range_of(part, layout)
        output = Output(*bounds, channels=layout.channels, key=key, shape=layout.shape)
        samples = output.samples(raw, TRIED)
        scale = float(samples.float().std()) if bool(torch.isfinite(samples).all()) else math.nan
        findings = [first, picture, ranged, *_rows(output, run, samples, scale)]
    findings += [_mode(generator, output, run, samples, scale), _gradient(generator, output, run, z), place]
    as_is = output == Output() and isinstance(raw, Tensor) and raw.is_floating_point()
    return Inspection(tuple(findings), output, as_is, tuple(samples.shape[1:]), device, dtype)


def _tried(run: Callable[[Any], Any], rows: Any) -> Any:
    try:
        return run(rows)
    except Exception as error:  # whatever a user's model raises
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ArgumentError(
            f"the model fails on {TRIED} latents of its prior ({type(error).__name__}: {lines[0][:200]}); a "
            "discriminator takes samples, not latents, and some generators take latents (N, D, 1, 1): wrap a function "
            "that reshapes them"
        ) from error


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().max())


def _rows(output: Output, run: Callable[[Any], Any], samples: Tensor, scale: float) -> list[Finding]:
    """Look at how samples depend on their latents, on the other latents of a batch, and on the call."""
    if math.isnan(scale):
        return []
    limit = ROUNDING * max(scale, 1e-6)
    again = _apart(output.samples(run(slice(None)), TRIED), samples)
    if again > limit:
        text = f"two calls with the same latents differ by {again:.2g}; fix its noise, or nothing can be repeated"
        return [Finding("determinism", False, text)]
    findings = [Finding("determinism", True, "two calls agree")]
    try:
        alone = torch.cat([output.samples(run([i]), 1) for i in (0, TRIED - 1)])
        company = output.samples(run([TRIED - 1, 2, 0]), 3)[[2, 0]]
    except Exception as error:  # a model that is built for one size of batch
        text = f"takes no batch of 1 ({type(error).__name__}); wrap a function that fills batches up"
        return [*findings, Finding("batch", False, text)]
    apart = max(_apart(alone, samples[[0, TRIED - 1]]), _apart(company, samples[[0, TRIED - 1]]))
    text = "a sample is the same alone and in company"
    if apart > limit:
        text = (
            f"a sample changes by {apart:.2g} with the others of its batch: something compares or normalises over the "
            "batch, even in eval mode; use fixed statistics, or wrap a function that takes one latent at a time"
        )
    findings.append(Finding("batch", apart <= limit, text))
    spread = float((samples.float() - samples.float().mean(0)).abs().max())
    text = "different latents give different samples"
    if spread <= 1e-6 * max(scale, 1e-6) or scale == 0.0:
        text = f"{TRIED} latents give the same sample: the model has collapsed, or ignores what it is given"
    return [*findings, Finding("dependence", spread > 1e-6 * max(scale, 1e-6) and scale > 0.0, text)]


def _mode(generator: Any, output: Output, run: Callable[[Any], Any], samples: Tensor, scale: float) -> Finding:
    """Compare eval with training mode; statistics that training moves are put back."""
    modules = modules_of(generator)
    if not modules:
        text = "no module was found in it: if it calls one, put that into eval mode yourself"
        return Finding("mode", True, text)
    # Cloned, since running statistics and spectral norms move in place.
    kept = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]
    try:
        with evaluating(generator), torch.no_grad():
            for module in modules:
                module.train()
            apart = _apart(output.samples(run(slice(None)), TRIED), samples)
    except Exception:  # a module that can't be trained, or not with so few
        return Finding("mode", True, "runs in eval mode only")
    finally:
        with torch.no_grad():
            for buffer, before in kept:
                buffer.copy_(before)
    if math.isnan(scale) or apart <= ROUNDING * max(scale, 1e-6):
        return Finding("mode", True, "eval and training mode agree")
    return Finding("mode", True, f"training mode gives other samples (by up to {apart:.2g}); latentkit uses eval mode")


def _gradient(generator: Any, output: Output, run: Callable[..., Any], z: Tensor) -> Finding:
    """See whether samples have gradients with respect to the latents."""
    text = "no gradients reach the latents: all works that needs none; inversion has gradient-free ways"
    if not z.is_floating_point():
        return Finding("gradients", False, text)
    leaf = z.detach().clone().requires_grad_()
    try:
        with evaluating(generator), torch.enable_grad():
            samples = output.samples(run(slice(None), leaf), TRIED)
            if not samples.requires_grad:
                return Finding("gradients", False, text)
            (found,) = torch.autograd.grad(samples.float().square().sum(), leaf, allow_unused=True)
    except Exception as error:  # whatever a backward pass of a user's model raises
        return Finding("gradients", False, f"{text} ({type(error).__name__})")
    if found is None or not bool(torch.isfinite(found).all()):
        return Finding("gradients", False, text if found is None else "gradients with respect to latents aren't finite")
    return Finding("gradients", True, "gradients reach the latents")
