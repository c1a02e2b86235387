import type { Token } from "../../model/api";

/** A token's text as it is read: without the marks for the end or the beginning of a word. */
export function tokenWords(token: Token | undefined): string {
  if (!token) return "?";
  return token.text.replace(/<\/w>$/, "").replace(/^▁/, "").replaceAll("Ġ", "") || token.text || "(empty)";
}
