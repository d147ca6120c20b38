// The buttons over the cards of claims; a page without JavaScript shows all cards and no buttons.
for (const box of document.querySelectorAll(".tl-claims")) {
  const chosen = {world: "all", verdict: "all"}, cards = [...box.querySelectorAll(".tl-card")];
  const bar = box.querySelector(".tl-filters"), count = box.querySelector(".tl-shown");
  const show = () => {
    for (const card of cards) card.hidden = Object.entries(chosen).some(([key, value]) => value !== "all" && card.dataset[key] !== value);
    for (const button of bar.querySelectorAll("button")) button.setAttribute("aria-pressed", chosen[button.dataset.key] === button.value);
    count.textContent = `${cards.filter(card => !card.hidden).length} of ${cards.length} claims`;
  };
  bar.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (button) chosen[button.dataset.key] = button.value, show();
  });
  bar.hidden = false;
  show();
}
