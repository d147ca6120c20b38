"""What the toys predict of real networks, and what the Discussion says: which claim and rule tests each.

Data alone; agreement.py reads the numbers from the records.
"""

from __future__ import annotations

from typing import NamedTuple


class Where(NamedTuple):
    """A rule of a claim, by its name; the claim's own if none is given."""

    claim: str
    rule: str = ""


class Prediction(NamedTuple):
    """What the toys predict, where it was found in toys, where in real networks, or why it was not asked."""

    says: str
    toy: Where
    real: Where | None = None
    why: str = ""


class Sentence(NamedTuple):
    """A statement of the Discussion, the claims that test it, and why something of it is not tested."""

    says: str
    claims: tuple[str, ...] = ()
    why: str = ""


COUNTS = "no instrument that tells features per neuron passes its gate in half of a real network's layers"
ONE_SIZE = "of each network there is one size"
TRAINING = "no real network is trained here"

PREDICTIONS = (
    Prediction(
        "Where features are sparse, more of them are represented than there are dimensions.",
        Where("packed-real", "sparse toys: vectors per dimension"),
        Where("packed-real", "represented vectors per dimension, each"),
    ),
    Prediction(
        "Their vectors overlap hardly more than random ones.",
        Where("packed-real", "sparse toys: overlap"),
        Where("packed-real"),
    ),
    Prediction(
        "Without the directions that all share, vectors overlap hardly more than random ones.",
        Where("packed-real", "sparse toys: overlap"),
        Where("packed-real", "overlap, common directions out, each"),
    ),
    Prediction(
        "Where there is a dimension for each feature, vectors keep apart.",
        Where("room-real", "toys with room: overlap"),
        Where("room-real"),
    ),
    Prediction("Sparse features make neurons polysemantic.", Where("claim-1"), why=COUNTS),
    Prediction("Clean and polysemantic neurons stand in one layer.", Where("claim-2"), why=COUNTS),
    Prediction(
        "Polysemanticity rises with sparsity.",
        Where("sparsity"),
        why=f"how rare a real layer's features are is not known; {COUNTS}",
    ),
    Prediction(
        "Where features get rarer with depth, deeper layers are more polysemantic.",
        Where("claim-3-toy", "falling densities, last level less first"),
        Where("claim-3-real"),
    ),
    Prediction(
        "The same, counted by labels, which do not tell features per neuron.",
        Where("claim-3-toy", "falling densities, last level less first"),
        Where("claim-3-labels"),
    ),
    Prediction(
        "A layer that tells senses apart is very polysemantic: the rarer they are, the more (toys); more "
        "than later layers (network).",
        Where("claim-4-toy"),
        Where("claim-4-real"),
    ),
    Prediction(
        "Neurons are shared even where each feature could have its own.",
        Where("sharing-with-room"),
        why="no instrument tells sharing that is needed from sharing with room, in toys either",
    ),
    Prediction(
        "Sparse features can be recovered from activations.",
        Where("open-recovery"),
        why="nobody knows a real layer's features to compare with; planted ones are not found in most layers",
    ),
    Prediction(
        "Activations alone show superposition, if features are independent and of one sign.",
        Where("open-test"),
        why="no real layer is known to have such features",
    ),
    Prediction(
        "Squared overlaps fall as one over the dimensions.",
        Where("computed-scaling", "squared overlaps: slope"),
        why=ONE_SIZE,
    ),
    Prediction("The loss falls as one over the dimensions.", Where("computed-scaling"), why=ONE_SIZE),
    Prediction(
        "Scale relieves superposition only where importance decays.", Where("open-scale"), why=ONE_SIZE
    ),
    Prediction(
        "The number of features that fit follows from their sparsity.",
        Where("open-capacity"),
        why="neither number nor sparsity of a real layer's features is known",
    ),
    Prediction(
        "Layers compute in superposition.",
        Where("computed-superposition"),
        why="there is no naive layer to compare a real one with, whose task is not known",
    ),
    Prediction(
        "Vulnerability to attacks goes with superposition.",
        Where("adversarial"),
        why="it would need networks that differ in superposition alone",
    ),
    Prediction("Adversarial training removes superposition.", Where("adversarial-training"), why=TRAINING),
    Prediction("A penalty on activity removes shared neurons.", Where("open-control"), why=TRAINING),
    Prediction(
        "Features gather at regular shapes.",
        Where("geometry"),
        why="such shapes hold a few features to a dimension, and there are far more tokens, whose vectors "
        "are known",
    ),
    Prediction("Features jump when the loss drops.", Where("dynamics"), why=TRAINING),
)  # fmt: skip

