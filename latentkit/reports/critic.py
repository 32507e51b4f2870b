"""The report's critic: what it says of samples that it never saw, and how far it can be believed."""

from pathlib import Path

from latentkit import plots
from latentkit.judges import Judged
from latentkit.quality import QualityMap
from latentkit.render import save_png
from latentkit.reports.page import Figure, Table
from latentkit.reports.study import Study

__all__ = ["figures", "measures"]


def figures(study: Study, found: QualityMap, folder: Path) -> tuple[Figure, ...]:
    """Draw the calibrated scores of real and generated samples, and how far they come true."""
    calibration = found.calibration
    real = calibration.probability(found.real_logits).numpy()
    groups = {"held-out real": real, "generated": found.probability.numpy()}
    picture = plots.histogram_picture(groups, x_label="calibrated probability of being real")
    save_png(picture, folder / "scores.png")
    save_png(plots.reliability_picture(calibration), folder / "reliability.png")
    return (
        Figure(
            "scores.png",
            "Histogram of calibrated scores of real and generated samples",
            "Calibrated scores of held-out real and of generated samples. Where both lie together the critic cannot "
            "tell them apart.",
            f"{len(real)} held-out, {len(found)} generated, seed {study.seed}; {calibration.method} calibration",
        ),
        Figure(
            "reliability.png",
            "Reliability of the calibrated scores",
            "Of the samples that got a probability, what share was real? On the diagonal the scores mean what they "
            "say. Bars are 95% intervals; below, how many samples got which probability.",
            f"5-fold cross-validated, {calibration.count} held-out and as many generated samples, seed {study.seed}",
        ),
    )


def measures(found: QualityMap, judged: Judged) -> Table:
    """Return the critic's figures as a table."""
    calibration = found.calibration
    real = calibration.probability(found.real_logits)
    kept = found.top(0.25)
    rows = (
        ("AUC on held-out samples", f"{calibration.auc:.3f}", "0.5 is chance"),
        ("95% interval of the AUC", f"{calibration.auc_interval[0]:.3f} to {calibration.auc_interval[1]:.3f}", ""),
        ("log loss, nats a sample", f"{calibration.log_loss:.4f}", "0.6931 says nothing"),
        ("Brier score", f"{calibration.brier:.3f}", "0.25 says nothing, 0 is perfect"),
        ("expected calibration error", f"{calibration.ece:.3f}", f"by chance alone: {calibration.ece_floor:.3f}"),
        ("Z of the raw logits", f"{calibration.z_raw:+.1f}", "beyond +-2 they are no probabilities"),
        (
            "mean probability, all latents",
            f"{float(found.probability.mean()):.3f}",
            f"held-out real: {real.mean():.3f}",
        ),
        ("mean probability, better quarter", f"{float(kept.probability.mean()):.3f}", f"{len(kept)} latents"),
        (
            "typicality, better quarter",
            f"{float(kept.typicality.mean()):.3f}",
            f"all latents: {float(found.typicality.mean()):.3f}",
        ),
    )
    what = "The second opinion, measured." if judged.second else "The critic, measured."
    return Table(what, ("figure", "value", "to compare"), rows)
