// The plane: where points lie on a canvas under a zoom, and which of them are meant by a place or a box.

const edge = 14; // CSS pixels around the whole map

// Return the least and the largest of values.
function rangeOf(values) {
  let least = Infinity, most = -Infinity;
  for (const v of values) {
    if (v < least) least = v;
    if (v > most) most = v;
  }
  return [least, most];
}

class Plane {
  // x and y are the coordinates of the points; y goes upwards.
  constructor(x, y) {
    this.x = x;
    this.y = y;
    [this.left, this.right] = rangeOf(x);
    [this.bottom, this.top] = rangeOf(y);
    this.size = [1, 1];
    this.whole();
  }

  // Show all of it.
  whole() {
    this.zoom = 1;
    this.centre = [(this.left + this.right) / 2, (this.bottom + this.top) / 2];
    this.fit(...this.size);
  }

  // Take a canvas of w by h CSS pixels.
  fit(w, h) {
    this.size = [w, h];
    const fits = Math.min((w - 2 * edge) / Math.max(this.right - this.left, 1e-9),
      (h - 2 * edge) / Math.max(this.top - this.bottom, 1e-9));
    this.scale = this.zoom * Math.max(fits, 1e-9);
    this.dx = w / 2 - this.scale * this.centre[0];
    this.dy = h / 2 + this.scale * this.centre[1];
  }

  across(x) { return this.dx + this.scale * x; }
  down(y) { return this.dy - this.scale * y; }

  // Return where point i lies, in CSS pixels.
  at(i) { return [this.across(this.x[i]), this.down(this.y[i])]; }

  // Enlarge by a factor around a place, which stays where it is.
  enlarge(factor, px = this.size[0] / 2, py = this.size[1] / 2) {
    const x = (px - this.dx) / this.scale, y = (this.dy - py) / this.scale;
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), 400);
    this.fit(...this.size);
    this.move(px - this.across(x), py - this.down(y));
  }

  // Move all points by so many CSS pixels; the middle of the canvas stays over the map.
  move(dx, dy) {
    const within = (v, a, b) => Math.min(Math.max(v, a), b);
    this.centre = [within(this.centre[0] - dx / this.scale, this.left, this.right),
      within(this.centre[1] + dy / this.scale, this.bottom, this.top)];
    this.fit(...this.size);
  }

  // Return which of the points that `taken` says yes to lies nearest to a place and within a distance, or -1.
  nearest(px, py, within, taken) {
    let best = -1, least = within * within;
    for (let i = 0; i < this.x.length; i++) {
      const across = this.across(this.x[i]) - px, down = this.down(this.y[i]) - py, far = across * across + down * down;
      if (far < least && taken(i)) { least = far; best = i; }
    }
    return best;
  }

  // Return the point to go to from point i in a direction: near, and rather ahead than aside; or -1.
  next(i, dx, dy, taken) {
    let best = -1, least = Infinity;
    for (let k = 0; k < this.x.length; k++) {
      const x = this.x[k] - this.x[i], y = this.y[i] - this.y[k], along = x * dx + y * dy;
      const cost = along + 3 * (Math.abs(x * dy) + Math.abs(y * dx));
      if (along > 0 && cost < least && k !== i && taken(k)) { least = cost; best = k; }
    }
    return best;
  }

  // Return the points in a box [x0, y0, x1, y1] of CSS pixels.
  inside([x0, y0, x1, y1], taken) {
    const [left, right, top, bottom] = [Math.min(x0, x1), Math.max(x0, x1), Math.min(y0, y1), Math.max(y0, y1)];
    const found = [];
    for (let i = 0; i < this.x.length; i++) {
      const [x, y] = this.at(i);
      if (x >= left && x <= right && y >= top && y <= bottom && taken(i)) found.push(i);
    }
    return found;
  }
}
