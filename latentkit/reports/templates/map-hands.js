// Hands: what pointer, wheel, keyboard, buttons and the window do to the map.

Object.assign(SampleMap.prototype, {
  listen() {
    const { canvas } = this;
    $("colour").addEventListener("change", () => this.colour());
    $("layout").addEventListener("change", () => { this.look(-1); this.draw(); });
    $("threshold").addEventListener("input", () => this.sift());
    for (const mode of ["choose", "move"]) $(mode).addEventListener("click", () => this.take(mode));
    $("in").addEventListener("click", () => this.zoom(1.6));
    $("out").addEventListener("click", () => this.zoom(1 / 1.6));
    $("whole").addEventListener("click", () => { this.plane.whole(); this.zoom(1); });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => { this.pointers.delete(event.pointerId); this.drag = null; });
    canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && !this.drag) this.look(-1); });
    canvas.addEventListener("wheel", (event) => {
      // A page that is scrolled past the map must not stop there: it has to be clicked first, or Ctrl held.
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      this.zoom(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) / 240), ...this.place(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("blur", () => { this.box = null; this.look(-1); });
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.dark.addEventListener("change", () => this.colour());
    // Paper is white: the colours are those of the light page while it is printed.
    for (const [name, printing] of [["beforeprint", true], ["afterprint", false]]) {
      window.addEventListener(name, () => {
        document.documentElement.classList.toggle("paper", printing);
        this.printing = printing;
        this.paint();
      });
    }
    const { mode } = this;
    this.mode = "";
    this.take(mode);
  },

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  },

  down(event) {
    const [x, y] = this.place(event);
    this.pointers.set(event.pointerId, [x, y]);
    this.canvas.setPointerCapture(event.pointerId);
    this.box = null;
    const moves = this.mode === "move" || event.button === 1 || (!this.mode && event.pointerType !== "mouse");
    this.drag = this.pointers.size > 1 ? { pinch: true } : { moves, x, y, far: false };
  },

  moved(event) {
    const [x, y] = this.place(event), before = this.pointers.get(event.pointerId), { drag } = this;
    if (!before || !drag) {
      if (event.pointerType === "mouse") this.look(this.plane.nearest(x, y, near, this.taken));
      return;
    }
    if (drag.pinch) {
      const apart = () => { const [a, b] = [...this.pointers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
      const old = apart();
      this.pointers.set(event.pointerId, [x, y]);
      if (this.pointers.size > 1) {
        const [a, b] = [...this.pointers.values()];
        this.plane.move((x - before[0]) / 2, (y - before[1]) / 2);
        this.zoom(apart() / Math.max(old, 1), (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      }
      return;
    }
    this.pointers.set(event.pointerId, [x, y]);
    drag.far ||= Math.hypot(x - drag.x, y - drag.y) > click;
    if (!drag.far) return;
    this.look(-1);
    if (drag.moves) {
      this.plane.move(x - before[0], y - before[1]);
      this.draw();
    } else {
      this.box = [drag.x, drag.y, x, y];
      this.mark();
    }
  },

  up(event) {
    const { drag } = this, [x, y] = this.place(event);
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.drag = null;
    if (!drag || drag.pinch) return;
    if (this.box) {
      this.close(event.shiftKey);
    } else if (!drag.far) {
      const found = this.plane.nearest(x, y, near, this.taken);
      this.look(found);
      if (found >= 0) this.chosen.toggle(found);
    }
  },

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const arrow = arrows[event.key];
    if (arrow && event.shiftKey) this.widen(...arrow);
    else if (arrow) this.step(...arrow);
    else if (event.key === "+" || event.key === "=") this.zoom(1.6);
    else if (event.key === "-") this.zoom(1 / 1.6);
    else if (event.key === "0") { this.plane.whole(); this.zoom(1); }
    else if (event.key === "Enter" && this.box) this.close(false);
    else if (event.key === "Enter" && this.cursor >= 0) this.chosen.toggle(this.cursor);
    else if (event.key === "Escape") this.leave();
    else return;
    event.preventDefault();
  },

  // Go to the next sample in a direction.
  step(dx, dy) {
    const { plane } = this, [w, h] = plane.size;
    const found = this.cursor < 0 ? plane.nearest(w / 2, h / 2, Infinity, this.taken)
      : plane.next(this.cursor, dx, dy, this.taken);
    if (found < 0) return this.say("no sample lies that way");
    const [x, y] = plane.at(found);
    if (x < 0 || y < 0 || x > w || y > h) { plane.move(w / 2 - x, h / 2 - y); this.draw(); }
    this.look(found);
    this.say(this.told(found).join(", "));
  },

  // Widen the box that begins at the sample that is looked at.
  widen(dx, dy) {
    if (this.cursor < 0) this.step(1, 0);
    if (this.cursor < 0) return;
    const [x, y] = this.plane.at(this.cursor);
    this.box ??= [x, y, x, y];
    this.box = [this.box[0], this.box[1], this.box[2] + boxStep * dx, this.box[3] + boxStep * dy];
    this.mark();
    this.say(`${this.plane.inside(this.box, this.taken).length} samples in the box`);
  },

  // Let go of the box, else of the sample, else of what is chosen.
  leave() {
    if (this.box) this.box = null;
    else if (this.cursor >= 0) this.look(-1);
    else this.chosen.take([]);
    this.mark();
  },
});

const holder = document.getElementById("map-data");
if (holder) {
  const block = fromBase64($("block").textContent);
  const map = new SampleMap(JSON.parse(holder.textContent), new Float32Array(block.buffer));
  $("atlas")?.addEventListener("load", () => map.chosen.show());
}
