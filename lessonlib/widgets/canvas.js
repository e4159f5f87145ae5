// The view of canvas.py: it draws the same marks, and adds to them.

const SHOWN = 360; // CSS pixels: smaller pictures are enlarged to this; two fit beside each other

function render({ model, el }) {
  el.classList.add("lesson-widget");
  el.innerHTML = `
    <div class="lesson-canvas">
      <canvas tabindex="0" role="img"></canvas>
      <div class="lesson-row">
        <label class="lesson-brush">Brush <input type="range" min="1" step="1"><output></output></label>
        <button type="button" class="lesson-button">Undo</button>
        <button type="button" class="lesson-button">Clear</button>
      </div>
    </div>`;
  const [canvas, brush, shown] = ["canvas", "input", "output"].map((selector) => el.querySelector(selector));
  const [undo, clear] = el.querySelectorAll("button");
  const [width, height] = [model.get("width"), model.get("height")];
  const zoom = Math.max(1, SHOWN / Math.max(width, height));
  const fine = zoom * window.devicePixelRatio; // dots of the screen for a pixel of the picture
  Object.assign(canvas, { width: Math.round(width * fine), height: Math.round(height * fine) });
  canvas.style.width = `${width * zoom}px`;
  canvas.style.aspectRatio = `${width} / ${height}`;
  canvas.setAttribute("aria-label", `Canvas of ${width} by ${height} pixels: draw with mouse, pen or finger`);
  brush.max = Math.max(8, Math.round(Math.min(width, height) / 12));

  // Keys belong to the widget: JupyterLab looks for this mark on the very element that has the focus.
  el.querySelectorAll("button, input, canvas").forEach((part) => (part.dataset.lmSuppressShortcuts = "true"));

  const context = canvas.getContext("2d");
  context.scale(fine, fine);
  Object.assign(context, { lineCap: "round", lineJoin: "round", strokeStyle: "white", fillStyle: "black" });

  const example = new Image();
  const address = URL.createObjectURL(new Blob([model.get("example")], { type: "image/png" }));
  example.onload = draw;
  example.src = address;

  let stroke = null; // the mark being drawn

  function draw() {
    const marks = model.get("marks");
    const begin = marks.findLastIndex((mark) => mark.clear) + 1;
    context.fillRect(0, 0, width, height);
    if (begin === 0 && example.complete) context.drawImage(example, 0, 0, width, height);
    [...marks.slice(begin), ...(stroke ? [stroke] : [])].forEach(({ width: thick, points }) => {
      context.lineWidth = thick;
      context.beginPath();
      context.moveTo(points[0], points[1]);
      for (let i = 0; i < points.length; i += 2) context.lineTo(points[i], points[i + 1]);
      context.stroke();
    });
    undo.disabled = marks.length === 0;
  }

  function change(marks) {
    model.set("marks", marks);
    model.save_changes();
  }

  function add(event) {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    const [lastX, lastY] = stroke.points.slice(-2);
    if (stroke.points.length === 0 || Math.hypot(x - lastX, y - lastY) >= 0.5)
      stroke.points.push(Math.round(x * 10) / 10, Math.round(y * 10) / 10);
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId); // a stroke may leave the canvas and come back
    stroke = { width: model.get("brush"), points: [] };
    add(event);
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke || !event.isPrimary) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    (moves.length ? moves : [event]).forEach(add);
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!stroke || !event.isPrimary) return;
    const finished = stroke;
    stroke = null;
    change([...model.get("marks"), finished]);
  });
  canvas.addEventListener("pointercancel", () => {
    stroke = null;
    draw();
  });

  const takeBack = () => change(model.get("marks").slice(0, -1));
  undo.addEventListener("click", takeBack);
  clear.addEventListener("click", () => change([...model.get("marks"), { clear: true }]));
  el.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      event.preventDefault();
      if (model.get("marks").length) takeBack();
    }
  });

  function setBrush() {
    brush.value = model.get("brush");
    shown.textContent = `${brush.value} px`;
  }
  brush.addEventListener("input", () => {
    model.set("brush", brush.valueAsNumber);
    model.save_changes();
  });

  model.on("change:marks", draw);
  model.on("change:brush", setBrush);
  setBrush();
  draw();
  return () => {
    URL.revokeObjectURL(address);
    model.off("change:marks", draw);
    model.off("change:brush", setBrush);
  };
}

export default { render };
