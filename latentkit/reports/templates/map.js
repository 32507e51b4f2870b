"use strict";
(() => {
  const holder = document.getElementById("map-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const canvas = document.getElementById("map-canvas");
  const atlas = document.getElementById("map-atlas");
  const tip = document.getElementById("map-tip");
  const thumb = document.getElementById("map-thumb");
  const text = document.getElementById("map-text");
  const choice = document.getElementById("map-colour");
  const slider = document.getElementById("map-threshold");
  const label = document.getElementById("map-threshold-label");
  const shown = document.getElementById("map-threshold-value");
  const count = document.getElementById("map-count");
  const legend = document.getElementById("map-legend");
  const classes = data.fields.find((f) => f.names);
  const n = data.x.length;
  let selected = -1, only = -1; // the sample and the class that are looked at

  for (const field of data.fields) choice.add(new Option(field.name));

  // Viridis at nine even steps (Smith and van der Walt 2015), mixed linearly in between.
  const ramp = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
    [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const colour = (v) => {
    const s = Math.min(Math.max(v, 0), 1) * (ramp.length - 1);
    const i = Math.min(Math.floor(s), ramp.length - 2);
    const mix = (k) => Math.round(ramp[i][k] + (s - i) * (ramp[i + 1][k] - ramp[i][k]));
    return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
  };

  const field = () => data.fields[choice.selectedIndex];
  const place = () => {
    const w = canvas.clientWidth, h = canvas.clientHeight, edge = 14;
    const scale = Math.min((w - 2 * edge) / data.width, (h - 2 * edge) / data.height);
    return {
      x: (i) => w / 2 + (data.x[i] - data.width / 2) * scale,
      y: (i) => h / 2 - (data.y[i] - data.height / 2) * scale,
    };
  };
  const visible = (i) => (only < 0 || classes.values[i] === only)
    && (!field().cut || field().values[i] >= Number(slider.value));
  const paint = (f, v) => f.colours ? f.colours[v] : colour((v - f.low) / Math.max(f.high - f.low, 1e-9));

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    const ink = canvas.getContext("2d");
    ink.scale(ratio, ratio);
    const at = place(), r = n > 8000 ? 1.6 : 2.6;
    let seen = 0;
    for (let i = 0; i < n; i++) {
      if (!visible(i)) continue;
      seen++;
      ink.fillStyle = paint(field(), field().values[i]);
      ink.beginPath();
      ink.arc(at.x(i), at.y(i), r, 0, 7);
      ink.fill();
    }
    if (selected >= 0) {
      ink.strokeStyle = "#d55e00";
      ink.lineWidth = 2;
      ink.beginPath();
      ink.arc(at.x(selected), at.y(selected), r + 4, 0, 7);
      ink.stroke();
    }
    count.textContent = `${seen} of ${n} samples`;
    shown.textContent = Number(slider.value).toFixed(2);
  }

  function select(i) {
    selected = i;
    tip.hidden = i < 0;
    if (i >= 0) {
      const pen = thumb.getContext("2d"), side = data.side;
      pen.imageSmoothingEnabled = false;
      pen.drawImage(atlas, (i % data.columns) * side, Math.floor(i / data.columns) * side, side, side, 0, 0, 128, 128);
      text.textContent = [`latent ${i} of seed ${data.seed}`,
        ...data.fields.map((f) => `${f.name} ${f.names ? f.names[f.values[i]] : f.values[i].toFixed(2)}`)].join("\n");
      const at = place();
      tip.style.left = `${Math.max(0, Math.min(at.x(i) + 14, canvas.clientWidth - tip.offsetWidth))}px`;
      tip.style.top = `${Math.max(0, Math.min(at.y(i) + 14, canvas.clientHeight - tip.offsetHeight))}px`;
    }
    draw();
  }

  function nearest(px, py, limit) {
    const at = place();
    let best = -1, least = limit * limit;
    for (let i = 0; i < n; i++) {
      if (!visible(i)) continue;
      const d = (at.x(i) - px) ** 2 + (at.y(i) - py) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }

  function step(dx, dy) {
    const at = place();
    if (selected < 0) return select(nearest(canvas.clientWidth / 2, canvas.clientHeight / 2, Infinity));
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i++) {
      if (i === selected || !visible(i)) continue;
      const x = at.x(i) - at.x(selected), y = at.y(i) - at.y(selected);
      const along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx);
      if (along > 0 && along + 3 * across < least) { least = along + 3 * across; best = i; }
    }
    if (best >= 0) select(best);
  }

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    select(nearest(event.clientX - box.left, event.clientY - box.top, 20));
  });
  canvas.addEventListener("pointerleave", () => select(-1));
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return select(-1);
    if (!(event.key in arrows)) return;
    event.preventDefault();
    step(...arrows[event.key]);
  });
  choice.addEventListener("change", () => {
    const { low, high, cut } = field();
    label.hidden = !cut;
    slider.min = low; slider.max = high; slider.step = (high - low) / 100 || 0.01; slider.value = low;
    draw();
  });
  for (const [k, name] of (classes ? classes.names : []).entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.style.setProperty("--dot", classes.colours[k]);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      only = only === k ? -1 : k;
      for (const [j, other] of [...legend.children].entries()) other.setAttribute("aria-pressed", String(j === only));
      select(-1);
    });
    legend.append(button);
    legend.hidden = false;
  }
  slider.addEventListener("input", () => { selected = -1; tip.hidden = true; draw(); });
  window.addEventListener("resize", draw);
  atlas.addEventListener("load", draw);
  choice.dispatchEvent(new Event("change"));
})();
