"""What some options can be: the names that a user may give."""

__all__ = ["CURVES", "EASES", "ENCODERS", "FILMS", "KINDS", "LOSSES", "METHODS", "PRECISIONS", "SEARCHES"]

CURVES = (
    "interpolate",
    "slerp",
    "lerp",
    "spline",
    "loop",
    "closed-spline",
    "geodesic",
    "route",
    "circle",
    "orbit",
    "random",
)
KINDS = (
    "autoencoder",
    "biggan",
    "dcgan",
    "exported",
    "gan-zoo",
    "onnx",
    "pythae",
    "pytorch",
    "stylegan",
    "torchscript",
)
FILMS = ".gif, .webp, .avif, .apng, .mp4"
EASES = ("none", "smooth", "smoother", "in", "out", "in-out")
METHODS = ("mean", "svm", "logistic")
LOSSES = ("pixels", "pyramid", "features")
SEARCHES = ("gradient", "evolution")
ENCODERS = ("own", "fit", "none")
PRECISIONS = ("float32", "bfloat16")
