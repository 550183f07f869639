/** One piece of a word diff: in both texts, only in the output ("added"), or only in the reference ("missing"). */
export type Piece = { kind: "same" | "added" | "missing"; text: string };

export const words = (text: string): string[] => text.split(/\s+/).filter(Boolean);

/** Pairs (i, j) of a longest common subsequence of two word lists. */
export function commonWords(left: string[], right: string[]): [number, number][] {
  const length = Array.from({ length: left.length + 1 }, () => new Uint16Array(right.length + 1));
  for (let i = left.length - 1; i >= 0; i--)
    for (let j = right.length - 1; j >= 0; j--)
      length[i][j] = left[i] === right[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1]);
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < left.length && j < right.length; ) {
    if (left[i] === right[j]) pairs.push([i++, j++]);
    else if (length[i + 1][j] >= length[i][j + 1]) i++;
    else j++;
  }
  return pairs;
}

/** The word diff that turns the reference into the output. */
export function diff(output: string, reference: string): Piece[] {
  const [ours, theirs] = [words(output), words(reference)];
  const pieces: Piece[] = [];
  let [i, j] = [0, 0];
  for (const [a, b] of [...commonWords(ours, theirs), [ours.length, theirs.length]]) {
    if (j < b) pieces.push({ kind: "missing", text: theirs.slice(j, b).join(" ") });
    if (i < a) pieces.push({ kind: "added", text: ours.slice(i, a).join(" ") });
    if (a < ours.length) pieces.push({ kind: "same", text: ours[a] });
    [i, j] = [a + 1, b + 1];
  }
  return pieces;
}

const SPECIAL = /^(<[^>]*>|\[[A-Z]+\])$/;
const bare = (token: string): string => token.replace(/^[▁Ġ]+|^##|@@$/g, "").replace(/\s/g, "");

/** For each token, the index of the space-separated word of `text` it starts in, or -1 (specials, unknowns). */
export function wordOf(tokens: string[], text: string): number[] {
  const characters: string[] = [];
  const owner: number[] = [];
  words(text).forEach((word, index) => {
    characters.push(word);
    for (let k = 0; k < word.length; k++) owner.push(index);
  });
  const flat = characters.join("").toLowerCase();
  let cursor = 0;
  return tokens.map((token) => {
    const piece = SPECIAL.test(token) ? "" : bare(token).toLowerCase();
    const at = piece ? flat.indexOf(piece, cursor) : -1;
    if (at < 0) return -1;
    cursor = at + piece.length;
    return owner[at];
  });
}

/** Tokens as labels: the word-start marks go, a piece inside a word gets a leading hyphen. */
export function labels(tokens: string[]): string[] {
  const marked = tokens.some((token) => /^[▁Ġ]/.test(token));
  return tokens.map((token, k) => {
    if (SPECIAL.test(token)) return token;
    const inside = token.startsWith("##") || (marked && k > 0 && !/^[▁Ġ]/.test(token) && /^[\p{L}\p{N}]/u.test(token));
    return (inside ? "‑" : "") + (bare(token) || "␣");
  });
}

/**
 * Gold alignment as (source token, target token) cells. Gold words are the reference's, so a model's own words take part where
 * the word diff finds them in the reference.
 */
export function goldCells(
  gold: [number, number][] | null,
  source: string,
  reference: string,
  output: { text: string; source_tokens: string[]; target_tokens: string[] },
): Set<string> {
  const cells = new Set<string>();
  if (!gold?.length) return cells;
  const sourceWord = wordOf(output.source_tokens, source);
  const targetWord = wordOf(output.target_tokens, output.text);
  const inReference = new Map(commonWords(words(output.text), words(reference)));
  const aligned = new Set(gold.map(([s, t]) => `${s},${t}`));
  targetWord.forEach((ours, t) => {
    const theirs = inReference.get(ours);
    if (theirs === undefined) return;
    sourceWord.forEach((word, s) => aligned.has(`${word},${theirs}`) && cells.add(`${s},${t}`));
  });
  return cells;
}
