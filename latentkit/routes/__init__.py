"""Routes: curves from latent to latent through what a critic believes, and how they compare with other curves."""

from latentkit.routes.comparison import CurveQuality, compare_routes, curve_quality
from latentkit.routes.route import Route, route

__all__ = ["CurveQuality", "Route", "compare_routes", "curve_quality", "route"]
