import type { CompareView, Interval, Model } from "../types";
import { compact, decimals, duration, fixed, halfWidth, isKnown, NONE } from "./format";

/** One column of the result table: what it shows of a model and which end is better. */
export type Column = {
  key: string;
  label: string;
  unit: string;
  about: string;
  higherIsBetter: boolean;
  ranked: boolean;
  digits: number;
  extent: [number, number];
  interval?: (model: Model) => Interval | null;
  value: (model: Model) => number | null;
};

type Heading = Pick<Column, "key" | "label" | "unit" | "about" | "higherIsBetter">;

function measured(models: Model[], heading: Heading, interval: (model: Model) => Interval | null): Column {
  const known = models.map(interval).filter(isKnown);
  const digits = decimals(known.map((one) => one.mean));
  const ends = known.flatMap((one) => [one.low, one.high]);
  const extent: [number, number] = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
  // Under one equal budget the models differ in cost by noise only: no best is told where all are within 5 %.
  const ranked = heading.key !== "cost" || Math.max(...known.map((one) => one.mean)) > 1.05 * Math.min(...known.map((one) => one.mean));
  return { ...heading, ranked, digits, extent, interval, value: (model) => interval(model)?.mean ?? null };
}

export function columnsOf(data: CompareView): Column[] {
  const { models, metrics, quality } = data;
  const measuredKeys = Object.keys(metrics).filter((key) => models.some((model) => isKnown(model.results[key])));
  // The question asked first (quality, also on other splits, and what attention found), then cost, then the other metrics.
  const leading = measuredKeys.filter((key) => key === quality || key.endsWith(`_${quality}`) || key.endsWith("aer")).sort((a, b) => Number(b === quality) - Number(a === quality));
  const metric = (key: string): Column => {
    const { label, unit = "", about = "", higher_is_better: higherIsBetter } = metrics[key];
    return measured(models, { key, label, unit, about, higherIsBetter }, (model) => model.results[key] ?? null);
  };
  return [...leading.map(metric), ...costColumns(data), ...measuredKeys.filter((key) => !leading.includes(key)).map(metric)];
}

function costColumns(data: CompareView): Column[] {
  const single = { digits: 0, extent: [0, 1] as [number, number] };
  const target = targetOf(data);
  const columns: Column[] = [
    {
      ...single, key: "to_quality", label: `Time to ${target}`, unit: "CPU time", ranked: true, higherIsBetter: false,
      about: `CPU time of training until ${target} was first reached on validation`, value: (model) => model.cpu_seconds_to_quality,
    },
    measured(data.models, { key: "cost", label: "Training", unit: "CPU s", higherIsBetter: false,
      about: "CPU time of one training" }, (model) => model.cpu_seconds),
    measured(data.models, { key: "training", label: "Training speed", unit: `${data.counted.split(" ").pop()} / CPU s`, higherIsBetter: true,
      about: `${data.counted}, trained on per CPU second` }, (model) => model.train_tokens_per_cpu_second),
    measured(data.models, { key: "decoding", label: "Decoding", unit: `${data.items}s / CPU s`, higherIsBetter: true,
      about: `${data.items}s answered per CPU second` }, (model) => model.decode_sentences_per_cpu_second),
    {
      ...single, key: "parameters", label: "Parameters", unit: "", ranked: false, higherIsBetter: false,
      about: "Trainable parameters", value: (model) => model.parameters || null,
    },
  ];
  return columns.filter((column) =>
    column.key === "to_quality" ? data.quality_target != null : column.key !== "decoding" || data.models.some(column.value));
}

/** "BLEU 75": the quality that "time to quality" refers to. */
export const targetOf = (data: CompareView): string =>
  `${data.metrics[data.quality]?.label ?? data.quality} ${compact(data.quality_target)}`;

/** The figure of one cell in words: "88.1 ± 1.5", "not reached", "–". */
export function words(column: Column, model: Model): string {
  const interval = column.interval?.(model);
  if (interval) return fixed(interval.mean, column.digits) + (interval.high > interval.low ? ` ± ${fixed(halfWidth(interval), column.digits)}` : "");
  const value = column.interval ? null : column.value(model);
  if (column.key === "to_quality") return value != null ? duration(value) : hasResults(model) ? "not reached" : NONE;
  return compact(value);
}

export const hasResults = (model: Model): boolean => Object.values(model.results).some(isKnown);

/** "best" where no model's mean is better, "near" where the interval overlaps the best's, "" otherwise. */
export function standing(column: Column, model: Model, models: Model[]): "best" | "near" | "" {
  const value = column.value(model);
  if (!column.ranked || value == null) return "";
  const sign = column.higherIsBetter ? 1 : -1;
  const rivals = models.filter((rival) => column.value(rival) != null);
  if (new Set(rivals.map(column.value)).size < 2) return "";
  const best = rivals.reduce((a, b) => (sign * column.value(b)! > sign * column.value(a)! ? b : a));
  if (value === column.value(best)) return "best";
  const [ours, theirs] = [column.interval?.(model), column.interval?.(best)];
  return ours && theirs && ours.low <= theirs.high && theirs.low <= ours.high ? "near" : "";
}

/** The settings in which the models differ: the others go to the notes. */
export const differing = (models: Model[]): string[] =>
  settingsOf(models).filter((key) => new Set(models.map((model) => model.settings[key])).size > 1);

/** The last part of a setting's key ("score" of "model.attention.score") where that alone tells it from the others. */
export const shortName = (key: string, keys: string[]): string => {
  const last = (one: string) => one.split(".").pop()!;
  return keys.filter((other) => last(other) === last(key)).length > 1 ? key : last(key);
};

export const shared = (models: Model[]): string[] => settingsOf(models).filter((key) => !differing(models).includes(key));

const settingsOf = (models: Model[]): string[] => [...new Set(models.flatMap((model) => Object.keys(model.settings ?? {})))];
