// Colours: of values from low to high, and of groups; as CSS writes them and as pixels.

// Viridis at nine even steps (Smith and van der Walt 2015), mixed linearly in between.
const viridis = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
  [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
const steps = 255;

// Return the colour [r, g, b] of a share in [0, 1]; on a dark ground the darkest fifth is left out.
function ramp(share, dark) {
  const low = dark ? 0.2 : 0, s = (low + (1 - low) * Math.min(Math.max(share, 0), 1)) * (viridis.length - 1);
  const i = Math.min(Math.floor(s), viridis.length - 2);
  return viridis[i].map((from, k) => Math.round(from + (s - i) * (viridis[i + 1][k] - from)));
}

// Return [r, g, b] of a colour as CSS writes it with six digits.
const parts = (css) => [1, 3, 5].map((k) => parseInt(css.slice(k, k + 2), 16));

// Return a colour as a pixel of a canvas: bytes in the order red, green, blue, opaque.
const pixel = ([r, g, b]) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;

// Return a colour that lies so far from one to another.
const mixed = (from, to, share) => from.map((v, k) => Math.round(v + share * (to[k] - v)));

// Return the colour of each group; the house's ink, which a dark ground would swallow, becomes the page's.
const groupColours = (field, ink) => field.colours.map((css) => (css === "#262626" ? ink : parts(css)));

// Return for a field its pixels by number, and each sample's number among them; -1, a sample of no group, is grey.
function painted(field, ink, dark) {
  const grey = dark ? [94, 102, 112] : [190, 194, 200];
  if (field.names) {
    const palette = Uint32Array.from([...groupColours(field, ink), grey], pixel);
    return { palette, index: Uint16Array.from(field.values, (v) => (v < 0 ? palette.length - 1 : v)) };
  }
  const palette = Uint32Array.from({ length: steps + 1 }, (_, k) => pixel(ramp(k / steps, dark)));
  const scale = steps / Math.max(field.high - field.low, 1e-9);
  const index = Uint16Array.from(field.values, (v) => Math.min(Math.max(Math.round((v - field.low) * scale), 0), steps));
  return { palette, index };
}
