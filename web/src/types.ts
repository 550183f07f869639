// The data of each view, as the Python side writes it.

export type Interval = { mean: number; low: number; high: number; per_seed: number[] };

export type Metric = { label: string; higher_is_better: boolean; unit?: string; signature?: string; about?: string };

export type Point = {
  step: number;
  tokens: number;
  cpu_seconds: number;
  loss: number | null;
  valid_loss: number | null;
  quality: number | null;
};

export type Model = {
  id: string;
  label: string;
  kind: string;
  parameters: number;
  seeds: number[];
  settings: Record<string, string>;
  results: Record<string, Interval | null>;
  train_tokens_per_cpu_second: Interval | null;
  decode_sentences_per_cpu_second: Interval | null;
  cpu_seconds: Interval | null;
  cpu_seconds_to_quality: number | null; // null: never reached
  curves: { seed: number; points: Point[] }[];
  on_frontier: boolean;
  failed?: string | null;
};

export type Attention = { name: string; weights: number[][] }; // (target, source), rows sum to 1

export type Output = {
  text: string;
  score: number | null;
  source_tokens: string[];
  target_tokens: string[];
  attention: Attention[];
  salient: number[]; // per target token: the source token with most attention
};

export type Sentence = {
  source: string;
  reference: string; // "" where there is none
  gold_alignment: [number, number][] | null; // word indices, source first
  outputs: Record<string, Output>;
};

export type CompareView = {
  open_ended: boolean; // many outputs would be right: the reference is one of them
  title: string;
  created: string;
  version: string;
  command: string;
  hardware: string;
  budget: string;
  data: string;
  summary: string[];
  quality: string;
  metrics: Record<string, Metric>;
  models: Model[];
  quality_target: number | null; // what cpu_seconds_to_quality refers to
  items: string; // what every model is shown: "sentence", "word"
  counted: string; // what a budget in tokens counts: "target tokens", "words"
  sentences: Sentence[];
};
