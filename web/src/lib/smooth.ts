/** Exponential smoothing of a whole series, its start corrected (Kingma & Ba 2015, §3): weight 0 leaves it as it is. Holes stay holes. */
export function smooth(values: (number | null)[], weight: number): (number | null)[] {
  if (weight <= 0) return values;
  let sum = 0;
  let scale = 0;
  return values.map((value) => {
    if (value == null) return null;
    sum = weight * sum + (1 - weight) * value;
    scale = weight * scale + (1 - weight);
    return sum / scale;
  });
}

/** Runs of several seeds as one: the mean, the least and the largest at each place where all of them have been. */
export function band(lines: { x: number[]; y: number[] }[]): { x: number[]; mean: number[]; low: number[]; high: number[] } {
  const full = lines.filter((line) => line.x.length);
  const empty = { x: [], mean: [], low: [], high: [] } as ReturnType<typeof band>;
  if (!full.length) return empty;
  const first = Math.max(...full.map((line) => line.x[0]));
  const last = Math.min(...full.map((line) => line.x[line.x.length - 1]));
  const x = [...new Set(full.flatMap((line) => line.x))].filter((at) => at >= first && at <= last).sort((a, b) => a - b);
  const heights = full.map((line) => interpolate(line, x));
  const over = (join: (values: number[]) => number) => x.map((_, k) => join(heights.map((height) => height[k])));
  return {
    x,
    mean: over((values) => values.reduce((a, b) => a + b, 0) / values.length),
    low: over((values) => Math.min(...values)),
    high: over((values) => Math.max(...values)),
  };
}

/** The heights of a line at rising places inside its range. */
function interpolate(line: { x: number[]; y: number[] }, places: number[]): number[] {
  let k = 0;
  return places.map((x) => {
    while (k < line.x.length - 2 && line.x[k + 1] < x) k++;
    const [a, b] = [line.x[k], line.x[k + 1]];
    return b === undefined || b === a ? line.y[k] : line.y[k] + ((line.y[k + 1] - line.y[k]) * (x - a)) / (b - a);
  });
}
