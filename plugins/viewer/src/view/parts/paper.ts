// Drawings as files for white paper, whatever theme the page has.

/** The text of an <svg> with the light theme's colours in place of the page's variables, on white. */
export function paperSvg(text: string): Blob {
  const root = document.documentElement;
  const theme = root.dataset["theme"];
  // Nothing is painted in between: the page does not flicker.
  root.dataset["theme"] = "light";
  const style = getComputedStyle(root);
  const plain = text.replace(/var\((--[\w-]+)\)/g, (_, name: string) => style.getPropertyValue(name).trim() || "#888");
  if (theme === undefined) delete root.dataset["theme"];
  else root.dataset["theme"] = theme;
  return new Blob([plain.replace(/^(<svg[^>]*>)/, '$1<rect width="100%" height="100%" fill="#fff"/>')], { type: "image/svg+xml" });
}
