import type { CompareView, Interval } from "../types";

/** An interval without ends (a single seed, or NaN on the Python side) is the point itself; without a mean it is unknown. */
const ends = (interval: Interval | null | undefined): Interval | null =>
  interval?.mean == null
    ? null
    : { ...interval, low: interval.low ?? interval.mean, high: interval.high ?? interval.mean, per_seed: (interval.per_seed ?? []).filter((seed) => seed != null) };

/** The view with every hole (null, absent key) in its one agreed form, so that no figure has to ask again. */
export const whole = (data: CompareView): CompareView => ({
  ...data,
  models: data.models.map((model) => ({
    ...model,
    seeds: model.seeds ?? [],
    settings: model.settings ?? {},
    results: Object.fromEntries(Object.entries(model.results ?? {}).map(([key, interval]) => [key, ends(interval)])),
    train_tokens_per_cpu_second: ends(model.train_tokens_per_cpu_second),
    decode_sentences_per_cpu_second: ends(model.decode_sentences_per_cpu_second),
    cpu_seconds: ends(model.cpu_seconds),
    curves: model.curves ?? [],
  })),
  sentences: data.sentences ?? [],
});
