"""How a generator bends its latent space: its derivatives, what they say at a latent, and shortest ways between two."""

from latentkit.geometry.derivatives import LocalGeometry, effective_rank, jacobian, local_geometry
from latentkit.geometry.geodesics import geodesic, polyline

__all__ = ["LocalGeometry", "effective_rank", "geodesic", "jacobian", "local_geometry", "polyline"]
