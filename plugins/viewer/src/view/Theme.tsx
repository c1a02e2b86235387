import { useEffect } from "preact/hooks";
import { dark, systemDark, theme, type Theme } from "../state";

const KEY = "emnist-diff-theme";

/** What was chosen on an earlier visit. Where a page may not remember, as in a notebook's frame, the system decides. */
function remembered(): Theme {
  try {
    const found = localStorage.getItem(KEY);
    return found === "light" || found === "dark" ? found : "auto";
  } catch {
    return "auto";
  }
}

/** Follows the system's choice of light or dark, and the page's own. */
export function useTheme(): void {
  useEffect(() => {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => (systemDark.value = media.matches);
    follow();
    theme.value = remembered();
    media.addEventListener("change", follow);
    return () => media.removeEventListener("change", follow);
  }, []);
  const chosen = dark.value;
  useEffect(() => {
    document.documentElement.dataset["theme"] = chosen ? "dark" : "light";
  }, [chosen]);
  useEffect(() => {
    // Paper is white, whatever the page is on.
    const paper = () => (document.documentElement.dataset["theme"] = "light");
    const screen = () => (document.documentElement.dataset["theme"] = dark.peek() ? "dark" : "light");
    addEventListener("beforeprint", paper);
    addEventListener("afterprint", screen);
    return () => (removeEventListener("beforeprint", paper), removeEventListener("afterprint", screen));
  }, []);
}

export function ThemeButton() {
  const change = () => {
    const to = dark.value ? "light" : "dark";
    theme.value = to === (systemDark.value ? "dark" : "light") ? "auto" : to;
    try {
      if (theme.value === "auto") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, to);
    } catch {
      // A page without storage forgets the choice; it holds until the page is closed.
    }
  };
  return (
    <button type="button" class="quiet icon" aria-label="Dark mode" aria-pressed={dark.value} title="Dark mode" onClick={change}>
      <svg viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="6.5" /><path class="fill" d="M10 3.5a6.5 6.5 0 0 1 0 13z" /></svg>
    </button>
  );
}
