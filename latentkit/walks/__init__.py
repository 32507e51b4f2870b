"""Walks: what a generator makes along curves, how evenly, with what seam, between which classes, and which is best."""

from latentkit.walks.bakeoff import BakeOff, bake_off
from latentkit.walks.classes import class_tour, class_walk
from latentkit.walks.pacing import Paced, constant_speed
from latentkit.walks.seams import Seam, seam

__all__ = ["BakeOff", "Paced", "Seam", "bake_off", "class_tour", "class_walk", "constant_speed", "seam"]
