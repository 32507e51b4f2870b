"""The report's verdict: is the generator good, is it varied, is its critic to be believed?"""

from latentkit.metrics import COLLAPSED
from latentkit.reports.page import Card
from latentkit.reports.study import Study

__all__ = ["believed", "good", "varied", "verdict"]

TOO_FEW = "There are too few held-out real samples to compare with: at least 100 are needed."


def verdict(study: Study) -> tuple[Card, ...]:
    """Answer first: is it good, is it varied, is its critic to be believed?"""
    return (good(study), varied(study), believed(study))


def good(study: Study) -> Card:
    """Say whether samples look like the data: how often they are told apart, beside what real data reach."""
    question = "Do samples look like the data?"
    found, floor = study.measured, study.floor
    if found is None or floor is None:
        return Card(question, "Unknown", "unknown", TOO_FEW)
    share = found.precision / max(floor.precision, 1e-9)
    answer, tone = "Partly", "fair"
    middling = found.density > 1.5 * floor.density
    if found.separability < 0.7 and share > 0.8 and not middling and found.spread > COLLAPSED:
        answer, tone = "Mostly", "good"
    elif found.separability > 0.9 or share < 0.5 or found.spread < COLLAPSED:
        answer, tone = "No", "poor"
    detail = (
        f"By its nearest neighbour in {found.features} a sample is told from real ones {found.separability:.0%} of "
        f"the time (50% is chance; other real samples: {floor.separability:.0%}). {found.precision:.0%} lie among "
        f"held-out real ones (precision; real: {floor.precision:.0%}), at a density of {found.density:.2f} (real: "
        f"{floor.density:.2f}). {found.generated} samples against as many real ones."
    )
    if found.density > 1.2 * floor.density:
        detail += " The high density means that samples keep to the middle of the data, or are smoother than it."
    return Card(question, answer, tone, detail)


def varied(study: Study) -> Card:
    """Say whether samples cover the data, by coverage and recall beside what real data reach."""
    question = "Do samples cover the data?"
    found, floor = study.measured, study.floor
    if found is None or floor is None:
        return Card(question, "Unknown", "unknown", TOO_FEW)
    if found.spread < COLLAPSED:
        detail = (
            f"Samples are nearly identical: two of them differ by {found.spread:.1%} of what two real ones do. "
            "The generator has collapsed."
        )
        return Card(question, "No: collapsed", "poor", detail)
    coverage, recall = found.coverage / max(floor.coverage, 1e-9), found.recall / max(floor.recall, 1e-9)
    answer, tone = "Partly", "fair"
    if coverage > 0.85 and recall > 0.6 and found.spread > 0.8:
        answer, tone = "Mostly", "good"
    elif coverage < 0.5 or recall < 0.1:
        answer, tone = "No", "poor"
    detail = (
        f"{found.coverage:.0%} of the held-out real samples have a generated one nearby (coverage; other real samples: "
        f"{floor.coverage:.0%}), {found.recall:.0%} lie among the generated ones (recall; real: {floor.recall:.0%}). "
        f"Samples differ from each other {found.spread:.2f} times as much as real ones do."
    )
    return Card(question, answer, tone, detail)


def believed(study: Study) -> Card:
    """Say whether the critic tells real samples from generated ones."""
    question, judged = "Is the critic to be believed?", study.judged
    if judged is None:
        reason = "has no critic" if study.checkpoint.critic is None else "has too few held-out real samples"
        return Card(question, "Unknown", "unknown", f"The checkpoint {reason}, so latents cannot be scored.")
    calibration = judged.own or judged.calibration
    answer, tone = {
        "informative": ("Yes, for ranking", "good"),
        "weak": ("Hardly", "fair"),
        "uninformative": ("No", "poor"),
    }[calibration.verdict]
    detail = calibration.explanation
    if judged.own is None:
        detail = f"The checkpoint has no critic; this is a second opinion, trained for this page. {detail}"
    elif judged.second:
        detail += (
            f" So this page scores by a second opinion, trained against the generator for it: "
            f"{judged.calibration.verdict}, AUC {judged.calibration.auc:.2f}."
        )
    return Card(question, answer, tone, detail)
