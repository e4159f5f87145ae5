// The view of quizzes.py. What it shows was escaped there; which choice is right arrives after one was made.

const MARKS = { right: "✓", wrong: "✗", none: "" };

function render({ model, el }) {
  el.classList.add("lesson-widget");
  el.innerHTML = `
    <div role="group" class="lesson-box">
      <div class="lesson-title">Predict, then run</div>
      <div class="lesson-question"></div>
      <div class="lesson-choices"></div>
      <div role="status" class="lesson-told"></div>
      <button type="button" class="lesson-button lesson-again">Answer again</button>
    </div>`;
  const [group, question, choices, told, again] = [".lesson-box", ".lesson-question", ".lesson-choices", ".lesson-told",
    ".lesson-again"].map((selector) => el.querySelector(selector));
  question.id = `lesson-${Math.random().toString(36).slice(2)}`;
  group.setAttribute("aria-labelledby", question.id);
  question.innerHTML = model.get("question");

  const buttons = model.get("choices").map((text, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "lesson-choice";
    button.innerHTML = `<span class="lesson-mark"></span><span>${text}</span><span class="lesson-yours"></span>`;
    button.addEventListener("click", () => model.get("choice") === null && choose(index));
    choices.append(button);
    return button;
  });

  // Keys belong to the widget: JupyterLab looks for this mark on the very element that has the focus.
  el.querySelectorAll("button, input, canvas").forEach((part) => (part.dataset.lmSuppressShortcuts = "true"));

  function choose(index) {
    model.set("choice", index);
    model.save_changes();
  }

  again.addEventListener("click", () => {
    choose(null);
    buttons[0].focus();
  });

  function update() {
    const [choice, right] = [model.get("choice"), model.get("right")];
    const answered = choice !== null && right !== null;
    buttons.forEach((button, index) => {
      const verdict = !answered ? "none" : index === right ? "right" : index === choice ? "wrong" : "none";
      button.dataset.verdict = verdict;
      button.setAttribute("aria-pressed", String(index === choice));
      button.setAttribute("aria-disabled", String(choice !== null)); // not `disabled`: it can still be read
      button.querySelector(".lesson-mark").textContent = MARKS[verdict];
      button.querySelector(".lesson-yours").textContent = answered && index === choice ? "your prediction" : "";
    });
    group.dataset.tone = !answered ? "note" : choice === right ? "good" : "bad";
    told.replaceChildren();
    if (answered) told.innerHTML = `<strong>${choice === right ? "Right." : "Not quite."}</strong> ${model.get("why")}`;
    const problem = model.get("problem");
    if (problem) told.append(Object.assign(document.createElement("div"), { textContent: problem }));
    again.hidden = !answered;
  }

  const names = ["choice", "right", "why", "problem"];
  names.forEach((name) => model.on(`change:${name}`, update));
  update();
  return () => names.forEach((name) => model.off(`change:${name}`, update));
}

export default { render };
