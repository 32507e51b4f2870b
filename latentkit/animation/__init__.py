"""Films: of a generator along curves or of any frames, to GIF, WebP, APNG, AVIF and MP4, and made again from a file."""

from latentkit.animation.content import best_format
from latentkit.animation.film import FASTEST, Animation, from_frames
from latentkit.animation.filming import BACKDROP, LEAST_SIDE, animate
from latentkit.animation.replaying import Replay, replay

__all__ = [
    "BACKDROP",
    "FASTEST",
    "LEAST_SIDE",
    "Animation",
    "Replay",
    "animate",
    "best_format",
    "from_frames",
    "replay",
]
