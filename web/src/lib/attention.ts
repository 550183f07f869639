import { labels } from "./words";
import type { Output } from "../types";

/** What both attention figures draw, and which target token (row) someone is looking at. */
export type AttentionMap = {
  source: string[];
  target: string[];
  weights: number[][];
  salient: number[];
  gold: Set<string>;
};

export function attentionMap(output: Output, head: number, gold: Set<string>): AttentionMap {
  const weights = output.attention[head].weights;
  // `salient` is the report's own for the first map; for another head it is read off that head.
  const salient = head === 0 && output.salient.length === weights.length ? output.salient : weights.map((row) => row.indexOf(Math.max(...row)));
  return { source: labels(output.source_tokens), target: labels(output.target_tokens), weights, salient, gold };
}

export const percent = (weight: number | null): string => (weight == null ? "–" : weight.toFixed(2));

/** "house ← maison 0.81, la 0.10": the three source tokens that a target token looks at most. */
export function sentence(map: AttentionMap, row: number): string {
  const ranked = map.weights[row].map((weight, s) => ({ weight, token: map.source[s] })).sort((a, b) => b.weight - a.weight);
  return `${map.target[row]} ← ${ranked.slice(0, 3).map(({ token, weight }) => `${token} ${percent(weight)}`).join(", ")}`;
}

/** The row that an arrow key leads to, or undefined for other keys. */
export function rowAfter(key: string, row: number | null, rows: number): number | undefined {
  const from = row ?? -1;
  if (key === "ArrowDown" || key === "ArrowRight") return Math.min(rows - 1, from + 1);
  if (key === "ArrowUp" || key === "ArrowLeft") return Math.max(0, from - 1);
  if (key === "Home") return 0;
  if (key === "End") return rows - 1;
  return undefined;
}

export const longest = (texts: string[]): number => Math.max(1, ...texts.map((text) => text.length));
