// Points: thousands of discs, written straight into the pixels of a canvas. Paths would take ten times as long.

// Return a disc's pixels: how far each lies from its centre in a row-by-row picture, and how much of it is covered.
function discOf(radius, row) {
  const reach = Math.ceil(radius + 0.5), offsets = [], cover = [];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const covered = Math.min(Math.max(radius + 0.5 - Math.hypot(x, y), 0), 1);
      if (covered > 0.02) { offsets.push(y * row + x); cover.push(Math.round(covered * 256)); }
    }
  }
  return { reach, offsets: Int32Array.from(offsets), cover: Uint16Array.from(cover) };
}

// Lays one colour over another, covering so many 256ths of a pixel; red and blue are mixed in one go.
function over(under, colour, cover) {
  const rest = 256 - cover;
  const rb = (((colour & 0xff00ff) * cover + (under & 0xff00ff) * rest) >>> 8) & 0xff00ff;
  const g = (((colour & 0xff00) * cover + (under & 0xff00) * rest) >>> 8) & 0xff00;
  return (0xff000000 | rb | g) >>> 0;
}

class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.ink = canvas.getContext("2d", { alpha: false });
  }

  // Take a canvas of w by h CSS pixels, of `ratio` device pixels each, with discs of a radius in CSS pixels.
  fit(w, h, ratio, radius) {
    const width = Math.max(Math.round(w * ratio), 1), height = Math.max(Math.round(h * ratio), 1);
    const reach = Math.ceil(radius * ratio + 0.5);
    this.ratio = ratio;
    if (this.image && this.width === width && this.height === height && this.radius === radius * ratio) return;
    [this.width, this.height, this.radius] = [width, height, radius * ratio];
    [this.canvas.width, this.canvas.height] = [width, height];
    // A margin as wide as a disc, so that one at the edge needs no clipping.
    this.image = new ImageData(width + 2 * reach, height + 2 * reach);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.disc = discOf(this.radius, this.image.width);
  }

  // Draw all points: those of state 1 pale and below, those of state 2 in their colours, those of state 0 not at all.
  draw(plane, state, { palette, index }, paper, pale) {
    this.pixels.fill(paper);
    const palest = new Uint32Array(palette.length).fill(pale);
    for (const [wanted, colours] of [[1, palest], [2, palette]]) this.pass(plane, state, wanted, colours, index);
    this.ink.putImageData(this.image, -this.disc.reach, -this.disc.reach);
  }

  pass(plane, state, wanted, colours, index) {
    const { pixels, width, height, ratio } = this, row = this.image.width, { reach, offsets, cover } = this.disc;
    const { x, y } = plane, scale = plane.scale * ratio, dx = plane.dx * ratio, dy = plane.dy * ratio;
    for (let i = 0; i < x.length; i++) {
      if (state[i] !== wanted) continue;
      const px = Math.floor(dx + scale * x[i]), py = Math.floor(dy - scale * y[i]);
      if (px < 0 || py < 0 || px >= width || py >= height) continue;
      const middle = (py + reach) * row + px + reach, colour = colours[index[i]];
      for (let k = 0; k < offsets.length; k++) {
        const at = middle + offsets[k];
        pixels[at] = cover[k] === 256 ? colour : over(pixels[at], colour, cover[k]);
      }
    }
  }
}
