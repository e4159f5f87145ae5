// The view of guesses.py.

function render({ model, el }) {
  el.classList.add("lesson-widget");
  el.innerHTML = `
    <form class="lesson-box" data-tone="note">
      <div class="lesson-title">Guess, then measure</div>
      <label class="lesson-question"></label>
      <div class="lesson-row">
        <input type="number" class="lesson-number" step="any" required>
        <span class="lesson-unit"></span>
        <button class="lesson-button"></button>
      </div>
      <div role="status" class="lesson-told"></div>
    </form>`;
  const [form, input, button, told] = ["form", "input", "button", ".lesson-told"].map((s) => el.querySelector(s));
  const [low, high, unit] = [model.get("low"), model.get("high"), model.get("unit")];
  const question = el.querySelector("label");
  question.innerHTML = model.get("question");
  question.htmlFor = input.id = `lesson-${Math.random().toString(36).slice(2)}`;
  el.querySelector(".lesson-unit").textContent = unit;
  Object.assign(input, { min: low, max: high, placeholder: `${low} to ${high}` });

  // Keys belong to the widget: JupyterLab looks for this mark on the very element that has the focus.
  el.querySelectorAll("button, input, canvas").forEach((part) => (part.dataset.lmSuppressShortcuts = "true"));

  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // JupyterLab keeps browsers from doing this by themselves
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault(); // reached only if the browser finds the number in range
    model.set("value", input.valueAsNumber);
    model.save_changes();
  });

  function update() {
    const value = model.get("value");
    const problem = model.get("problem");
    if (value !== null) input.value = value;
    told.textContent = problem || (value === null ? "" : `Your guess is kept: ${value} ${unit}`.trim() + ".");
    button.textContent = value === null ? "Keep my guess" : "Change my guess";
  }

  const names = ["value", "problem"];
  names.forEach((name) => model.on(`change:${name}`, update));
  update();
  return () => names.forEach((name) => model.off(`change:${name}`, update));
}

export default { render };
