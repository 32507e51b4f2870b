"""Routes: curves from latent to latent through what a critic believes, and how they compare with other curves."""

from latentkit.routes.comparison import Course, CurveQuality, along, compare_routes, curve_quality, missing
from latentkit.routes.route import Route, route
from latentkit.routes.ways import WAYS, ends_of, ways_between

__all__ = [
    "WAYS",
    "Course",
    "CurveQuality",
    "Route",
    "along",
    "compare_routes",
    "curve_quality",
    "ends_of",
    "missing",
    "route",
    "ways_between",
]
