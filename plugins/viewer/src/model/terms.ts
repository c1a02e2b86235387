// The lines of the ledger: what adds up to a prediction, and what changes the state after a step.
import type { Hdf5 } from "../reader/api";
import type { Field, Term } from "./api";
import { damaged, numbers, table, type Table } from "./checks";

const LEAF = { forces: "contribution", drifts: "delta" } as const;

/** Groups of forces or drifts in the order of their numbers, beyond 99 too. */
export function componentsOf(file: Hdf5, group: keyof typeof LEAF): readonly string[] {
  const number = (key: string): number => (/^\d{1,9}(?=_|$)/.test(key) ? parseInt(key, 10) : 1 << 30);
  return [...file.names(group)].sort((a, b) => number(a) - number(b) || (a < b ? -1 : 1));
}

/** The dataset of a field: "x" is "trajectory/x", others are paths already. */
export function datasetOf(field: Field): string {
  return field.includes("/") ? field : `trajectory/${field}`;
}

/** The fields that a file holds, in order of use. */
export function fieldsOf(file: Hdf5): readonly Field[] {
  const groups = (["forces", "drifts"] as const).flatMap((group) =>
    componentsOf(file, group).map((key) => `${group}/${key}/${LEAF[group]}`),
  );
  return ["x", "x0", "prediction", "base", ...groups].filter((field) => file.has(datasetOf(field)));
}

export async function termsOf(file: Hdf5, config: Table, steps: number): Promise<readonly Term[]> {
  const terms: Term[] = [];
  if (file.has("trajectory/base")) {
    const { base, guidance_scale } = { ...guiderOf(config), ...config };
    const name = typeof base === "string" ? base : "base";
    const settings = typeof guidance_scale === "number" ? { guidance_scale } : {};
    terms.push({ kind: "base", key: "base", name, field: "base", weight: undefined, scale: undefined, settings });
  }
  for (const group of ["forces", "drifts"] as const) {
    const keys = componentsOf(file, group);
    for (const [place, key] of keys.entries()) {
      const field = `${group}/${key}/${LEAF[group]}`;
      const path = `forces/${key}/weight`;
      const weight = group === "forces" ? await numbers(file, path, steps) : undefined;
      if (weight !== undefined && !weight.every(Number.isFinite)) throw damaged(file, `${path} must be ${steps} finite numbers`);
      const about = settingsOf(config, group, key);
      terms.push({
        kind: group === "forces" ? "force" : "drift",
        key,
        name: nameOf(keys, place),
        field: file.has(field) ? field : undefined,
        weight,
        scale: typeof about["weight"] === "number" ? about["weight"] : undefined,
        settings: shownSettings(about),
      });
    }
  }
  return terms;
}

/** "cfg" of "00_cfg"; "cfg #2" of the second that is called so, as plots call them. */
function nameOf(keys: readonly string[], place: number): string {
  const names = keys.map((key) => key.slice(key.indexOf("_") + 1) || key);
  const name = names[place] ?? "";
  const count = names.slice(0, place + 1).filter((other) => other === name).length;
  return names.filter((other) => other === name).length > 1 ? `${name} #${count}` : name;
}

/** What the configuration says of the component of a group, "01_cfg": the second of its list, if that is its name. The
 *  forces of a recorded pipeline are those of its guider. */
function settingsOf(config: Table, group: string, key: string): Table {
  const [number, ...rest] = key.split("_");
  for (const listed of [config[group], guiderOf(config)[group]]) {
    const entry = table(Array.isArray(listed) ? listed[Number(number)] : undefined);
    if (entry["name"] === rest.join("_")) return entry;
  }
  return {};
}

function guiderOf(config: Table): Table {
  return table(table(config["guider"])["settings"]);
}

/** The settings of a component, in a table of their own or beside its name; a weight that is a schedule, and
 *  limits that are set. */
function shownSettings(entry: Table): Table {
  const { name: _, weight, settings, ...rest } = entry;
  const beside = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null));
  const scheduled = typeof weight === "number" || weight === undefined ? {} : { weight };
  return { ...table(settings), ...beside, ...scheduled };
}
