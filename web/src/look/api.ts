import { awaited, keep, recall, saved } from "./record";

// Everything that the page asks its server for.

/** What the server says went wrong, in the form of every error of clew. */
export class Problem extends Error {
  constructor(readonly what: string, readonly where = "", readonly fix = "") {
    super([what, where && `(${where})`, fix && `— ${fix}`].filter(Boolean).join(" "));
  }
}

async function ask(path: string, init?: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw new Problem("the server does not answer", "", "is `clew look` still running?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Problem(said.what ?? `the server answered ${answer.status}`, said.where, said.fix);
}

const NOT_HELD = new Problem("this saved page holds what was open when it was saved, and not this", "", "open the run with `clew look`");

/** The answer that a saved page holds, or the server's, which is remembered. */
async function answer<T>(path: string, asked: Record<string, unknown>, posted: boolean, from: () => Promise<T>): Promise<T> {
  if (saved) {
    const found = await recall(path, asked);
    if (found === undefined) throw NOT_HELD;
    return found as T;
  }
  const found = await awaited(from());
  keep(path, asked, found instanceof ArrayBuffer ? { bytes: found } : { json: found }, posted);
  return found;
}
const json = (body: unknown): RequestInit => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const get = <T>(path: string, params: Record<string, string | number> = {}): Promise<T> => {
  const asked = Object.fromEntries(Object.entries(params).map(([key, value]) => [key, String(value)]));
  const query = new URLSearchParams(asked);
  return answer(path, asked, false, async () => (await ask(`/api/${path}${query.size ? `?${query}` : ""}`)).json());
};

export const post = <T>(path: string, body: Record<string, unknown>): Promise<T> => answer(path, body, true, async () => (await ask(`/api/${path}`, json(body))).json());

/** What the server makes line by line, as it is made. */
export async function* lines<T>(path: string, body: Record<string, unknown>, signal: AbortSignal): AsyncGenerator<T> {
  if (saved) {
    yield* await answer<T[]>(path, body, true, async () => []);
    return;
  }
  let done = (): void => undefined;
  awaited(new Promise<void>((all) => (done = all)));
  try {
    yield* streamed<T>(path, body, signal);
  } finally {
    done();
  }
}
async function* streamed<T>(path: string, body: Record<string, unknown>, signal: AbortSignal): AsyncGenerator<T> {
  const made = await ask(`/api/${path}`, { ...json(body), signal });
  const reader = made.body!.pipeThrough(new TextDecoderStream()).getReader();
  const all: T[] = [];
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const whole = (rest + part.value).split("\n");
    rest = whole.pop()!;
    for (const line of whole) {
      const said = JSON.parse(line);
      if (said.what) throw new Problem(said.what, said.where, said.fix);
      all.push(said);
      yield said;
    }
  }
  keep(path, body, { json: all }, true);
}

export const bytes = (path: string): Promise<ArrayBuffer> => answer(path, {}, false, async () => (await ask(`/api/${path}`)).arrayBuffer());

/** A text that is handed on, and no part of what the page shows. */
export const text = async (path: string): Promise<string> => (await ask(`/api/${path}`)).text();

export const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export type Figure = { value: number; low: number | null; high: number | null; signature: string };

export type Run = {
  name: string;
  problem: string;
  command: string;
  steps: number[]; // of the checkpoints that are kept
  state: "running" | "finished" | "stopped" | "failed";
  title?: string;
  about?: string;
  family?: string;
  task?: string;
  seed?: number;
  data?: string;
  data_kind?: string;
  quality?: string;
  quality_label?: string;
  counted?: string;
  best?: number | null;
  best_step?: number | null;
  last?: number | null;
  spark?: number[];
  step: number | null;
  tokens: number | null;
  epoch: number | null;
  cpu_seconds: number | null;
  wall_seconds: number | null;
  parameters?: number | null;
  splits?: Record<string, Record<string, Figure>>;
};

/** The figure that a run is judged by, on what it was measured at its end. */
export const judged = (run: Run): { split: string; figure: Figure } | null => {
  for (const [split, figures] of Object.entries(run.splits ?? {})) {
    const figure = run.quality ? figures[run.quality] : undefined;
    if (figure) return { split, figure };
  }
  return null;
};

export type Columns = Record<string, (number | null)[]>;
export type Series = { train: Columns; valid: Columns };
export type Sample = { step: number; text: string };
export type Example = { source: string; reference: string };
