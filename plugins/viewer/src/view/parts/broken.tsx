import type { ComponentChildren } from "preact";

/** A name of a file or a setting, which a narrow place may break after an underscore or a dot and nowhere else. */
export function broken(name: string): ComponentChildren {
  return name.split(/(?<=[_.])/).map((part, at) => (at ? [<wbr key={at} />, part] : part));
}
