// Bytes: base64 in; a NumPy archive (.npz) out, which is a ZIP file of .npy files.

// Return the bytes that a base64 text stands for.
const fromBase64 = (text) => Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));

// Return a typed array as the bytes of a .npy file, format 1.0: its type in NumPy's words, and its shape.
function npyOf(array, type, shape) {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  let head = `{'descr': '${type}', 'fortran_order': False, 'shape': ${tuple}, }`;
  head = head.padEnd(Math.ceil((head.length + 11) / 64) * 64 - 11) + "\n"; // the values begin at a multiple of 64
  const values = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const bytes = new Uint8Array(10 + head.length + values.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length & 255, head.length >> 8]);
  bytes.set(new TextEncoder().encode(head), 10);
  bytes.set(values, 10 + head.length);
  return bytes;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

// Return the CRC-32 of bytes, as ZIP wants it (ISO 3309).
function crcOf(bytes) {
  let crc = 0xffffffff;
  for (let k = 0; k < bytes.length; k++) crc = crcTable[(crc ^ bytes[k]) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

// Return a ZIP archive of files {name: bytes}, stored as they are; names are ASCII.
function zipOf(files) {
  const parts = [], directory = [];
  let place = 0;
  const record = (signature, size, fields) => {
    const view = new DataView(new ArrayBuffer(size));
    view.setUint32(0, signature, true);
    for (const [at, bytes, value] of fields) {
      if (bytes === 2) view.setUint16(at, value, true);
      else view.setUint32(at, value, true);
    }
    return new Uint8Array(view.buffer);
  };
  const version = 20, day = 0x21; // 1 January 1980: the archive says nothing about when it was made
  for (const [name, bytes] of Object.entries(files)) {
    const letters = new TextEncoder().encode(name), crc = crcOf(bytes), size = bytes.length;
    parts.push(record(0x04034b50, 30, [[4, 2, version], [12, 2, day], [14, 4, crc], [18, 4, size], [22, 4, size],
      [26, 2, letters.length]]), letters, bytes);
    directory.push(record(0x02014b50, 46, [[4, 2, version], [6, 2, version], [14, 2, day], [16, 4, crc],
      [20, 4, size], [24, 4, size], [28, 2, letters.length], [42, 4, place]]), letters);
    place += 30 + letters.length + size;
  }
  const count = Object.keys(files).length, length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record(0x06054b50, 22, [[8, 2, count], [10, 2, count], [12, 4, length], [16, 4, place]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

// Return the shortest decimal number that is this float32 when it is read as one.
function shortest(value) {
  for (let digits = 6; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return String(Number(text));
  }
  return String(Number(value.toPrecision(9)));
}
