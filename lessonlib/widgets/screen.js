// The view of `Screen` in redrawing.py.

const SHOWN = 360; // CSS pixels: smaller pictures are enlarged to this; two fit beside each other

function render({ model, el }) {
  el.classList.add("lesson-widget");
  el.innerHTML = `
    <figure class="lesson-screen">
      <img>
      <figcaption class="lesson-rate"></figcaption>
      <div role="alert" class="lesson-problem"></div>
    </figure>`;
  const [img, rate, problem] = ["img", ".lesson-rate", ".lesson-problem"].map((selector) => el.querySelector(selector));
  let address = null;

  img.addEventListener("load", () => {
    const side = Math.max(img.naturalWidth, img.naturalHeight);
    img.style.width = `${img.naturalWidth * Math.max(1, SHOWN / side)}px`;
  });

  function show() {
    const before = address;
    address = URL.createObjectURL(new Blob([model.get("png")], { type: "image/png" }));
    img.src = address;
    if (before) URL.revokeObjectURL(before);
  }

  function say() {
    img.alt = model.get("alt");
    rate.textContent = model.get("rate");
    problem.textContent = model.get("problem");
  }

  const words = ["alt", "rate", "problem"];
  model.on("change:png", show);
  words.forEach((name) => model.on(`change:${name}`, say));
  show();
  say();
  return () => {
    URL.revokeObjectURL(address);
    model.off("change:png", show);
    words.forEach((name) => model.off(`change:${name}`, say));
  };
}

export default { render };
