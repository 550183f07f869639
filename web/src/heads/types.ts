/** One layer of attention: row t of a head says how much of each column the state of rows[t] takes. */
export type Layer = {
  name: string;
  rows: string[];
  columns: string[];
  heads: number;
  thumbnail: [number, number];
  entropy: number[];
  distance: number[];
  salient: [number, number][];
};

export const MEAN = -1; // in the place of a head: the mean of all

/** Where the weights come from: a server, or the page itself. */
export type Weights = {
  layers: Layer[];
  thumbnails: Uint8Array;
  head: (layer: number, head: number) => Promise<Float32Array>;
};

export const headName = (layer: Layer, head: number): string => `${layer.name}, ${head === MEAN ? "mean of all heads" : `head ${head}`}`;

/** float16, little end first, as numbers. */
export function float16(buffer: ArrayBuffer): Float32Array {
  const view = new DataView(buffer);
  return Float32Array.from({ length: buffer.byteLength / 2 }, (_, k) => half(view.getUint16(2 * k, true)));
}

function half(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
