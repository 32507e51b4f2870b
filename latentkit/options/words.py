"""What the help says beside the options: how each verb works, and an example."""

__all__ = ["EPILOG", "MORE"]

EPILOG = """\
a checkpoint is a folder that latentkit-train wrote:
  latentkit-train gan --data digits --out runs/digits
  latentkit report runs/digits --out report           everything, on one page
  latentkit animate runs/digits --out walk.gif        a loop through the latent space
  latentkit edit runs/digits --attribute slant --out slant.png

or the name of one that comes with latentkit, where no folder here has it: fashion-mnist
  latentkit report fashion-mnist --out report
  latentkit sample fashion-mnist --class sneaker --out sneakers.png

`latentkit VERB --help` tells what a verb takes.
"""

# What a verb's help adds to its one line: how it works, and an example.
MORE = {
    "info": (
        "Every file is checked against its SHA-256. A conditional model lists its classes, which --class of the other "
        "verbs takes.",
        "info runs/digits --json",
    ),
    "sample": (
        "Latent i of a seed is always the same one, however many are drawn. A store is filled block by block, with "
        "the memory of one block; --resume goes on with it, and --engine ray shares its blocks among workers.",
        "sample runs/digits --out best.png -n 64 --best 0.25",
    ),
    "interpolate": (
        "The default curve is matched to the prior: every latent on the way is as typical as a fresh draw. Where the "
        "class of a conditional model changes, samples jump; --class keeps to one.",
        "interpolate runs/digits --out walk.gif --between 3 8 5 --curve spline --constant-speed --steps 90",
    ),
    "edit": (
        "The attribute is measured on 2000 samples; the direction leads from those below its median to those above, "
        "and goes as far each way as the prior allows. Of several classes each is compared within itself and kept.",
        "edit runs/digits --attribute slant --against width --audit --out slant.png",
    ),
    "invert": (
        "Each sample is searched from several starts, and the result says how near it came, how far apart the starts "
        "ended, and how typical the latent is.",
        "invert runs/digits --held-out 3 8 --out found.png",
    ),
    "quality": (
        "The critic is calibrated on held-out real samples first; if it cannot tell them from generated ones, nothing "
        "is written. Good latents reach the threshold, as all but 5 per cent of real samples do; islands are their "
        "parts that hang together, coverage is the share of real samples with a generated one nearby.",
        "quality runs/digits --out map.npz -n 20000",
    ),
    "project": (
        "The trustworthiness that is printed says how far neighbours in the plane are neighbours indeed.",
        "project runs/digits --out map.png",
    ),
    "tide": (
        "The threshold rises from the lowest probability to the highest: what is below is under water, and islands "
        "part and drown, each in its own colour.",
        "tide runs/digits --out tide.gif",
    ),
    "route": (
        "The route keeps to what the calibrated critic believes where that hangs together, and says so where it does "
        "not. It is shown on the map beside its samples, with the curves that ignore the map.",
        "route runs/digits 3 8 --out route.gif",
    ),
    "animate": (
        "The loop is matched to the prior and has no doubled frame. Where the class of a conditional model changes, "
        "samples jump; --class keeps to one.",
        "animate runs/digits --out walk.gif --keys 8 --grid 6x3",
    ),
    "import": (
        "Networks that latentkit has become ordinary checkpoints; of all others a reference to the file is written, "
        "with its SHA-256, which every verb takes too. Nothing in a file is run, only the code that --factory names.",
        "import stylegan ffhq.pkl --out runs/ffhq --view w --psi 0.7",
    ),
    "replay": (
        "The file holds the latents, and what its frames were: the frames are made again and compared, bit for bit. "
        "Nothing in the file is run.",
        "replay walk.gif --checkpoint runs/digits",
    ),
    "report": (
        "It opens from disk: verdict, samples, walks, arithmetic, manifold, map.",
        "report runs/digits --out report",
    ),
}
