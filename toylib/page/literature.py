"""What others have published that this book measures too: the number, where it stands, and ours beside it.

Data alone; published.py reads our numbers from the records. A published number is written as
`published.meant` reads it: "exactly 1/2" for a law, a shape or a count, "about 2.5" and "0.0478" for what
rounds to it, "above 3", "below 1" and "at most 1" for a direction or a bound; all else is compared as words.
"""

from __future__ import annotations

from typing import NamedTuple

from .predictions import Where


class Control(NamedTuple):
    """One of the further numbers of a claim, by its name."""

    claim: str
    name: str


class Entry(NamedTuple):
    """Entries of a chapter's table: the lines that begin with these words, in a column."""

    chapter: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    column: str


class Paper(NamedTuple):
    """A paper: how it is called, its address, and what of it was read for this page."""

    name: str
    address: str
    read: str


class Published(NamedTuple):
    """A published result, where it stands, and ours; a note on what differs, empty for the same quantity."""

    says: str
    paper: str
    place: str
    printed: str
    ours: Where | Control | Entry
    note: str = ""


TEXT, ABSTRACT, RECORD = "the text, not its figures", "the abstract", "its stored runs, averaged again"
NOTES = "in our notes"
ARXIV, FORUM = "https://arxiv.org/abs/", "https://www.lesswrong.com/posts/"
ELHAGE, SCHERLIS, SHARKEY = "elhage2022toy", "scherlis2022polysemanticity", "sharkey2022taking"
GURNEE, LECOMTE, LIU = "gurnee2023finding", "lecomte2024causes", "liu2025superposition"
SONG, GUPTA, HOU = "song2025consistency", "gupta2025disentangling", "hou2026polysemanticity"
BHAGAT, CODE = "bhagat2026compressed", "cis2026toy"
PAPERS = {
    ELHAGE: Paper(
        "Elhage et al. 2022",
        "https://transformer-circuits.pub/2022/toy_model/",
        f"{TEXT}; the bound {NOTES}",
    ),
    SCHERLIS: Paper("Scherlis et al. 2022", f"{ARXIV}2210.01892", ABSTRACT),
    SHARKEY: Paper(
        "Sharkey et al. 2022",
        f"{FORUM}z6QQJbtpkEAX3Aojj/interim-research-report-taking-features-out-of-superposition",
        "the summary",
    ),
    GURNEE: Paper("Gurnee et al. 2023", f"{ARXIV}2305.01610", ABSTRACT),
    LECOMTE: Paper("Lecomte et al. 2024", f"{ARXIV}2312.03096", f"{ABSTRACT}; the law {NOTES}"),
    LIU: Paper("Liu et al. 2025", f"{ARXIV}2505.10465", f"{ABSTRACT}; overlaps {NOTES}"),
    SONG: Paper("Song et al. 2025", f"{ARXIV}2505.20254", ABSTRACT),
    GUPTA: Paper("Gupta and Kumar 2025", f"{ARXIV}2508.16950", ABSTRACT),
    HOU: Paper("Ait Hou and Hwa 2026", f"{ARXIV}2604.00443", ABSTRACT),
    BHAGAT: Paper("Bhagat et al. 2026", f"{ARXIV}2606.14673", ABSTRACT),
    CODE: Paper("Toy-model code 2026", "https://github.com/FranciscoHS/toy-model-cis-code", RECORD),
}
INTRODUCTION, BASIC = "introduction", "Basic Results"
GEOMETRY, DYNAMICS = "The Geometry of Superposition", "Superposition and Learning Dynamics"
ROBUST, BASIS = "Relationship to Adversarial Robustness", "Superposition in a Privileged Basis"
COMPUTATION = "Computation in Superposition"
ONE_RUN, SINGLE = "the paper shows one run, ours is a share of runs", "the paper shows single models"
NO_SIZE, CURVES = "the paper gives no size", "the paper shows the curves"
CAPACITY, OTHER_MODEL = "they count capacity, we neurons", "theirs is another model"
SMALL, FEWER = "ours has 4 to 32 dimensions", "ours has a five-thousandth of the inputs"
MIXED = "ours has forty features, theirs a hundred"

SHAPES = (
    "sparsity", "shape in the paper", "lowest loss of 256", "share of all models", "share of the best tenth",
    "mean dimensionality of its features",
)  # fmt: skip
FIRST = ("setting", "threshold", "models with both kinds", "A, mean over models", "share with A = 1")
REGIMES = ("density", "paper", "here", "agreement", "runners-up, loss above the winner's")
FORTY = (
    "density", "loss / reference", "counted", "features represented", "features / neuron (PR)",
    "polysemantic, θ = 0.1", "θ = 0.25", "θ = 0.5",
)  # fmt: skip
PAIRS = ("density", "exact (share, 95% interval)", "three pairs, of 100", "both")
MOTIF = ("density", "loss below reference", "networks with the motif", "motifs each", "in shuffled weights")
WAYS = ("trajectory", "models", "share")
BEFORE = ("copying ten features, density 0.1", "before", "here", "")
POWERS = ("exponent", "error", "published", "variation over features", "published", "features computed")
NEURONS = "polysemantic-neurons"


