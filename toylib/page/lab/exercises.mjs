// Exercises that check themselves: what is asked, and whether the model in hand does it. It stands after pictures.mjs.

// --- exercises -------------------------------------------------------------------------------------------
// JSON: toylib/page/lab/__init__.py reads it from here. A place is where an exercise is set: the front page, the
// tutorial, whose small labs have the sliders named, or the lab's own list.

export const EXERCISES = {
  "front": {
    "place": "front", "title": "Five features, two dimensions", "ask": "", "sliders": {"sparsity": []},
    "state": {"preset": "pentagon"}
  },
  "one": {
    "place": "tutorial", "title": "One feature, one dimension", "sliders": {},
    "ask": "Train it, several times. How long does the arm become, and does it matter where it points?",
    "state": {"preset": "two-features", "n": 1, "m": 1, "sparsity": 0.5, "steps": 500, "seed": 1}
  },
  "pair": {
    "place": "tutorial", "title": "Two features, one dimension", "sliders": {"sparsity": []},
    "ask": "Train it, and see who is left out. Then raise the sparsity until both features are represented.",
    "state": {"preset": "two-features", "n": 2, "m": 1, "sparsity": 0, "steps": 1000, "seed": 5}
  },
  "pentagon": {
    "place": "tutorial", "title": "Five features, two dimensions", "sliders": {},
    "ask": "Five arms in a plane. Before you press: where will they go? Train until all five are represented.",
    "state": {"preset": "pentagon"}
  },
  "pairs": {
    "place": "tutorial", "title": "Five features, ever denser", "sliders": {"sparsity": []},
    "ask": "Lower the sparsity until exactly one feature is left out. Which one, and how do the others lie? Then go on, to 0%.",
    "state": {"preset": "pentagon"}
  },
  "neurons": {
    "place": "tutorial", "title": "Ten features, five neurons", "sliders": {"sparsity": []},
    "ask": "At 50% sparsity every neuron is clean. Raise it until clean and shared neurons stand side by side. What is in the shared ones?",
    "state": {"preset": "clean-neurons", "seed": 1}
  },
  "room": {
    "place": "tutorial", "title": "Six features to copy", "sliders": {"m": [2, 12]},
    "ask": "All three neurons are shared. Give every feature a neuron of its own. Is the sharing gone?",
    "state": {"preset": "both-kinds", "n": 6, "m": 3, "sparsity": 0.9, "decay": 0.9, "seed": 0}
  },
  "compute": {
    "place": "tutorial", "title": "Four absolute values to compute", "sliders": {"m": [2, 12]},
    "ask": "The same with absolute values, which take two neurons each. How many neurons until none is shared?",
    "state": {"preset": "absolute-pairs", "n": 4, "m": 4, "sparsity": 0.9, "seed": 0}
  },
  "five": {
    "place": "lab", "title": "Five in a plane",
    "ask": "Five features that are always active fill two dimensions with two of them. Make all five represented in two dimensions.",
    "state": {"preset": "two-features"}
  },
  "give-way": {
    "place": "lab", "title": "The pentagon gives way",
    "ask": "At which density do two antipodal pairs take the pentagon's place? Lower the sparsity step by step.",
    "state": {"preset": "pentagon"}
  },
  "clean": {
    "place": "lab", "title": "A clean neuron",
    "ask": "Ten features share five neurons. Make one neuron clean while another stays shared; keep their numbers.",
    "state": {"preset": "shared-neurons"}
  },
  "unneeded": {
    "place": "lab", "title": "Sharing that nothing needs",
    "ask": "Give room: a layer at 90% sparsity in which every feature could have a neuron of its own, and neurons are shared all the same.",
    "state": {"preset": "both-kinds", "sparsity": 0.9}
  },
  "memory": {
    "place": "lab", "title": "Clean where training shares",
    "ask": "Six features, six neurons, 90% sparse: ordinary starts share. Lead a layer there that represents all six and shares no neuron; a change of sparsity goes on from the weights there are.",
    "state": {"preset": "both-kinds", "n": 6, "m": 6, "sparsity": 0.9, "decay": 0.9, "seed": 0}
  },
  "fewer": {
    "place": "lab", "title": "Three absolute values, five neurons",
    "ask": "An absolute value takes a pair of neurons. Take one of the six away, and make all three features represented again.",
    "state": {"preset": "absolute-pairs", "m": 5}
  }
};

