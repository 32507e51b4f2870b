"""Many images, decoded by several threads and given back in their order; what cannot be read is named and counted."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from latentkit.console import watched
from latentkit.errors import DataError
from latentkit.images import MAX_PIXELS, OversizedImageError, strict_pillow
from trainers.data.dataset import encodable
from trainers.data.store import Folder, Recipe, keep

__all__ = ["decoded"]

_THREADS = 8
_AHEAD = 4  # images that each thread may be ahead of the one that is wanted next
_BAR_FROM = 2_000  # images: fewer are done before anybody wonders
_UNREADABLE_SHARE = 0.05
_NAMED = 5
_FLAT_PIXELS, _FLAT_IMAGES = 0.95, 0.5

Image = NDArray[np.uint8]
Item = TypeVar("Item")


def decoded(
    items: Iterable[Item],
    decode: Callable[[Item], Image],
    *,
    names: Sequence[Any],
    shape: tuple[int, int, int],
    where: str,
    recipe: Recipe,
    cache: Folder | None = None,
    max_pixels: int = MAX_PIXELS,
) -> tuple[Tensor, list[int]]:
    """Return all images that can be read as bytes (N, C, H, W), and their numbers among the items.

    Args:
        items: what `decode` takes, drawn one after another as they are needed.
        decode: gives the bytes (C, H, W) of an item, or raises; called in several threads.
        names: what each item is called in messages, as str() gives it.
        shape: (C, H, W).
        where: what the source is called in messages.
        recipe: what the images are made from.
        cache: folder that keeps the decoded images for the next start, or None.
        max_pixels: largest width times height that is decoded.

    Raises:
        DataError: if an image is too large, or more than 5 % cannot be read; up to 5 % are left out with a warning.
        OutputError: if a file is needed and cannot be written.
    """
    notes: dict[str, Any] = {"unreadable": [], "flat": 0}
    # Closed even if a file cannot be written: Pillow's settings are put back when the images end.
    with closing(_readable(items, decode, names, where, notes, max_pixels)) as images:
        samples = keep(images, notes, count=len(names), shape=shape, recipe=recipe, cache=cache)
    unreadable = {int(number): str(reason) for number, reason in notes["unreadable"]}
    if unreadable:
        warnings.warn(f"{_report(unreadable, names, where)}. They are skipped", UserWarning, stacklevel=3)
    if notes["flat"] > _FLAT_IMAGES * len(samples):
        warnings.warn(
            f"{notes['flat']} of {len(samples)} images in {where} are one value in more than {_FLAT_PIXELS:.0%} of "
            "their pixels; were they clipped, as when deep greys are saved with 8 bits?",
            UserWarning,
            stacklevel=3,
        )
    return samples, [number for number in range(len(names)) if number not in unreadable]


def _readable(
    items: Iterable[Item],
    decode: Callable[[Item], Image],
    names: Sequence[Any],
    where: str,
    notes: dict[str, Any],
    max_pixels: int,
) -> Generator[Image, None, None]:
    """Yield the images that can be read, noting the others; raise at the end if those are too many."""

    def attempt(item: Item) -> tuple[Image, bool]:
        image = decode(item)
        return image, _is_flat(image)

    with strict_pillow(max_pixels):
        for number, outcome in enumerate(_in_order(items, attempt, len(names), where)):
            try:
                image, flat = outcome.result()
            except OversizedImageError as error:
                raise DataError(
                    f"{names[number]} has more than {max_pixels:,} pixels ({error}); make it smaller, take it away, "
                    "or pass a larger max_pixels"
                ) from error
            except MemoryError:
                raise
            # A decoder may raise anything for a damaged file; the reason is kept for the report.
            except Exception as error:
                notes["unreadable"].append([number, encodable(str(error) or type(error).__name__)])
            else:
                notes["flat"] += flat
                yield image
    unreadable = dict(notes["unreadable"])
    if len(unreadable) > _UNREADABLE_SHARE * len(names):
        text = _report(unreadable, names, where)
        raise DataError(f"{text}. Mend or take away these files (up to 5 % would be skipped)")


def _in_order(
    items: Iterable[Item], work: Callable[[Item], tuple[Image, bool]], total: int, where: str
) -> Iterator[Future[tuple[Image, bool]]]:
    """Yield the finished work for each item in the order of the items, a few of which are worked on at a time.

    Threads, since Pillow decodes without holding the interpreter's lock, and nothing has to be pickled.
    """
    threads = min(_THREADS, os.cpu_count() or 1)
    pending: deque[Future[tuple[Image, bool]]] = deque()
    shows = total > _BAR_FROM and watched()
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=total, desc=f"reading {where}", disable=not shows, mininterval=0.5) as bar,
    ):
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > _AHEAD * threads:
                    yield pending.popleft()
                    bar.update()
            while pending:
                yield pending.popleft()
                bar.update()
        finally:
            for future in pending:
                future.cancel()


def _is_flat(image: Image) -> bool:
    """Whether nearly all pixels (C, H, W) have one value."""
    pixels = image.reshape(len(image), -1)
    middle = pixels.shape[1] // 2
    # A value that more than half of the pixels have is the median of each channel.
    median = np.partition(pixels, middle, axis=1)[:, middle : middle + 1]
    return bool((pixels == median).all(0).mean() > _FLAT_PIXELS)


def _report(unreadable: dict[int, str], names: Sequence[Any], where: str) -> str:
    shown = "; ".join(f"{names[number]}: {reason}" for number, reason in list(unreadable.items())[:_NAMED])
    more = "; ..." if len(unreadable) > _NAMED else ""
    return f"{len(unreadable)} of {len(names)} images in {where} cannot be read: {shown}{more}"