def _shape(sparsity: str, printed: str) -> Published:
    ours = Entry("three-models", SHAPES, ((sparsity,),), SHAPES[2])
    says = f"Five features in two dimensions at {sparsity} sparsity: the shape"
    return Published(says, ELHAGE, INTRODUCTION, printed, ours)


def _dimensionality(shape: str, sparsity: str, printed: str) -> Published:
    ours = Entry("three-models", SHAPES, ((sparsity,),), SHAPES[-1])
    return Published(f"Dimensionality of a feature in {shape}", ELHAGE, GEOMETRY, printed, ours)


def _regime(where: str, printed: str, *densities: str) -> Published:
    ours = Entry(NEURONS, REGIMES, tuple((density,) for density in densities), "here")
    return Published(
        f"Ten features in five neurons, density {where}: the layer of least loss",
        ELHAGE,
        BASIS,
        printed,
        ours,
    )


def _forty(density: str, printed: str) -> Published:
    ours = Entry(NEURONS, FORTY, ((density,),), "θ = 0.25")
    says = f"Absolute values in forty neurons, density {density}: polysemantic share"
    return Published(says, ELHAGE, COMPUTATION, printed, ours, "the paper judges neurons by eye")


def _power(exponent: str, error: str, spread: str) -> tuple[Published, Published]:
    def of(what: str, printed: str, column: str) -> Published:
        ours = Entry("computed-or-stored", POWERS, ((exponent,),), column)
        says = f"A hundred ReLUs in fifty neurons, loss exponent {exponent}: {what}"
        return Published(says, CODE, "seed_experiments.npz", printed, ours, FEWER)

    return of("error", error, "error"), of("its variation over features", spread, "variation over features")


OF_THE_PAPER = (
    _shape("0%", "two orthogonal"),
    _shape("80%", "two antipodal pairs"),
    _shape("90%", "pentagon"),
    Published("Linear models with more features than dimensions: share", ELHAGE, BASIC, "exactly 0",
              Where("models", "linear models that have more, at any density")),
    Published("ReLU output models with more, where features are sparse: share", ELHAGE, BASIC, "above 0",
              Where("models"), ONE_RUN),
    *(Published(f"The less important features share first, {size}: pairs in which it is so", ELHAGE, BASIC,
                "above 0.5", Entry("three-models", FIRST, ((size, "0.25"),), FIRST[3]), SINGLE)
      for size in ("n = 20, m = 5", "n = 80, m = 20")),
    _dimensionality("an antipodal pair", "80%", "exactly 1/2"),
    _dimensionality("a pentagon", "90%", "exactly 2/5"),
    Published("Values at which dimensionalities gather, of 3/4, 2/3, 1/2, 2/5 and 3/8", ELHAGE, GEOMETRY,
              "exactly 5", Where("geometry", "levels that have a peak, of five")),
    Published("Times that a feature is sparser where the pentagon becomes two digons", ELHAGE, GEOMETRY,
              "about 2.5", Where("geometry-snap")),
    Published("Correlated pairs that are orthogonal, beyond independent ones", ELHAGE, GEOMETRY, "above 0",
              Where("geometry-correlated"), SINGLE),
    Published("Anticorrelated pairs that are antipodal, beyond independent ones", ELHAGE, GEOMETRY, "above 0",
              Where("geometry-correlated", "anticorrelated pairs antipodal, beyond independent"), SINGLE),
    Published("Three correlated pairs, sparse: the best model is a hexagon", ELHAGE, GEOMETRY, "yes",
              Where("geometry-correlated", "sparse: the best model is a hexagon")),
    Published("The same, dense: share of the weights in the principal components", ELHAGE, GEOMETRY,
              "exactly 1", Where("geometry-correlated", "dense: squared norm in the principal components")),
    Published("Jumps of dimensionalities on drops of the loss, beyond chance", ELHAGE, DYNAMICS, "above 0",
              Where("dynamics"), "the paper shows one run"),
    Published("The same with twenty features", ELHAGE, DYNAMICS, "above 0",
              Control("dynamics", "20 features, m = 5, beyond drops of others"),
              "a suspicion, of large models"),
    Published("Two triples learned as split, triangles, antiprism", ELHAGE, DYNAMICS, "above 0",
              Where("dynamics-triples"), ONE_RUN),
    Published("Two triples that go from the split to the antiprism at once", ELHAGE, DYNAMICS, "above 0",
              Entry("dynamics", WAYS, (("split, antiprism",),), "share"), ONE_RUN),
    *(Published(f"Times that vulnerability rises as superposition forms, {size}", ELHAGE, ROBUST, "above 3",
                Where("adversarial", f"rise, universal attack, {size}"), NO_SIZE)
      for size in ("400 in 30", "100 in 20")),
    Published("Vulnerability and features per dimension, 400 in 30: rank correlation", ELHAGE, ROBUST,
              "above 0", Where("adversarial", "its rank correlation with 1/D*"), CURVES),
    Published("The same, 100 in 20", ELHAGE, ROBUST, "above 0",
              Where("adversarial", "its rank correlation with 1/D*, 100 in 20"), CURVES),
    Published("Directions per dimension after training against attacks of 0.8 of the input's norm", ELHAGE,
              ROBUST, "exactly 1", Where("adversarial-training", "directions per dimension after 0.8"),
              "the paper says that superposition is gone; it gives neither size nor density"),
    _regime("0.5 and more", "5 clean", "1", "0.7", "0.5"),
    _regime("0.2 to 0.5", "3 in 2 + 3 clean", "0.35", "0.2"),
    _regime("0.15", "5 in 3 + 2 clean", "0.15"),
    _regime("0.12", "6 in 4 + 1 clean", "0.12"),
    _regime("0.05 to 0.08", "8 in 5", "0.08", "0.05"),
    _regime("0.04 and less, each feature a pair of neurons", "10 in 5", "0.04", "0.01"),
    Published("Clean and polysemantic neurons in one layer: share of layers", ELHAGE, BASIS, "above 0",
              Where("claim-2"), ONE_RUN),
    Published("Three absolute values in six neurons, dense: layers with a pair for each", ELHAGE, COMPUTATION,
              "above 0", Entry(NEURONS, PAIRS, (("1",),), PAIRS[1]), ONE_RUN),
    _forty("1", "exactly 0"),
    _forty("0.3", "exactly 0"),
    _forty("0.01", "above 0"),
    _forty("0.001", "exactly 1"),
    Published("Neurons of important features tend to be clean: pairs in which it is so", ELHAGE, COMPUTATION,
              "above 0.5", Where("claim-2", "clean feature the more important of a pair"),
              "ours are layers that copy"),
    Published("Networks with asymmetric superposition and inhibition, density 0.1", ELHAGE,
              "The Asymmetric Superposition Motif", "above 0", Entry(NEURONS, MOTIF, (("0.1",),), MOTIF[2]),
              "the paper works through one network"),
)  # fmt: skip

