import type { Run } from "./api";

// What the page asked its server, and what it was told: from this alone a saved page shows itself again.

/** An answer in a file: JSON as it is; bytes deflated, as base64. */
type Kept = { json: unknown } | { bytes: string };
export type Saved = { page: string; hash: string; title: string; text: string; created: string; version: string; runs: Run[]; answers: Record<string, Kept> };
type Told = { slot: string; json?: unknown; bytes?: ArrayBuffer };

const holder = document.getElementById("clew-data");
/** What this page holds, where it is one that was saved. */
export const saved: Saved | null = holder?.dataset.view === "look" ? JSON.parse(holder.textContent!) : null;

/** A question by name: the path, and what goes with it, in the order of its keys (`web/saved.py` writes the same). */
export const question = (path: string, asked: Record<string, unknown> = {}): string =>
  Object.keys(asked).length ? `${path} ${JSON.stringify(Object.fromEntries(Object.entries(asked).sort(([a], [b]) => (a < b ? -1 : 1))))}` : path;

const told = new Map<string, Told>();

/** Answers about the same thing, of which the newest is kept: a run's of one kind, whatever else was asked. */
const slotOf = (path: string, body: Record<string, unknown>): string => JSON.stringify([path, body.run, body.one, body.other, body.step]);

export function keep(path: string, asked: Record<string, unknown>, answer: { json: unknown } | { bytes: ArrayBuffer }, posted: boolean): void {
  if (saved) return;
  const slot = posted ? slotOf(path, asked) : "";
  for (const [name, other] of told) if (slot && other.slot === slot) told.delete(name);
  told.set(question(path, asked), { slot, ...answer });
}

const pending = new Set<Promise<unknown>>();
/** Whoever saves the page waits for what it still waits for. */
export function awaited<T>(answer: Promise<T>): Promise<T> {
  const over = answer.catch(() => undefined).finally(() => pending.delete(over));
  pending.add(over);
  return answer;
}
async function settled(): Promise<void> {
  while (pending.size) await Promise.all(pending);
}
let lacking: (() => Promise<void>) | null = null;
/** What a page that is saved should hold and has not asked for: it is asked for then. Returns what takes that back. */
export function beforeSaving(ask: () => Promise<void>): () => void {
  lacking = ask;
  return () => { if (lacking === ask) lacking = null; };
}
export async function completed(): Promise<void> {
  await settled();
  await lacking?.();
  await settled();
}
export const forget = (): void => told.clear();

const pack = async (bytes: ArrayBuffer): Promise<string> => {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  let text = "";
  for (let k = 0; k < packed.length; k += 0x8000) text += String.fromCharCode(...packed.subarray(k, k + 0x8000));
  return btoa(text);
};
const unpack = async (text: string): Promise<ArrayBuffer> => {
  const packed = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
};

/** What a saved page was told, or undefined where it was not asked. */
export async function recall(path: string, asked: Record<string, unknown>): Promise<unknown> {
  const found = saved!.answers[question(path, asked)];
  return found === undefined ? undefined : "bytes" in found ? unpack(found.bytes) : found.json;
}

/** Whether a saved page holds the answer to that. */
export const holds = (path: string, asked: Record<string, unknown>): boolean => saved !== null && question(path, asked) in saved.answers;

/** The names of what was found (`id` in an answer) that belong to answers which are kept. */
export const found = (path: string): string[] =>
  [...told].filter(([name, each]) => each.slot && name.startsWith(`${path} `)).map(([, each]) => String(([each.json].flat().at(-1) as { id?: unknown }).id));

/** All answers that the page stands on, as a file keeps them. One head of attention is left out, all of them are packed;
 *  and what was handed on as a file. */
export async function answers(): Promise<Record<string, Kept>> {
  const out: Record<string, Kept> = {};
  const known = { attention: new Set(found("attention")), points: new Set(found("points")) };
  for (const [name, each] of told) {
    const [, path, id, rest] = /^(attention|points)\/([0-9a-f]{16})\/(\S+)/.exec(name) ?? [];
    if (id && (!known[path as keyof typeof known].has(id) || /^(-?\d+\/-?\d+|export\/.*)$/.test(rest))) continue;
    out[name] = each.bytes ? { bytes: await pack(each.bytes) } : { json: each.json };
  }
  return out;
}
