// What differs between two configurations, in words: a line for each setting, and one for a force or drift that only one has.
import { settingsApart, type Apart } from "../../model/align";
import type { Run } from "../../model/api";
import { settingsWords } from "../ledger/words";

export interface Difference { readonly name: string; readonly a: string; readonly b: string }

type Table = Readonly<Record<string, unknown>>;
const isTable = (value: unknown): value is Table => typeof value === "object" && value !== null && !Array.isArray(value);

/** A value of a configuration as people read it. */
export function valueWords(value: unknown): string {
  if (value === undefined) return "not there";
  if (value === null) return "none";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(Number(value.toPrecision(8))).replace("-", "−");
  if (Array.isArray(value)) return value.map(valueWords).join(", ") || "none";
  if (isTable(value)) return componentWords(value);
  return String(value);
}

/** A force, a drift, a scheduler: its name, and its settings behind it. */
function componentWords(part: Table): string {
  const settings = isTable(part["settings"]) ? part["settings"] : part["settings"] === undefined && part["name"] === undefined ? part : {};
  const weight = typeof part["weight"] === "number" && part["weight"] !== 1 ? `weight ${valueWords(part["weight"])}` : "";
  const words = [settingsWords(settings), weight].filter(Boolean).join(", ");
  const name = typeof part["name"] === "string" ? part["name"] : "";
  return name && words ? `${name} (${words})` : name || words || "none";
}

const SINGLE: Readonly<Record<string, string>> = { forces: "force", drifts: "drift" };

/** "forces[0].settings.strength" as "force 0: strength". */
export function pathWords(path: string): string {
  const words = path.replace(/^(forces|drifts)\[(\d+)\]\.?/, (_, list: string, at: string) => `${SINGLE[list]} ${at}: `);
  return words.replace(/\bsettings\./g, "").replaceAll("_", " ").replace(/:\s*$/, "").replaceAll(".", ", ");
}

const listOf = (run: Run, name: string): readonly unknown[] => {
  const list = run.config[name];
  return Array.isArray(list) ? list : [];
};

/** Settings that differ. Where a list holds another force, or none, the whole force is one line. */
export function differencesOf(a: Run, b: Run): readonly Difference[] {
  const whole = new Map<string, Difference>();
  const rest: Apart[] = [];
  for (const apart of settingsApart(a, b)) {
    const [, list = "", at = ""] = /^(forces|drifts)\[(\d+)\]/.exec(apart.path) ?? [];
    const [one, two] = [listOf(a, list)[Number(at)], listOf(b, list)[Number(at)]];
    const named = (part: unknown) => (isTable(part) ? part["name"] : undefined);
    if (!list || (named(one) !== undefined && named(one) === named(two))) rest.push(apart);
    else whole.set(`${list} ${at}`, { name: `${SINGLE[list]} ${at}`, a: valueWords(one), b: valueWords(two) });
  }
  return [...whole.values(), ...rest.map((apart) => ({ name: pathWords(apart.path), a: valueWords(apart.a), b: valueWords(apart.b) }))];
}
