// How the tokens of a text stand in a list: words joined, endless filling folded.
import type { Token } from "../../model/api";

export interface Entry {
  /** Index of the first token, which is the one that is chosen. */
  readonly at: number;
  /** How many tokens it stands for: filling is folded into one entry. */
  readonly count: number;
  readonly token: Token;
  /** Whether it goes on with the word of the entry before. */
  readonly joined: boolean;
}

/** A run of the same special token this long is filling; its first stays, the rest becomes one entry. */
const FILLING = 3;

/** Tokens as entries; masked leaves the special ones out. */
export function entriesOf(tokens: readonly Token[], masked: boolean): Entry[] {
  const entries: Entry[] = [];
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at] as Token;
    if (token.special && masked) continue;
    let same = 1;
    const alike = (other: Token | undefined) => other?.special && other.text === token.text && other.encoder === token.encoder;
    if (token.special) while (alike(tokens[at + same])) same += 1;
    const before = tokens[at - 1];
    const joined = !token.special && before !== undefined && !before.special && token.word >= 0 && before.word === token.word && before.encoder === token.encoder;
    entries.push({ at, count: 1, token, joined });
    if (same >= FILLING) {
      entries.push({ at: at + 1, count: same - 1, token, joined: false });
      at += same - 1;
    }
  }
  return entries;
}

/** What entries get of shares of tokens; masked, of what is left without special tokens, so that it sums to one again. */
export function sharesOf(entries: readonly Entry[], shares: ArrayLike<number>, masked: boolean): number[] {
  const sums = entries.map((entry) => {
    let sum = 0;
    for (let at = entry.at; at < entry.at + entry.count; at += 1) sum += shares[at] ?? 0;
    return sum;
  });
  const total = masked ? sums.reduce((sum, value) => sum + value, 0) : 1;
  return total > 0 ? sums.map((value) => value / total) : sums;
}

/** What tokens get at one row of (columns, heads, tokens), of one head or the mean of all; NaN where the step has none. */
export function sharesAt(values: Float32Array, heads: number, tokens: number, head: number | "mean", row: number): Float64Array {
  const used = head === "mean" ? Array.from({ length: heads }, (_, at) => at) : [Math.min(head, heads - 1)];
  return Float64Array.from({ length: tokens }, (_, token) =>
    used.reduce((sum, each) => sum + (values[(row * heads + each) * tokens + token] ?? Number.NaN), 0) / used.length);
}

/** The mean of several steps' shares, each of which sums to one; steps without numbers do not count. */
export function meanOf(steps: readonly (readonly number[])[], length: number): number[] {
  const counted = steps.filter((shares) => shares.every(Number.isFinite));
  return Array.from({ length }, (_, at) => (counted.length ? counted.reduce((sum, shares) => sum + (shares[at] ?? 0), 0) / counted.length : Number.NaN));
}