SENTENCES = (
    Sentence(
        "Toy models are useful proxies for the superposition of real networks.",
        ("packed-real", "room-real"),
        "no single test; the table above is what we can say",
    ),
    Sentence("The toys' predictions are consistent with what is observed of polysemanticity.",
             ("claim-3-labels", "claim-3-real", "claim-4-real")),
    Sentence("Polysemantic neurons form in the third model.", ("claim-1",)),
    Sentence("They are observed in a wide range of neural networks.", (), COUNTS),
    Sentence("The third model has clean and polysemantic neurons at the same time, often in one layer.",
             ("claim-2",)),
    Sentence("Real networks often have such a mixture in one layer.", (), COUNTS),
    Sentence(
        "The fraction of InceptionV1's neurons that are polysemantic increases with depth.",
        ("claim-3-labels", "claim-3-real"),
        "InceptionV1 itself, whose weights come in no package; other networks stand in for it",
    ),
    Sentence("A natural explanation: higher-level features are rarer.", ("claim-3-premise", "claim-3-toy")),
    Sentence("Superposition and polysemanticity increase as sparsity increases.",
             ("sparsity", "knob-strongest")),
    Sentence("Neurons in the first MLP of transformer language models are often extremely polysemantic.",
             ("claim-4-real", "lexical-first", "one-neuron-real")),
    Sentence("If that layer tells interpretations of a token apart, features are very sparse, and the toy "
             "predicts much polysemanticity.", ("claim-4-toy", "lexical-words", "spelling-real")),
    Sentence("Not everything about the toy reflects real networks.", ("packed-real", "room-real")),
    Sentence("Superposition is likely to generalise.", ("packed-real", "room-real"),
             "of features other than tokens and classes; " + COUNTS),
    Sentence("So are monosemantic against polysemantic neurons.",
             ("claim-3-labels", "claim-4-real", "classes-real"),
             "both kinds side by side in one real layer; " + COUNTS),
    Sentence("Perhaps the relationship to adversarial examples is, too.",
             ("adversarial", "adversarial-neurons"),
             "in real networks: it would need some that differ in superposition alone"),
    Sentence("Geometry is much more uncertain.", ("geometry", "geometry-snap", "geometry-correlated"),
             "in real networks: tokens are far too many to a dimension for regular shapes"),
    Sentence("So are learning dynamics.", ("dynamics", "dynamics-triples"), f"in real networks: {TRAINING}"),
    Sentence("The superposition hypothesis is true in certain toy models.", ("models", "sharing-needed")),
    Sentence("Open question: is there a statistical test for superposition?", ("open-test",)),
    Sentence("Open question: can superposition be controlled?", ("open-control", "adversarial-training")),
    Sentence("Open question: are there closed-form solutions?", ("open-closed-form",)),
    Sentence("Open question: how realistic are the toys? Do layers compute in superposition?",
             ("computed-superposition", "computed-mixing"), "in real networks, whose task is not known"),
    Sentence("Open question: what are the curves of importance and sparsity of real networks?", (),
             "the features of a real layer are not known, nor can an instrument that passes name them"),
    Sentence("Open question: which definition of polysemanticity is principled?",
             ("sharing-with-room", "instrument-book", "instrument-planted")),
    Sentence("Open question: how many features fit?", ("open-capacity",),
             "in real networks, whose features can't be counted"),
    Sentence("Open question: can features be recovered?", ("open-recovery", "instrument-trained")),
    Sentence("Open question: does scale help?", ("open-scale", "computed-scaling"),
             f"in real networks: {ONE_SIZE}"),
)  # fmt: skip
