// What was chosen: its samples to see, its latents to copy and to load in NumPy.

const mostListed = 200, mostSeen = 60; // latents that the list holds, samples that are drawn

class Chosen {
  constructor(map) {
    this.map = map;
    this.rows = [];
    this.part = (name) => document.getElementById(`map-chosen${name}`);
    this.part("-load").addEventListener("click", () => this.load());
    this.part("-copy").addEventListener("click", () => this.copy());
    this.part("-clear").addEventListener("click", () => this.take([]));
  }

  // Choose these samples and no others.
  take(rows) {
    this.rows = [...new Set(rows)].sort((a, b) => a - b);
    this.show();
    this.map.say(this.rows.length ? `${this.counted()} chosen` : "no sample chosen");
    this.map.mark();
  }

  // Choose these as well.
  add(rows) { this.take([...this.rows, ...rows]); }

  // Choose a sample, or, if it is, no longer.
  toggle(i) { this.take(this.rows.includes(i) ? this.rows.filter((k) => k !== i) : [...this.rows, i]); }

  counted() { return `${this.rows.length} sample${this.rows.length === 1 ? "" : "s"}`; }

  show() {
    const { rows, map } = this, listed = rows.slice(0, mostListed);
    this.part("").hidden = !rows.length;
    this.part("-count").textContent = `${this.counted()} chosen`;
    this.part("-which").textContent = `Latent${rows.length === 1 ? "" : "s"} ${listed.join(", ")}${
      rows.length > mostListed ? ", ..." : ""} of seed ${map.data.seed}.`;
    this.part("-list").value = `[${listed.map((i) => `[${[...map.latent(i)].map(shortest).join(", ")}]`).join(",\n ")}]`;
    this.part("-note").textContent = rows.length > mostListed
      ? `The list has the first ${mostListed}; the file has all ${rows.length}.` : "";
    this.part("-samples").replaceChildren(...(map.data.side ? rows.slice(0, mostSeen).map((i) => this.sample(i)) : []));
  }

  sample(i) {
    const item = document.createElement("li"), picture = document.createElement("canvas");
    [picture.width, picture.height] = [this.map.data.side, this.map.data.side];
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", this.map.told(i).join(", "));
    picture.title = this.map.told(i).join("\n");
    this.map.thumbnail(picture, i);
    item.append(picture);
    return item;
  }

  // Give the latents as latents.npz: latents (M, D), index (M,) and seed, as NumPy has them.
  load() {
    const { rows, map } = this, dim = map.data.dim, latents = new Float32Array(rows.length * dim);
    for (const [k, i] of rows.entries()) latents.set(map.latent(i), k * dim);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(zipOf({
      "latents.npy": npyOf(latents, "<f4", [rows.length, dim]),
      "index.npy": npyOf(BigInt64Array.from(rows, BigInt), "<i8", [rows.length]),
      "seed.npy": npyOf(BigUint64Array.of(BigInt(map.data.seed)), "<u8", []),
    }));
    link.download = "latents.npz";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000); // the browser may still be reading it
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.part("-list").value);
      this.map.say("list copied");
    } catch {
      this.part("-list").select(); // a page may be kept from the clipboard, its reader is not
      this.map.say("the list is marked; copy it with the keyboard");
    }
  }
}
