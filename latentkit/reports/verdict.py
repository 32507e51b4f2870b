"""The report's verdict: is the generator good, is it varied, is its critic to be believed?"""

from latentkit.reports.page import Card
from latentkit.reports.study import Study

__all__ = ["believed", "good", "varied", "verdict"]


def verdict(study: Study) -> tuple[Card, ...]:
    """Answer first: is it good, is it varied, is its critic to be believed?"""
    return (good(study), varied(study), believed(study))


def good(study: Study) -> Card:
    """Say whether samples look like the data, by precision beside what real data reach."""
    question = "Do samples look like the data?"
    found, floor = study.measured, study.floor
    if found is None or floor is None:
        return Card(question, "Unknown", "unknown", "There are too few held-out real samples to compare with.")
    share = found.precision / max(floor.precision, 1e-9)
    answer, tone = ("Yes", "good") if share > 0.9 else ("Partly", "fair") if share > 0.6 else ("No", "poor")
    detail = (
        f"{found.precision:.0%} of {found.generated} samples lie among held-out real ones (precision; real data reach "
        f"{floor.precision:.0%}), at a density of {found.density:.2f} (real: {floor.density:.2f})."
    )
    if found.density > 1.1 * floor.density:
        detail += " A density above that of real data means that samples keep to the middle of the data, or are smoother."
    if found.features == "pixels":
        answer = f"{answer}, by pixels"
        detail += " Distances between pixels forgive blur and punish shifts: look at the samples below."
    return Card(question, answer, tone, detail)


def varied(study: Study) -> Card:
    """Say whether samples cover the data, by coverage beside what real data reach."""
    question = "Do samples cover the data?"
    found, floor = study.measured, study.floor
    if found is None or floor is None:
        return Card(question, "Unknown", "unknown", "There are too few held-out real samples to compare with.")
    if found.spread < 0.1:
        detail = (
            f"Samples are nearly identical: two of them differ by {found.spread:.1%} of what two real ones do. "
            "The generator has collapsed."
        )
        return Card(question, "No: collapsed", "poor", detail)
    share = found.coverage / max(floor.coverage, 1e-9)
    answer, tone = ("Yes", "good") if share > 0.85 else ("Partly", "fair") if share > 0.5 else ("No", "poor")
    detail = (
        f"{found.coverage:.0%} of the held-out real samples have a generated one nearby (coverage; real data reach "
        f"{floor.coverage:.0%}), and samples differ from each other {found.spread:.2f} times as much as real ones do."
    )
    return Card(question, answer, tone, detail)


def believed(study: Study) -> Card:
    """Say whether the critic tells real samples from generated ones."""
    question = "Is the critic to be believed?"
    if study.quality is None:
        reason = "has no critic" if study.checkpoint.critic is None else "has too few held-out real samples"
        return Card(question, "Unknown", "unknown", f"The checkpoint {reason}, so latents cannot be scored.")
    calibration = study.quality.calibration
    answer, tone = {
        "informative": ("Yes, for ranking", "good"),
        "weak": ("Hardly", "fair"),
        "uninformative": ("No", "poor"),
    }[calibration.verdict]
    return Card(question, answer, tone, calibration.explanation)
