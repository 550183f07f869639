import { float16, type Layer, type Weights } from "../heads/types";
import { bytes, post } from "./api";

export type Reading = { id: string; run: string; source: string; output: string; layers: Layer[] };

/** Read a text with a run's model, at a checkpoint or at its end; a head's weights are asked for when it is shown. */
export async function read(run: string, text: string, target: string, step: number | null = null): Promise<[Reading, Weights]> {
  const found = { ...(await post<Reading>("attention", { run, text, target, step })), run };
  const thumbnails = new Uint8Array(await bytes(`attention/${found.id}/thumbnails`));
  const kept = new Map<string, Promise<Float32Array>>();
  const head = (layer: number, at: number) => {
    const key = `${layer}/${at}`;
    if (!kept.has(key)) kept.set(key, bytes(`attention/${found.id}/${key}`).then(float16));
    return kept.get(key)!;
  };
  return [found, { layers: found.layers, thumbnails, head }];
}

/** Tasks whose models have nothing that attends, and those that write of a text another one. */
export const BLIND = ["embed"];
export const TRANSLATES = ["translate", "text_to_text", "denoise"];
