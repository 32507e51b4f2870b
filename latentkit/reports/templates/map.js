// The map: what is drawn, and how pointer, wheel and keyboard move over it.

const $ = (name) => document.getElementById(`map-${name}`);
const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const near = 20, boxStep = 24, click = 4; // CSS pixels: to be meant, that a key widens a box by, that a click may slip

class SampleMap {
  constructor(data, block) {
    this.data = data;
    for (const field of data.fields) field.values = block.subarray(field.at, field.at + data.n);
    this.latents = block.subarray(data.latents, data.latents + data.n * data.dim);
    this.planes = data.layouts.map(({ at }) => new Plane(block.subarray(at, at + data.n),
      block.subarray(at + data.n, at + 2 * data.n)));
    for (const way of data.curves.flatMap((curve) => curve.ways)) {
      way.places = block.subarray(way.at, way.at + 2 * way.count);
    }
    this.canvas = $("canvas");
    this.painter = new Painter($("points"));
    this.state = new Uint8Array(data.n); // 0 not shown, 1 pale, 2 shown
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.cursor = -1; // the sample that is looked at
    this.only = -1; // the group that is shown alone
    this.box = null;
    this.hiddenCurves = new Set();
    this.mode = matchMedia("(pointer: coarse)").matches ? "" : "choose"; // a finger scrolls the page at first
    this.pointers = new Map();
    this.chosen = new Chosen(this);
    this.fill();
    this.listen();
    this.colour();
  }

  get plane() { return this.planes[Math.max($("layout").selectedIndex, 0)]; }
  get field() { return this.data.fields[$("colour").selectedIndex]; }
  // What the threshold is of: what is shown, or of groups the first field that has one.
  get cut() { return this.field.names ? this.data.fields.find((f) => f.cut) : this.field; }

  latent(i) { return this.latents.subarray(i * this.data.dim, (i + 1) * this.data.dim); }
  say(text) { $("said").textContent = text; }
  taken = (i) => this.state[i] === 2;

  // Return what is known of a sample, a line each: the fields that always count, and what it is coloured by.
  told(i) {
    const shown = this.data.fields.filter((f) => f.main || f === this.field);
    const of = (f) => f.names ? (f.values[i] < 0 ? "none" : f.names[f.values[i]]) : f.values[i].toFixed(2);
    return [`latent ${i} of seed ${this.data.seed}`, ...shown.map((f) => `${f.name} ${of(f)}`)];
  }

  // Draw a sample's thumbnail over all of a canvas.
  thumbnail(canvas, i) {
    const { side, columns } = this.data, pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage($("atlas"), (i % columns) * side, Math.floor(i / columns) * side, side, side,
      0, 0, canvas.width, canvas.height);
  }

  fill() {
    for (const { name } of this.data.layouts) $("layout").add(new Option(name));
    for (const { name } of this.data.fields) $("colour").add(new Option(name));
    $("layout").parentElement.hidden = this.data.layouts.length < 2;
    for (const curve of this.data.curves) {
      $("curves").append(this.button(curve.name, curve.colour, true, (button) => {
        const shown = this.hiddenCurves.delete(curve) || !this.hiddenCurves.add(curve);
        button.setAttribute("aria-pressed", String(shown));
        this.mark();
      }));
    }
    $("curves").hidden = !this.data.curves.length;
  }