/** The model must be this; what is not named is free. The first control that says otherwise is told. */
const asked = (model, wanted) => {
  const wrong = Object.keys(wanted).find(key => model[key] !== wanted[key]);
  return [!wrong, wrong && `set ${{task: "Model", n: "Features", m: "Hidden units"}[wrong]} to ${TASKS[wanted[wrong]] ?? wanted[wrong]}`];
};
const allRepresented = ({n}, {nRepresented}) => [nRepresented === n, `${nRepresented} of ${plural(n, "feature")} represented`];
const noneShared = (model, {counts}) => [counts[2] === 0, `${plural(counts[2], "neuron")} shared`];
const sparse = ({sparsity}) => [sparsity >= 0.9, `${percent(sparsity)} sparse`];

/** What each exercise needs of a model, as [whether it is so, what is missing]; the first that fails is told. */
const NEEDS = {
  front: (model, seen) => [allRepresented(model, seen)],
  one: model => [[Math.abs(norm(armOf(model, 0)) - 1) < 0.05, `the arm has length ${norm(armOf(model, 0)).toFixed(2)}`]],
  pair: (model, seen) => [allRepresented(model, seen)],
  pentagon: (model, seen) => [allRepresented(model, seen)],
  pairs: ({n}, {nRepresented}) => [[nRepresented === n - 1, `${nRepresented} of ${n} represented, not ${n - 1}`]],
  neurons: (model, {counts}) => [[counts[1] > 0 && counts[2] > 0, counts[2] ? "no neuron is clean" : "no neuron is shared"]],
  room: ({n, m}) => [[m >= n, `${plural(m, "neuron")} for ${plural(n, "feature")}`]],
  compute: (model, seen) => [allRepresented(model, seen), noneShared(model, seen)],
  five: (model, seen) => [asked(model, {task: "output", n: 5, m: 2}), allRepresented(model, seen)],
  "give-way": (model, seen) => {
    const shape = arrangement(model, seen.represented), words = `${seen.nRepresented} of 5 represented${shape && `, ${shape}`}`;
    return [asked(model, {task: "output", n: 5, m: 2}), [shape === "two antipodal pairs at right angles", words]];
  },
  clean: (model, {counts}) => [asked(model, {task: "copy", n: 10, m: 5}), [counts[1] > 0, "no neuron is clean"], [counts[2] > 0, "no neuron is shared"]],
  unneeded: (model, {counts}, state) => [
    asked(model, {task: "copy"}), sparse(state), [model.n <= model.m, `${plural(model.m, "neuron")} for ${plural(model.n, "feature")}: no room`], [counts[2] > 0, "no neuron is shared"],
  ],
  memory: (model, seen, state) => [asked(model, {task: "copy", n: 6, m: 6}), sparse(state), allRepresented(model, seen), noneShared(model, seen)],
  fewer: (model, seen) => [asked(model, {task: "absolute", n: 3, m: 5}), allRepresented(model, seen)],
};

/** Whether the model in hand does what an exercise asks, and what is missing or has been found, in words. */
export function answered(name, trainer, seen) {
  const {model, state} = trainer;
  if (!trainer.total && !trainer.given) return {done: false, words: "not trained yet"};
  if (!trainer.finished) return {done: false, words: "training"};
  const missing = NEEDS[name](model, seen, state).find(([met]) => !met);
  if (missing) return {done: false, words: missing[1]};
  const held = name === "one" ? NEEDS.one(model)[0][1] : found(model, seen);
  return {done: true, words: `${held}; ${percent(state.sparsity)} sparse, density ${short(1 - state.sparsity)}`};
}