OF_OTHERS = (
    Published("Polysemanticity rises with sparsity: share at density 0.01 less that at 0.5", SCHERLIS,
              "abstract", "above 0", Where("sparsity"), CAPACITY),
    Published("Important features are kept apart, others share: pairs in which it is so", SCHERLIS,
              "abstract", "above 0.5", Where("claim-2", "clean feature the more important of a pair"),
              CAPACITY),
    Published("A sparse autoencoder finds the true features: similarity beyond random ones", SHARKEY,
              "summary", "above 0", Where("open-recovery", "MCC less random dictionaries', every model"),
              "theirs are other data"),
    Published("Agreement across seeds stands for recovery: rank correlation", SONG, "abstract", "above 0",
              Where("open-recovery", "rank correlation of agreement with truth"), OTHER_MODEL),
    Published("Polysemantic neurons although there is one for each feature: share", LECOMTE, "abstract",
              "above 0", Where("sharing-with-room"), OTHER_MODEL),
    Published("Shared neurons go as n²/m: those of 40 over those of 20", LECOMTE, "body", "exactly 1/2",
              Entry("is-it-superposition", BEFORE, (("published: 40 neurons' shared over 20's",),), "here"),
              "theirs learn single features, with a cost on activity"),
    Published("Strong superposition: slope of log loss on log m, equal frequencies", LIU, "abstract",
              "exactly -1", Where("computed-scaling"), SMALL),
    Published("The same, frequencies that fall with exponent 1.5", LIU, "abstract", "exactly -1",
              Control("computed-scaling", "strong, a = 1.5"), SMALL),
    Published("Squared overlaps: slope of their logarithm on log m", LIU, "abstract", "exactly -1",
              Where("computed-scaling", "squared overlaps: slope"), SMALL),
    Published("Output vectors of language models: mean squared overlap, times m", LIU, "body", "about 1",
              Where("packed-real", "overlap as outputs read them, both decoders"),
              "ours are two smaller models, the larger value is shown"),
    Published("ReLUs in half as many neurons, labels not mixed: loss over the naive layer's", BHAGAT,
              "abstract", "exactly 1", Where("computed-mixing"), MIXED),
    Published("The same, labels mixed", BHAGAT, "abstract", "below 1",
              Where("computed-mixing", "mixing 0.05: loss over the naive one"), MIXED),
    *_power("2", "0.1593", "0.999"),
    *_power("2.5", "0.0478", "0.027"),
    *_power("4", "0.0219", "0.031"),
    *_power("8", "0.0115", "0.046"),
    Published("First layers of language models mix more concepts than later ones: difference", GURNEE,
              "abstract", "above 0", Where("claim-4-real"),
              "they probe seven models, we count concepts per neuron in one"),
    Published("A word's form moves neurons more than its meaning: difference", HOU, "abstract", "above 0",
              Where("lexical-words"), "theirs have 110M to 70B parameters; ours is the least of three"),
    Published("Later layers of an image classifier are more polysemantic: rank correlation", GUPTA,
              "abstract", "above 0", Where("claim-3-labels"),
              "another network, another index; ours fails its own gate"),
)  # fmt: skip
