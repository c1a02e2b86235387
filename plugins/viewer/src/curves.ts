// Curves as SVG: what the page draws, and what it saves. No DOM, so that it is tested in node.

export interface Series { readonly label: string; readonly colour: string; readonly values: ArrayLike<number> }
export interface Chart { readonly title: string; readonly unit: string; readonly series: readonly Series[] }

/** Smallest and largest finite value; undefined where there is none. */
export function extent(values: ArrayLike<number>): readonly [number, number] | undefined {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i] as number;
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : undefined;
}

/** Round values that divide a range into about `count` parts: steps of 1, 2 or 5 times a power of ten. */
export function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10) * power;
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

export interface Frame { readonly width: number; readonly height: number; readonly left: number; readonly top: number; readonly right: number; readonly bottom: number }

/** Where values stand in a frame of pixels. */
export interface Scale {
  readonly low: number;
  readonly high: number;
  /** The last column. */
  readonly last: number;
  readonly x: (column: number) => number;
  readonly y: (value: number) => number;
}

/** The scale of some series: all finite values fit, and equal ones stand in the middle. */
export function scaleOf(series: readonly Series[], { width, height, left, top, right, bottom }: Frame): Scale {
  const all = series.map((one) => extent(one.values)).filter((one) => one !== undefined);
  let [low, high] = all.length ? [Math.min(...all.map((one) => one[0])), Math.max(...all.map((one) => one[1]))] : [0, 1];
  const least = Math.max(Math.abs(low), Math.abs(high)) * 1e-9;
  if (!(high - low > least)) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const last = Math.max(1, ...series.map((one) => one.values.length - 1));
  return {
    low, high, last,
    x: (column) => left + ((width - left - right) * column) / last,
    y: (value) => height - bottom - ((height - top - bottom) * (value - low)) / (high - low),
  };
}

/** The path of a curve: a gap where a value is none, a dot where one stands alone. */
export function pathOf(values: ArrayLike<number>, { x, y }: Pick<Scale, "x" | "y">): string {
  let path = "";
  let pen = false;
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i] as number;
    if (!Number.isFinite(value)) {
      pen = false;
      continue;
    }
    const point = `${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    path += pen ? `L${point}` : `M${point}h0`;
    pen = true;
  }
  return path;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (one) => `&#${one.codePointAt(0)};`);
}

const SAVED: Frame = { width: 360, height: 210, left: 56, top: 34, right: 14, bottom: 32 };

/** How numbers and columns are written. */
export interface Names { readonly value: (value: number) => string; readonly column: (column: number) => string }

function chartSvg({ title, unit, series }: Chart, at: number, names: Names): string {
  const scale = scaleOf(series, SAVED);
  const { left, right, top, bottom, width, height } = SAVED;
  const rules = ticks(scale.low, scale.high, 4).map((value) => {
    const y = scale.y(value).toFixed(1);
    return `<path d="M${left} ${y}H${width - right}" stroke="#ddd"/><text x="${left - 6}" y="${y}" dy="4" text-anchor="end" fill="#666">${escape(names.value(value))}</text>`;
  });
  const lines = series.map(({ label, colour, values }) =>
    `<path d="${pathOf(values, scale)}" fill="none" stroke="${escape(colour)}" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><title>${escape(label)}</title></path>`);
  const guide = scale.x(Math.min(at, scale.last)).toFixed(1);
  return [
    `<text x="${left}" y="16" font-weight="600" fill="#222">${escape(title)}${unit ? ` <tspan font-weight="400" fill="#666">${escape(unit)}</tspan>` : ""}</text>`,
    ...rules,
    `<path d="M${guide} ${top}V${height - bottom}" stroke="#999" stroke-dasharray="3 3"/>`,
    ...lines,
    `<text x="${left}" y="${height - 12}" fill="#666">${escape(names.column(0))}</text>`,
    `<text x="${width - right}" y="${height - 12}" text-anchor="end" fill="#666">${escape(names.column(scale.last))}</text>`,
  ].join("\n");
}

/** Charts side by side, with a legend, as the text of an SVG file. `at` is the slider's column. */
export function curvesSvg(charts: readonly Chart[], at: number, names: Names): string {
  const across = Math.min(3, Math.max(1, charts.length));
  const rows = Math.ceil(charts.length / across);
  const [width, height] = [across * SAVED.width, rows * SAVED.height + 30];
  const parts = charts.map((chart, i) =>
    `<g transform="translate(${(i % across) * SAVED.width} ${Math.floor(i / across) * SAVED.height})">\n${chartSvg(chart, at, names)}\n</g>`);
  const keys = (charts[0]?.series ?? []).map(({ label, colour }, i) =>
    `<g transform="translate(${SAVED.left + i * 150} ${rows * SAVED.height + 12})"><path d="M0 0h18" stroke="${escape(colour)}" stroke-width="2"/><text x="24" y="4" fill="#222">${escape(label)}</text></g>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>\n${[...parts, ...keys].join("\n")}\n</svg>\n`;
}
