// Curves as an SVG file: the same that uPlot draws on the page, for papers. No DOM, so that it is tested in node.

export interface Series { readonly label: string; readonly colour: string; readonly values: ArrayLike<number> }
export interface Chart { readonly title: string; readonly unit: string; readonly series: readonly Series[] }

const [WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM] = [360, 210, 52, 34, 12, 30];

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

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (one) => `&#${one.codePointAt(0)};`);
}

/** The path of a curve: a gap where a value is none, a dot where one stands alone. */
export function pathOf(values: ArrayLike<number>, x: (at: number) => number, y: (value: number) => number): string {
  let path = "";
  let pen = false;
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i] as number;
    if (!Number.isFinite(value)) {
      pen = false;
      continue;
    }
    const point = `${x(i).toFixed(2)} ${y(value).toFixed(2)}`;
    path += pen ? `L${point}` : `M${point}h0`;
    pen = true;
  }
  return path;
}

function chartSvg(chart: Chart, at: number, name: (value: number) => string, step: (column: number) => string): string {
  const all = chart.series.map((series) => extent(series.values)).filter((one) => one !== undefined);
  let [low, high] = [Math.min(...all.map((one) => one[0])), Math.max(...all.map((one) => one[1]))];
  if (!all.length) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const last = Math.max(1, ...chart.series.map((series) => series.values.length - 1));
  const x = (column: number) => LEFT + ((WIDTH - LEFT - RIGHT) * column) / last;
  const y = (value: number) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (value - low)) / (high - low);
  const rule = (value: number) =>
    `<path d="M${LEFT} ${y(value)}H${WIDTH - RIGHT}" stroke="#ddd"/><text x="${LEFT - 6}" y="${y(value) + 4}" text-anchor="end" fill="#666">${escape(name(value))}</text>`;
  const lines = chart.series.map((series) =>
    `<path d="${pathOf(series.values, x, y)}" fill="none" stroke="${escape(series.colour)}" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><title>${escape(series.label)}</title></path>`);
  return [
    `<text x="${LEFT}" y="16" font-weight="600" fill="#222">${escape(chart.title)}${chart.unit ? ` <tspan font-weight="400" fill="#666">${escape(chart.unit)}</tspan>` : ""}</text>`,
    rule(low), rule(high),
    `<path d="M${x(at)} ${TOP}V${HEIGHT - BOTTOM}" stroke="#999" stroke-dasharray="3 3"/>`,
    ...lines,
    `<text x="${LEFT}" y="${HEIGHT - 10}" fill="#666">${escape(step(0))}</text>`,
    `<text x="${WIDTH - RIGHT}" y="${HEIGHT - 10}" text-anchor="end" fill="#666">${escape(step(last))}</text>`,
  ].join("\n");
}

/** Charts side by side, with a legend, as the text of an SVG file. `at` is the slider's column. */
export function curvesSvg(charts: readonly Chart[], at: number, name: (value: number) => string, step: (column: number) => string): string {
  const across = Math.min(3, Math.max(1, charts.length));
  const rows = Math.ceil(charts.length / across);
  const legend = charts[0]?.series ?? [];
  const [width, height] = [across * WIDTH, rows * HEIGHT + 30];
  const parts = charts.map((chart, i) =>
    `<g transform="translate(${(i % across) * WIDTH} ${Math.floor(i / across) * HEIGHT})">\n${chartSvg(chart, at, name, step)}\n</g>`);
  const keys = legend.map((series, i) =>
    `<g transform="translate(${LEFT + i * 150} ${rows * HEIGHT + 12})"><path d="M0 0h18" stroke="${escape(series.colour)}" stroke-width="2"/><text x="24" y="4" fill="#222">${escape(series.label)}</text></g>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>\n${[...parts, ...keys].join("\n")}\n</svg>\n`;
}
