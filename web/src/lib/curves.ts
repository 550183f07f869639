import { ascending, bisector, mean } from "d3-array";
import type { Model, Point } from "../types";

export type Across = "cpu_seconds" | "tokens" | "step";
export type Measure = "quality" | "valid_loss" | "loss";
export type Line = { x: number; y: number }[];

/** The points of one seed that have this measure. */
export const seedLine = (points: Point[], across: Across, measure: Measure): Line =>
  points
    .filter((point) => point[measure] != null && point[across] != null)
    .map((point) => ({ x: point[across], y: point[measure]! }))
    .sort((a, b) => ascending(a.x, b.x));

/** A line's height at x by linear interpolation; undefined outside its range. */
export function at(line: Line, x: number): number | undefined {
  if (!line.length || x < line[0].x || x > line[line.length - 1].x) return undefined;
  const right = bisector((point: { x: number }) => point.x).left(line, x);
  if (line[right].x === x) return line[right].y;
  const [a, b] = [line[right - 1], line[right]];
  return a.y + ((b.y - a.y) * (x - a.x)) / (b.x - a.x);
}

/** The mean over seeds where every seed has been, on a common grid. */
export function meanLine(lines: Line[]): Line {
  const filled = lines.filter((line) => line.length);
  if (filled.length <= 1) return filled[0] ?? [];
  const first = Math.max(...filled.map((line) => line[0].x));
  const last = Math.min(...filled.map((line) => line[line.length - 1].x));
  const grid = [...new Set(filled.flat().map((point) => point.x))].filter((x) => x >= first && x <= last).sort(ascending);
  return grid.map((x) => ({ x, y: mean(filled, (line) => at(line, x))! }));
}

export type Drawn = { model: Model; index: number; seeds: Line[]; mean: Line };

export function draw(models: Model[], across: Across, measure: Measure): Drawn[] {
  return models
    .map((model, index) => {
      const seeds = model.curves.map((curve) => seedLine(curve.points, across, measure)).filter((line) => line.length);
      return { model, index, seeds, mean: meanLine(seeds) };
    })
    .filter((drawn) => drawn.mean.length);
}

/** Move labels apart so that no two are closer than `gap`, each as near to its wish as can be. */
export function spread(wishes: number[], gap: number, low: number, high: number): number[] {
  const order = wishes.map((_, i) => i).sort((a, b) => wishes[a] - wishes[b]);
  const places = [...wishes];
  order.forEach((i, k) => (places[i] = Math.max(wishes[i], low, k ? places[order[k - 1]] + gap : low)));
  let ceiling = high;
  for (const i of order.reverse()) {
    places[i] = Math.min(places[i], ceiling);
    ceiling = places[i] - gap;
  }
  return places;
}