  button(text, colour, pressed, act) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.style.setProperty("--dot", colour);
    button.setAttribute("aria-pressed", String(pressed));
    button.addEventListener("click", () => act(button));
    return button;
  }

  // Take another field: its legend, its threshold, its colours.
  colour() {
    const { field, cut } = this;
    this.only = -1;
    this.legend();
    $("threshold-label").hidden = !cut;
    if (cut && cut !== this.cutting) {
      const slider = $("threshold");
      [slider.min, slider.max, slider.step] = [cut.low, cut.high, (cut.high - cut.low) / 100 || 0.01];
      slider.value = cut.low;
      $("threshold-name").textContent = cut.name;
    }
    this.cutting = cut;
    $("scale").hidden = Boolean(field.names);
    if (!field.names) {
      const stops = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((k) => `rgb(${ramp(k / 8, this.dark.matches)})`);
      $("scale-bar").style.background = `linear-gradient(90deg, ${stops})`;
      [$("scale-low").textContent, $("scale-high").textContent] = [field.low, field.high].map((v) => v.toFixed(2));
    }
    this.sift();
  }

  legend() {
    const { field } = this, names = field.names ?? [];
    const colours = field.names ? groupColours(field, this.shade("--ink")).map((c) => `rgb(${c})`) : [];
    $("legend").replaceChildren(...names.map((name, k) => this.button(name, colours[k], false, () => {
      this.only = this.only === k ? -1 : k;
      for (const [j, other] of [...$("legend").children].entries()) {
        other.setAttribute("aria-pressed", String(j === this.only));
      }
      this.sift();
    })));
    $("legend").hidden = !names.length;
  }

  shade(name) { return parts(getComputedStyle(document.documentElement).getPropertyValue(name).trim()); }

  // Decide which samples are shown, pale or hidden.
  sift() {
    const { field, cut, only, state } = this, level = cut ? Number($("threshold").value) : 0;
    const whole = !cut || level <= cut.low; // at its lowest the threshold cuts nothing, values below what is drawn neither
    let seen = 0;
    for (let i = 0; i < state.length; i++) {
      state[i] = only >= 0 && field.values[i] !== only ? 0 : whole || cut.values[i] >= level ? 2 : 1;
      if (state[i] === 2) seen++;
    }
    if (this.cursor >= 0 && state[this.cursor] !== 2) this.look(-1);
    $("count").textContent = `${seen} of ${this.data.n} samples`;
    $("threshold-value").textContent = level.toFixed(2);
    this.draw();
  }

  // Draw anew at the next frame, however often it is asked for until then.
  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.paint(); });
  }

  paint() {
    const { canvas, plane, painter } = this, w = canvas.clientWidth, h = canvas.clientHeight;
    const ratio = Math.min(window.devicePixelRatio || 1, 2), dark = this.dark.matches && !this.printing;
    const paper = this.shade("--map"), ink = this.shade("--ink");
    const radius = Math.min((this.data.n > 20000 ? 1.2 : this.data.n > 5000 ? 1.7 : 2.6) * Math.sqrt(plane.zoom), 6);
    plane.fit(w, h);
    painter.fit(w, h, ratio, radius);
    painter.draw(plane, this.state, painted(this.field, ink, dark), pixel(paper), pixel(mixed(paper, ink, 0.13)));
    this.mark();
  }

  // Draw what lies over the points: curves, what is chosen, what is looked at, and a box.
  mark() {
    const { canvas, plane } = this, { ratio } = this.painter, pen = canvas.getContext("2d");
    if (!ratio) return; // nothing has been painted yet
    [canvas.width, canvas.height] = [this.painter.width, this.painter.height];
    pen.scale(ratio, ratio);
    for (const curve of this.data.curves) if (!this.hiddenCurves.has(curve)) this.way(pen, curve);
    const accent = `rgb(${this.shade("--mark")})`;
    const ring = (i, radius, width) => {
      pen.beginPath();
      pen.arc(...plane.at(i), radius, 0, 7);
      pen.lineWidth = width;
      pen.strokeStyle = accent;
      pen.stroke();
    };
    for (const i of this.chosen.rows) ring(i, 4, 1);
    if (this.cursor >= 0) ring(this.cursor, 7, 2.2);
    if (this.box) {
      const [x0, y0, x1, y1] = this.box;
      pen.strokeStyle = pen.fillStyle = accent;
      pen.lineWidth = 1.5;
      pen.globalAlpha = 0.12;
      pen.fillRect(x0, y0, x1 - x0, y1 - y0);
      pen.globalAlpha = 1;
      pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
  }

  // Draw a curve; where the layout is torn it is dotted, with a cross at either end of the jump.
  way(pen, { ways, colour }) {
    const { plane } = this, { places, count, torn } = ways[this.planes.indexOf(plane)];
    const at = (t) => [plane.across(places[2 * t]), plane.down(places[2 * t + 1])];
    const paper = `rgb(${this.shade("--map")})`, jumps = new Set(torn);
    for (const [ink, width] of [[paper, 4.5], [colour, 2]]) {
      pen.strokeStyle = ink;
      pen.lineWidth = width;
      for (let t = 0; t + 1 < count; t++) {
        pen.setLineDash(jumps.has(t) ? [1.5, 4] : []);
        pen.beginPath();
        pen.moveTo(...at(t));
        pen.lineTo(...at(t + 1));
        pen.stroke();
      }
      pen.setLineDash([]);
      for (const [x, y] of torn.flatMap((t) => [at(t), at(t + 1)])) {
        pen.beginPath();
        for (const turn of [1, -1]) { pen.moveTo(x - 4, y - 4 * turn); pen.lineTo(x + 4, y + 4 * turn); }
        pen.stroke();
      }
    }
    pen.fillStyle = colour;
    for (const t of [0, count - 1]) { pen.beginPath(); pen.arc(...at(t), 4, 0, 7); pen.fill(); }
  }

  // Look at a sample, or at none: its thumbnail and what is known of it.
  look(i) {
    this.cursor = i;
    const tip = $("tip"), { canvas } = this;
    tip.hidden = i < 0;
    if (i >= 0) {
      if (this.data.side) this.thumbnail($("thumb"), i);
      $("text").textContent = this.told(i).join("\n");
      const [x, y] = this.plane.at(i);
      const beside = (at, size, room) => Math.max(0, at + 14 + size > room ? Math.min(at - 14 - size, room - size) : at + 14);
      tip.style.left = `${beside(x, tip.offsetWidth, canvas.clientWidth)}px`;
      tip.style.top = `${beside(y, tip.offsetHeight, canvas.clientHeight)}px`;
    }
    this.mark();
  }

  // Choose what lies in the box, as well as what was or instead of it, and take the box away.
  close(more) {
    const found = this.plane.inside(this.box, this.taken);
    this.box = null;
    if (more) this.chosen.add(found);
    else this.chosen.take(found);
  }

  zoom(factor, x, y) {
    this.plane.enlarge(factor, x, y);
    if (this.cursor >= 0) this.look(this.cursor);
    this.draw();
  }

  take(mode) {
    this.mode = this.mode === mode ? "" : mode;
    for (const name of ["choose", "move"]) $(name).setAttribute("aria-pressed", String(this.mode === name));
    this.canvas.style.touchAction = this.mode ? "none" : "pan-y";
  }
}
