import { float16, MEAN, type Layer, type Weights } from "../heads/types";
import { bytes, post } from "./api";
import { saved } from "./record";

export type Reading = { id: string; run: string; source: string; output: string; layers: Layer[] };

/** Read a text with a run's model, at a checkpoint or at its end; a head's weights are asked for when it is shown. */
export async function read(run: string, text: string, target: string, step: number | null = null): Promise<[Reading, Weights]> {
  const found = { ...(await post<Reading>("attention", { run, text, target, step })), run };
  const thumbnails = new Uint8Array(await bytes(`attention/${found.id}/thumbnails`));
  if (saved) return [found, { layers: found.layers, thumbnails, head: unpacked(found.layers, new Uint8Array(await bytes(`attention/${found.id}/packed`))) }];
  const kept = new Map<string, Promise<Float32Array>>();
  const head = (layer: number, at: number) => {
    const key = `${layer}/${at}`;
    if (!kept.has(key)) kept.set(key, bytes(`attention/${found.id}/${key}`).then(float16));
    return kept.get(key)!;
  };
  return [found, { layers: found.layers, thumbnails, head }];
}

/** All weights as a saved page has them, in thousandths: low bytes, then high ones. */
function unpacked(layers: Layer[], halves: Uint8Array): Weights["head"] {
  const middle = halves.length / 2;
  const starts: number[] = [];
  let start = 0;
  for (const layer of layers) {
    starts.push(start);
    start += layer.heads * layer.rows.length * layer.columns.length;
  }
  return async (l, h) => {
    const layer = layers[l];
    const size = layer.rows.length * layer.columns.length;
    const one = (at: number) => Float32Array.from({ length: size }, (_, k) => (halves[starts[l] + at * size + k] + 256 * halves[middle + starts[l] + at * size + k]) / 1000);
    if (h !== MEAN) return one(h);
    const sum = new Float32Array(size);
    for (let at = 0; at < layer.heads; at++) one(at).forEach((value, k) => (sum[k] += value / layer.heads));
    return sum;
  };
}

/** Tasks whose models have nothing that attends, and those that write of a text another one. */
export const BLIND = ["embed"];
export const TRANSLATES = ["translate", "text_to_text", "denoise"];
