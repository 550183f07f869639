import type { Example } from "./api";

// What a run's task reads may have several parts, a question and a passage say: each has a field of its own, and one text
// holds them with tabs in between, as the address and the server have it.

export type Offer = { tip: string; fields: string[]; least: number; examples: Example[]; begins: Record<string, string>; writes: null | Record<string, number | null> };
export const NOTHING: Offer = { tip: "", fields: ["text"], least: 1, examples: [], begins: {}, writes: null };

/** The parts of a text, as many as there are fields. */
export const split = (text: string, n: number): string[] => {
  if (n < 2) return [text];
  const parts = text.split("\t");
  return Array.from({ length: n }, (_, k) => (k < n - 1 ? (parts[k] ?? "") : parts.slice(k).join(" ")));
};

/** One text of them; what is empty and may be left out is. */
export const join = (parts: string[], least: number): string => {
  if (parts.length < 2) return parts[0];
  const flat = parts.map((part) => part.replace(/\s/g, " "));
  while (flat.length > least && !flat.at(-1)!.trim()) flat.pop();
  return flat.join("\t");
};

/** Whether a text has as many parts as that. */
export const fits = (text: string, { fields, least }: Offer): boolean => {
  const n = text.split("\t").length;
  return fields.length < 2 || (n >= least && n <= fields.length);
};

/** Whether everything that must be there is. */
export const whole = (text: string, { fields, least }: Offer): boolean => split(text, fields.length).slice(0, least).every((part) => part.trim());

/** A text on one line, for a list or a heading. */
export const oneLine = (text: string): string => text.replaceAll("\t", " · ");
export const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);
