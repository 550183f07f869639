import type { Interval } from "../types";

export const NONE = "–";

/** Digits after the point such that neither the value nor its uncertainty loses meaning. */
export function decimals(values: number[]): number {
  const largest = Math.max(0, ...values.filter(Number.isFinite).map(Math.abs));
  return largest >= 1000 ? 0 : largest >= 10 ? 1 : largest >= 2 ? 2 : 3;
}

export const fixed = (value: number | null | undefined, digits: number): string =>
  value == null
    ? NONE
    : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");

/** A value with its interval, all of them to the same digits. */
export function withInterval(value: number, low: number | null, high: number | null): [string, string] {
  const digits = decimals([value, low ?? 0, high ?? 0]);
  return [fixed(value, digits), low == null ? "" : ` [${fixed(low, digits)}, ${fixed(high, digits)}]`];
}

/** 1.2k, 3.4M: four characters at most before the suffix. */
export function compact(value: number | null | undefined): string {
  if (value == null) return NONE;
  const [scale, suffix] = Math.abs(value) >= 1e9 ? [1e9, "B"] : Math.abs(value) >= 1e6 ? [1e6, "M"] : Math.abs(value) >= 1e4 ? [1e3, "k"] : [1, ""];
  const scaled = value / scale;
  return scaled.toLocaleString("en", { maximumSignificantDigits: Math.abs(scaled) >= 1000 ? 4 : 3 }) + suffix;
}

/** The unit in which an axis of seconds up to `longest` reads best. */
export const timeUnit = (longest: number): { by: number; name: string } =>
  longest > 7200 ? { by: 3600, name: "hours" } : longest > 300 ? { by: 60, name: "minutes" } : longest > 1 ? { by: 1, name: "seconds" } : { by: 0.001, name: "milliseconds" };

/** Seconds in the unit a person would say. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return NONE;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${seconds.toPrecision(2).replace(/\.0$/, "")} s`;
  if (seconds < 5400) return `${trim(seconds / 60)} min`;
  return `${trim(seconds / 3600)} h`;
}

const trim = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, ""));

export const halfWidth = (interval: Interval): number => (interval.high - interval.low) / 2;

export const isKnown = (interval: Interval | null | undefined): interval is Interval => interval?.mean != null;
