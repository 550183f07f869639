import type { CompareView, Interval, Model } from "../types";
import { targetOf } from "./columns";
import { compact, duration, isKnown } from "./format";

/** One meaning of cost: smaller is always better. */
export type Cost = { value: string; label: string; axis: string; of: (model: Model) => Interval | null; time: boolean; say: (value: number) => string };

const exactly = (value: number | null): Interval | null => (value == null ? null : { mean: value, low: value, high: value, per_seed: [value] });

/** Seconds per sentence from sentences per second. */
function inverse(rate: Interval | null): Interval | null {
  if (!isKnown(rate) || rate.low <= 0) return null;
  return { mean: 1 / rate.mean, low: 1 / rate.high, high: 1 / rate.low, per_seed: rate.per_seed.map((one) => 1 / one) };
}

export function costs(data: CompareView): Cost[] {
  const target = targetOf(data);
  const all: Cost[] = [
    { value: "kl", label: "KL", axis: "KL from the reference, nats per text", of: (model) => model.results.kl ?? null, time: false, say: compact },
    { value: "training", label: "Training", axis: "CPU time of one training", of: (model) => model.cpu_seconds, time: true, say: duration },
    { value: "to_quality", label: `Time to ${target}`, axis: `CPU time until ${target}`, of: (model) => exactly(model.cpu_seconds_to_quality), time: true, say: duration },
    { value: "decoding", label: "Decoding", axis: `CPU time per ${data.items}`, of: (model) => inverse(model.decode_sentences_per_cpu_second), time: true, say: duration },
    { value: "parameters", label: "Parameters", axis: "parameters", of: (model) => exactly(model.parameters), time: false, say: compact },
  ];
  return all.filter((cost) => spots(data, cost).length > 0);
}

export type Spot = { model: Model; index: number; cost: Interval; quality: Interval; best: boolean };

/** The models as points; `best` where no model is both cheaper (or as cheap) and better: the frontier. */
export function spots(data: CompareView, cost: Cost): Spot[] {
  const sign = data.metrics[data.quality]?.higher_is_better === false ? -1 : 1;
  const found = data.models.flatMap((model, index) => {
    const [price, quality] = [cost.of(model), model.results[data.quality]];
    return isKnown(price) && isKnown(quality) ? [{ model, index, cost: price, quality, best: false }] : [];
  });
  for (const spot of found)
    spot.best = !found.some((rival) => rival !== spot && rival.cost.mean <= spot.cost.mean && sign * rival.quality.mean >= sign * spot.quality.mean
      && (rival.cost.mean < spot.cost.mean || sign * rival.quality.mean > sign * spot.quality.mean));
  return found;
}

/** The first cost that tells the models apart: under one equal training budget that is not the training's. */
export function defaultCost(data: CompareView, choices: Cost[]): string {
  const tells = (cost: Cost) => {
    const prices = spots(data, cost).map((spot) => spot.cost.mean);
    return prices.length > 1 && Math.max(...prices) > 1.1 * Math.min(...prices);
  };
  return (choices.find(tells) ?? choices[0])?.value ?? "training";
}

type Box = { x: number; y: number; width: number; height: number };
const overlap = (a: Box, b: Box) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/** Place each label beside its point, at the first spot around it that hits neither a label nor a point. */
export function placeLabels(points: { x: number; y: number; text: string }[], area: Box): Box[] {
  const placed: Box[] = [];
  const dots = points.map((point) => ({ x: point.x - 8, y: point.y - 8, width: 16, height: 16 }));
  points.forEach((point, k) => {
    const size = { width: point.text.length * 7 + 4, height: 16 };
    const tries: Box[] = [-13, 0, 14, -28, 28, -44, 44, -60, 60].flatMap((dy) => [
      { x: point.x + 12, y: point.y - 8 + dy, ...size }, { x: point.x - 12 - size.width, y: point.y - 8 + dy, ...size },
    ]);
    tries.push({ x: point.x - size.width / 2, y: point.y - 28, ...size }, { x: point.x - size.width / 2, y: point.y + 12, ...size });
    const inside = (box: Box) => box.x >= area.x && box.y >= area.y && box.x + box.width <= area.x + area.width && box.y + box.height <= area.y + area.height;
    const free = (box: Box) => inside(box) && !placed.some((other) => overlap(box, other)) && !dots.some((dot, d) => d !== k && overlap(box, dot));
    placed.push(tries.find(free) ?? tries.find(inside) ?? tries[0]);
  });
  return placed;
}
