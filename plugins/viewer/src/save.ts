// What is saved of a panel: PNG of a canvas, SVG of curves, CSV of numbers. Nothing leaves the page but by the browser's download.

/** A cell of a table: texts are quoted where they must be, NaN is an empty cell. */
export type Cell = string | number | undefined;

function cell(value: Cell): string {
  if (value === undefined || (typeof value === "number" && Number.isNaN(value))) return "";
  // A text that begins like a formula is one to a spreadsheet: names come from files of strangers.
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows, the header among them, as CSV (RFC 4180). */
export function csvOf(rows: readonly (readonly Cell[])[]): Blob {
  return new Blob([rows.map((row) => row.map(cell).join(",")).join("\r\n"), "\r\n"], { type: "text/csv" });
}

/** The canvas as a PNG, enlarged without smoothing where its pixels would be too small to see. */
export function canvasPng(canvas: HTMLCanvasElement, enlarge = 1): Promise<Blob> {
  const copy = document.createElement("canvas");
  copy.width = canvas.width * enlarge;
  copy.height = canvas.height * enlarge;
  const context = copy.getContext("2d");
  if (!context) return Promise.reject(new Error("the browser gives no canvas to draw on"));
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, copy.width, copy.height);
  return new Promise((resolve, reject) => {
    copy.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture is too large for a PNG"))), "image/png");
  });
}

/** Several canvases below one another, as they stand on the page, as one PNG. */
export function canvasesPng(canvases: readonly HTMLCanvasElement[], enlarge: number, gap: number): Promise<Blob> {
  const sheet = document.createElement("canvas");
  sheet.width = Math.max(1, ...canvases.map((one) => one.width));
  sheet.height = canvases.reduce((sum, one) => sum + one.height + gap, -gap);
  const context = sheet.getContext("2d");
  let top = 0;
  for (const one of canvases) {
    context?.drawImage(one, 0, top);
    top += one.height + gap;
  }
  return canvasPng(sheet, enlarge);
}

/** An <svg> element as a file of its own; the page's CSS variables become their values. */
export function svgOf(element: SVGSVGElement): Blob {
  const style = getComputedStyle(element);
  const text = new XMLSerializer().serializeToString(element);
  const plain = text.replace(/var\((--[\w-]+)\)/g, (_, name: string) => style.getPropertyValue(name).trim() || "currentColor");
  return new Blob([plain], { type: "image/svg+xml" });
}

/** Hands a file to the browser's downloads. */
export function download(name: string, blob: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
