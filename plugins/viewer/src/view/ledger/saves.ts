import type { Run, Sample, Term } from "../../model/api";
import { canvasPng, csvOf } from "../../save";
import type { Save } from "../Panel";
import { fileName, stepFacts, stepWord } from "../../words";
import { paperSvg } from "../parts/paper";
import type { Account } from "./account";
import { stacked, termName } from "./Shares";

/** Pictures side by side, each with its name and the end of its colours below: what a paper shows of a step. */
async function sheet(section: ParentNode, title: string): Promise<Blob> {
  const cards = [...section.querySelectorAll<HTMLElement>(".term")].filter((card) => card.querySelector("canvas.picture"));
  const side = 160;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, cards.length) * (side + 16) + 16;
  canvas.height = side + 94;
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser gives no canvas to draw on");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.fillStyle = "black";
  context.font = "13px system-ui, sans-serif";
  cards.forEach((card, at) => {
    const picture = card.querySelector<HTMLCanvasElement>("canvas.picture");
    const left = 16 + at * (side + 16);
    if (picture) context.drawImage(picture, left, 16, side, (side * picture.height) / picture.width);
    const name = [...(card.querySelector("h3")?.childNodes ?? [])].map((node) => node.textContent).join(" ");
    context.fillText(name.replace(/\s+/g, " ").trim(), left, side + 36, side);
    context.fillText(card.dataset["scale"] ? `colours ±${card.dataset["scale"]}` : "", left, side + 54, side);
  });
  context.fillText(title, 16, side + 78);
  return canvasPng(canvas);
}

/** Columns as `emnist-diff metrics` calls them. */
function table(run: Run, account: Account): Blob {
  const columns = [...account.norms].flatMap(([term, norms]) => {
    const name = term.kind === "base" ? "base" : `${term.kind}_${term.key}`;
    const all: [string, (step: number, column: number) => number | undefined][] = [[`${name}_l2`, (_, column) => norms[column]]];
    const [shares, { weight }] = [account.shares.get(term), term];
    if (shares) all.push([`${name}_share`, (_, column) => shares[column]]);
    if (weight) all.push([`${name}_weight`, (step) => weight[step]]);
    return all;
  });
  return csvOf([["step_index", ...columns.map(([name]) => name)], ...run.kept.map((step, column) => [step, ...columns.map(([, value]) => value(step, column))])]);
}

const [WIDTH, HEIGHT, LEFT, TOP] = [640, 300, 56, 44];

/** The stacked shares as a drawing of its own, with axes and a legend. */
export function sharesSvg(run: Run, shares: Account["shares"], colourOf: (term: Term) => string): string {
  const { bars, low, high } = stacked(shares);
  const width = (WIDTH - LEFT - 12) / Math.max(1, run.kept.length);
  const y = (value: number) => TOP + ((HEIGHT - TOP - 60) * (high - value)) / (high - low);
  const escaped = (text: string) => text.replace(/[&<>"]/g, (one) => `&#${one.codePointAt(0)};`);
  const rect = bars.map(({ term, column, from, to }) => {
    const top = Math.min(y(from), y(to));
    return `<rect x="${(LEFT + column * width).toFixed(2)}" y="${top.toFixed(2)}" width="${Math.max(0.5, width - 1).toFixed(2)}" height="${Math.abs(y(from) - y(to)).toFixed(2)}" fill="${colourOf(term)}"/>`;
  });
  const rules = [0, 1].map((value) => `<path d="M${LEFT} ${y(value)}H${WIDTH - 12}" stroke="var(--soft)" stroke-width="0.75"/><text x="${LEFT - 6}" y="${y(value) + 4}" text-anchor="end" fill="var(--soft)">${100 * value} %</text>`);
  const keys = [...shares.keys()].map((term, at) => `<g transform="translate(${LEFT + at * 150} ${HEIGHT - 14})"><circle cx="5" cy="-4" r="5" fill="${colourOf(term)}"/><text x="16" fill="var(--ink)">${escaped(termName(term))}</text></g>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="12">
<text x="${LEFT}" y="20" font-weight="600" fill="var(--ink)">Shares of the prediction, f·p / ‖p‖²</text>
${[...rect, ...rules].join("\n")}
<text x="${LEFT}" y="${HEIGHT - 38}" fill="var(--soft)">step ${run.kept[0] ?? 0}</text><text x="${WIDTH - 12}" y="${HEIGHT - 38}" text-anchor="end" fill="var(--soft)">step ${run.kept.at(-1) ?? 0}</text>
${keys.join("\n")}
</svg>
`;
}

/** Files of the ledger: this step's pictures, the shares, and all numbers. */
export function ledgerSaves(run: Run, sample: Sample, column: number, account: Account | undefined, section: () => ParentNode | null, colourOf: (term: Term) => string): Save[] {
  const step = stepFacts(run, column).title;
  const stem = ["ledger", `sample-${sample.id}`];
  const saves: Save[] = [{ name: fileName(run, ...stem, stepWord(run, column), ".png"), make: () => sheet(section() ?? document, `${run.name}, sample ${sample.id} (${sample.className}), ${step}`) }];
  if (!account) return saves;
  saves.push({ name: fileName(run, ...stem, ".csv"), make: () => table(run, account) });
  if (run.fields.includes("prediction")) saves.push({ name: fileName(run, "shares", `sample-${sample.id}`, ".svg"), make: () => paperSvg(sharesSvg(run, account.shares, colourOf)) });
  return saves;
}
